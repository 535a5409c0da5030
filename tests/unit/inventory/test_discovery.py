"""Hosts made of DNS records: names that stay, order, repetitions, and too many."""
from __future__ import annotations

import doctest
import random
import re
from ipaddress import IPv4Address, IPv6Address

import pytest
from ansible_collections.emqx.conformance.plugins.plugin_utils import discovery
from ansible_collections.emqx.conformance.plugins.plugin_utils.discovery import (
    DiscoveryError,
    Host,
    Listener,
    both_families,
    hosts,
)
from hypothesis import given
from hypothesis import strategies as st

NAME = "_mqtts._tcp.example.com"
NODE_NAME = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z_.-]{0,61}[0-9A-Za-z])?")
ADDRESSES = st.one_of(st.builds(IPv4Address, st.integers(0, 2**32 - 1)),
                      st.builds(IPv6Address, st.integers(0, 2**128 - 1))).map(str)
TARGETS = st.sampled_from(["", "mqtt1.example.com", "mqtt2.example.com", "mqtt.example.net",
                           f"{'long' * 12}.example.com", "*.example.com"])
LISTENERS = st.lists(st.builds(
    Listener, address=ADDRESSES, port=st.integers(1, 65535), server_name=st.just("n"),
    target=TARGETS, priority=st.integers(0, 3)), max_size=30)


def srv(target: str, address: str, port: int = 8883, priority: int = 0) -> Listener:
    """Return what an SRV record leads to."""
    return Listener(address, port, target, target, priority)


def names(*listeners: Listener, name: str = NAME, prefix: str = "") -> list[str]:
    """Return the names of the hosts."""
    return [host.name for host in hosts(listeners, name=name, prefix=prefix)]


def test_the_examples_in_docstrings() -> None:
    assert doctest.testmod(discovery) == (0, 3)


def test_addresses_are_in_their_order_and_name_the_hosts() -> None:
    listeners = [Listener(address, 8883, "mqtt.example.com") for address in (
        "2001:db8::", "192.0.2.10", "192.0.2.9", "::1", "192.0.2.9")]
    assert names(*listeners) == ["192.0.2.9", "192.0.2.10", "0--1", "2001-db8--0"]
    assert names(*listeners, prefix="lab-") == [
        "lab-192.0.2.9", "lab-192.0.2.10", "lab---1", "lab-2001-db8--0"]


def test_targets_name_the_hosts_without_the_domain_that_everybody_has() -> None:
    assert names(srv("mqtt2.example.com", "192.0.2.1"), srv("mqtt1.example.com", "192.0.2.2"),
                 srv("example.com", "192.0.2.3"), srv("mqtt1.example.net", "192.0.2.4"),
                 ) == ["example.com", "mqtt1", "mqtt1.example.net", "mqtt2"]


def test_one_priority_comes_after_the_other() -> None:
    assert names(srv("a.example.com", "192.0.2.1", priority=20),
                 srv("b.example.com", "192.0.2.2", priority=10)) == ["b", "a"]


def test_a_target_in_several_places_has_them_in_the_names_of_its_hosts() -> None:
    assert names(srv("a.example.com", "192.0.2.1"), srv("a.example.com", "192.0.2.2"),
                 srv("b.example.com", "192.0.2.3", 8883), srv("b.example.com", "192.0.2.3", 8884),
                 srv("c.example.com", "192.0.2.4", 1), srv("c.example.com", "192.0.2.4", 2),
                 srv("c.example.com", "192.0.2.5", 1)) == [
        "a-192.0.2.1", "a-192.0.2.2", "b-8883", "b-8884",
        "c-192.0.2.4-1", "c-192.0.2.5", "c-192.0.2.4-2"]


def test_an_address_and_port_twice_is_one_host_the_sooner_to_be_tried() -> None:
    (host,) = hosts([srv("b.example.com", "192.0.2.1", priority=1),
                     srv("a.example.com", "192.0.2.1", priority=2)], name=NAME)
    assert host == Host("b", srv("b.example.com", "192.0.2.1", priority=1))


@pytest.mark.parametrize("target", [f"{'x' * 60}.example.com", "*.example.com", "a b.example.com"])
def test_what_cannot_name_a_node_is_called_after_its_address(target: str) -> None:
    assert names(srv(target, "192.0.2.1")) == ["192.0.2.1"]


def test_two_nodes_of_one_name_are_refused() -> None:
    with pytest.raises(DiscoveryError, match="make 2 different nodes that would all be called"):
        names(srv("a.example.com", "192.0.2.1"), srv("a.example.com", "192.0.2.2"),
              srv("a-192.0.2.1.example.com", "192.0.2.3"))


def test_too_many_are_refused_and_as_many_as_allowed_are_not() -> None:
    listeners = [Listener(f"192.0.2.{number}", 8883, "n") for number in range(3)]
    assert len(hosts(listeners, name="n", max_nodes=3)) == 3
    with pytest.raises(DiscoveryError, match=r"^n leads to 3 addresses, and max_nodes is 2: "):
        hosts(listeners, name="n", max_nodes=2)


@pytest.mark.parametrize("prefix", ["-a", ".", "a b", "a:", "ä"])
def test_a_prefix_that_cannot_begin_a_name_is_refused(prefix: str) -> None:
    with pytest.raises(DiscoveryError, match=r"^prefix must be letters, digits"):
        hosts([], name="n", prefix=prefix)


def test_both_families_are_warned_of_and_one_is_not() -> None:
    four = Host("a", Listener("192.0.2.1", 8883, "n"))
    six = Host("b", Listener("2001:db8::1", 8883, "n"))
    assert both_families([four, four], "n") is None
    assert both_families([six], "n") is None
    warning = both_families([four, four, six], "n")
    assert warning is not None
    assert warning.startswith("n leads to 2 IPv4 and 1 IPv6 addresses")


@given(LISTENERS, st.sampled_from(["", "lab-"]), st.randoms())
def test_every_place_is_one_host_of_a_name_that_no_order_changes(
        listeners: list[Listener], prefix: str, chance: random.Random) -> None:
    found = hosts(listeners, name=NAME, prefix=prefix)
    assert {(host.listener.address, host.listener.port) for host in found} == {
        (listener.address, listener.port) for listener in listeners}
    assert len({host.name for host in found}) == len(found)
    assert all(NODE_NAME.fullmatch(host.name) for host in found)
    assert all(host.name.startswith(prefix) for host in found)
    again = list(listeners)
    chance.shuffle(again)
    assert hosts(again, name=NAME, prefix=prefix) == found
