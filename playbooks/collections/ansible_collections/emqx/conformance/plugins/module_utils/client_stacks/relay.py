"""A relay on loopback between a client and the nodes: it passes bytes on, and reads them.

A client connects to one address all the time, as devices do to a cluster's, and the relay decides
which node it comes to. So a stack whose cache goes by host and port offers another node what it
would offer it behind a load balancer.
"""
from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Callable

from ..model import Alert, Endpoint, Failure, Message
from ..tls.transcript import (
    EXT_EXTENDED_MASTER_SECRET,
    EXT_SUPPORTED_VERSIONS,
    SeenHello,
    Transcript,
    TranscriptError,
)
from ..tls.wire import Deadline, Interrupted, Wire, WireError
from ..tls.witness import wire_says_abbreviated

_SLICE_S = 0.1
_LINGER_S = 2.0
"""How long one side may go on when the other has closed."""


@dataclass(frozen=True)
class Passed:
    """What one connection showed on the wire. Immutable; holds nothing secret."""

    node: str
    """The node that it came to."""
    offered_id: bytes = b""
    server_id: bytes = b""
    version: str | None = None
    """As negotiated, in EMQX's spelling; None: there was no ServerHello."""
    ticket_offered: int | None = None
    """Bytes of the ticket that the client offered; None: without the extension."""
    ticket_issued: bool = False
    offers_later_versions: bool = False
    """Whether the ClientHello has supported_versions (RFC 8446 4.2.1): an ID may be made up then.
    """
    abbreviated: bool | None = None
    """True abbreviated, False full, None neither."""
    established: bool = False
    """Whether both sides sent Finished."""
    answered: bool = False
    """Whether the node sent application data after the client did: something like a CONNACK."""
    extended_master_secret_offered: bool = False
    """By the client (RFC 7627 5.1)."""
    extended_master_secret: bool = False
    """Whether the node's ServerHello has it too, so that it was negotiated."""
    bytes_from_client: int = 0
    """Bytes until the node's first application data, record headers included."""
    bytes_from_node: int = 0
    cpu_ms: float | None = None
    """Processor time of the client from its connection on until then; None: not measured."""
    closed_by: str = ""
    """Who closed first, ``client`` or ``node``; empty: neither, the relay did."""
    alerts: tuple[Alert, ...] = ()
    """Those that were not encrypted."""
    messages: tuple[Message, ...] = ()
    failure: Failure | None = None
    """Why there was no connection to the node, or why what was said cannot be read."""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "node": self.node, "offered_id": self.offered_id.hex(),
            "server_id": self.server_id.hex(), "version": self.version,
            "ticket_offered": self.ticket_offered, "ticket_issued": self.ticket_issued,
            "abbreviated": self.abbreviated, "established": self.established,
            "answered": self.answered,
            "extended_master_secret_offered": self.extended_master_secret_offered,
            "extended_master_secret": self.extended_master_secret,
            "bytes_from_client": self.bytes_from_client, "bytes_from_node": self.bytes_from_node,
            "cpu_ms": self.cpu_ms, "closed_by": self.closed_by,
            "alerts": [alert.as_dict() for alert in self.alerts],
            "messages": [message.as_dict() for message in self.messages],
            "failure": self.failure.as_dict() if self.failure else None}


@dataclass
class _Passage:
    """One connection in the making."""

    endpoint: Endpoint
    cpu: Callable[[], float | None]
    transcript: Transcript = field(default_factory=Transcript)
    failure: Failure | None = None
    closed_by: str = ""
    cpu_ms: float | None = None

    def __post_init__(self) -> None:
        self._cpu_before = self.cpu()

    def hear(self, sender: str, data: bytes) -> None:
        """Read what one side said, as long as it can be read."""
        try:
            self.transcript.feed(sender, data)
        except TranscriptError as error:
            self.failure = Failure("handshake", "not_tls", str(error))
            self.transcript.freeze()
        if self._answered():
            if self.cpu_ms is None:
                # The client, which waits for these bytes, has not got them yet.
                self.cpu_ms = _difference(self._cpu_before, self.cpu())
            self.transcript.freeze()  # What is said from here on is MQTT, and nobody's business.

    def _sent(self, sender: str, name: str) -> bool:
        return any((message.sender, message.name) == (sender, name)
                   for message in tuple(self.transcript.messages))

    def _answered(self) -> bool:
        """Tell whether the node sent application data after the client did."""
        server = self.transcript.server_hello
        # In TLS 1.3 what is encrypted of the handshake looks like it (RFC 8446 5.2): Finished, too.
        left = 2 if server is not None and server.version == "tlsv1.3" else 1
        for message in tuple(self.transcript.messages):
            if message.name != "ApplicationData":
                continue
            if message.sender == "client":
                left -= 1
            elif left <= 0:
                return True
        return False

    def passed(self) -> Passed:
        """Return what it has shown so far."""
        transcript = self.transcript
        client, server = transcript.client_hello, transcript.server_hello
        return Passed(
            self.endpoint.name,
            offered_id=client.session_id if client else b"",
            server_id=server.session_id if server else b"",
            version=server.version if server else None,
            ticket_offered=client.ticket_length if client else None,
            ticket_issued=transcript.server_sent("NewSessionTicket"),
            offers_later_versions=client is not None
            and EXT_SUPPORTED_VERSIONS in client.extensions,
            abbreviated=wire_says_abbreviated(transcript),
            established=self._sent("client", "Finished") and self._sent("server", "Finished"),
            answered=self._answered(),
            extended_master_secret_offered=_has_extended_master_secret(client),
            extended_master_secret=_has_extended_master_secret(server),
            bytes_from_client=transcript.bytes_out, bytes_from_node=transcript.bytes_in,
            cpu_ms=self.cpu_ms,
            closed_by=self.closed_by, alerts=tuple(transcript.alerts),
            messages=tuple(transcript.messages), failure=self.failure)


def _difference(before: float | None, after: float | None) -> float | None:
    """Return milliseconds between two readings of a clock of seconds; None where one is missing."""
    return None if before is None or after is None else round((after - before) * 1000, 3)


def _has_extended_master_secret(hello: SeenHello | None) -> bool:
    return hello is not None and EXT_EXTENDED_MASTER_SECRET in hello.extensions


class Relay:
    """Listens on loopback, for one client, as long as the context lasts."""

    def __init__(self, route: Sequence[Endpoint], *, wait: Callable[[Endpoint], None],
                 deadline_s: float, stop: threading.Event,
                 cpu: Callable[[], float | None] = lambda: None) -> None:
        """Listen.

        Args:
            route: where the first connection leads, the second, and so on; what comes after the
                last is closed at once, and counted.
            wait: returns when one more connection to a node is allowed.
            deadline_s: seconds for the TCP connection to a node.
            stop: ends every wait.
            cpu: returns the seconds of processor time that the client has had; None: unknown.
        """
        self._cpu = cpu
        self._route, self._wait, self._deadline_s, self._stop = route, wait, deadline_s, stop
        self._passages: list[_Passage] = []
        self._threads: list[threading.Thread] = []
        self.beyond = 0
        """Connections that were not asked for."""
        self._over, self._cut = threading.Event(), threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_SLICE_S)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Relay:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._acceptor.join()
        self._listener.close()
        # A client that has ended has closed its connections: what it said last is passed on.
        for thread in self._threads:
            thread.join(2 * _LINGER_S)
        self._cut.set()
        for thread in self._threads:
            thread.join()

    def passed(self) -> list[Passed]:
        """Return what the connections showed, in order; those that never reached a node too."""
        return [passage.passed() for passage in self._passages]

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except socket.timeout:
                continue
            if len(self._passages) == len(self._route):
                self.beyond += 1
                client.close()
                continue
            passage = _Passage(self._route[len(self._passages)], self._cpu)
            self._passages.append(passage)
            thread = threading.Thread(target=self._serve, args=(client, passage), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket, passage: _Passage) -> None:
        with client:
            self._wait(passage.endpoint)
            try:
                node = Wire(passage.endpoint, Deadline(self._deadline_s, self._stop))
            except WireError as error:
                passage.failure = error.failure
                return
            except Interrupted:
                return
            # Where a side resets the connection, what was said until then stays.
            try:
                self._pass(client, node, passage)
            except OSError:
                passage.closed_by = passage.closed_by or "client"
            except WireError:
                passage.closed_by = passage.closed_by or "node"
            except Interrupted:
                pass
            finally:
                node.close()

    def _pass(self, client: socket.socket, node: Wire, passage: _Passage) -> None:
        """Pass bytes on until both sides have closed, or one lingers. Raises OSError, WireError."""
        client.settimeout(self._deadline_s)
        open_sides = {client.fileno(): "client", node.fileno(): "server"}
        poller = select.poll()
        for side in open_sides:
            poller.register(side, select.POLLIN)
        until: float | None = None
        while open_sides and not self._stop.is_set() and not self._cut.is_set() and (
                until is None or time.monotonic() < until):
            for side, _ in poller.poll(_SLICE_S * 1000):
                sender = open_sides[side]
                data = client.recv(65536) if sender == "client" else node.receive_now()
                if data is None:
                    continue
                if data:
                    passage.hear(sender, data)
                    if sender == "client":
                        node.send(data, Deadline(self._deadline_s, self._stop))
                    else:
                        client.sendall(data)
                    continue
                poller.unregister(side)
                del open_sides[side]
                passage.closed_by = passage.closed_by or (
                    "client" if sender == "client" else "node")
                until = until or time.monotonic() + _LINGER_S
                if sender == "client":
                    node.end_sending()
                else:
                    client.shutdown(socket.SHUT_WR)
