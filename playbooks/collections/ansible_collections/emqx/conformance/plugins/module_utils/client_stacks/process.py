"""Runs a client of a stack behind a relay: the contract of ``client_stacks/README.md``."""
from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from ..model import Endpoint
from ..mqtt.credentials import Credentials
from ..tls.trust import Trust
from .relay import Passed, Relay
from .words import Said, Stack

START_S = 30.0
"""Seconds that a client's language may take to get going, beside what its connections may take."""
_MOST_SAID = 64 * 1024
"""Bytes of what a client prints that are read."""
_LOOK_S = 0.05
_KILL_S = 5.0


@dataclass(frozen=True)
class Asked:
    """What is the same for all clients."""

    trust: Trust
    """Its CA file is never None: clients know nothing of this machine's store."""
    credentials: Credentials
    deadline_s: float
    """For TCP connect and handshake together, and again for CONNECT to CONNACK."""
    wait: Callable[[Endpoint], None]
    """Returns when one more connection to a node is allowed."""
    stop: threading.Event


class CpuClock:
    """The processor time of a process that is not there yet when one asks for its clock."""

    _SCHED = 2
    """Linux's CPUCLOCK_SCHED: nanoseconds of all threads, ended ones too."""

    def __init__(self) -> None:
        self._clock: int | None = None

    def of(self, pid: int) -> None:
        """Read this process's from now on."""
        # What clock_getcpuclockid(3) returns; Python has that of threads only.
        self._clock = ~pid << 3 | self._SCHED

    def read(self) -> float | None:
        """Return seconds; None: there is no process, or its time cannot be had here."""
        if self._clock is None:
            return None
        try:
            return time.clock_gettime(self._clock)
        except OSError:
            return None


@dataclass(frozen=True)
class Run:
    """What one run of a client came to."""

    passed: tuple[Passed, ...]
    """What its connections showed on the wire, in order."""
    said: Mapping[int, Said] = field(default_factory=dict)
    """What it says of them, by number from 1."""
    beyond: int = 0
    """Connections that it made beyond those that it was asked for."""
    trouble: str = ""
    """What was wrong with the client itself, in a clause; empty: nothing."""


def run(stack: Stack, way: str, route: Sequence[Endpoint], asked: Asked) -> Run:
    """Let a client connect along a route, one connection after the other, and watch it.

    Raises:
        OSError: there is no temporary folder, or no port on loopback.
    """
    cpu = CpuClock()
    with tempfile.TemporaryDirectory(prefix="client-stack-") as folder:
        with Relay(route, wait=asked.wait, deadline_s=asked.deadline_s, stop=asked.stop,
                   cpu=cpu.read) as relay:
            command = [*stack.run, "127.0.0.1", str(relay.port), str(asked.trust.ca_file),
                       route[0].server_name, way, asked.credentials.new_client_id(),
                       str(len(route))]
            trouble = _watched(command, Path(folder), asked, cpu, START_S + 2 * (
                asked.deadline_s * len(route)))
        said, nonsense = _said(_read(Path(folder, "said")))
    return Run(tuple(relay.passed()), said, relay.beyond, trouble or nonsense)


def _watched(command: list[str], folder: Path, asked: Asked, cpu: CpuClock,
             deadline_s: float) -> str:
    """Run a command to its end, or end it, and return what was wrong with that."""
    until = time.monotonic() + deadline_s
    said, complaints = folder / "said", folder / "complaints"
    with said.open("wb") as out, complaints.open("wb") as err:
        try:
            process = subprocess.Popen(  # noqa: S603 - the stack's own
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder,
                env=environment(folder, asked), start_new_session=True)
        except OSError as error:
            return f"it cannot be started: {command[0]}: {(error.strerror or str(error)).lower()}"
        cpu.of(process.pid)
        try:
            while process.poll() is None and time.monotonic() < until and not asked.stop.is_set():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_S)
            code = process.poll()
        finally:
            _end(process)
    if asked.stop.is_set():
        return "the run was asked to stop"
    if code is None:
        return f"it was not done within {deadline_s:g} s"
    if code:
        return f"it ended with exit code {code}{_last(complaints, asked.credentials)}"
    return ""


def environment(folder: Path, asked: Asked) -> dict[str, str]:
    """Return the environment of a client: as it comes, without what this user's adds to it."""
    told = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "LANG": "C.UTF-8",
            "TMPDIR": str(folder)}
    who = {"MQTT_USERNAME": asked.credentials.username, "MQTT_PASSWORD": asked.credentials.password,
           "CLIENT_CERT": asked.trust.cert_file, "CLIENT_KEY": asked.trust.key_file}
    return {**told, **{name: value for name, value in who.items() if value is not None}}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a client and whatever it has started: it has a session of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_KILL_S)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST_SAID)


def _last(complaints: Path, credentials: Credentials) -> str:
    """Return the last line of complaints as the end of a clause; a password is no part of it."""
    lines = _read(complaints).decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    if credentials.password:
        last = last.replace(credentials.password, "***")
    return f": {last[:200]}" if last else ""


def _said(printed: bytes) -> tuple[dict[int, Said], str]:
    """Return what a client says of its connections, and what is wrong with how it says that."""
    found: dict[int, Said] = {}
    for line in printed.decode("utf-8", "replace").splitlines():
        try:
            row = json.loads(line)
            found[int(row["connection"])] = Said.of(row)
        except (ValueError, KeyError, TypeError, AttributeError):
            return found, f"it prints what is no line of the contract: {line[:80]!r}"
    return found, ""
