"""Crafted conversations: what checks say with a client that no ordinary client is."""
from __future__ import annotations

from ..model import Handshake
from .bench import Bench, Contact
from .registry import Verdict
from .verdicts import failed, trouble

try:
    from ..tls.crafted import HONEST, Conduct, CraftedClient, CraftedSession, Hello
except ImportError:
    CRAFTED = False
else:
    CRAFTED = True
"""Whether tlslite-ng is installed where the probe runs."""


class Conversation:
    """Crafted conversations with one node, all of which are evidence."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.name = name
        self._bench = bench
        self._client = CraftedClient(bench.engine.trust, stop=bench.stop)
        self.handshakes: list[Handshake] = []

    def hears(self, hello: Hello, *, knowing: CraftedSession | None = None,
              conduct: Conduct | None = None) -> tuple[Contact, CraftedSession | None]:
        """Make a connection, and speak MQTT on it if it came to stand.

        Args:
            hello: what the ClientHello carries.
            knowing: the session whose master secret the client has.
            conduct: how it goes on; honestly, unless told otherwise.
        """
        bench = self._bench
        bench.wait_turn(self.name)
        attempt = self._client.connect(
            bench.nodes[self.name], hello, offer=knowing, conduct=conduct or HONEST,
            deadline_s=bench.settings.deadline_s)
        contact = bench.heard(self.name, Contact(attempt.handshake)) if attempt.stream is None \
            else bench.speak(self.name, attempt.handshake, attempt.stream)
        self.handshakes.append(contact.handshake)
        return contact, attempt.session

    def flaw_in_fallback(self, session_id: bytes, what: str,
                         knowing: CraftedSession | None = None) -> Verdict | None:
        """Offer an ID that must quietly lead to a full handshake; return a failure, or None."""
        contact, _ = self.hears(Hello(session_id=session_id), knowing=knowing)
        handshake = contact.handshake
        if handshake.library_reused:
            return failed("resumed", f"{self.name} resumed {what}", *self.handshakes)
        if verdict := trouble(contact):
            return Verdict(verdict.status, verdict.reason,
                           f"{verdict.message} (when offered {what})", tuple(self.handshakes))
        if handshake.alerts:
            alert = handshake.alerts[0]
            return failed("alert", f"{self.name} raised the {alert.level} alert "
                                   f"{alert.description} when offered {what}", *self.handshakes)
        return None
