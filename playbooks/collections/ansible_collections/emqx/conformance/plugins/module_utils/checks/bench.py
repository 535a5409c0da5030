"""The bench: the nodes, the engine, and what the checks have learnt so far in this run."""
from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from ..drivers.base import Driver, DriverError, NodeSpec
from ..listeners.release import Release
from ..model import Endpoint, Handshake, MqttResult, Outcome, Session, TrustDomain
from ..mqtt import client as mqtt
from ..tls.engine import NOT_OFFERED, Attempt, OrdinaryEngine, is_forward_secret, nothing_in_common
from ..tls.trust import Trust
from ..tls.wire import TIMEOUT, Deadline, WireError
from . import beyond
from .pace import Made, Pace, most_asked
from .savings import Fleet

_MadeT = TypeVar("_MadeT", bound=Made)


@dataclass(frozen=True)
class Settings:
    """How the run behaves; the names are those of the inventory."""

    cache_scope: str = "node"
    """Where a session is expected to resume: ``node``, ``cluster`` or ``none``."""
    session_cache_max: int = 1000
    """Sessions a node remembers; the budget of every check is a share of it."""
    cache_declared: bool = True
    """Whether somebody said so, or it is only assumed."""
    session_lifetime: float | None = None
    """Seconds for which a node is declared to remember a session; None: undeclared."""
    max_wait: float = 30
    """Seconds that a check may wait for a session or a certificate to expire."""
    rate_limit: float | None = None
    """Handshakes a second and node; None: unlimited."""
    deadline_s: float = 5.0
    """For TCP connect and handshake together, and again for CONNECT to CONNACK."""
    tls_versions: tuple[str, ...] = ()
    """Versions that the target is declared to speak, as EMQX spells them; empty: undeclared."""
    mqtt_version: str = "auto"
    credentials: mqtt.Credentials = field(default_factory=mqtt.Credentials)
    mqtt_topic: str = "tls-resumption"
    """Topic under which the probe publishes and subscribes."""
    fleet: Fleet = field(default_factory=Fleet)
    """Whom resumption is to save something."""
    release: Release | None = None
    """The EMQX that the nodes are declared to be; None: undeclared."""
    pairs_per_node: int | None = None
    """How many other nodes each node's session is offered to, within the budget; None: as many as
    the number of nodes suggests."""

    def expected(self, issuer: str, redeemer: str) -> Outcome:
        """Return what offering ``issuer``'s session to ``redeemer`` should come to."""
        if self.cache_scope == "cluster" or (self.cache_scope == "node" and issuer == redeemer):
            return Outcome.RESUMED
        return Outcome.FULL


@dataclass(frozen=True)
class Balancer:
    """An address that is expected to lead to several nodes."""

    endpoint: Endpoint
    affinity: str | None = None
    """What it is declared to keep together: ``session_id`` (who offers a session comes to the node
    that issued it), ``source`` (who comes from one address comes to one node) or ``none``; None:
    undeclared."""


@dataclass(frozen=True)
class Target:
    """What a run is about, before any connection: enough to plan."""

    nodes: dict[str, Endpoint]
    settings: Settings
    driver: str = "external"
    """Name of the driver."""
    abilities: frozenset[str] = frozenset()
    """What it can do to a node; see :class:`Driver`."""
    limits: str = ""
    """Why it cannot do the rest, in one clause."""
    trust_domains: Mapping[str, tuple[TrustDomain, ...]] = field(default_factory=dict)
    """By node: its listeners that demand client certificates."""
    places: int = 1
    """How many places it is probed from, one after the other: they share its session budget."""
    vantage: bool = False
    """Whether this is one of the others than the controller, with nothing but python3."""
    balancers: Mapping[str, Balancer] = field(default_factory=dict)
    """By name: addresses that lead to the nodes, and are none themselves."""
    zones: Mapping[str, str] = field(default_factory=dict)
    """By node: where it stands, as far as that is declared."""
    spare: int | None = None
    """Full handshakes that a node's session budget has left for each check that does with what
    there is (:attr:`Check.elastic`); None: there is no plan."""

    @property
    def shared_addresses(self) -> tuple[str, ...]:
        """The addresses that may lead to several nodes: load balancers, or a single node's."""
        if self.balancers:
            return tuple(self.balancers)
        return tuple(self.nodes) if len(self.nodes) == 1 else ()

    def next_after(self, node: str) -> str:
        """Return the node after this one in the inventory's order; after the last, the first."""
        names = list(self.nodes)
        return names[(names.index(node) + 1) % len(names)]


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
class _How:
    """What is special about one contact."""

    tickets: bool = False
    versions: tuple[str, str] | None = None
    together: threading.Barrier | None = None
    usual: Outcome | None = None
    guest: Guest | None = None
    keep_session: bool = True


@dataclass(frozen=True)
class Tally:
    """Handshakes that are counted and not listed."""

    handshakes: Counter[str] = field(default_factory=Counter)
    """By node."""
    sessions: Counter[str] = field(default_factory=Counter)
    """By node: full ones."""


class _Connection(mqtt.ByteStream, Protocol):
    """A connection that can be closed."""

    def close(self) -> None:
        """Close it, in good order."""


def _wait_for_all(together: threading.Barrier | None, seconds: float) -> None:
    """Keep this connection open until the others stand too; one that fails breaks the wait."""
    if together is not None:
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(seconds)


class Bench:
    """What checks work with. Thread-safe: subjects of one check are measured side by side."""

    otp_release: Callable[[str], str | None] = staticmethod(lambda _: None)
    """Tells a node's Erlang/OTP release as this run has learnt it."""

    def __init__(self, engine: OrdinaryEngine, target: Target, stop: threading.Event) -> None:
        self.engine, self.target, self.stop = engine, target, stop
        self.nodes, self.settings = target.nodes, target.settings
        self.endpoints = {**self.nodes, **{
            name: balancer.endpoint for name, balancer in target.balancers.items()}}
        """Every address that is connected to, by name."""
        self.sessions: dict[str, Session] = {}
        """By issuer: the session that CORE-01 established, or the one that took its place."""
        self.renewed: dict[str, str] = {}
        """By issuer: for which reason its session was made again last."""
        self.beyond: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """By kind (:mod:`.beyond`) and node: handshakes that no plan has."""
        self.polls: Mapping[str, int] = {}
        """By node: how often a driver has asked whether it is ready."""
        self.connacks: dict[str, mqtt.Connack] = {}
        """By node: the first CONNACK, in which a target may name itself."""
        self.handshakes: list[Handshake] = []
        """The run's handshakes, in the order in which they ended."""
        self.unlisted = Tally()
        """Those of checks that make more than anybody could read: never their evidence."""
        self.cells: dict[tuple[str, str], Handshake] = {}
        """The matrix: what offering issuer's session to redeemer came to."""
        self.on_handshake: Callable[[int], None] = lambda _: None
        """Told the number of handshakes so far, after each; what found nobody is none."""
        self.on_wait: Callable[[str], None] = lambda _: None
        """Told what takes its time, in one clause, and the empty string when it is over."""
        self.specs = {name: NodeSpec(name, node.host, node.port, node.server_name)
                      for name, node in self.nodes.items()}
        """The nodes as a driver takes them."""
        self.not_whole = ""
        """Why the cluster must not be disturbed any more; empty as long as it may."""
        self.check = ""
        """Id of the check that is being measured."""
        self.made: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """By check: how many handshakes each node was asked for, of those that the plan has."""
        self.more: dict[tuple[str, str], str] = {}
        """By check and node: why that took more than announced, in one clause."""
        self._driver: Driver | DriverError = DriverError("there is no driver")
        self._connected = 0
        self._mqtt_versions: dict[str, str] = {}
        self._established: dict[str, float] = {}
        self._renewing: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._waiting: list[str] = []
        self.paces = {name: Pace(self.settings.rate_limit, most=most_asked(len(self.nodes)))
                      for name in self.endpoints}
        """By node: how fast it is connected to."""
        self._answered: set[str] = set()
        self._not_forward_secret: set[Endpoint] = set()
        self._control_of: dict[Endpoint, Handshake] = {}
        self._counting = threading.local()
        self._lock = threading.Lock()
        self._engines: dict[Trust, OrdinaryEngine] = {}

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

    @property
    def driver(self) -> Driver:
        """What can disturb the nodes.

        Raises:
            DriverError: there is none; the sentence says why.
        """
        if isinstance(self._driver, DriverError):
            raise self._driver
        return self._driver

    @driver.setter
    def driver(self, driver: Driver | DriverError) -> None:
        self._driver = driver

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Let people know what takes its time meanwhile; of several at once, the latest."""
        self._tell_waiting(what, begins=True)
        try:
            yield
        finally:
            self._tell_waiting(what, begins=False)

    def _tell_waiting(self, what: str, *, begins: bool) -> None:
        with self._lock:
            (self._waiting.append if begins else self._waiting.remove)(what)
            latest = self._waiting[-1] if self._waiting else ""
        self.on_wait(latest)

    def contact(self, node: str, offer: Session | None = None, *, tickets: bool = False,
                versions: tuple[str, str] | None = None,
                together: threading.Barrier | None = None, usual: Outcome | None = None,
                guest: Guest | None = None, keep_session: bool = True) -> Contact:
        """Connect to a node or a load balancer, offer a session or none, and speak MQTT.

        ``tickets``, ``versions`` and ``keep_session`` are those of
        :meth:`OrdinaryEngine.connect`. With ``together`` the connection stays open until all
        parties of the barrier have one. One of very many, of which only that is of interest which
        does not come to the ``usual`` outcome, is not listed otherwise (see :meth:`heard`). A
        ``guest`` comes in the place of the run's own client. Where our library offers the session
        no more nothing is connected to, and the contact is ``spoilt``.

        With ``mqtt_version`` auto, the first contact with a node that refuses MQTT 5 costs
        it a second connection.

        Raises:
            Interrupted: the run was asked to stop.
        """
        contact = self._tried(
            node, offer, _How(tickets, versions, together, usual, guest, keep_session))
        return self.heard(node, contact) if contact.spoilt else contact

    def _tried(self, node: str, offer: Session | None, how: _How) -> Contact:
        """Make a contact; of one that is spoilt nobody has heard."""
        try:
            return self._contact(node, offer, self.mqtt_version(node), how)
        except mqtt.UnsupportedVersionError:
            with self._lock:
                self._mqtt_versions[node] = "3.1.1"
            return self._contact(node, offer, "3.1.1", how)

    def mqtt_version(self, node: str) -> str:
        """Return what the node is spoken to in; with ``auto`` the first contact finds out."""
        if self.settings.mqtt_version != "auto":
            return self.settings.mqtt_version
        with self._lock:
            return self._mqtt_versions.get(node, "5")

    def _contact(self, node: str, offer: Session | None, version: str, how: _How) -> Contact:
        engine, endpoint = (self.engine, self.endpoints[node]) if how.guest is None else (
            how.guest.engine, how.guest.endpoint)

        def connected() -> Attempt:
            return self.in_turn(node, lambda: engine.connect(
                endpoint, offer=offer, deadline_s=self.settings.deadline_s,
                tickets=how.tickets, versions=how.versions, keep_session=how.keep_session),
                patient=how.together is None and how.guest is None)

        attempt = connected()
        if (engine.forward_secret and offer is None and how.versions is None
                and nothing_in_common(attempt.handshake)):
            with self.counted_as(beyond.SECOND_TRIES):
                self.heard(node, Contact(attempt.handshake))
            self._takes_no_forward_secrecy(endpoint)
            engine.offer_all_suites()
            attempt = connected()
        if attempt.stream is None:
            contact = Contact(attempt.handshake)
            return contact if contact.spoilt else self.heard(node, contact)
        seen = attempt.handshake if how.together is None else replace(
            attempt.handshake, crowded=True)
        try:
            withheld = self._withheld(node, seen, version, tempted=how.versions is not None)
            result, connack = (withheld, None) if withheld is not None else self._speak_mqtt(
                attempt.stream, node, version, how.together)
        except mqtt.UnsupportedVersionError as error:
            # This handshake happened too, even though another one takes its place.
            result = MqttResult(version, error.cause, str(error))
            with self.counted_as(beyond.SECOND_TRIES):
                self.heard(node, Contact(replace(seen, mqtt=result)))
            raise
        finally:
            attempt.stream.close()
        return self.heard(
            node, Contact(replace(seen, mqtt=result), attempt.session, connack),
            listed=seen.outcome is not how.usual or bool(result.cause))

    def open(self, node: str, offer: Session | None, *, heed_stop: bool = True,
             deadline_s: float | None = None) -> Attempt:
        """Offer a session to a node, or none, and leave the connection to the caller.

        Its handshake, with what MQTT came to, is the caller's to hand to :meth:`heard`.

        Raises:
            Interrupted: the run was asked to stop, and ``heed_stop`` is not False.
        """
        return self.in_turn(node, lambda: self.engine.connect(
            self.nodes[node], offer=offer, heed_stop=heed_stop,
            deadline_s=self.settings.deadline_s if deadline_s is None else deadline_s),
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
        if not patient or self.target.abilities or node not in self._answered:
            pace.wait(self.stop)
            return connect()

        def control() -> Handshake:
            attempt = self.engine.connect(
                self.endpoints[node], deadline_s=self.settings.deadline_s, keep_session=False)
            if attempt.stream is not None:
                attempt.stream.close()
            with self.counted_as(beyond.CONTROLS):
                return self.heard(node, Contact(attempt.handshake)).handshake

        def repeated(handshake: Handshake) -> None:
            with self.counted_as(beyond.REPEATED):
                self.heard(node, Contact(handshake))

        return pace.patiently(connect, control=control, repeated=repeated, stop=self.stop)

    @contextlib.contextmanager
    def counted_as(self, kind: str) -> Iterator[None]:
        """Count what this thread makes meanwhile by itself, as of this kind (:mod:`.beyond`)."""
        before = getattr(self._counting, "kind", "")
        self._counting.kind = kind
        try:
            yield
        finally:
            self._counting.kind = before

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
        """Count a connection that has ended, and return it.

        ``listed`` is False for one of very many, which is evidence of nothing by itself: then
        it is only counted, and takes no memory.
        """
        handshake = contact.handshake
        kind = getattr(self._counting, "kind", "")
        with self._lock:
            if listed:
                self.handshakes.append(handshake)
            if contact.connack is not None:
                self.connacks.setdefault(node, contact.connack)
            if handshake.bytes_in:
                self._answered.add(node)
            if handshake.arrived:
                self._connected += 1
                (self.beyond[kind] if kind else self.made[self.check])[node] += 1
                self.unlisted.handshakes[node] += not listed
            self.unlisted.sessions[node] += not listed and handshake.outcome is Outcome.FULL
            count = self._connected
        self.on_handshake(count)
        return contact

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
        if (self.settings.credentials.password is None or handshake.version == "tlsv1.3"
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
                endpoint, deadline_s=self.settings.deadline_s, keep_session=False), patient=False)
            if attempt.stream is not None:
                attempt.stream.close()
        finally:
            careful.close()
        with self.counted_as(beyond.SECOND_TRIES):
            control = self.heard(node, Contact(attempt.handshake)).handshake
        self._control_of[endpoint] = control
        return control

    def _speak_mqtt(self, stream: mqtt.ByteStream, node: str, version: str,
                    together: threading.Barrier | None, *, disconnect: bool = True,
                    ) -> tuple[MqttResult, mqtt.Connack | None]:
        deadline = Deadline(self.settings.deadline_s, self.stop, setting=TIMEOUT)
        begun = time.monotonic()
        try:
            connack = mqtt.connect(stream, self.settings.credentials, version=version,
                                   deadline=deadline)
        except mqtt.UnsupportedVersionError as error:
            if self.settings.mqtt_version == "auto" and version == "5":
                raise
            return MqttResult(version, error.cause, str(error)), None
        except mqtt.MqttError as error:
            # MQTT 3.1.1 3.1.4: a server closes without CONNACK on a CONNECT that is not as its
            # standard says, as an MQTT 5 one is not. Who has answered MQTT 5 once speaks it.
            if (self.settings.mqtt_version == "auto" and version == "5"
                    and error.cause == "mqtt_closed" and node not in self.connacks):
                raise mqtt.UnsupportedVersionError(error.cause, str(error)) from None
            return MqttResult(version, error.cause, str(error)), None
        connect_ms = round((time.monotonic() - begun) * 1000, 3)
        _wait_for_all(together, self.settings.deadline_s)
        try:
            if disconnect:
                mqtt.disconnect(stream, deadline)
        except WireError as error:
            return MqttResult(version, "mqtt_closed", error.failure.detail), connack
        return MqttResult(version, "", "CONNACK accepted", connect_ms), connack

    def fresh_session(self, issuer: str) -> Contact:
        """Make a full handshake with a node and remember the session it issued."""
        contact = self.contact(issuer)
        if contact.session is not None:
            self.remember(issuer, contact.session)
        return contact

    def remember(self, issuer: str, session: Session) -> None:
        """Let this be the issuer's session from now on."""
        with self._lock:
            known = self.sessions.get(issuer)
            if known is None or known.id != session.id:
                self._established[issuer] = time.monotonic()
            self.sessions[issuer] = session

    def renew_old(self, nodes: Iterable[str]) -> Contact | None:
        """Replace remembered sessions that have lived half the time they are declared to have.

        What a check then offers has not expired, as long as it takes less than the other half. Of
        a single node, one that our library does not offer any more is replaced too; pairs leave
        that to :meth:`offer`, since such a session must resume at home first.
        Returns the contact that should have brought a new session and did not, or None.

        Raises:
            Interrupted: the run was asked to stop.
        """
        names = tuple(dict.fromkeys(nodes))
        for node in names:
            with self._lock:
                renewing = self._renewing[node]
            with renewing:
                if node not in self.sessions:
                    continue
                if self._is_old(node):
                    reason = beyond.RENEWALS
                elif len(names) == 1 and not self.can_offer(node):
                    reason = beyond.SPOILT
                else:
                    continue
                with self.made_again(node, reason):
                    contact = self.fresh_session(node)
                if contact.session is None:
                    return contact
        return None

    @contextlib.contextmanager
    def made_again(self, issuer: str, reason: str) -> Iterator[None]:
        """Count what is made meanwhile for a new session of this issuer, and remember why."""
        self.renewed[issuer] = reason
        with self.counted_as(reason):
            yield

    def _is_old(self, node: str) -> bool:
        lifetime = self.settings.session_lifetime
        return (lifetime is not None
                and time.monotonic() - self._established[node] >= lifetime / 2)

    def can_offer(self, node: str) -> bool:
        """Tell whether our TLS library still offers the session that is remembered of a node."""
        return self.engine.can_offer(self.nodes[node], self.sessions[node])

    @property
    def unannounced(self) -> int:
        """Handshakes so far that no plan has."""
        return sum(by_node.total() for by_node in list(self.beyond.values()))

    def done(self, node: str) -> int:
        """Return how many handshakes a node or load balancer was asked for so far, of all kinds."""
        return sum(by_node[node] for counts in (self.made, self.beyond)
                   for by_node in list(counts.values()))

    def forget(self, issuer: str) -> None:
        """Offer the issuer's session no more: the issuer has lost it."""
        with self._lock:
            self.sessions.pop(issuer, None)

    def offer(self, issuer: str, redeemer: str, *, after: str = "") -> Contact:
        """Offer the issuer's remembered session to the redeemer.

        OpenSSL forbids a session for good when a peer answers its ClientHello with a fatal
        alert. One spoilt that way by *another* redeemer would not be offered to this
        one, so a new one is made at home, and resumed there first; then it is offered to the node
        ``after`` which it is to be offered here.

        A session that the redeemer issues instead is not kept.
        """
        how = _How(keep_session=False)
        with self._lock:
            renewing = self._renewing[issuer]
        contact = self._tried(redeemer, self.sessions[issuer], how)
        if not contact.spoilt:
            return contact
        with renewing:
            # Somebody else may have made a new one meanwhile, which has not been elsewhere, though.
            contact = contact if after else self._tried(redeemer, self.sessions[issuer], how)
            if not contact.spoilt:
                return contact
            with self.made_again(issuer, beyond.SPOILT):
                renewed = self.contact(issuer)
                if renewed.session is None:
                    return renewed
                self.contact(issuer, renewed.session)
                if after:
                    self.contact(after, renewed.session, keep_session=False)
            # Not remembered before, lest others offer it meanwhile, and spoil it.
            contact = self.contact(redeemer, renewed.session, keep_session=False)
            self.remember(issuer, renewed.session)
            return contact

    def record_cell(self, issuer: str, redeemer: str, handshake: Handshake) -> None:
        """Put a handshake into the matrix."""
        with self._lock:
            self.cells[issuer, redeemer] = handshake
