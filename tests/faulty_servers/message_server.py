"""A TLS 1.2 server of tlslite-ng's messages, right unless it is given a fault.

One cipher suite (ECDHE-RSA-AES128-GCM-SHA256), and the MQTT of :mod:`tests.support.mqtt_broker`.

A fault is a name in FAULTS and one question (``_has``) where it makes a difference.
"""
from __future__ import annotations

import contextlib
import itertools
import secrets
import select
import socket
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

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
    NewSessionTicket1_0,
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
    # the cache
    "forgets_at_once", "forgets_after_resumption", "forgets_when_asked_elsewhere", "shares_cache",
    "alternates_caches", "refuses_every_fifth", "resumes_eight_at_once", "resumes_by_ticket_only",
    "ignores_ids_beside_tickets",
    # the answer
    "answers_garbage", "closes_mid_flight", "one_byte_a_second", "no_session_id",
    "session_id_of_33_bytes", "silent_on_unknown_id", "garbage_when_resuming",
    "silent_when_resuming", "alerts_when_resuming", "echoes_id_in_full_handshake",
    "other_cipher_when_resuming", "other_secret_when_resuming", "same_random_when_resuming",
    "closes_on_other_versions", "refuses_who_offers_more",
    # MQTT
    "mqtt_dies_when_resumed", "other_node_when_resumed", "other_client_when_resumed",
    "session_of_others_when_resumed"))
GARBAGE = bytes(range(7, 256, 8)) * 8
OTHER_SUITE = CipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
SUITE = CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
TLS12 = (3, 3)
CONNACK = b"\x20\x03\x00\x00\x00"


class MessageServer:
    """Listens on a free loopback port until :meth:`stop`."""

    def __init__(self, cert_file: Path, key_file: Path, *faults: str, port: int = 0) -> None:
        assert set(faults) <= FAULTS, set(faults) - FAULTS
        self.faults = set(faults)
        self.cache: dict[bytes, bytes] = {}
        """Master secrets by session ID."""
        self.clients = Clients(waits_for_close=True)
        """What it knows of its MQTT clients."""
        self.other_clients = Clients(waits_for_close=True)
        """What another node knows of its own, for a connection that ends up there."""
        if "other_node_when_resumed" in faults:
            self.clients.node_name, self.other_clients.node_name = "one", "another"
        if "other_client_when_resumed" in faults:
            self.other_clients.faults.add("assigns_client_id")
        if "session_of_others_when_resumed" in faults:
            self.other_clients.faults.add("always_present_even_clean")
        self.peers: list[MessageServer] = []
        """The other nodes of its cluster."""
        self.tickets: dict[bytes, bytes] = {}
        """Master secrets by ticket, where there are tickets."""
        self.randoms: dict[bytes, bytearray] = {}
        """Our random in the full handshake, by session ID."""
        self.resumed_now = 0
        """Resumed connections that stand, or are about to."""
        self._other_cache: dict[bytes, bytes] = {}
        self._resumptions = itertools.count(1)
        self._counting = threading.Lock()
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
            if "alternates_caches" in self.faults:
                self.cache, self._other_cache = self._other_cache, self.cache
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, BaseTLSException, HangUpError), connection:
            connection.settimeout(5)
            client = _Connection(self, connection if "one_byte_a_second" not in self.faults
                                 else _Drip(connection))
            try:
                client.serve()
            finally:
                if client.resumed:
                    self.left()

    def find(self, session_id: bytes) -> bytes | None:
        """Return the master secret of a session."""
        if "compares_first_half" in self.faults:
            for known, secret in self.cache.items():
                if session_id and known[:16] == session_id[:16]:
                    return secret
        found = self.cache.get(session_id)
        if found is None and session_id and "forgets_after_near_miss" in self.faults:
            self.cache.clear()
        if found is None and "forgets_when_asked_elsewhere" in self.faults:
            for peer in self.peers:
                peer.cache.pop(session_id, None)
        if found is None or self._refuses_this_one():
            return None
        if "forgets_after_resumption" in self.faults:
            del self.cache[session_id]
        return found

    def _refuses_this_one(self) -> bool:
        if "forgets_at_once" in self.faults:
            return True
        if "refuses_every_fifth" in self.faults:
            return next(self._resumptions) % 5 == 0
        with self._counting:
            if "resumes_eight_at_once" in self.faults and self.resumed_now >= 8:
                return True
            self.resumed_now += 1
            return False

    def left(self) -> None:
        """A resumed connection has ended."""
        with self._counting:
            self.resumed_now -= 1

    def join(self, *others: MessageServer) -> None:
        """Become one cluster."""
        for server in (self, *others):
            server.peers = [peer for peer in (self, *others) if peer is not server]
            if "shares_cache" in self.faults:
                server.cache = self.cache

    def stop(self) -> None:
        """Stop listening."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


class _Drip:
    """A socket that sends a byte a second."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.recv, self.fileno = connection.recv, connection.fileno

    def send(self, data: bytes) -> int:
        """Send one byte."""
        time.sleep(1)
        return self._socket.send(data[:1])


class _Connection:
    """One client."""

    def __init__(self, server: MessageServer, connection: socket.socket | _Drip) -> None:
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
        self._suite = SUITE
        self.resumed = False

    def _has(self, fault: str) -> bool:
        return fault in self._server.faults

    def serve(self) -> None:
        self._hello = ClientHello().parse(self._hear(1))
        if self._has("answers_garbage"):
            self._babble()
        if not self._speaks_tls12():
            if self._has("closes_on_other_versions"):
                raise HangUpError
            self._alert(AlertDescription.protocol_version)
        offered = bytes(self._hello.session_id)
        secret = self._recall(offered)
        if secret is not None and self._has("echoes_id_in_full_handshake"):
            self._exchange_keys(offered)
        elif secret is not None:
            self._resume(offered, secret)
        else:
            if offered and self._has("warns_on_unknown_id"):
                self._layer.sendMessageBlocking(Alert().create(
                    AlertDescription.unrecognized_name, 1))
            if offered and self._has("alerts_on_unknown_id"):
                self._alert(AlertDescription.illegal_parameter)
            if offered and self._has("silent_on_unknown_id"):
                self._say_nothing()
            self._exchange_keys(b"" if self._has("no_session_id") else secrets.token_bytes(
                33 if self._has("session_id_of_33_bytes") else 32))
        self._mqtt()

    def _speaks_tls12(self) -> bool:
        versions = self._hello.getExtension(ExtensionType.supported_versions)
        if versions is not None and self._has("refuses_who_offers_more"):
            return (3, 4) not in versions.versions
        if versions is not None:
            return TLS12 in versions.versions
        return bool(self._hello.client_version >= TLS12)

    def _recall(self, offered: bytes) -> bytes | None:
        """Return the master secret of the session that is to resume, if one is."""
        ticket = self._hello.getExtension(ExtensionType.session_ticket)
        if self._has("resumes_by_ticket_only"):
            return self._server.tickets.get(bytes(ticket.ticket)) if ticket is not None else None
        if ticket is not None and self._has("ignores_ids_beside_tickets"):
            return None
        return self._server.find(offered)

    def _mqtt(self) -> None:
        elsewhere = any(map(self._has, ("other_node_when_resumed", "other_client_when_resumed",
                                        "session_of_others_when_resumed")))
        if not self.resumed:
            MqttClient(self._server.clients, self).serve()
            return
        if self._has("mqtt_dies_when_resumed"):
            self.recv(1)
            raise HangUpError
        MqttClient(self._server.other_clients if elsewhere else self._server.clients,
                   self).serve()

    def _babble(self) -> NoReturn:
        self._socket.send(GARBAGE)
        raise HangUpError

    def _say_nothing(self) -> NoReturn:
        while self._socket.recv(4096):
            pass
        raise HangUpError

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

    def _exchange_keys(self, session_id: bytes) -> None:
        self._say_hello(session_id, renegotiation_info=True)
        if self._has("closes_mid_flight"):
            raise HangUpError
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
        if session_id:
            self._server.cache[session_id] = secret
            self._server.randoms[session_id] = self._answer.random
        if self._gives_ticket():
            ticket = secrets.token_bytes(32)
            self._server.tickets[ticket] = secret
            self._say(NewSessionTicket1_0().create(300, bytearray(ticket)))
        self._say_finished(secret)

    def _gives_ticket(self) -> bool:
        return self._has("resumes_by_ticket_only") and not self.resumed and \
            self._hello.getExtension(ExtensionType.session_ticket) is not None

    def _resume(self, session_id: bytes, secret: bytes) -> None:
        self.resumed = True
        if self._has("garbage_when_resuming"):
            self._babble()
        if self._has("silent_when_resuming"):
            self._say_nothing()
        if self._has("alerts_when_resuming"):
            self._alert(AlertDescription.internal_error)
        if self._has("other_cipher_when_resuming"):
            self._suite = OTHER_SUITE
        if self._has("other_secret_when_resuming"):
            secret = bytes(48)
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
                self._say_nothing()
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
        extensions = [RenegotiationInfoExtension().create(bytearray())] if renegotiation_info \
            else None
        random = bytearray(secrets.token_bytes(32))
        if self.resumed and self._has("same_random_when_resuming"):
            random = self._server.randoms[session_id]
        if self._gives_ticket():
            extensions = [*(extensions or []), TLSExtension().create(
                ExtensionType.session_ticket, bytearray())]
        self._answer = ServerHello().create(
            TLS12, random, bytearray(session_id), self._suite, extensions=extensions)
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
            raise HangUpError
        self._layer.changeReadState()
        expected = self._verify_data(secret, b"client finished")
        if self._hear(20).bytes[3:] != expected:
            self._alert(AlertDescription.decrypt_error)

    def _alert(self, description: int) -> NoReturn:
        self._layer.sendMessageBlocking(Alert().create(description, 2))
        raise HangUpError
