"""Nodes of the inventory as containers: their files and ports, inside and outside.

Pure. What a user writes names this machine's files and ports; what is rendered for a container
names the container's.
"""
from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..drivers.docker import emqx_image
from ..drivers.docker.emqx_image import PUBLISHED_ON
from ..listeners import kinds, schema
from ..listeners.complete import Certificates, ConfiguredNode, is_enabled

LOOPBACK_NAMES = (PUBLISHED_ON, "localhost")

_EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside a container of its own network


@dataclass
class Mounts:
    """Which file of this machine a node finds where."""

    root: Path
    files: dict[str, str] = field(default_factory=dict)
    """Path in the container -> path on this machine."""

    def inside(self, path: str) -> str:
        """Return where the container finds this file."""
        if path.startswith(f"{emqx_image.HOME}/") or "${" in path:
            return path  # the image's own
        if path.startswith(kinds.IN_FILE):
            return path  # refused later, in words
        here = str(self.root / Path(path).expanduser())
        name = Path(here).name
        there = f"{emqx_image.CERTIFICATES}/{name}"
        if self.files.get(there, here) != here:
            there = f"{emqx_image.CERTIFICATES}/{zlib.crc32(here.encode()):08x}-{name}"
        self.files[there] = here
        return there

    def outside(self, path: str) -> str | None:
        """Return where this machine has what the container finds there; None: the image does."""
        return self.files.get(path)


def inside(node: ConfiguredNode, mounts: Mounts) -> ConfiguredNode:
    """Return the node as it sees itself; the files it needs are noted in ``mounts``."""
    own = node.certificates
    certificates = Certificates(*(mounts.inside(path) for path in (
        own.cacertfile, own.certfile, own.keyfile)))
    return ConfiguredNode(node.name, _EVERYWHERE, emqx_image.TLS_PORT,
                          _with_paths_inside(node.listeners, mounts), certificates)


def _with_paths_inside(listeners: Mapping[str, Any], mounts: Mounts) -> dict[str, Any]:
    """Copy what the user wrote; what is no mapping is left to the validation to refuse."""
    result: dict[str, Any] = {}
    for listener_type, named in listeners.items():
        if not isinstance(named, Mapping):
            result[listener_type] = named
            continue
        result[listener_type] = {name: _listener(keys, mounts) for name, keys in named.items()}
    return result


def _listener(keys: Any, mounts: Mounts) -> Any:
    return schema.with_paths(keys, mounts.inside) if isinstance(keys, Mapping) else keys


def _ssl_listeners(whole: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    """Return name, address and port of each enabled ssl listener, ``default`` first."""
    named = whole.get("ssl", {})
    for name in sorted(named, key=lambda name: (name != "default", name)):
        if is_enabled(named[name]):
            address, port = kinds.split_bind(
                named[name].get("bind", schema.EMQX_DEFAULT_PORT["ssl"]))
            yield name, address, port


def probed_port(whole: Mapping[str, Any]) -> int | None:
    """Return the container's port that ``emqx_tls_port`` leads to; None: no ssl listener."""
    return next((port for _, _, port in _ssl_listeners(whole)), None)


def published_ports(whole: Mapping[str, Any], tls_port: int) -> dict[int, int]:
    """Return container port -> port of this machine for every enabled ssl listener.

    The first one is what is probed and gets ``emqx_tls_port``; the others keep their numbers.
    """
    ports: dict[int, int] = {}
    for number, (_, _, port) in enumerate(_ssl_listeners(whole)):
        ports.setdefault(port, port if number else tls_port)
    return ports


def unreachable(node: str, whole: Mapping[str, Any]) -> list[str]:
    """Return what keeps clients outside from a node's listeners, one sentence each."""
    listeners = list(_ssl_listeners(whole))
    if not listeners:
        return [(f"{node} has no enabled ssl listener, and nothing to probe: enable one under "
                 "emqx_listeners.")]
    return [(f"listeners.ssl.{name}.bind of {node} is the address {address}, which only the "
             f"container itself reaches: give the port alone, {port}.")
            for name, address, port in listeners if address not in ("", _EVERYWHERE, "::")]
