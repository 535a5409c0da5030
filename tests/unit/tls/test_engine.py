"""The ordinary engine against real servers on OpenSSL, and against what is no server."""
from __future__ import annotations

import json
import pickle
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint, Outcome
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import (
    Attempt,
    OrdinaryEngine,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import EngineError, Trust
from ansible_collections.emqx.conformance.plugins.module_utils.tls.wire import Interrupted
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.held_ports import refusing_port
from tests.support.openssl_broker import Broker

Brokers = Callable[..., Broker]


def endpoint(port: int, server_name: str = "localhost", name: str = "n1") -> Endpoint:
    return Endpoint(name, "127.0.0.1", port, server_name)


@pytest.fixture
def engine(certificate: tuple[Path, Path]) -> OrdinaryEngine:
    return OrdinaryEngine(Trust(ca_file=str(certificate[0])))


def closed(attempt: Attempt) -> Attempt:
    if attempt.stream is not None:
        attempt.stream.close()
    return attempt


@contextmanager
def peer(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP server that does ``talk`` with its one client."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            talk(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield int(listener.getsockname()[1])
    listener.close()
    thread.join(3)


def test_full_then_resumed_again_and_again(engine: OrdinaryEngine, brokers: Brokers) -> None:
    broker = brokers()
    first = closed(engine.connect(endpoint(broker.port)))
    assert first.handshake.outcome is Outcome.FULL
    assert first.handshake.same_master_secret is None
    assert first.session is not None
    assert first.session.id == first.handshake.server_id
    assert len(first.session.id) == 32
    randoms = {first.handshake.server_random}
    for _ in range(3):
        again = closed(engine.connect(endpoint(broker.port), offer=first.session)).handshake
        assert again.outcome is Outcome.RESUMED
        assert again.offered_id == again.server_id == first.session.id
        assert (again.library_reused, again.wire_abbreviated, again.same_master_secret) == (
            True, True, True)
        assert "Certificate" not in [message.name for message in again.messages]
        assert again.bytes_in < first.handshake.bytes_in
        randoms.add(again.server_random)
    assert len(randoms) == 4


def test_another_node_answers_with_a_full_handshake_and_the_session_survives(
        engine: OrdinaryEngine, brokers: Brokers) -> None:
    home, other = brokers(), brokers()
    session = closed(engine.connect(endpoint(home.port))).session
    away = closed(engine.connect(endpoint(other.port), offer=session)).handshake
    assert away.outcome is Outcome.FULL
    assert away.same_master_secret is False
    assert session is not None
    assert away.offered_id == session.id != away.server_id
    assert closed(engine.connect(endpoint(home.port), offer=session)).handshake.outcome \
        is Outcome.RESUMED


def test_no_ticket_is_offered_so_none_is_issued(
        engine: OrdinaryEngine, certificate: tuple[Path, Path], brokers: Brokers) -> None:
    broker = brokers()
    broker.context.options &= ~ssl.OP_NO_TICKET
    handshake = closed(engine.connect(endpoint(broker.port))).handshake
    assert handshake.outcome is Outcome.FULL
    assert handshake.ticket_issued is False


def test_a_server_without_a_cache_issues_no_resumption(
        engine: OrdinaryEngine, brokers: Brokers) -> None:
    broker = brokers(cache=False)
    session = closed(engine.connect(endpoint(broker.port))).session
    assert session is not None
    again = closed(engine.connect(endpoint(broker.port), offer=session)).handshake
    assert again.outcome is Outcome.FULL


def test_evidence_is_json_and_holds_no_secret(
        engine: OrdinaryEngine, brokers: Brokers) -> None:
    broker = brokers()
    attempt = closed(engine.connect(endpoint(broker.port)))
    assert attempt.session is not None
    text = json.dumps(attempt.handshake.as_dict())
    assert attempt.handshake.server_id.hex() in text
    assert "secret=" not in repr(attempt.session)
    with pytest.raises(TypeError, match="never leaves the process"):
        pickle.dumps(attempt.session.secret)


def test_our_own_alert_is_not_the_targets(brokers: Brokers) -> None:
    broker = brokers()
    handshake = OrdinaryEngine(Trust()).connect(endpoint(broker.port)).handshake
    assert handshake.outcome is Outcome.FAILED
    assert handshake.failure is not None
    assert handshake.failure.cause == "certificate_self_signed"
    assert [alert.raised_by for alert in handshake.alerts] == ["client"]


def test_a_wrong_name_is_told_from_a_wrong_ca(engine: OrdinaryEngine, brokers: Brokers) -> None:
    handshake = engine.connect(endpoint(brokers().port, "elsewhere.example")).handshake
    assert handshake.failure is not None
    assert handshake.failure.cause == "certificate_name_mismatch"


def test_the_targets_alert_is_a_refusal(engine: OrdinaryEngine, brokers: Brokers) -> None:
    broker = brokers()
    broker.context.minimum_version = ssl.TLSVersion.TLSv1_3
    handshake = engine.connect(endpoint(broker.port)).handshake
    assert handshake.outcome is Outcome.REFUSED
    assert [(a.raised_by, a.description) for a in handshake.alerts] == [
        ("target", "protocol_version")]


def test_a_target_that_demands_a_client_certificate_refuses_in_the_handshake(
        engine: OrdinaryEngine, certificate: tuple[Path, Path], brokers: Brokers) -> None:
    broker = brokers()
    broker.context.load_verify_locations(certificate[0])
    broker.context.verify_mode = ssl.CERT_REQUIRED
    assert engine.connect(endpoint(broker.port)).handshake.outcome is Outcome.REFUSED
    own = OrdinaryEngine(Trust(str(certificate[0]), str(certificate[0]), str(certificate[1])))
    assert closed(own.connect(endpoint(broker.port))).handshake.outcome is Outcome.FULL


def test_nobody_there() -> None:
    with refusing_port() as port:
        failure = OrdinaryEngine(Trust()).connect(endpoint(port)).handshake.failure
    assert failure is not None
    assert (failure.stage, failure.cause) == ("connect", "connection_refused")


def test_a_name_that_does_not_resolve() -> None:
    nowhere = Endpoint("n1", "does-not-exist.invalid", 8883, "x")
    failure = OrdinaryEngine(Trust()).connect(nowhere).handshake.failure
    assert failure is not None
    assert (failure.stage, failure.cause) == ("connect", "name_not_resolved")


def _trickle(connection: socket.socket) -> None:
    for byte in b"\x16\x03\x03\x40\x00" + bytes(200):
        try:
            connection.sendall(bytes((byte,)))
        except OSError:
            return
        time.sleep(0.05)


@pytest.mark.parametrize(("talk", "cause"), [
    (lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "not_tls"),
    (lambda connection: connection.recv(4096), "connection_closed"),
    (lambda connection: time.sleep(2), "timeout"),
    (_trickle, "timeout"),
])
def test_a_peer_that_is_no_tls_server(
        talk: Callable[[socket.socket], None], cause: str) -> None:
    with peer(talk) as port:
        handshake = OrdinaryEngine(Trust()).connect(endpoint(port), deadline_s=0.8).handshake
    assert handshake.outcome is Outcome.FAILED
    assert handshake.failure is not None
    assert (handshake.failure.stage, handshake.failure.cause) == ("handshake", cause)


def test_a_run_that_is_stopped_does_not_wait_for_the_deadline() -> None:
    stop = threading.Event()
    with peer(lambda connection: time.sleep(3)) as port:
        threading.Timer(0.3, stop.set).start()
        begun = time.monotonic()
        with pytest.raises(Interrupted):
            OrdinaryEngine(Trust(), stop=stop).connect(endpoint(port), deadline_s=60)
        assert time.monotonic() - begun < 60


@pytest.mark.parametrize(("trust", "says"), [
    (Trust(ca_file="nowhere.pem"), "the CA file nowhere.pem does not exist"),
    (Trust(ca_file=__file__), "cannot be read as PEM certificates"),
    (Trust(cert_file="nowhere.pem", key_file="nowhere.key"),
     "the client certificate nowhere.pem does not exist"),
    (Trust(cert_file=__file__, key_file="nowhere.key"),
     "the client key nowhere.key does not exist"),
    (Trust(cert_file=__file__, key_file=__file__), "cannot be read as a PEM certificate"),
])
def test_bad_files_are_named(trust: Trust, says: str) -> None:
    with pytest.raises(EngineError, match=says):
        OrdinaryEngine(trust)


def test_a_bad_client_key_is_named(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = certificate
    other, encrypted = tmp_path / "other-key.pem", tmp_path / "encrypted-key.pem"
    made = ec.generate_private_key(ec.SECP256R1())
    for path, how in ((other, serialization.NoEncryption()),
                      (encrypted, serialization.BestAvailableEncryption(b"secret"))):
        path.write_bytes(made.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))
    for path, says in (
            (other, (f"the client certificate {cert} and its key {other} cannot be used: key "
                     "values mismatch")),
            (encrypted, f"the client key {encrypted} is encrypted, and nobody is there"),
            (cert, f"the client key {cert} cannot be read as a PEM private key")):
        with pytest.raises(EngineError, match=says):
            OrdinaryEngine(Trust(cert_file=str(cert), key_file=str(path)))
    OrdinaryEngine(Trust(cert_file=str(cert), key_file=str(key))).close()


def test_many_threads_keep_their_secrets_apart(engine: OrdinaryEngine, brokers: Brokers) -> None:
    nodes = [brokers() for _ in range(3)]
    sessions = [closed(engine.connect(endpoint(node.port))).session for node in nodes]
    outcomes: list[tuple[bool, Outcome]] = []

    def offer(issuer: int, redeemer: int) -> None:
        attempt = closed(engine.connect(endpoint(nodes[redeemer].port), offer=sessions[issuer]))
        outcomes.append((issuer == redeemer, attempt.handshake.outcome))

    threads = [threading.Thread(target=offer, args=(i, j))
               for i in range(3) for j in range(3) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == sorted(
        [(True, Outcome.RESUMED)] * 12 + [(False, Outcome.FULL)] * 24)
