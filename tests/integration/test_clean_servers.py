"""Correctly set up servers of four TLS libraries: what the whole catalogue says of them is true.

``clean_servers.yml`` holds everything it may say that is no praise, with the evidence.
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue

from tests.support.clean_servers import SERVERS, Clean
from tests.support.costs import add_up
from tests.support.evidence import EVIDENCE
from tests.support.peers import Asked
from tests.support.playbooks import ROOT
from tests.support.whole_run import whole_run

RECORDED: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load(
    (Path(__file__).parent / "clean_servers.yml").read_text())
CHECKS = {check.id for check in catalogue()}
DECLARED = {"precondition", "impact_not_allowed", "lifetime_undeclared"}
"""Why a check is skipped that could not apply; all other reasons are aftermaths."""
SAME_LIBRARY = {"gnutls-serv": "GnuTLS library"}
"""What a server without MQTT must have in common with one that speaks it."""


@dataclass(frozen=True)
class Running:
    """One kind of server."""

    name: str
    clean: Clean


@pytest.fixture(scope="module", params=SERVERS)
def running(request: pytest.FixtureRequest, certificate: tuple[Path, Path],
            tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with SERVERS[request.param](certificate, tmp_path_factory.mktemp("clean")) as clean:
        yield Running(request.param, clean)


def test_what_is_said_of_a_clean_server(running: Running, tmp_path: Path) -> None:
    results = whole_run(running.clean.ports, running.clean.ca, tmp_path / "reports",
                        **running.clean.params)
    # What was announced, and what the report says of the rest, is all that was made.
    add_up(results)
    said: dict[str, set[tuple[str, str]]] = {}
    for row in results["checks"]:
        if row["status"] not in ("passed", "info", "skipped"):
            said.setdefault(row["id"], set()).add((row["status"], row["reason"]))
    rows = RECORDED[running.name]
    recorded = {check: {(row["status"], row["reason"])} for check, row in rows.items()}
    messages = "\n".join(f"{row['id']} {row['subject']} {row['status']} {row['reason']}: "
                         f"{row['message']}" for row in results["checks"]
                         if row["status"] != "passed")
    assert {check: what for check, what in said.items() if recorded.get(check) != what} == {}, \
        messages
    assert {check for check, row in rows.items() if not row.get("sometimes")} <= set(said), messages
    aftermath = {row["reason"] for row in results["checks"]
                 if row["status"] == "skipped" and row["reason"] not in DECLARED}
    if running.name in SAME_LIBRARY:
        # Nobody spoke MQTT: everything hangs on that, and nothing is claimed.
        assert aftermath == {"needs_CORE-01", "needs_CORE-02"}
        assert results["counts"]["passed"] == 0
        assert results["verdict"] == "error"
        return
    assert aftermath == set(), messages
    bad = {status for findings in said.values() for status, _ in findings}
    assert results["verdict"] == ("failed" if "failed" in bad else "passed")
    assert {cell["outcome"] for cell in results["matrix"]
            if cell["issuer"] == cell["redeemer"]} == {"resumed"}


@pytest.mark.parametrize("check", EVIDENCE)
def test_others_find_the_same_deviations_and_no_more(running: Running, check: str,
                                                     tmp_path: Path) -> None:
    deviates = EVIDENCE[check](Asked(running.clean.ports[0], running.clean.ca), tmp_path)
    name = SAME_LIBRARY.get(running.name, running.name)
    assert deviates == (check in RECORDED[name])


def test_every_server_is_recorded_and_shown() -> None:
    assert set(RECORDED) == set(SERVERS)
    assert {check for findings in RECORDED.values() for check in findings} <= CHECKS
    shown = (ROOT / "docs" / "peers.md").read_text()
    assert set(re.findall(r"\b(?:CORE|NEG|SEC)-\d\d", shown)) <= CHECKS
    assert shown.count("\n| ") - shown.partition("## Correctly set up")[0].count("\n| ") == 1 + sum(
        len(findings) or 1 for findings in RECORDED.values())
    for server, findings in RECORDED.items():
        for check, row in findings.items():
            assert row["evidence"].startswith("Genuine"), (server, check)
            assert (f"| {server} | {check} | {row['status']}: `{row['reason']}` | "
                    f"{row['evidence']} |\n") in shown
