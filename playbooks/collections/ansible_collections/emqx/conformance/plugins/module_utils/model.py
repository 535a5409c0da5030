"""The words the harness thinks in: endpoint, session, handshake, outcome.

Everything here is immutable. A :class:`Handshake` is evidence: it can be turned into
JSON and holds no master secret, key or password.
"""
from __future__ import annotations

import enum
import hmac
import ipaddress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

LONGEST_SESSION_ID = 32
"""In bytes: opaque SessionID<0..32> (RFC 5246 7.4.1.2)."""


class Outcome(str, enum.Enum):
    """What a handshake came to, once the witnesses were heard."""

    RESUMED = "resumed"
    FULL = "full"
    REFUSED = "refused"
    """The target ended the handshake with a fatal alert."""
    FAILED = "failed"
    """I/O error, deadline, or our own side gave up or broke off: no proof about resumption."""
    INCONSISTENT = "inconsistent"
    """The witnesses disagree."""


@dataclass(frozen=True)
class Endpoint:
    """One address that is expected to lead to one node."""

    name: str
    host: str
    port: int
    server_name: str

    @property
    def named(self) -> bool:
        """Whether it is asked by a name: an address is no server name (RFC 6066 3)."""
        try:
            ipaddress.ip_address(self.server_name)
        except ValueError:
            return True
        return False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.name} ({host}:{self.port})"


@dataclass(frozen=True)
class TrustDomain:
    """One listener of a node, and a client that it lets in."""

    name: str
    """What messages call it."""
    port: int
    client_cert: str
    """Path of a PEM file, as are the others."""
    client_key: str
    ca_cert: str | None = None
    """Whom the listener trusts: for checks that replace this, or issue certificates."""
    ca_key: str | None = None

    def __str__(self) -> str:
        return self.name


class SecretFingerprint:
    """Stands for a master secret: can be compared, cannot be read, printed or serialised."""

    __slots__ = ("_digest",)

    def __init__(self, digest: bytes) -> None:
        self._digest = digest

    def same_as(self, other: SecretFingerprint) -> bool:
        """Tell whether both stand for the same master secret."""
        return hmac.compare_digest(self._digest, other._digest)

    def __reduce__(self) -> str:
        raise TypeError("a master secret's fingerprint never leaves the process")


@dataclass(frozen=True)
class Session:
    """A session as its client remembers it (RFC 5246 7.3, F.1.4)."""

    id: bytes
    cipher: str
    issuer: str
    """Name of the endpoint that issued it."""
    established_at: str
    """UTC, ISO 8601."""
    handle: Any = field(repr=False, compare=False)
    """The TLS library's own object; usable in this process only."""
    secret: SecretFingerprint = field(repr=False, compare=False)
    client_random: bytes = field(repr=False)
    server_random: bytes = field(repr=False)


class Message(NamedTuple):
    """One message of the handshake as seen on the wire."""

    sender: str
    """``client`` or ``server``."""
    name: str
    """RFC 5246's name: ``ClientHello``, ``ChangeCipherSpec``, ``Finished`` …"""
    length: int
    """Bytes, without the record header."""
    at_ms: float
    """Milliseconds since the TCP connection stood."""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"from": self.sender, "message": self.name, "bytes": self.length,
                "at_ms": self.at_ms}


@dataclass(frozen=True)
class Alert:
    """An alert and who raised it: our own library's is never evidence about the target."""

    raised_by: str
    """``target`` or ``client``."""
    level: str
    """``warning``, ``fatal`` or ``unknown`` (when only the library could read it)."""
    description: str
    """RFC 5246 7.2's name, for example ``handshake_failure``."""

    def as_dict(self) -> dict[str, str]:
        """Return the JSON form."""
        return {"raised_by": self.raised_by, "level": self.level,
                "description": self.description}


@dataclass(frozen=True)
class Failure:
    """Why a handshake brought no evidence."""

    stage: str
    """``connect`` (no TCP connection: nothing was measured), ``handshake`` or ``mqtt``."""
    cause: str
    """Stable token: ``connection_refused``, ``timeout``, ``certificate_not_trusted`` …"""
    detail: str
    """One clause for people."""

    def as_dict(self) -> dict[str, str]:
        """Return the JSON form."""
        return {"stage": self.stage, "cause": self.cause, "detail": self.detail}


@dataclass(frozen=True)
class MqttResult:
    """How CONNECT went on the connection."""

    version: str
    """``3.1.1`` or ``5``."""
    cause: str
    """Stable token of what went wrong; empty when CONNACK accepted."""
    detail: str
    connack_ms: float | None = None
    """From CONNECT to CONNACK."""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"version": self.version, "cause": self.cause, "detail": self.detail,
                "connack_ms": self.connack_ms}


@dataclass(frozen=True)
class Handshake:
    """All that one connection showed."""

    endpoint: Endpoint
    started_at: str
    outcome: Outcome
    why: str
    """How the outcome follows from the witnesses, in one clause."""
    offered_id: bytes = b""
    server_id: bytes = b""
    version: str | None = None
    """Negotiated protocol version as EMQX spells it (``tlsv1.2``)."""
    cipher: str | None = None
    """OpenSSL's name of the cipher suite."""
    compression: int | None = None
    """Number of the chosen compression method (RFC 3749 2): 0 is none at all."""
    server_certificate: str = ""
    """SHA-256 of the certificate that a full handshake showed, in hex; empty in others."""
    server_key: str = ""
    """What key it is for, such as ``RSA 2048``; empty in others, and when it cannot be told."""
    peer_address: str | None = None
    client_random: bytes = b""
    server_random: bytes = b""
    library_reused: bool | None = None
    """Witness 1: what the TLS library says."""
    wire_abbreviated: bool | None = None
    """Witness 2: echoed ID and the abbreviated flight of RFC 5246 7.3."""
    same_master_secret: bool | None = None
    """Witness 3: keyed by the offered session's master secret; None without an offer."""
    ticket_offered: int | None = None
    """Bytes of the ticket in our session_ticket extension; None without the extension."""
    ticket_issued: bool = False
    extended_master_secret: bool = False
    secure_renegotiation: bool = False
    server_name: str | None = None
    """The name in our server_name extension (RFC 6066 3); None without the extension."""
    sni_acknowledged: bool = False
    """The ServerHello carries server_name: the target made use of the name."""
    messages: tuple[Message, ...] = ()
    alerts: tuple[Alert, ...] = ()
    bytes_in: int = 0
    bytes_out: int = 0
    connect_ms: float | None = None
    handshake_ms: float | None = None
    """From the first ClientHello byte to the last Finished, TCP connect not included."""
    crowded: bool = False
    """One of many at the same moment: its times say nothing about a single handshake."""
    failure: Failure | None = None
    mqtt: MqttResult | None = None
    """None when the handshake did not complete."""
    key: str = ""
    """What results.json calls it; empty as long as no run has listed it."""

    @property
    def arrived(self) -> bool:
        """Whether the target had a connection of it, which it may have reset at once."""
        failure = self.failure
        return (failure is None or failure.stage != "connect"
                or failure.cause == "connection_reset")

    @property
    def refusal(self) -> str:
        """What the last alert says that was raised, by RFC 5246 7.2's name; empty without one."""
        return self.alerts[-1].description if self.alerts else ""

    def sent(self, sender: str, name: str) -> bool:
        """Tell whether ``client`` or ``server`` sent a message of this name."""
        return any(message.sender == sender and message.name == name for message in self.messages)

    @property
    def witnesses(self) -> dict[str, bool | None]:
        """What each of the three says, in the JSON form."""
        return {"library_reused": self.library_reused,
                "wire_abbreviated": self.wire_abbreviated,
                "same_master_secret": self.same_master_secret}

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form (session IDs are public on the wire; secrets are not here)."""
        return {
            "endpoint": self.endpoint.name,
            "address": self.peer_address,
            "port": self.endpoint.port,
            "started_at": self.started_at,
            "outcome": self.outcome.value,
            "why": self.why,
            "offered_id": self.offered_id.hex(),
            "server_id": self.server_id.hex(),
            "version": self.version,
            "cipher": self.cipher,
            "compression": self.compression,
            "server_certificate": self.server_certificate,
            "server_key": self.server_key,
            "witnesses": self.witnesses,
            "ticket_offered": self.ticket_offered,
            "ticket_issued": self.ticket_issued,
            "extended_master_secret": self.extended_master_secret,
            "secure_renegotiation": self.secure_renegotiation,
            "server_name": self.server_name,
            "sni_acknowledged": self.sni_acknowledged,
            "messages": [message.as_dict() for message in self.messages],
            "alerts": [alert.as_dict() for alert in self.alerts],
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "connect_ms": self.connect_ms,
            "handshake_ms": self.handshake_ms,
            "crowded": self.crowded,
            "failure": self.failure.as_dict() if self.failure else None,
            "mqtt": self.mqtt.as_dict() if self.mqtt else None,
        }
