"""What the checks of a run declare to cost, to hold against what nodes count themselves."""
from __future__ import annotations

from typing import Any

from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.run import beyond
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target


def never_completed(results: dict[str, Any]) -> int:
    """Return how many handshakes with each node the checks that ran announce to be cut short.

    By a refusal, or by the probe; the target is declared to speak TLS 1.2 alone.
    """
    target = Target({}, Settings(tls_versions=("tlsv1.2",)))
    ran = {row["id"] for row in results["checks"] if row["status"] != "skipped"}
    costs = [check.cost_for(target) for check in catalogue() if check.id in ran]
    return sum(cost.refused + cost.unfinished for cost in costs)


def add_up(results: dict[str, Any]) -> None:
    """Demand that what was made is what was announced, and what the report says of the rest.

    That is where checks differ, and what came on top: no more of it than was announced either.
    """
    budget = results["budget"]
    for name, row in {**budget["nodes"], **budget["load_balancers"]}.items():
        for bound, kinds in beyond.BOUNDS.items():
            assert sum(row[kind] for kind in kinds) <= row[f"{bound}_up_to"], (name, row)
        if results["complete"] and name in budget["nodes"]:
            differing = sum(one["made"] - one["announced"] for one in budget["differences"]
                            if one["node"] == name)
            assert row["handshakes_done"] == (
                row["handshakes_announced"] + differing + beyond.on_top(row)), (name, budget)
