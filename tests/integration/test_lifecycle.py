"""Nodes restarted and killed by the shipped playbooks, and what is left of the cluster then."""
from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest

from tests.support.playbooks import ROOT, WITHOUT_FIGURES, Cluster
from tests.support.terminal import CTRL_C, Terminal

DISRUPTIVE = ("-e", "resumption_max_impact=disruptive")
SAFE = ("-e", "resumption_max_impact=safe")
BRIEF = ("-e", json.dumps({"resumption_skip_checks": dict.fromkeys(
    ("NEG", "PERF-01"), "tests/integration/test_journey.py has them")}))
NODES = ["emqx1", "emqx2", "emqx3"]
VARIABLES = {"emqx_session_cache_max": 60}
"""So that LIFE-04 has little to fill."""


def rows(results: dict[str, Any], check: str) -> list[dict[str, Any]]:
    return [row for row in results["checks"] if row["id"] == check]


def statuses(results: dict[str, Any], check: str) -> list[tuple[str, str]]:
    return [(row["subject"], row["status"]) for row in rows(results, check)]


def await_refused(cluster: Cluster, count: int, *, within_s: float) -> None:
    """Return when so many nodes refuse connections.

    Connections are tried, since a list of sockets is not exact while others come and go.
    """
    end = time.monotonic() + within_s
    while (refused := sum(map(refuses, cluster.ports))) != count:
        assert time.monotonic() < end, f"{refused} instead of {count} nodes refuse connections"
        time.sleep(0.01)


def refuses(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) != 0


def test_check_mode_announces_and_disturbs_nobody(cluster: Cluster) -> None:
    before = cluster.pids()
    done = cluster.play("verify.yml", "--check", *DISRUPTIVE)
    assert done.code == 0, done.output
    assert "nothing else breaks: 3 nodes, one after the other" in done.flat
    assert "emqx1: 480 handshakes, of which 145 full" in done.flat
    assert cluster.pids() == before


def test_every_node_is_restarted_and_killed_and_the_cluster_is_whole_again(
        cluster: Cluster) -> None:
    before = cluster.pids()
    done = cluster.play("verify.yml", *DISRUPTIVE)
    assert done.code == 0, done.output
    results = cluster.results()
    assert results["verdict"] == "passed"
    for check in ("LIFE-01", "LIFE-02", "LIFE-04"):
        assert statuses(results, check) == [(node, "passed") for node in NODES]
    assert "the 2 other nodes still resume theirs" in rows(results, "LIFE-01")[0]["message"]
    [skipped] = rows(results, "LIFE-05")
    assert (skipped["status"], skipped["reason"]) == ("skipped", "precondition")
    assert "all embedded nodes share this machine's network" in skipped["message"]
    for budget in results["budget"]["nodes"].values():
        assert budget["handshakes_announced"] == budget["handshakes_done"] == 480
        # After each restart and each kill of one of three every node is asked whether it is ready.
        assert budget["polls"] == budget["polls_announced"] == 2 * 3
        # What OTP resumes and should not, and what is still there in LIFE-04, makes no session.
        assert 100 <= budget["sessions_made"] <= budget["sessions_announced"] == 145
    # They really are other processes now, and what a deploy would want.
    after = cluster.pids()
    assert len(after) == 3
    assert after.isdisjoint(before)
    again = cluster.play("playbooks/site.yml", *SAFE)
    assert again.code == 0, again.output
    assert cluster.results()["verdict"] == "passed"
    assert cluster.pids() == after


def test_nodes_left_out_by_limit_are_not_disturbed(cluster: Cluster) -> None:
    before = cluster.pids()
    done = cluster.play("verify.yml", "--limit", "emqx1,emqx3", *DISRUPTIVE, *BRIEF)
    assert done.code == 0, done.output
    assert statuses(cluster.results(), "LIFE-02") == [("emqx1", "passed"), ("emqx3", "passed")]
    assert len(cluster.pids() & before) == 1


def test_a_cluster_that_was_never_deployed_is_an_error_of_life_alone(cluster: Cluster) -> None:
    before = cluster.pids()
    done = cluster.play("verify.yml", "-e", "emqx_cluster_name=nowhere", *DISRUPTIVE,
                        *BRIEF)
    assert done.code == 2
    assert "LIFE-01 driver_failed on emqx1, emqx2, emqx3: the cluster nowhere was never deployed" \
        in done.flat
    results = cluster.results()
    assert {row["status"] for row in results["checks"]
            if row["id"].startswith("CORE")} == {"passed"}
    assert cluster.pids() == before


@pytest.mark.parametrize("moment", ["LIFE-01", "LIFE-02"])
def test_ctrl_c_while_a_node_is_down_leaves_a_report_and_brings_it_back(
        cluster: Cluster, moment: str) -> None:
    reports = cluster.reports.with_name(f"interrupted-{moment}")
    run = Cluster(cluster.name, cluster.ports, cluster.inventory, reports)
    # Once with what is known to deviate: it is not to be failed in what was interrupted, either.
    briefly = WITHOUT_FIGURES if moment == "LIFE-01" else BRIEF
    terminal = Terminal(run.command("verify.yml", *DISRUPTIVE, *briefly), ROOT, run.environment())
    # All three are restarted before any is killed.
    await_refused(cluster, 1, within_s=60)
    if moment == "LIFE-02":
        end = time.monotonic() + 60
        while [status for _, status in statuses(run.results(), "LIFE-01")] != ["passed"] * 3:
            assert time.monotonic() < end
            time.sleep(0.05)
        await_refused(cluster, 0, within_s=30)
        await_refused(cluster, 1, within_s=30)
    terminal.press(CTRL_C)
    assert terminal.end() != 0
    # The module outlives ansible-playbook for as long as it takes to finish the report.
    end = time.monotonic() + 20
    while "not_measured" in {row["reason"] for row in run.results()["checks"]}:
        assert time.monotonic() < end
        time.sleep(0.05)
    results = run.results()
    assert results["complete"] is False
    assert results["verdict"] == "error"
    assert rows(results, "CORE-02")[0]["status"] == "passed"
    assert "interrupted" in {row["reason"] for row in rows(results, "LIFE-02")}
    assert {row["status"] for row in results["checks"]
            if row["id"].startswith(("CORE", "SEC", "LIFE"))} == {"passed", "error", "skipped"}
    assert "failed" not in {row["status"] for row in results["checks"]}
    # Nobody deployed: the node was started by the run that was interrupted.
    await_refused(cluster, 0, within_s=30)
    done = cluster.play("playbooks/site.yml", *SAFE)
    assert done.code == 0, done.output
    assert cluster.results()["verdict"] == "passed"
