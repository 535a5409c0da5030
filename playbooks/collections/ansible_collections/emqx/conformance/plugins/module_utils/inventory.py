"""The inventory contract: variables of the group ``emqx``, checked before anything is touched.

Pure: whoever calls it has evaluated the variables. Every refusal is a sentence that says what
is wrong, where it stands and what to do, and never shows a secret.
"""
from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from . import balancers, containers, deviation_files, domains, variables
from .checks import choosing, deviations, waivers
from .checks.catalogue import catalogue
from .client_stacks import definitions
from .drivers.docker import emqx_image
from .listeners import kinds, schema, serving
from .listeners.complete import Certificates, Node, is_enabled
from .listeners.files import Locate, encrypted_key
from .listeners.kinds import WrongValueError
from .listeners.nearest import did_you_mean, nearest
from .listeners.release import (
    CLUSTER_LICENCE_SINCE,
    DEFAULT_RELEASE,
    Release,
    cluster_needs_licence,
    otp_of,
    otp_of_image,
    parse_release,
    release_of_image,
)
from .listeners.reuse import installed_ssl, off_unless_told, resumes
from .listeners.validate import check_nodes, listeners_of, unresumed
from .report import compare
from .report.vantage import CONTROLLER
from .words import some

GROUP = "emqx"
_NEXT = {"emqx_release": "emqx_next_release", "emqx_image": "emqx_next_image"}
"""What takes whose place in an upgrade."""
VANTAGE = "vantage"
PREFIXES = ("emqx_", "resumption_")
CONTRACT = "roles/check_inventory/meta/argument_specs.yml"
FOREIGN = "resumption_foreign_variables"
_NEAR = 0.75
"""Ratio of difflib: emqx_zome and emqx_zone have it; emqx_version and emqx_driver do not."""

HOST_LEVEL = frozenset({"emqx_tls_host", "emqx_tls_port", "emqx_tls_server_name", "emqx_listeners",
                        "emqx_tls_cacertfile", "emqx_tls_certfile", "emqx_tls_keyfile",
                        "emqx_image", "emqx_next_image", "emqx_dashboard_port", "emqx_otp_release",
                        "emqx_zone", domains.VARIABLE, *balancers.VARIABLES})
"""Variables that may differ between hosts; all others are settings of the whole cluster."""

_OWN_CERTIFICATES = ("emqx_tls_cacertfile", "emqx_tls_certfile", "emqx_tls_keyfile")
_HOST = re.compile(r"[0-9A-Za-z_](?:[0-9A-Za-z_.-]*[0-9A-Za-z_])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.%\w]*")
_PATH_NAME = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z_.-]{0,61}[0-9A-Za-z])?")
_MEMORY = re.compile(r"[1-9][0-9]*[bkmgBKMG]?")
_GENERATED = frozenset(("ca.pem", "server-cert.pem", "server-key.pem", "client-cert.pem",
                        "client-key.pem"))
"""What roles/test_certificates makes in any case."""
_GENERATED_FOR_DOMAINS = frozenset(("other-server-cert.pem", "other-server-key.pem"))
_GENERATED_OF_DOMAIN = ("ca.pem", "ca-key.pem", "client-cert.pem", "client-key.pem")
"""What it makes when there are trust domains, and for each of them."""
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
    balancers: tuple[str, ...] = ()
    """Hosts of the group load_balancer in inventory order."""
    vantage: Mapping[str, str] = field(default_factory=dict)
    """Hosts of the group vantage in inventory order -> the address Ansible connects to."""
    upgraded: bool = False
    """Whether the nodes are those of ``emqx_next_release``."""


def check(inventory: Inventory, contract: Mapping[str, Mapping[str, Any]],
          known: frozenset[str]) -> dict[str, Any]:
    """Return nodes and settings with all defaults applied.

    ``contract`` holds the options of :data:`CONTRACT`, ``known`` the names of every role's.

    Raises:
        InventoryError: with one sentence for each thing that is wrong.
    """
    if inventory.upgraded:
        inventory = _upgraded(inventory)
    members = _members(inventory)
    values = _Values(inventory, contract, members)
    problems = _unknown_names(inventory, known, values.foreign())
    problems += _foreign_problems(values.foreign(), known)
    problems += values.problems
    of_balancers = _Values(inventory, {
        name: option for name, option in contract.items()
        if name in balancers.ADDRESS | balancers.VARIABLES}, inventory.balancers)
    problems += of_balancers.problems
    problems += _balancer_problems(inventory)
    problems += _vantage_problems(inventory)
    if problems:
        raise InventoryError(problems)
    settings = _settings(values)
    nodes = [_node(values, host, settings["driver"]) for host in members]
    between = [_balancer(of_balancers, host, settings["driver"]) for host in inventory.balancers]
    problems = [*_both(inventory), *_node_problems([*nodes, *between], inventory),
                *_setting_problems(settings, values, len(nodes)),
                *_file_problems(settings, values, inventory.root)]
    problems += [f"emqx_otp_release of {node['name']} must be an Erlang/OTP release such as 27 or "
                 f'27.3.4, not "{told}".' for node in nodes
                 if (told := values.of(node["name"], "emqx_otp_release"))
                 and deviations.major_of(told) is None]
    try:
        settings["known_deviations"] = deviation_files.read(
            settings["known_deviations"], inventory.root)
        deviations.load(settings["known_deviations"], catalogue())
    except deviations.DeviationError as error:
        problems += error.problems
    if settings["compare"]:
        try:
            settings["compare"] = str(compare.find(Path(settings["compare"])))
            compare.load(Path(settings["compare"]))
        except compare.CompareError as error:
            problems.append(f"resumption_compare ({values.where('resumption_compare')}): {error}.")
    trusted = {node["name"]: _domains(values, settings, node, problems) for node in nodes}
    if settings["driver"] == "docker":
        problems += _docker_problems(settings, values, nodes)
    if problems:
        raise InventoryError(problems)
    result = _result(inventory, values, settings, nodes, trusted)
    return {**result, **_balanced(of_balancers, between, result, result.pop("whole")),
            "next_ssl_listeners": _after_the_upgrade(inventory, values, settings, contract, known)}


def _upgraded(inventory: Inventory) -> Inventory:
    """Return the inventory as it is after the upgrade."""
    return replace(inventory, upgraded=False, variables={
        host: {**own, **{today: own[after] for today, after in _NEXT.items() if own.get(after)},
               **dict.fromkeys(_NEXT.values())}
        for host, own in inventory.variables.items()})


def _after_the_upgrade(inventory: Inventory, values: _Values, settings: Mapping[str, Any],
                       contract: Mapping[str, Mapping[str, Any]],
                       known: frozenset[str]) -> list[dict[str, Any]]:
    """Return the listeners as the next release has them; none where there is none.

    Raises:
        InventoryError: the next release is none, or does not take this configuration.
    """
    if not settings["next_release"]:
        return []
    if problems := _next_problems(values, settings):
        raise InventoryError(problems)
    try:
        result = check(replace(inventory, upgraded=True), contract, known)
    except InventoryError as error:
        raise InventoryError(f"After the upgrade to emqx_next_release {settings['next_release']}: "
                             f"{problem}" for problem in error.problems) from None
    found: list[dict[str, Any]] = result["ssl_listeners"]
    return found


def _next_problems(values: _Values, settings: Mapping[str, Any]) -> list[str]:
    where = f"emqx_next_release ({values.where('emqx_next_release')})"
    try:
        after = parse_release(settings["next_release"])
    except ValueError as error:
        return [f"{where}: {error}."]
    if settings["driver"] == "external":
        return [(f"{where} is for nodes that are deployed from here, and emqx_driver is external: "
                 "verify before your upgrade and after it, with resumption_compare.")]
    today = _release(settings, values)
    if after == today:
        return [f"{where} is {after}, the release that runs today: name the one you upgrade to."]
    if after < today:
        return [(f"{where} is {after}, which is older than today's {today}: name the one you "
                 "upgrade to.")]
    if settings["driver"] != "docker":
        return []
    return [f"emqx_next_image of {host} is missing: {image} is EMQX {today}, so name the image of "
            f"EMQX {after}." for host in values.members
            if not values.of(host, "emqx_next_image")
            and release_of_image(image := values.of(host, "emqx_image"))]


def _members(inventory: Inventory) -> tuple[str, ...]:
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


def _balancer_problems(inventory: Inventory) -> list[str]:
    """Return the variables of load balancers that no load balancer has."""
    hosts_with = {name: [host for host, names in inventory.variables.items() if name in names]
                  for name in sorted(balancers.VARIABLES)}
    return [f"{name} ({_where(inventory, name, hosts)}) has an effect on hosts of the group "
            f"{balancers.GROUP} only: put what is in front of the nodes there, as "
            f"inventory/load-balanced does."
            for name, hosts in hosts_with.items()
            if hosts and not set(hosts).intersection(inventory.balancers)]


def _vantage_problems(inventory: Inventory) -> list[str]:
    """Return what is wrong with the group vantage, whose hosts have no settings of their own."""
    of_nodes = {name for host in inventory.members or ()
                for name in inventory.variables.get(host, {})}
    problems = [f"{name} ({_where(inventory, name, [host])}) has no effect on a vantage point: set "
                f"it for the group {GROUP}."
                for host in inventory.vantage
                if host not in (*(inventory.members or ()), *inventory.balancers)
                for name in inventory.variables.get(host, {})
                if name.startswith(PREFIXES) and name not in of_nodes]
    if CONTROLLER in inventory.vantage:
        problems.append(f"The host {CONTROLLER} of the group {VANTAGE} has the name that reports "
                        "give the machine ansible-playbook runs on: call it something else.")
    return problems


def _where(inventory: Inventory, name: str, hosts: Iterable[str]) -> str:
    """Say where a variable was set, so that it can be found."""
    if name in inventory.given:
        return "given with -e"
    return f"set for {some(hosts, 3)}"


def _unknown_names(inventory: Inventory, known: frozenset[str],
                   foreign: Iterable[str]) -> list[str]:
    hosts_with: dict[str, list[str]] = {}
    for host, names in inventory.variables.items():
        for name in names:
            if name.startswith(PREFIXES) and name not in known \
                    and not any(fnmatchcase(name, pattern) for pattern in foreign):
                hosts_with.setdefault(name, []).append(host)
    return [f"{name} ({_where(inventory, name, hosts)}) is no variable of this project"
            f"{_meant(name, known) or _ELSEWHERE}"
            for name, hosts in hosts_with.items()]


_ELSEWHERE = (f"; the known ones are in {CONTRACT}. If it is another role's, name it in "
              f"{FOREIGN}.")


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


def _foreign_problems(foreign: Iterable[str], known: frozenset[str]) -> list[str]:
    return [f"{FOREIGN} has {name}, which is a variable of this project: it cannot be another "
            f"role's too." for name in foreign if name in known]


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

    def foreign(self) -> list[str]:
        """Return the names and patterns of variables that belong to other roles."""
        patterns: list[str] = self._by_host[self.members[0]].get(FOREIGN, [])
        return patterns

    def is_set(self, name: str) -> bool:
        """Tell whether the inventory says anything of a variable."""
        return any(self.inventory.variables.get(host, {}).get(name) is not None
                   for host in self.members)

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
    settings["otp_releases"] = {
        host: declared for host in values.members if (declared := _declared_otp(values, host))}
    settings["zones"] = {host: zone for host in values.members
                         if (zone := values.of(host, "emqx_zone"))}
    if not own:
        # What nobody has set nobody knows: these are no defaults of somebody else's nodes.
        for name in ("session_lifetime", "session_cache_max"):
            if not values.is_set(f"emqx_{name}"):
                settings[name] = None
    settings["licensed"] = bool(values.shared("emqx_license"))
    return settings


def _declared_otp(values: _Values, host: str) -> dict[str, str] | None:
    """Return a node's Erlang/OTP release as far as the inventory says it, and how it does.

    Of nodes deployed from here emqx_release says how to write their configuration, and no more.
    """
    if told := values.of(host, "emqx_otp_release"):
        return {"release": told, "how": "as emqx_otp_release declares"}
    release = values.shared("emqx_release")
    if not release or values.shared("emqx_driver") != "external":
        return None
    try:
        otp = otp_of(parse_release(release))
    except ValueError:
        return None  # refused elsewhere, in words
    return None if otp is None else {
        "release": str(otp), "how": f"which EMQX {release} is built with, as emqx_release declares"}


def _absolute(root: Path, path: str) -> str:
    return str(root / Path(path).expanduser())


def _node(values: _Values, host: str, driver: str) -> dict[str, Any]:
    by_default = containers.PUBLISHED_ON if driver == "docker" else (
        values.inventory.addresses.get(host) or host)
    address = values.of(host, "emqx_tls_host") or by_default
    return {"name": host, "host": str(address), "port": values.of(host, "emqx_tls_port"),
            "server_name": values.of(host, "emqx_tls_server_name") or str(address)}


def _both(inventory: Inventory) -> list[str]:
    both = [host for host in inventory.balancers if host in (inventory.members or ())]
    return [(f"{some(both)} cannot be in both groups, {GROUP} and {balancers.GROUP}: a load "
             "balancer has a host of its own in the inventory.")] if both else []


def _balancer(values: _Values, host: str, driver: str) -> dict[str, Any]:
    address = values.of(host, "emqx_tls_host") or balancers.default_host(
        driver, host, values.inventory.addresses.get(host))
    template = values.of(host, "emqx_lb_template")
    return {"name": host, "host": str(address), "port": values.of(host, "emqx_tls_port"),
            "server_name": values.of(host, "emqx_tls_server_name") or str(address),
            "affinity": values.of(host, "resumption_lb_affinity"),
            "balance": values.of(host, "emqx_lb_balance"),
            "template": _absolute(values.inventory.root, template) if template else ""}


def _balanced(values: _Values, between: list[dict[str, Any]],
              result: Mapping[str, Any], listeners: Mapping[str, Any]) -> dict[str, Any]:
    """Return the load balancers, each with the nodes behind it, and what there is to warn about.

    Raises:
        InventoryError: one cannot be made.
    """
    problems = [sentence for balancer in between for sentence in balancers.template_problems(
        balancer["name"], balancer["template"])]
    warnings: list[str] = list(result["listener_warnings"])
    nodes = [balancers.listening(node, listeners.get(node["name"]),
                                 in_container=result["settings"]["driver"] == "docker")
             for node in result["all_nodes"]]
    whole = [{**balancer, "servers": balancers.servers(
        balancer["name"], {name: values.of(balancer["name"], name) for name in balancers.VARIABLES},
        nodes, problems, warnings)} for balancer in between]
    if problems:
        raise InventoryError(problems)
    return {"load_balancers": [balancer for balancer in whole
                               if balancer["name"] in values.inventory.selected],
            "all_load_balancers": [balancer["name"] for balancer in whole],
            "listener_warnings": warnings}


def _written_as(inventory: Inventory, host: str) -> str | None:
    """Return the variable that says where a host is; None where its name does."""
    if inventory.variables.get(host, {}).get("emqx_tls_host"):
        return "emqx_tls_host"
    return "ansible_host" if inventory.addresses.get(host) else None


def _node_problems(nodes: list[dict[str, Any]], inventory: Inventory) -> list[str]:
    problems = []
    taken: dict[tuple[str, int], str] = {}
    for node in nodes:
        if not _PATH_NAME.fullmatch(node["name"]):
            problems.append(f'The host name "{node["name"]}" cannot name a node: use letters, '
                            f"digits, _, - and dots.")
        variable = _written_as(inventory, node["name"])
        if variable and not _HOST.fullmatch(node["host"]):
            problems.append(f'{variable} of {node["name"]} must be a host name or an address '
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
    problems += [
        f'emqx_certificate_domains ({values.where("emqx_certificate_domains")}) has "{domain}": '
        "use letters, digits, _ and - only."
        for domain in settings["certificate_domains"]
        if not domains.GENERATED_NAME.fullmatch(domain)]
    problems += _waiver_problems(settings["waivers"])
    problems += choosing.problems(settings["checks"], settings["skip_checks"], catalogue())
    try:
        definitions.chosen(settings["client_stacks"], values.inventory.root)
    except definitions.StackError as error:
        problems.append(f"resumption_client_stacks: {error}")
    try:
        release = _release(settings, values)
    except ValueError as error:
        return [*problems, f"emqx_release ({values.where('emqx_release')}): {error}."]
    problems += [f"emqx_release is {release}, but emqx_image is {image}: leave emqx_release out "
                 f"or make them agree."
                 for image, by_image in _image_releases(settings, values).items()
                 if settings["release"] and by_image != release]
    newest = max([release, *_image_releases(settings, values).values()])
    if (settings["driver"] == "docker" and count > 1 and cluster_needs_licence(newest)
            and not settings["licensed"]):
        problems.append(f"emqx_license is missing: from {CLUSTER_LICENCE_SINCE} on EMQX needs a "
                        f"licence key for a cluster, and this one has {count} nodes of EMQX "
                        f"{newest}; set emqx_license, take EMQX {DEFAULT_RELEASE} or one node.")
    return problems


def _waiver_problems(rows: list[dict[str, Any]]) -> list[str]:
    problems = []
    ids = {check.id for check in catalogue()}
    for number, waiver in enumerate(rows, 1):
        problems += [f"resumption_waivers: waiver {number} has no {key}."
                     for key in ("id", "why", "expires") if not waiver.get(key)]
        problems += [f'resumption_waivers: waiver {number} has the unknown key "{key}"'
                     f"{did_you_mean(str(key), _WAIVER_KEYS) or '.'}"
                     for key in waiver if key not in _WAIVER_KEYS]
        for key, read in (("id", lambda row: waivers.check_of(row, ids)),
                          ("expires", waivers.day_of)):
            if waiver.get(key):
                try:
                    read(waiver)
                except ValueError as error:
                    problems.append(f"resumption_waivers: waiver {number}: {error}"
                                    f"{'' if str(error).endswith('?') else '.'}")
    return problems


def _image_releases(settings: Mapping[str, Any], values: _Values) -> dict[str, Release]:
    """Return image -> release for the nodes' images whose tags name one."""
    if settings["driver"] != "docker":
        return {}
    images = dict.fromkeys(values.of(host, "emqx_image") for host in values.members)
    return {image: release for image in images if (release := release_of_image(image))}


def _release(settings: Mapping[str, Any], values: _Values) -> Release:
    """Return the release to validate for: what is said, else the image's, else the default.

    Nodes of several releases, as in a rolling upgrade, must boot from keys that the oldest knows.
    """
    if settings["release"]:
        return parse_release(settings["release"])
    return min(_image_releases(settings, values).values(), default=parse_release(DEFAULT_RELEASE))


def _stacks_off_unless_told(settings: Mapping[str, Any], values: _Values) -> dict[str, str]:
    """Return host -> its Erlang/OTP in words, where that resumes nothing unless told to."""
    stacks = {host: _stack(settings, values, host) for host in values.members}
    return {host: words for host, (words, off) in stacks.items() if off}


def _stack(settings: Mapping[str, Any], values: _Values, host: str) -> tuple[str, bool | None]:
    """Return a node's Erlang/OTP in words, and whether it resumes nothing unless told to."""
    if told := values.of(host, "emqx_otp_release"):
        return f"its Erlang/OTP {told}, as emqx_otp_release says,", off_unless_told(otp=told)
    if settings["driver"] == "embedded":
        erl = shutil.which("erl")
        ssl = installed_ssl(erl) if erl else None
        return f"the Erlang/OTP of this machine (ssl {ssl})", off_unless_told(ssl=ssl)
    image = values.of(host, "emqx_image")
    otp = otp_of_image(image)
    return f"the Erlang/OTP {otp} of {image}", off_unless_told(otp=otp)


def _erlang(settings: Mapping[str, Any], values: _Values, host: str,
            release: Release) -> tuple[str, bool | None]:
    """Return a node's Erlang/OTP in words, and whether it resumes nothing unless told to.

    Of EMQX's own images it is what EMQX is built with; none so far has the new default.
    """
    if told := values.of(host, "emqx_otp_release"):
        return f"Erlang/OTP {told}", off_unless_told(otp=told)
    if settings["driver"] == "embedded":
        erl = shutil.which("erl")
        ssl = installed_ssl(erl) if erl else None
        return f"Erlang/OTP's ssl {ssl}", off_unless_told(ssl=ssl)
    if otp := otp_of_image(values.of(host, "emqx_image")):
        return f"Erlang/OTP {otp}", off_unless_told(otp=otp)
    built_with = otp_of(release)
    return ("an Erlang/OTP that is not known", None) if built_with is None else (
        f"Erlang/OTP {built_with}", False)


def _ssl_listeners(settings: Mapping[str, Any], values: _Values, node: Mapping[str, Any],
                   whole: Mapping[str, Any], trusted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the enabled ssl listeners of a node: where each is reached, and who gets in."""
    release = _release(settings, values)
    ports = containers.published_ports(whole, node["port"]) \
        if settings["driver"] == "docker" else {}
    erlang, off = _erlang(settings, values, node["name"], release)
    found = []
    for listener_type, name, listener in listeners_of(whole):
        if listener_type != "ssl" or not is_enabled(listener):
            continue
        options = listener["ssl_options"]
        inside = kinds.split_bind(listener.get("bind", schema.EMQX_DEFAULT_PORT["ssl"]))[1]
        port = ports.get(inside, inside)
        verify_peer = options.get("verify") == "verify_peer"
        client: Mapping[str, Any] = next(
            (domain for domain in trusted if domain["port"] == port), settings)
        asked = values.of(node["name"], "emqx_listeners").get("ssl", {}).get(name) or {}
        found.append({
            **node, "name": f"{node['name']}/{name}", "node": node["name"], "listener": name,
            "port": port, "release": str(release), "erlang": erlang, "verify_peer": verify_peer,
            "reuse_sessions": options["reuse_sessions"],
            "stated": "reuse_sessions" in (asked.get("ssl_options") or {}),
            "resumes": resumes(release, value=options["reuse_sessions"], verify_peer=verify_peer,
                               off=off),
            "client_cert": client["client_cert"] if verify_peer else None,
            "client_key": client["client_key"] if verify_peer else None,
            "built_with": None if _is_emqx(settings, values, node["name"]) else otp_of(release),
            "why_not": _why_not_asked(listener)})
    return found


def _is_emqx(settings: Mapping[str, Any], values: _Values, host: str) -> bool:
    """Tell whether a node is EMQX, as far as its image's tag tells."""
    return settings["driver"] == "docker" and otp_of_image(values.of(host, "emqx_image")) is None


def _why_not_asked(listener: Mapping[str, Any]) -> str:
    """Return why a listener cannot be asked from here; empty where it can."""
    if "tlsv1.2" not in serving.versions_of(listener["ssl_options"]):
        return "it speaks no TLS 1.2, and has no session IDs to resume"
    if listener.get("proxy_protocol"):
        return "it wants a load balancer's PROXY protocol header, which the probe does not send"
    return ""


def _docker_problems(settings: Mapping[str, Any], values: _Values,
                     nodes: list[dict[str, Any]]) -> list[str]:
    memory = settings["container_memory"]
    problems = [] if _MEMORY.fullmatch(memory) else [
        (f'emqx_container_memory ({values.where("emqx_container_memory")}) must be a size as '
         f'Docker spells it, such as 512m or 1g, not "{memory}".')]
    problems += [f"emqx_tls_host of {node['name']} is {node['host']}, but the driver docker opens "
                f"its nodes' ports on {containers.PUBLISHED_ON} only: leave emqx_tls_host out."
                for node in nodes if node["host"] not in containers.LOOPBACK_NAMES]
    taken = {node["port"]: f"emqx_tls_port of {node['name']}" for node in nodes}
    for node in nodes:
        port = values.of(node["name"], "emqx_dashboard_port")
        if port in taken:
            problems.append(f"emqx_dashboard_port of {node['name']} is {port}, as is {taken[port]}:"
                            f" give each its own.")
        elif port:
            taken[port] = f"emqx_dashboard_port of {node['name']}"
    return problems


def _to_be_made(settings: Mapping[str, Any]) -> frozenset[str]:
    """Return the paths of the files that the deploy makes when they are not there."""
    if settings["driver"] == "external":
        return frozenset()
    of_domains = settings["certificate_domains"]
    made = _GENERATED.union(
        _GENERATED_FOR_DOMAINS if of_domains else (),
        (f"{domain}-{file}" for domain in of_domains for file in _GENERATED_OF_DOMAIN))
    return frozenset(str(Path(settings["certs_dir"]) / name) for name in made)


def _file_problems(settings: Mapping[str, Any], values: _Values, root: Path) -> list[str]:
    problems = []
    if bool(settings["client_cert"]) != bool(settings["client_key"]):
        missing = "resumption_client_key" if settings["client_cert"] else "resumption_client_cert"
        problems.append(f"{missing} is missing: resumption_client_cert and resumption_client_key "
                        f"go together.")
    named = [(f"resumption_{name}", settings[name]) for name in ("ca", "client_cert", "client_key")
             if settings[name] and settings[name] not in _to_be_made(settings)]
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


def _domains(values: _Values, settings: Mapping[str, Any], node: Mapping[str, Any],
             problems: list[str]) -> list[dict[str, Any]]:
    """Return the node's trust domains; what is wrong with them is added to ``problems``."""
    to_be_made = _to_be_made(settings)
    found, wrong = domains.read(
        values.of(node["name"], domains.VARIABLE), node["name"], values.inventory.root,
        lambda path: path in to_be_made)
    problems += wrong
    if settings["driver"] == "external":
        problems += domains.listener_problems(found, node["name"], node["port"], None)
    return found


def _domain_listener_problems(node: Mapping[str, Any], found: list[dict[str, Any]],
                              ports: Mapping[int, int], whole: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the listeners of a node's trust domains.

    ``ports`` says at which port clients find which port of the node.
    """
    listeners = {ports.get(port, port): listener
                 for listener_type, _, listener in listeners_of(whole)
                 if listener_type == "ssl" and is_enabled(listener)
                 for port in [kinds.split_bind(
                     listener.get("bind", schema.EMQX_DEFAULT_PORT["ssl"]))[1]]}
    return domains.listener_problems(found, node["name"], node["port"], listeners)


def _result(inventory: Inventory, values: _Values, settings: dict[str, Any],
            nodes: list[dict[str, Any]],
            trusted: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    result = {
        "nodes": [node for node in nodes if node["name"] in inventory.selected],
        "all_nodes": nodes, "settings": settings, "rendering": {}, "listening": [],
        "containers": {}, "own_certificates": [], "listener_warnings": [], "whole": {},
        "ssl_listeners": [],
        "trust_domains": [{"node": node["name"], **domain} for node in nodes
                          if node["name"] in inventory.selected
                          for domain in trusted[node["name"]]],
        "vantage": [{"name": host, "host": address} for host, address in inventory.vantage.items()
                    if host in inventory.selected]}
    if settings["driver"] == "external":
        if any(values.of(host, "emqx_listeners") for host in values.members):
            result["listener_warnings"] = [
                "emqx_listeners has no effect with emqx_driver external: nothing is rendered"]
        return result
    release = _release(settings, values)
    settings["release"] = str(release)
    in_containers = settings["driver"] == "docker"
    written = [_rendered(values, settings, node) for node in nodes]
    mounts = {node.name: containers.Mounts(inventory.root) for node in written}
    rendered = [containers.inside(node, mounts[node.name]) for node in written] \
        if in_containers else written
    to_be_made = _to_be_made(settings)
    # Of these the role test_certificates tells what is wrong, with --check too.
    unlooked = frozenset(map(os.path.normpath, to_be_made.union(
        path for node in written if values.of(node.name, _OWN_CERTIFICATES[0])
        for path in asdict(node.certificates).values())))

    def locate(node: str) -> Locate:
        return partial(_located, unlooked, mounts[node] if in_containers else None)

    checked = check_nodes(rendered, release, check_files=True, locate=locate)
    problems = [sentence if sentence.endswith("?") else f"{sentence}."
                for sentence in checked.errors]
    if not problems:
        problems = [sentence for node in nodes for sentence in (
            containers.unreachable(node["name"], checked.listeners[node["name"]])
            if in_containers else _unreachable(node, checked.listeners[node["name"]]))]
    if not problems:
        problems = [sentence for node in nodes for sentence in _domain_listener_problems(
            node, trusted[node["name"]],
            containers.published_ports(checked.listeners[node["name"]], node["port"])
            if in_containers else {}, checked.listeners[node["name"]])]
    if not problems:
        problems = [sentence for node in nodes for sentence in balancers.probed_behind_proxy(
            balancers.listening(node, checked.listeners[node["name"]], in_container=in_containers))]
    if in_containers:
        problems += _mount_problems(mounts, to_be_made)
    elif not problems:
        problems = _passphrase_problems(checked.listeners, locate)
    if problems:
        raise InventoryError(problems)
    listening = {node.name: containers.probed_port(checked.listeners[node.name]) or node.port
                 for node in rendered} if in_containers else {
                     node.name: node.port for node in rendered}
    settings["tls_versions"] = settings["tls_versions"] or _rendered_versions(
        listening, checked.listeners)
    result["listener_warnings"] = [*checked.warnings, *unresumed(
        checked.listeners, release, _stacks_off_unless_told(settings, values))]
    result["whole"] = checked.listeners
    result["ssl_listeners"] = [
        row for node in nodes if node["name"] in inventory.selected
        for row in _ssl_listeners(settings, values, node, checked.listeners[node["name"]],
                                  trusted[node["name"]])]
    result["rendering"] = {
        node.name: {"listeners": node.listeners, **asdict(node.certificates),
                    **_identity(settings, node)} for node in rendered}
    result["listening"] = [{"name": node.name, "host": node.host, "port": listening[node.name]}
                           for node in rendered if node.name in inventory.selected]
    result["own_certificates"] = [asdict(certificates) for certificates in dict.fromkeys(
        node.certificates for node in written
        if values.of(node.name, _OWN_CERTIFICATES[0]))]
    if in_containers:
        result["containers"] = {node["name"]: {
            "image": values.of(node["name"], "emqx_image"),
            "tls_ports": containers.published_ports(checked.listeners[node["name"]], node["port"]),
            "dashboard_port": values.of(node["name"], "emqx_dashboard_port"),
            "files": mounts[node["name"]].files} for node in nodes}
    return result


def _identity(settings: Mapping[str, Any], node: Node) -> dict[str, str]:
    """Return the node's name as EMQX spells it, and where the node finds its listeners."""
    cluster = settings["cluster_name"]
    if settings["driver"] == "docker":
        return {"node_name": emqx_image.node_name(cluster, node.name),
                "listeners_file": emqx_image.LISTENERS}
    return {"node_name": f"{node.name}@{node.host}",
            "listeners_file": str(Path(settings["config_dir"]) / cluster / node.name
                                  / "listeners.hocon")}


def _located(unlooked: frozenset[str], mounts: containers.Mounts | None,
             path: str) -> str | None:
    """Return where a file of a node's listeners can be looked at on this machine, if it can."""
    here = mounts.outside(path) if mounts else path
    if here is None or os.path.normpath(here) in unlooked:
        return None
    # What is not there to be mounted is told for all keys at once.
    return here if mounts is None or Path(here).is_file() else None


def _passphrase_problems(listeners: Mapping[str, Mapping[str, Any]],
                         locate: Callable[[str], Locate]) -> list[str]:
    """Return the private keys that embedded nodes cannot read: they implement no ``password``."""
    found = dict.fromkeys(
        (f"listeners.ssl.{name}.ssl_options.keyfile", key)
        for node, whole in listeners.items()
        for listener_type, name, listener in listeners_of(whole)
        if listener_type == "ssl" and is_enabled(listener)
        and (key := encrypted_key(listener["ssl_options"], locate(node))))
    return [f'{path}: "{key}" has a passphrase, which the embedded node does not read, so that '
            f"every handshake would fail: use a key without one." for path, key in found]


def _mount_problems(mounts: Mapping[str, containers.Mounts],
                    to_be_made: frozenset[str]) -> list[str]:
    """Return the files that do not exist, but for those that the deploy is about to make."""
    missing = {path for mount in mounts.values() for path in mount.files.values()
               if path not in to_be_made and not Path(path).is_file()}
    return [f"emqx_listeners names the file {path}, which does not exist (paths of the image begin "
            f"with {emqx_image.HOME}/)." for path in sorted(missing)]


def _rendered(values: _Values, settings: Mapping[str, Any], node: Mapping[str, Any]) -> Node:
    """Return what the node's configuration is rendered from."""
    root = values.inventory.root
    own = [values.of(node["name"], name) for name in _OWN_CERTIFICATES]
    paths = [_absolute(root, path) for path in own] if all(own) else [
        str(Path(settings["certs_dir"]) / name)
        for name in ("ca.pem", "server-cert.pem", "server-key.pem")]
    return Node(node["name"], node["host"], node["port"],
                values.of(node["name"], "emqx_listeners"), Certificates(*paths))


def _listeners_at(port: int, whole: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the enabled ssl listeners at the port where the node is probed."""
    return [listener for listener_type, _, listener in listeners_of(whole)
            if listener_type == "ssl" and is_enabled(listener)
            and kinds.split_bind(listener.get("bind", schema.EMQX_DEFAULT_PORT["ssl"]))[1] == port]


def _unreachable(node: Mapping[str, Any], whole: Mapping[str, Any]) -> list[str]:
    if _listeners_at(node["port"], whole):
        return []
    return [(f"No enabled ssl listener of {node['name']} is bound to its emqx_tls_port "
            f"{node['port']}, where it is probed: make emqx_listeners and emqx_tls_port agree.")]


def _rendered_versions(ports: Mapping[str, int],
                       listeners: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the TLS versions that every probed listener declares, EMQX's order kept.

    ``ports`` says at which port each node's is.
    """
    declared = {version for node, port in ports.items() for listener in _listeners_at(
        port, listeners[node]) for version in listener["ssl_options"].get("versions", [])}
    return [version for version in schema.TLS_VERSIONS if version in declared]
