"""How EMQX writes durations, sizes, rates and the like."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.listeners import grammar, kinds
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.kinds import (
    Kind,
    WrongValueError,
)


@pytest.mark.parametrize(("text", "expected"), [
    ("15s", 15_000), ("1h30m", 5_400_000), ("500ms", 500), (1500, 1500), ("1500", 1500),
    ("1.5s", 1500), (".5s", 500), ("1d", 86_400_000), ("1w", 604_800_000), ("1f", 1_209_600_000),
    ("2H", 7_200_000), ("1m1s1ms", 61_001), ("0s", 0), ("0.0001s", 0), ("0.0005s", 1),
])
def test_durations(text: str | int, expected: int) -> None:
    assert grammar.milliseconds(text) == expected
    assert grammar.DURATION.read(text) == text


@pytest.mark.parametrize("text", ["", "s", "1.5", "x15s", "15 s", "15sx", "15 minutes", "-1s",
                                  "1.2.3s", "5.s", "..s", "1mS", "15s\n", "infinity"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        grammar.milliseconds(text)
    with pytest.raises(WrongValueError, match="a duration such as"):
        grammar.DURATION.read(text)


@pytest.mark.parametrize(("kind", "value"), [
    (grammar.SIZE, "4KB"), (grammar.SIZE, "4096b"), (grammar.SIZE, -1),
    (grammar.SIZE_WITHOUT_B, "004kb"), (grammar.SIZE_WITHOUT_B, "4096"),
    (grammar.RATE, "1000/s"), (grammar.RATE, "10B/s"), (grammar.RATE, "1/3s"),
    (grammar.RATE, 10), (grammar.RATE_WITHOUT_B, "10Mb/S"), (grammar.RATE_WITHOUT_B, "1GB/1d"),
    (grammar.RATE_WITHOUT_B, "10/100ms"), (grammar.BURST, "0/0s"), (grammar.BURST, 0),
    (grammar.INITIAL, "1MB"), (grammar.INITIAL, 0),
    (grammar.KEEPALIVE, "none"), (grammar.KEEPALIVE, "240, 30, 5"), (grammar.KEEPALIVE, "1 1 1"),
    (grammar.KEEPALIVE, "72000,750,90"),
    (grammar.MQTT_PATH, "/"), (grammar.MQTT_PATH, "/m q"),
    (grammar.LOOKUP_FUNCTION, "emqx_tls_psk:lookup"), (grammar.LOOKUP_FUNCTION, "f: g"),
    (grammar.URL, "http://ocsp.example:9877/a%20b?c"), (grammar.URL, "HTTPS://[::1]"),
    (grammar.AUTHENTICATION, []), (grammar.AUTHENTICATION, {"mechanism": "jwt"}),
    (grammar.AUTHENTICATION, [{"mechanism": "password_based", "backend": "built_in_database"}]),
    (grammar.ZONE, "a.b"), (grammar.ZONE, "z" * 255),
    (kinds.TEXT, "a\tb"), (kinds.TEXT, "nbsp\xa0"),
])
def test_what_emqx_reads_is_kept_as_it_is(kind: Kind, value: Any) -> None:
    assert kind.read(value) == value


@pytest.mark.parametrize(("kind", "value"), [
    (grammar.SIZE, "1.5MB"), (grammar.SIZE, "4 KB"), (grammar.SIZE, "4Kb"), (grammar.SIZE, "1TB"),
    (grammar.SIZE, "-1KB"), (grammar.SIZE, True), (grammar.SIZE_WITHOUT_B, "4096b"),
    (grammar.RATE, 0), (grammar.RATE, "0/s"), (grammar.RATE, "10/0s"), (grammar.RATE, "1.5/s"),
    (grammar.RATE, "10/"), (grammar.RATE, "10/w"), (grammar.RATE, "10/1h30m"),
    (grammar.RATE, "10 /s"), (grammar.RATE, "10/mS"), (grammar.RATE, "-1/s"),
    (grammar.RATE, "10TB/s"), (grammar.RATE, True), (grammar.RATE, 1.5), (grammar.RATE, ["10/s"]),
    (grammar.RATE_WITHOUT_B, "10b/s"), (grammar.BURST, "infinity"), (grammar.INITIAL, "1/s"),
    (grammar.KEEPALIVE, "0,0,0"), (grammar.KEEPALIVE, "-1,2,3"), (grammar.KEEPALIVE, "1,2"),
    (grammar.KEEPALIVE, "1,2,3,4"), (grammar.KEEPALIVE, "72001,1,1"), (grammar.KEEPALIVE, "abc"),
    (grammar.MQTT_PATH, "mqtt"), (grammar.MQTT_PATH, ""),
    (grammar.LOOKUP_FUNCTION, "nonsense"), (grammar.LOOKUP_FUNCTION, "a:b:c"),
    (grammar.LOOKUP_FUNCTION, ":"),
    (grammar.URL, "http://a b/"), (grammar.URL, "ftp://a/"), (grammar.URL, "http:///a"),
    (grammar.AUTHENTICATION, "jwt"), (grammar.AUTHENTICATION, [1.5]),
    (grammar.AUTHENTICATION, [{}]), (grammar.AUTHENTICATION, [{"mechanism": 1.5}]),
    (grammar.ZONE, ""), (grammar.ZONE, "z" * 256), (grammar.LOOKUP_FUNCTION, f"a:{'b' * 256}"),
    (kinds.TEXT, "a\nb"), (kinds.TEXT, "a\x80b"), (kinds.TEXT, "a\x9fb"), (kinds.TEXT, "a\x7fb"),
    (kinds.ANYTHING, {"a.b": 1}), (kinds.ANYTHING, {"null": 1}), (kinds.ANYTHING, {1: 1}),
])
def test_what_emqx_does_not_read_is_refused(kind: Kind, value: Any) -> None:
    with pytest.raises(WrongValueError):
        kind.read(value)


@pytest.mark.parametrize(("value", "number"), [("16 ", 16), (" 16", 16), ("+5", 5), ("007", 7)])
def test_integers_in_strings(value: str, number: int) -> None:
    assert kinds.integer(1).read(value) == number


@pytest.mark.parametrize("value", ["0x10", "1 6", "", "16.5", "++5", "16\n", True, 16.5])
def test_no_integers(value: Any) -> None:
    with pytest.raises(WrongValueError, match="an integer"):
        kinds.integer().read(value)


@pytest.mark.parametrize("rule", [
    "allow all", "deny all", "allow  10.0.0.1", "allow 10.0.0", "deny 192.168.0.0/24",
    "allow fe80::/10", "deny ::/0", "allow 10.0.0.0/32", "allow 10.0.0.0/", "deny 10.0.0.0//8"])
def test_access_rules(rule: str) -> None:
    assert grammar.is_access_rule(rule)


@pytest.mark.parametrize("rule", [
    "", "allow", "permit all", "ALLOW all", "allow foo", "allow localhost", "allow 10.0.0.0/33",
    "allow ::/129", "allow /", "allow 10.0.0.0/-1", "allow 10.0.0.0/8/8", "allow all all",
    "allow fe80::1%lo"])
def test_no_access_rules(rule: str) -> None:
    assert not grammar.is_access_rule(rule)


@pytest.mark.parametrize(("bind", "address", "port"), [
    ("127.1:1", "127.0.0.1", 1), (" 127.0.0.1 : 8883", "127.0.0.1", 8883), ("+8883", "", 8883),
    ("[0:0:0:0:0:0:0:1]:8883", "::1", 8883), (":::8883", "::", 8883),
    ("[FD00::0:1]:8883", "fd00::1", 8883), (":8883", "", 8883)])
def test_binds(bind: str, address: str, port: int) -> None:
    assert kinds.split_bind(bind) == (address, port)


@pytest.mark.parametrize(("bind", "reason"), [
    (0, "listens at a port that no client knows"), ("127.0.0.1:0", "no client knows"),
    ("010.0.0.1:8883", "EMQX reads 010.0.0.1 as 8.0.0.1"), ("fe80::1:8883", "not link-local"),
    ("[::1%lo]:8883", "a port or address:port"), ("::8883", "a port or address:port"),
    ("*:8883", "a port or address:port"), (-1, "a port or address:port"),
    ("127.0.0.1:65536", "a port or address:port"), (8883.0, "a port or address:port")])
def test_no_binds(bind: Any, reason: str) -> None:
    with pytest.raises(WrongValueError, match=reason):
        kinds.split_bind(bind)
