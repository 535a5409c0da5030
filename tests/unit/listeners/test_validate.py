"""What is filled in, and what is refused with which sentence."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.complete import (
    Certificates,
    ConfiguredNode,
    bind_of,
    complete,
    merged,
)
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.release import (
    parse_release,
)
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.validate import (
    check_node,
    check_nodes,
)

CERTIFICATES = Certificates("/certs/ca.pem", "/certs/server-cert.pem", "/certs/server-key.pem")


def node(listeners: Mapping[str, Any], name: str = "emqx1", port: int = 8883,
         certificates: Certificates = CERTIFICATES) -> ConfiguredNode:
    return ConfiguredNode(name, "127.0.0.1", port, listeners, certificates)


def nobody_looks(_: str) -> None:
    """Locate no file, as if all were in an image."""


def errors(listeners: Mapping[str, Any], release: str = "5.8.6") -> tuple[str, ...]:
    return check_node(node(listeners), parse_release(release), nobody_looks).errors


def warnings(listeners: Mapping[str, Any], release: str = "5.8.6") -> tuple[str, ...]:
    result = check_node(node(listeners), parse_release(release), nobody_looks)
    assert result.errors == ()
    return result.warnings


def tls(**options: Any) -> dict[str, Any]:
    return {"ssl": {"default": {"ssl_options": options}}}


def completed(listeners: Mapping[str, Any]) -> dict[str, Any]:
    result = check_node(node(listeners), parse_release("5.8.6"), nobody_looks)
    assert result.errors == ()
    return result.listeners


DEFAULT_OPTIONS = {
    "versions": ["tlsv1.2"], "verify": "verify_none", "reuse_sessions": True,
    "cacertfile": "/certs/ca.pem", "certfile": "/certs/server-cert.pem",
    "keyfile": "/certs/server-key.pem"}


def test_nothing_said_gives_one_tls_listener_and_switches_off_the_rest() -> None:
    assert completed({}) == {
        "ssl": {"default": {"enable": True, "bind": "127.0.0.1:8883",
                            "ssl_options": DEFAULT_OPTIONS}},
        "tcp": {"default": {"enable": False}},
        "ws": {"default": {"enable": False}},
        "wss": {"default": {"enable": False}}}


def test_what_the_user_says_wins_and_the_rest_stays() -> None:
    options = completed(tls(depth=3, reuse_sessions=False))["ssl"]["default"]["ssl_options"]
    assert options == {**DEFAULT_OPTIONS, "depth": 3, "reuse_sessions": False}


def test_null_removes_a_key() -> None:
    whole = completed({"ssl": {"default": {"bind": None, "ssl_options": {"cacertfile": None}}}})
    assert "bind" not in whole["ssl"]["default"]
    assert "cacertfile" not in whole["ssl"]["default"]["ssl_options"]


def test_every_enabled_tls_listener_states_reuse_sessions() -> None:
    whole = completed({"ssl": {"second": {"bind": "127.0.0.1:8884"}},
                       "wss": {"default": {"enable": True, "bind": 8085}}})
    assert whole["ssl"]["second"]["ssl_options"] == DEFAULT_OPTIONS
    assert whole["wss"]["default"]["ssl_options"] == DEFAULT_OPTIONS


def test_a_listener_that_is_switched_off_is_left_alone() -> None:
    whole = completed({"ssl": {"default": {"enable": False}}})
    assert "ssl_options" not in whole["ssl"]["default"]


def test_the_old_spelling_of_enable_replaces_the_default() -> None:
    whole = completed({"ssl": {"default": {"enabled": False}}})
    assert whole["ssl"]["default"]["enable"] is False
    assert "enabled" not in whole["ssl"]["default"]


def test_strings_that_emqx_takes_for_booleans_and_numbers_become_them() -> None:
    whole = completed({"ssl": {"default": {"enable": "true", "acceptors": "16",
                                           "ssl_options": {"reuse_sessions": "false"}}}})
    assert whole["ssl"]["default"]["acceptors"] == 16
    assert whole["ssl"]["default"]["ssl_options"]["reuse_sessions"] is False


@pytest.mark.parametrize(("host", "bind"), [
    ("127.0.0.1", "127.0.0.1:8883"), ("10.1.2.3", "10.1.2.3:8883"), ("::1", "[::1]:8883"),
    ("localhost", "127.0.0.1:8883"), ("emqx1.example.com", "0.0.0.0:8883")])
def test_bind_is_an_address_because_emqx_takes_no_names(host: str, bind: str) -> None:
    assert bind_of(host, 8883) == bind


def test_merge_does_not_touch_its_arguments() -> None:
    base = {"a": {"b": 1}}
    assert merged(base, {"a": {"c": [2]}, "d": None}) == {"a": {"b": 1, "c": [2]}}
    assert base == {"a": {"b": 1}}


def test_complete_fills_in_a_listener_given_as_nothing_but_its_port() -> None:
    whole = complete(node({"ssl": {"second": {"bind": 8884}}}))
    assert whole["ssl"]["second"] == {"bind": 8884, "ssl_options": DEFAULT_OPTIONS}


@pytest.mark.parametrize(("listeners", "sentence"), [
    (tls(verfy="verify_peer"),
     'listeners.ssl.default.ssl_options.verfy: unknown to EMQX 5.8.6; did you mean "verify"?'),
    ({"ssl": {"default": {"ssl_option": {}}}},
     'listeners.ssl.default.ssl_option: unknown to EMQX 5.8.6; did you mean "ssl_options"?'),
    ({"ssl": {"default": {"tcp_options": {"nodelya": True}}}},
     'listeners.ssl.default.tcp_options.nodelya: unknown to EMQX 5.8.6; did you mean "nodelay"?'),
    ({"ssl": {"default": {"qqqq": 1}}}, "listeners.ssl.default.qqqq: unknown to EMQX 5.8.6"),
    ({"tls": {"default": {}}},
     "listeners.tls: EMQX has no such listener type (it has tcp, ssl, ws, wss)"),
    ({"tcp": {"default": {"ssl_options": {}}}},
     "listeners.tcp.default.ssl_options: unknown to EMQX in a tcp listener (known in ssl and wss)"),
    ({"wss": {"default": {"ssl_options": {"enable_crl_check": True}}}},
     ("listeners.wss.default.ssl_options.enable_crl_check: unknown to EMQX in a wss listener "
     "(known in ssl)")),
    (tls(session_tickets="stateless"),
     ("listeners.ssl.default.ssl_options.session_tickets: unknown to EMQX 5.8.6, which would not "
     "boot (known from 5.10.3 until before 6.0.0, from 6.0.2 until before 6.1.0, from 6.1.1)")),
    (tls(versions=["tlsv1.2", "sslv3"]),
     ('listeners.ssl.default.ssl_options.versions: unknown TLS version "sslv3" (EMQX has tlsv1, '
     'tlsv1.1, tlsv1.2, tlsv1.3)')),
    (tls(versions=["tls1.2"]),
     ('listeners.ssl.default.ssl_options.versions: unknown TLS version "tls1.2" (EMQX has tlsv1, '
     'tlsv1.1, tlsv1.2, tlsv1.3); did you mean "tlsv1.2"?')),
    (tls(versions=["tlsv1.3", "tlsv1.1"]),
     ("listeners.ssl.default.ssl_options.versions: EMQX refuses tlsv1.3 with an older version but "
     "without tlsv1.2")),
    (tls(versions="tlsv1.2"),
     "listeners.ssl.default.ssl_options.versions: must be a list, not 'tlsv1.2'"),
    (tls(ciphers=["AES128-SHA257"]),
     ('listeners.ssl.default.ssl_options.ciphers: unknown cipher suite "AES128-SHA257"; did you '
     'mean "AES128-SHA256"?')),
    (tls(ciphers="AES128-SHA256, NULL"),
     'listeners.ssl.default.ssl_options.ciphers: unknown cipher suite "NULL"'),
    (tls(fail_if_no_peer_cert=True),
     ("listeners.ssl.default.ssl_options.fail_if_no_peer_cert: needs verify: verify_peer; EMQX "
     "does not boot with verify_none")),
    (tls(enable_crl_check=True),
     ("listeners.ssl.default.ssl_options.enable_crl_check: needs verify: verify_peer; EMQX does "
     "not boot with verify_none")),
    (tls(ocsp={"enable_ocsp_stapling": True, "issuer_pem": "/ca.pem"}),
     "listeners.ssl.default.ssl_options.ocsp.responder_url: is missing; OCSP stapling needs it"),
    (tls(depth=-1),
     "listeners.ssl.default.ssl_options.depth: must be an integer of 0 or more, not -1"),
    (tls(depth=True),
     "listeners.ssl.default.ssl_options.depth: must be an integer of 0 or more, not true"),
    (tls(depth=1.5),
     "listeners.ssl.default.ssl_options.depth: must be an integer of 0 or more, not 1.5"),
    (tls(log_level="bogus"),
     ("listeners.ssl.default.ssl_options.log_level: must be one of emergency, alert, critical, "
     "error, warning, notice, info, debug, none, all, not 'bogus'")),
    (tls(hibernate_after="infinity"),
     ("listeners.ssl.default.ssl_options.hibernate_after: must be a duration such as 15s, 500ms "
     "or 1h30m, not 'infinity'")),
    (tls(handshake_timeout="0s"),
     ("listeners.ssl.default.ssl_options.handshake_timeout: must be more than 0: EMQX 5.8.6 "
     "boots, but every handshake fails")),
    (tls(keyfile=""),
     "listeners.ssl.default.ssl_options.keyfile: must be a string that is not empty, not ''"),
    (tls(reuse_sessions="yes"),
     "listeners.ssl.default.ssl_options.reuse_sessions: must be true or false, not 'yes'"),
    (tls(reuse_sessions=None),
     ("listeners.ssl.default.ssl_options.reuse_sessions: cannot be removed, because EMQX's "
     "releases differ in its default: set true or false")),
    (tls(certfile=None),
     ("listeners.ssl.default.ssl_options.certfile: cannot be removed: a TLS listener needs it "
     "(EMQX boots, but every handshake fails)")),
    ({"ssl": {"default": {"ssl_options": {"password": "hunter2"}}}},
     ("listeners.ssl.default.ssl_options.password: would stand in clear text in listeners.hocon: "
     "put it into a file and give file:///its/path")),
    (tls(verify=True),
     "listeners.ssl.default.ssl_options.verify: must be one of verify_peer, verify_none, not true"),
    ({"ssl": {"default": {"bind": "localhost:8883"}}},
     ("listeners.ssl.default.bind: must be a port or address:port such as 8883, 127.0.0.1:8883 or "
     "[::1]:8883, not 'localhost:8883'")),
    ({"ssl": {"default": {"bind": 70000}}},
     ("listeners.ssl.default.bind: must be a port or address:port such as 8883, 127.0.0.1:8883 or "
     "[::1]:8883, not 70000")),
    ({"ssl": {"default": {"max_connections": 0}}},
     "listeners.ssl.default.max_connections: must be an integer of 1 or more or infinity, not 0"),
    ({"ssl": {"default": {"tcp_options": {"recbuf": "2 kilobytes"}}}},
     ("listeners.ssl.default.tcp_options.recbuf: must be a size such as 4096, 4KB or 1MB, not "
     "'2 kilobytes'")),
    ({"ssl": {"default": {"tcp_options": True}}},
     "listeners.ssl.default.tcp_options: must be a mapping of EMQX's keys"),
    ({"ssl": {"default": {"access_rules": ["permit all"]}}},
     ('listeners.ssl.default.access_rules: "permit all" is not "allow" or "deny" with an address, '
     'a network or "all"; EMQX does not boot with it')),
    ({"ssl": {"a.b": {"bind": 8884}}},
     ("listeners.ssl.a.b: a listener's name begins with a letter and has letters, digits, _ and - "
     "only")),
    ({"ssl": {"include": {"bind": 8884}}},
     ("listeners.ssl.include: a listener's name begins with a letter and has letters, digits, _ "
     "and - only")),
    ({"ssl": {"second": {"bind": 8883}}},
     ("listeners.ssl.second.bind: port 8883 is already taken by listeners.ssl.default: EMQX does "
     "not boot")),
    ({"ssl": {"second": {}}},
     ("listeners.ssl.second.bind: port 8883 is already taken by listeners.ssl.default: EMQX does "
     "not boot")),
    ({"ssl": {"default": {"enable": True, "enabled": False}}},
     'listeners.ssl.default.enabled: is another name of "enable": give one of them'),
    ({"ssl": {"default": {"mountpoint": "a\nb"}}},
     ("listeners.ssl.default.mountpoint: must be a string without line breaks and control "
     "characters, not 'a\\nb'")),
    ({"ssl": {"default": {"mountpoint": "a\u2028b"}}},
     ("listeners.ssl.default.mountpoint: must be a string without line breaks and control "
     "characters, not 'a\\u2028b'")),
    ({"ssl": {"default": {"max_conn_rate": "fast"}}},
     ("listeners.ssl.default.max_conn_rate: must be a rate such as 1000/s or 1MB/10s or infinity, "
     "not 'fast'")),
    ({"quic": {"default": {}}},
     ("listeners.quic: QUIC has TLS 1.3 only, which has no session IDs to resume; configure it in "
     "EMQX itself")),
    ({"ssl": []}, "listeners.ssl: must be a mapping from listener names to their keys"),
])
def test_what_emqx_refuses_is_refused_with_the_path_of_the_key(
        listeners: dict[str, Any], sentence: str) -> None:
    assert errors(listeners) == (sentence,)


def test_a_wrong_password_is_not_shown() -> None:
    (sentence,) = errors(tls(password=["hunter2"]))
    assert "hunter2" not in sentence


def test_two_addresses_may_share_a_port() -> None:
    assert errors({"ssl": {"second": {"bind": "127.0.0.2:8883"}}}) == ()


def test_a_listener_that_is_switched_off_takes_no_port_but_must_be_right() -> None:
    assert errors({"ssl": {"second": {"bind": 8883, "enable": False}}}) == ()
    assert errors({"ssl": {"second": {"enable": False,
                                      "ssl_options": {"fail_if_no_peer_cert": True}}}})


@pytest.mark.parametrize("listeners", [
    tls(session_tickets="stateless"),
    tls(partial_chain="two_cacerts_from_cacertfile"),
    {"ssl": {"default": {"parse_unit": "frame"}}},
])
def test_newer_keys_pass_on_newer_releases(listeners: dict[str, Any]) -> None:
    assert errors(listeners, "5.8.6")
    assert errors(listeners, "5.10.3") == ()


@pytest.mark.parametrize("listeners", [
    tls(verify="verify_peer", fail_if_no_peer_cert=True, enable_crl_check=True),
    tls(ciphers=["ECDHE-RSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"], depth="3",
        handshake_timeout=15000, hibernate_after="1h30m"),
    {"ssl": {"default": {"ssl_options": {"password": "file:///run/secrets/key"}}}},
    {"ssl": {"default": {"bind": ":8883", "max_connections": "infinity",
                         "limiter": {"client": {"messages": {"rate": "10/s"}}},
                         "tcp_options": {"recbuf": "2KB", "buffer": 4096}}}},
    {"ws": {"default": {"enable": True, "websocket": {"mqtt_path": "/mqtt", "deflate_opts": {
        "level": "none", "mem_level": 9}}}}},
    {"ssl": {"default": {"enable_authn": "quick_deny_anonymous"}}},
    tls(ciphers="AES128-SHA AES256-SHA,AES128-SHA256"), {"ssl": {"default": {"ssl_options": {
        "password": ""}}}},
    {"ssl": {"default": {"access_rules": ["allow 10.0.0.0/8, deny all"]}}},
])
def test_what_emqx_accepts_passes(listeners: dict[str, Any]) -> None:
    assert errors(listeners) == ()


@pytest.mark.parametrize("written", ["allow 10.0.0.1, deny all", "allow all,deny all"])
def test_several_access_rules_in_one_string(written: str) -> None:
    rules = {"ssl": {"default": {"access_rules": [written]}}}
    assert errors(rules, "5.7.0") == ()
    assert errors(rules, "5.6.1") == (
        (f'listeners.ssl.default.access_rules: "{written}" has several rules, with which EMQX '
         "5.6.1 does not boot: make each an item of the list"),)
    assert errors({"ssl": {"default": {"access_rules": written.split(",")}}}, "5.6.1") == ()


@pytest.mark.parametrize(("name", "fits"), [("x" * 251, True), ("x" * 252, False)])
def test_long_names(name: str, fits: bool) -> None:
    found = errors({"ssl": {name: {"bind": 8884}}}, "5.3.2")
    assert (found == ()) is fits
    assert fits or "at most 251 characters: EMQX does not boot with more" in found[0]


@pytest.mark.parametrize(("one", "other", "taken"), [
    ("0.0.0.0:1", "[::]:1", True), (":1", "127.0.0.1:1", True), ("[::]:1", "[::1]:1", True),
    ("127.1:1", "127.0.0.1:1", True), ("[0::1]:1", "[::1]:1", True),
    ("0.0.0.0:1", "[::1]:1", False), (":1", "[::1]:1", False), ("127.0.0.1:1", "[::1]:1", False),
])
def test_one_port_at_two_addresses(one: str, other: str, taken: bool) -> None:
    for first, second in ((one, other), (other, one)):
        found = errors({"ssl": {"a": {"bind": first}, "b": {"bind": second}}})
        sentence = ("listeners.ssl.b.bind: port 1 is already taken by listeners.ssl.a: EMQX does "
                    "not boot")
        assert found == ((sentence,) if taken else ())


@pytest.mark.parametrize(("key", "value"), [("session_tickets", "stateful"),
                                            ("partial_chain", "yes")])
def test_newer_keys_hold_words(key: str, value: str) -> None:
    [sentence] = errors(tls(**{key: value}), "5.10.3")
    assert sentence.startswith(f"listeners.ssl.default.ssl_options.{key}: must be one of ")


def test_both_names_of_a_key_may_say_the_same() -> None:
    assert errors({"ssl": {"default": {"enabled": True, "enable": True}}}) == ()
    assert errors({"ssl": {"default": {"enabled": False, "enable": True}}}) == (
        'listeners.ssl.default.enabled: is another name of "enable": give one of them',)


def test_null_removes_what_another_release_knows() -> None:
    assert errors({"ssl": {"default": {"tcp_options": {"nolinger": None}}}}, "5.3.2") == ()
    assert errors({"ssl": {"default": {"tcp_options": {"nolingr": None}}}}, "5.3.2")


def test_what_an_authenticator_holds_is_not_shown() -> None:
    authentication = [{"mechanism": "password_based", "password": "hunter2", "ratio": 1.5}]
    [sentence] = errors({"ssl": {"default": {"authentication": authentication}}})
    assert sentence.startswith("listeners.ssl.default.authentication: must be ")
    assert "hunter2" not in sentence


def test_all_errors_come_in_one_run() -> None:
    found = errors({"ssl": {"default": {"binb": 1, "ssl_options": {"verfy": 1, "depth": -1}}},
                    "tcq": {}})
    assert [sentence.partition(":")[0] for sentence in found] == [
        "listeners.ssl.default.binb", "listeners.ssl.default.ssl_options.verfy",
        "listeners.ssl.default.ssl_options.depth", "listeners.tcq"]


def test_releases_that_ignore_reuse_sessions_are_named() -> None:
    assert warnings(tls(reuse_sessions=False), "5.9.0") == (
        ("listeners.ssl.default.ssl_options.reuse_sessions: EMQX 5.9.0 ignores false and reuses "
        "sessions all the same (emqx/emqx#16456)"),)
    assert warnings(tls(reuse_sessions=False), "5.10.3") == ()
    assert warnings(tls(reuse_sessions=True), "5.9.0") == ()


def test_a_removed_default_listener_is_named_because_emqx_opens_it_itself() -> None:
    assert warnings({"tcp": None}) == (
        ("listeners.tcp.default: is removed, so EMQX opens its own on port 1883; set enable: "
        "false to switch it off"),)


def test_versions_without_session_ids_are_named() -> None:
    assert warnings(tls(versions=["tlsv1.3"])) == (
        ("listeners.ssl.default.ssl_options.versions: without tlsv1.2 there are no session IDs "
        "to resume"),)


def test_missing_certificate_files_are_refused(tmp_path: Path) -> None:
    there = tmp_path / "there.pem"
    there.write_text("")
    certificates = Certificates(str(there), str(tmp_path / "none.pem"), "relative.pem")
    result = check_node(node({}, certificates=certificates), parse_release("5.8.6"))
    assert result.errors == (
        (f'listeners.ssl.default.ssl_options.certfile: "{tmp_path}/none.pem" does not exist; EMQX '
        f'boots without it, but every handshake fails'),
        ('listeners.ssl.default.ssl_options.keyfile: "relative.pem" must be an absolute path: a '
        'node does not run in this directory'))


def test_a_directory_is_not_a_certificate_file(tmp_path: Path) -> None:
    certificates = Certificates(str(tmp_path), str(tmp_path), str(tmp_path))
    result = check_node(node(tls(verify="verify_peer"), certificates=certificates),
                        parse_release("5.8.6"))
    assert len(result.errors) == 3
    assert "cannot be read (Is a directory)" in result.errors[0]


def test_a_sentence_that_all_nodes_share_is_said_once() -> None:
    result = check_nodes([node(tls(verfy=1), "emqx1"), node(tls(verfy=1), "emqx2", 8884)],
                         parse_release("5.8.6"), lambda _: nobody_looks)
    assert result.errors == (
        'listeners.ssl.default.ssl_options.verfy: unknown to EMQX 5.8.6; did you mean "verify"?',)


def test_a_sentence_about_some_nodes_names_them() -> None:
    result = check_nodes([node({}, "emqx1"), node(tls(depth=-1), "emqx2", 8884)],
                         parse_release("5.8.6"), lambda _: nobody_looks)
    assert result.errors == (
        ("listeners.ssl.default.ssl_options.depth: must be an integer of 0 or more, not -1 "
        "(on emqx2)"),)
    assert set(result.listeners) == {"emqx1", "emqx2"}
