"""index.html: the result object as one self-contained page.

Jinja2 comes with ansible-core on the controller. On a vantage host with nothing but python3
there is none, and then there is no page; the other files are written all the same.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any

from . import known

try:
    import jinja2
except ImportError:  # pragma: no cover - only on a host without ansible-core
    jinja2 = None  # type: ignore[assignment]

_LETTERS = {"resumed": "R", "full": "F", "refused": "X", "failed": "!", "inconsistent": "?",
            "not_measured": "·"}
_WORST_FIRST = ("failed", "error", "known", "warned", "skipped", "info", "passed")
_MOST_IN_WORDS = 8
"""Up to this many nodes the cells of the matrix hold words, beyond it letters."""


class PageError(Exception):
    """The page cannot be made; the sentence says why."""


class Page:
    """A template, read once, since the report is written again and again as the run goes."""

    def __init__(self, template: Path) -> None:
        """Read the template. Raises PageError."""
        if jinja2 is None:
            raise PageError("index.html needs Jinja2, which comes with ansible-core")
        try:
            text = template.read_text(encoding="utf-8")
        except OSError as error:
            raise PageError(f"the report's template {template} cannot be read: "
                            f"{error.strerror}") from None
        # What targets say ends up here: everything is escaped.
        environment = jinja2.Environment(autoescape=True, trim_blocks=False,
                                         undefined=jinja2.StrictUndefined)
        self._template = environment.from_string(text)

    def render(self, results: dict[str, Any]) -> bytes:
        """Return the page of a result object."""
        names = [node["name"] for node in results["nodes"]]
        dense = len(names) > _MOST_IN_WORDS
        text: str = self._template.render(
            results=results, names=names, dense=dense, rows=_rows(results, names, dense=dense),
            checks=_checks(results), scope_sentence=_scope(results),
            counts=known.counted(results), notes=known.notes(results))
        return text.encode()


def _scope(results: dict[str, Any]) -> str:
    expected = {cell["issuer"] == cell["redeemer"] for cell in results["matrix"]
                if cell["expected"] == "resumed"}
    return {frozenset({True}): "on the diagonal only",
            frozenset({True, False}): "everywhere", frozenset(): "nowhere"}[frozenset(expected)]


def _rows(results: dict[str, Any], names: list[str], *, dense: bool) -> list[dict[str, Any]]:
    cells = {(cell["issuer"], cell["redeemer"]): cell for cell in results["matrix"]}
    return [{"issuer": issuer,
             "cells": [_cell(cells[issuer, redeemer], dense=dense) for redeemer in names]}
            for issuer in names]


def _cell(cell: dict[str, Any], *, dense: bool) -> dict[str, str]:
    outcome = cell["outcome"]
    unexpected = not cell["passed"] and outcome != "not_measured"
    text = _LETTERS[outcome] if dense else outcome.replace("_", " ")
    title = f"{cell['issuer']} → {cell['redeemer']}: {outcome.replace('_', ' ')}"
    if cell["reason"]:
        title += f" ({cell['reason']})"
    if cell["evidence"]:
        offered, answered = (cell[key] or "nothing" for key in ("offered_id", "server_id"))
        title += f"; {cell['evidence']['why']}; offered {offered}, answered {answered}"
    return {"style": "unexpected" if unexpected else outcome, "title": title,
            "text": f"{text}{'' if dense else ' '}!" if unexpected else text}


def _checks(results: dict[str, Any]) -> list[dict[str, Any]]:
    by_id: dict[str, list[dict[str, Any]]] = {}
    for row in results["checks"]:
        by_id.setdefault(row["id"], []).append(row)
    shown = []
    for check, rows in by_id.items():
        statuses = [row["status"] for row in rows]
        worst = next(status for status in _WORST_FIRST if status in statuses)
        shown.append({"id": check, "title": rows[0]["title"], "clause": rows[0]["clause"],
                      "level": rows[0]["level"], "worst": worst,
                      "share": f"{statuses.count(worst)} of {len(rows)}",
                      "groups": _groups(rows)})
    return shown


def _groups(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Say each reason once, with all its subjects, the worst first."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["status"], row["reason"], known.explanation(row)), []).append(row)
    return [{"status": status, "reason": reason, "message": members[0]["message"],
             "why_known": known.explanation(members[0]),
             "subjects": [row["subject"] for row in members],
             "open": status in ("failed", "error", "known", "warned")}
            for (status, reason, _), members in sorted(
                groups.items(), key=lambda item: _WORST_FIRST.index(item[0][0]))]
