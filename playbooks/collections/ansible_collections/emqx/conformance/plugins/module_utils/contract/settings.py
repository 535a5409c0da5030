"""The settings of the whole cluster, and what is wrong with them."""
from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import generated
from ..checks.catalogue import catalogue
from ..client_stacks import definitions
from ..listeners import schema
from ..listeners.nearest import did_you_mean
from ..report import compare
from ..run import choosing
from ..tolerance import deviations, waivers
from ..tolerance import files as deviation_files
from . import releases
from .values import HOST_LEVEL, PREFIXES, Values

PATH_NAME = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z_.-]{0,61}[0-9A-Za-z])?")
"""How a node or a cluster may be called: folders and hosts are named after it."""
_MEMORY = re.compile(r"[1-9][0-9]*[bkmgBKMG]?")


@dataclass(frozen=True)
class ClusterSettings:
    """The cluster's settings by their variables' names without prefix.

    Defaults are applied and paths absolute; none is a secret. What a variable means, its argument
    specification says; here stands what is not simply its value.
    """

    driver: str
    cluster_name: str
    base_port: int | None
    node_count: int | None
    release: str | None
    """Of nodes that are deployed from here the one that the listeners are for, in the end."""
    next_release: str | None
    licensed: bool
    """Whether there is a licence key."""
    container_memory: str
    container_cpus: float
    destroy_scope: str
    certs_dir: str
    config_dir: str
    state_dir: str
    reports_dir: str
    certificate_key_type: str
    certificate_domains: list[str]
    ca: str
    """Empty: the system's store."""
    client_cert: str | None
    client_key: str | None
    session_lifetime: int | None
    """None of somebody else's nodes, unless they are declared to have one; so is the next."""
    session_cache_max: int | None
    otp_releases: dict[str, dict[str, str]]
    """Host -> ``release`` and ``how`` that is known, where the inventory tells."""
    zones: dict[str, str]
    """Host -> zone, of those that have one."""
    cache_scope: str
    tls_versions: list[str]
    """Of nodes that are deployed from here what their listeners say, in the end."""
    max_impact: str
    rate_limit: float
    timeout: float
    max_wait: int
    pairs_per_node: int | None
    fleet_devices: int
    fleet_minutes: int
    mqtt_username: str | None
    mqtt_version: str
    mqtt_client_id_prefix: str
    mqtt_topic: str
    strict: bool
    checks: list[str]
    skip_checks: dict[str, str]
    client_stacks: list[str]
    waivers: list[dict[str, Any]]
    known_deviations: list[dict[str, Any]]
    """``file`` and ``content`` of each file."""
    compare: str | None
    """The file ``results.json`` of an earlier run."""
    foreign_variables: list[str]

    @property
    def deployed(self) -> bool:
        """Whether the nodes are deployed from here."""
        return self.driver != "external"


def read(values: Values, problems: list[str]) -> ClusterSettings:
    """Return the settings; files that they name and that cannot be used are added to ``problems``.

    What else is wrong with them :func:`problems_of` tells.
    """
    given = {_field(name): _value(values, name, option)
             for name, option in values.contract.items()
             if name not in HOST_LEVEL and not option.get("no_log")}
    deployed = given["driver"] != "external"
    if given["max_impact"] is None:
        given["max_impact"] = "noisy" if deployed else "safe"
    if given["rate_limit"] is None:
        given["rate_limit"] = 0.0 if deployed else 50.0
    if given["ca"] is None:
        given["ca"] = _ca(values, Path(given["certs_dir"]) / "ca.pem" if deployed else None)
    if not deployed:
        # What nobody has set nobody knows: these are no defaults of somebody else's nodes.
        given.update((name, None) for name in ("session_lifetime", "session_cache_max")
                     if not values.is_set(f"emqx_{name}"))
    given["known_deviations"] = _known_deviations(
        given["known_deviations"], values.inventory.root, problems)
    given["compare"] = given["compare"] and _compare(values, given["compare"], problems)
    return ClusterSettings(
        **given, licensed=bool(values.shared("emqx_license")),
        otp_releases={host: declared for host in values.hosts
                      if (declared := releases.declared_otp(values, host))},
        zones={host: zone for host in values.hosts if (zone := values.of(host, "emqx_zone"))})


def _field(variable: str) -> str:
    return next(variable[len(prefix):] for prefix in PREFIXES if variable.startswith(prefix))


def _value(values: Values, name: str, option: Mapping[str, Any]) -> Any:
    value = values.shared(name)
    return values.inventory.absolute(value) if option.get("type") == "path" and value else value


def _ca(values: Values, generated: Path | None) -> str:
    own = values.of(values.hosts[0], "emqx_tls_cacertfile")
    return values.inventory.absolute(own) if own else str(generated or "")


def _known_deviations(paths: list[str] | None, root: Path,
                      problems: list[str]) -> list[dict[str, Any]]:
    try:
        documents = deviation_files.read(paths, root)
        deviations.load(documents, catalogue())
    except deviations.DeviationError as error:
        problems += error.problems
        return []
    return documents


def _compare(values: Values, path: str, problems: list[str]) -> str:
    try:
        found = compare.find(Path(path))
        compare.load(found)
    except compare.CompareError as error:
        problems.append(f"resumption_compare ({values.where('resumption_compare')}): {error}.")
        return path
    return str(found)


def problems_of(settings: ClusterSettings, values: Values) -> list[str]:
    """Return what is wrong with the settings, each by itself and with each other."""
    problems = []
    if not PATH_NAME.fullmatch(settings.cluster_name):
        problems.append(f'emqx_cluster_name ({values.where("emqx_cluster_name")}) must be letters, '
                        f'digits, _, - and dots, not "{settings.cluster_name}".')
    problems += [
        f'resumption_tls_versions ({values.where("resumption_tls_versions")}) has the unknown '
        f'version "{version}" (known: {", ".join(schema.TLS_VERSIONS)})'
        f"{did_you_mean(version, schema.TLS_VERSIONS) or '.'}"
        for version in settings.tls_versions if version not in schema.TLS_VERSIONS]
    problems += [
        f'emqx_certificate_domains ({values.where("emqx_certificate_domains")}) has "{domain}": '
        "use letters, digits, _ and - only."
        for domain in settings.certificate_domains
        if not generated.DOMAIN_NAME.fullmatch(domain)]
    if settings.driver == "docker" and not _MEMORY.fullmatch(settings.container_memory):
        problems.append(
            f'emqx_container_memory ({values.where("emqx_container_memory")}) must be a size as '
            f'Docker spells it, such as 512m or 1g, not "{settings.container_memory}".')
    problems += waivers.read(settings.waivers, catalogue())[1]
    problems += choosing.problems(settings.checks, settings.skip_checks, catalogue())
    try:
        definitions.chosen(settings.client_stacks, values.inventory.root)
    except definitions.StackError as error:
        problems.append(f"resumption_client_stacks: {error}")
    return [*problems, *releases.problems_of(values)]
