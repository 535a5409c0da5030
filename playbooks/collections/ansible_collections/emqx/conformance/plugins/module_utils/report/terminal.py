"""The result as text for a terminal, from 80 columns up."""
from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

from . import known

_LETTERS = {"resumed": "R", "full": "F", "refused": "X", "failed": "!", "inconsistent": "?",
            "not_measured": "."}
_COLOURS = {"passed": "green", "failed": "red", "error": "red", "known": "yellow",
            "warned": "yellow", "info": "normal", "skipped": "cyan"}


@dataclass(frozen=True)
class Line:
    """One line and the colour Ansible's display should give it."""

    text: str
    colour: str = "normal"


def render(results: dict[str, Any], report: str, width: int = 80) -> list[Line]:
    """Return the whole summary."""
    lines = [*_head(results, width), Line(""), *_matrix(results, width), Line(""),
             *_findings(results, width), Line(""), *_latency(results), Line("")]
    verdict = results["verdict"]
    counts = ", ".join(f"{number} {status}" + (f" ({kinds})" if kinds else "")
                       for status, number, kinds in known.counted(results))
    lines += [Line(f"Report    {report}"), *_wrapped(_budget(results), width, 10),
              *_wrapped(f"Findings  {counts}", width, 10)]
    for note in known.notes(results):
        lines += _wrapped(f"Note      {_capital(note)}", width, 10, _COLOURS["warned"])
    lines += _wrapped(f"Verdict   {verdict.upper()}: {results['headline']}", width, 10,
                      _COLOURS[verdict])
    return lines


def _budget(results: dict[str, Any]) -> str:
    budget = results["budget"]
    nodes = budget["nodes"].values()
    announced, done = (sum(node[key] for node in nodes)
                       for key in ("handshakes_announced", "handshakes_done"))
    made = max(node["sessions_made"] for node in nodes)
    renewals = sum(node["renewals"] for node in nodes)
    more = f" and {renewals} more for sessions that had grown old" if renewals else ""
    return (f"Budget    {announced} handshakes announced{more}, {done} made; at most {made} new "
            f"sessions on one node (limit {budget['session_limit']})")


def _wrapped(text: str, width: int, indent: int, colour: str = "normal") -> list[Line]:
    return [Line(line, colour) for line in textwrap.wrap(
        text, width, subsequent_indent=" " * indent, break_long_words=False,
        break_on_hyphens=False)]


def _head(results: dict[str, Any], width: int) -> list[Line]:
    target = results["target"]
    what = target["product"]
    if target["version"]:
        what += f" {target['version']}"
    if target["otp_release"]:
        what += f", Erlang/OTP {target['otp_release']}"
    return [
        *_wrapped(f"Target    {what} (driver {target['driver']})", width, 10),
        *_wrapped(f"          {_capital(target['how_identified'])}", width, 10),
        Line(f"Started   {results['started_at']}, took {results['duration_s']:.1f} s")]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _matrix(results: dict[str, Any], width: int) -> list[Line]:
    names = [node["name"] for node in results["nodes"]]
    cells = {(cell["issuer"], cell["redeemer"]): cell for cell in results["matrix"]}
    first = max(len("issuer"), *map(len, names)) + 2
    column = max(len("inconsistent !"), *map(len, names)) + 2
    if first + column * len(names) <= width:
        return _matrix_in_words(names, cells, first, column)
    return _matrix_in_letters(names, cells, first, width)


def _mark(cell: dict[str, Any]) -> str:
    return "" if cell["passed"] or cell["outcome"] == "not_measured" else " !"


def _matrix_in_words(names: list[str], cells: dict[tuple[str, str], dict[str, Any]],
                     first: int, column: int) -> list[Line]:
    lines = [Line("Session of (row) offered to (column); ! marks what was not expected"),
             Line(" " * first + "".join(name.ljust(column) for name in names).rstrip())]
    for issuer in names:
        row = [cells[issuer, redeemer] for redeemer in names]
        text = "".join(f"{cell['outcome'].replace('_', ' ')}{_mark(cell)}".ljust(column)
                       for cell in row)
        lines.append(Line(issuer.ljust(first) + text.rstrip(), _row_colour(row)))
    return lines


def _matrix_in_letters(names: list[str], cells: dict[tuple[str, str], dict[str, Any]],
                       first: int, width: int) -> list[Line]:
    legend = ", ".join(f"{letter} {outcome.replace('_', ' ')}"
                       for outcome, letter in _LETTERS.items())
    lines = [*_wrapped(f"Session of (row) offered to (column, in the same order): {legend}; "
                       "lower case or # marks what was not expected", width, 2)]
    for issuer in names:
        row = [cells[issuer, redeemer] for redeemer in names]
        text = "".join(_letter(cell) for cell in row)
        for at in range(0, len(text), width - first):
            lines.append(Line((issuer if at == 0 else "").ljust(first)
                              + text[at:at + width - first], _row_colour(row)))
    return lines


def _letter(cell: dict[str, Any]) -> str:
    letter = _LETTERS[cell["outcome"]]
    if not _mark(cell):
        return letter
    return letter.lower() if letter.isalpha() else "#"


def _row_colour(row: list[dict[str, Any]]) -> str:
    if all(cell["passed"] for cell in row):
        return "green"
    return "red" if any(_mark(cell) for cell in row) else "cyan"


def _findings(results: dict[str, Any], width: int) -> list[Line]:
    lines: list[Line] = []
    by_check: dict[str, list[dict[str, Any]]] = {}
    for row in results["checks"]:
        by_check.setdefault(row["id"], []).append(row)
    for check, rows in by_check.items():
        statuses = [row["status"] for row in rows]
        worst = next(status for status in
                     ("failed", "error", "known", "warned", "skipped", "info", "passed")
                     if status in statuses)
        share = f"{statuses.count(worst)}/{len(rows)}"
        lines += _wrapped(f"{check:<7}  {worst:<7} {share:>7}  {rows[0]['title']}", width, 26,
                          _COLOURS[worst])
        told: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        for row in rows:
            if row["status"] not in ("passed", "info"):
                told.setdefault((row["status"], row["reason"], known.explanation(row)),
                                []).append(row)
        for (status, _, _), members in told.items():
            lines += _details(status, members, width)
    return lines


def _details(status: str, members: list[dict[str, Any]], width: int,
             most: int = 4) -> list[Line]:
    """Tell one reason once: the first subject's sentence, then whom else it hit."""
    first = members[0]
    text = first["message"]
    others = [row["subject"] for row in members[1:]]
    if others:
        more = f" and {len(others) - most} more" if len(others) > most else ""
        text += f" (the same: {', '.join(others[:most])}{more})"
    return [line for said in (text, known.explanation(first)) if said
            for line in _wrapped(f"         {said}", width, 9, _COLOURS[status])]


def _latency(results: dict[str, Any]) -> list[Line]:
    lines = [Line("Handshake  count    p50 ms    p95 ms    p99 ms  bytes in  bytes out")]
    for kind in ("full", "resumed"):
        row = results["latency"][kind]
        cells = [_number(row[key]) for key in ("p50_ms", "p95_ms", "p99_ms")]
        lines.append(Line(f"{kind:<9}{row['count']:>7}" + "".join(f"{cell:>10}" for cell in cells)
                          + f"{_number(row['bytes_in']):>10}{_number(row['bytes_out']):>11}"))
    return lines


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.2f}"
