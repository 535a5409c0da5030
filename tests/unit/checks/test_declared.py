"""Checks are declared where they are, and each is short enough to be read at once."""
from __future__ import annotations

import ast
import inspect
import statistics
import sys
from pathlib import Path

from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue

MOST, MEDIAN = 25, 12
"""Lines of a function, its first one and its docstring included."""
LONGER = {
    "connected": "whatever becomes of a connection is told, so one try is around all of it",
    "load": "the clients of a load share its counters, so their function stands inside",
    "_names_judged": "the rules of RFC 6066 3, in the order of their gravity",
}
"""Functions that may be longer, and why."""
CHECKS = {check.story.__name__: check for check in catalogue()}
FILES = {Path(str(sys.modules[check.story.__module__].__file__)) for check in CHECKS.values()}


def _lines() -> dict[str, int]:
    """Return how many lines every function has in files of checks, methods included."""
    return {node.name: (node.end_lineno or 0) - node.lineno + 1
            for file in FILES for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.FunctionDef)}


def test_a_check_is_short_enough_to_be_read_at_once() -> None:
    lines = _lines()
    assert set(CHECKS) <= set(lines)
    assert {name for name, count in lines.items() if count > MOST} == set(LONGER)
    assert statistics.median(lines[name] for name in CHECKS) <= MEDIAN


def test_a_check_stands_above_its_function_by_keywords() -> None:
    for check in CHECKS.values():
        assert inspect.getsource(check.story).startswith(f'@Check(\n    id="{check.id}",\n')
        assert inspect.getdoc(check.story), f"{check.id} does not say why"
