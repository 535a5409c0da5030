"""What changed since an earlier run: two result objects side by side.

The comparison is part of the later one's result (``comparison``), so that every report can tell it.
Whatever was seen from several places is compared place by place.
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..vantage import CONTROLLER
from . import vantage
from .grouped import AFTERMATH, WORST_FIRST
from .times import handshake_times

SCHEMA_VERSION = "1.0"
"""Of results.json: what this writes, and the newest that this reads."""

_FILE = "results.json"
_LEVELS = {"passed": 0, "info": 0, "known": 1, "warned": 1, "failed": 2, "error": 2}
_UNMEASURED = ("not_measured", "interrupted", "not_sampled", "not_chosen")
"""Reasons of what a run has not come to, or leaves out by design: that is no change."""
_MOST = 6
"""Subjects that are named where many have changed alike."""
_SPREAD = (5, 95)
"""Percentiles between which a run's times spread."""
_TOLERANCE = 0.05
"""How far a node's measured capacity may be off without being another one."""


class CompareError(Exception):
    """There is nothing to compare with; the sentence says why."""


@dataclass(frozen=True)
class Previous:
    """An earlier run."""

    shown: str
    """Its folder or file, as a report names it."""
    results: Mapping[str, Any]
    """Its result object, which may lack ``handshakes``: nothing else here is as large."""
    times: Mapping[str, list[float]]
    """How long those took, as :func:`.times.handshake_times` has it."""

    @staticmethod
    def of(shown: str, results: Mapping[str, Any]) -> Previous:
        """Keep of a result object what is compared."""
        kept = {key: value for key, value in results.items() if key != "handshakes"}
        return Previous(shown, kept, handshake_times(results))


def find(path: Path) -> Path:
    """Return the results.json that a path stands for, with links followed.

    The link ``latest`` names another run as soon as this one has begun: follow it before.

    Raises:
        CompareError: there is none.
    """
    try:
        found = path.resolve(strict=True)
        if found.is_dir():
            found = (found / _FILE).resolve(strict=True)
    except FileNotFoundError:
        what = f"has no {_FILE}" if path.is_dir() else "does not exist"
        raise CompareError(f"{path} {what}: name the folder of an earlier run, such as "
                           f"reports/latest, or its {_FILE}") from None
    except (OSError, RuntimeError) as error:
        raise CompareError(f"{path} cannot be read: {_why(error)}") from None
    return found


def shown(path: Path, root: Path | None) -> str:
    """Return how a report names a file: from ``root`` on, where it is in there."""
    # A link that was followed leads into where the checkout really is.
    for base in (root, root.resolve()) if root else ():
        if path.is_relative_to(base):
            return str(path.relative_to(base))
    return str(path)


def load(path: Path, root: Path | None = None) -> Previous:
    """Return the run whose results.json or folder is at a path; ``root`` as of :func:`shown`.

    Raises:
        CompareError: it cannot be read, or is no result of a run that can be read here.
    """
    file = find(path)
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CompareError(f"{path} is no {_FILE}: it is not text") from None
    except OSError as error:
        raise CompareError(f"{path} cannot be read: {_why(error)}") from None
    try:
        results = json.loads(text)
    except ValueError as error:
        raise CompareError(f"{path} is no {_FILE}: it is not JSON ({error})") from None
    except RecursionError:
        raise CompareError(f"{path} is no {_FILE}: it nests too deeply") from None
    _check_version(path, results)
    try:
        previous = Previous.of(
            shown(file.parent if file.name == _FILE else file, root), results)
        # Whatever a comparison looks at must be there, whatever else there is or is not.
        told(compared(results, previous))
        "".join((results["started_at"], results["verdict"]))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise CompareError(f"{path} is no {_FILE} of this project, or is damaged: parts of it are "
                           "missing") from None
    return previous


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _check_version(path: Path, results: Any) -> None:
    """Refuse what is no result object, or one of a schema to come. Raises CompareError."""
    version = results.get("schema_version") if isinstance(results, dict) else None
    if not isinstance(version, str):
        raise CompareError(f"{path} is no {_FILE} of this project: it has no schema_version")
    try:
        numbers = tuple(int(part) for part in version.split("."))
    except ValueError:
        raise CompareError(f"{path} is no {_FILE} of this project: its schema_version is "
                           f'"{version[:20]}"') from None
    if numbers > tuple(int(part) for part in SCHEMA_VERSION.split(".")):
        raise CompareError(f"{path} was written by a newer version of this project: its "
                           f"schema_version is {version}, and {SCHEMA_VERSION} is the newest that "
                           "is known here")


@dataclass(frozen=True)
class _Run:
    """Of one place's result what is compared."""

    nodes: Mapping[str, Mapping[str, Any]]
    cells: Mapping[str, Mapping[str, Any]]
    """By ``issuer->redeemer``."""
    checks: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """By check and subject."""

    @staticmethod
    def of(results: Mapping[str, Any]) -> _Run:
        """Take what is compared out of a result object."""
        checks: dict[str, dict[str, Mapping[str, Any]]] = {}
        for row in results["checks"]:
            if row["reason"] not in _UNMEASURED and row["status"] in WORST_FIRST:
                checks.setdefault(row["id"], {})[row["subject"]] = row
        return _Run(
            {node["name"]: node for node in results["nodes"]},
            {f"{cell['issuer']}->{cell['redeemer']}": cell for cell in results["matrix"]
             if cell["reason"] not in _UNMEASURED and isinstance(cell["outcome"], str)}, checks)


def compared(results: dict[str, Any], previous: Previous) -> dict[str, Any]:
    """Return a result object with what changed since an earlier run in it.

    ``results`` may have been compared before; then this takes the place of it.
    """
    before = previous.results
    changes = [*_verdict(before, results), *_target(before, results)]
    reports, earlier = vantage.reports(results), vantage.reports(before)
    figures: list[dict[str, Any]] = []
    for place in (place for place in reports if place in earlier):
        told = [*_of_place(_Run.of(earlier[place]), _Run.of(reports[place]))]
        # What nodes are does not depend on where they are seen from.
        changes += [{**change, "place": place} for change in told
                    if place == CONTROLLER or change["what"] != "node"]
        figures += [{**figure, "place": place}
                    for figure in _figures(earlier[place], reports[place])]
    changes += [_change("place", place, None if place in reports else earlier[place]["verdict"],
                        reports[place]["verdict"] if place in reports else None, kind="other")
                for place in (*reports, *earlier) if (place in reports) != (place in earlier)]
    return {**results, "comparison": {
        "with": previous.shown, "started_at": before["started_at"], "verdict": before["verdict"],
        "complete": bool(before.get("complete", True)),
        "changes": [{"place": CONTROLLER, **change} for change in changes],
        "figures": figures, "latency": _latency(previous, results)}}


def _change(what: str, subject: str, before: str | None, now: str | None, *,
            kind: str) -> dict[str, Any]:
    """Return one change; ``before`` or ``now`` is None of what was not there."""
    shown = f": {before} -> {now}"
    if before is None:
        shown = f" is new: {now}"
    elif now is None:
        shown = f" is gone, it was: {before}"
    return {"what": what, "subject": subject, "before": before, "now": now, "kind": kind,
            "message": f"{subject}{shown}"}


def _verdict(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if before["verdict"] != now["verdict"]:
        yield _change("verdict", "all", before["verdict"], now["verdict"], kind=_kind(
            before["verdict"], now["verdict"]))


def _target(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key, called in (("driver", "driver"), ("product", "product"), ("version", "version"),
                        ("otp_release", "Erlang/OTP")):
        was, is_now = (results["target"].get(key) for results in (before, now))
        if was != is_now:
            yield _change("target", called, was or "unknown", is_now or "unknown", kind="other")


def _of_place(before: _Run, now: _Run) -> Iterator[dict[str, Any]]:
    yield from _nodes(before, now)
    for pair, cell in now.cells.items():
        if pair in before.cells and _result(before.cells[pair], "outcome") != _result(
                cell, "outcome"):
            was = before.cells[pair]
            kind = ("worse" if was["passed"] and not cell["passed"] else
                    "better" if cell["passed"] and not was["passed"] else "other")
            yield _change("matrix", pair, _result(was, "outcome"), _result(cell, "outcome"),
                          kind=kind)
    for check in dict.fromkeys((*now.checks, *before.checks)):
        yield from _check_changes(check, before.checks.get(check, {}), now.checks.get(check, {}))


def _nodes(before: _Run, now: _Run) -> Iterator[dict[str, Any]]:
    for name in dict.fromkeys((*now.nodes, *before.nodes)):
        was, is_now = (None if name not in run.nodes else _identity(run.nodes[name])
                       for run in (before, now))
        if was != is_now:
            yield _change("node", name, was, is_now, kind="other")


def _identity(node: Mapping[str, Any]) -> str:
    otp = node.get("otp_release")
    told = f"{node['product']} {node['version'] or ''}".rstrip()
    return f"{told}, Erlang/OTP {otp}" if otp else told


def _check_changes(check: str, before: Mapping[str, Mapping[str, Any]],
                   now: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    both = [subject for subject in now if subject in before]
    for subject in both:
        was, is_now = _result(before[subject], "status"), _result(now[subject], "status")
        if was != is_now:
            yield _change(check, subject, was, is_now, kind=_kind(
                before[subject]["status"], now[subject]["status"]))
    if both:
        # Subjects that only one run has are those of nodes that came or went, and told with them.
        return
    was_worst, now_worst = _worst(before), _worst(now)
    told_was, told_now = (None if row is None else _result(row, "status")
                          for row in (was_worst, now_worst))
    if told_was != told_now:
        yield _change("check", check, told_was, told_now, kind=_kind(
            was_worst["status"] if was_worst else "passed",
            now_worst["status"] if now_worst else "skipped"))


def _worst(rows: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return min(rows.values(), default=None, key=lambda row: WORST_FIRST.index(row["status"]))


def _result(row: Mapping[str, Any], key: str) -> str:
    text = str(row[key]).replace("_", " ")
    return f"{text} ({row['reason']})" if row["reason"] else text


def _kind(before: str, now: str) -> str:
    """Return ``worse``, ``better``, or ``other`` where neither can be said."""
    was, is_now = _LEVELS.get(before), _LEVELS.get(now)
    if was is None or is_now is None or was == is_now:
        return "other"
    return "worse" if is_now > was else "better"


# -- Figures -------------------------------------------------------------------------------------

def _figures(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what both runs have measured: rates through balancers, capacities, handshakes a second.

    ``changed`` is True only where the runs' intervals do not overlap.
    """
    earlier = {(row["id"], row["subject"]): row.get("data") or {} for row in before["checks"]}
    for row in now["checks"]:
        key = (row["id"], row["subject"])
        data, was = row.get("data") or {}, earlier.get(key, {})
        for read in (_balancer, _retention, _rate):
            new, old = read(row["id"], data), read(row["id"], was)
            if new is not None and old is not None:
                what, unit, value, ends = new
                yield {"what": row["id"], "subject": row["subject"], "figure": what, "unit": unit,
                       "before": old[2], "now": value,
                       "changed": ends[0] > old[3][1] or ends[1] < old[3][0]}


_Figure = tuple[str, str, float, tuple[float, float]]
"""What it is, its unit, its value, and the interval it may as well lie in."""


def _balancer(check: str, data: Mapping[str, Any]) -> _Figure | None:
    if check != "LB-01" or "rate_95" not in data:
        return None
    low, high = data["rate_95"]
    return ("sessions that resumed", "%", round(100 * data["rate"], 1), (100 * low, 100 * high))


def _retention(check: str, data: Mapping[str, Any]) -> _Figure | None:
    if check != "LIFE-04" or not data.get("curve"):
        return None
    many = data["remembered"]
    return ("sessions remembered", "", many, ((1 - _TOLERANCE / 2) * many,
                                              (1 + _TOLERANCE / 2) * many))


def _rate(check: str, data: Mapping[str, Any]) -> _Figure | None:
    if check != "PERF-01" or not data.get("rates"):
        return None
    best = max(data["rates"], key=lambda rate: float(rate["per_s"]))
    if best["per_s_95"] is None:
        return None
    low, high = best["per_s_95"]
    return ("most handshakes a second", "", round(best["per_s"], 1), (low, high))


def _latency(previous: Previous, now: Mapping[str, Any]) -> dict[str, Any]:
    """Return by kind of handshake how the times of two runs relate."""
    before, was, is_now = previous.results, previous.times, handshake_times(now)
    return {kind: {
        "before": {key: before["latency"][kind][key] for key in ("count", "p50_ms", "p95_ms")},
        "now": {key: now["latency"][kind][key] for key in ("count", "p50_ms", "p95_ms")},
        "p50_ratio": _ratio(before, now, kind, "p50_ms"),
        "p95_ratio": _ratio(before, now, kind, "p95_ms"),
        "beyond_spread": _beyond(was[kind], is_now[kind])} for kind in ("full", "resumed")}


def _ratio(before: Mapping[str, Any], now: Mapping[str, Any], kind: str, key: str) -> float | None:
    was, is_now = before["latency"][kind][key], now["latency"][kind][key]
    return round(is_now / was, 3) if was and is_now else None


def _beyond(before: list[float], now: list[float]) -> bool:
    """Tell whether each run's median lies outside of what 90 % of the other's handshakes took.

    Two runs on one machine differ by what else it does: less than this says nothing of the nodes.
    """
    if not before or not now:
        return False
    return _outside(before, _at(now, 50)) and _outside(now, _at(before, 50))


def _outside(ordered: list[float], value: float) -> bool:
    low, high = (_at(ordered, percent) for percent in _SPREAD)
    return not low <= value <= high


def _at(ordered: list[float], percent: int) -> float:
    return ordered[max(1, -(-len(ordered) * percent // 100)) - 1]


# -- In words ------------------------------------------------------------------------------------

def told(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return for people what changed: sentences, each with its kind; empty without a comparison.

    The kind is ``head`` of the first, then ``worse``, ``better`` or ``other``. What changed alike
    is told once; what was skipped only because something else failed is left out.
    """
    comparison = results.get("comparison")
    if comparison is None:
        return []
    when = f"{comparison['started_at'][:10]} {comparison['started_at'][11:16]} UTC"
    interrupted = "" if comparison["complete"] else ", interrupted"
    body = [*_grouped(comparison["changes"]),
            *(_figure(figure) for figure in comparison["figures"] if figure["changed"]),
            *_speeds(comparison["latency"])]
    since = f"since {comparison['with']} ({comparison['verdict']}{interrupted}, {when})"
    head = f"Changed {since}:" if body else f"Nothing changed {since}"
    order = ("worse", "better", "other")
    return [(head, "head"), *sorted(body, key=lambda one: order.index(one[1])),
            *_noise(comparison["latency"])]


def _grouped(changes: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    groups: dict[tuple[str, ...], list[str]] = {}
    for change in changes:
        if _says_nothing(change):
            continue
        tail = change["message"].removeprefix(change["subject"])
        if change["what"] == "check" and (change["now"] or "").startswith("skipped"):
            # Whatever they came to before, what is skipped alike is told once.
            tail = f": measured before, now {change['now']}"
        place = "" if change["place"] == CONTROLLER else f" from {change['place']}"
        groups.setdefault((change["what"], tail, place, change["kind"]), []).append(
            change["subject"])
    for (what, tail, place, kind), subjects in groups.items():
        more = f" and {len(subjects) - _MOST} more" if len(subjects) > _MOST else ""
        named = f"{', '.join(subjects[:_MOST])}{more}"
        said = tail if len(subjects) == 1 else tail.replace(" is ", " are ", 1).replace(
            "it was", "they were")
        yield f"{what} {named}{place}{said}".replace("verdict all:", "verdict:"), kind


def _says_nothing(change: Mapping[str, Any]) -> bool:
    """Tell whether a change follows from others, or the check is skipped, as it was or was not."""
    before, now = change["before"] or "", change["now"] or ""
    if AFTERMATH in before or AFTERMATH in now:
        return True
    return now.startswith("skipped") and (not before or before.startswith("skipped"))


def _figure(figure: Mapping[str, Any]) -> tuple[str, str]:
    place = "" if figure["place"] == CONTROLLER else f" from {figure['place']}"
    unit = f" {figure['unit']}".rstrip()
    sentence = (f"{figure['what']} {figure['subject']}{place}: {figure['figure']} "
                f"{figure['before']:g}{unit} -> {figure['now']:g}{unit}, beyond both runs' "
                "intervals")
    return sentence, "other"


def _speeds(latency: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for kind, row in latency.items():
        if row["beyond_spread"]:
            yield (f"{kind} handshakes: {_times(row)}, beyond what 90 % of either run's took",
                   "worse" if row["p50_ratio"] > 1 else "better")


def _noise(latency: Mapping[str, Any]) -> list[tuple[str, str]]:
    times = "; ".join(f"{kind} {_times(row)}" for kind, row in latency.items()
                      if row["p50_ratio"] is not None and not row["beyond_spread"])
    sentence = ("Handshake times lie within the spread of both runs, so how they differ is noise: "
                f"{times}")
    return [(sentence, "other")] if times else []


def _times(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {row['before'][key]:.1f} -> {row['now'][key]:.1f} ms "
                     f"(x {row[ratio]:.2f})" for name, key, ratio in (
                         ("p50", "p50_ms", "p50_ratio"), ("p95", "p95_ms", "p95_ratio")))
