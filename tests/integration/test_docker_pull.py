"""Images that are not here: fetched with visible progress from a registry, or refused."""
from __future__ import annotations

import json
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import (
    DriverError,
    DriverInterrupted,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.docker.engine import Engine

from tests.support import docker_engine
from tests.support.image_registry import ImageRegistry
from tests.support.playbooks import ROOT, Cluster, write_inventory
from tests.support.ports import free_ports

MIB = 1024 * 1024


def content(mebibytes: int) -> bytes:
    """Return what no engine has: a layer that it knows from an earlier run would not be fetched."""
    return uuid.uuid4().bytes + bytes(mebibytes * MIB - 16)


@pytest.fixture
def engine() -> Iterator[Engine]:
    """The engine of this machine."""
    if why := docker_engine.why_not():
        pytest.skip(why)
    made = Engine()
    yield made
    made.close()


def test_a_pull_brings_the_image_and_says_how_far_it_is(engine: Engine, tmp_path: Path) -> None:
    told = tmp_path / "progress"
    seen: list[dict[str, object]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            if told.exists():
                seen.append(json.loads(told.read_text()))

    watcher = threading.Thread(target=watch)
    with ImageRegistry("emqx/emqx", "5.8.9", content(8), 4 * MIB) as registry:
        watcher.start()
        try:
            found = engine.pull(registry.image, str(told), threading.Event())
            assert found == engine.image_id(registry.image)
        finally:
            done.set()
            watcher.join()
            docker_engine.docker("rmi", registry.image)
    assert {row["what"] for row in seen} == {f"MiB of {registry.image} pulled"}
    assert {row["total"] for row in seen} <= {7, 8}
    assert len({row["done"] for row in seen}) > 1


def test_a_tag_that_the_registry_has_not(engine: Engine) -> None:
    with ImageRegistry("emqx/emqx", "5.8.9", b"", MIB) as registry:
        wanted = registry.image.replace("5.8.9", "5.8.99")
        with pytest.raises(DriverError) as refused:
            engine.pull(wanted, None, threading.Event())
    assert str(refused.value).startswith(f"the image {wanted} is not here and cannot be pulled (")
    assert "manifest unknown" in str(refused.value)


def test_a_pull_ends_when_asked_to(engine: Engine) -> None:
    stop = threading.Event()
    with ImageRegistry("emqx/emqx", "5.8.9", content(64), 2 * MIB) as registry:
        threading.Timer(1.0, stop.set).start()
        with pytest.raises(DriverInterrupted):
            engine.pull(registry.image, None, stop)
        assert registry.abandoned.wait(10), "the engine goes on fetching"
        assert engine.image_id(registry.image) is None


def test_a_deploy_shows_the_pull_and_ctrl_c_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    ports = free_ports(1)
    cluster = Cluster("test-pull", ports, tmp_path / "hosts.yml", tmp_path / "reports")
    with ImageRegistry("emqx/emqx", "5.8.9", content(64), 2 * MIB) as registry:
        write_inventory(tmp_path, "test-pull", ports, {
            "emqx_driver": "docker", "emqx_image": registry.image,
            "emqx_state_dir": str(tmp_path / "state")})
        running = subprocess.Popen(
            cluster.command("playbooks/deploy.yml"), cwd=ROOT, env=cluster.environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        assert running.stdout is not None
        # Should it hang, it fails and does not keep all other tests waiting.
        watchdog = threading.Timer(120, running.kill)
        watchdog.start()
        output = ""
        for line in running.stdout:
            output += line
            if "MiB of" in line:
                break
        running.send_signal(signal.SIGINT)
        output += running.stdout.read()
        watchdog.cancel()
        assert running.wait(30) == 99, output
        assert registry.abandoned.wait(10), "the engine goes on fetching"
    assert f"MiB of {registry.image} pulled" in output
    assert docker_engine.of_cluster("test-pull") == {"containers": set(), "networks": set()}
