"""Which checks a run is about, as its user chose."""
from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..listeners.nearest import did_you_mean
from .check import Check, Verdict
from .verdict import skipped

NOT_CHOSEN = "not_chosen"
"""Reason of what is skipped because of a choice."""


@dataclass(frozen=True)
class Choice:
    """What was chosen, and what was left out on purpose."""

    names: tuple[str, ...] = ()
    """Ids and families (``CORE``) that the run is about; empty: all."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Ids and families that are left out, and why."""

    def why_not(self, checks: Iterable[Check]) -> dict[str, Verdict]:
        """Return the verdict of each check that does not run, by id.

        What a chosen check needs runs with it, unless it is left out on purpose.
        """
        checks = tuple(checks)
        run = {check.id for check in checks if not self.names or self._names(check)}
        # A check's needs stand before it.
        for check in reversed(checks):
            if check.id in run:
                run.update(need.check for need in check.needs)
        found = {check.id: skipped(NOT_CHOSEN, "resumption_checks names others")
                 for check in checks if check.id not in run}
        for check in checks:
            if why := self.skipped.get(check.id, self.skipped.get(check.family)):
                found[check.id] = skipped(NOT_CHOSEN, f"it is in resumption_skip_checks ({why})")
        return found

    def _names(self, check: Check) -> bool:
        return check.id in self.names or check.family in self.names

    def as_dict(self) -> dict[str, Any]:
        """Return it for the report; empty where nothing was chosen."""
        return {"chosen": {"checks": list(self.names), "skipped": dict(self.skipped)}} \
            if self.names or self.skipped else {}


def problems(names: Iterable[str], left_out: Mapping[str, Any],
             checks: Iterable[Check]) -> list[str]:
    """Return in a sentence each what is wrong with a choice."""
    ids = {check.id: check.family for check in checks}
    known = [*dict.fromkeys(ids.values()), *ids]
    found = [_unknown("resumption_checks", name, known) for name in names if name not in known]
    for name, why in left_out.items():
        if name not in known:
            found.append(_unknown("resumption_skip_checks", name, known))
        elif not (isinstance(why, str) and why.strip()):
            found.append(f"resumption_skip_checks does not say why {name} is left out: write "
                         f'{{{name}: "the reason"}}.')
    return found


def _unknown(variable: str, name: Any, known: Collection[str]) -> str:
    return (f"{variable}: there is no check or family {name}"
            f"{did_you_mean(str(name), known) or '.'}")


def ids_of(chosen: Mapping[str, Any], ids: Iterable[str]) -> list[str]:
    """Return those of the checks that a choice (:meth:`Choice.as_dict`) names."""
    names = chosen["checks"]
    return [check for check in ids if check in names or check.partition("-")[0] in names]


def unmeasured(chosen: Mapping[str, Any], measured: Collection[str]) -> list[str]:
    """Return the names of a choice (:meth:`Choice.as_dict`) of which nothing was measured.

    ``measured`` has the ids of the checks that were, on one subject or more.
    """
    there = {name for check in measured for name in (check, check.partition("-")[0])}
    return [name for name in chosen["checks"] if name not in there]
