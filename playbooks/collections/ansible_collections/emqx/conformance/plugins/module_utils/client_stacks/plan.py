"""What a run of client stacks is going to do, and what that costs every node. Pure."""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..model import Endpoint
from ..run.check import Impact
from ..words import some
from .judge import Row
from .words import WAYS, Stack

CONTROL = 2
"""Connections with which our own client finds out whether a node resumes at all."""
AT_HOME, WITH_OTHERS = 2, 2
"""Connections of a client with a node that is alone; and how many more there are for each of
several: one as another's neighbour, and one of a client that comes back."""


NOT_BUILT = "not_built"
"""Why a stack is left out that cannot be started here."""


@dataclass(frozen=True)
class LeftOut:
    """A stack that is not tried, and why."""

    stack: Stack
    reason: str
    why: str


@dataclass
class StackPlan:
    """Every row in order, and the price."""

    rows: list[Row] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    handshakes: Counter[str] = field(default_factory=Counter)
    """By node."""
    sessions: Counter[str] = field(default_factory=Counter)
    """By node: full handshakes at most, as many as if nothing resumed."""
    session_limit: int = 0
    rate: float | None = None
    """Handshakes a second and node; None: no limit."""

    def lines(self) -> list[str]:
        """Return the plan and its budget for people."""
        ways: dict[str, list[str]] = {}
        for row in self.rows:
            ways.setdefault(row.stack.name, []).append(row.way)
        told = [f"{name}: {', '.join(WAYS[way] for way in dict.fromkeys(of))}"
                for name, of in ways.items()]
        told += [f"{one.stack.name}: left out, {one.why}" for one in self.left_out]
        return [*told, *self.budget()]

    def budget(self) -> list[str]:
        """Return what the run costs, for people."""
        alike: dict[tuple[int, int], list[str]] = {}
        for node, count in self.handshakes.items():
            alike.setdefault((count, self.sessions[node]), []).append(node)
        parts = [f"{count} with {'each of ' if len(names) > 1 else ''}{some(names)}, of which up "
                 f"to {full} full" for (count, full), names in alike.items()]
        most = max(self.handshakes.values(), default=0)
        pace = "as fast as they are answered, since resumption_rate_limit is 0"
        if self.rate:
            pace = (f"{self.rate:g} handshakes a second with a node at most (resumption_rate_limit)"
                    f", so it takes {max(0, most - 1) / self.rate:.1f} s or more")
        return [(f"Budget: {self.handshakes.total()} handshakes: {'; '.join(parts)}; each full one "
                 f"takes a place in a node's session cache (limit {self.session_limit})"),
                f"Rate: {pace}",
                ("More, where it is needed: 1 with each node, to find out what MQTT it speaks; a "
                 "client's connections beyond what it is asked for lead nowhere")]


def make_plan(nodes: Mapping[str, Endpoint], stacks: Sequence[Stack], *, max_impact: Impact,
              session_cache_max: int, rate: float | None) -> StackPlan:
    """Return the rows of as many stacks as the session budget of a node has room for.

    The budget is the share of a node's session cache that the allowed impact gives a
    verification, too; one stack is always tried.
    """
    share = max(Impact.SAFE.cache_share, max_impact.cache_share)
    plan = StackPlan(session_limit=int(session_cache_max * share), rate=rate)
    names = list(nodes)
    for name in names:
        plan.handshakes[name] += CONTROL
        plan.sessions[name] += CONTROL
    for stack in stacks:
        if stack.why_not:
            plan.left_out.append(LeftOut(stack, NOT_BUILT, stack.why_not))
            continue
        cost = len(stack.ways) * (AT_HOME + (WITH_OTHERS if len(names) > 1 else 0))
        if plan.rows and max(plan.sessions.values()) + cost > plan.session_limit:
            plan.left_out.append(LeftOut(stack, "session_budget", (
                f"since a node's session budget is {plan.session_limit} (resumption_max_impact: "
                f"{max_impact.label}): allow more, or name others in resumption_client_stacks")))
            continue
        for way in stack.ways:
            plan.rows += [_row(stack, way, names, at, nodes) for at in range(len(names))]
            for name in names:
                plan.handshakes[name] += cost // len(stack.ways)
                plan.sessions[name] += cost // len(stack.ways)
    plan.session_limit = max(plan.session_limit, *plan.sessions.values())
    return plan


def _row(stack: Stack, way: str, names: Sequence[str], at: int,
         nodes: Mapping[str, Endpoint]) -> Row:
    home, other = nodes[names[at]], nodes[names[(at + 1) % len(names)]]
    return Row(stack, way, (home, home) if home == other else (home, home, other, home))


def as_dict(left_out: LeftOut) -> dict[str, Any]:
    """Return the JSON form."""
    return {"stack": left_out.stack.name, "title": left_out.stack.title,
            "reason": left_out.reason, "why": left_out.why}
