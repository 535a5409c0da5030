"""Clients of a node's trust domains: what each is let into, and where its session gets it."""
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .. import client_certificate
from ..domains import VARIABLE, TrustDomain
from ..model import Handshake, Outcome, Session
from . import beyond
from .bench import Bench, Contact, Guest
from .controls import shown
from .registry import Verdict
from .verdicts import error, trouble

NO_TLS_1_2 = "the fatal alert protocol_version"
"""How a listener refuses everybody here that speaks TLS 1.3 alone: it has no session IDs."""
WHERE = f"inventory/trust has them, and {VARIABLE} describes those of any node"


CARRIED_AGAIN = 3
"""Handshakes that :meth:`Node.carried` makes on top where the session has to be made again."""
BACK_AGAIN = 3
"""The same of :meth:`Node.back_home`."""


class EndError(Exception):
    """The measurement ended early, with this verdict."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict


def turned_away(handshake: Handshake) -> str | None:
    """Return how the target refused this client; None when it did not, or nobody can tell.

    OTP 25 tells the application first, which closes the connection: whether its alert gets out
    is a race there. So closing counts once the target has asked for a certificate and got ours.
    """
    if handshake.outcome is Outcome.REFUSED:
        return f"the fatal alert {handshake.alerts[-1].description}"
    failure = handshake.failure
    if (failure is not None and failure.stage == "handshake"
            and failure.cause in client_certificate.CLOSED
            and client_certificate.shown(handshake)):
        return "closing the connection"
    return None


class Node:
    """Clients of a node's trust domains, and one without a certificate; all they do is evidence."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.name = name
        self.domains = bench.target.trust_domains.get(name, ())
        self.bench = bench
        self.handshakes: list[Handshake] = []

    def verdict(self, story: Callable[[Node], Verdict]) -> Verdict:
        """Return what the story comes to, with every handshake of it."""
        try:
            verdict = story(self)
        except EndError as end:
            verdict = end.verdict
        return replace(verdict, handshakes=tuple(self.handshakes))

    def guest(self, client: TrustDomain | None, at: TrustDomain | None) -> Guest:
        """Return a domain's client, or an anonymous one, at a domain's or the node's listener."""
        engine = self.bench.engine_of(client.client_cert, client.client_key) if client else \
            self.bench.engine_of()
        endpoint = self.bench.nodes[self.name]
        return Guest(engine, replace(endpoint, port=at.port) if at else endpoint)

    def contact(self, guest: Guest, offer: Session | None = None) -> Contact:
        """Make a connection."""
        contact = self.bench.contact(self.name, offer, guest=guest)
        self.handshakes.append(contact.handshake)
        return contact

    def established(self, guest: Guest, who: str) -> Home | None:
        """Make a session, and look whether it resumes where it was made.

        Whether any does is the business of this listener alone: another one of the node may
        have another ``reuse_sessions``. Returns None when it does not speak TLS 1.2.

        Raises:
            EndError: the client does not get in.
        """
        made = time.monotonic()
        first = self.contact(guest)
        how = turned_away(first.handshake)
        if how == NO_TLS_1_2:
            return None
        if how:
            raise EndError(error("client_refused", f"{guest.endpoint} refused {who} with {how}, "
                                                    "so nothing could be measured"))
        if verdict := trouble(first, first=True):
            raise EndError(verdict)
        if first.session is None:
            return Home(guest, who, None, first.handshake.server_certificate, made, resumes=False)
        again = self.contact(guest, first.session)
        if verdict := trouble(again):
            raise EndError(verdict)
        return Home(guest, who, first.session, first.handshake.server_certificate, made,
                    resumes=again.handshake.outcome is Outcome.RESUMED)

    def refusal(self, guest: Guest) -> str | None:
        """Make a full handshake; return how the listener refuses this client, None if it does not.

        Raises:
            EndError: neither can be told.
        """
        contact = self.contact(guest)
        if how := turned_away(contact.handshake):
            return how
        if contact.handshake.outcome is Outcome.FULL:
            return None
        raise EndError(trouble(contact) or error(
            "harness_error", f"{guest.endpoint}: {contact.handshake.why}"))

    def carried(self, home: Home, at: Guest) -> Crossing:
        """Offer a session where its client was refused.

        OpenSSL forbids a session for good when a peer answers its ClientHello with a fatal
        alert; then a new one is made at home, and resumed there first.

        Raises:
            EndError: what came of it cannot be told, or there is no session to offer.
        """
        session = home.session
        if session is None:
            raise EndError(error("no_session_id", f"{home.guest.endpoint} issued no session ID"))
        contact = self.contact(at, session)
        if contact.handshake.offered_id != session.id:
            with self.bench.counted_as(beyond.SPOILT):
                again = self.established(home.guest, home.who)
                if again is not None and again.session is not None:
                    session = again.session
                    contact = self.contact(at, session)
        handshake = contact.handshake
        if handshake.offered_id != session.id:
            raise EndError(error("not_offered", f"{at.endpoint}: our own TLS library did not offer "
                                                f"the session of {home.who}"))
        if turned_away(handshake):
            return Crossing(Outcome.REFUSED)
        if handshake.outcome in (Outcome.RESUMED, Outcome.FULL):
            return Crossing(handshake.outcome, _greeting(handshake))
        raise EndError(trouble(contact) or error(
            "harness_error", f"{at.endpoint}: {handshake.why}"))


    def back_home(self, home: Home, at: Guest | None = None) -> Contact:
        """Offer a session where it was made, after it was declined elsewhere.

        Our library may have dropped it since, over an alert (see :meth:`carried`). Then two are
        made, one is offered where the other was declined, and the other one at home.

        Args:
            home: the session.
            at: where it was declined; None where it was not offered.

        Raises:
            EndError: there is no session to offer.
        """
        session = home.session
        if session is not None and at is not None and not home.guest.engine.can_offer(
                home.guest.endpoint, session):
            with self.bench.counted_as(beyond.SPOILT):
                session, other = (self.contact(home.guest).session for _ in range(2))
                again = self.contact(at, other) if other is not None else None
            if again is not None and turned_away(again.handshake) is None:
                raise EndError(error("not_refused_again", f"{at.endpoint} refused the session of "
                                                          f"{home.who} once, and then did not"))
        if session is None:
            raise EndError(error("no_session_id", f"{home.guest.endpoint} issued no session ID"))
        return self.contact(home.guest, session)

    def shown(self, verdict: Verdict, home: Home, control: Contact, what: str) -> Verdict:
        """Return a verdict with what its control at home adds, or why it cannot stand."""
        return shown(verdict, control, what, age_s=time.monotonic() - home.made,
                     lifetime_s=self.bench.settings.session_lifetime)


@dataclass(frozen=True)
class Home:
    """A session where it was made."""

    guest: Guest
    who: str
    """Its client, for people."""
    session: Session | None
    """None where the listener issued no session ID."""
    server_certificate: str
    """SHA-256 of what the listener presents."""
    made: float
    """When, as time.monotonic() tells it."""
    resumes: bool


@dataclass(frozen=True)
class Crossing:
    """What came of a session where its client's certificate is refused."""

    outcome: Outcome
    greeting: str = ""
    """How CONNECT was answered, if it got that far."""


def _greeting(handshake: Handshake) -> str:
    mqtt = handshake.mqtt
    if mqtt is None:
        return "MQTT was not tried"
    return "accepted CONNECT (CONNACK 0)" if not mqtt.cause else f"MQTT did not work: {mqtt.detail}"


def all_of(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
