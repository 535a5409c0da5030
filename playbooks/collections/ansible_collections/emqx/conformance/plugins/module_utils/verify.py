"""One verification from request to report: plan, measure, judge, write."""
from __future__ import annotations

import concurrent.futures
import datetime
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .checks.bench import Bench, Settings, Target
from .checks.catalogue import catalogue
from .checks.plan import Plan, make_plan
from .checks.registry import Finding, Impact
from .checks.runner import Runner, Waiver
from .domains import TrustDomain
from .drivers.base import Driver, DriverError, NodeSpec
from .drivers.factory import DRIVERS, open_driver
from .drivers.ready import Caller
from .identity import Identity, from_connack
from .model import Endpoint
from .mqtt.client import Credentials
from .progress import ProgressFile
from .report import files
from .report.page import Page
from .report.results import RunRecord
from .tls.engine import EngineError, OrdinaryEngine, Trust, utc_now

_LOOKS_AT_ONCE = 16
"""How many nodes are looked at from within at a time."""


class RequestError(Exception):
    """The request makes no sense; the sentence says what to change."""


@dataclass(frozen=True)
class Request:
    """What to verify and how; see the module ``resumption_verify`` for the fields."""

    target: Target
    trust: Trust
    max_impact: Impact
    reports_dir: Path
    waivers: tuple[Waiver, ...] = ()
    parallel: int = 4
    progress_file: str | None = None
    page_template: Path | None = None
    """Template of index.html; None: no page."""
    cluster: str | None = None
    """Name of the cluster; None: there is none to drive."""
    state_dir: Path | None = None
    """Where the driver keeps the clusters' state."""


def request(params: dict[str, Any]) -> Request:
    """Build a request from the module's parameters.

    Raises:
        RequestError: a waiver is incomplete or has no such check, or there is no such node.
    """
    if not params["nodes"]:
        raise RequestError("there is no node to verify: the group emqx is empty")
    kind = DRIVERS.get(params["driver"])
    return Request(
        target=Target(
            {node["name"]: Endpoint(node["name"], node["host"], int(node["port"]),
                                    node.get("server_name") or node["host"])
             for node in params["nodes"]},
            Settings(
                cache_scope=params["cache_scope"], session_cache_max=params["session_cache_max"],
                rate_limit=params["rate_limit"], deadline_s=params["timeout"],
                tls_versions=tuple(params["tls_versions"]),
                mqtt_version=params["mqtt_version"], mqtt_topic=params["mqtt_topic"],
                credentials=Credentials(params["mqtt_username"], params["mqtt_password"],
                                        params["mqtt_client_id_prefix"]),
                max_wait_s=params.get("max_wait", Settings.max_wait_s)),
            params["driver"], kind.abilities if kind else frozenset(),
            kind.limits if kind else "", _trust_domains(params)),
        trust=Trust(params["ca"], params["client_cert"], params["client_key"]),
        max_impact=Impact[params["max_impact"].upper()],
        reports_dir=Path(params["reports_dir"]),
        waivers=tuple(_waiver(row) for row in params["waivers"]),
        parallel=params["parallel"], progress_file=params["progress_file"],
        page_template=Path(params["page_template"]) if params["page_template"] else None,
        cluster=params.get("cluster_name"),
        state_dir=Path(params["state_dir"]) if params.get("state_dir") else None)


def _trust_domains(params: dict[str, Any]) -> dict[str, tuple[TrustDomain, ...]]:
    nodes = {node["name"] for node in params["nodes"]}
    found: dict[str, tuple[TrustDomain, ...]] = {}
    for row in params.get("trust_domains") or ():
        if row["node"] not in nodes:
            raise RequestError(f"trust_domains: there is no node {row['node']}")
        domain = TrustDomain(**{key: value for key, value in row.items() if key != "node"})
        found[row["node"]] = (*found.get(row["node"], ()), domain)
    return found


def _waiver(row: dict[str, Any]) -> Waiver:
    missing = [key for key in ("id", "why", "expires") if not row.get(key)]
    if missing:
        raise RequestError(
            f"resumption_waivers: the waiver {row} has no {' and no '.join(missing)}")
    if row["id"] not in {check.id for check in catalogue()}:
        raise RequestError(f"resumption_waivers: there is no check {row['id']}")
    try:
        expires = datetime.date.fromisoformat(str(row["expires"]))
    except ValueError:
        raise RequestError(f"resumption_waivers: {row['expires']} is no date like 2027-01-31") \
            from None
    return Waiver(row["id"], row.get("subject") or "*", row["why"], expires)


def plan_of(wanted: Request) -> Plan:
    """Return the plan; no connection is opened and no certificate is needed."""
    return make_plan(wanted.target, catalogue(), wanted.max_impact)


@dataclass
class _Progress:
    record: RunRecord
    folder: files.ReportFolder
    seen: set[str] = field(default_factory=set)

    def found(self, finding: Finding) -> None:
        self.record.findings.append(finding)
        for name, connack in list(self.record.bench.connacks.items()):
            if name not in self.seen:
                self.seen.add(name)
                self.record.identities.setdefault(name, from_connack(connack))
        self.folder.save_sometimes()


def _load_clients(bench: Bench) -> None:
    """Read every client's certificate now, so that a wrong file is told before anything starts."""
    try:
        for domains in bench.target.trust_domains.values():
            for domain in domains:
                bench.engine_of(domain.client_cert, domain.client_key)
    except EngineError:
        bench.close()
        bench.engine.close()
        raise


def _driver(wanted: Request, caller: Caller, stop: threading.Event) -> Driver | DriverError:
    """Return a driver, or why there is none: only checks that need one must fail for it."""
    try:
        return open_driver(wanted.target.driver, state_dir=wanted.state_dir,
                           cluster=wanted.cluster, caller=caller, stop=stop)
    except DriverError as error:
        return error


def _inspected(driver: Driver | DriverError, specs: list[NodeSpec],
               stop: threading.Event) -> dict[str, Identity]:
    """Return what the nodes are, as far as the driver can see that from where they run."""
    if isinstance(driver, DriverError) or type(driver).inspect is Driver.inspect:
        return {}

    def look(spec: NodeSpec) -> Identity | None:
        # A node that cannot be looked at from within still names itself in its CONNACK.
        try:
            return driver.inspect(spec)
        except (DriverError, OSError):
            return None

    pool = concurrent.futures.ThreadPoolExecutor(_LOOKS_AT_ONCE)
    asked = {pool.submit(look, spec): spec.name for spec in specs}
    pending = set(asked)
    while pending and not stop.is_set():
        _, pending = concurrent.futures.wait(pending, 0.1)
    pool.shutdown(wait=False, cancel_futures=True)
    told = {name: future.result() for future, name in asked.items() if future not in pending}
    return {name: identity for name, identity in told.items() if identity is not None}


def verify(wanted: Request, stop: threading.Event) -> tuple[dict[str, Any], Path]:
    """Run everything and return the result object and the report's folder.

    Setting ``stop`` ends the run within a second with a complete report in which
    everything not measured is an error.

    Raises:
        EngineError: a certificate file is missing or unusable.
        PageError: the template of index.html cannot be read.
        OSError: the report cannot be written.
    """
    page = Page(wanted.page_template) if wanted.page_template else None
    engine = OrdinaryEngine(wanted.trust, stop=stop)
    bench = Bench(engine, wanted.target, stop)
    _load_clients(bench)
    caller = Caller(wanted.trust, wanted.target.settings.credentials, stop)
    driver = bench.driver = _driver(wanted, caller, stop)
    plan = plan_of(wanted)
    told = ProgressFile(wanted.progress_file, sum(plan.handshakes.values()), "handshakes")
    bench.on_handshake, bench.on_wait = told.update, told.wait_for
    record = RunRecord(bench, plan, wanted.target.driver, utc_now())
    folder = files.ReportFolder(files.new_folder(wanted.reports_dir), record, page)
    folder.save()
    folder.link_latest()
    progress = _Progress(record, folder)
    runner = Runner(bench, plan, waivers=wanted.waivers, parallel=wanted.parallel,
                    on_finding=progress.found)
    try:
        record.identities.update(_inspected(driver, list(bench.specs.values()), stop))
        record.complete = runner.run()
    finally:
        results = folder.save()
        bench.close()
        engine.close()
        caller.close()
    return results, folder.folder
