"""Rates, and targets that turn connections away: what is waited for and what is a failure."""
from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.model import (
    Endpoint,
    Failure,
    Handshake,
    Outcome,
)
from ansible_collections.emqx.conformance.plugins.module_utils.report import terminal
from ansible_collections.emqx.conformance.plugins.module_utils.run import pace
from ansible_collections.emqx.conformance.plugins.module_utils.run.pace import Pace

from tests.support.gatekeepers import (
    ImpatientBroker,
    NoResumptionBroker,
    RateLimitingBroker,
    WatchedBroker,
)

SAFE: dict[str, Any] = {"max_impact": "safe", "tls_versions": []}


@pytest.fixture
def start(certificate: tuple[Path, Path]) -> Iterator[Callable[..., Any]]:
    """Start brokers that end with the test."""
    started: list[WatchedBroker] = []

    def go(kind: type[WatchedBroker], **options: Any) -> WatchedBroker:
        started.append(kind(*certificate, **options))
        return started[-1]

    yield go
    for broker in started:
        broker.stop()


def wrong(results: dict[str, Any]) -> dict[str, str]:
    return {row["id"]: row["reason"] for row in results["checks"]
            if row["status"] in ("failed", "error")}


def test_a_rate_is_kept_by_many_threads() -> None:
    paced, stop, came = Pace(50), threading.Event(), []

    def come() -> None:
        for _ in range(5):
            paced.wait(stop)
            came.append(time.monotonic())

    threads = [threading.Thread(target=come) for _ in range(4)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - begun >= 19 / 50
    assert len(came) == 20
    assert paced.slowed_to is None


def test_backing_off_halves_the_rate_once_for_all_that_came_together() -> None:
    paced, stop = Pace(None), threading.Event()
    for _ in range(20):
        paced.wait(stop)
    for _ in range(4):
        paced.back_off(0.3)
    assert paced.slowed_to == pytest.approx(10)
    begun = time.monotonic()
    paced.wait(stop)
    assert time.monotonic() - begun >= 0.29


def test_nobody_is_slowed_down_below_what_is_asked_for() -> None:
    paced = Pace(0.5)
    paced.back_off(0)
    assert paced.slowed_to == pytest.approx(0.5)


@pytest.mark.parametrize("resets", [False, True])
def test_a_target_that_limits_rates_is_measured_slowly(
        run: Callable[..., Any], start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, *,
        resets: bool) -> None:
    monkeypatch.setattr(pace, "_PAUSES_S", (0.8, 0.8, 0.8))
    broker = start(RateLimitingBroker, per_second=8, resets=resets)
    results = run([broker.port], rate_limit=20.0, **SAFE)
    assert wrong(results) == {}
    assert results["verdict"] == "passed"
    assert broker.turned_away > 0
    budget = results["budget"]["nodes"]["n1"]
    assert budget["turned_away"] > 0
    # Counted there is what was announced, and what is said to have come on top.
    assert budget["repeated"] > 0
    assert budget["controls"] > 0
    assert len(broker.came) + broker.turned_away == budget["handshakes_done"] == (
        budget["handshakes_announced"] + budget["controls"] + budget["repeated"])
    assert results["budget"]["differences"] == []
    spent = " ".join(" ".join(line.text for line in terminal.render(results, "x")).split())
    assert (f"and {budget['controls']} more to tell why connections were cut off and "
            f"{budget['repeated']} more since connections were turned away") in spent
    (note,) = [note for note in results["notes"] if "turned" in note]
    assert note.startswith(f"n1 turned {budget['turned_away']} connection")
    assert "the run paused and went on at " in note


def test_hanging_up_on_offered_sessions_is_no_rate_limit(
        run: Callable[..., Any], start: Callable[..., Any]) -> None:
    broker = start(NoResumptionBroker)
    results = run([broker.port], **SAFE)
    assert results["verdict"] == "failed"
    (check, reason), = wrong(results).items()
    assert check == "CORE-02"
    assert reason in ("connection_closed", "connection_reset")
    assert "while 3 connections without a session right after it were served" in results["headline"]
    budget = results["budget"]["nodes"]["n1"]
    # In CORE-10 too: a client that also offers TLS 1.3 sends an ID (RFC 8446 D.4).
    assert (budget["turned_away"], budget["controls"], budget["repeated"]) == (0, 2 * 3, 0)
    assert not [note for note in results["notes"] if "turned" in note]


def test_a_target_that_stays_shut_is_not_said_to_fail(
        run: Callable[..., Any], start: Callable[..., Any],
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_PAUSES_S", (0.1, 0.1))
    broker = start(RateLimitingBroker, per_second=4, shut_s=3600)
    results = run([broker.port], **SAFE)
    assert results["verdict"] == "error"
    assert set(wrong(results).values()) == {"turned_away"}
    message = next(row["message"] for row in results["checks"] if row["reason"] == "turned_away")
    assert ("before a single byte and time after time, as it did to clients without a session (set "
            "resumption_rate_limit below the rate of connections that it allows)") in message


@dataclass(frozen=True)
class Tried:
    """A connection."""

    handshake: Handshake


def cut_off() -> Handshake:
    failure = Failure("handshake", "connection_closed", "the target closed the connection")
    return Handshake(Endpoint("n1", "h", 1, "h"), "", Outcome.FAILED, failure.detail,
                     failure=failure)


@pytest.mark.parametrize(("control", "cause"), [
    # While it serves others it is the session, until nobody asks any more.
    (Handshake(Endpoint("n1", "h", 1, "h"), "", Outcome.FULL, "served", bytes_in=1),
     "cut_off_undecided"),
    (cut_off(), "turned_away")])
def test_no_more_is_asked_than_was_announced(
        monkeypatch: pytest.MonkeyPatch, control: Handshake, cause: str) -> None:
    monkeypatch.setattr(pace, "_PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(pace, "_SLOWEST", 1e6)
    most, beyond, causes = 8, [], []

    def asked() -> Handshake:
        beyond.append(control)
        return control

    paced = Pace(None, most=most)
    for _ in range(9):
        made = paced.patiently(lambda: Tried(cut_off()), control=asked, repeated=beyond.append,
                               stop=threading.Event())
        causes.append(made.handshake.failure.cause if made.handshake.failure else "")
    assert len(beyond) == most
    assert causes[-1] == cause
    assert set(causes[:2]) == ({"connection_closed"} if cause != "turned_away" else {cause})


@pytest.mark.parametrize("impact", ["safe", "noisy"])
def test_clients_that_send_no_connect_may_be_hung_up_on(
        run: Callable[..., Any], start: Callable[..., Any], impact: str) -> None:
    nodes = [start(ImpatientBroker) for _ in range(2)]
    results = run([node.port for node in nodes], max_impact=impact, rate_limit=50.0)
    assert wrong(results) == {}
    assert results["verdict"] == "passed"
    assert [node.hung_up for node in nodes] == [0, 0]


def test_what_a_client_gets_that_pins_no_version(
        run: Callable[..., Any], start: Callable[..., Any]) -> None:
    both, one = start(WatchedBroker), start(WatchedBroker)
    both.context.maximum_version = ssl.TLSVersion.TLSv1_3
    results = run([both.port, one.port], **SAFE)
    assert results["verdict"] == "passed"
    rows = {row["subject"]: row for row in results["checks"] if row["id"] == "CORE-10"}
    assert (rows["n1"]["status"], rows["n1"]["reason"]) == ("info", "not_tls_1_2")
    assert rows["n1"]["data"]["version"] == "tlsv1.3"
    assert rows["n1"]["message"].startswith(
        f"n1: a client that pins no version gets tlsv1.3 with {rows['n1']['data']['cipher']}, "
        "where no session ID resumes")
    assert rows["n2"]["status"] == "passed"
    assert rows["n2"]["data"]["version"] == "tlsv1.2"
    assert rows["n1"]["message"] in " ".join(
        " ".join(line.text for line in terminal.render(results, "x")).split())
    for name, node in (("n1", both), ("n2", one)):
        budget = results["budget"]["nodes"][name]
        assert len(node.came) == budget["handshakes_announced"] == budget["handshakes_done"]
