"""Reads the TLS messages of one connection from its raw bytes, both ways.

This is witness 2: it knows nothing of the TLS library's opinion. It never raises
anything but :class:`TranscriptError`, and what it keeps in memory is bounded whatever
length fields the peer writes: bodies other than the two hellos are counted, not kept.
"""
from __future__ import annotations

import functools
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ..model import Alert, Message

MAX_RECORD = 2**14 + 2048
"""RFC 5246 6.2.3: the longest TLSCiphertext fragment, in bytes."""
MAX_HELLO = 2**16
"""Longest hello kept, in bytes. RFC 5246 allows 2^24; no real one passes a few KiB."""
MAX_MESSAGES = 256
"""More handshake messages than this on one connection is an attack, not a handshake."""

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA, HEARTBEAT = 20, 21, 22, 23, 24
_RECORD = struct.Struct(">BBBH")
"""RFC 5246 6.2.1: content type, version, length."""
_EXTENSION = struct.Struct(">HH")
"""RFC 5246 7.4.1.4: type, length."""
_CONTENT_TYPES = frozenset((CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA, HEARTBEAT))

_HANDSHAKE_NAMES = {
    0: "HelloRequest", 1: "ClientHello", 2: "ServerHello", 4: "NewSessionTicket",
    11: "Certificate", 12: "ServerKeyExchange", 13: "CertificateRequest",
    14: "ServerHelloDone", 15: "CertificateVerify", 16: "ClientKeyExchange",
    20: "Finished", 22: "CertificateStatus",
}
_VERSIONS = {0x0300: "sslv3", 0x0301: "tlsv1", 0x0302: "tlsv1.1", 0x0303: "tlsv1.2",
             0x0304: "tlsv1.3"}
_ALERT_LEVELS = {1: "warning", 2: "fatal"}
ALERT_DESCRIPTIONS = {
    0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed",
    22: "record_overflow", 30: "decompression_failure", 40: "handshake_failure",
    41: "no_certificate", 42: "bad_certificate", 43: "unsupported_certificate",
    44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown",
    47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error",
    51: "decrypt_error", 60: "export_restriction", 70: "protocol_version",
    71: "insufficient_security", 80: "internal_error", 86: "inappropriate_fallback",
    90: "user_canceled", 100: "no_renegotiation", 109: "missing_extension",
    110: "unsupported_extension", 112: "unrecognized_name",
    113: "bad_certificate_status_response", 116: "certificate_required",
    120: "no_application_protocol",
}
"""RFC 5246 7.2, RFC 6066 9, RFC 7507, RFC 7301, RFC 8446 6."""

EXT_SERVER_NAME = 0
EXT_EXTENDED_MASTER_SECRET = 23
EXT_SESSION_TICKET = 35
EXT_SUPPORTED_VERSIONS = 43
EXT_RENEGOTIATION_INFO = 0xFF01
SCSV_RENEGOTIATION = 0x00FF


def _looks_like(data: bytes) -> str:
    """Return the first bytes, and what protocol begins so."""
    # MQTT 3.2.1, 3.14.1: what a broker can answer to what is no CONNECT.
    name = "HTTP, " if data.startswith(b"HTTP/") else "plain MQTT, " if data[:1] in (
        b"\x20", b"\xe0") else ""
    return f"{name}{data!r}"


class TranscriptError(Exception):
    """The bytes are not TLS, or not the TLS that RFC 5246 allows."""


@dataclass(frozen=True)
class SeenHello:
    """The parts of a ClientHello or ServerHello that resumption is judged by."""

    version: str
    random: bytes
    session_id: bytes
    cipher_suites: tuple[int, ...]
    """All that were offered, or the one that was chosen."""
    extensions: tuple[int, ...]
    ticket_length: int | None = None
    """Bytes in the session_ticket extension (RFC 5077 3.2); None without the extension."""
    server_name: str | None = None
    """Of a ClientHello: the host name it asks for (RFC 6066 3); None without one."""
    compression: tuple[int, ...] = ()
    """All methods that were offered, or the one that was chosen (RFC 3749 2); 0 is none."""


class _Cursor:
    """Takes fields off a message body; running out of bytes is a TranscriptError."""

    __slots__ = ("_at", "_body", "_what")

    def __init__(self, body: bytes, what: str) -> None:
        self._body, self._at, self._what = body, 0, what

    @property
    def left(self) -> int:
        return len(self._body) - self._at

    def take(self, count: int) -> bytes:
        begin = self._at
        self._at = begin + count
        if self._at > len(self._body):
            raise TranscriptError(f"{self._what} ends in the middle of a field")
        return self._body[begin:self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))


def version_name(number: int) -> str:
    """Return EMQX's spelling of a protocol version (``tlsv1.2``), or hex."""
    return _VERSIONS.get(number) or f"0x{number:04x}"


def _numbers(data: bytes, what: str) -> tuple[int, ...]:
    if len(data) % 2:
        raise TranscriptError(f"{what} has an odd length")
    return struct.unpack(f">{len(data) // 2}H", data)


def _extensions(block: bytes, what: str) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content (RFC 5246 7.4.1.4). There are many in each hello: so no cursor."""
    at, end = 0, len(block)
    while at < end:
        begin = at + 4
        if begin <= end:
            kind, length = _EXTENSION.unpack_from(block, at)
            at = begin + length
        if begin > end or at > end:
            raise TranscriptError(f"{what}'s extensions ends in the middle of a field")
        yield kind, block[begin:at]


def _server_name(data: bytes) -> str | None:
    """Return the host name in a ClientHello's server_name extension; None if it holds none."""
    try:
        names = _Cursor(_Cursor(data, "server_name").vector(2), "server_name")
        while names.left:
            kind, name = names.number(1), names.vector(2)
            if kind == 0:
                return name.decode("ascii", "backslashreplace")
    except TranscriptError:
        pass  # The hello is ours: what is wrong with it is so on purpose.
    return None


@dataclass(frozen=True)
class _Offer:
    """What a hello says after its session ID."""

    cipher_suites: tuple[int, ...]
    compression: tuple[int, ...]
    extensions: tuple[int, ...]
    ticket_length: int | None
    server_name: str | None
    version: int | None
    """RFC 8446 4.2.1: the ServerHello's supported_versions is the negotiated one."""


# From one connection to the next nothing of this changes, on either side.
@functools.lru_cache(maxsize=128)
def _offer(data: bytes, *, client: bool) -> _Offer:
    """Read a hello from behind its session ID. Raises TranscriptError."""
    what = _name_of(client=client)
    cursor = _Cursor(data, what)
    if client:
        suites = _numbers(cursor.vector(2), "cipher_suites")
        compression = tuple(cursor.vector(1))
    else:
        suites = (cursor.number(2),)
        compression = (cursor.number(1),)
    extensions: list[int] = []
    ticket_length: int | None = None
    server_name: str | None = None
    version: int | None = None
    if cursor.left:
        for kind, content in _extensions(cursor.vector(2), what):
            extensions.append(kind)
            if kind == EXT_SESSION_TICKET:
                ticket_length = len(content)
            if kind == EXT_SERVER_NAME and client:
                server_name = _server_name(content)
            if kind == EXT_SUPPORTED_VERSIONS and not client and len(content) == 2:
                version = int.from_bytes(content, "big")
    return _Offer(suites, compression, tuple(extensions), ticket_length, server_name, version)


_HELLO_BEGIN = 35
"""Bytes of a hello before its session ID: version, random, and the ID's length."""


def _name_of(*, client: bool) -> str:
    return "ClientHello" if client else "ServerHello"


def parse_hello(body: bytes, *, client: bool) -> SeenHello:
    """Read a ClientHello or ServerHello body (RFC 5246 7.4.1.2, 7.4.1.3).

    Raises:
        TranscriptError: a field runs past the end, or a ServerHello's session_id is over 32
            bytes. A ClientHello's is read as it is: it is ours, and too long on purpose.
    """
    # Every connection comes here twice: so no cursor. Version, random and length come first.
    end = _HELLO_BEGIN + body[_HELLO_BEGIN - 1] if len(body) >= _HELLO_BEGIN else _HELLO_BEGIN
    if end > len(body):
        raise TranscriptError(f"{_name_of(client=client)} ends in the middle of a field")
    session_id = body[_HELLO_BEGIN:end]
    if not client and len(session_id) > 32:
        raise TranscriptError(f"ServerHello has a session_id of {len(session_id)} bytes, over 32")
    rest = _offer(body[end:], client=client)
    chosen = int.from_bytes(body[:2], "big") if rest.version is None else rest.version
    return SeenHello(version_name(chosen), body[2:_HELLO_BEGIN - 1], session_id,
                 rest.cipher_suites, rest.extensions, rest.ticket_length, rest.server_name,
                 rest.compression)


class _Direction:
    """Incremental state of one direction of the connection."""

    __slots__ = ("body", "bytes", "encrypted", "header", "keep", "records", "remaining", "sender")

    def __init__(self, sender: str) -> None:
        self.sender = sender
        self.records = b""
        self.header = bytearray()
        self.body = bytearray()
        self.keep = False
        self.remaining = 0
        self.encrypted = False
        self.bytes = 0


class Transcript:
    """Everything one connection said until :meth:`freeze`."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.alerts: list[Alert] = []
        self.client_hello: SeenHello | None = None
        self.server_hello: SeenHello | None = None
        self._directions = {name: _Direction(name) for name in ("client", "server")}
        self._start = time.monotonic()
        self._at_ms = 0.0
        self._frozen = False

    @property
    def bytes_in(self) -> int:
        """Bytes received from the server, record headers included."""
        return self._directions["server"].bytes

    @property
    def bytes_out(self) -> int:
        """Bytes sent to the server, record headers included."""
        return self._directions["client"].bytes

    def freeze(self) -> None:
        """Stop recording: the handshake is over."""
        self._frozen = True

    def feed(self, sender: str, data: bytes) -> None:
        """Take the next bytes that ``sender`` (``client`` or ``server``) put on the wire.

        Raises:
            TranscriptError: the bytes are no TLS records or no well-formed messages.
        """
        if self._frozen:
            return
        direction = self._directions[sender]
        direction.bytes += len(data)
        self._at_ms = round((time.monotonic() - self._start) * 1000, 3)
        records, at = direction.records + data, 0
        while len(records) - at >= 5:
            kind, major, _, length = _RECORD.unpack_from(records, at)
            if kind not in _CONTENT_TYPES or major != 3:
                raise TranscriptError(
                    f"the {sender} sent something that is not TLS: "
                    f"{_looks_like(records[at:at + 16])}")
            if length > MAX_RECORD:
                raise TranscriptError(
                    f"the {sender} announced a record of {length} bytes, over {MAX_RECORD}")
            end = at + 5 + length
            if len(records) < end:
                break
            self._record(direction, kind, records[at + 5:end])
            at = end
        direction.records = records[at:]

    def _add(self, direction: _Direction, name: str, length: int) -> None:
        if len(self.messages) >= MAX_MESSAGES:
            raise TranscriptError(f"more than {MAX_MESSAGES} messages in one handshake")
        self.messages.append(Message(direction.sender, name, length, self._at_ms))

    def _record(self, direction: _Direction, kind: int, fragment: bytes) -> None:
        if kind == CHANGE_CIPHER_SPEC:
            self._add(direction, "ChangeCipherSpec", len(fragment))
            direction.encrypted = True
        elif kind == ALERT:
            self._alert(direction, fragment)
        elif kind == HANDSHAKE and direction.encrypted:
            # RFC 5246 7.4.9: the one handshake message right after ChangeCipherSpec.
            self._add(direction, "Finished", len(fragment))
        elif kind == HANDSHAKE:
            self._handshake_bytes(direction, fragment)
        else:
            self._add(direction, "ApplicationData", len(fragment))

    def _alert(self, direction: _Direction, fragment: bytes) -> None:
        if direction.encrypted:
            self._add(direction, "Alert (encrypted)", len(fragment))
            return
        if len(fragment) != 2:
            raise TranscriptError(f"the {direction.sender} sent an alert of {len(fragment)} bytes")
        self._add(direction, "Alert", 2)
        level, description = fragment
        self.alerts.append(Alert(
            "target" if direction.sender == "server" else "client",
            _ALERT_LEVELS.get(level, str(level)),
            ALERT_DESCRIPTIONS.get(description, str(description))))

    def _handshake_bytes(self, direction: _Direction, fragment: bytes) -> None:
        at = 0
        while at < len(fragment):
            if not direction.header:
                # Mostly a message is in one piece. What is in one record is no longer than one.
                begin = at + 4
                end = begin + int.from_bytes(fragment[at + 1:begin], "big")
                if begin <= end <= len(fragment):
                    self._message(direction, fragment[at], end - at, fragment[begin:end])
                    at = end
                    continue
            if len(direction.header) < 4:
                piece = fragment[at:at + 4 - len(direction.header)]
                direction.header += piece
                at += len(piece)
                if len(direction.header) < 4:
                    return
                direction.remaining = int.from_bytes(direction.header[1:4], "big")
                direction.keep = direction.header[0] in (1, 2)
                if direction.keep and direction.remaining > MAX_HELLO:
                    raise TranscriptError(
                        f"the {direction.sender} announced a hello of "
                        f"{direction.remaining} bytes, over {MAX_HELLO}")
            piece = fragment[at:at + direction.remaining]
            at += len(piece)
            direction.remaining -= len(piece)
            if direction.keep:
                direction.body += piece
            if direction.remaining == 0:
                self._message_complete(direction)

    def _message_complete(self, direction: _Direction) -> None:
        kind = direction.header[0]
        length = 4 + int.from_bytes(direction.header[1:4], "big")
        body = bytes(direction.body)
        direction.header.clear()
        direction.body.clear()
        self._message(direction, kind, length, body)

    def _message(self, direction: _Direction, kind: int, length: int, body: bytes) -> None:
        self._add(direction, _HANDSHAKE_NAMES.get(kind) or f"handshake type {kind}", length)
        # A HelloRequest-driven second hello would be a renegotiation: the first one counts. A
        # target that sends a ClientHello, or whatever else is not its part, says nothing by it.
        if kind == 1 and direction.sender == "client" and self.client_hello is None:
            self.client_hello = parse_hello(body, client=True)
        elif kind == 2 and direction.sender == "server" and self.server_hello is None:
            self.server_hello = parse_hello(body, client=False)

    def server_sent(self, name: str) -> bool:
        """Tell whether the server sent a message of this name."""
        return any(m.name == name and m.sender == "server" for m in self.messages)

    def server_flight(self) -> tuple[str, ...]:
        """Return the names of the server's messages up to its first ChangeCipherSpec."""
        names: list[str] = []
        for message in self.messages:
            if message.sender != "server":
                continue
            if message.name == "ChangeCipherSpec":
                break
            names.append(message.name)
        return tuple(names)
