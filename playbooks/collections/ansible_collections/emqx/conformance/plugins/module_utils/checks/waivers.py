"""Waivers: a user's own decision to live with a failure until a day."""
from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..listeners.nearest import did_you_mean
from .registry import Check


@dataclass(frozen=True)
class Waiver:
    """A user's decision to live with a failure until a day."""

    id: str
    subject: str
    """A finding's subject, or ``*``."""
    why: str
    expires: datetime.date
    """The last day on which it counts (UTC)."""

    def concerns(self, check: Check, subject: str) -> bool:
        """Tell whether this waiver is about ``check`` on ``subject``, expired or not."""
        return self.id == check.id and self.subject in ("*", subject)

    def expired(self, today: datetime.date) -> bool:
        """Tell whether it no longer counts."""
        return today > self.expires

    @property
    def what(self) -> str:
        """``CORE-03 on n1->n2``."""
        return self.id if self.subject == "*" else f"{self.id} on {self.subject}"


def check_of(row: Mapping[str, Any], ids: Collection[str]) -> str:
    """Return the id of the check that a waiver names, or raise ValueError with a sentence."""
    if row["id"] not in ids:
        raise ValueError(f"there is no check {row['id']}{did_you_mean(str(row['id']), ids)}")
    return str(row["id"])


def day_of(row: Mapping[str, Any]) -> datetime.date:
    """Return a waiver's last day, or raise ValueError with a sentence."""
    try:
        return datetime.date.fromisoformat(str(row["expires"]))
    except ValueError:
        raise ValueError(f"{row['expires']} is no date like 2027-01-31") from None
