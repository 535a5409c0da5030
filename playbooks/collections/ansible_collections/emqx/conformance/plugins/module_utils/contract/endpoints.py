"""Where nodes and load balancers are."""
from __future__ import annotations

import re
from collections.abc import Iterable

from ..drivers.docker import emqx_image
from ..model import Endpoint
from .settings import PATH_NAME
from .values import Inventory, Values

_HOST = re.compile(r"[0-9A-Za-z_](?:[0-9A-Za-z_.-]*[0-9A-Za-z_])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.%\w]*")


def read(values: Values, host: str, default: str) -> Endpoint:
    """Return where a host's clients find it; ``default`` counts without ``emqx_tls_host``."""
    address = str(values.of(host, "emqx_tls_host") or default)
    return Endpoint(host, address, values.of(host, "emqx_tls_port"),
                    values.of(host, "emqx_tls_server_name") or address)


def nodes(values: Values) -> list[Endpoint]:
    """Return all nodes, in inventory order."""
    in_containers = values.shared("emqx_driver") == "docker"
    addresses = values.inventory.addresses
    return [read(values, host, emqx_image.PUBLISHED_ON if in_containers
                 else addresses.get(host) or host) for host in values.hosts]


def problems_of(endpoints: Iterable[Endpoint], inventory: Inventory) -> list[str]:
    """Return what is wrong with names and addresses."""
    problems = []
    taken: dict[tuple[str, int], str] = {}
    for endpoint in endpoints:
        if not PATH_NAME.fullmatch(endpoint.name):
            problems.append(f'The host name "{endpoint.name}" cannot name a node: use letters, '
                            f"digits, _, - and dots.")
        variable = _written_as(inventory, endpoint.name)
        if variable and not _HOST.fullmatch(endpoint.host):
            problems.append(f'{variable} of {endpoint.name} must be a host name or an address '
                            f'without scheme, brackets and port, not "{endpoint.host}".')
        where = (endpoint.host.lower(), endpoint.port)
        if where in taken:
            problems.append(f"{taken[where]} and {endpoint.name} have the same address "
                            f"{endpoint.host}:{endpoint.port}: give each its own emqx_tls_port "
                            f"or emqx_tls_host.")
        taken.setdefault(where, endpoint.name)
    return problems


def _written_as(inventory: Inventory, host: str) -> str | None:
    """Return the variable that says where a host is; None where its name does."""
    if inventory.variables.get(host, {}).get("emqx_tls_host"):
        return "emqx_tls_host"
    return "ansible_host" if inventory.addresses.get(host) else None
