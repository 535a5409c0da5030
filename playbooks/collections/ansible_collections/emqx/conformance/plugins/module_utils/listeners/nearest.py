"""The hint that turns "unknown" into a sentence one can act on."""
from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known name a typing error most likely meant, or None when none is close.

    ``cutoff`` is difflib's ratio, from 0 to 1, that a close name has at least.
    """
    candidates = sorted(known)
    folded = {candidate.lower(): candidate for candidate in candidates}
    if name.lower() in folded:
        return folded[name.lower()]
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=cutoff)
    return close[0] if close else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean "x"?``, or nothing when no known name is close."""
    close = nearest(name, known)
    return f'; did you mean "{close}"?' if close else ""
