"""How long the handshakes of a run took, as its result object has it."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def handshake_times(results: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return the milliseconds of each ``full`` and ``resumed`` handshake, in ascending order.

    They are those that ``latency`` counts: with nodes, of TLS 1.2, none of many at one moment.
    """
    nodes = {node["name"] for node in results["nodes"]}
    times: dict[str, list[float]] = {"full": [], "resumed": []}
    for handshake in results.get("handshakes", {}).values():
        if (handshake["outcome"] in times and handshake["endpoint"] in nodes
                and handshake["handshake_ms"] is not None and handshake["version"] == "tlsv1.2"
                and not handshake.get("crowded")):
            times[handshake["outcome"]].append(handshake["handshake_ms"])
    return {kind: sorted(taken) for kind, taken in times.items()}
