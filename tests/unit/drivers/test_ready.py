"""A node is asked by CONNECT whether it is ready, and what it is."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import NodeSpec
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.ready import (
    Caller,
    NotReadyError,
)
from ansible_collections.emqx.conformance.plugins.module_utils.identity import (
    Identity,
    from_connack,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.support.openssl_broker import Broker

NAMED = b"\x00\x00\x26" + b"\x00\x07product\x00\x04acme" + b"\x26" + b"\x00\x07version\x00\x031.2"


@pytest.fixture
def caller(certificate: tuple[Path, Path]) -> Iterator[Caller]:
    caller = Caller(Trust(ca_file=str(certificate[0])))
    yield caller
    caller.close()


def node(port: int) -> NodeSpec:
    return NodeSpec("far", "127.0.0.1", port, "localhost")


def told(caller: Caller, port: int) -> Identity:
    return from_connack(caller.connack(node(port)))


def test_a_node_that_names_itself(caller: Caller, brokers: Callable[..., Broker]) -> None:
    body = b"\x00\x00" + bytes((len(NAMED) - 2,)) + NAMED[2:]
    broker = brokers(connack=b"\x20" + bytes((len(body),)) + body)
    identity = told(caller, broker.port)
    assert (identity.product, identity.version, identity.otp_release) == ("acme", "1.2", None)
    assert "CONNACK" in identity.how_identified


def test_a_node_that_does_not(caller: Caller, brokers: Callable[..., Broker]) -> None:
    identity = told(caller, brokers().port)
    assert identity.product == "unknown"
    assert "does not name itself" in identity.how_identified


def test_mqtt_3_1_1_has_no_way_to_tell(caller: Caller, brokers: Callable[..., Broker]) -> None:
    identity = told(caller, brokers(speaks_v5=False, connack=b"\x20\x02\x00\x00").port)
    assert identity.product == "unknown"
    assert "3.1.1" in identity.how_identified


def test_nobody_there(caller: Caller, brokers: Callable[..., Broker]) -> None:
    broker = brokers()
    broker.stop()
    with pytest.raises(NotReadyError, match="connection refused") as caught:
        caller.connack(node(broker.port))
    assert not caught.value.final


class LateBroker(Broker):
    """Thinks for a while about each CONNECT, as one does that asks somebody else first."""

    THINKS_S = 0.8

    def _answer(self, packet: bytes) -> bytes:
        time.sleep(self.THINKS_S)
        return super()._answer(packet)


def test_how_long_a_late_broker_is_waited_for_is_a_setting(certificate: tuple[Path, Path]) -> None:
    broker = LateBroker(*certificate)
    patient, hasty = (Caller(Trust(ca_file=str(certificate[0])), timeout_s=seconds)
                      for seconds in (5.0, 0.3))
    try:
        assert "does not name itself" in told(patient, broker.port).how_identified
        with pytest.raises(NotReadyError, match=(
                r"did not answer CONNECT within the 0\.3 s of resumption_timeout")):
            hasty.connack(node(broker.port))
    finally:
        patient.close()
        hasty.close()
        broker.stop()


def test_a_certificate_that_is_not_trusted_is_told_with_what_helps_and_not_tried_again(
        brokers: Callable[..., Broker]) -> None:
    caller = Caller(Trust())
    try:
        with pytest.raises(NotReadyError, match=(
                r"^self.signed certificate; trusted are those of the system's store, since "
                r"resumption_ca is not set \(resumption_ca must hold this very certificate"),
                ) as caught:
            caller.connack(node(brokers().port))
        assert caught.value.final
    finally:
        caller.close()
