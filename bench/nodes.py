"""The nodes that everything is measured on, deployed and destroyed by the playbooks."""
from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded import control
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.layout import ClusterFolder

from bench.matrix import CACHE
from tests.support.playbooks import ROOT, Cluster, write_inventory
from tests.support.ports import free_ports

_SETTLES_S = 2.0


class DeployError(Exception):
    """The nodes did not start; the sentence says why."""


class Nodes:
    """A running cluster, and a smaller inventory of its first three nodes."""

    def __init__(self, cluster: Cluster, first: Cluster) -> None:
        self.cluster, self.first = cluster, first
        self.ca = str(ROOT / "certs" / "ca.pem")

    @property
    def ports(self) -> list[int]:
        """By node, in order."""
        return self.cluster.ports

    def _status(self, number: int) -> dict[str, Any]:
        folder = ClusterFolder.of(ROOT / ".cluster", self.cluster.name)
        return control.status(folder.run_dir(f"emqx{number}"))

    def otp_release(self) -> str:
        """Return the Erlang/OTP release that the nodes run."""
        return str(self._status(1)["otp_release"])

    def completed(self, count: int = 1) -> int:
        """Return how many handshakes the first nodes have completed, as they count them."""
        return sum(int(self._status(number)["handshakes"]["completed"])
                   for number in range(1, count + 1))

    def settled(self, expected: int, count: int = 1) -> int:
        """Return the same, once it is as many as expected or does not come to it."""
        deadline = time.monotonic() + _SETTLES_S
        # A node counts a handshake after its client has it.
        while (seen := self.completed(count)) < expected and time.monotonic() < deadline:
            time.sleep(0.02)
        return seen


def _uninterrupted(cluster: Cluster) -> None:
    """Destroy the nodes whatever signals come meanwhile."""
    before = {number: signal.signal(number, signal.SIG_IGN)
              for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        cluster.play("playbooks/destroy.yml")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deployed(cluster: str, folder: Path, count: int) -> Iterator[Nodes]:
    """Deploy a cluster of so many nodes and destroy it in the end, also after Ctrl-C.

    Raises:
        DeployError: they did not start.
    """
    variables = {"emqx_session_cache_max": CACHE, "resumption_max_impact": "safe"}
    ports = free_ports(count)
    clusters = []
    for name, nodes in (("all", ports), ("first", ports[:3])):
        (folder / name).mkdir(parents=True, exist_ok=True)
        clusters.append(Cluster(
            cluster, nodes, write_inventory(folder / name, cluster, nodes, variables),
            folder / "reports"))
    try:
        done = clusters[0].play("playbooks/deploy.yml")
        if done.code:
            raise DeployError(f"the nodes did not start:\n{done.output}")
        yield Nodes(*clusters)
    finally:
        _uninterrupted(clusters[0])
