"""Who waits in vain for nodes says for how long, and which variable makes it longer."""
from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import (
    PATIENCE,
    DriverError,
    NodeSpec,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.docker import (
    deployment as docker_deployment,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.docker.driver import (
    DockerDriver,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded import (
    deployment as embedded_deployment,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded.driver import (
    EmbeddedDriver,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.layout import (
    ClusterFolder,
    NodeRecord,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.processes import Process
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.ready import Caller
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.release import (
    parse_release,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.support.held_ports import refusing_port

ROOT = Path(__file__).parents[3]
Drivers = EmbeddedDriver | DockerDriver


def container(_: str) -> Any:
    """A container that runs, and in which no command does."""
    def refuses(*_: Any, **__: Any) -> Any:
        return 1, b"not yet"

    return SimpleNamespace(status="running", name="n1", reload=lambda: None, exec_run=refuses,
                           logs=lambda **_: b"")


def embedded(folder: Path) -> EmbeddedDriver:
    """A node whose process is there, and which never answers."""
    cluster = ClusterFolder(folder)
    cluster.run_dir("n1").mkdir()
    NodeRecord("", [], 1, Process.of(os.getpid())).save(cluster.run_dir("n1"))
    return EmbeddedDriver(cluster, Caller(Trust()), members=["n1"])


def docker(_: Path) -> DockerDriver:
    found = SimpleNamespace(containers=SimpleNamespace(get=container))
    cluster = SimpleNamespace(name="c", engine=SimpleNamespace(api=found),
                              container_name=lambda name: name)
    return DockerDriver(cast(Any, cluster), Caller(Trust()), members=["n1"])


@pytest.mark.parametrize(("patience", "how_long"), [
    (PATIENCE, f"the 0.2 s of {PATIENCE}"), ("", "0.2 s")])
@pytest.mark.parametrize("made", [embedded, docker])
def test_nodes_that_do_not_find_each_other(
        tmp_path: Path, made: Callable[[Path], Drivers], patience: str, how_long: str) -> None:
    driver = made(tmp_path)
    driver.patience = patience
    with pytest.raises(DriverError, match=rf"^n1 was not ready within {how_long}: "):
        driver.wait_members(["n1"], 0.2)


@pytest.mark.parametrize("made", [embedded, docker])
def test_a_node_that_does_not_answer(tmp_path: Path, made: Callable[[Path], Drivers]) -> None:
    driver = made(tmp_path)
    driver.patience = PATIENCE
    with refusing_port() as port:
        node = NodeSpec("n1", "127.0.0.1", port, "localhost")
        with pytest.raises(DriverError, match=(
                rf"did not answer CONNECT over TLS within the 0 s of {PATIENCE}: connection "
                "refused")):
            driver._await_connack(node, 0.0, 0.0)


def test_a_node_that_does_not_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = embedded(tmp_path)
    driver.patience = PATIENCE
    monkeypatch.setattr(driver, "start", lambda _: None)
    with pytest.raises(DriverError, match=rf"^n1 has not booted within the 0 s of {PATIENCE}"):
        driver.start_all([NodeSpec("n1", "127.0.0.1", 1, "localhost")], 0.0)


def test_whoever_deploys_waits_as_long_as_the_variable_says(tmp_path: Path) -> None:
    assert f"      {PATIENCE}:\n" in (
        ROOT / "roles/emqx_cluster/meta/argument_specs.yml").read_text()
    caller, stop, release = Caller(Trust()), threading.Event(), parse_release("5.8.9")
    ours = embedded_deployment.Deployment(
        ClusterFolder(tmp_path), embedded_deployment.EmbeddedWanted(
            nodes=(), all_nodes=(), release=release, source_dir=tmp_path), caller, stop)
    cluster = SimpleNamespace(name="c", containers=dict)
    theirs = docker_deployment.DockerDeployment(
        cast(Any, cluster), ClusterFolder(tmp_path),
        docker_deployment.DockerWanted(nodes=(), all_nodes=(), release=release, containers={}),
        caller, stop)
    assert (ours.driver.patience, theirs.driver.patience) == (PATIENCE, PATIENCE)
