"""EMQX's listeners as the embedded node's configuration."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.conversion import (
    ConversionError,
    Converted,
    SslListener,
    convert,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.terms import Atom, render
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.release import (
    parse_release,
)

EMQX_5_8 = parse_release("5.8.9")


def converted(keys: dict[str, Any], release: str = "5.8.9") -> Converted:
    return convert({"listeners": {"ssl": {"default": keys}}}, parse_release(release))


def listener(keys: dict[str, Any], release: str = "5.8.9") -> SslListener:
    [only] = converted(keys, release).listeners
    return only


@pytest.mark.parametrize(("bind", "address", "port"), [
    ("127.0.0.1:8883", "127.0.0.1", 8883), ("8883", "0.0.0.0", 8883),  # noqa: S104
    (":8883", "0.0.0.0", 8883), (8883, "0.0.0.0", 8883), ("[::1]:8883", "::1", 8883),  # noqa: S104
    ("0.0.0.0:1", "0.0.0.0", 1),  # noqa: S104
    ("127.1:8883", "127.0.0.1", 8883), ("+8883", "0.0.0.0", 8883),  # noqa: S104
])
def test_binds(bind: str | int, address: str, port: int) -> None:
    found = listener({"bind": bind})
    assert (found.address, found.port) == (address, port)


@pytest.mark.parametrize("bind", ["localhost:8883", "127.0.0.1", "127.0.0.1:0", "1.2.3.4:65536",
                                  "[::1]", "", True, 1.5, "010.0.0.1:8883",
                                  "[fe80::1]:8883"])
def test_wrong_binds(bind: Any) -> None:
    with pytest.raises(ConversionError, match=r"^listeners\.ssl\.default\.bind must be"):
        converted({"bind": bind})


def test_every_implemented_key_reaches_the_node() -> None:
    found = listener({
        "bind": "127.0.0.1:8883", "max_connections": 5, "acceptors": 2,
        "proxy_protocol": True, "proxy_protocol_timeout": "1m", "ssl_options": {
            "versions": ["tlsv1.2"], "ciphers": "ECDHE-RSA-AES128-GCM-SHA256, AES128-SHA",
            "verify": "verify_peer", "fail_if_no_peer_cert": True, "cacertfile": "/ca",
            "certfile": "/cert", "keyfile": "/key", "depth": 3, "reuse_sessions": False,
            "honor_cipher_order": False, "secure_renegotiate": False,
            "client_renegotiation": "false", "handshake_timeout": "1m", "hibernate_after": 900,
            "enable_crl_check": "true", "log_level": "debug"}})
    assert found.term() == {
        "name": "default", "type": Atom("ssl"), "bind": ("127.0.0.1", 8883), "acceptors": 2,
        "max_connections": 5, "proxy_protocol": True, "proxy_protocol_timeout": 60_000,
        "ssl_options": {
            "versions": [Atom("tlsv1.2")],
            "ciphers": ["ECDHE-RSA-AES128-GCM-SHA256", "AES128-SHA"],
            "verify": Atom("verify_peer"), "fail_if_no_peer_cert": True, "cacertfile": "/ca",
            "certfile": "/cert", "keyfile": "/key", "depth": 3, "reuse_sessions": False,
            "honor_cipher_order": False, "secure_renegotiate": False,
            "client_renegotiation": False, "handshake_timeout": 60_000, "hibernate_after": 900,
            "enable_crl_check": True, "log_level": Atom("debug")}}
    assert found.files == ("/ca", "/cert", "/key")
    assert found.path == "listeners.ssl.default"


def test_emqx_defaults_fill_the_rest() -> None:
    found = listener({})
    assert (found.address, found.port, found.acceptors) == ("0.0.0.0", 8883, 16)  # noqa: S104
    assert found.max_connections is None
    assert "'max_connections' => 'infinity'" in render(found.term())
    assert found.versions == ("tlsv1.3", "tlsv1.2")
    assert found.ssl_options["handshake_timeout"] == 15_000
    assert found.files == ()
    assert listener({"ssl_options": {"versions": []}}).versions == found.versions
    assert (found.proxy_protocol, found.proxy_protocol_timeout) == (False, 3_000)


@pytest.mark.parametrize(("release", "expected"), [("5.8.9", True), ("6.1.1", None),
                                                   ("6.2.0", False)])
def test_reuse_sessions_by_default_depends_on_the_release(
        release: str, expected: bool | None) -> None:
    assert listener({}, release).ssl_options.get("reuse_sessions") is expected


@pytest.mark.parametrize(("release", "value", "told"), [
    ("5.3.2", True, True), ("5.8.9", True, True), ("5.8.9", False, False),
    # Ignored: told neither.
    ("5.9.0", True, None), ("5.9.0", False, None), ("5.10.2", False, None),
    ("6.0.1", False, None), ("6.1.0", False, None),
    # true is left out, false is passed on again.
    ("5.10.3", True, None), ("5.10.3", False, False), ("6.0.2", False, False),
    ("6.1.1", "false", False), ("6.2.0", "true", None), ("6.3.0", False, False),
])
def test_reuse_sessions_reaches_otp_as_with_emqx_of_the_release(
        release: str, value: bool | str, told: bool | None) -> None:
    options = listener({"ssl_options": {"reuse_sessions": value}}, release).ssl_options
    assert ("reuse_sessions" in options) is (told is not None)
    assert options.get("reuse_sessions") is told


@pytest.mark.parametrize("keys", [{"enable": False}, {"enable": "false"}, {"enabled": False}])
def test_a_disabled_listener_is_left_out(keys: dict[str, Any]) -> None:
    done = converted({**keys, "zone": "default", "ssl_options": {"depth": 1}})
    assert done.listeners == []
    assert done.warnings == []


def test_known_keys_without_effect_are_named() -> None:
    done = converted({"zone": "default", "tcp_options": {"backlog": 10},
                      "ssl_options": {"dhfile": "/dh.pem", "user_lookup_fun": "f:g"}})
    assert [warning.partition(":")[0] for warning in done.warnings] == [
        "listeners.ssl.default.tcp_options", "listeners.ssl.default.zone",
        "listeners.ssl.default.ssl_options.dhfile",
        "listeners.ssl.default.ssl_options.user_lookup_fun"]
    assert all("without effect here" in warning for warning in done.warnings)


@pytest.mark.parametrize("listener_type", ["tcp", "ws", "wss"])
def test_other_listeners_are_named_when_enabled(listener_type: str) -> None:
    done = convert({"listeners": {listener_type: {"x": {"bind": 1883},
                                                  "off": {"enable": False}}}}, EMQX_5_8)
    assert done.listeners == []
    [warning] = done.warnings
    assert warning == (f"listeners.{listener_type}.x: not implemented by the embedded node, "
                       "not opened")


@pytest.mark.parametrize(("tree", "sentence"), [
    ({"mqtt": {}}, "mqtt: EMQX knows no such key"),
    ({"listeners": {"sll": {}}}, 'listeners.sll: EMQX knows no such key; did you mean "ssl"?'),
    ({"listeners": {"ssl": {"d": {"bnd": 1}}}},
     'listeners.ssl.d.bnd: EMQX knows no such key; did you mean "bind"?'),
    ({"listeners": {"ssl": {"d": {"ssl_options": {"reuse_session": True}}}}},
     ('listeners.ssl.d.ssl_options.reuse_session: EMQX knows no such key; '
      'did you mean "reuse_sessions"?')),
    ({"listeners": []}, "listeners must be an object"),
    ({"listeners": {"ssl": {"d": 1}}}, "listeners.ssl.d must be an object"),
])
def test_refused(tree: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConversionError) as error:
        convert(tree, EMQX_5_8)
    assert str(error.value) == sentence


def test_what_is_known_depends_on_the_release() -> None:
    keys = {"ssl_options": {"session_tickets": "stateless"}}
    with pytest.raises(ConversionError, match="session_tickets: EMQX knows no such key"):
        converted(keys, "5.8.9")
    [warning] = converted(keys, "6.1.1").warnings
    assert warning.startswith("listeners.ssl.default.ssl_options.session_tickets: known to EMQX")


@pytest.mark.parametrize(("key", "value"), [
    ("verify", "maybe"), ("depth", -1), ("depth", "x"), ("reuse_sessions", "yes"),
    ("versions", ["sslv3"]), ("versions", "tlsv1.2"), ("log_level", "loud"),
    ("handshake_timeout", "soon"), ("hibernate_after", "infinity"), ("certfile", ""),
    ("ciphers", 1),
])
def test_wrong_values(key: str, value: Any) -> None:
    with pytest.raises(ConversionError, match=rf"^listeners\.ssl\.default\.ssl_options\.{key}"):
        converted({"ssl_options": {key: value}})


@pytest.mark.parametrize(("key", "value"), [
    ("enable", "on"), ("acceptors", 0), ("max_connections", 0), ("max_connections", "many")])
def test_wrong_values_of_the_listener(key: str, value: Any) -> None:
    with pytest.raises(ConversionError, match=rf"^listeners\.ssl\.default\.{key} must be"):
        converted({key: value})
