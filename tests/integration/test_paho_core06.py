"""CORE-06 on embedded nodes, in both versions of MQTT."""
from __future__ import annotations

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded import control

from tests.support.playbooks import ROOT, Cluster

CONNECTIONS = 5


@pytest.mark.parametrize(("asked", "spoken"), [("auto", "5"), ("3.1.1", "3.1.1")])
def test_mqtt_is_whole_on_resumed_connections(cluster: Cluster, asked: str, spoken: str) -> None:
    run_dirs = [ROOT / ".cluster" / cluster.name / f"emqx{number}" for number in (1, 2, 3)]
    before = [control.status(run_dir)["handshakes"]["accepted"] for run_dir in run_dirs]
    # Of safe checks it is known how many handshakes they make on any target.
    done = cluster.play("verify.yml", "-e", f"resumption_mqtt_version={asked}",
                        "-e", "resumption_max_impact=safe")
    assert done.code == 0, done.output
    results = cluster.results()
    rows = [row for row in results["checks"] if row["id"] == "CORE-06"]
    assert [row["message"] for row in rows] == [
        f"{row['subject']} carries MQTT {spoken} over {CONNECTIONS} resumed connections; "
        "a persistent session was kept" for row in rows]
    assert {row["status"] for row in rows} == {"passed"}
    for row in rows:
        evidence = [results["handshakes"][key] for key in row["evidence"]["handshakes"]]
        assert len(evidence) == CONNECTIONS
        assert all(handshake["outcome"] == "resumed" and all(handshake["witnesses"].values())
                   and handshake["mqtt"]["cause"] == "" for handshake in evidence)
    after = [control.status(run_dir)["handshakes"]["accepted"] for run_dir in run_dirs]
    announced = results["budget"]["nodes"].values()
    assert [now - was for was, now in zip(before, after)] == [
        node["handshakes_announced"] for node in announced]
