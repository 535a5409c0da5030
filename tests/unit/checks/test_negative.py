"""NEG against right servers of two TLS libraries, and against one defect at a time."""
from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks import preconditions
from ansible_collections.emqx.conformance.plugins.module_utils.checks.bench import (
    Bench,
    Settings,
    Target,
)
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.checks.plan import make_plan
from ansible_collections.emqx.conformance.plugins.module_utils.checks.registry import (
    Check,
    Cost,
    Impact,
    Status,
    Verdict,
)
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint, Outcome
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import (
    OrdinaryEngine,
    Trust,
)

from tests.faulty_servers.message_server import MessageServer
from tests.support.mqtt_broker import MqttBroker
from tests.support.openssl_cli import make_identity

CHECKS = {check.id: check for check in catalogue() if check.family == "NEG"}
TARGET = Target({"n1": Endpoint("n1", "127.0.0.1", 1, "localhost")}, Settings())


@pytest.fixture(scope="module")
def rsa_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed RSA certificate for localhost, and its key."""
    made = make_identity(tmp_path_factory.mktemp("rsa"), "localhost")
    return made.certificate, made.key


class Tried:
    """A server, and a bench on it with a session."""

    def __init__(self, port: int, trust: Trust) -> None:
        self.engine = OrdinaryEngine(trust)
        self.bench = Bench(self.engine, Target(
            {"n1": Endpoint("n1", "127.0.0.1", port, "localhost")}, Settings(deadline_s=2.0)),
            threading.Event())
        first = self.bench.fresh_session("n1")
        assert first.session is not None, first.handshake.why
        self.before = len(self.bench.handshakes)

    def measure(self, check: str) -> Verdict:
        verdict = CHECKS[check].measure(self.bench, ("n1",))
        # Every connection is counted, and each is evidence of the check that made it.
        assert self.bench.handshakes[self.before:] == list(verdict.handshakes)
        return verdict


Try = Callable[..., Tried]


@pytest.fixture
def faulty(rsa_certificate: tuple[Path, Path]) -> Iterator[Try]:
    made: list[tuple[MessageServer, Tried]] = []

    def make(*faults: str) -> Tried:
        server = MessageServer(*rsa_certificate, *faults)
        made.append((server, Tried(server.port, Trust(str(rsa_certificate[0])))))
        return made[-1][1]

    yield make
    for server, tried in made:
        server.stop()
        tried.engine.close()


def cost(check: Check) -> Cost:
    return check.cost_for(TARGET)


def assert_passed_at_its_price(verdict: Verdict, check: str) -> None:
    assert (verdict.status, verdict.reason) == (Status.PASSED, ""), verdict.message
    assert len(verdict.handshakes) == cost(CHECKS[check]).total
    full = sum(handshake.outcome is Outcome.FULL for handshake in verdict.handshakes)
    assert full <= cost(CHECKS[check]).full
    assert not any(handshake.failure is None and (
        handshake.mqtt is None or handshake.mqtt.cause) for handshake in verdict.handshakes)


@pytest.mark.parametrize("check", sorted(CHECKS))
def test_a_right_server_passes(faulty: Try, check: str) -> None:
    assert_passed_at_its_price(faulty().measure(check), check)


@pytest.mark.parametrize("client_certificate", [False, True])
@pytest.mark.parametrize("check", sorted(CHECKS))
def test_openssl_passes(brokers: Callable[..., MqttBroker], certificate: tuple[Path, Path],
                        check: str, client_certificate: bool) -> None:
    broker = brokers()
    trust = Trust(str(certificate[0]))
    if client_certificate:
        broker.context.load_verify_locations(certificate[0])
        broker.context.verify_mode = ssl.CERT_REQUIRED
        trust = Trust(str(certificate[0]), *map(str, certificate))
    tried = Tried(broker.port, trust)
    assert_passed_at_its_price(tried.measure(check), check)
    tried.engine.close()


@pytest.mark.parametrize(("fault", "check", "status", "reason", "says"), [
    ("alerts_on_unknown_id", "NEG-01", Status.FAILED, "refused", "illegal_parameter"),
    ("warns_on_unknown_id", "NEG-01", Status.FAILED, "alert", "no_renegotiation"),
    ("alerts_on_unknown_id", "NEG-02", Status.FAILED, "refused", "one bit flipped"),
    ("compares_first_half", "NEG-02", Status.FAILED, "resumed", "one bit flipped"),
    ("forgets_after_near_miss", "NEG-02", Status.FAILED, "not_resumed", "no longer resumes"),
    ("accepts_wrong_secret", "NEG-04", Status.FAILED, "accepted_wrong_secret", "application data"),
    ("hangs_on_wrong_secret", "NEG-04", Status.FAILED, "no_alert", "nor closed"),
    ("closes_on_wrong_secret", "NEG-04", Status.WARNED, "closed_without_alert", "still resumes"),
    ("closes_when_resuming", "NEG-04", Status.FAILED, "connection_closed", "closed"),
    ("keeps_hello", "NEG-07", Status.FAILED, "resumed", "after the target's ServerHelloDone"),
    ("keeps_unfinished", "NEG-07", Status.FAILED, "resumed", "after our ClientKeyExchange"),
    ("no_renegotiation_info_when_resumed", "NEG-11", Status.FAILED, "not_signalled",
     "renegotiation_info"),
])
def test_a_defect_fails_its_check(faulty: Try, *, fault: str, check: str, status: Status,
                                  reason: str, says: str) -> None:
    verdict = faulty(fault).measure(check)
    assert (verdict.status, verdict.reason) == (status, reason), verdict.message
    assert says in verdict.message


@pytest.mark.parametrize("fault", [
    "alerts_on_unknown_id", "accepts_wrong_secret", "no_renegotiation_info_when_resumed"])
def test_a_defect_does_not_fail_the_others(faulty: Try, fault: str) -> None:
    for check in {"alerts_on_unknown_id": ("NEG-04", "NEG-11"),
                  "accepts_wrong_secret": ("NEG-01", "NEG-02", "NEG-07", "NEG-11"),
                  "no_renegotiation_info_when_resumed": ("NEG-01", "NEG-07")}[fault]:
        tried = faulty(fault)
        assert tried.measure(check).status is Status.PASSED


def test_the_alert_of_the_target_is_told_as_its_own(faulty: Try) -> None:
    verdict = faulty().measure("NEG-04")
    lie = verdict.handshakes[1]
    assert [(alert.raised_by, alert.level, alert.description) for alert in lie.alerts] == [
        ("target", "fatal", "bad_record_mac")]
    assert lie.outcome is Outcome.REFUSED
    assert "the rightful owner still resumes" in verdict.message


def test_without_tlslite_crafted_checks_are_skipped_and_say_what_to_install(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preconditions, "CRAFTED", False)
    plan = make_plan(TARGET, catalogue(), Impact.NOISY)
    missing = {planned.check.id: planned.skipped for planned in plan.checks
               if planned.skipped and planned.skipped.reason == "tlslite_missing"}
    assert set(missing) & CHECKS.keys() == {"NEG-01", "NEG-02", "NEG-04", "NEG-07"}
    assert all("pip install tlslite-ng==" in verdict.message for verdict in missing.values())


def test_where_nothing_resumes_only_the_unknown_id_is_offered() -> None:
    target = replace(TARGET, settings=Settings(cache_scope="none"))
    plan = make_plan(target, CHECKS.values(), Impact.NOISY)
    assert {planned.check.id for planned in plan.checks if planned.subjects} == {"NEG-01"}
