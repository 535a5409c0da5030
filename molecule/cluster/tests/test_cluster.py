"""Three nodes: other people's TLS clients find pair by pair what our matrix says."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import outside
import plain_mqtt
import pytest

CA = outside.ROOT / "certs" / "ca.pem"
NODES = outside.ports("emqx1", "emqx2", "emqx3")
PAIRS = [(issuer, redeemer) for issuer in NODES for redeemer in NODES]


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """What the shipped verify.yml says, which is also the first test of this scenario."""
    verification = outside.run_verify()
    assert verification.exit_code == 0, verification.output
    return verification.results


@pytest.fixture(scope="module")
def matrix(results: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Our own verdicts, by issuer and redeemer."""
    return outside.matrix(results)


def test_verify_passes_on_all_nine_pairs(results: dict[str, Any]) -> None:
    assert results["verdict"] == "passed"
    assert results["complete"] is True
    assert [cell["passed"] for cell in results["matrix"]] == [True] * 9
    assert {cell["outcome"] for cell in results["matrix"]} == {"resumed", "full"}
    assert results["target"]["product"] == "embedded OTP node (not EMQX)"
    assert {row["status"] for row in results["checks"]} <= {
        "passed", "info", "skipped", "warned", "known"}


def test_every_node_is_a_process_of_its_own_on_loopback(host: Any) -> None:
    assert len({outside.process_of(port)[0] for port in NODES.values()}) == len(NODES)
    for port in NODES.values():
        assert not host.socket(f"tcp://0.0.0.0:{port}").is_listening


@pytest.mark.parametrize(("issuer", "redeemer"), PAIRS)
def test_openssl_agrees(matrix: dict[tuple[str, str], str], tmp_path: Path,
                        issuer: str, redeemer: str) -> None:
    found = outside.openssl_pair(NODES[issuer], NODES[redeemer], CA, tmp_path)
    assert found == matrix[issuer, redeemer]


@pytest.mark.parametrize(("issuer", "redeemer"), PAIRS)
def test_python_agrees(matrix: dict[tuple[str, str], str], issuer: str, redeemer: str) -> None:
    found = outside.python_pair(NODES[issuer], NODES[redeemer], CA)
    assert found == matrix[issuer, redeemer]


@pytest.mark.parametrize(("issuer", "redeemer"), PAIRS)
def test_gnutls_agrees(matrix: dict[tuple[str, str], str], issuer: str, redeemer: str) -> None:
    found = outside.gnutls_pair(NODES[issuer], NODES[redeemer], CA)
    assert found == matrix[issuer, redeemer]


def test_messages_travel_where_sessions_do_not() -> None:
    context = outside.tls12_context(CA)
    with plain_mqtt.Client(context, NODES["emqx1"]) as publisher:
        with plain_mqtt.Client(context, NODES["emqx3"], publisher.session) as subscriber:
            assert not subscriber.session_reused
            subscriber.subscribe("molecule/cluster")
            publisher.publish("molecule/cluster", b"from node 1 to node 3")
            assert subscriber.message() == ("molecule/cluster", b"from node 1 to node 3")
        with plain_mqtt.Client(context, NODES["emqx1"], publisher.session) as again:
            assert again.session_reused
