"""LIFE-03 and LIFE-04 on a server that forgets as it is told to, and on one defect at a time."""
from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.checks.life import capacity, lifetime
from ansible_collections.emqx.conformance.plugins.module_utils.model import (
    Endpoint,
    Handshake,
    MqttResult,
    Outcome,
    SecretFingerprint,
    Session,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run import sessions
from ansible_collections.emqx.conformance.plugins.module_utils.run.bench import Bench
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import (
    Impact,
    Status,
    Verdict,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.plan import make_plan
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import (
    Contact,
    Offer,
    Prober,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.runner import Runner
from ansible_collections.emqx.conformance.plugins.module_utils.run.story import measured
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust
from ansible_collections.emqx.conformance.plugins.module_utils.tls.wire import Interrupted
from ansible_collections.emqx.conformance.plugins.module_utils.tolerance.finding import Finding

from tests.faulty_servers.message_server import MessageServer
from tests.support.lab import CHECKS, Lab
from tests.support.openssl_cli import make_identity

LIFETIME = 2.0
PLACES = 20


@pytest.fixture(scope="module")
def rsa_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed RSA certificate for localhost, and its key."""
    made = make_identity(tmp_path_factory.mktemp("rsa"), "localhost")
    return made.certificate, made.key


class Tried(Lab):
    """A server that keeps so many sessions for so long, and a bench on it."""

    def __init__(self, certificate: tuple[Path, Path], *faults: str, **settings: Any) -> None:
        self.server = MessageServer(*certificate, *faults, lifetime_s=LIFETIME, cache_max=PLACES)
        super().__init__(self.server.port, Trust(str(certificate[0])), **settings)
        self.told: list[int] = []
        self.bench.ledger.on_handshake = self.told.append

    def measure(self, check: str) -> Verdict:
        # Who is gone is asked several times, and the last of these is evidence.
        verdict = measured(CHECKS[check], self.bench, ("n1",))
        assert set(verdict.handshakes) <= set(self.bench.ledger.handshakes)
        json.dumps(dict(verdict.data))
        return verdict


@pytest.fixture
def tried(rsa_certificate: tuple[Path, Path],
          monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Tried]]:
    # The server counts in fractions of a second, and a test should not take many whole ones.
    monkeypatch.setattr(lifetime, "_LATE_S", 0.3)
    made: list[Tried] = []

    def make(*faults: str, **settings: float) -> Tried:
        made.append(Tried(rsa_certificate, *faults, **settings))
        return made[-1]

    yield make
    for each in made:
        each.server.stop()
        each.close()


# -- LIFE-03 -----------------------------------------------------------------------------------

def test_sessions_that_expire_in_time_pass(tried: Callable[..., Tried]) -> None:
    lab = tried(session_lifetime=LIFETIME)
    waited: list[str] = []
    lab.bench.on_wait = waited.append
    verdict = lab.measure("LIFE-03")
    assert (verdict.status, verdict.reason) == (Status.PASSED, ""), verdict.message
    assert lab.told == list(range(1, 1 + lab.cost("LIFE-03").total))
    assert [handshake.outcome for handshake in verdict.handshakes] == [
        Outcome.FULL, Outcome.FULL, Outcome.RESUMED, Outcome.FULL, Outcome.FULL]
    ages = [(ask["age_s"], ask["resumed"]) for ask in verdict.data["asked"]]
    assert [resumed for _, resumed in ages] == [True, False, False]
    assert 1.4 <= ages[0][0] < LIFETIME < 2.5 <= ages[1][0]
    assert waited == ["LIFE-03 waits 2 s for sessions to expire", ""]
    # What is remembered now is new, and resumes.
    last = lab.bench.prober.contact(Offer("n1", lab.bench.sessions["n1"])).handshake
    assert last.outcome is Outcome.RESUMED


def test_who_asks_too_late_accuses_nobody(
        tried: Callable[..., Tried], monkeypatch: pytest.MonkeyPatch) -> None:
    lab = tried(session_lifetime=LIFETIME)
    real = lab.bench.prober.contact

    def slow(offer: Offer) -> Contact:
        if offer.session is not None:
            time.sleep(LIFETIME / 2)
        return real(offer)

    monkeypatch.setattr(lab.bench.prober, "contact", slow)
    verdict = lab.measure("LIFE-03")
    assert (verdict.status, verdict.reason) == (Status.ERROR, "too_slow")


def test_waiting_ends_when_the_run_is_stopped(tried: Callable[..., Tried]) -> None:
    lab = tried(session_lifetime=60)
    threading.Timer(0.3, lab.stop.set).start()
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        lab.measure("LIFE-03")
    assert time.monotonic() - begun < 60


def test_a_server_that_goes_away_meanwhile_is_an_error(tried: Callable[..., Tried]) -> None:
    lab = tried(session_lifetime=LIFETIME)
    threading.Timer(0.3, lab.server.stop).start()
    verdict = lab.measure("LIFE-03")
    assert (verdict.status, verdict.reason) == (Status.ERROR, "connection_refused")


def test_all_nodes_wait_at_the_same_time(tried: Callable[..., Tried]) -> None:
    labs = [tried() for _ in range(4)]
    target = Target({f"n{number}": Endpoint(f"n{number}", "127.0.0.1", lab.server.port,
                                            "localhost") for number, lab in enumerate(labs, 1)},
                    Settings(session_lifetime=LIFETIME))
    bench = Bench(Prober(labs[0].engine, target, threading.Event()))
    plan = make_plan(target, [CHECKS["CORE-01"], CHECKS["CORE-02"], CHECKS["LIFE-03"]],
                     Impact.NOISY)
    found: list[Finding] = []
    told: list[str] = []
    bench.on_wait = told.append
    assert Runner(bench, plan, parallel=1,
                  on_verdict=lambda *told: found.append(Finding(*told))).run()
    assert {finding.verdict.status for finding in found} == {Status.PASSED}
    # It is over once, when it is over for the last of them: in turn it would be over four times.
    assert [what == "" for what in told] == [*[False] * (len(told) - 1), True]


@pytest.mark.parametrize(("settings", "reason"), [
    ({}, "lifetime_undeclared"),
    ({"session_lifetime": 86400}, "longer_than_max_wait"),
    ({"session_lifetime": 31, "max_wait": 30}, "longer_than_max_wait"),
    ({"session_lifetime": 30, "max_wait": 30}, ""),
    ({"session_lifetime": 30, "cache_scope": "none"}, "precondition"),
])
def test_when_expiry_is_not_measured(settings: dict[str, float], reason: str) -> None:
    assert _why_skipped("LIFE-03", **settings) == reason


def _why_skipped(check: str, **settings: float) -> str:
    target = Target({"n1": Endpoint("n1", "127.0.0.1", 1, "localhost")},
                    Settings(**settings))  # type: ignore[arg-type]
    [planned] = make_plan(target, [CHECKS[check]], Impact.DISRUPTIVE).checks
    return planned.skipped.reason if planned.skipped else ""


# -- Sessions that grow old in other checks ------------------------------------------------------

def test_sessions_past_half_their_lifetime_are_renewed_and_that_is_counted(
        tried: Callable[..., Tried], monkeypatch: pytest.MonkeyPatch) -> None:
    # By a clock of our own, and never forgotten by the servers: how fast we are does not count.
    now = [0.0]
    monkeypatch.setattr(sessions, "time", SimpleNamespace(monotonic=lambda: now[0]))
    two = [tried("never_expires"), tried("never_expires")]
    target = Target({f"n{number}": Endpoint(f"n{number}", "127.0.0.1", one.server.port,
                                            "localhost") for number, one in enumerate(two, 1)},
                    Settings(session_lifetime=LIFETIME))
    bench = Bench(Prober(OrdinaryEngine(Trust(two[0].engine.trust.ca_file)), target,
                         threading.Event()))
    plan = make_plan(target, [CHECKS[f"CORE-0{number}"] for number in range(1, 6)], Impact.SAFE)
    found: list[Finding] = []

    def linger(*told: Any) -> None:
        found.append(Finding(*told))
        # Each of these checks has two subjects, which are measured side by side.
        if len(found) % 2 == 0:
            now[0] += 0.6 * LIFETIME

    assert Runner(bench, plan, on_verdict=linger).run()
    assert {finding.verdict.status for finding in found} == {Status.PASSED}
    assert len(bench.ledger.handshakes) == sum(plan.handshakes.values()) + bench.ledger.unannounced
    # Once more for each node from CORE-02 on, and what CORE-04 asks after had to be away first.
    assert bench.ledger.beyond == {"renewals": {"n1": 5, "n2": 5}}
    assert plan.beyond["renewals"]["n1"] >= 5
    assert plan.lines()[-1] == ("sessions live 2 s: each one older than half of that costs one "
                                "more full handshake than announced")
    bench.prober.engine.close()


def test_without_renewal_they_would_have_been_forgotten(tried: Callable[..., Tried]) -> None:
    lab = tried()
    bench = lab.bench
    first = bench.sessions.fresh("n1").session
    assert first is not None
    time.sleep(LIFETIME + 0.1)
    assert bench.sessions.renew(["n1"]) is None
    assert bench.sessions["n1"] == first  # undeclared: nothing is known of its age
    assert bench.prober.contact(Offer("n1", first)).handshake.outcome is Outcome.FULL


def test_a_resumption_makes_a_session_no_younger(tried: Callable[..., Tried]) -> None:
    lab = tried(session_lifetime=LIFETIME)
    bench = lab.bench
    bench.sessions.fresh("n1")
    time.sleep(LIFETIME / 2 + 0.05)
    again = bench.prober.contact(Offer("n1", bench.sessions["n1"]))
    assert again.session is not None
    bench.sessions.remember("n1", again.session)
    bench.sessions.renew(["n1"])
    assert bench.sessions["n1"].id != again.session.id
    assert bench.ledger.beyond == {"renewals": {"n1": 1}}


# -- LIFE-04 -----------------------------------------------------------------------------------

def test_as_many_as_declared_pass(tried: Callable[..., Tried]) -> None:
    lab = tried(session_cache_max=PLACES)
    lab.server.cache.lifetime_s = None
    verdict = lab.measure("LIFE-04")
    assert (verdict.status, verdict.reason) == (Status.PASSED, ""), verdict.message
    assert verdict.message.startswith(f"n1 remembers its {PLACES} newest sessions")
    assert lab.told == list(range(1, 1 + lab.cost("LIFE-04").total))
    # The probes and the session that is remembered afterwards; the rest is only counted.
    assert len(verdict.handshakes) == 15
    assert lab.bench.ledger.handshakes == list(verdict.handshakes)
    unlisted = lab.bench.ledger.unlisted
    assert unlisted.handshakes["n1"] == 26 == unlisted.sessions["n1"]
    data = verdict.data
    assert (data["remembered"], data["forgotten"]) == (PLACES, PLACES + 1)
    assert len(data["curve"]) == 14
    assert [point["resumed"] for point in data["curve"]] == sorted(
        (point["resumed"] for point in data["curve"]), reverse=True)
    last = lab.bench.prober.contact(Offer("n1", lab.bench.sessions["n1"])).handshake
    assert last.outcome is Outcome.RESUMED


class Simulated(Prober):
    """A node that is nothing but a cache, so that large ones can be filled."""

    def __init__(self, declared: int, places: int, *, renews: bool = False,
                 victim: Callable[[int], int] = lambda _: 0) -> None:
        target = Target({"n1": Endpoint("n1", "127.0.0.1", 1, "x")},
                        Settings(session_cache_max=declared))
        super().__init__(None, target, threading.Event())  # type: ignore[arg-type]
        self.places, self.renews, self.victim = places, renews, victim
        self.issued = 0
        self.cache: list[int] = []

    def contact(self, offer: Offer) -> Contact:
        assert offer.guest is None
        node, offered = offer.node, offer.session
        number = int.from_bytes(offered.id, "big") if offered else 0
        resumed = number in self.cache
        if resumed and self.renews:
            self.cache.remove(number)
            self.cache.append(number)
        if not resumed:
            self.issued += 1
            number = self.issued
            self.cache.append(number)
            if len(self.cache) > self.places:
                del self.cache[self.victim(self.places)]
        session = Session(number.to_bytes(32, "big"), "c", node, "", None,
                          SecretFingerprint(b""), b"", b"")
        handshake = Handshake(self.target.nodes[node], "",
                              Outcome.RESUMED if resumed else Outcome.FULL, "",
                              server_id=session.id, mqtt=MqttResult("5", "", ""))
        return self.heard(node, Contact(handshake, session if offer.keep_session else None),
                          listed=handshake.outcome is not offer.usual)


@pytest.mark.parametrize("renews", [False, True])
@pytest.mark.parametrize("declared", [200, 1000, 4321])
@pytest.mark.parametrize("share", [0.03, 0.3, 0.5, 0.77, 0.94, 0.96, 1.0, 1.04, 1.06, 1.2])
def test_the_capacity_is_found_whatever_it_is(declared: int, share: float, renews: bool) -> None:
    places = round(share * declared)
    bench = Bench(Simulated(declared, places, renews=renews))
    verdict = measured(CHECKS["LIFE-04"], bench, ("n1",))
    remembered, forgotten = verdict.data["remembered"], verdict.data["forgotten"]
    assert remembered <= places < forgotten
    assert places - remembered <= 0.05 * declared
    assert forgotten - 1 - places <= 0.05 * declared
    assert verdict.reason == ("forgets_early" if share < 0.95 else
                              "remembers_more" if share > 1.05 else "")
    made = len(bench.ledger.handshakes) + bench.ledger.unlisted.handshakes["n1"]
    assert made == CHECKS["LIFE-04"].cost_for(bench.target).total
    assert len(verdict.data["curve"]) <= len(verdict.handshakes) == 15


@pytest.mark.parametrize("declared", [1, 2, 7, 50])
def test_small_caches_are_measured_too(declared: int) -> None:
    verdict = measured(CHECKS["LIFE-04"], Bench(Simulated(declared, declared)), ("n1",))
    assert (verdict.status, verdict.reason) == (Status.PASSED, ""), verdict.message


def test_more_than_can_be_told_is_at_least_so_many() -> None:
    verdict = measured(CHECKS["LIFE-04"], Bench(Simulated(1000, 20_480)), ("n1",))
    assert (verdict.status, verdict.reason) == (Status.FAILED, "remembers_more")
    assert "at least its 1251 newest sessions" in verdict.message
    assert verdict.data["forgotten"] is None


def test_a_cache_that_keeps_the_oldest_is_told_of() -> None:
    bench = Bench(Simulated(1000, 1000, victim=lambda places: places // 2))
    verdict = measured(CHECKS["LIFE-04"], bench, ("n1",))
    assert (verdict.status, verdict.reason) == (Status.FAILED, "not_the_newest"), verdict.message


def test_a_server_that_fails_in_the_middle_is_told_with_its_evidence(
        tried: Callable[..., Tried]) -> None:
    lab = tried(session_cache_max=PLACES)
    real = lab.server.new_id

    def gone_after_ten() -> bytes:
        if lab.server.issued == 9:
            lab.server.stop()
        return real()

    lab.server.new_id = gone_after_ten  # type: ignore[method-assign]
    verdict = lab.measure("LIFE-04")
    assert (verdict.status, verdict.reason) == (Status.ERROR, "connection_refused")
    assert "(session 11 of 26)" in verdict.message
    assert len(verdict.handshakes) == 1


def test_filling_that_outlasts_the_sessions_proves_nothing(tried: Callable[..., Tried]) -> None:
    lab = tried(session_cache_max=PLACES, session_lifetime=0.2)
    verdict = lab.measure("LIFE-04")
    assert (verdict.status, verdict.reason) == (Status.ERROR, "too_slow")


@pytest.mark.parametrize(("settings", "reason"), [
    ({"session_cache_max": 1000}, ""),
    ({"session_cache_max": 1000, "cache_declared": False}, "cache_max_undeclared"),
    ({"session_cache_max": 20_000}, ""),
    ({"session_cache_max": 20_001}, "cache_too_large"),
    ({"session_cache_max": 1000, "session_lifetime": 20}, "lifetime_too_short"),
    ({"session_cache_max": 1000, "session_lifetime": 30}, ""),
    ({"session_cache_max": 1000, "session_lifetime": 30, "rate_limit": 10}, "lifetime_too_short"),
    ({"session_cache_max": 1000, "cache_scope": "none"}, "precondition"),
])
def test_when_capacity_is_not_measured(settings: dict[str, float], reason: str) -> None:
    assert _why_skipped("LIFE-04", **settings) == reason


def test_filling_a_cache_leaves_the_other_checks_their_share() -> None:
    nodes = {f"n{number}": Endpoint(f"n{number}", "127.0.0.1", number, "x") for number in (1, 2, 3)}
    target = Target(nodes, Settings(session_cache_max=1000))
    plan = make_plan(target, catalogue(), Impact.DISRUPTIVE)
    [cross] = [planned for planned in plan.checks if planned.check.id == "CORE-03"]
    assert len(cross.subjects) == 6
    assert plan.session_limit == 1000 + 1266
    assert max(plan.sessions.values()) <= plan.session_limit


@pytest.mark.parametrize("declared", [1, 2, 10, 200, 999, 1000, 20_000])
def test_what_is_kept_on_our_side_is_bounded(declared: int) -> None:
    fill = capacity._Fill(declared)
    kept = len(range(0, fill.sessions, fill.step))
    assert 1 <= fill.probes <= kept <= 500
    assert fill.step <= max(1, 0.01 * declared)
