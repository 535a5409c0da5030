"""The verdict's rules, apart from any run."""
from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.identity import Identity
from ansible_collections.emqx.conformance.plugins.module_utils.report import junit, terminal
from ansible_collections.emqx.conformance.plugins.module_utils.report.results import (
    described,
    judge,
    summarise,
)


def row(status: str, check: str = "CORE-01", subject: str = "n1") -> dict[str, Any]:
    return {"id": check, "status": status, "reason": f"r_{status}", "subject": subject,
            "message": f"{subject} is {status}"}


def cell(issuer: str, redeemer: str, outcome: str, passed: bool = True) -> dict[str, Any]:
    return {"issuer": issuer, "redeemer": redeemer, "outcome": outcome, "passed": passed}


GOOD = [cell("a", "a", "resumed"), cell("a", "b", "full"), cell("b", "a", "full"),
        cell("b", "b", "resumed")]
NO_PAIR = [cell("a", "a", "resumed"), cell("a", "b", "not_measured", False),
           cell("b", "a", "failed", False), cell("b", "b", "resumed")]
NO_NODE = [cell("a", "a", "not_measured", False)]


@pytest.mark.parametrize(("statuses", "matrix", "complete", "verdict"), [
    (["passed", "info", "skipped", "known", "warned"], GOOD, True, "passed"),
    (["passed", "failed"], GOOD, True, "failed"),
    (["passed", "error"], GOOD, True, "error"),
    (["error", "failed"], GOOD, True, "failed"),
    (["failed"], GOOD, False, "failed"),
    (["passed"], GOOD, False, "error"),
    (["passed"], NO_PAIR, True, "error"),
    (["skipped"], NO_NODE, True, "error"),
    ([], [], True, "error"),
    (["passed"], [cell("a", "a", "resumed")], True, "passed"),
])
def test_verdict(statuses: list[str], matrix: list[dict[str, Any]], complete: bool,
                 verdict: str) -> None:
    got, headline = judge([row(status) for status in statuses], matrix, complete=complete)
    assert got == verdict
    assert headline.startswith(f"{sum(c['passed'] for c in matrix)} of {len(matrix)} pairs")


def test_the_headline_names_each_reason_once_with_its_subjects() -> None:
    rows = [row("failed", subject=f"n{number}") for number in range(1, 9)]
    text = summarise(rows)
    assert text == ("CORE-01 r_failed on n1, n2, n3, n4, n5 and 3 more: n1 is failed")


def test_the_headline_says_what_was_seen_and_leaves_the_rest_to_the_finding() -> None:
    told = "n1 resumed it (RFC 5246 7.3 etc.), as TLS 1.2 may. What helps: nothing."
    rows = [{"id": "SEC-01", "reason": "r", "subject": "n1", "message": message}
            for message in (told, "n1 broke.")]
    assert summarise(rows[:1]) == (
        "SEC-01 r on n1: n1 resumed it (RFC 5246 7.3 etc.), as TLS 1.2 may")
    assert summarise(rows[1:]) == "SEC-01 r on n1: n1 broke"


def test_a_mixed_cluster_names_each_of_its_releases_once() -> None:
    nodes = [Identity("EMQX", "5.8.9", otp, "told") for otp in ("26", "27", "26")]
    assert described("docker", nodes) == {
        "driver": "docker", "product": "EMQX", "version": "5.8.9", "otp_release": "26, 27",
        "how_identified": "told; the nodes differ, see nodes"}


def test_who_told_nothing_does_not_hide_who_did() -> None:
    nodes = [Identity.unknown("it is down"), Identity("EMQX", "5.8.9", None, "told")]
    assert described("docker", nodes) == {
        "driver": "docker", "product": "EMQX", "version": "5.8.9", "otp_release": None,
        "how_identified": "told; the nodes differ, see nodes"}
    assert described("external", [])["product"] == "unknown"


def test_junit_survives_what_xml_forbids() -> None:
    results = {"started_at": "2026-01-01T00:00:00.000Z", "duration_s": 1.0, "verdict": "error",
               "headline": "bad \x00 byte", "checks": [{
                   "id": "CORE-01", "title": "t", "clause": "c", "level": "MUST",
                   "status": "error", "reason": "not_tls", "subject": "n1",
                   "message": "said b'\x01\ud800<&>'", "evidence": {"handshakes": []}}]}
    root = ET.fromstring(junit.render(results))
    error = root.find("./testsuite/testcase/error")
    assert error is not None
    assert error.get("type") == "not_tls"
    assert error.get("message") == "said b'\ufffd\ufffd<&>'"
    assert root.find("./testsuite[@name='verdict']/testcase/error") is not None


def test_the_terminal_tells_once_what_follows_from_what() -> None:
    def row(check: str, subject: str, status: str, reason: str, message: str) -> dict[str, Any]:
        return {"id": check, "title": f"Title of {check}", "subject": subject, "status": status,
                "reason": reason, "message": message, "evidence": {}}

    noisy = "it is noisy, and resumption_max_impact is safe"
    rows = [row("CORE-01", "n1", "error", "timeout", "n1 is silent"),
            row("CORE-01", "n2", "passed", "", "fine"),
            row("CORE-02", "n1", "skipped", "needs_CORE-01", "needs CORE-01 on n1, which was not"),
            row("CORE-02", "n2", "passed", "", "fine"),
            row("CORE-07", "cluster", "skipped", "impact_not_allowed", noisy),
            row("CORE-08", "cluster", "skipped", "impact_not_allowed", noisy)]
    node = {"handshakes_announced": 1, "handshakes_done": 1, "sessions_made": 1, "renewals": 0}
    empty = dict.fromkeys(("p50_ms", "p95_ms", "p99_ms", "bytes_in", "bytes_out"))
    lines = [line.text for line in terminal.render({
        "target": {"product": "x", "version": None, "otp_release": None, "driver": "external",
                   "how_identified": "told"},
        "started_at": "now", "duration_s": 1.0, "nodes": [{"name": "n1"}], "checks": rows,
        "matrix": [{"issuer": "n1", "redeemer": "n1", "outcome": "not_measured", "passed": False}],
        "latency": {kind: {"count": 0, **empty} for kind in ("full", "resumed")},
        "budget": {"session_limit": 1, "nodes": {"n1": node}, "differences": []},
        "counts": {"error": 1},
        "notes": [], "verdict": "error", "headline": "bad"}, "reports/latest")]
    begin = lines.index("CORE-01  error       1/2  Title of CORE-01")
    assert lines[begin + 1:lines.index("", begin)] == [
        "         n1 is silent", "CORE-02  passed      1/1, skipped 1  Title of CORE-02"]
    assert lines.count("Skipped  as a consequence, on n1: CORE-02") == 1
    at = lines.index("Skipped  since they are noisy, and resumption_max_impact is safe: CORE-07,")
    assert lines[at + 1] == "         CORE-08"
