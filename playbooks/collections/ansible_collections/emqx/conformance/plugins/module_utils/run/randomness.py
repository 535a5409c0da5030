"""Are session IDs all different, and could somebody guess the next one?

What statistics can show is that IDs are *not* random. Every test here is one that independent
uniform bits fail with a probability below :data:`FALSE_ALARM`, all taken together; an ID that
passes may still come of a bad generator whose output looks random.
"""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

ENOUGH_BITS = 128
"""Bits of an ID that must vary freely. RFC 5246 names no number; as many as its 16 bytes of
AES-128 key, and half of what OpenSSL, GnuTLS and OTP draw. What a stack puts into the others (a
node's number, a time) is its own affair."""
FALSE_ALARM = 1e-10
"""Probability with which IDs of 16 or more random bytes would be found wanting, at most. (Longer
ones, of which bits are to spare: far less.) That of a chance repetition is below 2^-110."""
_LAGS = (1, 2, 4, 8, 16, 32, 64)
"""Distances at which a bit is compared with itself: bit k of a counter flips every 2^k IDs."""


@dataclass(frozen=True)
class Reading:
    """What a sample of IDs shows. They are in the order in which they were issued."""

    repeated: tuple[bytes, ...]
    """IDs that are there more than once."""
    shortest: int
    longest: int
    """Bytes."""
    steps: bool
    """Whether most IDs are a small step up, down, or the same step away from the one before."""
    varying_bits: int
    """Bits that are one about half the time, and do not follow from the IDs before."""
    independent_bits: int
    """How many of these no linear combination of the others gives; one less than the number of
    IDs at most."""


def read(ids: Sequence[bytes], seen_before: Sequence[bytes] = ()) -> Reading:
    """Return what a sample shows.

    Args:
        ids: the sample, in order; only those of its most frequent length are looked into.
        seen_before: further IDs, which must not be among them or repeat each other.

    Raises:
        ValueError: there is none.
    """
    if not ids:
        raise ValueError("there is no session ID to look at")
    counts = Counter([*seen_before, *ids])
    lengths = [len(session_id) for session_id in ids]
    [(length, _)] = Counter(lengths).most_common(1)
    alike = [session_id for session_id in ids if len(session_id) == length]
    numbers = [int.from_bytes(session_id, "big") for session_id in alike]
    varying = _varying(numbers, 8 * length)
    return Reading(
        tuple(session_id for session_id, count in counts.items() if count > 1),
        min(lengths), max(lengths), _steps(alike), bin(varying).count("1"),
        _rank([(number ^ numbers[0]) & varying for number in numbers[1:]]))


def _steps(ids: Sequence[bytes]) -> bool:
    """Tell whether the IDs are a counter's, up or down, in either byte order and with gaps.

    Three in four steps short and in one direction, or all the same: of 255, uniform IDs of as
    little as one byte do so with a probability below 2^-1000.
    """
    bits = 8 * len(ids[0])
    modulus, short = 1 << bits, 1 << bits // 8
    for order in ("big", "little"):
        numbers = [_number(session_id, order) for session_id in ids]
        steps = [(after - before) % modulus for before, after in zip(numbers, numbers[1:])]
        if not steps:
            return False
        up = sum(step <= short for step in steps)
        down = sum(modulus - step <= short for step in steps)
        [(_, same)] = Counter(steps).most_common(1)
        if 4 * max(up, down, same) > 3 * len(steps):
            return True
    return False


def _number(session_id: bytes, order: str) -> int:
    return int.from_bytes(session_id if order == "big" else session_id[::-1], "big")


def _varying(numbers: Sequence[int], bits: int) -> int:
    """Return a mask of the bits that look like tossed coins, each by itself.

    Hoeffding: of n coins, more than sqrt(n/2 ln(2/p)) beyond the half with a probability below p.
    """
    alone = FALSE_ALARM / (bits * (1 + len(_LAGS)))
    mask = 0
    for bit in range(bits):
        coins = [number >> bit & 1 for number in numbers]
        rows = [coins, *([one ^ other for one, other in zip(coins, coins[lag:])]
                         for lag in _LAGS if lag < len(coins))]
        if all(abs(sum(row) - len(row) / 2) <= math.sqrt(len(row) / 2 * math.log(2 / alone))
               for row in rows):
            mask |= 1 << bit
    return mask


def _rank(rows: Sequence[int]) -> int:
    """Return the rank over GF(2): what is left when no bit follows from others.

    Random rows of 128 bits, 255 of them, lack full rank with a probability below 2^-127.
    """
    basis: dict[int, int] = {}
    for row in rows:
        rest = row
        while rest and (known := basis.get(rest.bit_length())) is not None:
            rest ^= known
        if rest:
            basis[rest.bit_length()] = rest
    return len(basis)
