"""LIFE-04: a node remembers as many sessions as it is declared to."""
from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from ...model import Outcome, Session
from ...run.check import Check, Cost, Impact, Level, Need, Per, Verdict
from ...run.preconditions import resuming
from ...run.story import Story
from ...run.target import Target
from ...run.verdict import skipped

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

    def as_data(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return {"curve": [{"age_rank": rank, "resumed": resumed}
                          for rank, resumed in sorted(self.curve.items())],
                "remembered": self.remembered, "forgotten": self.forgotten}

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


@Check(
    id="LIFE-04",
    title="A node remembers as many sessions as declared",
    requirement=(
        "The newest sessions of a node, as many as are declared, resume; older ones lead to full "
        f"handshakes. Its capacity is within {TOLERANCE:.0%} of the declared one."),
    clause="RFC 5246 7.3",
    level=Level.SHOULD, impact=Impact.DISRUPTIVE, per=Per.NODE, cost=_capacity_cost,
    meaning=(
        "With more devices than places, a node forgets the devices that come back latest, and a "
        "reconnecting fleet pays for full handshakes; or the setting does not reach the node, and "
        "its memory is not what was planned. Other clients' sessions take places too: on a node in "
        "use, less than the declared number is left for the probe."),
    needs=(Need("CORE-02"),), precondition=_capacity_applies, alone=True, fills_cache=True,
    how=(
        f"The cache is filled with {_OVERFILL:g} times as many sessions as are declared, each "
        f"in a full handshake with MQTT on it, one after the other. Then {_PROBES} of them are "
        "offered again, by bisection, which gives the retention curve (in results.json) and the "
        f"capacity. Caches of more than {MOST:,} sessions are not filled."),
    doing="fills the session cache of",
    reasons={
        "forgets_early": "it remembers fewer sessions than are declared",
        "remembers_more": "it remembers more sessions than are declared",
        "not_the_newest": "it forgets a session and keeps an older one",
        "no_session_id": "a handshake brings no session ID",
        "too_slow": "filling its cache takes longer than its sessions live"})
def remembers_as_many_as_declared(story: Story) -> str:
    """A cache that is too small makes a fleet pay for full handshakes."""
    fill, retention = _Fill(story.settings.session_cache_max), _Retention()
    begun = time.monotonic()
    try:
        per_s = _filled(story, fill, retention)
        _probe(story, fill, retention)
    finally:
        story.data.update(retention.as_data())
    took_s = time.monotonic() - begun
    story.reaches_mqtt(story.fresh_session())
    _demand_in_time(story, took_s)
    kept = _demand_capacity(story, fill.declared, retention)
    return (f"{story.node} remembers its {kept} newest sessions, and {fill.declared} are declared; "
            "older ones lead to full handshakes, and MQTT worked on every connection "
            f"({per_s:.0f} handshakes/s)")


def _filled(story: Story, fill: _Fill, retention: _Retention) -> float:
    """Fill the cache, one session after the other; return how many a second were made."""
    story.data["declared"], begun = fill.declared, time.monotonic()
    for number in range(fill.sessions):
        kept = number % fill.step == 0
        contact = story.contact(story.node, usual=Outcome.FULL, keep_session=kept)
        story.reaches_mqtt(contact, f"session {number + 1} of {fill.sessions}")
        if not contact.handshake.server_id:
            story.fail("no_session_id", f"{story.node} issued no session ID")
        if kept and contact.session is not None:
            retention.kept[number] = contact.session
        retention.issued += 1
    seconds = time.monotonic() - begun
    story.data.update(filled_with=fill.sessions, seconds=round(seconds, 1),
                      handshakes_per_s=round(fill.sessions / seconds, 1))
    return fill.sessions / seconds


def _probe(story: Story, fill: _Fill, retention: _Retention) -> None:
    """Offer some of the sessions again, at the marks first and then by bisection."""
    marks = [mark * fill.declared for mark in _MARKS]
    for count in range(fill.probes):
        number = retention.nearest(marks[count]) if count < len(marks) else retention.next()
        rank = retention.rank(number)
        handshake = story.reaches_mqtt(story.contact(story.node, retention.kept.pop(number)))
        resumed = handshake.outcome is Outcome.RESUMED
        retention.curve[rank] = resumed
        retention.issued += not resumed


def _demand_in_time(story: Story, took_s: float) -> None:
    lifetime_s = story.settings.session_lifetime
    if lifetime_s is not None and took_s >= lifetime_s:
        story.error("too_slow", f"filling the cache of {story.node} took longer than its sessions "
                                f"live ({lifetime_s:g} s)")


def _demand_capacity(story: Story, declared: int, retention: _Retention) -> str:
    """Demand that as many sessions are remembered as declared, and return how many."""
    node, least, first_gone = story.node, retention.remembered, retention.forgotten
    if first_gone is None:
        story.fail("remembers_more", f"{node} remembers at least its {least} newest sessions, more "
                                     f"than the {declared} that are declared")
    if first_gone < least:
        story.fail("not_the_newest", f"{node} has forgotten one of its {first_gone} newest "
                   f"sessions, and still resumes one that {least - 1} came after")
    most = first_gone - 1
    many = f"{least}" if least == most else f"{least} to {most}"
    if most < (1 - TOLERANCE) * declared:
        story.fail("forgets_early", f"{node} remembers only its {many} newest sessions, and "
                                    f"{declared} are declared")
    if least > (1 + TOLERANCE) * declared:
        story.fail("remembers_more", f"{node} remembers its {many} newest sessions, more than the "
                                     f"{declared} that are declared")
    return many
