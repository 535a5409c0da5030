"""What turns a failure into ``known``, and tells when that is no longer called for.

Two things do: an entry of a file of known deviations, which is measured and belongs to a TLS
stack, and a waiver, which somebody has decided on and which has a last day.
"""
from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..run.check import Check, Status, Subject, Verdict
from .deviations import STACKS, Deviation
from .finding import Finding
from .waivers import Waiver

UNEXPECTED = "unexpected_pass"
"""Reason of a check that passes though an entry says that it fails."""
_MEASURED = frozenset((Status.PASSED, Status.FAILED, Status.KNOWN, Status.WARNED, Status.INFO))


@dataclass(frozen=True)
class Allowances:
    """What the user allows a run to forgive."""

    deviations: tuple[Deviation, ...] = ()
    files: tuple[str, ...] = ()
    """Where they come from; a file may be without entries."""
    strict: bool = False
    """Whether known deviations count as failures. Waivers count all the same."""
    waivers: tuple[Waiver, ...] = ()

    def lines(self, today: datetime.date) -> list[str]:
        """Return for people what a run would use."""
        count = len(self.deviations)
        entries = f"{count} {'entry' if count == 1 else 'entries'} of {', '.join(self.files)}"
        if not self.files:
            known = "no file"
        elif self.strict:
            known = f"strict: {entries}, which count as failures"
        else:
            known = f"not strict: {entries}"
        lines = [f"Known deviations: {known}"]
        lines += [f"Waiver of {waiver.what}: " + (
            f"expired on {waiver.expires}, it no longer counts" if waiver.expired(today)
            else f"until {waiver.expires}") + f" ({waiver.why})" for waiver in self.waivers]
        return lines


def today_utc() -> datetime.date:
    """Return the day that decides whether a waiver still counts."""
    return datetime.datetime.now(datetime.timezone.utc).date()


class Tolerance:
    """Judges what was measured, in one run."""

    def __init__(self, allowances: Allowances | None = None, *, nodes: Iterable[str] = (),
                 otp_release: Callable[[str], str | None] = lambda _: None) -> None:
        """``otp_release`` tells a node's Erlang/OTP release as this run has learnt it."""
        self.allowances = allowances or Allowances()
        self._nodes, self._otp_release = tuple(nodes), otp_release
        self._today = today_utc()
        self._used: Counter[Waiver] = Counter()

    def judge(self, check: Check, subject: Subject, verdict: Verdict) -> Finding:
        """Return the finding that a verdict comes to."""
        if verdict.status is Status.FAILED:
            return self._failed(check, subject, verdict)
        if verdict.status is Status.PASSED and not self.allowances.strict:
            return Finding(check, subject, self._passed(check, subject, verdict))
        return Finding(check, subject, verdict)

    # -- failures --------------------------------------------------------------------------

    def _failed(self, check: Check, subject: Subject, verdict: Verdict) -> Finding:
        finding = Finding(check, subject, verdict)
        waivers = [waiver for waiver in self.allowances.waivers
                   if waiver.concerns(check, finding.subject_name)]
        self._used.update(waivers)
        deviations = self._covering(check, verdict.reason, subject)
        known = replace(verdict, status=Status.KNOWN)
        if deviations and not self.allowances.strict:
            return replace(finding, verdict=known, deviations=deviations)
        for waiver in waivers:
            if not waiver.expired(self._today):
                return replace(finding, verdict=known,
                               waiver=f"waived until {waiver.expires}: {waiver.why}")
        hints = [*self._near_misses(check, verdict.reason, subject, deviations),
                 *(f"the waiver \"{waiver.why}\" expired on {waiver.expires}: it no longer counts"
                   for waiver in waivers)]
        return replace(finding, verdict=replace(
            verdict, message="; ".join((verdict.message, *hints))))

    def _covering(self, check: Check, reason: str, subject: Subject) -> tuple[Deviation, ...]:
        """Return the entries that cover this failure on every node of the subject.

        A pair is two nodes: what one of them is not known to do wrong is not known of the pair.
        """
        found: dict[Deviation, None] = {}
        for node in subject or self._nodes:
            entry = self._entry(check, reason, node)
            if entry is None:
                return ()
            found[entry] = None
        return tuple(found)

    def _entry(self, check: Check, reason: str, node: str) -> Deviation | None:
        release = self._otp_release(node)
        return next((entry for entry in self.allowances.deviations
                     if (entry.check, entry.reason) == (check.id, reason)
                     and entry.covers(release)), None)

    def _near_misses(self, check: Check, reason: str, subject: Subject,
                     covering: Sequence[Deviation]) -> Iterator[str]:
        """Say why an entry for this very failure does not count."""
        if covering:
            yield (f"{covering[0].file} has this of {covering[0].releases}, but resumption_strict "
                   f"is true")
            return
        entries = [entry for entry in self.allowances.deviations
                   if (entry.check, entry.reason) == (check.id, reason)]
        outside = [node for node in subject or self._nodes
                   if not any(entry.covers(self._otp_release(node)) for entry in entries)]
        if not entries or not outside:
            return
        node, name = outside[0], STACKS[entries[0].stack]
        where = f"{entries[0].file} knows this of {entries[0].releases}"
        release = self._otp_release(node)
        if release is None:
            yield (f"{where}, but which {name} {node} runs is not known: if it runs one, declare "
                   f"emqx_otp_release of the host, or emqx_release")
        else:
            yield f"{where}, but {node} runs {release}"

    # -- passes ----------------------------------------------------------------------------

    def _passed(self, check: Check, subject: Subject, verdict: Verdict) -> Verdict:
        reasons = dict.fromkeys(entry.reason for entry in self.allowances.deviations
                                if entry.check == check.id)
        needless = [entry for reason in reasons
                    for covering in [self._covering(check, reason, subject)]
                    if not any(entry.intermittent for entry in covering) for entry in covering]
        if not needless:
            return verdict
        told = " and ".join(f"known deviation of {entry.releases} says {entry.reason}: remove this "
                            f"entry from {entry.file}" for entry in needless)
        return replace(verdict, status=Status.WARNED, reason=UNEXPECTED,
                       message=f"{verdict.message}; but a {told}")

    # -- the run as a whole ----------------------------------------------------------------

    def notes(self, findings: Sequence[Finding], *, complete: bool) -> list[str]:
        """Return what the user should know of the waivers, in a sentence each."""
        return [note for waiver in self.allowances.waivers
                for note in self._waiver_notes(waiver, findings, complete=complete)]

    def _waiver_notes(self, waiver: Waiver, findings: Sequence[Finding], *,
                      complete: bool) -> Iterator[str]:
        what = f"the waiver of {waiver.what} (\"{waiver.why}\")"
        if waiver.expired(self._today):
            yield f"{what} expired on {waiver.expires}; it no longer counts"
        elif complete and not self._used[waiver]:
            yield f"{what} matched no failure: {_why_unused(waiver, findings)}"

    def as_dict(self, findings: Sequence[Finding]) -> dict[str, Any]:
        """Return the JSON form of what was allowed and what came of it."""
        return {
            "known_deviations": {
                "strict": self.allowances.strict, "files": list(self.allowances.files),
                "entries": len(self.allowances.deviations),
                "findings": sum(bool(finding.deviations) for finding in findings)},
            "waivers": [{
                "id": waiver.id, "subject": waiver.subject, "why": waiver.why,
                "expires": str(waiver.expires), "expired": waiver.expired(self._today),
                "failures": self._used[waiver]} for waiver in self.allowances.waivers]}


def _why_unused(waiver: Waiver, findings: Sequence[Finding]) -> str:
    of_check = [finding for finding in findings if finding.check.id == waiver.id]
    concerned = [finding for finding in of_check
                 if waiver.concerns(finding.check, finding.subject_name)]
    measured = [finding for finding in of_check if finding.verdict.status in _MEASURED]
    if not measured:
        return "the check was not measured in this run"
    if not concerned:
        subjects = ", ".join(finding.subject_name for finding in measured[:3])
        return f"there is no such subject (there is {subjects}{' …' if len(measured) > 3 else ''})"
    return "if that stays so, remove it"
