"""NEG-06, -10 and -12 against right servers of two TLS libraries, and one defect at a time."""
from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import (
    Impact,
    Status,
    Verdict,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.plan import make_plan
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.faulty_servers import message_server
from tests.faulty_servers.message_server import MessageServer
from tests.support.lab import Lab
from tests.support.mqtt_broker import MqttBroker
from tests.support.openssl_cli import make_identity

CHECKS = {check.id: check for check in catalogue()}
OURS = ("NEG-06", "NEG-10", "NEG-12")


@pytest.fixture(scope="module")
def rsa_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed RSA certificate for localhost, and its key."""
    made = make_identity(tmp_path_factory.mktemp("rsa"), "localhost")
    return made.certificate, made.key


Try = Callable[..., Lab]


@pytest.fixture
def faulty(rsa_certificate: tuple[Path, Path]) -> Iterator[Try]:
    made: list[tuple[MessageServer, Lab]] = []

    def make(*faults: str, declares: tuple[str, ...] = ("tlsv1.2", "tlsv1.1")) -> Lab:
        server = MessageServer(*rsa_certificate, *faults)
        made.append((server, Lab(
            server.port, Trust(str(rsa_certificate[0])), tls_versions=declares).establish()))
        return made[-1][1]

    yield make
    for server, tried in made:
        server.stop()
        tried.close()


@pytest.fixture
def openssl(brokers: Callable[..., MqttBroker], certificate: tuple[Path, Path]) -> Iterator[Try]:
    made: list[Lab] = []

    def make(lowest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
             highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2, *,
             client_certificate: bool = False, declares: tuple[str, ...] = ()) -> Lab:
        broker = brokers()
        broker.context.set_ciphers("DEFAULT:@SECLEVEL=0")
        broker.context.minimum_version, broker.context.maximum_version = lowest, highest
        trust = Trust(str(certificate[0]))
        if client_certificate:
            broker.context.load_verify_locations(certificate[0])
            broker.context.verify_mode = ssl.CERT_REQUIRED
            trust = Trust(str(certificate[0]), *map(str, certificate))
        made.append(Lab(broker.port, trust, tls_versions=declares).establish())
        return made[-1]

    yield make
    for tried in made:
        tried.close()


def outcomes(verdict: Verdict) -> list[tuple[str, str]]:
    return [(handshake.outcome.value, handshake.version or "") for handshake in verdict.handshakes]


# -- right servers --------------------------------------------------------------------------------


@pytest.mark.parametrize("check", OURS)
def test_a_right_server_passes(faulty: Try, check: str) -> None:
    faulty("speaks_tls11").passes_at_its_price(check)


@pytest.mark.parametrize("client_certificate", [False, True])
@pytest.mark.parametrize("check", OURS)
def test_openssl_passes(openssl: Try, check: str, client_certificate: bool) -> None:
    openssl(client_certificate=client_certificate).passes_at_its_price(check)


@pytest.mark.parametrize("client_certificate", [False, True])
def test_openssl_of_all_versions_resumes_at_none_but_the_sessions_own(
        openssl: Try, client_certificate: bool) -> None:
    every = ("tlsv1", "tlsv1.1", "tlsv1.2", "tlsv1.3")
    verdict = openssl(ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_3, declares=every,
                      client_certificate=client_certificate).passes_at_its_price("NEG-06")
    assert outcomes(verdict) == [
        ("full", "tlsv1.2"), ("resumed", "tlsv1.2"), ("full", "tlsv1.2"),
        ("full", "tlsv1.1"), ("full", "tlsv1.1"), ("full", "tlsv1.2"),
        ("full", "tlsv1"), ("full", "tlsv1"), ("full", "tlsv1.2"),
        ("full", "tlsv1.2"), ("full", "tlsv1.3"),
        # And in the end each where it must resume.
        ("resumed", "tlsv1.2"), ("resumed", "tlsv1.1"), ("resumed", "tlsv1"),
        ("resumed", "tlsv1.2")]
    both = verdict.handshakes[10]
    assert both.server_id == both.offered_id == verdict.handshakes[9].server_id
    assert "the echoed ID means nothing" in verdict.message


def test_openssl_keeps_rfc_7627_with_both_kinds_of_master_secret(openssl: Try) -> None:
    verdict = openssl().passes_at_its_price("NEG-10")
    assert [(handshake.outcome.value, handshake.extended_master_secret)
            for handshake in verdict.handshakes] == [
        ("full", True), ("full", True), ("resumed", True), ("full", False), ("full", True),
        ("refused", False), ("resumed", True)]
    assert [(alert.raised_by, alert.description) for alert in verdict.handshakes[-2].alerts] == [
        ("target", "handshake_failure")]


def test_a_target_of_undeclared_versions_may_refuse_the_others(faulty: Try) -> None:
    verdict = faulty(declares=()).passes_at_its_price("NEG-06")
    assert outcomes(verdict)[3:] == [("refused", ""), ("full", "tlsv1.2"), *[
        ("resumed", "tlsv1.2")] * 3]
    assert "answers a client of TLS 1.1 with the alert protocol_version" in verdict.message
    assert "stays with TLS 1.2 for a client that also speaks TLS 1.3" in verdict.message


def test_a_session_may_resume_at_its_own_version_for_a_client_that_speaks_a_better_one(
        faulty: Try) -> None:
    # GnuTLS 3.7 does.
    verdict = faulty("goes_back_to_the_sessions_version").measure("NEG-06")
    assert verdict.status is Status.PASSED
    assert "goes back to TLS 1.1 for a client of TLS 1.2" in verdict.message


def test_a_target_without_legacy_clients_is_right_too(faulty: Try) -> None:
    verdict = faulty("refuses_without_ems").measure("NEG-10")
    assert verdict.status is Status.PASSED
    assert "refuses clients without it (handshake_failure)" in verdict.message


@pytest.mark.parametrize(("declared", "asked"), [
    (("tlsv1.2",), False), (("tlsv1.2", "tlsv1.3"), True), ((), True), (("tlsv1.2", "tlsv1"), True),
])
def test_without_another_version_there_is_nothing_to_ask(
        declared: tuple[str, ...], asked: bool) -> None:
    target = Target({"n1": Endpoint("n1", "127.0.0.1", 1, "localhost")},
                    Settings(tls_versions=declared))
    (planned,) = make_plan(target, [CHECKS["NEG-06"]], Impact.NOISY).checks
    assert bool(planned.subjects) is asked
    if not asked:
        assert planned.skipped is not None
        assert planned.skipped.reason == "precondition"
        assert "no version but TLS 1.2" in planned.skipped.message


# -- one defect at a time, where it is not in tests/faulty_servers/servers.yml ---------------------


@pytest.mark.parametrize(("fault", "reason", "says", "spared"), [
    # Who resumes nothing with extended master secret resumes nothing for anybody of today.
    ("declines_ems_sessions", "not_resumed", "offers it again", Status.ERROR),
    ("drops_ems_when_resumed", "ems_dropped", "ServerHello", Status.PASSED),
])
def test_a_defect_fails_its_check(faulty: Try, *, fault: str, reason: str, says: str,
                                  spared: Status) -> None:
    verdict = faulty(fault).measure("NEG-10")
    assert (verdict.status, verdict.reason) == (Status.FAILED, reason), verdict.message
    assert says in verdict.message
    for other in set(OURS) - {"NEG-10"}:
        assert faulty(fault).measure(other).status is spared


def test_a_suite_that_the_older_version_does_not_have_is_told(
        faulty: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    # As OTP 27 resumes, which has no suite at all for a full handshake of TLS 1.1.
    monkeypatch.setattr(message_server, "OLD_SUITE", message_server.SUITE)
    verdict = faulty("resumes_at_other_version").measure("NEG-06")
    assert verdict.reason == "resumed_at_other_version"
    assert "ECDHE-RSA-AES128-GCM-SHA256, which that version does not have" in verdict.message
    assert verdict.handshakes[-1].mqtt is not None
    assert not verdict.handshakes[-1].mqtt.cause


def test_a_shape_that_breaks_is_named_and_does_not_spoil_the_others(faulty: Try) -> None:
    verdict = faulty("chokes_on_segments").measure("NEG-12")
    assert [text.partition(" does not")[0] for text in verdict.message.split("; ")] == [
        "n1: a ClientHello in TCP segments of 5 bytes",
        "a ClientHello with all that GREASE, in small records and segments at once,"]
