"""Whole verifications of servers that want to hurt them: a report comes out, and a true one."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.report import terminal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.hostile_server import (
    Afterwards,
    Damage,
    Proxy,
    TurnsHostile,
    never_stops,
    says,
    silent,
)
from tests.support.listening import Talk, Talking
from tests.support.mqtt_broker import MqttBroker
from tests.support.openssl_cli import CertifiedKey, make_identity


def is_true(results: dict[str, Any]) -> None:
    """Nothing broke, what was not measured is not passed, and no more was made than announced."""
    broken = [row for row in results["checks"] if row["reason"] in ("harness_error", "interrupted")]
    assert not broken, broken
    assert all(row["reason"] and row["message"] for row in results["checks"]
               if row["status"] in ("failed", "error", "skipped"))
    for made in results["budget"]["nodes"].values():
        most = sum(count for name, count in made.items() if name.endswith("_up_to"))
        assert made["handshakes_done"] <= made["handshakes_announced"] + most


SERVERS: dict[str, Talk] = {
    "HTTP": says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "nothing": silent,
    "an end": says(b"", resets=True),
    "zeros without end": never_stops(bytes(64)),
    "HelloRequests without end": never_stops(b"\x16\x03\x03\x00\x04" + bytes(4)),
}


@pytest.mark.parametrize("what", SERVERS)
def test_nothing_of_a_hostile_server_is_passed(run: Callable[..., Any], what: str) -> None:
    server = Talking(SERVERS[what])
    try:
        results = run([server.port], timeout=0.3)
    finally:
        server.stop()
    is_true(results)
    assert results["verdict"] in ("failed", "error")
    assert results["counts"]["passed"] == 0


@pytest.fixture(scope="module")
def rsa(tmp_path_factory: pytest.TempPathFactory) -> CertifiedKey:
    """An RSA certificate."""
    return make_identity(tmp_path_factory.mktemp("rsa"), "localhost")


@pytest.mark.parametrize("afterwards", [
    Afterwards(23, b"\x26\x00\x01k\x00\x01v" * 20), Afterwards(22, bytes(4)),
    Afterwards(0, b"", raw=b"\xff" * 99)], ids=["properties", "HelloRequests", "garbage"])
def test_a_server_that_turns_hostile_after_each_handshake(
        run: Callable[..., Any], rsa: CertifiedKey, afterwards: Afterwards) -> None:
    server = TurnsHostile(rsa.certificate, rsa.key, afterwards)
    try:
        results = run([server.port], timeout=0.4, ca=str(rsa.certificate))
    finally:
        server.stop()
    is_true(results)
    assert results["verdict"] in ("failed", "error")


_DAMAGES = st.builds(
    Damage, st.one_of(st.integers(0, 200), st.integers(0, 1200)),
    st.sampled_from(["flip", "insert", "drop", "close", "reset", "stall", "endless"]),
    st.sampled_from([b"\xff", b"\x01", b"\x16\x03\x03\x00\x04\x00\x00\x00\x00",
                     b"\x15\x03\x03\x00\x02\x01\x5a", b"\x17\x03\x03\x00\x00"]))


@pytest.fixture(scope="module")
def good(certificate: tuple[Path, Path]) -> Iterator[MqttBroker]:
    """A good server."""
    made = MqttBroker(*certificate)
    yield made
    made.stop()


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


@pytest.mark.parametrize("name", [
    b"a\x00b", b"\x1b]0;title\x07\x1b[2J", b"\x9b31m".decode("latin-1").encode(), b"\r\n::error::x",
    b"<script>alert(1)</script>", b"]]>&<", b"\xff\xfe", "\u202egnp".encode(), b"{{ 7 * 7 }}"])
def test_a_name_that_a_target_gives_itself_does_nothing_to_who_reads_the_report(
        run: Callable[..., Any], certificate: tuple[Path, Path], name: bytes) -> None:
    properties = b"".join(b"\x26" + _string(key) + _string(name)
                          for key in (b"product", b"version", b"note", b"otp_release"))
    # Variable Byte Integers of two bytes.
    body = b"\x00\x00" + bytes((len(properties) % 128 + 128, len(properties) // 128)) + properties
    broker = MqttBroker(*certificate, connack=b"\x20" + bytes(
        (len(body) % 128 + 128, len(body) // 128)) + body)
    try:
        results = run([broker.port], max_impact="safe")
    finally:
        broker.stop()
    assert results["target"]["product"] not in ("", "unknown")
    for line in terminal.render(results, "reports/latest"):
        assert line.text.isprintable()


@settings(deadline=None, max_examples=1 + settings().max_examples // 20,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(damages=st.dictionaries(st.integers(0, 60), _DAMAGES, min_size=1, max_size=4))
def test_a_good_server_some_of_whose_connections_are_damaged(
        run: Callable[..., Any], good: MqttBroker, damages: dict[int, Damage]) -> None:
    proxy = Proxy(good.port, damages.get)
    try:
        results = run([proxy.port], timeout=0.5)
    finally:
        proxy.stop()
    is_true(results)
