"""summary.md: the result in Markdown, for the page of a CI job.

Whatever a target or an inventory says is escaped: it cannot make a link, an image, HTML, another
row of a table or a line of its own. GitHub takes 1 MiB of summary from a step and nothing of a
larger one, so every part has its share, and what does not fit into it is counted.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from ..run import beyond
from ..vantage import CONTROLLER
from ..words import capital, figure, some, stop
from . import compare, known, vantage
from .archive import FILE
from .columns import printable
from .grouped import Group, grouped, why_left_out
from .matrix_text import unexpected

_MOST_IN_TABLE = 12
"""Nodes whose matrix is shown whole."""
_MOST_NAMED = 8
"""Subjects that are named where many are hit."""
_MOST_BYTES = 3000
"""Of one sentence, UTF-8 and escaped."""
_MOST_OF_NAME = 300
_SHARE = {"findings": 400_000, "skipped checks": 100_000, "pairs": 50_000, "places": 50_000,
          "differences": 50_000, "changes": 100_000, "notes": 50_000}
"""Bytes for each part that may be long: 800,000 together, and the rest is short."""
_NOT_GOOD = ("failed", "error", "known", "warned", "info")

_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;"}
_MARKDOWN = re.compile(
    r"[\\`*\[\]|~#@]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # within a word it is an underscore
    r"|:(?=//)|(?<=www)\.",  # which would become a link by itself
    re.IGNORECASE)


def render(results: dict[str, Any], *, page: bool, filed: bool = False) -> bytes:
    """Return the summary of a result object.

    Args:
        results: the result object.
        page: whether there is an index.html beside it.
        filed: whether there is a handshakes.jsonl, with evidence that results.json has no room for.
    """
    sections = [_head(results), _matrix(results), _findings(results), _skipped(results),
                _latency(results), _comparison(results), _vantage(results), _notes(results),
                _files(page=page, filed=filed)]
    return ("\n\n".join("\n".join(section) for section in sections if section) + "\n").encode()


def escaped(text: str, most: int = _MOST_BYTES) -> str:
    """Return a text as Markdown that shows it, in one line, and cut where it is very long."""
    told, size = [], 0
    for one in printable(" ".join(text.split())):
        size += len(one.encode("utf-8", "replace"))
        if size > most:
            told.append("...")
            break
        told.append(one)
    return "".join(_HTML.get(one, one) for one in _MARKDOWN.sub(r"\\\g<0>", "".join(told)))


def _name(text: str) -> str:
    return escaped(text, _MOST_OF_NAME)


def _within(what: str, lines: Iterable[str]) -> list[str]:
    """Return the lines that fit into a part's share, and how many do not."""
    kept: list[str] = []
    size, left_out = 0, 0
    for line in lines:
        size += len(line.encode()) + 1
        if size <= _SHARE[what]:
            kept.append(line)
        else:
            left_out += 1
    if left_out:
        kept.append(f"- {left_out} more {what} do not fit in here: results.json has all.")
    return kept


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}",
            *(f"| {' | '.join(row)} |" for row in rows)]


def _head(results: dict[str, Any]) -> list[str]:
    target = results["target"]
    what = f"{target['product']} {target['version'] or ''}".rstrip()
    if target["otp_release"]:
        what += f", Erlang/OTP {target['otp_release']}"
    counts = ", ".join(f"{number} {status}" + (f" ({kinds})" if kinds else "")
                       for status, number, kinds in known.counted(results))
    addresses = beyond.addresses(results)
    more = [*beyond.told(addresses), *filter(None, [beyond.polls(addresses)])]
    return [
        f"## TLS 1.2 session-ID resumption: {results['verdict'].upper()}", "",
        f"{capital(escaped(results['headline']))}.", "",
        (f"- Target: {_name(what)} (driver {_name(target['driver'])}); "
         f"{_name(target['how_identified'])}"),
        f"- Started {_name(results['started_at'])}, took {results['duration_s']:.1f} s",
        f"- Findings: {escaped(counts)}",
        *([f"- Handshakes beyond those announced: {'; '.join(more)}"] if more else [])]


def _matrix(results: dict[str, Any]) -> list[str]:
    names = [node["name"] for node in results["nodes"]]
    cells = {(cell["issuer"], cell["redeemer"]): cell for cell in results["matrix"]}
    if len(names) <= _MOST_IN_TABLE:
        rows = [[f"**{_name(issuer)}**", *(_cell(cells[issuer, other]) for other in names)]
                for issuer in names]
        return ["### Session of (row) offered to (column)", "",
                *_table(["", *map(_name, names)], rows)]
    rows = []
    for what, of_kind in (
            ("the same node", [cell for pair, cell in cells.items() if pair[0] == pair[1]]),
            ("another node", [cell for pair, cell in cells.items() if pair[0] != pair[1]])):
        good = sum(cell["passed"] for cell in of_kind)
        bad = sum(unexpected(cell) for cell in of_kind)
        rows.append([what, *map(str, (len(of_kind), good, bad, len(of_kind) - good - bad))])
    named = [f"- {_name(cell['issuer'])} to {_name(cell['redeemer'])}: {_said(cell)} instead of "
             f"{cell['expected']}{f' ({reason})' if (reason := _name(cell['reason'])) else ''}"
             for cell in cells.values() if unexpected(cell)]
    told = [f"### Sessions of {len(names)} nodes offered to each of them", "",
            *_table(["offered to", "pairs", "as expected", "not as expected", "not measured"],
                    rows)]
    return [*told, "", *_within("pairs", named)] if named else told


def _said(cell: dict[str, Any]) -> str:
    return str(cell["outcome"]).replace("_", " ")


def _cell(cell: dict[str, Any]) -> str:
    return f"**{_said(cell)} !**" if unexpected(cell) else _said(cell)


def _findings(results: dict[str, Any]) -> list[str]:
    """Tell what is not passed, what failed first."""
    checks = grouped(results["checks"]).checks
    lines = [_finding(check.id, check.title, group)
             for status in _NOT_GOOD for check in checks for group in check.groups
             if group.status == status]
    return ["### What there is to say", "", *_within("findings", lines)] if lines else []


def _finding(check: str, title: str, group: Group) -> str:
    text = escaped(group.message)
    if group.others:
        text += f" ({group.alike}: {_some(group.others)})"
    why = escaped(known.name(group.rows[0]))
    return (f"- **{check} {group.status}**, {escaped(title)}: {stop(text)}"
            f"{f' {why}' if why else ''}")


def _some(names: list[str]) -> str:
    return some([_name(name) for name in names], _MOST_NAMED)


def _skipped(results: dict[str, Any]) -> list[str]:
    """Tell in what can be unfolded what was skipped, and why."""
    found = grouped(results["checks"])
    lines = [_finding(check.id, check.title, group) for check in found.checks
             for group in check.groups if group.status == "skipped"]
    if found.consequences:
        subjects = list(dict.fromkeys(
            name for names in found.consequences.values() for name in names))
        lines.append(f"- As a consequence of the above, on {_some(subjects)}: "
                     f"{', '.join(found.consequences)}")
    lines += [f"- Since {escaped(why_left_out(why, checks))}: {', '.join(checks)}"
              for why, checks in found.left_out.items()]
    if not lines:
        return []
    # Markdown is read inside an HTML block only after an empty line.
    return [f"<details><summary>Skipped: {results['counts']['skipped']}</summary>", "",
            *_within("skipped checks", lines), "", "</details>"]


def _latency(results: dict[str, Any]) -> list[str]:
    keys = ("p50_ms", "p95_ms", "p99_ms", "bytes_in", "bytes_out")
    rows = [[kind, str(row["count"]), *(figure(row[key]) for key in keys)]
            for kind in ("full", "resumed") for row in [results["latency"][kind]]]
    return ["### Handshakes", "", *_table(
        ["", "count", "p50 ms", "p95 ms", "p99 ms", "bytes in", "bytes out"], rows)]


def _comparison(results: dict[str, Any]) -> list[str]:
    """Tell what changed against another run, if one was given."""
    told = compare.told(results)
    if not told:
        return []
    (head, _), *rest = told
    lines = [f"- {kind}: {escaped(text)}" if kind != "other" else f"- {escaped(text)}"
             for text, kind in rest]
    return ["### Compared with an earlier run", "", escaped(head), "", *_within("changes", lines)]


def _vantage(results: dict[str, Any]) -> list[str]:
    """Tell how it was seen from each place, and what was not the same from all of them."""
    if "vantage" not in results:
        return []
    seen = results["vantage"]
    own = seen["controller"]
    rows = [f"- the {CONTROLLER}: {own['verdict'].upper()}: {escaped(own['headline'])}"]
    for point in seen["points"]:
        verdict, headline = vantage.verdict_of(point)
        rows.append(f"- {_name(point['name'])}: {verdict.upper()}: {escaped(headline)}")
    told = [f"- {what} {_some(subjects)}: {escaped('; '.join(clauses))}"
            for what, subjects, clauses in vantage.told(seen["differences"])]
    differing = ["", "Seen differently:", "", *_within("differences", told)] if told else []
    return ["### Probed from", "", *_within("places", rows), *differing, "",
            f"All the rest is what was seen from the {CONTROLLER}."]


def _notes(results: dict[str, Any]) -> list[str]:
    lines = [f"- {stop(escaped(note))}" for note in known.notes(results)]
    return ["### Notes", "", *_within("notes", lines)] if lines else []


def _files(*, page: bool, filed: bool) -> list[str]:
    look = "`index.html` to look at, " if page else ""
    evidence = (f"`results.json` with the evidence, `{FILE}` with the handshakes that it has no "
                "room for, one a line" if filed else
                "`results.json` with the evidence of every handshake")
    return [f"Beside this file: {look}{evidence}, `junit.xml`."]
