"""What resumption saves a fleet, reckoned from what it saves one reconnecting device."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .target import Fleet

_DAY_S = 86_400
_TIMED_MS = 0.01
_NOTICED = 0.005
"""CPU cores."""
_BYTES = ("bytes", "kB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True)
class Savings:
    """What a resumed handshake takes less than a full one; negative where it takes more."""

    ms: float
    """Of the time until the device may speak, less the round trip that it saves beside."""
    octets: int
    """Both ways."""
    cpu_ms: float | None
    """Of the node's processor time; None: not known."""

    def of(self, fleet: Fleet) -> dict[str, Any]:
        """Return what that comes to when all of the fleet resume, as JSON."""
        cpu_s = None if self.cpu_ms is None else self.cpu_ms / 1000
        return {"devices": fleet.devices, "minutes": fleet.minutes,
                "cpu_cores": None if cpu_s is None else round(cpu_s * fleet.per_s, 4),
                "cpu_s_all_at_once": None if cpu_s is None else round(cpu_s * fleet.devices, 1),
                "bytes_per_day": round(self.octets * fleet.per_s * _DAY_S)}

    def sentence(self, fleet: Fleet) -> str:
        """Say it plainly, for one who knows how many devices there are and nothing of TLS."""
        total = self.of(fleet)
        parts = []
        if self.cpu_ms is not None and self.cpu_ms > 0:
            cores = total["cpu_cores"]
            always = f"{_figure(cores)} CPU cores all the time, and " if cores >= _NOTICED else ""
            parts.append(f"the nodes {always}{_duration(self.cpu_ms * fleet.devices / 1000)} of "
                         "CPU time when all come back at once")
        if self.octets > 0:
            parts.append(f"the network {_size(total['bytes_per_day'])} a day")
        faster = f"{_figure(self.ms)} ms and " if self.ms > _TIMED_MS else ""
        parts.append(f"each reconnect {faster}a round trip")
        every = "minute" if fleet.minutes == 1 else f"{fleet.minutes:,} minutes"
        who = f"{fleet.devices:,} devices that reconnect every {every} and resume" \
            if fleet.devices > 1 else f"1 device that reconnects every {every} and resumes"
        before = "".join(f"{part}; " for part in parts[:-1])
        return f"For {who}, that saves {before}{'and ' if before else ''}{parts[-1]}"


def _figure(number: float) -> str:
    """Return a number with two figures that matter; 0.001 or more."""
    if number >= 10:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 1 else f"{number:.2g}"


def _duration(seconds: float) -> str:
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{_figure(seconds / length)} {unit}"
    return f"{_figure(seconds)} seconds" if seconds >= 1 else f"{_figure(1000 * seconds)} ms"


def _size(octets: float) -> str:
    for unit in _BYTES:
        if octets < 1000 or unit == _BYTES[-1]:
            return f"{_figure(octets)} {unit}"
        octets /= 1000
    raise AssertionError("the last unit takes every number")
