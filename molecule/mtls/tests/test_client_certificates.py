"""Nobody gets in without a client certificate that is valid, and what is said of the others."""
from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import client_ca
import outside
import plain_mqtt
import pytest

CA = outside.ROOT / "certs" / "ca.pem"
NODES = outside.ports("emqx1", "emqx2", "emqx3")
PAIRS = [(issuer, redeemer) for issuer in NODES for redeemer in NODES]
VALID = client_ca.certificate("valid"), client_ca.key("valid")


def verify_as(client: str | None) -> outside.Verification:
    """Run the shipped verify.yml as one of the clients, or without a certificate."""
    cert, key = (client_ca.certificate(client), client_ca.key(client)) if client else ("", "")
    return outside.run_verify("-e", f"resumption_client_cert={cert}",
                              "-e", f"resumption_client_key={key}")


def lists_fetched() -> int:
    """Return how often anybody has fetched the revocation list."""
    return client_ca.LOG.read_text().count('"GET /clients.crl HTTP/1.1" 200')


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """What the shipped verify.yml says with the certificate of the inventory."""
    verification = outside.run_verify()
    assert verification.exit_code == 0, verification.output
    outside.assert_complete(verification, NODES)
    return verification.results


def test_with_a_certificate_all_nine_pairs_are_as_expected(results: dict[str, Any]) -> None:
    assert results["verdict"] == "passed"
    assert results["headline"] == "9 of 9 pairs as expected"
    assert outside.matrix(results) == {
        (issuer, redeemer): "resumed" if issuer == redeemer else "full"
        for issuer, redeemer in PAIRS}
    statuses = {row["status"] for row in results["checks"]}
    assert statuses <= {"passed", "info", "skipped", "warned", "known"}


@pytest.mark.parametrize(("issuer", "redeemer"), PAIRS)
def test_openssl_agrees(results: dict[str, Any], tmp_path: Path, issuer: str,
                        redeemer: str) -> None:
    found = outside.openssl_pair(NODES[issuer], NODES[redeemer], CA, tmp_path, VALID)
    assert found == outside.matrix(results)[issuer, redeemer]


@pytest.mark.parametrize(("issuer", "redeemer"), PAIRS)
def test_python_agrees(results: dict[str, Any], issuer: str, redeemer: str) -> None:
    found = outside.python_pair(NODES[issuer], NODES[redeemer], CA, VALID)
    assert found == outside.matrix(results)[issuer, redeemer]


@pytest.mark.parametrize(("client", "reason", "sentence"), [
    (None, "client_certificate_demanded",
     ("the listener demands a client certificate, and refused a client without one with the fatal "
      "alert handshake_failure (set resumption_client_cert and resumption_client_key)")),
    ("expired", "client_certificate_refused",
     ("the listener refused our client certificate with the fatal alert certificate_expired (renew "
      "resumption_client_cert)")),
    ("revoked", "client_certificate_refused",
     ("the listener refused our client certificate with the fatal alert certificate_revoked (its "
      "CA has revoked resumption_client_cert: use another)")),
])
def test_others_are_told_in_one_clear_sentence(client: str | None, reason: str,
                                               sentence: str) -> None:
    verification = verify_as(client)
    assert verification.exit_code == 2, verification.output
    assert verification.results["verdict"] == "error"
    wrong = [row for row in verification.results["checks"] if row["status"] != "skipped"]
    assert {(row["id"], row["status"], row["reason"]) for row in wrong} == {
        ("CORE-01", "error", reason)}
    assert {row["subject"]: row["message"] for row in wrong} == {
        name: f"{name} (127.0.0.1:{port}): {sentence}" for name, port in NODES.items()}
    assert f"emqx1 (127.0.0.1:{NODES['emqx1']}): {sentence}" in outside.flat(verification.output)
    assert set(outside.matrix(verification.results).values()) == {"not_measured"}
    outside.assert_complete(verification, NODES)


@pytest.mark.parametrize(("client", "alert"), [
    (None, "HANDSHAKE_FAILURE"), ("expired", "CERTIFICATE_EXPIRED"),
    ("revoked", "CERTIFICATE_REVOKED")])
def test_python_is_refused_alike(client: str | None, alert: str) -> None:
    context = outside.tls12_context(CA, (client_ca.certificate(client), client_ca.key(client))
                                    if client else None)
    with pytest.raises(ssl.SSLError) as refused:
        outside.python_handshake(context, NODES["emqx2"])
    assert refused.value.reason == f"SSLV3_ALERT_{alert}"


def test_a_session_outlives_the_revocation_of_its_certificate() -> None:
    """What docs/trust.md says: revoking keeps nobody out who has a session."""
    leaving = outside.tls12_context(CA, (client_ca.certificate("leaving"),
                                         client_ca.key("leaving")))
    port = NODES["emqx1"]
    before = lists_fetched()
    found, session = outside.python_handshake(leaving, port)
    assert found == "full"
    assert lists_fetched() > before
    client_ca.revoke("revoked", "leaving")
    try:
        before = lists_fetched()
        with plain_mqtt.Client(leaving, port, session) as again:
            assert again.session_reused
        assert lists_fetched() == before
        with pytest.raises(ssl.SSLError, match="SSLV3_ALERT_CERTIFICATE_REVOKED"):
            outside.python_handshake(leaving, port)
    finally:
        client_ca.revoke("revoked")
    assert outside.python_handshake(leaving, port)[0] == "full"


def test_a_list_that_cannot_be_had_keeps_everybody_out() -> None:
    away = client_ca.LIST.rename(client_ca.LIST.with_suffix(".away"))
    try:
        with pytest.raises(ssl.SSLError, match="SSLV3_ALERT_BAD_CERTIFICATE"):
            outside.python_handshake(outside.tls12_context(CA, VALID), NODES["emqx3"])
    finally:
        away.rename(client_ca.LIST)
    assert outside.python_handshake(outside.tls12_context(CA, VALID), NODES["emqx3"])[0] == "full"
