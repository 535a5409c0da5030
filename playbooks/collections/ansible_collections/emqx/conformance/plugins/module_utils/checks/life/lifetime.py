"""LIFE-03: a session is remembered for its lifetime, and no longer."""
from __future__ import annotations

import time
from dataclasses import dataclass

from ...model import Outcome, Session
from ...run.check import Check, Cost, Impact, Level, Need, Per, Verdict
from ...run.preconditions import resuming
from ...run.story import Story
from ...run.target import Target
from ...run.verdict import skipped
from ...tls.wire import Interrupted

_EARLY = 0.7
"""Share of the lifetime after which a session must resume: time enough for a busy machine."""
_LATE = 1.1
_LATE_S = 1.5
"""More than so much beyond the lifetime a session must be forgotten. Seconds, since some stacks
count in whole ones."""


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


@Check(
    id="LIFE-03",
    title="Sessions expire when they should",
    requirement=(
        "A session resumes before the declared lifetime is over and leads to a full handshake "
        "afterwards, whether it was resumed in between or not."),
    clause="RFC 5246 F.1.4",
    level=Level.MUST, impact=Impact.NOISY, per=Per.NODE, cost=Cost(full=4, resumed=1),
    meaning=(
        "Devices that come back in time pay for a full handshake all the same; or a session, and "
        "with it a master secret that somebody may have got hold of, is good for longer than the "
        "operator decided. A cache that other clients fill meanwhile forgets early too."),
    needs=(Need("CORE-02"),), precondition=_lifetime_applies, waits=True,
    how=(
        f"Two sessions are made. One is offered at {_EARLY:.0%} of the lifetime; both are "
        f"offered at {_LATE:.0%} of it and {_LATE_S} s more, for stacks that count in whole "
        "seconds. All nodes wait at the same time. A machine too busy to ask in time gives an "
        "error, not a failure. resumption_max_wait says how long a lifetime is waited for."),
    reasons={
        "expired_early": "it has forgotten a session before its lifetime was over",
        "resumed_after_lifetime": "it resumes a session whose lifetime is over",
        "prolonged_by_resuming": "a session that was resumed in between outlives its lifetime",
        "no_session_id": "a handshake brings no session ID",
        "too_slow": "a session could only be offered when its lifetime was over"})
def expires_in_time(story: Story) -> str:
    """Until its session is forgotten, a stolen master secret is good for something."""
    node, lifetime_s = story.node, _lifetime_s(story)
    story.data.update(lifetime_s=lifetime_s, asked=[])
    with story.bench.waiting(f"LIFE-03 waits {_late(lifetime_s):.0f} s for sessions to expire"):
        used, unused = _new(story), _new(story)
        early = _ask(story, used, _EARLY * lifetime_s)
        _demand_resumed(story, early)
        late = _ask(story, unused, _late(lifetime_s))
        lives = f"although its sessions are declared to live {lifetime_s:g} s"
        if late.resumed:
            story.fail("resumed_after_lifetime", f"{node} resumed a session that was "
                                                 f"{late.least_s:.1f} s old, {lives}")
        again = _ask(story, used)
        if again.resumed:
            story.fail("prolonged_by_resuming", f"{node} resumed a session that was "
                       f"{again.least_s:.1f} s old and had been resumed in between, {lives}: each "
                       "resumption prolongs it")
    return (f"{node} resumed a session that was {early.least_s:.1f} s old, and had forgotten it, "
            f"and another, at {late.most_s:.1f} s; they are declared to live {lifetime_s:g} s")


def _lifetime_s(story: Story) -> float:
    return story.settings.session_lifetime or 0


def _late(lifetime_s: float) -> float:
    return _LATE * lifetime_s + _LATE_S


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


def _new(story: Story) -> _Aging:
    """Establish a session."""
    begun = time.monotonic()
    return _Aging(story.full(), begun, time.monotonic())


def _ask(story: Story, aging: _Aging, age_s: float = 0.0) -> _Ask:
    """Offer a session once it is so old; one that takes its place is remembered.

    Raises:
        Interrupted: the run was asked to stop.
    """
    if story.bench.stop.wait(max(0.0, aging.ended + age_s - time.monotonic())):
        raise Interrupted
    begun = time.monotonic()
    contact = story.contact(story.node, aging.session)
    resumed = story.reaches_mqtt(contact).outcome is Outcome.RESUMED
    asked = _Ask(resumed, begun - aging.ended, time.monotonic() - aging.begun)
    if not resumed and contact.session is not None:
        story.bench.sessions.remember(story.node, contact.session)
    story.data["asked"].append({"age_s": round(asked.least_s, 1), "resumed": resumed})
    return asked


def _demand_resumed(story: Story, early: _Ask) -> None:
    """Demand that a session resumed while it was young, if it was offered in time at all."""
    lifetime_s = _lifetime_s(story)
    if early.resumed:
        return
    if early.most_s >= lifetime_s:
        story.error("too_slow", f"{story.node} could only be asked for a session when it was "
                    f"{early.most_s:.1f} s old: too late for a lifetime of {lifetime_s:g} s")
    story.fail("expired_early", f"{story.node} had forgotten a session that was "
               f"{early.most_s:.1f} s old, although its sessions are declared to live "
               f"{lifetime_s:g} s")
