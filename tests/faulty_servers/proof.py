"""Shows that the table is red without any one of the checks.

``python -m tests.faulty_servers.proof [CHECK …]`` leaves out one check's assertion after the
other, tries a server that this check must complain of, and says what differs from the table.
"""
from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue

from tests.faulty_servers import table
from tests.faulty_servers.table import Row
from tests.faulty_servers.trial import Trial
from tests.faulty_servers.trials import run_all

OTHERWISE_TRIED = {
    **dict.fromkeys(("SEC-01", "SEC-02", "SEC-05", "SEC-06"),
                    "needs trust domains: tests/unit/checks/test_trust.py"),
    **dict.fromkeys(("LIFE-01", "LIFE-02", "LIFE-05"),
                    "needs a driver: tests/unit/checks/test_life.py"),
}
"""Checks that no server of the table can make fail, why, and what tries them instead."""
_NEEDS = "who does so fails a check that this one needs"
_SHORT = "who forgets so soon fails others before; tests/unit/checks/test_controls.py"
_UNISSUED = "who resumes an ID that it never issued has no master secret to do so with"
_LOST = "a session is made again only where our own library has dropped it"
UNTRIED_REASONS = {
    ("CORE-01", "session_id_too_long"): "the reader of messages refuses such an ID before",
    ("CORE-01", "client_certificate_demanded"): "tests/unit/checks/test_client_certificate.py",
    ("CORE-01", "client_certificate_refused"): "tests/unit/checks/test_client_certificate.py",
    ("CORE-08", "other_version"): "never the first flaw: who prefers another version speaks it",
    ("NEG-01", "resumed"): _UNISSUED, ("NEG-03", "resumed"): _UNISSUED,
    ("NEG-06", "nothing_resumes"): "tests/unit/checks/test_controls.py",
    ("NEG-09", "no_name_known"): "tests/unit/checks/test_negative.py",
    ("NEG-12", "broken_all_together"): "never the first flaw: a part of it is one before",
    ("NEG-12", "not_resumed_all_together"): "never the first flaw: a part of it is one before",
    ("NEG-12", "not_resumed_in_tiny_records"): "who reads them at all has read the whole hello",
    ("LB-01", "no_session_id"): "who issues none to a balancer issues none in CORE-01",
    ("PERF-01", "measured"): "what so few handshakes show is chance: "
                             "tests/unit/checks/test_performance.py",
    ("LIFE-03", "too_slow"): "tests/unit/checks/test_life_cache.py",
    ("LIFE-04", "too_slow"): "tests/unit/checks/test_life_cache.py",
    **{(check, "expired"): _SHORT for check in (
        "NEG-04", "NEG-05", "NEG-06", "NEG-07", "NEG-08", "NEG-09", "NEG-10")},
    **{(check, "not_resumed"): _NEEDS for check in (
        "NEG-04", "NEG-06", "NEG-08", "NEG-09", "NEG-10", "NEG-12")},
    **{(check, "no_session_id"): _NEEDS for check in (
        "NEG-04", "NEG-05", "NEG-06", "NEG-07", "NEG-08", "NEG-09", "NEG-10", "NEG-12", "SEC-03",
        "PERF-01", "LIFE-01", "LIFE-02", "LIFE-03", "LIFE-04", "LIFE-05")},
    **{(check, "no_session_id"): _LOST for check in ("SEC-01", "SEC-02", "SEC-05", "SEC-06")},
}
"""Reasons that no server of the table brings about, by check: why, or what tries them instead."""
_ROOT = Path(__file__).parents[2]
_FILE = re.compile(r"tests/\S+\.py")


def untried_checks(rows: Iterable[Row]) -> set[str]:
    """Return the checks that no row makes complain."""
    return {check.id for check in catalogue()} - {
        found.check for row in rows for found in row.alarms}


def untried_reasons(rows: Iterable[Row]) -> set[tuple[str, str]]:
    """Return check and reason of all that is declared and that no row brings about.

    What the test of a check that is tried otherwise asserts is left out.
    """
    tried = {(found.check, found.reason) for row in rows for found in row.finds}
    return {(check.id, reason) for check in catalogue() for reason in check.reasons
            if (check.id, reason) not in tried
            and not _asserted(OTHERWISE_TRIED.get(check.id, ""), reason)}


def unasserted_reasons() -> set[tuple[str, str]]:
    """Return check and reason of all that a test is said to try and does not name."""
    return {(check, reason) for (check, reason), where in UNTRIED_REASONS.items()
            if _FILE.search(where) and not _asserted(where, reason)}


def _asserted(where: str, reason: str) -> bool:
    return any(f'"{reason}"' in (_ROOT / test).read_text() for test in _FILE.findall(where))


def _witness(check: str, rows: Iterable[Row]) -> Row | None:
    """Return the row that says most of a check: the one that has least to do with others."""
    of_it = [row for row in rows if any(found.check == check for found in row.alarms)]
    return min(of_it, key=lambda row: (len({found.check for found in row.alarms}), row.nodes),
               default=None)


def pairs(rows: Iterable[Row], only: Iterable[str] = ()) -> list[tuple[str, Row]]:
    """Return each check, or those asked for, and the server that tells whether it asserts."""
    rows = list(rows)
    return [(check.id, row) for check in catalogue()
            if (not only or check.id in only) and (row := _witness(check.id, rows)) is not None]


def told(trial: Trial) -> str:
    """Say in one line how a trial was noticed."""
    if not trial.differences:
        return f"GREEN on {trial.row.name}"
    return f"red on {trial.row.name}: {trial.differences[0]}"


def main() -> None:
    """Print a line for each check; end with 1 if one is not missed."""
    only = sys.argv[1:]
    if unknown := set(only) - {check.id for check in catalogue()}:
        sys.exit(f"there is no check {', '.join(sorted(unknown))}")
    missed = 0
    asked = pairs(table.read().values(), only)
    checks_left_out = [check for check, _ in asked]
    for check, trial in zip(checks_left_out, run_all([row for _, row in asked], checks_left_out)):
        missed += not trial.differences
        print(f"{check:<7}  {told(trial)}", flush=True)  # noqa: T201
    for check, why in OTHERWISE_TRIED.items():
        if not only or check in only:
            print(f"{check:<7}  {why}")  # noqa: T201
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
