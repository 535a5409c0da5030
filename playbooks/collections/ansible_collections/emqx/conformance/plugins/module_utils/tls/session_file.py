"""Reads an OpenSSL session file, as ``openssl s_client -sess_out`` writes it.

Whatever the file holds, nothing but :class:`SessionFileError` is raised, no more than
:data:`MAX_FILE` bytes of it are read, and no sentence quotes it. The master secret leaves this
module only through :attr:`SessionInfo.master_secret` and, when it is asked for by name,
:func:`as_result`.
"""
from __future__ import annotations

import base64
import binascii
import datetime
import functools
import hashlib
import os
import ssl
import stat
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from .session_asn1 import SessionFileError, SslSession, decode
from .transcript import version_name
from .verify_results import meaning

__all__ = ["MAX_FILE", "PeerCertificate", "SessionFile", "SessionFileError", "SessionInfo",
           "as_result", "parse", "read"]

MAX_FILE = 2**18
"""In bytes. A ticket has at most 2^16 (RFC 5077 3.3) and a certificate rarely more than 2^13."""

_LABEL = b"SSL SESSION PARAMETERS"
_TLS13, _DTLS12, _DTLS1 = 0x0304, 0xFEFD, 0xFEFF
_FLAG_EXTENDED_MASTER_SECRET = 0x01
_COMPRESSIONS = {0: "none", 1: "deflate", 64: "lzs"}
"""RFC 3749 2.1, RFC 3943 2."""
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_OTHER_FORMATS = ("it begins neither as PEM nor as DER of OpenSSL; GnuTLS and NSS have formats of "
                  "their own, which cannot be read here")


@dataclass(frozen=True)
class PeerCertificate:
    """The certificate that the other side showed in the full handshake."""

    subject: str
    """RFC 4514."""
    issuer: str
    serial: str
    """Upper-case hex, as openssl prints it."""
    not_after: datetime.datetime
    sha256: str
    """Of the whole certificate, lower-case hex."""


@dataclass(frozen=True)
class SessionInfo:
    """What a session file says. Printing it prints no secret."""

    protocol: int
    """The number on the wire, 0x0303 for TLS 1.2."""
    cipher: int
    """IANA's number."""
    session_id: bytes
    session_id_context: bytes
    master_secret: bytes = field(repr=False)
    """For TLS 1.3 the pre-shared key in its place."""
    started_at: datetime.datetime | None
    timeout_s: int | None
    """The client's own idea; the server has another, and does not say it."""
    peer: PeerCertificate | None
    verify_result: int
    server_name: str | None
    """Only when the server acknowledged the name (RFC 6066 3)."""
    ticket: bytes | None = field(repr=False)
    ticket_lifetime_hint_s: int | None
    compression: int
    extended_master_secret: bool | None
    """None for TLS 1.3, which has no such extension."""

    @property
    def is_tls13(self) -> bool:
        """Tell whether this is a session of TLS 1.3."""
        return self.protocol == _TLS13

    @property
    def session_id_from_server(self) -> bool:
        """Tell whether a server issued the session ID.

        OpenSSL's client gives a session that came with a ticket an ID of its own making, the
        ticket's SHA-256 digest, and forgets the one in the ServerHello.
        """
        return bool(self.session_id) and not self.is_tls13 and (
            self.ticket is None or hashlib.sha256(self.ticket).digest() != self.session_id)

    @property
    def resumes_by(self) -> str:
        """``session_id``, ``ticket`` or ``nothing``: what a client would offer this session by."""
        if self.ticket:
            return "ticket"
        return "session_id" if self.session_id_from_server else "nothing"

    @property
    def expires_at(self) -> datetime.datetime | None:
        """When the client takes the session for too old; None when the calendar ends before."""
        if self.started_at is None or self.timeout_s is None:
            return None
        try:
            return self.started_at + datetime.timedelta(seconds=self.timeout_s)
        except OverflowError:
            return None

    def remarks(self) -> tuple[str, ...]:
        """Say in sentences what is easily misread in these fields."""
        said = []
        if self.is_tls13:
            said.append("TLS 1.3 has no resumption by session ID: the session ID in the file is "
                        "OpenSSL's own and means nothing to a server.")
        elif self.ticket:
            said.append("The session has a ticket, and a server that resumes it does so by the "
                        "ticket: to test session IDs, make it with openssl s_client -no_ticket.")
        if self.resumes_by == "nothing":
            said.append("There is neither a ticket nor a session ID of a server: the session "
                        "cannot be resumed.")
        return tuple(said)


@dataclass(frozen=True)
class SessionFile:
    """A session, and who else may read the file that it was in."""

    session: SessionInfo
    readers: str | None
    """``everybody``, ``its group``, or None when it is the owner alone."""

    def warning(self, path: str) -> str | None:
        """Return what is to be said of a file that others can read, or None."""
        if self.readers is None or not self.session.master_secret:
            return None
        return (f"{path} holds a master secret in clear, and {self.readers} may read it: "
                f"chmod 600 {path}")


def read(path: str) -> SessionFile:
    """Read a session file.

    Raises:
        SessionFileError: the file is not there, cannot be read, or holds no session, or several.
    """
    try:
        mode, data = _contents(path)
    except FileNotFoundError:
        raise SessionFileError(f"{path} does not exist; openssl s_client -sess_out writes no file "
                               "when the server gave it no session") from None
    except PermissionError:
        raise SessionFileError(f"{path} cannot be read: permission denied. Read it as its "
                               "owner") from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise SessionFileError(f"{path} cannot be read: {why}") from None
    except ValueError:
        raise SessionFileError(f"{path!r} is no path") from None
    try:
        session = parse(data)
    except SessionFileError as error:
        raise SessionFileError(f"{path} {error}") from None
    return SessionFile(session, _readers(mode))


def _contents(path: str) -> tuple[int, bytes]:
    """Return a file's mode and its bytes, at most one more than a session file may have."""
    # Without O_NONBLOCK a FIFO of that name would be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise SessionFileError(f"{path} is no regular file")
        with open(descriptor, "rb", closefd=False) as stream:
            return mode, stream.read(MAX_FILE + 1)
    finally:
        os.close(descriptor)


def _readers(mode: int) -> str | None:
    if mode & stat.S_IROTH:
        return "everybody"
    return "its group" if mode & stat.S_IRGRP else None


def parse(data: bytes) -> SessionInfo:
    """Read the one session in ``data``, PEM or DER.

    Raises:
        SessionFileError: the sentence goes on after the file's name.
    """
    if len(data) > MAX_FILE:
        raise SessionFileError(f"has more than {MAX_FILE} bytes, which no session file has")
    if not data.strip():
        raise SessionFileError("is empty: openssl s_client got no session to write into it")
    is_der = data[:1] == b"\x30" and b"-----BEGIN " not in data
    return _interpret(decode(data if is_der else _unarmoured(data)))


def _unarmoured(data: bytes) -> bytes:
    """Return the DER in the only PEM block that holds a session (RFC 7468)."""
    lines = [line.strip() for line in data.splitlines()]
    begin, end = (b"-----%s %s-----" % (word, _LABEL) for word in (b"BEGIN", b"END"))
    count = lines.count(begin)
    if count == 0:
        raise SessionFileError(_what_else(lines))
    if count > 1:
        raise SessionFileError(f"holds {count} sessions: keep one session in a file")
    first = lines.index(begin) + 1
    try:
        body = lines[first:lines.index(end, first)]
    except ValueError:
        raise SessionFileError("is cut off: the line END SSL SESSION PARAMETERS is "
                               "missing") from None
    if any(line.startswith(b"Proc-Type:") for line in body):
        raise SessionFileError("is encrypted PEM, which cannot be read here")
    try:
        return base64.b64decode(b"".join(body), validate=True)
    except binascii.Error:
        raise SessionFileError("is damaged: between its BEGIN and END lines is something that is "
                               "not base64") from None


def _what_else(lines: list[bytes]) -> str:
    """Say what a file without a session holds; labels are known ones, never copied."""
    labels = [line for line in lines if line.startswith(b"-----BEGIN ")]
    if any(b"PRIVATE KEY" in label for label in labels):
        return "holds a private key and no session"
    if any(b"CERTIFICATE" in label for label in labels):
        return "holds a certificate and no session"
    if labels:
        return "holds PEM of another kind and no session"
    if b"SSL-Session:" in lines:
        return ("holds what openssl sess_id -text prints of a session, and not the session: leave "
                "-noout out, or give the file that was printed")
    return f"is no OpenSSL session file: {_OTHER_FORMATS}"


def _interpret(raw: SslSession) -> SessionInfo:
    tls13 = raw.ssl_version == _TLS13
    return SessionInfo(
        protocol=raw.ssl_version, cipher=int.from_bytes(raw.cipher, "big"),
        session_id=raw.session_id, session_id_context=raw.session_id_context or b"",
        master_secret=raw.master_key, started_at=_started_at(raw.time),
        timeout_s=_not_negative(raw.timeout, "timeout"),
        peer=None if raw.peer is None else _peer(raw.peer),
        verify_result=raw.verify_result or 0,
        server_name=None if raw.tlsext_hostname is None
        else raw.tlsext_hostname.decode("ascii", "backslashreplace"),
        ticket=raw.tlsext_tick,
        ticket_lifetime_hint_s=_not_negative(raw.tlsext_tick_lifetime_hint, "lifetime hint"),
        compression=raw.comp_id[0] if raw.comp_id else 0,
        extended_master_secret=None if tls13
        else bool((raw.flags or 0) & _FLAG_EXTENDED_MASTER_SECRET))


def _started_at(seconds: int | None) -> datetime.datetime | None:
    if seconds is None:
        return None
    try:
        return _EPOCH + datetime.timedelta(seconds=seconds)
    except OverflowError:
        raise SessionFileError("has a start time that no calendar has") from None


def _not_negative(number: int | None, what: str) -> int | None:
    if number is not None and number < 0:
        raise SessionFileError(f"has a negative {what}")
    return number


def _peer(certificate: x509.Certificate) -> PeerCertificate:
    try:
        return PeerCertificate(
            subject=certificate.subject.rfc4514_string(),
            issuer=certificate.issuer.rfc4514_string(), serial=_hex(certificate.serial_number),
            not_after=certificate.not_valid_after_utc,
            sha256=certificate.fingerprint(hashes.SHA256()).hex())
    # Names and times are only looked at here; a name of a wrong type is a TypeError.
    except (ValueError, TypeError):
        raise SessionFileError("has a peer certificate that cannot be read") from None


def _hex(number: int) -> str:
    """Return whole bytes in hex, as openssl prints a serial number."""
    digits = f"{abs(number):X}"
    return "-" * (number < 0) + "0" * (len(digits) % 2) + digits


@functools.lru_cache(maxsize=1)
def _openssl_names() -> dict[int, str]:
    """Return OpenSSL's names of all cipher suites that this Python's OpenSSL has."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    # OpenSSL's id is IANA's number with 0x0300 before it.
    return {cipher["id"] & 0xFFFF: cipher["name"] for cipher in context.get_ciphers()}


def _protocol_name(number: int) -> str:
    return {_DTLS12: "dtlsv1.2", _DTLS1: "dtlsv1"}.get(number) or version_name(number)


def as_result(session: SessionInfo, now: datetime.datetime, *,
              show_master_secret: bool = False) -> dict[str, Any]:
    """Return the session as the module does.

    Args:
        session: what was read.
        now: with time zone; what is expired is expired by then.
        show_master_secret: whether the master secret itself may be in the result.
    """
    code = f"0x{session.cipher:04X}"
    secret: dict[str, Any] = {"present": bool(session.master_secret),
                              "bytes": len(session.master_secret)}
    if show_master_secret:
        secret["hex"] = session.master_secret.hex()
    peer, expires_at = session.peer, session.expires_at
    return {
        "protocol": _protocol_name(session.protocol), "protocol_number": session.protocol,
        "cipher": _openssl_names().get(session.cipher, code), "cipher_code": code,
        "resumes_by": session.resumes_by, "session_id": session.session_id.hex(),
        "session_id_bytes": len(session.session_id),
        "session_id_from_server": session.session_id_from_server,
        "session_id_context": session.session_id_context.hex(),
        "started_at": _utc(session.started_at), "timeout_s": session.timeout_s,
        "expires_at": _utc(expires_at), "expired": _expired(session, now),
        "peer_certificate": None if peer is None else {
            "subject": peer.subject, "issuer": peer.issuer, "serial": peer.serial,
            "not_after": _utc(peer.not_after), "sha256": peer.sha256},
        "verify_result": {"number": session.verify_result, "meaning": _verified(session)},
        "server_name": session.server_name,
        "ticket": None if session.ticket is None else {
            "bytes": len(session.ticket), "lifetime_hint_s": session.ticket_lifetime_hint_s},
        "compression": _COMPRESSIONS.get(session.compression, str(session.compression)),
        "extended_master_secret": session.extended_master_secret,
        "master_secret": secret, "remarks": list(session.remarks()),
    }


def _expired(session: SessionInfo, now: datetime.datetime) -> bool | None:
    if session.started_at is None or session.timeout_s is None:
        return None
    return session.expires_at is not None and session.expires_at <= now


def _verified(session: SessionInfo) -> str:
    # OpenSSL has 0 there too when there was nothing to verify.
    if session.peer is None and session.verify_result == 0:
        return "no certificate was shown, so none was verified"
    return meaning(session.verify_result)


def _utc(moment: datetime.datetime | None) -> str | None:
    # strftime does not pad years before 1000.
    return None if moment is None else \
        moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
