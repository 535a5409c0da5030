"""How a check tells what it measures.

A check is a function of a :class:`Story`. It makes its connections through it, demands one thing
after the other, and returns the sentence of a pass. A demand that does not hold ends it early, with
a status, a reason token and a sentence. Whatever it comes to, every connection that it made is
evidence (:func:`measured`), and a cluster that it disturbed is made whole.
"""
from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from ..drivers import faults
from ..drivers.base import DriverError, DriverInterrupted
from ..model import Handshake, Outcome, Session
from ..tls.wire import Interrupted
from . import reasons
from .bench import Bench
from .check import Check, Impact, Status, Subject, Verdict
from .prober import Contact, Offer
from .target import Settings, Target
from .verdict import error, failed, passed, skipped, trouble

READY_S = 120.0
"""How long a cluster may take to be whole again: ample, since a node that ended is told at once."""


class StoryEnd(Exception):  # noqa: N818 - not an error of anybody's
    """A check has ended early, with this verdict."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict


@dataclass(frozen=True)
class Control:
    """What came of a session that must resume, offered after another one was declined.

    A node that has forgotten everything declines whatever it is offered. So it is the same session
    where it was made, or a twin, which is as old and of which nothing bad is known.
    """

    contact: Contact
    what: str
    """That session, for people."""
    age_s: float = 0.0
    """How old it was at least when it was offered; 0 where it was renewed in time."""


class Story:
    """One check on one subject."""

    def __init__(self, bench: Bench, subject: Subject) -> None:
        self.bench, self.subject = bench, subject
        self.prober, self.ledger = bench.prober, bench.ledger
        self.node = subject[0]
        """The node; of a pair, the issuer; or the address that may lead to several nodes."""
        self.evidence: list[Handshake] = []
        self.data: dict[str, Any] = {}
        """What was measured, in figures, as JSON."""
        self._disturbed = False

    @property
    def target(self) -> Target:
        """What the run is about."""
        return self.bench.target

    @property
    def settings(self) -> Settings:
        """How the run behaves, and what is declared of its nodes."""
        return self.bench.settings

    @property
    def session(self) -> Session:
        """The node's session that the run remembers."""
        return self.bench.sessions[self.node]

    # -- how it ends early ------------------------------------------------------------------

    def fail(self, reason: str, sentence: str) -> NoReturn:
        """The requirement does not hold."""
        raise StoryEnd(failed(reason, sentence))

    def warn(self, reason: str, sentence: str) -> NoReturn:
        """A SHOULD beside the requirement does not hold."""
        raise StoryEnd(Verdict(Status.WARNED, reason, sentence))

    def inform(self, reason: str, sentence: str) -> NoReturn:
        """There is nothing to judge."""
        raise StoryEnd(Verdict(Status.INFO, reason, sentence))

    def skip(self, reason: str, sentence: str) -> NoReturn:
        """The requirement does not apply here, or cannot be judged."""
        raise StoryEnd(skipped(reason, sentence))

    def error(self, reason: str, sentence: str) -> NoReturn:
        """Nothing was measured."""
        raise StoryEnd(error(reason, sentence))

    def settled(self, verdict: Verdict) -> str:
        """Go on after :func:`came_to`: return the sentence of a pass, or end with the verdict."""
        if verdict.status is not Status.PASSED:
            raise StoryEnd(verdict)
        return verdict.message

    def unexpected(self, contact: Contact, when: str = "") -> NoReturn:
        """A connection came to something that the check has no word for."""
        self.reaches_mqtt(contact, when)
        handshake = contact.handshake
        self.error("harness_error", f"{handshake.endpoint}: {handshake.why}"
                                    + (f" ({when})" if when else ""))

    def nothing_to_offer(self) -> NoReturn:
        """A session was to be offered, and a full handshake has brought none."""
        self.error("no_session_id", f"{self.node} issued no session ID this time, so there was "
                                    "nothing to offer")

    # -- connections --------------------------------------------------------------------------

    def contact(self, node: str, offer: Session | None = None, **how: Any) -> Contact:
        """Make a connection, of which ``how`` says the rest of an :class:`Offer`.

        It is evidence if it is listed.
        """
        contact = self.prober.contact(Offer(node, offer, **how))
        return self.seen(contact) if contact.handshake.key else contact

    def fresh_session(self, node: str = "") -> Contact:
        """Make a full handshake, and let its session be the node's from now on."""
        return self.seen(self.bench.sessions.fresh(node or self.node))

    def seen(self, contact: Contact) -> Contact:
        """Take a connection that was made elsewhere as evidence."""
        self.evidence.append(contact.handshake)
        return contact

    # -- demands ------------------------------------------------------------------------------

    def reaches_mqtt(self, contact: Contact, when: str = "", *, first: bool = False) -> Handshake:
        """Demand that a connection got as far as CONNACK; ``first`` is :func:`trouble`'s."""
        if verdict := trouble(contact, first=first):
            raise StoryEnd(replace(verdict, message=f"{verdict.message} ({when})")
                           if when else verdict)
        return contact.handshake

    def issued(self, contact: Contact) -> Session:
        """Demand that a connection has a session ID, and return its session."""
        if contact.session is None:
            self.fail("no_session_id", f"{contact.handshake.endpoint.name} issued no session ID")
        return contact.session

    def full(self, node: str = "") -> Session:
        """Demand a full handshake with a session, which is the node's from now on."""
        contact = self.fresh_session(node)
        self.reaches_mqtt(contact)
        return self.issued(contact)

    def resumes(self, session: Session, reason: str, otherwise: str, *, at: str = "",
                when: str = "") -> Contact:
        """Demand that a session resumes at the node, or ``at`` another one.

        ``reason`` and ``otherwise`` are for a full handshake, ``when`` for no handshake at all.
        """
        contact = self.contact(at or self.node, session)
        if self.reaches_mqtt(contact, when).outcome is not Outcome.RESUMED:
            self.fail(reason, otherwise)
        return contact

    def falls_back(self, session: Session, reason: str, otherwise: str, *, at: str = "") -> Contact:
        """Demand that a session leads to a full handshake without an alert (RFC 5246 7.4.1.2).

        ``reason`` and ``otherwise`` are for a resumed one.
        """
        contact = self.contact(at or self.node, session)
        if self.reaches_mqtt(contact).outcome is not Outcome.FULL:
            self.fail(reason, otherwise)
        self.quiet(contact, f"on a session of {session.issuer}")
        return contact

    def quiet(self, contact: Contact, when: str, who: str = "") -> None:
        """Demand that no alert was raised on a connection that got as far as CONNACK."""
        for alert in contact.handshake.alerts:
            self.fail("alert", f"{who or contact.handshake.endpoint.name} raised the {alert.level} "
                               f"alert {alert.description} {when}")

    def confirmed(self, sentence: str, control: Control) -> str:
        """Return the sentence of a pass that rests on a decline, with what its control adds.

        Unless the control has resumed, the decline proves nothing, and the check ends here.
        """
        handshake = self.reaches_mqtt(control.contact, f"when {control.what} was offered")
        if handshake.outcome is not Outcome.RESUMED:
            self._proves_nothing(sentence, control)
        return f"{sentence}; {control.what} still resumes"

    def _proves_nothing(self, sentence: str, control: Control) -> NoReturn:
        age_s, lifetime_s = control.age_s, self.settings.session_lifetime
        if lifetime_s is not None and age_s >= lifetime_s:
            self.skip("expired", f"{sentence}, which proves nothing, since sessions live "
                      f"{lifetime_s:g} s and {age_s:.0f} s had passed (a higher "
                      "resumption_rate_limit is faster)")
        hint = (f" (if sessions live less than {age_s:.1f} s there, declare emqx_session_lifetime)"
                if age_s and lifetime_s is None else "")
        self.error("forgotten", f"{sentence}, which proves nothing, since {control.what} does not "
                                f"resume either{hint}")

    # -- what is done to nodes ------------------------------------------------------------------

    @contextlib.contextmanager
    def disturbed(self, fault: faults.Fault, *, forgets: bool) -> Iterator[None]:
        """Do something to the node for a while.

        Args:
            fault: what.
            forgets: the node has forgotten its sessions afterwards.

        Raises:
            DriverError: it could not be done, or not be undone.
        """
        driver = self.bench.driver
        if forgets:
            self.bench.sessions.forget(self.node)
        self._disturbed = True
        with fault(driver, self.bench.specs[self.node]):
            yield

    def await_whole(self) -> None:
        """Demand that every node of the run is ready, and sees all the others.

        Raises:
            DriverInterrupted: the run was asked to stop.
        """
        self._disturbed = False
        try:
            self.bench.driver.wait_ready(list(self.bench.specs.values()), READY_S)
        except DriverInterrupted:
            raise
        except DriverError as problem:
            self.bench.not_whole = f"the cluster is not whole again: {problem}"
            self.fail("not_whole_again", self.bench.not_whole)

    def mended(self, verdict: Verdict) -> Verdict:
        """Wait for a cluster that the story left in pieces, and say so if they stay pieces.

        Raises:
            Interrupted: the run was asked to stop.
        """
        if not self._disturbed:
            return verdict
        try:
            self.await_whole()
            if self.node not in self.bench.sessions:
                self.fresh_session()
        except StoryEnd as end:
            return replace(verdict, message=f"{verdict.message}; {end.verdict.message}")
        except DriverInterrupted:
            # Who is left behind must be told, even by a run that ends here.
            if verdict.reason == "driver_failed":
                return verdict
            raise Interrupted from None
        return verdict


def came_to(tell: Callable[[], str]) -> Verdict:
    """Return what a part of a story comes to, where something must be done whatever that is."""
    try:
        return passed(tell())
    except StoryEnd as end:
        return end.verdict


def measured(check: Check, bench: Bench, subject: Subject) -> Verdict:
    """Return what a check comes to on a subject, with every connection that it made.

    Raises:
        Interrupted: the run was asked to stop.
    """
    if check.impact is Impact.DISRUPTIVE and bench.not_whole:
        return skipped("not_whole", bench.not_whole)
    story = Story(bench, subject)
    with bench.waiting(f"{check.id} {check.doing} {story.node}") if check.doing else (
            contextlib.nullcontext()):
        verdict = story.mended(_ended(check, story))
    if not reasons.may_come_to(check, verdict.reason):
        verdict = error("harness_error", f"the harness broke: {check.id} does not declare the "
                                         f"reason {verdict.reason}: {verdict.message}")
    return replace(verdict, handshakes=tuple(story.evidence), data=story.data)


def _ended(check: Check, story: Story) -> Verdict:
    try:
        return came_to(lambda: check.story(story))
    except (Interrupted, DriverInterrupted):
        raise Interrupted from None
    except DriverError as problem:
        return error("driver_failed", str(problem))
    except Exception as problem:
        return broken(problem)


def broken(problem: Exception) -> Verdict:
    """Return the verdict where the harness itself is at fault."""
    where = traceback.extract_tb(problem.__traceback__)[-1]
    return error("harness_error", f"the harness broke: {type(problem).__name__}: {problem} "
                                  f"({where.name}, line {where.lineno})")
