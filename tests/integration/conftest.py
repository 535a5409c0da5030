"""Clusters that integration tests share."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import docker_engine
from tests.support.playbooks import Cluster, write_inventory
from tests.support.ports import free_ports


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest,
            tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three embedded nodes, deployed for one module of tests and destroyed after it.

    A module's VARIABLES, where it has any, are in their inventory.
    """
    name = f"test-{request.module.__name__.rpartition('.')[2].replace('_', '-')}"
    folder = tmp_path_factory.mktemp(name)
    ports = free_ports(3)
    made = Cluster(name, ports, write_inventory(
        folder, name, ports, getattr(request.module, "VARIABLES", None)), folder / "reports")
    done = made.play("playbooks/deploy.yml")
    try:
        assert done.code == 0, done.output
        yield made
    finally:
        gone = made.play("playbooks/destroy.yml")
        assert gone.code == 0, gone.output
        assert made.pids() == set()


@pytest.fixture(scope="session")
def image() -> str:
    """The local image; tests that use it are skipped where no engine answers."""
    if why := docker_engine.why_not():
        pytest.skip(why)
    return docker_engine.local_image()
