"""What several checks ask of a target before they apply to it."""
from __future__ import annotations

from .check import Verdict
from .conversation import CRAFTED
from .target import Target
from .verdict import skipped


def crafted(target: Target) -> str | Verdict | None:
    """Tell why messages that no ordinary client sends cannot be sent, or None."""
    if target.vantage:
        return skipped("tlslite_missing", "it needs tlslite-ng, and from a vantage point is probed "
                                          "with nothing but python3")
    if not CRAFTED:
        return skipped("tlslite_missing", "tlslite-ng is not installed where the probe runs: "
                                          "pip install tlslite-ng==0.8.2")
    return None


def resuming(target: Target) -> str | None:
    """Tell why nothing is expected to resume here, or None."""
    if target.settings.cache_scope == "none":
        return "resumption_cache_scope none declares that nothing resumes"
    return None


def crafted_and_resuming(target: Target) -> str | Verdict | None:
    """Tell why a crafted client cannot resume here, or None."""
    return resuming(target) or crafted(target)
