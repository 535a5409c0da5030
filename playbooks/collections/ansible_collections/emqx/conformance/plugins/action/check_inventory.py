"""Action plugin: evaluates the inventory's variables and hands them to the check."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.yaml import yaml_load
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars
from ansible_collections.emqx.conformance.plugins.module_utils.contract.check import check
from ansible_collections.emqx.conformance.plugins.module_utils.contract.values import (
    BALANCERS,
    GROUP,
    PREFIXES,
    VANTAGE,
    Inventory,
    InventoryError,
)

_ROLE = "check_inventory"


class ActionModule(ActionBase):
    """Runs on the controller only; no host is connected to."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the checked nodes and settings, or the refusal."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        roles = Path(self._task.args["roles_dir"])
        specs = _specifications(roles)
        contract = specs[_ROLE]["main"]
        try:
            inventory = _inventory(task_vars or {}, contract, Path(self._task.args["root"]),
                                   frozenset(load_extra_vars(self._loader)))
            inventory = replace(inventory, upgraded=boolean(self._task.args.get("upgraded", False)))
            known = _registered(roles).union(name for entry_points in specs.values()
                                             for options in entry_points.values()
                                             for name in options)
            result.update(check(inventory, {
                name: option for name, option in contract.items() if name.startswith(PREFIXES)},
                known), changed=False)
            for warning in result["listener_warnings"]:
                self._display.warning(warning)
        except InventoryError as error:
            result.update(failed=True, msg=str(error))
        return result


def _specifications(roles: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return role -> entry point -> options."""
    return {
        file.parts[-3]: {
            entry_point: specification.get("options", {})
            for entry_point, specification in
            yaml_load(file.read_text(encoding="utf-8"))["argument_specs"].items()}
        for file in sorted(roles.glob("*/meta/argument_specs.yml"))}


def _registered(roles: Path) -> frozenset[str]:
    """Return what the roles register: earlier plays of the same run left it with the hosts."""
    return frozenset(name for file in roles.glob("*/tasks/*.yml")
                     for name in _registers(yaml_load(file.read_text(encoding="utf-8"))))


def _registers(tasks: Any) -> Iterator[str]:
    for task in tasks or ():
        if "register" in task:
            yield task["register"]
        for section in ("block", "rescue", "always"):
            yield from _registers(task.get(section))


def _inventory(task_vars: Mapping[str, Any], contract: Mapping[str, Mapping[str, Any]],
               root: Path, given: frozenset[str]) -> Inventory:
    hostvars, groups = task_vars["hostvars"], task_vars["groups"]
    members = tuple(groups[GROUP]) if GROUP in groups else None
    balancers = tuple(str(host) for host in groups.get(BALANCERS, ()))
    known = (*(members or ()), *balancers)
    hosts = dict.fromkeys([*groups["all"], "localhost"])
    problems: list[str] = []
    variables: dict[str, dict[str, Any]] = {}
    for host in hosts:
        names = [name for name in hostvars[host] if name.startswith(PREFIXES)]
        # What no node is asked for need not have a value.
        wanted = contract.keys() if host in known else ()
        variables[host] = {
            name: _value(hostvars[host], host, name, contract, problems) if name in wanted else None
            for name in names}
    if problems:
        raise InventoryError(problems)
    return Inventory(
        variables=variables,
        addresses={host: str(hostvars[host]["ansible_host"]) for host in known
                   if "ansible_host" in hostvars[host]},
        vantage={str(host): str(hostvars[host].get("ansible_host", host))
                 for host in groups.get(VANTAGE, ())},
        members=tuple(str(host) for host in members) if members is not None else None,
        selected=frozenset(task_vars["ansible_play_hosts_all"]), given=given, root=root,
        balancers=balancers)


def _value(variables: Mapping[str, Any], host: str, name: str,
           contract: Mapping[str, Mapping[str, Any]], problems: list[str]) -> Any:
    try:
        return _plain(variables[name])
    except AnsibleError as error:
        # The text of a template error can quote the value.
        reason = "" if contract[name].get("no_log") else f": {_first_line(error)}"
        problems.append(f"{name} of {host} cannot be evaluated{reason}.")
        return None


def _first_line(error: AnsibleError) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")


def _plain(value: Any) -> Any:
    """Copy out of ansible's lazy, tagged containers: evaluates what is nested in them too."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return [_plain(item) for item in value] if isinstance(value, Iterable) else str(value)
