"""The client stacks themselves, built and tried on two nodes by the playbook, as a user does it."""
from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.definitions import (
    expected,
    names,
    read,
)
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.measure import (
    StackRequest,
    measure,
)
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.credentials import Credentials
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.support import client_run
from tests.support.mqtt_broker import MqttBroker
from tests.support.playbooks import ROOT, Cluster, write_inventory
from tests.support.ports import free_ports
from tests.support.rabbitmq_node import RabbitMqNode
from tests.support.strangers import Authority

STACKS = ("erlang_ssl", "openssl", "python_ssl")
"""Those that the gate tries."""
VERIFY_NO_ADDRESSES = {"mbedtls", "rustls"}
"""In the versions that Debian 12 has; newer ones do."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two embedded nodes, asked by a name: some stacks verify no addresses."""
    folder = tmp_path_factory.mktemp("clients")
    ports = free_ports(2)
    made = Cluster("test-clients", ports, write_inventory(folder, "test-clients", ports, {
        "emqx_tls_server_name": "localhost", "emqx_certs_dir": str(folder / "certs"),
        "emqx_config_dir": str(folder / "config")}), folder / "reports")
    done = made.play("playbooks/deploy.yml")
    try:
        assert done.code == 0, done.output
        yield made
    finally:
        gone = made.play("playbooks/destroy.yml")
        assert gone.code == 0, gone.output
        assert made.pids() == set()


def results(cluster: Cluster) -> dict[str, Any]:
    text = (cluster.reports / "clients" / "latest" / "results.json").read_text()
    found: dict[str, Any] = json.loads(text)
    jsonschema.validate(found, json.loads((ROOT / "schemas/clients.schema.json").read_text()))
    return found


def build(*stacks: str) -> None:
    done = subprocess.run(["make", "-s", "stacks", f"STACKS={' '.join(stacks)}"], cwd=ROOT,
                          capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def tried(cluster: Cluster, stacks: Sequence[str]) -> dict[str, Any]:
    """Build stacks, try them, and return the results, in which nothing is but what is expected."""
    build(*stacks)
    done = cluster.play("clients.yml", "-e", f"resumption_client_stacks={','.join(stacks)}")
    assert done.code == 0, done.output
    found = results(cluster)
    matrix = found["clients"]["matrix"]
    assert {cell["stack"] for cell in matrix} == set(stacks)
    assert [cell["message"] for cell in matrix if cell["status"] != "info"] == []
    # What was announced is what was made.
    for node in found["budget"]["nodes"].values():
        assert node["handshakes_done"] == node["handshakes_announced"]
    counted = f"{len(stacks)} client stack{'s' if len(stacks) > 1 else ''}"
    assert f"Verdict PASSED: of {counted} on 2 nodes" in done.flat
    page = (cluster.reports / "clients" / "latest" / "index.html").read_text()
    assert all(f'id="stack-{name}"' in page for name in stacks)
    return found


def test_the_stacks_do_as_is_expected_of_them(cluster: Cluster) -> None:
    found = tried(cluster, STACKS)
    assert len(found["clients"]["matrix"]) == len(STACKS) * 2 * 2 * 3
    assert {row["stack"]: set(row["nodes"].values()) for row in found["clients"]["stacks"]} == {
        "erlang_ssl": {"by_default"}, "openssl": {"when_told"}, "python_ssl": {"when_told"}}


@pytest.mark.beyond_gate("it installs compilers and runtimes of a gigabyte")
def test_so_do_all_others(cluster: Cluster) -> None:
    tried(cluster, [name for name in names(ROOT) if name not in STACKS])


@pytest.mark.beyond_gate("it installs a JDK")
def test_java_wants_the_name_verified_or_no_extended_master_secret(cluster: Cluster) -> None:
    connections = tried(cluster, ["java"])["connections"].values()
    # Erlang/OTP negotiates none (erlang/otp#9235), and who offers it anyway is who asks for more.
    assert not any(one["extended_master_secret"] for one in connections)
    assert {way: {(one["extended_master_secret_offered"], bool(one["offered_id"]))
                  for one in connections if one["way"] == way and one["number"] == 2}
            for way in ("as_it_comes", "name_unverified", "told")} == {
        "as_it_comes": {(True, True)}, "name_unverified": {(True, False)},
        "told": {(False, True)}}


@pytest.mark.beyond_gate("it installs a JDK")
def test_java_resumes_in_any_case_where_that_secret_is_negotiated(
        certificate: tuple[Path, Path], tmp_path: Path) -> None:
    build("java")
    found, _ = client_run.run(certificate, tmp_path, [read("java", ROOT).stack()])
    assert {(cell["way"], cell["result"]) for cell in found["clients"]["matrix"]
            if cell["place"] == "home"} == {
        (way, "resumed") for way in ("as_it_comes", "name_unverified", "told")}
    assert {one["way"] for one in found["connections"].values()
            if one["extended_master_secret"]} == {"as_it_comes", "name_unverified"}


def each(*, but: Sequence[str] = ()) -> pytest.MarkDecorator:
    """Every stack, of which the gate tries one."""
    return pytest.mark.parametrize("name", [
        pytest.param(name, marks=() if name == "openssl" else pytest.mark.beyond_gate(
            "the gate has no time for each of them; OpenSSL stands for all"))
        for name in names(ROOT) if name not in but])


@each()
def test_a_client_lets_nobody_in_whom_it_does_not_trust(name: str, tmp_path: Path) -> None:
    build(name)
    authority, other = Authority(tmp_path, "ca"), Authority(tmp_path, "other")
    server = authority.issue("server")
    node = MqttBroker(server.cert, server.key)
    try:
        codes = []
        for one in (authority, other):
            done = subprocess.run(
                [*read(name, ROOT).stack().run, "127.0.0.1", str(node.port), str(one.file),
                 "localhost", "as_it_comes", "stranger", "1"],
                capture_output=True, text=True, check=True, timeout=60)
            codes.append(json.loads(done.stdout)["connack"])
    finally:
        node.stop()
    assert codes == [0, -1]


# JSSE and NSS read no PEM files, so that these say nothing of themselves by certificate.
@each(but=("java", "nss"))
def test_a_client_says_who_it_is_by_certificate_and_password(name: str, tmp_path: Path) -> None:
    build(name)
    authority = Authority(tmp_path, "ca")
    server, client = authority.issue("server"), authority.issue("client")
    node = MqttBroker(server.cert, server.key, password="p" * 200)
    node.context.load_verify_locations(authority.file)
    node.context.verify_mode = ssl.CERT_REQUIRED
    try:
        found, _ = measure(StackRequest(
            {"n1": Endpoint("n1", "127.0.0.1", node.port, "localhost")},
            (read(name, ROOT).stack(),), tmp_path / "reports", expected(ROOT),
            Trust(str(authority.file), str(client.cert), str(client.key)),
            Credentials("probe", "p" * 200)), threading.Event())
    finally:
        node.stop()
    told = [(cell["status"], cell["message"]) for cell in found["clients"]["matrix"]]
    assert [status for status, _ in told] == ["info"] * len(told), told


@pytest.mark.beyond_gate("it installs compilers and runtimes of a gigabyte")
def test_they_do_the_same_on_rabbitmq(tmp_path: Path) -> None:
    stacks = names(ROOT)
    build(*stacks)
    node = RabbitMqNode(tmp_path / "node")
    try:
        given = node.credentials
        found, _ = measure(StackRequest(
            {"rabbit1": Endpoint("rabbit1", "127.0.0.1", node.port, "127.0.0.1")},
            tuple(read(name, ROOT).stack() for name in stacks), tmp_path / "reports",
            expected(ROOT), Trust(str(node.ca)),
            Credentials(given["mqtt_username"], given["mqtt_password"]),
            session_cache_max=100_000), threading.Event())
    finally:
        node.stop()
    assert {cell["stack"] for cell in found["clients"]["matrix"]
            if cell["status"] != "info"} == VERIFY_NO_ADDRESSES
    assert {row["stack"]: row["nodes"]["rabbit1"] for row in found["clients"]["stacks"]} == {
        **dict.fromkeys(stacks, "when_told"),
        **dict.fromkeys(("emqtt", "erlang_ssl", "java", "nss"), "by_default"),
        **dict.fromkeys(("golang", "mosquitto", "paho_c"), "never"),
        **dict.fromkeys(VERIFY_NO_ADDRESSES, "not_tried")}


def test_check_says_what_it_would_do_and_connects_to_nobody(cluster: Cluster) -> None:
    done = cluster.play("clients.yml", "--check", "-e",
                        "resumption_client_stacks=openssl,python_ssl",
                        "-e", "resumption_rate_limit=50", "-e", "resumption_max_impact=safe")
    assert done.code == 0, done.output
    assert "openssl: as it comes, told to resume" in done.flat
    assert "python_ssl: left out, since a node's session budget is 10" in done.flat
    assert ("Budget: 20 handshakes: 10 with each of emqx1, emqx2, of which up to 10 full"
            in done.flat)
