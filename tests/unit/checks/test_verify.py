"""Whole verifications against brokers on OpenSSL's server side: what is reported is true."""
from __future__ import annotations

import datetime
import itertools
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils import verify as v
from ansible_collections.emqx.conformance.plugins.module_utils.report import terminal
from ansible_collections.emqx.conformance.plugins.module_utils.run.ledger import Ledger
from ansible_collections.emqx.conformance.plugins.module_utils.tolerance import judge as tolerance

from tests.support.costs import never_completed
from tests.support.mqtt_broker import MqttBroker
from tests.support.tcp_balancer import TcpBalancer

Brokers = Callable[..., MqttBroker]
MEASURED = {*(f"CORE-{number:02d}" for number in range(1, 11)),
            *(f"NEG-{number:02d}" for number in range(1, 13)), "SEC-03", "SEC-04",
            "PERF-01"} - {"NEG-06"}
"""What a noisy run measures on nodes of which nothing more is declared than TLS 1.2."""


def by_status(results: dict[str, Any]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for row in results["checks"]:
        found.setdefault(row["id"], Counter())[row["status"]] += 1
    return found


def titles(results: dict[str, Any], *checks: str) -> list[str]:
    of_checks = {row["id"]: row["title"] for row in results["checks"]}
    return [of_checks[check] for check in checks]


def test_three_healthy_nodes(run: Callable[..., Any], brokers: Brokers) -> None:
    nodes = [brokers() for _ in range(3)]
    results = run([node.port for node in nodes])
    assert results["verdict"] == "passed"
    found = by_status(results)
    # OpenSSL does not acknowledge names.
    assert found.pop("NEG-09") == found.pop("PERF-01") == {"info": 3}
    assert found.pop("CORE-03") == found.pop("CORE-04") == {"passed": 6}
    skipped = [row for row in results["checks"] if row["status"] == "skipped"]
    assert {found.pop(row["id"])["skipped"] for row in skipped} == {1}
    assert {row["id"] for row in skipped} >= {
        "NEG-06", "LB-01", "LIFE-01", "LIFE-02", "LIFE-03", "LIFE-04", "LIFE-05"}
    assert not {row["id"] for row in skipped} & MEASURED
    assert found == {check: {"passed": 3}
                     for check in MEASURED - {"NEG-09", "PERF-01", "CORE-03", "CORE-04"}}
    assert [cell["outcome"] for cell in results["matrix"]] == [
        "resumed", "full", "full", "full", "resumed", "full", "full", "full", "resumed"]
    assert all(cell["passed"] for cell in results["matrix"])
    # What was announced is what the nodes themselves counted.
    assert results["budget"]["differences"] == []
    for name, node in zip(("n1", "n2", "n3"), nodes):
        announced = results["budget"]["nodes"][name]
        assert announced["handshakes_announced"] == announced["handshakes_done"] == 396
        # Refused are three versions, a session ID that is too long, a wrong secret, a record that
        # cannot be decrypted and a wrong Finished, a broken name, and a session without its
        # extended master secret; broken off are two handshakes, and 256 for their session IDs.
        assert never_completed(results) == 3 + 1 + 1 + 2 + 1 + 1 + 2 + 256
        # OpenSSL refuses a session's other suites too, and resumes whatever the name.
        assert node.handshakes == 396 - never_completed(results) - 1
        # It forgets a session that somebody offered with a wrong secret.
        assert announced["sessions_announced"] == 56
        assert announced["sessions_made"] == 56 - 1 - 2
    # Handshakes of the crafted client are not timed, and those of PERF-01 but two are not listed.
    assert results["latency"]["full"]["count"] == 3 * (5 + 1 + 1 + 1)
    assert results["latency"]["resumed"]["count"] == 3 * (1 + 2 + 10 + 5 + 1 + 1 + 1 + 1 + 1 + 1)
    assert results["latency"]["resumed"]["bytes_in"] < results["latency"]["full"]["bytes_in"]
    assert results["target"]["product"] == "unknown"
    assert "does not name itself" in results["target"]["how_identified"]


def test_a_target_that_names_itself_is_named(run: Callable[..., Any], brokers: Brokers) -> None:
    text = b"".join(b"\x26" + len(k).to_bytes(2, "big") + k + len(w).to_bytes(2, "big") + w
                    for k, w in ((b"product", b"thing"), (b"version", b"9.1")))
    connack = b"\x20" + bytes((3 + len(text), 0, 0, len(text))) + text
    target = run([brokers(connack=connack).port], max_impact="safe")["target"]
    assert (target["product"], target["version"]) == ("thing", "9.1")


def test_one_node_alone_passes_and_skips_the_pairs(
        run: Callable[..., Any], brokers: Brokers) -> None:
    results = run([brokers().port])
    assert results["verdict"] == "passed"
    assert by_status(results)["CORE-03"] == {"skipped": 1}
    assert "one node" in next(row for row in results["checks"] if row["id"] == "CORE-03")["message"]


def test_no_cache_fails_on_core_02_alone(run: Callable[..., Any], brokers: Brokers) -> None:
    results = run([brokers(cache=False).port for _ in range(2)])
    assert results["verdict"] == "failed"
    found = by_status(results)
    assert {check: found.pop(check) for check in ("CORE-01", "CORE-02", "CORE-08", "CORE-10",
                                                  "SEC-03", "SEC-04")} == {
        "CORE-01": {"passed": 2}, "CORE-02": {"failed": 2}, "CORE-08": {"passed": 2},
        "CORE-10": {"passed": 2},
        "SEC-03": {"passed": 2}, "SEC-04": {"passed": 2}}
    assert all(set(statuses) == {"skipped"} for statuses in found.values())
    # What the plan has no subjects for is skipped once, and all else on both nodes.
    assert {check for check, statuses in found.items() if statuses["skipped"] == 2} == (
        MEASURED - {"CORE-01", "CORE-02", "CORE-08", "CORE-10", "SEC-03", "SEC-04"})
    assert {row["reason"] for row in results["checks"] if row["status"] == "failed"} == {
        "not_resumed"}
    assert not any(cell["passed"] for cell in results["matrix"])


def test_no_cache_is_fine_where_it_is_declared(run: Callable[..., Any], brokers: Brokers) -> None:
    results = run([brokers(cache=False).port for _ in range(2)], cache_scope="none")
    assert results["verdict"] == "passed"
    assert {cell["expected"] for cell in results["matrix"]} == {"full"}
    assert titles(results, "CORE-02", "CORE-03") == [
        "The same node does not resume", "Every other node falls back to a full handshake"]


def test_resuming_where_none_is_declared_fails(run: Callable[..., Any], brokers: Brokers) -> None:
    results = run([brokers().port], cache_scope="none")
    assert results["verdict"] == "failed"
    assert [row["reason"] for row in results["checks"] if row["status"] == "failed"] == ["resumed"]


def test_two_names_for_one_node_are_a_cache_shared_across_nodes(
        run: Callable[..., Any], brokers: Brokers) -> None:
    port = brokers().port
    shared = run([port, port], checks=["CORE"])
    assert shared["verdict"] == "failed"
    assert by_status(shared)["CORE-03"] == {"failed": 2}
    assert "resumed_elsewhere" in shared["headline"]
    messages = {row["message"] for row in shared["checks"] if row["id"] == "CORE-03"}
    assert messages == {
        (f"{there} resumed a session that {here} issued (both use one session cache, as two ports "
         "of nginx do with one ssl_session_cache: if that is meant, set resumption_cache_scope to "
         "cluster)") for here, there in (("n1", "n2"), ("n2", "n1"))}
    declared = run([port, port], cache_scope="cluster")
    assert declared["verdict"] == "passed"
    assert titles(declared, "CORE-02", "CORE-03", "CORE-04") == [
        "The same node resumes", "Every other node resumes",
        "A session resumed elsewhere still resumes at home"]


@pytest.fixture
def lucky_balancer(brokers: Brokers) -> Iterator[TcpBalancer]:
    """One that leads to either of two nodes by chance, and to the same in CORE-01 and CORE-02."""
    nodes = [brokers().port, brokers().port]

    def is_lucky(seed: int) -> bool:
        pick = random.Random(seed)  # noqa: S311
        return pick.choice(nodes) == pick.choice(nodes)

    made = TcpBalancer(nodes, "random", seed=next(filter(is_lucky, itertools.count())))
    yield made
    made.stop()


def test_what_resumes_at_times_may_be_several_nodes(
        run: Callable[..., Any], lucky_balancer: TcpBalancer) -> None:
    results = run([lucky_balancer.port])
    found = {row["id"]: row for row in results["checks"]}
    assert found["CORE-02"]["status"] == "passed"
    for check, status, told in (
            ("CORE-05", "failed", "10 times: it forgets a session that it should keep"),
            ("CORE-07", "warned", "16 connections at once: it does not look the session up for")):
        assert (found[check]["status"], found[check]["reason"]) == (status, "not_resumed")
        assert re.search(
            rf" of {told}[a-z ]*, or about \d separate session caches answer behind its address "
            r"\(a load balancer\?\); if so, give each node's own address, or put this one in the "
            "group load_balancer$", found[check]["message"])


def test_cluster_scope_on_separate_caches_fails(
        run: Callable[..., Any], brokers: Brokers) -> None:
    results = run([brokers().port, brokers().port], cache_scope="cluster")
    assert results["verdict"] == "failed"
    assert {row["reason"] for row in results["checks"] if row["status"] == "failed"} == {
        "not_resumed"}


def test_a_dead_node_is_named_and_all_else_is_measured(
        run: Callable[..., Any], brokers: Brokers) -> None:
    nodes = [brokers() for _ in range(3)]
    nodes[1].stop()
    results = run([node.port for node in nodes])
    assert results["verdict"] == "error"
    assert "n2" in results["headline"]
    assert "connection refused" in results["headline"]
    cells = {(cell["issuer"], cell["redeemer"]): cell for cell in results["matrix"]}
    assert {pair for pair, cell in cells.items() if cell["passed"]} == {
        ("n1", "n1"), ("n3", "n3"), ("n1", "n3"), ("n3", "n1")}
    assert all(cell["reason"] for cell in results["matrix"] if not cell["passed"])
    assert [row["subject"] for row in results["checks"] if row["status"] == "error"] == ["n2"]
    for name, budget in results["budget"]["nodes"].items():
        # What is missing is told, check by check.
        rows = [row for row in results["budget"]["differences"] if row["node"] == name]
        assert budget["handshakes_done"] - budget["handshakes_announced"] == sum(
            row["made"] - row["announced"] for row in rows) < 0
        assert all(row["why"].startswith("it came to ") for row in rows)
    assert results["budget"]["nodes"]["n2"]["handshakes_done"] == 0
    text = "\n".join(line.text for line in terminal.render(results, "reports/x", 200))
    assert re.search(r"\d+ were not made with n2, in \d+ checks that did not come to it", text)
    assert "CORE-03 made 1 of 2 with n1, n3: it came to " in text


def test_a_refused_connect_is_an_error_and_names_the_password(
        run: Callable[..., Any], brokers: Brokers) -> None:
    results = run([brokers(connack=b"\x20\x03\x00\x86\x00").port])
    assert results["verdict"] == "error"
    assert "bad user name or password" in results["headline"]
    assert "resumption_mqtt_password" in results["headline"]


@pytest.mark.parametrize("closes", [False, True])
def test_a_broker_of_mqtt_3_1_1_costs_one_more_connection(
        run: Callable[..., Any], brokers: Brokers, closes: bool) -> None:
    broker = brokers(speaks_v5=False)
    if closes:
        broker.faults.add("closes_on_v5")
    results = run([broker.port])
    assert results["verdict"] == "passed"
    spoken = [handshake["mqtt"] for handshake in results["handshakes"].values()
              if handshake["mqtt"]]
    assert [mqtt["version"] for mqtt in spoken].count("5") == 1
    assert {mqtt["version"] for mqtt in spoken[1:]} == {"3.1.1"}
    budget = results["budget"]["nodes"]["n1"]
    assert budget["handshakes_done"] == budget["handshakes_announced"] + 1
    assert budget["second_tries"] == budget["second_tries_up_to"] == 1
    assert results["budget"]["differences"] == []
    # OpenSSL refuses a session's other suites, besides what is announced to be refused.
    assert broker.handshakes == budget["handshakes_done"] - never_completed(results) - 1


def test_a_broker_that_spoke_mqtt_5_once_is_not_asked_in_3_1_1(
        run: Callable[..., Any], brokers: Brokers) -> None:
    broker = brokers()
    broker.faults.add("answers_once")
    results = run([broker.port])
    assert results["verdict"] == "failed"
    failed = {(row["id"], row["reason"]) for row in results["checks"] if row["status"] == "failed"}
    assert ("CORE-02", "mqtt_failed") in failed
    assert {handshake["mqtt"]["version"] for handshake in results["handshakes"].values()
            if handshake["mqtt"]} == {"5"}


def test_a_broker_that_does_not_speak_the_declared_version_is_an_error(
        run: Callable[..., Any], brokers: Brokers) -> None:
    results = run([brokers(speaks_v5=False).port], mqtt_version="5")
    assert results["verdict"] == "error"
    assert "does not speak MQTT 5" in results["headline"]


def test_a_wrong_ca_is_our_error_and_not_the_targets_failure(
        run: Callable[..., Any], brokers: Brokers) -> None:
    results = run([brokers().port], ca=None)
    assert results["verdict"] == "error"
    assert "certificate_self_signed" in results["headline"]
    assert "resumption_ca" in results["headline"]


def test_a_waived_failure_is_known_until_its_day(
        run: Callable[..., Any], brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> None:
    today = datetime.date(2026, 7, 1)
    monkeypatch.setattr(tolerance, "today_utc", lambda: today)
    port = brokers().port
    waiver = {"id": "CORE-03", "subject": "n1->n2", "why": "one box, two names"}
    results = run([port, port], checks=["CORE-03"],
                  waivers=[{**waiver, "expires": str(today)}])
    assert by_status(results)["CORE-03"] == {"known": 1, "failed": 1}
    known = next(row for row in results["checks"] if row["status"] == "known")
    assert "one box, two names" in known["evidence"]["waiver"]
    late = run([port, port], checks=["CORE-03"], waivers=[
        {**waiver, "expires": str(today - datetime.timedelta(days=1))}])
    assert by_status(late)["CORE-03"] == {"failed": 2}


def test_an_interrupted_run_is_complete_on_paper_and_never_passed(
        run: Callable[..., Any], brokers: Brokers) -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, never answers
        threading.Timer(0.5, stop.set).start()
        begun = time.monotonic()
        results = run([brokers().port, silent.getsockname()[1]], stop=stop, timeout=60.0)
    assert time.monotonic() - begun < 60
    assert results["verdict"] == "error"
    assert results["complete"] is False
    assert "interrupted" in results["headline"]
    assert by_status(results)["CORE-02"] == {"error": 2}
    assert len(results["matrix"]) == 4


def test_a_broken_check_is_an_error_that_names_itself(
        run: Callable[..., Any], brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "record_cell", lambda *_: 1 / 0)
    results = run([brokers().port])
    assert results["verdict"] == "error"
    assert "harness_error" in results["headline"]
    assert "ZeroDivisionError" in results["headline"]


def test_a_rate_limit_is_kept(run: Callable[..., Any], brokers: Brokers) -> None:
    begun = time.monotonic()
    results = run([brokers().port], rate_limit=20.0, checks=["CORE"])
    count = results["budget"]["nodes"]["n1"]["handshakes_done"]
    assert time.monotonic() - begun >= (count - 1) / 20


@pytest.mark.parametrize(("changed", "says"), [
    ({"nodes": []}, "the group emqx is empty"),
    ({"waivers": [{"id": "CORE-02"}]}, r"1 has no why\. .* 1 has no expires\."),
    ({"waivers": [{"id": "CORE-99", "why": "x", "expires": "2030-01-01"}]}, "no check CORE-99"),
    ({"waivers": [{"id": "CORE-02", "why": "x", "expires": "soon"}]}, "soon is no date"),
])
def test_a_request_that_makes_no_sense_is_refused(
        run: Callable[..., Any], changed: dict[str, Any], says: str) -> None:
    with pytest.raises(v.RequestError, match=says):
        run([1], **changed)


def test_the_terminal_keeps_its_width_and_shows_the_matrix(
        run: Callable[..., Any], brokers: Brokers) -> None:
    port = brokers().port
    results = run([port, port])
    announced = sum(node["handshakes_announced"] for node in results["budget"]["nodes"].values())
    assert announced == 2 * 394  # each node has one pair less than among three
    for width in (80, 120):
        lines = [line.text for line in terminal.render(results, "reports/x", width)]
        assert max(map(len, lines)) <= width
        row = next(line for line in lines if line.startswith("n1 "))
        assert row.split() == ["n1", "resumed", "resumed", "!"]
        assert any(line.startswith(f"Budget    {announced} ") for line in lines)
        assert any(line.startswith("Verdict   FAILED: 2 of 4 pairs as expected") for line in lines)


def test_a_wide_matrix_becomes_signs(run: Callable[..., Any], brokers: Brokers) -> None:
    results = run([brokers().port for _ in range(8)], checks=["CORE-03"])
    lines = [line.text for line in terminal.render(results, "reports/x", 60)]
    assert max(map(len, lines)) <= 60
    assert next(line for line in lines if line.startswith("3 n3 ")).split() == [
        "3", "n3", *"--r-----"]
