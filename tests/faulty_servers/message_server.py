"""A TLS 1.2 server of tlslite-ng's messages, right unless it is given a fault.

Of ECDHE-RSA-AES128-GCM-SHA256 and ECDHE-RSA-AES128-SHA the one that the client prefers, extended
master secret, and the MQTT of :mod:`tests.support.mqtt_broker`.

A fault is a name in FAULTS and one question (``_has``) where it makes a difference.
"""
from __future__ import annotations

import contextlib
import secrets
import select
import socket
import threading
from pathlib import Path
from typing import Any, NamedTuple

from tlslite.constants import (
    AlertDescription,
    CertificateType,
    CipherSuite,
    ExtensionType,
    GroupName,
)
from tlslite.defragmenter import Defragmenter
from tlslite.errors import BaseTLSException
from tlslite.extensions import RenegotiationInfoExtension, TLSExtension
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
from tlslite.utils.codec import Parser
from tlslite.utils.keyfactory import parsePEMKey
from tlslite.x509certchain import X509CertChain

from tests.support.mqtt_broker import Clients, HangUpError, MqttClient

FAULTS = frozenset((
    "alerts_on_unknown_id", "compares_first_half", "forgets_after_near_miss",
    "accepts_wrong_secret", "closes_when_resuming", "closes_on_wrong_secret",
    "hangs_on_wrong_secret", "keeps_hello", "keeps_unfinished",
    "no_renegotiation_info_when_resumed", "warns_on_unknown_id",
    # versions
    "speaks_tls11", "resumes_at_other_version", "resumes_older_at_tls12",
    "answers_in_the_sessions_version", "goes_back_to_the_sessions_version",
    # extended master secret
    "no_extended_master_secret", "resumes_without_ems", "falls_back_without_ems",
    "closes_without_ems", "resumes_into_ems", "drops_ems_when_resumed", "drops_ems_in_fallback",
    "ems_unasked", "refuses_without_ems", "declines_ems_sessions",
    # the shape of a ClientHello
    "chokes_on_records", "chokes_on_tiny_records", "chokes_on_segments", "chokes_on_grease",
    "declines_records", "declines_segments", "declines_grease", "answers_grease"))
SUITE = CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
OLD_SUITE = CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
TLS11, TLS12 = (3, 2), (3, 3)
GREASE_SUITE, GREASE_EXTENSION = 0x0A0A, 0x1A1A
SHORTEST_HELLO = 41
"""Bytes of the shortest ClientHello body (RFC 5246 7.4.1.2)."""
CONNACK = b"\x20\x03\x00\x00\x00"


class Made(NamedTuple):
    """How a session was made."""

    version: tuple[int, int]
    suite: int
    extended: bool


class MessageServer:
    """Listens on a free loopback port until :meth:`stop`."""

    def __init__(self, cert_file: Path, key_file: Path, *faults: str, port: int = 0) -> None:
        assert set(faults) <= FAULTS, set(faults) - FAULTS
        self.faults = set(faults)
        self.cache: dict[bytes, bytes] = {}
        """Master secrets by session ID."""
        self.made: dict[bytes, Made] = {}
        """By session ID."""
        self.clients = Clients(waits_for_close=True)
        """What it knows of its MQTT clients."""
        self.chain = X509CertChain()
        self.chain.parsePemList(cert_file.read_text())
        self.key = parsePEMKey(key_file.read_text(), private=True)
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port: int = self._listener.getsockname()[1]
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
        with contextlib.suppress(OSError, BaseTLSException, HangUpError), connection:
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
        self._timeout = 5.0
        self._hello: Any = None
        self._answer: Any = None
        self._version, self._suite = TLS12, SUITE
        self._resumed = False
        self._in_records = self._in_segments = self._drops_ems = False

    def _has(self, fault: str) -> bool:
        return fault in self._server.faults

    def serve(self) -> None:
        self._look_at_pieces()
        self._hello = ClientHello().parse(self._hear(1))
        if self._greased() and self._has("chokes_on_grease"):
            self._alert(AlertDescription.illegal_parameter)
        if not self._speaks_tls12() and not self._turns_to_tls11():
            self._alert(AlertDescription.protocol_version)
        self._turns_to_the_sessions_version()
        self._choose_suite()
        if self._has("refuses_without_ems") and not self._extended():
            self._alert(AlertDescription.handshake_failure)
        offered = bytes(self._hello.session_id)
        secret = self._server.find(offered)
        if secret is not None and self._may_resume(offered):
            self._resume(offered, secret)
        else:
            if offered and self._has("warns_on_unknown_id"):
                self._layer.sendMessageBlocking(Alert().create(100, 1))
            if offered and self._has("alerts_on_unknown_id"):
                self._alert(AlertDescription.illegal_parameter)
            self._exchange_keys()
        self._mqtt()

    def _speaks_tls12(self) -> bool:
        versions = self._hello.getExtension(ExtensionType.supported_versions)
        if versions is not None:
            return TLS12 in versions.versions
        return bool(self._hello.client_version >= TLS12)

    def _turns_to_tls11(self) -> bool:
        """Go on as a faulty server, or one that speaks more than TLS 1.2, does."""
        if tuple(self._hello.client_version) != TLS11:
            return False
        if not any(map(self._has, ("speaks_tls11", "resumes_at_other_version",
                                   "resumes_older_at_tls12", "answers_in_the_sessions_version",
                                   "goes_back_to_the_sessions_version"))):
            return False
        self._version = self._layer.version = TLS11
        return True

    def _turns_to_the_sessions_version(self) -> None:
        made = self._server.made.get(bytes(self._hello.session_id))
        if made is not None and (self._has("answers_in_the_sessions_version") or (
                made.version < self._version and self._has("goes_back_to_the_sessions_version"))):
            self._version = self._layer.version = made.version

    def _choose_suite(self) -> None:
        spoken = (SUITE, OLD_SUITE) if self._version == TLS12 else (OLD_SUITE,)
        for suite in self._hello.cipher_suites:
            if suite in spoken:
                self._suite = suite
                return
        self._alert(AlertDescription.handshake_failure)

    def _extended(self) -> bool:
        """Tell whether the extended master secret is negotiated (RFC 7627)."""
        asked = self._hello.getExtension(ExtensionType.extended_master_secret) is not None
        return asked and not self._drops_ems and not self._has("no_extended_master_secret")

    def _greased(self) -> bool:
        return GREASE_SUITE in self._hello.cipher_suites

    def _look_at_pieces(self) -> None:
        """Learn how the ClientHello comes, for faults that are about that, and stumble over it."""
        if not any("records" in fault or "segments" in fault for fault in self._server.faults):
            return
        seen = b""
        while len(seen) < 5:
            seen = self._socket.recv(4096, socket.MSG_PEEK)
            length = int.from_bytes(seen[3:5], "big")
            self._in_segments = self._in_segments or len(seen) < 5 + length
        self._in_records = length < SHORTEST_HELLO
        if length < 4 and self._has("chokes_on_tiny_records"):
            self._alert(AlertDescription.handshake_failure)
        if ((self._in_records and self._has("chokes_on_records"))
                or (self._in_segments and self._has("chokes_on_segments"))):
            raise HangUpError

    def _declines(self) -> bool:
        return ((self._has("declines_records") and self._in_records)
                or (self._has("declines_segments") and self._in_segments)
                or (self._has("declines_grease") and self._greased()))

    def _may_resume(self, session_id: bytes) -> bool:
        """Tell whether a session goes with this ClientHello (RFC 5246 7.4.1.2, RFC 7627 5.3)."""
        made = self._server.made.get(session_id)
        if made is None:
            return True
        if self._declines():
            return False
        if made.version != self._version and not self._has("resumes_at_other_version") \
                and not (self._has("resumes_older_at_tls12") and made.version < self._version):
            return False
        if not made.extended and self._extended() and not self._has("resumes_into_ems"):
            self._drops_ems = self._has("drops_ems_in_fallback")
            return False
        if made.extended and not self._extended() and not self._has("resumes_without_ems"):
            if self._has("closes_without_ems"):
                raise HangUpError
            if not self._has("falls_back_without_ems"):
                self._alert(AlertDescription.handshake_failure)
            return False
        return not (made.extended and self._has("declines_ems_sessions"))

    def _mqtt(self) -> None:
        MqttClient(self._server.clients, self).serve()

    # -- what MQTT takes for a socket ------------------------------------------------------------

    def settimeout(self, value: float, /) -> None:
        """For :meth:`recv`, in seconds."""
        self._timeout = value

    def recv(self, _: int, /) -> bytes:
        """Return the next application data, empty when the client closed."""
        # Only a wait for the first byte may end without a message: it leaves nothing half read.
        if not select.select([self._socket], [], [], self._timeout)[0]:
            raise TimeoutError
        header, parser = self._layer.recvMessageBlocking()
        if header.type == 21:
            self._layer.sendMessageBlocking(Alert().create(0, 1))
            return b""
        return bytes(parser.bytes)

    def sendall(self, data: bytes, /) -> None:
        """Send application data."""
        self._layer.sendMessageBlocking(ApplicationData().create(bytearray(data)))

    # -- handshakes ------------------------------------------------------------------------------

    def _exchange_keys(self) -> None:
        session_id = secrets.token_bytes(32)
        self._say_hello(session_id, renegotiation_info=True)
        self._server.made[session_id] = Made(self._version, self._suite, self._extended())
        self._say(Certificate(CertificateType.x509, self._version).create(self._server.chain))
        keys = ECDHE_RSAKeyExchange(self._suite, self._hello, self._answer, self._server.key,
                                    [GroupName.secp256r1])
        self._say(keys.makeServerKeyExchange("rsa_pkcs1_sha256"))
        if self._has("keeps_hello"):
            self._server.cache[session_id] = bytes(48)
        self._say(ServerHelloDone().create())
        premaster = keys.processClientKeyExchange(
            ClientKeyExchange(self._suite, self._version).parse(self._hear(16)))
        secret = bytes(calc_key(
            self._version, premaster, self._suite,
            b"extended master secret" if self._extended() else b"master secret",
            handshake_hashes=self._hashes, client_random=self._hello.random,
            server_random=self._answer.random, output_length=48))
        if self._has("keeps_unfinished"):
            self._server.cache[session_id] = secret
        self._derive(secret)
        self._hear_finished(secret)
        self._server.cache[session_id] = secret
        self._say_finished(secret)

    def _resume(self, session_id: bytes, secret: bytes) -> None:
        self._resumed = True
        if session_id in self._server.made:
            self._suite = self._server.made[session_id].suite
        self._say_hello(session_id, renegotiation_info=not self._has(
            "no_renegotiation_info_when_resumed"))
        self._derive(secret)
        if self._has("closes_when_resuming"):
            self._layer.sendMessageBlocking(ChangeCipherSpec().create())
            raise HangUpError
        self._say_finished(secret)
        try:
            self._hear_finished(secret)
        except BaseTLSException:
            if self._has("closes_on_wrong_secret"):
                raise HangUpError from None
            if self._has("hangs_on_wrong_secret"):
                while self._socket.recv(4096):
                    pass
                raise HangUpError from None
            if not self._has("accepts_wrong_secret"):
                self._alert(AlertDescription.bad_record_mac)
            self._layer.sendMessageBlocking(ApplicationData().create(bytearray(CONNACK)))
            raise HangUpError from None

    # -- single messages -------------------------------------------------------------------------

    def _hear(self, kind: int) -> Any:
        header, parser = self._layer.recvMessageBlocking()
        body = bytes(parser.bytes)
        if header.type != 22 or body[0] != kind:
            raise HangUpError
        self._hashes.update(bytearray(body))
        return Parser(bytearray(body[1:]))

    def _say(self, message: Any) -> None:
        self._hashes.update(message.write())
        self._layer.sendMessageBlocking(message)

    def _say_hello(self, session_id: bytes, *, renegotiation_info: bool) -> None:
        extensions: list[Any] = []
        if renegotiation_info:
            extensions.append(RenegotiationInfoExtension().create(bytearray()))
        if (self._extended() and not (self._resumed and self._has("drops_ems_when_resumed"))) \
                or self._has("ems_unasked"):
            extensions.append(TLSExtension().create(
                ExtensionType.extended_master_secret, bytearray()))
        if self._greased() and self._has("answers_grease"):
            extensions.append(TLSExtension().create(GREASE_EXTENSION, bytearray()))
        self._answer = ServerHello().create(
            self._version, bytearray(secrets.token_bytes(32)), bytearray(session_id), self._suite,
            extensions=extensions or None)
        self._say(self._answer)

    def _derive(self, secret: bytes) -> None:
        self._layer.calcPendingStates(self._suite, bytearray(secret), self._hello.random,
                                      self._answer.random, ["python"])

    def _verify_data(self, secret: bytes, label: bytes) -> Any:
        return calc_key(self._version, bytearray(secret), self._suite, label,
                        handshake_hashes=self._hashes, output_length=12)

    def _say_finished(self, secret: bytes) -> None:
        self._layer.sendMessageBlocking(ChangeCipherSpec().create())
        self._layer.changeWriteState()
        self._say(Finished(self._version).create(self._verify_data(secret, b"server finished")))

    def _hear_finished(self, secret: bytes) -> None:
        header, _ = self._layer.recvMessageBlocking()
        if header.type != 20:
            raise HangUpError
        self._layer.changeReadState()
        expected = self._verify_data(secret, b"client finished")
        if self._hear(20).bytes[3:] != expected:
            self._alert(AlertDescription.decrypt_error)

    def _alert(self, description: int) -> None:
        self._layer.sendMessageBlocking(Alert().create(description, 2))
        raise HangUpError
