"""Listeners of TLS 1.2 and 1.3: what is said of them names what was tried, and counts are exact."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import NodeSpec
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded.driver import (
    EmbeddedDriver,
)

from tests.support.costs import add_up
from tests.support.embedded_cluster import TestCluster
from tests.support.ports import free_ports
from tests.support.whole_run import whole_run

CACHE = 100
"""Sessions that a node remembers, so that LIFE-04 has little to fill."""
NAMES = ("n1", "n2")
ELSEWHERE = {"SEC-01", "SEC-02", "SEC-05", "SEC-06", "LB-01", "LIFE-03", "LIFE-05"}
"""Checks that do not apply here: without trust domains, to several nodes, to sessions that live
long, and to nodes that share this machine's network."""


@dataclass(frozen=True)
class Counted:
    """A run, and what the nodes have counted themselves."""

    results: dict[str, Any]
    accepted: Counter[str]
    """By node: connections, over all its restarts."""


@pytest.fixture(scope="module")
def run(certificate: tuple[Path, Path],
        tmp_path_factory: pytest.TempPathFactory) -> Counted:
    """A disruptive run of the whole catalogue."""
    folder = tmp_path_factory.mktemp("versions")
    cluster = TestCluster(folder, certificate, dict(zip(NAMES, free_ports(len(NAMES)))),
                          session_cache_max=CACHE)
    for name, port in cluster.ports.items():
        cluster.render(name, cluster.listener(port).replace('"tlsv1.2"', '"tlsv1.3", "tlsv1.2"'))
    accepted: Counter[str] = Counter()

    def count(name: str) -> int:
        return int(cluster.status(name)["handshakes"]["accepted"])

    def counting(end: Callable[[EmbeddedDriver, NodeSpec], None],
                 ) -> Callable[[EmbeddedDriver, NodeSpec], None]:
        def counted(driver: EmbeddedDriver, node: NodeSpec) -> None:
            accepted[node.name] += count(node.name)
            end(driver, node)
        return counted

    with cluster.running(), pytest.MonkeyPatch.context() as patch:
        for verb in ("stop", "kill"):
            patch.setattr(EmbeddedDriver, verb, counting(getattr(EmbeddedDriver, verb)))
        accepted.subtract({name: count(name) for name in NAMES})
        results = whole_run(
            list(cluster.ports.values()), certificate[0], folder / "reports", driver="embedded",
            cluster_name=cluster.name, state_dir=str(cluster.state_dir), session_cache_max=CACHE,
            tls_versions=["tlsv1.2", "tlsv1.3"], max_impact="disruptive")
        accepted.update({name: count(name) for name in NAMES})
    return Counted(results, accepted)


def test_what_breaks_there_is_supported_versions_and_no_other_grease(run: Counted) -> None:
    found = next(row for row in run.results["checks"] if row["id"] == "NEG-12")
    # As measured on OTP 25.2 with an ECDSA certificate, whatever signature algorithms are offered.
    told = [text.partition(" does not get through")[0] for text in found["message"].split("; ")]
    assert told[1:] == [
        "a ClientHello with supported_versions of GREASE and TLS 1.2",
        "a ClientHello with all that GREASE, in small records and segments at once,"]
    assert told[0].startswith("n1: a ClientHello in records of 3 bytes")


def test_every_check_makes_what_it_announces(run: Counted) -> None:
    measured = {row["id"] for row in run.results["checks"] if row["status"] != "skipped"}
    assert measured == {check.id for check in catalogue()} - ELSEWHERE
    assert run.results["budget"]["differences"] == []
    add_up(run.results)
    for budget in run.results["budget"]["nodes"].values():
        assert budget["handshakes_done"] == budget["handshakes_announced"]


def test_what_was_made_is_what_the_nodes_counted(run: Counted) -> None:
    for name, budget in run.results["budget"]["nodes"].items():
        # Each is restarted and killed once, and both are asked for each whether they are ready.
        assert budget["polls"] == budget["polls_announced"] == 2 * len(NAMES)
        assert run.accepted[name] == budget["handshakes_done"] + budget["polls"]
