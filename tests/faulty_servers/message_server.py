"""A TLS 1.2 server of tlslite-ng's messages, right unless it is given a fault.

Two cipher suites (ECDHE-RSA-AES128-GCM-SHA256 preferred to AES256-GCM-SHA384), server_name
acknowledged, an MQTT 5 CONNACK for the first application data.
"""
from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from pathlib import Path
from typing import Any

from tlslite.constants import AlertDescription, CertificateType, CipherSuite, GroupName
from tlslite.defragmenter import Defragmenter
from tlslite.errors import BaseTLSException, TLSAbruptCloseError
from tlslite.extensions import RenegotiationInfoExtension, SNIExtension
from tlslite.handshakehashes import HandshakeHashes
from tlslite.keyexchange import ECDHE_RSAKeyExchange
from tlslite.mathtls import calc_key
from tlslite.messages import (
    Alert,
    ApplicationData,
    Certificate,
    ChangeCipherSpec,
    ClientHello,
    ClientKeyExchange,
    Finished,
    ServerHello,
    ServerHelloDone,
)
from tlslite.messagesocket import MessageSocket
from tlslite.utils.codec import DecodeError, Parser
from tlslite.utils.keyfactory import parsePEMKey
from tlslite.x509certchain import X509CertChain

FAULTS = frozenset((
    "alerts_on_unknown_id", "compares_first_half", "forgets_after_near_miss",
    "accepts_wrong_secret", "closes_when_resuming", "closes_on_wrong_secret",
    "hangs_on_wrong_secret", "keeps_hello", "keeps_unfinished",
    "no_renegotiation_info_when_resumed", "warns_on_unknown_id",
    # Offers that must be declined.
    "accepts_long_id", "echoes_long_id", "closes_on_long_id", "hangs_on_long_id",
    "forgets_after_long_id", "resumes_with_unoffered_suite", "falls_back_to_unoffered_suite",
    "closes_without_suite", "breaks_when_not_preferred", "resumes_across_sni",
    "server_name_when_resumed", "accepts_broken_name",
    # Alerts that must end a session.
    "resumes_after_alert", "stays_after_alert", "resumes_after_wrong_finished",
    "accepts_wrong_finished"))
VARIANTS = frozenset((
    "alerts_otherwise_on_long_id", "one_suite", "alerts_without_suite", "ignores_sni",
    "refuses_other_name", "resumes_only_named", "demands_a_name", "knows_localhost_alone"))
"""Other ways to be right."""
SUITE = CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
OTHER_SUITE = CipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
TLS12 = (3, 3)
CONNACK = b"\x20\x03\x00\x00\x00"


class _HangUpError(Exception):
    """Close this connection."""


class MessageServer:
    """Listens on a free loopback port until :meth:`stop`."""

    def __init__(self, cert_file: Path, key_file: Path, *faults: str) -> None:
        assert set(faults) <= FAULTS | VARIANTS
        self.faults = set(faults)
        self.cache: dict[bytes, bytes] = {}
        """Master secrets by session ID."""
        self.suites: dict[bytes, int] = {}
        self.names: dict[bytes, bytes] = {}
        self.chain = X509CertChain()
        self.chain.parsePemList(cert_file.read_text())
        self.key = parsePEMKey(key_file.read_text(), private=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, BaseTLSException, _HangUpError), connection:
            connection.settimeout(5)
            _Connection(self, connection).serve()

    def find(self, session_id: bytes) -> bytes | None:
        """Return the master secret of a session."""
        if "compares_first_half" in self.faults:
            for known, secret in self.cache.items():
                if session_id and known[:16] == session_id[:16]:
                    return secret
        found = self.cache.get(session_id)
        if found is None and session_id and "forgets_after_near_miss" in self.faults:
            self.cache.clear()
        return found

    def stop(self) -> None:
        """Stop listening."""
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


class _Connection:
    """One client."""

    def __init__(self, server: MessageServer, connection: socket.socket) -> None:
        self._server, self._socket = server, connection
        sorter = Defragmenter()
        sorter.add_static_size(20, 1)
        sorter.add_static_size(21, 2)
        sorter.add_dynamic_size(22, 1, 3)
        self._layer = MessageSocket(connection, sorter)
        self._layer.client = False
        self._layer.version = TLS12
        self._hashes = HandshakeHashes()
        self._hello: Any = None
        self._answer: Any = None
        self._suite = SUITE
        self._session_id = b""

    def _has(self, fault: str) -> bool:
        return fault in self._server.faults

    def serve(self) -> None:
        self._hear_hello()
        if (self._has("demands_a_name") and not self._name) or (
                self._has("knows_localhost_alone") and self._name not in (b"", b"localhost")):
            self._alert(AlertDescription.unrecognized_name)
        offered = bytes(self._hello.session_id)
        secret = self._server.find(offered)
        if secret is not None and self._may_resume(offered):
            self._resume(offered, secret)
        else:
            if offered and secret is None and self._has("warns_on_unknown_id"):
                self._layer.sendMessageBlocking(Alert().create(100, 1))
            if offered and secret is None and self._has("alerts_on_unknown_id"):
                self._alert(AlertDescription.illegal_parameter)
            self._exchange_keys()
        self._mqtt()

    def _hear_hello(self) -> None:
        """Take the ClientHello; tlslite-ng itself gives up on a session_id over 32 bytes."""
        body = bytes(self._hear(1).bytes)
        start = 3 + 2 + 32 + 1  # behind the message's length, version, random and the ID's length
        session_id = body[start:start + body[start - 1]]
        if len(session_id) > 32:
            rest = body[start + len(session_id):]
            body = (start - 3 + 32 + len(rest)).to_bytes(3, "big") + body[3:start - 1] \
                + b"\x20" + session_id[:32] + rest
        if self._has("accepts_broken_name"):
            body = body.replace(b"\x00\x05\x00\x00\xff", b"\x00\x05\x00\x00\x02")
        try:
            self._hello = ClientHello().parse(Parser(bytearray(body)))
        except DecodeError:
            self._alert(AlertDescription.decode_error)
        if len(session_id) > 32:
            self._judge_long_id(session_id)

    def _judge_long_id(self, session_id: bytes) -> None:
        if self._has("forgets_after_long_id"):
            self._server.cache.clear()
        if self._has("echoes_long_id"):
            self._say_hello(session_id, renegotiation_info=True)
            raise _HangUpError
        if self._has("closes_on_long_id"):
            raise _HangUpError
        if self._has("hangs_on_long_id"):
            self._hang()
        if not self._has("accepts_long_id"):
            self._alert(AlertDescription.illegal_parameter if self._has(
                "alerts_otherwise_on_long_id") else AlertDescription.decode_error)

    def _hang(self) -> None:
        while self._socket.recv(4096):
            pass
        raise _HangUpError

    @property
    def _name(self) -> bytes:
        names = self._hello.server_name
        return bytes(names or b"")

    def _may_resume(self, session_id: bytes) -> bool:
        """Judge what RFC 5246 7.4.1.2 and RFC 6066 3 ask of the hello that offers a session."""
        suite = self._server.suites.get(session_id, SUITE)
        if suite not in self._hello.cipher_suites:
            if self._has("closes_without_suite"):
                raise _HangUpError
            if self._has("alerts_without_suite"):
                self._alert(AlertDescription.illegal_parameter)
            if not self._has("resumes_with_unoffered_suite"):
                return False
        elif suite != SUITE and SUITE in self._hello.cipher_suites and self._has(
                "breaks_when_not_preferred"):
            self._alert(AlertDescription.handshake_failure)
        made_with = self._server.names.get(session_id, self._name)
        if self._name not in (b"", made_with):
            if self._has("refuses_other_name"):
                self._alert(AlertDescription.unrecognized_name)
            if not self._has("resumes_across_sni") and not self._has("ignores_sni"):
                return False
        if not self._name and self._has("resumes_only_named"):
            return False
        self._suite = suite
        return True

    def _choose_suite(self) -> None:
        if self._hello.session_id and self._has("falls_back_to_unoffered_suite"):
            return
        for suite in (SUITE,) if self._has("one_suite") else (SUITE, OTHER_SUITE):
            if suite in self._hello.cipher_suites:
                self._suite = suite
                return
        self._alert(AlertDescription.handshake_failure)

    def _forget(self) -> None:
        """Invalidate the session of this connection (RFC 5246 7.2.2)."""
        self._server.cache.pop(self._session_id, None)

    def _mqtt(self) -> None:
        while True:
            header, parser = self._layer.recvMessageBlocking()
            if header.type == 21 and parser.bytes[0] == 2:
                if not self._has("resumes_after_alert"):
                    self._forget()
                if self._has("stays_after_alert"):
                    self._stay()
                raise _HangUpError
            if header.type == 21:
                self._layer.sendMessageBlocking(Alert().create(0, 1))
                raise _HangUpError
            if bytes(parser.bytes)[:1] == b"\x10":
                self._layer.sendMessageBlocking(ApplicationData().create(bytearray(CONNACK)))

    def _stay(self) -> None:
        """Keep the connection open, though the client has ended its side of it."""
        self._server.stopped.wait(5)

    def _exchange_keys(self) -> None:
        self._choose_suite()
        session_id = self._session_id = secrets.token_bytes(32)
        self._server.suites[session_id] = self._suite
        self._server.names[session_id] = self._name
        self._say_hello(session_id, renegotiation_info=True)
        self._say(Certificate(CertificateType.x509, TLS12).create(self._server.chain))
        keys = ECDHE_RSAKeyExchange(self._suite, self._hello, self._answer, self._server.key,
                                    [GroupName.secp256r1])
        self._say(keys.makeServerKeyExchange("rsa_pkcs1_sha256"))
        if self._has("keeps_hello"):
            self._server.cache[session_id] = bytes(48)
        self._say(ServerHelloDone().create())
        premaster = keys.processClientKeyExchange(
            ClientKeyExchange(self._suite, TLS12).parse(self._hear(16)))
        secret = bytes(calc_key(
            TLS12, premaster, self._suite, b"master secret", client_random=self._hello.random,
            server_random=self._answer.random, output_length=48))
        if self._has("keeps_unfinished"):
            self._server.cache[session_id] = secret
        self._derive(secret)
        self._hear_finished(secret)
        self._server.cache[session_id] = secret
        self._say_finished(secret)

    def _resume(self, session_id: bytes, secret: bytes) -> None:
        self._session_id = session_id
        self._say_hello(session_id, renegotiation_info=not self._has(
            "no_renegotiation_info_when_resumed"))
        self._derive(secret)
        if self._has("closes_when_resuming"):
            self._layer.sendMessageBlocking(ChangeCipherSpec().create())
            raise _HangUpError
        self._say_finished(secret)
        try:
            self._hear_finished(secret)
        except TLSAbruptCloseError:
            raise _HangUpError from None
        except BaseTLSException:
            if self._has("closes_on_wrong_secret"):
                raise _HangUpError from None
            if self._has("hangs_on_wrong_secret"):
                self._hang()
            if not self._has("accepts_wrong_secret"):
                if not self._has("resumes_after_wrong_finished"):
                    self._forget()
                self._alert(AlertDescription.bad_record_mac)
            self._layer.sendMessageBlocking(ApplicationData().create(bytearray(CONNACK)))
            raise _HangUpError from None

    # -- single messages -------------------------------------------------------------------------

    def _hear(self, kind: int) -> Any:
        header, parser = self._layer.recvMessageBlocking()
        body = bytes(parser.bytes)
        if header.type != 22 or body[0] != kind:
            raise _HangUpError
        self._hashes.update(bytearray(body))
        return Parser(bytearray(body[1:]))

    def _say(self, message: Any) -> None:
        self._hashes.update(message.write())
        self._layer.sendMessageBlocking(message)

    def _say_hello(self, session_id: bytes, *, renegotiation_info: bool) -> None:
        extensions: list[Any] = []
        if renegotiation_info:
            extensions.append(RenegotiationInfoExtension().create(bytearray()))
        # RFC 6066 3: acknowledged in full handshakes, never when resuming.
        resuming = session_id == bytes(self._hello.session_id)
        if self._name and not self._has("ignores_sni") and (
                not resuming or self._has("server_name_when_resumed")):
            extensions.append(SNIExtension())
        self._answer = ServerHello().create(
            TLS12, bytearray(secrets.token_bytes(32)), bytearray(session_id), self._suite,
            extensions=extensions or None)
        self._say(self._answer)

    def _derive(self, secret: bytes) -> None:
        self._layer.calcPendingStates(self._suite, bytearray(secret), self._hello.random,
                                      self._answer.random, ["python"])

    def _verify_data(self, secret: bytes, label: bytes) -> Any:
        return calc_key(TLS12, bytearray(secret), self._suite, label, handshake_hashes=self._hashes,
                        output_length=12)

    def _say_finished(self, secret: bytes) -> None:
        self._layer.sendMessageBlocking(ChangeCipherSpec().create())
        self._layer.changeWriteState()
        self._say(Finished(TLS12).create(self._verify_data(secret, b"server finished")))

    def _hear_finished(self, secret: bytes) -> None:
        header, _ = self._layer.recvMessageBlocking()
        if header.type != 20:
            raise _HangUpError
        self._layer.changeReadState()
        expected = self._verify_data(secret, b"client finished")
        if self._hear(20).bytes[3:] != expected and not self._has("accepts_wrong_finished"):
            self._alert(AlertDescription.decrypt_error)

    def _alert(self, description: int) -> None:
        self._layer.sendMessageBlocking(Alert().create(description, 2))
        raise _HangUpError
