"""Clusters of embedded nodes: deployed, opened, destroyed."""
from __future__ import annotations

import threading
from pathlib import Path

from ...identity import Identity
from ...progress import ProgressFile
from ..backend import Backend, Order, Removed, needed, never_deployed, placed
from ..change import Change
from ..layout import ClusterFolder
from ..lock import exclusive
from ..ready import Caller
from .deployment import Deployment, EmbeddedWanted, destroy
from .driver import EmbeddedDriver


class EmbeddedBackend(Backend):
    """Nodes that are processes of this machine."""

    driver = EmbeddedDriver

    def deploy(self, order: Order, caller: Caller,
               stop: threading.Event) -> tuple[Change, dict[str, Identity]]:
        """Start, restart and stop processes."""
        folder = ClusterFolder.of(order.state_dir, order.name)
        wanted = EmbeddedWanted(**order.common, source_dir=Path(needed(order.own, "source_dir")),
                                credentials=order.credentials)
        if order.pretend:
            return Deployment(folder, wanted, caller, stop).plan(
                may_be_unrendered=True, to_render=order.to_render, restart=order.restart), {}
        with exclusive(folder.path, f"cluster {order.name}"):
            deployment = Deployment(folder, wanted, caller, stop)
            plan = deployment.plan(restart=order.restart)
            told = ProgressFile(order.progress_file, len(wanted.nodes), "nodes ready")
            deployment.driver.on_ready = told.update
            deployment.driver.on_booted = lambda count: told.wait_for(f"{count} have booted")
            return plan, deployment.apply(plan)

    def open(self, state_dir: Path | None, cluster: str | None, caller: Caller,
             stop: threading.Event) -> EmbeddedDriver:
        """Return a driver of the nodes that are recorded."""
        place, name = placed(state_dir, cluster)
        folder = ClusterFolder.of(place, name)
        if not folder.nodes():
            raise never_deployed(place, name)
        return EmbeddedDriver(folder, caller, stop=stop)

    def destroy(self, state_dir: Path, cluster: str | None, caller: Caller, *,
                pretend: bool) -> Removed:
        """End processes, load balancers among them, and remove folders."""
        done = destroy(state_dir, cluster, caller, pretend=pretend)
        return Removed(done.stopped, bool(done.stopped or done.removed))
