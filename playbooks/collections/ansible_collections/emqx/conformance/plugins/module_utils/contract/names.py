"""The names in an inventory: its groups, and variables that some role knows."""
from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from ..listeners.nearest import nearest
from ..vantage import CONTROLLER
from ..words import some
from .values import (
    BALANCERS,
    FOREIGN,
    GROUP,
    OF_BALANCERS,
    PREFIXES,
    VANTAGE,
    Inventory,
    InventoryError,
)

CONTRACT = "roles/check_inventory/meta/argument_specs.yml"
_NEAR = 0.75
"""Ratio of difflib: emqx_zome and emqx_zone have it; emqx_version and emqx_driver do not."""
_ELSEWHERE = (f"; the known ones are in {CONTRACT}. If it is another role's, name it in "
              f"{FOREIGN}.")


def members(inventory: Inventory) -> tuple[str, ...]:
    """Return the nodes.

    Raises:
        InventoryError: there are none, or ``--limit`` leaves none.
    """
    if inventory.members is None:
        raise InventoryError([(f"The inventory has no group {GROUP}: put one host a node into it, "
                              f"as inventory/local does.")])
    if not inventory.members:
        raise InventoryError([(f"The group {GROUP} is empty: put one host a node into it, "
                              f"as inventory/local does.")])
    if not inventory.selected.intersection(inventory.members):
        raise InventoryError([(f"--limit leaves no host of the group {GROUP}, which has "
                              f"{some(inventory.members)}: limit to one of them or leave "
                              f"--limit out.")])
    return inventory.members


def unknown(inventory: Inventory, known: frozenset[str], foreign: Iterable[str]) -> list[str]:
    """Return the variables that no role knows; ``foreign`` names those of other projects."""
    foreign = tuple(foreign)
    hosts_with: dict[str, list[str]] = {}
    for host, names in inventory.variables.items():
        for name in names:
            if name.startswith(PREFIXES) and name not in known \
                    and not any(fnmatchcase(name, pattern) for pattern in foreign):
                hosts_with.setdefault(name, []).append(host)
    return [*(f"{name} ({inventory.where(name, hosts)}) is no variable of this project"
              f"{_meant(name, known) or _ELSEWHERE}"
              for name, hosts in hosts_with.items()),
            *(f"{FOREIGN} has {name}, which is a variable of this project: it cannot be another "
              f"role's too." for name in foreign if name in known)]


def _meant(name: str, known: Iterable[str]) -> str:
    """Return the question for a near name; the prefix, which all share, makes none nearer."""
    prefix = next(prefix for prefix in PREFIXES if name.startswith(prefix))
    rest = name[len(prefix):]
    near = nearest(rest, [other[len(prefix):] for other in known if other.startswith(prefix)
                          and _word_for_word(rest, other[len(prefix):])], cutoff=_NEAR)
    return f'; did you mean "{prefix}{near}"?' if near else ""


def _word_for_word(one: str, other: str) -> bool:
    """Tell whether names of as many words have no word for quite another one in them."""
    words, others = one.split("_"), other.split("_")
    return len(words) != len(others) or all(map(nearest, words, ([word] for word in others)))


def misplaced(inventory: Inventory) -> list[str]:
    """Return the variables that have no effect on the hosts they are set for."""
    return [*_of_balancers(inventory), *_of_vantage_points(inventory)]


def _of_balancers(inventory: Inventory) -> list[str]:
    """Return the variables of load balancers that no load balancer has."""
    hosts_with = {name: [host for host, names in inventory.variables.items() if name in names]
                  for name in sorted(OF_BALANCERS)}
    return [f"{name} ({inventory.where(name, hosts)}) has an effect on hosts of the group "
            f"{BALANCERS} only: put what is in front of the nodes there, as "
            f"inventory/load-balanced does."
            for name, hosts in hosts_with.items()
            if hosts and not set(hosts).intersection(inventory.balancers)]


def _of_vantage_points(inventory: Inventory) -> list[str]:
    """Return what is wrong with the group vantage, whose hosts have no settings of their own."""
    of_nodes = {name for host in inventory.members or ()
                for name in inventory.variables.get(host, {})}
    problems = [f"{name} ({inventory.where(name, [host])}) has no effect on a vantage point: set "
                f"it for the group {GROUP}."
                for host in inventory.vantage
                if host not in (*(inventory.members or ()), *inventory.balancers)
                for name in inventory.variables.get(host, {})
                if name.startswith(PREFIXES) and name not in of_nodes]
    if CONTROLLER in inventory.vantage:
        problems.append(f"The host {CONTROLLER} of the group {VANTAGE} has the name that reports "
                        "give the machine ansible-playbook runs on: call it something else.")
    return problems


def in_two_groups(inventory: Inventory) -> list[str]:
    """Return the hosts that are a node and a load balancer."""
    both = [host for host in inventory.balancers if host in (inventory.members or ())]
    return [(f"{some(both)} cannot be in both groups, {GROUP} and {BALANCERS}: a load "
             "balancer has a host of its own in the inventory.")] if both else []
