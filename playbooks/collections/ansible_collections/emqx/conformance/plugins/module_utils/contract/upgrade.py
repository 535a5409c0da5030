"""The cluster as it is after the upgrade to ``emqx_next_release``."""
from __future__ import annotations

from dataclasses import replace

from ..listeners.release import parse_release, release_of_image
from . import releases
from .settings import ClusterSettings
from .values import Inventory, Values

_NEXT = {"emqx_release": "emqx_next_release", "emqx_image": "emqx_next_image"}
"""What takes whose place."""


def upgraded(inventory: Inventory) -> Inventory:
    """Return the inventory as it is after the upgrade."""
    return replace(inventory, upgraded=False, variables={
        host: {**own, **{today: own[after] for today, after in _NEXT.items() if own.get(after)},
               **dict.fromkeys(_NEXT.values())}
        for host, own in inventory.variables.items()})


def problems_of(settings: ClusterSettings, values: Values) -> list[str]:
    """Return why the next release is none that these nodes can be upgraded to from here."""
    where = f"emqx_next_release ({values.where('emqx_next_release')})"
    try:
        after = parse_release(settings.next_release or "")
    except ValueError as error:
        return [f"{where}: {error}."]
    if not settings.deployed:
        return [(f"{where} is for nodes that are deployed from here, and emqx_driver is external: "
                 "verify before your upgrade and after it, with resumption_compare.")]
    today = releases.release_of(values)
    if after == today:
        return [f"{where} is {after}, the release that runs today: name the one you upgrade to."]
    if after < today:
        return [(f"{where} is {after}, which is older than today's {today}: name the one you "
                 "upgrade to.")]
    if settings.driver != "docker":
        return []
    return [f"emqx_next_image of {host} is missing: {image} is EMQX {today}, so name the image of "
            f"EMQX {after}." for host in values.hosts
            if not values.of(host, "emqx_next_image")
            and release_of_image(image := values.of(host, "emqx_image"))]
