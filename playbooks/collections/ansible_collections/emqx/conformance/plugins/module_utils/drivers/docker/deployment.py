"""From wanted containers to running ones, changing only what must change.

A container carries a digest of all it was made from: image, environment, ports, limits and the
content of its mounted files. The same digest on a running container means there is nothing to do.
"""
from __future__ import annotations

import contextlib
import hashlib
import shutil
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...identity import Identity
from .. import hocon, ports
from ..backend import Wanted
from ..base import PATIENCE, DriverError, DriverInterrupted, NodeSpec
from ..change import Change
from ..conversion import ConversionError, convert
from ..layout import ClusterFolder, as_json, replace_file
from ..lock import exclusive
from ..ready import Caller
from . import emqx_image
from .driver import (
    CHECKOUT,
    CLUSTER,
    FINGERPRINT,
    NODE,
    DockerCluster,
    DockerDriver,
    join,
    state,
)
from .emqx_image import PUBLISHED_ON
from .engine import Engine, NoEngineError, translated

if TYPE_CHECKING:
    from docker.models.containers import Container

_MARK = ".docker"
"""In a cluster's folder: its nodes are containers."""
_SECOND_NS = 1_000_000_000
_HEALTHCHECK = {"test": ["CMD", *emqx_image.STATUS], "interval": 30 * _SECOND_NS,
                "timeout": 25 * _SECOND_NS, "retries": 3, "start_period": 60 * _SECOND_NS}
_NO_PEERS = {"com.docker.network.bridge.enable_icc": "false"}
"""A network whose containers reach the outside, and not each other."""
_LEAST_CPUS = 0.01
_LEAST_MEMORY = 6 * 1024 * 1024
_LOG = "container.log"
_LOG_LINES = 2_000


@dataclass(frozen=True)
class ContainerSpec:
    """What one node's container is, beside its configuration."""

    image: str
    tls_ports: Mapping[int, int]
    """Port in the container -> port of this machine."""
    dashboard_port: int | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    """Path in the container -> path on this machine."""


@dataclass(frozen=True, kw_only=True)
class DockerWanted(Wanted):
    """What the inventory asks for of containers."""

    containers: Mapping[str, ContainerSpec]
    dashboard_password: str | None = None
    license_key: str | None = None
    memory: str = "1g"
    cpus: float = 1.0
    progress_file: str | None = None


@dataclass
class DockerChange(Change):
    """The change, and the digest of what each node is made from."""

    fingerprints: dict[str, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    """Image name -> id."""


class DockerDeployment:
    """Plans and makes one change of one cluster."""

    def __init__(self, cluster: DockerCluster, folder: ClusterFolder, wanted: DockerWanted,
                 caller: Caller, stop: threading.Event) -> None:
        self._cluster, self._folder, self._wanted, self._stop = cluster, folder, wanted, stop
        self._specs = {node.name: node for node in wanted.nodes}
        self.driver = DockerDriver(cluster, caller, members=self._members(), stop=stop)
        self.driver.patience = PATIENCE

    def _members(self) -> list[str]:
        """Return who belongs to the cluster once this run is done."""
        running = {name for name, container in self._cluster.containers().items()
                   if container.status == "running"}
        return [name for name in self._wanted.all_nodes
                if name in self._specs or name in running]

    # -- planning --------------------------------------------------------------------------

    def plan(self, *, pretend: bool = False, to_render: Collection[str] = (),
             restart: bool = False) -> DockerChange:
        """Find out what must be done.

        Nothing is changed, except that an image that is not here is fetched unless this is
        ``pretend``; then what is rendered may not be there either, or is that of before, as that
        of the nodes in ``to_render``.

        Raises:
            DriverError: an image cannot be had, a file is missing or a port is taken.
            DriverInterrupted: the run was asked to stop.
        """
        plan = DockerChange()
        self._check_limits()
        if not pretend:
            self._folder.ensure_cookie()
        containers = self._cluster.containers()
        self._find_images(plan, pretend=pretend)
        for name in self._specs:
            known = containers.get(name)
            runs = known is not None and known.status == "running"
            if pretend and (name in to_render or not self._can_be_made(name, plan)):
                (plan.restart if runs else plan.start).append(name)
                continue
            fingerprint = plan.fingerprints[name] = self._fingerprint(name, plan)
            if known is None or known.status in ("exited", "created", "dead"):
                plan.start.append(name)
            elif restart or not runs or not self._is_current(known, fingerprint):
                plan.restart.append(name)
            else:
                plan.unchanged.append(name)
        plan.stop = sorted(set(containers) - set(self._wanted.all_nodes) - set(self._specs))
        self._check_ports(plan, containers)
        return plan

    def _find_images(self, plan: DockerChange, *, pretend: bool) -> None:
        for image in sorted({self._wanted.containers[name].image for name in self._specs}):
            found = self._cluster.engine.image_id(image)
            if found is None and not pretend:
                found = self._cluster.engine.pull(image, self._wanted.progress_file, self._stop)
            if found is not None:
                plan.images[image] = found
                continue
            for name in self._specs:
                if self._wanted.containers[name].image == image:
                    plan.warn(f"the image {image} is not here and would be pulled", name)

    def _check_limits(self) -> None:
        """Refuse what the engine would refuse when the old containers are gone already."""
        processors = self._cluster.engine.info.get("NCPU")
        if processors and not _LEAST_CPUS <= self._wanted.cpus <= processors:
            raise DriverError(f"emqx_container_cpus is {self._wanted.cpus:g}, and may be from "
                              f"{_LEAST_CPUS:g} to the {processors} of this machine's engine")
        from . import sdk

        if sdk.parse_bytes(self._wanted.memory) < _LEAST_MEMORY:
            raise DriverError(f"emqx_container_memory is {self._wanted.memory}, and Docker gives a "
                              "container no less than 6m")

    def _can_be_made(self, name: str, plan: DockerChange) -> bool:
        return (self._wanted.containers[name].image in plan.images and self._cookie() is not None
                and all(Path(path).is_file() for path in self._mounted(name).values()))

    def _is_current(self, container: Container, fingerprint: str) -> bool:
        joined = container.attrs["NetworkSettings"]["Networks"]
        return (container.labels.get(FINGERPRINT) == fingerprint
                and {self._cluster.clients_network, self._cluster.cluster_network} <= set(joined))

    def _fingerprint(self, name: str, plan: DockerChange) -> str:
        """Digest all that a node is made from."""
        files = {there: _digest(name, here) for there, here in self._mounted(name).items()}
        # The environment's secrets are in the digest and cannot be read from it.
        made_from = [plan.images[self._wanted.containers[name].image], files,
                     self._environment(name, self._cookie() or ""), self._ports(name),
                     self._wanted.memory, self._wanted.cpus, _HEALTHCHECK]
        return hashlib.sha256(as_json(made_from).encode()).hexdigest()

    def _mounted(self, name: str) -> dict[str, str]:
        """Return path in the container -> path on this machine, of the originals."""
        config = self._specs[name].config_path
        if config is None:
            raise DriverError(f"{name}: no rendered listeners.hocon to boot from")
        return {emqx_image.CONFIG: str(config.with_name("emqx.conf")),
                emqx_image.LISTENERS: str(config), **self._wanted.containers[name].files}

    def _ports(self, name: str) -> dict[str, int]:
        spec = self._wanted.containers[name]
        published = dict(spec.tls_ports)
        if spec.dashboard_port:
            published[emqx_image.DASHBOARD_PORT] = spec.dashboard_port
        return {f"{inside}/tcp": outside for inside, outside in published.items()}

    def _environment(self, name: str, cookie: str) -> dict[str, str]:
        wanted = self._wanted
        return emqx_image.environment(
            self._cluster.name, name, wanted.all_nodes, emqx_image.ContainerSettings(
                cookie, wanted.session_lifetime, wanted.session_cache_max,
                wanted.dashboard_password, wanted.license_key, str(wanted.release)))

    def _cookie(self) -> str | None:
        try:
            return self._folder.cookie.read_text()
        except OSError:
            return None

    def _check_ports(self, plan: DockerChange, containers: Mapping[str, Container]) -> None:
        taken: dict[int, str] = {}
        for name in self._specs:
            for port in self._ports(name).values():
                if port in taken:
                    raise DriverError(f"{taken[port]} and {name} both want port {port} of "
                                      f"{PUBLISHED_ON}; give each its own emqx_tls_port, "
                                      "emqx_dashboard_port or bind")
                taken[port] = name
        leaving = {_id(containers[name]) for name in (*plan.restart, *plan.stop)}
        for name in (*plan.start, *plan.restart):
            for port in self._ports(name).values():
                self._refuse_taken(name, port, leaving)

    def _refuse_taken(self, name: str, port: int, leaving: set[str]) -> None:
        try:
            if ports.is_free(PUBLISHED_ON, port):
                return
        except OSError:
            return  # the engine may open what we may not
        with translated("the containers cannot be listed"):
            holder = next((container for container in self._cluster.engine.api.containers.list()
                           if port in _published(container)), None)
        if holder is not None and _id(holder) in leaving:
            return
        by = _describe(holder, self._cluster) if holder is not None else ", ".join(
            process.describe() for process in ports.holders(port)) or "a process of another user"
        raise DriverError(f"{name}: {PUBLISHED_ON}:{port} is already in use by {by}; free it, or "
                          "choose another with emqx_base_port, emqx_tls_port or "
                          "emqx_dashboard_port")

    # -- doing -----------------------------------------------------------------------------

    def apply(self, plan: DockerChange) -> dict[str, Identity]:
        """Make it so: return when every node of this run is ready, with what each is.

        When that fails, the containers that this call made are removed again, their logs kept
        in the cluster's folder; what ran before and was not changed runs on.

        Raises:
            DriverError: with the node and the reason.
            DriverInterrupted: the run was asked to stop.
        """
        touched = [*plan.restart, *plan.start]
        begun: list[str] = []
        try:
            containers = self._cluster.containers()
            for name in plan.stop:
                _remove(containers[name])
                shutil.rmtree(self._folder.run_dir(name), ignore_errors=True)
            if touched:
                self._ensure_networks()
            for name in touched:
                if self._stop.is_set():
                    raise DriverInterrupted
                begun.append(name)
                self._bring_up(name, containers.get(name), plan)
            return self._await_ready()
        except BaseException:
            self._roll_back(begun)
            raise

    def _await_ready(self) -> dict[str, Identity]:
        nodes = list(self._wanted.nodes)
        askable = [node for node in nodes if self._speaks_1_2(node)]
        if askable:
            identities = self.driver.wait_ready(askable, self._wanted.timeout_s)
        if len(askable) == len(nodes):
            return identities
        self.driver.wait_members([node.name for node in nodes], self._wanted.timeout_s)
        return self.driver.identities(nodes)

    def _speaks_1_2(self, node: NodeSpec) -> bool:
        """Tell whether readiness can be tried with the TLS version that this project is about."""
        port = next(iter(self._wanted.containers[node.name].tls_ports))
        try:
            converted = convert(hocon.read(Path(self._mounted(node.name)[emqx_image.LISTENERS])),
                                self._wanted.release)
        except (hocon.HoconError, ConversionError) as error:
            raise DriverError(f"{node.name}: {error}") from None
        return any("tlsv1.2" in listener.versions for listener in converted.listeners
                   if listener.port == port)

    def _bring_up(self, name: str, known: Container | None, plan: DockerChange) -> None:
        fingerprint = plan.fingerprints[name]
        if known is not None and self._is_current(known, fingerprint):
            if state(known) in ("running", "paused"):
                self.driver.stop(self._specs[name])
            self.driver.start(self._specs[name])
            return
        if known is not None:
            _remove(known)
        container = self._create(name, fingerprint)
        with translated(f"{name} could not be started"):
            container.start()

    def _create(self, name: str, fingerprint: str) -> Container:
        wanted, cluster = self._wanted, self._cluster
        spec = wanted.containers[name]
        binds, group = self._binds(name)
        networks = cluster.networks()
        with translated(f"{name} could not be made from {spec.image}"):
            container = cluster.engine.api.containers.create(
                spec.image, name=cluster.container_name(name),
                # No host name of its own: the engine would make it known on both networks.
                # Without its peers' network the node finds itself on loopback.
                extra_hosts={emqx_image.host_name(cluster.name, name): "127.0.0.1"},
                environment=self._environment(name, self._cookie() or ""),
                labels={**cluster.labels, NODE: name, FINGERPRINT: fingerprint},
                volumes=binds, group_add=[group],
                ports={inside: (PUBLISHED_ON, port) for inside, port in self._ports(name).items()},
                network=cluster.clients_network, mem_limit=wanted.memory,
                memswap_limit=wanted.memory, nano_cpus=int(wanted.cpus * _SECOND_NS),
                healthcheck=_HEALTHCHECK)
            join(cluster, networks[cluster.cluster_network], container, name)
        return container

    def _binds(self, name: str) -> tuple[dict[str, dict[str, str]], str]:
        """Return what is mounted, and the group by which the container's user may read it.

        The image's user is seldom the one who runs this, and keys are nobody else's to read: so
        each node gets copies of its own that its group may read, and joins that group.
        """
        folder = self._folder.run_dir(name) / "tls"
        folder.mkdir(parents=True, exist_ok=True)
        folder.parent.chmod(0o700)
        folder.chmod(0o750)
        binds = {}
        for there, here in self._mounted(name).items():
            source = Path(here)
            if there in self._wanted.containers[name].files:
                source = folder / Path(there).name
                replace_file(source, Path(here).read_text(encoding="utf-8"), 0o640)
            mode = "ro,z" if self._cluster.engine.selinux else "ro"
            binds[str(source)] = {"bind": there, "mode": mode}
        group = 0 if self._cluster.engine.rootless else folder.stat().st_gid
        return binds, str(group)

    def _ensure_networks(self) -> None:
        cluster, have = self._cluster, self._cluster.networks()
        replace_file(self._folder.path / _MARK, "", 0o600)
        with translated("the cluster's networks could not be made"):
            if cluster.clients_network not in have:
                cluster.engine.api.networks.create(
                    cluster.clients_network, driver="bridge", labels=cluster.labels,
                    options=_NO_PEERS)
            if cluster.cluster_network not in have:
                cluster.engine.api.networks.create(
                    cluster.cluster_network, driver="bridge", internal=True,
                    labels=cluster.labels)

    def _roll_back(self, names: Iterable[str]) -> None:
        # The reason why it failed is on its way to the user: nothing may hide it.
        with contextlib.suppress(DriverError, OSError):
            containers = self._cluster.containers()
            for name in names:
                if name in containers:
                    self._keep_log(name, containers[name])
                    _remove(containers[name])
            if not self._cluster.containers():
                _remove_networks(self._cluster)

    def _keep_log(self, name: str, container: Container) -> None:
        with contextlib.suppress(DriverError, OSError), translated("no log"):
            text = container.logs(tail=_LOG_LINES).decode("utf-8", "replace")
            replace_file(self._folder.run_dir(name) / _LOG, text, 0o600)


def _id(container: Container) -> str:
    return str(container.id)


def _published(container: Container) -> set[int]:
    """Return the ports of this machine that a container has."""
    bindings = container.attrs["NetworkSettings"].get("Ports") or {}
    return {int(binding["HostPort"]) for opened in bindings.values() for binding in opened or ()}


def _describe(container: Container, cluster: DockerCluster) -> str:
    labels = container.labels
    if labels.get(CHECKOUT) == cluster.checkout:
        return f"node {labels[NODE]} of cluster {labels[CLUSTER]} (container {container.name})"
    return f"the container {container.name}"


def _remove(container: Container) -> None:
    from . import sdk

    with translated(f"the container {container.name} could not be removed"):
        try:
            # Its anonymous volumes go with it.
            container.remove(force=True, v=True)
        except sdk.errors.NotFound:
            return


def _remove_networks(cluster: DockerCluster) -> None:
    for name, network in cluster.networks().items():
        with translated(f"the network {name} could not be removed"):
            network.remove()


def _digest(name: str, path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise DriverError(f"{name}: {path} cannot be read: {error.strerror}") from None


def destroy(state_dir: Path, cluster: str | None, *, pretend: bool = False) -> list[str]:
    """Remove the containers and networks of one cluster, or of every one of this checkout.

    Returns ``cluster/node`` for each container. What is found is found by its labels, so that it
    goes even when its folder was deleted; where no cluster here ever had containers, an engine
    that does not answer is nobody's concern.

    Raises:
        DriverError: a cluster has containers and no engine answers, or one does not go.
    """
    marked = sorted(mark.parent.name for mark in state_dir.glob(f"*/{_MARK}")
                    if cluster in (None, mark.parent.name))
    try:
        engine = Engine()
    except NoEngineError as error:
        if marked:
            raise DriverError(f"the containers of {', '.join(marked)} cannot be removed: "
                              f"{error}") from None
        return []
    except DriverError:
        if marked:
            raise
        return []
    try:
        return _destroy(engine, state_dir, cluster, pretend=pretend)
    finally:
        engine.close()


def _destroy(engine: Engine, state_dir: Path, cluster: str | None, *, pretend: bool) -> list[str]:
    gone: list[str] = []
    for name in [cluster] if cluster is not None else _clusters(engine, state_dir):
        found = DockerCluster(engine, state_dir, name)
        containers = found.containers()
        gone += [f"{name}/{node}" for node in sorted(containers)]
        if pretend or not (containers or found.networks()):
            continue
        with exclusive(state_dir.resolve() / name, f"cluster {name}"):
            for container in containers.values():
                _remove(container)
            _remove_networks(found)
            (state_dir / name / _MARK).unlink(missing_ok=True)
    return gone


def _clusters(engine: Engine, state_dir: Path) -> Sequence[str]:
    """Return the names of this checkout's clusters that have anything in the engine."""
    label: dict[str, Any] = {"label": f"{CHECKOUT}={state_dir.resolve()}"}
    with translated("the containers cannot be listed"):
        of_containers = {container.labels[CLUSTER]
                         for container in engine.api.containers.list(all=True, filters=label)}
        of_networks = {(network.attrs.get("Labels") or {}).get(CLUSTER)
                       for network in engine.api.networks.list(filters=label)}
    return sorted(name for name in of_containers | of_networks if name)
