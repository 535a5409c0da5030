"""What is told of a handshake is read from its transcript, however it ended."""
from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.model import (
    Alert,
    Endpoint,
    Failure,
    Handshake,
    Outcome,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.crafted import (
    Hello,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.crafted.client import (
    CraftedClient,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.evidence import (
    Begun,
    Ending,
    Witnesses,
    evidence,
    failed,
    refused,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.transcript import Transcript
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.support.openssl_broker import Broker

BEGUN = Begun(Endpoint("n1", "127.0.0.1", 8883, "localhost"), "now", b"offered")
UNKNOWN_CA = b"\x15\x03\x03\x00\x02\x02\x30"
CLOSED = Failure("handshake", "connection_closed", "the target closed the connection")


def told(ending: Ending, *said: bytes) -> Handshake:
    transcript = Transcript()
    for data in said:
        transcript.feed("server", data)
    return evidence(BEGUN, transcript, ending, Witnesses(), cipher=None)


def test_without_a_hello_what_was_to_be_offered_is_told() -> None:
    handshake = told(failed(CLOSED))
    assert (handshake.outcome, handshake.why) == (Outcome.FAILED, CLOSED.detail)
    assert handshake.offered_id == b"offered"
    assert (handshake.version, handshake.compression, handshake.ticket_offered) == (None,) * 3


@pytest.mark.parametrize("said", [(), (UNKNOWN_CA,)])
def test_an_alert_that_only_the_client_could_read_is_told_once(said: tuple[bytes, ...]) -> None:
    handshake = told(refused("unknown_ca"), *said)
    assert handshake.outcome is Outcome.REFUSED
    assert handshake.alerts == (Alert("target", "fatal", "unknown_ca"),)
    assert handshake.failure is not None
    assert handshake.failure.cause == "refused"


def test_both_clients_tell_the_same_of_a_handshake_that_failed(
        certificate: tuple[Path, Path], brokers: Callable[..., Broker]) -> None:
    """The target goes on after its ServerHello until it misses a client certificate."""
    broker = brokers()
    broker.context.load_verify_locations(certificate[0])
    broker.context.verify_mode = ssl.CERT_REQUIRED
    broker.context.maximum_version = ssl.TLSVersion.TLSv1_2
    broker.context.options &= ~ssl.OP_NO_TICKET
    endpoint = Endpoint("n1", "127.0.0.1", broker.port, "localhost")
    engine = OrdinaryEngine(Trust(str(certificate[0])))
    ordinary = engine.connect(endpoint, tickets=True).handshake
    crafted = CraftedClient(Trust()).connect(endpoint, Hello(extensions=((35, b""),))).handshake
    engine.close()
    for handshake in (ordinary, crafted):
        assert (handshake.outcome, handshake.version) == (Outcome.REFUSED, "tlsv1.2")
        assert handshake.extended_master_secret is True
        assert handshake.ticket_offered == 0
        assert handshake.ticket_issued is False
        assert handshake.secure_renegotiation is True
    assert ordinary.alerts == crafted.alerts
    assert ordinary.failure == crafted.failure
