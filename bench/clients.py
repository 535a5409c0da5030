"""The clients: each runs once a round, and the server counts what it did."""
from __future__ import annotations

import functools
import json
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.emqx.conformance.plugins.modules.resumption_verify import ARGUMENT_SPEC

from bench import claims as c
from bench.arithmetic import Sample
from bench.matrix import CACHE
from bench.nodes import Nodes
from tests.support.peers import SSLYZE
from tests.support.playbooks import ROOT, Cluster

TIMEOUT_S = 120.0
MODULE = "ansible_collections.emqx.conformance.plugins.modules.resumption_verify"
PAIRS = 9
"""Ordered pairs of the three nodes that the shell asks."""


class ToolError(Exception):
    """A client is not to be had, or did not do what is measured; the sentence says why."""


@dataclass(frozen=True)
class Size:
    """How much is done in a round."""

    resumed: int = 1000
    """Handshakes of a loop of resumed ones."""
    full: int = 250
    """Handshakes of a loop of full ones."""
    seconds: int = 1
    """For s_time, which takes nothing else."""


@dataclass(frozen=True)
class Ran:
    """A process that has ended well."""

    output: str
    """On the standard output."""
    said: str
    """There, or on the standard error."""
    wall_s: float
    cpu_s: float


Client = Callable[[], Sample]


def ran(command: list[str], **more: Any) -> Ran:
    """Run a process to its end, alone. Raises ToolError unless it ends well."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT,
                              stdin=subprocess.DEVNULL, timeout=TIMEOUT_S, **more)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"{Path(command[0]).name}: {error}") from None
    wall_s = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ToolError(f"{Path(command[0]).name} ended with {done.returncode}: "
                        f"{said[-1] if said else 'it says nothing'}")
    return Ran(done.stdout, done.stdout + done.stderr, wall_s,
               after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def installed(program: str, package: str) -> str:
    """Return a program's path. Raises ToolError when it is not here."""
    path = shutil.which(program)
    if path is None:
        raise ToolError(f"{program} is not installed (Debian's {package})")
    return path


class Clients:
    """Everything that is measured, on one cluster."""

    def __init__(self, nodes: Nodes, size: Size, folder: Path) -> None:
        self.nodes, self.size, self.folder = nodes, size, folder
        self.port = str(nodes.ports[0])

    def all(self, sizes: tuple[int, ...]) -> dict[str, Client]:
        """Return the clients by name, in the order in which they run."""
        return {
            c.S_TIME: self.s_time_reuse, c.WITNESSED: lambda: self.loop("witnessed", "resumed"),
            c.BARE: lambda: self.loop("bare", "resumed"),
            c.SSL_SOCKET: lambda: self.loop("socket", "resumed"),
            c.STRSCLNT: lambda: self.strsclnt(self.size.resumed, resumed=True),
            c.S_TIME_NEW: self.s_time_new, c.WITNESSED_FULL: lambda: self.loop("witnessed", "full"),
            c.STRSCLNT_FULL: lambda: self.strsclnt(self.size.full, resumed=False),
            c.SHELL: self.shell, c.MATRIX: lambda: self.matrix(3), c.SCRIPT: self.script,
            c.SSLYZE: self.sslyze, c.PROBE_ONE: lambda: self.probe(1), c.GNUTLS: self.gnutls_cli,
            c.EMPTY: self.empty_playbook, c.VERIFY: self.verify, c.PROBE: lambda: self.probe(3),
            **{c.matrix_of(size): functools.partial(self.matrix, size) for size in sizes}}

    def counted(self, run: Callable[[], Ran], *, expected: Callable[[Ran], int] | None = None,
                nodes: int = 1) -> tuple[Ran, int]:
        """Run a client and return what the nodes counted meanwhile.

        Raises:
            ToolError: that is not what the client was asked for or says.
        """
        before = self.nodes.completed(nodes)
        done = run()
        if expected is None:
            return done, self.nodes.completed(nodes) - before
        wanted = expected(done)
        seen = self.nodes.settled(before + wanted, nodes) - before
        if seen != wanted:
            raise ToolError(f"the server counted {seen} handshakes, not {wanted}")
        return done, seen

    def loop(self, engine: str, kind: str) -> Sample:
        """One of this project's engines, or the ssl module's socket."""
        count = self.size.resumed if kind == "resumed" else self.size.full
        command = [sys.executable, "-m", "bench.loop", engine, kind, self.port, self.nodes.ca,
                   str(count)]
        # The first handshake makes the session, or warms up.
        done, seen = self.counted(lambda: ran(command), expected=lambda _: count + 1)
        return Sample(**json.loads(done.output), handshakes=count, connections=seen)

    def matrix(self, nodes: int) -> Sample:
        """The matrix with its checks on so many nodes."""
        ports = ",".join(map(str, self.nodes.ports[:nodes]))
        # It runs twice, the first time to be warm.
        done, seen = self.counted(
            lambda: ran([sys.executable, "-m", "bench.matrix", self.nodes.ca, ports]),
            expected=lambda done: 2 * int(json.loads(done.output)["handshakes"]), nodes=nodes)
        told = json.loads(done.output)
        return Sample(told["wall_s"], handshakes=told["pairs"], connections=seen)

    def _s_time(self, *options: str) -> Sample:
        openssl = installed("openssl", "openssl")
        command = [openssl, "s_time", "-connect", f"127.0.0.1:{self.port}", "-tls1_2",
                   "-CAfile", self.nodes.ca, "-verify", "2", "-time", str(self.size.seconds),
                   *options]
        first = int("-reuse" in options)

        def made(done: Ran) -> int:
            found = re.search(r"^(\d+) connections in [\d.]+s;", done.said, re.MULTILINE)
            if found is None:
                raise ToolError(f"s_time says no figure: {done.said[-200:]}")
            return int(found[1]) + first

        done, seen = self.counted(lambda: ran(command), expected=made)
        # Its start-up is not what is measured; another command of openssl has the same.
        start = ran([openssl, "version"])
        return Sample(done.wall_s - start.wall_s, seen - first, done.cpu_s - start.cpu_s, seen)

    def s_time_reuse(self) -> Sample:
        """Resumed handshakes of OpenSSL's own benchmark."""
        return self._s_time("-reuse")

    def s_time_new(self) -> Sample:
        """Full ones."""
        return self._s_time("-new")

    def strsclnt(self, count: int, *, resumed: bool) -> Sample:
        """NSS's benchmark in one thread. It sends HTTP, whereupon the node closes."""
        program = installed("strsclnt", "libnss3-tools")
        database = self.folder / "nss"
        if not database.exists():
            database.mkdir()
            certutil = installed("certutil", "libnss3-tools")
            where = ["-d", f"sql:{database}"]
            ran([certutil, "-N", *where, "--empty-password"])
            ran([certutil, "-A", *where, "-n", "ca", "-t", "C,,", "-i", self.nodes.ca])
        command = [program, "-q", "-D", "-4", "-d", f"sql:{database}", "-p", self.port,
                   "-c", str(count), "-t", "1", "-V", "tls1.2:tls1.2",
                   *([] if resumed else ["-N"]), "localhost"]
        done, seen = self.counted(lambda: ran(command), expected=lambda _: count)
        hits = max(map(int, re.findall(r"(\d+) cache hits", done.said)), default=0)
        if resumed != (hits > 0):
            raise ToolError(f"strsclnt says {hits} cache hits of {count}")
        return Sample(done.wall_s, seen, done.cpu_s, seen)

    def shell(self) -> Sample:
        """Two s_client for each pair of three nodes, and grep."""
        installed("openssl", "openssl")
        ports = " ".join(map(str, self.nodes.ports[:3]))
        script = f"""
            client() {{ openssl s_client -connect 127.0.0.1:$1 -tls1_2 -no_ticket \
              -CAfile {self.nodes.ca} -servername localhost "${{@:2}}" </dev/null 2>/dev/null; }}
            for issuer in {ports}; do for redeemer in {ports}; do
              client $issuer -sess_out {self.folder}/session.pem >/dev/null
              client $redeemer -sess_in {self.folder}/session.pem | grep -oE '^(New|Reused)'
            done; done"""
        done, seen = self.counted(lambda: ran(["bash", "-c", script]),
                                  expected=lambda _: 2 * PAIRS, nodes=3)
        if done.output.split().count("Reused") != 3 or done.output.split().count("New") != 6:
            raise ToolError(f"s_client sees another matrix: {' '.join(done.output.split())}")
        return Sample(done.wall_s, PAIRS, done.cpu_s, seen)

    def script(self) -> Sample:
        """This project's shell script, which asserts more than grep."""
        installed("openssl", "openssl")
        endpoints = [f"localhost:{port}" for port in self.nodes.ports[:3]]
        done, seen = self.counted(lambda: ran(
            ["./tls1.2-resumption-test.sh", "--ca", self.nodes.ca, *endpoints]), nodes=3)
        return Sample(done.wall_s, PAIRS, done.cpu_s, seen)

    def sslyze(self) -> Sample:
        """Whether one node resumes, by sslyze."""
        if not SSLYZE.exists():
            raise ToolError("sslyze is not in .venv-peers")
        report = self.folder / "sslyze.json"
        done, seen = self.counted(lambda: ran(
            [str(SSLYZE), "--resum", "--sni", "localhost", "--quiet", "--json_out", str(report),
             f"127.0.0.1:{self.port}"]))
        [row] = json.loads(report.read_text())["server_scan_results"]
        answer = row["scan_result"]["session_resumption"]["result"]
        if answer["session_id_resumption_result"] != "FULLY_SUPPORTED":
            raise ToolError(f"sslyze says {answer['session_id_resumption_result']}")
        return Sample(done.wall_s, 0, done.cpu_s, seen)

    def gnutls_cli(self) -> Sample:
        """Whether one node resumes, by gnutls-cli."""
        program = installed("gnutls-cli", "gnutls-bin")
        command = [program, "--resume", "--priority",
                   "NORMAL:-VERS-ALL:+VERS-TLS1.2:%NO_TICKETS", "--x509cafile", self.nodes.ca,
                   "--sni-hostname", "localhost", "--verify-hostname", "localhost",
                   "--port", self.port, "127.0.0.1"]
        done, seen = self.counted(lambda: ran(command), expected=lambda _: 2)
        if "*** This is a resumed session" not in done.said:
            raise ToolError("gnutls-cli did not resume")
        return Sample(done.wall_s, 0, done.cpu_s, seen)

    def probe(self, count: int) -> Sample:
        """The probe's process as the playbook runs it: all safe checks, all of the report.

        With one node without the page index.html.
        """
        spec: Any = ARGUMENT_SPEC
        arguments = {
            **{name: option["default"] for name, option in spec.items() if "default" in option},
            "nodes": [{"name": f"emqx{number}", "host": "127.0.0.1", "port": port}
                      for number, port in enumerate(self.nodes.ports[:count], 1)],
            "driver": "embedded", "cluster_name": self.nodes.cluster.name,
            "state_dir": str(ROOT / ".cluster"),
            "ca": self.nodes.ca, "tls_versions": ["tlsv1.2"], "max_impact": "safe",
            "session_cache_max": CACHE, "reports_dir": str(self.folder / "reports"),
            # sslyze writes no page either.
            **({} if count == 1 else {
                "page_template": str(ROOT / "templates" / "report.html.j2")})}
        file = self.folder / "arguments.json"
        file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        done, seen = self.counted(lambda: ran([sys.executable, "-m", MODULE, str(file)]),
                                  nodes=count)
        if json.loads(done.output)["verdict"] != "passed":
            raise ToolError(f"the probe says {done.output[-200:]}")
        return Sample(done.wall_s, 0, done.cpu_s, seen)

    def _play(self, cluster: Cluster, playbook: str) -> Sample:
        done, seen = self.counted(
            lambda: ran(cluster.command(playbook), env=cluster.environment()), nodes=3)
        return Sample(done.wall_s, 0, done.cpu_s, seen)

    def empty_playbook(self) -> Sample:
        """A play without a task, on the inventory that the others have."""
        file = self.folder / "empty.yml"
        file.write_text("- hosts: emqx\n  gather_facts: false\n")
        return replace(self._play(self.nodes.first, str(file)), connections=0)

    def verify(self) -> Sample:
        """What a user types."""
        return self._play(self.nodes.first, "verify.yml")
