"""Clusters of containers: deployed, opened, destroyed."""
from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...identity import Identity
from ...progress import ProgressFile
from ..backend import Backend, Order, Removed, never_deployed, placed
from ..base import DriverError
from ..change import Change
from ..layout import ClusterFolder
from ..lock import exclusive
from ..ready import Caller
from .deployment import ContainerSpec, DockerDeployment, DockerWanted, destroy
from .driver import DockerCluster, DockerDriver
from .engine import Engine


class DockerBackend(Backend):
    """Nodes that are containers of this machine's Docker Engine."""

    driver = DockerDriver

    def deploy(self, order: Order, caller: Caller,
               stop: threading.Event) -> tuple[Change, dict[str, Identity]]:
        """Make, replace and remove containers."""
        folder = ClusterFolder.of(order.state_dir, order.name)
        own = order.own
        wanted = DockerWanted(
            **order.common,
            containers={node.name: _container(own, node.name) for node in order.nodes},
            dashboard_password=own["dashboard_password"] or None,
            license_key=own["license"] or None, memory=own["container_memory"],
            cpus=own["container_cpus"], progress_file=order.progress_file)
        engine = Engine()
        try:
            cluster = DockerCluster(engine, order.state_dir, order.name)
            if order.pretend:
                return DockerDeployment(cluster, folder, wanted, caller, stop).plan(
                    pretend=True, to_render=order.to_render, restart=order.restart), {}
            with exclusive(folder.path, f"cluster {order.name}"):
                deployment = DockerDeployment(cluster, folder, wanted, caller, stop)
                plan = deployment.plan(restart=order.restart)
                deployment.driver.on_ready = ProgressFile(
                    order.progress_file, len(wanted.nodes), "nodes ready").update
                return plan, deployment.apply(plan)
        finally:
            engine.close()

    def open(self, state_dir: Path | None, cluster: str | None, caller: Caller,
             stop: threading.Event) -> DockerDriver:
        """Return a driver of the containers that are there."""
        place, name = placed(state_dir, cluster)
        found = DockerCluster(Engine(), place, name)
        if not found.containers():
            found.engine.close()
            raise never_deployed(place, name)
        return DockerDriver(found, caller, stop=stop)

    def destroy(self, state_dir: Path, cluster: str | None,
                caller: Caller, *, pretend: bool) -> Removed:  # noqa: ARG002 - nobody is called
        """Remove containers and their networks."""
        gone = destroy(state_dir, cluster, pretend=pretend)
        return Removed(gone, bool(gone))


def _container(own: Mapping[str, Any], node: str) -> ContainerSpec:
    try:
        spec = own["containers"][node]
        return ContainerSpec(
            str(spec["image"]),
            {int(inside): int(outside) for inside, outside in spec["tls_ports"].items()},
            spec.get("dashboard_port"), dict(spec.get("files") or {}))
    except (KeyError, TypeError, ValueError):
        raise DriverError(f"containers says no image or tls_ports of {node}") from None
