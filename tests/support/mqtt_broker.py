"""A little MQTT broker on OpenSSL's server side, in 3.1.1 and 5, with faults to order.

Topics are matched whole, without wildcards; QoS 2, retained messages and wills are not there.
"""
from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.support.openssl_broker import Broker

FAULTS = frozenset((
    "no_connack", "refuses_version", "refuses_password", "no_connect", "assigns_client_id",
    "no_suback", "no_puback", "no_pingresp", "drops_publish", "changes_payload", "grants_qos_0",
    "acl_subscribe", "acl_publish", "acl_disconnect", "closes_on_subscribe", "closes_on_publish",
    "resets_on_publish", "breaks_protocol", "sends_nonsense", "floods", "never_present",
    "always_present", "always_present_even_clean", "loses_messages", "keeps_after_clean_start",
    "hangs_up_on_deletion", "expiry_0", "closes_on_v5", "answers_once"))


@dataclass
class _Session:
    topics: set[str] = field(default_factory=set)
    waiting: deque[tuple[str, bytes]] = field(default_factory=deque)
    expiry: int = 0


@dataclass
class _Connect:
    level: int
    client_id: str
    clean: bool
    expiry: int
    username: str | None
    password: str | None


class HangUpError(Exception):
    """Close this connection."""


class Connection(Protocol):
    """What packets go over: an :class:`ssl.SSLSocket`, or what behaves like one."""

    def settimeout(self, value: float, /) -> None:
        """For :meth:`recv`, in seconds."""

    def recv(self, buflen: int, /) -> bytes:
        """Return what was received, empty at the end. Raises TimeoutError."""

    def sendall(self, data: bytes, /) -> None:
        """Send all of it."""


class Clients:
    """What a node knows of its MQTT clients, whatever their connections are made of."""

    def __init__(self, *, connack: bytes | None = None, speaks_v5: bool = True,
                 password: str | None = None, waits_for_close: bool = False) -> None:
        """``waits_for_close``: after DISCONNECT it is the client who closes."""
        self.faults: set[str] = set()
        self.sessions: dict[str, _Session] = {}
        """By client id; a session whose client is away is here when it is persistent."""
        self.client_ids: list[str] = []
        """Of every CONNECT, in order."""
        self.topics_seen: list[str] = []
        self.conversations: list[list[int]] = []
        """By connection, in order: the types of its packets."""
        self.waits_for_close = waits_for_close
        self.answer = connack
        """The CONNACK a test asked for, byte by byte."""
        self.speaks_v5 = speaks_v5
        """Whether MQTT 5 is spoken."""
        self.node_name = ""
        """What the node calls itself in an MQTT 5 CONNACK."""
        self._password = password
        self._lock = threading.RLock()

    # -- What clients ask of the broker ------------------------------------------------------------

    def connect(self, wanted: _Connect) -> tuple[_Session, bool]:
        """Return the client's session and whether it was there before."""
        with self._lock:
            self.client_ids.append(wanted.client_id)
            found = self.sessions.get(wanted.client_id)
            if found is not None and wanted.clean and "keeps_after_clean_start" not in self.faults:
                found = None
            session = found or _Session()
            # Not when they are published: the node may hear later than the client that it is away.
            if "loses_messages" in self.faults:
                session.waiting.clear()
            session.expiry = wanted.expiry
            self.sessions[wanted.client_id] = session
            return session, found is not None

    def leave(self, client_id: str, session: _Session) -> None:
        """The client's connection is gone."""
        with self._lock:
            if not session.expiry and self.sessions.get(client_id) is session:
                del self.sessions[client_id]

    def publish(self, topic: str, payload: bytes) -> None:
        """Put a message into every subscriber's queue."""
        with self._lock:
            for session in self.sessions.values():
                if topic in session.topics:
                    session.waiting.append((topic, payload))

    def knows(self, wanted: _Connect) -> bool:
        """Tell whether the password is right."""
        return self._password is None or (wanted.username, wanted.password) == (
            "probe", self._password)


class MqttBroker(Clients, Broker):
    """A broker on OpenSSL, until :meth:`stop`."""

    ends = (OSError, HangUpError)

    def __init__(self, cert_file: Path, key_file: Path, *, password: str | None = None,
                 waits_for_close: bool = False, connack: bytes | None = None,
                 speaks_v5: bool = True, **options: Any) -> None:
        """See :class:`Clients` and :class:`Broker`."""
        Clients.__init__(self, connack=connack, speaks_v5=speaks_v5, password=password,
                         waits_for_close=waits_for_close)
        Broker.__init__(self, cert_file, key_file, **options)

    def talk(self, connection: socket.socket) -> None:
        """Speak MQTT until the client goes, or must."""
        with self._context_for_one().wrap_socket(connection, server_side=True) as tls:
            self.handshakes += 1
            try:
                MqttClient(self, tls).serve()
            finally:
                tls.settimeout(5)
                tls.unwrap()


class MqttClient:
    """One connection."""

    def __init__(self, broker: Clients, tls: Connection, unread: bytes = b"") -> None:
        """``unread`` is what has come already."""
        self._broker, self._tls = broker, tls
        self.unread = unread
        """What has come and is not yet taken for a packet."""
        self.at_end = False
        """Whether nothing more will come."""
        self._level = 4
        self._session = _Session()
        self._next_id = 0
        self._heard: list[int] = []
        broker.conversations.append(self._heard)

    def _has(self, fault: str) -> bool:
        return fault in self._broker.faults

    def serve(self) -> None:
        """Answer the client until it leaves. Raises HangUpError or OSError."""
        kind, body = self._packet()
        if kind >> 4 != 1:
            return
        wanted = _connect(body)
        self._level = wanted.level
        refusal = self._refusal(wanted)
        if refusal is not None:
            self._tls.sendall(refusal)
            return
        self._session, present = self._broker.connect(wanted)
        try:
            self._accept(wanted, present=present)
            while True:
                kind, body = self._packet()
                self._handle(kind, body)
        finally:
            self._broker.leave(wanted.client_id, self._session)

    def _refusal(self, wanted: _Connect) -> bytes | None:
        if (self._has("no_connect") or (self._has("closes_on_v5") and wanted.level == 5)
                or (self._has("answers_once") and self._broker.client_ids)):
            raise HangUpError
        if self._has("hangs_up_on_deletion") and wanted.clean and (
                wanted.client_id in self._broker.sessions):
            raise HangUpError
        code = None
        if (wanted.level == 5 and not self._broker.speaks_v5) or self._has("refuses_version"):
            return b"\x20\x02\x00\x01"
        if not self._broker.knows(wanted) or self._has("refuses_password"):
            code = 0x86 if wanted.level == 5 else 4
        if code is None:
            return None
        return bytes((0x20, 3, 0, code, 0)) if wanted.level == 5 else bytes((0x20, 2, 0, code))

    def _accept(self, wanted: _Connect, *, present: bool) -> None:
        if self._has("no_connack"):
            time.sleep(1)
            raise HangUpError
        if self._has("always_present_even_clean") or (
                self._has("always_present") and not wanted.clean):
            present = True
        if self._has("never_present"):
            present = False
        if wanted.level == 4:
            self._tls.sendall(bytes((0x20, 2, present, 0)))
            return
        properties = b""
        if self._has("expiry_0"):
            self._session.expiry = 0
            properties += b"\x11\x00\x00\x00\x00"
        if self._has("assigns_client_id"):
            properties += b"\x12" + _string("somebody-else")
        if self._broker.node_name:
            properties += b"\x26" + _string("node") + _string(self._broker.node_name)
        body = bytes((present, 0, len(properties))) + properties
        self._tls.sendall(self._broker.answer or b"\x20" + bytes((len(body),)) + body)

    def _packet(self) -> tuple[int, bytes]:
        """Return the next packet; meanwhile deliver what waits for this client."""
        self._tls.settimeout(0.02)
        while (found := self._whole()) is None:
            self._deliver()
            try:
                data = self._tls.recv(4096)
            except TimeoutError:
                continue
            if not data:
                self.at_end = True
                raise HangUpError
            self.unread += data
        self._heard.append(found[0] >> 4)
        return found

    def _whole(self) -> tuple[int, bytes] | None:
        if self._heard and self.unread[:1] == b"\x10":
            # MQTT-3.1.0-2: a second CONNECT is the end; in a stream of many, the next client.
            raise HangUpError
        length, shift = 0, 0
        for at, byte in enumerate(self.unread[1:5], 2):
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                if len(self.unread) < at + length:
                    return None
                packet = self.unread[0], self.unread[at:at + length]
                self.unread = self.unread[at + length:]
                return packet
        return None

    def _deliver(self) -> None:
        while self._session.waiting:
            topic, payload = self._session.waiting.popleft()
            if self._has("changes_payload"):
                payload = payload[::-1] + b"!"
            self._next_id += 1
            properties = b"\x00" if self._level == 5 else b""
            self._send(0x32, _string(topic) + self._next_id.to_bytes(2, "big") + properties
                       + payload)

    def _send(self, first: int, body: bytes) -> None:
        assert len(body) < 128
        self._tls.sendall(bytes((first, len(body))) + body)

    def _handle(self, first: int, body: bytes) -> None:
        kind = first >> 4
        if kind == 3:
            self._publish(body)
        elif kind == 8:
            self._subscribe(body)
        elif kind == 12:
            if not self._has("no_pingresp"):
                self._tls.sendall(b"\xd0\x00")
        elif kind == 14:
            self._tls.settimeout(5)
            while self._broker.waits_for_close and self._tls.recv(4096):
                pass
            raise HangUpError

    def _subscribe(self, body: bytes) -> None:
        at = 3 + body[2] if self._level == 5 else 2
        topic, _ = _take(body, at)
        self._broker.topics_seen.append(topic)
        granted = 0 if self._has("grants_qos_0") else 1
        if self._has("closes_on_subscribe"):
            raise HangUpError
        if self._has("sends_nonsense"):
            self._tls.sendall(b"\x30\xff\xff\xff\xff\xff")
        if self._has("breaks_protocol"):
            self._tls.sendall(b"\x90\x01\x00")
        if self._has("floods"):
            for _ in range(40):
                self._tls.sendall(b"\x30\xff\x0f\x00\x01x\x00" + bytes(2047 - 4))
        if self._has("acl_subscribe"):
            granted = 0x87 if self._level == 5 else 0x80
        else:
            self._session.topics.add(topic)
        if not self._has("no_suback"):
            properties = b"\x00" if self._level == 5 else b""
            self._send(0x90, body[:2] + properties + bytes((granted,)))

    def _publish(self, body: bytes) -> None:
        topic, at = _take(body, 0)
        identifier = body[at:at + 2]
        payload = body[at + 2 + (1 + body[at + 2] if self._level == 5 else 0):]
        if self._has("closes_on_publish"):
            raise HangUpError
        if self._has("resets_on_publish"):
            assert isinstance(self._tls, ssl.SSLSocket)
            self._tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            socket.socket(fileno=self._tls.detach()).close()
            raise HangUpError
        if self._has("acl_disconnect"):
            self._tls.sendall(b"\xe0\x02\x87\x00" if self._level == 5 else b"")
            raise HangUpError
        if self._has("acl_publish") and self._level == 5:
            self._send(0x40, identifier + b"\x87")
            return
        if not self._has("drops_publish"):
            self._broker.publish(topic, payload)
        if not self._has("no_puback"):
            self._send(0x40, identifier)


def _string(text: str) -> bytes:
    return len(text.encode()).to_bytes(2, "big") + text.encode()


def _take(body: bytes, at: int) -> tuple[str, int]:
    end = at + 2 + int.from_bytes(body[at:at + 2], "big")
    return body[at + 2:end].decode(), end


def _connect(body: bytes) -> _Connect:
    _, at = _take(body, 0)
    level, flags = body[at], body[at + 1]
    at += 4
    clean = bool(flags & 2)
    expiry = 0 if clean else 1
    if level == 5:
        properties = body[at + 1:at + 1 + body[at]]
        at += 1 + len(properties)
        expiry = int.from_bytes(properties[1:5], "big") if properties[:1] == b"\x11" else 0
    client_id, at = _take(body, at)
    username = password = None
    if flags & 0x80:
        username, at = _take(body, at)
    if flags & 0x40:
        password, at = _take(body, at)
    return _Connect(level, client_id, clean, expiry, username, password)
