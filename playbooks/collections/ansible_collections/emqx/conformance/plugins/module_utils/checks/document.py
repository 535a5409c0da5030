"""docs/conformance.md, generated from the registry so that code and document cannot drift."""
from __future__ import annotations

from ..domains import TrustDomain
from ..model import Endpoint
from .bench import Settings, Target
from .catalogue import catalogue
from .registry import Check, Cost, Need, Per

_HEAD = """\
# What is verified

Generated from the registry of checks by `make docs`; a test fails when it is stale.

Level is RFC 2119's, for the target. Impact is what a check does to it: *safe* is a handful of
ordinary connections, *noisy* many connections or malformed hellos, *disruptive* stops a node or
fills its cache; `resumption_max_impact` says how far a run may go. A check's cost is in
handshakes for each subject; each full one takes a place in a session cache, and a run keeps
within its share of it (safe 1 %, noisy 25 %): beyond that, pairs are sampled. Costs below are
those of a target that declares TLS 1.2 alone and `resumption_cache_scope: node`, with three trust
domains. What the driver sends to nodes to see when they are ready again is not counted.

A handshake counts as *resumed* only if three witnesses agree: the TLS library says the session
was reused; the wire shows TLS 1.2, the offered session ID echoed and no Certificate,
ServerKeyExchange or ServerHelloDone before ChangeCipherSpec; and the connection is keyed by the
same master secret. *Full* likewise. When they disagree the outcome is *inconsistent*, and fails.
Nothing is tried twice until it works. Tickets are not offered, so none can be mistaken for
session IDs. Every connection that comes to stand ends in a real CONNECT, CONNACK and DISCONNECT.
"""


USUAL = Target(
    {"emqx1": Endpoint("emqx1", "emqx1", 8883, "emqx1")}, Settings(tls_versions=("tlsv1.2",)),
    trust_domains={"emqx1": tuple(TrustDomain(f"domain{number}", 8883 + number, "", "")
                                  for number in (1, 2, 3))})
"""The target whose costs the document gives."""


def render() -> str:
    """Return the document."""
    rows = ["| id | what must hold | clause | level | impact | one finding per |",
            "|---|---|---|---|---|---|"]
    checks = list(catalogue())
    rows += [f"| [{check.id}](#{check.id.lower()}) | {check.title} | {check.clause} | "
             f"{check.level.value} | {check.impact.label} | {_subject(check)} |"
             for check in checks]
    return "\n".join([_HEAD, *rows, "", *(_section(check) for check in checks)])


def _subject(check: Check) -> str:
    return "node" if check.per is Per.NODE else "ordered pair (issuer, redeemer)"


def _section(check: Check) -> str:
    price = check.cost_for(USUAL)
    cost = "; ".join(_cost(part, check) for part in price.parts)
    needs = ", ".join(_need(need) for need in check.needs)
    lines = [f"## {check.id}", "", check.requirement, "",
             f"- Clause: {check.clause} ({check.level.value})",
             f"- How it is tested: {check.how}",
             f"- Cost for each {check.per.value}: {cost}",
             f"- What a failure means: {check.meaning}"]
    if needs:
        lines.append(f"- Skipped unless passed: {needs}")
    if check.alone:
        lines.append("- Runs on one node after the other, with nothing beside it")
    return "\n".join([*lines, ""])


_PAYERS = {"others": " at each other node", "next": " at the next node"}


def _cost(part: Cost, check: Check) -> str:
    cost = " and ".join(f"{count} {kind}" for count, kind in (
        (part.full, "full"), (part.resumed, "resumed"), (part.refused, "refused"),
        (part.unfinished, "unfinished")) if count)
    payer = f" at the {part.at}" if check.per is Per.PAIR else ""
    return f"{cost} handshake{'' if part.total == 1 else 's'}{_PAYERS.get(part.at, payer)}"


def _need(need: Need) -> str:
    if need.of == "same":
        return need.check
    return f"{need.check} of {need.of} node" if need.of == "every" else \
        f"{need.check} of the {need.of}"
