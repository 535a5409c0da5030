"""Runs a plan: every planned subject ends as exactly one finding."""
from __future__ import annotations

import concurrent.futures
import datetime
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from ..tls.wire import Interrupted
from .bench import Bench
from .plan import Plan, PlannedCheck
from .registry import Check, Finding, Level, Need, Status, Subject, Verdict
from .verdicts import error, skipped


@dataclass(frozen=True)
class Waiver:
    """A user's decision to live with a failure until a day."""

    id: str
    subject: str
    """A finding's subject, or ``*``."""
    why: str
    expires: datetime.date

    def covers(self, check: Check, subject: str, today: datetime.date) -> bool:
        """Tell whether this waiver turns a failure of ``check`` on ``subject`` into ``known``."""
        return (self.id == check.id and self.subject in ("*", subject)
                and today <= self.expires)


_GOOD_ENOUGH = frozenset((Status.PASSED, Status.INFO, Status.WARNED))
_AFTERMATH = {Status.FAILED: "failed", Status.SKIPPED: "was skipped",
              Status.ERROR: "could not be measured"}


class Runner:
    """Measures subjects of one check side by side, checks one after the other."""

    def __init__(self, bench: Bench, plan: Plan, *, waivers: tuple[Waiver, ...] = (),
                 parallel: int = 4, on_finding: Callable[[Finding], None]) -> None:
        """``on_finding`` is called from this runner's own thread, once for each finding."""
        self._bench, self._plan, self._waivers = bench, plan, waivers
        self._parallel, self._on_finding = parallel, on_finding
        self._statuses: dict[tuple[str, Subject], Status] = {}

    def run(self) -> bool:
        """Run to the end, or until the bench is stopped. Returns whether it got to the end."""
        with concurrent.futures.ThreadPoolExecutor(self._parallel) as pool:
            for planned in self._plan.checks:
                if self._bench.stop.is_set():
                    break
                self._run_check(pool, planned)
        for planned in self._plan.checks:
            self._mark_unmeasured(planned)
        return not self._bench.stop.is_set()

    def _run_check(self, pool: concurrent.futures.Executor, planned: PlannedCheck) -> None:
        check = planned.check
        if planned.skipped is not None:
            self._found(check, (), planned.skipped)
            return
        futures: dict[concurrent.futures.Future[Verdict], Subject] = {}
        for subject in planned.subjects:
            if missing := self._missing(check, subject):
                self._found(check, subject, missing)
            else:
                futures[pool.submit(self._measure, check, subject)] = subject
        for future in concurrent.futures.as_completed(futures):
            try:
                verdict = future.result()
            except Interrupted:
                continue
            self._found(check, futures[future], verdict)

    def _measure(self, check: Check, subject: Subject) -> Verdict:
        if self._bench.stop.is_set():
            raise Interrupted
        try:
            return check.measure(self._bench, subject)
        except Interrupted:
            raise
        except Exception as problem:
            where = traceback.extract_tb(problem.__traceback__)[-1]
            return error("harness_error", f"the harness broke: {type(problem).__name__}: {problem} "
                                          f"({where.name}, line {where.lineno})")

    def _missing(self, check: Check, subject: Subject) -> Verdict | None:
        for need in check.needs:
            needed = _subject_of(need, subject)
            status = self._statuses.get((need.check, needed))
            if status not in _GOOD_ENOUGH:
                what = _AFTERMATH.get(status, "was not measured") if status else "was not measured"
                return skipped(f"needs_{need.check}",
                               f"needs {need.check} on {'->'.join(needed)}, which {what}")
        return None

    def _mark_unmeasured(self, planned: PlannedCheck) -> None:
        for subject in planned.subjects or ((),):
            if (planned.check.id, subject) not in self._statuses:
                self._found(planned.check, subject, error(
                    "interrupted", "not measured: the run was interrupted"))

    def _found(self, check: Check, subject: Subject, verdict: Verdict) -> None:
        if verdict.status is Status.FAILED and check.level is Level.SHOULD:
            verdict = Verdict(Status.WARNED, verdict.reason, verdict.message, verdict.handshakes)
        finding = Finding(check, subject, verdict)
        if verdict.status is Status.FAILED:
            today = datetime.datetime.now(datetime.timezone.utc).date()
            for waiver in self._waivers:
                if waiver.covers(check, finding.subject_name, today):
                    known = Verdict(Status.KNOWN, verdict.reason, verdict.message,
                                    verdict.handshakes)
                    finding = Finding(check, subject, known,
                                      f"waived until {waiver.expires}: {waiver.why}")
                    break
        # Prerequisites look at the measured status: a waived failure still failed.
        self._statuses[check.id, subject] = verdict.status
        self._on_finding(finding)


def _subject_of(need: Need, subject: Subject) -> Subject:
    if need.of == "issuer":
        return (subject[0],)
    if need.of == "redeemer":
        return (subject[-1],)
    return subject
