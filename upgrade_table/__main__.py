"""Measures on the local images what becomes of resumption, and writes docs/upgrade.md."""
from __future__ import annotations

import datetime
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.emqx.conformance.plugins.module_utils import every_listener
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.release import (
    parse_release,
)
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.reuse import (
    off_unless_told,
    resumes,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Impact

from upgrade_table import cells, page

CLUSTER = "upgrade-table"
BASE_PORT = 8943
OTPS = ("25", "27", "29")
"""Erlang/OTP releases that there are local images of."""
IMAGE = "embedded-otp-node:otp{}"
_CHECKS = (every_listener.HOME, every_listener.ACROSS, every_listener.OUTLIVED)
_KEPT = ("status", "reason", "message")


class TableError(Exception):
    """There is no table; the sentence says why."""


def _tell(what: str) -> None:
    print(what, flush=True)


def image_of(otp: str) -> dict[str, str]:
    """Return an image's name and the exact versions in it, without starting its node.

    Raises:
        TableError: there is no such image.
    """
    image = IMAGE.format(otp)
    done = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c",
         "cat /usr/lib/erlang/releases/*/OTP_VERSION; ls /usr/lib/erlang/lib"],
        capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise TableError(f"{image} cannot be used ({done.stderr.strip().splitlines()[-1:]}): "
                         f"make it by `make image OTP={otp}`")
    version, *applications = done.stdout.split()
    (ssl,) = (name.removeprefix("ssl-") for name in applications if name.startswith("ssl-"))
    return {"image": image, "otp": version, "ssl": ssl}


class Node:
    """One container, deployed by the playbooks as EMQX of one release after the other."""

    def __init__(self, folder: Path, base_port: int, cluster: str) -> None:
        self.folder, self.base_port, self.cluster = folder, base_port, cluster
        self.certs = folder / "certs"

    def _play(self, playbook: str) -> None:
        done = subprocess.run(
            ["ansible-playbook", "-i", str(self.folder / "hosts.yml"), f"playbooks/{playbook}.yml"],
            cwd=page.ROOT, capture_output=True, text=True, check=False, timeout=420)
        if done.returncode:
            raise TableError(f"{playbook}.yml failed:\n{done.stdout}{done.stderr}")

    def deploy(self, image: str, release: str) -> None:
        """Have it run as EMQX of this release."""
        (self.folder / "hosts.yml").write_text(yaml.safe_dump({"emqx": {
            "hosts": {cells.NODE: {"emqx_tls_port": self.base_port}},
            "vars": {"ansible_connection": "local", "emqx_cluster_name": self.cluster,
                     **cells.variables(image, release, self.base_port, self.certs)}}}))
        self._play("deploy")

    def destroy(self) -> None:
        """Remove it, whatever signals come meanwhile."""
        if not (self.folder / "hosts.yml").exists():
            return
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
        try:
            self._play("destroy")
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def verdicts(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return listener -> check -> finding, as the project's own verification comes to them."""
        return every_listener.measure(
            cells.listeners(self.base_port, self.certs),
            every_listener.Asked(str(self.certs / "ca.pem"), self.folder / "reports", _CHECKS,
                                 Impact.NOISY), threading.Event()).findings


@contextmanager
def node_in(folder: Path, base_port: int, cluster: str) -> Iterator[Node]:
    """Yield a node and remove it in the end."""
    node = Node(folder, base_port, cluster)
    try:
        yield node
    finally:
        node.destroy()


def row_of(one: cells.Opened, release: str, image: dict[str, str],
           found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return one measured listener.

    Raises:
        TableError: it was not measured, or is not as the rules of this project say.
    """
    home = found[every_listener.HOME]
    if (home["status"], home["reason"]) not in (("passed", ""), ("failed", "not_resumed")):
        raise TableError(f"{one.name} as EMQX {release} on {image['image']} was not measured: "
                         f"{home['message']}")
    resumed = home["status"] == "passed"
    expected = resumes(parse_release(release), value=one.reuse_sessions,
                       verify_peer=one.kind != "none", off=off_unless_told(ssl=image["ssl"]))
    if resumed is not expected:
        raise TableError(f"{one.name} as EMQX {release} on {image['image']} "
                         f"{'resumes' if resumed else 'does not resume'}, and listeners/reuse.py "
                         f"says otherwise: {home['message']}")
    return {"otp": image["otp"], "release": release, "listener": one.kind,
            "reuse_sessions": one.reuse_sessions, "resumes": resumed,
            "checks": {check: {key: row[key] for key in _KEPT} for check, row in found.items()
                       if check in _CHECKS and row["reason"] != "precondition"}}


def measured(otps: Sequence[str], base_port: int = BASE_PORT, cluster: str = CLUSTER,
             releases: tuple[str, ...] = cells.RELEASES) -> dict[str, Any]:
    """Measure on the images of these Erlang/OTP releases and return what was seen.

    Raises:
        TableError: an image is missing, or something was not measured.
    """
    begun = time.monotonic()
    images = [image_of(otp) for otp in otps]
    rows: list[dict[str, Any]] = []
    for image in images:
        with tempfile.TemporaryDirectory(dir=page.ROOT / ".cache") as folder, \
                node_in(Path(folder), base_port, cluster) as node:
            for release in releases:
                _tell(f"{time.monotonic() - begun:4.0f} s  Erlang/OTP {image['otp']}, ssl "
                      f"{image['ssl']}, as EMQX {release}: deploying")
                node.deploy(image["image"], release)
                found = node.verdicts()
                now = [row_of(one, release, image, found[one.name]) for one in cells.OPENED
                       if not one.other]
                rows += now
                _tell(f"{time.monotonic() - begun:4.0f} s  {sum(row['resumes'] for row in now)} of "
                      f"{len(now)} listeners resume")
    return {"measured_on": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            "took_s": round(time.monotonic() - begun), "images": images, "listeners": rows}


def main() -> int:
    """Measure, write the data file and the document."""
    (page.ROOT / ".cache").mkdir(exist_ok=True)
    try:
        found = measured(OTPS)
    except TableError as error:
        print(f"make upgrade-table: {error}", file=sys.stderr)
        return 1
    page.MEASURED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    page.write()
    _tell(f"{found['took_s']} s for {len(found['listeners'])} listeners; written: "
          f"upgrade_table/measured.json, docs/upgrade.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
