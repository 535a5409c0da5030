"""What the crafted client's ClientHello can look like, as it is on the wire, and older versions."""
from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint, Outcome
from ansible_collections.emqx.conformance.plugins.module_utils.tls.crafted import (
    GREASE_EXTENSIONS,
    GREASE_SUITE,
    OLD_SUITES,
    SUITES,
    UNKNOWN_EXTENSIONS,
    Hello,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.crafted.client import (
    CraftedClient,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import (
    CCM_8_LEFT_OUT,
    OrdinaryEngine,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.transcript import (
    EXT_EXTENDED_MASTER_SECRET,
    EXT_RENEGOTIATION_INFO,
    EXT_SUPPORTED_VERSIONS,
    parse_hello,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust
from ansible_collections.emqx.conformance.plugins.module_utils.tls.wire import Deadline, Wire

from tests.support.mqtt_broker import MqttBroker
from tests.support.openssl_cli import make_identity

CLIENT = CraftedClient(Trust())
SUPPORTED_GROUPS, SIGNATURE_ALGORITHMS = 10, 13
_SIGNALLED = 0xFF
"""The suite that signals secure renegotiation (RFC 5746 3.3); OpenSSL 3.5 sends the extension."""
HANDSHAKE_FAILURE = b"\x15\x03\x03\x00\x02\x02\x28"


def at(port: int) -> Endpoint:
    return Endpoint("n1", "127.0.0.1", port, "localhost")


class Ear:
    """What it heard of one client until the ClientHello was whole."""

    def __init__(self) -> None:
        self._heard = b""

    def hear(self, connection: socket.socket) -> None:
        while not self._whole() and (piece := connection.recv(4096)):
            self._heard += piece

    def _whole(self) -> bool:
        message = b"".join(self.records)
        return len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4], "big")

    @property
    def records(self) -> list[bytes]:
        """The payloads of the records that came in whole."""
        data, records = self._heard, []
        while len(data) >= (end := 5 + int.from_bytes(data[3:5], "big")):
            records.append(data[5:end])
            data = data[end:]
        return records


@contextlib.contextmanager
def peer(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Talk with one client."""
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            talk(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def heard(hello: Hello) -> Ear:
    ear = Ear()
    with peer(ear.hear) as port:
        CLIENT.connect(at(port), hello)
    return ear


# -- shape ----------------------------------------------------------------------------------------


def test_records_are_of_the_size_that_was_asked_for() -> None:
    records = heard(Hello(record_size=3)).records
    assert {len(record) for record in records[:-1]} == {3}
    assert len(records) > 40
    hello = parse_hello(b"".join(records)[4:], client=True)
    assert hello.version == "tlsv1.2"


def test_segments_go_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # Seen where they leave: the kernel puts together what waits for a reader that is late.
    pieces: list[bytes] = []

    def send(wire: Wire, data: bytes, deadline: Deadline) -> None:
        with socket.fromfd(wire.fileno(), socket.AF_INET, socket.SOCK_STREAM) as sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        pieces.append(data)
        told(wire, data, deadline)

    told = Wire.send
    monkeypatch.setattr(Wire, "send", send)
    (record,) = heard(Hello(segment_size=5)).records
    assert len(pieces) > 10
    assert {len(piece) for piece in pieces[:-1]} == {5}
    assert b"".join(pieces)[5:] == record


def test_grease_and_unknown_extensions_are_where_rfc_8701_has_them() -> None:
    (record,) = heard(Hello(grease=True, grease_version=True,
                            extensions=UNKNOWN_EXTENSIONS)).records
    hello = parse_hello(record[4:], client=True)
    assert hello.cipher_suites[0] == GREASE_SUITE
    first, last = (kind for kind, _ in GREASE_EXTENSIONS)
    assert (hello.extensions[0], hello.extensions[-1]) == (first, last)
    assert {kind for kind, _ in UNKNOWN_EXTENSIONS} < set(hello.extensions)
    # Groups, signature algorithms and versions.
    for values in (b"\x3a\x3a\x00\x1d", b"\x4a\x4a\x04\x03", b"\x04\x5a\x5a\x03\x03"):
        assert values in record


def test_nothing_of_it_is_there_unless_it_is_asked_for() -> None:
    (record,) = heard(Hello(extended_master_secret=False)).records
    hello = parse_hello(record[4:], client=True)
    assert GREASE_SUITE not in hello.cipher_suites
    assert not {EXT_SUPPORTED_VERSIONS, EXT_EXTENDED_MASTER_SECRET,
                *(kind for kind, _ in GREASE_EXTENSIONS + UNKNOWN_EXTENSIONS)} & set(
                    hello.extensions)


def test_an_older_hello_has_no_signature_algorithms() -> None:
    (record,) = heard(Hello(version=(3, 2))).records
    hello = parse_hello(record[4:], client=True)
    assert hello.version == "tlsv1.1"
    assert SIGNATURE_ALGORITHMS not in hello.extensions


def test_what_a_target_says_before_it_closes_on_the_first_segment_is_heard() -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(5)
        connection.sendall(HANDSHAKE_FAILURE)

    with peer(refuse) as port:
        handshake = CLIENT.connect(at(port), Hello(segment_size=1)).handshake
    assert handshake.outcome is Outcome.REFUSED
    assert handshake.alerts[-1].description == "handshake_failure"


@pytest.mark.parametrize("record_size", [1, 3, 16, None])
@pytest.mark.parametrize("segment_size", [1, 5, None])
def test_openssl_puts_the_pieces_together(brokers: Callable[..., MqttBroker],
                                          record_size: int | None,
                                          segment_size: int | None) -> None:
    # Byte by byte, with the pauses between, it takes a busy machine more than the usual 5 s.
    attempt = CLIENT.connect(at(brokers().port), Hello(
        record_size=record_size, segment_size=segment_size, grease=True,
        grease_version=True), deadline_s=60)
    assert attempt.handshake.outcome is Outcome.FULL, attempt.handshake.why
    assert attempt.stream is not None
    attempt.stream.close()


def _listed(hello: bytes, kind: int) -> set[int]:
    """Return the numbers in an extension that is a list of them."""
    body = hello[4 + 35:][hello[4 + 34]:]
    suites, at = int.from_bytes(body[:2], "big"), 2
    at += suites
    at += 1 + body[at] + 2
    while at < len(body):
        found, length = (int.from_bytes(body[at + of:at + of + 2], "big") for of in (0, 2))
        if found == kind:
            numbers = body[at + 6:at + 4 + length]
            return {int.from_bytes(numbers[of:of + 2], "big") for of in range(0, len(numbers), 2)}
        at += 4 + length
    raise AssertionError(f"no extension {kind}")


def test_both_clients_offer_the_same_as_far_as_tlslite_ng_can(
        certificate: tuple[Path, Path]) -> None:
    ear, ordinary = Ear(), OrdinaryEngine(Trust(str(certificate[0])))
    with peer(ear.hear) as port:
        ordinary.connect(at(port))
    said = ear.records[0], heard(Hello()).records[0]
    ordinary.close()
    full, crafted = (parse_hello(hello[4:], client=True) for hello in said)
    # OpenSSL's names of what tlslite-ng has no cipher for, or not with that hash.
    names = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    names.set_ciphers("ARIA:CAMELLIA:aDSS+SHA256:!AESGCM")
    foreign = {cipher["id"] & 0xFFFF for cipher in names.get_ciphers()}
    weak = {number for name, number in SUITES.items() if CCM_8_LEFT_OUT and name.endswith("CCM8")}
    assert set(full.cipher_suites) - foreign - {_SIGNALLED} == (
        set(crafted.cipher_suites) - weak - {_SIGNALLED})
    for hello in (full, crafted):
        assert _SIGNALLED in hello.cipher_suites or EXT_RENEGOTIATION_INFO in hello.extensions
    for kind in (SUPPORTED_GROUPS, SIGNATURE_ALGORITHMS):
        assert _listed(said[0], kind) == _listed(said[1], kind)


# -- versions and master secrets ------------------------------------------------------------------


@pytest.mark.parametrize(("version", "name"), [
    ((3, 1), "tlsv1"), ((3, 2), "tlsv1.1"), ((3, 3), "tlsv1.2")])
@pytest.mark.parametrize("suite", OLD_SUITES)
def test_openssl_speaks_every_shared_suite_with_both_master_secrets(
        speaking: Callable[[str], MqttBroker], suite: str, version: tuple[int, int],
        name: str) -> None:
    broker = speaking(suite)
    broker.context.minimum_version = ssl.TLSVersion.TLSv1
    for extended in (True, False):
        attempt = CLIENT.connect(at(broker.port), Hello(
            version=version, extended_master_secret=extended))
        handshake = attempt.handshake
        assert (handshake.outcome, handshake.version, handshake.cipher) == (
            Outcome.FULL, name, suite), handshake.why
        assert attempt.session is not None
        assert handshake.extended_master_secret is attempt.session.extended_master_secret \
            is extended
        assert attempt.stream is not None
        attempt.stream.close()


@pytest.mark.parametrize(("version", "ecdsa"), list(itertools.product(
    ((3, 1), (3, 2), (3, 3)), (True, False))))
def test_a_client_certificate_is_shown_at_every_version(
        certificate: tuple[Path, Path], tmp_path: Path, version: tuple[int, int],
        ecdsa: bool) -> None:
    ours = make_identity(tmp_path, "client", ecdsa=ecdsa)
    broker = MqttBroker(*certificate)
    broker.context.set_ciphers("DEFAULT:@SECLEVEL=0")
    broker.context.minimum_version = ssl.TLSVersion.TLSv1
    broker.context.load_verify_locations(ours.certificate)
    broker.context.verify_mode = ssl.CERT_REQUIRED
    client = CraftedClient(Trust(cert_file=str(ours.certificate), key_file=str(ours.key)))
    for extended in (True, False):
        attempt = client.connect(at(broker.port), Hello(
            version=version, extended_master_secret=extended))
        assert attempt.handshake.outcome is Outcome.FULL, attempt.handshake.why
        assert attempt.stream is not None
        attempt.stream.close()
    broker.stop()


def test_the_ordinary_engine_offers_a_session_beside_tls_13_and_only_then(
        brokers: Callable[..., MqttBroker], certificate: tuple[Path, Path]) -> None:
    broker = brokers()
    broker.context.maximum_version = ssl.TLSVersion.TLSv1_3
    engine = OrdinaryEngine(Trust(str(certificate[0])))
    session, seen = None, []
    for versions in (None, ("tlsv1.2", "tlsv1.3"), None):
        attempt = engine.connect(at(broker.port), offer=session, versions=versions)
        seen.append((attempt.handshake.outcome, attempt.handshake.version))
        session = session or attempt.session
        assert session is not None
        assert attempt.handshake.offered_id in (b"", session.id)
        assert attempt.stream is not None
        attempt.stream.close()
    assert seen == [(Outcome.FULL, "tlsv1.2"), (Outcome.FULL, "tlsv1.3"),
                    (Outcome.RESUMED, "tlsv1.2")]
    engine.close()
