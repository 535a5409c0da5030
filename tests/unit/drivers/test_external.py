"""The external driver: looks, never touches."""
from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import (
    DriverError,
    DriverUnsupported,
    NodeSpec,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.external import (
    ExternalDriver,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.ready import Caller
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import Trust

from tests.support.openssl_broker import Broker

NAMED = b"\x00\x00\x26" + b"\x00\x07product\x00\x04acme" + b"\x26" + b"\x00\x07version\x00\x031.2"


@pytest.fixture
def driver(certificate: tuple[Path, Path]) -> Iterator[ExternalDriver]:
    caller = Caller(Trust(ca_file=str(certificate[0])))
    yield ExternalDriver(caller)
    caller.close()


def node(port: int) -> NodeSpec:
    return NodeSpec("far", "127.0.0.1", port, "localhost")


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "kill", "pause", "resume",
                                  "disconnect", "reconnect"])
def test_it_never_touches(driver: ExternalDriver, verb: str) -> None:
    with pytest.raises(DriverUnsupported, match="external nodes are run by somebody else"):
        getattr(driver, verb)(node(1))


def test_it_reopens_no_listener(driver: ExternalDriver) -> None:
    says = ("the external driver cannot reopen a listener of far with other trust anchors: "
            "somebody else runs them")
    with pytest.raises(DriverUnsupported, match=says):
        driver.reopen(node(1), 2, Path("ca.pem"))
    with pytest.raises(DriverUnsupported, match=says):
        driver.restore(node(1), 2)


def test_a_node_that_names_itself(driver: ExternalDriver,
                                  brokers: Callable[..., Broker]) -> None:
    body = b"\x00\x00" + bytes((len(NAMED) - 2,)) + NAMED[2:]
    broker = brokers(connack=b"\x20" + bytes((len(body),)) + body)
    identity = driver.identify(node(broker.port))
    assert (identity.product, identity.version, identity.otp_release) == ("acme", "1.2", None)
    assert "CONNACK" in identity.how_identified


def test_a_node_that_does_not(driver: ExternalDriver, brokers: Callable[..., Broker]) -> None:
    identity = driver.identify(node(brokers().port))
    assert identity.product == "unknown"
    assert "does not name itself" in identity.how_identified


def test_mqtt_3_1_1_has_no_way_to_tell(driver: ExternalDriver,
                                       brokers: Callable[..., Broker]) -> None:
    broker = brokers(speaks_v5=False, connack=b"\x20\x02\x00\x00")
    identity = driver.identify(node(broker.port))
    assert identity.product == "unknown"
    assert "3.1.1" in identity.how_identified


def test_nobody_there(driver: ExternalDriver, brokers: Callable[..., Broker]) -> None:
    broker = brokers()
    broker.stop()
    identity = driver.identify(node(broker.port))
    assert identity.product == "unknown"
    assert identity.how_identified.startswith("no CONNACK: ")
    with pytest.raises(DriverError, match=r"far .* is not ready: connection refused"):
        driver.wait_ready([node(broker.port)], 0.3)


class LateBroker(Broker):
    """Thinks for a while about each CONNECT, as one does that asks somebody else first."""

    THINKS_S = 0.8

    def _answer(self, packet: bytes) -> bytes:
        time.sleep(self.THINKS_S)
        return super()._answer(packet)


@pytest.mark.parametrize(("timeout_s", "says"), [
    (0.3, r"no CONNACK: .* did not answer CONNECT within the 0\.3 s of resumption_timeout"),
    (5.0, "does not name itself")])
def test_how_long_a_late_broker_is_waited_for_is_a_setting(
        certificate: tuple[Path, Path], timeout_s: float, says: str) -> None:
    broker = LateBroker(*certificate)
    caller = Caller(Trust(ca_file=str(certificate[0])), timeout_s=timeout_s)
    try:
        assert re.search(says, ExternalDriver(caller).identify(node(broker.port)).how_identified)
    finally:
        caller.close()
        broker.stop()


def test_ready(driver: ExternalDriver, brokers: Callable[..., Broker]) -> None:
    driver.wait_ready([node(brokers().port), node(brokers().port)], 2.0)


def test_a_certificate_that_is_not_trusted_is_told_at_once_with_what_helps(
        brokers: Callable[..., Broker]) -> None:
    caller = Caller(Trust())
    try:
        begun = time.monotonic()
        with pytest.raises(DriverError, match=(
                r"is not ready: self.signed certificate; trusted are those of the system's store, "
                r"since resumption_ca is not set \(resumption_ca must hold this very certificate")):
            ExternalDriver(caller).wait_ready([node(brokers().port)], 60.0)
        assert time.monotonic() - begun < 30
    finally:
        caller.close()
