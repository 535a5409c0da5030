"""A node of OpenSSL brokers with trust domains, and the defects that let sessions cross them."""
from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.emqx.conformance.plugins.module_utils import certificates
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import (
    Driver,
    DriverError,
    NodeSpec,
)
from ansible_collections.emqx.conformance.plugins.module_utils.model import TrustDomain
from cryptography import x509

from tests.support.mqtt_broker import MqttBroker

FAULTS = frozenset(("one_cache", "resumes_without_certificate", "outlives_expiry",
                    "alerts_on_foreign_session", "ordinary_has_no_cache",
                    "forgets_all_when_it_declines", "admits_who_offers", "alerts_but_once"))
HANDSHAKE_FAILURE = b"\x15\x03\x03\x00\x02\x02\x28"


class TrustingBroker(MqttBroker):
    """One listener. OpenSSL itself resumes what it has in its cache, whoever's certificate it was
    and whatever became of that."""

    def __init__(self, cert_file: Path, key_file: Path, ca_file: Path | None,
                 shared: _SharedCache | None = None, *, forgets_expired: bool = True,
                 knows_its_own: bool = False, remembers: bool = True,
                 admits_who_offers: bool = False, alerts_but_once: bool = False,
                 **options: Any) -> None:
        """``ca_file``: whom it trusts, None to ask for no certificate."""
        self._admits, self._alerts_but_once = admits_who_offers, alerts_but_once
        self._issued: set[bytes] = set()
        self._remembers = remembers
        self._shared, self._forgets_expired = shared, forgets_expired
        self._knows_its_own = knows_its_own
        self.ca_file = ca_file
        self.on_decline: Callable[[], None] = lambda: None
        """Called when a session was offered and did not resume."""
        self.one_at_a_time: AbstractContextManager[Any] = contextlib.nullcontext()
        """What is held during a handshake, and what becomes of it."""
        self._valid_until: dict[bytes, datetime.datetime] = {}
        super().__init__(cert_file, key_file, **options)
        self.trusts(ca_file)

    def forget(self) -> None:
        """Have nothing in the cache."""
        self.trusts(self._trusted)

    def trusts(self, ca_file: Path | None) -> None:
        """Be opened again, with other trust anchors and nothing in the cache."""
        with self.one_at_a_time:
            self._trust(ca_file)

    def _trust(self, ca_file: Path | None) -> None:
        self._trusted = ca_file
        self._issued.clear()
        self.context = self._context_for(ca_file)

    def _context_for(self, ca_file: Path | None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._cert)
        context.options |= ssl.OP_NO_TICKET
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        if ca_file is not None:
            context.load_verify_locations(ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _context_for_one(self) -> Any:
        return _Entrance(self)

    def enter(self, connection: socket.socket) -> ssl.SSLSocket:
        """Make the server's side of a handshake."""
        with self.one_at_a_time:
            return self._enter(connection)

    def _enter(self, connection: socket.socket) -> ssl.SSLSocket:
        offered = _offered(connection)
        foreign = bool(offered) and (offered not in self._issued or self._is_expired(offered))
        never_seen = bool(offered) and offered not in self._valid_until
        if never_seen and (self._knows_its_own or self._alerts_but_once):
            if self._alerts_but_once:
                self._alerts_but_once, self._admits = False, True
            self.on_decline()
            connection.sendall(HANDSHAKE_FAILURE)
            raise OSError("a session of somebody else")
        if foreign and self._admits:
            tls = _without_cache(self._context_for(None), connection)
        elif self._shared is not None:
            tls = self._shared.wrap(connection, self.context)
        elif not self._remembers or (self._forgets_expired and self._is_expired(offered)):
            tls = _without_cache(self.context, connection)
        else:
            tls = self.context.wrap_socket(connection, server_side=True,
                                           do_handshake_on_connect=False)
        try:
            tls.do_handshake()
        finally:
            if offered and not tls.session_reused:
                self.on_decline()
        if tls.session is not None:
            self._issued.add(tls.session.id)
        shown = tls.getpeercert(binary_form=True)
        if shown and tls.session is not None:
            self._valid_until[tls.session.id] = x509.load_der_x509_certificate(
                shown).not_valid_after_utc
        return tls

    def _is_expired(self, session_id: bytes) -> bool:
        """Tell whether a session was made with a certificate that has expired."""
        end = self._valid_until.get(session_id)
        return end is not None and end <= datetime.datetime.now(datetime.timezone.utc)


def _offered(connection: socket.socket) -> bytes:
    """Return the session ID of the ClientHello, which is left where it is."""
    hello = connection.recv(1024, socket.MSG_PEEK)
    # Record header 5, handshake header 4, version 2, random 32, then the session ID's length.
    return hello[44:44 + hello[43]] if len(hello) > 43 else b""


@dataclass(frozen=True)
class _Entrance:
    """What a broker wraps a connection with."""

    broker: TrustingBroker

    def wrap_socket(self, connection: socket.socket, *, server_side: bool) -> ssl.SSLSocket:
        assert server_side
        return self.broker.enter(connection)


def _without_cache(context: ssl.SSLContext, connection: socket.socket) -> ssl.SSLSocket:
    """Look for sessions in an empty cache, and for everything else in this context."""
    return _SharedCache(context).wrap(connection, context)


class _SharedCache:
    """One cache for several listeners, each with trust anchors and a certificate of its own.

    OpenSSL looks a session up in the context that a connection began with, and verifies
    certificates in the one that the server_name callback puts in its place.
    """

    def __init__(self, like: ssl.SSLContext) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.options |= ssl.OP_NO_TICKET
        self._context.maximum_version = like.maximum_version
        self._lock = threading.Lock()

    def wrap(self, connection: socket.socket, own: ssl.SSLContext) -> ssl.SSLSocket:
        """Return the connection, not yet shaken hands on."""
        def switch(tls: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            tls.context = own

        with self._lock:
            # A connection has its mode and callback from the context at the time it is made.
            self._context.verify_mode = own.verify_mode
            tls = self._context.wrap_socket(connection, server_side=True,
                                            do_handshake_on_connect=False)
            self._context.sni_callback = switch
        return tls


class AnchorDriver(Driver):
    """Can open the listeners of one trusting node again, and nothing else."""

    name = "anchors"

    def __init__(self, node: TrustingNode) -> None:
        self._node = node
        self.told: list[str] = []
        self.fails: dict[str, str] = {}
        """What is to fail, and with which sentence."""
        self.idle = False
        """Whether it says that it did what it did not."""

    def _listener(self, port: int) -> TrustingBroker:
        return next(listener for listener in self._node.listeners if listener.port == port)

    def _do(self, verb: str, port: int, ca_file: Path) -> None:
        self.told.append(verb)
        if verb in self.fails:
            raise DriverError(self.fails[verb])
        if not self.idle:
            self._listener(port).trusts(ca_file)

    def reopen(self, node: NodeSpec, port: int, cacertfile: Path) -> None:
        """Let a listener trust others."""
        self._do("reopen", port, cacertfile)

    def restore(self, node: NodeSpec, port: int) -> None:
        """Let it trust its own again."""
        self._do("restore", port, self._listener(port).ca_file or Path())


@dataclass
class TrustingNode:
    """An ordinary listener, and one for each trust domain; the last has another certificate."""

    folder: Path
    faults: Sequence[str] = ()
    count: int = 3
    ordinary: TrustingBroker = field(init=False)
    listeners: list[TrustingBroker] = field(init=False)
    domains: tuple[TrustDomain, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Start."""
        assert set(self.faults) <= FAULTS
        names = [f"d{number}" for number in range(1, self.count + 1)]
        with certificates.alone_in(self.folder):
            certificates.carry_out(certificates.make_plan(
                self.folder, ["localhost"], "ecdsa", domains=names))
        cert = (self.folder / "server-cert.pem", self.folder / "server-key.pem")
        other = (self.folder / "other-server-cert.pem", self.folder / "other-server-key.pem")
        spare = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        spare.maximum_version = ssl.TLSVersion.TLSv1_2
        cache = _SharedCache(spare)
        among = cache if "one_cache" in self.faults else None
        with_all = cache if "resumes_without_certificate" in self.faults else None
        self.ordinary = TrustingBroker(*cert, None, with_all,
                                       remembers="ordinary_has_no_cache" not in self.faults)
        self.listeners = [
            TrustingBroker(*(other if name == names[-1] else cert), self.folder / f"{name}-ca.pem",
                           with_all if name == names[0] and with_all else among,
                           forgets_expired="outlives_expiry" not in self.faults,
                           knows_its_own="alerts_on_foreign_session" in self.faults,
                           admits_who_offers="admits_who_offers" in self.faults,
                           alerts_but_once="alerts_but_once" in self.faults)
            for name in names]
        if "forgets_all_when_it_declines" in self.faults:
            one_at_a_time = threading.RLock()
            for listener in (self.ordinary, *self.listeners):
                listener.on_decline, listener.one_at_a_time = self.forget_all, one_at_a_time
        self.domains = tuple(
            TrustDomain(name, listener.port, *(str(self.folder / f"{name}-{file}") for file in (
                "client-cert.pem", "client-key.pem", "ca.pem", "ca-key.pem")))
            for name, listener in zip(names, self.listeners))

    def forget_all(self) -> None:
        """Forget the sessions of all listeners, each of which trusts whom it did."""
        for listener in (self.ordinary, *self.listeners):
            listener.forget()

    def stop(self) -> None:
        """Stop every listener."""
        for listener in (self.ordinary, *self.listeners):
            listener.stop()
