"""An inventory as Ansible knows it, and every host's variables, typed, with their defaults."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..listeners.kinds import WrongValueError
from ..words import some
from . import domains, variables

GROUP = "emqx"
BALANCERS = "load_balancer"
VANTAGE = "vantage"
PREFIXES = ("emqx_", "resumption_")
FOREIGN = "resumption_foreign_variables"

OF_BALANCERS = frozenset({"emqx_lb_balance", "emqx_lb_listener", "emqx_lb_proxy_protocol",
                          "emqx_lb_template", "resumption_lb_affinity"})
"""What only a load balancer has."""
HOST_LEVEL = frozenset({"emqx_tls_host", "emqx_tls_port", "emqx_tls_server_name", "emqx_listeners",
                        "emqx_tls_cacertfile", "emqx_tls_certfile", "emqx_tls_keyfile",
                        "emqx_image", "emqx_next_image", "emqx_dashboard_port", "emqx_otp_release",
                        "emqx_zone", domains.VARIABLE, *OF_BALANCERS})
"""Variables that may differ between hosts; all others are settings of the whole cluster."""

Contract = Mapping[str, Mapping[str, Any]]
"""Variable -> its option in the argument specification of roles/check_inventory."""


class InventoryError(Exception):
    """The inventory is refused."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Inventory:
    """What ansible knows, as far as the contract is concerned."""

    variables: Mapping[str, Mapping[str, Any]]
    """Host -> the variables in its scope that begin with one of :data:`PREFIXES`, evaluated;
    every host of the inventory, and localhost for what ``-e`` says."""
    addresses: Mapping[str, str]
    """Host -> its ``ansible_host``, where it has one."""
    members: tuple[str, ...] | None
    """Hosts of the group emqx in inventory order; None when there is no such group."""
    selected: frozenset[str]
    """Hosts that are left after ``--limit``."""
    given: frozenset[str]
    """Names given with ``-e``."""
    root: Path
    """The checkout: relative paths begin here."""
    balancers: tuple[str, ...] = ()
    """Hosts of the group load_balancer in inventory order."""
    vantage: Mapping[str, str] = field(default_factory=dict)
    """Hosts of the group vantage in inventory order -> the address Ansible connects to."""
    upgraded: bool = False
    """Whether the nodes are those of ``emqx_next_release``."""

    def where(self, name: str, hosts: Iterable[str]) -> str:
        """Say where a variable was set, so that it can be found."""
        if name in self.given:
            return "given with -e"
        return f"set for {some(hosts, 3)}"

    def absolute(self, path: str) -> str:
        """Return a path that a variable holds."""
        return str(self.root / Path(path).expanduser())


class Values:
    """The variables of some hosts, typed, with the contract's defaults."""

    def __init__(self, inventory: Inventory, contract: Contract, hosts: tuple[str, ...]) -> None:
        self.inventory = inventory
        self.hosts = hosts
        self.contract = contract
        self._by_host: dict[str, dict[str, Any]] = {host: {} for host in hosts}
        self.problems: list[str] = []
        self._refused: set[str] = set()
        for name, option in contract.items():
            self._read(name, option)

    def of(self, host: str, name: str) -> Any:
        """Return a host's value; None when it is neither set nor has a default."""
        return self._by_host[host][name]

    def shared(self, name: str) -> Any:
        """Return the value that all nodes agree on."""
        return self.of(self.hosts[0], name)

    def foreign(self) -> list[str]:
        """Return the names and patterns of variables that belong to other roles."""
        patterns: list[str] = self._by_host[self.hosts[0]].get(FOREIGN, [])
        return patterns

    def is_set(self, name: str) -> bool:
        """Tell whether the inventory says anything of a variable."""
        return bool(self._setters(name))

    def where(self, name: str) -> str:
        """Say where a variable was set."""
        return self.inventory.where(name, self._setters(name) or self.hosts)

    def _setters(self, name: str) -> list[str]:
        return [host for host in self.hosts
                if self.inventory.variables.get(host, {}).get(name) is not None]

    def _read(self, name: str, option: Mapping[str, Any]) -> None:
        wrong: dict[str, list[str]] = {}
        for host in self.hosts:
            value = self.inventory.variables.get(host, {}).get(name)
            if value is None:
                value = option.get("default")
            try:
                self._by_host[host][name] = (
                    None if value is None else variables.read(name, option, value))
            except WrongValueError as error:
                shown = "" if option.get("no_log") else _shown(value)
                wrong.setdefault(f"must be {error}{shown}", []).append(host)
        if wrong:
            self._refused.add(name)
            # Ports are counted up from the base port: one mistake, one sentence.
            if not (name == "emqx_tls_port" and "emqx_base_port" in self._refused):
                self.problems += [f"{name} ({self.inventory.where(name, hosts)}) {sentence}."
                                  for sentence, hosts in wrong.items()]
        elif name not in HOST_LEVEL:
            self._must_agree(name, secret=bool(option.get("no_log")))

    def _must_agree(self, name: str, *, secret: bool) -> None:
        first = self.hosts[0]
        for host in self.hosts[1:]:
            if self.of(host, name) != self.of(first, name):
                detail = "" if secret else (f" ({_plain(self.of(first, name))} for {first}, "
                                            f"{_plain(self.of(host, name))} for {host})")
                self.problems.append(f"{name} differs between nodes{detail}: it is a setting of "
                                     f"the whole cluster, so set it once for the group {GROUP}.")
                return


def _plain(value: Any) -> str:
    return "nothing" if value in (None, "") else str(value)


def _shown(value: Any) -> str:
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return f", not {shown}" if len(shown) <= 60 else ""
