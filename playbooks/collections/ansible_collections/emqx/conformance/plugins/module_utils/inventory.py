"""The inventory contract: variables of the group ``emqx``, checked before anything is touched.

Pure: whoever calls it has evaluated the variables. Every refusal is a sentence that says what
is wrong, where it stands and what to do, and never shows a secret.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import variables
from .listeners import kinds, schema
from .listeners.complete import Certificates, Node, is_enabled
from .listeners.kinds import WrongValueError
from .listeners.nearest import did_you_mean
from .listeners.release import (
    CLUSTER_LICENCE_SINCE,
    DEFAULT_RELEASE,
    Release,
    cluster_needs_licence,
    parse_release,
    release_of_image,
)
from .listeners.validate import check_nodes, listeners_of

GROUP = "emqx"
PREFIXES = ("emqx_", "resumption_")
CONTRACT = "roles/check_inventory/meta/argument_specs.yml"

HOST_LEVEL = frozenset({"emqx_tls_host", "emqx_tls_port", "emqx_tls_server_name", "emqx_listeners",
                        "emqx_tls_cacertfile", "emqx_tls_certfile", "emqx_tls_keyfile"})
"""Variables that may differ between nodes; all others are settings of the whole cluster."""

_OWN_CERTIFICATES = ("emqx_tls_cacertfile", "emqx_tls_certfile", "emqx_tls_keyfile")
_HOST = re.compile(r"[0-9A-Za-z_](?:[0-9A-Za-z_.-]*[0-9A-Za-z_])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.%\w]*")
_PATH_NAME = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z_.-]{0,61}[0-9A-Za-z])?")
_WAIVER_KEYS = ("id", "subject", "why", "expires")


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


def check(inventory: Inventory, contract: Mapping[str, Mapping[str, Any]],
          known: frozenset[str]) -> dict[str, Any]:
    """Return nodes and settings with all defaults applied.

    ``contract`` holds the options of :data:`CONTRACT`, ``known`` the names of every role's.

    Raises:
        InventoryError: with one sentence for each thing that is wrong.
    """
    members = _members(inventory)
    problems = _unknown_names(inventory, known)
    values = _Values(inventory, contract, members)
    problems += values.problems
    if problems:
        raise InventoryError(problems)
    settings = _settings(values)
    nodes = [_node(values, host) for host in members]
    problems = [*_node_problems(nodes), *_setting_problems(settings, values, len(nodes)),
                *_file_problems(settings, values, inventory.root)]
    if problems:
        raise InventoryError(problems)
    return _result(inventory, values, settings, nodes)


def _members(inventory: Inventory) -> tuple[str, ...]:
    if inventory.members is None:
        raise InventoryError([(f"The inventory has no group {GROUP}: put one host a node into it, "
                              f"as inventory/local does.")])
    if not inventory.members:
        raise InventoryError([(f"The group {GROUP} is empty: put one host a node into it, "
                              f"as inventory/local does.")])
    if not inventory.selected.intersection(inventory.members):
        raise InventoryError([(f"--limit leaves no host of the group {GROUP}, which has "
                              f"{_some(inventory.members)}: limit to one of them or leave "
                              f"--limit out.")])
    return inventory.members


def _some(names: Iterable[str], most: int = 5) -> str:
    """Name things without filling the terminal."""
    listed = list(names)
    rest = len(listed) - most
    return ", ".join(listed[:most]) + (f" and {rest} more" if rest > 0 else "")


def _where(inventory: Inventory, name: str, hosts: Iterable[str]) -> str:
    """Say where a variable was set, so that it can be found."""
    if name in inventory.given:
        return "given with -e"
    return f"set for {_some(hosts, 3)}"


def _unknown_names(inventory: Inventory, known: frozenset[str]) -> list[str]:
    hosts_with: dict[str, list[str]] = {}
    for host, names in inventory.variables.items():
        for name in names:
            if name.startswith(PREFIXES) and name not in known:
                hosts_with.setdefault(name, []).append(host)
    return [f"{name} ({_where(inventory, name, hosts)}) is no variable of this project"
            f"{did_you_mean(name, known) or f'; the known ones are in {CONTRACT}.'}"
            for name, hosts in hosts_with.items()]


class _Values:
    """Every node's variables, typed, with the contract's defaults."""

    def __init__(self, inventory: Inventory, contract: Mapping[str, Mapping[str, Any]],
                 members: tuple[str, ...]) -> None:
        self.inventory = inventory
        self.members = members
        self.contract = contract
        self._by_host: dict[str, dict[str, Any]] = {host: {} for host in members}
        self.problems: list[str] = []
        self._refused: set[str] = set()
        for name, option in contract.items():
            self._read(name, option)

    def of(self, host: str, name: str) -> Any:
        """Return a host's value; None when it is neither set nor has a default."""
        return self._by_host[host][name]

    def shared(self, name: str) -> Any:
        """Return the value that all nodes agree on."""
        return self.of(self.members[0], name)

    def where(self, name: str, hosts: Iterable[str] | None = None) -> str:
        """Say where a variable was set."""
        setters = [host for host in hosts or self.members
                   if self.inventory.variables.get(host, {}).get(name) is not None]
        return _where(self.inventory, name, setters or self.members)

    def _read(self, name: str, option: Mapping[str, Any]) -> None:
        wrong: dict[str, list[str]] = {}
        for host in self.members:
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
                self.problems += [f"{name} ({_where(self.inventory, name, hosts)}) {sentence}."
                                  for sentence, hosts in wrong.items()]
        elif name not in HOST_LEVEL:
            self._must_agree(name, secret=bool(option.get("no_log")))

    def _must_agree(self, name: str, *, secret: bool) -> None:
        first = self.members[0]
        for host in self.members[1:]:
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


def _setting_name(variable: str) -> str:
    for prefix in PREFIXES:
        if variable.startswith(prefix):
            return variable[len(prefix):]
    return variable


def _settings(values: _Values) -> dict[str, Any]:
    """Return the cluster's settings without prefix, secrets left out, paths made absolute."""
    contract, root = values.contract, values.inventory.root
    settings: dict[str, Any] = {}
    for name, option in contract.items():
        if name in HOST_LEVEL or option.get("no_log"):
            continue
        value = values.shared(name)
        if option.get("type") == "path" and value:
            value = _absolute(root, value)
        settings[_setting_name(name)] = value
    own = settings["driver"] != "external"
    if settings["max_impact"] is None:
        settings["max_impact"] = "noisy" if own else "safe"
    if settings["rate_limit"] is None:
        settings["rate_limit"] = 0.0 if own else 50.0
    if settings["ca"] is None:
        settings["ca"] = values.of(values.members[0], "emqx_tls_cacertfile") or (
            str(Path(settings["certs_dir"]) / "ca.pem") if own else "")
        if settings["ca"]:
            settings["ca"] = _absolute(root, settings["ca"])
    settings["licensed"] = bool(values.shared("emqx_license"))
    return settings


def _absolute(root: Path, path: str) -> str:
    return str(root / Path(path).expanduser())


def _node(values: _Values, host: str) -> dict[str, Any]:
    address = values.of(host, "emqx_tls_host") or values.inventory.addresses.get(host) or host
    return {"name": host, "host": str(address), "port": values.of(host, "emqx_tls_port"),
            "server_name": values.of(host, "emqx_tls_server_name") or str(address)}


def _node_problems(nodes: list[dict[str, Any]]) -> list[str]:
    problems = []
    taken: dict[tuple[str, int], str] = {}
    for node in nodes:
        if not _PATH_NAME.fullmatch(node["name"]):
            problems.append(f'The host name "{node["name"]}" cannot name a node: use letters, '
                            f"digits, _, - and dots.")
        if not _HOST.fullmatch(node["host"]):
            problems.append(f'emqx_tls_host of {node["name"]} must be a host name or an address '
                            f'without scheme, brackets and port, not "{node["host"]}".')
        where = (node["host"].lower(), node["port"])
        if where in taken:
            problems.append(f"{taken[where]} and {node['name']} have the same address "
                            f"{node['host']}:{node['port']}: give each its own emqx_tls_port "
                            f"or emqx_tls_host.")
        taken.setdefault(where, node["name"])
    return problems


def _setting_problems(settings: dict[str, Any], values: _Values, count: int) -> list[str]:
    problems = []
    if not _PATH_NAME.fullmatch(settings["cluster_name"]):
        problems.append(f'emqx_cluster_name ({values.where("emqx_cluster_name")}) must be letters, '
                        f'digits, _, - and dots, not "{settings["cluster_name"]}".')
    problems += [
        f'resumption_tls_versions ({values.where("resumption_tls_versions")}) has the unknown '
        f'version "{version}" (known: {", ".join(schema.TLS_VERSIONS)})'
        f"{did_you_mean(version, schema.TLS_VERSIONS) or '.'}"
        for version in settings["tls_versions"] if version not in schema.TLS_VERSIONS]
    problems += _waiver_problems(settings["waivers"])
    try:
        release = _release(settings)
    except ValueError as error:
        return [*problems, f"emqx_release ({values.where('emqx_release')}): {error}."]
    by_image = release_of_image(settings["image"]) if settings["driver"] == "docker" else None
    if by_image and by_image != release:
        problems.append(f"emqx_release is {release}, but emqx_image is {settings['image']}: "
                        f"leave emqx_release out or make them agree.")
    if (settings["driver"] == "docker" and count > 1 and cluster_needs_licence(release)
            and not settings["licensed"]):
        problems.append(f"emqx_license is missing: from {CLUSTER_LICENCE_SINCE} on EMQX needs a "
                        f"licence key for a cluster, and this one has {count} nodes of EMQX "
                        f"{release}; set emqx_license, take EMQX {DEFAULT_RELEASE} or one node.")
    return problems


def _waiver_problems(waivers: list[dict[str, Any]]) -> list[str]:
    problems = []
    for number, waiver in enumerate(waivers, 1):
        problems += [f"resumption_waivers: waiver {number} has no {key}."
                     for key in ("id", "why", "expires") if not waiver.get(key)]
        problems += [f'resumption_waivers: waiver {number} has the unknown key "{key}"'
                     f"{did_you_mean(str(key), _WAIVER_KEYS) or '.'}"
                     for key in waiver if key not in _WAIVER_KEYS]
    return problems


def _release(settings: Mapping[str, Any]) -> Release:
    """Return the release to validate for: what is said, else the image's, else the default."""
    if settings["release"]:
        return parse_release(settings["release"])
    by_image = release_of_image(settings["image"]) if settings["driver"] == "docker" else None
    return by_image or parse_release(DEFAULT_RELEASE)


def _file_problems(settings: Mapping[str, Any], values: _Values, root: Path) -> list[str]:
    problems = []
    if bool(settings["client_cert"]) != bool(settings["client_key"]):
        missing = "resumption_client_key" if settings["client_cert"] else "resumption_client_cert"
        problems.append(f"{missing} is missing: resumption_client_cert and resumption_client_key "
                        f"go together.")
    # An unset resumption_ca is what the deploy is about to make.
    named = [(f"resumption_{name}", settings[name]) for name in ("ca", "client_cert", "client_key")
             if settings[name] and values.shared(f"resumption_{name}")]
    for host in values.members:
        own = {name: values.of(host, name) for name in _OWN_CERTIFICATES}
        absent = [name for name, path in own.items() if not path]
        if 0 < len(absent) < len(own):
            problems.append(f"{absent[0]} of {host} is missing: {', '.join(own)} go together.")
        named += [(name, _absolute(root, path)) for name, path in own.items() if path]
    for name, path in dict.fromkeys(named):
        try:
            with Path(path).open("rb"):
                pass
        except FileNotFoundError:
            problems.append(f"{name} ({values.where(name)}) names the file {path}, which does not "
                            f"exist.")
        except OSError as error:
            problems.append(f"{name} ({values.where(name)}) names {path}, which cannot be read: "
                            f"{error.strerror}.")
    return problems


def _result(inventory: Inventory, values: _Values, settings: dict[str, Any],
            nodes: list[dict[str, Any]]) -> dict[str, Any]:
    result = {
        "nodes": [node for node in nodes if node["name"] in inventory.selected],
        "all_nodes": nodes, "settings": settings, "rendering": {}, "own_certificates": [],
        "listener_warnings": []}
    if settings["driver"] == "external":
        if any(values.of(host, "emqx_listeners") for host in values.members):
            result["listener_warnings"] = [
                "emqx_listeners has no effect with emqx_driver external: nothing is rendered"]
        return result
    release = _release(settings)
    settings["release"] = str(release)
    rendered = [_rendered(values, settings, node) for node in nodes]
    checked = check_nodes(rendered, release, check_files=False)
    problems = [sentence if sentence.endswith("?") else f"{sentence}."
                for sentence in checked.errors]
    if not problems and settings["driver"] == "embedded":
        problems = [sentence for node in nodes
                    for sentence in _unreachable(node, checked.listeners[node["name"]])]
    if problems:
        raise InventoryError(problems)
    settings["tls_versions"] = settings["tls_versions"] or _rendered_versions(
        nodes, checked.listeners)
    result["listener_warnings"] = list(checked.warnings)
    result["rendering"] = {node.name: {"listeners": node.listeners, **asdict(node.certificates)}
                           for node in rendered}
    result["own_certificates"] = [asdict(certificates) for certificates in dict.fromkeys(
        node.certificates for node in rendered
        if values.of(node.name, _OWN_CERTIFICATES[0]))]
    return result


def _rendered(values: _Values, settings: Mapping[str, Any], node: Mapping[str, Any]) -> Node:
    """Return what the node's configuration is rendered from."""
    root = values.inventory.root
    own = [values.of(node["name"], name) for name in _OWN_CERTIFICATES]
    paths = [_absolute(root, path) for path in own] if all(own) else [
        str(Path(settings["certs_dir"]) / name)
        for name in ("ca.pem", "server-cert.pem", "server-key.pem")]
    return Node(node["name"], node["host"], node["port"],
                values.of(node["name"], "emqx_listeners"), Certificates(*paths))


def _listeners_at(node: Mapping[str, Any], whole: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the enabled ssl listeners at the port where the node is probed."""
    return [listener for listener_type, _, listener in listeners_of(whole)
            if listener_type == "ssl" and is_enabled(listener)
            and kinds.split_bind(listener.get("bind", schema.EMQX_DEFAULT_PORT["ssl"]))[1]
            == node["port"]]


def _unreachable(node: Mapping[str, Any], whole: Mapping[str, Any]) -> list[str]:
    if _listeners_at(node, whole):
        return []
    return [(f"No enabled ssl listener of {node['name']} is bound to its emqx_tls_port "
            f"{node['port']}, where it is probed: make emqx_listeners and emqx_tls_port agree.")]


def _rendered_versions(nodes: Iterable[Mapping[str, Any]],
                       listeners: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the TLS versions that every probed listener declares, EMQX's order kept."""
    declared = {version for node in nodes for listener in _listeners_at(
        node, listeners[node["name"]]) for version in listener["ssl_options"].get("versions", [])}
    return [version for version in schema.TLS_VERSIONS if version in declared]
