"""Clients with faults, each behind the relay: the matrix can say no, and says what is wrong."""
from __future__ import annotations

import ssl
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks import process
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.judge import (
    LOCKED_OUT,
    NEVER,
    NOT_TRIED,
    WHEN_TOLD,
    Judge,
    Row,
    conclusion,
)
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.words import (
    ELSEWHERE,
    HOME,
    TOLD,
    Cell,
    Expected,
    Result,
    Stack,
)
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.credentials import Credentials
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.support.mqtt_broker import MqttBroker

PROGRAM = Path(__file__).parents[2] / "support" / "faulty_client.py"


@dataclass
class ClientLab:
    """Two nodes, and one that nobody is led to, for one judge."""

    certificate: tuple[Path, Path]
    brokers: list[MqttBroker]
    judge: Judge = field(default_factory=lambda: Judge(tuple(
        Expected("client", TOLD, place, result) for place, result in (
            (HOME, Result.RESUMED), (ELSEWHERE, Result.DECLINED)))))
    last: process.Run | None = None

    def run(self, fault: str, extra: str = "", *, name: str = "client") -> list[Cell]:
        """Let a client with a fault connect, and return its cells."""
        row = Row(self.stack(fault, extra, name), TOLD, tuple(
            Endpoint(node, "127.0.0.1", broker.port, "localhost")
            for node, broker in (("n1", self.brokers[0]), ("n1", self.brokers[0]),
                                 ("n2", self.brokers[1]))))
        self.last = process.run(row.stack, TOLD, row.route, self.asked())
        return self.judge.cells(row, self.last, None)

    @staticmethod
    def stack(fault: str, extra: str = "", name: str = "client") -> Stack:
        """Return a stack whose client has the fault."""
        return Stack(name, "A client", (sys.executable, str(PROGRAM), fault, extra))

    def asked(self) -> process.Asked:
        """Return what all clients are asked."""
        return process.Asked(
            Trust(str(self.certificate[0])), Credentials("probe", "a secret"), 5.0,
            lambda endpoint: None, threading.Event())


@pytest.fixture(scope="module")
def lab(certificate: tuple[Path, Path]) -> Iterator[ClientLab]:
    brokers = [MqttBroker(*certificate) for _ in range(3)]
    yield ClientLab(certificate, brokers)
    for broker in brokers:
        broker.stop()


Came = tuple[str, str, str]
"""Result, status and reason of a cell."""


def told(cells: list[Cell]) -> list[Came]:
    return [(cell.result.value, cell.status, cell.reason) for cell in cells]


FELL_BACK = ("declined", "info", "")
RESUMED = ("resumed", "info", "")
FAULTY: list[tuple[str, Came, Came, str, str]] = [
    ("none", RESUMED, FELL_BACK, "", WHEN_TOLD),
    ("knows_nothing", RESUMED, FELL_BACK, "", WHEN_TOLD),
    ("never_offers", ("not_offered", "warned", "not_as_expected"),
     ("not_offered", "warned", "not_as_expected"),
     "offers nothing: a full handshake; expected was resumed, and it is not_offered", NEVER),
    ("claims_it_resumed", ("not_offered", "warned", "not_as_expected"),
     ("not_offered", "warned", "not_as_expected"), "it says itself that it resumed", NEVER),
    ("denies_it_resumed", ("resumed", "warned", "says_otherwise"), FELL_BACK,
     "it says itself that it did not resume", WHEN_TOLD),
    ("closes_without_notice", ("declined", "warned", "not_as_expected"), FELL_BACK,
     "offers its session, is declined, and MQTT works", NEVER),
    ("gives_up_on_fallback", RESUMED, ("locked_out", "failed", "locked_out"),
     "it offered its session, and it closed the connection before MQTT", LOCKED_OUT),
    ("connects_too_often", ("resumed", "warned", "too_many_connections"),
     ("declined", "warned", "too_many_connections"),
     "it made 2 connections more than it was asked for", WHEN_TOLD),
    ("says_nothing", ("resumed", "warned", "says_nothing"), ("declined", "warned", "says_nothing"),
     "it says nothing of its connection 2", WHEN_TOLD),
    ("says_nonsense", ("resumed", "warned", "says_nothing"), ("declined", "warned", "says_nothing"),
     "it prints what is no line of the contract: 'Connected.'", WHEN_TOLD),
    ("crashes", ("not_tried", "skipped", "no_reconnect"), ("not_tried", "skipped", "no_reconnect"),
     "it made 1 of 3 connections; it ended with exit code 1: cannot go on, with ***", NOT_TRIED),
    ("speaks_http", ("not_tried", "skipped", "not_tls"), ("not_tried", "skipped", "not_tls"),
     "the client sent something that is not TLS", NOT_TRIED),
]
"""Fault, what it comes to at home and elsewhere, what is said of the first, and the conclusion."""


@pytest.mark.parametrize("row", FAULTY, ids=[row[0] for row in FAULTY])
def test_a_fault_is_told(lab: ClientLab, row: tuple[str, Came, Came, str, str]) -> None:
    fault, home, elsewhere, says, concluded = row
    cells = lab.run(fault)
    assert told(cells) == [home, elsewhere]
    assert says in " ".join(cell.message for cell in cells)
    assert conclusion(cells) == concluded


def test_an_id_that_no_node_knows_is_told_from_a_session(lab: ClientLab) -> None:
    cells = lab.run("keeps_unknown_id", str(lab.brokers[2].port))
    assert told(cells) == [("unknown_id", "warned", "not_as_expected")] * 2
    assert "it offered a session ID that it was never given" in cells[0].message
    assert conclusion(cells) == NEVER


def test_anothers_id_is_told_and_who_it_was_given_to(lab: ClientLab) -> None:
    assert told(lab.run("none", name="victim"))[0][0] == "resumed"
    assert lab.last is not None
    stolen = lab.last.passed[0].server_id
    cells = lab.run("offers_anothers_id", stolen.hex())
    assert told(cells)[0] == ("locked_out", "failed", "locked_out")
    assert "it offered the session ID that was given to victim told n1, and it " in cells[0].message
    # The node is taken in by the ID, and only whoever has the secret gets through.
    assert lab.last.passed[1].abbreviated
    assert not lab.last.passed[1].established


def test_tickets_are_told_from_session_ids(lab: ClientLab) -> None:
    contexts = [broker.context for broker in lab.brokers[:2]]
    for context in contexts:
        context.options &= ~ssl.OP_NO_TICKET
    try:
        cells = lab.run("sends_ticket")
    finally:
        for context in contexts:
            context.options |= ssl.OP_NO_TICKET
    assert told(cells) == [("ticket", "warned", "not_as_expected"),
                           ("ticket_declined", "warned", "not_as_expected")]
    assert conclusion(cells) == NEVER


def test_another_version_is_told(lab: ClientLab) -> None:
    contexts = [broker.context for broker in lab.brokers[:2]]
    for context in contexts:
        context.maximum_version = ssl.TLSVersion.TLSv1_3
    try:
        cells = lab.run("speaks_tls13")
    finally:
        for context in contexts:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert {cell.result for cell in cells} == {Result.OTHER_VERSION}
    assert "tlsv1.3 was negotiated" in cells[0].message
    assert conclusion(cells) == NOT_TRIED


def test_a_client_that_hangs_is_ended(lab: ClientLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "START_S", -28.0)
    cells = lab.run("hangs")
    assert {cell.result for cell in cells} == {Result.NOT_TRIED}
    assert "it was not done within 2 s" in cells[0].message


def test_a_client_that_is_not_there_is_told(lab: ClientLab) -> None:
    row = Row(Stack("client", "A client", ("/no/such/program",)), TOLD,
              (Endpoint("n1", "127.0.0.1", lab.brokers[0].port, "localhost"),) * 2)
    [cell] = lab.judge.cells(row, process.run(row.stack, TOLD, row.route, lab.asked()), None)
    assert (cell.result, cell.reason) == (Result.NOT_TRIED, "no_connection")
    assert "it cannot be started: /no/such/program: no such file or directory" in cell.message


def test_a_node_that_cannot_be_reached_is_no_clients_fault(lab: ClientLab) -> None:
    lab.brokers[2].stop()
    home = Endpoint("n1", "127.0.0.1", lab.brokers[0].port, "localhost")
    gone = Endpoint("n3", "127.0.0.1", lab.brokers[2].port, "localhost")
    row = Row(lab.stack("none"), TOLD, (home, home, gone))
    cells = lab.judge.cells(row, process.run(row.stack, TOLD, row.route, lab.asked()), None)
    assert told(cells) == [RESUMED, ("not_tried", "skipped", "connection_refused")]
