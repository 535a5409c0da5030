"""A DNS server on loopback, over UDP and TCP, that knows a few names and has a few bad habits."""
from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

UDP_BYTES = 512
"""What fits into UDP without EDNS (RFC 1035 4.2.1)."""
_TTL_S = 60

Zone = Mapping[str, Mapping[str, Sequence[str]]]
"""Name -> type of record -> what the records say, in a zone file's words."""


@dataclass
class DnsServer:
    """Serves one zone until :meth:`stop`; shuffles its answers, as many servers do."""

    zone: Zone
    host: str = "127.0.0.1"
    port: int = 0
    """Any that is free, unless told."""
    silent: frozenset[str] = frozenset()
    """Names about which it says nothing at all."""
    servfail: frozenset[str] = frozenset()
    """Names about which it answers SERVFAIL."""
    garbage: frozenset[str] = frozenset()
    """Names about which it answers what is no DNS message."""
    dangling: frozenset[str] = frozenset()
    """Aliases that it leaves for the client to follow."""
    over_tcp: bool = True
    """Whether it listens on TCP at all."""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Transport, name and type of every question."""

    def __post_init__(self) -> None:
        """Listen, over TCP at the same port as over UDP."""
        self._udp, self._tcp = _sockets(self.host, self.port)
        self.port = self._udp.getsockname()[1]
        if not self.over_tcp:
            self._tcp.close()
        serve = [self._serve_udp, *([self._serve_tcp] if self.over_tcp else [])]
        self._threads = [threading.Thread(target=each, daemon=True) for each in serve]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, and wait for it."""
        for each in (self._udp, self._tcp):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> DnsServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve_udp(self) -> None:
        while True:
            try:
                wire, peer = self._udp.recvfrom(65535)
            except OSError:
                return
            if not wire:
                return
            answer = self._answer(wire, "udp")
            if answer is not None:
                self._udp.sendto(answer, peer)

    def _serve_tcp(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError, struct.error):
                connection.settimeout(5)
                (length,) = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))
                answer = self._answer(connection.recv(length, socket.MSG_WAITALL), "tcp")
                if answer is not None:
                    connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, wire: bytes, transport: str) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, kind = question.name, dns.rdatatype.to_text(question.rdtype)
        text = _text(name)
        self.asked.append((transport, text, kind))
        if text in self.silent:
            return None
        if text in self.garbage:
            return query.to_wire()[:2] + b"\x80\x00no message at all"
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if text in self.servfail:
            response.set_rcode(dns.rcode.SERVFAIL)
        else:
            self._fill(response, name, kind)
        whole = response.to_wire()
        if transport == "tcp" or len(whole) <= UDP_BYTES:
            return whole
        response.answer.clear()
        response.flags |= dns.flags.TC
        return response.to_wire()

    def _fill(self, response: dns.message.Message, name: dns.name.Name, kind: str) -> None:
        """Answer from the zone, following aliases as far as a resolver does."""
        for _ in range(10):
            text = _text(name)
            records = self.zone.get(text)
            if records is None:
                response.set_rcode(dns.rcode.NXDOMAIN)
                return
            if "CNAME" in records:
                target = records["CNAME"][0]
                response.answer.append(_rrset(name, "CNAME", [target]))
                if text in self.dangling:
                    return
                name = dns.name.from_text(target)
                continue
            if kind in records:
                shuffled = random.sample(records[kind], len(records[kind]))
                response.answer.append(_rrset(name, kind, shuffled))
            return


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _rrset(name: dns.name.Name, kind: str, records: Sequence[str]) -> dns.rrset.RRset:
    return dns.rrset.from_text_list(name, _TTL_S, dns.rdataclass.IN,
                                    dns.rdatatype.from_text(kind), records)


def _sockets(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(50):
        udp = socket.socket(family, socket.SOCK_DGRAM)
        udp.bind((host, port))
        try:
            return udp, socket.create_server((host, udp.getsockname()[1]), family=family)
        except OSError:
            udp.close()
    raise OSError("no port that is free for UDP and TCP")
