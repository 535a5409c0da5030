"""Questions to the DNS, each with an answer or with one sentence. Needs dnspython."""
from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.resolver
from ansible_collections.emqx.conformance.plugins.plugin_utils.discovery import (
    RECORDS,
    DiscoveryError,
    Listener,
    address_in,
)

_TRY_S = 2.0
"""Seconds after which the next server is asked, or the same once more."""
_MOST_ALIASES = 8
"""CNAMEs that a server leaves for its client to follow."""


class DnsClient:
    """Asks servers over UDP, and over TCP what does not fit; caches nothing."""

    def __init__(self, servers: Sequence[str] = (), *, port: int = 53,
                 timeout: float = 5.0) -> None:
        """Set up; nothing is sent yet.

        Args:
            servers: addresses of DNS servers; those of /etc/resolv.conf if there are none.
            port: at which these servers answer.
            timeout: seconds for everything that this client is ever asked.

        Raises:
            DiscoveryError: a server is no address, or the system names none.
        """
        for server in servers:
            if address_in(server) is None:
                raise DiscoveryError(f'servers must be addresses of DNS servers, not "{server}".')
        try:
            self._resolver = dns.resolver.Resolver(configure=not servers)
        except dns.resolver.NoResolverConfiguration:
            raise DiscoveryError("/etc/resolv.conf names no DNS server: set servers.") from None
        if servers:
            self._resolver.nameservers = list(servers)
            self._resolver.port = port
        self._resolver.timeout = min(_TRY_S, timeout)
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout

    def listeners(self, name: str, kind: str, *, port: int = 8883, family: str = "any",
                  server_name: str | None = None) -> list[Listener]:
        """Return what a name leads to, in no order.

        Args:
            name: absolute, with or without the final dot.
            kind: ``address`` or ``srv``.
            port: of addresses; SRV records say theirs.
            family: ``any``, ``ipv4`` or ``ipv6``.
            server_name: for all; otherwise it is the name that has the addresses.

        Raises:
            DiscoveryError: there is nothing, or it cannot be learnt.
        """
        asked = _absolute(name)
        if kind == "address":
            return [Listener(address, port, server_name or _text(asked))
                    for address in self._addresses(asked, family, "")]
        found = []
        addresses: dict[dns.name.Name, list[str]] = {}
        for record in self._services(asked):
            if record.target not in addresses:
                addresses[record.target] = self._addresses(
                    record.target, family, f"An SRV record of {_text(asked)} leads to it.")
            target = _text(record.target)
            found += [Listener(address, record.port, server_name or target, target,
                               record.priority) for address in addresses[record.target]]
        return found

    def _services(self, name: dns.name.Name) -> list[Any]:
        """Return SRV records with targets, each with priority, port and target."""
        records = self._ask(name, "SRV", "")
        if not records:
            raise DiscoveryError(f"{_text(name)} has no SRV record: if it has addresses, set type "
                                 "to address.")
        offered = [record for record in records if record.target != dns.name.root]
        if not offered:
            # RFC 2782: a target of "." means that the service is decidedly not available.
            raise DiscoveryError(f'The SRV record of {_text(name)} has the target ".": its domain '
                                 "does not offer this service.")
        return offered

    def _addresses(self, name: dns.name.Name, family: str, why: str) -> list[str]:
        found = [record.address for kind in RECORDS[family]
                 for record in self._ask(name, kind, why)]
        if not found:
            others = "; try family: any" if family != "any" else ""
            raise DiscoveryError(_sentence(
                f"{_text(name)} has no {' or '.join(RECORDS[family])} record{others}.", why))
        return found

    def _ask(self, name: dns.name.Name, kind: str, why: str) -> list[Any]:
        """Return a name's records of a kind, or of the name it is an alias of; maybe none."""
        asked = name
        for _ in range(_MOST_ALIASES):
            answer = self._resolve(asked, kind, why)
            if answer.rrset is not None:
                return list(answer.rrset)
            if answer.canonical_name == asked:
                return []
            asked = answer.canonical_name
        raise DiscoveryError(_sentence(f"The CNAMEs that begin at {_text(name)} do not end.", why))

    def _resolve(self, name: dns.name.Name, kind: str, why: str) -> dns.resolver.Answer:
        try:
            return self._resolver.resolve(
                name, kind, raise_on_no_answer=False, search=False,
                lifetime=max(self._deadline - time.monotonic(), 0.001))
        except dns.resolver.NXDOMAIN as error:
            end = error.canonical_name
            alias = "" if end == name else f"{_text(name)} is an alias of it."
            raise DiscoveryError(_sentence(
                f"The DNS name {_text(end)} does not exist.", alias, why)) from None
        except dns.resolver.LifetimeTimeout as error:
            # Servers that refused are out by then; the rest did not answer.
            heard = _told(error.kwargs.get("errors", ()))
            servers = ", ".join(dict.fromkeys(self._servers()))
            raise DiscoveryError(_sentence(
                f"No answer about {_text(name)} ({kind}) within {self._timeout:g} s from the DNS "
                f"server{'' if ',' not in servers else 's'} {servers}"
                f"{f' ({heard})' if heard else ''}.", why)) from None
        except dns.resolver.NoNameservers as error:
            raise DiscoveryError(_sentence(
                f"No usable answer about {_text(name)} ({kind}): "
                f"{_told(error.kwargs.get('errors', ()))}.", why)) from None
        except dns.exception.DNSException as error:
            raise DiscoveryError(_sentence(
                f"{_text(name)} ({kind}) cannot be looked up: {_one_line(error)}.", why)) from None

    def _servers(self) -> list[str]:
        return [_server(str(server), self._resolver.port) for server in self._resolver.nameservers]


def _absolute(name: str) -> dns.name.Name:
    if address_in(name) is not None:
        raise DiscoveryError(f"name must be a DNS name, and {name} is an address: write it into a "
                             "hosts.yml as emqx_tls_host.")
    try:
        asked = dns.name.from_text(name)
    except dns.exception.DNSException as error:
        raise DiscoveryError(f'"{name}" is no DNS name: {_one_line(error)}.') from None
    if asked == dns.name.root:
        raise DiscoveryError(f'name must be a DNS name, not "{name}".')
    return asked


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _server(address: str, port: int) -> str:
    return address if port == 53 else f"{address} port {port}"


def _told(errors: Iterable[tuple[str, bool, int, Any, Any]]) -> str:
    """Return what servers answered instead of an answer, each thing once."""
    said = []
    for server, over_tcp, port, problem, _ in errors:
        if isinstance(problem, dns.exception.Timeout) or (
                isinstance(problem, dns.message.Truncated) and not over_tcp):
            continue
        text = f"answers {problem}" if isinstance(problem, str) else _problem(problem)
        # dnspython's servers call themselves Do53:address@port.
        address = server.rpartition("@")[0].partition(":")[2] or server
        said.append(f"{_server(address, port)} {'over TCP ' if over_tcp else ''}{text}")
    return ", ".join(dict.fromkeys(said))


def _problem(problem: Any) -> str:
    if isinstance(problem, dns.message.ChainTooLong):
        return "answers with CNAMEs that do not end"
    if isinstance(problem, OSError):
        return f"cannot be asked ({problem.strerror or _one_line(problem)})"
    return f"answers what cannot be read ({_one_line(problem)})"


def _one_line(error: BaseException) -> str:
    text = str(error).strip().rstrip(".") or type(error).__name__
    return " ".join(text.split())


def _sentence(*parts: str) -> str:
    return " ".join(part for part in parts if part)
