"""A real CONNECT/CONNACK on a probed connection, in MQTT 3.1.1 or 5.

Enough for a vantage host with nothing but python3; clause numbers are those of the
OASIS standards MQTT 3.1.1 and MQTT 5.0.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..hints import HINTS, hint
from ..tls.wire import Deadline, WireError
from .credentials import Credentials

MAX_PACKET = 64 * 1024
"""Longest packet accepted, in bytes. A CONNACK is far shorter."""

_REFUSALS_V3 = {1: "unacceptable protocol version", 2: "client identifier rejected",
                3: "server unavailable", 4: "bad user name or password", 5: "not authorized"}
_REFUSALS_V5 = {
    0x80: "unspecified error", 0x81: "malformed packet", 0x82: "protocol error",
    0x83: "implementation specific error", 0x84: "unsupported protocol version",
    0x85: "client identifier not valid", 0x86: "bad user name or password",
    0x87: "not authorized", 0x88: "server unavailable", 0x89: "server busy", 0x8A: "banned",
    0x8C: "bad authentication method", 0x90: "topic name invalid", 0x95: "packet too large",
    0x97: "quota exceeded", 0x99: "payload format invalid", 0x9A: "retain not supported",
    0x9B: "QoS not supported", 0x9C: "use another server", 0x9D: "server moved",
    0x9F: "connection rate exceeded"}

# MQTT 5.0 2.2.2.2: how long a property's value is, by identifier; None: length-prefixed.
_FIXED_PROPERTIES = {0x11: 4, 0x13: 2, 0x21: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1,
                     0x29: 1, 0x2A: 1}
_STRING_PROPERTIES = frozenset((0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F))
_USER_PROPERTY = 0x26
_SERVER_REFERENCE = 0x1C


class ByteStream(Protocol):
    """What MQTT is spoken over."""

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send all bytes."""

    def receive(self, deadline: Deadline) -> bytes:
        """Return the next bytes, empty at the end."""


class MqttError(Exception):
    """MQTT did not work on this connection."""

    def __init__(self, cause: str, sentence: str, code: int = 0) -> None:
        """``cause`` is a stable token, ``sentence`` is for people, ``code`` the CONNACK's."""
        super().__init__(sentence)
        self.cause, self.code = cause, code


class UnsupportedVersionError(MqttError):
    """The target does not speak this MQTT version."""


class AclRefusedError(MqttError):
    """The target does not let this client publish or subscribe there."""


@dataclass(frozen=True)
class Connack:
    """The target's acceptance."""

    version: str
    """``3.1.1`` or ``5``."""
    session_present: bool
    user_properties: tuple[tuple[str, str], ...] = ()
    server_reference: str | None = None


def _string(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def _variable(number: int) -> bytes:
    out = bytearray()
    while True:
        number, low = divmod(number, 128)
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def connect_packet(version: str, client_id: str, credentials: Credentials) -> bytes:
    """Return a CONNECT with clean start and a keep-alive of 60 s (MQTT 3.1)."""
    flags = 0x02
    payload = _string(client_id)
    if credentials.username is not None:
        flags |= 0x80
        payload += _string(credentials.username)
    if credentials.password is not None:
        flags |= 0x40
        payload += _string(credentials.password)
    level, properties = (5, b"\x00") if version == "5" else (4, b"")
    body = (_string("MQTT") + bytes((level, flags)) + (60).to_bytes(2, "big") + properties
            + payload)
    return b"\x10" + _variable(len(body)) + body


def disconnect_packet() -> bytes:
    """Return a normal DISCONNECT (MQTT 3.14); short form, the same in 3.1.1 and 5."""
    return b"\xe0\x00"


class PacketReader:
    """Takes whole packets off a stream."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    def _fill(self, count: int, deadline: Deadline) -> None:
        while len(self._buffer) < count:
            data = self._stream.receive(deadline)
            if not data:
                raise MqttError("mqtt_closed", "the target closed the connection instead of "
                                               "answering CONNECT")
            self._buffer += data

    def packet(self, deadline: Deadline) -> tuple[int, bytes]:
        """Return the next packet's first byte and body.

        Raises:
            MqttError: malformed, too long, or the target closed.
            WireError: I/O or deadline.
        """
        length, shift, at = 0, 0, 1
        while True:
            self._fill(at + 1, deadline)
            byte = self._buffer[at]
            length |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not byte & 0x80:
                break
            if shift > 21:
                raise MqttError("mqtt_malformed", "the target sent a malformed MQTT length")
        if length > MAX_PACKET:
            raise MqttError("mqtt_malformed", f"the target announced a packet of {length} bytes")
        self._fill(at + length, deadline)
        first, body = self._buffer[0], bytes(self._buffer[at:at + length])
        del self._buffer[:at + length]
        return first, body


def printable(text: str) -> str:
    """Return what a target says of itself without what a terminal would obey.

    MQTT 5.0 1.5.4 only says that control characters should not be there.
    """
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _take_string(body: bytes, at: int) -> tuple[str, int]:
    end = at + 2 + int.from_bytes(body[at:at + 2], "big")
    if at + 2 > len(body) or end > len(body):
        raise MqttError("mqtt_malformed", "the CONNACK's properties end in the middle of a string")
    return printable(body[at + 2:end].decode("utf-8", "replace")), end


def _take_variable(body: bytes, at: int) -> tuple[int, int]:
    """Take a Variable Byte Integer (MQTT 5.0 1.5.5): four bytes at most."""
    number = 0
    for shift, byte in zip((0, 7, 14, 21), body[at:at + 4]):
        number |= (byte & 0x7F) << shift
        at += 1
        if not byte & 0x80:
            return number, at
    raise MqttError("mqtt_malformed", "the CONNACK's properties have a malformed length")


def _properties(body: bytes) -> tuple[tuple[tuple[str, str], ...], str | None]:
    users: list[tuple[str, str]] = []
    reference: str | None = None
    at = 0
    while at < len(body):
        kind = body[at]
        at += 1
        if kind == _USER_PROPERTY:
            key, at = _take_string(body, at)
            value, at = _take_string(body, at)
            users.append((key, value))
        elif kind in _STRING_PROPERTIES:
            text, at = _take_string(body, at)
            reference = text if kind == _SERVER_REFERENCE else reference
        elif kind in _FIXED_PROPERTIES:
            at += _FIXED_PROPERTIES[kind]
            if at > len(body):
                raise MqttError("mqtt_malformed", "the CONNACK's properties are cut off")
        else:
            raise MqttError("mqtt_malformed", f"the CONNACK has an unknown property 0x{kind:02x}")
    return tuple(users), reference


def parse_connack(version: str, body: bytes) -> Connack:
    """Read a CONNACK's body (MQTT 3.2).

    Raises:
        UnsupportedVersionError: the target does not speak this version.
        MqttError: refused, or malformed.
    """
    if len(body) < 2:
        raise MqttError("mqtt_malformed", "the target sent a CONNACK of fewer than 2 bytes")
    flags, code = body[0], body[1]
    if code in ((1, 0x84) if version == "5" else (1,)):
        raise UnsupportedVersionError("mqtt_version", f"the target does not speak MQTT {version}")
    if code:
        names = _REFUSALS_V5 if version == "5" else _REFUSALS_V3
        raise MqttError("mqtt_refused", f"CONNECT was refused: {names.get(code, 'reason')} "
                                        f"(0x{code:02x})", code)
    if version != "5":
        return Connack(version, bool(flags & 1))
    if len(body) < 3:
        raise MqttError("mqtt_malformed", "the target sent an MQTT 5 CONNACK without properties")
    length, at = _take_variable(body, 2)
    if at + length > len(body):
        raise MqttError("mqtt_malformed", "the CONNACK's properties are cut off")
    users, reference = _properties(body[at:at + length])
    return Connack(version, bool(flags & 1), users, reference)


def _cause_of(code: int, credentials: Credentials) -> str:
    """Return the cause of a refusal (MQTT 3.1.1 3.2.2.3, 5.0 3.2.2.2) as the hints have it."""
    cause = f"CONNACK 0x{code:02x}"
    anonymous = f"{cause}, no user name"
    return anonymous if credentials.username is None and anonymous in HINTS else cause


def connect(stream: ByteStream, credentials: Credentials, *, version: str,
            deadline: Deadline) -> Connack:
    """Send CONNECT with a fresh client id and return the CONNACK.

    Raises:
        UnsupportedVersionError: another version may be tried, on another connection.
        MqttError: the target refused, closed, or did not speak MQTT.
    """
    try:
        stream.send(connect_packet(version, credentials.new_client_id(), credentials), deadline)
        first, body = PacketReader(stream).packet(deadline)
    except WireError as error:
        if error.failure.cause == "timeout":
            raise MqttError("mqtt_timeout", "the target did not answer CONNECT within "
                                            f"{deadline.told}") from error
        raise MqttError("mqtt_closed", f"instead of a CONNACK: {error.failure.detail}") from error
    if first != 0x20:
        raise MqttError("mqtt_malformed", "the target answered CONNECT with something that is "
                                          f"no CONNACK (first byte 0x{first:02x})")
    try:
        return parse_connack(version, body)
    except MqttError as error:
        helps = hint(_cause_of(error.code, credentials)).format(
            prefix=credentials.client_id_prefix)
        if not helps:
            raise
        raise MqttError(error.cause, f"{error} ({helps})", error.code) from None


def disconnect(stream: ByteStream, deadline: Deadline) -> None:
    """Send DISCONNECT, so that the target closes its session quietly. Raises WireError."""
    stream.send(disconnect_packet(), deadline)
