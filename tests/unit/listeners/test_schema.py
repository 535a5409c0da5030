"""The key table, by release and listener type."""
from __future__ import annotations

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.ciphers import (
    CIPHERS,
    cipher_hint,
)
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.release import (
    parse_release,
)
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.schema import known_keys

SSL_OPTIONS_EVERYWHERE = {
    "cacertfile", "cacerts", "certfile", "keyfile", "password", "verify", "depth", "versions",
    "ciphers", "reuse_sessions", "secure_renegotiate", "log_level", "hibernate_after", "dhfile",
    "fail_if_no_peer_cert", "honor_cipher_order", "client_renegotiation", "handshake_timeout",
    "user_lookup_fun", "gc_after_handshake", "ocsp", "enable_crl_check"}
LISTENER_EVERYWHERE = {
    "enable", "bind", "acceptors", "max_connections", "mountpoint", "zone", "enable_authn",
    "access_rules", "authentication", "proxy_protocol", "proxy_protocol_timeout", "tcp_options",
    "ssl_options"}
RATES = {"max_conn_rate", "messages_rate", "bytes_rate"}
BURSTS = {"max_conn_burst", "messages_burst", "bytes_burst"}


@pytest.mark.parametrize(("release", "more"), [
    ("5.0.25", {"limiter"}), ("5.0.26", RATES | {"limiter"}), ("5.8.9", RATES | {"limiter"}),
    ("5.9.0", RATES | BURSTS | {"parse_unit"}),
    ("6.3.0", RATES | BURSTS | {"parse_unit", "allow_log_packet_data_from"}),
])
def test_keys_of_an_ssl_listener(release: str, more: set[str]) -> None:
    assert known_keys(parse_release(release)) == LISTENER_EVERYWHERE | more


@pytest.mark.parametrize(("release", "more"), [
    ("5.3.2", set()), ("5.8.9", set()),
    ("5.9.0", {"partial_chain", "verify_peer_ext_key_usage"}),
    ("5.10.2", {"partial_chain", "verify_peer_ext_key_usage"}),
    ("5.10.3", {"partial_chain", "verify_peer_ext_key_usage", "session_tickets"}),
    ("6.0.1", {"partial_chain", "verify_peer_ext_key_usage"}),
    ("6.0.2", {"partial_chain", "verify_peer_ext_key_usage", "session_tickets"}),
    ("6.1.0", {"partial_chain", "verify_peer_ext_key_usage"}),
    ("6.1.1", {"partial_chain", "verify_peer_ext_key_usage", "session_tickets"}),
    ("6.3.0", {"partial_chain", "verify_peer_ext_key_usage", "session_tickets", "managed_certs"}),
])
def test_tls_options(release: str, more: set[str]) -> None:
    assert (known_keys(parse_release(release), "ssl", "ssl_options")
            == SSL_OPTIONS_EVERYWHERE | more)


def test_other_listener_types_have_their_own_keys() -> None:
    release = parse_release("5.8.9")
    assert "ssl_options" not in known_keys(release, "tcp")
    assert "websocket" in known_keys(release, "ws")
    assert "websocket" not in known_keys(release, "ssl")
    assert "ocsp" not in known_keys(release, "wss", "ssl_options")
    assert "level" in known_keys(release, "ws", "websocket", "deflate_opts")


@pytest.mark.parametrize(("section", "key", "since", "before"), [
    ("tcp_options", "nolinger", "5.8.3", "5.8.2"), ("tcp_options", "keepalive", "5.1.0", "5.0.26"),
    ("ssl_options", "handshake_timeout", "5.1.0", "5.0.26"),
    ("websocket", "validate_utf8", "5.6.0", "5.5.1"),
])
def test_keys_that_came_later(section: str, key: str, since: str, before: str) -> None:
    assert key in known_keys(parse_release(since), "wss", section)
    assert key not in known_keys(parse_release(before), "wss", section)


def test_only_sections_can_be_walked_into() -> None:
    with pytest.raises(KeyError):
        known_keys(parse_release("5.8.9"), "ssl", "bind")


@pytest.mark.parametrize(("written", "hint"), [
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 'write "ECDHE-RSA-AES128-GCM-SHA256"'),
    ("TLS_RSA_WITH_AES_256_CBC_SHA", 'write "AES256-SHA"'),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 'write "ECDHE-RSA-CHACHA20-POLY1305"'),
    ("ECDHE-RSA-AES256-GCM-SHA348", 'did you mean "ECDHE-RSA-AES256-GCM-SHA384"'),
    ("ecdhe-rsa-aes128-sha", 'did you mean "ECDHE-RSA-AES128-SHA"'),
    *((f"AES128-SHA{between}AES256-SHA",
       'did you mean "AES128-SHA, AES256-SHA", separated by commas?')
      for between in (":", ";", " : ", "|", "+", ", ")),
    *((written, "name every suite by itself, separated by commas") for written in (
        "ECDHE+AESGCM:!aNULL", "AES128-SHA:AES256-SHA1", "HIGH:!MD5")),
])
def test_cipher_hint(written: str, hint: str) -> None:
    assert hint in cipher_hint(written)


def test_cipher_table_has_the_suites_that_emqx_preselects() -> None:
    assert {"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-SHA384", "AES128-GCM-SHA256",
            "RSA-PSK-AES256-GCM-SHA384", "TLS_AES_128_GCM_SHA256"} <= CIPHERS
    assert cipher_hint("nonsense") == ""
