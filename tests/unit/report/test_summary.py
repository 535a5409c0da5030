"""summary.md: by hand for a small run, bounded for any, and never obeying what it quotes."""
from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.report import summary, vantage
from markdown_it import MarkdownIt

from tests.support.results import SECOND, finding, matrix, result

GITHUB_TAKES = 1024 * 1024
RENDER = MarkdownIt("gfm-like", {"html": True, "linkify": False})
"""As GitHub reads it; what would become a link by itself is looked for in the source."""
OWN_TAGS = {"h2", "h3", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "strong",
            "code", "details", "summary"}


def text(results: dict[str, Any], *, page: bool = True) -> str:
    return summary.render(results, page=page).decode()


def change(subject: str, how: str, kind: str = "other") -> dict[str, Any]:
    return {"place": "controller", "what": "CORE-02", "subject": subject, "before": "passed",
            "now": "failed", "kind": kind, "message": f"{subject}{how}"}


def comparison(*changes: dict[str, Any], where: str = "reports/old") -> dict[str, Any]:
    return {"with": where, "started_at": SECOND, "verdict": "passed", "complete": True,
            "changes": list(changes), "figures": [], "latency": {}}


def small() -> dict[str, Any]:
    deviation = {"releases": "Erlang/OTP 25 to 29", "file": "otp.yml", "evidence": "Seen",
                 "upstream": "none", "intermittent": False}
    names = ["n1", "n2"]
    return result(names, [
        *(finding("CORE-01", name, "passed") for name in names),
        finding("CORE-02", "n1", "passed"),
        finding("CORE-02", "n2", "failed", "n2 made a full handshake (reuse_sessions = false)"),
        finding("CORE-05", "n2", "skipped", "needs CORE-02", reason="needs_CORE-02"),
        *(finding("NEG-03", name, "known", f"{name} took 33 bytes", evidence={
            "handshakes": [], "known_deviations": [deviation]}) for name in names),
        finding("NEG-09", "n1", "info", "n1 knows no names"),
        finding("SEC-01", "cluster", "skipped", "it needs inventory/trust"),
        finding("LIFE-01", "cluster", "skipped", "it is disruptive, and the most is noisy",
                reason="impact_not_allowed"),
        finding("LIFE-02", "cluster", "skipped", "it is disruptive, and the most is noisy",
                reason="impact_not_allowed")],
        matrix=matrix(names, {("n2", "n2"): "full"}), verdict="failed",
        headline="3 of 4 pairs as expected", notes=["n2 told something else", "sessions live 5 s"])


def test_a_run_with_a_failure_reads_so() -> None:
    assert text(small()) == """\
## TLS 1.2 session-ID resumption: FAILED

3 of 4 pairs as expected.

- Target: Thing 1.2, Erlang/OTP 27 (driver external); told by hand
- Started 2026-01-02T03:04:05.678Z, took 1.5 s
- Findings: 3 passed, 1 failed, 2 known (2 known deviations), 1 info, 4 skipped

### Session of (row) offered to (column)

|  | n1 | n2 |
|---|---|---|
| **n1** | resumed | full |
| **n2** | full | **full !** |

### What there is to say

- **CORE-02 failed**, Title of CORE-02: n2 made a full handshake (reuse_sessions = false).
- **NEG-03 known**, Title of NEG-03: n1 took 33 bytes (the same: n2). \
Known deviation of Erlang/OTP 25 to 29 (otp.yml).
- **NEG-09 info**, Title of NEG-09: n1 knows no names.

<details><summary>Skipped: 4</summary>

- **SEC-01 skipped**, Title of SEC-01: it needs inventory/trust.
- As a consequence of the above, on n2: CORE-05
- Since they are disruptive, and the most is noisy: LIFE-01, LIFE-02

</details>

### Handshakes

|  | count | p50 ms | p95 ms | p99 ms | bytes in | bytes out |
|---|---|---|---|---|---|---|
| full | 2 | 1.50 | 2.25 | 10.00 | 1000 | 200 |
| resumed | 2 | 1.50 | 2.25 | - | 1000 | 200 |

### Notes

- n2 told something else.
- Sessions live 5 s.

Beside this file: `index.html` to look at, `results.json` with the evidence of every handshake, \
`junit.xml`.
"""


def test_handshakes_beyond_those_announced_are_told() -> None:
    results = small()
    assert "Handshakes beyond" not in text(results)
    results["budget"]["nodes"]["n1"].update(spoilt=2, diagnoses=12, polls=6)
    assert ("- Handshakes beyond those announced: 2 more for sessions that an alert or a broken "
            "connection had spoilt; 12 more to tell why a session did not resume; 6 besides "
            "to see whether nodes were ready\n"
            ) in text(results)


def test_without_a_page_none_is_named() -> None:
    assert "index.html" not in text(small(), page=False)


def test_the_file_of_handshakes_that_did_not_fit_is_named_where_there_is_one() -> None:
    assert "handshakes.jsonl" not in text(small())
    assert summary.render(small(), page=False, filed=True).decode().endswith(
        "\nBeside this file: `results.json` with the evidence, `handshakes.jsonl` with the "
        "handshakes that it has no room for, one a line, `junit.xml`.\n")


def test_a_good_run_has_nothing_to_say() -> None:
    told = text(result(["n1"], [finding("CORE-01", "n1", "passed")]))
    assert told.startswith("## TLS 1.2 session-ID resumption: PASSED\n")
    assert "What there is to say" not in told
    assert "Skipped" not in told


def test_the_worst_comes_first() -> None:
    told = text(result(["n1"], [finding(f"CORE-{number:02d}", "n1", status) for number, status in
                                enumerate(("info", "warned", "known", "error", "failed"), 1)]))
    assert re.findall(r"^- \*\*CORE-\d\d (\w+)\*\*", told, re.MULTILINE) == [
        "failed", "error", "known", "warned", "info"]


def test_many_nodes_become_numbers() -> None:
    names = [f"emqx{number}" for number in range(1, 51)]
    told = text(result(names, [], matrix=matrix(
        names, {("emqx7", "emqx7"): "full"}, [("emqx1", "emqx2")])))
    assert "| the same node | 50 | 49 | 1 | 0 |" in told
    assert "| another node | 2450 | 2449 | 0 | 1 |" in told
    assert "- emqx7 to emqx7: full instead of resumed (full_why)" in told


ATTACKS = ["<script>alert(1)</script>", "a|b|c", "`code`", "\n\n# Heading", "\r\n- item",
           "[text](https://evil.example)", "![i](https://evil.example/x.png)", "https://evil.example",
           "www.evil.example", "me@evil.example", "**bold** _em_ ~~gone~~", "</details>",
           "&lt;b&gt;", "<!-- ", "```\nfence",
           "\\", "\\|", "$x$", "\u202egnp", "\x1b[31m", "a_b __c__"]


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_quoted_is_shown_and_not_obeyed(attack: str) -> None:
    names = [f"n{attack}", "n2"]
    where = vantage.VantagePoint(attack, attack)
    results = vantage.merged(result(names, [
        finding("CORE-01", names[0], status, f"said {attack}")
        for status in ("failed", "skipped", "info")], headline=f"said {attack}",
        notes=[f"said {attack}"], verdict="failed", target={
            "driver": attack, "product": attack, "version": attack, "otp_release": attack,
            "how_identified": attack},
        comparison=comparison(change(attack, f": said {attack}"), where=attack)),
        [vantage.not_measured(where, attack)])
    source = text(results)
    html = RENDER.render(source)
    assert set(re.findall(r"</?(\w+)", html)) <= OWN_TAGS
    assert source.count("\n## ") + source.count("\n### ") == html.count("<h3>")
    assert html.count("<table>") == html.count("</table>") == 2
    assert html.count("<details>") == html.count("</details>") == 1
    assert len(re.findall("<tr>", html)) == 1 + len(names) + 1 + 2
    assert not re.search(r"(?<!\\):\/\/|(?<!\\)@|www\.", source)
    shown = re.sub(r"<[^>]*>", "", html).replace("&lt;", "<").replace("&gt;", ">").replace(
        "&quot;", '"').replace("&amp;", "&")
    printed = " ".join("".join(one if one.isprintable() else " " if one.isspace() else "?"
                               for one in attack).split())
    # As it was said: headline, also as the controller's, three findings, a note, a change.
    assert shown.count(f"aid {printed}") == 7


def test_the_largest_is_below_what_github_takes_and_says_what_is_left_out() -> None:
    names = [f"{number:03d}-" + "\u4e2d|" * 300 for number in range(40)]
    pairs = {(one, other): "refused" for one in names for other in names}
    checks = [finding("CORE-01", f"n{number}", status, f"{number} " + "<|" * 50_000,
                      reason=f"r{number}")
              for number in range(400) for status in ("failed", "skipped")]
    where = [vantage.VantagePoint(f"p{number}", "h") for number in range(200)]
    changes = [change(f"n{number}", f": {number}{'<&' * 9_000}") for number in range(300)]
    results = vantage.merged(
        result(names, checks, matrix=matrix(names, pairs), headline="$" * 100_000,
               notes=["`" * 100_000] * 300, verdict="failed",
               comparison=comparison(*changes, where="x" * 100_000)),
        [vantage.not_measured(point, "<" * 100_000) for point in where])
    told = summary.render(results, page=True)
    assert GITHUB_TAKES // 4 < len(told) < GITHUB_TAKES * 9 // 10
    left_out = re.findall(r"^- (\d+) more ([a-z ]+) do not fit in here: results\.json has all\.$",
                          told.decode(), re.MULTILINE)
    assert [what for _, what in left_out] == ["pairs", "findings", "skipped checks", "changes",
                                              "places", "notes"]
    kept = len(re.findall(r"^- \*\*CORE-01 failed", told.decode(), re.MULTILINE))
    assert kept + int({what: count for count, what in left_out}["findings"]) == 400


def test_what_changed_is_told() -> None:
    changes = (change("n1", ": passed -> failed", kind="worse"), change("n2", " is new: passed"))
    told = text(result(["n1"], [], comparison=comparison(*changes)))
    assert ("### Compared with an earlier run\n\n"
            "Changed since reports/old (passed, 2026-01-02 03:04 UTC):\n\n"
            "- worse: CORE-02 n1: passed -&gt; failed\n- CORE-02 n2 is new: passed\n") in told
    told = text(result(["n1"], [], comparison=comparison()))
    assert "\n\nNothing changed since reports/old (passed, 2026-01-02 03:04 UTC)\n" in told
    assert "Compared" not in text(result(["n1"], []))
