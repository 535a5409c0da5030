"""Quantiles of a sample, and how sure they are whatever the distribution.

Of n independent values the number below the true quantile is binomial, so two of the ordered values
enclose it with a probability that follows from n alone (order statistics; for example David and
Nagaraja, Order Statistics, 7.1). Nothing is taken for granted about times of handshakes, which
are anything but normal.
"""
from __future__ import annotations

import functools
import math
from collections.abc import Sequence

_TAIL = 0.025
"""Probability with which a 95 % interval may miss the quantile on either side."""


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """Return the nearest-rank percentile of an ascending list, None of an empty one."""
    if not ordered:
        return None
    rank = max(1, -(-len(ordered) * percent // 100))
    return round(ordered[rank - 1], 3)


def interval(ordered: Sequence[float], percent: int) -> tuple[float, float] | None:
    """Return the 95 % interval of a percentile; None when there are too few values for one.

    Args:
        ordered: the sample, ascending.
        percent: which percentile, between 0 and 100.
    """
    ranks = _ranks(len(ordered), percent)
    return None if ranks is None else (ordered[ranks[0] - 1], ordered[ranks[1] - 1])


def least(percent: int) -> int:
    """Return how many values an interval of this percentile takes.

    That all of them are on one side of it must be as rare as a miss on that side may be.
    """
    return math.ceil(math.log(_TAIL) / math.log(max(percent, 100 - percent) / 100))


@functools.lru_cache
def _ranks(count: int, percent: int) -> tuple[int, int] | None:
    """Return the ranks of the two values that enclose the percentile; None when none do."""
    below, low, high = 0.0, 0, None
    for number in range(count):
        below += _exactly(number, count, percent / 100)
        if below <= _TAIL:
            low = number + 1
        if high is None and below >= 1 - _TAIL:
            high = number + 1
    return (low, high) if low and high is not None else None


def _exactly(hits: int, trials: int, share: float) -> float:
    """Return the probability of so many hits (binomial distribution)."""
    return math.exp(math.lgamma(trials + 1) - math.lgamma(hits + 1) - math.lgamma(
        trials - hits + 1) + hits * math.log(share) + (trials - hits) * math.log1p(-share))
