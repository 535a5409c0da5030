"""The hint that turns "unknown" into a sentence one can act on."""
from __future__ import annotations

import difflib
import re
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


_BETWEEN = re.compile(r"[\s,;:|+]+")


def several(name: str) -> list[str]:
    """Return the names that somebody wrote as one, with something else than commas between."""
    parts = [part for part in _BETWEEN.split(name) if part]
    return parts if len(parts) > 1 else []


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean "x"?``, or nothing when no known name is close.

    Names that are all known, and written as one, are to be separated by commas.
    """
    known = list(known)
    parts = several(name)
    if parts and set(parts) <= set(known):
        return f'; did you mean "{", ".join(parts)}", separated by commas?'
    close = nearest(name, known)
    return f'; did you mean "{close}"?' if close else ""
