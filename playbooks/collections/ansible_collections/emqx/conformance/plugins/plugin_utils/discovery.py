"""Nodes made of DNS records: which hosts an inventory gets, and what they are called.

Pure: whoever calls has asked the DNS (:mod:`dns_client`).
"""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

RECORDS = {"any": ("A", "AAAA"), "ipv4": ("A",), "ipv6": ("AAAA",)}
"""Family -> types of records that hold its addresses, in the order of the hosts."""

_LONGEST = 63
_NAME = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z_.-]*[0-9A-Za-z])?")
"""What can name a node (contract/settings.py, PATH_NAME), but for its length."""
_PREFIX = re.compile(r"(?:[0-9A-Za-z][0-9A-Za-z_.-]*)?")


class DiscoveryError(Exception):
    """No inventory comes of it. The text is a sentence that says why, and what to do."""


@dataclass(frozen=True)
class Listener:
    """One address and port that a DNS name leads to."""

    address: str
    port: int
    server_name: str
    """Name asked for (SNI) and expected in the certificate."""
    target: str = ""
    """SRV: the name that the record leads to. Empty where the name itself has the address."""
    priority: int = 0
    """SRV: the lower, the sooner a client is to try it (RFC 2782)."""

    @property
    def sort_key(self) -> tuple[int, str, int, int, bytes]:
        """What the order of hosts goes by, however the server shuffles its answers."""
        ip = ip_address(self.address)
        return self.priority, self.target, ip.version, self.port, ip.packed


@dataclass(frozen=True)
class Host:
    """A host of the inventory."""

    name: str
    listener: Listener


def hosts(listeners: Iterable[Listener], *, name: str, prefix: str = "",
          max_nodes: int = 100) -> list[Host]:
    """Return one host for each address and port, in an order that never changes.

    A host is called after the SRV record's target, without the domain that the target shares with
    ``name``; where the target leads to several places, address and port distinguish them. Without
    a target, or if that cannot name a node, it is called after its address.

    Args:
        listeners: what the records say; repetitions are dropped.
        name: the DNS name that was asked for.
        prefix: what every host name begins with.
        max_nodes: how many hosts are too many.

    Raises:
        DiscoveryError: wrong prefix, or too many.
    """
    if not _PREFIX.fullmatch(prefix):
        raise DiscoveryError(f'prefix must be letters, digits, _, - and dots, and begin with a '
                             f'letter or digit, not "{prefix}".')
    places: dict[tuple[str, int], Listener] = {}
    for listener in sorted(listeners, key=lambda each: each.sort_key):
        places.setdefault((listener.address, listener.port), listener)
    if len(places) > max_nodes:
        raise DiscoveryError(
            f"{name} leads to {len(places)} addresses, and max_nodes is {max_nodes}: is it the "
            "name of a cluster? Every node is connected to, so set max_nodes if it is.")
    return [Host(host_name, listener) for host_name, listener in zip(
        _names(list(places.values()), name, prefix), places.values())]


def _names(listeners: Sequence[Listener], name: str, prefix: str) -> list[str]:
    stems = [_stem(listener, name, prefix) for listener in listeners]
    addresses: dict[str, set[str]] = {}
    ports: dict[tuple[str, str], set[int]] = {}
    for stem, listener in zip(stems, listeners):
        addresses.setdefault(stem, set()).add(listener.address)
        ports.setdefault((stem, listener.address), set()).add(listener.port)
    names = []
    for stem, listener in zip(stems, listeners):
        called = stem or prefix + address_label(listener.address, first=not prefix)
        if stem and len(addresses[stem]) > 1:
            called += "-" + address_label(listener.address)
        if len(ports[stem, listener.address]) > 1:
            called += f"-{listener.port}"
        names.append(called)
    for called, count in Counter(names).items():
        if count > 1:
            raise DiscoveryError(f"The records of {name} make {count} different nodes that would "
                                 f"all be called {called}: write them into a hosts.yml.")
    return names


def _stem(listener: Listener, name: str, prefix: str) -> str:
    """Return what a host is called after its target, or nothing if that cannot be."""
    stem = prefix + short_target(listener.target, name)
    # Room for an address and a port behind it.
    fits = len(stem) + len(f"-{address_label(listener.address)}-{listener.port}") <= _LONGEST
    return stem if listener.target and fits and _NAME.fullmatch(stem) else ""


def short_target(target: str, name: str) -> str:
    """Return a target without the domain of the service that led to it.

    >>> short_target("mqtt1.example.com", "_mqtts._tcp.example.com")
    'mqtt1'
    >>> short_target("mqtt1.example.net", "_mqtts._tcp.example.com")
    'mqtt1.example.net'
    """
    labels = name.split(".")
    while labels and labels[0].startswith("_"):
        labels = labels[1:]
    domain = "." + ".".join(labels)
    return target[:-len(domain)] if domain != "." and target.endswith(domain) else target


def address_label(address: str, *, first: bool = False) -> str:
    """Return an address as part of a host name.

    Colons become hyphens, which neither begin (where it is ``first``) nor end a host name.

    >>> address_label("2001:db8::a"), address_label("::1", first=True), address_label("2001:db8::")
    ('2001-db8--a', '0--1', '2001-db8--0')
    """
    label = address.replace(":", "-")
    if first and label.startswith("-"):
        label = "0" + label
    return label + "0" if label.endswith("-") else label


def address_in(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a text is, if it is one."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def both_families(found: Sequence[Host], name: str) -> str | None:
    """Return a warning if IPv4 and IPv6 may have made two hosts of one node."""
    versions = Counter(ip_address(host.listener.address).version for host in found)
    if len(versions) < 2:
        return None
    return (f"{name} leads to {versions[4]} IPv4 and {versions[6]} IPv6 addresses, each a host of "
            "its own: if they are the same nodes, set family to ipv4 or ipv6, since a session "
            "resumes on the other address of its node.")
