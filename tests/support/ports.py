"""Ports for nodes and servers of tests, each handed out once on this machine.

Whoever is handed a port has it to itself until its process ends, long before and after something
listens there: other workers, and other checkouts whose tests run meanwhile, are handed others. A
lock on one byte of a file stands for each port (fcntl(2), advisory record locks).
"""
from __future__ import annotations

import fcntl
import functools
import os
import socket
import tempfile
import threading
from pathlib import Path

PORTS = range(19000, 25000)
"""Below the ephemeral ports, and none that a shipped inventory uses."""
_BOOK = Path(tempfile.gettempdir()) / f"conformance-test-ports-{os.getuid()}"
_ours: set[tuple[int, int]] = set()
_lock = threading.Lock()


def free_ports(count: int) -> list[int]:
    """Return consecutive ports that nobody listens on, for this process alone.

    Raises:
        OSError: there are no so many.
    """
    with _lock:
        # From another place in each process: what ended just now may linger on its ports.
        begin = os.getpid() * 97 % len(PORTS)
        for number in range(len(PORTS)):
            first = PORTS[(begin + number) % len(PORTS)]
            if first + count <= PORTS.stop and _have(range(first, first + count)):
                return list(range(first, first + count))
    raise OSError(f"no {count} free ports between {PORTS.start} and {PORTS.stop}")


@functools.cache
def _book(process: int) -> int:
    """Return the open file. Never closed: that would give all locks of the process up."""
    return os.open(_BOOK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _have(ports: range) -> bool:
    """Take all of these ports, or none."""
    process = os.getpid()
    taken: list[int] = []
    for port in ports:
        # A process may lock what it has locked, so that it has to remember; a child has nothing.
        if (process, port) in _ours or not _locked(process, port):
            break
        taken.append(port)
        if not _nobody_listens(port):
            break
    else:
        _ours.update((process, port) for port in taken)
        return True
    for port in taken:
        fcntl.lockf(_book(process), fcntl.LOCK_UN, 1, port)
    return False


def _locked(process: int, port: int) -> bool:
    try:
        fcntl.lockf(_book(process), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except BlockingIOError:
        return False
    return True


def _nobody_listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
