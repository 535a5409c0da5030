"""What a connection costs a device: of real clients behind the relay, and what counts of them."""
from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks import process
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.costs import (
    costs,
    round_trips,
)
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.process import (
    CpuClock,
)
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.words import (
    TOLD,
    Stack,
)
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.credentials import Credentials
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.support.mqtt_broker import MqttBroker

PROGRAM = str(Path(__file__).parents[2] / "support" / "faulty_client.py")


def tried(fault: str, brokers: list[MqttBroker], ca: Path) -> list[dict[str, Any]]:
    """Return the connections of a client that comes twice to the first node, then to the others."""
    route = [Endpoint("n", "127.0.0.1", broker.port, "localhost")
             for broker in (brokers[0], *brokers)]
    run = process.run(
        Stack("client", "A client", (sys.executable, PROGRAM, fault, "")), TOLD, route,
        process.Asked(Trust(str(ca)), Credentials("probe"), 5.0, lambda endpoint: None,
                      threading.Event()))
    return [passed.as_dict() | {"number": number} for number, passed in enumerate(run.passed, 1)]


@pytest.fixture(scope="module")
def connections(certificate: tuple[Path, Path]) -> Iterator[list[dict[str, Any]]]:
    """Those of a client that resumes, with two nodes."""
    brokers = [MqttBroker(*certificate) for _ in range(2)]
    yield tried("none", brokers, certificate[0])
    for broker in brokers:
        broker.stop()


def test_a_resumed_connection_is_a_round_trip_and_many_bytes_cheaper(
        connections: list[dict[str, Any]]) -> None:
    found = costs(connections)
    full, resumed = found["full"], found["resumed"]
    assert (full["count"], full["first"], full["round_trips"]) == (1, False, 2)
    assert (resumed["count"], resumed["first"], resumed["round_trips"]) == (1, False, 1)
    [certificate] = [message["bytes"] for message in connections[2]["messages"]
                     if message["message"] == "Certificate"]
    assert full["bytes_from_node"] - resumed["bytes_from_node"] > certificate
    assert full["bytes_from_client"] > 0 < resumed["bytes_from_client"]
    for cost in (full, resumed):
        assert 0 < cost["connack_ms"] < 10_000
        assert 0 < cost["cpu_ms"] < 10_000


def test_first_connections_count_where_there_are_no_others(
        connections: list[dict[str, Any]]) -> None:
    full = costs(connections[:2])["full"]
    assert (full["count"], full["first"]) == (1, True)
    assert costs(connections[1:2])["full"] is None


@pytest.mark.parametrize("change", [
    {"ticket_offered": 100}, {"version": "tlsv1.3"}, {"answered": False}, {"abbreviated": None}])
def test_what_was_not_resumed_by_session_id_is_none(connections: list[dict[str, Any]],
                                                    change: dict[str, Any]) -> None:
    assert costs([connections[1] | change])["resumed"] is None


def test_time_that_cannot_be_had_is_none(connections: list[dict[str, Any]]) -> None:
    found = costs(one | {"cpu_ms": None} for one in connections)
    assert found["full"]["cpu_ms"] is None
    assert found["full"]["connack_ms"] > 0


def test_a_round_trip_is_a_wait_for_the_node_before_connect() -> None:
    def sent(*senders: str) -> list[dict[str, str]]:
        return [{"from": sender, "message": "Finished"} for sender in senders]

    mqtt = [{"from": "client", "message": "ApplicationData"},
            {"from": "server", "message": "ApplicationData"}]
    assert round_trips([]) == 0
    assert round_trips(sent("client", "server", "server", "client") + mqtt) == 1
    assert round_trips(sent("client", "server", "client", "client", "server") + mqtt) == 2


def test_the_clock_is_that_of_the_process() -> None:
    clock = CpuClock()
    assert clock.read() is None
    busy = subprocess.Popen([sys.executable, "-c", "print(flush=True)\nwhile True: pass"],
                            stdout=subprocess.PIPE)
    try:
        assert busy.stdout is not None
        busy.stdout.readline()
        clock.of(busy.pid)
        before = clock.read()
        assert before is not None
        assert 0 < before < sum(os.times()[:4]) + 60
        while (now := clock.read()) is not None and now <= before:
            pass
        assert now is not None
    finally:
        busy.kill()
        busy.communicate()
    assert clock.read() is None


def test_a_client_that_never_came_costs_nothing(certificate: tuple[Path, Path]) -> None:
    broker = MqttBroker(*certificate)
    try:
        connections = tried("speaks_http", [broker], certificate[0])
    finally:
        broker.stop()
    assert len(connections) == 2
    assert costs(connections) == {"full": None, "resumed": None}
