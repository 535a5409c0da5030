"""A client of the contract of client_stacks/ with one fault to order, or none.

    python faulty_client.py FAULT EXTRA HOST PORT CA SERVER_NAME WAY CLIENT_ID CONNECTIONS

It is a program of its own, as clients of stacks are, and imports nothing of this project.
"""
from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import sys
import time
from typing import Any

FAULT, EXTRA, HOST, PORT, CA, SERVER_NAME, WAY, CLIENT_ID, CONNECTIONS = sys.argv[1:]
_ID_AT = 5 + 4 + 2 + 32 + 1
"""Where a ClientHello has its session ID: behind two headers, version, random and length."""


def context() -> ssl.SSLContext:
    """Return one that is kept to TLS 1.2 without tickets, unless the fault is that it is not."""
    made = ssl.create_default_context(cafile=CA)
    if FAULT != "speaks_tls13":
        made.maximum_version = ssl.TLSVersion.TLSv1_2
    if FAULT != "sends_ticket":
        made.options |= ssl.OP_NO_TICKET
    return made


def connect_packet() -> bytes:
    """Return a CONNECT."""
    who = CLIENT_ID.encode()
    body = b"\x00\x04MQTT\x04\x02\x00\x3c" + len(who).to_bytes(2, "big") + who
    return bytes((0x10, len(body))) + body


def connack(tls: ssl.SSLSocket) -> int:
    """Speak MQTT and return the CONNACK's code."""
    tls.sendall(connect_packet())
    answer = tls.recv(4)
    if FAULT != "closes_without_notice":
        tls.sendall(b"\xe0\x00")
    return answer[3]


def forged(made: ssl.SSLContext, session: ssl.SSLSession) -> None:
    """Offer the session ID in EXTRA instead of one's own, and go on as far as that goes."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = made.wrap_bio(incoming, outgoing, server_hostname=SERVER_NAME, session=session)
    with socket.create_connection((HOST, int(PORT)), 10) as tcp:
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = bytearray(outgoing.read())
        hello[_ID_AT:_ID_AT + 32] = bytes.fromhex(EXTRA)
        tcp.sendall(hello)
        while data := tcp.recv(65536):
            incoming.write(data)
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                continue
            finally:
                tcp.sendall(outgoing.read())


def hang_up(tls: ssl.SSLSocket) -> None:
    """Close without close_notify, and wait until the node has seen it and closed, too."""
    with socket.socket(fileno=tls.detach()) as tcp, contextlib.suppress(OSError):
        tcp.shutdown(socket.SHUT_WR)
        while tcp.recv(65536):
            pass


class Client:
    """Connects, and remembers what it is to offer."""

    def __init__(self) -> None:
        self._context = context()
        self._session: ssl.SSLSession | None = None
        if FAULT == "keeps_unknown_id":
            # It was given by somebody else, and whoever it is offered to has never seen it.
            self._session = self._made_at(int(EXTRA))

    def _made_at(self, port: int) -> ssl.SSLSession | None:
        with self._tls(port, None) as tls:
            connack(tls)
            session = tls.session
            tls.unwrap()
            return session

    def _tls(self, port: int, offer: ssl.SSLSession | None) -> ssl.SSLSocket:
        tcp = socket.create_connection((HOST, port), 10)
        return self._context.wrap_socket(tcp, server_hostname=SERVER_NAME, session=offer)

    def connection(self) -> tuple[bool | None, int]:
        """Return what is said of one: whether it resumed, and the CONNACK's code."""
        if FAULT == "offers_anothers_id" and self._session is not None:
            forged(self._context, self._session)
        if FAULT == "speaks_http":
            with socket.create_connection((HOST, int(PORT)), 10) as tcp:
                tcp.sendall(b"GET / HTTP/1.1\r\n\r\n")
                tcp.recv(100)
                return None, -1
        offer = None if FAULT in ("never_offers", "claims_it_resumed") else self._session
        tls = self._tls(int(PORT), offer)
        if FAULT == "gives_up_on_fallback" and offer is not None and not tls.session_reused:
            tls.close()
            return False, -1
        code, reused = connack(tls), bool(tls.session_reused)
        if FAULT != "keeps_unknown_id":
            self._session = tls.session
        if FAULT == "closes_without_notice":
            hang_up(tls)
            return self._told(reused), code
        with contextlib.suppress(OSError):
            tls.unwrap()
        tls.close()
        return self._told(reused), code

    @staticmethod
    def _told(reused: bool) -> bool | None:
        return {"claims_it_resumed": True, "denies_it_resumed": False,
                "knows_nothing": None}.get(FAULT, reused)


def say(number: int, seen: tuple[bool | None, int], error: str) -> None:
    """Print the line of the contract."""
    line: dict[str, Any] = {"connection": number, "library": ssl.OPENSSL_VERSION,
                            "resumed": seen[0], "connack": seen[1], "error": error}
    text = {"says_nothing": "", "says_nonsense": "Connected.\n"}.get(FAULT, json.dumps(line) + "\n")
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> None:
    """Make all connections."""
    client, count = Client(), int(CONNECTIONS) + (2 if FAULT == "connects_too_often" else 0)
    for number in range(1, count + 1):
        error = ""
        seen: tuple[bool | None, int] = (False, -1)
        try:
            seen = client.connection()
        except OSError as problem:
            error = str(problem)
        say(number, seen, error)
        if FAULT == "crashes":
            sys.exit(f"cannot go on, with {os.environ.get('MQTT_PASSWORD')}")
        if FAULT == "hangs":
            time.sleep(600)


main()
