"""From EMQX's configuration to what the embedded node boots from in a container."""
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.emqx.conformance.plugins.module_utils.drivers.conversion import (
    CONNECT_TIMEOUT_MS,
    MAX_PACKET_SIZE,
    ConversionError,
    SslListener,
    convert,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.terms import Atom, Term
from ansible_collections.emqx.conformance.plugins.module_utils.listeners import kinds
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.nearest import (
    did_you_mean,
)
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.release import Release

DEFAULT_COOKIE = "emqxsecretcookie"
"""The cookie of an EMQX that nobody gave one."""

# Top-level names of EMQX 5 and 6.
ROOTS = frozenset((
    "actions", "ai", "alarm", "api_key", "authentication", "authorization", "auto_subscribe",
    "bridges", "broker", "client_attrs_init", "cluster", "cluster_link", "conn_congestion",
    "connectors", "crl_cache", "dashboard", "delayed", "ds", "durable_queues",
    "durable_sessions", "durable_storage", "exhook", "file_transfer", "flapping_detect",
    "force_gc", "force_shutdown", "gateway", "gcp_device", "license", "limiter", "listeners",
    "log", "message_transformation", "modules", "mqtt", "multi_tenancy", "namespace", "node",
    "opentelemetry", "overload_protection", "persistent_session_store", "plugins",
    "prometheus", "psk_authentication", "retainer", "rewrite", "rpc", "rule_engine",
    "schema_registry", "schema_validation", "session_persistence", "slow_subs", "sources", "stats",
    "sys_topics", "sysmon", "tcp_congestion", "telemetry", "topic_metrics", "trace", "zones"))

# What has an effect here; everything under a listener is conversion's business.
_IMPLEMENTED = frozenset((
    ("node", "name"), ("node", "cookie"), ("node", "data_dir"),
    ("cluster", "name"), ("cluster", "discovery_strategy"), ("cluster", "static", "seeds"),
    ("dashboard", "listeners", "http", "bind"), ("dashboard", "listeners", "http", "enable")))

# Erlang's long names: without a dot (or the colons of IPv6) in the host's part there is no
# distribution.
_NODE_NAME = re.compile(r"[A-Za-z0-9_-]+@[A-Za-z0-9_-]*[.:][A-Za-z0-9_.:-]*")
_STRATEGIES = ("manual", "singleton", "static")
_COOKIE = re.compile(r"[!-~]{1,255}")


class SettingsError(Exception):
    """The node cannot boot from this; the sentence names the key."""


@dataclass(frozen=True)
class NodeSettings:
    """One container's node."""

    name: str
    cookie: str
    cluster_name: str
    seeds: tuple[str, ...]
    dashboard: tuple[str, int] | None
    listeners: tuple[SslListener, ...]
    warnings: tuple[str, ...]
    """Sentences about single keys."""

    def term(self) -> Term:
        """Return the content of node.config."""
        return {
            "node": Atom(self.name),
            "peers": [Atom(seed) for seed in self.seeds],
            # Left to ERL_FLAGS, as with EMQX.
            "session_lifetime": Atom("default"),
            "session_cache_max": Atom("default"),
            "connect_timeout": CONNECT_TIMEOUT_MS,
            "max_packet_size": MAX_PACKET_SIZE,
            "users": Atom("none"),
            "listeners": [listener.term() for listener in self.listeners],
            "container": {
                "cluster_name": self.cluster_name,
                "dashboard": Atom("none") if self.dashboard is None else self.dashboard},
        }


@dataclass
class _Reader:
    tree: Mapping[str, Any]
    release: Release
    warnings: list[str] = field(default_factory=list)

    def at(self, *path: str) -> Any:
        value: Any = self.tree
        for depth, key in enumerate(path):
            if value is None:
                return None
            if not isinstance(value, Mapping):
                raise SettingsError(f"{'.'.join(path[:depth])} must be an object")
            value = value.get(key)
        return value

    def text(self, *path: str, default: str) -> str:
        value = self.at(*path)
        if value is None:
            return default
        # A cookie or name of digits alone is a number to HOCON.
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise SettingsError(f"{'.'.join(path)} must be a string")
        return str(value)


def settings(tree: Mapping[str, Any], release: Release) -> NodeSettings:
    """Read the whole configuration, overrides included.

    Raises:
        SettingsError: a key that this release does not know, or a value that this node cannot
            boot with.
    """
    reader = _Reader(tree, release)
    for key in tree:
        # EMQX gets new ones with every release: only what looks like a slip is refused.
        if key not in ROOTS and (hint := did_you_mean(key, ROOTS)):
            raise SettingsError(f"{key}: EMQX knows no such key{hint}")
        if key not in ROOTS:
            reader.warnings.append(f"{key}: not known here, ignored")
    listeners = _listeners(reader)
    return NodeSettings(
        name=_name(reader), cookie=_cookie(reader),
        cluster_name=reader.text("cluster", "name", default="emqxcl"), seeds=_seeds(reader),
        dashboard=_dashboard(reader), listeners=listeners, warnings=tuple(reader.warnings))


def _name(reader: _Reader) -> str:
    name = reader.text("node", "name", default="emqx@127.0.0.1")
    if not _NODE_NAME.fullmatch(name):
        raise SettingsError(f'node.name: "{name}" is not a node name such as emqx@node1.example')
    return name


def _cookie(reader: _Reader) -> str:
    cookie = reader.text("node", "cookie", default=DEFAULT_COOKIE)
    if not _COOKIE.fullmatch(cookie):
        raise SettingsError("node.cookie must be 1 to 255 printable ASCII characters without "
                            "spaces")
    return cookie


def _seeds(reader: _Reader) -> tuple[str, ...]:
    strategy = reader.text("cluster", "discovery_strategy", default="manual")
    if strategy not in _STRATEGIES:
        raise SettingsError(f"cluster.discovery_strategy: the embedded node knows "
                            f"{', '.join(_STRATEGIES)}, not {strategy}")
    seeds = reader.at("cluster", "static", "seeds")
    if strategy != "static" or seeds is None:
        return ()
    try:
        names = kinds.list_of(kinds.FILLED_TEXT, comma_separated=True).read(seeds)
    except kinds.WrongValueError as error:
        raise SettingsError(f"cluster.static.seeds must be {error}") from None
    for name in names:
        if not _NODE_NAME.fullmatch(name):
            raise SettingsError(f'cluster.static.seeds: "{name}" is not a node name such as '
                                "emqx@node1.example")
    return tuple(sorted(set(names)))


def _dashboard(reader: _Reader) -> tuple[str, int] | None:
    path = ("dashboard", "listeners", "http")
    bind = reader.at(*path, "bind")
    try:
        if bind is None or bind in (0, "0") \
                or not kinds.boolean(_or(reader.at(*path, "enable"), default=True)):
            return None
        address, port = kinds.split_bind(bind)
    except kinds.WrongValueError as error:
        raise SettingsError(f"{'.'.join(path)}.bind or .enable must be {error}") from None
    return address or "0.0.0.0", port  # noqa: S104 - EMQX's default


def _or(value: Any, *, default: bool) -> Any:
    return default if value is None else value


def _listeners(reader: _Reader) -> tuple[SslListener, ...]:
    listeners = reader.at("listeners")
    try:
        converted = convert({} if listeners is None else {"listeners": listeners}, reader.release)
    except ConversionError as error:
        raise SettingsError(str(error)) from None
    reader.warnings += converted.warnings
    if not converted.listeners:
        reader.warnings.append("no ssl listener is enabled: this node can be asked how it is, but "
                               "no MQTT client can connect")
    return tuple(converted.listeners)


def without_effect(tree: Mapping[str, Any], *above: str) -> Iterator[tuple[str, ...]]:
    """Yield the paths of what EMQX knows and this node does nothing with, in the tree's order."""
    for key, value in tree.items():
        path = (*above, key)
        if path == ("listeners",) or path in _IMPLEMENTED or path[0] not in ROOTS or value is None:
            continue
        if isinstance(value, Mapping) and _leads_on(path):
            yield from without_effect(value, *path)
        else:
            yield path


def _leads_on(path: Sequence[str]) -> bool:
    return any(known[:len(path)] == tuple(path) for known in _IMPLEMENTED)
