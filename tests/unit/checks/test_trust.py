"""SEC against OpenSSL listeners with trust domains, right ones and ones that share a cache."""
from __future__ import annotations

import contextlib
import datetime
import ssl
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import permutations, product
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.checks.security import trust_ended
from ansible_collections.emqx.conformance.plugins.module_utils.model import (
    Endpoint,
    Outcome,
    Session,
    TrustDomain,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run import beyond
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import (
    CostByNode,
    Impact,
    Status,
    Verdict,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.plan import make_plan
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import (
    Contact,
    Offer,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.story import measured
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import EngineError, Trust
from ansible_collections.emqx.conformance.plugins.module_utils.tls.wire import Interrupted
from ansible_collections.emqx.conformance.plugins.module_utils.verify import RequestError

from tests.support.lab import Lab
from tests.support.trust_broker import AnchorDriver, TrustingBroker, TrustingNode

FDS = Path("/proc/self/fd")
CHECKS = {check.id: check for check in catalogue()
          if check.id in ("SEC-01", "SEC-02", "SEC-05", "SEC-06")}


class Tried(Lab):
    """A node, and a bench on it."""

    def __init__(self, node: TrustingNode, domains: tuple[TrustDomain, ...] | None = None,
                 **settings: Any) -> None:
        super().__init__(node.ordinary.port, Trust(str(node.folder / "ca.pem")), target={
            "driver": "anchors", "abilities": AnchorDriver.abilities,
            "trust_domains": {"n1": node.domains if domains is None else domains}}, **settings)
        self.node = node
        self.bench.driver = self.driver = AnchorDriver(node)

    def measure(self, check: str) -> Verdict:
        verdict = super().measure(check)
        assert {handshake.endpoint.name for handshake in verdict.handshakes} <= {"n1"}
        return verdict

    def close(self) -> None:
        super().close()
        self.node.stop()


Try = Callable[..., Tried]


@pytest.fixture
def tried(tmp_path: Path) -> Iterator[Try]:
    made: list[Tried] = []

    def make(*faults: str, change: Callable[[TrustingNode], None] = lambda _: None,
             domains: tuple[TrustDomain, ...] | None = None, count: int = 3,
             **settings: Any) -> Tried:
        node = TrustingNode(tmp_path, faults, count)
        change(node)
        made.append(Tried(node, domains, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


def assert_passed_at_its_price(tried: Tried, check: str) -> Verdict:
    verdict = tried.measure(check)
    assert (verdict.status, verdict.reason) == (Status.PASSED, ""), verdict.message
    cost = CHECKS[check].cost_for(tried.target, "n1")
    outcomes = [handshake.outcome.value for handshake in verdict.handshakes]
    assert (outcomes.count("full"), outcomes.count("resumed"), outcomes.count("refused")) == (
        cost.full, cost.resumed, cost.refused)
    assert len(outcomes) == cost.total
    return verdict


def test_listeners_of_their_own_keep_domains_apart(tried: Try) -> None:
    verdict = assert_passed_at_its_price(tried(), "SEC-01")
    assert "d1->d2, d2->d1 (same server certificate)" in verdict.message
    assert "d1->d3, d2->d3, d3->d1, d3->d2 (different server certificates)" in verdict.message
    # What is refused is refused by the target, and the alert is the target's.
    alerts = {(alert.raised_by, alert.description) for handshake in verdict.handshakes
              for alert in handshake.alerts}
    assert alerts == {("target", "unknown_ca")}


def test_a_shared_cache_lets_sessions_cross(tried: Try) -> None:
    each = tried("one_cache", count=2)
    verdict = each.measure("SEC-01")
    assert (verdict.status, verdict.reason) == (Status.FAILED, "resumed_in_other_domain")
    assert ("n1 resumed sessions across d1->d2, d2->d1 (different server certificates) and "
            "accepted CONNECT (CONNACK 0)") in verdict.message
    assert "with the fatal alert unknown_ca" in verdict.message
    assert "reuse_sessions = false" in verdict.message
    crossed = verdict.handshakes[-4:-2]
    assert all(handshake.same_master_secret and handshake.mqtt is not None
               and not handshake.mqtt.cause for handshake in crossed)
    assert {handshake.as_dict()["port"] for handshake in crossed} == {
        domain.port for domain in each.node.domains}


@pytest.mark.parametrize("check", ["SEC-01", "SEC-02"])
def test_an_alert_at_once_is_a_refusal_too(tried: Try, check: str) -> None:
    each = tried("alerts_on_foreign_session")
    verdict = each.measure(check)
    assert verdict.status is Status.PASSED, verdict.message
    # Every listener was really offered a session of every other client. A twin that is offered
    # beside it, where our library has dropped the session over the alert, goes the same way.
    made_at = {made.server_id: made.endpoint.port for made in verdict.handshakes
               if made.outcome is Outcome.FULL}
    crossed = {(made_at[handshake.offered_id], handshake.endpoint.port)
               for handshake in verdict.handshakes
               if handshake.offered_id and handshake.outcome is Outcome.REFUSED}
    ports = [domain.port for domain in each.node.domains]
    assert crossed == set(permutations(ports, 2) if check == "SEC-01" else
                          product([each.node.ordinary.port], ports))


@pytest.mark.parametrize(("times", "status", "reason"), [
    (1, Status.PASSED, ""), (99, Status.ERROR, "not_offered")])
def test_a_session_that_our_library_withholds_proves_nothing(
        tried: Try, monkeypatch: pytest.MonkeyPatch, times: int, status: Status,
        reason: str) -> None:
    each = tried(count=2)
    prepare = OrdinaryEngine._tls
    withheld: list[Session] = []

    def withhold(self: OrdinaryEngine, endpoint: Endpoint, offer: Session | None,
                 **options: Any) -> Any:
        abroad = (endpoint.port == each.node.domains[1].port) != (
            self.trust.cert_file == each.node.domains[1].client_cert)
        if offer is not None and abroad and len(withheld) < times:
            withheld.append(offer)
            offer = None
        return prepare(self, endpoint, offer, **options)

    monkeypatch.setattr(OrdinaryEngine, "_tls", withhold)
    verdict = each.measure("SEC-01")
    assert (verdict.status, verdict.reason) == (status, reason), verdict.message
    refused = [handshake for handshake in verdict.handshakes
               if handshake.offered_id and handshake.outcome is Outcome.REFUSED]
    assert len(refused) == (2 if status is Status.PASSED else 0)


def test_what_is_no_boundary_is_named_and_not_judged(tried: Try) -> None:
    def d2_trusts_both(node: TrustingNode) -> None:
        node.listeners[1].context.load_verify_locations(node.folder / "d1-ca.pem")

    verdict = tried(change=d2_trusts_both, count=2).measure("SEC-01")
    assert verdict.status is Status.PASSED
    assert "d1->d2 is no boundary, since that client is accepted" in verdict.message

    def both_trust_both(node: TrustingNode) -> None:
        d2_trusts_both(node)
        node.listeners[0].context.load_verify_locations(node.folder / "d2-ca.pem")

    verdict = tried(change=both_trust_both, count=2).measure("SEC-01")
    assert (verdict.status, verdict.reason) == (Status.SKIPPED, "no_trust_boundary")


def test_where_nothing_resumes_nothing_can_cross(tried: Try) -> None:
    def forget(node: TrustingNode) -> None:
        for number, listener in enumerate(node.listeners, 1):
            ca = node.folder / f"d{number}-ca.pem"
            enter = listener.enter

            def anew(connection: Any, enter: Any = enter, listener: Any = listener,
                     ca: Path = ca) -> Any:
                listener.trusts(ca)
                return enter(connection)

            listener.enter = anew  # type: ignore[method-assign]

    verdict = tried(change=forget, count=2).measure("SEC-01")
    assert (verdict.status, verdict.reason) == (Status.SKIPPED, "nothing_resumes")


def test_a_client_that_its_own_domain_refuses_is_an_error(tried: Try) -> None:
    def wrong_ca(node: TrustingNode) -> None:
        node.listeners[0].trusts(node.folder / "d2-ca.pem")

    verdict = tried(change=wrong_ca).measure("SEC-01")
    assert (verdict.status, verdict.reason) == (Status.ERROR, "client_refused")
    assert "refused d1's own client with the fatal alert unknown_ca" in verdict.message


def test_a_listener_that_nobody_opened_is_an_error(tried: Try) -> None:
    verdict = tried(change=lambda node: node.listeners[1].stop()).measure("SEC-01")
    assert (verdict.status, verdict.reason) == (Status.ERROR, "connection_refused")


def test_who_showed_no_certificate_is_refused(tried: Try) -> None:
    verdict = assert_passed_at_its_price(tried(), "SEC-02")
    assert "did not resume on d1, d2 and d3" in verdict.message


def test_a_session_without_certificate_resumes(tried: Try) -> None:
    verdict = tried("resumes_without_certificate").measure("SEC-02")
    assert (verdict.status, verdict.reason) == (Status.FAILED, "resumed_without_certificate")
    assert ("n1 resumed on d1 a session that was made without a client certificate, and accepted "
            "CONNECT") in verdict.message


def test_where_everybody_shows_a_certificate_nobody_comes_without(tried: Try) -> None:
    def demand(node: TrustingNode) -> None:
        node.ordinary.trusts(node.folder / "d1-ca.pem")

    verdict = tried(change=demand).measure("SEC-02")
    assert (verdict.status, verdict.reason) == (Status.SKIPPED, "certificate_demanded")


def test_a_listener_that_demands_nothing_is_an_error_of_the_inventory(tried: Try) -> None:
    def ask_nobody(node: TrustingNode) -> None:
        node.listeners[2].trusts(None)

    verdict = tried(change=ask_nobody).measure("SEC-02")
    assert (verdict.status, verdict.reason) == (Status.ERROR, "no_certificate_demanded")
    assert "resumption_trust_domains is for listeners that demand one" in verdict.message


def test_without_trust_domains_they_are_skipped_and_say_what_is_needed() -> None:
    target = Target({"n1": Endpoint("n1", "127.0.0.1", 1, "localhost")}, Settings())
    plan = make_plan(target, catalogue(), Impact.DISRUPTIVE)
    said = {planned.check.id: planned.skipped for planned in plan.checks
            if planned.check.id in CHECKS}
    assert set(said) == set(CHECKS)
    for verdict in said.values():
        assert verdict is not None
        assert "inventory/trust" in verdict.message
        assert "resumption_trust_domains" in verdict.message
        assert "demand" in verdict.message


def test_what_is_declared_of_the_ordinary_listener_is_no_word_on_the_others(tried: Try) -> None:
    each = tried(cache_scope="none")
    plan = make_plan(each.target, catalogue(), Impact.DISRUPTIVE)
    assert {planned.check.id for planned in plan.checks
            if planned.subjects and planned.check.id in CHECKS} == set(CHECKS)
    assert not [need for check in CHECKS.values() for need in check.needs
                if need.check == "CORE-02"]


def test_without_a_session_there_is_none_without_a_certificate(tried: Try) -> None:
    verdict = tried("ordinary_has_no_cache").measure("SEC-02")
    assert (verdict.status, verdict.reason) == (Status.SKIPPED, "nothing_resumes")
    assert "where clients without a certificate get in" in verdict.message
    # It was offered where it is refused all the same.
    assert len([one for one in verdict.handshakes
                if one.offered_id and one.outcome is Outcome.REFUSED]) == 3


def test_an_ordinary_listener_that_resumed_before_has_no_excuse(tried: Try) -> None:
    each = tried()
    each.bench.ledger.record_cell("n1", "n1", each.bench.prober.contact(Offer(
        "n1", each.bench.sessions.fresh("n1").session)).handshake)
    assert each.bench.ledger.cells["n1", "n1"].outcome is Outcome.RESUMED
    each.bench.ledger.handshakes.clear()
    each.node.ordinary.trusts(None)
    contact = each.bench.prober.contact

    def forgotten(offer: Offer) -> Contact:
        each.node.ordinary.trusts(None)
        return contact(offer)

    each.bench.prober.contact = forgotten  # type: ignore[method-assign]
    verdict = each.measure("SEC-02")
    assert (verdict.status, verdict.reason) == (Status.ERROR, "not_resumed")
    assert "though it had resumed one in CORE-02" in verdict.message


@pytest.mark.parametrize("check", CHECKS)
def test_listeners_without_session_ids_have_nothing_to_cross(tried: Try, check: str) -> None:
    each = tried(count=2)
    contact = each.bench.prober.contact

    def nameless(offer: Offer) -> Contact:
        return replace(contact(offer), session=None)

    each.bench.prober.contact = nameless  # type: ignore[method-assign]
    verdict = each.measure(check)
    assert (verdict.status, verdict.reason) == (Status.SKIPPED, "nothing_resumes")
    assert each.driver.told == []


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize(("check", "declined"), [
    ("SEC-01", "n1 resumed no session across d1->d2"),
    ("SEC-02", "n1 did not resume on d1, d2 and d3"),
    ("SEC-05", "n1 did not resume a session of d1's client after d1 was reopened"),
    ("SEC-06", "n1 did not resume on d1 a session whose client certificate has expired"),
])
def test_a_decline_of_a_node_that_forgets_everything_is_no_pass(
        tried: Try, check: str, declined: str) -> None:
    each = tried("forgets_all_when_it_declines")
    verdict = each.measure(check)
    assert (verdict.status, verdict.reason) == (Status.ERROR, "forgotten"), verdict.message
    assert verdict.message.startswith(declined)
    assert "does not resume either" in verdict.message
    assert len(verdict.handshakes) == CHECKS[check].cost_for(each.target, "n1").total


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> set[bytes]:
    """Our library drops a session over an alert, as OpenSSL 3.5 does; the IDs of those it has."""
    dropped: set[bytes] = set()
    prepare, connect = OrdinaryEngine._tls, OrdinaryEngine.connect

    def forgetful(self: OrdinaryEngine, endpoint: Endpoint, offer: Session | None,
                  **options: Any) -> Any:
        kept = offer if offer is not None and offer.id not in dropped else None
        return prepare(self, endpoint, kept, **options)

    def spoilt(self: OrdinaryEngine, *args: Any, **options: Any) -> Any:
        attempt = connect(self, *args, **options)
        if attempt.handshake.alerts:
            dropped.add(attempt.handshake.offered_id)
        return attempt

    monkeypatch.setattr(OrdinaryEngine, "_tls", forgetful)
    monkeypatch.setattr(OrdinaryEngine, "connect", spoilt)
    return dropped


@pytest.mark.parametrize("check", ["SEC-01", "SEC-02"])
@pytest.mark.parametrize(("faults", "status", "reason"), [
    (("alerts_on_foreign_session",), Status.PASSED, ""),
    (("alerts_on_foreign_session", "forgets_all_when_it_declines"), Status.ERROR, "forgotten"),
    (("alerts_but_once",), Status.ERROR, "not_refused_again")])
def test_where_our_library_has_dropped_the_session_a_twin_is_offered(
        tried: Try, dropped: set[bytes], *, check: str, faults: tuple[str, ...],
        status: Status, reason: str) -> None:
    each = tried(*faults, count=2)
    verdict = each.measure(check)
    assert (verdict.status, verdict.reason) == (status, reason), verdict.message
    assert dropped - {b""}
    # What is made for that is counted by itself, and announced as what may come on top.
    remakes = CHECKS[check].remakes
    assert isinstance(remakes, CostByNode)
    made = each.bench.ledger.beyond[beyond.SPOILT]["n1"]
    cost = CHECKS[check].cost_for(each.target, "n1")
    assert made <= remakes.of(each.target, "n1").total
    if reason == "not_refused_again":  # there it ends
        assert made == {"SEC-01": 3, "SEC-02": 5}[check]
    else:
        assert made == {"SEC-01": 6, "SEC-02": 5}[check]
        assert each.bench.ledger.made[""]["n1"] == cost.total


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize(("check", "reason", "says"), [
    ("SEC-01", "accepted_in_other_domain", "of a client of d1 on d2, which refused it before"),
    ("SEC-02", "accepted_without_certificate", "once it offered a session"),
    ("SEC-05", "accepted_after_trust_change", "once it offered a session"),
    ("SEC-06", "accepted_after_expiry", "of a client with an expired certificate"),
])
def test_who_is_admitted_over_a_session_that_is_declined_is_no_less_found(
        tried: Try, check: str, reason: str, says: str) -> None:
    verdict = tried("admits_who_offers").measure(check)
    assert (verdict.status, verdict.reason) == (Status.FAILED, reason), verdict.message
    assert says in verdict.message
    assert [one.mqtt is not None for one in verdict.handshakes
            if one.offered_id and one.outcome is Outcome.FULL] == [True]


def _tls_1_3_alone(*listeners: TrustingBroker) -> None:
    for listener in listeners:
        listener.context.maximum_version = ssl.TLSVersion.TLSv1_3
        listener.context.minimum_version = ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize("check", ["SEC-01", "SEC-02"])
def test_where_tls_1_3_is_spoken_alone_there_is_no_session_id(tried: Try, check: str) -> None:
    verdict = tried(change=lambda node: _tls_1_3_alone(
        *(node.listeners if check == "SEC-01" else (node.ordinary,))), count=2).measure(check)
    assert (verdict.status, verdict.reason) == (Status.SKIPPED, "no_tls_1_2"), verdict.message


def test_sessions_that_outlived_their_lifetime_prove_nothing_and_accuse_nobody(tried: Try) -> None:
    each = tried("forgets_all_when_it_declines", session_lifetime=0.001)
    verdict = each.measure("SEC-02")
    assert (verdict.status, verdict.reason) == (Status.SKIPPED, "expired")
    assert "sessions live 0.001 s" in verdict.message


def test_nodes_may_have_different_domains(tried: Try) -> None:
    each = tried()
    nodes = {name: Endpoint(name, "127.0.0.1", 1, "localhost") for name in ("n1", "n2", "n3")}
    domains = each.node.domains
    target = replace(each.target, nodes=nodes,
                     trust_domains={"n1": domains, "n2": domains[:2]})
    sec01 = replace(CHECKS["SEC-01"], needs=())
    plan = make_plan(target, [sec01], Impact.SAFE)
    assert plan.handshakes == {"n1": 21, "n2": 10, "n3": 0}
    verdict = measured(sec01, each.bench, ("n3",))
    assert (verdict.status, verdict.reason) == (Status.SKIPPED, "precondition")


# -- SEC-05 --------------------------------------------------------------------------------------


def test_a_listener_that_is_opened_again_has_forgotten(tried: Try) -> None:
    each = tried()
    verdict = assert_passed_at_its_price(each, "SEC-05")
    assert "refuses that client with the fatal alert unknown_ca" in verdict.message
    assert each.driver.told == ["reopen", "restore"]


def test_a_session_outlives_its_ca(tried: Try) -> None:
    each = tried("one_cache")
    verdict = each.measure("SEC-05")
    assert (verdict.status, verdict.reason) == (Status.FAILED, "resumed_after_trust_change")
    assert "accepted CONNECT (CONNACK 0)" in verdict.message
    assert "with the fatal alert unknown_ca" in verdict.message
    assert each.driver.told == ["reopen", "restore"]


def test_where_nothing_resumes_beside_a_decline_proves_nothing(tried: Try) -> None:
    def forgetful(node: TrustingNode) -> None:
        node.listeners[1]._remembers = False

    each = tried(change=forgetful)
    verdict = each.measure("SEC-05")
    assert (verdict.status, verdict.reason) == (Status.SKIPPED, "nothing_resumes")
    assert "no session resumes on d2, whose CA stays, either" in verdict.message
    assert each.driver.told == ["reopen", "restore"]


def test_an_anchor_that_was_not_replaced_proves_nothing(tried: Try) -> None:
    each = tried()
    each.driver.idle = True
    verdict = each.measure("SEC-05")
    assert (verdict.status, verdict.reason) == (Status.ERROR, "not_replaced")
    assert each.driver.told == ["reopen", "restore"]


def test_an_anchor_that_is_trusted_beside_its_successor_proves_nothing(tried: Try) -> None:
    each = tried()
    reopen, folder = each.driver.reopen, each.node.folder

    def beside_it(node: Any, port: int, cacertfile: Path) -> None:
        both = folder / "both-ca.pem"
        both.write_text((folder / "d1-ca.pem").read_text() + cacertfile.read_text())
        reopen(node, port, both)

    each.driver.reopen = beside_it  # type: ignore[method-assign]
    verdict = each.measure("SEC-05")
    assert (verdict.status, verdict.reason) == (Status.ERROR, "still_trusted"), verdict.message
    assert each.driver.told == ["reopen", "restore"]


@pytest.mark.parametrize("verb", ["reopen", "restore"])
def test_a_driver_that_fails_is_an_error_and_ends_all_disturbing(tried: Try, verb: str) -> None:
    each = tried()
    each.driver.fails[verb] = "not today"
    verdict = each.measure("SEC-05")
    assert (verdict.status, verdict.reason) == (Status.ERROR, "driver_failed")
    assert "not today" in verdict.message
    assert each.driver.told == ["reopen", "restore"]
    assert "a listener was not reopened" in each.bench.not_whole


def test_a_listener_that_stays_with_the_other_ca_is_told(tried: Try) -> None:
    each = tried()

    def nothing(*_: object) -> None:
        each.driver.told.append("restore")

    each.driver.restore = nothing  # type: ignore[assignment, method-assign]
    verdict = each.measure("SEC-05")
    assert (verdict.status, verdict.reason) == (Status.ERROR, "not_restored")
    assert "does not accept its own clients any more" in each.bench.not_whole


def test_a_run_that_is_stopped_restores_the_listener(tried: Try) -> None:
    each = tried()
    reopen = each.driver.reopen

    def and_stop(*how: Any) -> None:
        reopen(*how)
        each.bench.stop.set()

    each.driver.reopen = and_stop  # type: ignore[assignment, method-assign]
    with pytest.raises(Interrupted):
        measured(CHECKS["SEC-05"], each.bench, ("n1",))
    assert each.driver.told == ["reopen", "restore"]


def test_who_cannot_reopen_skips_with_its_reason(tried: Try) -> None:
    each = tried()
    target = replace(each.target, driver="far", abilities=frozenset(), limits="it is far away")
    (planned,) = make_plan(target, [CHECKS["SEC-05"]], Impact.DISRUPTIVE).checks
    assert planned.skipped is not None
    assert planned.skipped.message == (
        "the far driver cannot reopen a listener with another CA: it is far away")


# -- SEC-06 --------------------------------------------------------------------------------------


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust_ended, "VALID_S", 2)
    monkeypatch.setattr(trust_ended, "_MARGIN_S", 1.0)


@pytest.mark.usefixtures("hurry")
def test_a_session_ends_with_its_certificate(tried: Try) -> None:
    each = tried()
    said: list[str] = []
    each.bench.on_wait = said.append
    before = set(FDS.iterdir())
    verdict = assert_passed_at_its_price(each, "SEC-06")
    assert "with the fatal alert certificate_expired" in verdict.message
    assert "SEC-06 waits" in said[0]
    assert said[-1] == ""
    # The client's key was in memory, and is gone.
    for fd in set(FDS.iterdir()) - before:
        with contextlib.suppress(OSError):
            assert "memfd:client" not in str(fd.readlink())


@pytest.mark.usefixtures("hurry")
def test_a_session_outlives_its_certificate(tried: Try) -> None:
    verdict = tried("outlives_expiry").measure("SEC-06")
    assert (verdict.status, verdict.reason) == (Status.FAILED, "resumed_after_expiry")
    assert "resumed on d1 a session whose client certificate had expired" in verdict.message
    assert "with the fatal alert certificate_expired" in verdict.message


@pytest.mark.usefixtures("hurry")
def test_a_node_that_forgets_everything_proves_nothing(tried: Try) -> None:
    each = tried()

    def forget(what: str) -> None:
        if not what:
            each.node.listeners[0].trusts(each.node.folder / "d1-ca.pem")

    each.bench.on_wait = forget
    verdict = each.measure("SEC-06")
    assert (verdict.status, verdict.reason) == (Status.ERROR, "forgotten")


def test_a_clock_that_is_behind_proves_nothing(tried: Try,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust_ended, "_MARGIN_S", -trust_ended.VALID_S)
    verdict = tried().measure("SEC-06")
    assert (verdict.status, verdict.reason) == (Status.ERROR, "not_refused")
    assert "does its clock agree with this machine's?" in verdict.message


def test_a_run_that_is_stopped_does_not_wait(tried: Try) -> None:
    each = tried()
    each.bench.on_wait = lambda what: each.bench.stop.set() if what else None
    begun = datetime.datetime.now(datetime.timezone.utc)
    with pytest.raises(Interrupted):
        measured(CHECKS["SEC-06"], each.bench, ("n1",))
    assert (datetime.datetime.now(datetime.timezone.utc) - begun).total_seconds() < 3


def test_a_ca_that_cannot_issue_is_an_error(tried: Try) -> None:
    each = tried()
    Path(each.node.domains[0].ca_key or "").write_text("rubbish")
    verdict = each.measure("SEC-06")
    assert (verdict.status, verdict.reason) == (Status.ERROR, "ca_unusable")


@pytest.mark.parametrize(("change", "says"), [
    ({"domains": ()}, "with ca_cert and ca_key to issue one that expires"),
    ({"max_wait": 3.0}, ("it waits 7 s for a client certificate to expire, and "
                           "resumption_max_wait is 3")),
    ({"session_lifetime": 7}, ("it waits 7 s for a client certificate to expire, and a session "
                               "lives 7 s")),
])
def test_what_cannot_be_waited_for_is_skipped(tried: Try, change: dict[str, Any],
                                              says: str) -> None:
    each = tried(**change)
    (planned,) = make_plan(each.target, [CHECKS["SEC-06"]], Impact.NOISY).checks
    assert planned.skipped is not None
    assert says in planned.skipped.message


def test_without_cryptography_no_certificate_can_be_issued(
        tried: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust_ended, "CERTIFICATES", False)
    (planned,) = make_plan(tried().target, [CHECKS["SEC-06"]], Impact.NOISY).checks
    assert planned.skipped is not None
    assert planned.skipped.reason == "cryptography_missing"


# -- a whole run ---------------------------------------------------------------------------------


def rows(node: TrustingNode, /, **changed: Any) -> list[dict[str, Any]]:
    return [{"node": "n1", **asdict(domain), **changed} for domain in node.domains]


@pytest.mark.usefixtures("hurry")
def test_a_whole_run_counts_and_reports_them(run: Callable[..., Any], tried: Try) -> None:
    node = tried("one_cache", count=2).node
    ca = str(node.folder / "ca.pem")
    results = run([node.ordinary.port], ca=ca, trust_domains=rows(node))
    assert results["verdict"] == "failed"
    found = {row["id"]: row for row in results["checks"] if row["id"] in CHECKS}
    assert {check: row["reason"] for check, row in found.items()} == {
        "SEC-01": "resumed_in_other_domain", "SEC-02": "", "SEC-05": "impact_not_allowed",
        "SEC-06": "resumed_after_expiry"}
    budget = results["budget"]["nodes"]["n1"]
    assert budget["handshakes_announced"] == budget["handshakes_done"]
    crossed = [results["handshakes"][key] for key in
               found["SEC-01"]["evidence"]["handshakes"][-4:-2]]
    assert {handshake["port"] for handshake in crossed} == {
        domain.port for domain in node.domains}
    # Secrets are nowhere in the report, the client's key as little as the paths of keys.
    told = str(results)
    assert [word for word in ("PRIVATE KEY", "-key.pem") if word in told] == []
    waiver = {"id": "SEC-01", "subject": "n1", "why": "in March", "expires": "2999-01-01"}
    results = run([node.ordinary.port], ca=ca, trust_domains=rows(node), max_impact="safe",
                  waivers=[waiver])
    (known,) = [row for row in results["checks"] if row["id"] == "SEC-01"]
    assert (results["verdict"], known["status"]) == ("passed", "known")
    assert "in March" in known["evidence"]["waiver"]


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize(("scope", "core_02"), [("none", "passed"), ("node", "failed")])
def test_an_ordinary_listener_without_a_cache_hides_no_session_that_crosses(
        run: Callable[..., Any], tried: Try, scope: str, core_02: str) -> None:
    node = tried("one_cache", "ordinary_has_no_cache", count=2).node
    results = run([node.ordinary.port], ca=str(node.folder / "ca.pem"), trust_domains=rows(node),
                  cache_scope=scope)
    found = {row["id"]: (row["status"], row["reason"]) for row in results["checks"]}
    assert results["verdict"] == "failed"
    assert found["CORE-02"][0] == core_02
    assert {check: found[check] for check in CHECKS} == {
        "SEC-01": ("failed", "resumed_in_other_domain"), "SEC-02": ("skipped", "nothing_resumes"),
        "SEC-05": ("skipped", "impact_not_allowed"), "SEC-06": ("failed", "resumed_after_expiry")}
    if scope == "none":
        budget = results["budget"]["nodes"]["n1"]
        assert budget["handshakes_announced"] == budget["handshakes_done"]


def test_a_client_that_cannot_be_used_is_told_before_anything_starts(
        run: Callable[..., Any], tried: Try) -> None:
    node = tried().node
    ca = str(node.folder / "ca.pem")
    with pytest.raises(EngineError, match="cannot be used: key values mismatch"):
        run([node.ordinary.port], ca=ca, trust_domains=rows(
            node, client_key=str(node.folder / "ca-key.pem")))
    with pytest.raises(RequestError, match="there is no node n9"):
        run([node.ordinary.port], ca=ca, trust_domains=rows(node, node="n9"))
    assert node.ordinary.handshakes == 0
