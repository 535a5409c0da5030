"""Crafted conversations: what checks say with a client that no ordinary client is."""
from __future__ import annotations

import time
from dataclasses import dataclass, replace

from ..model import Alert, Handshake
from ..tls.engine import EngineError, is_forward_secret
from ..tls.transcript import ALERT_DESCRIPTIONS
from ..tls.wire import Deadline
from .bench import Bench, Contact
from .controls import shown
from .registry import Verdict
from .verdicts import error, failed, skipped, trouble

try:
    from ..tls.crafted import (
        HONEST,
        SUITES,
        Conduct,
        CraftedClient,
        CraftedSession,
        CraftedStream,
        Hello,
    )
except ImportError:
    CRAFTED = False
else:
    CRAFTED = True
"""Whether tlslite-ng is installed where the probe runs."""


class _EndsInAlert:
    """A connection whose last word is a fatal alert."""

    def __init__(self, stream: CraftedStream, description: int, deadline_s: float) -> None:
        self._stream, self._description, self._deadline_s = stream, description, deadline_s
        self.heard = False
        """Whether the target has closed, having heard the alert."""

    def send(self, data: bytes, deadline: Deadline) -> None:
        self._stream.send(data, deadline)

    def receive(self, deadline: Deadline) -> bytes:
        return self._stream.receive(deadline)

    def close(self) -> None:
        self.heard = self._stream.abort(self._description, deadline_s=self._deadline_s)


@dataclass(frozen=True)
class Twin:
    """A session that was made just before another one, and of which nothing bad is known."""

    session: CraftedSession
    hello: Hello
    """What it was made with, and is offered with."""
    made: float
    """When, as time.monotonic() tells it."""


class NotSpokenError(Exception):
    """A crafted client cannot speak with a node what an ordinary one does: nothing is offered."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict


def client_for(bench: Bench, name: str) -> CraftedClient:
    """Return the crafted client of a run for a node.

    Raises:
        NotSpokenError: it cannot speak the suite that the node chose of all that the ordinary
            client offers, or not sign with the run's client key. Groups and signature algorithms
            are the same for both.
    """
    session = bench.sessions.get(name)
    if session is not None and session.cipher not in SUITES:
        raise NotSpokenError(skipped(
            "cipher_not_spoken", f"{name} chose {session.cipher} of all cipher suites that an "
            "ordinary client offers, and tlslite-ng, of which the crafted client is made, cannot "
            "speak it"))
    try:
        return CraftedClient(bench.engine.trust, stop=bench.stop)
    except EngineError as problem:
        raise NotSpokenError(skipped(
            "client_key_not_spoken", f"the ordinary client is let in by {name}, but {problem}: "
            "an RSA, ECDSA or Ed25519 key can be")) from None


def _suites_for(bench: Bench, name: str) -> tuple[str, ...]:
    """Return what is offered unless a check has a reason: what the ordinary client offers too."""
    careful = (bench.settings.credentials.password is not None
               and not bench.takes_no_forward_secrecy(bench.nodes[name]))
    return tuple(filter(is_forward_secret, Hello.suites)) if careful else Hello.suites


class Conversation:
    """Crafted conversations with one node, all of which are evidence."""

    def __init__(self, bench: Bench, name: str) -> None:
        """Raise NotSpokenError where :func:`client_for` does."""
        self.name = name
        self._bench = bench
        self._client = client_for(bench, name)
        self._usual = Hello(suites=_suites_for(bench, name))
        self.handshakes: list[Handshake] = []

    def hears(self, hello: Hello, *, knowing: CraftedSession | None = None,
              conduct: Conduct | None = None, patient: bool = False,
              ) -> tuple[Contact, CraftedSession | None]:
        """Make a connection, and speak MQTT on it if it came to stand.

        Args:
            hello: what the ClientHello carries.
            knowing: the session whose master secret the client has.
            conduct: how it goes on; honestly, unless told otherwise.
            patient: :meth:`Bench.in_turn`'s; for a hello that nobody has a reason to hang up on.
        """
        bench = self._bench
        if hello.suites == Hello.suites:
            hello = replace(hello, suites=self._usual.suites)
        attempt = bench.in_turn(self.name, lambda: self._client.connect(
            bench.nodes[self.name], hello, offer=knowing, conduct=conduct or HONEST,
            deadline_s=bench.settings.deadline_s), patient=patient)
        contact = bench.heard(self.name, Contact(attempt.handshake)) if attempt.stream is None \
            else bench.speak(self.name, attempt.handshake, attempt.stream)
        self.handshakes.append(contact.handshake)
        return contact, attempt.session

    def ends_in_alert(self, description: int) -> tuple[Contact, CraftedSession | None, bool]:
        """Make a full handshake, and raise a fatal alert once CONNACK is there.

        Return with it whether the target closed the connection in answer. Only then has it surely
        heard the alert.
        """
        bench = self._bench
        attempt = bench.in_turn(self.name, lambda: self._client.connect(
            bench.nodes[self.name], self._usual,
            deadline_s=bench.settings.deadline_s), patient=False)
        heard = False
        if attempt.stream is None:
            contact = bench.heard(self.name, Contact(attempt.handshake))
        else:
            connection = _EndsInAlert(attempt.stream, description, bench.settings.deadline_s)
            ours = Alert("client", "fatal", ALERT_DESCRIPTIONS[description])
            contact = bench.speak(
                self.name, replace(attempt.handshake, alerts=(*attempt.handshake.alerts, ours)),
                connection, disconnect=False)
            heard = connection.heard
        self.handshakes.append(contact.handshake)
        return contact, attempt.session, heard

    def new_session(self, hello: Hello, *, patient: bool = False,
                    ) -> Verdict | tuple[Contact, CraftedSession]:
        """Make a full handshake and return it with its session, or what went wrong."""
        first, session = self.hears(hello, patient=patient)
        if verdict := trouble(first):
            return self.with_all(verdict)
        if session is None:
            return self.no_session()
        return first, session

    def no_session(self) -> Verdict:
        """Return the verdict where a session was to be offered, and there is none."""
        return error("no_session_id", f"{self.name} issued no session ID this time, so there was "
                                      "nothing to offer", *self.handshakes)

    def twin(self, hello: Hello) -> Twin | Verdict:
        """Make a session for :meth:`with_control`, or return what went wrong."""
        made = time.monotonic()
        first = self.new_session(hello, patient=True)
        return first if isinstance(first, Verdict) else Twin(first[1], hello, made)

    def with_control(self, verdict: Verdict, twin: Twin, of: str = "", *, also: str = "",
                     ) -> Verdict:
        """Offer the twin, last of all; return the verdict with all, unless that refutes it.

        ``of`` tells what kind of session it is, for people; ``also`` is that of :func:`shown`.
        """
        what = f"a session{of} that was made just before and ended properly"
        age_s = time.monotonic() - twin.made
        contact, _ = self.hears(replace(twin.hello, session_id=twin.session.id),
                                knowing=twin.session, patient=True)
        return self.with_all(shown(verdict, contact, what, age_s=age_s,
                                   lifetime_s=self._bench.settings.session_lifetime,
                                   also=also))

    def with_all(self, verdict: Verdict, when: str = "") -> Verdict:
        """Return the verdict with all that was heard so far, and said when it came to that."""
        message = f"{verdict.message} ({when})" if when else verdict.message
        return replace(verdict, message=message, handshakes=tuple(self.handshakes))

    def flaw_in_fallback(self, session_id: bytes, what: str,
                         knowing: CraftedSession | None = None) -> Verdict | None:
        """Offer an ID that must quietly lead to a full handshake; return a failure, or None."""
        contact, _ = self.hears(Hello(session_id=session_id), knowing=knowing, patient=True)
        handshake = contact.handshake
        if handshake.library_reused:
            return failed("resumed", f"{self.name} resumed {what}", *self.handshakes)
        if verdict := trouble(contact):
            return self.with_all(verdict, f"when offered {what}")
        if handshake.alerts:
            alert = handshake.alerts[0]
            return failed("alert", f"{self.name} raised the {alert.level} alert "
                                   f"{alert.description} when offered {what}", *self.handshakes)
        return None
