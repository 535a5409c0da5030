"""SEC: whom a listener trusts, a resumed session must not get around.

A resumed handshake shows no certificate (RFC 5246 7.3). So a node that lets a session of one
listener resume on another lets its client in where its certificate would be refused.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

from ..domains import VARIABLE, TrustDomain
from ..model import Outcome
from .bench import Bench, Contact, Guest, Target
from .clients import (
    BACK_AGAIN,
    CARRIED_AGAIN,
    NO_TLS_1_2,
    WHERE,
    EndError,
    Home,
    Node,
    all_of,
)
from .registry import (
    Check,
    Cost,
    CostByNode,
    Impact,
    Level,
    Need,
    Per,
    Registry,
    Subject,
    Verdict,
)
from .verdicts import error, failed, passed, skipped

# -- SEC-01 --------------------------------------------------------------------------------------


def keeps_domains_apart(bench: Bench, subject: Subject) -> Verdict:
    """SEC-01: a session is worth no more than the certificate it was made with."""
    node = Node(bench, subject[0])
    if len(node.domains) < 2:
        return skipped("precondition", f"{node.name} has no two listeners that demand client "
                                       f"certificates; {WHERE}")
    return node.verdict(_cross_domains)


_Way = tuple[TrustDomain, TrustDomain]


def _cross_domains(node: Node) -> Verdict:
    homes = {domain: home for domain in node.domains if (home := node.established(
        node.guest(domain, domain), f"{domain}'s own client")) is not None}
    if len(homes) < 2:
        return skipped("no_tls_1_2", f"fewer than two listeners of {node.name} that demand client "
                                     "certificates speak TLS 1.2")
    refusals: dict[_Way, str] = {}
    open_ways: list[_Way] = []
    for way in permutations(homes, 2):
        how = node.refusal(node.guest(*way))
        if how is None:
            open_ways.append(way)
        else:
            refusals[way] = how
    if not refusals:
        return skipped("no_trust_boundary", f"every listener of {node.name} that {VARIABLE} names "
                       "accepts the others' clients in a full handshake: there is no boundary")
    resumed: dict[_Way, str] = {}
    declined_at: dict[TrustDomain, Guest] = {}
    for way in refusals:
        if homes[way[0]].session is None:
            continue
        declined_at[way[0]] = node.guest(*way)
        crossing = node.carried(homes[way[0]], declined_at[way[0]])
        if crossing.outcome is Outcome.FULL:
            return failed("accepted_in_other_domain", f"{node.name} {crossing.greeting} of a "
                          f"client of {way[0]} on {way[1]}, which refused it before, once it "
                          "offered a session")
        if crossing.outcome is Outcome.RESUMED:
            resumed[way] = crossing.greeting
    if not resumed and not any(homes[way[0]].resumes for way in refusals):
        return skipped("nothing_resumes", f"no session resumes on the listeners of {node.name} "
                       "that demand client certificates, not even where it was made")
    back = {issuer: node.back_home(homes[issuer], at) for issuer, at in declined_at.items()}
    same = {way: homes[way[0]].server_certificate == homes[way[1]].server_certificate
            for way in refusals}
    held = [way for way in refusals if way not in resumed]
    besides = _besides(node, homes, open_ways)
    if not resumed:
        verdict = passed(f"{node.name} resumed no session across {_by_certificate(held, same)}, "
                         f"where the listener refuses that client{besides}")
        return _unless_forgotten(node, verdict, homes, back)
    kept = f"; none across {_by_certificate(held, same)}" if held else ""
    return failed(
        "resumed_in_other_domain",
        f"{node.name} resumed sessions across {_by_certificate(list(resumed), same)} and "
        f"{all_of(list(dict.fromkeys(resumed.values())))}, although the listener refuses that "
        f"client in a full handshake with {all_of(sorted({refusals[way] for way in resumed}))}"
        f"{kept}{besides}. {_BYPASS} {_REMEDIES}")


_BYPASS = ("A resumed handshake shows no client certificate, so a client that has a session of one "
           "listener gets into the other with it. Client certificates do not separate the clients "
           "of these listeners.")
_REMEDIES = ("Each of these closes it for a pair of listeners on Erlang/OTP, as tried: another "
             "server certificate on one of them; reuse_sessions = false on one of them, whichever; "
             "TLS 1.3 alone on one of them.")


def _besides(node: Node, homes: dict[TrustDomain, Home], open_ways: Sequence[_Way]) -> str:
    """Tell what was not judged, and why."""
    mute = [domain.name for domain in node.domains if domain not in homes]
    forgotten = [domain.name for domain, home in homes.items() if not home.resumes]
    return "".join(f"; {what}" for names, what in (
        (open_ways, f"{_ways(open_ways)} is no boundary, since that client is accepted"),
        (mute, f"{all_of(mute)} refused TLS 1.2 and was left out"),
        (forgotten, f"sessions of {all_of(forgotten)} do not resume even at home")) if names)


def _unless_forgotten(node: Node, verdict: Verdict, homes: Mapping[TrustDomain, Home],
                      back: Mapping[TrustDomain, Contact]) -> Verdict:
    """Judge with what came of the sessions at home again, as far as they had resumed there."""
    for issuer, control in back.items():
        if homes[issuer].resumes:
            verdict = node.shown(verdict, homes[issuer], control, _at_home(homes[issuer]))
    return verdict


def _at_home(home: Home) -> str:
    return f"the session of {home.who}, where it was made,"


def _by_certificate(ways: Sequence[_Way], same: dict[_Way, bool]) -> str:
    """Name ways by whether both listeners present the same server certificate."""
    parts = [f"{_ways(chosen)} ({what})" for what, chosen in (
        ("same server certificate", [way for way in ways if same[way]]),
        ("different server certificates", [way for way in ways if not same[way]])) if chosen]
    return " and ".join(parts)


def _ways(ways: Sequence[_Way]) -> str:
    return ", ".join(f"{issuer}->{redeemer}" for issuer, redeemer in ways)


def _cross_cost(target: Target, name: str) -> Cost:
    count = len(target.trust_domains.get(name, ()))
    return Cost(full=count, resumed=2 * count,
                refused=2 * count * (count - 1)) if count > 1 else Cost()


def _cross_again(target: Target, name: str) -> Cost:
    count = len(target.trust_domains.get(name, ()))
    return Cost(full=CARRIED_AGAIN * count * (count - 1) + BACK_AGAIN * count)


# -- SEC-02 --------------------------------------------------------------------------------------


def demands_what_was_not_shown(bench: Bench, subject: Subject) -> Verdict:
    """SEC-02: who never showed a certificate does not get in where one is demanded."""
    node = Node(bench, subject[0])
    if not node.domains:
        return skipped("precondition", f"{node.name} has no listener that demands client "
                                       f"certificates; {WHERE}")
    return node.verdict(_come_without)


def _come_without(node: Node) -> Verdict:
    anonymous = node.guest(None, None)
    try:
        home = node.established(anonymous, "a client without certificate")
    except EndError as end:
        if end.verdict.reason == "client_refused":
            return skipped("certificate_demanded", f"{anonymous.endpoint} demands a client "
                           "certificate itself, so nobody gets a session without one")
        raise
    if home is None:
        return skipped("no_tls_1_2", f"{anonymous.endpoint} does not speak TLS 1.2, so nobody gets "
                                     "a session without a certificate")
    before = node.bench.cells.get((node.name, node.name))
    if not home.resumes and before is not None and before.outcome is Outcome.RESUMED:
        return error("not_resumed", f"{anonymous.endpoint} did not resume the session of a client "
                                    "without certificate, though it had resumed one in CORE-02")
    if home.session is None:
        return _nothing_resumes(home)
    return _offer_where_demanded(node, home)


def _nothing_resumes(home: Home) -> Verdict:
    return skipped("nothing_resumes", f"no session resumes on {home.guest.endpoint}, where clients "
                                      "without a certificate get in")


def _offer_where_demanded(node: Node, home: Home) -> Verdict:
    refusals: dict[str, str] = {}
    last: Guest | None = None
    for domain in node.domains:
        at = node.guest(None, domain)
        how = node.refusal(at)
        if how is None:
            return error("no_certificate_demanded",
                         f"{at.endpoint} accepts a client without certificate in a full "
                         f"handshake: {VARIABLE} is for listeners that demand one")
        if how == NO_TLS_1_2:
            continue
        crossing = node.carried(home, at)
        if crossing.outcome is Outcome.RESUMED:
            return failed("resumed_without_certificate",
                          f"{node.name} resumed on {domain} a session that was made without a "
                          f"client certificate, and {crossing.greeting}, although {domain} "
                          f"refuses such a client in a full handshake with {how}")
        if crossing.outcome is Outcome.FULL:
            return failed("accepted_without_certificate",
                          f"{node.name} {crossing.greeting} of a client without certificate on "
                          f"{domain}, which refused it before, once it offered a session")
        refusals[domain.name], last = how, at
    if last is None:
        return skipped("no_tls_1_2", f"no listener of {node.name} that demands client certificates "
                                     "speaks TLS 1.2")
    back = node.back_home(home, last)
    if not home.resumes:
        return _nothing_resumes(home)
    verdict = passed(f"{node.name} did not resume on {all_of(list(refusals))} a session that was "
                     "made without a client certificate, which they refuse with "
                     f"{all_of(sorted(set(refusals.values())))}")
    return node.shown(verdict, home, back, _at_home(home))


def _without_cost(target: Target, name: str) -> Cost:
    count = len(target.trust_domains.get(name, ()))
    return Cost(full=1, resumed=2, refused=2 * count) if count else Cost()


def _without_again(target: Target, name: str) -> Cost:
    count = len(target.trust_domains.get(name, ()))
    return Cost(full=CARRIED_AGAIN * count + BACK_AGAIN) if count else Cost()


# -- what they need ------------------------------------------------------------------------------


def _some_node_has(target: Target, count: int) -> bool:
    return any(len(target.trust_domains.get(name, ())) >= count for name in target.nodes)


def _two_domains(target: Target) -> str | None:
    if not _some_node_has(target, 2):
        return ("it needs a node with two listeners that demand client certificates, signed by "
                f"different CAs: {WHERE}")
    return None


def _one_domain(target: Target) -> str | None:
    if not _some_node_has(target, 1):
        return f"it needs a node with a listener that demands client certificates: {WHERE}"
    return None


def register(registry: Registry) -> None:
    """Add the family."""
    registry.add(Check(
        "SEC-01", "A session stays in its trust domain",
        "A session that a client made with a listener which trusts its CA does not resume on "
        "another listener of the node which demands client certificates and does not trust that "
        "CA, whether both present the same server certificate or different ones.",
        "CVE-2025-23419's class", Level.MUST, Impact.SAFE, Per.NODE, CostByNode(_cross_cost),
        keeps_domains_apart,
        "Client certificates separate nothing: who has one for any of these listeners gets into "
        "the others by resuming.", precondition=_two_domains,
        remakes=CostByNode(_cross_again),
        how="The client of every trust domain makes a session at home and resumes it there; each "
        "other domain must refuse that client in a full handshake, and is then offered the "
        "session. What MQTT's CONNECT is answered when one resumes is reported.",
        control="In the end each session is offered once more where it was made, and must resume "
        "there, as it did before."))
    registry.add(Check(
        "SEC-02", "A session made without a certificate does not replace one",
        "A session that was made without a client certificate does not resume on a listener of "
        "the same node that demands one.",
        "CVE-2025-23419's class", Level.MUST, Impact.SAFE, Per.NODE, CostByNode(_without_cost),
        demands_what_was_not_shown,
        "Anybody who can reach the ordinary listener gets into those that demand client "
        "certificates.", (Need("CORE-01"),), _one_domain,
        remakes=CostByNode(_without_again),
        how="A client without certificate makes a session at the node's ordinary listener and "
        "resumes it there; each listener that demands certificates must refuse it in a full "
        "handshake, and is then offered the session.",
        control="In the end the session is offered once more where it was made, and must resume "
        "there, as it did before."))
