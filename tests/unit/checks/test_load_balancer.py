"""LB-01 through small balancers, what CORE-02 says of them, and the numbers behind both."""
from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils import verify as v
from ansible_collections.emqx.conformance.plugins.module_utils.checks import load_balancer
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.checks.core.resuming import DIAGNOSIS
from ansible_collections.emqx.conformance.plugins.module_utils.checks.load_balancer import (
    DEVICES,
    FEWER_DEVICES,
    PLACED,
)
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.report import terminal
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Impact, Registry
from ansible_collections.emqx.conformance.plugins.module_utils.run.plan import make_plan
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import (
    Balancer,
    Settings,
    Target,
)

from tests.support.held_ports import refusing_port
from tests.support.mqtt_broker import MqttBroker
from tests.support.tcp_balancer import TcpBalancer

Brokers = Callable[..., MqttBroker]
Start = Callable[..., TcpBalancer]
SEED = 1
"""With it 19 of 60 devices come back to their node of 3 in turn."""
CHECKS = ("CORE-01", "CORE-02", "CORE-03", "LB-01")


@pytest.fixture(autouse=True)
def a_few_checks_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run what LB-01 has to do with, and let devices come back in an order that can be repeated."""
    some = Registry()
    for check in catalogue():
        if check.id in CHECKS:
            some.add(check)
    monkeypatch.setattr(v, "catalogue", lambda: some)
    monkeypatch.setattr(load_balancer, "_shuffle", random.Random(SEED).shuffle)  # noqa: S311


@pytest.fixture
def run(run: Callable[..., Any]) -> Callable[..., Any]:
    """Verify, and wait for slow machines: what is late here is no finding."""
    return functools.partial(run, timeout=20.0)


@pytest.fixture
def balance() -> Iterator[Start]:
    """Start balancers that end with the test."""
    started: list[TcpBalancer] = []

    def start(ports: list[int], mode: str, **options: int) -> TcpBalancer:
        started.append(TcpBalancer(ports, mode, **options))
        return started[-1]

    yield start
    for balancer in started:
        balancer.stop()


@pytest.fixture
def through(run: Callable[..., Any], brokers: Brokers, balance: Start) -> Callable[..., Any]:
    """Verify brokers behind a balancer of a mode, and return the results."""

    def go(mode: str, affinity: str | None = None, *, nodes: int = 3, hidden: int = 0,
           names: bool = False, **changed: Any) -> dict[str, Any]:
        ports = []
        for number in range(1, nodes + hidden + 1):
            broker = brokers()
            broker.node_name = f"n{number}" if names else ""
            ports.append(broker.port)
        balancer = balance(ports, mode)
        results: dict[str, Any] = run(ports[:nodes], load_balancers=[{
            "name": "lb1", "host": "127.0.0.1", "port": balancer.port,
            "server_name": "localhost", "affinity": affinity}], **changed)
        results["seen"] = dict(balancer.connections)
        return results

    return go


def row(results: dict[str, Any], check: str = "LB-01") -> dict[str, Any]:
    """Return the check's only finding."""
    [found] = [row for row in results["checks"] if row["id"] == check]
    return dict(found)


# -- judged ----------------------------------------------------------------------------------

@pytest.mark.parametrize(("mode", "declared", "status", "reason"), [
    ("session_id", "session_id", "passed", ""),
    ("source", "session_id", "passed", ""),
    ("source", "source", "passed", ""),
    ("round_robin", "none", "passed", ""),
    ("random", "none", "passed", ""),
    ("round_robin", "session_id", "failed", "affinity_lost"),
    ("broken_session_id", "session_id", "failed", "affinity_lost"),
    ("random", "source", "failed", "affinity_lost"),
    ("session_id", "source", "failed", "not_by_source"),
    ("session_id", "none", "failed", "rate_disagrees"),
    ("source", "none", "failed", "rate_disagrees"),
])
def test_a_declared_affinity_is_judged(through: Callable[..., Any], mode: str, declared: str,
                                       status: str, reason: str) -> None:
    results = through(mode, declared)
    found = row(results)
    assert (found["status"], found["reason"]) == (status, reason), found["message"]
    assert f"{found['data']['resumed']} of {DEVICES}; 95 % interval" in found["message"]
    assert results["verdict"] == ("passed" if status == "passed" else "failed")


# -- told ------------------------------------------------------------------------------------

def test_without_a_declared_affinity_all_figures_are_told(through: Callable[..., Any]) -> None:
    results = through("round_robin")
    found = row(results)
    data = found["data"]
    assert (found["status"], found["reason"]) == ("info", "undeclared")
    assert (data["affinity_seen"], data["affinity_declared"]) == ("none", None)
    assert data["rate_95"][0] < 1 / 3 < data["rate_95"][1]
    assert data["implied_caches_95"][0] < 3 < data["implied_caches_95"][1]
    assert data["caches_found"] == 3
    assert sorted(data["landed"].values()) == [6, 7, 7]  # they take turns
    assert "about 1 in 3 resumes" in found["message"]
    assert "landed on 3 caches: n1 7, n2 7, n3 6 (found by resuming there)" in found["message"]
    assert results["load_balancers"][0]["name"] == "lb1"
    assert "lb1" not in {cell["issuer"] for cell in results["matrix"]}


def test_a_session_is_pinned_and_its_source_is_not(through: Callable[..., Any]) -> None:
    found = row(through("session_id"))
    assert found["data"]["affinity_seen"] == "session_id"
    assert found["data"]["caches_found"] == 3
    assert "all resume (60 of 60; 95 % interval 94 to 100 %)" in found["message"]
    assert "sessions are pinned and not sources" in found["message"]


def test_a_node_that_the_inventory_does_not_know_is_warned_of(
        through: Callable[..., Any]) -> None:
    found = row(through("round_robin", nodes=2, hidden=1))
    assert (found["status"], found["reason"]) == ("warned", "unknown_node")
    assert found["data"]["landed_elsewhere"] in (6, 7)
    assert found["data"]["caches_found"] == 3
    assert "on no node of the inventory" in found["message"]


def test_nodes_that_cannot_be_asked_are_named_and_the_rest_is_told(
        through: Callable[..., Any], run: Callable[..., Any], brokers: Brokers,
        balance: Start) -> None:
    behind, silent = brokers(), brokers()
    balancer = balance([behind.port], "round_robin")
    silent.stop()
    results = run([silent.port], load_balancers=[{
        "name": "lb1", "host": "127.0.0.1", "port": balancer.port, "server_name": "localhost"}])
    found = row(results)
    assert (found["status"], found["data"]["landed"]) == ("info", None)
    assert "n1" in found["data"]["nodes_not_asked"]
    assert "Which node a connection lands on cannot be told (n1" in found["message"]


def test_a_balancer_that_cannot_be_reached_is_one_clear_error(
        run: Callable[..., Any], brokers: Brokers) -> None:
    with refusing_port() as port:
        results = run([brokers().port], load_balancers=[{
            "name": "lb1", "host": "127.0.0.1", "port": port, "server_name": "localhost"}])
    found = row(results)
    assert (found["status"], found["reason"]) == ("error", "connection_refused")
    assert f"lb1 (127.0.0.1:{port})" in found["message"]
    assert results["verdict"] == "error"


# -- a single node's address -----------------------------------------------------------------

def test_one_node_has_one_cache(run: Callable[..., Any], brokers: Brokers) -> None:
    broker = brokers()
    broker.node_name = "the one"
    found = row(run([broker.port]))
    assert (found["status"], found["subject"]) == ("info", "n1")
    assert found["data"]["caches_found"] == 1
    assert found["data"]["named"] == {"the one": 2 * FEWER_DEVICES}


def test_a_balancer_given_as_a_node_is_told_from_one(
        run: Callable[..., Any], brokers: Brokers, balance: Start) -> None:
    balancer = balance([brokers().port for _ in range(3)], "round_robin")
    results = run([balancer.port])
    assert results["verdict"] == "failed"
    home = row(results, "CORE-02")
    assert (home["status"], home["reason"]) == ("failed", "not_resumed")
    assert ("n1 is not one node: about 3 separate session caches answer behind its address (a load "
            "balancer?)" in home["message"])
    assert f"did on 4 of {DIAGNOSIS} more connections" in home["message"]
    assert "put this one in the group load_balancer" in home["message"]
    found = row(results)
    assert (found["status"], found["data"]["landed"]) == ("info", None)
    assert found["data"]["implied_caches_95"][0] < 3 < found["data"]["implied_caches_95"][1]
    budget = results["budget"]["nodes"]["n1"]
    assert budget["diagnoses"] == budget["diagnoses_up_to"] == DIAGNOSIS
    assert "CORE-02" not in {one["check"] for one in results["budget"]["differences"]}
    assert budget["handshakes_done"] == budget["handshakes_announced"] + DIAGNOSIS


def test_names_count_caches_where_nodes_tell_them(
        run: Callable[..., Any], brokers: Brokers, balance: Start) -> None:
    behind = [brokers() for _ in range(3)]
    for number, broker in enumerate(behind, 1):
        broker.node_name = f"e{number}"
    found = row(run([balance([broker.port for broker in behind], "session_id").port]))
    assert found["data"]["caches_found"] == 3
    assert set(found["data"]["named"]) == {"e1", "e2", "e3"}
    assert "as the nodes name themselves" in found["message"]


def test_a_cache_that_is_off_is_not_taken_for_a_balancer(
        run: Callable[..., Any], brokers: Brokers) -> None:
    results = run([brokers(cache=False).port])
    home = row(results, "CORE-02")
    assert "is not one node" not in home["message"]
    assert (f"and on {DIAGNOSIS} more connections too: its cache is off (EMQX: reuse_sessions = "
            "false; nginx: ssl_session_cache none) or forgets") in home["message"]
    assert "none resumes" in row(results)["message"]


def test_several_nodes_without_a_balancer_are_not_asked(
        run: Callable[..., Any], brokers: Brokers) -> None:
    results = run([brokers().port, brokers().port])
    found = row(results)
    assert (found["status"], found["reason"]) == ("skipped", "precondition")
    assert "no group load_balancer" in found["message"]


# -- what it costs ---------------------------------------------------------------------------

@pytest.mark.parametrize("mode", ["round_robin", "session_id"])
def test_what_is_announced_is_made(through: Callable[..., Any], mode: str) -> None:
    results = through(mode)
    at_balancer = results["budget"]["load_balancers"]["lb1"]
    assert at_balancer["handshakes_done"] == at_balancer["handshakes_announced"] == sum(
        results["seen"].values()) == 2 * DEVICES
    assert at_balancer["sessions_made"] <= at_balancer["sessions_announced"]
    for node in results["budget"]["nodes"].values():
        assert node["handshakes_done"] == node["handshakes_announced"] == 2 + 2 + PLACED


def _target(affinity: str | None = None, **settings: Any) -> Target:
    nodes = {f"n{number}": Endpoint(f"n{number}", "h", number, "h") for number in (1, 2, 3)}
    return Target(nodes, Settings(**settings), balancers={
        "lb1": Balancer(Endpoint("lb1", "h", 9, "h"), affinity)})


@pytest.mark.parametrize(("affinity", "full"), [
    (None, 2 * DEVICES), ("none", 2 * DEVICES), ("session_id", DEVICES)])
def test_the_plan_has_the_balancer_and_its_worst_case(affinity: str | None, full: int) -> None:
    target = _target(affinity)
    plan = make_plan(target, catalogue(), Impact.NOISY)
    assert plan.handshakes["lb1"] == 2 * DEVICES
    assert plan.sessions["lb1"] == full
    assert any(line.startswith(f"lb1: {2 * DEVICES} handshakes, of which at most {full} full "
                               "(on the nodes behind it)") for line in plan.lines())
    assert any("LB-01" in line and line.endswith("1 address") for line in plan.lines())
    without = make_plan(Target(target.nodes, target.settings), catalogue(), Impact.NOISY)
    assert plan.handshakes["n1"] - without.handshakes["n1"] == PLACED
    # Whatever lands on one node, it is within its share of the cache.
    assert max(plan.sessions[node] for node in target.nodes) + full <= plan.session_limit


@pytest.mark.parametrize(("settings", "why"), [
    ({"session_cache_max": 500}, "its sample takes up to 140 places in a session cache"),
    ({"session_lifetime": 6}, "sessions live 6 s, and the sample may take 30 s"),
    ({"session_lifetime": 60, "rate_limit": 2.0}, "and the sample may take 150 s"),
    ({"cache_scope": "none"}, "declares that nothing resumes"),
])
def test_a_sample_that_does_not_fit_is_skipped(settings: dict[str, Any], why: str) -> None:
    plan = make_plan(_target(**settings), catalogue(), Impact.NOISY)
    [planned] = [planned for planned in plan.checks if planned.check.id == "LB-01"]
    assert planned.skipped is not None
    assert why in planned.skipped.message


def _five() -> Target:
    target = _target()
    return replace(target, balancers={f"lb{number}": Balancer(
        Endpoint(f"lb{number}", "h", 10 + number, "h")) for number in range(5)})


def test_several_balancers_leave_the_matrix_whole() -> None:
    plan = make_plan(_five(), catalogue(), Impact.NOISY)
    sizes = {planned.check.id: len(planned.subjects) for planned in plan.checks}
    assert (sizes["CORE-03"], sizes["LB-01"]) == (6, 5)
    own = max(plan.sessions[node] for node in ("n1", "n2", "n3"))
    assert own + 5 * 2 * DEVICES <= plan.session_limit


def test_so_many_balancers_that_sessions_would_be_lost_are_refused() -> None:
    target = replace(_five(), settings=Settings(session_cache_max=900))
    [planned] = [planned for planned in make_plan(target, catalogue(), Impact.NOISY).checks
                 if planned.check.id == "LB-01"]
    assert planned.skipped is not None
    assert "its samples take up to 700 places in a session cache" in planned.skipped.message
    assert "--limit" in planned.skipped.message


# -- what people read ------------------------------------------------------------------------

@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_tells_what_is_not_judged_too(
        through: Callable[..., Any], width: int) -> None:
    lines = [line.text for line in terminal.render(through("round_robin"), "reports/x", width)]
    assert max(map(len, lines)) <= width
    flat = " ".join(" ".join(lines).split())
    assert "about 1 in 3 resumes and the rest pay a full handshake" in flat
    table = next(line for line in lines if line.startswith("lb1 "))
    assert table.split()[1] == str(DEVICES)
    assert "(19 of 60; 95 % interval 21 to 44 %). That implies 3.2 equally used" in flat
    assert "Connections without a session landed on n1 7, n2 7, n3 6" in flat
