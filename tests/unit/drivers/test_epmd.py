"""A cluster's epmd is replaced when it is dead, and never because it is slow."""
from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded.epmd import (
    ClusterEpmd,
    Epmd,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.processes import Process

PORT = 26_001


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """What was recorded as the epmd of this folder; it answers nobody."""
    child = subprocess.Popen(["sleep", "600"])
    process = Process.of(child.pid)
    assert process is not None
    (tmp_path / ".epmd.json").write_text(json.dumps({"port": PORT, "process": process.as_dict()}))
    yield child
    child.kill()
    child.wait()


def test_one_that_does_not_answer_for_now_is_kept(
        tmp_path: Path, busy: subprocess.Popen[bytes]) -> None:
    epmd = ClusterEpmd(tmp_path)
    assert epmd.is_running()
    assert epmd.ensure() == PORT
    assert busy.poll() is None
    assert epmd.recorded() == Epmd(PORT, Process.of(busy.pid))  # type: ignore[arg-type]


def test_one_that_stands_still_does_not_run(
        tmp_path: Path, busy: subprocess.Popen[bytes]) -> None:
    busy.send_signal(signal.SIGSTOP)
    process = Process.of(busy.pid)
    assert process is not None
    while process.state() != "paused":
        time.sleep(0.01)
    assert not ClusterEpmd(tmp_path).is_running()


def test_one_that_is_gone_does_not_run(tmp_path: Path, busy: subprocess.Popen[bytes]) -> None:
    busy.kill()
    busy.wait()
    assert not ClusterEpmd(tmp_path).is_running()
    assert not ClusterEpmd(tmp_path / "nothing").is_running()
