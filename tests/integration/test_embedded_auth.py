"""User name and password at embedded nodes: who comes in, and where the password is not."""
from __future__ import annotations

import stat
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.cluster import Answer, ask
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import DriverError
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.credentials import Credentials
from ansible_collections.emqx.conformance.plugins.modules import emqx_cluster

from tests.support.embedded_cluster import ROOT, TestCluster
from tests.support.ports import free_ports

USERNAME, PASSWORD = "probe", "correct-horse-battery-staple"
CREDENTIALS = Credentials(USERNAME, PASSWORD)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory,
            certificate: tuple[Path, Path]) -> Iterator[TestCluster]:
    made = TestCluster(tmp_path_factory.mktemp("auth"), certificate,
                       dict(zip(("emqx1", "emqx2"), free_ports(2))), credentials=CREDENTIALS)
    with made.running():
        yield made


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("node", ["emqx1", "emqx2"])
def test_the_right_password(cluster: TestCluster, node: str, version: int) -> None:
    with cluster.client(node) as client:
        body = client.connect(version=version, username=USERNAME, password=PASSWORD)
        assert body[:2] == b"\x00\x00"
        assert client.silent()


@pytest.mark.parametrize(("version", "answer"), [(4, b"\x00\x04"), (5, b"\x00\x86\x00")])
@pytest.mark.parametrize("given", [
    {}, {"username": USERNAME}, {"username": USERNAME, "password": ""},
    {"username": USERNAME, "password": PASSWORD + "x"},
    {"username": USERNAME.upper(), "password": PASSWORD}, {"username": "", "password": PASSWORD}])
def test_everything_else_is_refused(cluster: TestCluster, version: int, answer: bytes,
                                    given: dict[str, str]) -> None:
    with cluster.client("emqx1") as client:
        assert client.connect(version=version, client_id="refused", **given) == answer
        assert client.packet() == (0, b"")


def test_who_is_refused_takes_no_session_over(cluster: TestCluster) -> None:
    with cluster.client("emqx1") as client, cluster.client("emqx2") as intruder:
        client.connect(client_id="owned", username=USERNAME, password=PASSWORD)
        assert intruder.connect(client_id="owned", username=USERNAME) == b"\x00\x04"
        assert client.silent()


def test_the_password_is_nowhere(cluster: TestCluster) -> None:
    for node in cluster.ports:
        with cluster.client(node) as client:
            client.connect(username=USERNAME, password=PASSWORD + "x")
        config = cluster.cluster_folder.run_dir(node) / "node.config"
        assert stat.S_IMODE(config.stat().st_mode) == 0o600
        assert "'hash' => <<" in config.read_text()
    files = [path for path in cluster.cluster_folder.path.rglob("*") if path.is_file()]
    assert any(path.name == "node.log" for path in files)
    for path in files:
        assert PASSWORD.encode() not in path.read_bytes(), path
    listing = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True,
                             check=True).stdout
    assert PASSWORD not in listing
    for pid in cluster.pids().values():
        assert PASSWORD.encode() not in Path(f"/proc/{pid}/environ").read_bytes()


def test_an_unchanged_password_changes_nothing(cluster: TestCluster) -> None:
    before = cluster.pids()
    assert not cluster.deploy().changed
    assert cluster.pids() == before


def test_another_password_restarts_and_is_the_only_one(cluster: TestCluster) -> None:
    changed = replace(cluster, credentials=Credentials(USERNAME, "another"))
    assert changed.deploy().restart == ["emqx1", "emqx2"]
    for password, code in (("another", 0), (PASSWORD, 4)):
        with cluster.client("emqx1") as client:
            assert client.connect(username=USERNAME, password=password)[1] == code
    opened = replace(cluster, credentials=None)
    assert opened.deploy().restart == ["emqx1", "emqx2"]
    with cluster.client("emqx1") as client:
        assert client.connect() == b"\x00\x00"
    assert cluster.deploy().restart == ["emqx1", "emqx2"]


# -- The module ------------------------------------------------------------------------------------

def run(cluster: TestCluster, **changes: Any) -> Answer:
    defaults = {name: option.get("default")
                for name, option in emqx_cluster.ARGUMENT_SPEC.items()}
    return ask({**defaults, "cluster_name": cluster.name, "state_dir": str(cluster.state_dir),
                "source_dir": str(ROOT / "embedded_node"),
                "config_dir": str(cluster.folder / "config"),
                "ca": str(cluster.certificate[0]), "release": "5.8.9",
                "mqtt_username": USERNAME, "mqtt_password": PASSWORD,
                "nodes": [{"name": node, "host": "127.0.0.1", "port": port,
                           "server_name": "localhost", "config": None}
                          for node, port in cluster.ports.items()], **changes},
               pretend=False, stop=threading.Event())


def test_the_module_deploys_with_credentials_and_one_handshake_a_node(
        cluster: TestCluster) -> None:
    before = {node: cluster.status(node)["handshakes"]["accepted"] for node in cluster.ports}
    answer = run(cluster)
    assert (answer.changed, answer.unchanged) == (False, ["emqx1", "emqx2"])
    assert {name: identity.version for name, identity in answer.identities.items()} == {
        "emqx1": "0.1.0", "emqx2": "0.1.0"}
    assert [cluster.status(node)["handshakes"]["accepted"] - before[node]
            for node in cluster.ports] == [1, 1]


@pytest.mark.parametrize("missing", ["mqtt_username", "mqtt_password"])
def test_half_of_the_credentials(cluster: TestCluster, missing: str) -> None:
    with pytest.raises(DriverError, match="a user name with its password: give both, or none"):
        run(cluster, **{missing: None})


def test_nodes_of_somebody_else_are_not_contacted(cluster: TestCluster) -> None:
    def accepted() -> list[int]:
        return [cluster.status(node)["handshakes"]["accepted"] for node in cluster.ports]

    before = accepted()
    answer = run(cluster, driver="external")
    assert (answer.unchanged, answer.identities) == (["emqx1", "emqx2"], {})
    assert accepted() == before
