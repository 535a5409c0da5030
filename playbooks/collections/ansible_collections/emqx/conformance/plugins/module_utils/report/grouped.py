"""Findings as people read them: by check, what is the same told once."""
from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..run.choosing import NOT_CHOSEN
from . import known

WORST_FIRST = ("failed", "error", "known", "warned", "skipped", "info", "passed")
AFTERMATH = "needs_"
"""What the reasons of findings begin with that follow from another finding."""


_FIGURES = re.compile(r"\d[\d.,]*")


@dataclass(frozen=True)
class Tally:
    """What a check came to on all its subjects."""

    worst: str
    """The worst status, of what was measured if anything was: a pass counts for more than that
    other nodes have nothing to measure."""
    count: int
    """Subjects that have it."""
    of: int
    """Subjects that were measured, or all that were skipped where none was."""
    skipped: int
    """Subjects that were skipped while others were measured."""


def tally(statuses: Sequence[str]) -> Tally:
    """Return what the statuses of a check's findings come to."""
    measured = [status for status in statuses if status != "skipped"] or statuses
    worst = next(status for status in WORST_FIRST if status in measured)
    return Tally(worst, measured.count(worst), len(measured), len(statuses) - len(measured))


@dataclass(frozen=True)
class Group:
    """Findings of one check that say the same of different subjects."""

    status: str
    rows: tuple[dict[str, Any], ...]

    @property
    def message(self) -> str:
        """The first subject's sentences."""
        return str(self.rows[0]["message"])

    @property
    def alike(self) -> str:
        """How the other subjects compare with the first, whose sentences the message has."""
        # What a check measured is in its data.
        return "other figures of" if "data" in self.rows[0] else "the same"

    @property
    def others(self) -> list[str]:
        """The other subjects."""
        return [row["subject"] for row in self.rows[1:]]


@dataclass(frozen=True)
class Checked:
    """What a check has found."""

    id: str
    title: str
    tally: Tally
    groups: tuple[Group, ...]
    """Without what follows from other findings; the worst first."""


@dataclass
class Findings:
    """All findings of a result."""

    checks: list[Checked] = field(default_factory=list)
    """Those of which there is more to say than that they were skipped for the reasons below."""
    consequences: dict[str, list[str]] = field(default_factory=dict)
    """By check: the subjects on which it was skipped since a check that it needs did not pass."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """By a clause that says why: the checks that the allowed impact, or a choice, leaves out."""


def grouped(checks: Iterable[dict[str, Any]]) -> Findings:
    """Return the rows ``checks`` of a result, grouped."""
    by_check: dict[str, list[dict[str, Any]]] = {}
    for row in checks:
        by_check.setdefault(row["id"], []).append(row)
    found = Findings()
    for check, rows in by_check.items():
        if {row["reason"] for row in rows} in ({"impact_not_allowed"}, {NOT_CHOSEN}):
            found.left_out.setdefault(rows[0]["message"], []).append(check)
            continue
        after = [row["subject"] for row in rows if row["reason"].startswith(AFTERMATH)]
        if after:
            found.consequences[check] = after
        if len(after) < len(rows):
            found.checks.append(_checked(check, rows))
    return found


def landed(data: Mapping[str, Any]) -> dict[str, int]:
    """Return where LB-01's connections without a session landed, as far as nodes could be asked."""
    found = dict(data["landed"] or {})
    if data["landed_elsewhere"]:
        found["no node of the inventory"] = data["landed_elsewhere"]
    return found


def why_left_out(why: str, checks: list[str]) -> str:
    """Return the clause in the number of the checks: "it is noisy, ...", "they are noisy, ..."."""
    return why if len(checks) == 1 else why.replace("it is ", "they are ", 1)


def _checked(check: str, rows: list[dict[str, Any]]) -> Checked:
    alike: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if not row["reason"].startswith(AFTERMATH):
            alike.setdefault((row["status"], _kind(row), known.explanation(row)), []).append(row)
    groups = sorted((Group(status, tuple(members)) for (status, _, _), members in alike.items()),
                    key=lambda group: WORST_FIRST.index(group.status))
    return Checked(check, rows[0]["title"], tally([row["status"] for row in rows]), tuple(groups))


def _kind(row: dict[str, Any]) -> str:
    """Return what makes findings of one status alike.

    Of what was judged it is the reason. What passed or is only told has none: it differs between
    subjects by what is said besides their names and, where figures were measured, besides those.
    """
    if row["status"] not in ("passed", "info"):
        return str(row["reason"])
    told = row["message"]
    for name in sorted(row["subject"].split("->"), key=len, reverse=True):
        told = _named(name).sub("", told)
    return _FIGURES.sub("", told) if "data" in row else told


@functools.lru_cache(maxsize=4096)
def _named(name: str) -> re.Pattern[str]:
    """Return what finds a name as a word. There are far more pairs than names to compile it of."""
    return re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w-])")
