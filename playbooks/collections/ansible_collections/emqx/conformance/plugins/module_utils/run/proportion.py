"""How sure a rate is that was seen in a sample, and how many session caches it implies."""
from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

Z_95 = 1.959964
"""Standard normal quantile of a two-sided 95 % interval."""
SURE = 1e-5
"""Probability below which nothing is an accident, even if it is verified every night."""
CONFIDENCE = 0.95
"""How sure a bound is that is told of all after some were looked at."""
_RARE = 0.2
_SIMPLEST = 5
"""Greatest denominator in which a rate that is not rare is told."""


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion (Wilson 1927), as shares of 1.

    Unlike the usual plus or minus it stays within 0 and 1, and says something of 0 or all hits.

    Args:
        hits: how often it happened.
        trials: of how many; 1 or more.

    Raises:
        ValueError: there were no trials, or more hits than trials.
    """
    if not 0 <= hits <= trials or trials < 1:
        raise ValueError(f"{hits} of {trials} is no proportion")
    rate, z = hits / trials, Z_95
    middle = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    spread = z / (1 + z * z / trials) * math.sqrt(
        rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    # At the ends the two terms are equal but for rounding.
    return (0.0 if hits == 0 else middle - spread), (1.0 if hits == trials else middle + spread)


def most_in_all(whole: int, looked_at: int, hits: int, confidence: float = CONFIDENCE) -> int:
    """Return how many of all there are at most, after ``hits`` among those that were looked at.

    The one-sided bound of the hypergeometric distribution (Clopper and Pearson's without the
    approximation that what was looked at could be looked at again): with any more in all, so few
    would have been met with a probability below ``1 - confidence``.

    Args:
        whole: all of them.
        looked_at: some of these, chosen regardless of where the hits are.
        hits: of those that were looked at.
        confidence: a share of 1.

    Raises:
        ValueError: there are more hits than were looked at, or more of these than there are.
    """
    if not 0 <= hits <= looked_at <= whole:
        raise ValueError(f"{hits} of {looked_at} of {whole} is no sample")
    low, high = hits, whole - (looked_at - hits)
    while low < high:
        middle = (low + high + 1) // 2
        if _so_few(whole, middle, looked_at, hits) >= 1 - confidence:
            low = middle
        else:
            high = middle - 1
    return low


def _so_few(whole: int, marked: int, drawn: int, hits: int) -> float:
    """Return the probability of so many marked or fewer among those drawn (hypergeometric)."""
    def ways(of: int, take: int) -> float:
        return math.lgamma(of + 1) - math.lgamma(take + 1) - math.lgamma(of - take + 1)

    all_ways = ways(whole, drawn)
    return math.fsum(
        math.exp(ways(marked, one) + ways(whole - marked, drawn - one) - all_ways)
        for one in range(max(0, drawn - (whole - marked)), min(hits, marked) + 1))


def _at_most(hits: int, trials: int, share: float) -> float:
    """Return the probability of so many hits or fewer (binomial distribution)."""
    return sum(math.comb(trials, one) * share ** one * (1 - share) ** (trials - one)
               for one in range(hits + 1))


@dataclass(frozen=True)
class Rate:
    """How many of the sessions that were offered resumed."""

    resumed: int
    offers: int

    @property
    def share(self) -> float:
        """The rate itself, as a share of 1."""
        return self.resumed / self.offers

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval."""
        return wilson(self.resumed, self.offers)

    def agrees_with(self, share: float) -> bool:
        """Tell whether this may be the true rate: if it is, no is said with probability SURE."""
        return min(_at_most(self.resumed, self.offers, share),
                   _at_most(self.offers - self.resumed, self.offers, 1 - share)) >= SURE / 2

    @property
    def caches(self) -> float | None:
        """Equally used session caches that give this rate, where connections land at random.

        Of a session made on cache i with probability p_i, and offered on a connection that lands
        on cache j with probability p_j, the chance to resume is the sum of all p_i²: 1/k when k
        caches are used equally, and 1/k with an "effective number" k (the inverse Simpson index)
        when they are not. None when nothing resumed.
        """
        return self.offers / self.resumed if self.resumed else None

    @property
    def caches_interval(self) -> tuple[float, float | None]:
        """The 95 % interval of that number; None: without end."""
        low, high = self.interval
        return 1 / high, 1 / low if low else None

    def in_words(self) -> str:
        """Return the rate as people say it, such as ``about 1 in 3 resumes``."""
        if self.resumed in (0, self.offers):
            return "all resume" if self.resumed else "none resumes"
        if self.share < _RARE:
            return f"about 1 in {round(1 / self.share)} resumes"
        simple = Fraction(self.resumed, self.offers).limit_denominator(_SIMPLEST)
        if simple == 1:
            return "nearly all resume"
        verb = "resumes" if simple.numerator == 1 else "resume"
        return f"about {simple.numerator} in {simple.denominator} {verb}"
