"""Caches off: the shipped verify.yml must fail, on CORE-02, because nothing resumed."""
from __future__ import annotations

import outside
import pytest


@pytest.fixture(scope="module")
def verification() -> outside.Verification:
    """The shipped verify.yml on the inventory as it is."""
    return outside.run_verify()


def test_verify_fails_on_core_02_and_for_no_other_reason(
        verification: outside.Verification) -> None:
    assert verification.exit_code == 2, verification.output
    results = verification.results
    assert results["verdict"] == "failed"
    assert results["complete"] is True
    found = {(row["id"], row["subject"], row["status"], row["reason"])
             for row in results["checks"] if row["status"] not in ("passed", "skipped")}
    assert found == {("CORE-02", "emqx1", "failed", "not_resumed"),
                     ("CORE-02", "emqx2", "failed", "not_resumed")}
    assert "CORE-02 not_resumed on emqx1, emqx2" in verification.output.replace("\n", " ")


def test_the_ids_are_issued_all_the_same(verification: outside.Verification) -> None:
    """A non-empty session ID proves nothing: this node issues one and forgets it."""
    results = verification.results
    issued = [cell["server_id"] for cell in results["matrix"] if cell["issuer"] == cell["redeemer"]]
    assert [len(session_id) for session_id in issued] == [64, 64]


def test_openssl_agrees() -> None:
    for port in outside.ports("emqx1", "emqx2").values():
        assert outside.openssl_reconnects("127.0.0.1", port) == ["New"] * 6


def test_declared_as_off_it_passes() -> None:
    """The same cluster is as expected once the inventory says that nothing resumes."""
    verification = outside.run_verify("-e", "resumption_cache_scope=none")
    assert verification.exit_code == 0, verification.output
    assert verification.results["verdict"] == "passed"
