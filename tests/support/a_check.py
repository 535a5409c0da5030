"""A check of no family, for tests of what runs and judges checks."""
from __future__ import annotations

from typing import Any

from ansible_collections.emqx.conformance.plugins.module_utils.run.check import (
    Check,
    Cost,
    Impact,
    Level,
    Per,
    Status,
    Tell,
    Verdict,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.story import Story, StoryEnd


def a_check(number: int = 1, **declared: Any) -> Check:
    """Return ``X-01``, or so, which passes unless it is declared to do something else."""
    return Check(**{
        "id": f"X-{number:02d}", "title": "X", "requirement": "X.", "clause": "none",
        "level": Level.MUST, "impact": Impact.SAFE, "per": Per.NODE, "cost": Cost(),
        "meaning": "Nothing.", "story": lambda _: "fine", **declared})


def ends_in(verdict: Verdict) -> Tell:
    """Return a story that comes to a verdict."""

    def story(_: Story) -> str:
        if verdict.status is Status.PASSED:
            return verdict.message
        raise StoryEnd(verdict)

    return story
