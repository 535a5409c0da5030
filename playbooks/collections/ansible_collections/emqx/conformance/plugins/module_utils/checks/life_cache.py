"""LIFE: how long a node remembers sessions, and how many."""
from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from ..model import Handshake, Outcome, Session
from ..tls.wire import Interrupted
from .bench import Bench, Contact, Target
from .preconditions import resuming
from .registry import Check, Cost, Impact, Level, Need, Per, Registry, Subject, Verdict
from .verdicts import error, failed, passed, skipped, trouble

_EARLY = 0.7
"""Share of the lifetime after which a session must resume: time enough for a busy machine."""
_LATE = 1.1
_LATE_S = 1.5
"""More than so much beyond the lifetime a session must be forgotten. Seconds, since some stacks
count in whole ones."""
MOST = 20_000
"""Sessions: filling a larger cache would take many minutes."""
TOLERANCE = 0.05
"""How far the measured capacity may be off the declared one."""
_OVERFILL = 1.25
_KEPT = 200
"""Of a full cache so many sessions are kept on our side, evenly spread: a resolution of 0.5 %."""
_MARKS = (0.1, 0.5, 0.9, 1.1, _OVERFILL)
"""Where the retention curve is looked at first, as shares of the declared capacity."""
_PROBES = 14
"""Marks, and as many bisections as the widest gap between them takes, and then some."""
_SLOW_PER_S = 50
"""Handshakes a second that a slow machine manages."""


class _EndError(Exception):
    """The measurement ended early, with this verdict."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict


# -- Lifetime ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class _Aging:
    """A session, and when the handshake that made it began and ended."""

    session: Session
    begun: float
    ended: float


@dataclass(frozen=True)
class _Ask:
    """What a session came to at an age between these, in seconds."""

    resumed: bool
    least_s: float
    most_s: float


class _Watch:
    """Sessions of one node growing old."""

    def __init__(self, bench: Bench, node: str, lifetime: float) -> None:
        self._bench, self._node, self.lifetime = bench, node, lifetime
        self.handshakes: list[Handshake] = []

    def new(self) -> _Aging:
        """Establish a session. Raises _EndError."""
        begun = time.monotonic()
        contact = self._heard(self._bench.fresh_session(self._node))
        if contact.session is None:
            raise _EndError(failed("no_session_id", f"{self._node} issued no session ID"))
        return _Aging(contact.session, begun, time.monotonic())

    def wait(self, aging: _Aging, age_s: float) -> None:
        """Return when a session is at least so old. Raises Interrupted."""
        if self._bench.stop.wait(max(0.0, aging.ended + age_s - time.monotonic())):
            raise Interrupted

    def ask(self, aging: _Aging) -> _Ask:
        """Offer a session; one that takes its place is remembered. Raises _EndError."""
        begun = time.monotonic()
        contact = self._heard(self._bench.contact(self._node, aging.session))
        asked = _Ask(contact.handshake.outcome is Outcome.RESUMED, begun - aging.ended,
                     time.monotonic() - aging.begun)
        if not asked.resumed and contact.session is not None:
            self._bench.remember(self._node, contact.session)
        return asked

    def _heard(self, contact: Contact) -> Contact:
        self.handshakes.append(contact.handshake)
        if verdict := trouble(contact):
            raise _EndError(verdict)
        return contact


def expires_in_time(bench: Bench, subject: Subject) -> Verdict:
    """LIFE-03: until its session is forgotten, a stolen master secret is good for something."""
    (node,) = subject
    watch = _Watch(bench, node, bench.settings.session_lifetime or 0)
    asks: list[_Ask] = []
    try:
        with bench.waiting(f"LIFE-03 waits {_late(watch.lifetime):.0f} s for sessions to expire"):
            verdict = _lifetime(watch, node, asks)
    except _EndError as end:
        verdict = end.verdict
    data: dict[str, Any] = {"lifetime_s": watch.lifetime, "asked": [
        {"age_s": round(ask.least_s, 1), "resumed": ask.resumed} for ask in asks]}
    return Verdict(verdict.status, verdict.reason, verdict.message, tuple(watch.handshakes), data)


def _late(lifetime: float) -> float:
    return _LATE * lifetime + _LATE_S


def _lifetime(watch: _Watch, node: str, asks: list[_Ask]) -> Verdict:
    lives = f"although its sessions are declared to live {watch.lifetime:g} s"
    used, unused = watch.new(), watch.new()
    watch.wait(used, _EARLY * watch.lifetime)
    early = watch.ask(used)
    asks.append(early)
    if not early.resumed and early.most_s >= watch.lifetime:
        return error("too_slow", f"{node} could only be asked for a session when it was "
                                 f"{early.most_s:.1f} s old: too late for a lifetime of "
                                 f"{watch.lifetime:g} s")
    if not early.resumed:
        return failed("expired_early", f"{node} had forgotten a session that was "
                                       f"{early.most_s:.1f} s old, {lives}")
    watch.wait(unused, _late(watch.lifetime))
    late = watch.ask(unused)
    asks.append(late)
    if late.resumed:
        return failed("resumed_after_lifetime", f"{node} resumed a session that was "
                                                f"{late.least_s:.1f} s old, {lives}")
    again = watch.ask(used)
    asks.append(again)
    if again.resumed:
        return failed("prolonged_by_resuming", f"{node} resumed a session that was "
                      f"{again.least_s:.1f} s old and had been resumed in between, {lives}: each "
                      "resumption prolongs it")
    return passed(f"{node} resumed a session that was {early.least_s:.1f} s old, and had forgotten "
                  f"it, and another, at {late.most_s:.1f} s; they are declared to live "
                  f"{watch.lifetime:g} s")


def _lifetime_applies(target: Target) -> str | Verdict | None:
    settings = target.settings
    if why := resuming(target):
        return why
    if settings.session_lifetime is None:
        return skipped("lifetime_undeclared", "how long the nodes remember a session is not "
                                              "declared: set emqx_session_lifetime")
    if settings.session_lifetime > settings.max_wait:
        return skipped("longer_than_max_wait", f"a session lives {settings.session_lifetime:g} s, "
                       f"and resumption_max_wait is {settings.max_wait:g} s (inventory/"
                       "short-lifetime has nodes that forget sooner)")
    return None


# -- Capacity ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class _Fill:
    """How a cache of this size is filled and probed."""

    declared: int

    @property
    def sessions(self) -> int:
        """How many are made."""
        return math.ceil(_OVERFILL * self.declared) + 1

    @property
    def step(self) -> int:
        """Every how many of them is kept."""
        return max(1, self.declared // _KEPT)

    @property
    def probes(self) -> int:
        """How many of the kept ones are offered again."""
        return min(_PROBES, len(range(0, self.sessions, self.step)))

    @property
    def slow_s(self) -> float:
        """Seconds that it all takes on a slow machine."""
        return (self.sessions + self.probes) / _SLOW_PER_S


@dataclass
class _Retention:
    """What a node has kept of the sessions it issued, by rank: the newest has rank 1.

    A session that the node has forgotten costs a full handshake when it is offered, which makes a
    newer one: so ranks are those at the moment of asking. Nothing that was resumed is older than
    what marks the capacity, so it does not matter whether a resumption makes a session new again.
    """

    kept: dict[int, Session] = field(default_factory=dict)
    """Not offered yet, by number."""
    issued: int = 0
    curve: dict[int, bool] = field(default_factory=dict)
    """By rank: whether it resumed."""

    @property
    def remembered(self) -> int:
        """The oldest rank that resumed."""
        return max((rank for rank, resumed in self.curve.items() if resumed), default=0)

    @property
    def forgotten(self) -> int | None:
        """The newest rank that did not, if any."""
        return min((rank for rank, resumed in self.curve.items() if not resumed), default=None)

    def rank(self, number: int) -> int:
        """Return a session's rank now."""
        return self.issued - number

    def nearest(self, rank: float) -> int:
        """Return the number of the kept session next to a rank."""
        return min(self.kept, key=lambda number: abs(self.rank(number) - rank))

    def next(self) -> int:
        """Return the number of the session that tells most now.

        The one in the middle between what resumed and what did not; once they are neighbours, the
        one in the middle of the widest gap.
        """
        last = self.forgotten or self.rank(min(self.kept)) + 1
        between = (self.remembered + last) / 2
        best = self.nearest(between)
        if self.remembered < self.rank(best) < last:
            return best
        looked = sorted((0, *self.curve, self.issued))
        gap = max(zip(looked, looked[1:]), key=lambda pair: pair[1] - pair[0])
        return self.nearest(sum(gap) / 2)


def remembers_as_many_as_declared(bench: Bench, subject: Subject) -> Verdict:
    """LIFE-04: a cache that is too small makes a fleet pay for full handshakes."""
    (node,) = subject
    if bench.not_whole:
        return skipped("not_whole", bench.not_whole)
    fill, retention = _Fill(bench.settings.session_cache_max), _Retention()
    handshakes: list[Handshake] = []
    begun = time.monotonic()
    data: dict[str, Any] = {"declared": fill.declared}
    try:
        with bench.waiting(f"LIFE-04 fills the session cache of {node}"):
            _fill(bench, node, fill, retention)
            seconds = time.monotonic() - begun
            data.update(filled_with=fill.sessions, seconds=round(seconds, 1),
                        handshakes_per_s=round(fill.sessions / seconds, 1))
            _probe(bench, node, fill, retention, handshakes)
        verdict = _capacity(node, fill, retention, fill.sessions / seconds)
        lifetime = bench.settings.session_lifetime
        if lifetime is not None and time.monotonic() - begun >= lifetime:
            verdict = error("too_slow", f"filling the cache of {node} took longer than its "
                                        f"sessions live ({lifetime:g} s)")
        last = bench.fresh_session(node)
        handshakes.append(last.handshake)
        verdict = trouble(last) or verdict
    except _EndError as end:
        verdict = end.verdict
        handshakes += verdict.handshakes
    data["curve"] = [{"age_rank": rank, "resumed": resumed}
                     for rank, resumed in sorted(retention.curve.items())]
    data["remembered"], data["forgotten"] = retention.remembered, retention.forgotten
    return Verdict(verdict.status, verdict.reason, verdict.message, tuple(handshakes), data)


def _fill(bench: Bench, node: str, fill: _Fill, retention: _Retention) -> None:
    for number in range(fill.sessions):
        kept = number % fill.step == 0
        contact = bench.contact(node, usual=Outcome.FULL, keep_session=kept)
        if verdict := trouble(contact):
            raise _EndError(Verdict(verdict.status, verdict.reason, f"{verdict.message} (session "
                                    f"{number + 1} of {fill.sessions})", (contact.handshake,)))
        if not contact.handshake.server_id:
            raise _EndError(failed("no_session_id", f"{node} issued no session ID"))
        if kept and contact.session is not None:
            retention.kept[number] = contact.session
        retention.issued += 1


def _probe(bench: Bench, node: str, fill: _Fill, retention: _Retention,
           handshakes: list[Handshake]) -> None:
    marks = [mark * fill.declared for mark in _MARKS]
    for count in range(fill.probes):
        number = retention.nearest(marks[count]) if count < len(marks) else retention.next()
        rank = retention.rank(number)
        contact = bench.contact(node, retention.kept.pop(number))
        handshakes.append(contact.handshake)
        if verdict := trouble(contact):
            raise _EndError(Verdict(verdict.status, verdict.reason, verdict.message))
        resumed = contact.handshake.outcome is Outcome.RESUMED
        retention.curve[rank] = resumed
        retention.issued += not resumed


def _capacity(node: str, fill: _Fill, retention: _Retention, per_s: float) -> Verdict:
    declared, least, first_gone = fill.declared, retention.remembered, retention.forgotten
    if first_gone is None:
        return failed("remembers_more", f"{node} remembers at least its {least} newest sessions, "
                                        f"more than the {declared} that are declared")
    if first_gone < least:
        return failed("not_the_newest", f"{node} has forgotten one of its {first_gone} newest "
                      f"sessions, and still resumes one that {least - 1} came after")
    most = first_gone - 1
    many = f"{least}" if least == most else f"{least} to {most}"
    if most < (1 - TOLERANCE) * declared:
        return failed("forgets_early", f"{node} remembers only its {many} newest sessions, and "
                                       f"{declared} are declared")
    if least > (1 + TOLERANCE) * declared:
        return failed("remembers_more", f"{node} remembers its {many} newest sessions, more than "
                                        f"the {declared} that are declared")
    return passed(f"{node} remembers its {many} newest sessions, and {declared} are declared; "
                  f"older ones lead to full handshakes, and MQTT worked on every connection "
                  f"({per_s:.0f} handshakes/s)")


def _capacity_applies(target: Target) -> str | Verdict | None:
    settings, fill = target.settings, _Fill(target.settings.session_cache_max)
    if why := resuming(target):
        return why
    if not settings.cache_declared:
        return skipped("cache_max_undeclared", "how many sessions the nodes remember is not "
                                               "declared: set emqx_session_cache_max")
    if fill.declared > MOST:
        return skipped("cache_too_large", f"a cache of {fill.declared} sessions would take too "
                                          f"long to fill (at most {MOST} are)")
    seconds = fill.slow_s if settings.rate_limit is None else max(
        fill.slow_s, (fill.sessions + fill.probes) / settings.rate_limit)
    if settings.session_lifetime is not None and settings.session_lifetime < seconds:
        return skipped("lifetime_too_short", f"sessions live {settings.session_lifetime:g} s, and "
                       f"filling a cache of {fill.declared} may take {seconds:.0f} s")
    return None


def _capacity_cost(target: Target) -> Cost:
    fill = _Fill(target.settings.session_cache_max)
    # Which probes resume is the question: announced is what would take a place in the cache.
    return Cost(full=fill.sessions + fill.probes + 1)


def register(registry: Registry) -> None:
    """Add these checks of the family."""
    registry.add(Check(
        "LIFE-03", "Sessions expire when they should",
        "A session resumes before the declared lifetime is over and leads to a full handshake "
        "afterwards, whether it was resumed in between or not.",
        "RFC 5246 F.1.4", Level.MUST, Impact.NOISY, Per.NODE, Cost(full=4, resumed=1),
        expires_in_time,
        "Devices that come back in time pay for a full handshake all the same; or a session, and "
        "with it a master secret that somebody may have got hold of, is good for longer than the "
        "operator decided. A cache that other clients fill meanwhile forgets early too.",
        (Need("CORE-02"),), _lifetime_applies, waits=True,
        how=f"Two sessions are made. One is offered at {_EARLY:.0%} of the lifetime; both are "
        f"offered at {_LATE:.0%} of it and {_LATE_S} s more, for stacks that count in whole "
        "seconds. All nodes wait at the same time. A machine too busy to ask in time gives an "
        "error, not a failure. resumption_max_wait says how long a lifetime is waited for."))
    registry.add(Check(
        "LIFE-04", "A node remembers as many sessions as declared",
        "The newest sessions of a node, as many as are declared, resume; older ones lead to full "
        f"handshakes. Its capacity is within {TOLERANCE:.0%} of the declared one.",
        "RFC 5246 7.3", Level.SHOULD, Impact.DISRUPTIVE, Per.NODE, _capacity_cost,
        remembers_as_many_as_declared,
        "With more devices than places, a node forgets the devices that come back latest, and a "
        "reconnecting fleet pays for full handshakes; or the setting does not reach the node, and "
        "its memory is not what was planned. Other clients' sessions take places too: on a node in "
        "use, less than the declared number is left for the probe.",
        (Need("CORE-02"),), _capacity_applies, alone=True, fills_cache=True,
        how=f"The cache is filled with {_OVERFILL:g} times as many sessions as are declared, each "
        f"in a full handshake with MQTT on it, one after the other. Then {_PROBES} of them are "
        "offered again, by bisection, which gives the retention curve (in results.json) and the "
        f"capacity. Caches of more than {MOST:,} sessions are not filled."))
