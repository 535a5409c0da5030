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
from tests.support.strangers import Authority
from tests.support.whole_run import whole_run

CACHE = 100
"""Sessions that a node remembers, so that LIFE-04 has little to fill."""
LIFETIME_S = 8
NAMES = ("n1", "n2")
FORGETFUL = {"SEC-01", "SEC-02", "SEC-05", "SEC-06", "LIFE-03"}
"""Checks of a node with trust domains and short memory."""
ELSEWHERE = FORGETFUL | {"LB-01", "LIFE-05"}
"""Checks that do not apply there: without trust domains, to several nodes, to sessions that live
long, and to nodes that share this machine's network."""


@dataclass(frozen=True)
class Counted:
    """A run, and what the nodes have counted themselves."""

    results: dict[str, Any]
    accepted: Counter[str]
    """By node: connections, over all its restarts."""

    @property
    def measured(self) -> set[str]:
        """The checks that came to something."""
        return {row["id"] for row in self.results["checks"] if row["status"] != "skipped"}

    @property
    def budgets(self) -> dict[str, Any]:
        """By node: what the report says of its handshakes."""
        nodes: dict[str, Any] = self.results["budget"]["nodes"]
        return nodes


def _counted(cluster: TestCluster, **changed: Any) -> Counted:
    """Make a disruptive run, and let the nodes count."""
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
        accepted.subtract({name: count(name) for name in cluster.ports})
        results = whole_run(
            list(cluster.ports.values()), cluster.certificate[0], cluster.folder / "reports",
            driver="embedded", cluster_name=cluster.name, state_dir=str(cluster.state_dir),
            session_cache_max=cluster.session_cache_max, session_lifetime=cluster.session_lifetime,
            tls_versions=["tlsv1.2", "tlsv1.3"], max_impact="disruptive", **changed)
        accepted.update({name: count(name) for name in cluster.ports})
    return Counted(results, accepted)


def _both(listener: str) -> str:
    return listener.replace('"tlsv1.2"', '"tlsv1.3", "tlsv1.2"')


@pytest.fixture(scope="module")
def run(certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Counted:
    """A run of the whole catalogue."""
    cluster = TestCluster(tmp_path_factory.mktemp("versions"), certificate,
                          dict(zip(NAMES, free_ports(len(NAMES)))), session_cache_max=CACHE)
    for name, port in cluster.ports.items():
        cluster.render(name, _both(cluster.listener(port)))
    return _counted(cluster)


@pytest.fixture(scope="module")
def lone(certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Counted:
    """A run of what the other does not come to, on a node with trust domains and short memory."""
    folder = tmp_path_factory.mktemp("lone")
    port, *others = free_ports(3)
    cluster = TestCluster(folder, certificate, {"n1": port}, session_cache_max=CACHE,
                          session_lifetime=LIFETIME_S)
    listeners, domains = [cluster.listener(port)], []
    for number, other in enumerate(others, 1):
        authority = Authority(folder, f"ca{number}")
        client = authority.issue(f"client{number}")
        key = folder / f"ca{number}-key.pem"
        key.write_bytes(authority.private_key())
        listeners.append(cluster.listener(other, name=f"domain{number}", demands=authority.file))
        domains.append({"node": "n1", "name": f"domain{number}", "port": other,
                        "client_cert": str(client.cert), "client_key": str(client.key),
                        "ca_cert": str(authority.file), "ca_key": str(key)})
    cluster.render("n1", *map(_both, listeners))
    return _counted(cluster, trust_domains=domains, checks=sorted(FORGETFUL))


@pytest.fixture(scope="module")
def single(certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Counted:
    """A run of LB-01 on a node by itself, whose address may lead to several."""
    cluster = TestCluster(tmp_path_factory.mktemp("single"), certificate,
                          {"n1": free_ports(1)[0]})
    cluster.render("n1", _both(cluster.listener(cluster.ports["n1"])))
    return _counted(cluster, checks=["CORE-02", "LB-01"])


def test_what_breaks_there_is_supported_versions_and_no_other_grease(run: Counted) -> None:
    found = next(row for row in run.results["checks"] if row["id"] == "NEG-12")
    # As measured with an ECDSA certificate, whatever signature algorithms are offered. OTP 25.2
    # trips over such supported_versions, and 27.3 does not.
    told = [text.partition(" does not get through")[0] for text in found["message"].split("; ")]
    assert told[1:] == ([
        "a ClientHello with supported_versions of GREASE and TLS 1.2",
        "a ClientHello with all that GREASE, in small records and segments at once,"]
        if run.results["target"]["otp_release"] == "25" else [])
    assert told[0].startswith("n1: a ClientHello in records of 3 bytes")


def test_every_check_makes_what_it_announces(
        run: Counted, lone: Counted, single: Counted) -> None:
    assert run.measured == {check.id for check in catalogue()} - ELSEWHERE
    assert lone.measured >= FORGETFUL
    assert "LB-01" in single.measured
    for results in (run.results, lone.results, single.results):
        assert results["budget"]["differences"] == []
        add_up(results)
    for budget in (*run.budgets.values(), *single.budgets.values()):
        assert budget["handshakes_done"] == budget["handshakes_announced"]


def test_what_was_made_is_what_the_nodes_counted(
        run: Counted, lone: Counted, single: Counted) -> None:
    for name, budget in run.budgets.items():
        # Both are restarted and killed, and both are asked each time whether they are ready.
        assert budget["polls"] == budget["polls_announced"] == 2 * len(NAMES)
        assert run.accepted[name] == budget["handshakes_done"] + budget["polls"]
    # While SEC-06 waits for a certificate to expire the node's session grows old.
    assert lone.budgets["n1"]["renewals"] > 0
    for alone in (lone, single):
        assert alone.accepted["n1"] == alone.budgets["n1"]["handshakes_done"]
