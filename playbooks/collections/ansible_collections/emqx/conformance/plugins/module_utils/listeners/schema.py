"""Which keys EMQX knows under ``listeners.<type>.<name>``, by release.

The table is Python and not a file under schemas/, because AnsiballZ ships nothing but Python
to a target and a target need not have PyYAML. It was read from EMQX's schema at the releases
named; an unknown key stops a node from booting.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from . import kinds
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
_SINCE_5_3 = (Window(Release(5, 3)),)
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

    def known_to(self, release: Release, listener_type: str) -> bool:
        """Tell whether this release knows the key in a listener of this type."""
        return listener_type in self.types and any(release in window for window in self.releases)


TCP_OPTIONS: Mapping[str, Key] = {
    "active_n": Key(kinds.integer(0)),
    "backlog": Key(kinds.integer(1)),
    "send_timeout": Key(kinds.DURATION),
    "send_timeout_close": Key(kinds.BOOLEAN),
    "recbuf": Key(kinds.SIZE),
    "sndbuf": Key(kinds.SIZE),
    "buffer": Key(kinds.SIZE),
    "high_watermark": Key(kinds.SIZE),
    "nodelay": Key(kinds.BOOLEAN),
    "nolinger": Key(kinds.BOOLEAN),
    "reuseaddr": Key(kinds.BOOLEAN),
    "keepalive": Key(kinds.FILLED_TEXT),
}

OCSP: Mapping[str, Key] = {
    "enable_ocsp_stapling": Key(kinds.BOOLEAN),
    "responder_url": Key(kinds.FILLED_TEXT),
    "issuer_pem": Key(kinds.PATH),
    "refresh_interval": Key(kinds.DURATION),
    "refresh_http_timeout": Key(kinds.DURATION),
}

# A WebSocket listener is served by another library, which takes fewer TLS options.
_SSL_ONLY = ("ssl",)

SSL_OPTIONS: Mapping[str, Key] = {
    "cacertfile": Key(kinds.PATH),
    "cacerts": Key(kinds.BOOLEAN),
    "certfile": Key(kinds.PATH),
    "keyfile": Key(kinds.PATH),
    "password": Key(kinds.FILLED_TEXT),
    "verify": Key(kinds.one_of("verify_peer", "verify_none")),
    "depth": Key(kinds.integer(0)),
    "versions": Key(kinds.list_of(kinds.TEXT)),
    "ciphers": Key(kinds.list_of(kinds.TEXT, comma_separated=True)),
    "reuse_sessions": Key(kinds.BOOLEAN),
    "secure_renegotiate": Key(kinds.BOOLEAN),
    "log_level": Key(kinds.one_of("emergency", "alert", "critical", "error", "warning", "notice",
                                  "info", "debug", "none", "all")),
    "hibernate_after": Key(kinds.DURATION),
    "dhfile": Key(kinds.PATH),
    "fail_if_no_peer_cert": Key(kinds.BOOLEAN),
    "honor_cipher_order": Key(kinds.BOOLEAN),
    "client_renegotiation": Key(kinds.BOOLEAN),
    "handshake_timeout": Key(kinds.DURATION),
    "user_lookup_fun": Key(kinds.FILLED_TEXT),
    "gc_after_handshake": Key(kinds.BOOLEAN, types=_SSL_ONLY),
    "ocsp": Key(OCSP, types=_SSL_ONLY),
    "enable_crl_check": Key(kinds.BOOLEAN, types=_SSL_ONLY),
    "partial_chain": Key(kinds.ANYTHING, _SINCE_5_9),
    "verify_peer_ext_key_usage": Key(kinds.FILLED_TEXT, _SINCE_5_9),
    "session_tickets": Key(kinds.ANYTHING, _SESSION_TICKETS),
    "managed_certs": Key(kinds.ANYTHING, _SINCE_6_3),
}

_TAKEOVER = kinds.one_of("takeover", "no_takeover")

WEBSOCKET: Mapping[str, Key] = {
    "mqtt_path": Key(kinds.TEXT),
    "mqtt_piggyback": Key(kinds.one_of("single", "multiple")),
    "compress": Key(kinds.BOOLEAN),
    "idle_timeout": Key(kinds.DURATION),
    "max_frame_size": Key(kinds.or_infinity(kinds.integer(1))),
    "fail_if_no_subprotocol": Key(kinds.BOOLEAN),
    "supported_subprotocols": Key(kinds.TEXT),
    "check_origin_enable": Key(kinds.BOOLEAN),
    "allow_origin_absence": Key(kinds.BOOLEAN),
    "check_origins": Key(kinds.TEXT),
    "proxy_address_header": Key(kinds.TEXT),
    "proxy_port_header": Key(kinds.TEXT),
    "validate_utf8": Key(kinds.BOOLEAN),
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

LISTENER: Mapping[str, Key] = {
    "enable": Key(kinds.BOOLEAN),
    "bind": Key(kinds.BIND),
    "acceptors": Key(kinds.integer(1)),
    "max_connections": Key(kinds.or_infinity(kinds.integer(1))),
    "mountpoint": Key(kinds.TEXT),
    "zone": Key(kinds.FILLED_TEXT),
    "enable_authn": Key(kinds.one_of(True, False, "quick_deny_anonymous")),
    "access_rules": Key(kinds.list_of(kinds.FILLED_TEXT)),
    "proxy_protocol": Key(kinds.BOOLEAN),
    "proxy_protocol_timeout": Key(kinds.DURATION),
    "tcp_options": Key(TCP_OPTIONS),
    "ssl_options": Key(SSL_OPTIONS, types=TLS_TYPES),
    "websocket": Key(WEBSOCKET, types=("ws", "wss")),
    "limiter": Key(kinds.ANYTHING, _UNTIL_5_8),
    "max_conn_rate": Key(kinds.or_infinity(kinds.RATE), _SINCE_5_3),
    "messages_rate": Key(kinds.or_infinity(kinds.RATE), _SINCE_5_3),
    "bytes_rate": Key(kinds.or_infinity(kinds.RATE), _SINCE_5_3),
    "max_conn_burst": Key(kinds.RATE, _SINCE_5_9),
    "messages_burst": Key(kinds.RATE, _SINCE_5_9),
    "bytes_burst": Key(kinds.RATE, _SINCE_5_9),
    "parse_unit": Key(kinds.one_of("chunk", "frame"), _SINCE_5_9, types=("tcp", "ssl")),
    "allow_log_packet_data_from": Key(kinds.ANYTHING, _SINCE_6_3),
}


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
