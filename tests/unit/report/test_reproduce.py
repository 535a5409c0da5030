"""Lines to type: complete, quoted, for every check, and without a secret."""
from __future__ import annotations

import re
import shlex
import subprocess
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.report.reproduce import (
    Recipe,
    recipe,
)

CHECKS = {check.id: check for check in catalogue()}
OFFERED = "ab" * 32


def results(**changed: Any) -> dict[str, Any]:
    def handshake(port: int, offered: str, answered: str) -> dict[str, Any]:
        return {"endpoint": "n1", "port": port, "offered_id": offered, "server_id": answered,
                "outcome": "resumed" if offered else "full"}

    return {
        "nodes": [{"name": name, "host": f"{name}.example", "port": 8883,
                   "server_name": f"{name}.example"} for name in ("n1", "n2")],
        "load_balancers": [{"name": "lb", "host": "lb.example", "port": 443,
                            "server_name": "mqtt.example", "affinity": None}],
        "matrix": [], "probed_with": {"ca": "certs/ca.pem", "client_cert": None,
                                      "client_key": None},
        "handshakes": {"h00001": handshake(8884, "", OFFERED),
                       "h00002": handshake(8885, OFFERED, OFFERED)}, **changed}


def row(check: str = "CORE-02", reason: str = "not_resumed", subject: str = "n1",
        **changed: Any) -> dict[str, Any]:
    return {"id": check, "status": "failed", "reason": reason, "subject": subject,
            "message": "n1 did it. What helps is this.", "impact": "safe",
            "evidence": {"handshakes": ["h00002"]}, **changed}


def test_a_session_is_made_offered_and_removed() -> None:
    told = recipe(results(), row())
    assert told is not None
    usual = "-connect n1.example:8883 -servername n1.example -tls1_2 -no_ticket"
    seen = "</dev/null 2>&1 | grep -E '^(New|Reused),|alert|:error:|errno' || echo \"no handshake\""
    assert told.lines == (
        "set -o pipefail", "session=$(mktemp)",
        f'openssl s_client {usual} -CAfile certs/ca.pem -sess_out "$session" {seen}',
        f'openssl s_client {usual} -CAfile certs/ca.pem -sess_in "$session" {seen}',
        'rm "$session"')
    assert told.sound == 'the first line says "New", the second "Reused"'
    assert told.seen == 'the second says "New", or "no handshake"'
    assert (told.harness, told.why_not) == (
        "ansible-playbook -i INVENTORY verify.yml --limit n1", "")


@pytest.mark.parametrize("status", ["passed", "info", "skipped"])
def test_there_is_nothing_to_reproduce_where_nothing_is_wrong(status: str) -> None:
    assert recipe(results(), row(status=status)) is None
    assert recipe(results(), row(status="error", reason="interrupted")) is None


@pytest.mark.parametrize("check", sorted(CHECKS))
def test_every_check_has_lines_that_bash_understands_or_a_reason_why_not(check: str) -> None:
    subject = "n1->n2" if CHECKS[check].per.value == "pair" else "n1"
    told = recipe(results(), row(check, "it_is_so", subject, impact=CHECKS[check].impact.label,
                                 data={"lifetime_s": 6, "declared": 1000}))
    assert told is not None
    if not told.lines:
        assert told.why_not.endswith(".")
        return
    assert told.sound
    assert told.seen
    done = subprocess.run(["bash", "-n"], input="\n".join(told.lines), capture_output=True,
                          text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert told.lines.count("session=$(mktemp)") == told.lines.count('rm "$session"')
    # A session that is made is kept in that file and nowhere else.
    assert set(re.findall(r"-sess_(?:in|out) (\S+)", "\n".join(told.lines))) <= {'"$session"'}


@pytest.mark.parametrize("check", ["NEG-03", "NEG-04", "NEG-06", "NEG-07", "NEG-12"])
def test_what_openssl_cannot_send_is_the_harness_to_send(check: str) -> None:
    told = recipe(results(), row(check, "it_is_so", impact="noisy"))
    assert told is not None
    assert told.lines == ()
    assert told.why_not.startswith("openssl ")
    assert told.harness == ("ansible-playbook -i INVENTORY verify.yml --limit n1 "
                            "-e resumption_max_impact=noisy")


def test_a_pair_is_issuer_and_redeemer() -> None:
    told = recipe(results(), row("CORE-03", "resumed_elsewhere", "n1->n2"))
    assert told is not None
    assert [re.findall(r"-connect (\S+)", line) for line in told.lines[2:4]] == [
        ["n1.example:8883"], ["n2.example:8883"]]
    assert told.seen == 'the second says "Reused"'
    assert "--limit n1,n2" in told.harness
    shared = results(matrix=[{"issuer": "n1", "redeemer": "n2", "expected": "resumed"}])
    told = recipe(shared, row("CORE-03", "not_resumed", "n1->n2"))
    assert told is not None
    assert told.sound == 'the second line says "Reused"'


@pytest.mark.parametrize(("check", "subject", "alone", "shared"), [
    ("CORE-04", "n1->n2", '"New", "New" and "Reused"', '"New", "Reused" and "Reused"'),
    ("LIFE-01", "n1", '"New", "New", "New" and "Reused"', '"New", "Reused", "New" and "Reused"'),
])
def test_what_nodes_that_share_sessions_print_is_told(
        check: str, subject: str, alone: str, shared: str) -> None:
    declared = results(matrix=[{"issuer": "n1", "redeemer": "n2", "expected": "resumed"}])
    for told, document in ((alone, results()), (shared, declared)):
        found = recipe(document, row(check, "not_resumed", subject))
        assert found is not None
        assert found.sound == f"the lines say {told}"


def ports(told: Recipe) -> list[str]:
    return re.findall(r"-connect n1\.example:(\d+)", "\n".join(told.lines))


def test_sessions_of_other_listeners_are_offered_at_the_ports_of_the_evidence() -> None:
    told = recipe(results(), row("SEC-01", "accepted_in_other_domain"))
    assert told is not None
    # Made, refused without the session, and offered.
    assert ports(told) == ["8884", "8885", "8885"]
    assert all('-cert "$cert" -key "$key"' in line for line in told.lines[3:6])
    assert told.seen == 'the last says "New" and shows no alert'


def test_what_got_in_is_shown_and_not_what_was_refused() -> None:
    found = results()
    refused = {**found["handshakes"]["h00002"], "port": 8886, "server_id": "", "outcome": "refused"}
    found["handshakes"].update(h00003=refused, h00004={**refused, "port": 8887, "offered_id": ""})
    for keys in (["h00002", "h00003", "h00004"], ["h00004", "h00003", "h00002"]):
        told = recipe(found, row("SEC-01", "resumed_in_other_domain",
                                 evidence={"handshakes": ["h00001", *keys]}))
        assert told is not None
        assert ports(told) == ["8884", "8885", "8885"]
        assert told.seen == 'the last says "Reused"'


def domain(**files: str | None) -> dict[str, Any]:
    return {"node": "n1", "port": 8884, "client_cert": "d1 cert.pem", "ca_cert": None, **files}


def with_domain(**files: str | None) -> dict[str, Any]:
    return results(probed_with={"ca": "ca.pem", "client_cert": "own.pem", "client_key": "own.key",
                                "trust_domains": [domain(**files)]})


def test_the_client_of_the_listener_comes_with_its_certificate() -> None:
    told = recipe(with_domain(), row("SEC-01", "resumed_in_other_domain"))
    assert told is not None
    assert "cert='d1 cert.pem' key=client-key.pem   # its key" in told.lines
    assert sum('-CAfile ca.pem' in line and '-cert "$cert" -key "$key"' in line
               for line in told.lines) == 3
    assert "own.pem" not in "".join(told.lines)


def test_who_has_no_certificate_shows_none() -> None:
    told = recipe(with_domain(), row("SEC-02", "resumed_without_certificate"))
    assert told is not None
    assert ports(told) == ["8884", "8885", "8885"]
    assert "-cert" not in "".join(told.lines)


@pytest.mark.parametrize(("check", "files", "waits"), [
    ("SEC-05", {}, True), ("SEC-06", {}, True),
    ("SEC-06", {"ca_cert": "its CA.pem"}, False)])
def test_trust_ends_at_the_listener_of_the_evidence(check: str, files: dict[str, str],
                                                    waits: bool) -> None:
    told = recipe(with_domain(**files), row(check, "resumed_since", evidence={
        "handshakes": ["h00001"]}))
    assert told is not None
    assert ports(told) == ["8884"] * 3
    assert (told.lines[1], told.lines[-1] == "}") == (
        ("{", True) if waits else ("session=$(mktemp)", False))
    if not waits:
        assert "ca='its CA.pem' ca_key=ca-key.pem   # its key" in told.lines
        assert any('-cert "$ca" -keyfile "$ca_key"' in line for line in told.lines)


@pytest.mark.parametrize("check", ["LIFE-01", "LIFE-02", "LIFE-05", "SEC-05"])
def test_what_is_up_to_people_waits_for_them_however_it_is_pasted(check: str) -> None:
    told = recipe(results(), row(check, "it_is_so", evidence={"handshakes": ["h00001"]}))
    assert told is not None
    assert (told.lines[1], told.lines[-1]) == ("{", "}")
    assert any(line.startswith("read -rp 'Now ") for line in told.lines)


def test_the_client_of_a_killed_node_goes_where_it_went() -> None:
    found = results()
    found["nodes"].append({**found["nodes"][1], "name": "n3", "host": "n3.example"})
    for evidence, refuge in (([], "n2"), (["h00001", "h00009"], "n3")):
        found["handshakes"]["h00009"] = {**found["handshakes"]["h00001"], "endpoint": "n3"}
        told = recipe(found, row("LIFE-02", "it_is_so", evidence={"handshakes": evidence}))
        assert told is not None
        hosts = [re.findall(r"-connect (\w+)", line) for line in told.lines]
        assert [one for found_in in hosts for one in found_in] == ["n1", refuge, refuge]
        assert f"of {refuge}," in told.sound


@pytest.mark.parametrize(("host", "name", "expected"), [
    ("::1", "localhost", ["-connect", "[::1]:8883", "-servername", "localhost"]),
    ("fe80::1%eth0", "n", ["-connect", "[fe80::1%eth0]:8883", "-servername", "n"]),
    ("10.0.0.1", "10.0.0.1", ["-connect", "10.0.0.1:8883", "-noservername", "-tls1_2"]),
    ("h", "x; rm -rf $HOME", ["-connect", "h:8883", "-servername", "x; rm -rf $HOME"])])
def test_addresses_are_quoted_and_only_names_are_server_names(
        host: str, name: str, expected: list[str]) -> None:
    node = {"name": "n1", "host": host, "port": 8883, "server_name": name}
    told = recipe(results(nodes=[node]), row())
    assert told is not None
    assert shlex.split(told.lines[2])[2:6] == expected


def test_client_certificates_and_files_with_spaces() -> None:
    files = {"ca": "my CA.pem", "client_cert": "c'ert.pem", "client_key": "key.pem"}
    told = recipe(results(probed_with=files), row())
    assert told is not None
    words = shlex.split(told.lines[3])
    for option, path in (("-CAfile", "my CA.pem"), ("-cert", "c'ert.pem"), ("-key", "key.pem")):
        assert words[words.index(option) + 1] == path


def test_an_older_result_that_does_not_tell_the_files() -> None:
    older = results()
    del older["probed_with"]
    told = recipe(older, row())
    assert told is not None
    assert "-CAfile" not in told.lines[2]


def test_a_balancer_is_asked_often_and_counted() -> None:
    told = recipe(results(), row("LB-01", "affinity_lost", "lb"))
    assert told is not None
    assert "-connect lb.example:443 -servername mqtt.example" in told.lines[2]
    assert told.lines[3].endswith("| sort | uniq -c")


@pytest.mark.parametrize(("reason", "option"), [
    ("certificate_name_mismatch", "-verify_hostname n1.example"),
    ("connection_refused", "-verify_return_error")])
def test_trouble_with_the_connection_is_shown_by_one_connection(reason: str, option: str) -> None:
    told = recipe(results(), row("LIFE-04", reason, status="error"))
    assert told is not None
    assert len(told.lines) == 2
    assert option in told.lines[1]


def test_a_broken_harness_is_run_again() -> None:
    told = recipe(results(), row("CORE-02", "harness_error", status="error"))
    assert told is not None
    assert (told.lines, told.why_not) == ((), "")
    assert told.harness
