"""Runs a plan: every planned subject ends as exactly one finding."""
from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from ..tls.wire import Interrupted
from .bench import Bench
from .check import Check, Level, Need, Status, Subject, Verdict
from .plan import Plan, PlannedCheck
from .story import broken, measured
from .verdict import error, skipped, trouble

_Measured = concurrent.futures.Future[Verdict]
_LOOK_S = 0.1
_MOMENTS_S = 1.0
_QUEUED = 8
"""Subjects for each thread that are under way or in the queue, so that none of them runs dry."""
_MOST_WAITING = 100
"""Threads for subjects that only wait."""
_GOOD_ENOUGH = frozenset((Status.PASSED, Status.INFO, Status.WARNED))
_AFTERMATH = {Status.FAILED: "failed", Status.SKIPPED: "was skipped",
              Status.ERROR: "could not be measured"}


class Runner:
    """Measures subjects of one check side by side, checks one after the other.

    The subjects of a check that runs alone are measured one after another too.
    """

    def __init__(self, bench: Bench, plan: Plan, *, parallel: int = 4,
                 on_verdict: Callable[[Check, Subject, Verdict], None]) -> None:
        """``on_verdict`` is called from this runner's own thread, once for each subject."""
        self._bench, self._plan = bench, plan
        self._parallel, self._on_verdict = parallel, on_verdict
        self._statuses: dict[tuple[str, Subject], Status] = {}

    def run(self) -> bool:
        """Run to the end, or until the bench is stopped. Returns whether it got to the end."""
        pool = concurrent.futures.ThreadPoolExecutor(self._parallel)
        try:
            for planned in self._plan.checks:
                if self._bench.stop.is_set():
                    break
                self._run_check(pool, planned)
        finally:
            # Python itself waits for these threads before it ends.
            pool.shutdown(wait=not self._bench.stop.is_set())
        for planned in self._plan.checks:
            self._mark_unmeasured(planned)
        return not self._bench.stop.is_set()

    def _run_check(self, pool: concurrent.futures.Executor, planned: PlannedCheck) -> None:
        check = planned.check
        self._bench.ledger.check = check.id
        if planned.skipped is not None:
            self._found(check, (), planned.skipped)
            return
        able: list[Subject] = []
        for subject in planned.subjects:
            if missing := self._missing(check, subject):
                self._found(check, subject, missing)
            else:
                able.append(subject)
        for beside in [[subject] for subject in able] if check.alone else [able]:
            with self._workers(check, len(beside), pool) as (workers, room):
                for subject, future in self._as_they_end(workers, room, check, beside):
                    try:
                        verdict = future.result()
                    except Interrupted:
                        continue
                    self._found(check, subject, verdict)

    def _as_they_end(self, workers: concurrent.futures.Executor, room: int, check: Check,
                     subjects: Iterable[Subject]) -> Iterator[tuple[Subject, _Measured]]:
        """Measure subjects, and yield each as it ends.

        No more than ``room`` are under way or in the queue: to wait for the first of thousands
        costs more than a handshake. Once the run was asked to stop nothing new begins, and only
        what ends within moments is waited for. What then goes on is bringing a node back: it must
        end, but the report need not wait.
        """
        waiting, pending = iter(subjects), dict[_Measured, Subject]()
        give_up: float | None = None
        while True:
            if not self._bench.stop.is_set():
                pending.update((workers.submit(self._measure, check, subject), subject)
                               for subject in itertools.islice(waiting, room - len(pending)))
            if not pending:
                return
            ended, _ = concurrent.futures.wait(
                pending, _LOOK_S, concurrent.futures.FIRST_COMPLETED)
            for future in ended:
                yield pending.pop(future), future
            if self._bench.stop.is_set():
                give_up = give_up or time.monotonic() + _MOMENTS_S
                if time.monotonic() >= give_up:
                    return

    @contextlib.contextmanager
    def _workers(self, check: Check, count: int, usual: concurrent.futures.Executor,
                 ) -> Iterator[tuple[concurrent.futures.Executor, int]]:
        """Give way to the subjects of a check: the usual one, or one in which nobody queues."""
        if not check.waits or not count:
            yield usual, self._parallel * _QUEUED
            return
        threads = min(count, _MOST_WAITING)
        pool = concurrent.futures.ThreadPoolExecutor(threads)
        try:
            yield pool, threads
        finally:
            pool.shutdown(wait=False)

    def _measure(self, check: Check, subject: Subject) -> Verdict:
        if self._bench.stop.is_set():
            raise Interrupted
        try:
            lost = self._bench.sessions.renew(subject)
            if lost is not None:
                return trouble(lost) or error(
                    "no_session_id", f"{lost.handshake.endpoint} issued no session ID when its "
                    "session was to be made again", lost.handshake)
            return measured(check, self._bench, subject)
        except Interrupted:
            raise
        except Exception as problem:
            return broken(problem)

    def _missing(self, check: Check, subject: Subject) -> Verdict | None:
        for need in check.needs:
            for needed in self._needed(need, subject):
                status = self._statuses.get((need.check, needed))
                if status not in _GOOD_ENOUGH:
                    what = _AFTERMATH.get(status, "was not measured") if status else \
                        "was not measured"
                    return skipped(f"needs_{need.check}",
                                   f"needs {need.check} on {'->'.join(needed)}, which {what}")
        return None

    def _needed(self, need: Need, subject: Subject) -> list[Subject]:
        if need.of == "every":
            return [(name,) for name in self._bench.nodes]
        return [_subject_of(need, subject)]

    def _mark_unmeasured(self, planned: PlannedCheck) -> None:
        for subject in planned.subjects or ((),):
            if (planned.check.id, subject) not in self._statuses:
                self._found(planned.check, subject, error(
                    "interrupted", "not measured: the run was interrupted"))

    def _found(self, check: Check, subject: Subject, verdict: Verdict) -> None:
        if verdict.status is Status.FAILED and check.level is Level.SHOULD:
            verdict = replace(verdict, status=Status.WARNED)
        # Prerequisites look at the measured status: what is known to fail still failed.
        self._statuses[check.id, subject] = verdict.status
        self._on_verdict(check, subject, verdict)


def _subject_of(need: Need, subject: Subject) -> Subject:
    if need.of == "issuer":
        return (subject[0],)
    if need.of == "redeemer":
        return (subject[-1],)
    return subject
