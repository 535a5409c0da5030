"""Result objects made by hand, for tests of what is made from them."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SECOND = "2026-01-02T03:04:05.678Z"


def finding(check: str, subject: str, status: str, message: str = "", **changed: Any,
            ) -> dict[str, Any]:
    """Return a row of ``checks``."""
    return {"id": check, "title": f"Title of {check}", "clause": "RFC 5246 7.3", "level": "MUST",
            "impact": "safe", "subject": subject, "status": status,
            "reason": "" if status in ("passed", "info") else f"{status}_somehow",
            "message": message or f"{subject} is {status}", "evidence": {"handshakes": []},
            **changed}


def matrix(names: list[str], otherwise: Mapping[tuple[str, str], str] | None = None,
           unmeasured: Iterable[tuple[str, str]] = ()) -> list[dict[str, Any]]:
    """Return the matrix of nodes that are as expected, but for the pairs that are ``otherwise``."""
    left_out, cells = set(unmeasured), []
    for issuer in names:
        for redeemer in names:
            expected = "resumed" if issuer == redeemer else "full"
            outcome = (otherwise or {}).get((issuer, redeemer), expected)
            reason = "" if outcome == expected else f"{outcome}_why"
            if (issuer, redeemer) in left_out:
                outcome, reason = "not_measured", "not_sampled"
            cells.append({"issuer": issuer, "redeemer": redeemer, "outcome": outcome,
                          "expected": expected, "passed": not reason, "reason": reason,
                          "offered_id": "", "server_id": "", "evidence": {}})
    return cells


def result(names: list[str], checks: list[dict[str, Any]], **changed: Any) -> dict[str, Any]:
    """Return a result object, passed unless ``changed`` says otherwise."""
    counts = dict.fromkeys(
        ("passed", "failed", "known", "warned", "info", "skipped", "error"), 0)
    for row in checks:
        counts[row["status"]] += 1
    latency = {"count": 2, "p50_ms": 1.5, "p95_ms": 2.25, "p99_ms": 10.0, "bytes_in": 1000,
               "bytes_out": 200}
    spent = {"handshakes_announced": 10, "handshakes_done": 10, "renewals": 0, "spoilt": 0,
             "diagnoses": 0, "controls": 0, "turned_away": 0, "repeated": 0,
             "sessions_announced": 4, "sessions_made": 4}
    return {
        "schema_version": "1.0", "started_at": SECOND, "duration_s": 1.5, "complete": True,
        "verdict": "passed", "headline": "all pairs as expected",
        "target": {"driver": "external", "product": "Thing", "version": "1.2",
                   "otp_release": "27", "how_identified": "told by hand"},
        "nodes": [{"name": name, "host": "127.0.0.1", "port": 8883, "server_name": "localhost",
                   "product": "Thing", "version": "1.2", "otp_release": "27"} for name in names],
        "matrix": matrix(names), "checks": checks,
        "latency": {"full": latency, "resumed": {**latency, "p99_ms": None}},
        "notes": [], "counts": counts,
        "budget": {"session_limit": 250, "differences": [],
                   "nodes": {name: dict(spent) for name in names}, "load_balancers": {}},
        "handshakes": {}, **changed}


def handshake(endpoint: str, outcome: str = "full", **changed: Any) -> dict[str, Any]:
    """Return a handshake without messages."""
    return {"endpoint": endpoint, "address": "127.0.0.1", "port": 8883, "started_at": SECOND,
            "outcome": outcome, "why": "library, wire and master secret agree", "offered_id": "",
            "server_id": "", "version": "tlsv1.2", "cipher": "ECDHE-RSA-AES256-GCM-SHA384",
            "compression": 0, "server_certificate": "",
            "witnesses": {"library_reused": outcome == "resumed",
                          "wire_abbreviated": outcome == "resumed", "same_master_secret": None},
            "ticket_offered": None, "ticket_issued": False, "extended_master_secret": False,
            "secure_renegotiation": True, "server_name": None, "sni_acknowledged": False,
            "messages": [], "alerts": [], "bytes_in": 143, "bytes_out": 241, "connect_ms": 0.5,
            "handshake_ms": 1.25, "crowded": False, "failure": None, "mqtt": None, **changed}
