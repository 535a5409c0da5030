"""Who runs beside whom, and what an interrupted run waits for."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.bench import (
    Bench,
    Settings,
    Target,
)
from ansible_collections.emqx.conformance.plugins.module_utils.checks.finding import Finding
from ansible_collections.emqx.conformance.plugins.module_utils.checks.plan import make_plan
from ansible_collections.emqx.conformance.plugins.module_utils.checks.registry import (
    Check,
    Cost,
    Impact,
    Level,
    Measure,
    Need,
    Per,
    Subject,
    Verdict,
)
from ansible_collections.emqx.conformance.plugins.module_utils.checks.runner import Runner
from ansible_collections.emqx.conformance.plugins.module_utils.checks.verdicts import (
    failed,
    passed,
)
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import (
    OrdinaryEngine,
    Trust,
)

NODES = {f"n{number}": Endpoint(f"n{number}", "127.0.0.1", 1, "x") for number in range(1, 5)}


@pytest.fixture
def bench() -> Iterator[Bench]:
    stop = threading.Event()
    engine = OrdinaryEngine(Trust(), stop=stop)
    yield Bench(engine, Target(NODES, Settings()), stop)
    engine.close()


def check(measure: Measure, number: int = 1, **options: Any) -> Check:
    return Check(f"X-{number:02d}", "X", "X.", "none", Level.MUST, Impact.SAFE, Per.NODE, Cost(),
                 measure, "Nothing.", **options)


def run(bench: Bench, *checks: Check) -> tuple[bool, list[Finding]]:
    findings: list[Finding] = []
    plan = make_plan(bench.target, checks, Impact.SAFE)
    return Runner(bench, plan, parallel=4, on_finding=findings.append).run(), findings


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

    def measure(_: Bench, subject: Subject) -> Verdict:
        order.append(subject)
        crowd.enter(lambda: time.sleep(0.02))
        return passed("fine")

    complete, findings = run(bench, check(measure, alone=True))
    assert complete
    assert crowd.most == 1
    assert order == [(name,) for name in NODES] == [finding.subject for finding in findings]


def test_others_are_measured_side_by_side(bench: Bench) -> None:
    crowd = Crowd()

    def measure(_: Bench, subject: Subject) -> Verdict:
        crowd.enter(lambda: crowd.together.wait(10))
        return passed("fine")

    assert len(run(bench, check(measure))[1]) == 4
    assert crowd.most == 4


def test_a_need_of_every_node_holds_all_back_when_one_fails(bench: Bench) -> None:
    def one_fails(_: Bench, subject: Subject) -> Verdict:
        return failed("ill", "it is ill") if subject == ("n3",) else passed("fine")

    _, findings = run(bench, check(one_fails),
                      check(lambda *_: passed("never"), 2, needs=(Need("X-01", "every"),)))
    verdicts = {(finding.subject, finding.verdict.reason, finding.verdict.message)
                for finding in findings if finding.check.id == "X-02"}
    assert verdicts == {((name,), "needs_X-01", "needs X-01 on n3, which failed")
                        for name in NODES}


def test_what_goes_on_after_an_interrupt_is_not_waited_for(bench: Bench) -> None:
    release, ended = threading.Event(), threading.Event()

    def puts_in_order(_: Bench, subject: Subject) -> Verdict:
        bench.stop.set()
        release.wait(20)
        ended.set()
        return passed("too late")

    begun = time.monotonic()
    complete, findings = run(bench, check(puts_in_order, alone=True))
    took = time.monotonic() - begun
    assert not ended.is_set()
    release.set()
    assert took < 10
    assert not complete
    assert {(finding.subject, finding.verdict.reason) for finding in findings} == {
        ((name,), "interrupted") for name in NODES}
    assert ended.wait(5)


def test_what_ends_in_time_after_an_interrupt_is_heard(bench: Bench) -> None:
    def tells(_: Bench, subject: Subject) -> Verdict:
        bench.stop.set()
        time.sleep(0.2)
        return failed("left", "n1 is left behind")

    _, findings = run(bench, check(tells, alone=True))
    assert [finding.verdict.reason for finding in findings] == ["left", *["interrupted"] * 3]
