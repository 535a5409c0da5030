"""Three containers: the matrix, what outsiders say of it, and how the nodes are inside."""
from __future__ import annotations

import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import outside
import plain_mqtt
import pytest
import testinfra

CLUSTER = f"molecule-docker-{outside.BASE_PORT}"
CA = outside.ROOT / "certs" / "ca.pem"
NODES = outside.ports("emqx1", "emqx2", "emqx3")
DASHBOARD = outside.BASE_PORT + 3
PAIRS = [(issuer, redeemer) for issuer in NODES for redeemer in NODES]


def _containers() -> dict[str, str]:
    # Asked for all that it knows, Docker would measure the containers' files as well.
    listed = subprocess.run(
        ["docker", "ps", "--filter", f"label=conformance.cluster={CLUSTER}", "--format",
         "{{.Names}}"], capture_output=True, text=True, check=True).stdout
    return {node: name for name in listed.split() for node in NODES if f"-{node}-" in name}


@pytest.fixture(scope="module", params=NODES)
def inside(request: pytest.FixtureRequest) -> Any:
    """One node, seen from inside its container."""
    return testinfra.get_host(f"docker://{_containers()[request.param]}")


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """What the shipped verify.yml says; it restarts and kills the nodes, too."""
    verification = outside.run_verify("-e", "resumption_max_impact=disruptive")
    assert verification.exit_code == 0, verification.output
    return verification.results


def test_verify_passes_on_all_nine_pairs(results: dict[str, Any]) -> None:
    assert results["verdict"] == "passed"
    assert [cell["passed"] for cell in results["matrix"]] == [True] * 9
    assert {cell["outcome"] for cell in results["matrix"]} == {"resumed", "full"}
    assert results["target"] == {
        "driver": "docker", "product": "embedded OTP node (not EMQX)", "version": "0.1.0",
        "otp_release": "25",
        "how_identified": "told by `emqx ctl broker` and `emqx eval` in its container"}


@pytest.mark.parametrize(("issuer", "redeemer"), PAIRS)
def test_openssl_agrees(results: dict[str, Any], tmp_path: Path, issuer: str,
                        redeemer: str) -> None:
    found = outside.openssl_pair(NODES[issuer], NODES[redeemer], CA, tmp_path)
    assert found == outside.matrix(results)[issuer, redeemer]


def test_messages_travel_where_sessions_do_not() -> None:
    context = outside.tls12_context(CA)
    with plain_mqtt.Client(context, NODES["emqx1"]) as publisher, \
            plain_mqtt.Client(context, NODES["emqx3"], publisher.session) as subscriber:
        assert not subscriber.session_reused
        subscriber.subscribe("molecule/docker")
        publisher.publish("molecule/docker", b"from node 1 to node 3")
        assert subscriber.message() == ("molecule/docker", b"from node 1 to node 3")


def test_the_node_runs_as_an_ordinary_user(inside: Any) -> None:
    assert inside.check_output("whoami") == "emqx"
    (beam,) = inside.process.filter(comm="beam.smp")
    assert beam.user == "emqx"


def test_it_listens_where_the_image_says(inside: Any) -> None:
    for port in (8883, 18083):
        assert inside.run(f"python3 -c 'import socket; socket.create_connection("
                          f"(\"127.0.0.1\", {port}), 5)'").rc == 0


def test_its_configuration_is_ours_and_read_only(inside: Any) -> None:
    listeners = inside.file("/opt/emqx/etc/listeners.hocon")
    assert listeners.contains("reuse_sessions = true")
    assert inside.file("/opt/emqx/etc/emqx.conf").contains(
        'include "/opt/emqx/etc/listeners.hocon"')
    assert inside.run("touch /opt/emqx/etc/listeners.hocon").rc != 0


def test_keys_are_not_for_everybody(inside: Any) -> None:
    key = inside.file("/opt/emqx/etc/conformance/server-key.pem")
    assert key.mode == 0o640
    assert key.contains("BEGIN RSA PRIVATE KEY") or key.contains("BEGIN PRIVATE KEY")


def test_no_cookie_on_a_command_line(inside: Any) -> None:
    cookie = inside.check_output("printenv EMQX_NODE__COOKIE")
    assert len(cookie) == 64
    assert cookie not in inside.check_output("ps -eo args")


def test_it_sees_the_whole_cluster(inside: Any) -> None:
    told = inside.check_output("emqx ctl cluster status")
    assert told.count("@emqx") == 3
    assert "stopped_nodes => []" in told


def test_the_dashboards_port_says_what_this_is() -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{DASHBOARD}/status", timeout=10) as answer:
        assert "emqx is running" in answer.read().decode()
    with urllib.request.urlopen(f"http://127.0.0.1:{DASHBOARD}/", timeout=10) as answer:
        assert "not EMQX" in answer.read().decode()


def test_nodes_that_die_and_come_back(results: dict[str, Any]) -> None:
    life = {(row["id"], row["subject"]): row["status"] for row in results["checks"]
            if row["id"].startswith("LIFE-")}
    assert {key: status for key, status in life.items() if key[0] in (
        "LIFE-01", "LIFE-02", "LIFE-05")} == {
        (check, node): "passed" for check in ("LIFE-01", "LIFE-02", "LIFE-05") for node in NODES}
    assert set(_containers()) == set(NODES)
