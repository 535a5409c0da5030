"""A run of client stacks from request to report: plan, measure, judge, write."""
from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..identity import DeclaredOtp, Identity
from ..model import Endpoint
from ..mqtt.credentials import Credentials
from ..progress import ProgressFile
from ..report.files import link_latest, new_folder
from ..run.check import Impact
from ..run.pace import Pace
from ..tls.engine import OrdinaryEngine
from ..tls.evidence import utc_now
from ..tls.trust import Trust
from ..tls.wire import Interrupted
from . import process, report
from .control import CONTROL, Asking, Control
from .judge import Judge, Row
from .page import Page
from .plan import StackPlan, make_plan
from .words import Cell, Expected, Result, Said, Stack

SYSTEM_STORE = "/etc/ssl/certs/ca-certificates.crt"
"""The system's store as one file, as Debian keeps it: clients are given a file."""


class RequestError(Exception):
    """The request makes no sense; the sentence says what to change."""


@dataclass(frozen=True)
class StackRequest:
    """What to measure and how; the names are those of the inventory."""

    nodes: Mapping[str, Endpoint]
    stacks: tuple[Stack, ...]
    reports_dir: Path
    expected: tuple[Expected, ...] = ()
    trust: Trust = field(default_factory=Trust)
    credentials: Credentials = field(default_factory=Credentials)
    mqtt_version: str = "auto"
    """For our own client; those of the stacks speak 3.1.1."""
    deadline_s: float = 5.0
    rate_limit: float | None = None
    session_cache_max: int = 1000
    max_impact: Impact = Impact.SAFE
    declared: Mapping[str, DeclaredOtp] = field(default_factory=dict)
    progress_file: str | None = None
    page_template: Path | None = None
    """Of index.html; None: there is no page."""


@dataclass
class Record:
    """What is known of a run, at any moment of it."""

    plan: StackPlan
    nodes: Mapping[str, Endpoint]
    started_at: str
    identities: dict[str, Identity] = field(default_factory=dict)
    controls: dict[str, Control] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    connections: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Evidence by key."""
    libraries: dict[str, str] = field(default_factory=dict)
    """By stack: what it says that its TLS library is."""
    made: Counter[str] = field(default_factory=Counter)
    """By node: handshakes."""
    new_sessions: Counter[str] = field(default_factory=Counter)
    """By node: full handshakes."""
    duration_s: float = 0.0
    complete: bool = False


def plan_of(wanted: StackRequest) -> StackPlan:
    """Return the plan; nothing is connected to, and nothing is started."""
    return make_plan(wanted.nodes, wanted.stacks, max_impact=wanted.max_impact,
                     session_cache_max=wanted.session_cache_max, rate=wanted.rate_limit)


def measure(wanted: StackRequest, stop: threading.Event) -> tuple[dict[str, Any], Path]:
    """Measure everything and write the report; return the result object and its folder.

    Raises:
        RequestError: there is no file of trusted CAs for clients.
        EngineError: a certificate file is missing or unusable.
        PageError: the page's template cannot be read.
        OSError: a report cannot be written.
    """
    wanted = replace(wanted, trust=_for_clients(wanted.trust))
    with_engine = OrdinaryEngine(wanted.trust, stop=stop)
    try:
        run = _Measuring(wanted, stop, with_engine)
        return run.everything(), run.folder
    finally:
        with_engine.close()


def _for_clients(trust: Trust) -> Trust:
    """Return absolute paths: clients run in a folder of their own. Raises RequestError."""
    ca = trust.ca_file or SYSTEM_STORE
    if not Path(ca).is_file():
        raise RequestError(f"clients are given a file of CAs, and {ca} is none: set resumption_ca "
                           "to the PEM file of the CA that signed the nodes' certificates")
    return Trust(*(None if name is None else str(Path(name).absolute())
                   for name in (ca, trust.cert_file, trust.key_file)))


class _Measuring:
    """One run."""

    def __init__(self, wanted: StackRequest, stop: threading.Event, engine: OrdinaryEngine) -> None:
        self._wanted, self._stop = wanted, stop
        self._record = Record(plan_of(wanted), wanted.nodes, utc_now())
        self._judge = Judge(wanted.expected)
        self._paces = {name: Pace(wanted.rate_limit) for name in wanted.nodes}
        self._begun = time.monotonic()
        self._progress = ProgressFile(wanted.progress_file,
                                      sum(self._record.plan.handshakes.values()), "handshakes")
        self._own = Asking(engine, wanted.credentials, wanted.mqtt_version, wanted.deadline_s,
                           self._wait, stop)
        self._asked = process.Asked(wanted.trust, wanted.credentials, wanted.deadline_s,
                                    self._wait, stop)
        self._page = Page(wanted.page_template) if wanted.page_template else None
        self.folder = new_folder(wanted.reports_dir)

    def _wait(self, endpoint: Endpoint) -> None:
        self._paces[endpoint.name].wait(self._stop)

    def everything(self) -> dict[str, Any]:
        """Measure and save, and return the result object."""
        self._save()
        link_latest(self.folder)
        try:
            self._controls()
            for row in self._record.plan.rows:
                if self._stop.is_set():
                    break
                self._row(row)
                self._save()
            self._record.complete = not self._stop.is_set()
        except Interrupted:
            pass
        return self._save()

    def _save(self) -> dict[str, Any]:
        self._record.duration_s = time.monotonic() - self._begun
        results = report.build(self._record)
        report.write(self.folder, results, self._page)
        return results

    def _count(self, node: str, connections: int, full: int) -> None:
        self._record.made[node] += connections
        self._record.new_sessions[node] += full
        self._progress.update(self._record.made.total())

    def _controls(self) -> None:
        for name, endpoint in self._wanted.nodes.items():
            control = self._record.controls[name] = self._own.ask(endpoint)
            self._record.identities[name] = control.identity.completed(
                self._wanted.declared.get(name))
            self._count(name, control.handshakes, control.full)

    def _row(self, row: Row) -> None:
        record, control = self._record, self._record.controls[row.home.name]
        if not control.resumes:
            record.cells += [Cell(row.stack.name, row.way, row.home.name, endpoint.name, place,
                                  Result.NOT_TRIED, "skipped", CONTROL, control.why)
                             for _, place, endpoint in row.reconnects()]
            return
        run = process.run(row.stack, row.way, row.route, self._asked)
        keys = []
        for number, passed in enumerate(run.passed, 1):
            said = run.said.get(number)
            key = f"c{len(record.connections) + 1}"
            keys.append(key)
            record.connections[key] = {
                "stack": row.stack.name, "way": row.way, "number": number, **passed.as_dict(),
                "said": said.as_dict() if said else None}
            self._count(passed.node, int(bool(passed.messages)),
                        int(passed.established and not passed.abbreviated))
            self._remember(row.stack, said)
        if self._stop.is_set():
            return  # What it was in the middle of says nothing: it was not measured.
        record.cells += self._judge.cells(
            row, run, record.identities[row.home.name].otp_release, keys)

    def _remember(self, stack: Stack, said: Said | None) -> None:
        if said is not None and said.library:
            self._record.libraries[stack.name] = said.library
