"""Handshakes beyond those announced: what an undisturbed run does without.

Each is counted under the kind that it is of, and never among a check's own. A plan tells how many
there may be at most, for whoever owns the target decides by that too.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

RENEWALS = "renewals"
"""A session had grown old and was made again."""
SPOILT = "spoilt"
"""A session was made again that an alert or a broken connection had spoilt: our own TLS library
drops it then, and so may the target (RFC 5246 7.2.2)."""
DIAGNOSES = "diagnoses"
"""A session did not resume, and was offered again to tell why."""
CONTROLS = "controls"
"""A connection without a session, after one that was cut off before a single byte."""
REPEATED = "repeated"
"""A connection that was turned away as others were; it has been made again."""
SECOND_TRIES = "second_tries"
"""A connection in MQTT 5, or with forward-secret suites alone, which a node does not speak."""

BOUNDS: Mapping[str, tuple[str, ...]] = {
    RENEWALS: (RENEWALS, SPOILT), DIAGNOSES: (DIAGNOSES,), CONTROLS: (CONTROLS, REPEATED),
    SECOND_TRIES: (SECOND_TRIES,)}
"""The kinds that are announced together, under the name of one: a session is made again once,
whatever the reason."""
_FORETOLD = {
    RENEWALS: "for sessions that grow old or that an alert spoils",
    DIAGNOSES: "to tell why a session does not resume",
    CONTROLS: "to tell why connections are cut off and make them again",
    SECOND_TRIES: "to find out what a node does not speak"}
_TOLD = {
    RENEWALS: "for sessions that had grown old",
    SPOILT: "for sessions that an alert or a broken connection had spoilt",
    DIAGNOSES: "to tell why a session did not resume",
    CONTROLS: "to tell why connections were cut off",
    REPEATED: "since connections were turned away",
    SECOND_TRIES: "to find out what a node does not speak"}


def foretold(most: Mapping[str, int]) -> str:
    """Return in words what may come on top with a node, by bound; empty when nothing may."""
    return ", ".join(f"up to {most[bound]} {words}" for bound, words in _FORETOLD.items()
                     if most.get(bound))


def on_top(address: Mapping[str, Any]) -> int:
    """Return how many came on top with an address of a report's budget."""
    # Earlier reports lack some kinds.
    return sum(address.get(kind, 0) for kind in _TOLD)


def told(addresses: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return in words what came on top with these addresses, a clause for each kind."""
    rows = tuple(addresses)
    came = {kind: sum(row.get(kind, 0) for row in rows) for kind in _TOLD}
    return [f"{count} more {_TOLD[kind]}" for kind, count in came.items() if count]


def polls(addresses: Iterable[Mapping[str, Any]]) -> str:
    """Return in words how often drivers asked whether nodes were ready; empty when they did not."""
    asked = sum(row.get("polls", 0) for row in addresses)
    return f"{asked} besides to see whether nodes were ready" if asked else ""


def addresses(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the budgets of a report's nodes and load balancers; earlier ones have no balancers."""
    budget = results["budget"]
    return [*budget["nodes"].values(), *budget.get("load_balancers", {}).values()]
