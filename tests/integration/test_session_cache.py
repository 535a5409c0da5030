"""Real nodes that forget sessions after seconds and keep few: what is measured is what they are."""
from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.emqx.conformance.plugins.module_utils import verify as v
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.checks.security import session_ids
from ansible_collections.emqx.conformance.plugins.module_utils.run.bench import Bench
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Status
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import Prober
from ansible_collections.emqx.conformance.plugins.module_utils.run.story import measured
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.support.embedded_cluster import ROOT, TestCluster
from tests.support.ports import free_ports

LIFETIME, PLACES = 10, 100
CHECKS = {check.id: check for check in catalogue()}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory,
            certificate: tuple[Path, Path]) -> Iterator[TestCluster]:
    """Two nodes that remember 100 sessions for 10 seconds."""
    ports = free_ports(2)
    made = TestCluster(tmp_path_factory.mktemp("node"), certificate,
                       {"emqx1": ports[0], "emqx2": ports[1]}, session_lifetime=LIFETIME,
                       session_cache_max=PLACES)
    with made.running():
        yield made


def verified(cluster: TestCluster, folder: Path) -> dict[str, Any]:
    results, _ = v.verify(v.request({
        "nodes": [{"name": node, "host": "127.0.0.1", "port": port, "server_name": "localhost"}
                  for node, port in cluster.ports.items()],
        "driver": "external", "ca": str(cluster.certificate[0]), "client_cert": None,
        "client_key": None, "cache_scope": "node", "session_cache_max": PLACES,
        "session_lifetime": LIFETIME, "max_wait": 30, "rate_limit": None, "timeout": 5.0,
        "tls_versions": ["tlsv1.2"], "mqtt_version": "auto", "mqtt_username": None,
        "mqtt_password": None, "mqtt_client_id_prefix": "x-", "mqtt_topic": "x",
        "max_impact": "disruptive", "reports_dir": str(folder), "waivers": [], "parallel": 4,
        "progress_file": None, "page_template": str(ROOT / "templates/report.html.j2")}),
        threading.Event())
    return results


def test_short_lived_sessions_and_a_small_cache_are_measured_and_disturb_no_other_check(
        cluster: TestCluster, tmp_path: Path) -> None:
    results = verified(cluster, tmp_path)
    jsonschema.validate(json.loads(json.dumps(results)),
                        json.loads((ROOT / "schemas/results.schema.json").read_text()))
    bad = [(row["id"], row["reason"], row["message"]) for row in results["checks"]
           if row["status"] in ("failed", "error")]
    # What Erlang/OTP itself does wrong is not the matter here.
    assert [row for row in bad if row[0].partition("-")[0] != "NEG"] == []
    expiry = [row for row in results["checks"] if row["id"] == "LIFE-03"]
    capacity = [row for row in results["checks"] if row["id"] == "LIFE-04"]
    assert {row["status"] for row in expiry + capacity} == {"passed"}
    for row in expiry:
        asked = [(ask["age_s"] < LIFETIME, ask["resumed"]) for ask in row["data"]["asked"]]
        assert asked == [(True, True), (False, False), (False, False)]
    for row in capacity:
        assert (row["data"]["remembered"], row["data"]["forgotten"]) == (PLACES, PLACES + 1)
    for budget in results["budget"]["nodes"].values():
        assert budget["handshakes_done"] == (
            budget["handshakes_announced"] + budget["renewals"] + budget["spoilt"])
        # LIFE-04 alone made more than that.
        assert budget["sessions_made"] > PLACES
    # Of SEC-03 one handshake is listed; of LIFE-04 none of those that fill the cache.
    done = sum(budget["handshakes_done"] for budget in results["budget"]["nodes"].values())
    assert done - len(results["handshakes"]) == 2 * (session_ids.SAMPLE - 1 + 126)


@pytest.mark.parametrize(("check", "settings", "reason"), [
    ("LIFE-03", {"session_lifetime": 2}, "resumed_after_lifetime"),
    ("LIFE-03", {"session_lifetime": 16}, "expired_early"),
    ("LIFE-04", {"session_cache_max": 50}, "remembers_more"),
    ("LIFE-04", {"session_cache_max": 130}, "forgets_early"),
])
def test_another_setting_than_the_nodes_is_found_out(
        cluster: TestCluster, check: str, settings: dict[str, Any], reason: str) -> None:
    engine = OrdinaryEngine(Trust(ca_file=str(cluster.certificate[0])))
    bench = Bench(Prober(engine, Target({"emqx1": cluster.endpoint("emqx1")}, Settings(**settings)),
                  threading.Event()))
    verdict = measured(CHECKS[check], bench, ("emqx1",))
    engine.close()
    assert (verdict.status, verdict.reason) == (Status.FAILED, reason), verdict.message
