"""The matrix with its checks, in a process that is warm.

    python -m bench.matrix CA PORT,PORT,…

measures CORE-01 to CORE-03 on all nodes and all their ordered pairs, which is what the matrix is
made of, MQTT and result object included: once to be warm and once for the clock. It prints what
the second time took.
"""
from __future__ import annotations

import json
import sys
import threading
import time

from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.report.results import (
    RunRecord,
    build,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.bench import Bench
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Impact, Status
from ansible_collections.emqx.conformance.plugins.module_utils.run.plan import make_plan
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import Prober
from ansible_collections.emqx.conformance.plugins.module_utils.run.runner import Runner
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.evidence import utc_now
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust
from ansible_collections.emqx.conformance.plugins.module_utils.tolerance.finding import Finding

CHECKS = ("CORE-01", "CORE-02", "CORE-03")
CACHE = 50_000
"""Sessions that the nodes of the benchmark remember."""


class NotPassedError(Exception):
    """A check of healthy nodes did not pass: nothing was measured."""


def run(ca: str, ports: list[int]) -> tuple[float, int, int]:
    """Measure once; return seconds, pairs and the handshakes that were announced."""
    begun = time.monotonic()
    target = Target(
        {f"n{number}": Endpoint(f"n{number}", "127.0.0.1", port, "localhost")
         for number, port in enumerate(ports, 1)}, Settings(session_cache_max=CACHE))
    engine = OrdinaryEngine(Trust(ca))
    bench = Bench(Prober(engine, target, threading.Event()))
    plan = make_plan(target, [check for check in catalogue() if check.id in CHECKS], Impact.SAFE)
    findings: list[Finding] = []
    record = RunRecord(bench.ledger, plan, "embedded", utc_now(), bench.prober.paces,
                       findings=findings)
    record.complete = Runner(
        bench, plan, on_verdict=lambda *told: findings.append(Finding(*told))).run()
    results = build(record)
    took = time.monotonic() - begun
    bench.prober.close()
    engine.close()
    bad = [f"{row['id']} {row['subject']}: {row['message']}" for row in results["checks"]
           if row["status"] != Status.PASSED.value]
    if bad or results["verdict"] != "passed":
        raise NotPassedError("; ".join(bad[:3]) or results["headline"])
    return took, len(results["matrix"]), sum(plan.handshakes.values())


def main(ca: str, ports: str) -> None:
    """Run it twice and print what the second time took."""
    numbers = [int(port) for port in ports.split(",")]
    run(ca, numbers)
    wall_s, pairs, handshakes = run(ca, numbers)
    print(json.dumps({"wall_s": wall_s, "pairs": pairs, "handshakes": handshakes}))


if __name__ == "__main__":
    main(*sys.argv[1:])
