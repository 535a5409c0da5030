"""NEG against right servers of two TLS libraries, and against one defect at a time."""
from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint, Outcome
from ansible_collections.emqx.conformance.plugins.module_utils.run import preconditions
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import (
    Impact,
    Status,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.plan import make_plan
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.faulty_servers.message_server import MessageServer
from tests.support.lab import Lab
from tests.support.mqtt_broker import MqttBroker
from tests.support.openssl_cli import make_identity

CHECKS = {check.id: check for check in catalogue() if check.family == "NEG"}
_SCHEMA = json.loads((Path(__file__).parents[3] / "schemas/results.schema.json").read_text())
HANDSHAKE_SCHEMA = {"$ref": "#/$defs/handshake", "$defs": _SCHEMA["$defs"]}
TARGET = Target({"n1": Endpoint("n1", "127.0.0.1", 1, "localhost")}, Settings())


@pytest.fixture(scope="module")
def rsa_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed RSA certificate for localhost, and its key."""
    made = make_identity(tmp_path_factory.mktemp("rsa"), "localhost")
    return made.certificate, made.key


Try = Callable[..., Lab]


@pytest.fixture
def faulty(rsa_certificate: tuple[Path, Path]) -> Iterator[Try]:
    made: list[tuple[MessageServer, Lab]] = []

    def make(*faults: str) -> Lab:
        server = MessageServer(*rsa_certificate, *faults)
        made.append((server, Lab(server.port, Trust(str(rsa_certificate[0]))).establish()))
        return made[-1][1]

    yield make
    for server, tried in made:
        server.stop()
        tried.close()


@pytest.mark.parametrize("check", sorted(CHECKS))
def test_a_right_server_passes(faulty: Try, check: str) -> None:
    faulty().passes_at_its_price(check)


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
    tried = Lab(broker.port, trust).establish()
    if check == "NEG-09":
        # OpenSSL acknowledges a name only to an application that has looked at it.
        verdict = tried.measure(check)
        assert (verdict.status, verdict.reason) == (Status.INFO, "resumed_under_other_name")
    else:
        tried.passes_at_its_price(check)
    tried.close()


# One defect at a time is what tests/faulty_servers/servers.yml is about.
def test_who_resumes_nothing_at_last_fails_where_the_rightful_owner_asks(faulty: Try) -> None:
    verdict = faulty("closes_when_resuming").measure("NEG-04")
    assert (verdict.status, verdict.reason) == (Status.FAILED, "connection_closed")
    assert "closed" in verdict.message


@pytest.mark.parametrize("fault", [
    "alerts_on_unknown_id", "accepts_wrong_secret", "no_renegotiation_info_when_resumed"])
def test_a_defect_does_not_fail_the_others(faulty: Try, fault: str) -> None:
    for check in {"alerts_on_unknown_id": ("NEG-11",),
                  "accepts_wrong_secret": ("NEG-01", "NEG-02", "NEG-03", "NEG-07", "NEG-11"),
                  "no_renegotiation_info_when_resumed": ("NEG-01", "NEG-07")}[fault]:
        tried = faulty(fault)
        assert tried.measure(check).status is Status.PASSED


def test_the_alert_of_the_target_is_told_as_its_own(faulty: Try) -> None:
    verdict = faulty().measure("NEG-04")
    lie = verdict.handshakes[2]
    assert [(alert.raised_by, alert.level, alert.description) for alert in lie.alerts] == [
        ("target", "fatal", "bad_record_mac")]
    assert lie.outcome is Outcome.REFUSED
    assert "the rightful owner has forgotten the session" in verdict.message


@pytest.mark.parametrize(("faults", "reason", "says"), [
    (("one_suite",), "", "it speaks no other suite of ours: without a session it raises handshake"),
    # What one suite does not excuse: to go on with it all the same.
    (("one_suite", "resumes_with_unoffered_suite"), "resumed_with_unoffered_suite", "resumed"),
    # Where that is known, it must not hide this.
    (("breaks_when_not_preferred", "resumes_with_unoffered_suite"), "refused", "and all suites"),
    ((), "", "ECDHE-RSA-AES256-GCM-SHA384 with all suites, it resumed with ECDHE-RSA-AES256-GCM-S"),
])
def test_the_suites_that_a_target_has_are_told(faulty: Try, faults: tuple[str, ...], reason: str,
                                               says: str) -> None:
    verdict = faulty(*faults).measure("NEG-05")
    assert (verdict.reason, says in verdict.message) == (reason, True), verdict.message


def test_openssl_that_looks_at_names_resumes_under_another_one(
        brokers: Callable[..., MqttBroker], certificate: tuple[Path, Path]) -> None:
    broker = brokers()
    # As every application does that serves several names; OpenSSL leaves the rest to it.
    broker.context.sni_callback = lambda _tls, _name, _context: None
    tried = Lab(broker.port, Trust(str(certificate[0]))).establish()
    verdict = tried.measure("NEG-09")
    assert (verdict.status, verdict.reason) == (Status.FAILED, "resumed_under_other_name")
    assert [handshake.sni_acknowledged for handshake in verdict.handshakes] == [
        True, True, False, False, False, False, False]
    tried.close()


def test_where_the_server_name_is_an_address_a_name_is_made_up(faulty: Try) -> None:
    tried = faulty()
    tried.bench.nodes["n1"] = replace(tried.bench.nodes["n1"], server_name="127.0.0.1")
    verdict = tried.measure("NEG-09")
    assert verdict.status is Status.PASSED
    assert [handshake.server_name for handshake in verdict.handshakes] == [
        "first.example", "first.example", "first.example", "second.example", None, None,
        "first.example"]
    assert [handshake.sni_acknowledged for handshake in verdict.handshakes] == [
        True, True, False, True, False, False, False]


def test_a_target_that_knows_no_name_of_ours_is_not_judged_by_names(faulty: Try) -> None:
    tried = faulty("knows_localhost_alone")
    assert tried.measure("NEG-09").status is Status.PASSED
    tried = faulty("knows_localhost_alone")
    tried.bench.nodes["n1"] = replace(tried.bench.nodes["n1"], server_name="127.0.0.1")
    verdict = tried.measure("NEG-09")
    assert (verdict.status, verdict.reason) == (Status.SKIPPED, "no_name_known")
    assert "emqx_tls_server_name" in verdict.message


def test_neither_deviation_hides_the_other(faulty: Try) -> None:
    verdict = faulty("resumes_after_alert", "resumes_after_wrong_finished").measure("NEG-08")
    assert verdict.reason == "resumed_after_alert_and_wrong_finished"


def test_a_session_id_too_long_is_in_the_evidence_as_it_was_sent(faulty: Try) -> None:
    verdict = faulty().measure("NEG-03")
    control, too_long = verdict.handshakes[:2]
    assert too_long.offered_id[:32] == control.offered_id
    assert (len(too_long.offered_id), too_long.server_id) == (33, b"")
    assert control.outcome is Outcome.FULL
    evidence = too_long.as_dict()
    jsonschema.validate(evidence, HANDSHAKE_SCHEMA)
    with pytest.raises(jsonschema.ValidationError, match="does not match"):
        jsonschema.validate({**evidence, "server_id": evidence["offered_id"]}, HANDSHAKE_SCHEMA)
    assert [(alert.raised_by, alert.level, alert.description) for alert in too_long.alerts] == [
        ("target", "fatal", "decode_error")]


def test_our_own_fatal_alert_is_told_as_ours(faulty: Try) -> None:
    verdict = faulty().measure("NEG-08")
    raised = [handshake.alerts for handshake in verdict.handshakes if any(
        alert.raised_by == "client" for alert in handshake.alerts)]
    assert [alert.description for (alert,) in raised] == [
        "bad_record_mac", "handshake_failure", "internal_error"]


def test_without_tlslite_crafted_checks_are_skipped_and_say_what_to_install(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preconditions, "CRAFTED", False)
    plan = make_plan(TARGET, catalogue(), Impact.NOISY)
    missing = {planned.check.id: planned.skipped for planned in plan.checks
               if planned.skipped and planned.skipped.reason == "tlslite_missing"}
    assert set(missing) & CHECKS.keys() == set(CHECKS) - {"NEG-11"}
    assert all("pip install tlslite-ng==" in verdict.message for verdict in missing.values())


def test_where_nothing_resumes_only_the_unknown_id_is_offered() -> None:
    target = replace(TARGET, settings=Settings(cache_scope="none"))
    plan = make_plan(target, CHECKS.values(), Impact.NOISY)
    assert {planned.check.id for planned in plan.checks if planned.subjects} == {"NEG-01"}
