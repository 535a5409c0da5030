"""Shows that the table is red without any one of the checks.

``python -m tests.faulty_servers.proof [CHECK …]`` leaves out one check's assertion after the
other, tries a server that this check must complain of, and says what differs from the table.
"""
from __future__ import annotations

import ast
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from ansible_collections.emqx.conformance.plugins.module_utils import checks
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
UNTRIED_REASONS = {
    ("core", "session_id_too_long"): "the reader of messages refuses such an ID before",
    ("core", "other_version"): "never the first flaw: who prefers another version speaks it",
    ("negative_hello", "not_resumed"): "who declines extended master secret fails CORE-02",
    ("negative_offers", "not_resumed"): "who declines a session under its own name fails CORE-02",
    ("life_cache", "no_session_id"): "who issues none fails CORE-01",
    ("story", "not_whole_again"): "needs a driver: tests/unit/checks/test_life.py",
}
"""Assertions, by module and reason, that no server of the table can make fail, and why."""
_FOR_ALL = ("conversation", "story", "verdicts")
"""Modules whose assertions belong to the checks of every family."""


def _modules(check: str) -> str:
    [found] = [one for one in catalogue() if one.id == check]
    return found.story.__module__.rpartition(".")[2]


def untried_checks(rows: Iterable[Row]) -> set[str]:
    """Return the checks that no row makes complain."""
    return {check.id for check in catalogue()} - {
        found.check for row in rows for found in row.alarms}


def _reason(node: ast.AST) -> ast.expr | None:
    """Return where a node of the source has a reason to fail, to warn or to end early."""
    if isinstance(node, ast.Tuple) and len(node.elts) == 2 and " " in ast.unparse(node.elts[1]):
        return node.elts[0]  # with a sentence
    if not isinstance(node, ast.Call) or not node.args:
        return None
    called = ast.unparse(node.func).rpartition(".")[2]
    if called in ("failed", "fail", "warn") or called.endswith("Error"):
        return node.args[0]
    if called.endswith(("resumes", "falls_back")):
        return next((reason for reason, after in zip(node.args, node.args[1:])
                     if isinstance(reason, ast.Constant) and " " in ast.unparse(after)), None)
    status = node.args[0] if called == "Verdict" else None
    if isinstance(status, ast.Attribute) and status.attr in ("WARNED", "FAILED"):
        return node.args[1]
    return None


def _reasons(module: Path) -> Iterator[str]:
    """Yield the reasons that a module complains with, as its source has them."""
    for node in ast.walk(ast.parse(module.read_text())):
        reason = _reason(node)
        if isinstance(reason, ast.Constant) and re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*",
                                                             str(reason.value)):
            yield str(reason.value)


def untried_reasons(rows: Iterable[Row]) -> set[tuple[str, str]]:
    """Return module and reason of every assertion that no row makes fail.

    Modules of checks that are tried otherwise are left out.
    """
    tried: set[tuple[str, str]] = set()
    for row in rows:
        for found in row.finds:
            tried.update((module, found.reason) for module in (_modules(found.check), *_FOR_ALL))
    modules = {_modules(check.id) for check in catalogue() if check.id not in OTHERWISE_TRIED}
    folder = Path(checks.__file__).parent
    return {(module, reason) for module in (*modules, *_FOR_ALL)
            for reason in _reasons(folder / f"{module}.py")} - tried


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
