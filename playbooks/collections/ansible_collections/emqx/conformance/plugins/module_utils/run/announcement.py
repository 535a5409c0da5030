"""What a run is going to cost its target, told before the first connection."""
from __future__ import annotations

from collections.abc import Sequence

from ..tls.trust import Trust
from . import beyond
from .check import Impact
from .plan import Plan
from .target import Target

_NAMED = 5
"""Nodes that are named in a line, and lines of nodes that differ."""


def lines(plan: Plan, target: Target, max_impact: Impact, trust: Trust) -> list[str]:
    """Return a few sentences for people: how many handshakes, how fast, and what stays behind."""
    return [_handshakes(plan), *more(plan), *_polls(plan), _pace(plan, target),
            *_alerts(plan, target), _impact(max_impact), _trust(trust)]


def _handshakes(plan: Plan) -> str:
    alike: dict[tuple[int, int], list[str]] = {}
    for node, count in plan.handshakes.items():
        alike.setdefault((count, plan.sessions[node]), []).append(node)
    parts = [f"{count} with {_each(names)}, of which {full} full"
             for (count, full), names in list(alike.items())[:_NAMED]]
    if len(alike) > _NAMED:
        parts.append(f"and so on, {max(plan.handshakes.values())} at most")
    return (f"Budget: {plan.handshakes.total()} handshakes: {'; '.join(parts)}; each full one "
            f"takes a place in a node's session cache (limit {plan.session_limit})")


def more(plan: Plan) -> list[str]:
    """Say how many handshakes may come on top; all of them are counted by themselves."""
    alike: dict[str, list[str]] = {}
    for node in plan.handshakes:
        alike.setdefault(beyond.foretold(plan.most_beyond(node)), []).append(node)
    told = [f"More, where it is needed: with {_each(names)}, {most}"
            for most, names in list(alike.items())[:_NAMED] if most]
    if len(alike) > _NAMED:
        most_of_all = {bound: max(by_node.values(), default=0)
                       for bound, by_node in plan.beyond.items()}
        told.append(f"More, with the other nodes: {beyond.foretold(most_of_all)}")
    return told


def _polls(plan: Plan) -> list[str]:
    """Say how often nodes are asked whether they are ready again."""
    if not plan.polls:
        return []
    each = max(plan.polls.values())
    return [(f"Readiness: {each} handshakes more with each node, to see whether all are ready "
             "after one was disturbed; a node that does not answer at once is asked again until it "
             "does, for as long as it has, so nobody can tell how often")]


def _each(names: Sequence[str]) -> str:
    if len(names) > _NAMED:
        return f"each of {len(names)} nodes"
    return f"{'each of ' if len(names) > 1 else ''}{', '.join(names)}"


def _pace(plan: Plan, target: Target) -> str:
    rate = target.settings.rate_limit
    if not rate:
        return "Rate: as fast as they are answered, since resumption_rate_limit is 0"
    most = max(plan.handshakes.values(), default=0)
    return (f"Rate: {rate:g} handshakes a second with a node at most (resumption_rate_limit), so "
            f"it takes {max(0, most - 1) / rate:.1f} s or more")


def _alerts(plan: Plan, target: Target) -> list[str]:
    """Name what the nodes may write into their logs beyond connections that come and go."""
    told = []
    if refused := plan.refused.total():
        checks = [planned.check.id for planned in plan.checks if any(
            part.refused for subject in planned.subjects
            for part in planned.check.cost_for(target, subject[-1]).parts)]
        told.append(f"Alerts: {refused} of these are refused on purpose, by "
                    f"{_each([name for name in plan.refused if plan.refused[name]])}, which may "
                    f"log an alert for each ({', '.join(checks)})")
    if plan.handshakes and target.settings.credentials.password is not None:
        told.append("Cipher suites: since there is a password, those with forward secrecy alone; a "
                    "node that takes none of them gets up to two more handshakes, and the password "
                    "without it")
    if plan.handshakes and target.settings.mqtt_version == "auto":
        password = ", password included" if target.settings.credentials.password else ""
        told.append("MQTT: version 5 is tried first; a node that speaks only 3.1.1 gets one more "
                    f"handshake, and may log that CONNECT as malformed{password} "
                    "(resumption_mqtt_version: 3.1.1 avoids it)")
    return told


def _impact(max_impact: Impact) -> str:
    if max_impact is Impact.DISRUPTIVE:
        return ("Impact: disruptive: caches are filled, and nodes that can be driven from here are "
                "stopped, killed and cut off, one at a time, and brought back")
    what = "" if max_impact is Impact.SAFE else (
        "; some hellos are malformed, and connections end in alerts, which fill logs")
    return f"Impact: {max_impact.label}: nothing on any host is changed{what}"


def _trust(trust: Trust) -> str:
    client = f"; the client shows {trust.cert_file}" if trust.cert_file else (
        "; the client has no certificate")
    return f"Trust: the CAs are {trust.authorities}{client}"
