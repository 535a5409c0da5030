"""Nodes in containers on this machine's Docker Engine.

Each cluster has two networks. Clients come in over one, whose ports are opened on 127.0.0.1; the
nodes know each other by names that only the other one has. So a node can be cut off from its
peers while clients still reach it, which is what a partition is.
"""
from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...identity import Identity
from ...mqtt.client import Connack
from ..base import DriverError, NodeSpec
from ..layout import check_name
from ..ready import Caller
from ..waiting import LOG_LINES, WaitingDriver, last_lines, shortened
from . import cgroup, emqx_image
from .engine import LABEL, Engine, translated

if TYPE_CHECKING:
    from docker.models.containers import Container
    from docker.models.networks import Network

CHECKOUT, CLUSTER, NODE, FINGERPRINT = (
    f"{LABEL}.{word}" for word in ("checkout", "cluster", "node", "fingerprint"))
"""The labels by which everything of ours is found again."""
STOP_S = 15
"""Seconds a node has to end in order."""
_STATE_S = 10.0
_NOT_FOUND = 2
"""getent(1): a key could not be found."""


class DockerCluster:
    """The containers and networks of one cluster of one checkout."""

    def __init__(self, engine: Engine, state_dir: Path, name: str) -> None:
        check_name("cluster name", name)
        self.engine, self.name = engine, name
        self.checkout = str(state_dir.resolve())
        # Two checkouts may each have a cluster of this name.
        self._suffix = hashlib.sha256(self.checkout.encode()).hexdigest()[:6]

    @property
    def labels(self) -> dict[str, str]:
        """What everything of this cluster carries."""
        return {CHECKOUT: self.checkout, CLUSTER: self.name}

    def container_name(self, node: str) -> str:
        """Return the name under which `docker logs` knows a node."""
        check_name("node name", node)
        return f"{LABEL}-{self.name}-{node}-{self._suffix}"

    @property
    def clients_network(self) -> str:
        """Name of the network that clients come over."""
        return f"{LABEL}-{self.name}-clients-{self._suffix}"

    @property
    def cluster_network(self) -> str:
        """Name of the network that the nodes share."""
        return f"{LABEL}-{self.name}-cluster-{self._suffix}"

    def containers(self) -> dict[str, Container]:
        """Return every container of the cluster by inventory name, running or not."""
        with translated("the containers cannot be listed"):
            found = self.engine.api.containers.list(
                all=True, filters={"label": [f"{key}={value}"
                                             for key, value in self.labels.items()]})
            return {str(container.labels[NODE]): container for container in found}

    def networks(self) -> dict[str, Network]:
        """Return the cluster's networks by name."""
        with translated("the networks cannot be listed"):
            found = self.engine.api.networks.list(
                filters={"label": [f"{key}={value}" for key, value in self.labels.items()]})
            return {str(network.name): network for network in found}


def state(container: Container) -> str:
    """Return ``running``, ``paused``, ``exited`` … as the engine says now."""
    with translated(f"the container {container.name} cannot be looked up"):
        container.reload()
    return str(container.status)


class DockerDriver(WaitingDriver):
    """Drives the nodes of one cluster."""

    name = "docker"
    limits = "it changes no listener of a container that runs"
    cpu_of = "the node's container"
    poll_s = 0.5

    def __init__(self, cluster: DockerCluster, caller: Caller, *,
                 members: Sequence[str] | None = None,
                 stop: threading.Event | None = None) -> None:
        """Look at a cluster; nothing is started.

        Args:
            cluster: where it runs.
            caller: makes the connections that show a node ready.
            members: inventory names the cluster has when it is whole; by default every node
                whose container runs.
            stop: when set, every wait ends with DriverInterrupted.
        """
        super().__init__(caller, members=members, stop=stop)
        self._cluster = cluster

    # -- one node --------------------------------------------------------------------------

    def start(self, node: NodeSpec) -> None:
        """Start a node's container again."""
        container = self._container(node.name)
        if state(container) in ("running", "paused"):
            raise DriverError(f"{node.name} runs already")
        with translated(f"{node.name} could not be started"):
            container.start()

    def stop(self, node: NodeSpec) -> None:
        """Stop a node in order; one that does not end in time, or is paused, is killed."""
        container = self._container(node.name)
        if state(container) == "paused":
            self.kill(node)
            return
        with translated(f"{node.name} could not be stopped"):
            container.stop(timeout=STOP_S)
        self._await_state(node.name, container, "exited")

    def kill(self, node: NodeSpec) -> None:
        """End a node with SIGKILL."""
        container = self._container(node.name)
        if state(container) == "paused":
            # A frozen process takes no signal.
            with translated(f"{node.name} could not be resumed"):
                container.unpause()
            self._await_state(node.name, container, "running")
        if container.status == "exited":
            return
        with translated(f"{node.name} could not be killed"):
            container.kill()
        self._await_state(node.name, container, "exited")

    def disconnect(self, node: NodeSpec) -> None:
        """Cut a node off from its peers; clients still reach it."""
        container = self._container(node.name)
        with translated(f"{node.name} could not be taken off the cluster's network"):
            self._network().disconnect(container)
        self._demand_alone(node.name, container)

    def _demand_alone(self, name: str, container: Container) -> None:
        """Make sure that the node no longer finds a peer: a fault must have happened."""
        peers = [emqx_image.host_name(self._cluster.name, peer)
                 for peer in self._cluster.containers() if peer != name]
        for peer in peers:
            status, said = _run(container, ("getent", "hosts", peer))
            if status != _NOT_FOUND:
                raise DriverError(f"{name} is taken off the cluster's network and `getent hosts "
                                  f"{peer}` in it still ends with {status} ({_line(said)})")

    def reconnect(self, node: NodeSpec) -> None:
        """Bring it back under the name it had."""
        container = self._container(node.name)
        with translated(f"{node.name} could not be brought back on the cluster's network"):
            join(self._cluster, self._network(), container, node.name)

    def cpu_s(self, node: NodeSpec) -> float:
        """Return what all processes of the node's container have taken."""
        container = self._container(node.name)
        return cgroup.cpu_s(str(container.id), int(container.attrs["State"]["Pid"]))

    def inspect(self, node: NodeSpec) -> Identity:
        """Ask ``emqx ctl broker`` and ``emqx eval`` in the node's container."""
        container = self._container(node.name)
        try:
            told = emqx_image.broker(_asked(container, emqx_image.BROKER))
            release = emqx_image.otp_release(_asked(container, emqx_image.OTP_RELEASE))
        except DriverError as error:
            return Identity.unknown(f"`emqx ctl broker` in its container: {error}")
        if "sysdescr" not in told:
            return Identity.unknown("`emqx ctl broker` in its container answers in another form")
        return Identity(told["sysdescr"], told.get("version"), release,
                        "told by `emqx ctl broker` and `emqx eval` in its container")

    # -- several nodes ---------------------------------------------------------------------

    def identities(self, nodes: Sequence[NodeSpec]) -> dict[str, Identity]:
        """Return what each of these nodes is."""
        return dict(zip((node.name for node in nodes), self._each(nodes, self.inspect)))

    def _identity(self, node: NodeSpec, _: Connack) -> Identity:
        return self.inspect(node)

    def _running(self) -> list[str]:
        return [name for name, container in self._cluster.containers().items()
                if container.status in ("running", "paused")]

    def _erlang_name(self, name: str) -> str:
        return emqx_image.node_name(self._cluster.name, name)

    def _seen_by(self, name: str) -> list[str]:
        answer = _asked(self._container(name), emqx_image.CLUSTER_STATUS)
        seen = emqx_image.running_nodes(answer)
        if seen is None:
            raise DriverError("`emqx ctl cluster status` answers in another form: "
                              f"{shortened(answer)}")
        return list(seen)

    def _is_gone(self, name: str) -> bool:
        return state(self._container(name)) in ("exited", "dead")

    def _last_words(self, name: str) -> list[str]:
        with contextlib.suppress(DriverError), translated("no log"):
            return last_lines(self._container(name).logs(tail=LOG_LINES).decode("utf-8", "replace"))
        return []

    def _log_tail(self, name: str) -> str:
        lines = self._last_words(name)
        where = self._cluster.container_name(name)
        return f"; `docker logs {where}` ends: {' | '.join(lines)}" if lines else ""

    def _why_gone(self, name: str) -> str:
        container = self._container(name)
        if container.attrs.get("State", {}).get("OOMKilled"):
            limit = container.attrs["HostConfig"]["Memory"] // (1024 * 1024)
            return f"{name} needed more than the {limit} MiB that emqx_container_memory allows"
        return super()._why_gone(name)

    # -- helpers ---------------------------------------------------------------------------

    def _container(self, name: str) -> Container:
        """Look a node's container up by its name: a listing looks at every container."""
        from . import sdk

        with translated(f"{name} cannot be looked up"):
            try:
                return self._cluster.engine.api.containers.get(self._cluster.container_name(name))
            except sdk.errors.NotFound:
                raise DriverError(f"{name} has no container in the cluster {self._cluster.name}: "
                                  "deploy it first") from None

    def _network(self) -> Network:
        name = self._cluster.cluster_network
        found = self._cluster.networks().get(name)
        if found is None:
            raise DriverError(f"the network {name} is gone; deploy again")
        return found

    def _await_state(self, name: str, container: Container, wanted: str) -> None:
        end = time.monotonic() + _STATE_S
        while (now := state(container)) != wanted:
            if time.monotonic() >= end:
                raise DriverError(f"{name} is {now} and not {wanted}")
            time.sleep(0.05)


def join(cluster: DockerCluster, network: Network, container: Container, node: str) -> None:
    """Put a container on the network of the nodes, under the name that the others know."""
    network.connect(container, aliases=[emqx_image.host_name(cluster.name, node)])


def _asked(container: Container, command: Sequence[str]) -> str:
    """Return what a command in the container prints.

    Raises:
        DriverError: it cannot be run, or ends with another status than 0.
    """
    status, said = _run(container, command)
    if status != 0:
        raise DriverError(f"`{' '.join(command[:3])}` ends with {status}: {_line(said)}")
    return said


def _run(container: Container, command: Sequence[str]) -> tuple[int, str]:
    """Run a command in the container and return its status and what it prints."""
    with translated("it cannot be asked"):
        status, said = container.exec_run(list(command))
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else ""
    return int(status or 0), text.strip()


def _line(said: str) -> str:
    """Return what a command said as one line for people."""
    return shortened(" ".join(said.split())) or "no word"
