"""Which pairs of nodes to measure where not all are, and what that tells of all of them.

Every node issues and redeems equally often, and every ordered pair of zones is there. Nodes stand
on a circle in an order that hashes of their names give, and each issues for those that follow it:
the same names make the same pairs, but neighbours in the inventory, which share a rack, a switch or
the moment of an upgrade, are no more likely to be a pair than others. As long as fewer than half of
all pairs are taken, none is taken in both directions, so that what is wrong both ways, as between
two nodes that share a cache, is met twice as easily. And with ``k`` pairs a node, of any group of
more than one node in ``k + 1`` some pair is taken, unless it was exchanged to cover zones.
"""
from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .check import Subject
from .proportion import CONFIDENCE, most_in_all

MOST_WHOLE = 100
"""Nodes of which all pairs are measured, if the session budget allows for it."""
ENOUGH = 3_000
"""Pairs of which not one wrong means that fewer than one in a thousand is (3 / n, 95 %)."""
_FEWEST = 10
"""Pairs a node all the same: half of them wrong go unseen once in a thousand times."""


def usual(count: int) -> int:
    """Return how many pairs a node issues for where nobody says it and the budget is no matter."""
    if count <= MOST_WHOLE:
        return count - 1
    return max(_FEWEST, math.ceil(ENOUGH / count))


def choose(names: Sequence[str], each: int, zones: Mapping[str, str]) -> tuple[Subject, ...]:
    """Return ordered pairs in which every node issues and redeems ``each`` times, in order.

    Args:
        names: the nodes.
        each: how often; more than there are other nodes is as many.
        zones: by node; those that are in none are in one of their own.
    """
    if each >= len(names) - 1:
        return tuple((issuer, redeemer) for issuer in names for redeemer in names
                     if issuer != redeemer)
    circle = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    chosen = [(issuer, circle[(place + step) % len(circle)])
              for place, issuer in enumerate(circle) for step in range(1, each + 1)]
    _cover(chosen, {name: zones.get(name, "") for name in names})
    at = {name: place for place, name in enumerate(names)}
    return tuple(sorted(chosen, key=lambda pair: (at[pair[0]], at[pair[1]])))


def zone_pairs(names: Sequence[str], zones: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the ordered pairs of zones, a zone with itself too if it has several of the nodes."""
    sizes = Counter(zones.get(name, "") for name in names)
    return [(one, other) for one in sizes for other in sizes if one != other or sizes[one] > 1]


def _cover(chosen: list[tuple[str, str]], zones: Mapping[str, str]) -> None:
    """Let two pairs exchange their redeemers wherever that brings in zones that are missing.

    Nobody issues or redeems more or less often for it, and no two zones are lost.
    """
    taken = set(chosen)
    have = Counter((zones[issuer], zones[redeemer]) for issuer, redeemer in chosen)
    for one, other in zone_pairs(list(zones), zones):
        if have[one, other]:
            continue
        spare = [(place, pair) for place, pair in enumerate(chosen)
                 if have[zones[pair[0]], zones[pair[1]]] > 1]
        from_one = [item for item in spare if zones[item[1][0]] == one]
        to_other = [item for item in spare if zones[item[1][1]] == other]
        found = next((
            (here, there) for here in from_one for there in to_other
            if _may_exchange(here[1], there[1], taken)), None)
        if found is None:
            continue
        (here, (issuer, lost)), (there, (giver, redeemer)) = found
        for gone in (chosen[here], chosen[there]):
            taken.remove(gone)
            have[zones[gone[0]], zones[gone[1]]] -= 1
        chosen[here], chosen[there] = (issuer, redeemer), (giver, lost)
        for new in (chosen[here], chosen[there]):
            taken.add(new)
            have[zones[new[0]], zones[new[1]]] += 1


def _may_exchange(one: tuple[str, str], other: tuple[str, str],
                  taken: set[tuple[str, str]]) -> bool:
    made = (one[0], other[1]), (other[0], one[1])
    return all(issuer != redeemer for issuer, redeemer in made) and not taken.intersection(made)


@dataclass(frozen=True)
class Sampling:
    """Pairs that stand for all."""

    names: tuple[str, ...]
    """The nodes."""
    chosen: tuple[Subject, ...]
    zones: Mapping[str, str]

    def told(self, as_expected: Mapping[Subject, bool]) -> dict[str, Any]:
        """Return what is known of all pairs, after these were measured, as JSON."""
        pairs, measured = len(self.names) * (len(self.names) - 1), len(as_expected)
        wrong = measured - sum(as_expected.values())
        issued = Counter(issuer for issuer, _ in as_expected)
        redeemed = Counter(redeemer for _, redeemer in as_expected)
        least = min(min(issued[name], redeemed[name]) for name in self.names)
        possible = set(zone_pairs(self.names, self.zones))
        seen = possible & {(self.zones.get(issuer, ""), self.zones.get(redeemer, ""))
                           for issuer, redeemer in as_expected}
        zones = len({self.zones.get(name, "") for name in self.names})
        at_most = most_in_all(pairs, measured, wrong)
        told = {
            "pairs": pairs, "measured": measured, "unexpected": wrong, "per_node": least,
            "zones": {"count": zones, "pairs": len(possible), "covered": len(seen)},
            "confidence": CONFIDENCE, "at_most": at_most}
        return {**told, "sentence": _sentence(told)}

    def foretold(self) -> str:
        """Say what will be known if all of them come out as expected."""
        told: str = self.told(dict.fromkeys(self.chosen, True))["sentence"]
        return f"if all goes well, the report says: {told}"


def _sentence(told: Mapping[str, Any]) -> str:
    zones, sure = told["zones"], []
    if told["per_node"]:
        sure.append("a node")
    between = ""
    if zones["count"] > 1:
        all_or_some = "all" if zones["covered"] == zones["pairs"] else f"{zones['covered']} of"
        between = (f" and {all_or_some} {zones['pairs']} ordered pairs of {zones['count']} zones "
                   "were among them")
        if zones["covered"] == zones["pairs"]:
            sure.append("a pair of zones")
    result = f"{told['unexpected']} of them not as expected" if told["unexpected"] else \
        "all as expected"
    found = f"; {' or '.join(sure)} of which no pair is as expected cannot have been missed" \
        if sure else ""
    return (f"a sample: {told['measured']} of {told['pairs']} cross-node pairs were measured, "
            f"{result}; every node issued and redeemed {told['per_node']} times or more{between}; "
            f"with {100 * told['confidence']:.0f} % confidence at most {told['at_most']} of all "
            f"pairs ({_percent(told['at_most'], told['pairs'])}) are not as expected, if those lie "
            f"at random{found}")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2g} %"
