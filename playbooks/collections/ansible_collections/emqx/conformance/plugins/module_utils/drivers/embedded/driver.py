"""Embedded nodes: Erlang processes on this machine, driven by signals and a control socket.

They outlive the command that starts them; what is needed to find them again lies in their
directory, so that every command (and every check) can drive them.
"""
from __future__ import annotations

import contextlib
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ...tls.wire import within
from ..base import DriverError, NodeSpec
from ..layout import ClusterFolder, NodeRecord, erlang_name, replace_file
from ..processes import Process
from ..ready import Caller
from ..waiting import LOG_LINES, WaitingDriver, last_lines
from . import control
from .epmd import LOOPBACK, ClusterEpmd
from .launch import detached

_BOOTING = 2 * (os.cpu_count() or 1)
"""How many nodes boot at a time, which keeps a processor busy for each; as many are asked for their
first handshake at a time, for which a node loads what TLS needs."""
_STOP_S = 8.0
_POLL_S = 0.1
_BOOT_POLL_S = 0.02
_REOPEN_S = 10.0
_ANCHORS = "anchors-"
_REOPENED = "reopened "
"""Begins the fingerprint of a node that does not run as it was deployed."""
_CONSOLE = "console.log"
_NODE_LOG = "node.log"


class EmbeddedDriver(WaitingDriver):
    """Drives the embedded nodes of one cluster."""

    name = "embedded"
    limits = "all embedded nodes share this machine's network"
    cpu_of = "the node's process (beam.smp)"
    at_once = _BOOTING

    def __init__(self, folder: ClusterFolder, caller: Caller, *,
                 members: Sequence[str] | None = None,
                 stop: threading.Event | None = None) -> None:
        """Look at a cluster; nothing is started.

        Args:
            folder: where the cluster keeps its state.
            caller: makes the connections that show a node ready.
            members: inventory names the cluster has when it is whole; by default every node
                that was ever started in it.
            stop: when set, every wait ends with DriverInterrupted.
        """
        super().__init__(caller, members=members, stop=stop)
        self._folder = folder
        self.on_booted: Callable[[int], None] = lambda _: None
        """Told how many of the nodes that are being started have booted."""
        self.epmd = ClusterEpmd(folder.path)

    # -- one node --------------------------------------------------------------------------

    def start(self, node: NodeSpec) -> None:
        """Start a node as it was last deployed."""
        record = self._record(node.name)
        record.await_ending()
        if record.state() != "gone":
            raise DriverError(f"{node.name} runs already")
        run_dir = self._folder.run_dir(node.name)
        port = self.epmd.ensure()
        if port != record.epmd_port:
            raise DriverError(f"the cluster's epmd cannot be opened on port {record.epmd_port} "
                              "again; deploy again")
        (run_dir / "control.sock").unlink(missing_ok=True)
        # The console says why a boot failed, and only the last one's matters.
        (run_dir / _CONSOLE).write_bytes(b"")
        process = detached(
            record.command, folder=run_dir, output=run_dir / _CONSOLE,
            extra_environment={"HOME": str(self._folder.path), "ERL_EPMD_PORT": str(port),
                               "ERL_EPMD_ADDRESS": LOOPBACK, "ERL_CRASH_DUMP_BYTES": "0"})
        replace(record, process=process).save(run_dir)

    def stop(self, node: NodeSpec) -> None:
        """Stop a node in order; a paused or hanging one is killed."""
        self.stop_all([node.name])

    def kill(self, node: NodeSpec) -> None:
        """End a node with SIGKILL."""
        self.kill_all([node.name])

    def reopen(self, node: NodeSpec, port: int, cacertfile: Path) -> None:
        """Let the node open a listener again with a copy of these trust anchors.

        OTP remembers a file by its path, so each copy has a path of its own.
        """
        record, run_dir = self._record(node.name), self._folder.run_dir(node.name)
        name = f"{_ANCHORS}{secrets.token_hex(8)}.pem"
        try:
            replace_file(run_dir / name, cacertfile.read_text(encoding="utf-8"), 0o600)
        except (OSError, ValueError) as error:
            raise DriverError(f"{node.name}: {cacertfile} cannot be copied: {error}") from None
        # Should this never be undone, the next deploy starts the node anew.
        if not record.fingerprint.startswith(_REOPENED):
            replace(record, fingerprint=_REOPENED + record.fingerprint).save(run_dir)
        self._reopen(node, f"reopen {port} {name}")

    def restore(self, node: NodeSpec, port: int) -> None:
        """Let the node open a listener again with its own trust anchors."""
        self._reopen(node, f"restore {port}")
        record, run_dir = self._record(node.name), self._folder.run_dir(node.name)
        replace(record, fingerprint=record.fingerprint.removeprefix(_REOPENED)).save(run_dir)
        for copy in run_dir.glob(f"{_ANCHORS}*.pem"):
            copy.unlink(missing_ok=True)

    def _reopen(self, node: NodeSpec, command: str) -> None:
        try:
            answer = control.ask(self._folder.run_dir(node.name), command, _REOPEN_S)
        except control.ControlError as error:
            raise DriverError(f"{node.name} does not answer on its control socket: {error}") \
                from None
        if answer != "reopened":
            raise DriverError(f"{node.name} did not reopen its listener: {answer}")

    def cpu_s(self, node: NodeSpec) -> float:
        """Return what the node's process has taken."""
        process = self._record(node.name).process
        seconds = process.cpu_s() if process is not None else None
        if seconds is None:
            raise DriverError(f"{node.name} does not run")
        return seconds

    def state(self, name: str) -> str:
        """Return ``running``, ``paused``, ``ending`` or ``gone``."""
        record = NodeRecord.load(self._folder.run_dir(name))
        return record.state() if record else "gone"

    # -- several nodes ---------------------------------------------------------------------

    def start_all(self, nodes: Sequence[NodeSpec], timeout_s: float) -> None:
        """Start nodes as they were last deployed, a few at a time; return when all have booted.

        A hundred that boot at once are all slow, and so is their epmd.

        Args:
            nodes: none of them runs.
            timeout_s: what each has to boot, from its own start.

        Raises:
            DriverError: a node died, or took too long.
            DriverInterrupted: the run was asked to stop.
        """
        late: dict[str, float] = {}
        waiting = list(nodes)
        while waiting or late:
            while waiting and len(late) < _BOOTING:
                node = waiting.pop(0)
                self.start(node)
                late[node.name] = time.monotonic() + timeout_s
            for name, end in list(late.items()):
                # The control socket is the last that a node opens.
                if (self._folder.run_dir(name) / "control.sock").exists():
                    del late[name]
                    continue
                self._demand_alive(name)
                if time.monotonic() >= end:
                    raise DriverError(f"{name} has not booted within "
                                      f"{within(timeout_s, self.patience)}"
                                      f"{self._log_tail(name)}")
            self.on_booted(len(nodes) - len(waiting) - len(late))
            if late:
                self._pause(_BOOT_POLL_S)

    def stop_all(self, names: Iterable[str]) -> None:
        """Stop nodes in order, all at a time; kill what does not go."""
        wanted = list(names)
        if not wanted:
            return
        with ThreadPoolExecutor(max_workers=min(len(wanted), 16)) as pool:
            asked = list(pool.map(self._ask_to_stop, wanted))
        # All have been asked: none of a hundred waits for what the others make of its leaving.
        end = time.monotonic() + _STOP_S
        for process in asked:
            if process is not None:
                self._await_end(process, end)
        self.kill_all(wanted)

    def _ask_to_stop(self, name: str) -> Process | None:
        run_dir = self._folder.run_dir(name)
        record = NodeRecord.load(run_dir)
        if record is None or record.process is None or record.state() != "running":
            return None
        try:
            control.ask(run_dir, "stop")
        except control.ControlError:
            record.process.signal(signal.SIGTERM)
        return record.process

    def _await_end(self, process: Process, end: float) -> None:
        # Whoever is in a hurry does not wait for order.
        while time.monotonic() < end and not self._stop.is_set():
            if process.wait_gone(_POLL_S):
                return

    def kill_all(self, names: Iterable[str]) -> None:
        """End nodes without warning."""
        records = [(name, NodeRecord.load(self._folder.run_dir(name))) for name in names]
        for _, record in records:
            if record and record.process:
                record.process.signal(signal.SIGKILL)
        for name, record in records:
            if record:
                self._end(name, record)

    def _end(self, name: str, record: NodeRecord) -> None:
        if record.process is not None:
            record.process.signal(signal.SIGKILL)
            if not record.process.wait_gone(_STOP_S):
                raise DriverError(f"{name} ({record.process.describe()}) does not end")
        run_dir = self._folder.run_dir(name)
        (run_dir / "control.sock").unlink(missing_ok=True)
        replace(record, process=None).save(run_dir)

    def _running(self) -> list[str]:
        return [name for name, record in self._folder.nodes().items()
                if record.state() in ("running", "paused")]

    def _erlang_name(self, name: str) -> str:
        return erlang_name(name)

    def _seen_by(self, name: str) -> list[str]:
        try:
            told = control.status(self._folder.run_dir(name)).get("members")
        except control.ControlError as error:
            raise DriverError(f"its control socket does not answer ({error})") from None
        return [str(member) for member in told] if isinstance(told, list) else []

    def _is_gone(self, name: str) -> bool:
        return self.state(name) == "gone"

    def _last_words(self, name: str) -> list[str]:
        return self._tail(name, _CONSOLE)

    def _log_tail(self, name: str) -> str:
        lines = self._last_words(name) + self._tail(name, _NODE_LOG)
        where = self._folder.run_dir(name) / _NODE_LOG
        return f"; {where} ends: {' | '.join(lines[-LOG_LINES:])}" if lines else ""

    # -- helpers ---------------------------------------------------------------------------

    def _record(self, name: str) -> NodeRecord:
        record = NodeRecord.load(self._folder.run_dir(name))
        if record is None:
            raise DriverError(f"{name} was never deployed in {self._folder.path}")
        return record

    def _tail(self, name: str, file: str) -> list[str]:
        with contextlib.suppress(OSError):
            return last_lines((self._folder.run_dir(name) / file).read_text(errors="replace"))
        return []
