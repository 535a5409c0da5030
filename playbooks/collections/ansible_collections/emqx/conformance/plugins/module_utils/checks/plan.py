"""What a run is going to do: which checks on which subjects, at what cost to each node."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from .bench import Target
from .registry import Check, Impact, Per, Subject, Verdict
from .verdicts import skipped


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
                if planned.left_out:
                    what += f" (a sample: {planned.left_out} left out by the session budget)"
            lines.append(f"{planned.check.id}  {planned.check.title}: {what}")
        for node in self.handshakes:
            lines.append(
                f"{node}: {self.handshakes[node]} handshakes, of which {self.sessions[node]} full "
                f"(session budget {self.session_limit})")
        return lines


def session_limit(cache_max: int, max_impact: Impact) -> int:
    """Return how many sessions a run may create on one node, never below one matrix row's 2."""
    return max(2, int(cache_max * max_impact.cache_share))


def _pairs(names: list[str], per_redeemer: int) -> Iterable[Subject]:
    """Return ordered pairs in which every node issues and redeems ``per_redeemer`` times.

    A circulant choice: issuer i goes to i+1, i+2 … so that every node is in as many pairs
    as any other.
    """
    count = len(names)
    steps = range(1, min(count - 1, per_redeemer) + 1)
    chosen = {(i, (i + step) % count) for i in range(count) for step in steps}
    return [(names[i], names[j]) for i in range(count) for j in range(count) if (i, j) in chosen]


def make_plan(target: Target, checks: Iterable[Check], max_impact: Impact) -> Plan:
    """Select checks and subjects within the allowed impact and each node's session budget."""
    plan = Plan(session_limit=session_limit(target.settings.session_cache_max, max_impact))
    names = list(target.nodes)
    for check in checks:
        if check.impact > max_impact:
            plan.checks.append(PlannedCheck(check, skipped=skipped(
                "impact_not_allowed",
                f"it is {check.impact.label}, and resumption_max_impact is {max_impact.label}")))
            continue
        why = check.precondition(target)
        if why is not None:
            plan.checks.append(PlannedCheck(check, skipped=skipped("precondition", why)))
            continue
        subjects: tuple[Subject, ...]
        left_out = 0
        if check.per is Per.NODE:
            subjects = tuple((name,) for name in names)
        else:
            # What earlier checks put into a node's cache comes off the budget first.
            used = max(plan.sessions.values(), default=0) if check.cost.full else 0
            room = max(1, plan.session_limit - used) if check.cost.full else \
                _sampled_before(plan, len(names))
            subjects = tuple(_pairs(names, room))
            left_out = len(names) * (len(names) - 1) - len(subjects)
        for subject in subjects:
            payer = subject[0] if check.cost.at == "issuer" else subject[-1]
            plan.handshakes[payer] += check.cost.full + check.cost.resumed
            plan.sessions[payer] += check.cost.full
        plan.checks.append(PlannedCheck(check, subjects, left_out=left_out))
    return plan


def _sampled_before(plan: Plan, count: int) -> int:
    """Return how many pairs a redeemer has in the pair check before this one."""
    for planned in reversed(plan.checks):
        if planned.check.per is Per.PAIR and planned.subjects:
            return len(planned.subjects) // count
    return count - 1
