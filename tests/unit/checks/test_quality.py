"""SEC-03 and SEC-04: right servers of three TLS libraries, and one defect at a time."""
from __future__ import annotations

import hashlib
import json
import secrets
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.checks.security import session_ids
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.run import randomness
from ansible_collections.emqx.conformance.plugins.module_utils.run.bench import Bench
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Status, Verdict
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import Prober
from ansible_collections.emqx.conformance.plugins.module_utils.run.story import measured
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.transcript import parse_hello
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.faulty_servers.message_server import MessageServer
from tests.support.mqtt_broker import MqttBroker
from tests.support.openssl_cli import make_identity

CHECKS = {check.id: check for check in catalogue() if check.id in ("SEC-03", "SEC-04")}


@pytest.fixture(scope="module")
def rsa_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed RSA certificate for localhost, and its key."""
    made = make_identity(tmp_path_factory.mktemp("rsa"), "localhost")
    return made.certificate, made.key


Measure = Callable[[int, str], tuple[Verdict, Bench]]


@pytest.fixture
def measure(rsa_certificate: tuple[Path, Path]) -> Iterator[Measure]:
    """Measure a check on a port, at its price."""
    engine = OrdinaryEngine(Trust(str(rsa_certificate[0])))

    def run(port: int, check: str) -> tuple[Verdict, Bench]:
        target = Target({"n1": Endpoint("n1", "127.0.0.1", port, "localhost")},
                        Settings(deadline_s=2.0))
        bench = Bench(Prober(engine, target, threading.Event()))
        assert bench.sessions.fresh("n1").session is not None
        told: list[int] = []
        bench.ledger.on_handshake = told.append
        verdict = measured(CHECKS[check], bench, ("n1",))
        if verdict.status is not Status.ERROR:
            assert told == list(range(2, 2 + CHECKS[check].cost_for(target).total))
        json.dumps(dict(verdict.data))
        return verdict, bench

    yield run
    engine.close()


@pytest.fixture
def message_server(rsa_certificate: tuple[Path, Path]) -> Iterator[Callable[..., MessageServer]]:
    made: list[MessageServer] = []

    def make(*faults: str) -> MessageServer:
        made.append(MessageServer(*rsa_certificate, *faults))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.mark.parametrize("check", sorted(CHECKS))
def test_a_right_server_passes(measure: Measure, check: str,
                               message_server: Callable[..., MessageServer]) -> None:
    verdict, bench = measure(message_server().port, check)
    assert (verdict.status, verdict.reason) == (Status.PASSED, ""), verdict.message
    assert set(verdict.handshakes) <= set(bench.ledger.handshakes)


@pytest.mark.parametrize("check", sorted(CHECKS))
def test_openssl_passes(measure: Measure, rsa_certificate: tuple[Path, Path], check: str) -> None:
    broker = MqttBroker(*rsa_certificate)
    verdict, _ = measure(broker.port, check)
    broker.stop()
    assert (verdict.status, verdict.reason) == (Status.PASSED, ""), verdict.message


@pytest.mark.parametrize(("fault", "check", "examples"), [
    ("short_ids", "SEC-03", True), ("compresses", "SEC-04", False)])
def test_ids_that_are_wrong_are_shown(measure: Measure, fault: str, check: str, examples: bool,
                                      message_server: Callable[..., MessageServer]) -> None:
    verdict, _ = measure(message_server(fault).port, check)
    assert verdict.status in (Status.WARNED, Status.FAILED), verdict.message
    assert bool(verdict.data.get("examples")) is examples


def test_a_server_that_likes_static_rsa_is_told_of(
        measure: Measure, rsa_certificate: tuple[Path, Path]) -> None:
    broker = MqttBroker(*rsa_certificate)
    broker.context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    broker.context.set_ciphers("AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256")
    verdict, bench = measure(broker.port, "SEC-04")
    broker.stop()
    assert (verdict.status, verdict.reason) == (Status.FAILED, "static_rsa"), verdict.message
    assert "AES128-GCM-SHA256, without forward secrecy" in verdict.message
    # The ordinary client offers what the crafted one does, though not in that order.
    assert bench.ledger.handshakes[0].cipher == "AES128-GCM-SHA256"


def test_the_sample_is_counted_and_not_listed(
        measure: Measure, message_server: Callable[..., MessageServer]) -> None:
    server = message_server()
    verdict, bench = measure(server.port, "SEC-03")
    assert len(bench.ledger.handshakes) == 2
    assert bench.ledger.unlisted.handshakes["n1"] == session_ids.SAMPLE - 1
    assert not bench.ledger.unlisted.sessions["n1"]
    assert len(server.cache) == 1  # that of the full handshake before
    assert verdict.data["session_ids"] == session_ids.SAMPLE
    assert verdict.data["compared_with"] == 1


def test_an_id_of_an_earlier_handshake_counts_too() -> None:
    ids = [secrets.token_bytes(32) for _ in range(session_ids.SAMPLE)]
    assert randomness.read(ids, [ids[7]]).repeated == (ids[7],)


def test_a_node_that_is_gone_is_an_error(
        measure: Measure, message_server: Callable[..., MessageServer],
        monkeypatch: pytest.MonkeyPatch) -> None:
    server = message_server()
    real = server.new_id

    def stops_after_some() -> bytes:
        if len(seen := [*range(server.issued)]) == 5:
            server.stop()
        return real() if len(seen) <= 5 else b""

    monkeypatch.setattr(server, "new_id", stops_after_some)
    verdict, _ = measure(server.port, "SEC-03")
    assert verdict.status is Status.ERROR
    assert verdict.reason == "connection_refused"
    assert "of 256)" in verdict.message


# -- Statistics ------------------------------------------------------------------------------

def _hashes(count: int, length: int, start: int = 0) -> list[bytes]:
    """IDs that look random, and are the same in every run of this test."""
    return [hashlib.sha256(str(number).encode()).digest()[:length]
            for number in range(start, start + count)]


@pytest.mark.parametrize("length", [16, 20, 32])
def test_random_ids_are_never_found_wanting(length: int) -> None:
    for run in range(20):
        reading = randomness.read(_hashes(256, length, run * 1000))
        assert not reading.repeated
        assert not reading.steps
        assert reading.independent_bits >= randomness.ENOUGH_BITS


def test_a_nodes_name_and_a_time_before_enough_random_bytes_do_no_harm() -> None:
    ids = [b"node" + (1_700_000_000_000 + 3 * number).to_bytes(8, "big") + tail
           for number, tail in enumerate(_hashes(256, 20))]
    reading = randomness.read(ids)
    assert not reading.steps
    assert 160 <= reading.varying_bits < 180
    assert reading.independent_bits >= randomness.ENOUGH_BITS


@pytest.mark.parametrize("ids", [
    [number.to_bytes(32, "big") for number in range(1, 257)],
    [number.to_bytes(32, "little") for number in range(1000, 1256)],
    [(number * 7919).to_bytes(16, "big") for number in range(256)],
    [(number << 200).to_bytes(32, "big") for number in range(256)],
    [(2**64 - number // 2).to_bytes(32, "big") for number in range(0, 1024, 4)],
    [b"\xff" * 28 + ((number * 3 + 0xFFFFFFF0) % 2**32).to_bytes(4, "big")
     for number in range(256)],
])
def test_counters_are_counters(ids: list[bytes]) -> None:
    assert randomness.read(ids).steps


def _shift_register(state: int, count: int) -> list[bytes]:
    """Draw from a linear generator of 64 bits, as xorshift is."""
    drawn = []
    for _ in range(count):
        words = []
        for _ in range(4):
            state ^= state << 13 & 2**64 - 1
            state ^= state >> 7
            state ^= state << 17 & 2**64 - 1
            words.append(state.to_bytes(8, "big"))
        drawn.append(b"".join(words))
    return drawn


@pytest.mark.parametrize(("ids", "most"), [
    ([bytes(24) + tail for tail in _hashes(256, 8)], 64),
    ([tail * 4 for tail in _hashes(256, 8)], 64),
    (_shift_register(88172645463325252, 256), 64),
    ([bytes(a & b & c for a, b, c in zip(*three)) for three in zip(
        _hashes(256, 32), _hashes(256, 32, 5000), _hashes(256, 32, 9000))], 0),
    ([b"%032d" % int.from_bytes(tail, "big") for tail in _hashes(256, 12)], 127),
    ([(number * 5 % 256).to_bytes(1, "big") * 16 + tail for number, tail in enumerate(
        _hashes(256, 8))], 80),
])
def test_patterns_leave_few_bits(ids: list[bytes], most: int) -> None:
    reading = randomness.read(ids)
    assert not reading.repeated
    assert reading.independent_bits <= most


@pytest.mark.parametrize("length", [1, 2, 8])
def test_short_ids_are_read_without_complaint(length: int) -> None:
    ids: list[bytes] = _hashes(256, length)
    reading = randomness.read(ids)
    assert (reading.shortest, reading.longest) == (length, length)
    assert not reading.steps


def test_nothing_can_be_said_of_nothing() -> None:
    with pytest.raises(ValueError, match="no session ID"):
        randomness.read([])


def test_the_compression_method_is_read_off_the_hello() -> None:
    def server_hello(method: int) -> Any:
        body = b"\x03\x03" + bytes(32) + b"\x00" + b"\xc0\x2f" + bytes((method,))
        return parse_hello(body, client=False)

    assert [server_hello(method).compression for method in (0, 1, 64)] == [(0,), (1,), (64,)]
