"""One RabbitMQ node with its MQTT plugin, started the way molecule/staging starts three."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.playbooks import ROOT
from tests.support.ports import free_ports

_PROGRAM = ROOT / "molecule" / "shared" / "rabbitmq.py"


class RabbitMqNode:
    """A broker that nobody here wrote; it takes about 20 s to start."""

    def __init__(self, folder: Path) -> None:
        """Start it; ``folder`` must not exist yet."""
        self.folder = folder
        self.port, _ = free_ports(2)
        self._environment = {
            **os.environ, "PYTHONPATH": str(ROOT / "playbooks" / "collections"),
            "STAGING_FOLDER": str(folder), "STAGING_NODES": "1",
            "SCENARIO_BASE_PORT": str(self.port)}
        try:
            for step in ("fetch", "configure", "start", "await", "enable", "admit"):
                self._do(step)
        except BaseException:
            self.stop()
            raise

    def _do(self, step: str) -> None:
        done = subprocess.run([sys.executable, str(_PROGRAM), step], capture_output=True,
                              text=True, check=False, timeout=180, env=self._environment)
        assert done.returncode == 0, done.stdout + done.stderr

    @property
    def ca(self) -> Path:
        """The CA that signed its certificate, which is for 127.0.0.1."""
        return self.folder / "tls" / "ca.pem"

    @property
    def credentials(self) -> dict[str, str]:
        """Its only user, as parameters of a verification."""
        return {"mqtt_username": "device",
                "mqtt_password": (self.folder / "password").read_text()}

    def stop(self) -> None:
        """End it and remove all of its files."""
        self._do("destroy")
