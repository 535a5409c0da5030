"""What a connection costs a device, full and resumed, by what clients' connections showed. Pure."""
from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FULL, RESUMED = "full", "resumed"
_HELD_BACK_MS = 30.0
"""Longer than any client computes here, and less than TCP's delayed acknowledgement takes (40 ms on
Linux, RFC 1122 4.2.3.2 allows 500)."""


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
        "pause_ms": round(statistics.median(_pause(one["messages"]) for one in connections), 3),
        "cpu_ms": round(statistics.median(cpu), 3) if cpu else None}


def held_back(cost: Mapping[str, Any]) -> bool:
    """Tell whether a client's CONNECT waited for TCP, and not for its processor.

    After an abbreviated handshake it is the second small write in a row, which Nagle's algorithm
    (RFC 896) holds back until the first one is acknowledged.
    """
    pause: float = cost["pause_ms"]
    return pause >= _HELD_BACK_MS and (cost["cpu_ms"] is None or pause > 2 * cost["cpu_ms"])


def round_trips(messages: Iterable[Mapping[str, Any]]) -> int:
    """Return how often a client waits for the node before it may send CONNECT."""
    count, sender = 0, ""
    for message in messages:
        if message["message"] == "ApplicationData":
            break
        count += (sender, message["from"]) == ("client", "server")
        sender = message["from"]
    return count


def _pause(messages: Sequence[Mapping[str, Any]]) -> float:
    """Return the milliseconds from the node's last message of the handshake to CONNECT."""
    before = 0.0
    for message in messages:
        if message["message"] == "ApplicationData":
            return float(message["at_ms"] - before)
        if message["from"] == "server":
            before = message["at_ms"]
    raise ValueError("these are the messages of no connection that was answered")


def _took(messages: Sequence[Mapping[str, Any]]) -> float:
    """Return the milliseconds from the first message to the last: the answer to CONNECT."""
    took: float = messages[-1]["at_ms"] - messages[0]["at_ms"]
    return took
