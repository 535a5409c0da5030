"""Who has a port."""
from __future__ import annotations

import os
import socket

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers import ports


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not ports.is_free("127.0.0.1", port)
        assert not ports.is_free("0.0.0.0", port)  # noqa: S104
        assert [process.pid for process in ports.holders(port)] == [os.getpid()]
    assert ports.is_free("127.0.0.1", port)
    assert ports.holders(port) == []


def test_a_connection_is_no_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, \
            socket.create_connection(server.getsockname()) as client:
        assert ports.holders(client.getsockname()[1]) == []


def test_an_address_of_another_machine() -> None:
    with pytest.raises(OSError, match="assign requested address"):
        ports.is_free("192.0.2.1", 20_000)
