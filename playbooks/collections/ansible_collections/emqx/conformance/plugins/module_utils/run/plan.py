"""What a run is going to do: which checks on which subjects, at what cost to each node."""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from . import beyond
from .check import Check, Cost, CostByNode, Impact, Per, Subject, Verdict
from .choosing import Choice
from .pace import most_asked
from .sampling import Sampling, choose, usual
from .target import Target
from .verdict import skipped

_SHORT_S = 600
"""Seconds: no run's sessions grow half as old as those that live longer."""


@dataclass(frozen=True)
class PlannedCheck:
    """A check with its subjects, or the reason why it has none."""

    check: Check
    subjects: tuple[Subject, ...] = ()
    skipped: Verdict | None = None
    left_out: int = 0
    """Pairs that are left out (sampling)."""
    left_out_why: str = ""
    """Why, to end the clause."""


@dataclass
class Plan:
    """Everything that is selected, and its price."""

    target: Target
    """The target, with what its session budget has to spare."""
    checks: list[PlannedCheck] = field(default_factory=list)
    handshakes: Counter[str] = field(default_factory=Counter)
    """By node."""
    sessions: Counter[str] = field(default_factory=Counter)
    """By node: full handshakes, each of which takes a place in its session cache."""
    refused: Counter[str] = field(default_factory=Counter)
    """By node: handshakes that it is expected to refuse, and may log an alert for."""
    beyond: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """By bound (:mod:`.beyond`) and node: handshakes that may come on top, at most."""
    polls: Counter[str] = field(default_factory=Counter)
    """By node: how often it is asked whether it is ready, if it is at once."""
    remarks: list[str] = field(default_factory=list)
    session_limit: int = 0
    """Sessions that the allowed impact lets the run create on one node."""
    balancers: tuple[str, ...] = ()
    """Addresses whose sessions are made on nodes that nobody can tell before."""
    sampling: Sampling | None = None
    """Which pairs stand for all; None where all are measured."""
    choice: Choice = field(default_factory=Choice)
    """Which checks the run is about."""

    def most_beyond(self, node: str) -> Mapping[str, int]:
        """Return by bound what may come on top with a node or load balancer."""
        return {bound: self.beyond[bound][node] for bound in beyond.BOUNDS}

    def lines(self) -> list[str]:
        """Return the plan and its budget for people."""
        lines = []
        for planned in self.checks:
            if planned.skipped is not None:
                what = f"skipped: {planned.skipped.message}"
            else:
                count = len(planned.subjects)
                what = f"{count} {planned.check.per.value}{_plural(planned.check, count)}"
                if planned.check.alone and count > 1:
                    what += ", one after the other"
                if planned.left_out:
                    what += f" (a sample: {planned.left_out} left out {planned.left_out_why})"
            lines.append(f"{planned.check.id:<7}  {planned.check.title_for(self.target)}: {what}")
        for node in self.handshakes:
            most, where = ("", f"session budget {self.session_limit}") if \
                node not in self.balancers else ("at most ", "on the nodes behind it")
            lines.append(f"{node}: {self.handshakes[node]} handshakes, of which {most}"
                         f"{self.sessions[node]} full ({where})")
        return lines + self.remarks


def _plural(check: Check, count: int) -> str:
    if count == 1:
        return ""
    return "es" if check.per is Per.ADDRESS else "s"


def _payers(cost: Cost, subject: Subject, target: Target) -> list[str]:
    if cost.at == "others":
        return [name for name in target.nodes if name not in subject]
    if cost.at == "nodes":
        return list(target.nodes)
    if cost.at == "next":
        return [target.next_after(subject[-1])]
    return [subject[0] if cost.at == "issuer" else subject[-1]]


def handshakes_of(planned: PlannedCheck, target: Target) -> Counter[str]:
    """Return what one check of a plan costs, by node that pays."""
    handshakes: Counter[str] = Counter()
    for subject in planned.subjects:
        for part in planned.check.cost_for(target, subject[-1]).parts:
            for payer in _payers(part, subject, target):
                handshakes[payer] += part.total
    return handshakes


def _full_on_each(cost: Cost, count: int) -> int:
    """Return the full handshakes that every one of ``count`` nodes gets once all were subjects."""
    return sum(part.full * (count - 1 if part.at == "others" else 1) for part in cost.parts)


def _fixed(check: Check, target: Target) -> int:
    """Return the full handshakes that a node gets from a check that is not sampled."""
    return max((_full_on_each(check.cost_for(target, name), len(target.nodes))
                for name in target.nodes), default=0)


def _fixed_through(check: Check, target: Target) -> int:
    """Return those that a node gets at most through addresses: all may land on one."""
    return sum(part.full for address in target.shared_addresses
               for part in check.cost_for(target, address).parts)


def make_plan(target: Target, checks: Iterable[Check], max_impact: Impact,
              choice: Choice | None = None) -> Plan:
    """Select checks and subjects within the allowed impact and each node's session budget.

    The budget is a share of the node's session cache. What checks of single nodes need comes
    off it first, since it cannot be sampled; pairs get the rest, and never less than one pair
    for each node: a cluster of which no pair was measured has not been verified. Within the budget
    it is as many as were asked for, or what :func:`usual` says. Places that probe
    the same nodes share the budget, but for the share that is safe, which each may use. Checks
    of addresses see to their own share, so that the matrix is as whole with load balancers as
    without. Elastic checks do with what is left when all have what they want.
    """
    checks, choice = tuple(checks), choice or Choice()
    unchosen = choice.why_not(checks)

    def why_not(check: Check, target: Target) -> Verdict | None:
        return unchosen.get(check.id) or _why_not(check, target, max_impact)

    rigid = [check for check in checks if not check.elastic and why_not(check, target) is None]

    def fixed_for(*, filling: bool) -> int:
        return sum(_fixed(check, target) for check in rigid
                   if check.per is Per.NODE and check.fills_cache is filling)

    fixed = fixed_for(filling=False)
    most = min(max_impact, Impact.NOISY) if target.vantage else max_impact
    shares = (Impact.SAFE.cache_share, most.cache_share / target.places)
    limit = max(int(target.settings.session_cache_max * max(shares)), fixed + 1)
    through = sum(_fixed_through(check, target) for check in rigid if check.per is Per.ADDRESS)
    names = list(target.nodes)
    room = limit - fixed
    wanted = target.settings.pairs_per_node or usual(len(names))
    pairs = min(wanted, len(names) - 1) * sum(
        check.cost_for(target).full for check in rigid if check.per is Per.PAIR)
    target = replace(target, spare=max(0, room - pairs))
    chosen = [(check, why_not(check, target)) for check in checks]
    plan = Plan(target, session_limit=limit + fixed_for(filling=True) + through,
                balancers=tuple(target.balancers), choice=choice)
    lifetime = target.settings.session_lifetime
    if lifetime is not None and lifetime < _SHORT_S:
        plan.remarks.append(f"sessions live {lifetime:g} s: each one older than half of that costs "
                            "one more full handshake than announced")
    for check, why in chosen:
        if why is not None:
            plan.checks.append(PlannedCheck(check, skipped=why))
            continue
        cost = check.cost_for(target)
        subjects: tuple[Subject, ...]
        left_out, left_out_why = 0, ""
        if check.per is not Per.PAIR:
            addresses = names if check.per is Per.NODE else target.shared_addresses
            subjects = tuple((name,) for name in addresses)
        else:
            each = min(wanted, max(1, room // cost.full) if cost.full
                       else _sampled_before(plan, len(names)))
            subjects = choose(names, each, target.zones)
            room -= cost.full * (len(subjects) // len(names))
            left_out = len(names) * (len(names) - 1) - len(subjects)
            if left_out:
                plan.sampling = plan.sampling or Sampling(tuple(names), subjects, target.zones)
                left_out_why = _why_left_out(target, each, wanted)
        for subject in subjects:
            for part in check.cost_for(target, subject[-1]).parts:
                for payer in _payers(part, subject, target):
                    plan.handshakes[payer] += part.total
                    plan.sessions[payer] += part.full
                    plan.refused[payer] += part.refused
        plan.checks.append(PlannedCheck(check, subjects, None, left_out, left_out_why))
    if plan.sampling is not None:
        plan.remarks.append(plan.sampling.foretold())
    _bound(plan)
    return plan


def _bound(plan: Plan) -> None:
    """Find out how many handshakes may come on top with each node, and how many polls."""
    target = plan.target
    begun = False
    for planned in plan.checks:
        check = planned.check
        for subject in planned.subjects:
            # Before each subject the runner makes sessions again that are there since the first.
            if begun:
                plan.beyond[beyond.RENEWALS].update(
                    {name for name in subject if name in target.nodes})
            remakes = check.remakes
            cost = remakes.of(target, subject[-1]) if isinstance(remakes, CostByNode) else remakes
            for part in cost.parts:
                for payer in _payers(part, subject, target):
                    plan.beyond[beyond.RENEWALS][payer] += part.total
            plan.beyond[beyond.DIAGNOSES][subject[-1]] += check.diagnosis
            if check.awaits:
                plan.polls.update(list(target.nodes))
        begun = begun or bool(planned.subjects)
    settings = target.settings
    for name in plan.handshakes:
        if not target.abilities:
            plan.beyond[beyond.CONTROLS][name] = most_asked(len(target.nodes))
        plan.beyond[beyond.SECOND_TRIES][name] = int(settings.mqtt_version == "auto")
        if settings.credentials.password is not None:
            plan.beyond[beyond.SECOND_TRIES][name] += _without_forward_secrecy(target, name)


def _without_forward_secrecy(target: Target, name: str) -> int:
    """Return the handshakes that show that listeners of a node speak no forward-secret suite.

    Each client learns it from one, and each listener is asked once by a client that offers nothing
    else. Where client certificates are demanded there are more of both.
    """
    domains = len(target.trust_domains.get(name, ()))
    # Beside the run's own: one without a certificate, and one whose certificate expires.
    clients = 1 + (domains + 2 if domains else 0)
    return (1 + domains) * (clients + 1)


def _why_left_out(target: Target, each: int, wanted: int) -> str:
    if each < wanted:
        return "by the session budget"
    return "by resumption_pairs_per_node" if target.settings.pairs_per_node else \
        "since so many are enough"


def _why_not(check: Check, target: Target, max_impact: Impact) -> Verdict | None:
    if check.impact > max_impact:
        return skipped("impact_not_allowed", f"it is {check.impact.label}, and "
                                             f"resumption_max_impact is {max_impact.label}")
    if target.vantage and check.impact is Impact.DISRUPTIVE:
        return skipped("not_from_vantage", "it is disruptive: only the controller does that")
    why = check.precondition(target)
    return skipped("precondition", why) if isinstance(why, str) else why


def _sampled_before(plan: Plan, count: int) -> int:
    """Return how many pairs a redeemer has in the pair check before this one."""
    for planned in reversed(plan.checks):
        if planned.check.per is Per.PAIR and planned.subjects:
            return len(planned.subjects) // count
    return count - 1
