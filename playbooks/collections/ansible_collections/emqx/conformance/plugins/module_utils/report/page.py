"""index.html: the result object as one self-contained page.

What its script adds can be had without it: ladders of handshakes as a line each, all findings at
once instead of a search.
"""
from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..run import beyond
from . import compare, known, ladders, page_findings, plots, vantage
from .grouped import WORST_FIRST, landed
from .template import Template

with contextlib.suppress(ImportError):  # Only on a host without ansible-core: template.py says so.
    from markupsafe import Markup

_LETTERS = {"resumed": "R", "full": "F", "refused": "X", "failed": "!", "inconsistent": "?",
            "not_measured": "·"}
_CHANGES = {"head": ("", ""), "worse": ("failed", "▼ worse"), "better": ("passed", "▲ better"),
            "other": ("info", "= other")}
"""By kind of change: the class of its badge, and what it says."""
_MOST_IN_WORDS = 8
"""Up to this many nodes the cells of the matrix hold words, beyond it letters."""
_MOST_PROBLEMS = 6
"""So many are told at the top; all of them are among the findings."""


class Page:
    """Makes the page of result objects."""

    def __init__(self, template: Path) -> None:
        """Read the template, and its style sheet and script beside it. Raises PageError."""
        self._template = Template(template, styles=("report.css",), script="report.js")

    def render(self, results: dict[str, Any]) -> bytes:
        """Return the page of a result object."""
        names = [node["name"] for node in results["nodes"]]
        families = page_findings.families(results)
        problems = page_findings.problems(families)
        matrices = [_Matrix(results, names, page_findings.evidence(families))]
        places = _places(results, names, matrices)
        return self._template.render(
            results=results, names=names, statuses=WORST_FIRST,
            matrix=matrices[0], matrices=matrices, places=places,
            families=families, problems=problems[:_MOST_PROBLEMS],
            more_problems=max(0, len(problems) - _MOST_PROBLEMS), pairs=_pairs(results),
            scope_sentence=_scope(results), through=_through(results),
            worth=[row for row in results["checks"] if row["id"] == "PERF-01" and "data" in row],
            on_top=beyond.on_top, more_handshakes=beyond.told(beyond.addresses(results)),
            polls=beyond.polls(beyond.addresses(results)),
            counts=known.counted(results), notes=known.notes(results),
            changes=[(_CHANGES[kind], text) for text, kind in compare.told(results)],
            # They cost more than all else: a run that goes on is shown without them.
            plots=_plots(results) if results["complete"] else [],
            differences=vantage.told(results.get("vantage", {}).get("differences", ())))


class _Matrix:
    """One place's matrix and the handshakes to look at behind it."""

    def __init__(self, results: Mapping[str, Any], names: Sequence[str],
                 evidence: Iterable[str] = ()) -> None:
        self.words = len(names) <= _MOST_IN_WORDS
        cells = {(cell["issuer"], cell["redeemer"]): cell for cell in results["matrix"]}
        self.rows = [(issuer, Markup("".join(  # noqa: S704 - of outcomes alone
            _cell(cells.get((issuer, redeemer)), words=self.words) for redeemer in names)))
            for issuer in names]
        shown = ladders.compact(results, [*evidence, *(
            cell["evidence"]["handshake"] for cell in results["matrix"] if cell["evidence"])])
        self.shown, self.all = len(shown["handshakes"]), len(results["handshakes"])
        self.data = Markup(ladders.embedded(shown))  # noqa: S704 - escaped for where it goes


def _cell(cell: Mapping[str, Any] | None, *, words: bool) -> str:
    outcome = cell["outcome"] if cell else "not_measured"
    return _drawn(outcome, words=words, unexpected=(
        cell is not None and not cell["passed"] and outcome != "not_measured"))


@functools.cache
def _drawn(outcome: str, *, words: bool, unexpected: bool) -> str:
    # Ten thousand of them in a page of a hundred nodes: nothing that the script can find out.
    said = outcome.replace("_", " ") if words else _LETTERS[outcome]
    if unexpected and said != "!":
        said += " !" if words else "!"
    kind = f'"{outcome} unexpected"' if unexpected else outcome
    return f"<td class={kind}>{said}"


def _pairs(results: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many pairs are as expected, of how many."""
    return sum(cell["passed"] for cell in results["matrix"]), len(results["matrix"])


def _plots(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return key, title and picture of each plot."""
    # Within HTML the namespace goes without saying, and so no address is on the page.
    namespace = ' xmlns="http://www.w3.org/2000/svg"'
    return [{"key": plot.key, "title": plot.title,
             "svg": Markup(plot.svg.replace(namespace, "", 1))}  # noqa: S704 - escaped there
            for plot in plots.plots(results)]


def _scope(results: Mapping[str, Any]) -> str:
    expected = {cell["issuer"] == cell["redeemer"] for cell in results["matrix"]
                if cell["expected"] == "resumed"}
    return {frozenset({True}): "on the diagonal only",
            frozenset({True, False}): "everywhere", frozenset(): "nowhere"}[frozenset(expected)]


def _places(results: Mapping[str, Any], names: Sequence[str],
            matrices: list[_Matrix]) -> list[dict[str, Any]]:
    """Return each vantage point with its verdict and, where there is one, its matrix's number."""
    places = []
    for point in results.get("vantage", {}).get("points", ()):
        verdict, headline = vantage.verdict_of(point)
        report = point["report"]
        if report:
            matrices.append(_Matrix(report, names))
        places.append({**point, "verdict": verdict, "headline": headline,
                       "counts": known.counted(report) if report else [],
                       "matrix": len(matrices) - 1 if report else None})
    return places


def _through(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each address that may lead to several nodes, where it was measured."""
    return [{"name": row["subject"], "status": row["status"],
             "shares": list(landed(row["data"]).items()), **row["data"]}
            for row in results["checks"] if row["id"] == "LB-01" and "data" in row]
