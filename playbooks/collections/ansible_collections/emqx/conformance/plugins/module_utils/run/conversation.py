"""Crafted conversations: what checks say with a client that no ordinary client is."""
from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..model import Alert, Handshake
from ..tls.engine import is_forward_secret
from ..tls.transcript import ALERT_DESCRIPTIONS
from ..tls.trust import EngineError
from ..tls.wire import Deadline
from .bench import Bench
from .prober import Contact
from .story import Control, Story

if TYPE_CHECKING:
    from ..tls.crafted.client import CraftedClient
    from ..tls.crafted.records import CraftedStream

try:
    from ..tls.crafted import HONEST, SUITES, Conduct, CraftedSession, Hello
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


def client_for(story: Story) -> CraftedClient:
    """Return the crafted client of a run for a node.

    The check is skipped where it cannot speak the suite that the node chose of all that the
    ordinary client offers, or not sign with the run's client key. Groups and signature algorithms
    are the same for both.
    """
    # Ansible asks for the catalogue in every run, and in few is anything said.
    from ..tls.crafted.client import CraftedClient  # noqa: PLC0415

    bench, node = story.bench, story.node
    session = bench.sessions.get(node)
    if session is not None and session.cipher not in SUITES:
        story.skip("cipher_not_spoken", f"{node} chose {session.cipher} of all cipher suites that "
                   "an ordinary client offers, and tlslite-ng, of which the crafted client is "
                   "made, cannot speak it")
    try:
        return CraftedClient(bench.prober.engine.trust, stop=bench.stop)
    except EngineError as problem:
        story.skip("client_key_not_spoken", f"the ordinary client is let in by {node}, but "
                   f"{problem}: an RSA, ECDSA or Ed25519 key can be")


def _suites_for(bench: Bench, name: str) -> tuple[str, ...]:
    """Return what is offered unless a check has a reason: what the ordinary client offers too."""
    careful = (bench.settings.credentials.password is not None
               and not bench.prober.takes_no_forward_secrecy(bench.nodes[name]))
    return tuple(filter(is_forward_secret, Hello.suites)) if careful else Hello.suites


class Conversation:
    """A node that hears a crafted client; written out, it is the node's name."""

    def __init__(self, story: Story) -> None:
        """Skip the check where :func:`client_for` does."""
        self.story = story
        self._bench, self._name = story.bench, story.node
        self._client = client_for(story)
        self._usual = Hello(suites=_suites_for(self._bench, self._name))

    def __str__(self) -> str:
        return self._name

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
        bench, prober = self._bench, self.story.prober
        if hello.suites == Hello.suites:
            hello = replace(hello, suites=self._usual.suites)
        attempt = prober.in_turn(self._name, lambda: self._client.connect(
            bench.nodes[self._name], hello, offer=knowing, conduct=conduct or HONEST,
            deadline_s=bench.settings.deadline_s), patient=patient)
        contact = prober.heard(self._name, Contact(attempt.handshake)) if attempt.stream is None \
            else prober.speak(self._name, attempt.handshake, attempt.stream)
        return self.story.seen(contact), attempt.session

    def ends_in_alert(self, description: int) -> tuple[Contact, CraftedSession | None, bool]:
        """Make a full handshake, and raise a fatal alert once CONNACK is there.

        Return with it whether the target closed the connection in answer. Only then has it surely
        heard the alert.
        """
        bench, prober = self._bench, self.story.prober
        attempt = prober.in_turn(self._name, lambda: self._client.connect(
            bench.nodes[self._name], self._usual,
            deadline_s=bench.settings.deadline_s), patient=False)
        heard = False
        if attempt.stream is None:
            contact = prober.heard(self._name, Contact(attempt.handshake))
        else:
            connection = _EndsInAlert(attempt.stream, description, bench.settings.deadline_s)
            ours = Alert("client", "fatal", ALERT_DESCRIPTIONS[description])
            contact = prober.speak(
                self._name, replace(attempt.handshake, alerts=(*attempt.handshake.alerts, ours)),
                connection, disconnect=False)
            heard = connection.heard
        return self.story.seen(contact), attempt.session, heard

    def new_session(self, hello: Hello, *, patient: bool = False,
                    ) -> tuple[Handshake, CraftedSession]:
        """Demand a full handshake with a session."""
        contact, session = self.hears(hello, patient=patient)
        handshake = self.story.reaches_mqtt(contact)
        if session is None:
            self.story.nothing_to_offer()
        return handshake, session

    def twin(self, hello: Hello) -> Twin:
        """Make a session for :meth:`offered_again`."""
        made = time.monotonic()
        _, session = self.new_session(hello, patient=True)
        return Twin(session, hello, made)

    def offered_again(self, twin: Twin, of: str = "") -> Control:
        """Offer a twin, last of all; ``of`` tells what kind of session it is, for people."""
        age_s = time.monotonic() - twin.made
        contact, _ = self.hears(replace(twin.hello, session_id=twin.session.id),
                                knowing=twin.session, patient=True)
        return Control(contact, f"a session{of} that was made just before and ended properly",
                       age_s)

    def resumed(self, session_id: bytes, what: str, knowing: CraftedSession | None = None) -> bool:
        """Offer an ID and tell whether it was resumed.

        If not, it must have led to a full handshake without an alert (RFC 5246 7.4.1.2).
        """
        contact, _ = self.hears(Hello(session_id=session_id), knowing=knowing, patient=True)
        if contact.handshake.library_reused:
            return True
        self.story.reaches_mqtt(contact, f"when offered {what}")
        self.story.quiet(contact, f"when offered {what}")
        return False

    def falls_back(self, session_id: bytes, what: str, knowing: CraftedSession | None = None, *,
                   reason: str = "resumed") -> None:
        """Demand that an ID leads to a full handshake without an alert (RFC 5246 7.4.1.2).

        ``reason`` is for a resumed one.
        """
        if self.resumed(session_id, what, knowing):
            self.story.fail(reason, f"{self} resumed {what}")
