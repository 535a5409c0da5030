"""The kernel's own account of what a container takes.

The engine's (``docker stats``) is renewed once a second, too seldom to tell single handshakes.
"""
from __future__ import annotations

from pathlib import Path

from ..base import DriverError

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def cpu_s(container_id: str, pid: int, *, proc: Path = PROC, cgroups: Path = CGROUPS) -> float:
    """Return the processor time of all processes of a container so far, in seconds.

    Args:
        container_id: its whole id.
        pid: its first process, as the engine numbers it.
        proc: where the kernel tells of processes.
        cgroups: where it tells of control groups, of version 1 or 2.

    Raises:
        DriverError: the engine's processes are not this kernel's, or cannot be looked at.
    """
    try:
        groups = (proc / str(pid) / "cgroup").read_text().splitlines()
        for controllers, path in (line.split(":", 2)[1:] for line in groups):
            # Another kernel's process of this number is in another group.
            if container_id not in path:
                continue
            if "cpuacct" in controllers.split(","):
                usage = cgroups / "cpuacct" / path.lstrip("/") / "cpuacct.usage"
                return int(usage.read_text()) / 1e9
            told = cgroups / path.lstrip("/") / "cpu.stat"
            if not controllers and told.exists():
                return int(dict(line.split() for line in told.read_text().splitlines())
                           ["usage_usec"]) / 1e6
    except (OSError, ValueError, KeyError) as error:
        raise DriverError(f"the container's processor time cannot be read: {error}") from None
    raise DriverError("the container's control group cannot be seen from here: does the engine run "
                      "in a machine of its own?")
