"""docs/conformance.md, generated from the registry so that code and document cannot drift.

And the table in docs/known-deviations.md, from the files that are shipped. Runs in a checkout.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..checks.catalogue import catalogue
from ..model import Endpoint, TrustDomain
from ..run.check import Check, Cost, Need, Per
from ..run.target import Balancer, Settings, Target
from ..tolerance import files as deviation_files
from ..tolerance.deviations import Deviation, load

_HEAD = """\
# What is verified

Generated from the registry of checks by `make docs`; a test fails when it is stale.

Level is RFC 2119's, for the target. Impact is what a check does to it: *safe* is a handful of
ordinary connections, *noisy* many connections or malformed hellos, *disruptive* stops a node or
fills its cache; `resumption_max_impact` says how far a run may go. A check's cost is in
handshakes for each subject; each full one takes a place in a session cache, and a run keeps
within its share of it (safe 1 %, noisy 25 %): beyond that, pairs are sampled. Costs below are
those of a target that declares TLS 1.2 alone and `resumption_cache_scope: node`, with three trust
domains and a load balancer of which no affinity is declared. What the driver sends to nodes to see
when they are ready again is not counted.

A handshake counts as *resumed* only if three witnesses agree: the TLS library says the session
was reused; the wire shows TLS 1.2 (in NEG-06 also an older version, where the client asks for no
more), the offered session ID echoed and no Certificate, ServerKeyExchange or ServerHelloDone
before ChangeCipherSpec; and the connection is keyed by the same master secret. *Full* likewise.
When they disagree the outcome is *inconsistent*, and fails. Nothing is tried twice until it
works. Tickets are not offered, so none can be mistaken for session IDs. Every connection that
comes to stand ends in a real CONNECT, CONNACK and DISCONNECT.

A finding that is no pass has a *reason*, a token that stays the same from release to release; each
check lists its own below. Beside them any check may fail as `refused` (with a fatal alert),
`inconsistent` (the witnesses disagree) or `mqtt_failed` (TLS works, MQTT does not), or for what
became of a connection, such as `timeout` or `connection_closed`.

Where it is good news that a session is declined, a *second control* shows that this was no
accident: a node that has forgotten everything declines all of them. Where what must resume
afterwards does not, the finding is an error `forgotten` and never passed; or skipped, `expired`,
where sessions are declared to live shorter than the check took.

What other tools say of the same servers is in [agreement.md](agreement.md); what other test suites
check, and what is true of correctly set up servers of other TLS libraries, in [peers.md](peers.md).
"""


USUAL = Target(
    {"emqx1": Endpoint("emqx1", "emqx1", 8883, "emqx1")}, Settings(tls_versions=("tlsv1.2",)),
    trust_domains={"emqx1": tuple(
        TrustDomain(f"domain{number}", 8883 + number, "", "", "ca.pem", "ca-key.pem")
        for number in (1, 2, 3))},
    balancers={"lb1": Balancer(Endpoint("lb1", "lb1", 8883, "lb1"))})
"""The target whose costs the document gives."""


_ROOT = Path(__file__).parents[8]
_BEGIN = "<!-- The table is made by `make docs` from known_deviations/. -->\n"
_END = "\n<!-- End of the table. -->\n"


def write() -> None:
    """Write docs/conformance.md, and the table in docs/known-deviations.md."""
    (_ROOT / "docs/conformance.md").write_text(render(), encoding="utf-8")
    page = _ROOT / "docs/known-deviations.md"
    page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")


def shipped() -> tuple[Deviation, ...]:
    """Return the entries of the files in known_deviations/."""
    return load(deviation_files.read(None, _ROOT), catalogue())


def with_table(page: str) -> str:
    """Return docs/known-deviations.md with the table made anew."""
    before, _, rest = page.partition(_BEGIN)
    return f"{before}{_BEGIN}\n{_table(shipped())}{_END}{rest.partition(_END)[2]}"


def _table(deviations: Iterable[Deviation]) -> str:
    titles = {check.id: check.title for check in catalogue()}
    rows = ["| check | reason | releases | measured on | what is seen | upstream |",
            "|---|---|---|---|---|---|"]
    rows += [f"| [{entry.check}](conformance.md#{entry.check.lower()}) {titles[entry.check]} | "
             f"`{entry.reason}`{' (intermittent)' if entry.intermittent else ''} | "
             f"{entry.releases} | {', '.join(entry.measured)} | {entry.evidence} | "
             f"{entry.upstream} |" for entry in deviations]
    return "\n".join([*rows, ""])


def render() -> str:
    """Return the document."""
    rows = ["| id | what must hold | clause | level | impact | one finding per |",
            "|---|---|---|---|---|---|"]
    checks, known = list(catalogue()), shipped()
    rows += [f"| [{check.id}](#{check.id.lower()}) | {check.title} | {check.clause} | "
             f"{check.level.value} | {check.impact.label} | {_subject(check)} |"
             for check in checks]
    return "\n".join([_HEAD, *rows, "", *(_section(check, known) for check in checks)])


def _subject(check: Check) -> str:
    return {Per.NODE: "node", Per.PAIR: "ordered pair (issuer, redeemer)",
            Per.ADDRESS: "address"}[check.per]


def _section(check: Check, known: Sequence[Deviation]) -> str:
    price = check.cost_for(USUAL, *USUAL.balancers if check.per is Per.ADDRESS else ())
    cost = "; ".join(_cost(part, check) for part in price.parts)
    needs = ", ".join(_need(need) for need in check.needs)
    lines = [f"## {check.id}", "", check.requirement, "",
             f"- Clause: {check.clause} ({check.level.value})",
             f"- How it is tested: {check.how}",
             *([f"- Second control: {check.control}"] if check.control else ()),
             f"- Cost for each {check.per.value}: {cost}",
             f"- What a failure means: {check.meaning}",
             "- Reasons: " + "; ".join(
                 f"`{reason}` ({clause})" for reason, clause in check.reasons.items())]
    lines += [f"- With `resumption_cache_scope: {scope}`: {title}"
              for scope, title in check.titles.items()]
    if needs:
        lines.append(f"- Skipped unless passed: {needs}")
    if check.alone:
        lines.append(f"- Runs on one {check.per.value} after the other, with nothing beside it")
    lines += [f"- [Known deviation](known-deviations.md): `{entry.reason}` of {entry.releases}"
              f"{', now and then' if entry.intermittent else ''}"
              for entry in known if entry.check == check.id]
    return "\n".join([*lines, ""])


_PAYERS = {"others": " at each other node", "next": " at the next node",
           "nodes": " at each node"}


def _cost(part: Cost, check: Check) -> str:
    cost = " and ".join(f"{count} {kind}" for count, kind in (
        (part.full, "full"), (part.resumed, "resumed"), (part.refused, "refused"),
        (part.unfinished, "unfinished")) if count)
    payer = f" at the {part.at}" if check.per is Per.PAIR else ""
    return f"{cost or 'no'} handshake{'' if part.total == 1 else 's'}{_PAYERS.get(part.at, payer)}"


def _need(need: Need) -> str:
    if need.of == "same":
        return need.check
    return f"{need.check} of {need.of} node" if need.of == "every" else \
        f"{need.check} of the {need.of}"
