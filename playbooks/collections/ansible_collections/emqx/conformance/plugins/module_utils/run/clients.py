"""Clients of a node's trust domains: what each is let into, and where its session gets it."""
from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .. import client_certificate
from ..contract.domains import VARIABLE
from ..model import Handshake, Outcome, Session, TrustDomain
from . import beyond
from .prober import Contact, Guest
from .story import Control, Story

NO_TLS_1_2 = "the fatal alert protocol_version"
"""How a listener refuses everybody here that speaks TLS 1.3 alone: it has no session IDs."""
WHERE = f"inventory/trust has them, and {VARIABLE} describes those of any node"

CARRIED_AGAIN = 2
"""Handshakes that :meth:`Clients.carried` makes on top where the session has to be made again."""
BACK_AGAIN = 3
"""The same of :meth:`Clients.back_home`."""


def turned_away(handshake: Handshake) -> str | None:
    """Return how the target refused this client; None when it did not, or nobody can tell.

    OTP 25 tells the application first, which closes the connection: whether its alert gets out
    is a race there. So closing counts once the target has asked for a certificate and got ours.
    """
    if handshake.outcome is Outcome.REFUSED:
        return f"the fatal alert {handshake.refusal}"
    failure = handshake.failure
    if (failure is not None and failure.stage == "handshake"
            and failure.cause in client_certificate.CLOSED
            and client_certificate.shown(handshake)):
        return "closing the connection"
    return None


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


class Clients:
    """Clients of a node's trust domains, and one without a certificate."""

    def __init__(self, story: Story) -> None:
        self.story, self.node = story, story.node
        self.domains = story.target.trust_domains.get(story.node, ())

    def guest(self, client: TrustDomain | None, at: TrustDomain | None) -> Guest:
        """Return a domain's client, or an anonymous one, at a domain's or the node's listener."""
        bench = self.story.bench
        engine = bench.prober.engine_of(client.client_cert, client.client_key) if client else \
            bench.prober.engine_of()
        endpoint = bench.nodes[self.node]
        return Guest(engine, replace(endpoint, port=at.port) if at else endpoint)

    def contact(self, guest: Guest, offer: Session | None = None) -> Contact:
        """Make a connection."""
        return self.story.contact(self.node, offer, guest=guest)

    def established(self, guest: Guest, who: str) -> Home | None:
        """Make a session, and look whether it resumes where it was made.

        Whether any does is the business of this listener alone: another one of the node may
        have another ``reuse_sessions``. Returns None when it does not speak TLS 1.2; a client that
        does not get in ends the check.
        """
        made = time.monotonic()
        first = self.contact(guest)
        how = turned_away(first.handshake)
        if how == NO_TLS_1_2:
            return None
        if how:
            self.story.error("client_refused", f"{guest.endpoint} refused {who} with {how}, so "
                                               "nothing could be measured")
        certificate = self.story.reaches_mqtt(first, first=True).server_certificate
        if first.session is None:
            return Home(guest, who, None, certificate, made, resumes=False)
        again = self.story.reaches_mqtt(self.contact(guest, first.session))
        return Home(guest, who, first.session, certificate, made,
                    resumes=again.outcome is Outcome.RESUMED)

    def refusal(self, guest: Guest) -> str | None:
        """Make a full handshake; return how the listener refuses this client, None if it does not.

        Where neither can be told the check ends.
        """
        contact = self.contact(guest)
        how = turned_away(contact.handshake)
        if not how and contact.handshake.outcome is not Outcome.FULL:
            self.story.unexpected(contact)
        return how

    def carried(self, home: Home, at: Guest) -> Crossing:
        """Offer a session where its client was refused.

        OpenSSL forbids a session for good when a peer answers its ClientHello with a fatal
        alert; then a new one is made at home, and resumed there first. Where there is no session to
        offer, or what came of it cannot be told, the check ends.
        """
        contact = self._offered(home, at)
        handshake = contact.handshake
        if turned_away(handshake):
            return Crossing(Outcome.REFUSED)
        if handshake.outcome not in (Outcome.RESUMED, Outcome.FULL):
            self.story.unexpected(contact)
        return Crossing(handshake.outcome, _greeting(handshake))

    def _offered(self, home: Home, at: Guest) -> Contact:
        session = self._session(home.session, home)
        if not at.engine.can_offer(at.endpoint, session):
            with self.story.ledger.counted_as(beyond.SPOILT):
                again = self.established(home.guest, home.who)
            if again is not None and again.session is not None:
                session = again.session
        contact = self.contact(at, session)
        if contact.spoilt:
            self.story.error("not_offered", f"{at.endpoint}: our own TLS library did not offer the "
                                            f"session of {home.who}")
        return contact

    def _session(self, session: Session | None, home: Home) -> Session:
        if session is None:
            self.story.error("no_session_id", f"{home.guest.endpoint} issued no session ID")
        return session

    def back_home(self, home: Home, what: str, at: Guest | None = None) -> Control:
        """Offer a session where it was made, after it was declined elsewhere.

        Our library may have dropped it since, over an alert (see :meth:`carried`). Then two are
        made, one is offered where the other was declined, and the other one at home.

        Args:
            home: the session; where there is none the check ends.
            what: that session, for people.
            at: where it was declined; None where it was not offered.
        """
        session = home.session
        if session is not None and at is not None and not home.guest.engine.can_offer(
                home.guest.endpoint, session):
            with self.story.ledger.counted_as(beyond.SPOILT):
                session, other = (self.contact(home.guest).session for _ in range(2))
                again = self.contact(at, other) if other is not None else None
            if again is not None and turned_away(again.handshake) is None:
                self.story.error("not_refused_again", f"{at.endpoint} refused the session of "
                                                      f"{home.who} once, and then did not")
        contact = self.contact(home.guest, self._session(session, home))
        return Control(contact, what, time.monotonic() - home.made)


def _greeting(handshake: Handshake) -> str:
    mqtt = handshake.mqtt
    if mqtt is None:
        return "MQTT was not tried"
    return "accepted CONNECT (CONNACK 0)" if not mqtt.cause else f"MQTT did not work: {mqtt.detail}"


def all_of(names: Sequence[str]) -> str:
    """Return names as a sentence lists them."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
