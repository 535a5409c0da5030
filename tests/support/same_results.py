"""Tell whether two runs came to the same: equal but for times, random IDs and evidence gained.

    scripts/compare-results BEFORE/results.json AFTER/results.json

For a change that must not show: run the same checks on the same nodes before it and after it. What
must be equal are verdicts, reasons, sentences, counts, budgets, and which handshakes there were, as
which findings' evidence. Checks measure several subjects side by side, so the order of handshakes,
and with it their keys, is left to chance: a key stands for what its handshake showed.
"""
from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_OTHER = frozenset(("started_at", "duration_s", "latency"))
_IDS = frozenset(("offered_id", "server_id"))
_MEASURED = re.compile(r"\b[0-9a-f]{8,}\b|\d+\.\d+|\d+(?= (?:ms|s)\b)")
_NUMBER = re.compile(r"\d[\d.]*")


def differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Yield in a line each where two result objects differ."""
    had, has = (_shown(results) for results in (before, after))
    yield from _differing(_comparable(before, had), _comparable(after, has), "")
    one, other = (Counter(map(json.dumps, rows.values())) for rows in (had, has))
    for sign, rest in (("-", one - other), ("+", other - one)):
        for text, count in rest.items():
            yield f"handshakes: {sign}{count} {text}"
    if len(before["checks"]) == len(after["checks"]):
        for was, now in zip(before["checks"], after["checks"]):
            kept = iter(_evidence(now, has))
            for text in _evidence(was, had):
                if text not in kept:
                    yield f"checks: {was['id']} {was['subject']}: has lost its evidence {text}"
                    break


def _shown(results: dict[str, Any]) -> dict[str, Any]:
    """Return what each handshake showed, by key."""
    return {key: _plain(row) for key, row in results["handshakes"].items()}


def _comparable(results: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    """Return what must be equal, but handshakes and evidence."""
    return {
        **{name: _plain(value) for name, value in results.items()
           if name not in (*_OTHER, "handshakes", "checks", "matrix")},
        "handshakes": list(results["handshakes"]),
        "checks": [_finding(row) for row in results["checks"]],
        "matrix": [{**_plain(cell), "evidence": {
            **_plain(cell["evidence"]), "handshake": shown.get(cell["evidence"].get("handshake"))}}
            for cell in results["matrix"]]}


def _finding(row: dict[str, Any]) -> dict[str, Any]:
    # What INFO tells are figures, of which each run has its own.
    told = _NUMBER.sub("#", row["message"]) if row["level"] == "INFO" else row["message"]
    evidence = {name: value for name, value in row["evidence"].items() if name != "handshakes"}
    return {**_plain(row), "message": _plain(told), "evidence": evidence,
            "data": _shape(row.get("data"))}


def _evidence(row: dict[str, Any], shown: dict[str, Any]) -> list[str]:
    return [json.dumps(shown.get(key, "filed")) for key in row["evidence"]["handshakes"]]


def _plain(value: Any) -> Any:
    """Return a value without what each run has of its own."""
    if isinstance(value, dict):
        return {name: len(member) if name in _IDS else _plain(member)
                for name, member in value.items()
                if not name.endswith("_ms") and name not in _OTHER}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    # Only sentences tell times: not an address, and not a version.
    return _MEASURED.sub("#", value) if isinstance(value, str) and " " in value else value


def _shape(value: Any) -> Any:
    """Return which figures there are, and not how large they are."""
    if isinstance(value, dict):
        return {name: _shape(member) for name, member in value.items()}
    if isinstance(value, str):
        return _NUMBER.sub("#", value)
    return type(value).__name__


def _differing(before: Any, after: Any, where: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict) and list(before) == list(after):
        for name in before:
            yield from _differing(before[name], after[name], f"{where}.{name}".lstrip("."))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, pair in enumerate(zip(before, after)):
            yield from _differing(*pair, f"{where}[{place}]")
    elif before != after:
        yield f"{where}: {json.dumps(before)} -> {json.dumps(after)}"


def main(before: str, after: str) -> int:
    """Print the differences; return 1 where there are any."""
    found = list(differences(*(json.loads(Path(path).read_text(encoding="utf-8"))
                               for path in (before, after))))
    sys.stdout.write(("\n".join(found) or "equal but for times, IDs and evidence gained") + "\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
