"""Every molecule scenario, from destroy to destroy, as one test each."""
from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support import docker_engine
from tests.support.ports import free_ports

ROOT = Path(__file__).parents[2]
PORTS = 12
"""More than any scenario has."""
SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))


def test_there_are_scenarios() -> None:
    assert {"cluster", "default", "docker", "docker-single", "load_balancer", "mtls", "negative",
            "staging", "upgrade"} <= set(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str) -> None:
    if scenario.startswith("docker"):
        if why := docker_engine.why_not():
            pytest.skip(why)
        docker_engine.local_image()
    tests = list((ROOT / "molecule" / scenario / "tests").glob("test_*.py"))
    assert tests, f"molecule/{scenario} has no tests: molecule would call that a success"
    environment = {
        **os.environ, "NO_COLOR": "1",
        # Molecule's own files stay inside the checkout, so that two checkouts do not meet.
        "ANSIBLE_HOME": str(ROOT / ".ansible"),
        "SCENARIO_BASE_PORT": str(free_ports(PORTS)[0])}

    def molecule(action: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["molecule", action, "--scenario-name", scenario], cwd=ROOT, env=environment,
            capture_output=True, text=True, check=False, timeout=900)

    done = molecule("test")
    if done.returncode != 0:
        # Whatever broke: no other run has these ports and names to remove what is left.
        molecule("destroy")
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    # The verifier must have run: without one molecule ends with 0 as well.
    assert "Executing Testinfra tests" in output, output
    assert re.search(r"\d+ passed\b.* in [\d.]+s", output), output
