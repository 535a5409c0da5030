"""The same cluster seen from several places: their results, merged, and where they differ.

The controller's own result is the report; ``vantage`` in it holds a whole result of each vantage
point beside it, so that nothing is lost in merging.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..vantage import CONTROLLER
from .grouped import AFTERMATH

_WORST_FIRST = ("failed", "error", "passed")


@dataclass(frozen=True)
class VantagePoint:
    """A host of the inventory to probe from."""

    name: str
    host: str
    """Its address, as Ansible connects to it."""


def not_measured(point: VantagePoint, why: str) -> dict[str, Any]:
    """Return the row of a vantage point without a result; ``why`` is a clause."""
    return {"name": point.name, "host": point.host, "message": why, "python": None,
            "openssl": None, "report": None}


def measured(point: VantagePoint, report: dict[str, Any], *, python: str,
             openssl: str) -> dict[str, Any]:
    """Return the row of a vantage point with its result and what it was probed with."""
    return {"name": point.name, "host": point.host, "message": "", "python": python,
            "openssl": openssl, "report": report}


def verdict_of(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return a vantage point's verdict and headline; one without a result is an error."""
    report = row["report"]
    return ("error", row["message"]) if report is None else (report["verdict"], report["headline"])


def reports(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the result objects of all places that have one, the controller's first."""
    points = results.get("vantage", {}).get("points", ())
    return {CONTROLLER: results, **{row["name"]: row["report"] for row in points
                                    if row["report"] is not None}}


def merged(results: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the controller's result with these vantage points' in it, judged all together.

    ``results`` may have been merged before; then these rows replace those of the same names.
    """
    before = results.get("vantage", {"controller": {key: results[key]
                                                    for key in ("verdict", "headline")},
                                     "points": []})
    new = {row["name"]: row for row in rows}
    old = [row["name"] for row in before["points"]]
    points = [new.get(row["name"], row) for row in before["points"]]
    points += [row for row in rows if row["name"] not in old]
    said = {CONTROLLER: (before["controller"]["verdict"], before["controller"]["headline"]),
            **{row["name"]: verdict_of(row) for row in points}}
    verdicts = {verdict for verdict, _ in said.values()}
    return {**results,
            "verdict": next(verdict for verdict in _WORST_FIRST if verdict in verdicts),
            "headline": _headline({place: headline for place, (_, headline) in said.items()}),
            "vantage": {"controller": before["controller"], "points": points,
                        "differences": differences(results, points)}}


def _headline(said: Mapping[str, str]) -> str:
    places: dict[str, list[str]] = {}
    for place, headline in said.items():
        places.setdefault(headline, []).append(_called(place))
    return "; ".join(f"from {_listed(names)}: {headline}" for headline, names in places.items())


def _called(place: str) -> str:
    return f"the {CONTROLLER}" if place == CONTROLLER else place


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def differences(results: Mapping[str, Any],
                points: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the cells and findings that are not the same wherever they were measured.

    What a place does not measure by design (a check that needs more than python3, a pair left out
    by the budget) is no difference.
    """
    seen: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for place, report in reports({**results, "vantage": {"points": list(points)}}).items():
        for cell in report["matrix"]:
            if cell["reason"] not in ("not_sampled", "not_chosen"):
                subject = f"{cell['issuer']}->{cell['redeemer']}"
                seen.setdefault(("matrix", subject), {})[place] = {
                    "result": cell["outcome"], "reason": cell["reason"]}
        for row in report["checks"]:
            if row["status"] != "skipped" or row["reason"].startswith(AFTERMATH):
                seen.setdefault((row["id"], row["subject"]), {})[place] = {
                    "result": row["status"], "reason": row["reason"]}
    return [{"what": what, "subject": subject, "seen": there}
            for (what, subject), there in seen.items()
            if len({tuple(told.items()) for told in there.values()}) > 1]


def told(differing: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[str], list[str]]]:
    """Return for people what differs, what is alike together: what, subjects, what was seen where.

    What was seen is a clause for each result: ``passed from the controller and v1``. Checks that
    were skipped somewhere only because others had failed there are left out.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for row in differing:
        if any(one["result"] == "skipped" for one in row["seen"].values()):
            continue
        places: dict[str, list[str]] = {}
        for place, one in row["seen"].items():
            result = one["result"].replace("_", " ")
            reason = f" ({one['reason']})" if one["reason"] else ""
            places.setdefault(f"{result}{reason}", []).append(_called(place))
        clauses = tuple(f"{result} from {_listed(names)}" for result, names in places.items())
        groups.setdefault((row["what"], clauses), []).append(row["subject"])
    return [(what, subjects, list(clauses)) for (what, clauses), subjects in groups.items()]
