"""Who runs beside whom, and what an interrupted run waits for."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.run.bench import Bench
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import (
    Check,
    Impact,
    Need,
    Status,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.plan import make_plan
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import Prober
from ansible_collections.emqx.conformance.plugins.module_utils.run.runner import Runner
from ansible_collections.emqx.conformance.plugins.module_utils.run.story import Story
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust
from ansible_collections.emqx.conformance.plugins.module_utils.tolerance.finding import Finding

from tests.support.a_check import a_check

NODES = {f"n{number}": Endpoint(f"n{number}", "127.0.0.1", 1, "x") for number in range(1, 5)}


@pytest.fixture
def bench() -> Iterator[Bench]:
    stop = threading.Event()
    engine = OrdinaryEngine(Trust(), stop=stop)
    yield Bench(Prober(engine, Target(NODES, Settings()), stop))
    engine.close()


def run(bench: Bench, *checks: Check) -> tuple[bool, list[Finding]]:
    findings: list[Finding] = []
    plan = make_plan(bench.target, checks, Impact.SAFE)
    return Runner(bench, plan, parallel=4,
                  on_verdict=lambda *told: findings.append(Finding(*told))).run(), findings


class Crowd:
    """Counts who is being measured at the same time."""

    def __init__(self) -> None:
        self.most = self._now = 0
        self._lock = threading.Lock()
        self.together = threading.Barrier(4)

    def enter(self, wait: Callable[[], object]) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        wait()
        with self._lock:
            self._now -= 1


def test_a_check_that_runs_alone_is_measured_node_by_node_in_order(bench: Bench) -> None:
    crowd, order = Crowd(), []

    def story(told: Story) -> str:
        order.append(told.subject)
        crowd.enter(lambda: time.sleep(0.02))
        return "fine"

    complete, findings = run(bench, a_check(story=story, alone=True))
    assert complete
    assert crowd.most == 1
    assert order == [(name,) for name in NODES] == [finding.subject for finding in findings]


def test_others_are_measured_side_by_side(bench: Bench) -> None:
    crowd = Crowd()

    def story(_: Story) -> str:
        crowd.enter(lambda: crowd.together.wait(10))
        return "fine"

    assert len(run(bench, a_check(story=story))[1]) == 4
    assert crowd.most == 4


def test_a_need_of_every_node_holds_all_back_when_one_fails(bench: Bench) -> None:
    def one_fails(story: Story) -> str:
        if story.node == "n3":
            story.fail("ill", "it is ill")
        return "fine"

    _, findings = run(bench, a_check(story=one_fails, reasons={"ill": "it is ill"}),
                      a_check(2, needs=(Need("X-01", "every"),)))
    verdicts = {(finding.subject, finding.verdict.reason, finding.verdict.message)
                for finding in findings if finding.check.id == "X-02"}
    assert verdicts == {((name,), "needs_X-01", "needs X-01 on n3, which failed")
                        for name in NODES}


def test_what_goes_on_after_an_interrupt_is_not_waited_for(bench: Bench) -> None:
    release, ended = threading.Event(), threading.Event()

    def puts_in_order(_: Story) -> str:
        bench.stop.set()
        release.wait(60)
        ended.set()
        return "too late"

    complete, findings = run(bench, a_check(story=puts_in_order, alone=True))
    assert not ended.is_set()
    release.set()
    assert not complete
    assert {(finding.subject, finding.verdict.reason) for finding in findings} == {
        ((name,), "interrupted") for name in NODES}
    assert ended.wait(5)


def test_what_ends_in_time_after_an_interrupt_is_heard(bench: Bench) -> None:
    def tells(story: Story) -> str:
        bench.stop.set()
        time.sleep(0.2)
        story.fail("left", "n1 is left behind")

    _, findings = run(bench, a_check(
        story=tells, alone=True, reasons={"left": "a node is left behind"}))
    assert [finding.verdict.reason for finding in findings] == ["left", *["interrupted"] * 3]


def test_a_reason_that_is_not_declared_is_the_harness_s_own_fault(bench: Bench) -> None:
    def tells(story: Story) -> str:
        story.fail("il", "it is ill")

    _, findings = run(bench, a_check(story=tells, reasons={"ill": "it is ill"}))
    assert {(finding.verdict.status, finding.verdict.reason, finding.verdict.message)
            for finding in findings} == {
        (Status.ERROR, "harness_error",
         "the harness broke: X-01 does not declare the reason il: it is ill")}


def test_what_a_check_has_made_is_evidence_also_when_the_harness_breaks(bench: Bench) -> None:
    def breaks(story: Story) -> str:
        story.contact(story.node)
        raise ZeroDivisionError("by nothing")

    _, findings = run(bench, a_check(story=breaks))
    for finding in findings:
        verdict = finding.verdict
        assert (verdict.status, verdict.reason) == (Status.ERROR, "harness_error")
        assert [made.endpoint.name for made in verdict.handshakes] == list(finding.subject)
        assert "ZeroDivisionError: by nothing (breaks, line" in verdict.message


def test_a_cluster_that_is_not_whole_is_disturbed_no_more(bench: Bench) -> None:
    bench.not_whole = "n1 sees nobody"
    findings: list[Finding] = []
    plan = make_plan(bench.target, [a_check(impact=Impact.DISRUPTIVE), a_check(2)],
                     Impact.DISRUPTIVE)
    Runner(bench, plan, on_verdict=lambda *told: findings.append(Finding(*told))).run()
    assert {(finding.check.id, finding.verdict.status, finding.verdict.reason)
            for finding in findings} == {
        ("X-01", Status.SKIPPED, "not_whole"), ("X-02", Status.PASSED, "")}
