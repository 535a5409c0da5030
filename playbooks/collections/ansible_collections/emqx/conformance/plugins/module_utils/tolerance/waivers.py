"""Waivers: a user's own decision to live with a failure until a day."""
from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..listeners.nearest import did_you_mean
from ..run.check import Check

_KEYS = ("id", "subject", "why", "expires")
_NEEDED = ("id", "why", "expires")


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


def read(rows: Iterable[Mapping[str, Any]],
         checks: Iterable[Check]) -> tuple[tuple[Waiver, ...], list[str]]:
    """Return the waivers, and in a sentence each what is wrong with those that are none."""
    ids = {check.id for check in checks}
    found: list[Waiver] = []
    problems: list[str] = []
    for number, row in enumerate(rows, 1):
        wrong = _wrong(row, ids)
        problems += [f"resumption_waivers: waiver {number}{words}"
                     f"{'' if words.endswith('?') else '.'}" for words in wrong]
        if not wrong:
            found.append(Waiver(str(row["id"]), row.get("subject") or "*", row["why"],
                                _day(row["expires"])))
    return tuple(found), problems


def _wrong(row: Mapping[str, Any], ids: Collection[str]) -> list[str]:
    wrong = [f" has no {key}" for key in _NEEDED if not row.get(key)]
    wrong += [f' has the unknown key "{key}"{did_you_mean(str(key), _KEYS)}'
              for key in row if key not in _KEYS]
    if row.get("id") and row["id"] not in ids:
        wrong.append(f": there is no check {row['id']}{did_you_mean(str(row['id']), ids)}")
    if row.get("expires"):
        try:
            _day(row["expires"])
        except ValueError:
            wrong.append(f": {row['expires']} is no date like 2027-01-31")
    return wrong


def _day(written: Any) -> datetime.date:
    return datetime.date.fromisoformat(str(written))
