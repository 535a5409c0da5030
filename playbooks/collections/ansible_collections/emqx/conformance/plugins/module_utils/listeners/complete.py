"""From what the user wrote to what EMQX gets: the defaults filled in.

EMQX opens tcp, ws and wss listeners by itself when nobody mentions them, and its releases
differ in whether sessions are reused: so both are always stated.
"""
from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import schema

DEFAULT_VERSIONS = ("tlsv1.2",)


@dataclass(frozen=True)
class Certificates:
    """Paths, as the node that reads the configuration sees them."""

    cacertfile: str
    certfile: str
    keyfile: str


@dataclass(frozen=True)
class ConfiguredNode:
    """A node, its address and what its user wrote under ``emqx_listeners``."""

    name: str
    host: str
    port: int
    listeners: Mapping[str, Any]
    certificates: Certificates


def bind_of(host: str, port: int) -> str:
    """Return the ``bind`` for a node that is reached at host and port.

    EMQX binds to IP addresses only. A name may lead here through an address that this machine
    does not have, so the node listens everywhere then; ``localhost`` stays on loopback.
    """
    if host == "localhost":
        return f"127.0.0.1:{port}"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"0.0.0.0:{port}"
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge recursively; a null removes the key, a list replaces a list."""
    result = dict(base)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def is_enabled(listener: Mapping[str, Any]) -> bool:
    """Tell whether EMQX opens this listener."""
    return listener.get("enable", True) is not False


def complete(node: ConfiguredNode) -> dict[str, Any]:
    """Return the whole mapping ``type -> name -> keys`` for one node, nulls removed.

    The node's own mapping is one that :func:`validate.read` has typed.
    """
    defaults: dict[str, Any] = {
        "ssl": {"default": {"enable": True, "bind": bind_of(node.host, node.port)}},
        "tcp": {"default": {"enable": False}},
        "ws": {"default": {"enable": False}},
        "wss": {"default": {"enable": False}},
    }
    whole = merged(defaults, node.listeners)
    ssl_defaults = {
        "versions": list(DEFAULT_VERSIONS),
        "verify": "verify_none",
        "reuse_sessions": True,
        "cacertfile": node.certificates.cacertfile,
        "certfile": node.certificates.certfile,
        "keyfile": node.certificates.keyfile,
    }
    for listener_type in schema.TLS_TYPES:
        for name, listener in whole.get(listener_type, {}).items():
            if is_enabled(listener):
                asked = _asked(node.listeners, listener_type, name)
                listener["ssl_options"] = merged(ssl_defaults, asked)
    return whole


def _asked(listeners: Mapping[str, Any], listener_type: str, name: str) -> Mapping[str, Any]:
    """Return what the user wrote under ssl_options, its nulls included."""
    listener = (listeners.get(listener_type) or {}).get(name) or {}
    return listener.get("ssl_options") or {}
