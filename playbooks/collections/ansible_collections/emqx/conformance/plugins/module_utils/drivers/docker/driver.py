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
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ...identity import Identity
from ...tls.wire import within
from ..base import Driver, DriverError, DriverInterrupted, NodeSpec
from ..layout import check_name
from ..ready import Caller, NotReadyError
from . import cgroup, emqx_image
from .engine import LABEL, Engine, translated

if TYPE_CHECKING:
    from docker.models.containers import Container
    from docker.models.networks import Network

_T = TypeVar("_T")

CHECKOUT, CLUSTER, NODE, FINGERPRINT = (
    f"{LABEL}.{word}" for word in ("checkout", "cluster", "node", "fingerprint"))
"""The labels by which everything of ours is found again."""
STOP_S = 15
"""Seconds a node has to end in order."""
_POLL_S = 0.5
_STATE_S = 10.0
_LOG_LINES = 3
_LOG_LINE = 240
_REFUSAL = "cannot boot: "
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


class DockerDriver(Driver):
    """Drives the nodes of one cluster."""

    name = "docker"
    abilities = frozenset(("restart", "kill", "pause", "disconnect"))
    limits = "it changes no listener of a container that runs"
    cpu_of = "the node's container"

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
        self._cluster, self._caller, self._members = cluster, caller, members
        self._stop = stop or threading.Event()
        self.on_ready: Callable[[int], None] = lambda _: None
        """Told how many nodes see the whole cluster while the others are waited for."""

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
            self.resume(node)
        if container.status == "exited":
            return
        with translated(f"{node.name} could not be killed"):
            container.kill()
        self._await_state(node.name, container, "exited")

    def pause(self, node: NodeSpec) -> None:
        """Freeze all processes of a node."""
        container = self._container(node.name)
        with translated(f"{node.name} could not be paused"):
            container.pause()
        self._await_state(node.name, container, "paused")

    def resume(self, node: NodeSpec) -> None:
        """Let them run on."""
        container = self._container(node.name)
        with translated(f"{node.name} could not be resumed"):
            container.unpause()
        self._await_state(node.name, container, "running")

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
        # By its name: this is asked for often, and a listing looks at every container.
        with translated(f"{node.name} cannot be looked up"):
            container = self._cluster.engine.api.containers.get(
                self._cluster.container_name(node.name))
        return cgroup.cpu_s(str(container.id), int(container.attrs["State"]["Pid"]))

    def identify(self, node: NodeSpec) -> Identity:
        """Return what the node's own command line tool says it is."""
        return self.inspect(node)

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

    def wait_ready(self, nodes: Sequence[NodeSpec], timeout_s: float) -> dict[str, Identity]:
        """Return when every node answers CONNECT over TLS and sees all members."""
        end = time.monotonic() + timeout_s
        self._each(nodes, lambda node: self._wait_connack(node, end, timeout_s))
        self.wait_members([node.name for node in nodes], timeout_s)
        return self.identities(nodes)

    def identities(self, nodes: Sequence[NodeSpec]) -> dict[str, Identity]:
        """Return what each of these nodes is."""
        found: dict[str, Identity] = {}
        self._each(nodes, lambda node: found.update({node.name: self.inspect(node)}))
        return {node.name: found[node.name] for node in nodes}

    def wait_members(self, names: Sequence[str], timeout_s: float) -> None:
        """Return when each of these nodes sees the whole cluster.

        Raises:
            DriverError: a node ended, or did not see all in time.
            DriverInterrupted: the run was asked to stop.
        """
        containers = self._cluster.containers()
        members = self._members if self._members is not None else [
            name for name, container in containers.items()
            if container.status in ("running", "paused")]
        whole = {emqx_image.node_name(self._cluster.name, name) for name in members}
        end = time.monotonic() + timeout_s
        done: list[str] = []

        def wait(name: str) -> None:
            while (missing := self._missing(containers[name], whole)) is not None:
                self._still_there(name, containers[name])
                if time.monotonic() >= end:
                    raise DriverError(f"{name} was not ready within "
                                      f"{within(timeout_s, self.patience)}: {missing}"
                                      f"{self._log_tail(containers[name])}")
                self._pause_polling()
            done.append(name)
            self.on_ready(len(done))

        for name in names:
            if name not in containers:
                raise DriverError(f"{name} has no container; deploy again")
        self._each(names, wait)

    # -- helpers ---------------------------------------------------------------------------

    def _each(self, items: Iterable[_T], work: Callable[[_T], object]) -> None:
        wanted = list(items)
        if wanted:
            with ThreadPoolExecutor(max_workers=min(len(wanted), 8)) as pool:
                list(pool.map(work, wanted))

    def _container(self, name: str) -> Container:
        found = self._cluster.containers().get(name)
        if found is None:
            raise DriverError(f"{name} has no container in the cluster {self._cluster.name}: "
                              "deploy it first")
        return found

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

    def _missing(self, container: Container, whole: set[str]) -> str | None:
        try:
            answer = _asked(container, emqx_image.CLUSTER_STATUS)
        except DriverError as error:
            return str(error)
        seen = emqx_image.running_nodes(answer)
        if seen is None:
            return f"`emqx ctl cluster status` answers in another form: {answer[:_LOG_LINE]}"
        if whole <= set(seen):
            return None
        return f"it sees {', '.join(seen) or 'nobody'} instead of {', '.join(sorted(whole))}"

    def _wait_connack(self, node: NodeSpec, end: float, timeout_s: float) -> None:
        container = self._container(node.name)
        while True:
            try:
                self._caller.connack(node)
            except NotReadyError as error:
                self._still_there(node.name, container)
                if error.final or time.monotonic() >= end:
                    late = "" if error.final else f" within {within(timeout_s, self.patience)}"
                    # A node that answers, and wrongly for its client, has nothing in its log.
                    log = "" if error.final else self._log_tail(container)
                    raise DriverError(f"{node.endpoint} did not answer CONNECT over TLS{late}: "
                                      f"{error}{log}") from None
                self._pause_polling()
            else:
                return

    def _pause_polling(self) -> None:
        if self._stop.wait(_POLL_S):
            raise DriverInterrupted

    def _still_there(self, name: str, container: Container) -> None:
        if self._stop.is_set():
            raise DriverInterrupted
        if state(container) not in ("exited", "dead"):
            return
        lines = log_tail(container)
        refusal = next((line.removeprefix(_REFUSAL) for line in lines
                        if line.startswith(_REFUSAL)), None)
        if refusal is not None:
            raise DriverError(f"{name} did not boot: {refusal}")
        if container.attrs.get("State", {}).get("OOMKilled"):
            limit = container.attrs["HostConfig"]["Memory"] // (1024 * 1024)
            raise DriverError(f"{name} needed more than the {limit} MiB that "
                              "emqx_container_memory allows")
        raise DriverError(f"{name} ended unexpectedly{self._log_tail(container)}")

    def _log_tail(self, container: Container) -> str:
        lines = log_tail(container)
        return f"; `docker logs {container.name}` ends: {' | '.join(lines)}" if lines else ""


def join(cluster: DockerCluster, network: Network, container: Container, node: str) -> None:
    """Put a container on the network of the nodes, under the name that the others know."""
    network.connect(container, aliases=[emqx_image.host_name(cluster.name, node)])


def log_tail(container: Container, lines: int = _LOG_LINES) -> list[str]:
    """Return the last lines that a node has said."""
    with contextlib.suppress(DriverError), translated("no log"):
        text = container.logs(tail=lines).decode("utf-8", "replace")
        return [line if len(line) <= _LOG_LINE else line[:_LOG_LINE] + "…"
                for line in text.splitlines() if line.strip()]
    return []


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
    return " ".join(said.split())[:_LOG_LINE] or "no word"
