"""Several places' results in one report: merged, compared, and told."""
from __future__ import annotations

import copy
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.report import (
    junit,
    terminal,
    vantage,
)

A, B = vantage.VantagePoint("a", "10.0.0.1"), vantage.VantagePoint("b", "10.0.0.2")


def finding(check: str, subject: str, status: str, reason: str = "") -> dict[str, Any]:
    return {"id": check, "title": "t", "clause": "c", "level": "MUST", "impact": "safe",
            "status": status, "reason": reason, "subject": subject,
            "message": f"{subject} {status}", "evidence": {"handshakes": []}}


def cell(issuer: str, redeemer: str, outcome: str, reason: str = "") -> dict[str, Any]:
    return {"issuer": issuer, "redeemer": redeemer, "outcome": outcome, "reason": reason,
            "passed": not reason, "expected": outcome, "offered_id": "", "server_id": "",
            "evidence": {}}


def seen(verdict: str = "passed", headline: str = "fine", *,
         checks: list[dict[str, Any]] | None = None,
         matrix: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    nothing = {"count": 0, "p50_ms": None, "p95_ms": None, "p99_ms": None, "bytes_in": None,
               "bytes_out": None}
    return {
        "verdict": verdict, "headline": headline, "started_at": "2026-01-01T00:00:00.000Z",
        "duration_s": 1.0, "complete": True, "counts": {"passed": 1},
        "target": {"product": "thing", "version": None, "otp_release": None, "driver": "external",
                   "how_identified": "it said so"},
        "nodes": [{"name": "n1"}], "latency": {"full": nothing, "resumed": nothing},
        "budget": {"session_limit": 10, "differences": [], "nodes": {"n1": {
            "handshakes_announced": 3, "handshakes_done": 2, "sessions_made": 1, "renewals": 0}}},
        "checks": checks or [finding("CORE-01", "n1", "passed")],
        "matrix": matrix or [cell("n1", "n1", "resumed")]}


def row(point: vantage.VantagePoint, **what: Any) -> dict[str, Any]:
    return vantage.measured(point, seen(**what), python="3.11.2",
                            openssl="OpenSSL 3.0.15 3 Sep 2024")


@pytest.mark.parametrize(("own", "a", "b", "together"), [
    ("passed", "passed", "passed", "passed"),
    ("passed", "passed", "failed", "failed"),
    ("passed", "error", "failed", "failed"),
    ("passed", "error", "passed", "error"),
    ("failed", "error", "passed", "failed"),
    ("error", "passed", "passed", "error"),
])
def test_the_worst_verdict_counts(own: str, a: str, b: str, together: str) -> None:
    results = vantage.merged(seen(own), [row(A, verdict=a), row(B, verdict=b)])
    assert results["verdict"] == together
    assert results["vantage"]["controller"] == {"verdict": own, "headline": "fine"}
    assert results["headline"] == "from the controller, a and b: fine"


def test_what_was_not_probed_is_an_error_until_it_is() -> None:
    begun = vantage.merged(seen(), [vantage.not_measured(A, "not yet"),
                                    vantage.not_measured(B, "not yet")])
    assert begun["verdict"] == "error"
    assert begun["headline"] == "from the controller: fine; from a and b: not yet"
    before = copy.deepcopy(begun)
    half = vantage.merged(begun, [row(B)])
    assert begun == before
    assert [point["name"] for point in half["vantage"]["points"]] == ["a", "b"]
    assert half["verdict"] == "error"
    assert half["headline"] == "from the controller and b: fine; from a: not yet"
    done = vantage.merged(half, [row(A, verdict="failed", headline="bad")])
    assert done["verdict"] == "failed"
    assert done["headline"] == "from the controller and b: fine; from a: bad"


def test_only_what_was_measured_in_several_places_can_differ() -> None:
    results = vantage.merged(
        seen(checks=[finding("CORE-01", "n1", "passed"), finding("CORE-06", "n1", "passed"),
                     finding("CORE-03", "n1->n2", "passed"),
                     finding("SEC-04", "n1", "warned", "x")],
             matrix=[cell("n1", "n2", "full"), cell("n2", "n1", "full")]),
        [row(A, checks=[finding("CORE-01", "n1", "failed", "no_id"),
                        finding("CORE-06", "cluster", "skipped", "paho_missing"),
                        finding("CORE-03", "n1->n2", "skipped", "needs_CORE-01"),
                        finding("SEC-04", "n1", "warned", "y")],
             matrix=[cell("n1", "n2", "not_measured", "not_sampled"),
                     cell("n2", "n1", "refused", "fatal_alert")]),
         vantage.not_measured(B, "it is gone")])
    assert results["vantage"]["differences"] == [
        {"what": "matrix", "subject": "n2->n1", "seen": {
            "controller": {"result": "full", "reason": ""},
            "a": {"result": "refused", "reason": "fatal_alert"}}},
        {"what": "CORE-01", "subject": "n1", "seen": {
            "controller": {"result": "passed", "reason": ""},
            "a": {"result": "failed", "reason": "no_id"}}},
        {"what": "CORE-03", "subject": "n1->n2", "seen": {
            "controller": {"result": "passed", "reason": ""},
            "a": {"result": "skipped", "reason": "needs_CORE-01"}}},
        {"what": "SEC-04", "subject": "n1", "seen": {
            "controller": {"result": "warned", "reason": "x"},
            "a": {"result": "warned", "reason": "y"}}}]
    # What follows from another difference is not told to people.
    assert [what for what, _, _ in vantage.told(results["vantage"]["differences"])] == [
        "matrix", "CORE-01", "SEC-04"]


def test_what_differs_alike_is_told_once() -> None:
    nodes = ("n1", "n2")
    results = vantage.merged(
        seen(checks=[finding("CORE-01", node, "passed") for node in nodes]),
        [row(A, checks=[finding("CORE-01", node, "failed", "r") for node in nodes]),
         row(B, checks=[finding("CORE-01", node, "passed") for node in nodes])])
    assert vantage.told(results["vantage"]["differences"]) == [
        ("CORE-01", ["n1", "n2"], ["passed from the controller and b", "failed (r) from a"])]


def test_the_terminal_has_a_line_for_each_place_within_80_columns() -> None:
    why = "it cannot be reached by Ansible: ssh: connect to host 10.0.0.2 port 22: no route to host"
    results = vantage.merged(seen(), [
        row(A, verdict="failed", checks=[finding("CORE-01", "n1", "failed", "no_id")]),
        vantage.not_measured(B, why)])
    lines = [line.text for line in terminal.render(results, "reports/x", 80)]
    assert all(len(line) <= 80 for line in lines)
    at = lines.index("Probed from  verdict    pairs  handshakes  with")
    assert lines[at + 1:at + 3] == [
        "controller   passed       1/1         2/3",
        "a            failed       1/1         2/3  Python 3.11.2, OpenSSL 3.0.15"]
    assert " ".join(" ".join(lines[at + 3:at + 6]).split()).startswith(f"b error {why}")
    assert "CORE-01  n1: passed from the controller; failed (no_id) from a" in lines


def test_junit_has_a_suite_for_each_place_and_is_red_for_each_that_is_not_good() -> None:
    results = vantage.merged(seen(), [
        row(A, verdict="failed", checks=[finding("CORE-01", "n1", "failed", "no_id")]),
        vantage.not_measured(B, "it is gone")])
    suites = {suite.get("name"): suite for suite in ET.fromstring(junit.render(results))}
    assert [suites[name].get("failures") for name in ("from a", "from b", "vantage")] == [
        "1", "0", "0"]
    assert [suites[name].get("errors") for name in ("from a", "from b")] == ["0", "1"]
    assert "CORE-01 n1: passed from the controller; failed (no_id) from a" in str(
        suites["vantage"].findtext(".//system-out"))
