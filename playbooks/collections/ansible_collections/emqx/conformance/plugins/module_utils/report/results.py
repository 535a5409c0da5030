"""The one result object, from which every report is made (schemas/results.schema.json)."""
from __future__ import annotations

import re
import statistics
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..identity import DeclaredOtp, Identity, major_of
from ..model import Handshake, Outcome
from ..run import beyond
from ..run.check import Check, Status
from ..run.choosing import ids_of, unmeasured
from ..run.ledger import Ledger
from ..run.pace import Pace
from ..run.plan import Plan, handshakes_of
from ..run.quantiles import percentile
from ..run.target import Target
from ..tolerance.finding import Finding
from ..tolerance.judge import Tolerance
from .archive import Archive, Timing
from .compare import SCHEMA_VERSION, Previous, compared
from .vantage import VantagePoint, merged, not_measured

_NOT_MEASURED = "not_measured"
_NO_CONNECT = "it has accepted no CONNECT"


@dataclass
class RunRecord:
    """What the report knows of a run, at any moment of it."""

    ledger: Ledger
    plan: Plan
    driver: str
    started_at: str
    paces: Mapping[str, Pace]
    """By node or load balancer: how fast it was connected to."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set once the run was asked to stop."""
    own_ca: bool = True
    """Whether the run was told whom to trust; otherwise it trusts the system's store."""
    identities: dict[str, Identity] = field(default_factory=dict)
    """By node: what it told of itself."""
    declared: dict[str, DeclaredOtp] = field(default_factory=dict)
    """By node: what the inventory says of it."""
    tolerance: Tolerance = field(default_factory=Tolerance)
    findings: list[Finding] = field(default_factory=list)
    vantage: tuple[VantagePoint, ...] = ()
    """Where the same is probed from after this run."""
    probed_with: dict[str, Any] | None = None
    """Names of the certificate files, for who does the same by hand; None: they are elsewhere."""
    previous: Previous | None = None
    """What the run is compared with."""
    duration_s: float = 0.0
    complete: bool = False
    archive: Archive = field(init=False)
    """Its evidence."""

    def __post_init__(self) -> None:
        self.archive = Archive(self.ledger)

    @property
    def target(self) -> Target:
        """What the run is about."""
        return self.plan.target

    def identity(self, node: str) -> Identity | None:
        """Return what is known of a node; None when neither it nor the inventory told anything."""
        told, declared = self.identities.get(node), self.declared.get(node)
        if told is None and declared is None:
            return None
        return (told or Identity.unknown(_NO_CONNECT)).completed(declared)


def build(record: RunRecord) -> dict[str, Any]:
    """Return the result object. Planned but unmeasured subjects are in it as errors."""
    results = _measured(record)
    return compared(results, record.previous) if record.previous else results


def _measured(record: RunRecord) -> dict[str, Any]:
    findings = _in_order(record)
    # The run may go on meanwhile. A cell is recorded after its handshake: so this order.
    cells = dict(record.ledger.cells)
    handshakes = tuple(record.ledger.handshakes)
    heads = {planned.check.id: _head(planned.check, record.target)
             for planned in record.plan.checks}
    checks = [_finding(heads[finding[0].id], finding) for finding in findings]
    matrix = _matrix(record, findings, cells)
    counts = Counter(row["status"] for row in checks)
    chosen = record.plan.choice.as_dict()
    verdict, headline = judge(checks, matrix, complete=record.complete, **chosen,
                              everywhere=not record.target.vantage)
    sampling = _sampling(record, matrix)
    results = {
        "schema_version": SCHEMA_VERSION,
        "started_at": record.started_at,
        "duration_s": round(record.duration_s, 3),
        "complete": record.complete,
        "verdict": verdict,
        "headline": headline,
        "target": described(record.driver, [
            identity for name in record.target.nodes
            if (identity := record.identity(name)) is not None]),
        "nodes": [_node(record, name) for name in record.target.nodes],
        "load_balancers": [
            {"name": name, "host": balancer.endpoint.host, "port": balancer.endpoint.port,
             "server_name": balancer.endpoint.server_name, "affinity": balancer.affinity}
            for name, balancer in record.target.balancers.items()],
        "matrix": matrix,
        "checks": checks,
        # How long a load balancer takes is not the nodes'.
        "latency": {outcome.value: _latency(record.archive.timing(
            handshakes, outcome, record.target.nodes)) for outcome in (
                Outcome.FULL, Outcome.RESUMED)},
        **({"probed_with": record.probed_with} if record.probed_with else {}),
        **record.tolerance.as_dict(record.findings),
        **chosen,
        "notes": [*([sampling["sentence"]] if sampling else []), *_notes(record)],
        "counts": {status.value: counts.get(status.value, 0) for status in Status},
        "budget": {**_budget(record, handshakes), "differences": _differences(record)},
        "handshakes": record.archive.rows(handshakes),
    }
    if sampling:
        results["sampling"] = sampling
    return merged(results, [not_measured(point, "it has not been probed from there")
                            for point in record.vantage]) if record.vantage else results


def _in_order(record: RunRecord) -> list[tuple[Check, str, Finding | None]]:
    found = {(finding.check.id, finding.subject): finding for finding in record.findings}
    rows: list[tuple[Check, str, Finding | None]] = []
    for planned in record.plan.checks:
        for subject in planned.subjects or ((),):
            finding = found.get((planned.check.id, subject))
            name = finding.subject_name if finding else "->".join(subject) or "cluster"
            rows.append((planned.check, name, finding))
    return rows


def _head(check: Check, target: Target) -> dict[str, Any]:
    return {"id": check.id, "title": check.title_for(target), "clause": check.clause,
            "level": check.level.value, "impact": check.impact.label}


def _finding(of_check: dict[str, Any],
             row: tuple[Check, str, Finding | None]) -> dict[str, Any]:
    _, subject, finding = row
    head = {**of_check, "subject": subject}
    if finding is None:
        return {**head, "status": Status.ERROR.value, "reason": _NOT_MEASURED,
                "message": "not measured yet", "evidence": {"handshakes": []}}
    verdict = finding.verdict
    evidence: dict[str, Any] = {
        "handshakes": [*(handshake.key for handshake in verdict.handshakes if handshake.key),
                       *finding.filed]}
    if finding.waiver:
        evidence["waiver"] = finding.waiver
    if finding.deviations:
        evidence["known_deviations"] = [entry.as_dict() for entry in finding.deviations]
    told = {**head, "status": verdict.status.value, "reason": verdict.reason,
            "message": verdict.message, "evidence": evidence}
    return {**told, "data": dict(verdict.data)} if verdict.data else told


def _matrix(record: RunRecord, rows: Iterable[tuple[Check, str, Finding | None]],
            cells: Mapping[tuple[str, str], Handshake]) -> list[dict[str, Any]]:
    target = record.target
    judged: dict[tuple[str, str], Finding] = {}
    for check, _, finding in rows:
        if finding is not None and check.id in ("CORE-02", "CORE-03") and finding.subject:
            judged[finding.subject[0], finding.subject[-1]] = finding
    unplanned = {planned.check.id: planned.skipped for planned in record.plan.checks}
    matrix = []
    for issuer in target.nodes:
        for redeemer in target.nodes:
            handshake = cells.get((issuer, redeemer))
            finding = judged.get((issuer, redeemer))
            cell: dict[str, Any] = {
                "issuer": issuer, "redeemer": redeemer, "outcome": _NOT_MEASURED,
                "expected": target.settings.expected(issuer, redeemer).value,
                "passed": finding is not None and finding.verdict.status is Status.PASSED,
                "reason": "", "offered_id": "", "server_id": "", "evidence": {}}
            if finding is not None and not cell["passed"]:
                cell["reason"] = finding.verdict.reason
            elif (why := unplanned.get("CORE-02" if issuer == redeemer else "CORE-03")) is not None:
                cell["reason"] = why.reason
            elif finding is None:
                cell["reason"] = "not_sampled" if record.complete else _NOT_MEASURED
            if handshake is not None:
                cell.update(
                    outcome=handshake.outcome.value, offered_id=handshake.offered_id.hex(),
                    server_id=handshake.server_id.hex(), evidence=_evidence(handshake))
            matrix.append(cell)
    return matrix


def _sampling(record: RunRecord, matrix: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return what the pairs that were measured tell of all; nothing where all are planned."""
    if record.plan.sampling is None:
        return {}
    return record.plan.sampling.told({
        (cell["issuer"], cell["redeemer"]): cell["passed"] for cell in matrix
        if cell["issuer"] != cell["redeemer"] and _is_measured(cell)})


def _is_measured(cell: dict[str, Any]) -> bool:
    return cell["outcome"] not in (_NOT_MEASURED, "failed")


def _evidence(handshake: Handshake) -> dict[str, Any]:
    return {"handshake": handshake.key, "why": handshake.why,
            "witnesses": handshake.witnesses, "handshake_ms": handshake.handshake_ms,
            "bytes_in": handshake.bytes_in, "bytes_out": handshake.bytes_out}


def judge(checks: list[dict[str, Any]], matrix: list[dict[str, Any]], *, complete: bool,
          chosen: Mapping[str, Any] | None = None, everywhere: bool = True) -> tuple[str, str]:
    """Return the verdict (``passed``, ``failed`` or ``error``) and its headline.

    A failure outranks an error, an error outranks a pass, and a run that measured no
    same-node pair, or with several nodes no cross-node pair, has proved nothing. Where checks
    were chosen (:meth:`Choice.as_dict`), each name that was has to have been measured on one
    subject at least instead; ``everywhere`` is False where not all of them can be.
    """
    failures = [row for row in checks if row["status"] == "failed"]
    errors = [row for row in checks if row["status"] == "error"]
    named = bool(chosen and chosen["checks"])
    lacking = _lacking(checks, matrix, chosen if named else None) if everywhere or not named else ""
    if failures:
        verdict, what = "failed", summarise(failures)
    elif not complete:
        verdict, what = "error", "the run was interrupted before it was done"
    elif errors:
        verdict, what = "error", summarise(errors)
    else:
        verdict, what = ("error", lacking) if lacking else ("passed", "")
    return verdict, "; ".join(part for part in (
        _extent(checks, matrix, chosen if named else None), what,
        _left_out(checks, chosen)) if part)


def _lacking(checks: list[dict[str, Any]], matrix: list[dict[str, Any]],
             chosen: Mapping[str, Any] | None) -> str:
    """Return what had to be measured and was not; empty: nothing."""
    if chosen:
        missing = unmeasured(chosen, _measured_ids(checks))
        return f"nothing was measured of {', '.join(missing)}" if missing else ""
    measured = [cell for cell in matrix if _is_measured(cell)]
    if not any(cell["issuer"] == cell["redeemer"] for cell in measured):
        return "no same-node pair was measured"
    several = len({cell["issuer"] for cell in matrix}) > 1
    across = any(cell["issuer"] != cell["redeemer"] for cell in measured)
    return "no cross-node pair was measured" if several and not across else ""


def _measured_ids(checks: list[dict[str, Any]]) -> set[str]:
    return {row["id"] for row in checks if row["status"] not in ("skipped", "error")}


def _extent(checks: list[dict[str, Any]], matrix: list[dict[str, Any]],
            chosen: Mapping[str, Any] | None) -> str:
    """Return how many pairs are as expected, and of how many chosen checks anything is known."""
    pairs = f"{sum(cell['passed'] for cell in matrix)} of {len(matrix)} pairs as expected"
    if not chosen:
        return pairs
    ids = ids_of(chosen, dict.fromkeys(row["id"] for row in checks))
    extent = f"{len(_measured_ids(checks) & set(ids))} of {len(ids)} chosen checks measured"
    return f"{extent}; {pairs}" if any(_is_measured(cell) for cell in matrix) else extent


def _left_out(checks: list[dict[str, Any]], chosen: Mapping[str, Any] | None) -> str:
    """Name what must hold and was left out on purpose."""
    names = (chosen or {}).get("skipped", {})
    ids = dict.fromkeys(row["id"] for row in checks if (
        row["id"] in names or row["id"].partition("-")[0] in names) and row["level"] == "MUST")
    return f"without {', '.join(ids)}, by resumption_skip_checks" if ids else ""


def summarise(rows: list[dict[str, Any]]) -> str:
    """Name each check and reason once, with the subjects it hit and what was seen on one.

    What that means and what helps, in a message's further sentences, is told with the finding.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["id"], row["reason"]), []).append(row)
    parts = []
    for (check, reason), members in list(groups.items())[:3]:
        subjects = ", ".join(row["subject"] for row in members[:5])
        if len(members) > 5:
            subjects += f" and {len(members) - 5} more"
        parts.append(f"{check} {reason} on {subjects}: {_first_sentence(members[0]['message'])}")
    if len(groups) > 3:
        parts.append(f"and {len(groups) - 3} more kinds of findings, see the report")
    return "; ".join(parts)


def _first_sentence(message: str) -> str:
    return re.split(r"\.(?:\s+(?=[A-Z])|$)", message, maxsplit=1)[0]


def described(driver: str, told: Sequence[Identity]) -> dict[str, Any]:
    """Return the target as the nodes that were heard describe it; they may differ."""
    known = [identity for identity in told if identity.product != "unknown"]
    these = known or told or [Identity.unknown("no node has accepted a CONNECT")]
    how = these[0].how_identified
    if any(identity != these[0] for identity in told):
        how += "; the nodes differ, see nodes"
    return {"driver": driver,
            "product": _each_once(identity.product for identity in these),
            "version": _each_once(identity.version for identity in these),
            "otp_release": _each_once(identity.otp_release for identity in these),
            "how_identified": how}


def _each_once(values: Iterable[str | None]) -> str | None:
    """Return ``25, 27`` of a cluster in the middle of an upgrade; None when nothing is known."""
    return ", ".join(dict.fromkeys(value for value in values if value)) or None


def _node(record: RunRecord, name: str) -> dict[str, Any]:
    endpoint = record.target.nodes[name]
    identity = record.identity(name) or Identity.unknown(_NO_CONNECT)
    return {"name": name, "host": endpoint.host, "port": endpoint.port,
            "server_name": endpoint.server_name, **identity.as_dict(),
            **({"zone": zone} if (zone := record.target.zones.get(name)) else {})}


def _notes(record: RunRecord) -> list[str]:
    """Return in a sentence each what the user should know and no finding says."""
    contradicted = [
        f"{name} itself tells Erlang/OTP {told.otp_release}, which counts, not {declared.release} "
        f"{declared.how}" for name, declared in record.declared.items()
        if (told := record.identities.get(name)) is not None and told.otp_release is not None
        and major_of(told.otp_release) != major_of(declared.release)]
    system = [] if record.own_ca else [
        ("certificates signed by the CAs of the system's store are trusted, since resumption_ca is "
        "not set")]
    turned_away = [
        f"{name} turned {pace.turned_away} connection{'' if pace.turned_away == 1 else 's'} away "
        "before a single byte, those of clients without a session too, as a target does that "
        f"limits the rate of connections: the run paused and went on at {pace.slowed_to:.2g} a "
        f"second (a lower resumption_rate_limit avoids it)"
        for name, pace in record.paces.items() if pace.slowed_to is not None]
    return [*contradicted, *system, *turned_away, *record.archive.notes(),
            *record.tolerance.notes(tuple(record.findings), complete=record.complete)]


def _latency(timing: Timing) -> dict[str, Any]:
    times = sorted(timing.ms)
    return {
        "count": len(times),
        "p50_ms": percentile(times, 50), "p95_ms": percentile(times, 95),
        "p99_ms": percentile(times, 99),
        "bytes_in": _median(timing.bytes_in), "bytes_out": _median(timing.bytes_out),
    }


def _median(numbers: Sequence[int]) -> int | None:
    return int(statistics.median(numbers)) if numbers else None


def _differences(record: RunRecord) -> list[dict[str, Any]]:
    """Return where checks that have ended made other numbers of handshakes than announced."""
    found: dict[str, list[Finding]] = {}
    for finding in record.findings:
        found.setdefault(finding.check.id, []).append(finding)
    rows = []
    for planned in record.plan.checks:
        check, ended = planned.check.id, found.get(planned.check.id, [])
        if len(ended) < max(1, len(planned.subjects)):
            continue
        price = handshakes_of(planned, record.target)
        made = record.ledger.made[check]
        differing = [node for node in record.target.nodes if made[node] != price[node]]
        came_to = _came_to(ended) if differing else {}
        for node in differing:
            told = came_to.get(node) or set().union(*came_to.values())
            rows.append({"check": check, "node": node, "announced": price[node],
                         "made": made[node], "why": record.ledger.more.get((check, node))
                         or f"it came to {', '.join(sorted(told))}"})
    return rows


def _came_to(findings: Iterable[Finding]) -> dict[str, set[str]]:
    """Return by node what a check came to there; under "" what it came to of the whole cluster."""
    told: dict[str, set[str]] = {}
    for finding in findings:
        for node in finding.subject or ("",):
            told.setdefault(node, set()).add(
                f"{finding.verdict.status.value} {finding.verdict.reason}".rstrip())
    return told


def _budget(record: RunRecord, handshakes: tuple[Handshake, ...]) -> dict[str, Any]:
    full = Counter(handshake.endpoint.name for handshake in handshakes
                   if handshake.outcome is Outcome.FULL)
    full.update(record.ledger.unlisted.sessions)
    ledger, plan = record.ledger, record.plan

    def of(name: str) -> dict[str, int]:
        return {"handshakes_announced": plan.handshakes[name],
                "handshakes_done": ledger.done(name),
                **{kind: ledger.beyond[kind][name]
                   for kinds in beyond.BOUNDS.values() for kind in kinds},
                **{f"{bound}_up_to": most for bound, most in plan.most_beyond(name).items()},
                "polls_announced": plan.polls[name], "polls": ledger.polls.get(name, 0),
                "turned_away": record.paces[name].turned_away,
                "sessions_announced": plan.sessions[name],
                "sessions_made": full[name]}

    return {"session_limit": record.plan.session_limit,
            "nodes": {name: of(name) for name in record.target.nodes},
            "load_balancers": {name: of(name) for name in record.target.balancers}}
