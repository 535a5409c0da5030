"""The same questions about session-ID resumption, asked of this project and of other tools."""
from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint, Outcome
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import Offer, Prober
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.support.playbooks import ROOT

SSLYZE = ROOT / ".venv-peers" / "bin" / "sslyze"
"""sslyze pins a cryptography of its own, so `make test` gives it a virtual environment."""
TIMEOUT_S = 20.0
Answers = dict[str, str]
"""By question; what a tool cannot tell is not there."""
RESUMES, SAME_ID = "resumes by session ID", "same ID when resumed"
ISSUES_ID, TICKETS = "issues a session ID", "issues TLS 1.2 tickets"
VERSION, SUITE = "version", "cipher suite"
EMS, RENEGOTIATION = "extended master secret", "secure renegotiation"
QUESTIONS = (RESUMES, SAME_ID, ISSUES_ID, TICKETS, VERSION, SUITE, EMS, RENEGOTIATION)


@dataclass(frozen=True)
class Asked:
    """A server, for TLS 1.2 on loopback under the name localhost."""

    port: int
    ca: Path


def _said(value: object) -> str:
    return "yes" if value else "no"


def ask_us(server: Asked, other: Asked | None = None) -> Answers:
    """Ask what the checks ask, with the bench on which they run.

    Args:
        server: who issues the session.
        other: who is offered it, when not the same.
    """
    engine = OrdinaryEngine(Trust(str(server.ca)))
    nodes = {name: Endpoint(name, "127.0.0.1", asked.port, "localhost")
             for name, asked in (("issuer", server), ("redeemer", other or server))}
    prober = Prober(engine, Target(nodes, Settings()), threading.Event())
    try:
        first = prober.contact(Offer("issuer"))
        assert first.handshake.outcome is Outcome.FULL, first.handshake.why
        answers = {
            RESUMES: "no", ISSUES_ID: _said(first.handshake.server_id),
            VERSION: str(first.handshake.version).replace("tlsv", "TLS"),
            SUITE: str(first.handshake.cipher),
            EMS: _said(first.handshake.extended_master_secret),
            RENEGOTIATION: _said(first.handshake.secure_renegotiation),
            TICKETS: _said(prober.contact(
                Offer("issuer", tickets=True)).handshake.ticket_issued)}
        if first.session is not None:
            again = prober.contact(Offer("redeemer", first.session)).handshake
            assert again.outcome in (Outcome.FULL, Outcome.RESUMED), again.why
            if again.outcome is Outcome.RESUMED:
                answers[RESUMES] = "yes"
                answers[SAME_ID] = _said(again.server_id == first.handshake.server_id)
        return answers
    finally:
        engine.close()


def _s_client(server: Asked, *options: str) -> str:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_2",
         "-servername", "localhost", "-CAfile", str(server.ca), "-verify_return_error", *options],
        input="", capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert re.search(r"^(New|Reused), TLSv1\.2, ", done.stdout, re.MULTILINE), \
        done.stdout + done.stderr
    return done.stdout


def _session_id(output: str) -> str:
    found = re.search(r"^    Session-ID: *([0-9A-F]*)$", output, re.MULTILINE)
    assert found, output
    return found[1]


def ask_s_client(server: Asked, folder: Path, other: Asked | None = None) -> Answers:
    """Ask ``openssl s_client``: -sess_out, then -sess_in; -reconnect must say the same."""
    session = str(folder / "s_client-session.pem")
    first = _s_client(server, "-no_ticket", "-sess_out", session)
    again = _s_client(other or server, "-no_ticket", "-sess_in", session)
    resumed = "\nReused, " in again
    found = re.search(r"^New, TLSv(1\.2), Cipher is (\S+)$", first, re.MULTILINE)
    assert found, first
    answers = {
        RESUMES: _said(resumed), ISSUES_ID: _said(_session_id(first)),
        VERSION: f"TLS{found[1]}", SUITE: found[2],
        EMS: _said("Extended master secret: yes" in first),
        RENEGOTIATION: _said("Secure Renegotiation IS supported" in first),
        TICKETS: _said("TLS session ticket:" in _s_client(server))}
    if resumed:
        answers[SAME_ID] = _said(_session_id(first) == _session_id(again))
    if other is None:
        said = re.findall(r"^(New|Reused), ", _s_client(server, "-no_ticket", "-reconnect"),
                          re.MULTILINE)
        assert said == ["New", *[("Reused" if resumed else "New")] * 5]
    return answers


_GNUTLS_CIPHERS = {"AES-256-GCM": "AES256-GCM-SHA384", "AES-128-GCM": "AES128-GCM-SHA256",
                   "CHACHA20-POLY1305": "CHACHA20-POLY1305"}


def ask_gnutls_cli(server: Asked) -> Answers:
    """Ask ``gnutls-cli --resume`` without tickets. Of tickets it says nothing."""
    done = subprocess.run(
        ["gnutls-cli", "--resume", "--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2:%NO_TICKETS",
         "--x509cafile", str(server.ca), "--sni-hostname", "localhost",
         "--verify-hostname", "localhost", "--port", str(server.port), "127.0.0.1"],
        input="", capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    output = done.stdout + done.stderr
    first, again, more = (*done.stdout.split("Handshake was completed"), "", "")[:3]
    assert more, output
    resumed = "*** This is a resumed session" in more
    found = re.search(r"^- Description: \(TLS(1\.2)-X\.509\)-\((\w+)[^)]*\)-\((\w+)[^)]*\)-"
                      r"\(([^)]+)\)$", first, re.MULTILINE)
    assert found, output
    ids = [re.findall(r"^- Session ID: ([0-9A-F:]*)$", part, re.MULTILINE)
           for part in (first, again)]
    options = "".join(re.findall(r"^- Options: (.*)$", first, re.MULTILINE))
    # GnuTLS names an RSA signature by its scheme (RSA-SHA256, RSA-PSS-RSAE-SHA256).
    answers = {
        RESUMES: _said(resumed), ISSUES_ID: _said(ids[0] and ids[0][0]),
        VERSION: f"TLS{found[1]}", SUITE: f"{found[2]}-{found[3]}-{_GNUTLS_CIPHERS[found[4]]}",
        EMS: _said("extended master secret" in options),
        RENEGOTIATION: _said("safe renegotiation" in options)}
    if resumed:
        answers[SAME_ID] = _said(ids[0] == ids[1])
    return answers


_SSLYZE_SAYS = {"FULLY_SUPPORTED": "yes", "NOT_SUPPORTED": "no",
                "PARTIALLY_SUPPORTED": "sometimes"}


def ask_sslyze(servers: Mapping[str, Asked], folder: Path) -> dict[str, Answers]:
    """Ask sslyze about all servers in one run, since it takes a second to start."""
    report = folder / "sslyze.json"
    # Without --slow_connection it makes several connections at once, which s_server cannot serve.
    done = subprocess.run(
        [str(SSLYZE), "--resum", "--ems", "--sni", "localhost", "--slow_connection", "--quiet",
         "--json_out", str(report), *(f"127.0.0.1:{asked.port}" for asked in servers.values())],
        capture_output=True, text=True, check=False, timeout=6 * TIMEOUT_S)
    assert report.exists(), done.stdout + done.stderr
    results = json.loads(report.read_text())["server_scan_results"]
    by_port = {row["server_location"]["port"]: row for row in results}
    return {name: _sslyze_answers(by_port[asked.port]) for name, asked in servers.items()}


def _sslyze_answers(row: Mapping[str, Any]) -> Answers:
    assert row["scan_status"] == "COMPLETED", row["connectivity_error_trace"]
    resumption = row["scan_result"]["session_resumption"]
    ems = row["scan_result"]["tls_extended_master_secret"]
    assert resumption["status"] == ems["status"] == "COMPLETED", row["scan_result"]
    by_id = _SSLYZE_SAYS[resumption["result"]["session_id_resumption_result"]]
    answers = {
        RESUMES: by_id,
        TICKETS: _SSLYZE_SAYS[resumption["result"]["tls_ticket_resumption_result"]],
        VERSION: row["connectivity_result"]["highest_tls_version_supported"].replace(
            "TLS_1_2", "TLS1.2"),
        SUITE: row["connectivity_result"]["cipher_suite_supported"],
        EMS: _said(ems["result"]["supports_ems_extension"])}
    if by_id == "yes":
        # Its own criterion for having resumed is that the IDs are equal.
        answers[SAME_ID] = "yes"
    return answers
