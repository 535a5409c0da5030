"""A TLS 1.2 server of tlslite-ng's messages, right unless it is given a fault.

One cipher suite (ECDHE-RSA-AES128-GCM-SHA256), an MQTT 5 CONNACK for the first application data.
"""
from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from pathlib import Path
from typing import Any

from tlslite.constants import AlertDescription, CertificateType, CipherSuite, GroupName
from tlslite.defragmenter import Defragmenter
from tlslite.errors import BaseTLSException
from tlslite.extensions import RenegotiationInfoExtension
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

FAULTS = frozenset((
    "alerts_on_unknown_id", "compares_first_half", "forgets_after_near_miss",
    "accepts_wrong_secret", "closes_when_resuming", "closes_on_wrong_secret",
    "hangs_on_wrong_secret", "keeps_hello", "keeps_unfinished",
    "no_renegotiation_info_when_resumed", "warns_on_unknown_id",
    "repeats_ids", "counts_ids", "short_ids", "half_constant_ids",
    "compresses",
    "short_lifetime", "never_expires", "resuming_prolongs", "small_cache", "never_evicts"))
LIFETIME_FAULTS = frozenset(("short_lifetime", "never_expires", "resuming_prolongs"))
CACHE_FAULTS = frozenset(("small_cache", "never_evicts"))
LIFETIME_S = 4.0
CACHE_MAX = 20
SUITE = CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
TLS12 = (3, 3)
CONNACK = b"\x20\x03\x00\x00\x00"


class _HangUpError(Exception):
    """Close this connection."""


class SessionCache(dict[bytes, bytes]):
    """Master secrets by session ID; the oldest goes first, unless there is a fault."""

    def __init__(self, faults: set[str], lifetime_s: float | None, most: int | None) -> None:
        super().__init__()
        self._faults, self.lifetime_s, self.most = faults, lifetime_s, most
        if lifetime_s is not None and "short_lifetime" in faults:
            self.lifetime_s = lifetime_s / 2
        if most is not None and "small_cache" in faults:
            self.most = most // 2
        self._born: dict[bytes, float] = {}
        self._lock = threading.Lock()

    def __setitem__(self, session_id: bytes, secret: bytes) -> None:
        with self._lock:
            super().__setitem__(session_id, secret)
            self._born[session_id] = time.monotonic()
            while self.most is not None and len(self) > self.most and (
                    "never_evicts" not in self._faults):
                del self[next(iter(self))]

    def find(self, session_id: bytes) -> bytes | None:
        """Return the master secret of a session that is not too old."""
        with self._lock:
            secret = self.get(session_id)
            if secret is None or self.lifetime_s is None or "never_expires" in self._faults:
                return secret
            if time.monotonic() - self._born[session_id] >= self.lifetime_s:
                return None
            if "resuming_prolongs" in self._faults:
                self._born[session_id] = time.monotonic()
            return secret


class MessageServer:
    """Listens on a free loopback port until :meth:`stop`."""

    def __init__(self, cert_file: Path, key_file: Path, *faults: str,
                 lifetime_s: float | None = None, cache_max: int | None = None) -> None:
        """Sessions live for ``lifetime_s``, and the newest ``cache_max`` are kept.

        Where that has no end, a fault about it is one of :data:`LIFETIME_S` or :data:`CACHE_MAX`.
        """
        assert set(faults) <= FAULTS
        self.faults = set(faults)
        if lifetime_s is None and self.faults & LIFETIME_FAULTS:
            lifetime_s = LIFETIME_S
        if cache_max is None and self.faults & CACHE_FAULTS:
            cache_max = CACHE_MAX
        self.cache = SessionCache(self.faults, lifetime_s, cache_max)
        """Master secrets by session ID."""
        self.issued = 0
        self.chain = X509CertChain()
        self.chain.parsePemList(cert_file.read_text())
        self.key = parsePEMKey(key_file.read_text(), private=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
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
        with contextlib.suppress(OSError, BaseTLSException, _HangUpError), connection:
            connection.settimeout(5)
            _Connection(self, connection).serve()

    def find(self, session_id: bytes) -> bytes | None:
        """Return the master secret of a session."""
        if "compares_first_half" in self.faults:
            for known, secret in self.cache.items():
                if session_id and known[:16] == session_id[:16]:
                    return secret
        found = self.cache.find(session_id)
        if found is None and session_id and "forgets_after_near_miss" in self.faults:
            self.cache.clear()
        return found

    def new_id(self) -> bytes:
        """Return the ID of a new session."""
        self.issued += 1
        if "counts_ids" in self.faults:
            return self.issued.to_bytes(32, "big")
        if "short_ids" in self.faults:
            return secrets.token_bytes(8)
        if "half_constant_ids" in self.faults:
            return bytes(20) + secrets.token_bytes(12)
        if "repeats_ids" in self.faults and self.issued % 100 == 0:
            return bytes(range(32))
        return secrets.token_bytes(32)

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
        self._hello: Any = None
        self._answer: Any = None

    def _has(self, fault: str) -> bool:
        return fault in self._server.faults

    def serve(self) -> None:
        self._hello = ClientHello().parse(self._hear(1))
        offered = bytes(self._hello.session_id)
        secret = self._server.find(offered)
        if secret is not None:
            self._resume(offered, secret)
        else:
            if offered and self._has("warns_on_unknown_id"):
                self._layer.sendMessageBlocking(Alert().create(100, 1))
            if offered and self._has("alerts_on_unknown_id"):
                self._alert(AlertDescription.illegal_parameter)
            self._exchange_keys()
        self._mqtt()

    def _mqtt(self) -> None:
        while True:
            header, parser = self._layer.recvMessageBlocking()
            if header.type == 21:
                self._layer.sendMessageBlocking(Alert().create(0, 1))
                raise _HangUpError
            if bytes(parser.bytes)[:1] == b"\x10":
                self._layer.sendMessageBlocking(ApplicationData().create(bytearray(CONNACK)))

    def _exchange_keys(self) -> None:
        session_id = self._server.new_id()
        self._say_hello(session_id, renegotiation_info=True)
        self._say(Certificate(CertificateType.x509, TLS12).create(self._server.chain))
        keys = ECDHE_RSAKeyExchange(SUITE, self._hello, self._answer, self._server.key,
                                    [GroupName.secp256r1])
        self._say(keys.makeServerKeyExchange("rsa_pkcs1_sha256"))
        if self._has("keeps_hello"):
            self._server.cache[session_id] = bytes(48)
        self._say(ServerHelloDone().create())
        premaster = keys.processClientKeyExchange(
            ClientKeyExchange(SUITE, TLS12).parse(self._hear(16)))
        secret = bytes(calc_key(
            TLS12, premaster, SUITE, b"master secret", client_random=self._hello.random,
            server_random=self._answer.random, output_length=48))
        if self._has("keeps_unfinished"):
            self._server.cache[session_id] = secret
        self._derive(secret)
        self._hear_finished(secret)
        self._server.cache[session_id] = secret
        self._say_finished(secret)

    def _resume(self, session_id: bytes, secret: bytes) -> None:
        self._say_hello(session_id, renegotiation_info=not self._has(
            "no_renegotiation_info_when_resumed"))
        self._derive(secret)
        if self._has("closes_when_resuming"):
            self._layer.sendMessageBlocking(ChangeCipherSpec().create())
            raise _HangUpError
        self._say_finished(secret)
        try:
            self._hear_finished(secret)
        except BaseTLSException:
            if self._has("closes_on_wrong_secret"):
                raise _HangUpError from None
            if self._has("hangs_on_wrong_secret"):
                while self._socket.recv(4096):
                    pass
                raise _HangUpError from None
            if not self._has("accepts_wrong_secret"):
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
        extensions = [RenegotiationInfoExtension().create(bytearray())] if renegotiation_info \
            else None
        self._answer = ServerHello().create(
            TLS12, bytearray(secrets.token_bytes(32)), bytearray(session_id), SUITE,
            extensions=extensions)
        if self._has("compresses") and 1 in self._hello.compression_methods:
            self._answer.compression_method = 1
        self._say(self._answer)

    def _derive(self, secret: bytes) -> None:
        self._layer.calcPendingStates(SUITE, bytearray(secret), self._hello.random,
                                      self._answer.random, ["python"])

    def _verify_data(self, secret: bytes, label: bytes) -> Any:
        return calc_key(TLS12, bytearray(secret), SUITE, label, handshake_hashes=self._hashes,
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
        if self._hear(20).bytes[3:] != expected:
            self._alert(AlertDescription.decrypt_error)

    def _alert(self, description: int) -> None:
        self._layer.sendMessageBlocking(Alert().create(description, 2))
        raise _HangUpError
