"""Which suites are offered to whom, and that a password goes where it must not go only by need."""
from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils import verify as v
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import NodeSpec
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.ready import Caller
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint, Outcome
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.credentials import Credentials
from ansible_collections.emqx.conformance.plugins.module_utils.run.bench import Bench
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Status, Verdict
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import Prober
from ansible_collections.emqx.conformance.plugins.module_utils.run.story import measured
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import (
    CCM_8_LEFT_OUT,
    OrdinaryEngine,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.support.mqtt_broker import MqttBroker
from tests.support.openssl_cli import CertifiedKey, make_identity

CHECKS = {check.id: check for check in catalogue()}
SECRET = Credentials("probe", "secret")
ALONE, PREFERRED = "AES256-GCM-SHA384:AES128-SHA", "AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"


class AskedBroker(MqttBroker):
    """Counts those who tell the password."""

    told = 0

    def knows(self, wanted: Any) -> bool:
        """Count."""
        self.told += wanted.password == SECRET.password
        return super().knows(wanted)


@pytest.fixture(scope="module")
def rsa(tmp_path_factory: pytest.TempPathFactory) -> CertifiedKey:
    """An RSA certificate."""
    return make_identity(tmp_path_factory.mktemp("rsa"), "localhost")


@pytest.fixture
def node(rsa: CertifiedKey) -> Iterator[Callable[[str], AskedBroker]]:
    """Starts a broker of these suites, in its own order of preference."""
    nodes: list[AskedBroker] = []

    def start(ciphers: str) -> AskedBroker:
        nodes.append(AskedBroker(rsa.certificate, rsa.key, password=SECRET.password))
        nodes[-1].context.set_ciphers(ciphers)
        nodes[-1].context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        return nodes[-1]

    yield start
    for one in nodes:
        one.stop()


@pytest.fixture
def bench(rsa: CertifiedKey) -> Iterator[Callable[..., Bench]]:
    """Makes the bench of a run with a password."""
    engines: list[OrdinaryEngine] = []

    def make(*ports: int) -> Bench:
        engines.append(OrdinaryEngine(Trust(str(rsa.certificate)), forward_secret=True))
        return Bench(Prober(engines[-1], Target(
            {f"n{number}": Endpoint(f"n{number}", "127.0.0.1", port, "localhost")
             for number, port in enumerate(ports, 1)},
            Settings(deadline_s=2.0, credentials=SECRET)), threading.Event()))

    yield make
    for engine in engines:
        engine.close()


def verdict_of(bench: Bench, check: str, node: str = "n1") -> Verdict:
    bench.ledger.check = check
    return measured(CHECKS[check], bench, (node,))


def test_who_takes_nothing_better_gets_the_password_and_the_report_says_so(
        node: Callable[[str], AskedBroker], bench: Callable[..., Bench]) -> None:
    broker = node(ALONE)
    run = bench(broker.port)
    found = verdict_of(run, "CORE-01")
    assert found.status is Status.PASSED, found.message
    assert "speaks AES256-GCM-SHA384 and no suite with forward secrecy, and got the pass" in \
        found.message
    assert [one.outcome for one in run.ledger.handshakes] == [Outcome.REFUSED, Outcome.FULL]
    assert (run.ledger.made["CORE-01"]["n1"], run.ledger.beyond["second_tries"]["n1"]) == (1, 1)
    assert verdict_of(run, "CORE-02").status is Status.PASSED
    assert verdict_of(run, "NEG-01").status is Status.PASSED
    assert broker.told == 4
    worse = verdict_of(run, "SEC-04")
    assert worse.reason == "static_rsa"
    assert "got the password over it" in worse.message
    assert broker.told == 5


def test_who_prefers_less_gets_the_password_over_the_better_suite_alone(
        node: Callable[[str], AskedBroker], bench: Callable[..., Bench]) -> None:
    broker = node(PREFERRED)
    run = bench(broker.port)
    for check in ("CORE-01", "CORE-02", "NEG-01", "CORE-10"):
        assert verdict_of(run, check).status is Status.PASSED
    assert broker.told == 4
    worse = verdict_of(run, "SEC-04")
    assert (worse.reason, "password" in worse.message) == ("static_rsa", False)
    assert worse.handshakes[0].mqtt is not None
    assert "CONNECT was not sent" in worse.handshakes[0].mqtt.detail
    assert broker.told == 4
    over = {one.cipher for one in run.ledger.handshakes if one.mqtt and one.mqtt.connack_ms}
    assert over == {"ECDHE-RSA-AES128-GCM-SHA256"}


def test_nodes_that_differ_are_each_asked_what_they_take(
        node: Callable[[str], AskedBroker], bench: Callable[..., Bench]) -> None:
    alone, preferring, other = node(ALONE), node(PREFERRED), node(ALONE)
    run = bench(alone.port, preferring.port, other.port)
    assert verdict_of(run, "CORE-01").status is Status.PASSED
    withheld = verdict_of(run, "CORE-01", "n2")
    assert (withheld.status, withheld.reason) == (Status.ERROR, "password_withheld")
    assert "got ECDHE-RSA-AES128-GCM-SHA256" in withheld.message
    assert verdict_of(run, "CORE-01", "n3").status is Status.PASSED
    assert [alone.told, preferring.told, other.told] == [1, 0, 1]


def test_a_session_of_before_is_made_again_once_more_is_offered(
        node: Callable[[str], AskedBroker], bench: Callable[..., Bench]) -> None:
    run = bench(node("ECDHE-RSA-AES128-GCM-SHA256").port, node(ALONE).port)
    before = run.sessions.fresh("n1").session
    assert before is not None
    assert run.prober.engine.can_offer(run.nodes["n1"], before)
    assert run.sessions.fresh("n2").session is not None
    assert not run.prober.engine.can_offer(run.nodes["n1"], before)


def test_without_a_password_all_is_offered_at_once(
        rsa: CertifiedKey, node: Callable[[str], AskedBroker]) -> None:
    engine = OrdinaryEngine(Trust(str(rsa.certificate)))
    for suite in ("AES128-SHA", "AES256-GCM-SHA384", "ECDHE-RSA-AES256-SHA", "AES256-CCM",
                  "ECDHE-RSA-CAMELLIA256-SHA384", "ECDHE-ARIA128-GCM-SHA256"):
        attempt = engine.connect(Endpoint("n1", "127.0.0.1", node(suite).port, "localhost"))
        assert (attempt.handshake.outcome, attempt.handshake.cipher) == (Outcome.FULL, suite)
        assert attempt.stream is not None
        attempt.stream.close()
    engine.close()


def test_a_target_that_takes_nothing_of_ours_is_not_blamed(
        node: Callable[[str], AskedBroker], bench: Callable[..., Bench]) -> None:
    found = verdict_of(bench(node("NULL-SHA256:@SECLEVEL=0").port), "CORE-01")
    assert (found.status, found.reason) == (Status.ERROR, "nothing_in_common")
    assert "handshake_failure on a ClientHello with all of OpenSSL's TLS 1.2" in found.message


def test_a_target_that_takes_ccm_8_alone_is_verified_where_openssl_offers_it(
        node: Callable[[str], AskedBroker], bench: Callable[..., Bench]) -> None:
    found = verdict_of(bench(node("AES128-CCM8:@SECLEVEL=0").port), "CORE-01")
    if CCM_8_LEFT_OUT:
        assert (found.status, found.reason) == (Status.ERROR, "nothing_in_common")
        assert "(but CCM_8, which OpenSSL 3.2 and later call too weak)" in found.message
    else:
        assert found.status is Status.PASSED, found.message


def test_who_asks_whether_a_node_is_ready_is_as_careful(
        rsa: CertifiedKey, node: Callable[[str], AskedBroker]) -> None:
    caller = Caller(Trust(str(rsa.certificate)), SECRET)
    for ciphers, handshakes in ((ALONE, 1), (PREFERRED, 1)):
        broker = node(ciphers)
        spec = NodeSpec("n1", "127.0.0.1", broker.port, "localhost")
        assert caller.connack(spec).version == "5"
        assert (broker.handshakes, broker.told) == (handshakes, 1)
        assert broker.context.session_stats()["accept"] == 1 + (ciphers == ALONE)
    caller.close()


def test_a_whole_run_counts_what_it_asked_more(
        rsa: CertifiedKey, node: Callable[[str], AskedBroker], tmp_path: Path) -> None:
    broker = node(ALONE)
    results = v.observe(v.request({
        "nodes": [{"name": "n1", "host": "127.0.0.1", "port": broker.port,
                   "server_name": "localhost"}],
        "driver": "external", "ca": str(rsa.certificate), "client_cert": None, "client_key": None,
        "cache_scope": "node", "session_cache_max": None, "rate_limit": None, "timeout": 2.0,
        "tls_versions": ["tlsv1.2"], "mqtt_version": "auto", "mqtt_username": "probe",
        "mqtt_password": "secret", "mqtt_client_id_prefix": "x-", "mqtt_topic": "x",
        "max_impact": "safe", "reports_dir": str(tmp_path), "waivers": [], "parallel": 4,
        "progress_file": None, "page_template": None}), threading.Event())
    assert {row["id"]: row["status"] for row in results["checks"]
            if row["status"] not in ("passed", "skipped", "info")} == {"SEC-04": "warned"}
    budget = results["budget"]["nodes"]["n1"]
    assert budget["handshakes_done"] == budget["handshakes_announced"] + 1
    assert (budget["second_tries"], budget["second_tries_up_to"]) == (1, 3)
    assert results["budget"]["differences"] == []
