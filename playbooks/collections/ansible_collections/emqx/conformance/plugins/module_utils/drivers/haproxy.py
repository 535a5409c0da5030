"""HAProxy processes of this checkout: one for each load balancer of a cluster.

Like embedded nodes they outlive the command that starts them. What is needed to find one again
lies in its directory, ``<state_dir>/<cluster>/.load_balancers/<name>/``.
"""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from . import ports
from .base import DriverError, DriverInterrupted
from .embedded.launch import detached
from .layout import ClusterFolder, as_json, check_name, replace_file
from .processes import Process, working_under

PROGRAM = "haproxy"
# No node can have this name.
_FOLDER = ".load_balancers"
_RECORD = "load_balancer.json"
_CONSOLE = "console.log"
# Debian's place for it is on nobody's PATH but root's.
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"))
_CHECK_S = 10.0
_START_S = 5.0
_STOP_S = 5.0
_POLL_S = 0.02
# What follows the alerts that say something.
_EMPTY = re.compile(r"(Fatal errors|Error\(s\)) found in configuration")
_MARKUP = re.compile(r"^\[(?:ALERT|WARNING|NOTICE)\]\s*\(\d+\)\s*:\s*(?:config\s*:\s*)?")


@dataclass(frozen=True)
class BalancerSpec:
    """One load balancer as the inventory describes it."""

    name: str
    host: str
    port: int
    config_path: Path
    """Its rendered ``haproxy.cfg``."""


@dataclass(frozen=True)
class BalancerRecord:
    """What a load balancer was last started from, and as which process."""

    fingerprint: str
    process: Process | None

    @classmethod
    def load(cls, run_dir: Path) -> BalancerRecord | None:
        """Return the record, or None when there is none that can be read."""
        try:
            data = json.loads((run_dir / _RECORD).read_text())
            return cls(str(data["fingerprint"]), Process.from_dict(data["process"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, run_dir: Path) -> None:
        """Write the record, whole or not at all."""
        replace_file(run_dir / _RECORD, json.dumps({
            "fingerprint": self.fingerprint,
            "process": self.process.as_dict() if self.process else None}, indent=1) + "\n", 0o600)

    def is_running(self) -> bool:
        """Tell whether its process lives."""
        return self.process is not None and self.process.state() == "running"


@dataclass
class BalancerPlan:
    """Which load balancer needs what."""

    start: list[str] = field(default_factory=list)
    restart: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    """Those that are in the inventory no more."""
    fingerprints: dict[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.start or self.restart or self.stop)


def run_dir(folder: ClusterFolder, name: str) -> Path:
    """Return a load balancer's working directory. Raises DriverError for a bad name."""
    check_name("load balancer's name", name)
    return folder.path / _FOLDER / name


def recorded(folder: ClusterFolder) -> dict[str, BalancerRecord]:
    """Return every load balancer that was ever started here and not removed."""
    found, whole = {}, folder.path / _FOLDER
    for path in sorted(whole.iterdir()) if whole.is_dir() else ():
        record = BalancerRecord.load(path)
        if record is not None:
            found[path.name] = record
    return found


def processes(folder: Path) -> list[Process]:
    """Return the HAProxy processes that work in the folder or below it, known or not."""
    return working_under(folder, (PROGRAM,))


class Balancers:
    """Plans and makes one change of the load balancers of one cluster."""

    def __init__(self, folder: ClusterFolder, wanted: Iterable[BalancerSpec],
                 all_names: Iterable[str], stop: threading.Event) -> None:
        self._folder, self._stop = folder, stop
        self._wanted = {spec.name: spec for spec in wanted}
        self._all = {*all_names, *self._wanted}

    def plan(self, *, may_be_unrendered: bool = False,
             to_render: Collection[str] = ()) -> BalancerPlan:
        """Find out what must be done; nothing is changed.

        Args:
            may_be_unrendered: a configuration that does not exist yet is no error (check mode:
                what renders it changed nothing either).
            to_render: those whose configuration is there, but is going to be another.

        Raises:
            DriverError: HAProxy is not installed or refuses a configuration, or a port is taken.
        """
        plan = BalancerPlan()
        known = recorded(self._folder)
        for spec in self._wanted.values():
            record = known.get(spec.name)
            running = record is not None and record.is_running()
            if may_be_unrendered and (spec.name in to_render or not spec.config_path.exists()):
                (plan.restart if running else plan.start).append(spec.name)
                continue
            fingerprint = self._fingerprint(spec)
            plan.fingerprints[spec.name] = fingerprint
            if record is None or not running:
                plan.start.append(spec.name)
            elif record.fingerprint != fingerprint:
                plan.restart.append(spec.name)
            else:
                plan.unchanged.append(spec.name)
                continue
            _validate(spec)
        plan.stop = sorted(set(known) - self._all)
        for name in [*plan.start, *plan.restart]:
            if name in plan.fingerprints:
                self._refuse_taken(self._wanted[name])
        return plan

    @staticmethod
    def _fingerprint(spec: BalancerSpec) -> str:
        try:
            text = spec.config_path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise DriverError(f"{spec.name}: {spec.config_path} cannot be read: {error}") from None
        return hashlib.sha256(as_json([text, program()]).encode()).hexdigest()

    def _refuse_taken(self, spec: BalancerSpec) -> None:
        where = f"{spec.host}:{spec.port}"
        try:
            addresses = {str(found[4][0]) for found in socket.getaddrinfo(
                spec.host, spec.port, type=socket.SOCK_STREAM)}
            if all(ports.is_free(address, spec.port) for address in addresses):
                return
        except OSError as error:
            raise DriverError(f"{spec.name}: {where} {ports.why_not_opened(error)}") from None
        holders = ports.holders(spec.port)
        # Whoever of ours has it makes room before anything starts.
        if holders and set(holders) <= set(processes(self._folder.path)):
            return
        by = ", ".join(holder.describe() for holder in holders) or "a process of another user"
        raise DriverError(f"{spec.name}: {where} is already in use by {by}")

    def apply(self, plan: BalancerPlan) -> None:
        """Make it so: return when every load balancer of this run accepts connections.

        When that fails, those that this call started are ended.

        Raises:
            DriverError: with the load balancer and the reason.
            DriverInterrupted: the run was asked to stop.
        """
        started = [*plan.restart, *plan.start]
        try:
            for name in [*plan.stop, *started]:
                end(self._folder, name)
            for name in plan.stop:
                shutil.rmtree(run_dir(self._folder, name))
            with contextlib.suppress(OSError):  # others are in it, or it was never made
                (self._folder.path / _FOLDER).rmdir()
            for name in started:
                self._start(self._wanted[name], plan.fingerprints[name])
            for name in started:
                self._await_listening(self._wanted[name])
        except BaseException:
            for name in started:
                end(self._folder, name)
            raise

    def _start(self, spec: BalancerSpec, fingerprint: str) -> None:
        if self._stop.is_set():
            raise DriverInterrupted
        where = run_dir(self._folder, spec.name)
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        (where / _CONSOLE).write_bytes(b"")
        # In the foreground, so that there is one process, and its pid is known from the start.
        process = detached(
            [program(), "-db", "-f", str(spec.config_path.resolve())], folder=where,
            output=where / _CONSOLE, extra_environment={})
        BalancerRecord(fingerprint, process).save(where)

    def _await_listening(self, spec: BalancerSpec) -> None:
        record = recorded(self._folder)[spec.name]
        deadline = time.monotonic() + _START_S
        while record.process not in ports.holders(spec.port):
            if self._stop.wait(_POLL_S):
                raise DriverInterrupted
            if not record.is_running():
                raise DriverError(f"{spec.name}: haproxy ended at once{self._said(spec.name)}")
            if time.monotonic() >= deadline:
                raise DriverError(f"{spec.name}: haproxy does not listen on port {spec.port} after "
                                  f"{_START_S:g} s (in {spec.config_path})")

    def _said(self, name: str) -> str:
        text = (run_dir(self._folder, name) / _CONSOLE).read_text(errors="replace")
        said = " | ".join(_lines(text))
        return f": {said}" if said else ""


def end(folder: ClusterFolder, name: str) -> None:
    """End a load balancer, and whatever else of HAProxy works in its directory.

    Raises:
        DriverError: it does not end.
    """
    where = run_dir(folder, name)
    for process in processes(where):
        process.signal(signal.SIGTERM)
        if not process.wait_gone(_STOP_S):
            process.signal(signal.SIGKILL)
            if not process.wait_gone(_STOP_S):
                raise DriverError(f"{name} ({process.describe()}) does not end")
    record = BalancerRecord.load(where)
    if record is not None:
        BalancerRecord(record.fingerprint, None).save(where)


def program() -> str:
    """Return the path of HAProxy.

    Raises:
        DriverError: it is not installed.
    """
    found = shutil.which(PROGRAM, path=_PATH)
    if found is None:
        raise DriverError("haproxy was not found: the load balancers of this inventory need it "
                          "(apt-get install haproxy)")
    return found


def _validate(spec: BalancerSpec) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - no shell, our own arguments
            [program(), "-c", "-f", str(spec.config_path)], capture_output=True, text=True,
            errors="replace", check=False, timeout=_CHECK_S)
    except subprocess.TimeoutExpired:
        raise DriverError(f"{spec.name}: haproxy did not check {spec.config_path} within "
                          f"{_CHECK_S:g} s") from None
    if done.returncode != 0:
        said = " | ".join(_lines(done.stderr)) or f"exit code {done.returncode}"
        raise DriverError(f"{spec.name}: haproxy refuses {spec.config_path}: {said}")


def _lines(text: str) -> list[str]:
    """Return HAProxy's first alerts without what stands around them."""
    alerts = [_MARKUP.sub("", line).strip() for line in text.splitlines()
              if line.startswith("[ALERT]")]
    return [alert for alert in alerts if not _EMPTY.match(alert)][:3]
