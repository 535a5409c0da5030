"""Result objects made up for tests of the reports; they hold to the schema."""
from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

STARTED_AT = "2026-01-01T00:00:00.000Z"
_FULL = ("client ClientHello 171", "server ServerHello 89", "server Certificate 746",
         "server ServerKeyExchange 333", "server ServerHelloDone 4", "client ClientKeyExchange 70",
         "client ChangeCipherSpec 1", "client Finished 40", "server ChangeCipherSpec 1",
         "server Finished 40")
_RESUMED = ("client ClientHello 203", "server ServerHello 89", "server ChangeCipherSpec 1",
            "server Finished 40", "client ChangeCipherSpec 1", "client Finished 40")
_STATUSES = ("passed", "failed", "known", "warned", "info", "skipped", "error")


def handshake(endpoint: str, outcome: str, *, offered: str = "", answered: str = "",
              **changed: Any) -> dict[str, Any]:
    """Return a handshake of results.json: ``full`` or ``resumed`` with its messages, or without."""
    flight = {"full": _FULL, "resumed": _RESUMED}.get(outcome, ("client ClientHello 203",))
    messages = [{"from": side, "message": name, "bytes": int(size), "at_ms": 0.5 * place}
                for place, (side, name, size) in enumerate(map(str.split, flight))]
    resumed = outcome == "resumed"
    return {
        "endpoint": endpoint, "address": "127.0.0.1", "port": 8883, "started_at": STARTED_AT,
        "outcome": outcome, "why": f"library and wire agree: {outcome}", "offered_id": offered,
        "server_id": answered, "version": "tlsv1.2", "cipher": "ECDHE-RSA-AES256-GCM-SHA384",
        "witnesses": {"library_reused": resumed, "wire_abbreviated": resumed,
                      "same_master_secret": resumed if offered else None},
        "server_name": "localhost", "sni_acknowledged": False, "messages": messages, "alerts": [],
        "bytes_in": 143 if resumed else 1243, "bytes_out": 241, "connect_ms": 0.25,
        "handshake_ms": messages[-1]["at_ms"], "failure": None,
        "mqtt": {"version": "5", "cause": "", "detail": "CONNACK accepted", "connack_ms": 1.0},
        **changed}


def finding(check: str, subject: str, status: str = "passed", reason: str = "",
            **changed: Any) -> dict[str, Any]:
    """Return a finding of results.json."""
    return {"id": check, "title": f"Title of {check}", "clause": "RFC 5246 7.3", "level": "MUST",
            "impact": "safe", "status": status, "reason": reason, "subject": subject,
            "message": f"{subject} is {status}", "evidence": {"handshakes": []}, **changed}


def run(count: int, wrong: Callable[[str, str], bool] = lambda _issuer, _redeemer: False,
        **changed: Any) -> dict[str, Any]:
    """Return the result of so many nodes, n1 and up, of which each remembers its own sessions.

    Args:
        count: of nodes.
        wrong: tells of which pairs the redeemer resumes the issuer's session all the same.
        changed: keys of the result that differ.
    """
    names = [f"n{number}" for number in range(1, count + 1)]
    handshakes: dict[str, Any] = {}
    checks: list[dict[str, Any]] = []

    def made(*args: Any, **kwargs: Any) -> str:
        key = f"h{len(handshakes) + 1:05d}"
        handshakes[key] = handshake(*args, port=names.index(args[0]) + 1, **kwargs)
        return key

    ids = {name: f"{number:064x}" for number, name in enumerate(names, 1)}
    fresh = (f"{number:064x}" for number in itertools.count(10 ** 6))
    for name in names:
        checks.append(finding("CORE-01", name, evidence={
            "handshakes": [made(name, "full", answered=ids[name])]}))
    matrix: list[dict[str, Any]] = []
    for issuer, redeemer in itertools.product(names, names):
        home = issuer == redeemer
        failed = not home and wrong(issuer, redeemer)
        key = made(redeemer, "resumed" if home or failed else "full", offered=ids[issuer],
                   answered=ids[issuer] if home or failed else next(fresh))
        seen = handshakes[key]
        matrix.append({
            "issuer": issuer, "redeemer": redeemer, "outcome": seen["outcome"],
            "expected": "resumed" if home else "full", "passed": not failed,
            "reason": "resumed_elsewhere" if failed else "", "offered_id": seen["offered_id"],
            "server_id": seen["server_id"],
            "evidence": {"handshake": key, **{name: seen[name] for name in (
                "why", "witnesses", "handshake_ms", "bytes_in", "bytes_out")}}})
        row = finding("CORE-02", issuer) if home else finding("CORE-03", f"{issuer}->{redeemer}")
        if failed:
            row.update(status="failed", reason="resumed_elsewhere",
                       message=f"{redeemer} resumed a session that {issuer} issued")
        checks.append({**row, "evidence": {"handshakes": [key]}})
    checks.sort(key=lambda row: row["id"])
    statuses = [row["status"] for row in checks]
    as_expected = sum(cell["passed"] for cell in matrix)
    latency = {"count": count, "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": None, "bytes_in": 1,
               "bytes_out": None}
    budget = {"handshakes_announced": 1, "handshakes_done": 1, "sessions_announced": 1,
              "sessions_made": 1}
    return {
        "schema_version": "1.0", "started_at": STARTED_AT, "duration_s": 1.0, "complete": True,
        "verdict": "failed" if "failed" in statuses else "passed",
        "headline": f"{as_expected} of {len(matrix)} pairs as expected",
        "target": {"product": "thing", "version": None, "otp_release": None, "driver": "external",
                   "how_identified": "it said so"},
        "nodes": [{"name": name, "host": "127.0.0.1", "port": number, "server_name": "localhost",
                   "product": "thing", "version": None, "otp_release": None,
                   "how_identified": "it said so"} for number, name in enumerate(names, 1)],
        "matrix": matrix, "checks": checks,
        "counts": {status: statuses.count(status) for status in _STATUSES},
        "latency": {"full": latency, "resumed": latency},
        "budget": {"session_limit": 10, "nodes": dict.fromkeys(names, budget), "differences": []},
        "handshakes": handshakes, **changed}
