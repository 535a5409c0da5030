"""What the crafted client cannot speak is told before anything is offered; the rest it speaks."""
from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.checks.security import session_ids
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.run.bench import Bench
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Impact, Status
from ansible_collections.emqx.conformance.plugins.module_utils.run.plan import make_plan
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import Prober
from ansible_collections.emqx.conformance.plugins.module_utils.run.runner import Runner
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust
from ansible_collections.emqx.conformance.plugins.module_utils.tolerance.finding import Finding

from tests.support.mqtt_broker import MqttBroker
from tests.support.openssl_cli import make_identity

CRAFTED = ("NEG-01", "NEG-02", "NEG-07", "SEC-03", "SEC-04")
CHECKS = [check for check in catalogue() if check.id in {*CRAFTED, "CORE-01", "CORE-02"}]


@pytest.fixture
def found(certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
          ) -> Iterator[Callable[[str, str], tuple[dict[str, Finding], Bench]]]:
    """Runs crafted checks with a client key of a kind, on a broker of some suites."""
    monkeypatch.setattr(session_ids, "SAMPLE", 3)
    broker = MqttBroker(*certificate)
    engines = []

    def run(kind: str, ciphers: str) -> tuple[dict[str, Finding], Bench]:
        client = make_identity(tmp_path, "client", kind=kind)
        broker.context.load_verify_locations(client.certificate)
        broker.context.verify_mode = ssl.CERT_REQUIRED
        broker.context.set_ciphers(ciphers)
        engines.append(OrdinaryEngine(
            Trust(str(certificate[0]), str(client.certificate), str(client.key))))
        bench = Bench(Prober(engines[-1], Target(
            {"n1": Endpoint("n1", "127.0.0.1", broker.port, "localhost")},
            Settings(deadline_s=3.0)), threading.Event()))
        findings: list[Finding] = []
        plan = make_plan(bench.target, CHECKS, Impact.NOISY)
        Runner(bench, plan, on_verdict=lambda *told: findings.append(Finding(*told))).run()
        return {finding.check.id: finding for finding in findings}, bench

    yield run
    broker.stop()
    for engine in engines:
        engine.close()


@pytest.mark.parametrize(("kind", "ciphers"), [
    ("Ed25519", "DEFAULT"), ("RSA-PSS", "DEFAULT"), ("P-384", "ECDHE-ECDSA-AES256-SHA384"),
    ("RSA", "ECDHE-ECDSA-AES256-CCM")])
def test_what_the_ordinary_client_does_the_crafted_one_does(
        found: Callable[[str, str], tuple[dict[str, Finding], Bench]], kind: str,
        ciphers: str) -> None:
    findings, _ = found(kind, ciphers)
    said = {check: finding.verdict for check, finding in findings.items()}
    # A sample of three is too small to be unpredictable, and was taken.
    assert said.pop("SEC-03").reason == "predictable_bits"
    assert {verdict.status for verdict in said.values()} == {Status.PASSED}, said


@pytest.mark.parametrize(("kind", "ciphers", "reason", "says"), [
    ("DSA", "DEFAULT", "client_key_not_spoken", "let in by n1, but the client certificate"),
    ("RSA", "ECDHE-ECDSA-CAMELLIA256-SHA384", "cipher_not_spoken",
     "n1 chose ECDHE-ECDSA-CAMELLIA256-SHA384 of all cipher suites"),
])
def test_what_it_cannot_is_told_before_anything_is_offered(
        found: Callable[[str, str], tuple[dict[str, Finding], Bench]], *, kind: str, ciphers: str,
        reason: str, says: str) -> None:
    findings, bench = found(kind, ciphers)
    for check in CRAFTED:
        verdict = findings[check].verdict
        assert (verdict.status, verdict.reason) == (Status.SKIPPED, reason), verdict.message
        assert says in verdict.message
        assert not bench.ledger.made[check]
    assert findings["CORE-02"].verdict.status is Status.PASSED
    assert len(bench.ledger.handshakes) == 2
