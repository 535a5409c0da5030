"""What every scenario asks from outside, with tools that know nothing of this project."""
from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(os.environ.get("MOLECULE_PROJECT_DIRECTORY", Path(__file__).parents[2]))
SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
INVENTORY = SCENARIO / "inventory"
REPORTS = ROOT / ".cache" / "molecule" / SCENARIO.name


@dataclass(frozen=True)
class Verification:
    """A run of the shipped verify.yml."""

    exit_code: int
    output: str
    results: dict[str, Any]


def run_verify(*extra: str) -> Verification:
    """Run the shipped ``verify.yml`` on the scenario's inventory, as a user would."""
    done = subprocess.run(
        ["ansible-playbook", "-i", str(INVENTORY), "verify.yml",
         "-e", f"resumption_reports_dir={REPORTS}", *extra],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1"})
    output = done.stdout + done.stderr
    latest = REPORTS / "latest" / "results.json"
    assert latest.exists(), output
    return Verification(done.returncode, output, json.loads(latest.read_text()))


def openssl_reconnects(host: str, port: int) -> list[str]:
    """Return ``New`` or ``Reused`` for each connection of ``s_client -reconnect -no_ticket``.

    The first is the full handshake, the other five offer its session.
    """
    # A CONNECT is not sent: the node closes such a client only after 15 s.
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_2", "-no_ticket",
         "-reconnect", "-CAfile", str(ROOT / "certs" / "ca.pem")],
        input="", capture_output=True, text=True, check=False, timeout=30)
    return re.findall(r"^(New|Reused), TLSv1\.2, Cipher is ", done.stdout, re.MULTILINE)


def process_of(port: int) -> tuple[int, str]:
    """Return pid and owner of the process that listens on a port of loopback."""
    listing = subprocess.run(["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True,
                             check=True).stdout
    (pid,) = set(re.findall(r"pid=(\d+)", listing))
    owner = subprocess.run(["ps", "-o", "user=", "-p", pid], capture_output=True, text=True,
                           check=True).stdout.strip()
    return int(pid), owner
