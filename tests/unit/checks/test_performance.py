"""PERF-01 on a real server, on one whose figures are known before, and on one defect at a time."""
from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks import performance
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import (
    Driver,
    DriverError,
)
from ansible_collections.emqx.conformance.plugins.module_utils.model import (
    Endpoint,
    Handshake,
    MqttResult,
    Outcome,
    SecretFingerprint,
    Session,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run import quantiles
from ansible_collections.emqx.conformance.plugins.module_utils.run.bench import Bench
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import (
    Cost,
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
from ansible_collections.emqx.conformance.plugins.module_utils.run.savings import Savings
from ansible_collections.emqx.conformance.plugins.module_utils.run.story import measured
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import (
    Fleet,
    Settings,
    Target,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust
from ansible_collections.emqx.conformance.plugins.module_utils.tls.wire import Interrupted

from tests.faulty_servers.message_server import MessageServer
from tests.support.few_handshakes import few_handshakes
from tests.support.mqtt_broker import MqttBroker
from tests.support.openssl_cli import make_identity

[CHECK] = [check for check in catalogue() if check.id == "PERF-01"]
ALL_FULL, ALL_RESUMED = 6 * performance.FULL, 6 * performance.RESUMED


def target(nodes: int = 1, port: int = 1, **settings: Any) -> Target:
    places, vantage = settings.pop("places", 1), settings.pop("vantage", False)
    return Target({f"n{number}": Endpoint(f"n{number}", "127.0.0.1", port, "localhost")
                   for number in range(1, nodes + 1)}, Settings(**settings),
                  places=places, vantage=vantage)


def verdict_of(bench: Bench) -> Verdict:
    bench.ledger.check = "PERF-01"
    verdict = measured(CHECK, bench, ("n1",))
    json.dumps(dict(verdict.data))
    return verdict


# -- a real server ----------------------------------------------------------------------------

@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed RSA certificate for localhost, and its key."""
    made = make_identity(tmp_path_factory.mktemp("rsa"), "localhost")
    return made.certificate, made.key


Real = Callable[[int], Bench]


@pytest.fixture
def on(identity: tuple[Path, Path]) -> Iterator[Real]:
    """Return a bench on a port."""
    engine = OrdinaryEngine(Trust(str(identity[0])))
    yield lambda port: Bench(Prober(engine, target(port=port, deadline_s=20.0), threading.Event()))
    engine.close()


@pytest.mark.alone
def test_openssl_resumes_faster_and_all_is_told(on: Real, identity: tuple[Path, Path],
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    # However slow this machine is: what is announced is made.
    monkeypatch.setattr(performance, "_SAMPLE_S", 300.0)
    monkeypatch.setattr(performance, "_LOADS_S", 300.0)
    broker = MqttBroker(*identity)
    bench = on(broker.port)
    verdict, cost = verdict_of(bench), CHECK.cost_for(bench.target)
    broker.stop()
    assert (verdict.status, verdict.reason) == (Status.INFO, "measured"), verdict.message
    data = verdict.data
    full, resumed = data["full"], data["resumed"]
    assert resumed["p50_ms_95"][1] < full["p50_ms_95"][0]
    assert resumed["bytes_in"] < full["bytes_in"] / 3
    assert (full["count"], resumed["count"]) == (ALL_FULL, ALL_RESUMED) == (78, 372)
    assert [rate["clients"] for rate in data["rates"]] == [1, 4, 16, 64]
    assert [rate["handshakes"] for rate in data["rates"]] == [372, 152, 224, 512]
    for rate in data["rates"]:
        assert rate["per_s_95"][0] <= rate["per_s"] <= rate["per_s_95"][1]
    assert data["rates"][0]["full_per_s"] < data["rates"][0]["per_s"]
    assert data["certificate"] == "RSA 2048"
    assert (data["cpu"], data["cpu_why"]) == (None, "there is no driver")
    assert verdict.message.endswith(data["sentence"])
    # Announced, made, and counted by the server; in memory are the two that are shown.
    assert cost == Cost(full=1 + 78, resumed=1 + 372 + 888)
    assert broker.handshakes == bench.ledger.made["PERF-01"]["n1"] == cost.total
    assert bench.ledger.unlisted.sessions["n1"] == 78
    assert bench.ledger.handshakes == list(verdict.handshakes)
    assert [one.outcome for one in verdict.handshakes] == [Outcome.FULL, Outcome.RESUMED]


def test_a_server_that_takes_its_time_to_resume_brings_no_gain(
        on: Real, identity: tuple[Path, Path]) -> None:
    server = MessageServer(*identity, "slow_to_resume")
    with few_handshakes():
        verdict = verdict_of(on(server.port))
    server.stop()
    assert (verdict.status, verdict.reason) == (Status.INFO, "no_gain"), verdict.message
    assert "so resuming is no faster here" in verdict.message


def test_a_server_that_resumes_for_few_at_once_is_warned_of_and_measured(
        on: Real, identity: tuple[Path, Path]) -> None:
    server = MessageServer(*identity, "resumes_eight_at_once")
    bench = on(server.port)
    with few_handshakes(2, 64):
        verdict = verdict_of(bench)
    server.stop()
    assert (verdict.status, verdict.reason) == (Status.WARNED, "not_resumed"), verdict.message
    assert "full handshake (with 64 clients at once). n1 (RSA 2048 certificate): a resumed" in \
        verdict.message
    assert [rate["clients"] for rate in verdict.data["rates"]] == [1, 2]
    # What should not have happened is listed, and is evidence.
    assert verdict.handshakes[-1].outcome is Outcome.FULL
    assert set(verdict.handshakes) <= set(bench.ledger.handshakes)


# -- known figures ----------------------------------------------------------------------------

class Known(Prober):
    """A node whose handshakes take what they are said to take, and no time."""

    def __init__(self, aim: Target | None = None, *, full_ms: float = 4.0, resumed_ms: float = 1.0,
                 forgets: int = 10**6, lasts_s: float = 0.0) -> None:
        super().__init__(None, aim or target(), threading.Event())  # type: ignore[arg-type]
        self.ms = {Outcome.FULL: full_ms, Outcome.RESUMED: resumed_ms}
        self.forgets, self.lasts_s = forgets, lasts_s
        self.count: dict[Outcome, int] = dict.fromkeys(self.ms, 0)
        self.offered: list[bytes] = []
        self.counting = threading.Lock()

    def contact(self, offer: Offer) -> Contact:
        node, session, usual = offer.node, offer.session, offer.usual
        assert offer == Offer(node, session, usual=usual, keep_session=offer.keep_session)
        time.sleep(self.lasts_s)
        with self.counting:
            kind = Outcome.RESUMED if session and self.count[Outcome.RESUMED] < self.forgets \
                else Outcome.FULL
            self.count[kind] += 1
            if session:
                self.offered.append(session.id)
            # From 90 % to 110 % of what is said, in no order.
            share = 0.9 + 0.2 * (self.count[kind] * 37 % 101) / 100
            new = Session(self.count[kind].to_bytes(32, "big"), "c", node, "", None,
                              SecretFingerprint(b""), b"", b"")
        handshake = Handshake(
            self.target.nodes[node], "", kind, "", server_id=new.id, server_key="ECDSA P-256",
            cipher="c", mqtt=MqttResult("5", "", ""), connect_ms=0.2,
            handshake_ms=round(share * self.ms[kind], 3),
            bytes_in=2000 if kind is Outcome.FULL else 150,
            bytes_out=300 if kind is Outcome.FULL else 250)
        return self.heard(node, Contact(handshake, new if offer.keep_session else None),
                          listed=kind is not usual)


class Clockwork:
    """Stands for a driver: what a node takes is known by the handshake."""

    cpu_of = "the node's clockwork"

    def __init__(self, prober: Known, full_s: float, resumed_s: float, *, idle: float = 0.0,
                 stops_after: int = 10**6) -> None:
        self.prober, self.full_s, self.resumed_s = prober, full_s, resumed_s
        self.idle, self.left = idle, stops_after

    def cpu_s(self, node: Any) -> float:
        self.left -= 1
        if self.left < 0:
            raise DriverError(f"{node.name} does not run")
        count = self.prober.count
        return (1000.0 + self.idle * time.monotonic() + self.full_s * count[Outcome.FULL]
                + self.resumed_s * count[Outcome.RESUMED])


def driven(prober: Known, *times: float, **how: Any) -> Bench:
    bench = Bench(prober)
    bench.driver = cast(Driver, Clockwork(prober, *times, **how))
    return bench


def test_processor_time_is_told_by_the_kind_of_handshake() -> None:
    # An idle node that takes a quarter of a processor would make each look longer.
    verdict = verdict_of(driven(Known(lasts_s=0.0002), 0.004, 0.001, idle=0.25))
    cpu = verdict.data["cpu"]
    assert cpu["of"] == "the node's clockwork"
    assert cpu["full_ms"] == pytest.approx(4.0, rel=0.02)
    assert cpu["resumed_ms"] == pytest.approx(1.0, rel=0.02)
    assert cpu["full_ms_95"][0] <= cpu["full_ms"] <= cpu["full_ms_95"][1]
    assert "cpu_why" not in verdict.data
    assert (f"; {cpu['resumed_ms']:.3g} ms of the node's CPU time instead of {cpu['full_ms']:.3g};"
            in verdict.message)
    # 100,000 devices an hour, each 3 ms less.
    assert verdict.data["fleet"]["cpu_cores"] == pytest.approx(0.083, abs=0.003)
    assert verdict.data["rates"][1]["node_cpus"] > 0


@pytest.mark.parametrize("reads", [0, 1, 2, 9])
def test_without_processor_time_the_rest_is_told_and_why(reads: int) -> None:
    verdict = verdict_of(driven(Known(), 0.004, 0.001, stops_after=reads))
    assert verdict.status is Status.INFO
    assert verdict.data["cpu"] is None
    assert verdict.data["cpu_why"] == "n1 does not run"
    assert verdict.data["fleet"]["cpu_cores"] is None
    assert "CPU" not in verdict.message


def test_figures_of_a_known_distribution() -> None:
    verdict = verdict_of(Bench(Known()))
    full, resumed = verdict.data["full"], verdict.data["resumed"]
    assert full["p50_ms"] == pytest.approx(4.0, rel=0.05)
    assert resumed["p99_ms"] == pytest.approx(1.1, rel=0.01)
    for figures in (full, resumed):
        ordered = sorted(figures["times_ms"])
        assert figures["count"] == len(ordered)
        for percent in (50, 95):
            assert tuple(figures[f"p{percent}_ms_95"]) == quantiles.interval(ordered, percent)
    # 78 are too few to enclose what one in a hundred exceeds; that is told, and no number made up.
    assert (full["p99_ms_95"], full["too_few_for"]) == (None, ["p99"])
    assert resumed["p99_ms_95"] is not None
    assert resumed["too_few_for"] == []
    assert (resumed["bytes_in"], resumed["bytes_out"]) == (150, 250)
    assert verdict.data["fleet"]["bytes_per_day"] == 24 * 100_000 * (2300 - 400)
    assert "n1 (ECDSA P-256 certificate): a resumed handshake takes" in verdict.message
    assert "; 400 bytes instead of 2,300;" in verdict.message


def test_the_session_that_is_offered_is_never_old() -> None:
    prober = Known()
    bench = Bench(prober)
    verdict_of(bench)
    # Few are kept, since OpenSSL's sessions are never given back: one of each block of full ones.
    assert prober.offered == sorted(prober.offered)
    assert len(set(prober.offered)) <= 1 + performance.ROUNDS
    newest = prober.count[Outcome.FULL]
    assert newest - int.from_bytes(prober.offered[-1], "big") < performance.FULL


@pytest.mark.parametrize("resumed_ms", [4.0, 4.1, 9.0])
def test_no_gain_is_told_as_such(resumed_ms: float) -> None:
    verdict = verdict_of(Bench(Known(resumed_ms=resumed_ms)))
    assert (verdict.status, verdict.reason) == (Status.INFO, "no_gain")
    assert "so resuming is no faster here" in verdict.message
    assert "each reconnect a round trip" in verdict.message


@pytest.mark.parametrize("forgets", [0, 1, 200])
def test_what_does_not_resume_is_an_error_and_no_figure(forgets: int) -> None:
    prober = Known(forgets=forgets)
    bench = Bench(prober)
    verdict = verdict_of(bench)
    assert (verdict.status, verdict.reason) == (Status.ERROR, "not_resumed")
    assert not verdict.data
    assert verdict.handshakes[-1] is bench.ledger.handshakes[-1]
    assert verdict.handshakes[-1].outcome is Outcome.FULL


def test_a_node_that_is_slow_is_asked_less_and_that_is_told(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performance, "_SAMPLE_S", 0.3)
    monkeypatch.setattr(performance, "_LOADS_S", 0.2)
    prober = Known(lasts_s=0.01)
    bench = Bench(prober)
    verdict = verdict_of(bench)
    assert verdict.status is Status.INFO
    assert 6 <= verdict.data["full"]["count"] < ALL_FULL
    assert 6 <= verdict.data["resumed"]["count"] < ALL_RESUMED
    assert verdict.data["full"]["p50_ms_95"] is not None
    assert "p95" in verdict.data["full"]["too_few_for"]
    # A client that came by fewer than eight times tells a rate, and no interval.
    assert all((rate["per_s_95"] is not None) == (rate["handshakes"] >= 8 * rate["clients"])
               and rate["handshakes"] >= 6 and rate["per_s"] > 0
               for rate in verdict.data["rates"])
    assert bench.ledger.made["PERF-01"]["n1"] < CHECK.cost_for(bench.target).total
    assert bench.ledger.more["PERF-01", "n1"] == "it answers too slowly for all of them"


def load(clients: int, *ended: float) -> performance._Load:
    return performance._Load(clients, tuple(sorted(ended)), 0.5, None)


def in_bursts(clients: int, each: int, *, late_s: float = 0.0, dry_s: float = 0.0) -> list[float]:
    """So many connections of each client, all clients at once every tenth of a second.

    The first end ``late_s`` later, and the last are ``dry_s`` more apart.
    """
    return [late_s + 0.1 * number + 1e-5 * client + (dry_s * client if number == each else 0.0)
            for number in range(1, each + 1) for client in range(clients)]


@pytest.mark.parametrize(("clients", "each"), [(1, 8), (2, 74), (16, 14), (64, 8)])
@pytest.mark.parametrize("wrong", [{}, {"late_s": 3.0}, {"dry_s": 0.5}])
def test_a_rate_is_that_of_the_time_in_which_all_clients_are_busy(
        clients: int, each: int, wrong: dict[str, float]) -> None:
    measured = load(clients, *in_bursts(clients, each, **wrong))
    assert measured.parts == pytest.approx([10 * clients] * 6, rel=0.01)
    assert measured.per_s == pytest.approx(10 * clients, rel=0.01)


def test_a_pause_of_the_machine_is_in_one_part_and_not_in_the_rate() -> None:
    ended = [at + (2.0 if at > 0.55 else 0.0) for at in in_bursts(8, 20)]
    measured = load(8, *ended)
    assert sorted(measured.parts) == pytest.approx([24 / 2.3, *[80] * 5], rel=0.01)
    assert measured.per_s == pytest.approx(80, rel=0.01)


def test_a_client_that_came_by_too_seldom_tells_no_interval() -> None:
    measured = load(4, *in_bursts(4, 8)[:-1])
    assert measured.parts == []
    assert measured.per_s == pytest.approx(31 / 0.8, rel=0.01)
    assert len(load(4, *in_bursts(4, 8)).parts) == 6


def test_a_run_that_is_asked_to_stop_stops() -> None:
    prober = Known()
    bench = Bench(prober)
    bench.stop.set()
    with pytest.raises(Interrupted):
        verdict_of(bench)


@pytest.mark.parametrize(("aim", "full", "resumed", "why"), [
    # 50 a second is what external nodes are asked at most.
    (target(rate_limit=50.0), 78, 372, "resumption_rate_limit allows 50 a second"),
    (target(rate_limit=5.0), 18, 24, "resumption_rate_limit allows 5 a second"),
    (target(rate_limit=0.5), 6, 6, "resumption_rate_limit allows 0.5 a second"),
    (target(11), 30, 72, "there are more than 10 nodes"),
])
def test_fewer_are_made_and_no_rates_told_where_little_is_allowed(
        aim: Target, full: int, resumed: int, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performance, "_SAMPLE_S", 300.0)
    prober = Known(aim)
    bench = Bench(prober)
    verdict = verdict_of(bench)
    assert (verdict.data["full"]["count"], verdict.data["resumed"]["count"]) == (full, resumed)
    assert (verdict.data["rates"], verdict.data["rates_why"]) == ([], why)
    assert CHECK.cost_for(aim) == Cost(full=1 + full, resumed=1 + resumed)
    assert bench.ledger.made["PERF-01"]["n1"] == full + resumed + 2
    assert "a second" not in verdict.message.partition(". ")[0]


@pytest.mark.parametrize(("aim", "full"), [
    (target(), 79), (target(session_cache_max=20_000), 79), (target(session_cache_max=500), 37),
    (target(session_cache_max=100), 7), (target(places=2), 37), (target(places=10), 7)])
def test_full_handshakes_keep_to_their_share_of_the_cache(aim: Target, full: int) -> None:
    assert CHECK.cost_for(aim).full == full
    assert full <= 0.08 * aim.settings.session_cache_max / aim.places


@pytest.mark.parametrize(("spare", "full"), [
    (None, 79), (1000, 79), (79, 79), (78, 73), (13, 13), (12, 7), (7, 7)])
def test_full_handshakes_keep_to_what_the_budget_has_to_spare(spare: int | None, full: int) -> None:
    assert CHECK.cost_for(replace(target(), spare=spare)).full == full


@pytest.mark.parametrize("spare", [0, 1, 6])
def test_nothing_is_measured_with_nothing_to_spare(spare: int) -> None:
    why = CHECK.precondition(replace(target(), spare=spare))
    assert isinstance(why, str)
    assert why.endswith("or than the other checks leave over of each node's session budget")


@pytest.mark.parametrize(("aim", "says"), [
    (target(), ""), (target(session_lifetime=30), ""),
    (target(session_lifetime=29), "sessions live 29 s, and the sample may take 30 s"),
    (target(session_lifetime=30, rate_limit=50.0), ""),
    (target(session_lifetime=30, rate_limit=0.4), "may take 35 s"),
    (target(session_cache_max=88), ""),
    (target(session_cache_max=80), "7 full handshakes are more than 8% of the 80 places"),
    (target(cache_scope="none"), "declares that nothing resumes"),
    (target(vantage=True, places=2), "it is measured from the controller only")])
def test_when_it_does_not_apply(aim: Target, says: str) -> None:
    why = CHECK.precondition(aim)
    told = why.message if isinstance(why, Verdict) else why or ""
    assert says in told
    assert bool(says) == bool(told)
    plan = make_plan(aim, [CHECK], Impact.NOISY)
    assert bool(plan.handshakes) != bool(says)


def test_it_is_noisy_and_alone() -> None:
    [planned] = make_plan(target(), [CHECK], Impact.SAFE).checks
    assert planned.skipped is not None
    assert planned.skipped.reason == "impact_not_allowed"
    assert CHECK.alone


# -- a fleet ----------------------------------------------------------------------------------

@pytest.mark.parametrize(("savings", "fleet", "says"), [
    (Savings(3.1, 1888, 3.3), Fleet(),
     ("For 100,000 devices that reconnect every 60 minutes and resume, that saves the nodes 0.092 "
      "CPU cores all the time, and 5.5 minutes of CPU time when all come back at once; the network "
      "4.5 GB a day; and each reconnect 3.1 ms and a round trip")),
    (Savings(3.1, 1888, None), Fleet(1, 1),
     ("For 1 device that reconnects every minute and resumes, that saves the network 2.7 MB a day; "
      "and each reconnect 3.1 ms and a round trip")),
    (Savings(12.4, 1888, 3.3), Fleet(1000, 1440),
     ("For 1,000 devices that reconnect every 1,440 minutes and resume, that saves the nodes 3.3 "
      "seconds of CPU time when all come back at once; the network 1.9 MB a day; and each "
      "reconnect 12 ms and a round trip")),
    (Savings(0.25, 1888, 10.0), Fleet(5_000_000, 5),
     ("For 5,000,000 devices that reconnect every 5 minutes and resume, that saves the nodes 167 "
      "CPU cores all the time, and 14 hours of CPU time when all come back at once; the network "
      "2.7 TB a day; and each reconnect 0.25 ms and a round trip")),
    (Savings(-1.0, -3, -0.1), Fleet(10, 2),
     ("For 10 devices that reconnect every 2 minutes and resume, that saves each reconnect a round "
      "trip"))])
def test_what_a_fleet_saves_is_said_plainly(savings: Savings, fleet: Fleet, says: str) -> None:
    assert savings.sentence(fleet) == says


def test_what_a_fleet_saves_in_figures() -> None:
    assert Savings(3.1, 1888, 3.6).of(Fleet(100_000, 60)) == {
        "devices": 100_000, "minutes": 60, "cpu_cores": 0.1, "cpu_s_all_at_once": 360.0,
        "bytes_per_day": 24 * 100_000 * 1888}
    assert Savings(3.1, 1888, None).of(Fleet())["cpu_cores"] is None
