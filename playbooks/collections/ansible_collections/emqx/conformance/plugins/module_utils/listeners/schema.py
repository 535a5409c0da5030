"""Which keys EMQX knows under ``listeners.<type>.<name>``, by release.

The table is Python and not a file under schemas/, because AnsiballZ ships nothing but Python
to a target and a target need not have PyYAML. It was read from EMQX's schema at the releases
named; an unknown key stops a node from booting.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import grammar, kinds
from .kinds import Kind
from .release import Release, Window

LISTENER_TYPES = ("tcp", "ssl", "ws", "wss")
TLS_TYPES = ("ssl", "wss")
EMQX_DEFAULT_PORT = {"tcp": 1883, "ssl": 8883, "ws": 8083, "wss": 8084}
"""Where EMQX opens a listener that has no ``bind``."""

TLS_VERSIONS = ("tlsv1", "tlsv1.1", "tlsv1.2", "tlsv1.3")
LISTENER_ALIASES = {"enabled": "enable"}
"""Other spellings that EMQX accepts for a listener's own keys."""

ALWAYS = (Window(Release(5, 0)),)
_SINCE_5_0_26 = (Window(Release(5, 0, 26)),)
_SINCE_5_1 = (Window(Release(5, 1)),)
_SINCE_5_6 = (Window(Release(5, 6)),)
_SINCE_5_8_3 = (Window(Release(5, 8, 3)),)
_UNTIL_5_8 = (Window(Release(5, 0), Release(5, 9)),)
_SINCE_5_9 = (Window(Release(5, 9)),)
_SINCE_6_3 = (Window(Release(6, 3)),)
_SESSION_TICKETS = (Window(Release(5, 10, 3), Release(6, 0)),
                    Window(Release(6, 0, 2), Release(6, 1)),
                    Window(Release(6, 1, 1)))


@dataclass(frozen=True)
class Key:
    """One key: what it holds, and which releases and listener types know it."""

    holds: Kind | Mapping[str, Key]
    releases: tuple[Window, ...] = ALWAYS
    types: tuple[str, ...] = LISTENER_TYPES
    before: tuple[tuple[Release, Kind], ...] = ()
    """What it held before a release, the oldest first."""

    def known_to(self, release: Release, listener_type: str) -> bool:
        """Tell whether this release knows the key in a listener of this type."""
        return listener_type in self.types and any(release in window for window in self.releases)

    def holds_in(self, release: Release) -> Kind | Mapping[str, Key]:
        """Return what it holds in this release."""
        return next((kind for newer, kind in self.before if release < newer), self.holds)


def _size() -> Key:
    # 5.8.9 knows the unit b, 5.3.2 does not; nothing between them was tried.
    return Key(grammar.SIZE, before=((Release(5, 8, 9), grammar.SIZE_WITHOUT_B),))


def _rate() -> Key:
    # The unit b came with emqx/emqx#15009.
    return Key(kinds.or_infinity(grammar.RATE), _SINCE_5_0_26,
               before=((Release(5, 9), kinds.or_infinity(grammar.RATE_WITHOUT_B)),))


TCP_OPTIONS: Mapping[str, Key] = {
    "active_n": Key(kinds.integer(0)),
    "backlog": Key(kinds.integer(1)),
    "send_timeout": Key(grammar.DURATION),
    "send_timeout_close": Key(kinds.BOOLEAN),
    "recbuf": _size(),
    "sndbuf": _size(),
    "buffer": _size(),
    "high_watermark": _size(),
    "nodelay": Key(kinds.BOOLEAN),
    "nolinger": Key(kinds.BOOLEAN, _SINCE_5_8_3),
    "reuseaddr": Key(kinds.BOOLEAN),
    "keepalive": Key(grammar.KEEPALIVE, _SINCE_5_1),
}

OCSP: Mapping[str, Key] = {
    "enable_ocsp_stapling": Key(kinds.BOOLEAN),
    "responder_url": Key(grammar.URL),
    "issuer_pem": Key(kinds.PATH),
    "refresh_interval": Key(grammar.DURATION),
    "refresh_http_timeout": Key(grammar.DURATION),
}

# A WebSocket listener is served by another library, which takes fewer TLS options.
_SSL_ONLY = ("ssl",)

SSL_OPTIONS: Mapping[str, Key] = {
    "cacertfile": Key(kinds.PATH),
    "cacerts": Key(kinds.BOOLEAN),
    "certfile": Key(kinds.PATH),
    "keyfile": Key(kinds.PATH),
    "password": Key(kinds.PASSPHRASE),
    "verify": Key(kinds.one_of("verify_peer", "verify_none")),
    "depth": Key(kinds.integer(0)),
    "versions": Key(kinds.list_of(kinds.TEXT)),
    "ciphers": Key(kinds.list_of(kinds.TEXT, comma_separated=True)),
    "reuse_sessions": Key(kinds.BOOLEAN),
    "secure_renegotiate": Key(kinds.BOOLEAN),
    "log_level": Key(kinds.one_of("emergency", "alert", "critical", "error", "warning", "notice",
                                  "info", "debug", "none", "all")),
    "hibernate_after": Key(grammar.DURATION),
    "dhfile": Key(kinds.PATH),
    "fail_if_no_peer_cert": Key(kinds.BOOLEAN),
    "honor_cipher_order": Key(kinds.BOOLEAN),
    "client_renegotiation": Key(kinds.BOOLEAN),
    "handshake_timeout": Key(grammar.DURATION, _SINCE_5_1),
    "user_lookup_fun": Key(grammar.LOOKUP_FUNCTION),
    "gc_after_handshake": Key(kinds.BOOLEAN, types=_SSL_ONLY),
    "ocsp": Key(OCSP, types=_SSL_ONLY),
    "enable_crl_check": Key(kinds.BOOLEAN, types=_SSL_ONLY),
    "partial_chain": Key(kinds.one_of(True, False, "cacert_from_cacertfile",
                                      "two_cacerts_from_cacertfile"), _SINCE_5_9),
    "verify_peer_ext_key_usage": Key(kinds.FILLED_TEXT, _SINCE_5_9),
    "session_tickets": Key(kinds.one_of("disabled", "stateless", "stateless_with_cert"),
                           _SESSION_TICKETS),
    "managed_certs": Key(kinds.ANYTHING, _SINCE_6_3),
}

_TAKEOVER = kinds.one_of("takeover", "no_takeover")

WEBSOCKET: Mapping[str, Key] = {
    "mqtt_path": Key(grammar.MQTT_PATH),
    "mqtt_piggyback": Key(kinds.one_of("single", "multiple")),
    "compress": Key(kinds.BOOLEAN),
    "idle_timeout": Key(grammar.DURATION),
    # 5.3.2 takes 0 and less for no limit, 5.8.9 refuses them; nothing between them was tried.
    "max_frame_size": Key(kinds.or_infinity(kinds.integer(1)),
                          before=((Release(5, 8, 9), kinds.or_infinity(kinds.integer())),)),
    "fail_if_no_subprotocol": Key(kinds.BOOLEAN),
    "supported_subprotocols": Key(kinds.TEXT),
    "check_origin_enable": Key(kinds.BOOLEAN),
    "allow_origin_absence": Key(kinds.BOOLEAN),
    "check_origins": Key(kinds.TEXT),
    "proxy_address_header": Key(kinds.TEXT),
    "proxy_port_header": Key(kinds.TEXT),
    "validate_utf8": Key(kinds.BOOLEAN, _SINCE_5_6),
    "deflate_opts": Key({
        "level": Key(kinds.one_of("none", "default", "best_compression", "best_speed")),
        "mem_level": Key(kinds.integer(1, 9)),
        "strategy": Key(kinds.one_of("default", "filtered", "huffman_only", "rle")),
        "server_context_takeover": Key(_TAKEOVER),
        "client_context_takeover": Key(_TAKEOVER),
        "server_max_window_bits": Key(kinds.integer(8, 15)),
        "client_max_window_bits": Key(kinds.integer(8, 15)),
    }),
}

_BUCKET: Mapping[str, Key] = {
    "rate": Key(kinds.or_infinity(grammar.RATE_WITHOUT_B)),
    "burst": Key(kinds.or_infinity(grammar.BURST_WITHOUT_B)),
    "capacity": Key(kinds.or_infinity(grammar.BURST_WITHOUT_B)),
    "initial": Key(grammar.INITIAL),
}
_CLIENT_BUCKET: Mapping[str, Key] = {
    **_BUCKET,
    "low_watermark": Key(grammar.INITIAL),
    "divisible": Key(kinds.BOOLEAN),
    "max_retry_time": Key(grammar.DURATION),
    "failure_strategy": Key(kinds.one_of("force", "drop", "throw")),
}
_LIMITED = ("bytes", "bytes_in", "messages", "message_in", "connection", "message_routing")

LIMITER: Mapping[str, Key] = {
    **{name: Key(_BUCKET) for name in _LIMITED},
    "client": Key({name: Key(_CLIENT_BUCKET) for name in _LIMITED}),
}

LISTENER: Mapping[str, Key] = {
    "enable": Key(kinds.BOOLEAN),
    "bind": Key(kinds.BIND),
    "acceptors": Key(kinds.integer(1)),
    "max_connections": Key(kinds.or_infinity(kinds.integer(1))),
    "mountpoint": Key(kinds.TEXT),
    "zone": Key(grammar.ZONE),
    "enable_authn": Key(kinds.one_of(True, False, "quick_deny_anonymous")),
    "access_rules": Key(kinds.list_of(kinds.TEXT)),
    "authentication": Key(grammar.AUTHENTICATION),
    "proxy_protocol": Key(kinds.BOOLEAN),
    "proxy_protocol_timeout": Key(grammar.DURATION),
    "tcp_options": Key(TCP_OPTIONS),
    "ssl_options": Key(SSL_OPTIONS, types=TLS_TYPES),
    "websocket": Key(WEBSOCKET, types=("ws", "wss")),
    # EMQX 5.0 had buckets of other names.
    "limiter": Key(LIMITER, _UNTIL_5_8, before=((Release(5, 1), kinds.ANYTHING),)),
    "max_conn_rate": _rate(),
    "messages_rate": _rate(),
    "bytes_rate": _rate(),
    "max_conn_burst": Key(grammar.BURST, _SINCE_5_9),
    "messages_burst": Key(grammar.BURST, _SINCE_5_9),
    "bytes_burst": Key(grammar.BURST, _SINCE_5_9),
    "parse_unit": Key(kinds.one_of("chunk", "frame"), _SINCE_5_9, types=("tcp", "ssl")),
    "allow_log_packet_data_from": Key(kinds.ANYTHING, _SINCE_6_3),
}


def with_paths(listener: Mapping[str, Any], change: Callable[[str], str],
               table: Mapping[str, Key] = LISTENER) -> dict[str, Any]:
    """Copy a listener's keys, every path in them changed; what is no path stays as it is."""
    return {name: _with_paths(value, change, table[name]) if name in table else value
            for name, value in listener.items()}


def _with_paths(value: Any, change: Callable[[str], str], key: Key) -> Any:
    if not isinstance(key.holds, Kind):
        return with_paths(value, change, key.holds) if isinstance(value, Mapping) else value
    if not isinstance(value, str) or not value:
        return value
    if key.holds is kinds.PATH:
        return change(value)
    if key.holds is kinds.PASSPHRASE and value.startswith(kinds.IN_FILE):
        return kinds.IN_FILE + change(value[len(kinds.IN_FILE):])
    return value


def known_keys(release: Release, listener_type: str = "ssl", *section: str) -> frozenset[str]:
    """Return the keys this release knows in a listener of this type.

    ``section`` walks into it: ``known_keys(release, "ssl", "ssl_options")``.
    """
    table = LISTENER
    for name in section:
        holds = table[name].holds
        if isinstance(holds, Kind):
            raise KeyError(name)
        table = holds
    return frozenset(name for name, key in table.items() if key.known_to(release, listener_type))
