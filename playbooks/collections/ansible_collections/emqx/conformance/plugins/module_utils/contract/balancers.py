"""The load balancers of the inventory: hosts of the group ``load_balancer``.

One is an address that clients know, and the nodes behind it, each at one of its ``ssl``
listeners.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..listeners import kinds, schema
from ..listeners.complete import is_enabled
from ..listeners.nearest import did_you_mean
from ..model import Endpoint
from . import endpoints
from .values import InventoryError, Values

ADDRESS = frozenset({"emqx_tls_host", "emqx_tls_port", "emqx_tls_server_name"})
"""What it has like a node: where its clients find it."""
DEPLOYED_ON = "127.0.0.1"
"""Test clusters are nobody else's: load balancers that are deployed listen on loopback."""

_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound


@dataclass(frozen=True)
class Server:
    """One node behind a load balancer."""

    name: str
    host: str
    port: int
    proxy_protocol: bool
    """Whether the node expects the client's address in a PROXY protocol header."""


@dataclass(frozen=True)
class NodeListeners:
    """A node's ``ssl`` listeners as its load balancers find them."""

    node: Endpoint
    """Where it is probed."""
    listeners: Mapping[str, Any]
    """All its listeners, ``type -> name -> keys``; none where nothing is rendered."""
    published: Mapping[int, int]
    """Port as the node sees it -> as its clients do, where the two differ."""

    def named(self) -> dict[str, Mapping[str, Any]]:
        """Return the enabled ``ssl`` listeners by name."""
        return {name: keys for name, keys in self.listeners.get("ssl", {}).items()
                if is_enabled(keys)}

    def _bind(self, keys: Mapping[str, Any]) -> tuple[str, int]:
        address, port = kinds.split_bind(keys.get("bind", schema.EMQX_DEFAULT_PORT["ssl"]))
        return address, self.published.get(port, port)

    def probed(self) -> str | None:
        """Return the name of the listener at ``emqx_tls_port``."""
        return next((name for name, keys in self.named().items()
                     if self._bind(keys)[1] == self.node.port), None)

    def server(self, name: str, proxy_protocol: bool | None) -> Server:
        """Return the node as one that is reached at this listener."""
        keys = self.named()[name]
        address, port = self._bind(keys)
        host = self.node.host if address in _EVERYWHERE else address
        proxied = bool(keys.get("proxy_protocol", False))
        return Server(self.node.name, host, port,
                      proxied if proxy_protocol is None else proxy_protocol)

    def address(self, proxy_protocol: bool | None) -> Server:
        """Return the node as one that is reached where it is probed, whatever listens there."""
        return Server(self.node.name, self.node.host, self.node.port, bool(proxy_protocol))


@dataclass(frozen=True)
class DeclaredBalancers:
    """The load balancers, before it is known what is behind them."""

    values: Values
    endpoints: list[Endpoint]


def read(values: Values, driver: str) -> DeclaredBalancers:
    """Return the load balancers of the hosts of ``values``, of nodes that ``driver`` runs."""
    addresses = values.inventory.addresses
    return DeclaredBalancers(values, [
        endpoints.read(values, host, addresses.get(host) or (
            host if driver == "external" else DEPLOYED_ON)) for host in values.hosts])


def complete(found: DeclaredBalancers, nodes: list[NodeListeners],
             warnings: list[str]) -> list[dict[str, Any]]:
    """Return each with what it does and with the nodes behind it; warnings are added.

    Raises:
        InventoryError: one cannot be made.
    """
    problems: list[str] = []
    result = [{**asdict(endpoint), **_told(found.values, endpoint.name, problems),
               "servers": [asdict(server) for server in _servers(
                   found.values, endpoint.name, nodes, problems, warnings)]}
              for endpoint in found.endpoints]
    if problems:
        raise InventoryError(problems)
    return result


def _told(values: Values, balancer: str, problems: list[str]) -> dict[str, Any]:
    """Return what a load balancer's own variables say of it."""
    template = values.of(balancer, "emqx_lb_template")
    path = values.inventory.absolute(template) if template else ""
    if path and not Path(path).is_file():
        problems.append(f"emqx_lb_template of {balancer} names the file {path}, which does not "
                        "exist.")
    return {"affinity": values.of(balancer, "resumption_lb_affinity"),
            "balance": values.of(balancer, "emqx_lb_balance"), "template": path}


def _servers(values: Values, balancer: str, nodes: list[NodeListeners],
             problems: list[str], warnings: list[str]) -> list[Server]:
    """Return the nodes behind a load balancer, each at the listener that it is to connect to."""
    asked = values.of(balancer, "emqx_lb_listener")
    proxy = values.of(balancer, "emqx_lb_proxy_protocol")
    found = []
    for node in nodes:
        if not node.listeners:  # somebody else's node: its address is all that is known
            found.append(node.address(proxy))
            continue
        named = node.named()
        name = asked or node.probed()
        if name is None:
            continue  # refused elsewhere, in words: nothing listens where the node is probed
        if name not in named:
            problems.append(
                f'emqx_lb_listener of {balancer} is "{name}", but {node.node.name} has no '
                f"enabled ssl listener of that name{did_you_mean(name, named) or '.'}")
            continue
        expected = bool(named[name].get("proxy_protocol", False))
        if proxy is not None and proxy is not expected:
            warnings.append(
                f"emqx_lb_proxy_protocol of {balancer} is {str(proxy).lower()}, but "
                f"listeners.ssl.{name}.proxy_protocol of {node.node.name} is "
                f"{str(expected).lower()}: no client will get through")
        found.append(node.server(name, proxy))
    return found


def probed_behind_proxy(node: NodeListeners) -> list[str]:
    """Return the refusal of a node that is probed where only a load balancer is answered."""
    name = node.probed()
    if name is None or not node.named()[name].get("proxy_protocol", False):
        return []
    where = f"listeners.ssl.{name}"
    return [(f"{where} of {node.node.name} has proxy_protocol = true and answers nobody who "
             f"comes without a load balancer, but it is at emqx_tls_port {node.node.port}, "
             f"where the node itself is probed: give the node a second ssl listener without "
             f"proxy_protocol for that, as inventory/load-balanced does.")]
