"""What is told of a handshake, whichever client made it: read from the same transcript.

A client says how it ended, and what its library and the keys witness; all that was on the wire is
taken from there, of a handshake that failed as of one that did not.
"""
from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..model import Alert, Endpoint, Failure, Handshake, Outcome
from .transcript import (
    EXT_EXTENDED_MASTER_SECRET,
    EXT_RENEGOTIATION_INFO,
    EXT_SERVER_NAME,
    Transcript,
)

_Stream = TypeVar("_Stream")
_Session = TypeVar("_Session")


@dataclass(frozen=True)
class Attempt(Generic[_Stream, _Session]):
    """One connection: its evidence, and what can be done with it next."""

    handshake: Handshake
    stream: _Stream | None = None
    """None unless the handshake completed."""
    session: _Session | None = None
    """The session to offer next time, where the client has one."""


@dataclass(frozen=True)
class Begun:
    """A connection before the first byte of TLS."""

    endpoint: Endpoint
    started_at: str
    """ISO 8601, UTC."""
    offered_id: bytes = b""
    """The session ID that is to be offered."""
    peer_address: str | None = None
    connect_ms: float | None = None


@dataclass(frozen=True)
class Ending:
    """How a handshake ended."""

    outcome: Outcome
    why: str
    failure: Failure | None = None
    alert: str | None = None
    """The fatal alert of the target that ended it."""


@dataclass(frozen=True)
class Witnesses:
    """What the three witnesses say; None where one was not heard."""

    library_reused: bool | None = None
    wire_abbreviated: bool | None = None
    same_master_secret: bool | None = None


def failed(failure: Failure) -> Ending:
    """Return the end of a handshake that proves nothing."""
    return Ending(Outcome.FAILED, failure.detail, failure)


def refused(alert: str) -> Ending:
    """Return the end of a handshake that the target ended with a fatal alert."""
    why = f"the target raised the fatal alert {alert}"
    return Ending(Outcome.REFUSED, why, Failure("handshake", "refused", why), alert)


def no_connection(begun: Begun, failure: Failure) -> Handshake:
    """Return what is told where there was no connection."""
    return Handshake(begun.endpoint, begun.started_at, Outcome.FAILED, failure.detail,
                     offered_id=begun.offered_id, failure=failure)


def evidence(begun: Begun, transcript: Transcript, ending: Ending, witnesses: Witnesses,
             **library: Any) -> Handshake:
    """Return all that is known of a handshake.

    ``library`` holds the fields of :class:`Handshake` that only a client's library can tell:
    the cipher suite's name, the certificate and its key, how long it took.
    """
    client, server = transcript.client_hello, transcript.server_hello
    extensions = server.extensions if server else ()
    return Handshake(
        begun.endpoint, begun.started_at, ending.outcome, ending.why,
        offered_id=client.session_id if client else begun.offered_id,
        server_id=server.session_id if server else b"",
        version=server.version if server else None,
        compression=server.compression[0] if server else None,
        client_random=client.random if client else b"",
        server_random=server.random if server else b"",
        library_reused=witnesses.library_reused, wire_abbreviated=witnesses.wire_abbreviated,
        same_master_secret=witnesses.same_master_secret,
        ticket_offered=client.ticket_length if client else None,
        ticket_issued=transcript.server_sent("NewSessionTicket"),
        extended_master_secret=EXT_EXTENDED_MASTER_SECRET in extensions,
        secure_renegotiation=EXT_RENEGOTIATION_INFO in extensions,
        server_name=client.server_name if client else None,
        sni_acknowledged=EXT_SERVER_NAME in extensions,
        messages=tuple(transcript.messages), alerts=_alerts(transcript, ending.alert),
        bytes_in=transcript.bytes_in, bytes_out=transcript.bytes_out,
        connect_ms=begun.connect_ms, peer_address=begun.peer_address, failure=ending.failure,
        **library)


def fatal_alert(transcript: Transcript) -> str | None:
    """Return the last fatal alert of the target that the wire shows."""
    return next((alert.description for alert in reversed(transcript.alerts) if _refuses(alert)),
                None)


def _refuses(alert: Alert) -> bool:
    return alert.raised_by == "target" and alert.level == "fatal"


def _alerts(transcript: Transcript, ending: str | None) -> tuple[Alert, ...]:
    if ending is None or any(map(_refuses, transcript.alerts)):
        return tuple(transcript.alerts)
    # Encrypted: only the client could read it.
    return (*transcript.alerts, Alert("target", "fatal", ending))


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC, to the millisecond."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
