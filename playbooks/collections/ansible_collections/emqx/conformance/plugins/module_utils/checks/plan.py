"""What a run is going to do: which checks on which subjects, at what cost to each node."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from .bench import Target
from .registry import Check, Cost, Impact, Per, Subject, Verdict
from .verdicts import skipped

_SHORT_S = 600
"""Seconds: no run's sessions grow half as old as those that live longer."""


@dataclass(frozen=True)
class PlannedCheck:
    """A check with its subjects, or the reason why it has none."""

    check: Check
    subjects: tuple[Subject, ...] = ()
    skipped: Verdict | None = None
    left_out: int = 0
    """Pairs that the session budget leaves out (sampling)."""


@dataclass
class Plan:
    """Everything that is selected, and its price."""

    checks: list[PlannedCheck] = field(default_factory=list)
    handshakes: Counter[str] = field(default_factory=Counter)
    """By node."""
    sessions: Counter[str] = field(default_factory=Counter)
    """By node: full handshakes, each of which takes a place in its session cache."""
    remarks: list[str] = field(default_factory=list)
    session_limit: int = 0
    """Sessions that the allowed impact lets the run create on one node."""

    def lines(self) -> list[str]:
        """Return the plan and its budget for people."""
        lines = []
        for planned in self.checks:
            if planned.skipped is not None:
                what = f"skipped: {planned.skipped.message}"
            else:
                count = len(planned.subjects)
                what = f"{count} {planned.check.per.value}{'' if count == 1 else 's'}"
                if planned.check.alone and count > 1:
                    what += ", one after the other"
                if planned.left_out:
                    what += f" (a sample: {planned.left_out} left out by the session budget)"
            lines.append(f"{planned.check.id:<7}  {planned.check.title}: {what}")
        for node in self.handshakes:
            lines.append(
                f"{node}: {self.handshakes[node]} handshakes, of which {self.sessions[node]} full "
                f"(session budget {self.session_limit})")
        return lines + self.remarks


def _pairs(names: list[str], per_redeemer: int) -> Iterable[Subject]:
    """Return ordered pairs in which every node issues and redeems ``per_redeemer`` times.

    A circulant choice: issuer i goes to i+1, i+2 … so that every node is in as many pairs
    as any other.
    """
    count = len(names)
    steps = range(1, min(count - 1, per_redeemer) + 1)
    chosen = {(i, (i + step) % count) for i in range(count) for step in steps}
    return [(names[i], names[j]) for i in range(count) for j in range(count) if (i, j) in chosen]


def _payers(cost: Cost, subject: Subject, target: Target) -> list[str]:
    if cost.at == "others":
        return [name for name in target.nodes if name not in subject]
    if cost.at == "next":
        return [target.next_after(subject[-1])]
    return [subject[0] if cost.at == "issuer" else subject[-1]]


def _full_on_each(cost: Cost, count: int) -> int:
    """Return the full handshakes that every one of ``count`` nodes gets once all were subjects."""
    return sum(part.full * (count - 1 if part.at == "others" else 1) for part in cost.parts)


def make_plan(target: Target, checks: Iterable[Check], max_impact: Impact) -> Plan:
    """Select checks and subjects within the allowed impact and each node's session budget.

    The budget is a share of the node's session cache. What checks of single nodes need comes
    off it first, since it cannot be sampled; pairs get the rest, and never less than one pair
    for each node: a cluster of which no pair was measured has not been verified.
    """
    chosen = [(check, _why_not(check, target, max_impact)) for check in checks]
    def fixed_for(*, filling: bool) -> int:
        return sum(max((_full_on_each(check.cost_for(target, name), len(target.nodes))
                        for name in target.nodes), default=0)
                   for check, why in chosen
                   if why is None and check.per is Per.NODE and check.fills_cache is filling)

    fixed = fixed_for(filling=False)
    limit = max(int(target.settings.session_cache_max * max_impact.cache_share), fixed + 1)
    plan = Plan(session_limit=limit + fixed_for(filling=True))
    room = limit - fixed
    lifetime = target.settings.session_lifetime
    if lifetime is not None and lifetime < _SHORT_S:
        plan.remarks.append(f"sessions live {lifetime:g} s: each one older than half of that costs "
                            "one more full handshake than announced")
    names = list(target.nodes)
    for check, why in chosen:
        if why is not None:
            plan.checks.append(PlannedCheck(check, skipped=why))
            continue
        cost = check.cost_for(target)
        subjects: tuple[Subject, ...]
        left_out = 0
        if check.per is Per.NODE:
            subjects = tuple((name,) for name in names)
        else:
            each = max(1, room // cost.full) if cost.full else _sampled_before(plan, len(names))
            subjects = tuple(_pairs(names, each))
            room -= cost.full * (len(subjects) // len(names))
            left_out = len(names) * (len(names) - 1) - len(subjects)
        for subject in subjects:
            for part in check.cost_for(target, subject[-1]).parts:
                for payer in _payers(part, subject, target):
                    plan.handshakes[payer] += part.total
                    plan.sessions[payer] += part.full
        plan.checks.append(PlannedCheck(check, subjects, left_out=left_out))
    return plan


def _why_not(check: Check, target: Target, max_impact: Impact) -> Verdict | None:
    if check.impact > max_impact:
        return skipped("impact_not_allowed", f"it is {check.impact.label}, and "
                                             f"resumption_max_impact is {max_impact.label}")
    why = check.precondition(target)
    return skipped("precondition", why) if isinstance(why, str) else why


def _sampled_before(plan: Plan, count: int) -> int:
    """Return how many pairs a redeemer has in the pair check before this one."""
    for planned in reversed(plan.checks):
        if planned.check.per is Per.PAIR and planned.subjects:
            return len(planned.subjects) // count
    return count - 1
