"""What becomes of a verdict: every rule of known deviations and waivers, through the runner."""
from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.run.bench import Bench
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import (
    Check,
    Impact,
    Level,
    Need,
    Per,
    Status,
    Verdict,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.plan import make_plan
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import Prober
from ansible_collections.emqx.conformance.plugins.module_utils.run.runner import Runner
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.run.verdict import (
    error,
    failed,
    passed,
    skipped,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust
from ansible_collections.emqx.conformance.plugins.module_utils.tolerance import judge as tolerance
from ansible_collections.emqx.conformance.plugins.module_utils.tolerance.deviations import Deviation
from ansible_collections.emqx.conformance.plugins.module_utils.tolerance.finding import Finding
from ansible_collections.emqx.conformance.plugins.module_utils.tolerance.judge import (
    Allowances,
    Tolerance,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tolerance.waivers import Waiver

from tests.support.a_check import a_check, ends_in

TODAY = datetime.date(2026, 7, 1)
YESTERDAY = TODAY - datetime.timedelta(days=1)
BAD = failed("bad_thing", "n1 did a bad thing")
FINE = passed("n1 did well")


@pytest.fixture(autouse=True)
def _the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell the day, so that none ends between what a test expects and what it sees."""
    monkeypatch.setattr(tolerance, "today_utc", lambda: TODAY)


def deviation(since: int = 25, until: int | None = 29, reason: str = "bad_thing",
              **more: Any) -> Deviation:
    return Deviation("own.yml", "otp", "X-01", reason, since, until, (f"{since}.1",), "Seen.",
                     "none known", **more)


def waiver(subject: str = "*", expires: datetime.date = TODAY, check: str = "X-01") -> Waiver:
    return Waiver(check, subject, "we know", expires)


def make(verdict: Verdict, number: int = 1, *, level: Level = Level.MUST, per: Per = Per.NODE,
         needs: tuple[Need, ...] = ()) -> Check:
    return a_check(number, level=level, per=per, needs=needs, story=ends_in(verdict),
                   reasons={verdict.reason: "what it comes to"})


class Run:
    """A run over nodes of the given Erlang/OTP releases."""

    def __init__(self, *checks: Check, entries: tuple[Deviation, ...] = (),
                 waivers: tuple[Waiver, ...] = (), strict: bool = False,
                 releases: Mapping[str, str | None] | None = None) -> None:
        told = {"n1": "25"} if releases is None else releases
        stop = threading.Event()
        engine = OrdinaryEngine(Trust(), stop=stop)
        nodes = {name: Endpoint(name, "127.0.0.1", 1, "x") for name in told}
        bench = Bench(Prober(engine, Target(nodes, Settings()), stop))
        self.tolerance = Tolerance(Allowances(entries, ("own.yml",), strict, waivers),
                                   nodes=nodes, otp_release=told.get)
        self.findings: list[Finding] = []
        Runner(bench, make_plan(bench.target, checks, Impact.SAFE),
               on_verdict=lambda *told: self.findings.append(self.tolerance.judge(*told))).run()
        engine.close()

    @property
    def only(self) -> Finding:
        (finding,) = self.findings
        return finding

    @property
    def statuses(self) -> dict[str, str]:
        return {finding.subject_name: finding.verdict.status.value for finding in self.findings}

    @property
    def notes(self) -> list[str]:
        return self.tolerance.notes(self.findings, complete=True)


def test_a_failure_with_an_entry_is_known_and_says_by_which() -> None:
    finding = Run(make(BAD), entries=(deviation(),)).only
    assert (finding.verdict.status, finding.verdict.reason, finding.verdict.message) == (
        Status.KNOWN, "bad_thing", "n1 did a bad thing")
    assert finding.deviations == (deviation(),)


@pytest.mark.parametrize("entry", [
    deviation(reason="worse_thing"), deviation(26), deviation(24, 24)])
def test_another_reason_and_another_release_stay_failed(entry: Deviation) -> None:
    finding = Run(make(BAD), entries=(entry,)).only
    assert finding.verdict.status is Status.FAILED
    assert not finding.deviations


def test_a_failure_out_of_range_says_what_the_entry_is_about() -> None:
    verdict = Run(make(BAD), entries=(deviation(26),)).only.verdict
    assert verdict.message == ("n1 did a bad thing; own.yml knows this of Erlang/OTP 26 to 29, but "
                               "n1 runs 25")


def test_a_node_of_unknown_release_is_forgiven_nothing_and_told_how_it_would_be() -> None:
    verdict = Run(make(BAD), entries=(deviation(),), releases={"n1": None}).only.verdict
    assert verdict.status is Status.FAILED
    assert verdict.message == (
        "n1 did a bad thing; own.yml knows this of Erlang/OTP 25 to 29, but which Erlang/OTP n1 "
        "runs is not known: if it runs one, declare emqx_otp_release of the host, or emqx_release")
    other = Run(make(BAD), entries=(deviation(reason="else"),), releases={"n1": None}).only
    assert other.verdict == BAD


def test_a_pass_against_an_entry_is_warned_of_and_says_what_to_remove() -> None:
    verdict = Run(make(FINE), entries=(deviation(),)).only.verdict
    assert (verdict.status, verdict.reason) == (Status.WARNED, "unexpected_pass")
    assert verdict.message == ("n1 did well; but a known deviation of Erlang/OTP 25 to 29 says "
                               "bad_thing: remove this entry from own.yml")


@pytest.mark.parametrize(("entries", "releases"), [
    ((deviation(intermittent=True),), {"n1": "25"}),
    ((deviation(26),), {"n1": "25"}),
    ((deviation(),), {"n1": None}),
])
def test_a_pass_that_no_entry_speaks_against_is_one(
        entries: tuple[Deviation, ...], releases: dict[str, str | None]) -> None:
    assert Run(make(FINE), entries=entries, releases=releases).only.verdict == FINE


def test_an_intermittent_failure_is_known() -> None:
    entries = (deviation(intermittent=True),)
    assert Run(make(BAD), entries=entries).only.verdict.status is Status.KNOWN


def test_all_entries_of_a_check_that_passes_are_to_be_removed() -> None:
    entries = (deviation(), deviation(reason="second_thing"),
               deviation(reason="third_thing", intermittent=True))
    message = Run(make(FINE), entries=entries).only.verdict.message
    assert "bad_thing" in message
    assert "second_thing" in message
    assert "third_thing" not in message
    assert Run(make(BAD), entries=entries).only.deviations == entries[:1]


@pytest.mark.parametrize("verdict", [
    error("bad_thing", "not measured"), skipped("bad_thing", "does not apply"),
    Verdict(Status.INFO, "", "told"), Verdict(Status.WARNED, "bad_thing", "not so good")])
def test_what_neither_failed_nor_passed_stays_what_it_is(verdict: Verdict) -> None:
    run = Run(make(verdict), entries=(deviation(),), waivers=(waiver(),))
    assert run.only.verdict == verdict


def test_a_should_that_fails_is_warned_of_and_needs_neither() -> None:
    run = Run(make(BAD, level=Level.SHOULD), entries=(deviation(),), waivers=(waiver(),))
    assert run.only.verdict.status is Status.WARNED
    assert run.only.verdict.message == BAD.message
    assert not run.only.deviations


def test_strict_forgives_no_deviation_and_warns_of_no_pass() -> None:
    verdict = Run(make(BAD), entries=(deviation(),), strict=True).only.verdict
    assert verdict.status is Status.FAILED
    assert verdict.message == ("n1 did a bad thing; own.yml has this of Erlang/OTP 25 to 29, but "
                               "resumption_strict is true")
    assert Run(make(FINE), entries=(deviation(),), strict=True).only.verdict == FINE


def test_waivers_count_when_strict() -> None:
    run = Run(make(BAD), entries=(deviation(),), strict=True, waivers=(waiver(),))
    assert run.only.verdict.status is Status.KNOWN
    assert run.only.waiver == f"waived until {TODAY}: we know"
    assert not run.only.deviations


def test_in_a_mixed_cluster_every_node_is_judged_by_its_own_release() -> None:
    run = Run(make(BAD), entries=(deviation(25, 26),),
              releases={"n1": "25", "n2": "27", "n3": None, "n4": "26.2.5"})
    assert run.statuses == {"n1": "known", "n2": "failed", "n3": "failed", "n4": "known"}


def test_of_a_pair_both_nodes_must_be_covered() -> None:
    run = Run(make(BAD, per=Per.PAIR), entries=(deviation(25, 26), deviation(28, None)),
              releases={"n1": "25", "n2": "27", "n3": "30"})
    assert run.statuses == {
        "n1->n3": "known", "n3->n1": "known", "n1->n2": "failed", "n2->n1": "failed",
        "n2->n3": "failed", "n3->n2": "failed"}
    found = {finding.subject_name: finding for finding in run.findings}
    assert [entry.since for entry in found["n1->n3"].deviations] == [25, 28]
    assert found["n3->n2"].verdict.message.endswith("but n2 runs 27")
    passes = Run(make(FINE, per=Per.PAIR), entries=(deviation(25, 26),),
                 releases={"n1": "25", "n2": "27", "n3": "26"})
    assert {name for name, status in passes.statuses.items() if status == "warned"} == {
        "n1->n3", "n3->n1"}


def test_prerequisites_look_at_what_was_measured() -> None:
    later = make(FINE, 2, needs=(Need("X-01"),))
    for run in (Run(make(BAD), later, entries=(deviation(),)),
                Run(make(BAD), later, waivers=(waiver(),))):
        assert [finding.verdict.status for finding in run.findings] == [
            Status.KNOWN, Status.SKIPPED]
        assert run.findings[1].verdict.message == "needs X-01 on n1, which failed"
    run = Run(make(FINE), later, entries=(deviation(),))
    assert [finding.verdict.status for finding in run.findings] == [Status.WARNED, Status.PASSED]


# -- waivers -------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "status"), [
    (waiver(), "known"), (waiver("n1"), "known"), (waiver("n2"), "failed"),
    (waiver(check="X-02"), "failed"), (waiver(expires=YESTERDAY), "failed")])
def test_a_waiver_covers_its_check_on_its_subject_until_its_day(
        given: Waiver, status: str) -> None:
    assert Run(make(BAD), waivers=(given,)).statuses == {"n1": status}


def test_an_expired_waiver_is_named_where_it_would_have_counted_and_in_a_note() -> None:
    run = Run(make(BAD), waivers=(waiver(expires=YESTERDAY),))
    assert run.only.verdict.message == (
        f'n1 did a bad thing; the waiver "we know" expired on {YESTERDAY}: it no longer counts')
    assert run.notes == [
        f'the waiver of X-01 ("we know") expired on {YESTERDAY}; it no longer counts']
    assert run.tolerance.as_dict(run.findings)["waivers"] == [{
        "id": "X-01", "subject": "*", "why": "we know", "expires": str(YESTERDAY),
        "expired": True, "failures": 1}]


def test_another_waiver_may_take_the_place_of_an_expired_one() -> None:
    run = Run(make(BAD), waivers=(waiver(expires=YESTERDAY), waiver("n1")))
    assert run.statuses == {"n1": "known"}
    assert len(run.notes) == 1


@pytest.mark.parametrize(("given", "verdict", "why"), [
    (waiver("n1"), FINE, "if that stays so, remove it"),
    (waiver("n7"), BAD, "there is no such subject (there is n1)"),
    (waiver(), skipped("precondition", "no"), "the check was not measured in this run"),
    (waiver(check="X-02"), BAD, "the check was not measured in this run"),
])
def test_a_waiver_that_matched_nothing_is_noted(given: Waiver, verdict: Verdict, why: str) -> None:
    run = Run(make(verdict), waivers=(given,))
    assert run.notes == [f'the waiver of {given.what} ("we know") matched no failure: {why}']
    assert run.tolerance.notes(run.findings, complete=False) == []


def test_a_waiver_of_what_is_known_anyway_has_matched() -> None:
    run = Run(make(BAD), entries=(deviation(),), waivers=(waiver(),))
    assert run.only.deviations
    assert run.only.waiver is None
    assert run.notes == []


# -- what --check says ---------------------------------------------------------------------


@pytest.mark.parametrize(("allowances", "lines"), [
    (Allowances(), ["Known deviations: no file"]),
    (Allowances((deviation(),), ("own.yml",)),
     ["Known deviations: not strict: 1 entry of own.yml"]),
    (Allowances((), ("a.yml", "b.yml"), True),
     ["Known deviations: strict: 0 entries of a.yml, b.yml, which count as failures"]),
    (Allowances(waivers=(waiver("n1"), waiver(expires=YESTERDAY))),
     ["Known deviations: no file", f"Waiver of X-01 on n1: until {TODAY} (we know)",
      f"Waiver of X-01: expired on {YESTERDAY}, it no longer counts (we know)"]),
])
def test_the_plan_says_what_would_be_used(allowances: Allowances, lines: list[str]) -> None:
    assert allowances.lines(TODAY) == lines


def test_the_release_is_asked_for_when_it_matters() -> None:
    """A node's CONNACK comes with its first check, after the run has begun."""
    told: dict[str, str] = {}
    asked: Callable[[str], str | None] = told.get
    tolerance = Tolerance(Allowances((deviation(),), ("own.yml",)), nodes=("n1",),
                          otp_release=asked)
    check = make(BAD)
    assert tolerance.judge(check, ("n1",), BAD).verdict.status is Status.FAILED
    told["n1"] = "27"
    assert tolerance.judge(check, ("n1",), BAD).verdict.status is Status.KNOWN
