"""What a person reads on a terminal: by hand for 80 columns, and whole in others."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.report import terminal
from ansible_collections.emqx.conformance.plugins.module_utils.report.columns import (
    clipped,
    columns,
    hanging,
    printable,
)

from tests.support.results import finding, handshake, matrix, result

DEVIATION = {"releases": "Erlang/OTP 25 to 29", "file": "otp.yml", "evidence": "Seen on the wire",
             "upstream": "none known", "intermittent": False}


def lines(results: dict[str, Any], width: int = 80, verbosity: int = 0) -> list[str]:
    return [line.text for line in terminal.render(results, "reports/x", width, verbosity)]


def of_three() -> dict[str, Any]:
    """Three nodes of which one resumes nothing, one of everything else."""
    names = ["n1", "n2", "n3"]
    shared = {"evidence": {"handshakes": ["h00001"]}}
    return result(
        names,
        [*(finding("CORE-01", name, "passed", f"{name} issued a session ID", **shared)
           for name in names),
         finding("CORE-02", "n1", "passed", "n1 resumed"),
         finding("CORE-02", "n2", "failed", "n2 made a full handshake. Set reuse_sessions = true."),
         finding("CORE-02", "n3", "passed", "n3 resumed"),
         finding("CORE-05", "n2", "skipped", "needs CORE-02", reason="needs_CORE-02"),
         *(finding("CORE-08", name, "info", f"{name} speaks TLS 1.3 too") for name in names[:2]),
         finding("CORE-08", "n3", "info", "n3 speaks nothing else"),
         *(finding("NEG-03", name, "known", f"{name} took 33 bytes",
                   evidence={"handshakes": [], "known_deviations": [DEVIATION]})
           for name in names),
         finding("LIFE-01", "cluster", "skipped", "it is disruptive, and the most is noisy",
                 reason="impact_not_allowed")],
        matrix=matrix(names, {("n2", "n2"): "full"}), verdict="failed",
        headline="8 of 9 pairs as expected; CORE-02 failed_somehow on n2: n2 made a full handshake",
        handshakes={"h00001": handshake(
            "n1", server_id="ab" * 32, bytes_in=2305, bytes_out=284,
            messages=[{"from": "client", "message": "ClientHello", "bytes": 153, "at_ms": 0.342},
                      {"from": "server", "message": "ServerHello", "bytes": 87, "at_ms": 5.7}],
            mqtt={"version": "5", "cause": "", "detail": "CONNACK accepted", "connack_ms": 3.0})})


def test_a_run_with_a_failure_reads_so() -> None:
    assert lines(of_three()) == """\
Target    Thing 1.2, Erlang/OTP 27 (driver external)
          Told by hand
Started   2026-01-02T03:04:05.678Z, took 1.5 s

Session of (row) offered to (column); ! marks what was not expected
     n1       n2       n3
n1   resumed  full     full
n2   full     full !   full
n3   full     full     resumed

CORE-01  passed      3/3  Title of CORE-01
CORE-02  failed      1/3  Title of CORE-02
         n2 made a full handshake. Set reuse_sessions = true.
CORE-08  info        3/3  Title of CORE-08
         n1 speaks TLS 1.3 too (the same: n2)
         n3 speaks nothing else
NEG-03   known       3/3  Title of NEG-03
         n1 took 33 bytes (the same: n2, n3)
         Known deviation of Erlang/OTP 25 to 29 (otp.yml).

Skipped  as a consequence, on n2: CORE-05

Skipped  since it is disruptive, and the most is noisy: LIFE-01

Handshake  count  p50 ms  p95 ms  p99 ms  bytes in  bytes out
full           2    1.50    2.25   10.00      1000        200
resumed        2    1.50    2.25       -      1000        200

Report    reports/x
Budget    30 handshakes announced, 30 made; at most 4 new sessions on one node
          (limit 250)
Findings  5 passed, 1 failed, 3 known (3 known deviations), 3 info, 2 skipped
Verdict   FAILED: 8 of 9 pairs as expected; CORE-02 failed_somehow on n2: n2
          made a full handshake""".splitlines()


def test_what_came_on_top_is_told_by_its_kind() -> None:
    results = of_three()
    results["budget"]["nodes"]["n2"].update(handshakes_done=17, renewals=1, spoilt=2, controls=3,
                                            repeated=1, polls=4)
    assert ("Budget 30 handshakes announced and 1 more for sessions that had grown old and 2 more "
            "for sessions that an alert or a broken connection had spoilt and 3 more to tell why "
            "connections were cut off and 1 more since connections were turned away, 37 made; 4 "
            "besides to see whether nodes were ready; at most 4 new sessions") in " ".join(
                " ".join(lines(results)).split())


def test_each_v_adds_evidence() -> None:
    said = [lines(of_three(), verbosity=verbosity) for verbosity in range(4)]
    for less, more in zip(said, said[1:]):
        assert len(less) < len(more)
    sentences, handshakes, messages = said[1:]
    assert sentences[sentences.index("CORE-01  passed      3/3  Title of CORE-01") + 1] == (
        "         n1 issued a session ID (the same: n2, n3)")
    assert "h00001" not in "".join(sentences)
    begin = sentences.index("         n1 took 33 bytes (the same: n2, n3)")
    assert sentences[begin + 1:begin + 3] == [
        "         Known deviation of Erlang/OTP 25 to 29 (otp.yml): Seen on the wire.",
        "         Upstream: none known."]
    evidence = [
        "         h00001  n1: full in 1.25 ms, 2305 bytes in, 284 out, tlsv1.2",
        "                 ECDHE-RSA-AES256-GCM-SHA384; offered no ID, answered",
        "                 abababababababab; library full, wire full; MQTT 5: CONNACK",
        "                 accepted in 3.00 ms"]
    begin = handshakes.index(evidence[0])
    assert handshakes[begin:begin + 4] == evidence
    assert not any("ClientHello" in line for line in handshakes)
    begin = messages.index(evidence[-1])
    assert messages[begin + 1:begin + 4] == [
        "                0.342 ms  ->  ClientHello             153 B",
        "                5.700 ms  <-  ServerHello              87 B",
        "CORE-02  failed      1/3  Title of CORE-02"]


@pytest.mark.parametrize(("statuses", "told"), [
    (("passed", "skipped", "skipped"), "passed      1/1, skipped 2"),
    (("info", "skipped", "passed"), "info        1/2, skipped 1"),
    (("skipped", "failed", "passed"), "failed      1/2, skipped 1"),
    (("skipped", "skipped", "skipped"), "skipped     3/3"),
])
def test_what_was_measured_is_not_hidden_by_what_was_skipped(
        statuses: tuple[str, ...], told: str) -> None:
    names = ["n1", "n2", "n3"]
    rows = [finding("SEC-02", name, status, f"told of {name}", reason="" if status == "passed"
                    else "precondition") for name, status in zip(names, statuses)]
    assert f"SEC-02   {told}  Title of SEC-02" in lines(result(names, rows))


def test_figures_of_many_nodes_are_told_of_a_few() -> None:
    names = [f"n{number}" for number in range(1, 51)]
    results = result(names, [finding("PERF-01", name, "info", f"{name} takes {at} ms")
                             for at, name in enumerate(names)])
    told = lines(results)
    begin = told.index("PERF-01  info      50/50  Title of PERF-01")
    assert told[begin + 1:begin + 7] == [
        *(f"         n{at + 1} takes {at} ms" for at in range(4)),
        "         and on n5, n6, n7, n8 and 42 more: see index.html", ""]
    assert "         n50 takes 49 ms" in lines(results, verbosity=1)


def test_sentences_that_differ_in_measured_figures_only_are_told_once() -> None:
    names = ["n1", "n2", "n3"]
    rows = [finding("PERF-01", name, "info", f"{name} takes {at}.5 ms") | {"data": {"ms": at}}
            for at, name in enumerate(names)]
    told = lines(result(names, rows))
    begin = told.index("PERF-01  info        3/3  Title of PERF-01")
    assert told[begin + 1:begin + 3] == ["         n1 takes 0.5 ms (other figures of: n2, n3)", ""]


def test_evidence_names_the_session_that_was_offered_and_is_not_endless() -> None:
    keys = [f"h{number:05d}" for number in range(2, 30)]
    results = result(["n1"], [finding("CORE-05", "n1", "passed", evidence={"handshakes": keys})],
                     handshakes={"h00001": handshake("n1", server_id="cd" * 32), **{
                         key: handshake("n1", "resumed", offered_id="cd" * 32,
                                        server_id="cd" * 32) for key in keys}})
    flat = " ".join(" ".join(lines(results, verbosity=2)).split())
    assert flat.count("offered cdcdcdcdcdcdcdcd (of h00001), answered the same") == 6
    assert "22 more in results.json" in flat


def test_a_handshake_that_the_result_does_not_hold_is_named_all_the_same() -> None:
    told = lines(result(["n1"], [finding("CORE-05", "n1", "passed", evidence={
        "handshakes": ["h12345"]})]), verbosity=3)
    assert "         h12345  is in handshakes.jsonl only" in told


def test_a_handshake_that_failed_says_why_at_vv() -> None:
    nothing = dict.fromkeys(("library_reused", "wire_abbreviated", "same_master_secret"))
    results = result(["n1"], [finding("CORE-01", "n1", "error", evidence={
        "handshakes": ["h00001"]})], handshakes={"h00001": handshake(
            "n1", "failed", why="no answer within 5 s", version=None, cipher=None,
            handshake_ms=None, bytes_in=0, witnesses=nothing)})
    assert "         h00001  n1: failed, 0 bytes in, 241 out; no answer within 5 s" in lines(
        results, verbosity=2)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
@pytest.mark.parametrize("count", [1, 3, 8, 12, 50, 100])
def test_matrices_of_any_size_keep_to_the_width(count: int, width: int) -> None:
    names = [f"emqx{number}" for number in range(1, count + 1)]
    bad = {(names[-1], names[-1]): "full", (names[0], names[-1]): "resumed"}
    results = result(names, [finding("CORE-01", name, "passed") for name in names],
                     matrix=matrix(names, bad if count > 1 else {}))
    told = lines(results, width)
    assert max(map(len, told)) <= width
    flat = " ".join(" ".join(told).split())
    if count == 1:
        assert "emqx1 resumed" in flat
    elif "! marks" not in flat:
        # Whoever reads signs or numbers still learns which pairs are meant.
        assert f"! full instead of resumed (full_why): {names[-1]}->{names[-1]}" in flat
        assert f"! resumed instead of full (resumed_why): {names[0]}->{names[-1]}" in flat


def test_twelve_nodes_become_signs_under_numbers() -> None:
    names = [f"node-{number}" for number in range(1, 13)]
    results = result(names, [], matrix=matrix(
        names, {("node-2", "node-2"): "full", ("node-1", "node-12"): "refused"},
        [("node-12", "node-1")]))
    told = lines(results)
    begin = told.index("") + 1
    assert told[begin:begin + 7] == [
        "Session of (row) offered to (column, by number): r resumed, - full, . not",
        "measured, F full, X refused; what was not expected is in capitals",
        "                              1",
        "            1 2 3 4 5 6 7 8 9 0 1 2",
        " 1 node-1   r - - - - - - - - - - X",
        " 2 node-2   - F - - - - - - - - - -",
        " 3 node-3   - - r - - - - - - - - -"]
    assert told[begin + 15:begin + 19] == [
        "12 node-12  . - - - - - - - - - - r",
        "! refused instead of full (refused_why): node-1->node-12",
        "! full instead of resumed (full_why): node-2->node-2", ""]


def test_fifty_nodes_stand_in_tens() -> None:
    names = [f"e{number}" for number in range(1, 51)]
    told = lines(result(names, []))
    tens = next(at for at, line in enumerate(told) if line.strip().startswith("1    "))
    assert told[tens:tens + 3] == [
        "                 1          2          3          4          5",
        "        1234567890 1234567890 1234567890 1234567890 1234567890",
        " 1 e1   r--------- ---------- ---------- ---------- ----------"]


def test_a_hundred_nodes_become_numbers() -> None:
    names = [f"emqx{number}" for number in range(1, 101)]
    left_out = [(one, other) for one in names for other in names[50:] if one != other]
    told = lines(result(names, [], matrix=matrix(names, {("emqx7", "emqx7"): "full"}, left_out)))
    begin = told.index("") + 1
    assert told[begin:begin + 5] == [
        "Sessions of 100 nodes offered to each of them; the whole matrix is in index.html",
        "the same node  99 of 100 pairs as expected, 1 not",
        (f"another node   {9900 - len(left_out)} of 9900 pairs as expected, {len(left_out)} not "
         "measured"),
        "! full instead of resumed (full_why): emqx7->emqx7", ""]


def test_what_is_left_out_on_purpose_is_no_reason_to_worry() -> None:
    names = [f"emqx{number}" for number in range(1, 13)]
    colours = {line.text[:2]: line.colour for line in terminal.render(result(
        names, [], matrix=matrix(names, {("emqx2", "emqx2"): "full"}, [("emqx1", "emqx2")])), "x")
        if line.text[:2] in (" 1", " 2")}
    assert colours == {" 1": "green", " 2": "red"}


def test_wide_and_hostile_names_stay_in_their_columns() -> None:
    names = ["\u8282\u70b9\u4e00", "n\x1b[2J", "plain"]
    told = lines(result(names, [finding("CORE-01", names[1], "failed", "\x1b[31mred\u202e\r\n")],
                        target={"driver": "d", "product": "\u4e2d" * 100, "version": None,
                                "otp_release": None, "how_identified": "x"}))
    assert all(line.isprintable() for line in told)
    assert max(map(columns, told)) <= 80
    heads, first, second = told[told.index("") + 2:told.index("") + 5]
    # The second column begins where its head does, counted in columns.
    at = columns(heads[:heads.index("n?[2J")])
    assert columns(first[:first.index("full")]) == at
    assert columns(second[:second.index("resumed")]) == at
    assert "         ?[31mred?" in told


def test_tables_that_do_not_fit_become_sentences() -> None:
    told = lines(result(["n1"], []), 40)
    assert "full: count 2, p50 ms 1.50, p95 ms 2.25," in told
    assert max(map(len, told)) <= 40


@pytest.mark.parametrize(("head", "text", "width", "expected"), [
    ("Note      ", "a few words that go on", 20,
     ["Note      a few", "      words that go", "      on"]),
    ("", "", 20, [""]),
    ("Verdict   ", "passed", 20, ["Verdict   passed"]),
    ("         ", "see /a/path/that/is/longer/than/that now", 20,
     ["         see", "      /a/path/that/is/longer/than/that", "      now"]),
    ("head ", "\u4e2d" * 12, 15, ["head \u4e2d\u4e2d\u4e2d\u4e2d\u4e2d",
                                  "     \u4e2d\u4e2d\u4e2d\u4e2d\u4e2d", "     \u4e2d\u4e2d"]),
])
def test_words_hang_under_their_head(head: str, text: str, width: int,
                                     expected: list[str]) -> None:
    assert hanging(head, text, width) == expected


def test_columns_are_counted_as_a_terminal_does() -> None:
    assert [columns(text) for text in ("abc", "\u4e2d\u6587", "e\u0301", "\uff21", "")] == [
        3, 4, 1, 2, 0]
    assert clipped("\u4e2d\u6587\u4e2d", 5) == "\u4e2d\u6587~"
    assert clipped("abcdef", 6) == "abcdef"
    assert printable("a\u3000b\x00\x9b\u200b\ud800c") == "a b????c"


def test_with_vantage_points_it_says_whose_figures_these_are() -> None:
    results = result(["n1"], [finding("CORE-01", "n1", "passed")], vantage={
        "controller": {"verdict": "passed", "headline": "fine"}, "differences": [],
        "points": [{"name": "far", "host": "h", "message": "gone", "python": None,
                    "openssl": None, "report": None}]})
    told = lines(results)
    assert "Findings  of the controller: 1 passed" in told
    assert any(line.startswith("Budget    of the controller: 10 handshakes") for line in told)
    assert not any("of the controller" in line for line in lines(result(["n1"], [])))
