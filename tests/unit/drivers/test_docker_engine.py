"""Which engine is asked, and what is said when it cannot be."""
from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import DriverError
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.docker import (
    deployment as docker_deployment,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.docker import (
    engine as docker_engine,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.docker.engine import (
    Engine,
    NoEngineError,
)


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No test here talks to an engine of this machine."""
    path = tmp_path / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    return path


@pytest.mark.parametrize(("name", "parts"), [
    ("emqx/emqx:5.8.9", ("emqx/emqx", "5.8.9")), ("emqx", ("emqx", "latest")),
    ("registry:5000/emqx/emqx", ("registry:5000/emqx/emqx", "latest")),
    ("registry:5000/emqx:5.8.9", ("registry:5000/emqx", "5.8.9")),
    ("emqx/emqx@sha256:00ff", ("emqx/emqx@sha256:00ff", None))])
def test_the_parts_of_an_images_name(name: str, parts: tuple[str, str | None]) -> None:
    assert docker_engine._reference(name) == parts


def test_no_socket(nowhere: Path) -> None:
    with pytest.raises(NoEngineError) as error:
        Engine()
    assert str(error.value) == (f"no Docker Engine answers at unix://{nowhere}: is one installed "
                                "and running? (No such file or directory)")


def test_a_socket_that_nobody_serves(nowhere: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(nowhere))
    with pytest.raises(NoEngineError) as error:
        Engine()
    assert str(error.value).endswith("(Connection refused)")


def test_a_socket_of_others(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere.touch()
    # Root may open everything, and tests may run as root.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(NoEngineError) as error:
        Engine()
    assert str(error.value) == (f"the Docker Engine's socket {nowhere} may not be opened by this "
                                "user: join the group that owns it (usually docker) and log in "
                                "again")


@pytest.mark.parametrize("address", ["tcp://192.0.2.1:2375", "ssh://somebody@example.com"])
def test_an_engine_of_another_machine(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(DriverError, match=f"^DOCKER_HOST is {address}, and the docker driver"):
        Engine()


def test_without_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_engine, "INSTALLED", False)
    with pytest.raises(DriverError, match="needs Python's docker SDK"):
        Engine()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory in which one cluster has containers."""
    folder = tmp_path / "state"
    (folder / "c").mkdir(parents=True)
    (folder / "c" / ".docker").touch()
    yield folder
    assert (folder / "c" / ".docker").exists()


@pytest.mark.parametrize("cluster", ["c", None])
def test_containers_that_cannot_be_removed_are_an_error(state: Path, cluster: str | None) -> None:
    with pytest.raises(DriverError, match=r"^the containers of c cannot be removed: no "):
        docker_deployment.destroy(state, cluster)


def test_without_containers_nobody_needs_an_engine(
        state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert docker_deployment.destroy(state, "another") == []
    monkeypatch.setattr(docker_engine, "INSTALLED", False)
    assert docker_deployment.destroy(state, "another") == []
