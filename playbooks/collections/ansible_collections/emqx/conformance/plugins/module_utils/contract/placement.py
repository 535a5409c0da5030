"""Where the nodes run, and what that makes of the paths and ports that their users write."""
from __future__ import annotations

import abc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..drivers.docker import emqx_image
from ..listeners import kinds, schema
from ..listeners.complete import ConfiguredNode, is_enabled
from ..listeners.files import File, Locate, encrypted_key
from ..listeners.validate import listeners_of
from ..model import Endpoint
from . import containers, files
from .settings import ClusterSettings
from .values import Values

Listeners = Mapping[str, Any]
"""A node's listeners, completed: type -> name -> keys."""


class Placement(abc.ABC):
    """What differs with where nodes run; what stands here is as if they saw what everybody does."""

    def __init__(self, settings: ClusterSettings, values: Values) -> None:
        self._settings = settings
        self._values = values
        self._assured = {os.path.normpath(file.path): file
                         for file in files.assured(settings, values)}
        """Where each of these files is on this machine."""

    def problems_of(self, nodes: Sequence[Endpoint]) -> list[str]:  # noqa: ARG002 - who is choosy
        """Return what is wrong with addresses and ports, before anything is rendered."""
        return []

    def as_seen_inside(self, node: ConfiguredNode) -> ConfiguredNode:
        """Return what the node's configuration is rendered from, as the node sees it."""
        return node

    @abc.abstractmethod
    def locate(self, node: str) -> Locate:
        """Return where this machine has the files that :meth:`as_seen_inside` names."""

    @abc.abstractmethod
    def probed(self, node: Endpoint, listeners: Listeners) -> list[Mapping[str, Any]]:
        """Return the enabled ssl listeners that ``emqx_tls_port`` leads to."""

    @abc.abstractmethod
    def unreachable(self, node: Endpoint, listeners: Listeners) -> list[str]:
        """Return what keeps clients from a node's listeners."""

    def published(self, node: Endpoint, listeners: Listeners) -> Mapping[int, int]:  # noqa: ARG002 - as above
        """Return port as the node sees it -> as its clients do, where the two may differ."""
        return {}

    def missing(self) -> list[str]:
        """Return the files that are to be brought to nodes and do not exist."""
        return []

    def unusable(self, node: str, listeners: Listeners) -> list[str]:  # noqa: ARG002 - as above
        """Return what EMQX can read and a node cannot."""
        return []

    @abc.abstractmethod
    def identity(self, node: Endpoint) -> dict[str, str]:
        """Return ``node_name`` as EMQX spells it, and where the node finds ``listeners_file``."""

    def container(self, node: Endpoint, listeners: Listeners) -> dict[str, Any] | None:  # noqa: ARG002 - as above
        """Return what the node's container is made of; None where there is none."""
        return None


class OnThisMachine(Placement):
    """Embedded nodes."""

    def locate(self, node: str) -> Locate:  # noqa: ARG002 - the same for all
        """Find each file where it is named."""
        return lambda path: self._assured.get(os.path.normpath(path), path)

    def probed(self, node: Endpoint, listeners: Listeners) -> list[Mapping[str, Any]]:
        """Find them at that very port."""
        return [listener for _, listener in enabled_ssl(listeners)
                if port_of(listener) == node.port]

    def unreachable(self, node: Endpoint, listeners: Listeners) -> list[str]:
        """Refuse a node that does not listen where it is probed."""
        if self.probed(node, listeners):
            return []
        return [(f"No enabled ssl listener of {node.name} is bound to its emqx_tls_port "
                 f"{node.port}, where it is probed: make emqx_listeners and emqx_tls_port agree.")]

    def unusable(self, node: str, listeners: Listeners) -> list[str]:
        """Refuse private keys with a passphrase: embedded nodes implement no ``password``."""
        return [f'listeners.ssl.{name}.ssl_options.keyfile: "{key}" has a passphrase, which the '
                "embedded node does not read, so that every handshake would fail: use a key "
                "without one."
                for name, listener in enabled_ssl(listeners)
                if (key := encrypted_key(listener["ssl_options"], self.locate(node)))]

    def identity(self, node: Endpoint) -> dict[str, str]:
        """Name the node after its address."""
        folder = Path(self._settings.config_dir) / self._settings.cluster_name / node.name
        return {"node_name": f"{node.name}@{node.host}",
                "listeners_file": str(folder / "listeners.hocon")}


class InContainers(Placement):
    """Nodes in containers, which have files and ports of their own."""

    def __init__(self, settings: ClusterSettings, values: Values) -> None:
        super().__init__(settings, values)
        self._mounts = {host: containers.Mounts(values.inventory.root) for host in values.hosts}

    def problems_of(self, nodes: Sequence[Endpoint]) -> list[str]:
        """Refuse other addresses than loopback, and a dashboard where something else is."""
        problems = [
            f"emqx_tls_host of {node.name} is {node.host}, but the driver docker opens its "
            f"nodes' ports on {emqx_image.PUBLISHED_ON} only: leave emqx_tls_host out."
            for node in nodes if node.host not in containers.LOOPBACK_NAMES]
        taken = {node.port: f"emqx_tls_port of {node.name}" for node in nodes}
        for node in nodes:
            port = self._values.of(node.name, "emqx_dashboard_port")
            if port in taken:
                problems.append(f"emqx_dashboard_port of {node.name} is {port}, as is "
                                f"{taken[port]}: give each its own.")
            elif port:
                taken[port] = f"emqx_dashboard_port of {node.name}"
        return problems

    def as_seen_inside(self, node: ConfiguredNode) -> ConfiguredNode:
        """Return the node with the container's paths and port; what it needs is mounted."""
        return containers.inside(node, self._mounts[node.name])

    def locate(self, node: str) -> Locate:
        """Find each file where it is mounted from."""
        def located(path: str) -> str | File | None:
            here = self._mounts[node].outside(path)
            if here is None:
                return None
            # What is not there to be mounted is told for all keys at once.
            return self._assured.get(os.path.normpath(here)) or (
                here if Path(here).is_file() else None)
        return located

    def probed(self, node: Endpoint, listeners: Listeners) -> list[Mapping[str, Any]]:
        """Find them at the container's port that is published there."""
        ports = self.published(node, listeners)
        return [listener for _, listener in enabled_ssl(listeners)
                if ports[port_of(listener)] == node.port]

    def unreachable(self, node: Endpoint, listeners: Listeners) -> list[str]:
        """Refuse a node that nobody outside reaches."""
        return containers.unreachable(node.name, listeners)

    def published(self, node: Endpoint, listeners: Listeners) -> Mapping[int, int]:
        """Return where Docker opens the container's ports."""
        return containers.published_ports(listeners, node.port)

    def missing(self) -> list[str]:
        """Refuse files that do not exist, but for those that the deploy is about to make."""
        absent = {path for mount in self._mounts.values() for path in mount.files.values()
                  if os.path.normpath(path) not in self._assured and not Path(path).is_file()}
        return [f"emqx_listeners names the file {path}, which does not exist (paths of the image "
                f"begin with {emqx_image.HOME}/)." for path in sorted(absent)]

    def identity(self, node: Endpoint) -> dict[str, str]:
        """Name the node after its host in the cluster's own network."""
        return {"node_name": emqx_image.node_name(self._settings.cluster_name, node.name),
                "listeners_file": emqx_image.LISTENERS}

    def container(self, node: Endpoint, listeners: Listeners) -> dict[str, Any]:
        """Return image, ports and mounted files."""
        return {"image": self._values.of(node.name, "emqx_image"),
                "tls_ports": self.published(node, listeners),
                "dashboard_port": self._values.of(node.name, "emqx_dashboard_port"),
                "files": self._mounts[node.name].files}


def placement_of(settings: ClusterSettings, values: Values) -> Placement | None:
    """Return where the nodes run; None where nothing is deployed from here."""
    if not settings.deployed:
        return None
    return (InContainers if settings.driver == "docker" else OnThisMachine)(settings, values)


def enabled_ssl(listeners: Listeners) -> list[tuple[str, Mapping[str, Any]]]:
    """Return name and keys of the enabled ssl listeners."""
    return [(name, listener) for listener_type, name, listener in listeners_of(listeners)
            if listener_type == "ssl" and is_enabled(listener)]


def port_of(listener: Mapping[str, Any]) -> int:
    """Return the port that an ssl listener is bound to, as its node sees it."""
    return kinds.split_bind(listener.get("bind", schema.EMQX_DEFAULT_PORT["ssl"]))[1]
