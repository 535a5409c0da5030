"""One verification from request to report: plan, measure, judge, write."""
from __future__ import annotations

import concurrent.futures
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from .checks.catalogue import catalogue
from .cluster import BACKENDS, open_driver
from .drivers.base import Driver, DriverError, NodeSpec
from .drivers.ready import Caller
from .identity import DeclaredOtp, Identity, from_connack
from .listeners.release import Release, parse_release
from .model import Endpoint, TrustDomain
from .mqtt.credentials import Credentials
from .progress import ProgressFile
from .report import compare, files
from .report.results import RunRecord
from .report.vantage import VantagePoint
from .run import announcement
from .run.bench import Bench
from .run.check import Check, Impact, Subject, Verdict
from .run.choosing import Choice, problems
from .run.plan import Plan, make_plan
from .run.prober import Prober
from .run.runner import Runner
from .run.target import Balancer, Fleet, Settings, Target
from .tls.engine import OrdinaryEngine
from .tls.evidence import utc_now
from .tls.trust import EngineError, Trust
from .tolerance import waivers
from .tolerance.deviations import DeviationError, load
from .tolerance.judge import Allowances, Tolerance, today_utc

if TYPE_CHECKING:
    from .report.page import Page

_Report = TypeVar("_Report", bound=files.Report)
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
    allowances: Allowances = field(default_factory=Allowances)
    declared: dict[str, DeclaredOtp] = field(default_factory=dict)
    """By node: its Erlang/OTP release, where the inventory says it."""
    parallel: int = 4
    progress_file: str | None = None
    page_template: Path | None = None
    """Template of index.html; None: no page."""
    cluster: str | None = None
    """Name of the cluster; None: there is none to drive."""
    state_dir: Path | None = None
    """Where the driver keeps the clusters' state."""
    vantage: tuple[VantagePoint, ...] = ()
    """Where the same is probed from afterwards."""
    compare: Path | None = None
    """An earlier run, its folder or results.json, to tell what changed since."""
    choice: Choice = field(default_factory=Choice)
    """Which checks the run is about."""
    root: Path | None = None
    """Where names of files in the report begin; None: they are absolute."""


def request(params: dict[str, Any]) -> Request:
    """Build a request from the module's parameters.

    Raises:
        RequestError: a waiver, a known deviation or a choice is incomplete or has no such check,
            or there is no such node.
    """
    if not params["nodes"]:
        raise RequestError("there is no node to verify: the group emqx is empty")
    backend = BACKENDS.get(params["driver"])
    return Request(
        target=Target(
            {node["name"]: Endpoint(node["name"], node["host"], int(node["port"]),
                                    node.get("server_name") or node["host"])
             for node in params["nodes"]},
            Settings(
                cache_scope=params["cache_scope"],
                session_cache_max=params["session_cache_max"] or Settings.session_cache_max,
                cache_declared=params["session_cache_max"] is not None,
                session_lifetime=params.get("session_lifetime"),
                max_wait=params.get("max_wait", Settings.max_wait),
                rate_limit=params["rate_limit"], deadline_s=params["timeout"],
                tls_versions=tuple(params["tls_versions"]),
                mqtt_version=params["mqtt_version"], mqtt_topic=params["mqtt_topic"],
                fleet=Fleet(params.get("fleet_devices", Fleet.devices),
                            params.get("fleet_minutes", Fleet.minutes)),
                credentials=_credentials(params),
                release=_release(params.get("release")),
                pairs_per_node=params.get("pairs_per_node")),
            params["driver"], backend.driver.abilities if backend else frozenset(),
            backend.driver.limits if backend else "", _trust_domains(params),
            places=params.get("places") or 1 + len(params.get("vantage") or ()),
            balancers=_balancers(params), zones=params.get("zones") or {}),
        trust=Trust(params["ca"], params["client_cert"], params["client_key"]),
        max_impact=Impact[params["max_impact"].upper()],
        reports_dir=Path(params["reports_dir"] or ""),
        allowances=_allowances(params),
        declared={name: DeclaredOtp(str(told["release"]), told["how"])
                  for name, told in (params.get("otp_releases") or {}).items()},
        parallel=params["parallel"], progress_file=params["progress_file"],
        page_template=Path(params["page_template"]) if params["page_template"] else None,
        cluster=params.get("cluster_name"),
        state_dir=Path(params["state_dir"]) if params.get("state_dir") else None,
        vantage=tuple(VantagePoint(point["name"], point["host"])
                      for point in params.get("vantage") or ()),
        compare=Path(params["compare"]) if params.get("compare") else None,
        choice=_choice(params),
        root=Path(params["root"]) if params.get("root") else None)


def _credentials(params: dict[str, Any]) -> Credentials:
    username, password = params["mqtt_username"], params["mqtt_password"]
    # A token may come without a user name, and MQTT 3.1.1 has no password without one (3.1.2.9).
    return Credentials("" if password is not None and username is None else username, password,
                       params["mqtt_client_id_prefix"])


def _release(text: str | None) -> Release | None:
    try:
        return parse_release(text) if text else None
    except ValueError as error:
        raise RequestError(f"release: {error}") from None


def _allowances(params: dict[str, Any]) -> Allowances:
    documents = params.get("known_deviations") or []
    try:
        deviations = load(documents, catalogue())
    except DeviationError as error:
        raise RequestError(str(error)) from None
    waived, wrong = waivers.read(params["waivers"], catalogue())
    if wrong:
        raise RequestError(" ".join(wrong))
    return Allowances(deviations, tuple(document["file"] for document in documents),
                      bool(params.get("strict")), waived)


def _choice(params: dict[str, Any]) -> Choice:
    choice = Choice(tuple(params.get("checks") or ()), params.get("skip_checks") or {})
    for problem in problems(choice.names, choice.skipped, catalogue()):
        raise RequestError(problem)
    return choice


def _trust_domains(params: dict[str, Any]) -> dict[str, tuple[TrustDomain, ...]]:
    nodes = {node["name"] for node in params["nodes"]}
    found: dict[str, tuple[TrustDomain, ...]] = {}
    for row in params.get("trust_domains") or ():
        if row["node"] not in nodes:
            raise RequestError(f"trust_domains: there is no node {row['node']}")
        domain = TrustDomain(**{key: value for key, value in row.items() if key != "node"})
        found[row["node"]] = (*found.get(row["node"], ()), domain)
    return found


def _balancers(params: dict[str, Any]) -> dict[str, Balancer]:
    found: dict[str, Balancer] = {}
    taken = {node["name"] for node in params["nodes"]}
    for row in params.get("load_balancers") or ():
        name = row["name"]
        if name in taken:
            raise RequestError(f"load_balancers: there is something else called {name} already")
        taken.add(name)
        found[name] = Balancer(
            Endpoint(name, row["host"], int(row["port"]), row.get("server_name") or row["host"]),
            row.get("affinity"))
    return found


def announced(wanted: Request, plan: Plan | None = None) -> list[str]:
    """Return for people what a run costs the target, to be told before the first connection.

    The plan of many nodes takes a while to make: whoever has it already hands it in.
    """
    plan = plan or plan_of(wanted)
    return [*announcement.lines(plan, wanted.target, wanted.max_impact, wanted.trust),
            _patience(wanted.target.settings), *_foretold_elsewhere(wanted, plan)]


def _patience(settings: Settings) -> str:
    told = f"{settings.deadline_s:g} s"
    if settings.deadline_s != Settings.deadline_s:
        told += f" instead of {Settings.deadline_s:g}"
    return (f"Timeout: {told} for TCP connect and TLS handshake, and again for CONNECT to CONNACK "
            f"(resumption_timeout)")


def plan_of(wanted: Request) -> Plan:
    """Return the plan; no connection is opened and no certificate is needed."""
    return make_plan(wanted.target, catalogue(), wanted.max_impact, wanted.choice)


def foretold(wanted: Request) -> list[str]:
    """Return for people what a run would do, and what it would forgive."""
    plan = plan_of(wanted)
    return [*plan.lines(), *announced(wanted, plan), *wanted.allowances.lines(today_utc())]


def _foretold_elsewhere(wanted: Request, here: Plan) -> list[str]:
    """Return what the vantage points add."""
    if not wanted.vantage:
        return []
    there = plan_of(from_vantage(wanted))
    points = len(wanted.vantage)
    names = ", ".join(point.name for point in wanted.vantage)
    checks = sum(planned.skipped is None for planned in there.checks)
    return [
        (f"Then from {names}, over SSH{', one after the other' if points > 1 else ''}: "
         f"{checks} of these checks"),
        *(f"{node}: {there.handshakes[node]} handshakes from {'each' if points > 1 else 'there'}, "
          f"of which {there.sessions[node]} full; in all "
          f"{here.handshakes[node] + points * there.handshakes[node]}, of which "
          f"{here.sessions[node] + points * there.sessions[node]} full"
          for node in wanted.target.nodes),
        *(f"From {'each' if points > 1 else 'there'}: {line}"
          for line in announcement.more(there))]


def from_vantage(wanted: Request) -> Request:
    """Return what is done at a vantage point: without a driver, a CA's key or a report's files."""
    target = wanted.target
    return replace(
        wanted, vantage=(), page_template=None, progress_file=None, compare=None,
        cluster=None, state_dir=None, target=replace(
            target, vantage=True, abilities=frozenset(),
            limits="nodes are driven from the controller only", trust_domains={
                node: tuple(replace(domain, ca_cert=None, ca_key=None) for domain in domains)
                for node, domains in target.trust_domains.items()}))


def _probed_with(wanted: Request) -> dict[str, Any] | None:
    if wanted.target.vantage:
        return None

    def named(files: dict[str, str | None]) -> dict[str, str | None]:
        return {name: compare.shown(Path(path), wanted.root) if path else None
                for name, path in files.items()}

    trust, domains = wanted.trust, [
        # Where their keys lie is nobody's business who reads the report.
        {"node": node, "port": domain.port, **named({
            "client_cert": domain.client_cert, "ca_cert": domain.ca_cert})}
        for node, domains in wanted.target.trust_domains.items() for domain in domains]
    return {**named({"ca": trust.ca_file, "client_cert": trust.cert_file,
                     "client_key": trust.key_file}),
            **({"trust_domains": domains} if domains else {})}


def learn(record: RunRecord) -> None:
    """Take from the nodes' CONNACKs what no better witness has said of them."""
    for name, connack in list(record.ledger.connacks.items()):
        if name not in record.identities:
            record.identities[name] = from_connack(connack)


@dataclass
class _Progress:
    record: RunRecord
    report: files.Report

    def found(self, check: Check, subject: Subject, verdict: Verdict) -> None:
        finding = self.record.tolerance.judge(check, subject, verdict)
        self.record.findings.append(self.record.archive.settle(finding))
        learn(self.record)
        self.report.save_sometimes()


def _load_clients(prober: Prober) -> None:
    """Read every client's certificate now, so that a wrong file is told before anything starts."""
    try:
        for domains in prober.target.trust_domains.values():
            for domain in domains:
                prober.engine_of(domain.client_cert, domain.client_key)
    except EngineError:
        prober.close()
        prober.engine.close()
        raise


def _driver(wanted: Request, caller: Caller, stop: threading.Event) -> Driver | DriverError:
    """Return a driver, or why there is none: only checks that need one must fail for it."""
    if wanted.target.vantage:
        return DriverError(wanted.target.limits)
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


def page_of(template: Path | None) -> Page | None:
    """Return what makes index.html; None without a template. Raises PageError."""
    if template is None:
        return None
    # Jinja2 takes as long to import as all checks.
    from .report.page import Page  # noqa: PLC0415

    return Page(template)


def verify(wanted: Request, stop: threading.Event) -> tuple[dict[str, Any], Path]:
    """Run everything and return the result object and the report's folder.

    Setting ``stop`` ends the run within a second with a complete report in which
    everything not measured is an error.

    Raises:
        CompareError: there is nothing to compare with.
        EngineError: a certificate file is missing or unusable.
        PageError: the template of index.html cannot be read.
        OSError: the report cannot be written.
    """
    page = page_of(wanted.page_template)

    def begun(record: RunRecord) -> files.ReportFolder:
        folder = files.ReportFolder(files.new_folder(wanted.reports_dir), record, page)
        folder.save()
        files.link_latest(folder.folder)
        return folder

    results, folder = _run(wanted, stop, begun)
    return results, folder.folder


def observe(wanted: Request, stop: threading.Event) -> dict[str, Any]:
    """Run everything and return the result object; nothing is written.

    Raises:
        EngineError: a certificate file is missing or unusable.
        OSError: the engine cannot work here.
    """
    results, _ = _run(wanted, stop, files.Unwritten)
    return results


def _run(wanted: Request, stop: threading.Event,
         begun: Callable[[RunRecord], _Report]) -> tuple[dict[str, Any], _Report]:
    """Run everything; ``begun`` opens the report, once it is sure that the run begins."""
    previous = compare.load(wanted.compare, wanted.root) if wanted.compare else None
    password = wanted.target.settings.credentials.password
    engine = OrdinaryEngine(wanted.trust, stop=stop, forward_secret=password is not None)
    plan = plan_of(wanted)
    prober = Prober(engine, plan.target, stop)
    _load_clients(prober)
    bench, ledger = Bench(prober), prober.ledger
    caller = Caller(wanted.trust, wanted.target.settings.credentials, stop,
                    wanted.target.settings.deadline_s)
    driver = bench.driver = _driver(wanted, caller, stop)
    announced = sum(plan.handshakes.values())
    told = ProgressFile(wanted.progress_file, announced, "handshakes")
    ledger.on_handshake = lambda count: told.update(count, total=announced + ledger.unannounced)
    ledger.polls = caller.asked
    bench.on_wait = told.wait_for
    record = RunRecord(ledger, plan, wanted.target.driver, utc_now(), prober.paces, stop,
                       own_ca=wanted.trust.ca_file is not None, declared=wanted.declared,
                       vantage=wanted.vantage, probed_with=_probed_with(wanted), previous=previous)

    def otp_release(node: str) -> str | None:
        learn(record)
        identity = record.identity(node)
        return identity.otp_release if identity is not None else None

    bench.otp_release = otp_release
    record.tolerance = Tolerance(wanted.allowances, nodes=bench.nodes, otp_release=otp_release)
    report = begun(record)
    progress = _Progress(record, report)
    runner = Runner(bench, plan, parallel=wanted.parallel, on_verdict=progress.found)
    try:
        record.identities.update(_inspected(driver, list(bench.specs.values()), stop))
        record.complete = runner.run()
    finally:
        results = report.save()
        record.archive.close()
        prober.close()
        engine.close()
        caller.close()
    return results, report
