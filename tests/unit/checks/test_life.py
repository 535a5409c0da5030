"""LIFE on little brokers: what holds passes, every defect fails by its name, all is undone."""
from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils import verify as v
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.cluster import BACKENDS
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.backend import Backend
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import DriverError
from ansible_collections.emqx.conformance.plugins.module_utils.model import Alert
from ansible_collections.emqx.conformance.plugins.module_utils.run.bench import Bench
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import Contact
from ansible_collections.emqx.conformance.plugins.module_utils.run.story import Story

from tests.support.broker_driver import BrokerDriver, InspectingDriver
from tests.support.costs import never_completed
from tests.support.mqtt_broker import MqttBroker

LIFE = ("LIFE-01", "LIFE-02", "LIFE-05")
UNDECLARED = {"LIFE-03": ("skipped", "lifetime_undeclared"),
              "LIFE-04": ("skipped", "cache_max_undeclared")}
"""What does not run unless the inventory says how long, and how many, sessions are remembered."""
CACHE = 60
"""Sessions that a whole run declares: soon filled, and room for every pair."""
PROBES = 14
"""Sessions that LIFE-04 offers again."""
NAMES = ("n1", "n2", "n3")


class BrokerBackend(Backend):
    """Opens one driver of brokers; nothing is deployed."""

    def __init__(self, driver: BrokerDriver) -> None:
        self.driver, self._opened = type(driver), driver

    def deploy(self, order: Any, caller: Any, stop: Any) -> Any:
        raise NotImplementedError("brokers are started by the test")

    def open(self, *_: Any, **__: Any) -> BrokerDriver:
        return self._opened


class BrokerLab:
    """A driver of brokers and verifications that drive with it."""

    def __init__(self, run: Callable[..., Any], driver: BrokerDriver) -> None:
        self._run, self.driver = run, driver

    def verify(self, **changed: Any) -> dict[str, Any]:
        ports = [broker.port for broker in self.driver.brokers.values()]
        results: dict[str, Any] = self._run(
            ports, driver="brokers", max_impact="disruptive", stop=self.driver.stop_event,
            **changed)
        return results

    def listening(self) -> list[str]:
        found = []
        for name, broker in self.driver.brokers.items():
            with contextlib.suppress(OSError), socket.create_connection(
                    ("127.0.0.1", broker.port), timeout=1):
                found.append(name)
        return found


@pytest.fixture
def laboratory(run: Callable[..., Any], brokers: Callable[..., MqttBroker],
               monkeypatch: pytest.MonkeyPatch) -> Callable[..., BrokerLab]:
    def make(count: int = 3, kind: type[BrokerDriver] = BrokerDriver, *,
             whole: bool = False) -> BrokerLab:
        if not whole:  # NEG and SEC have long ended when the first node is disturbed
            checks = [check for check in catalogue() if check.family in ("CORE", "LIFE")]
            monkeypatch.setattr(v, "catalogue", lambda: checks)
        driver = kind(brokers, NAMES[:count])
        monkeypatch.setitem(BACKENDS, "brokers", BrokerBackend(driver))
        return BrokerLab(run, driver)

    return make


@pytest.fixture
def lab(laboratory: Callable[..., BrokerLab]) -> BrokerLab:
    return laboratory()


def rows(results: dict[str, Any], check: str) -> list[dict[str, Any]]:
    return [row for row in results["checks"] if row["id"] == check]


def found(results: dict[str, Any], check: str) -> Counter[tuple[str, str]]:
    return Counter((row["status"], row["reason"]) for row in rows(results, check))


def passes_but_for(results: dict[str, Any], *checks: str) -> None:
    for check in {row["id"] for row in results["checks"]} - set(checks) - set(UNDECLARED):
        assert {row["status"] for row in rows(results, check)} == {"passed"}, check
    assert {check: found(results, check) for check in UNDECLARED} == {
        check: {why: 1} for check, why in UNDECLARED.items()}


# -- What holds --------------------------------------------------------------------------------

def test_brokers_that_come_back_pass(lab: BrokerLab) -> None:
    results = lab.verify()
    assert results["verdict"] == "passed"
    passes_but_for(results)
    assert {check: len(rows(results, check)) for check in LIFE} == dict.fromkeys(LIFE, 3)
    assert rows(results, "LIFE-01")[0]["message"] == (
        "n1 forgot its session when it was restarted, fell back to a full handshake, and resumes "
        "new ones; the 2 other nodes still resume theirs")
    assert rows(results, "LIFE-02")[2]["message"] == (
        "a client of n3, which was killed, got MQTT back on n1 by a full handshake and resumed "
        "there next time; n3 is back")
    assert "cut off from its peers and afterwards" in rows(results, "LIFE-05")[1]["message"]


def test_each_node_in_turn_and_undone_before_the_next(lab: BrokerLab) -> None:
    lab.verify()
    whole = "wait n1 n2 n3"
    assert lab.driver.told == [
        step for do, undo in (("stop", "start"), ("kill", "start"), ("disconnect", "reconnect"))
        for name in NAMES for step in (f"{do} {name}", f"{undo} {name}", whole)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_announced_is_made_and_is_what_the_brokers_count(
        laboratory: Callable[..., BrokerLab], count: int) -> None:
    lab = laboratory(count, whole=True)
    results = lab.verify(session_cache_max=CACHE)
    assert results["verdict"] == "passed"
    # OpenSSL remembers far more sessions than we declare, so that every one we offer resumes.
    assert found(results, "LIFE-04") == {("warned", "remembers_more"): count}
    for name, budget in results["budget"]["nodes"].items():
        assert budget["handshakes_announced"] == budget["handshakes_done"]
        # It also refuses a session's other suites, and resumes under two other names.
        assert budget["sessions_announced"] == budget["sessions_made"] + PROBES + 1 + 2
        assert lab.driver.handshakes(name) == (
            budget["handshakes_done"] - never_completed(results) - 1)


def test_one_node_is_restarted_and_fails_over_to_nobody(
        laboratory: Callable[..., BrokerLab]) -> None:
    results = laboratory(1).verify()
    assert [row["status"] for check in LIFE for row in rows(results, check)] == [
        "passed", "skipped", "skipped"]
    assert rows(results, "LIFE-01")[0]["message"].endswith("and resumes new ones")


def test_the_evidence_is_every_connection_in_order(lab: BrokerLab) -> None:
    results = lab.verify()
    row = rows(results, "LIFE-02")[0]
    told = [(results["handshakes"][key]["endpoint"], results["handshakes"][key]["outcome"])
            for key in row["evidence"]["handshakes"]]
    assert told == [("n1", "full"), ("n1", "resumed"), ("n1", "failed"), ("n2", "full"),
                    ("n2", "resumed"), ("n1", "full")]


def test_a_shared_cache_survives_restarts(lab: BrokerLab) -> None:
    shared = lab.driver.brokers["n1"].context
    for broker in lab.driver.brokers.values():
        broker.context = shared
    lab.driver.forgetful = False
    results = lab.verify(cache_scope="cluster")
    assert results["verdict"] == "passed"
    assert "as resumption_cache_scope cluster declares" in rows(results, "LIFE-01")[0]["message"]
    assert "by resuming" in rows(results, "LIFE-02")[0]["message"]
    assert rows(results, "LIFE-05")[0]["status"] == "skipped"
    for budget in results["budget"]["nodes"].values():
        assert budget["handshakes_announced"] == budget["handshakes_done"]


def test_where_nothing_resumes_nothing_is_disturbed(laboratory: Callable[..., BrokerLab]) -> None:
    lab = laboratory(2)
    for broker in lab.driver.brokers.values():
        broker._cache = False
    results = lab.verify(cache_scope="none")
    assert results["verdict"] == "passed"
    assert {row["status"] for check in LIFE for row in rows(results, check)} == {"skipped"}
    assert lab.driver.told == []


def test_sessions_of_others_that_have_expired_meanwhile_are_made_anew(
        lab: BrokerLab, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Bench.waiting

    def expire(bench: Bench, what: str) -> Any:
        if what == "LIFE-01 restarts n1":
            lab.driver.forget("n2")
        return waiting(bench, what)

    monkeypatch.setattr(Bench, "waiting", expire)
    results = lab.verify()
    assert results["verdict"] == "passed"
    assert all(budget["handshakes_announced"] == budget["handshakes_done"]
               for budget in results["budget"]["nodes"].values())


# -- What does not -----------------------------------------------------------------------------

def test_remembering_across_a_restart_fails(lab: BrokerLab) -> None:
    lab.driver.forgetful = False
    results = lab.verify()
    assert found(results, "LIFE-01") == {("failed", "resumed_after_restart"): 3}
    passes_but_for(results, "LIFE-01")
    assert results["headline"].startswith(
        "9 of 9 pairs as expected; LIFE-01 resumed_after_restart on n1, n2, n3: n1 resumed a "
        "session from before its restart")


def test_a_neighbour_that_forgets_fails(lab: BrokerLab) -> None:
    lab.driver.hooks["stop"] = lambda name: lab.driver.forget("n2") if name == "n1" else None
    results = lab.verify()
    assert found(results, "LIFE-01") == {("failed", "other_node_forgot"): 1, ("passed", ""): 2}
    assert "n2 no longer resumes its session after n1 was restarted" in results["headline"]
    passes_but_for(results, "LIFE-01")


def test_a_node_that_resumes_no_more_after_its_restart_fails(lab: BrokerLab) -> None:
    def no_cache(_: str) -> None:
        for broker in lab.driver.brokers.values():
            broker._cache = False

    lab.driver.hooks["wait_ready"] = no_cache
    results = lab.verify()
    assert [row["reason"] for row in rows(results, "LIFE-01")][:2] == ["not_resumed"] * 2
    assert "that it issued after its restart" in rows(results, "LIFE-01")[0]["message"]
    assert "that it had just issued" in rows(results, "LIFE-02")[0]["message"]


def test_an_address_that_answers_for_a_stopped_node_proves_nothing(
        lab: BrokerLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BrokerDriver, "stop", lambda self, node: None)
    monkeypatch.setattr(BrokerDriver, "kill", lambda self, node: None)
    monkeypatch.setattr(BrokerDriver, "start", lambda self, node: None)
    results = lab.verify()
    assert found(results, "LIFE-01") == {("error", "not_restarted"): 3}
    assert found(results, "LIFE-02") == {("error", "still_reachable"): 3}
    assert "does this address lead to another node?" in results["headline"]
    passes_but_for(results, "LIFE-01", "LIFE-02")


def test_a_refuge_that_resumes_a_dead_nodes_session_fails(lab: BrokerLab) -> None:
    contexts: dict[str, Any] = {}

    def share(name: str) -> None:
        refuge = NAMES[(NAMES.index(name) + 1) % 3]
        contexts[refuge] = lab.driver.brokers[refuge].context
        lab.driver.brokers[refuge].context = lab.driver.brokers[name].context

    lab.driver.hooks["kill"] = share
    results = lab.verify()
    assert found(results, "LIFE-02")["failed", "resumed_elsewhere"] == 3


def test_a_refuge_that_resumes_nothing_fails(lab: BrokerLab) -> None:
    def no_cache(name: str) -> None:
        lab.driver.brokers[NAMES[(NAMES.index(name) + 1) % 3]]._cache = False

    lab.driver.hooks["kill"] = no_cache
    results = lab.verify()
    first = rows(results, "LIFE-02")[0]
    assert (first["status"], first["reason"]) == ("failed", "not_resumed")
    assert "n2 did not resume the session it had with a client of n1" in first["message"]


def test_no_mqtt_on_the_refuge_fails(lab: BrokerLab) -> None:
    def mute(name: str) -> None:
        if name == "n1":
            lab.driver.brokers["n2"].faults.add("no_connack")

    lab.driver.hooks["kill"] = mute
    results = lab.verify(timeout=0.5)
    first = rows(results, "LIFE-02")[0]
    assert (first["status"], first["reason"]) == ("failed", "mqtt_failed")
    assert lab.listening() == list(NAMES)


@pytest.mark.parametrize(("verb", "reason"), [
    ("disconnect", "not_resumed_cut_off"), ("reconnect", "not_resumed_afterwards")])
def test_losing_sessions_to_a_split_fails(lab: BrokerLab, verb: str, reason: str) -> None:
    lab.driver.hooks[verb] = lab.driver.forget
    results = lab.verify()
    assert found(results, "LIFE-05") == {("failed", reason): 3}
    passes_but_for(results, "LIFE-05")


def test_an_alert_on_the_way_down_fails(lab: BrokerLab, monkeypatch: pytest.MonkeyPatch) -> None:
    contact = Story.contact

    def alarmed(story: Story, node: str, offer: Any = None, **how: Any) -> Contact:
        made = contact(story, node, offer, **how)
        if "n1" not in story.bench.sessions and node == "n1" and made.session is not None:
            alert = Alert("target", "warning", "no_renegotiation")
            return replace(made, handshake=replace(made.handshake, alerts=(alert,)))
        return made

    lab.driver.hooks["wait_ready"] = lambda _: monkeypatch.setattr(Story, "contact", alarmed)
    first = rows(lab.verify(), "LIFE-01")[0]
    assert (first["status"], first["reason"]) == ("failed", "alert")
    assert "n1 raised the warning alert no_renegotiation on a session of n1" in first["message"]


# -- Drivers that fail -------------------------------------------------------------------------

def test_a_cluster_that_stays_in_pieces_fails_and_is_left_alone(lab: BrokerLab) -> None:
    lab.driver.fails["wait_ready"] = "n1 sees nobody"
    results = lab.verify()
    assert found(results, "LIFE-01") == {("failed", "not_whole_again"): 1,
                                         ("skipped", "not_whole"): 2}
    assert found(results, "LIFE-02") == found(results, "LIFE-05") == {("skipped", "not_whole"): 3}
    assert "the cluster is not whole again: n1 sees nobody" in results["headline"]
    assert lab.driver.told == ["stop n1", "start n1", "wait n1 n2 n3"]


def test_the_first_reason_stays_and_pieces_are_mentioned(lab: BrokerLab) -> None:
    lab.driver.fails["wait_ready"] = "n1 sees nobody"
    lab.driver.fails["stop"] = "n1 does not end"
    lab.driver.fails["start"] = "n1 hangs"
    results = lab.verify()
    first = rows(results, "LIFE-01")[0]
    assert (first["status"], first["reason"]) == ("error", "driver_failed")
    assert first["message"] == (
        "n1 does not end; and it is not known whether n1 is stopped: n1 hangs; `make deploy` (or "
        "another `make verify`) mends that; the cluster is not whole again: n1 sees nobody")


@pytest.mark.parametrize(("verb", "check", "says"), [
    ("stop", "LIFE-01", "it is not known whether n1 is stopped: n1 runs already"),
    ("kill", "LIFE-02", "it is not known whether n1 is killed: n1 runs already"),
    ("disconnect", "LIFE-05", "cannot disconnect today"),
    ("reconnect", "LIFE-05", "n1 is left cut off from its peers: cannot reconnect today")])
def test_a_driver_that_fails_is_an_error_in_its_words(
        lab: BrokerLab, verb: str, check: str, says: str) -> None:
    lab.driver.fails[verb] = f"cannot {verb} today"
    results = lab.verify()
    assert found(results, check) == {("error", "driver_failed"): 3}
    first = rows(results, check)[0]["message"]
    assert f"cannot {verb} today" in first
    assert says in first
    passes_but_for(results, check)


def test_no_cluster_is_an_error_of_these_checks_alone(
        lab: BrokerLab, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: Any, **__: Any) -> BrokerDriver:
        raise DriverError("the cluster c was never deployed")

    monkeypatch.setattr(v, "open_driver", nobody)
    results = lab.verify()
    for check in LIFE:
        assert found(results, check) == {("error", "driver_failed"): 3}
        assert rows(results, check)[0]["message"] == "the cluster c was never deployed"
    passes_but_for(results, *LIFE)


def test_nodes_that_somebody_else_runs_are_left_alone(
        run: Callable[..., Any], brokers: Callable[..., MqttBroker]) -> None:
    results = run([brokers().port, brokers().port], driver="external", max_impact="disruptive")
    assert results["verdict"] == "passed"
    assert [(row["status"], row["message"]) for check in LIFE for row in rows(results, check)] == [
        ("skipped", f"the external driver cannot {what}: somebody else runs them")
        for what in ("restart nodes", "kill nodes", "cut a node off from its peers")]


def test_a_cluster_that_is_not_well_is_not_disturbed(lab: BrokerLab) -> None:
    lab.driver.brokers["n2"]._cache = False
    results = lab.verify()
    for check in LIFE:
        assert found(results, check) == {("skipped", "needs_CORE-02"): 3}
        assert "needs CORE-02 on n2, which failed" in rows(results, check)[0]["message"]
    assert lab.driver.told == []


# -- Interrupted -------------------------------------------------------------------------------

@pytest.mark.parametrize(("moment", "check", "undo"), [
    ("stop", "LIFE-01", "start n1"), ("kill", "LIFE-02", "start n1"),
    ("disconnect", "LIFE-05", "reconnect n1")])
def test_an_interrupted_run_brings_the_node_back_and_waits_for_nothing(
        lab: BrokerLab, moment: str, check: str, undo: str) -> None:
    at: list[float] = []

    def interrupt(_: str) -> None:
        at.append(time.monotonic())
        lab.driver.stop_event.set()

    lab.driver.hooks[moment] = interrupt
    begun = time.monotonic()
    results = lab.verify()
    # Beside what the same run took until then: a deadline waited for would be longer than that.
    assert time.monotonic() - at[0] < 2 * (at[0] - begun)
    assert results["complete"] is False
    assert results["verdict"] == "error"
    assert {(row["status"], row["reason"]) for row in rows(results, check)} == {
        ("error", "interrupted")}
    assert lab.driver.told[-2:] == [f"{moment} n1", undo]
    assert lab.listening() == list(NAMES)


def test_who_is_left_behind_is_told_even_then(lab: BrokerLab) -> None:
    lab.driver.hooks["kill"] = lambda _: lab.driver.stop_event.set()

    def fail(_: str) -> None:
        if lab.driver.stop_event.is_set():
            raise DriverError("no room")

    lab.driver.hooks["start"] = fail
    results = lab.verify()
    first = rows(results, "LIFE-02")[0]
    assert (first["status"], first["reason"]) == ("error", "driver_failed")
    assert "Interrupted; and n1 is left killed: no room; `make deploy`" in first["message"]


def test_a_report_does_not_wait_for_a_slow_undo(lab: BrokerLab) -> None:
    release, started = threading.Event(), threading.Event()
    lab.driver.hooks["kill"] = lambda _: lab.driver.stop_event.set()

    def slowly(_: str) -> None:
        if lab.driver.stop_event.is_set():
            release.wait(20)
            started.set()

    lab.driver.hooks["start"] = slowly
    try:
        results = lab.verify()
        assert not started.is_set()
        assert results["complete"] is False
        assert rows(results, "LIFE-02")[0]["reason"] == "interrupted"
    finally:
        release.set()
    assert started.wait(5)
    end = time.monotonic() + 5
    while len(lab.listening()) < 3 and time.monotonic() < end:
        time.sleep(0.02)
    assert lab.listening() == list(NAMES)


# -- What the nodes are ------------------------------------------------------------------------

def test_what_is_seen_from_within_names_the_nodes(laboratory: Callable[..., BrokerLab]) -> None:
    lab = laboratory(2, InspectingDriver)
    results = lab.verify()
    assert [node["product"] for node in results["nodes"]] == ["from within"] * 2
    assert results["target"]["how_identified"] == "asked where it runs"


def test_a_node_that_cannot_be_looked_at_tells_itself(
        laboratory: Callable[..., BrokerLab], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InspectingDriver, "blind", ("n1",))
    results = laboratory(2, InspectingDriver).verify()
    assert [node["product"] for node in results["nodes"]] == ["unknown", "from within"]
    assert results["verdict"] == "passed"
