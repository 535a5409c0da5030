"""Ports on which nobody listens, and nobody else begins to while a test counts on that.

A port that was closed is free for the next server that asks for any, of a test beside this one.
"""
from __future__ import annotations

import contextlib
import socket
import weakref
from collections.abc import Iterator


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """Yield a port of 127.0.0.1 that refuses connections."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def close_and_hold(listener: socket.socket, owner: object) -> None:
    """Stop listening, unless that has been done, and hold the port as long as there is an owner.

    Who wants to listen there on purpose can.
    """
    if listener.fileno() == -1:
        return
    address = listener.getsockname()
    with contextlib.suppress(OSError):  # wakes who waits in accept()
        listener.shutdown(socket.SHUT_RDWR)
    held = socket.socket(listener.family)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.close()
    held.bind(address)
    weakref.finalize(owner, held.close)
