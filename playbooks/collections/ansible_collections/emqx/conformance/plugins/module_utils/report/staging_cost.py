"""The table in docs/staging.md: what a run costs nodes that somebody else runs, by the plan.

Runs in a checkout.
"""
from __future__ import annotations

import math
from pathlib import Path

from ..checks.catalogue import catalogue
from ..model import Endpoint
from ..run.check import Impact, Per
from ..run.plan import Plan, make_plan
from ..run.target import Settings, Target

BEGIN = "<!-- The table is made by `make docs` from the registry of checks. -->\n"
END = "<!-- End of the table. -->\n"
_NODES = (2, 3, 5, 10, 20, 50)
_RATE = 50
"""Handshakes a second and node, unless resumption_rate_limit says otherwise for external nodes."""
_STEPS = {Impact.SAFE: (1, 1), Impact.NOISY: (100, 50)}
"""What handshakes, and full ones among them, are rounded up to."""
_PAGE = Path(__file__).parents[8] / "docs/staging.md"


def write() -> None:
    """Write the table into docs/staging.md."""
    _PAGE.write_text(with_table(_PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def with_table(page: str) -> str:
    """Return docs/staging.md with the table made anew."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{_table()}\n{END}{rest.partition(END)[2]}"


def _table() -> str:
    columns = ["nodes", "safe: handshakes a node", "of which full", "pairs", "seconds",
               "noisy: at most", "of which full", "pairs", "seconds"]
    rows = [f"| {' | '.join(columns)} |", f"|{'--:|' * len(columns)}"]
    rows += [f"| {count} | {_cells(count, Impact.SAFE)} | {_cells(count, Impact.NOISY)} |"
             for count in _NODES]
    return "\n".join([*rows, ""])


def _plan(count: int, impact: Impact) -> Plan:
    nodes = [f"emqx{number}" for number in range(1, count + 1)]
    return make_plan(Target({name: Endpoint(name, name, 8883, name) for name in nodes},
                            Settings(tls_versions=("tlsv1.2",), cache_declared=False,
                                     rate_limit=_RATE)),
                     catalogue(), impact)


def _cells(count: int, impact: Impact) -> str:
    plan = _plan(count, impact)
    handshakes, full = (step * math.ceil(max(of_node.values()) / step) for step, of_node in zip(
        _STEPS[impact], (plan.handshakes, plan.sessions)))
    measured = max(len(planned.subjects) for planned in plan.checks
                   if planned.check.per is Per.PAIR)
    pairs = count * (count - 1)
    shown = str(pairs) if measured == pairs else f"{measured} of {pairs}"
    return " | ".join((str(handshakes), str(full), shown, str(math.ceil(handshakes / _RATE))))
