"""A crafted client's handshake: honest but for what it was told to say and do."""
from __future__ import annotations

import contextlib
import hmac
import itertools
import secrets
from typing import Any, NoReturn

from ...lean_imports import parts_of
from ...model import Endpoint
from ..evidence import Witnesses
from ..transcript import (
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    EXT_EXTENDED_MASTER_SECRET,
    EXT_SUPPORTED_VERSIONS,
    HANDSHAKE,
    SCSV_RENEGOTIATION,
    version_name,
)
from ..wire import Deadline, WireError
from ..witness import wire_says_abbreviated
from . import openssl
from .records import LAST_WORDS_S, AlertError, EndError, Pipe, Records, reading
from .vocabulary import (
    GREASE_EXTENSIONS,
    GREASE_GROUP,
    GREASE_SIGNATURE,
    GREASE_SUITE,
    GREASE_VERSION,
    GROUPS,
    NAMES,
    NOBODY_KNOWS,
    OTHER_SIGNATURES,
    SIGNED_WITH,
    SUITES,
    TLS12,
    Conduct,
    CraftedSession,
    Hello,
    MasterSecret,
    StopAfter,
    is_host_name,
    signed_with,
)

with parts_of("tlslite"):
    from tlslite.constants import CertificateType, CipherSuite
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
        KeyExchange,
        RSAKeyExchange,
    )
    from tlslite.mathtls import calc_key
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
    from tlslite.utils.codec import Parser
    from tlslite.utils.rsakey import RSAKey

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


class Talk:
    """One handshake in the making."""

    def __init__(self, endpoint: Endpoint, pipe: Pipe, hello: Hello, conduct: Conduct, *,
                 offer: CraftedSession | None, identity: tuple[Any, Any]) -> None:
        self.endpoint, self.pipe, self.records = endpoint, pipe, Records(pipe)
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
            raise EndError("resumed_unknown", "the target answered as if it resumed a session "
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
        except AlertError:
            # What it does to the session has been done once the target has closed.
            pipe.wait_for_end(Deadline(min(whole.left(), LAST_WORDS_S), whole.stop))
            raise
        what = {APPLICATION_DATA: "application data", CHANGE_CIPHER_SPEC: "its ChangeCipherSpec",
                }.get(kind, f"content of type {kind}")
        raise EndError("accepted", f"the target answered with {what}")

    def _server_flight(self, kind: int, body: bytes) -> dict[int, bytes]:
        """Return the target's messages up to ServerHelloDone, by type, of which one is there."""
        flight: dict[int, bytes] = {}
        while True:
            if kind != HANDSHAKE:
                raise EndError("unexpected_message", f"the target sent content of type {kind} "
                                                      "before its ServerHelloDone")
            if body[0] not in _SERVER_FLIGHT:
                raise EndError("unexpected_message", "the target sent handshake type "
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
                bytes(self._server.session_id), NAMES[self._server.cipher_suite], secret,
                self._extended())
        if self._conduct.stop_after is StopAfter.CLIENT_KEY_EXCHANGE:
            self._break_off()
        self._derive(secret)
        self._say_finished(secret)
        if self._conduct.finish_wrongly:
            self._hear_judgement()
        kind, _ = self.records.receive()
        if kind != CHANGE_CIPHER_SPEC:
            raise EndError("unexpected_message", f"the target sent content of type {kind} "
                                                  "instead of its ChangeCipherSpec")
        self.records.layer.changeReadState()
        self._hear_finished(secret)
        if self._offer is not None:
            self._same_secret = False

    def _client_key_exchange(self, flight: dict[int, bytes]) -> MasterSecret:
        version = self._version
        with reading():
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
                return (openssl.KeyExchange(suite, self._client, self._server, None, GROUPS),
                        None, agreed)
            if agreed.dh_p.bit_length() > _MAX_DH_BITS:
                raise EndError("oversized_key", "the target's Diffie-Hellman prime of "
                                f"{agreed.dh_p.bit_length()} bits is too long")
            return DHE_RSAKeyExchange(suite, self._client, self._server, None), None, agreed
        if _CERTIFICATE not in flight:
            raise EndError("unexpected_message", "the target sent no Certificate")
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
        signatures = signed_with(key)
        if self._version < TLS12:
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
            pipe.deadline = Deadline(min(pipe.deadline.left(), LAST_WORDS_S), pipe.deadline.stop)
            while data := pipe.wire.receive(pipe.deadline):
                pipe.transcript.feed("server", data)
        stop = self._conduct.stop_after
        raise EndError("broken_off", f"we broke off after {stop.value if stop else ''}")

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
            SupportedGroupsExtension().create([*[GREASE_GROUP] * reserved, *GROUPS]),
            ECPointFormatsExtension().create([0])]
        if hello.version == TLS12:
            # RFC 5246 7.4.1.4.1: not for versions before.
            extensions.append(SignatureAlgorithmsExtension().create(
                [*[divmod(GREASE_SIGNATURE, 256)] * reserved,
                 *itertools.chain(*SIGNED_WITH.values()), *OTHER_SIGNATURES]))
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
            raise EndError("unexpected_message", "the target's first message is no ServerHello")
        self._hashes.update(bytearray(body))
        with reading():
            server = ServerHello().parse(_parser(body))
        if tuple(server.server_version) != self._version:
            number = server.server_version[0] << 8 | server.server_version[1]
            raise EndError("other_version", f"the target chose {version_name(number)}")
        spoken = (*self._hello.suites, *self._conduct.also_speaks)
        if server.cipher_suite not in [SUITES[suite] for suite in spoken]:
            raise EndError("unoffered_suite", "the target chose the cipher suite "
                            f"0x{server.cipher_suite:04x}, which was not offered")
        if server.compression_method:
            raise EndError("compressed", "the target chose the compression method "
                                          f"{server.compression_method}")
        # RFC 8701 3.1, RFC 5246 7.4.1.4: an answer to what nobody knows is no answer.
        for extension in server.extensions or ():
            if extension.extType in NOBODY_KNOWS:
                raise EndError("unknown_extension", "the target answered the extension "
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
            raise EndError("finished_wrong", "the target's Finished does not match the handshake")
        self._hashes.update(bytearray(body))

    # -- what came of it -------------------------------------------------------------------------

    @property
    def cipher(self) -> str | None:
        """OpenSSL's name of the suite that the target chose, if it is one that can be spoken."""
        server = self.pipe.transcript.server_hello
        return NAMES.get(server.cipher_suites[0]) if server else None

    @property
    def witnesses(self) -> Witnesses:
        """The flight that was followed, the wire, and whether Finished verified."""
        return Witnesses(self._abbreviated, wire_says_abbreviated(self.pipe.transcript),
                         self._same_secret)


def _hold_to_bounds(public_key: Any) -> None:
    if not isinstance(public_key, RSAKey):
        return
    bits, exponent = len(public_key), int(public_key.e).bit_length()
    if bits > _MAX_RSA_BITS or exponent > _MAX_RSA_EXPONENT_BITS:
        raise EndError("oversized_key", f"the target's RSA key of {bits} bits, with an exponent "
                                         f"of {exponent}, is too long to encrypt for")


def _extension(kind: int, body: bytes) -> Any:
    return TLSExtension(extType=kind).create(kind, bytearray(body))


def _parser(message: bytes) -> Any:
    """Return a parser of a handshake message behind its type, as tlslite-ng's classes want it."""
    return Parser(bytearray(message[1:]))
