"""Questions to a DNS server on loopback: every kind of answer, and a sentence for every other."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dns.resolver
import pytest
from ansible_collections.emqx.conformance.plugins.plugin_utils.discovery import (
    DiscoveryError,
    Listener,
)
from ansible_collections.emqx.conformance.plugins.plugin_utils.dns_client import DnsClient

from tests.support.dns_server import DnsServer, Zone

MANY = [f"192.0.2.{number}" for number in range(1, 61)]
ZONE: Zone = {
    "mqtt.example.com": {"A": ["192.0.2.10", "192.0.2.9"], "AAAA": ["2001:db8::9"]},
    "four.example.com": {"A": ["192.0.2.9"]},
    "six.example.com": {"AAAA": ["2001:db8::9"]},
    "many.example.com": {"A": MANY},
    "alias.example.com": {"CNAME": ["alias2.example.com."]},
    "alias2.example.com": {"CNAME": ["mqtt.example.com."]},
    "elsewhere.example.com": {"CNAME": ["alias.example.com."]},
    "circle.example.com": {"CNAME": ["circle2.example.com."]},
    "circle2.example.com": {"CNAME": ["circle.example.com."]},
    "left-circle.example.com": {"CNAME": ["left-circle2.example.com."]},
    "left-circle2.example.com": {"CNAME": ["left-circle.example.com."]},
    "to-nothing.example.com": {"CNAME": ["nothing.example.com."]},
    "text.example.com": {"TXT": ['"no address"']},
    "silent.example.com": {}, "servfail.example.com": {}, "garbage.example.com": {},
    "_mqtts._tcp.example.com": {"SRV": ["10 5 8883 mqtt.example.com.",
                                        "0 5 8884 FOUR.example.com."]},
    "_alias._tcp.example.com": {"CNAME": ["_mqtts._tcp.example.com."]},
    "_none._tcp.example.com": {"SRV": ["0 0 0 ."]},
    "_lost._tcp.example.com": {"SRV": ["0 0 8883 lost.example.com."]},
}


@pytest.fixture(scope="module")
def server() -> Iterator[DnsServer]:
    with DnsServer(ZONE, silent=frozenset({"silent.example.com"}),
                   servfail=frozenset({"servfail.example.com"}),
                   garbage=frozenset({"garbage.example.com"}),
                   dangling=frozenset({"elsewhere.example.com", "left-circle.example.com",
                                       "left-circle2.example.com"})) as server:
        yield server


def ask(server: DnsServer, name: str, kind: str = "address", *, timeout: float = 5,
        **options: Any) -> list[Listener]:
    """Return what a name leads to, sorted."""
    client = DnsClient([server.host], port=server.port, timeout=timeout)
    return sorted(client.listeners(name, kind, **options), key=lambda each: each.sort_key)


@pytest.mark.parametrize(("family", "addresses"), [
    ("any", ["192.0.2.9", "192.0.2.10", "2001:db8::9"]), ("ipv4", ["192.0.2.9", "192.0.2.10"]),
    ("ipv6", ["2001:db8::9"])])
def test_the_addresses_of_a_name(server: DnsServer, family: str, addresses: list[str]) -> None:
    assert ask(server, "mqtt.example.com", family=family, port=8884) == [
        Listener(address, 8884, "mqtt.example.com") for address in addresses]


@pytest.mark.parametrize("name", ["four.example.com.", "FOUR.example.COM"])
def test_names_may_be_spelt_otherwise(server: DnsServer, name: str) -> None:
    assert ask(server, name) == [Listener("192.0.2.9", 8883, "four.example.com")]


def test_one_family_is_enough_where_any_will_do(server: DnsServer) -> None:
    assert ask(server, "six.example.com") == [Listener("2001:db8::9", 8883, "six.example.com")]


def test_srv_records_say_port_target_and_priority(server: DnsServer) -> None:
    expected = [Listener("192.0.2.9", 8884, "four.example.com", "four.example.com", 0)] + [
        Listener(address, 8883, "mqtt.example.com", "mqtt.example.com", 10)
        for address in ("192.0.2.9", "192.0.2.10")]
    assert ask(server, "_mqtts._tcp.example.com", "srv", family="ipv4") == expected
    assert ask(server, "_alias._tcp.example.com", "srv", family="ipv4") == expected


@pytest.mark.parametrize("kind", ["address", "srv"])
def test_the_server_name_may_be_another(server: DnsServer, kind: str) -> None:
    name = "mqtt.example.com" if kind == "address" else "_mqtts._tcp.example.com"
    assert {listener.server_name for listener in ask(
        server, name, kind, server_name="broker")} == {"broker"}


@pytest.mark.parametrize("name", ["alias.example.com", "elsewhere.example.com"])
def test_aliases_are_followed_by_the_server_or_by_us(server: DnsServer, name: str) -> None:
    assert ask(server, name, family="ipv6") == [Listener("2001:db8::9", 8883, name)]


def test_what_does_not_fit_into_udp_is_asked_over_tcp(server: DnsServer) -> None:
    server.asked.clear()
    assert [listener.address for listener in ask(
        server, "many.example.com", family="ipv4")] == MANY
    assert server.asked == [("udp", "many.example.com", "A"), ("tcp", "many.example.com", "A")]


def test_a_server_on_ipv6() -> None:
    with DnsServer(ZONE, host="::1") as server:
        assert [each.address for each in ask(server, "four.example.com")] == ["192.0.2.9"]


def test_a_silent_server_does_not_hide_the_next() -> None:
    # Two addresses of their own: on 127.0.0.1 other tests' connections may have the same port.
    with (DnsServer(ZONE, host="127.0.0.9", silent=frozenset(ZONE)) as silent,
          DnsServer(ZONE, host="127.0.0.10", port=silent.port) as second):
        client = DnsClient([silent.host, second.host], port=silent.port)
        found = client.listeners("four.example.com", "address", family="ipv4")
        assert [listener.address for listener in found] == ["192.0.2.9"]
        assert silent.asked == second.asked == [("udp", "four.example.com", "A")]


def test_the_time_is_for_everything(server: DnsServer) -> None:
    client = DnsClient([server.host], port=server.port, timeout=2)
    client.listeners("mqtt.example.com", "address")
    for _ in range(2):
        with pytest.raises(DiscoveryError, match="within 2 s"):
            client.listeners("silent.example.com", "address")


CASES: list[tuple[str, dict[str, Any], str]] = [
    ("nothing.example.com", {}, "The DNS name nothing.example.com does not exist."),
    ("to-nothing.example.com", {}, (
        "The DNS name nothing.example.com does not exist. to-nothing.example.com is an alias of "
        "it.")),
    ("text.example.com", {}, "text.example.com has no A or AAAA record."),
    ("six.example.com", {"family": "ipv4"}, "six.example.com has no A record; try family: any."),
    ("mqtt.example.com", {"kind": "srv"}, (
        "mqtt.example.com has no SRV record: if it has addresses, set type to address.")),
    ("_none._tcp.example.com", {"kind": "srv"}, (
        'The SRV record of _none._tcp.example.com has the target ".": its domain does not offer '
        "this service.")),
    ("_lost._tcp.example.com", {"kind": "srv"}, (
        "The DNS name lost.example.com does not exist. An SRV record of _lost._tcp.example.com "
        "leads to it.")),
    ("servfail.example.com", {}, (
        "No usable answer about servfail.example.com (A): 127.0.0.1 port PORT answers SERVFAIL.")),
    ("circle.example.com", {}, (
        "No usable answer about circle.example.com (A): 127.0.0.1 port PORT answers with CNAMEs "
        "that do not end.")),
    ("left-circle.example.com", {}, (
        "The CNAMEs that begin at left-circle.example.com do not end.")),
    ("silent.example.com", {"timeout": 0.2}, (
        "No answer about silent.example.com (A) within 0.2 s from the DNS server 127.0.0.1 port "
        "PORT.")),
    # Whoever can send nonsense from anywhere must not end the question: it is not an answer.
    ("garbage.example.com", {"timeout": 0.2}, (
        "No answer about garbage.example.com (A) within 0.2 s from the DNS server 127.0.0.1 port "
        "PORT.")),
    ("192.0.2.1", {}, (
        "name must be a DNS name, and 192.0.2.1 is an address: write it into a hosts.yml as "
        "emqx_tls_host.")),
    ("mqtt..example.com", {}, '"mqtt..example.com" is no DNS name: A DNS label is empty.'),
    (f"{'x' * 64}.com", {}, f'"{"x" * 64}.com" is no DNS name: A DNS label is > 63 octets long.'),
    ("", {}, 'name must be a DNS name, not "".'),
    (".", {}, 'name must be a DNS name, not ".".'),
]


@pytest.mark.parametrize(("name", "options", "sentence"), CASES, ids=[name for name, *_ in CASES])
def test_what_goes_wrong_is_said(server: DnsServer, name: str, options: dict[str, Any],
                                 sentence: str) -> None:
    with pytest.raises(DiscoveryError) as caught:
        ask(server, name, **options)
    assert str(caught.value) == sentence.replace("PORT", str(server.port))


def test_a_server_that_refuses_tcp_where_it_is_needed() -> None:
    with DnsServer(ZONE, over_tcp=False) as server, pytest.raises(DiscoveryError) as caught:
        ask(server, "many.example.com", timeout=2)
    assert str(caught.value) == (f"No usable answer about many.example.com (A): 127.0.0.1 port "
                                 f"{server.port} over TCP cannot be asked (Connection refused).")


def test_servers_must_be_addresses() -> None:
    with pytest.raises(DiscoveryError, match=r'^servers must be addresses of DNS servers, not "ns'):
        DnsClient(["ns.example.com"])


def test_a_system_that_names_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(**_: Any) -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver, "Resolver", without)
    with pytest.raises(DiscoveryError) as caught:
        DnsClient()
    assert str(caught.value) == "/etc/resolv.conf names no DNS server: set servers."
