"""The ordinary engine: the standard library's ``ssl`` over memory buffers.

One connection yields all three witnesses: the library's word, the transcript of the raw
bytes that went through the buffers, and the fingerprint of the master secret.
"""
from __future__ import annotations

import contextlib
import hashlib
import ssl
import threading
import time
from dataclasses import replace
from pathlib import Path

from ..hints import with_hint
from ..model import Endpoint, Failure, Handshake, Outcome, SecretFingerprint, Session
from . import evidence
from .certificate_key import key_of
from .evidence import Begun, Ending, Witnesses, utc_now
from .keylog import KeyLog
from .transcript import ALERT_DESCRIPTIONS, Transcript, TranscriptError, parse_hello
from .trust import EngineError, Trust
from .verify_results import NO_TRUSTED_ISSUER, cause
from .wire import TIMEOUT, Deadline, Wire, WireError
from .witness import judge, wire_says_abbreviated

_TLS_VERSIONS = {"tlsv1": ssl.TLSVersion.TLSv1, "tlsv1.1": ssl.TLSVersion.TLSv1_1,
                 "tlsv1.2": ssl.TLSVersion.TLSv1_2, "tlsv1.3": ssl.TLSVersion.TLSv1_3}
_OP_LEGACY_SERVER_CONNECT = 0x4
"""SSL_OP_LEGACY_SERVER_CONNECT, which Python names from 3.12 on."""
_TLS12 = ("tlsv1.2", "tlsv1.2")
_NO_SUITES = "!aNULL:!eNULL:!PSK:!SRP"
_EPHEMERAL_SUITES = "ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:DHE+CHACHA20:ECDH:DHE"
_ALL_SUITES = f"{_EPHEMERAL_SUITES}:AES:ALL:{_NO_SUITES}"
"""All that encrypt and authenticate by certificate: Python's own choice leaves out those without
forward secrecy, of CBC with SHA-1 and of CCM, and a target that speaks nothing else could not be
verified. What is best, and what the crafted client speaks too, comes first."""
CCM_8_LEFT_OUT = ssl.OPENSSL_VERSION_INFO >= (3, 2)
"""Whether the library calls tags of 64 bits too weak at every security level but 0, which would let
in weak certificates as well."""
_UNHEARD = frozenset(("handshake_failure", "insufficient_security"))
"""RFC 5246 7.2.2: alerts on a ClientHello of which a server can take nothing."""
_BEFORE_HELLO = 9
"""Bytes before the ClientHello's body: the headers of its record and of its message."""
NOT_OFFERED = "not_offered"
"""Cause of a connection that was not made, since our TLS library has dropped the session."""


def is_forward_secret(cipher: str | None) -> bool:
    """Tell whether a suite's keys, by OpenSSL's name, outlive the theft of the server's key."""
    return cipher is not None and cipher.startswith(("ECDHE-", "DHE-", "TLS_"))


def nothing_in_common(handshake: Handshake) -> bool:
    """Tell whether a target refused as if it could take no suite, group or signature offered."""
    return (handshake.outcome is Outcome.REFUSED and handshake.version is None
            and handshake.refusal in _UNHEARD)


class _Tls:
    """The library's connection object and the two buffers between it and the socket."""

    def __init__(self, context: ssl.SSLContext, endpoint: Endpoint,
                 offer: Session | None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(
            self.incoming, self.outgoing, server_hostname=endpoint.server_name,
            session=offer.handle if offer else None)
        self.hello = b""
        """The ClientHello, where it is written already."""

    def offers(self, session: Session) -> bool:
        """Write the ClientHello, and tell whether it offers the session."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.object.do_handshake()
        self.hello = self.outgoing.read()
        return parse_hello(self.hello[_BEFORE_HELLO:], client=True).session_id == session.id


class _Conversation:
    """One TLS connection in the making: the library, the socket, and what both said."""

    def __init__(self, tls: _Tls, wire: Wire, begun: Begun, offer: Session | None) -> None:
        self.wire, self.begun, self.offer = wire, begun, offer
        self.tls, self.incoming, self.outgoing = tls.object, tls.incoming, tls.outgoing
        self._unsent = tls.hello
        self.transcript = Transcript()

    def flush(self, deadline: Deadline) -> None:
        """Put on the wire what the library wants to say."""
        data, self._unsent = self._unsent + self.outgoing.read(), b""
        if data:
            self.transcript.feed("client", data)
            self.wire.send(data, deadline)

    def drive(self, deadline: Deadline) -> None:
        """Handshake to the end. Raises WireError, TranscriptError or ssl.SSLError."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.flush(deadline)
            except ssl.SSLError:
                # Our own alert is still in the buffer: it belongs on the wire and in the evidence.
                with contextlib.suppress(WireError):
                    self.flush(deadline)
                raise
            else:
                self.flush(deadline)
                return
            data = self.wire.receive(deadline)
            if not data:
                raise WireError(Failure("handshake", "connection_closed",
                                        "the target closed the connection in the handshake"))
            self.transcript.feed("server", data)
            self.incoming.write(data)


class Stream:
    """An established TLS connection: what MQTT is spoken over."""

    def __init__(self, talk: _Conversation) -> None:
        self._wire, self._tls = talk.wire, talk.tls
        self._incoming, self._outgoing = talk.incoming, talk.outgoing
        self._closed = False

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send all of ``data`` as application data. Raises WireError."""
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            raise WireError(_library_failure(error, "mqtt")) from error
        self._wire.send(self._outgoing.read(), deadline)

    def _decrypted(self) -> bytes | None:
        """Return application data, ``b""`` at the end, None when the library wants more bytes."""
        try:
            return self._tls.read(65536)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as error:
            raise WireError(_library_failure(error, "mqtt")) from error

    def receive(self, deadline: Deadline) -> bytes:
        """Return the next application data, ``b""`` when the target closed. Raises WireError."""
        while (data := self._decrypted()) is None:
            raw = self._wire.receive(deadline)
            if not raw:
                return b""
            self._incoming.write(raw)
        return data

    def receive_now(self) -> bytes | None:
        """Return application data that is there already, ``b""`` at the end, None without any.

        Raises WireError.
        """
        data = self._decrypted()
        if data is not None:
            return data
        # One look at the socket, so that a peer that never pauses cannot keep us here.
        raw = self._wire.receive_now()
        if not raw:
            return raw
        self._incoming.write(raw)
        return self._decrypted()

    def fileno(self) -> int:
        """Return the socket's descriptor, to be polled."""
        return self._wire.fileno()

    def close(self) -> None:
        """Say close_notify and close.

        Without close_notify OpenSSL marks the session as not resumable, which would read
        as "not resumed" next time.
        """
        if self._closed:
            return
        self._closed = True
        try:
            # unwrap() sends our close_notify and then wants the target's, which nobody needs.
            with contextlib.suppress(ssl.SSLError, OSError):
                self._tls.unwrap()
            with contextlib.suppress(WireError):
                self._wire.send(self._outgoing.read(), Deadline(1.0))
        finally:
            self._wire.close()


Attempt = evidence.Attempt[Stream, Session]
"""The session is the one to offer next time; None unless the handshake completed with an ID."""


class OrdinaryEngine:
    """Handshakes with TLS 1.2 alone and without the session_ticket extension.

    Sessions can only be offered through the engine that made them.
    """

    def __init__(self, trust: Trust, *, stop: threading.Event | None = None,
                 forward_secret: bool = False) -> None:
        """Load the certificates.

        Args:
            trust: CA and client certificate.
            stop: when set, every wait of this engine ends with Interrupted.
            forward_secret: offer no cipher suite without forward secrecy, until
                :meth:`offer_all_suites`.

        Raises:
            EngineError: a file is missing or is no PEM certificate or key.
        """
        self._stop, self._trust = stop, trust
        self._keylog = KeyLog()
        self._forward_secret = forward_secret
        self._context = _new_context(trust, self._keylog, forward_secret=forward_secret)
        _limit(self._context, _TLS12)
        self._outgrown: list[ssl.SSLContext] = []
        self._other_contexts: dict[tuple[str, str], ssl.SSLContext] = {}
        self._switching = threading.Lock()

    @property
    def trust(self) -> Trust:
        """Whom the probe trusts, and who it says it is."""
        return self._trust

    @property
    def has_client_certificate(self) -> bool:
        """Tell whether there is a certificate for targets that ask for one."""
        return self._trust.cert_file is not None

    @property
    def forward_secret(self) -> bool:
        """Tell whether suites without forward secrecy are left out."""
        return self._forward_secret

    def offer_all_suites(self) -> None:
        """Offer from now on all suites that encrypt and authenticate by certificate.

        Python ties a session to its context: those that were made before cannot be offered any
        more, as :meth:`can_offer` says.
        """
        with self._switching:
            if self._forward_secret:
                # A context's list must not change while other threads' handshakes read it.
                self._outgrown.append(self._context)
                self._context = _new_context(self._trust, self._keylog)
                _limit(self._context, _TLS12)
                self._forward_secret = False

    def can_offer(self, endpoint: Endpoint, session: Session) -> bool:
        """Tell, without a connection, whether our TLS library would still offer a session.

        OpenSSL drops one for good when a connection that has it sees a fatal alert of either side
        (RFC 5246 7.2.2), or ends without close_notify. CPython 3.11 has every connection offer a
        copy of its own; 3.13 has all offer the one session, which then is lost to all of them.
        """
        try:
            tls = self._tls(endpoint, session, tickets=False, versions=None)
        except ValueError:  # of another context
            return False
        return tls.offers(session)

    def close(self) -> None:
        """Release the key log."""
        for context in (self._context, *self._outgrown, *self._other_contexts.values()):
            context.keylog_filename = None  # type: ignore[assignment]
        self._keylog.close()

    def connect(self, endpoint: Endpoint, *, offer: Session | None = None,
                deadline_s: float = 5.0, tickets: bool = False,
                versions: tuple[str, str] | None = None, heed_stop: bool = True,
                keep_session: bool = True) -> Attempt:
        """Make one connection and judge its handshake. Failures are evidence, not exceptions.

        Where our TLS library has dropped the session (see :meth:`can_offer`) no connection is
        made, and the cause is ``not_offered``.

        Args:
            endpoint: where to.
            offer: the session to offer, or None for a full handshake.
            deadline_s: seconds for TCP connect and handshake together.
            tickets: send the session_ticket extension. It is empty, since no session of
                this engine was made with a ticket (RFC 5077 3.2).
            versions: lowest and highest version to offer instead of TLS 1.2 alone, as EMQX
                spells them. A session can be offered only when TLS 1.2 is one of them.
            heed_stop: False for what must be put in order even when the run was asked to
                stop; then ``deadline_s`` should be short.
            keep_session: False where nobody is to offer the session that is issued: to ask
                for one takes CPython 3.11 a tenth of a full handshake's CPU and 6 KiB that it
                never gives back.

        Raises:
            Interrupted: the run was asked to stop.
        """
        started_at = utc_now()
        asked = Begun(endpoint, started_at, offer.id if offer else b"")
        tls = None
        if offer is not None:
            tls = self._tls(endpoint, offer, tickets=tickets, versions=versions)
            if not tls.offers(offer):
                return Attempt(evidence.no_connection(Begun(endpoint, started_at), Failure(
                    "connect", NOT_OFFERED, "our own TLS library did not offer the session")))
        deadline = Deadline(deadline_s, self._stop if heed_stop else None, setting=TIMEOUT)
        begun = time.monotonic()
        try:
            wire = Wire(endpoint, deadline)
        except WireError as error:
            return Attempt(evidence.no_connection(asked, error.failure))
        asked = replace(asked, peer_address=wire.peer, connect_ms=_ms_since(begun))
        try:
            if tls is None:
                tls = self._tls(endpoint, None, tickets=tickets, versions=versions)
            talk = _Conversation(tls, wire, asked, offer)
            return self._handshake(talk, deadline, keep_session=keep_session)
        except BaseException:
            wire.close()
            raise

    def _tls(self, endpoint: Endpoint, offer: Session | None, *, tickets: bool,
             versions: tuple[str, str] | None) -> _Tls:
        context = self._context
        if versions is not None and offer is None:
            context = self._context_for(versions)
        # OpenSSL copies a context's options and versions into each new connection, and Python
        # ties a session to its context: so the one context is switched for the moment of making
        # it.
        switched = tickets or versions is not None
        with self._switching:
            if not switched:
                return _Tls(context, endpoint, offer)
            if tickets:
                context.options &= ~ssl.OP_NO_TICKET
            if versions is not None and offer is not None:
                _limit(context, versions)
            try:
                return _Tls(context, endpoint, offer)
            finally:
                context.options |= ssl.OP_NO_TICKET
                if context is self._context:
                    _limit(context, _TLS12)

    def _context_for(self, versions: tuple[str, str]) -> ssl.SSLContext:
        with self._switching:
            if versions not in self._other_contexts:
                context = _new_context(self._trust, self._keylog)
                # OpenSSL's default security level has no signature algorithms for TLS 1.0 and 1.1.
                context.set_ciphers(f"{_ALL_SUITES}:@SECLEVEL=0")
                _limit(context, versions)
                self._other_contexts[versions] = context
            return self._other_contexts[versions]

    def _handshake(self, talk: _Conversation, deadline: Deadline, *,
                   keep_session: bool) -> Attempt:
        begun = time.monotonic()
        failure: Failure | None = None
        try:
            talk.drive(deadline)
        except WireError as error:
            failure = error.failure
        except TranscriptError as error:
            failure = Failure("handshake", "not_tls", str(error))
        except ssl.SSLCertVerificationError as error:
            failure = _distrust(error, self._trust)
        except ssl.SSLError as error:
            failure = _library_failure(error, "handshake")
        handshake_ms = _ms_since(begun)
        talk.transcript.freeze()
        if failure is not None:
            talk.wire.close()
            return Attempt(evidence.evidence(
                talk.begun, talk.transcript, _ending(talk.transcript, failure), Witnesses(),
                cipher=_cipher_name(talk)))
        return self._completed(talk, handshake_ms, keep_session=keep_session)

    def _completed(self, talk: _Conversation, handshake_ms: float, *,
                   keep_session: bool) -> Attempt:
        transcript, offer = talk.transcript, talk.offer
        client, server = transcript.client_hello, transcript.server_hello
        if client is None or server is None:
            raise EngineError("a handshake completed without both hellos on the wire")
        secret = self._keylog.take(client.random)
        # TLS 1.3 has no master secret in this sense, and nothing is offered in it here.
        if secret is None and server.version != "tlsv1.3":
            raise EngineError("the TLS library logged no master secret for this connection")
        same = secret.same_as(offer.secret) if offer is not None and secret is not None else None
        reused = bool(talk.tls.session_reused)
        abbreviated = wire_says_abbreviated(transcript)
        outcome, why = judge(offered=offer is not None, library_reused=reused,
                             abbreviated=abbreviated, same_master_secret=same)
        cipher = talk.tls.cipher()
        certificate = b"" if reused else talk.tls.getpeercert(binary_form=True) or b""
        handshake = evidence.evidence(
            talk.begun, transcript, Ending(outcome, why), Witnesses(reused, abbreviated, same),
            cipher=cipher[0] if cipher else None, server_key=key_of(certificate),
            server_certificate="" if reused else hashlib.sha256(certificate).hexdigest(),
            handshake_ms=handshake_ms)
        session = None
        if server.session_id and secret is not None and keep_session:
            # Python 3.11 copies a session, certificates and all, whenever it is asked for one; the
            # one that was resumed is at hand.
            session = _session(
                handshake, secret, offer.handle if offer is not None and
                outcome is Outcome.RESUMED else talk.tls.session)
        talk.wire.stage = "mqtt"
        return Attempt(handshake, Stream(talk), session)


def _limit(context: ssl.SSLContext, versions: tuple[str, str]) -> None:
    """Let new connections offer these versions: the lowest and the highest."""
    context.minimum_version, context.maximum_version = (
        _TLS_VERSIONS[version] for version in versions)


def _new_context(trust: Trust, keylog: KeyLog, *, forward_secret: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Tickets must never be credited to session IDs, so the extension is not offered.
    context.options |= ssl.OP_NO_TICKET
    # OpenSSL 3 gives up on a server that does not signal secure renegotiation (RFC 5746); whether
    # it does is for a check to say, and the rest can be measured all the same.
    context.options |= _OP_LEGACY_SERVER_CONNECT
    context.set_ciphers(f"{_EPHEMERAL_SUITES}:{_NO_SUITES}" if forward_secret
                        else _ALL_SUITES)
    _load(context, trust)
    context.keylog_filename = keylog.path
    return context


def _ms_since(begun: float) -> float:
    return round((time.monotonic() - begun) * 1000, 3)


def _session(handshake: Handshake, secret: SecretFingerprint, handle: object) -> Session:
    return Session(
        id=handshake.server_id, cipher=handshake.cipher or "", issuer=handshake.endpoint.name,
        established_at=handshake.started_at, handle=handle, secret=secret,
        client_random=handshake.client_random, server_random=handshake.server_random)


def _load(context: ssl.SSLContext, trust: Trust) -> None:
    if trust.ca_file is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(cafile=trust.ca_file)
        except FileNotFoundError:
            raise EngineError(f"the CA file {trust.ca_file} does not exist") from None
        except (OSError, ssl.SSLError):
            raise EngineError(
                f"the CA file {trust.ca_file} cannot be read as PEM certificates") from None
    if trust.cert_file is not None:
        try:
            # No passphrase prompt: a probe must never wait for a terminal.
            context.load_cert_chain(trust.cert_file, trust.key_file, password=_no_passphrase)
        except (OSError, ssl.SSLError) as error:
            raise EngineError(_why_no_client(
                trust.cert_file, trust.key_file or trust.cert_file, error)) from None


def _no_passphrase() -> str:
    return ""


def _bytes_of(what: str, name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except FileNotFoundError:
        raise EngineError(f"the client {what} {name} does not exist") from None
    except OSError as error:
        raise EngineError(f"the client {what} {name} cannot be read: {error.strerror}") from None


_KEY_LABEL, _ENCRYPTED = b"PRIVATE KEY-----", b"ENCRYPTED"


def _why_no_client(cert_file: str, key_file: str, error: OSError | ssl.SSLError) -> str:
    """Return why a client certificate cannot be used, in a sentence that says which file it is."""
    try:
        cert, key = _bytes_of("certificate", cert_file), _bytes_of("key", key_file)
    except EngineError as missing:
        return str(missing)
    if b"-----BEGIN CERTIFICATE-----" not in cert:
        return f"the client certificate {cert_file} cannot be read as a PEM certificate"
    if _KEY_LABEL not in key:
        return f"the client key {key_file} cannot be read as a PEM private key"
    # RFC 7468 11 names it in the label, the older form of OpenSSL in a header below it.
    if _ENCRYPTED in key:
        return (f"the client key {key_file} is encrypted, and nobody is there to be asked for its "
                f"passphrase: write a decrypted one with openssl pkey -in {key_file} -out FILE")
    reason = _own_words(error)
    return with_hint(f"the client certificate {cert_file} and its key {key_file} cannot be used: "
                     f"{reason}", f"OpenSSL: {reason}")


def _own_words(error: OSError | ssl.SSLError) -> str:
    """Return the reason that OpenSSL, or else the system, gives."""
    reason = getattr(error, "reason", None) or ""
    return reason.replace("_", " ").lower() or error.strerror or str(error)


def _cipher_name(talk: _Conversation) -> str | None:
    """Return the name of the cipher suite that the server chose, though nobody went on with it."""
    server = talk.transcript.server_hello
    if server is None:
        return None
    return next((cipher["name"] for cipher in talk.tls.context.get_ciphers()
                 if cipher["id"] & 0xFFFF == server.cipher_suites[0]), None)


def _ending(transcript: Transcript, failure: Failure) -> Ending:
    """Return how a handshake ended that our library did not complete."""
    alert = evidence.fatal_alert(transcript)
    if alert is None and failure.cause.startswith("target_alert:"):
        # Encrypted: only the library could read it, and it says the target raised it.
        alert = failure.cause.partition(":")[2]
    if alert is not None:
        return evidence.refused(alert)
    client, server = transcript.client_hello, transcript.server_hello
    if (client and server and client.session_id and server.session_id == client.session_id
            and "Certificate" in transcript.server_flight()):
        why = "the target echoed the offered session ID and yet sent a Certificate"
        return Ending(Outcome.INCONSISTENT, why, Failure("handshake", "echoed_but_full", why))
    return evidence.failed(failure)


def _distrust(error: ssl.SSLCertVerificationError, trust: Trust) -> Failure:
    """Say what our library has against the target's certificate, in its own words."""
    because = cause(error.verify_code)
    whom = f"; trusted are {trust.authorities}" if because in NO_TRUSTED_ISSUER else ""
    return Failure("handshake", because, error.verify_message.rstrip(".") + whom)


def _library_failure(error: ssl.SSLError, stage: str) -> Failure:
    """Turn our library's error into a failure that says whose doing it was."""
    reason = error.reason or ""
    # OpenSSL names an alert it *received* SSLV3_ALERT_… or TLSV1_ALERT_…
    _, marker, alert = reason.partition("_ALERT_")
    if marker and alert.lower() in ALERT_DESCRIPTIONS.values():
        return Failure(stage, f"target_alert:{alert.lower()}", f"the target raised {alert.lower()}")
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"):
        return Failure(stage, "not_tls", "the target does not speak TLS on this port")
    if isinstance(error, ssl.SSLEOFError):
        return Failure(stage, "connection_closed", "the target closed the connection")
    text = reason.replace("_", " ").lower() or str(error)
    return Failure(stage, "library_rejected", with_hint(
        f"our TLS library rejected the handshake: {text}", f"OpenSSL: {text}"))
