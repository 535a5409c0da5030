"""The cluster's own epmd, on loopback and on a port of its own.

Erlang would share one epmd per machine, on all addresses, and leave it behind.
"""
from __future__ import annotations

import hashlib
import json
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import ports
from ..base import DriverError
from ..processes import Process
from .build import program
from .launch import detached

LOOPBACK = "127.0.0.1"
# Below 32768, where Linux takes the ports of outgoing connections from.
_FIRST_PORT, _PORTS = 24_000, 6_000
_TRIES = 20
_START_S = 15.0
_ASK_FOR_NAMES = b"\x00\x01n"


@dataclass(frozen=True)
class Epmd:
    """What was recorded of a running epmd."""

    port: int
    process: Process


class ClusterEpmd:
    """Finds, starts and stops the epmd of one cluster directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / ".epmd.json"

    def recorded(self) -> Epmd | None:
        """Return what the file says, alive or not."""
        try:
            data = json.loads(self._file.read_text())
            process = Process.from_dict(data["process"])
            return Epmd(int(data["port"]), process) if process else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def is_running(self) -> bool:
        """Tell whether the recorded one lives.

        It is not asked anything: while many nodes boot at once its answer takes seconds, and to
        start another in its place would take the names of all nodes away.
        """
        known = self.recorded()
        return known is not None and known.process.state() == "running"

    def ensure(self) -> int:
        """Return the port of a running epmd, started if need be on the port it had.

        Raises:
            DriverError: it does not start.
        """
        known = self.recorded()
        if known is not None and self.is_running():
            return known.port
        self.stop()
        for port in self._candidates(known):
            if _is_free(port) and self._start(port):
                return port
        raise DriverError("epmd does not start: no free port found on loopback")

    def stop(self) -> None:
        """End it, if it runs."""
        known = self.recorded()
        if known is not None:
            known.process.signal(signal.SIGKILL)
            known.process.wait_gone(2.0)
        self._file.unlink(missing_ok=True)

    def _candidates(self, known: Epmd | None) -> Iterator[int]:
        if known is not None:
            yield known.port
        # The same cluster of the same checkout tends to get the same port.
        seed = int.from_bytes(hashlib.sha256(str(self._folder).encode()).digest()[:4], "big")
        for attempt in range(_TRIES):
            yield _FIRST_PORT + (seed + attempt * 37) % _PORTS

    def _start(self, port: int) -> bool:
        process = detached(
            [program("epmd"), "-port", str(port), "-address", LOOPBACK], folder=self._folder,
            output=self._folder / ".epmd.log", extra_environment={})
        self._file.write_text(json.dumps({"port": port, "process": process.as_dict()}))
        end = time.monotonic() + _START_S
        while (left := end - time.monotonic()) > 0 and process.state() == "running":
            if _answers(port, left):
                return True
            time.sleep(0.02)
        self.stop()
        return False


def _is_free(port: int) -> bool:
    try:
        # epmd opens ::1 as well, whatever -address says.
        return ports.is_free(LOOPBACK, port) and (
            not _has_ipv6_loopback() or ports.is_free("::1", port))
    except OSError:
        return False


def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _answers(port: int, timeout_s: float) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout_s) as caller:
            caller.sendall(_ASK_FOR_NAMES)
            return caller.recv(4) == port.to_bytes(4, "big")
    except OSError:
        return False
