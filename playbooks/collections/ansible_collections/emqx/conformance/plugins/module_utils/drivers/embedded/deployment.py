"""From wanted nodes to running nodes, changing only what must change.

A node is started from its converted configuration, the content of its certificate files, the
compiled code and the settings of ssl. A digest of all of it is kept with the node: the same
digest and a living process mean that there is nothing to do.
"""
from __future__ import annotations

import contextlib
import hashlib
import shutil
import signal
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...identity import Identity
from ...mqtt.credentials import Credentials
from ...tls.trust import Trust
from .. import haproxy, hocon, ports
from ..backend import Wanted
from ..base import PATIENCE, DriverError, DriverInterrupted, NodeSpec
from ..change import Change
from ..conversion import (
    CONNECT_TIMEOUT_MS,
    MAX_PACKET_SIZE,
    ConversionError,
    SslListener,
    convert,
)
from ..layout import ClusterFolder, NodeRecord, as_json, erlang_name, replace_file
from ..lock import exclusive
from ..processes import Process, working_under
from ..ready import Caller
from ..terms import Atom, Term, render_file
from . import build
from .driver import EmbeddedDriver
from .epmd import ClusterEpmd
from .users import known_or_new

_CONFIG = "node.config"

# One scheduler that sleeps when idle keeps a node small; the node starts distribution by
# itself, and an epmd of its own making would outlive it on all addresses.
_ERL_FLAGS = [
    "-noinput", "+S", "1:1", "+SDcpu", "1:1", "+SDio", "1", "+A", "1", "+fnu",
    "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none",
    "-start_epmd", "false", "-connect_all", "false",
    "-kernel", "inet_dist_use_interface", "{127,0,0,1}"]


_NOT_TRIED = ("the listener for clients does not speak TLS 1.2: whether it answers CONNECT is not "
              "tried")


@dataclass(frozen=True, kw_only=True)
class EmbeddedWanted(Wanted):
    """What the inventory asks for of embedded nodes."""

    source_dir: Path
    credentials: Credentials | None = None
    """What clients must give; None lets everybody in."""


@dataclass(frozen=True)
class Prepared:
    """One node, ready to be written down and started."""

    node: NodeSpec
    listeners: tuple[SslListener, ...]
    config: str
    fingerprint: str
    command: list[str]


@dataclass
class EmbeddedChange(Change):
    """The change, and what the nodes are started from."""

    prepared: dict[str, Prepared] = field(default_factory=dict)


class Deployment:
    """Plans and makes one change of one cluster."""

    def __init__(self, folder: ClusterFolder, wanted: EmbeddedWanted, caller: Caller,
                 stop: threading.Event) -> None:
        self._folder, self._wanted, self._stop = folder, wanted, stop
        self.driver = EmbeddedDriver(folder, caller, members=self._members(), stop=stop)
        self.driver.patience = PATIENCE

    def _members(self) -> list[str]:
        """Return who belongs to the cluster once this run is done."""
        wanted = {node.name for node in self._wanted.nodes}
        running = {name for name, record in self._folder.nodes().items()
                   if record.state() == "running"}
        return [name for name in self._wanted.all_nodes if name in wanted or name in running]

    # -- planning --------------------------------------------------------------------------

    def plan(self, *, may_be_unrendered: bool = False, to_render: Collection[str] = (),
             restart: bool = False) -> EmbeddedChange:
        """Find out what must be done; nothing is changed.

        Args:
            may_be_unrendered: a configuration that does not exist yet is no error (check
                mode: what renders it changed nothing either).
            to_render: nodes whose configuration is there, but is going to be another.
            restart: restart the nodes that run even when nothing changed.

        Raises:
            DriverError: a node cannot be made from its configuration, or a port is taken.
        """
        plan = EmbeddedChange()
        records = self._folder.nodes()
        for known in records.values():
            known.await_ending()
        command = self._command()
        for node in self._wanted.nodes:
            record = records.get(node.name)
            running = record is not None and record.state() == "running"
            if may_be_unrendered and (node.name in to_render or not (
                    node.config_path and node.config_path.exists())):
                (plan.restart if running else plan.start).append(node.name)
                continue
            prepared = self._prepare(node, command, plan)
            plan.prepared[node.name] = prepared
            if record is None or not running:
                plan.start.append(node.name)
            elif restart or not self._is_current(record, prepared):
                plan.restart.append(node.name)
            else:
                plan.unchanged.append(node.name)
        plan.stop = sorted(set(records) - set(self._wanted.all_nodes)
                           - {node.name for node in self._wanted.nodes})
        self._check_ports(plan)
        return plan

    def _is_current(self, record: NodeRecord, prepared: Prepared) -> bool:
        epmd = self.driver.epmd.recorded()
        return (record.fingerprint == prepared.fingerprint and epmd is not None
                and epmd.port == record.epmd_port and self.driver.epmd.is_running())

    def _command(self) -> list[str]:
        version = build.code_version(self._wanted.source_dir)
        code = self._wanted.source_dir.resolve() / "ebin" / version
        return [build.program("erl"), *_ERL_FLAGS, "-pa", str(code), "-s", "embedded_node", "boot"]

    def _prepare(self, node: NodeSpec, command: list[str], plan: EmbeddedChange) -> Prepared:
        if node.config_path is None:
            raise DriverError(f"{node.name}: no rendered listeners.hocon to boot from")
        try:
            converted = convert(hocon.read(node.config_path), self._wanted.release)
        except hocon.HoconError as error:
            raise DriverError(f"{node.name}: {error}") from None
        except ConversionError as error:
            raise DriverError(f"{node.name}: {error} (in {node.config_path})") from None
        for warning in converted.warnings:
            plan.warn(warning, node.name)
        listeners = tuple(converted.listeners)
        _check_endpoint(node, listeners)
        prepared = Prepared(node, listeners, "", "", command)
        if not _speaks_1_2(prepared):
            plan.warn(_NOT_TRIED, node.name)
        config = render_file(self._term(node, listeners))
        files = {path: _digest(self._folder.run_dir(node.name) / path)
                 for listener in listeners for path in listener.files}
        fingerprint = hashlib.sha256(as_json([config, files, command]).encode()).hexdigest()
        return replace(prepared, config=config, fingerprint=fingerprint)

    def _term(self, node: NodeSpec, listeners: Sequence[SslListener]) -> Term:
        wanted = self._wanted
        return {
            "node": Atom(erlang_name(node.name)),
            "peers": [Atom(erlang_name(name)) for name in sorted(wanted.all_nodes)],
            "session_lifetime": _or_default(wanted.session_lifetime),
            "session_cache_max": _or_default(wanted.session_cache_max),
            "connect_timeout": CONNECT_TIMEOUT_MS,
            "max_packet_size": MAX_PACKET_SIZE,
            "users": self._users(node),
            "listeners": [listener.term() for listener in listeners],
        }

    def _users(self, node: NodeSpec) -> Term:
        credentials = self._wanted.credentials
        if credentials is None:
            return Atom("none")
        if credentials.username is None or credentials.password is None:
            raise DriverError("embedded nodes ask for a user name with its password: give both, "
                              "or none")
        try:
            config = (self._folder.run_dir(node.name) / _CONFIG).read_text(encoding="utf-8")
        except OSError:
            config = ""
        return [known_or_new(credentials.username, credentials.password, config).term()]

    def _check_ports(self, plan: EmbeddedChange) -> None:
        taken: dict[int, list[tuple[str, str]]] = {}
        ours = self._processes([*plan.restart, *plan.stop])
        for name, prepared in plan.prepared.items():
            for listener in prepared.listeners:
                self._refuse_double(name, listener, taken)
                if name not in plan.unchanged:
                    self._refuse_taken(name, listener, ours)

    def _processes(self, names: Sequence[str]) -> set[Process]:
        """Return what will have made room by the time the others start."""
        records = self._folder.nodes()
        return {process for name in names if (process := records[name].process) is not None}

    @staticmethod
    def _refuse_double(name: str, listener: SslListener,
                       taken: dict[int, list[tuple[str, str]]]) -> None:
        everywhere = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
        for address, whose in taken.setdefault(listener.port, []):
            if address == listener.address or address in everywhere \
                    or listener.address in everywhere:
                raise DriverError(f"{whose} and {name} {listener.path} both want port "
                                  f"{listener.port}; give each its own emqx_tls_port or bind")
        taken[listener.port].append((listener.address, f"{name} {listener.path}"))

    def _refuse_taken(self, name: str, listener: SslListener, ours: set[Process]) -> None:
        where = f"{listener.address}:{listener.port}"
        try:
            if ports.is_free(listener.address, listener.port):
                return
        except OSError as error:
            raise DriverError(
                f"{name} {listener.path}: {where} {ports.why_not_opened(error)}") from None
        holders = ports.holders(listener.port)
        if holders and set(holders) <= ours | set(working_under(self._folder.path)):
            return
        by = ", ".join(self._whose(holder) for holder in holders) or "a process of another user"
        raise DriverError(f"{name} {listener.path}: {where} is already in use by {by}")

    def _whose(self, process: Process) -> str:
        for cluster in self._folder.path.parent.glob("*"):
            for name, record in ClusterFolder(cluster).nodes().items():
                if record.process == process:
                    return f"node {name} of cluster {cluster.name} (pid {process.pid})"
        return process.describe()

    # -- doing -----------------------------------------------------------------------------

    def apply(self, plan: EmbeddedChange) -> dict[str, Identity]:
        """Make it so: return when every node of this run is ready, with what each says it is.

        When that fails, what this call started is ended; what ran before and was not
        changed runs on.

        Raises:
            DriverError: with the node and the reason.
            DriverInterrupted: the run was asked to stop.
        """
        started = [*plan.restart, *plan.start]
        if started:
            build.compiled(self._wanted.source_dir)
        try:
            self._end_strays()
            self.driver.stop_all([*plan.stop, *plan.restart])
            for name in plan.stop:
                shutil.rmtree(self._folder.run_dir(name))
            if started:
                # A paused node is started anew: its peers have given it up long since.
                self.driver.kill_all(plan.start)
                self._folder.ensure_cookie()
                port = self.driver.epmd.ensure()
                for name in started:
                    self._write(plan.prepared[name], port)
                if self._stop.is_set():
                    raise DriverInterrupted
                self.driver.start_all([plan.prepared[name].node for name in started],
                                      self._wanted.timeout_s)
            self.driver.wait_members([node.name for node in self._wanted.nodes],
                                     self._wanted.timeout_s)
            untried = {name: Identity.unknown(_NOT_TRIED)
                       for name, prepared in plan.prepared.items() if not _speaks_1_2(prepared)}
            return {**untried, **self.driver.wait_ready(
                [prepared.node for name, prepared in plan.prepared.items() if name not in untried],
                self._wanted.timeout_s)}
        except BaseException:
            self._roll_back(started)
            raise

    def _write(self, prepared: Prepared, epmd_port: int) -> None:
        run_dir = self._folder.run_dir(prepared.node.name)
        run_dir.mkdir(mode=0o700, exist_ok=True)
        replace_file(run_dir / _CONFIG, prepared.config, 0o600)
        NodeRecord(prepared.fingerprint, prepared.command, epmd_port, None).save(run_dir)

    def _end_strays(self) -> None:
        """End what no record knows: the cluster would find its names and ports taken."""
        known = {record.process for record in self._folder.nodes().values()}
        epmd = self.driver.epmd.recorded()
        _end([process for process in working_under(self._folder.path)
              if process not in known and (epmd is None or process != epmd.process)])

    def _roll_back(self, started: Sequence[str]) -> None:
        _kill(self._folder, self.driver, started)


def end_nodes(folder: ClusterFolder, names: Sequence[str]) -> None:
    """End nodes that a deploy has started, because something else of it failed."""
    if names:
        _kill(folder, EmbeddedDriver(folder, Caller(Trust())), names)


def _kill(folder: ClusterFolder, driver: EmbeddedDriver, names: Sequence[str]) -> None:
    driver.kill_all(names)
    if all(record.state() == "gone" for record in folder.nodes().values()):
        driver.epmd.stop()


@dataclass
class Destroyed:
    """What a destruction ended or would end."""

    stopped: list[str] = field(default_factory=list)
    """``cluster/node`` for each node that ran."""
    removed: list[str] = field(default_factory=list)
    """Names of the clusters whose directory was there."""


def destroy(state_dir: Path, cluster: str | None, caller: Caller, *,
            pretend: bool = False) -> Destroyed:
    """End and remove one cluster, or every one under the state directory.

    Raises:
        DriverError: one is being deployed right now, or does not end.
    """
    done = Destroyed()
    names = [cluster] if cluster is not None else sorted(
        path.name for path in state_dir.glob("*") if path.is_dir())
    for name in names:
        folder = ClusterFolder.of(state_dir, name)
        done.stopped += [f"{name}/{node}" for node, record in folder.nodes().items()
                         if record.state() != "gone"]
        done.stopped += [f"{name}/{balancer}" for balancer, known in haproxy.recorded(
            folder).items() if known.is_running()]
        if folder.path.is_dir():
            done.removed.append(name)
            if not pretend:
                with exclusive(folder.path, f"cluster {name}"):
                    _destroy_one(folder, caller)
    if not pretend:
        # Also those whose directory somebody deleted.
        root = state_dir.resolve()
        everything = root / cluster if cluster is not None else root
        _end([*working_under(everything), *haproxy.processes(everything)])
        if state_dir.is_dir():
            with contextlib.suppress(OSError):
                state_dir.rmdir()
    return done


def _destroy_one(folder: ClusterFolder, caller: Caller) -> None:
    EmbeddedDriver(folder, caller).stop_all(folder.nodes())
    ClusterEpmd(folder.path).stop()
    _end([*haproxy.processes(folder.path), *working_under(folder.path)])
    shutil.rmtree(folder.path)


def _end(processes: Sequence[Process]) -> None:
    for process in processes:
        process.signal(signal.SIGKILL)
    for process in processes:
        process.wait_gone(5.0)


def _check_endpoint(node: NodeSpec, listeners: Sequence[SslListener]) -> None:
    if not any(listener.port == node.port for listener in listeners):
        have = ", ".join(f"{listener.path} on {listener.port}" for listener in listeners)
        raise DriverError(f"{node.name}: no enabled ssl listener is on port {node.port}, where "
                          f"its clients connect ({have or 'there is no enabled one at all'})")


def _speaks_1_2(prepared: Prepared) -> bool:
    return any("tlsv1.2" in listener.versions for listener in prepared.listeners
               if listener.port == prepared.node.port)


def _or_default(value: int | None) -> Term:
    return Atom("default") if value is None else value


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "missing"


def diff_text(states: Mapping[str, str]) -> str:
    """Return one line a node, for --diff."""
    return "".join(f"{name}: {state}\n" for name, state in sorted(states.items()))
