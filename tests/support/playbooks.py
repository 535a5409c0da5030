"""A checkout's playbooks, run as a user runs them."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
WITHOUT_FIGURES = ("-e", json.dumps({"resumption_skip_checks": {
    "PERF-01": "tests/integration/test_journey.py has it"}}))
"""For noisy runs that are about something else: to measure it takes longer than all the rest."""


@dataclass(frozen=True)
class Done:
    """A finished ansible-playbook."""

    code: int
    output: str

    @property
    def flat(self) -> str:
        """The output with its line breaks folded away."""
        return " ".join(self.output.split())


@dataclass(frozen=True)
class Cluster:
    """An inventory of its own, and a reports folder of its own."""

    name: str
    ports: list[int]
    inventory: Path
    reports: Path

    def environment(self) -> dict[str, str]:
        """The environment a user has after activating the virtual environment."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "NO_COLOR": "1", "COLUMNS": "100"}

    def command(self, playbook: str, *extra: str) -> list[str]:
        """The command line for a playbook on this cluster."""
        return ["ansible-playbook", "-i", str(self.inventory), playbook,
                "-e", f"resumption_reports_dir={self.reports}", *extra]

    def play(self, playbook: str, *extra: str) -> Done:
        """Run a playbook to its end."""
        done = subprocess.run(self.command(playbook, *extra), cwd=ROOT, capture_output=True,
                              text=True, check=False, timeout=420, env=self.environment())
        return Done(done.returncode, done.stdout + done.stderr)

    def results(self) -> dict[str, Any]:
        """The latest results.json."""
        text = (self.reports / "latest" / "results.json").read_text()
        results: dict[str, Any] = json.loads(text)
        return results

    def pids(self) -> set[int]:
        """The processes that listen on this cluster's ports."""
        listing = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True,
                                 check=True).stdout
        return {int(line.split("pid=")[1].split(",")[0]) for line in listing.splitlines()
                if "pid=" in line and int(line.split()[3].rpartition(":")[2]) in self.ports}


def write_inventory(folder: Path, name: str, ports: list[int],
                    variables: Mapping[str, Any] | None = None) -> Path:
    """Write an inventory of nodes on loopback, embedded unless told otherwise; return its path."""
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"children": {"emqx": {
        "hosts": {f"emqx{number}": {"emqx_tls_port": port}
                  for number, port in enumerate(ports, 1)},
        "vars": {"ansible_connection": "local", "ansible_host": "127.0.0.1",
                 "emqx_driver": "embedded", "emqx_cluster_name": name, **(variables or {})},
    }}}}))
    return path
