"""Correctly set up servers of four TLS libraries: what the whole catalogue says of them is true.

``clean_servers.yml`` holds everything it may say that is no praise, with the evidence.
"""
from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.clean_servers import SERVERS, Certificate
from tests.support.s_server_broker import SServerBroker
from tests.support.whole_run import whole_run

RECORDED: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load(
    (Path(__file__).parent / "clean_servers.yml").read_text())
DECLARED = {"precondition", "impact_not_allowed"}
"""Why a check is skipped that could not apply; all other reasons are aftermaths."""


def test_every_server_is_recorded() -> None:
    assert set(RECORDED) == set(SERVERS)
    for findings in RECORDED.values():
        assert all(row["evidence"].startswith(("Genuine: ", "Not genuine: "))
                   for row in findings.values())


@pytest.mark.parametrize("server", SERVERS)
def test_what_is_said_of_a_clean_server(server: str, certificate: Certificate,
                                        tmp_path: Path) -> None:
    with SERVERS[server](certificate, tmp_path) as clean:
        results = whole_run(clean.ports, clean.ca, tmp_path / "reports", **clean.params)
    said: dict[str, set[tuple[str, str]]] = {}
    for row in results["checks"]:
        if row["status"] not in ("passed", "info", "skipped"):
            said.setdefault(row["id"], set()).add((row["status"], row["reason"]))
    recorded = {check: {(row["status"], row["reason"])} for check, row in RECORDED[server].items()}
    always = {check for check, row in RECORDED[server].items() if not row.get("sometimes")}
    messages = "\n".join(f"{row['id']} {row['subject']} {row['status']} {row['reason']}: "
                         f"{row['message']}" for row in results["checks"]
                         if row["status"] != "passed")
    assert {check: what for check, what in said.items() if recorded.get(check) != what} == {}, \
        messages
    assert always <= set(said), messages
    aftermath = {row["reason"] for row in results["checks"]
                 if row["status"] == "skipped" and row["reason"] not in DECLARED}
    if server == "gnutls-serv":
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


def test_openssl_agrees_that_s_server_serves_one_at_a_time(certificate: Certificate) -> None:
    server = SServerBroker(*certificate)
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_2"]
    try:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True) as first:
            assert first.stdout is not None
            while "Cipher is ECDHE" not in (line := first.stdout.readline()):
                assert line
            with pytest.raises(subprocess.TimeoutExpired):
                subprocess.run(command, input=b"", capture_output=True, timeout=1, check=False)
            first.communicate("")
        # At the end of its standard input s_client closes, as soon as it has shaken hands.
        done = subprocess.run(command, input=b"", capture_output=True, timeout=5, check=False)
        assert b"Cipher is ECDHE" in done.stdout
    finally:
        server.stop()
