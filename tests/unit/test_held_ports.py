"""A port that was given up refuses, and is nobody else's by chance."""
from __future__ import annotations

import gc
import socket

import pytest

from tests.support.held_ports import close_and_hold, refusing_port


class Owner:
    """Whoever stopped listening."""


def test_a_refusing_port_refuses_and_is_taken() -> None:
    with refusing_port() as port:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind(("127.0.0.1", port))


def test_a_port_is_held_as_long_as_who_had_it_is_there() -> None:
    listener, owner = socket.create_server(("127.0.0.1", 0)), Owner()
    address = listener.getsockname()
    close_and_hold(listener, owner)
    close_and_hold(listener, owner)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)
    with pytest.raises(OSError, match="in use"), socket.socket() as other:
        other.bind(address)
    with socket.create_server(address):  # on purpose
        socket.create_connection(address, 5).close()
    del owner
    gc.collect()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(address)
