"""Nodes in containers: made as said, changed only where something changed, gone without trace."""
from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.emqx.conformance.plugins.module_utils.cluster import open_driver
from ansible_collections.emqx.conformance.plugins.module_utils.drivers import faults
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import Driver, NodeSpec
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.ready import (
    Caller,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.support import docker_engine
from tests.support.docker_engine import docker, inspect, of_cluster, volumes_of
from tests.support.playbooks import ROOT, Cluster, Done, write_inventory
from tests.support.ports import free_ports

NAME = f"test-docker-{os.getpid()}"
"""The engine is shared with whoever else tests on this machine."""
BYSTANDER, SINGLE = f"{NAME}-bystander", f"{NAME}-single"
NODES = ("emqx1", "emqx2", "emqx3")
NOTHING: dict[str, set[str]] = {"containers": set(), "networks": set()}
BEFORE = "Task failed: Module failed: "


def sentence(done: Done) -> str:
    """Return the one sentence of a deploy that failed."""
    assert done.code == 2, done.output
    return done.flat.partition(BEFORE)[2].partition(" Origin:")[0]


@pytest.fixture(scope="module")
def cluster(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three containers for this module of tests, destroyed after it."""
    folder = tmp_path_factory.mktemp(NAME)
    ports = free_ports(4)
    # Somebody else's, of which nothing may change.
    docker("network", "create", BYSTANDER)
    docker("run", "--detach", "--name", BYSTANDER, "--entrypoint", "sleep", image, "3600")
    made = Cluster(NAME, ports, write_inventory(folder, NAME, ports[:3], {
        "emqx_driver": "docker", "emqx_image": image}), folder / "reports")
    done = made.play("playbooks/deploy.yml")
    try:
        assert done.code == 0, done.output
        yield made
    finally:
        volumes = volumes_of(of_cluster(NAME)["containers"])
        gone = made.play("playbooks/destroy.yml")
        after = of_cluster(NAME)
        bystander = docker("inspect", "--format", "{{.State.Running}}", BYSTANDER)
        docker("rm", "--force", "--volumes", BYSTANDER)
        docker("network", "rm", BYSTANDER)
        assert gone.code == 0, gone.output
        assert after == NOTHING
        assert volumes
        assert not volumes & docker_engine.volumes()
        assert bystander == "true"
        assert not (ROOT / ".cluster" / NAME).exists()


def containers() -> dict[str, str]:
    """Return node -> name of its container."""
    return {inspect(name)["Config"]["Labels"]["conformance.node"]: name
            for name in of_cluster(NAME)["containers"]}


def started() -> dict[str, tuple[str, str]]:
    """Return node -> id and start of its container: another one is another boot."""
    return {node: (inspect(name)["Id"], inspect(name)["State"]["StartedAt"])
            for node, name in containers().items()}


def running_nodes(node: str) -> str:
    """Return what a node says of its cluster."""
    return docker("exec", containers()[node], "emqx", "ctl", "cluster", "status")


def test_a_second_deploy_changes_nothing(cluster: Cluster) -> None:
    before = started()
    done = cluster.play("playbooks/deploy.yml")
    assert done.code == 0, done.output
    assert "changed=0" in done.output
    assert started() == before
    checked = cluster.play("playbooks/deploy.yml", "--check", "--diff")
    assert checked.code == 0, checked.output
    assert "changed=0" in checked.output
    assert started() == before


def test_how_a_container_is_made(cluster: Cluster) -> None:
    made = inspect(containers()["emqx2"])
    host, config = made["HostConfig"], made["Config"]
    assert host["PortBindings"] == {
        "8883/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(cluster.ports[1])}]}
    assert all(not mount["RW"] for mount in made["Mounts"] if mount["Type"] == "bind")
    assert {mount["Destination"] for mount in made["Mounts"] if mount["Type"] == "bind"} == {
        "/opt/emqx/etc/emqx.conf", "/opt/emqx/etc/listeners.hocon",
        *(f"/opt/emqx/etc/conformance/{name}"
          for name in ("ca.pem", "server-cert.pem", "server-key.pem"))}
    assert (host["Memory"], host["NanoCpus"], host["Privileged"]) == (1024 ** 3, 10 ** 9, False)
    assert config["Healthcheck"]["Test"] == ["CMD", "/opt/emqx/bin/emqx", "ctl", "status"]
    assert config["User"] == "emqx"
    environment = dict(line.split("=", 1) for line in config["Env"])
    assert environment["EMQX_NODE__NAME"] == f"emqx@emqx2.{NAME}.internal"
    assert environment["EMQX_CLUSTER__STATIC__SEEDS"] == (
        f"[emqx@emqx1.{NAME}.internal,emqx@emqx2.{NAME}.internal,emqx@emqx3.{NAME}.internal]")
    assert environment["ERL_FLAGS"] == (
        "-ssl session_lifetime 86400 -ssl session_cache_server_max 1000")
    assert environment["CONFORMANCE_EMQX_RELEASE"] == "5.8.9"
    assert len(environment["EMQX_NODE__COOKIE"]) == 64
    cookies = {dict(line.split("=", 1) for line in inspect(name)["Config"]["Env"])[
        "EMQX_NODE__COOKIE"] for name in containers().values()}
    assert len(cookies) == 1


def test_keys_are_for_the_containers_group_alone(cluster: Cluster) -> None:
    folder = ROOT / ".cluster" / NAME
    key = folder / "emqx1" / "tls" / "server-key.pem"
    assert key.stat().st_mode & 0o777 == 0o640
    assert (folder / "emqx1").stat().st_mode & 0o777 == 0o700
    assert (folder / ".erlang.cookie").stat().st_mode & 0o777 == 0o400
    assert docker("exec", containers()["emqx1"], "head", "-1",
                  "/opt/emqx/etc/conformance/server-key.pem").startswith("-----BEGIN")


def test_only_what_changed_is_started_anew(cluster: Cluster) -> None:
    before = started()
    inventory = yaml.safe_load(cluster.inventory.read_text())
    inventory["all"]["children"]["emqx"]["hosts"]["emqx2"]["emqx_listeners"] = {
        "ssl": {"default": {"max_connections": 500}}}
    # It stays like that: for the tests after this one it makes no difference.
    cluster.inventory.write_text(yaml.safe_dump(inventory))
    pretended = cluster.play("playbooks/deploy.yml", "--check", "--diff")
    assert pretended.code == 0, pretended.output
    assert started() == before
    done = cluster.play("playbooks/deploy.yml")
    assert done.code == 0, done.output
    after = started()
    assert [node for node in NODES if after[node] != before[node]] == ["emqx2"]
    for node in NODES:
        assert running_nodes(node).count("@") == 3
        assert "stopped_nodes => []" in running_nodes(node)


@pytest.mark.parametrize("harms", [
    {"emqx3": ("kill",), "emqx2": ("pause",)},
    {"emqx3": ("stop",), "emqx2": ("network", "disconnect")},
    {"emqx3": ("rm", "--force", "--volumes")}], ids=lambda harms: " and ".join(
        harm[0] for harm in harms.values()))
def test_a_deploy_mends_what_happened_to_nodes(
        cluster: Cluster, harms: dict[str, tuple[str, ...]]) -> None:
    before = started()
    for victim, harm in harms.items():
        (network,) = (name for name in of_cluster(NAME)["networks"] if "-cluster-" in name)
        docker(*harm, *([network] if harm[0] == "network" else []), containers()[victim])
    done = cluster.play("playbooks/deploy.yml")
    assert done.code == 0, done.output
    after = started()
    assert {node for node in NODES if after[node] != before[node]} == set(harms)
    for node in NODES:
        assert "stopped_nodes => []" in running_nodes(node)


class _BrokeError(Exception):
    """Whoever disturbed a node broke."""


@pytest.fixture
def caller() -> Iterator[Caller]:
    """An ordinary client."""
    made = Caller(Trust(str(ROOT / "certs" / "ca.pem")))
    yield made
    made.close()


@pytest.fixture
def driver(cluster: Cluster, caller: Caller) -> Driver:
    """What a verification drives the deployed cluster with."""
    return open_driver("docker", state_dir=ROOT / ".cluster", cluster=NAME, caller=caller,
                       stop=threading.Event())


def specs(cluster: Cluster) -> list[NodeSpec]:
    """Return the nodes as the inventory describes them."""
    return [NodeSpec(name, "127.0.0.1", port, "127.0.0.1")
            for name, port in zip(NODES, cluster.ports)]


@pytest.mark.parametrize("fault", [faults.stopped, faults.killed, faults.cut_off])
def test_a_fault_is_undone_also_when_its_maker_breaks(
        cluster: Cluster, driver: Driver, fault: faults.Fault) -> None:
    with pytest.raises(_BrokeError), fault(driver, specs(cluster)[1]):
        raise _BrokeError
    identities = driver.wait_ready(specs(cluster), 60)
    assert {name: identity.otp_release for name, identity in identities.items()} == dict.fromkeys(
        NODES, "25")
    for node in NODES:
        assert "stopped_nodes => []" in running_nodes(node)


def test_clients_reach_a_node_that_its_peers_have_lost(
        cluster: Cluster, driver: Driver, caller: Caller) -> None:
    node = specs(cluster)[2]
    with faults.cut_off(driver, node):
        assert caller.connack(node).version == "5"
        assert docker("exec", containers()["emqx1"], "sh", "-c",
                      f"getent hosts emqx3.{NAME}.internal || echo lost") == "lost"
    driver.wait_ready(specs(cluster), 60)
    assert docker("exec", containers()["emqx1"], "getent", "hosts", f"emqx3.{NAME}.internal")


def test_a_node_that_left_the_inventory_goes(cluster: Cluster) -> None:
    inventory = yaml.safe_load(cluster.inventory.read_text())
    del inventory["all"]["children"]["emqx"]["hosts"]["emqx3"]
    smaller = cluster.inventory.with_name("smaller.yml")
    smaller.write_text(yaml.safe_dump(inventory))
    done = Cluster(cluster.name, cluster.ports, smaller, cluster.reports).play(
        "playbooks/deploy.yml")
    smaller.unlink()
    assert done.code == 0, done.output
    assert set(containers()) == {"emqx1", "emqx2"}
    assert "emqx3" not in running_nodes("emqx1")
    assert cluster.play("playbooks/deploy.yml").code == 0
    assert set(containers()) == set(NODES)


@pytest.mark.parametrize(("limit", "said"), [
    ("emqx_container_cpus=4096", "emqx_container_cpus is 4096, and may be from 0.01 to the "),
    ("emqx_container_memory=5m", ("emqx_container_memory is 5m, and Docker gives a container no "
                                  "less than 6m"))])
def test_what_the_engine_would_refuse_costs_no_node(cluster: Cluster, limit: str,
                                                    said: str) -> None:
    before = started()
    for more in ((), ("--check",)):
        assert sentence(cluster.play("playbooks/deploy.yml", "-e", limit, *more)).startswith(said)
    assert started() == before


def test_a_node_that_was_not_reached_runs_on(cluster: Cluster, image: str) -> None:
    before = started()
    inventory = yaml.safe_load(cluster.inventory.read_text())
    hosts = inventory["all"]["children"]["emqx"]["hosts"]
    hosts["emqx1"]["emqx_image"] = broken = f"{NAME}-unfit:latest"
    for node in hosts.values():
        node["emqx_listeners"] = {"ssl": {"default": {"max_connections": 400}}}
    name = docker("create", image)
    docker("commit", "--change", 'ENTRYPOINT ["/no/such/program"]', name, broken)
    docker("rm", "--volumes", name)
    changed = cluster.inventory.with_name("unfit.yml")
    changed.write_text(yaml.safe_dump(inventory))
    try:
        done = Cluster(cluster.name, cluster.ports, changed, cluster.reports).play(
            "playbooks/deploy.yml")
    finally:
        changed.unlink()
        docker("rmi", broken)
    assert sentence(done).startswith("emqx1 could not be started: ")
    after = started()
    assert {node: after.get(node) for node in NODES} == {**before, "emqx1": None}
    assert cluster.play("playbooks/deploy.yml").code == 0


def single(tmp_path: Path, port: int, **variables: object) -> Cluster:
    """Return a cluster of one node that is not deployed yet."""
    return Cluster(SINGLE, [port], write_inventory(
        tmp_path, SINGLE, [port], {"emqx_driver": "docker", **variables}),
        tmp_path / "reports")


def test_a_port_that_a_container_has(cluster: Cluster, image: str, tmp_path: Path) -> None:
    done = single(tmp_path, cluster.ports[0], emqx_image=image).play("playbooks/deploy.yml")
    assert sentence(done) == (
        f"emqx1: 127.0.0.1:{cluster.ports[0]} is already in use by node emqx1 of cluster {NAME} "
        f"(container {containers()['emqx1']}); free it, or choose another with emqx_base_port, "
        "emqx_tls_port or emqx_dashboard_port")
    assert not of_cluster(SINGLE)["containers"]


def test_an_image_that_cannot_be_had(cluster: Cluster, image: str, tmp_path: Path) -> None:
    # Nobody listens on port 1 of this machine.
    done = single(tmp_path, cluster.ports[3], emqx_image="127.0.0.1:1/emqx/emqx:5.8.9").play(
        "playbooks/deploy.yml")
    said = sentence(done)
    assert said.startswith("the image 127.0.0.1:1/emqx/emqx:5.8.9 is not here and cannot be pulled")
    assert "bring it with `docker load`, or take one that is here with -e emqx_image=" in said
    assert image in said


def test_check_mode_pulls_and_makes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    done = single(tmp_path, cluster.ports[3], emqx_image="127.0.0.1:1/emqx/emqx:5.8.9").play(
        "playbooks/deploy.yml", "--check", "--diff")
    assert done.code == 0, done.output
    assert "emqx1: running" in done.output
    assert ("the image 127.0.0.1:1/emqx/emqx:5.8.9 is not here and would be pulled (emqx1)"
            in done.flat)
    assert of_cluster(SINGLE) == NOTHING


def test_a_node_that_does_not_boot_leaves_its_log_and_nothing_else(
        cluster: Cluster, image: str, tmp_path: Path) -> None:
    broken = f"{NAME}-broken:latest"
    name = docker("create", image)
    docker("commit", "--change", 'ENTRYPOINT ["sh", "-c", "echo no disk; exit 3"]', name, broken)
    docker("rm", "--volumes", name)
    state = tmp_path / "state"
    try:
        done = single(tmp_path, cluster.ports[3], emqx_image=broken,
                      emqx_state_dir=str(state)).play("playbooks/deploy.yml")
    finally:
        docker("rmi", broken)
    said = sentence(done)
    assert said.startswith(f"emqx1 ended unexpectedly; `docker logs conformance-{SINGLE}")
    assert said.endswith("ends: no disk")
    assert (state / SINGLE / "emqx1/container.log").read_text() == "no disk\n"
    assert of_cluster(SINGLE) == NOTHING


def test_what_lost_its_folder_goes_too(cluster: Cluster, image: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    one = single(tmp_path, cluster.ports[3], emqx_image=image, emqx_state_dir=str(state))
    assert one.play("playbooks/deploy.yml").code == 0
    assert len(of_cluster(SINGLE)["containers"]) == 1
    shutil.rmtree(state)
    gone = one.play("playbooks/destroy.yml")
    assert gone.code == 0, gone.output
    assert of_cluster(SINGLE) == NOTHING
    # The other cluster is of this checkout too, and was not meant.
    assert set(containers()) == set(NODES)


@pytest.mark.parametrize(("address", "said"), [
    ("unix:///nowhere/docker.sock",
     ("no Docker Engine answers at unix:///nowhere/docker.sock: is one installed and running? (No "
      "such file or directory)")),
    ("tcp://192.0.2.1:2375",
     ("DOCKER_HOST is tcp://192.0.2.1:2375, and the docker driver needs an engine of this machine: "
      "it mounts the checkout's files and opens ports on 127.0.0.1"))])
def test_no_engine_to_be_used(tmp_path: Path, address: str, said: str) -> None:
    one = single(tmp_path, free_ports(1)[0])
    done = subprocess.run(
        one.command("playbooks/deploy.yml"), cwd=ROOT, capture_output=True, text=True, check=False,
        timeout=120, env={**one.environment(), "DOCKER_HOST": address})
    assert sentence(Done(done.returncode, done.stdout + done.stderr)) == said


