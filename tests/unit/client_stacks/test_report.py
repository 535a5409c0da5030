"""What a run tells: the result object by its schema, the terminal, JUnit, and the verdict."""
from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks import report
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.measure import (
    RequestError,
    StackRequest,
    measure,
    plan_of,
)
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.words import (
    AS_IT_COMES,
    BACK,
    HOME,
    TOLD,
    Expected,
    Result,
    Stack,
)
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Impact
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.support import junit_schemas
from tests.support.mqtt_broker import MqttBroker
from tests.support.playbooks import ROOT

PROGRAM = str(ROOT / "tests" / "support" / "faulty_client.py")
SCHEMA = json.loads((ROOT / "schemas" / "clients.schema.json").read_text())


def stack(name: str, fault: str, *ways: str, why_not: str = "") -> Stack:
    return Stack(name, name.capitalize(), (sys.executable, PROGRAM, fault, ""), ways or (TOLD,),
                 why_not)


@pytest.fixture
def started(certificate: tuple[Path, Path]) -> Iterator[Callable[..., MqttBroker]]:
    brokers: list[MqttBroker] = []

    def start(**options: Any) -> MqttBroker:
        brokers.append(MqttBroker(*certificate, **options))
        return brokers[-1]

    yield start
    for broker in brokers:
        broker.stop()


def request(certificate: tuple[Path, Path], folder: Path, brokers: list[MqttBroker],
            *stacks: Stack) -> StackRequest:
    return StackRequest(
        {f"n{number}": Endpoint(f"n{number}", "127.0.0.1", broker.port, "localhost")
         for number, broker in enumerate(brokers, 1)},
        stacks, folder / "clients", trust=Trust(str(certificate[0])))


def ran(wanted: StackRequest, stop: threading.Event | None = None) -> tuple[dict[str, Any], str]:
    """Return the result object, which is written and valid, and the terminal's text."""
    results, folder = measure(wanted, stop or threading.Event())
    assert json.loads((folder / "results.json").read_text()) == results
    jsonschema.validate(results, SCHEMA)
    junit_schemas.validate((folder / "junit.xml").read_bytes())
    assert (folder.parent / "latest").resolve() == folder.resolve()
    text = "\n".join(line.text for line in report.render(results, "reports/clients/latest", 80))
    assert "a secret" not in text + json.dumps(results)
    return results, text


def test_a_stack_that_is_locked_out_fails_the_run(
        certificate: tuple[Path, Path], tmp_path: Path,
        started: Callable[..., MqttBroker]) -> None:
    nodes = [started(), started()]
    results, text = ran(request(
        certificate, tmp_path, nodes, stack("stubborn", "gives_up_on_fallback"),
        stack("missing", "none", why_not="since it is not built: make stacks STACKS=missing")))
    assert results["verdict"] == "failed"
    assert results["counts"] == {"info": 4, "warned": 0, "failed": 2, "skipped": 0, "error": 0}
    assert results["headline"].startswith("stubborn gave up where a session was declined; ")
    assert "Stubborn, told to resume  resumed  resumed" in text
    assert "Stubborn, told to resume  LOCKED OUT !  LOCKED OUT !" in text
    assert "Is locked out when its session is declined" in text
    assert "Missing   Left out, since it is not built: make stacks STACKS=missing" in text
    budget = results["budget"]["nodes"]["n1"]
    assert (budget["handshakes_announced"], budget["handshakes_done"]) == (6, 6)
    assert nodes[0].handshakes == 6


def test_what_is_expected_on_another_erlang_is_not_expected_here(
        certificate: tuple[Path, Path], tmp_path: Path,
        started: Callable[..., MqttBroker]) -> None:
    wanted = replace(
        request(certificate, tmp_path, [started()], stack("sturdy", "none", AS_IT_COMES)),
        expected=(Expected("sturdy", AS_IT_COMES, HOME, Result.TICKET, 25),
                  Expected("sturdy", AS_IT_COMES, HOME, Result.NOT_OFFERED)))
    results, text = ran(wanted)
    [cell] = results["clients"]["matrix"]
    assert (cell["status"], cell["expected"]) == ("warned", "not_offered")
    assert "expected was not_offered, and it is resumed" in " ".join(text.split())
    assert results["verdict"] == "passed"
    assert results["headline"] == "of 1 client stack on 1 node, 1 resumes by default"


def test_on_a_node_that_resumes_nobody_no_client_is_tried(
        certificate: tuple[Path, Path], tmp_path: Path,
        started: Callable[..., MqttBroker]) -> None:
    node = started(cache=False)
    results, text = ran(request(certificate, tmp_path, [node], stack("sturdy", "none")))
    assert results["verdict"] == "error"
    assert {(cell["status"], cell["reason"]) for cell in results["clients"]["matrix"]} == {
        ("skipped", "control")}
    assert "n1 does not resume the session of our own client either" in " ".join(text.split())
    assert node.handshakes == 2


@pytest.mark.parametrize(("mqtt_version", "verdict"), [("auto", "passed"), ("5", "error")])
def test_a_node_that_closes_on_mqtt_5_is_asked_by_mqtt_3(
        certificate: tuple[Path, Path], tmp_path: Path, mqtt_version: str, verdict: str,
        started: Callable[..., MqttBroker]) -> None:
    node = started()
    node.faults.add("closes_on_v5")
    results, _ = ran(replace(request(certificate, tmp_path, [node], stack("sturdy", "none")),
                             mqtt_version=mqtt_version))
    assert results["verdict"] == verdict
    [told] = results["nodes"]
    assert told["why_not"] == ("" if verdict == "passed" else (
        "the target closed the connection instead of answering CONNECT"))


def test_a_node_that_is_not_there_is_named(
        certificate: tuple[Path, Path], tmp_path: Path,
        started: Callable[..., MqttBroker]) -> None:
    nodes = [started(), started()]
    nodes[0].stop()
    results, text = ran(request(certificate, tmp_path, nodes, stack("sturdy", "none")))
    assert [cell["status"] for cell in results["clients"]["matrix"]] == [
        "skipped", "skipped", "skipped", "info", "skipped", "info"]
    assert "connection refused" in text
    assert ("Could not be tried, as is said of the node (n1); resumes when told (n2)"
            in " ".join(text.split()))
    assert results["budget"]["nodes"]["n1"]["handshakes_done"] == 0


def test_one_reason_is_told_once_for_all_that_have_it(
        certificate: tuple[Path, Path], tmp_path: Path,
        started: Callable[..., MqttBroker]) -> None:
    wanted = request(
        certificate, tmp_path, [started(), started()], stack("sturdy", "none"),
        *(stack(name, "speaks_http", AS_IT_COMES, TOLD) for name in ("one", "two")),
        *(stack(name, "none", why_not=f"since it is not built ({name} is not there): make stacks "
                f"STACKS={name}") for name in ("three", "four")))
    results, text = ran(replace(wanted, session_cache_max=100_000))
    assert results["counts"]["skipped"] == 2 * 2 * 2 * 3
    assert text.count("SKIPPED") == 1
    flat = " ".join(text.split())
    assert "SKIPPED One, Two, on n1, n2: 24 connections could not be tried: " in flat
    assert "2 stacks Could not be tried: " in flat
    assert ("2 stacks Left out, since they are not built: make stacks STACKS='three four' (Three, "
            "Four)") in flat
    # All of it is in the files.
    assert [cell["status"] for cell in results["clients"]["matrix"]].count("skipped") == 24
    assert [one["stack"] for one in results["clients"]["left_out"]] == ["three", "four"]


def test_a_client_that_comes_back_offers_what_it_was_given_last(
        certificate: tuple[Path, Path], tmp_path: Path,
        started: Callable[..., MqttBroker]) -> None:
    wanted = replace(
        request(certificate, tmp_path, [started(), started()], stack("forgetful", "none")),
        expected=(Expected("forgetful", TOLD, BACK, Result.RESUMED),))
    results, text = ran(wanted)
    back = [cell for cell in results["clients"]["matrix"] if cell["place"] == "back"]
    assert [(cell["issuer"], cell["redeemer"], cell["result"], cell["reason"])
            for cell in back] == [(node, node, "declined", "not_as_expected")
                                  for node in ("n1", "n2")]
    flat = " ".join(text.split())
    assert "Its fourth, back to this node; ! marks what is to be looked at" in flat
    assert ("Forgetful, told to resume, on n1 after n2: offers its session, is declined, and MQTT "
            "works after a full handshake; expected was resumed, and it is declined") in flat


def test_an_interrupted_run_says_what_it_has_not_measured(
        certificate: tuple[Path, Path], tmp_path: Path,
        started: Callable[..., MqttBroker]) -> None:
    stop = threading.Event()
    stop.set()
    results, _ = ran(request(certificate, tmp_path, [started()], stack("sturdy", "none")), stop)
    assert (results["complete"], results["verdict"]) == (False, "error")
    assert [cell["reason"] for cell in results["clients"]["matrix"]] == ["not_measured"]


def test_the_session_budget_decides_how_many_are_tried(tmp_path: Path) -> None:
    stacks = [stack(name, "none", AS_IT_COMES, TOLD) for name in ("one", "two", "three")]
    nodes = {name: Endpoint(name, "127.0.0.1", 1, "localhost") for name in ("n1", "n2")}
    wanted = StackRequest(nodes, tuple(stacks), tmp_path, rate_limit=50)
    plan = plan_of(wanted)
    assert (plan.session_limit, dict(plan.sessions)) == (10, {"n1": 10, "n2": 10})
    said = " ".join(plan.lines())
    assert ("two: left out, since a node's session budget is 10 (resumption_max_impact: safe): "
            "allow more, or name others in resumption_client_stacks") in said
    assert "Budget: 20 handshakes: 10 with each of n1, n2, of which up to 10 full" in said
    assert "Rate: 50 handshakes a second with a node at most" in said
    assert not plan_of(replace(wanted, max_impact=Impact.NOISY)).left_out
    # One is tried in any case.
    assert [row.stack.name for row in plan_of(replace(wanted, session_cache_max=1)).rows] == [
        "one"] * 4


def test_a_ca_that_is_no_file_is_told_before_anything_starts(tmp_path: Path) -> None:
    wanted = StackRequest({"n1": Endpoint("n1", "127.0.0.1", 1, "localhost")}, (), tmp_path,
                     trust=Trust(str(tmp_path / "none.pem")))
    with pytest.raises(RequestError, match=r"none\.pem is none: set resumption_ca"):
        measure(wanted, threading.Event())
