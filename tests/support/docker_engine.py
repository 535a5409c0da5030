"""The Docker Engine of this machine, for tests that need one."""
from __future__ import annotations

import fcntl
import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@functools.cache
def why_not() -> str:
    """Return why tests cannot use containers here; empty when they can."""
    if shutil.which("docker") is None:
        return "no docker command on this machine"
    done = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"],
                          capture_output=True, text=True, check=False, timeout=30)
    return "" if done.returncode == 0 else f"no Docker Engine answers: {done.stderr.strip()}"


@functools.cache
def local_image(otp: int = 25) -> str:
    """Return the name of the local image with this Erlang/OTP, built if need be.

    By one test at a time: those beside it find it built.
    """
    with (ROOT / "scripts" / "make-image").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(["make", "--no-print-directory", "image", f"OTP={otp}"], cwd=ROOT,
                              capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1].strip()


def docker(*arguments: str) -> str:
    """Run the docker command and return what it prints."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def inspect(name: str) -> dict[str, Any]:
    """Return all that the engine knows of a container or network."""
    (found,) = json.loads(docker("inspect", name))
    result: dict[str, Any] = found
    return result


def of_cluster(cluster: str) -> dict[str, set[str]]:
    """Return the names of all that carries a cluster's label: containers and networks."""
    label = f"label=conformance.cluster={cluster}"
    return {
        "containers": set(docker("ps", "--all", "--filter", label, "--format",
                                 "{{.Names}}").split()),
        "networks": set(docker("network", "ls", "--filter", label, "--format",
                               "{{.Name}}").split())}


def volumes_of(containers: set[str]) -> set[str]:
    """Return the names of the volumes of these containers."""
    return {mount["Name"] for name in containers for mount in inspect(name)["Mounts"]
            if mount["Type"] == "volume"}


def volumes() -> set[str]:
    """Return the names of all volumes."""
    return set(docker("volume", "ls", "--format", "{{.Name}}").split())
