"""The whole contract: an inventory in, and out of it what the roles work with."""
from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from . import (
    balancers,
    domains,
    endpoints,
    files,
    names,
    reached,
    releases,
    rendering,
    upgrade,
)
from . import settings as cluster
from .placement import Placement, placement_of
from .rendering import Asked, Rendered
from .values import OF_BALANCERS, Contract, Inventory, InventoryError, Values


@dataclass(frozen=True)
class _Read:
    """An inventory as it was read."""

    asked: Asked
    between: balancers.DeclaredBalancers
    placement: Placement | None
    """None where nothing is deployed from here."""


def check(inventory: Inventory, contract: Contract, known: frozenset[str]) -> dict[str, Any]:
    """Return nodes and settings with all defaults applied, and the listeners completed.

    ``contract`` holds the options of :data:`names.CONTRACT`, ``known`` the names of every role's.

    Raises:
        InventoryError: with one sentence for each thing that is wrong.
    """
    if inventory.upgraded:
        inventory = upgrade.upgraded(inventory)
    read = _read(inventory, contract, known)
    rendered = rendering.render(read.asked, read.placement) if read.placement else _nothing(
        read.asked)
    return {**_answer(read, rendered), **_balanced(read, rendered),
            "next_ssl_listeners": _after_the_upgrade(read.asked, contract, known)}


def _read(inventory: Inventory, contract: Contract, known: frozenset[str]) -> _Read:
    values = Values(inventory, contract, names.members(inventory))
    of_balancers = Values(inventory, {name: option for name, option in contract.items()
                                      if name in balancers.ADDRESS | OF_BALANCERS},
                          inventory.balancers)
    if problems := [*names.unknown(inventory, known, values.foreign()), *values.problems,
                    *of_balancers.problems, *names.misplaced(inventory)]:
        raise InventoryError(problems)
    of_files: list[str] = []
    settings = cluster.read(values, of_files)
    nodes = endpoints.nodes(values)
    between = balancers.read(of_balancers, settings.driver)
    placement = placement_of(settings, values)
    trusted = {node.name: domains.read(
        values.of(node.name, domains.VARIABLE), node.name, inventory.root,
        files.to_be_made(settings), of_files) for node in nodes}
    problems = [
        *names.in_two_groups(inventory),
        *endpoints.problems_of([*nodes, *between.endpoints], inventory),
        *cluster.problems_of(settings, values), *files.problems_of(settings, values),
        *releases.otp_problems(values), *of_files,
        *(placement.problems_of(nodes) if placement else (
            sentence for node in nodes
            for sentence in domains.listener_problems(trusted[node.name], node, None)))]
    if problems:
        raise InventoryError(problems)
    return _Read(Asked(values, settings, nodes, trusted), between, placement)


def _nothing(asked: Asked) -> Rendered:
    """Return what somebody else's nodes are given."""
    return Rendered(asked.settings, {}, (
        "emqx_listeners has no effect with emqx_driver external: nothing is rendered",
    ) if any(asked.values.of(host, "emqx_listeners") for host in asked.values.hosts) else ())


def _answer(read: _Read, rendered: Rendered) -> dict[str, Any]:
    """Return what concerns nodes."""
    asked, inventory = read.asked, read.asked.values.inventory
    selected = [node for node in asked.nodes if node.name in inventory.selected]
    own = dict.fromkeys(found for node in asked.nodes
                        if (found := files.own(asked.values, node.name)))
    result: dict[str, Any] = {
        "nodes": [asdict(node) for node in selected],
        "all_nodes": [asdict(node) for node in asked.nodes],
        "settings": asdict(rendered.settings),
        "trust_domains": [{"node": node.name, **asdict(domain)} for node in selected
                          for domain in asked.domains[node.name]],
        "vantage": [{"name": host, "host": address} for host, address in inventory.vantage.items()
                    if host in inventory.selected],
        "rendering": {}, "containers": {}, "own_certificates": [], "ssl_listeners": []}
    if read.placement is None:
        return result
    placement, whole = read.placement, rendered.listeners
    return {
        **result, "own_certificates": [asdict(certificates) for certificates in own],
        "rendering": {node.name: {"listeners": whole[node.name], **placement.identity(node)}
                      for node in asked.nodes},
        "containers": {node.name: container for node in asked.nodes
                       if (container := placement.container(node, whole[node.name]))},
        "ssl_listeners": [row for node in selected for row in reached.ssl_listeners(
            asked, node, whole[node.name], placement.published(node, whole[node.name]))]}


def _balanced(read: _Read, rendered: Rendered) -> dict[str, Any]:
    """Return the load balancers, each with the nodes behind it, and all there is to warn about.

    Raises:
        InventoryError: one cannot be made.
    """
    placement = read.placement
    nodes = read.asked.nodes
    behind = [balancers.NodeListeners(node, whole, placement.published(node, whole))
              for node in nodes for whole in [rendered.listeners[node.name]]
              ] if placement else [balancers.NodeListeners(node, {}, {}) for node in nodes]
    warnings = list(rendered.warnings)
    found = balancers.complete(read.between, behind, warnings)
    selected = read.asked.values.inventory.selected
    return {"load_balancers": [balancer for balancer in found if balancer["name"] in selected],
            "all_load_balancers": [balancer["name"] for balancer in found],
            "listener_warnings": warnings}


def _after_the_upgrade(asked: Asked, contract: Contract,
                       known: frozenset[str]) -> list[dict[str, Any]]:
    """Return the listeners as the next release has them; none where there is none.

    Raises:
        InventoryError: the next release is none, or does not take this configuration.
    """
    if not asked.settings.next_release:
        return []
    if problems := upgrade.problems_of(asked.settings, asked.values):
        raise InventoryError(problems)
    try:
        result = check(replace(asked.values.inventory, upgraded=True), contract, known)
    except InventoryError as error:
        raise InventoryError(f"After the upgrade to emqx_next_release "
                             f"{asked.settings.next_release}: {problem}"
                             for problem in error.problems) from None
    found: list[dict[str, Any]] = result["ssl_listeners"]
    return found
