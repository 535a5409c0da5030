"""The contract of EMQX's container image, as far as the docker driver relies on it.

Pure. docs/docker.md goes through it point by point: where each is documented, what was tried.
Nothing here, and nothing in the driver, asks which image it is.
"""
from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HOME = "/opt/emqx"
CONFIG = f"{HOME}/etc/emqx.conf"
LISTENERS = f"{HOME}/etc/listeners.hocon"
CERTIFICATES = f"{HOME}/etc/conformance"
"""Ours, beside the image's own ``etc/certs``, which other listeners name by default."""
TLS_PORT = 8883
DASHBOARD_PORT = 18083
PUBLISHED_ON = "127.0.0.1"
"""Test clusters are nobody else's: their ports are opened on loopback only."""

RELEASE_VARIABLE = "CONFORMANCE_EMQX_RELEASE"
"""Ours too: the release that the local image does as."""

STATUS = (f"{HOME}/bin/emqx", "ctl", "status")
CLUSTER_STATUS = (f"{HOME}/bin/emqx", "ctl", "cluster", "status")
BROKER = (f"{HOME}/bin/emqx", "ctl", "broker")
OTP_RELEASE = (f"{HOME}/bin/emqx", "eval", "erlang:system_info(otp_release)")

_DNS_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,40}[a-z0-9])?")
_RUNNING = re.compile(r"running_nodes\s*=>\s*\[([^]]*)\]")
_ROW = re.compile(r"^(sysdescr|version)\s*: *(.*?)\s*$", re.MULTILINE)
_RELEASE_DIGITS = re.compile(r'^"?(\d{2,3})"?$', re.MULTILINE)


def _dns_label(name: str) -> str:
    if _DNS_LABEL.fullmatch(name):
        return name
    # "a_b", "a.b" and "A-B" are different names; what DNS knows of them must be, too.
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:30]
    return f"{readable}-{zlib.crc32(name.encode()):08x}".lstrip("-")


def host_name(cluster: str, node: str) -> str:
    """Return the name by which the nodes know each other: EMQX's have long names, with a dot.

    ``internal`` is the top-level domain that ICANN keeps free for private use.
    """
    return f"{_dns_label(node)}.{_dns_label(cluster)}.internal"


def node_name(cluster: str, node: str) -> str:
    """Return the Erlang name of the node (EMQX: ``node.name``)."""
    return f"emqx@{host_name(cluster, node)}"


@dataclass(frozen=True)
class ContainerSettings:
    """What a node is told by its environment; secrets are given no other way."""

    cookie: str
    session_lifetime: int | None = None
    """Seconds (OTP's ssl)."""
    session_cache_max: int | None = None
    """Sessions (OTP's ssl)."""
    dashboard_password: str | None = None
    license_key: str | None = None
    release: str | None = None
    """What EMQX the node is to be, where its image is no EMQX; EMQX itself ignores it."""


def environment(cluster: str, node: str, members: Sequence[str],
                settings: ContainerSettings) -> dict[str, str]:
    """Return the container's environment variables."""
    name = node_name(cluster, node)
    seeds = ",".join(node_name(cluster, member) for member in members)
    variables = {
        # The image's entry point makes a name of its own when it finds the older variable unset.
        "EMQX_NODE_NAME": name, "EMQX_NODE__NAME": name,
        "EMQX_NODE__COOKIE": settings.cookie,
        "EMQX_CLUSTER__DISCOVERY_STRATEGY": "static",
        "EMQX_CLUSTER__STATIC__SEEDS": f"[{seeds}]",
        "EMQX_DASHBOARD__DEFAULT_PASSWORD": settings.dashboard_password,
        "EMQX_LICENSE__KEY": settings.license_key,
        "ERL_FLAGS": erl_flags(settings.session_lifetime, settings.session_cache_max),
        RELEASE_VARIABLE: settings.release,
    }
    return {key: value for key, value in variables.items() if value}


def erl_flags(session_lifetime: int | None, session_cache_max: int | None) -> str:
    """Return what sets OTP's session cache: EMQX has no HOCON key for it."""
    flags = {"session_lifetime": session_lifetime, "session_cache_server_max": session_cache_max}
    return " ".join(f"-ssl {name} {value}" for name, value in flags.items() if value is not None)


def running_nodes(status: str) -> list[str] | None:
    """Return the names in the answer to ``emqx ctl cluster status``; None when it is another.

    ``Cluster status: #{running_nodes => ['emqx@a','emqx@b'], stopped_nodes => []}``, its lines
    broken as Erlang likes.
    """
    found = _RUNNING.search(status)
    if found is None:
        return None
    return sorted(name.strip(" \n\t'\"") for name in found.group(1).split(",") if name.strip())


def broker(answer: str) -> Mapping[str, str]:
    """Return ``sysdescr`` and ``version`` from the answer to ``emqx ctl broker``."""
    return dict(_ROW.findall(answer))


def otp_release(answer: str) -> str | None:
    """Return the release from the answer to ``emqx eval erlang:system_info(otp_release)``."""
    found = _RELEASE_DIGITS.search(answer)
    return found.group(1) if found else None
