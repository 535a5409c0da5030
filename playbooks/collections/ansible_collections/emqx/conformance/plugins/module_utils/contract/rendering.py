"""The nodes' listeners, completed and validated: once, for everything that comes after."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..listeners import schema
from ..listeners.complete import ConfiguredNode
from ..listeners.validate import CheckedNodes, check_nodes, unresumed
from ..model import Endpoint, TrustDomain
from . import balancers, domains, files, releases
from .placement import Listeners, Placement, enabled_ssl, port_of
from .settings import ClusterSettings
from .values import InventoryError, Values


@dataclass(frozen=True)
class Asked:
    """What an inventory asks for, before anything is rendered."""

    values: Values
    settings: ClusterSettings
    nodes: list[Endpoint]
    domains: Mapping[str, list[TrustDomain]]
    """By node."""


@dataclass(frozen=True)
class Rendered:
    """What the nodes of a cluster are to be given."""

    settings: ClusterSettings
    """As asked, with the release that the listeners are for and the TLS versions they speak."""
    listeners: Mapping[str, Listeners]
    """By node."""
    warnings: tuple[str, ...]


def render(asked: Asked, placement: Placement) -> Rendered:
    """Complete and validate the listeners of all nodes.

    Raises:
        InventoryError: EMQX refuses them, nobody gets to them, or they name files that are not
            there.
    """
    settings, values = asked.settings, asked.values
    release = releases.release_of(values)
    written = [ConfiguredNode(
        node.name, node.host, node.port, values.of(node.name, "emqx_listeners"),
        files.certificates(settings, values, node.name)) for node in asked.nodes]
    checked = check_nodes(map(placement.as_seen_inside, written), release, placement.locate)
    if problems := [*_problems(asked, placement, checked), *placement.missing()]:
        raise InventoryError(problems)
    versions = settings.tls_versions or _versions(asked.nodes, placement, checked.listeners)
    return Rendered(
        replace(settings, release=str(release), tls_versions=versions), checked.listeners,
        (*checked.warnings, *unresumed(
            checked.listeners, release, releases.stacks_off_unless_told(values))))


def _problems(asked: Asked, placement: Placement, checked: CheckedNodes) -> list[str]:
    """Return what is wrong, as far as the first question that is answered with anything."""
    def of_each(question: Callable[[Endpoint, Listeners], list[str]]) -> list[str]:
        return [sentence for node in asked.nodes
                for sentence in question(node, checked.listeners[node.name])]

    if checked.errors:
        return [sentence if sentence.endswith("?") else f"{sentence}."
                for sentence in checked.errors]
    return (of_each(placement.unreachable)
            or of_each(lambda node, whole: domains.listener_problems(
                asked.domains[node.name], node, _by_port(whole, placement.published(node, whole))))
            or of_each(lambda node, whole: balancers.probed_behind_proxy(
                balancers.NodeListeners(node, whole, placement.published(node, whole))))
            or of_each(lambda node, whole: placement.unusable(node.name, whole)))


def _by_port(listeners: Listeners, published: Mapping[int, int]) -> dict[int, Mapping[str, Any]]:
    """Return port -> keys of the enabled ssl listeners, as their clients find them."""
    return {published.get(port, port): listener for _, listener in enabled_ssl(listeners)
            for port in [port_of(listener)]}


def _versions(nodes: list[Endpoint], placement: Placement,
              listeners: Mapping[str, Listeners]) -> list[str]:
    """Return the TLS versions that the probed listeners declare, EMQX's order kept."""
    declared = {version for node in nodes for whole in [listeners[node.name]]
                for listener in placement.probed(node, whole)
                for version in listener["ssl_options"].get("versions", [])}
    return [version for version in schema.TLS_VERSIONS if version in declared]
