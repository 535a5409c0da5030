"""What becomes of the measurements: medians over rounds, ratios within a round, floors met or not.

Whatever else runs on the machine slows down what is measured beside it. So two figures are only
ever compared within one round, where they were measured right after each other.
"""
from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One run of one client in one round."""

    wall_s: float
    """Seconds of wall clock."""
    handshakes: int = 0
    """As the server counted them; 0 where they are not what is measured."""
    cpu_s: float = 0.0
    """Seconds of CPU that the client took, user and system; 0 where that is not measured."""
    connections: int = 0
    """How many handshakes the server counted in all, those included that only prepare."""

    @property
    def per_second(self) -> float:
        """Handshakes a second of wall clock."""
        return self.handshakes / self.wall_s

    @property
    def cpu_us(self) -> float:
        """Microseconds of client CPU a handshake."""
        return self.cpu_s / self.handshakes * 1e6

    @property
    def wall_ms(self) -> float:
        """Milliseconds of wall clock."""
        return self.wall_s * 1e3

    @property
    def pair_ms(self) -> float:
        """Milliseconds of wall clock a pair; of a matrix, whose pairs are what is counted."""
        return self.wall_ms / self.handshakes


Rounds = Sequence[Mapping[str, Sample]]
"""By round and by client; a client that was not to be had is in none."""
Figure = Callable[[Mapping[str, Sample]], float]
"""What one round says. Raises KeyError when a client that it takes was not to be had."""


@dataclass(frozen=True)
class Claim:
    """What is to hold, and the ratio by which it is judged."""

    name: str
    what: str
    """The ratio, in words."""
    figure: Figure
    floor: float
    at_least: bool
    """Whether more is better."""
    aim: float | None = None


@dataclass(frozen=True)
class Judged:
    """A claim's outcome."""

    name: str
    what: str
    floor: str
    ratio: float | None
    """Median over the rounds; None when it could not be measured."""
    spread: tuple[float, float] | None
    """The rounds' least and greatest."""
    verdict: str
    """``met``, ``aim met``, ``missed`` or ``not measured: …``."""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def median(rounds: Rounds, name: str, figure: Callable[[Sample], float]) -> float | None:
    """Return the median of one client's figure over the rounds; None when it was in none."""
    values = [figure(measured[name]) for measured in rounds if name in measured]
    return statistics.median(values) if values else None


def judge(claim: Claim, rounds: Rounds, missing: Mapping[str, str]) -> Judged:
    """Return what came of a claim.

    Args:
        claim: what is to hold.
        rounds: what was measured.
        missing: by client, why it was not to be had.
    """
    bounds = _bounds(claim)
    try:
        ratios = [claim.figure(measured) for measured in rounds]
    except KeyError as error:
        why = missing.get(error.args[0], f"there is no {error.args[0]}")
        return Judged(claim.name, claim.what, bounds, None, None, f"not measured: {why}")
    ratio = statistics.median(ratios)
    met = ratio >= claim.floor if claim.at_least else ratio <= claim.floor
    verdict = "met" if met else "missed"
    if met and claim.aim is not None and (
            ratio >= claim.aim if claim.at_least else ratio <= claim.aim):
        verdict = "aim met"
    return Judged(claim.name, claim.what, bounds, ratio, (min(ratios), max(ratios)), verdict)


def _bounds(claim: Claim) -> str:
    sign = ">=" if claim.at_least else "<="
    aim = f", aim {claim.aim:g}" if claim.aim is not None else ""
    return f"{sign} {claim.floor:g}{aim}"
