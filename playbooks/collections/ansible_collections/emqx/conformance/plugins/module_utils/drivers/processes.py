"""Processes that outlive us, recognised again without doubt.

A pid alone proves nothing: it may be somebody else's by now. The boot and the start time
beside it do (proc(5), /proc/pid/stat field 22).
"""
from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROC = Path("/proc")
NODE_COMMANDS = ("beam.smp", "epmd")
"""What embedded nodes are."""
# Linux's include/linux/sched.h; shown in /proc/pid/stat field 9.
_PF_EXITING = 0x4
_CPUCLOCK_SCHED = 2
"""Linux's include/linux/posix-timers_types.h: the scheduler's own account."""


@dataclass(frozen=True)
class Process:
    """One process of this machine, for ever."""

    pid: int
    born: str
    """Boot id and start time in clock ticks."""

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """Return the process that has this pid now."""
        stat = _stat(pid)
        return cls(pid, f"{_boot_id()}/{stat[19]}") if stat else None

    @classmethod
    def from_dict(cls, data: Any) -> Process | None:
        """Return what :meth:`as_dict` gave, or None."""
        if not isinstance(data, dict) or not isinstance(data.get("pid"), int):
            return None
        return cls(data["pid"], str(data.get("born")))

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"pid": self.pid, "born": self.born}

    def state(self) -> str:
        """Return ``running``, ``paused``, ``ending`` or ``gone``.

        A process that is ending will do nothing more, but still holds its ports.
        """
        stat = _stat(self.pid)
        if stat is None or f"{_boot_id()}/{stat[19]}" != self.born:
            return "gone"
        if stat[0] in "ZX":
            # The first thread is a zombie while others still hold the sockets: measured with
            # beam.smp, in every second kill.
            return "ending" if int(stat[17]) > 1 else "gone"
        if int(stat[6]) & _PF_EXITING or _is_killed(self.pid):
            return "ending"
        return "paused" if stat[0] in "Tt" else "running"

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal; return whether there was anybody to take it."""
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:
            return False
        try:
            # Looked at after the handle was had: from here on the pid cannot change hands.
            if self.state() == "gone":
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True

    def wait_gone(self, timeout_s: float) -> bool:
        """Return True when it is gone, False when it still is there at the deadline."""
        end = time.monotonic() + timeout_s
        while self.state() != "gone":
            if time.monotonic() >= end:
                return False
            time.sleep(0.02)
            reap(self.pid)
        return True

    def cpu_s(self) -> float | None:
        """Return the processor time of all its threads so far, in seconds; None when it is gone."""
        try:
            # clock_getcpuclockid(3): nanoseconds, where /proc/pid/stat counts in hundredths.
            seconds = time.clock_gettime(~self.pid << 3 | _CPUCLOCK_SCHED)
        except OSError:
            return None
        # Looked at afterwards: what was read was this process's, if it still is.
        return None if self.state() == "gone" else seconds

    def describe(self) -> str:
        """Return ``pid 4711 (beam.smp), working in /srv/x`` as far as it may be seen."""
        words = f"pid {self.pid}"
        with contextlib.suppress(OSError):
            words += f" ({(PROC / str(self.pid) / 'comm').read_text().strip()})"
        with contextlib.suppress(OSError):
            words += f", working in {(PROC / str(self.pid) / 'cwd').readlink()}"
        return words


def reap(pid: int) -> None:
    """Collect the exit status if it is our child, so that no zombie stays."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def working_under(folder: Path, commands: Collection[str] = NODE_COMMANDS) -> list[Process]:
    """Return the processes of these names whose working directory is the folder or below it.

    Finds what no pid file knows: a node started in the moment its starter was killed, or
    whose files somebody deleted.
    """
    wanted = str(folder)
    found = []
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            where = str((entry / "cwd").readlink()).removesuffix(" (deleted)")
            command = (entry / "comm").read_text().strip()
            if command in commands and (
                    where == wanted or where.startswith(wanted + "/")):
                process = Process.of(int(entry.name))
                if process is not None:
                    found.append(process)
    return found


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/pid/stat from the third (state) on."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The second field is the command in parentheses and may hold anything.
    return text.rpartition(")")[2].split()


def _is_killed(pid: int) -> bool:
    """Tell whether SIGKILL was sent and has not worked yet."""
    try:
        text = (PROC / str(pid) / "status").read_text()
    except OSError:
        return False
    pending = (line.split()[1] for line in text.splitlines()
               if line.startswith(("SigPnd:", "ShdPnd:")))
    return any(int(mask, 16) >> (signal.SIGKILL - 1) & 1 for mask in pending)


def _boot_id() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()
