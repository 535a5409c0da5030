"""What a connection costs a device, full and resumed, by what clients' connections showed. Pure."""
from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FULL, RESUMED = "full", "resumed"


def costs(connections: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the cost of a full and of a resumed connection of one stack; None where there is none.

    Medians, from the ClientHello to the CONNACK. A client's first connection also pays for what its
    library does once, so it counts only where no other one was full; ``first`` tells.

    Args:
        connections: the stack's, as results.json has them.
    """
    found: dict[str, list[Mapping[str, Any]]] = {FULL: [], RESUMED: []}
    for one in connections:
        if one["answered"] and one["version"] == "tlsv1.2" and one["abbreviated"] is not None:
            # What a ticket resumed says nothing about session IDs.
            if not one["abbreviated"]:
                found[FULL].append(one)
            elif not one["ticket_offered"]:
                found[RESUMED].append(one)
    later = [one for one in found[FULL] if one["number"] > 1]
    return {FULL: _cost(later or found[FULL], first=not later),
            RESUMED: _cost(found[RESUMED], first=False)}


def _cost(connections: Sequence[Mapping[str, Any]], *, first: bool) -> dict[str, Any] | None:
    if not connections:
        return None
    cpu = [one["cpu_ms"] for one in connections if one["cpu_ms"] is not None]
    return {
        "count": len(connections), "first": first,
        "bytes_from_client": round(statistics.median(
            one["bytes_from_client"] for one in connections)),
        "bytes_from_node": round(statistics.median(
            one["bytes_from_node"] for one in connections)),
        "round_trips": max(round_trips(one["messages"]) for one in connections),
        "connack_ms": round(statistics.median(_took(one["messages"]) for one in connections), 3),
        "cpu_ms": round(statistics.median(cpu), 3) if cpu else None}


def round_trips(messages: Iterable[Mapping[str, Any]]) -> int:
    """Return how often a client waits for the node before it may send CONNECT."""
    count, sender = 0, ""
    for message in messages:
        if message["message"] == "ApplicationData":
            break
        count += (sender, message["from"]) == ("client", "server")
        sender = message["from"]
    return count


def _took(messages: Sequence[Mapping[str, Any]]) -> float:
    """Return the milliseconds from the first message to the last: the answer to CONNECT."""
    took: float = messages[-1]["at_ms"] - messages[0]["at_ms"]
    return took
