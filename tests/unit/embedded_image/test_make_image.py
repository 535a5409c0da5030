"""What `make image` refuses before it builds anything."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "make-image"


def refused(path: str, *arguments: str) -> str:
    """Run the script with these programs in reach; return its one sentence."""
    done = subprocess.run([str(SCRIPT), *arguments], capture_output=True, text=True, check=False,
                          timeout=60, env={"PATH": path, "HOME": os.environ.get("HOME", "/")})
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("make image: ")
    return done.stderr


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder of programs in which there is no docker."""
    for name in ("bash", "env", "dirname", "id"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    return tmp_path


def test_an_unknown_otp(tools: Path) -> None:
    assert 'no image with Erlang/OTP "26"; there are 25 27 29' in refused(str(tools), "25", "26")


def test_no_docker_command(tools: Path) -> None:
    assert "docker was not found; install Docker Engine" in refused(str(tools), "25")


@pytest.mark.parametrize(("said", "sentence"), [
    ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
     "no Docker engine answers; start it"),
    ("dial unix /var/run/docker.sock: connect: permission denied",
     "you may not use Docker's socket; join the group docker"),
])
def test_no_engine(tools: Path, said: str, sentence: str) -> None:
    docker = tools / "docker"
    docker.write_text(f"#!/usr/bin/env bash\necho '{said}' >&2\nexit 1\n")
    docker.chmod(0o755)
    assert sentence in refused(str(tools), "25")
