"""One connection with MQTT on it, paced, and entered in the ledger."""
from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from ..model import Endpoint, Handshake, MqttResult, Outcome, Session
from ..mqtt import client as mqtt
from ..tls.engine import NOT_OFFERED, Attempt, OrdinaryEngine, is_forward_secret, nothing_in_common
from ..tls.trust import Trust
from ..tls.wire import TIMEOUT, Deadline, WireError
from . import beyond
from .ledger import Ledger
from .pace import Made, Pace, most_asked
from .target import Target

_MadeT = TypeVar("_MadeT", bound=Made)


@dataclass(frozen=True)
class Contact:
    """One connection with MQTT on it."""

    handshake: Handshake
    session: Session | None = None
    connack: mqtt.Connack | None = None

    @property
    def spoilt(self) -> bool:
        """Tell whether there was no connection, since our library offers that session no more."""
        failure = self.handshake.failure
        return failure is not None and failure.cause == NOT_OFFERED


@dataclass(frozen=True)
class Guest:
    """Another client than the run's own, at another listener of a node."""

    engine: OrdinaryEngine
    """Its sessions can be offered through this engine only, so by this client only."""
    endpoint: Endpoint
    """The listener, under the node's name."""


@dataclass(frozen=True)
class Offer:
    """What one connection is to be: with whom, and what the client offers."""

    node: str
    """A node or a load balancer, by name."""
    session: Session | None = None
    """None: no session is offered."""
    tickets: bool = False
    """As in :meth:`OrdinaryEngine.connect`, like the next."""
    versions: tuple[str, str] | None = None
    together: threading.Barrier | None = None
    """The connection stays open until all parties of this have one."""
    usual: Outcome | None = None
    """It is one of very many, listed only if it does not come to this (:meth:`Ledger.enter`)."""
    guest: Guest | None = None
    """Who comes in the place of the run's own client."""
    keep_session: bool = True
    """As in :meth:`OrdinaryEngine.connect`."""


class _Connection(mqtt.ByteStream, Protocol):
    """A connection that can be closed."""

    def close(self) -> None:
        """Close it, in good order."""


def _wait_for_all(together: threading.Barrier | None, seconds: float) -> None:
    """Keep this connection open until the others stand too; one that fails breaks the wait."""
    if together is not None:
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(seconds)


class Prober:
    """Connects to the nodes and load balancers of a target. Thread-safe."""

    def __init__(self, engine: OrdinaryEngine, target: Target, stop: threading.Event) -> None:
        self.engine, self.target, self.stop = engine, target, stop
        self.ledger = Ledger()
        self.endpoints = {**target.nodes, **{
            name: balancer.endpoint for name, balancer in target.balancers.items()}}
        """Every address that is connected to, by name."""
        self.paces = {name: Pace(target.settings.rate_limit, most=most_asked(len(target.nodes)))
                      for name in self.endpoints}
        """By name: how fast it is connected to."""
        self._settings = target.settings
        self._mqtt_versions: dict[str, str] = {}
        self._not_forward_secret: set[Endpoint] = set()
        self._control_of: dict[Endpoint, Handshake] = {}
        self._engines: dict[Trust, OrdinaryEngine] = {}
        self._lock = threading.Lock()

    def engine_of(self, cert_file: str | None = None,
                  key_file: str | None = None) -> OrdinaryEngine:
        """Return the one engine of this client; without a certificate, of an anonymous one.

        Raises:
            EngineError: a file is missing or is no PEM certificate or key.
        """
        trust = Trust(self.engine.trust.ca_file, cert_file, key_file)
        if trust == self.engine.trust:
            return self.engine
        with self._lock:
            if trust not in self._engines:
                self._engines[trust] = OrdinaryEngine(
                    trust, stop=self.stop, forward_secret=self.engine.forward_secret)
            return self._engines[trust]

    def close(self) -> None:
        """Release the engines that were made here."""
        with self._lock:
            for engine in self._engines.values():
                engine.close()
            self._engines.clear()

    def can_offer(self, node: str, session: Session) -> bool:
        """Tell whether our TLS library still offers a session to a node."""
        return self.engine.can_offer(self.target.nodes[node], session)

    def contact(self, offer: Offer) -> Contact:
        """Connect, offer a session or none, and speak MQTT.

        Where our library offers the session no more nothing is connected to, and the contact is
        ``spoilt``. With ``mqtt_version`` auto, the first contact with a node that refuses MQTT 5
        costs it a second connection.

        Raises:
            Interrupted: the run was asked to stop.
        """
        contact = self.tried(offer)
        return self.heard(offer.node, contact) if contact.spoilt else contact

    def tried(self, offer: Offer) -> Contact:
        """Make a contact; one that is spoilt is not entered in the ledger.

        Raises:
            Interrupted: the run was asked to stop.
        """
        try:
            return self._contact(offer, self.mqtt_version(offer.node))
        except mqtt.UnsupportedVersionError:
            with self._lock:
                self._mqtt_versions[offer.node] = "3.1.1"
            return self._contact(offer, "3.1.1")

    def mqtt_version(self, node: str) -> str:
        """Return what the node is spoken to in; with ``auto`` the first contact finds out."""
        if self._settings.mqtt_version != "auto":
            return self._settings.mqtt_version
        with self._lock:
            return self._mqtt_versions.get(node, "5")

    def _contact(self, offer: Offer, version: str) -> Contact:
        node = offer.node
        engine, endpoint = (self.engine, self.endpoints[node]) if offer.guest is None else (
            offer.guest.engine, offer.guest.endpoint)

        def connected() -> Attempt:
            return self.in_turn(node, lambda: engine.connect(
                endpoint, offer=offer.session, deadline_s=self._settings.deadline_s,
                tickets=offer.tickets, versions=offer.versions, keep_session=offer.keep_session),
                patient=offer.together is None and offer.guest is None)

        attempt = connected()
        if (engine.forward_secret and offer.session is None and offer.versions is None
                and nothing_in_common(attempt.handshake)):
            with self.ledger.counted_as(beyond.SECOND_TRIES):
                self.heard(node, Contact(attempt.handshake))
            self._takes_no_forward_secrecy(endpoint)
            engine.offer_all_suites()
            attempt = connected()
        if attempt.stream is None:
            contact = Contact(attempt.handshake)
            return contact if contact.spoilt else self.heard(node, contact)
        seen = attempt.handshake if offer.together is None else replace(
            attempt.handshake, crowded=True)
        try:
            withheld = self._withheld(node, seen, version, tempted=offer.versions is not None)
            result, connack = (withheld, None) if withheld is not None else self._speak_mqtt(
                attempt.stream, node, version, offer.together)
        except mqtt.UnsupportedVersionError as error:
            # This handshake happened too, even though another one takes its place.
            result = MqttResult(version, error.cause, str(error))
            with self.ledger.counted_as(beyond.SECOND_TRIES):
                self.heard(node, Contact(replace(seen, mqtt=result)))
            raise
        finally:
            attempt.stream.close()
        return self.heard(
            node, Contact(replace(seen, mqtt=result), attempt.session, connack),
            listed=seen.outcome is not offer.usual or bool(result.cause))

    def open(self, node: str, offer: Session | None, *, heed_stop: bool = True,
             deadline_s: float | None = None) -> Attempt:
        """Offer a session to a node, or none, and leave the connection to the caller.

        Its handshake, with what MQTT came to, is the caller's to hand to :meth:`heard`.

        Raises:
            Interrupted: the run was asked to stop, and ``heed_stop`` is not False.
        """
        return self.in_turn(node, lambda: self.engine.connect(
            self.target.nodes[node], offer=offer, heed_stop=heed_stop,
            deadline_s=self._settings.deadline_s if deadline_s is None else deadline_s),
            patient=heed_stop)

    def in_turn(self, node: str, connect: Callable[[], _MadeT], *, patient: bool = True) -> _MadeT:
        """Connect when the rate limit allows one more handshake with the node.

        A node of somebody else's that has answered in this run may limit rates itself; then the
        run is ``patient``, as :meth:`Pace.patiently` says. A node that can be driven from here is
        expected to be down at times, and is not waited for.

        Raises:
            Interrupted: the run was asked to stop.
        """
        pace = self.paces[node]
        if not patient or self.target.abilities or not self.ledger.has_answered(node):
            pace.wait(self.stop)
            return connect()

        def control() -> Handshake:
            attempt = self.engine.connect(
                self.endpoints[node], deadline_s=self._settings.deadline_s, keep_session=False)
            if attempt.stream is not None:
                attempt.stream.close()
            with self.ledger.counted_as(beyond.CONTROLS):
                return self.heard(node, Contact(attempt.handshake)).handshake

        def repeated(handshake: Handshake) -> None:
            with self.ledger.counted_as(beyond.REPEATED):
                self.heard(node, Contact(handshake))

        return pace.patiently(connect, control=control, repeated=repeated, stop=self.stop)

    def speak(self, node: str, handshake: Handshake, connection: _Connection, *,
              disconnect: bool = True) -> Contact:
        """Speak MQTT on a connection that a check made itself, close it and count it.

        Without ``disconnect`` it is closed right after CONNACK.

        Raises:
            Interrupted: the run was asked to stop.
        """
        version = self.mqtt_version(node)
        connack = None
        try:
            withheld = self._withheld(node, handshake, version, tempted=True)
            result, connack = (withheld, None) if withheld is not None else self._speak_mqtt(
                connection, node, version, None, disconnect=disconnect)
        except mqtt.UnsupportedVersionError as error:
            result = MqttResult(version, error.cause, str(error))
        finally:
            connection.close()
        return self.heard(node, Contact(replace(handshake, mqtt=result), connack=connack))

    def heard(self, node: str, contact: Contact, *, listed: bool = True) -> Contact:
        """Enter a connection that has ended in the ledger, as :meth:`Ledger.enter` does."""
        return replace(contact, handshake=self.ledger.enter(
            node, contact.handshake, contact.connack, listed=listed))

    def takes_no_forward_secrecy(self, endpoint: Endpoint) -> bool:
        """Tell whether a listener is known to refuse who offers only forward-secret suites."""
        with self._lock:
            return endpoint in self._not_forward_secret

    def _takes_no_forward_secrecy(self, endpoint: Endpoint) -> None:
        with self._lock:
            self._not_forward_secret.add(endpoint)

    def _withheld(self, node: str, handshake: Handshake, version: str, *,
                  tempted: bool) -> MqttResult | None:
        """Return why no password is sent on a connection, or None where one may be.

        Where SEC-04 warns of the suite, only who takes nothing else gets it. Whether a node does is
        asked once; a client that has ``tempted`` it to such a suite does without CONNECT.
        """
        endpoint = handshake.endpoint
        if (self._settings.credentials.password is None or handshake.version == "tlsv1.3"
                or is_forward_secret(handshake.cipher) or self.takes_no_forward_secrecy(endpoint)):
            return None
        if tempted:
            return MqttResult(version, "", f"CONNECT was not sent: {handshake.cipher} has no "
                                           "forward secrecy, and there is a password")
        control = self._control_of.get(endpoint) or self._asked_for_forward_secrecy(node, endpoint)
        if nothing_in_common(control):
            self._takes_no_forward_secrecy(endpoint)
            return None
        return MqttResult(version, "password_withheld", "the password was not sent with "
                          f"{handshake.cipher}, which has no forward secrecy, since a client that "
                          f"offers nothing else got {control.cipher or control.why}")

    def _asked_for_forward_secrecy(self, node: str, endpoint: Endpoint) -> Handshake:
        """Return what a client gets that offers nothing else."""
        careful = OrdinaryEngine(self.engine.trust, stop=self.stop, forward_secret=True)
        try:
            attempt = self.in_turn(node, lambda: careful.connect(
                endpoint, deadline_s=self._settings.deadline_s, keep_session=False), patient=False)
            if attempt.stream is not None:
                attempt.stream.close()
        finally:
            careful.close()
        with self.ledger.counted_as(beyond.SECOND_TRIES):
            control = self.heard(node, Contact(attempt.handshake)).handshake
        self._control_of[endpoint] = control
        return control

    def _speak_mqtt(self, stream: mqtt.ByteStream, node: str, version: str,
                    together: threading.Barrier | None, *, disconnect: bool = True,
                    ) -> tuple[MqttResult, mqtt.Connack | None]:
        deadline = Deadline(self._settings.deadline_s, self.stop, setting=TIMEOUT)
        begun = time.monotonic()
        try:
            connack = mqtt.connect(stream, self._settings.credentials, version=version,
                                   deadline=deadline)
        except mqtt.UnsupportedVersionError as error:
            if self._settings.mqtt_version == "auto" and version == "5":
                raise
            return MqttResult(version, error.cause, str(error)), None
        except mqtt.MqttError as error:
            # MQTT 3.1.1 3.1.4: a server closes without CONNACK on a CONNECT that is not as its
            # standard says, as an MQTT 5 one is not. Who has answered MQTT 5 once speaks it.
            if (self._settings.mqtt_version == "auto" and version == "5"
                    and error.cause == "mqtt_closed" and node not in self.ledger.connacks):
                raise mqtt.UnsupportedVersionError(error.cause, str(error)) from None
            return MqttResult(version, error.cause, str(error)), None
        connect_ms = round((time.monotonic() - begun) * 1000, 3)
        _wait_for_all(together, self._settings.deadline_s)
        try:
            if disconnect:
                mqtt.disconnect(stream, deadline)
        except WireError as error:
            return MqttResult(version, "mqtt_closed", error.failure.detail), connack
        return MqttResult(version, "", "CONNACK accepted", connect_ms), connack
