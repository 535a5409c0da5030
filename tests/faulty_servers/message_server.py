"""A TLS 1.2 server of tlslite-ng's messages, right unless it is given a fault.

Of its cipher suites ECDHE-RSA-AES128-GCM-SHA256 is preferred to ECDHE-RSA-AES256-GCM-SHA384, and
ECDHE-RSA-AES128-SHA is for clients that prefer it; extended master secret; server_name
acknowledged; the MQTT of :mod:`tests.support.mqtt_broker`. Key exchange, signatures and AES-GCM are
OpenSSL's: in pure Python they were a quarter of what a trial costs.

A fault is a name in FAULTS and one question (``_has``) where it makes a difference.
"""
from __future__ import annotations

import contextlib
import functools
import secrets
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tlslite.constants import (
    AlertDescription,
    CertificateType,
    CipherSuite,
    ECCurveType,
    ExtensionType,
    GroupName,
    SignatureScheme,
)
from tlslite.defragmenter import Defragmenter
from tlslite.errors import BaseTLSException, TLSAbruptCloseError
from tlslite.extensions import RenegotiationInfoExtension, SNIExtension, TLSExtension
from tlslite.handshakehashes import HandshakeHashes
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
    ServerKeyExchange,
)
from tlslite.messagesocket import MessageSocket
from tlslite.utils.cipherfactory import createAESGCM
from tlslite.utils.codec import DecodeError, Parser
from tlslite.x509certchain import X509CertChain

from tests.support.listening import Listening
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
    "silent_when_resuming", "alerts_when_resuming", "alerts_every_fifth",
    "echoes_id_in_full_handshake",
    "other_cipher_when_resuming", "other_secret_when_resuming", "same_random_when_resuming",
    "closes_on_other_versions", "refuses_who_offers_more",
    # MQTT
    "mqtt_dies_when_resumed", "other_node_when_resumed", "other_client_when_resumed",
    "session_of_others_when_resumed",
    # Offers that must be declined.
    "accepts_long_id", "echoes_long_id", "closes_on_long_id", "hangs_on_long_id",
    "forgets_after_long_id", "resumes_with_unoffered_suite", "falls_back_to_unoffered_suite",
    "closes_without_suite", "breaks_when_not_preferred", "resumes_with_preferred_suite",
    "resumes_across_sni",
    "server_name_when_resumed", "accepts_broken_name",
    # Alerts that must end a session.
    "resumes_after_alert", "stays_after_alert", "resumes_after_wrong_finished",
    "accepts_wrong_finished",
    # Declines what it should, and forgets all other sessions with it.
    "forgets_all_after_wrong_finished", "forgets_all_without_suite", "forgets_all_after_unfinished",
    "forgets_all_after_alert", "forgets_all_at_other_version", "forgets_all_under_other_name",
    "forgets_all_without_ems", "forgets_all_with_new_ems",
    # versions
    "speaks_tls11", "resumes_at_other_version", "resumes_older_at_tls12",
    "answers_in_the_sessions_version", "goes_back_to_the_sessions_version",
    # extended master secret
    "no_extended_master_secret", "resumes_without_ems", "falls_back_without_ems",
    "closes_without_ems", "resumes_into_ems", "drops_ems_when_resumed", "drops_ems_in_fallback",
    "ems_unasked", "refuses_without_ems", "declines_ems_sessions",
    # the shape of a ClientHello
    "chokes_on_records", "chokes_on_tiny_records", "chokes_on_segments", "chokes_on_grease",
    "chokes_on_grease_version", "declines_grease_version",
    "declines_records", "declines_segments", "declines_grease", "answers_grease",
    # session IDs and what is spoken
    "repeats_ids", "counts_ids", "short_ids", "half_constant_ids",
    "compresses", "slow_to_resume",
    "short_lifetime", "never_expires", "resuming_prolongs", "small_cache", "never_evicts",
    "evicts_in_the_middle"))
VARIANTS = frozenset((
    "alerts_otherwise_on_long_id", "one_suite", "alerts_without_suite", "ignores_sni",
    "refuses_other_name", "resumes_only_named", "demands_a_name", "knows_localhost_alone"))
"""Other ways to be right."""
LIFETIME_FAULTS = frozenset(("short_lifetime", "never_expires", "resuming_prolongs"))
CACHE_FAULTS = frozenset(("small_cache", "never_evicts"))
SLOW_S = 0.1
"""Longer than a full handshake takes, most of which is keys and certificates."""
LIFETIME_S = 4.0
CACHE_MAX = 20
SUITE = CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
OTHER_SUITE = CipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
OLD_SUITE = CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
TLS11, TLS12 = (3, 2), (3, 3)
GREASE_SUITE, GREASE_EXTENSION, GREASE_VERSION = 0x0A0A, 0x1A1A, (0x5A, 0x5A)
SHORTEST_HELLO = 41
"""Bytes of the shortest ClientHello body (RFC 5246 7.4.1.2)."""
ID_LENGTHS = {"no_session_id": 0, "short_ids": 8, "session_id_of_33_bytes": 33}
GARBAGE = bytes(range(7, 256, 8)) * 8
CONNACK = b"\x20\x03\x00\x00\x00"


class Made(NamedTuple):
    """How a session was made."""

    version: tuple[int, int]
    suite: int
    extended: bool
    name: bytes
    random: bytearray
    """Ours."""


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
                del self[list(self)[
                    self.most // 2 if "evicts_in_the_middle" in self._faults else 0]]

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


@functools.cache
def _key(pem: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


class _AesGcm:
    """AES-GCM as tlslite-ng calls it, by OpenSSL."""

    isBlockCipher, isAEAD = False, True  # noqa: N815 - tlslite-ng's names, and so on
    nonceLength, tagLength = 12, 16  # noqa: N815
    implementation = "openssl"

    def __init__(self, key: bytearray, _implementations: list[str]) -> None:
        self.name = f"aes{8 * len(key)}gcm"
        self._cipher = AESGCM(bytes(key))

    def seal(self, nonce: bytearray, plaintext: bytearray, data: bytearray) -> bytearray:
        return bytearray(self._cipher.encrypt(bytes(nonce), bytes(plaintext), bytes(data)))

    def open(self, nonce: bytearray, ciphertext: bytearray, data: bytearray) -> bytearray | None:
        try:
            return bytearray(self._cipher.decrypt(bytes(nonce), bytes(ciphertext), bytes(data)))
        except InvalidTag:
            return None


class _Layer(MessageSocket):  # type: ignore[misc]
    """tlslite-ng's, with OpenSSL's AES-GCM."""

    @staticmethod
    def _getCipherSettings(suite: int) -> tuple[int, int, Any]:  # noqa: N802 - tlslite-ng's name
        key_length, iv_length, cipher = MessageSocket._getCipherSettings(suite)
        return key_length, iv_length, _AesGcm if cipher is createAESGCM else cipher


class MessageServer(Listening):
    """A server with faults, until :meth:`stop`."""

    ends = (OSError, BaseTLSException, HangUpError)

    def __init__(self, cert_file: Path, key_file: Path, *faults: str, port: int = 0,
                 lifetime_s: float | None = None, cache_max: int | None = None) -> None:
        """Sessions live for ``lifetime_s``, and the newest ``cache_max`` are kept.

        Where that has no end, a fault about it is one of :data:`LIFETIME_S` or :data:`CACHE_MAX`.
        """
        assert set(faults) <= FAULTS | VARIANTS, set(faults) - FAULTS - VARIANTS
        self.faults = set(faults)
        if lifetime_s is None and self.faults & LIFETIME_FAULTS:
            lifetime_s = LIFETIME_S
        if cache_max is None and self.faults & CACHE_FAULTS:
            cache_max = CACHE_MAX
        self.cache = SessionCache(self.faults, lifetime_s, cache_max)
        """Master secrets by session ID."""
        self.made: dict[bytes, Made] = {}
        """By session ID."""
        self.issued = 0
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
        self._other_cache = SessionCache(self.faults, lifetime_s, cache_max)
        self._resumptions: Counter[bytes] = Counter()
        self._begun: Counter[bytes] = Counter()
        self._resumed_now = 0
        self._counting = threading.Lock()
        self.chain = X509CertChain()
        self.chain.parsePemList(cert_file.read_text())
        self.key = _key(key_file.read_text())
        super().__init__(port=port)

    def arrives(self, connection: socket.socket) -> None:
        """Use another cache for every other client, where that is the fault."""
        if "alternates_caches" in self.faults:
            self.cache, self._other_cache = self._other_cache, self.cache

    def talk(self, connection: socket.socket) -> None:
        """Serve a client, in the manner of the faults."""
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
        found = self.cache.find(session_id)
        if found is None and session_id and "forgets_after_near_miss" in self.faults:
            self.cache.clear()
        if found is None and "forgets_when_asked_elsewhere" in self.faults:
            for peer in self.peers:
                peer.cache.pop(session_id, None)
        return found

    def lets_in(self, session_id: bytes) -> bool:
        """Tell whether a session that could be resumed is, and count the resumed connection."""
        if self.faults & {"forgets_at_once", "echoes_id_in_full_handshake"}:
            return False
        if "slow_to_resume" in self.faults:
            time.sleep(SLOW_S)
        if "forgets_after_resumption" in self.faults:
            del self.cache[session_id]
        with self._counting:
            self._resumptions[session_id] += 1
            if "refuses_every_fifth" in self.faults and self._resumptions[session_id] % 5 == 0:
                return False
            if "resumes_eight_at_once" in self.faults and self._resumed_now >= 8:
                return False
            self._resumed_now += 1
            return True

    def is_fifth(self, session_id: bytes) -> bool:
        """Tell whether a session is being resumed for the fifth time, or the tenth, and so on."""
        with self._counting:
            self._begun[session_id] += 1
            return self._begun[session_id] % 5 == 0

    def left(self) -> None:
        """A resumed connection has ended."""
        with self._counting:
            self._resumed_now -= 1

    def new_id(self) -> bytes:
        """Return the ID of a new session."""
        self.issued += 1
        if "counts_ids" in self.faults:
            return self.issued.to_bytes(32, "big")
        if "half_constant_ids" in self.faults:
            return bytes(20) + secrets.token_bytes(12)
        if "repeats_ids" in self.faults and self.issued % 100 == 0:
            return bytes(range(32))
        return secrets.token_bytes(next(
            (length for fault, length in ID_LENGTHS.items() if fault in self.faults), 32))

    def join(self, *others: MessageServer) -> None:
        """Become one cluster."""
        for server in (self, *others):
            server.peers = [peer for peer in (self, *others) if peer is not server]
            if "shares_cache" in self.faults:
                server.cache, server.made = self.cache, self.made


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
        self._layer = _Layer(connection, sorter)
        self._layer.client = False
        self._layer.version = TLS12
        self._hashes = HandshakeHashes()
        self._timeout = 5.0
        self._hello: Any = None
        self._answer: Any = None
        self._version, self._suite = TLS12, SUITE
        self._session_id = b""
        self.resumed = False
        self._in_records = self._in_segments = self._drops_ems = False

    def _has(self, fault: str) -> bool:
        return fault in self._server.faults

    def serve(self) -> None:
        self._look_at_pieces()
        self._hear_hello()
        self._judge_hello()
        offered = bytes(self._hello.session_id)
        secret = self._recall(offered)
        if secret is not None and self._may_resume(offered) and self._server.lets_in(offered):
            self._resume(offered, secret)
        else:
            if offered and secret is None:
                self._stumble_over_unknown_id()
            with self._forgetting_all("forgets_all_after_unfinished"):
                self._exchange_keys()
        self._mqtt()

    @contextlib.contextmanager
    def _forgetting_all(self, fault: str) -> Iterator[None]:
        """Forget all sessions when what is done here comes to nothing."""
        try:
            yield
        except (OSError, BaseTLSException, HangUpError):
            self._forget_all(fault)
            raise

    def _forget_all(self, fault: str) -> None:
        if self._has(fault):
            self._server.cache.clear()

    def _stumble_over_unknown_id(self) -> None:
        if self._has("warns_on_unknown_id"):
            self._layer.sendMessageBlocking(Alert().create(AlertDescription.unrecognized_name, 1))
        if self._has("alerts_on_unknown_id"):
            self._alert(AlertDescription.illegal_parameter)
        if self._has("silent_on_unknown_id"):
            self._hang()

    # -- the ClientHello -------------------------------------------------------------------------

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
            raise HangUpError
        if self._has("closes_on_long_id"):
            raise HangUpError
        if self._has("hangs_on_long_id"):
            self._hang()
        if not self._has("accepts_long_id"):
            self._alert(AlertDescription.illegal_parameter if self._has(
                "alerts_otherwise_on_long_id") else AlertDescription.decode_error)

    def _judge_hello(self) -> None:
        """Refuse who cannot be served, whatever session is offered."""
        if self._has("answers_garbage"):
            self._babble()
        if self._greased() and self._has("chokes_on_grease"):
            self._alert(AlertDescription.illegal_parameter)
        if self._greased_version() and self._has("chokes_on_grease_version"):
            self._alert(AlertDescription.insufficient_security)
        if not self._speaks_tls12() and not self._turns_to_tls11():
            if self._has("closes_on_other_versions"):
                raise HangUpError
            self._alert(AlertDescription.protocol_version)
        self._turns_to_the_sessions_version()
        if self._has("refuses_without_ems") and not self._extended():
            self._alert(AlertDescription.handshake_failure)
        if (self._has("demands_a_name") and not self._name) or (
                self._has("knows_localhost_alone") and self._name not in (b"", b"localhost")):
            self._alert(AlertDescription.unrecognized_name)

    def _speaks_tls12(self) -> bool:
        versions = self._hello.getExtension(ExtensionType.supported_versions)
        if versions is not None and self._has("refuses_who_offers_more"):
            return (3, 4) not in versions.versions
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

    def _extended(self) -> bool:
        """Tell whether the extended master secret is negotiated (RFC 7627)."""
        asked = self._hello.getExtension(ExtensionType.extended_master_secret) is not None
        return asked and not self._drops_ems and not self._has("no_extended_master_secret")

    def _greased(self) -> bool:
        return GREASE_SUITE in self._hello.cipher_suites

    def _greased_version(self) -> bool:
        offered = self._hello.getExtension(ExtensionType.supported_versions)
        return offered is not None and GREASE_VERSION in offered.versions

    @property
    def _name(self) -> bytes:
        names = self._hello.server_name
        return bytes(names or b"")

    # -- whether to resume -----------------------------------------------------------------------

    def _recall(self, offered: bytes) -> bytes | None:
        """Return the master secret of the session that is to resume, if one is."""
        ticket = self._hello.getExtension(ExtensionType.session_ticket)
        if self._has("resumes_by_ticket_only"):
            return self._server.tickets.get(bytes(ticket.ticket)) if ticket is not None else None
        if ticket is not None and self._has("ignores_ids_beside_tickets"):
            return None
        return self._server.find(offered)

    def _may_resume(self, session_id: bytes) -> bool:
        """Tell whether a session goes with this ClientHello."""
        made = self._server.made.get(session_id)
        if made is None:
            return True
        if self._declines() or not self._same_version(made) or not self._same_ems(made) \
                or not self._offers_suite(made) or not self._same_name(made):
            return False
        preferred = self._has("resumes_with_preferred_suite") and (
            SUITE in self._hello.cipher_suites)
        self._suite = SUITE if preferred else made.suite
        return True

    def _declines(self) -> bool:
        return ((self._has("declines_records") and self._in_records)
                or (self._has("declines_segments") and self._in_segments)
                or (self._has("declines_grease") and self._greased())
                or (self._has("declines_grease_version") and self._greased_version()))

    def _same_version(self, made: Made) -> bool:
        if made.version != self._version:
            self._forget_all("forgets_all_at_other_version")
        return made.version == self._version or self._has("resumes_at_other_version") or (
            self._has("resumes_older_at_tls12") and made.version < self._version)

    def _same_ems(self, made: Made) -> bool:
        """Judge what RFC 7627 5.3 asks."""
        if made.extended and not self._extended():
            self._forget_all("forgets_all_without_ems")
        if self._extended() and not made.extended:
            self._forget_all("forgets_all_with_new_ems")
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

    def _offers_suite(self, made: Made) -> bool:
        """Judge what RFC 5246 7.4.1.2 asks."""
        if made.suite not in self._hello.cipher_suites:
            self._forget_all("forgets_all_without_suite")
            if self._has("closes_without_suite"):
                raise HangUpError
            if self._has("alerts_without_suite"):
                self._alert(AlertDescription.illegal_parameter)
            return self._has("resumes_with_unoffered_suite")
        if made.suite != SUITE and SUITE in self._hello.cipher_suites and self._has(
                "breaks_when_not_preferred"):
            self._alert(AlertDescription.handshake_failure)
        return True

    def _same_name(self, made: Made) -> bool:
        """Judge what RFC 6066 3 asks."""
        if self._name not in (b"", made.name):
            self._forget_all("forgets_all_under_other_name")
            if self._has("refuses_other_name"):
                self._alert(AlertDescription.unrecognized_name)
            return self._has("resumes_across_sni") or self._has("ignores_sni")
        return bool(self._name) or not self._has("resumes_only_named")

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
        if header.type == 21 and parser.bytes[0] == 2:
            self._heed_alert()
        if header.type == 21:
            self._layer.sendMessageBlocking(Alert().create(0, 1))
            return b""
        return bytes(parser.bytes)

    def sendall(self, data: bytes, /) -> None:
        """Send application data."""
        self._layer.sendMessageBlocking(ApplicationData().create(bytearray(data)))

    def _heed_alert(self) -> NoReturn:
        """End a connection, and its session (RFC 5246 7.2.2)."""
        self._forget_all("forgets_all_after_alert")
        if not self._has("resumes_after_alert"):
            self._forget()
        if self._has("stays_after_alert"):
            # Open, though the client has ended its side of it.
            self._server.stopped.wait(5)
        raise HangUpError

    def _forget(self) -> None:
        self._server.cache.pop(self._session_id, None)

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

    # -- handshakes ------------------------------------------------------------------------------

    def _choose_suite(self) -> None:
        if self._hello.session_id and self._has("falls_back_to_unoffered_suite"):
            return
        spoken = [SUITE] if self._has("one_suite") else [SUITE, OTHER_SUITE, OLD_SUITE]
        if self._version == TLS11:
            spoken = [OLD_SUITE]
        offered = [suite for suite in self._hello.cipher_suites if suite in spoken]
        if not offered:
            self._alert(AlertDescription.handshake_failure)
        self._suite = OLD_SUITE if offered[0] == OLD_SUITE else min(offered, key=spoken.index)

    def _exchange_keys(self) -> None:
        self._choose_suite()
        session_id, offered = self._server.new_id(), bytes(self._hello.session_id)
        if self._has("echoes_id_in_full_handshake") and offered in self._server.cache:
            session_id = offered
        self._session_id = session_id
        self._say_hello(session_id, renegotiation_info=True)
        if self._has("closes_mid_flight"):
            raise HangUpError
        self._server.made[session_id] = Made(
            self._version, self._suite, self._extended(), self._name, self._answer.random)
        self._say(Certificate(CertificateType.x509, self._version).create(self._server.chain))
        share = ec.generate_private_key(ec.SECP256R1())
        self._say(self._signed(share))
        if self._has("keeps_hello"):
            self._server.cache[session_id] = bytes(48)
        self._say(ServerHelloDone().create())
        premaster = self._premaster(share)
        secret = bytes(calc_key(
            self._version, premaster, self._suite,
            b"extended master secret" if self._extended() else b"master secret",
            handshake_hashes=self._hashes, client_random=self._hello.random,
            server_random=self._answer.random, output_length=48))
        if self._has("keeps_unfinished"):
            self._server.cache[session_id] = secret
        self._derive(secret)
        self._hear_finished(secret)
        if session_id:
            self._server.cache[session_id] = secret
        if self._gives_ticket():
            ticket = secrets.token_bytes(32)
            self._server.tickets[ticket] = secret
            self._say(NewSessionTicket1_0().create(300, bytearray(ticket)))
        self._say_finished(secret)

    def _signed(self, share: ec.EllipticCurvePrivateKey) -> ServerKeyExchange:
        """Return the ServerKeyExchange (RFC 8422 5.4; with MD5 and SHA-1 before TLS 1.2)."""
        message = ServerKeyExchange(self._suite, self._version).createECDH(
            ECCurveType.named_curve, GroupName.secp256r1,
            bytearray(share.public_key().public_bytes(
                serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)))
        message.hashAlg, message.signAlg = SignatureScheme.rsa_pkcs1_sha256
        digest = bytes(message.hash(self._hello.random, self._answer.random))
        message.signature = bytearray(self._server.key.sign(
            digest, padding.PKCS1v15(),
            Prehashed(hashes.SHA256()) if self._version == TLS12 else NoDigestInfo()))
        return message

    def _premaster(self, share: ec.EllipticCurvePrivateKey) -> bytearray:
        message = ClientKeyExchange(self._suite, self._version).parse(self._hear(16))
        try:
            theirs = ec.EllipticCurvePublicKey.from_encoded_point(
                ec.SECP256R1(), bytes(message.ecdh_Yc))
        except ValueError:
            raise HangUpError from None
        return bytearray(share.exchange(ec.ECDH(), theirs))

    def _gives_ticket(self) -> bool:
        return self._has("resumes_by_ticket_only") and not self.resumed and \
            self._hello.getExtension(ExtensionType.session_ticket) is not None

    def _resume(self, session_id: bytes, secret: bytes) -> None:
        self.resumed = True
        self._session_id = session_id
        if self._has("garbage_when_resuming"):
            self._babble()
        if self._has("silent_when_resuming"):
            self._hang()
        if self._has("alerts_when_resuming") or (
                self._has("alerts_every_fifth") and self._server.is_fifth(session_id)):
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
        except TLSAbruptCloseError:
            raise HangUpError from None
        except BaseTLSException:
            if self._has("closes_on_wrong_secret"):
                raise HangUpError from None
            if self._has("hangs_on_wrong_secret"):
                self._hang()
            if not self._has("accepts_wrong_secret"):
                self._forget_all("forgets_all_after_wrong_finished")
                if not self._has("resumes_after_wrong_finished"):
                    self._forget()
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
        random = bytearray(secrets.token_bytes(32))
        if self.resumed and self._has("same_random_when_resuming"):
            random = self._server.made[session_id].random
        self._answer = ServerHello().create(
            self._version, random, bytearray(session_id), self._suite,
            extensions=self._extensions(renegotiation_info=renegotiation_info) or None)
        if self._has("compresses") and 1 in self._hello.compression_methods:
            self._answer.compression_method = 1
        self._say(self._answer)

    def _extensions(self, *, renegotiation_info: bool) -> list[Any]:
        extensions: list[Any] = []
        if renegotiation_info:
            extensions.append(RenegotiationInfoExtension().create(bytearray()))
        # RFC 6066 3: acknowledged in full handshakes, never when resuming.
        if self._name and not self._has("ignores_sni") and (
                not self.resumed or self._has("server_name_when_resumed")):
            extensions.append(SNIExtension())
        if self._gives_ticket():
            extensions.append(TLSExtension().create(ExtensionType.session_ticket, bytearray()))
        if (self._extended() and not (self.resumed and self._has("drops_ems_when_resumed"))) \
                or self._has("ems_unasked"):
            extensions.append(TLSExtension().create(
                ExtensionType.extended_master_secret, bytearray()))
        if self._greased() and self._has("answers_grease"):
            extensions.append(TLSExtension().create(GREASE_EXTENSION, bytearray()))
        return extensions

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
        if self._hear(20).bytes[3:] != expected and not self._has("accepts_wrong_finished"):
            self._alert(AlertDescription.decrypt_error)

    def _alert(self, description: int) -> NoReturn:
        self._layer.sendMessageBlocking(Alert().create(description, 2))
        raise HangUpError

    def _hang(self) -> NoReturn:
        while self._socket.recv(4096):
            pass
        raise HangUpError

    def _babble(self) -> NoReturn:
        self._socket.send(GARBAGE)
        raise HangUpError
