"""Listeners of one node of which each says for itself whether sessions resume on it."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils import certificates

from tests.support.embedded_cluster import TestCluster
from tests.support.ports import free_ports
from tests.support.whole_run import whole_run

DOMAINS = ("d1", "d2")


@dataclass(frozen=True)
class Listeners:
    """A node whose ordinary listener does not resume, and two that do, for one CA each."""

    folder: Path
    ports: dict[str, int]

    def run(self, **changed: Any) -> dict[str, Any]:
        """Verify it gently."""
        domains = [{"node": "n1", "name": name, "port": self.ports[name],
                    "client_cert": f"{self.folder}/{name}-client-cert.pem",
                    "client_key": f"{self.folder}/{name}-client-key.pem"} for name in DOMAINS]
        return whole_run([self.ports["default"]], self.folder / "ca.pem", self.folder / "reports",
                         trust_domains=domains, max_impact="safe", **changed)


@pytest.fixture(scope="module")
def listeners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listeners]:
    folder = tmp_path_factory.mktemp("listeners")
    with certificates.alone_in(folder):
        certificates.carry_out(certificates.make_plan(
            folder, ["localhost"], "ecdsa", domains=DOMAINS))
    ports = dict(zip(("default", *DOMAINS), free_ports(3)))
    cluster = TestCluster(folder, (folder / "server-cert.pem", folder / "server-key.pem"),
                          {"emqx1": ports["default"]}, folder / "ca.pem")
    cluster.render("emqx1", cluster.listener(ports["default"], reuse="false"), *(
        cluster.listener(ports[name], name=name, demands=folder / f"{name}-ca.pem")
        for name in DOMAINS))
    with cluster.running():
        yield Listeners(folder, ports)


@pytest.mark.parametrize(("scope", "core_02"), [("none", "passed"), ("node", "failed")])
def test_sessions_that_cross_are_found_though_the_ordinary_listener_resumes_none(
        listeners: Listeners, scope: str, core_02: str) -> None:
    results = listeners.run(cache_scope=scope)
    found = {row["id"]: row for row in results["checks"]}
    assert results["verdict"] == "failed"
    assert found["CORE-02"]["status"] == core_02
    assert (found["SEC-01"]["status"], found["SEC-01"]["reason"]) == (
        "failed", "resumed_in_other_domain")
    assert "sessions across d1->d2, d2->d1 (same server certificate)" in found["SEC-01"]["message"]
    assert (found["SEC-02"]["status"], found["SEC-02"]["reason"]) == ("skipped", "nothing_resumes")
