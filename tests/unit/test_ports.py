"""Ports that are handed out once on this machine."""
from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from tests.support import ports
from tests.support.playbooks import ROOT

OTHER = "from tests.support import ports; print(*ports.free_ports(200), flush=True); input()"


def test_no_port_is_handed_out_twice() -> None:
    first, second = ports.free_ports(3), ports.free_ports(3)
    assert first == list(range(first[0], first[0] + 3))
    assert not set(first) & set(second)


def test_another_process_is_handed_others_as_long_as_the_first_lives() -> None:
    with subprocess.Popen([sys.executable, "-c", OTHER], cwd=ROOT, text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        theirs = {int(port) for port in other.stdout.readline().split()}
        assert len(theirs) == 200
        # Too many to miss by chance.
        ours = {port for _ in range(25) for port in ports.free_ports(40)}
        assert not ours & theirs
        assert not ports._have(range(min(theirs), min(theirs) + 1))
        other.communicate("\n")
    assert ports._have(range(min(theirs), min(theirs) + 1))


def test_where_somebody_listens_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    [port] = ports.free_ports(1)
    with socket.create_server(("127.0.0.1", port)):
        monkeypatch.setattr(ports, "_ours", set())
        assert not ports._have(range(port, port + 1))
    assert ports._have(range(port, port + 1))


def test_there_are_not_so_many() -> None:
    with pytest.raises(OSError, match="no 7000 free ports between 19000 and 25000"):
        ports.free_ports(7000)
