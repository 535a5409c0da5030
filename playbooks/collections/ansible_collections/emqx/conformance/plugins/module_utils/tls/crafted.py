"""The crafted engine: a TLS 1.2 client that says what no ordinary client says.

Built of tlslite-ng's messages and record layer, not of its client, which refuses on its own
side what a check wants the *target* to refuse. What it sends is a :class:`Hello` and, of what
follows, a :class:`Conduct`; everything else is an honest handshake. The transcript reads the
wire independently, as in the ordinary engine.

It verifies neither the target's certificate nor its ServerKeyExchange's signature: whom we
talk to is what the ordinary engine verifies, on the same address and in the same run.
"""
from __future__ import annotations

import contextlib
import enum
import hmac
import inspect
import itertools
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ..lean_imports import parts_of
from ..model import Alert, Endpoint, Failure, Handshake, Outcome
from .engine import EngineError, Trust, utc_now
from .transcript import (
    ALERT,
    ALERT_DESCRIPTIONS,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    EXT_EXTENDED_MASTER_SECRET,
    EXT_RENEGOTIATION_INFO,
    EXT_SERVER_NAME,
    EXT_SUPPORTED_VERSIONS,
    HANDSHAKE,
    SCSV_RENEGOTIATION,
    Transcript,
    TranscriptError,
    version_name,
)
from .wire import TIMEOUT, Deadline, Interrupted, Wire, WireError, late
from .witness import judge, wire_says_abbreviated

with parts_of("tlslite"):
    from tlslite.constants import (
        AlertLevel,
        CertificateType,
        CipherSuite,
        GroupName,
        SignatureScheme,
    )
    from tlslite.defragmenter import Defragmenter
    from tlslite.errors import TLSAbruptCloseError
    from tlslite.extensions import (
        ECPointFormatsExtension,
        SignatureAlgorithmsExtension,
        SNIExtension,
        SupportedGroupsExtension,
        TLSExtension,
    )
    from tlslite.handshakehashes import HandshakeHashes
    from tlslite.keyexchange import (
        DHE_RSAKeyExchange,
        ECDHE_RSAKeyExchange,
        KeyExchange,
        RSAKeyExchange,
    )
    from tlslite.mathtls import calc_key
    from tlslite.messages import (
        Alert as AlertMessage,
    )
    from tlslite.messages import (
        ApplicationData,
        Certificate,
        CertificateRequest,
        ChangeCipherSpec,
        ClientHello,
        Finished,
        ServerHello,
        ServerKeyExchange,
    )
    from tlslite.messagesocket import MessageSocket
    from tlslite.utils.codec import Parser
    from tlslite.utils.keyfactory import parsePEMKey
    from tlslite.utils.rijndael import Rijndael
    from tlslite.utils.rsakey import RSAKey
    from tlslite.x509certchain import X509CertChain

# For each key a decorator reads the source file that asks for one, to warn of an old name of this
# class: that takes longer than the handshake.
Rijndael.__init__ = inspect.unwrap(Rijndael.__init__)

_EXCHANGES = ((("ECDHE-ECDSA-", "ECDHE_ECDSA"), ("ECDHE-RSA-", "ECDHE_RSA")),
              (("DHE-RSA-", "DHE_RSA"), ("DHE-DSS-", "DHE_DSS")), (("", "RSA"),))
"""Key exchanges, as OpenSSL and as RFC 5246 begin their suites' names, in the order of preference:
forward secrecy, then what costs less."""
_CIPHERS = (
    ("AES256-GCM-SHA384", "AES_256_GCM_SHA384"), ("AES128-GCM-SHA256", "AES_128_GCM_SHA256"),
    ("CHACHA20-POLY1305", "CHACHA20_POLY1305_SHA256"),
    ("AES256-CCM", "AES_256_CCM"), ("AES128-CCM", "AES_128_CCM"),
    ("AES256-CCM8", "AES_256_CCM_8"), ("AES128-CCM8", "AES_128_CCM_8"),
    ("AES256-SHA384", "AES_256_CBC_SHA384"), ("AES256-SHA256", "AES_256_CBC_SHA256"),
    ("AES128-SHA256", "AES_128_CBC_SHA256"), ("AES256-SHA", "AES_256_CBC_SHA"),
    ("AES128-SHA", "AES_128_CBC_SHA"))


_SPOKEN = frozenset(CipherSuite.certAllSuites + CipherSuite.ecdheEcdsaSuites
                    + CipherSuite.dheDsaSuites) & frozenset(
    CipherSuite.aeadSuites + CipherSuite.shaSuites + CipherSuite.sha256Suites
    + CipherSuite.sha384Suites)
"""Those of which it has both the key exchange and what protects the records."""


def _suites() -> Iterator[tuple[str, int]]:
    for exchanges in _EXCHANGES:
        for cipher, its_name in _CIPHERS:
            for prefix, exchange in exchanges:
                number = int(getattr(CipherSuite, f"TLS_{exchange}_WITH_{its_name}", 0))
                # tlslite-ng 0.8.2 knows DHE-DSS with CBC and SHA-256 by number and cannot speak it.
                if number in _SPOKEN:
                    yield prefix + cipher, number


SUITES = dict(_suites())
"""OpenSSL's names of the cipher suites that can be spoken, in the order of preference."""
OLD_SUITES = tuple(name for name in SUITES if name.endswith("-SHA"))
"""Those that TLS 1.0, 1.1 and 1.2 share: a session of one of them could move between versions."""
_NAMES = {number: name for name, number in SUITES.items()}
_GROUPS = [GroupName.x25519, GroupName.secp256r1, GroupName.x448, GroupName.secp521r1,
           GroupName.secp384r1]
_SIGNED_WITH = {
    "ecdsa": (SignatureScheme.ecdsa_secp256r1_sha256, SignatureScheme.ecdsa_secp384r1_sha384,
              SignatureScheme.ecdsa_secp521r1_sha512),
    "Ed25519": (SignatureScheme.ed25519,),
    "Ed448": (SignatureScheme.ed448,),
    "rsa": (SignatureScheme.rsa_pkcs1_sha256, SignatureScheme.rsa_pkcs1_sha384,
            SignatureScheme.rsa_pkcs1_sha512, SignatureScheme.rsa_pss_rsae_sha256,
            SignatureScheme.rsa_pss_rsae_sha384, SignatureScheme.rsa_pss_rsae_sha512),
    "rsa-pss": (SignatureScheme.rsa_pss_pss_sha256, SignatureScheme.rsa_pss_pss_sha384,
                SignatureScheme.rsa_pss_pss_sha512),
}
"""What a key of each kind signs with (RFC 5246 7.4.1.4.1, RFC 8422 5.1.3, RFC 8446 4.2.3)."""
_OTHER_SIGNATURES = (
    SignatureScheme.dsa_sha256, SignatureScheme.dsa_sha384, SignatureScheme.dsa_sha512,
    SignatureScheme.ecdsa_sha224, SignatureScheme.rsa_pkcs1_sha224, SignatureScheme.dsa_sha224)
"""What else OpenSSL offers. No signature of the target's is verified here, so all can be taken."""
_TLS12 = (3, 3)
GREASE_SUITE, GREASE_GROUP, GREASE_SIGNATURE, GREASE_VERSION = 0x0A0A, 0x3A3A, 0x4A4A, 0x5A5A
GREASE_EXTENSIONS = ((0x1A1A, b""), (0x2A2A, b"\x00"))
"""RFC 8701 2 and 3: types and bodies, the first and the last of the ClientHello's extensions."""
UNKNOWN_EXTENSIONS = ((0xFF5A, b""), (0xFFA5, bytes(range(64))))
"""Types for private use (RFC 8447 17), and bodies, that mean nothing to anybody."""
_NOBODY_KNOWS = frozenset(kind for kind, _ in GREASE_EXTENSIONS + UNKNOWN_EXTENSIONS)
_MAX_HANDSHAKE = 2**18
"""Bytes that a target may send before its handshake must be over."""
_SERVER_HELLO, _CERTIFICATE, _SERVER_KEY_EXCHANGE, _CERTIFICATE_REQUEST = 2, 11, 12, 13
_SERVER_HELLO_DONE, _FINISHED, _CERTIFICATE_STATUS, _HELLO_REQUEST = 14, 20, 22, 0
_SERVER_FLIGHT = frozenset((
    _HELLO_REQUEST, _CERTIFICATE, _SERVER_KEY_EXCHANGE, _CERTIFICATE_REQUEST, _SERVER_HELLO_DONE,
    _CERTIFICATE_STATUS))
_VERIFY_DATA = 12
"""Bytes of Finished (RFC 5246 7.4.9)."""
_MAX_RSA_BITS, _MAX_RSA_EXPONENT_BITS = 2**14, 64
"""OpenSSL's limits too. RFC 5246 has none, and encrypting for a larger key would take hours."""
_MAX_DH_BITS = 2**13
"""RFC 7919's largest group; for a larger prime a power takes minutes."""
_PAUSE_S = 0.002
"""Between TCP segments, so that a target reads them one by one."""
_LAST_WORDS_S = 1.0
"""How long a target may take to close a connection that we have ended."""


class MasterSecret:
    """A master secret; it does not show in any ``repr`` and cannot be serialised."""

    __slots__ = ("_bytes",)

    def __init__(self, secret: bytes) -> None:
        self._bytes = secret

    def reveal(self) -> bytearray:
        """Return the 48 bytes, for key derivation only."""
        return bytearray(self._bytes)

    def with_one_bit_flipped(self) -> MasterSecret:
        """Return a secret that is as good as unknown."""
        return MasterSecret(self._bytes[:-1] + bytes((self._bytes[-1] ^ 1,)))

    def __reduce__(self) -> str:
        raise TypeError("a master secret never leaves the process")


@dataclass(frozen=True)
class CraftedSession:
    """A session as the crafted client remembers it."""

    id: bytes
    cipher: str
    secret: MasterSecret = field(repr=False, compare=False)
    extended_master_secret: bool = False
    """Whether it was negotiated (RFC 7627 5.2)."""


@dataclass(frozen=True)
class Hello:
    """What the ClientHello carries."""

    session_id: bytes = b""
    suites: tuple[str, ...] = tuple(SUITES)
    """OpenSSL's names."""
    version: tuple[int, int] = _TLS12
    """The one that is spoken, at most TLS 1.2; a target that chooses another is not followed."""
    send_server_name: bool = True
    compression: tuple[int, ...] = (0,)
    """Compression methods (RFC 3749 2); one that is chosen other than 0 ends the handshake."""
    extensions: tuple[tuple[int, bytes], ...] = ()
    """Further ones: type and body."""
    extended_master_secret: bool = True
    """Whether the extension is there (RFC 7627 5.1)."""
    grease: bool = False
    """Whether reserved values are among the cipher suites, extensions, groups and signature
    algorithms (RFC 8701 3)."""
    grease_version: bool = False
    """Whether there is supported_versions, of a reserved value and the version (RFC 8701 3)."""
    record_size: int | None = None
    """Bytes of the message in each TLS record (RFC 5246 6.2.1); None: all in one."""
    segment_size: int | None = None
    """Bytes in each TCP segment; None: all in one."""
    server_name: str | None = None
    """The name to send (RFC 6066 3); None: the endpoint's, unless that is an address."""


class StopAfter(enum.Enum):
    """Where the client breaks off a full handshake."""

    SERVER_HELLO_DONE = "the target's ServerHelloDone"
    CLIENT_KEY_EXCHANGE = "our ClientKeyExchange, without Finished"


@dataclass(frozen=True)
class Conduct:
    """How the client goes on once the target has chosen."""

    stop_after: StopAfter | None = None
    """Breaks a full handshake off: no ChangeCipherSpec, no Finished, the connection half closed."""
    finish_with: MasterSecret | None = None
    """In an abbreviated handshake: the secret that our Finished is made and sent with."""
    then_send: bytes = b""
    """Application data for a target that says nothing to such a Finished."""
    finish_wrongly: bool = False
    """Our Finished, encrypted as it should be, holds wrong verify_data (RFC 5246 7.4.9)."""
    also_speaks: tuple[str, ...] = ()
    """Suites that the client goes on with although its hello did not offer them."""


HONEST = Conduct()


class _EndError(Exception):
    """The handshake ended, in a way that the target chose."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.failure = Failure("handshake", cause, detail)


class _RejectedError(Exception):
    """Our library rejected what the target sent."""


class _AlertError(Exception):
    """The target raised a fatal alert."""

    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.description = description


class _Pipe:
    """What tlslite-ng takes for a socket: the wire, with the transcript beside it."""

    def __init__(self, wire: Wire, deadline: Deadline) -> None:
        self.wire, self.deadline = wire, deadline
        self.transcript = Transcript()
        self.handshaking = True
        self._buffer = bytearray()
        self._unsent = bytearray()
        self._received = 0

    def send(self, data: bytes) -> int:
        """Keep it until the flight is whole: see :meth:`flush`."""
        self._unsent += data
        return len(data)

    def flush(self, segment_size: int | None = None) -> None:
        """Put a flight on the wire: in one piece, or in TCP segments of so many bytes.

        A target that refuses its first record and closes would reset the connection on a second
        piece, and sending that would fail before its alert is read.
        """
        data = bytes(self._unsent)
        self._unsent.clear()
        if not data:
            return
        self.transcript.feed("client", data)
        if segment_size is None:
            self.wire.send(data, self.deadline)
        else:
            self._send_in_segments(data, segment_size)

    def _send_in_segments(self, data: bytes, size: int) -> None:
        for at in range(0, len(data), size):
            if at:
                time.sleep(min(_PAUSE_S, self.deadline.left()))
            try:
                self.wire.send(data[at:at + size], self.deadline)
            except WireError as error:
                if error.failure.cause != "connection_reset":
                    raise
                # What the target said before it closed is still to be read.
                return

    def recv(self, count: int) -> bytes:
        # Between two records too: what is in the buffer takes seconds to decrypt in Python.
        if self.deadline.left() <= 0:
            raise late(self.wire.stage, self.deadline)
        if not self._buffer:
            self.fill()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def fill(self) -> None:
        """Say what is still to be said, and take what the target sends next."""
        self.flush()
        data = self.wire.receive(self.deadline)
        self._received += len(data)
        if self.handshaking and self._received > _MAX_HANDSHAKE:
            raise TranscriptError(f"the target sent more than {_MAX_HANDSHAKE} bytes in one "
                                  "handshake")
        self.transcript.feed("server", data)
        self._buffer += data

    def wait_for_end(self, deadline: Deadline) -> bool:
        """Read on until the target closes; tell whether it did. What it still says is not kept."""
        try:
            while self.wire.receive(deadline):
                pass
        except WireError as error:
            return error.failure.cause != "timeout"
        return True


class _Records:
    """Messages of one connection, encrypted or not."""

    def __init__(self, pipe: _Pipe) -> None:
        self.pipe = pipe
        sorter = Defragmenter()
        sorter.add_static_size(CHANGE_CIPHER_SPEC, 1)
        sorter.add_static_size(ALERT, 2)
        sorter.add_dynamic_size(HANDSHAKE, 1, 3)
        self.layer = MessageSocket(pipe, sorter)
        self.layer.client = True
        self.layer.version = (3, 1)  # RFC 5246 E.1: of the first record

    def send(self, message: Any) -> None:
        self.layer.sendMessageBlocking(message)

    def send_in_records(self, message: Any, size: int | None) -> None:
        """Send a message in records of so many bytes; None: as few as can be."""
        whole = self.layer.recordSize
        self.layer.recordSize = size or whole
        self.send(message)
        self.layer.recordSize = whole

    def receive(self) -> tuple[int, bytes]:
        """Return the next message's content type and bytes; warnings are passed over.

        Raises:
            _AlertError: a fatal alert.
            _RejectedError: it is no TLS, or does not decrypt.
            WireError: I/O, deadline or close_notify.
        """
        while True:
            with _reading():
                header, parser = self.layer.recvMessageBlocking()
            kind, body = int(header.type), bytes(parser.bytes)
            if kind != ALERT:
                return kind, body
            if body[0] == AlertLevel.fatal:
                raise _AlertError(ALERT_DESCRIPTIONS.get(body[1], str(body[1])))
            if body[1] == 0:
                raise _closed(self.pipe.wire.stage)


class CraftedStream:
    """An established connection of the crafted client: what MQTT is spoken over."""

    def __init__(self, records: _Records) -> None:
        self._records = records
        self._closed = False

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send all of ``data`` as application data. Raises WireError."""
        self._records.pipe.deadline = deadline
        self._records.send(ApplicationData().create(bytearray(data)))
        self._records.pipe.flush()

    def receive(self, deadline: Deadline) -> bytes:
        """Return the next application data, ``b""`` when the target closed. Raises WireError."""
        pipe = self._records.pipe
        pipe.deadline = deadline
        while True:
            try:
                kind, body = self._records.receive()
            except WireError as error:
                if error.failure.cause == "connection_closed":
                    return b""
                raise
            except _AlertError as alert:
                raise WireError(Failure("mqtt", f"target_alert:{alert.description}",
                                        f"the target raised {alert.description}")) from None
            except TLSAbruptCloseError:
                return b""
            except _RejectedError as error:
                raise WireError(_rejected("mqtt", error)) from error
            if kind == APPLICATION_DATA and body:
                return body

    def close(self) -> None:
        """Say close_notify and close."""
        self._end(0, AlertLevel.warning)

    def abort(self, description: int, *, deadline_s: float = _LAST_WORDS_S) -> bool:
        """Raise a fatal alert of this number (RFC 5246 7.2), and close after the target has.

        Return whether the target closed within ``deadline_s`` seconds, which is how it can be
        told that it has heard the alert.

        Raises:
            Interrupted: the run was asked to stop.
        """
        return self._end(description, AlertLevel.fatal, wait_s=deadline_s)

    def _end(self, description: int, level: int, *, wait_s: float = 0.0) -> bool:
        if self._closed:
            return False
        self._closed = True
        pipe = self._records.pipe
        stop = pipe.deadline.stop
        pipe.deadline = Deadline(_LAST_WORDS_S)
        try:
            with contextlib.suppress(WireError):
                self._records.send(AlertMessage().create(description, level))
                pipe.flush()
                if wait_s:
                    pipe.wire.end_sending()
            return bool(wait_s) and pipe.wait_for_end(Deadline(wait_s, stop))
        finally:
            pipe.wire.close()


@dataclass(frozen=True)
class CraftedAttempt:
    """One crafted connection: its evidence, and what can be done with it next."""

    handshake: Handshake
    stream: CraftedStream | None = None
    """None unless the handshake completed."""
    session: CraftedSession | None = None
    """What both sides know a master secret of, whether the handshake was finished or not."""


class CraftedClient:
    """Makes crafted connections."""

    def __init__(self, trust: Trust, *, stop: threading.Event | None = None) -> None:
        """Load the client certificate, for targets that ask for one.

        Raises:
            EngineError: it cannot be used.
        """
        self._stop = stop
        self._chain: Any = None
        self._key: Any = None
        if trust.cert_file is not None and trust.key_file is not None:
            try:
                self._chain = X509CertChain()
                self._chain.parsePemList(Path(trust.cert_file).read_text("ascii"))
                self._key = parsePEMKey(Path(trust.key_file).read_text("ascii"), private=True)
                _signed_with(self._key)
            # tlslite-ng raises SyntaxError, ValueError and others for what is no PEM.
            except Exception as error:
                _pass_on(error)
                raise EngineError(f"the client certificate {trust.cert_file} and key "
                                  f"{trust.key_file} cannot be used by tlslite-ng") from None

    def connect(self, endpoint: Endpoint, hello: Hello, *, offer: CraftedSession | None = None,
                conduct: Conduct = HONEST, deadline_s: float = 5.0) -> CraftedAttempt:
        """Make one connection. Whatever the target does is evidence, not an exception.

        Args:
            endpoint: where to.
            hello: what the ClientHello carries.
            offer: the session whose master secret is known, when ``hello`` offers it.
            conduct: how to go on.
            deadline_s: seconds for TCP connect and handshake together.

        Raises:
            Interrupted: the run was asked to stop.
        """
        started_at = utc_now()
        deadline = Deadline(deadline_s, self._stop, setting=TIMEOUT)
        begun = time.monotonic()
        try:
            wire = Wire(endpoint, deadline)
        except WireError as error:
            return CraftedAttempt(Handshake(
                endpoint, started_at, Outcome.FAILED, error.failure.detail,
                offered_id=hello.session_id, failure=error.failure))
        seen = {"started_at": started_at, "peer_address": wire.peer,
                "connect_ms": round((time.monotonic() - begun) * 1000, 3)}
        try:
            talk = _Talk(endpoint, _Pipe(wire, deadline), hello, conduct, offer=offer,
                         identity=(self._chain, self._key))
            return self._made(talk, seen)
        except BaseException:
            wire.close()
            raise

    def _made(self, talk: _Talk, seen: dict[str, Any]) -> CraftedAttempt:
        pipe = talk.pipe
        failure: Failure | None = None
        alerts: tuple[Alert, ...] = ()
        try:
            talk.drive()
        except (WireError, _EndError) as error:
            failure = error.failure
        except _AlertError as alert:
            failure = Failure("handshake", "refused",
                              f"the target raised the fatal alert {alert}")
            if not any(known.raised_by == "target" and known.level == "fatal"
                       for known in pipe.transcript.alerts):
                # Encrypted: the transcript cannot read it, and we could.
                alerts = (Alert("target", "fatal", alert.description),)
        except TranscriptError as error:
            failure = Failure("handshake", "not_tls", str(error))
        except TLSAbruptCloseError:
            failure = _closed("handshake").failure
        except _RejectedError as error:
            failure = _rejected("handshake", error)
        # What is not raised by what the target sent must not be called the target's.
        except Exception as error:
            _pass_on(error)
            failure = Failure("handshake", "client_broke", "our own crafted client broke, whatever "
                              f"the target sent ({type(error).__name__}: {error})")
        pipe.handshaking = False
        pipe.transcript.freeze()
        handshake = talk.evidence(failure, alerts, seen)
        if failure is not None:
            pipe.wire.close()
            return CraftedAttempt(handshake, session=talk.session)
        pipe.wire.stage = "mqtt"
        return CraftedAttempt(handshake, CraftedStream(talk.records), talk.session)


class _Talk:
    """One handshake in the making."""

    def __init__(self, endpoint: Endpoint, pipe: _Pipe, hello: Hello, conduct: Conduct, *,
                 offer: CraftedSession | None, identity: tuple[Any, Any]) -> None:
        self.endpoint, self.pipe, self.records = endpoint, pipe, _Records(pipe)
        self.session: CraftedSession | None = None
        self._hello, self._offer, self._conduct, self._identity = hello, offer, conduct, identity
        self._version = hello.version
        self._hashes = HandshakeHashes()
        self._client: Any = None
        self._server: Any = None
        self._abbreviated = False
        self._same_secret: bool | None = None

    # -- the course of the handshake -----------------------------------------------------------

    def drive(self) -> None:
        """Handshake as the client was told to."""
        self._client = self._client_hello()
        self._hashes.update(self._client.write())
        self.records.send_in_records(self._client, self._hello.record_size)
        self.pipe.flush(self._hello.segment_size)
        self._server = self._server_hello()
        kind, body = self.records.receive()
        if kind == CHANGE_CIPHER_SPEC:
            self._abbreviated = True
            self._resume()
        else:
            self._exchange_keys(kind, body)
        self.pipe.flush()

    def _resume(self) -> None:
        """The abbreviated handshake, after the target's ChangeCipherSpec."""
        if self._offer is None:
            raise _EndError("resumed_unknown", "the target answered as if it resumed a session "
                                               "whose master secret nobody has")
        secret = self._offer.secret
        self._derive(secret)
        self.records.layer.changeReadState()
        self._hear_finished(secret)
        self._same_secret = True
        self.session = self._offer
        if self._conduct.finish_with is not None:
            secret = self._conduct.finish_with
            self._derive(secret)
        self._say_finished(secret)
        if self._conduct.finish_with is not None or self._conduct.finish_wrongly:
            self._hear_judgement()

    def _hear_judgement(self) -> NoReturn:
        """Hear what the target says to a Finished that it must refuse."""
        pipe = self.pipe
        whole = pipe.deadline
        pipe.deadline = Deadline(whole.left() / 2, whole.stop)
        try:
            pipe.fill()
        except WireError as error:
            if error.failure.cause != "timeout" or not self._conduct.then_send:
                raise
            pipe.deadline = whole
            self.records.send(ApplicationData().create(bytearray(self._conduct.then_send)))
        pipe.deadline = whole
        try:
            kind, _ = self.records.receive()
        except _AlertError:
            # What it does to the session has been done once the target has closed.
            pipe.wait_for_end(Deadline(min(whole.left(), _LAST_WORDS_S), whole.stop))
            raise
        what = {APPLICATION_DATA: "application data", CHANGE_CIPHER_SPEC: "its ChangeCipherSpec",
                }.get(kind, f"content of type {kind}")
        raise _EndError("accepted", f"the target answered with {what}")

    def _server_flight(self, kind: int, body: bytes) -> dict[int, bytes]:
        """Return the target's messages up to ServerHelloDone, by type, of which one is there."""
        flight: dict[int, bytes] = {}
        while True:
            if kind != HANDSHAKE:
                raise _EndError("unexpected_message", f"the target sent content of type {kind} "
                                                      "before its ServerHelloDone")
            if body[0] not in _SERVER_FLIGHT:
                raise _EndError("unexpected_message", "the target sent handshake type "
                                                      f"{body[0]} before its ServerHelloDone")
            if body[0] != _HELLO_REQUEST:  # RFC 5246 7.4.1.1: not part of the hashes
                self._hashes.update(bytearray(body))
                flight[body[0]] = body
            if body[0] == _SERVER_HELLO_DONE:
                return flight
            kind, body = self.records.receive()

    def _exchange_keys(self, kind: int, body: bytes) -> None:
        """The full handshake, from the target's Certificate on."""
        flight = self._server_flight(kind, body)
        if self._conduct.stop_after is StopAfter.SERVER_HELLO_DONE:
            self._break_off()
        secret = self._client_key_exchange(flight)
        if self._server.session_id:
            self.session = CraftedSession(
                bytes(self._server.session_id), _NAMES[self._server.cipher_suite], secret,
                self._extended())
        if self._conduct.stop_after is StopAfter.CLIENT_KEY_EXCHANGE:
            self._break_off()
        self._derive(secret)
        self._say_finished(secret)
        if self._conduct.finish_wrongly:
            self._hear_judgement()
        kind, _ = self.records.receive()
        if kind != CHANGE_CIPHER_SPEC:
            raise _EndError("unexpected_message", f"the target sent content of type {kind} "
                                                  "instead of its ChangeCipherSpec")
        self.records.layer.changeReadState()
        self._hear_finished(secret)
        if self._offer is not None:
            self._same_secret = False

    def _client_key_exchange(self, flight: dict[int, bytes]) -> MasterSecret:
        version = self._version
        with _reading():
            keys, public_key, agreed = self._keys_of(flight)
            request = None
            if _CERTIFICATE_REQUEST in flight:
                request = CertificateRequest(version).parse(_parser(flight[_CERTIFICATE_REQUEST]))
            premaster = keys.processServerKeyExchange(public_key, agreed)
        chain, key, signatures = self._identity_for(request)
        if request is not None:
            self._say(Certificate(CertificateType.x509, version).create(chain))
        self._say(keys.makeClientKeyExchange())
        # RFC 7627 3: over everything up to here, and no CertificateVerify.
        session_hash = self._hashes.copy()
        if key is not None:
            # RFC 5246 7.4.8, over all messages so far.
            self._say(KeyExchange.makeCertificateVerify(
                version, self._hashes, signatures, key, request, premaster, self._client.random,
                self._server.random))
        return self._master_secret(premaster, session_hash)

    def _keys_of(self, flight: dict[int, bytes]) -> tuple[Any, Any, Any]:
        """Return the key exchange, and of the target its public key or what it sent instead."""
        suite, version = self._server.cipher_suite, self._version
        if _SERVER_KEY_EXCHANGE in flight:
            agreed = ServerKeyExchange(suite, version).parse(_parser(flight[_SERVER_KEY_EXCHANGE]))
            if suite not in CipherSuite.dhAllSuites:
                return (ECDHE_RSAKeyExchange(suite, self._client, self._server, None, _GROUPS),
                        None, agreed)
            if agreed.dh_p.bit_length() > _MAX_DH_BITS:
                raise _EndError("oversized_key", "the target's Diffie-Hellman prime of "
                                f"{agreed.dh_p.bit_length()} bits is too long")
            return DHE_RSAKeyExchange(suite, self._client, self._server, None), None, agreed
        if _CERTIFICATE not in flight:
            raise _EndError("unexpected_message", "the target sent no Certificate")
        chain = Certificate(CertificateType.x509, version).parse(_parser(flight[_CERTIFICATE]))
        public_key = chain.cert_chain.getEndEntityPublicKey()
        _hold_to_bounds(public_key)
        return RSAKeyExchange(suite, self._client, self._server, None), public_key, None

    def _identity_for(self, request: Any) -> tuple[Any, Any, list[Any]]:
        """Return chain, key and what it signs with; nothing where the target would take none.

        RFC 5246 7.4.6: a client without a suitable certificate shows none. OpenSSL does the same.
        """
        chain, key = self._identity
        if request is None or key is None:
            return None, None, []
        signatures = _signed_with(key)
        if self._version < _TLS12:
            # RFC 8422 5.1.3: before TLS 1.2 there is no word for the others.
            suitable = key.key_type in ("rsa", "ecdsa")
        else:
            signatures = [scheme for scheme in signatures
                          if scheme in request.supported_signature_algs]
            suitable = bool(signatures)
        return (chain, key, signatures) if suitable else (None, None, [])

    def _extended(self) -> bool:
        """Tell whether both sides want the extended master secret (RFC 7627 5.1)."""
        return (self._hello.extended_master_secret
                and self._server.getExtension(EXT_EXTENDED_MASTER_SECRET) is not None)

    def _master_secret(self, premaster: Any, session_hash: Any) -> MasterSecret:
        suite = self._server.cipher_suite
        if self._extended():
            return MasterSecret(bytes(calc_key(
                self._version, premaster, suite, b"extended master secret",
                handshake_hashes=session_hash, output_length=48)))
        return MasterSecret(bytes(calc_key(
            self._version, premaster, suite, b"master secret", client_random=self._client.random,
            server_random=self._server.random, output_length=48)))

    def _break_off(self) -> NoReturn:
        """End our side, and wait until the target has heard all of it and ended its own."""
        pipe = self.pipe
        with contextlib.suppress(WireError):
            pipe.flush()
            pipe.wire.end_sending()
            pipe.deadline = Deadline(min(pipe.deadline.left(), _LAST_WORDS_S), pipe.deadline.stop)
            while data := pipe.wire.receive(pipe.deadline):
                pipe.transcript.feed("server", data)
        stop = self._conduct.stop_after
        raise _EndError("broken_off", f"we broke off after {stop.value if stop else ''}")

    # -- single messages -------------------------------------------------------------------------

    def _client_hello(self) -> Any:
        hello, reserved = self._hello, self._hello.grease
        message = ClientHello().create(
            hello.version, bytearray(secrets.token_bytes(32)), bytearray(hello.session_id),
            [*[GREASE_SUITE] * reserved, *(SUITES[suite] for suite in hello.suites),
             SCSV_RENEGOTIATION],
            extensions=self._extensions())
        message.compression_methods = list(hello.compression)
        return message

    def _extensions(self) -> list[Any]:
        hello, reserved = self._hello, self._hello.grease
        extensions: list[Any] = [
            SupportedGroupsExtension().create([*[GREASE_GROUP] * reserved, *_GROUPS]),
            ECPointFormatsExtension().create([0])]
        if hello.version == _TLS12:
            # RFC 5246 7.4.1.4.1: not for versions before.
            extensions.append(SignatureAlgorithmsExtension().create(
                [*[divmod(GREASE_SIGNATURE, 256)] * reserved,
                 *itertools.chain(*_SIGNED_WITH.values()), *_OTHER_SIGNATURES]))
        name = hello.server_name or self.endpoint.server_name
        if hello.send_server_name and is_host_name(name):
            extensions.append(SNIExtension().create(bytearray(name.encode("idna"))))
        if hello.extended_master_secret:
            extensions.append(_extension(EXT_EXTENDED_MASTER_SECRET, b""))
        extensions += [_extension(kind, body) for kind, body in hello.extensions]
        if hello.grease_version:
            versions = GREASE_VERSION.to_bytes(2, "big") + bytes(hello.version)
            extensions.append(_extension(EXT_SUPPORTED_VERSIONS, b"\x04" + versions))
        if not reserved:
            return extensions
        first, last = (_extension(kind, body) for kind, body in GREASE_EXTENSIONS)
        return [first, *extensions, last]

    def _server_hello(self) -> Any:
        kind, body = self.records.receive()
        if kind != HANDSHAKE or body[0] != _SERVER_HELLO:
            raise _EndError("unexpected_message", "the target's first message is no ServerHello")
        self._hashes.update(bytearray(body))
        with _reading():
            server = ServerHello().parse(_parser(body))
        if tuple(server.server_version) != self._version:
            number = server.server_version[0] << 8 | server.server_version[1]
            raise _EndError("other_version", f"the target chose {version_name(number)}")
        spoken = (*self._hello.suites, *self._conduct.also_speaks)
        if server.cipher_suite not in [SUITES[suite] for suite in spoken]:
            raise _EndError("unoffered_suite", "the target chose the cipher suite "
                            f"0x{server.cipher_suite:04x}, which was not offered")
        if server.compression_method:
            raise _EndError("compressed", "the target chose the compression method "
                                          f"{server.compression_method}")
        # RFC 8701 3.1, RFC 5246 7.4.1.4: an answer to what nobody knows is no answer.
        for extension in server.extensions or ():
            if extension.extType in _NOBODY_KNOWS:
                raise _EndError("unknown_extension", "the target answered the extension "
                                f"0x{extension.extType:04x}, which nobody knows")
        self.records.layer.version = self._version
        return server

    def _say(self, message: Any) -> None:
        self._hashes.update(message.write())
        self.records.send(message)

    def _derive(self, secret: MasterSecret) -> None:
        self.records.layer.calcPendingStates(
            self._server.cipher_suite, secret.reveal(), self._client.random, self._server.random,
            ["openssl", "pycrypto", "python"])

    def _verify_data(self, secret: MasterSecret, label: bytes) -> bytes:
        return bytes(calc_key(self._version, secret.reveal(), self._server.cipher_suite, label,
                              handshake_hashes=self._hashes, output_length=_VERIFY_DATA))

    def _say_finished(self, secret: MasterSecret) -> None:
        self.records.send(ChangeCipherSpec().create())
        self.records.layer.changeWriteState()
        verify_data = bytearray(self._verify_data(secret, b"client finished"))
        if self._conduct.finish_wrongly:
            verify_data[-1] ^= 1
        self._say(Finished(self._version).create(verify_data))

    def _hear_finished(self, secret: MasterSecret) -> None:
        kind, body = self.records.receive()
        expected = self._verify_data(secret, b"server finished")
        if kind != HANDSHAKE or body[0] != _FINISHED or not hmac.compare_digest(body[4:], expected):
            raise _EndError("finished_wrong", "the target's Finished does not match the handshake")
        self._hashes.update(bytearray(body))

    # -- what came of it -------------------------------------------------------------------------

    def evidence(self, failure: Failure | None, alerts: tuple[Alert, ...],
                 seen: dict[str, Any]) -> Handshake:
        """Return the handshake as the witnesses tell it.

        Its time is left out: a client in pure Python says nothing about the target's.
        """
        transcript = self.pipe.transcript
        client, server = transcript.client_hello, transcript.server_hello
        abbreviated = wire_says_abbreviated(transcript)
        if failure is None:
            outcome, why = judge(
                offered=bool(self._hello.session_id), library_reused=self._abbreviated,
                abbreviated=abbreviated, same_master_secret=self._same_secret)
        else:
            outcome, why = Outcome.FAILED, failure.detail
            if failure.cause == "refused":
                outcome = Outcome.REFUSED
        cipher = _NAMES.get(server.cipher_suites[0]) if server else None
        extensions = server.extensions if server else ()
        return Handshake(
            self.endpoint, outcome=outcome, why=why, offered_id=self._hello.session_id,
            server_id=server.session_id if server else b"",
            version=server.version if server else None, cipher=cipher,
            compression=server.compression[0] if server else None,
            client_random=client.random if client else b"",
            server_random=server.random if server else b"", library_reused=self._abbreviated,
            wire_abbreviated=abbreviated, same_master_secret=self._same_secret,
            ticket_offered=client.ticket_length if client else None,
            ticket_issued=transcript.server_sent("NewSessionTicket"),
            extended_master_secret=EXT_EXTENDED_MASTER_SECRET in extensions,
            secure_renegotiation=EXT_RENEGOTIATION_INFO in extensions,
            server_name=client.server_name if client else None,
            sni_acknowledged=EXT_SERVER_NAME in extensions,
            messages=tuple(transcript.messages), alerts=(*transcript.alerts, *alerts),
            bytes_in=transcript.bytes_in, bytes_out=transcript.bytes_out, failure=failure, **seen)


def _hold_to_bounds(public_key: Any) -> None:
    if not isinstance(public_key, RSAKey):
        return
    bits, exponent = len(public_key), int(public_key.e).bit_length()
    if bits > _MAX_RSA_BITS or exponent > _MAX_RSA_EXPONENT_BITS:
        raise _EndError("oversized_key", f"the target's RSA key of {bits} bits, with an exponent "
                                         f"of {exponent}, is too long to encrypt for")


def _extension(kind: int, body: bytes) -> Any:
    return TLSExtension(extType=kind).create(kind, bytearray(body))


def is_host_name(name: str) -> bool:
    """Tell whether a server name may be sent (RFC 6066 3: no literal addresses)."""
    return not name.replace(".", "").isdigit() and ":" not in name


def _parser(message: bytes) -> Any:
    """Return a parser of a handshake message behind its type, as tlslite-ng's classes want it."""
    return Parser(bytearray(message[1:]))


def _closed(stage: str) -> WireError:
    return WireError(Failure(stage, "connection_closed", "the target closed the connection"))


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Tell what our library raises on the target's bytes from what it raises on its own.

    Raises:
        _RejectedError: the library raised what is neither ours nor about the connection's end.
    """
    try:
        yield
    except (_EndError, TranscriptError, TLSAbruptCloseError):
        raise
    except Exception as error:
        _pass_on(error)
        # Only the kind: what a message says may be made of the target's bytes.
        raise _RejectedError(type(error).__name__) from error


def _rejected(stage: str, error: _RejectedError) -> Failure:
    return Failure(stage, "library_rejected",
                   f"our TLS library rejected what the target sent ({error})")


def _signed_with(key: Any) -> list[Any]:
    """Return what a client's key signs with. Raises ValueError where we cannot."""
    try:
        return list(_SIGNED_WITH[key.key_type])
    except KeyError:
        raise ValueError(f"no signature with a key of {key.key_type}") from None


def _pass_on(error: Exception) -> None:
    """Let go what is not the library's: an interrupted run, or a programming mistake of ours."""
    if isinstance(error, (Interrupted, WireError, NameError, ImportError)):
        raise error
