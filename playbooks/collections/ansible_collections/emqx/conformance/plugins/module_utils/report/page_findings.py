"""Findings as index.html shows them: by family and check, what says the same told once.

What failed comes first, everywhere. How much of a large run is told is limited here, so that the
page of a hundred nodes can still be read; the rest is counted and left to results.json.
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import known
from .grouped import WORST_FIRST, Tally, tally
from .ladders import named_messages
from .reproduce import Recipe, recipe

FAMILIES = {
    "CORE": "Resumption on its own node, a fallback everywhere else",
    "NEG": "What must not be resumed, and how it is refused",
    "SEC": "Trust domains and session IDs",
    "LIFE": "Restart, failover, lifetime and capacity",
    "LB": "Through a load balancer",
    "PERF": "What resumption is worth",
}
_BAD = ("failed", "error")
_MOST_SUBJECTS = 300
_MOST_VARIANTS = {True: 12, False: 4}
"""Of sentences that differ, where something is not as it should be, and elsewhere."""
_MOST_EVIDENCE = {True: 16, False: 4}
"""Of handshakes that are shown of one sentence."""
_LONGEST_FIGURE = 300


@dataclass(frozen=True)
class ShownHandshake:
    """One handshake of a finding."""

    key: str
    told: str
    """What it came to."""
    flow: str
    """Its messages."""


@dataclass(frozen=True)
class Variant:
    """What is said of several subjects alike."""

    message: str
    """The first subject's."""
    subjects: list[str]
    more_subjects: int
    evidence: list[ShownHandshake]
    more_evidence: int
    figures: list[tuple[str, str]]
    recipe: Recipe | None
    """How to see it by hand, on the first subject."""


@dataclass(frozen=True)
class Alike:
    """Findings of one check with one status and one reason."""

    anchor: str
    status: str
    reason: str
    why_known: str
    count: int
    variants: list[Variant]
    more_variants: int

    @property
    def bad(self) -> bool:
        """Whether the verdict is not ``passed`` because of it."""
        return self.status in _BAD


@dataclass(frozen=True)
class ShownCheck:
    """One check."""

    id: str
    title: str
    clause: str
    level: str
    impact: str
    worst: str
    share: str
    groups: list[Alike]


@dataclass(frozen=True)
class Family:
    """Checks whose ids begin alike."""

    name: str
    title: str
    checks: list[ShownCheck]


def families(results: Mapping[str, Any]) -> list[Family]:
    """Return all findings, those first that failed."""
    by_id: dict[str, list[dict[str, Any]]] = {}
    for row in results["checks"]:
        by_id.setdefault(row["id"], []).append(row)
    called = _Called(results["nodes"])
    shown: dict[str, list[ShownCheck]] = {}
    for check, rows in by_id.items():
        first, total = rows[0], tally([row["status"] for row in rows])
        shown.setdefault(check.partition("-")[0], []).append(ShownCheck(
            check, first["title"], first["clause"], first["level"], first["impact"],
            total.worst, _share(total), _groups(rows, results, called)))
    # Sorting is stable: what has not failed keeps the catalogue's order.
    return [Family(name, FAMILIES.get(name, ""), sorted(checks, key=_rank))
            for name, checks in sorted(shown.items(), key=lambda item: min(map(_rank, item[1])))]


def problems(shown: Iterable[Family]) -> list[tuple[ShownCheck, Alike]]:
    """Return what the verdict is not ``passed`` for, failures before errors."""
    found = [(check, group) for family in shown for check in family.checks
             for group in check.groups if group.bad]
    return sorted(found, key=lambda pair: WORST_FIRST.index(pair[1].status))


def evidence(shown: Iterable[Family]) -> Iterator[str]:
    """Return the keys of all handshakes that are shown."""
    for family in shown:
        for check in family.checks:
            for group in check.groups:
                for variant in group.variants:
                    yield from (item.key for item in variant.evidence)


def _rank(check: ShownCheck) -> int:
    return _BAD.index(check.worst) if check.worst in _BAD else len(_BAD)


def _share(total: Tally) -> str:
    share = f"{total.count:,} of {total.of:,}" if total.count != total.of else \
        f"{total.of:,} finding{'s' * (total.of > 1)}"
    return f"{share}, {total.skipped:,} skipped" if total.skipped else share


class _Called:
    """Takes a subject's own names out of what is said of it."""

    def __init__(self, nodes: Iterable[Mapping[str, Any]]) -> None:
        self._addresses = {node["name"]: _address(node["host"], node["port"]) for node in nodes}

    def neutral(self, row: Mapping[str, Any]) -> str:
        """Return a finding's message with its subject's names and addresses replaced."""
        names = row["subject"].split("->")
        message: str = row["message"]
        # The longest first: n1 is in n10.
        for name in sorted(names, key=len, reverse=True):
            place = f"<{names.index(name)}>"
            if address := self._addresses.get(name):
                message = message.replace(address, place)
            message = message.replace(name, place)
        return message


def _address(host: str, port: int) -> str:
    """Return it as messages tell it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _groups(rows: list[dict[str, Any]], results: Mapping[str, Any],
            called: _Called) -> list[Alike]:
    grouped: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault((row["status"], row["reason"], known.explanation(row)), []).append(row)
    shown = []
    for number, ((status, reason, why_known), members) in enumerate(sorted(
            grouped.items(), key=lambda item: WORST_FIRST.index(item[0][0]))):
        telling = status not in ("passed", "skipped")
        alike: dict[str, list[dict[str, Any]]] = {}
        for row in members:
            alike.setdefault(called.neutral(row), []).append(row)
        chosen = list(alike.values())[:_MOST_VARIANTS[telling]]
        shown.append(Alike(
            f"{rows[0]['id']}-{number + 1}", status, reason, why_known, len(members),
            [_variant(same, results, telling=telling) for same in chosen],
            len(alike) - len(chosen)))
    return shown


def _variant(rows: list[dict[str, Any]], results: Mapping[str, Any], *, telling: bool) -> Variant:
    handshakes = results["handshakes"]
    subjects = [row["subject"] for row in rows]
    # One subject stands for those of which nothing is wrong.
    keys = [key for row in (rows if telling else rows[:1]) for key in row["evidence"]["handshakes"]
            if key in handshakes]
    chosen = _telling(keys, handshakes, _MOST_EVIDENCE[telling])
    ports = {one["name"]: one["port"]
             for one in (*results["nodes"], *results.get("load_balancers", ()))}
    return Variant(
        rows[0]["message"], subjects[:_MOST_SUBJECTS], max(0, len(subjects) - _MOST_SUBJECTS),
        [_evidence(key, handshakes[key], ports) for key in chosen],
        sum(len(row["evidence"]["handshakes"]) for row in rows) - len(chosen),
        [(name.replace("_", " "), _figure(value)) for name, value in
         rows[0].get("data", {}).items()], recipe(results, rows[0]))


def _telling(keys: list[str], handshakes: Mapping[str, Mapping[str, Any]],
             most: int) -> list[str]:
    """Return so many handshakes, one of every kind first, in the order they were made."""
    kinds: dict[tuple[str, str], str] = {}
    for key in keys:
        kinds.setdefault((handshakes[key]["outcome"], handshakes[key]["why"]), key)
    chosen = list(dict.fromkeys([*kinds.values(), *keys]))[:most]
    return sorted(chosen, key=keys.index)


def _evidence(key: str, handshake: Mapping[str, Any], ports: Mapping[str, int]) -> ShownHandshake:
    where, port = handshake["endpoint"], handshake.get("port")
    if port and port != ports.get(where, port):
        where += f" port {port}"  # another listener of the node
    took = handshake["handshake_ms"]
    time = "" if took is None else f" in {took:.2f} ms"
    offered, answered = handshake["offered_id"], handshake["server_id"]
    ids = f"offered {_short(offered)}, answered {_short(answered)}"
    return ShownHandshake(
        key, f"{where}: {handshake['outcome']}{time}",
        f"{handshake['why']}; {ids}; " + ", ".join(
            f"{'→' if sender == 'client' else '←'} {name}"
            for sender, name, _ in named_messages(handshake)))


def _short(session_id: str) -> str:
    if not session_id:
        return "no ID"
    return session_id if len(session_id) <= 16 else f"{session_id[:12]}…"


def _figure(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_FIGURE else (
        f"{text[:_LONGEST_FIGURE]}… (all of it is in results.json)")
