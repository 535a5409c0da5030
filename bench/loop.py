"""One handshake after the other with one node, in a process of its own.

    python -m bench.loop {witnessed|bare|socket} {resumed|full} PORT CA COUNT

prints what COUNT of them took: seconds of wall clock and of this process's CPU, start-up excluded.
No MQTT is spoken, as s_time speaks none.
"""
from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
import time
from collections.abc import Callable

from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint, Outcome
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust
from ansible_collections.emqx.conformance.plugins.module_utils.tls.wire import Deadline, Wire

DEADLINE_S = 5.0
Handshake = Callable[[], None]
"""Makes one, and raises when it was not what it should be."""


class NotAsAskedError(Exception):
    """A handshake was not what is measured."""


def witnessed(endpoint: Endpoint, ca: str, *, resumed: bool) -> Handshake:
    """Return the probe's own engine with all three witnesses."""
    engine = OrdinaryEngine(Trust(ca))
    first = engine.connect(endpoint)
    if first.stream is None or first.session is None:
        raise NotAsAskedError(first.handshake.why)
    first.stream.close()
    session = first.session if resumed else None
    expected = Outcome.RESUMED if resumed else Outcome.FULL

    def handshake() -> None:
        attempt = engine.connect(endpoint, offer=session, keep_session=resumed)
        if attempt.stream is None or attempt.handshake.outcome is not expected:
            raise NotAsAskedError(attempt.handshake.why)
        attempt.stream.close()

    return handshake


def _context(ca: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET
    return context


def bare(endpoint: Endpoint, ca: str, *, resumed: bool) -> Handshake:
    """Return the same engine without a witness: buffers, deadlines and socket are the probe's."""
    context = _context(ca)

    def connect(session: ssl.SSLSession | None) -> ssl.SSLObject:
        deadline = Deadline(DEADLINE_S)
        wire = Wire(endpoint, deadline)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname=endpoint.server_name,
                               session=session)
        try:
            while True:
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    wire.send(outgoing.read(), deadline)
                else:
                    break
                incoming.write(wire.receive(deadline))
            wire.send(outgoing.read(), deadline)
            with contextlib.suppress(ssl.SSLError):
                tls.unwrap()
            wire.send(outgoing.read(), deadline)
        finally:
            wire.close()
        return tls

    session = connect(None).session if resumed else None

    def handshake() -> None:
        if bool(connect(session).session_reused) is not resumed:
            raise NotAsAskedError("the library says otherwise")

    return handshake


def ssl_socket(endpoint: Endpoint, ca: str, *, resumed: bool) -> Handshake:
    """Return what a Python program does that only wants to be connected."""
    context = _context(ca)

    def connect(session: ssl.SSLSession | None) -> ssl.SSLSession | None:
        with socket.create_connection((endpoint.host, endpoint.port), DEADLINE_S) as raw, \
                context.wrap_socket(raw, server_hostname=endpoint.server_name,
                                    session=session) as tls:
            if bool(tls.session_reused) is not (session is not None):
                raise NotAsAskedError("the library says otherwise")
            return session or tls.session

    session = connect(None) if resumed else None

    def handshake() -> None:
        connect(session)

    return handshake


ENGINES: dict[str, Callable[..., Handshake]] = {
    "witnessed": witnessed, "bare": bare, "socket": ssl_socket}


def main(engine: str, kind: str, port: str, ca: str, count: str) -> None:
    """Run the loop and print what it took."""
    handshake = ENGINES[engine](Endpoint("node", "127.0.0.1", int(port), "localhost"), ca,
                                resumed=kind == "resumed")
    begun, cpu = time.monotonic(), time.process_time()
    for _ in range(int(count)):
        handshake()
    took = {"wall_s": time.monotonic() - begun, "cpu_s": time.process_time() - cpu}
    print(json.dumps(took))


if __name__ == "__main__":
    main(*sys.argv[1:])
