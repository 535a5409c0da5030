"""SEC: whom a listener trusts, a resumed session must not get around.

A resumed handshake shows no certificate (RFC 5246 7.3). So a node that lets a session of one
listener resume on another lets its client in where its certificate would be refused.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Callable

from ..domains import VARIABLE, TrustDomain
from ..model import Handshake, Outcome, Session
from .bench import Bench, Contact, Guest, Target
from .preconditions import resuming
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
from .verdicts import error, failed, passed, skipped, trouble

_NO_TLS_1_2 = "the fatal alert protocol_version"
"""How a listener refuses everybody here that speaks TLS 1.3 alone: it has no session IDs."""
_CLOSED = frozenset(("connection_closed", "connection_reset"))
_WHERE = f"inventory/trust has them, and {VARIABLE} describes those of any node"


class _EndError(Exception):
    """The measurement ended early, with this verdict."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict


def _turned_away(handshake: Handshake) -> str | None:
    """Return how the target refused this client; None when it did not, or nobody can tell.

    OTP 25 tells the application first, which closes the connection: whether its alert gets out
    is a race there. So closing counts once the target has asked for a certificate and got ours.
    """
    if handshake.outcome is Outcome.REFUSED:
        return f"the fatal alert {handshake.alerts[-1].description}"
    failure = handshake.failure
    if (failure is not None and failure.stage == "handshake" and failure.cause in _CLOSED
            and _said(handshake, "server", "CertificateRequest")
            and _said(handshake, "client", "Certificate")):
        return "closing the connection"
    return None


def _said(handshake: Handshake, sender: str, name: str) -> bool:
    return any(message.sender == sender and message.name == name
               for message in handshake.messages)


class _Node:
    """Clients of a node's trust domains, and one without a certificate; all they do is evidence."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.name = name
        self.domains = bench.target.trust_domains.get(name, ())
        self.bench = bench
        self.handshakes: list[Handshake] = []

    def verdict(self, story: Callable[[_Node], Verdict]) -> Verdict:
        """Return what the story comes to, with every handshake of it."""
        try:
            verdict = story(self)
        except _EndError as end:
            verdict = end.verdict
        return replace(verdict, handshakes=tuple(self.handshakes))

    def guest(self, client: TrustDomain | None, at: TrustDomain | None) -> Guest:
        """Return a domain's client, or an anonymous one, at a domain's or the node's listener."""
        engine = self.bench.engine_of(client.client_cert, client.client_key) if client else \
            self.bench.engine_of()
        endpoint = self.bench.nodes[self.name]
        return Guest(engine, replace(endpoint, port=at.port) if at else endpoint)

    def contact(self, guest: Guest, offer: Session | None = None) -> Contact:
        """Make a connection."""
        contact = self.bench.contact(self.name, offer, guest=guest)
        self.handshakes.append(contact.handshake)
        return contact

    def established(self, guest: Guest, who: str) -> _Home | None:
        """Make a session, and look whether it resumes where it was made.

        Returns None when the listener does not speak TLS 1.2.

        Raises:
            _EndError: the client does not get in, or there is no session.
        """
        first = self.contact(guest)
        how = _turned_away(first.handshake)
        if how == _NO_TLS_1_2:
            return None
        if how:
            raise _EndError(error("client_refused", f"{guest.endpoint} refused {who} with {how}, "
                                                    "so nothing could be measured"))
        if verdict := trouble(first, first=True):
            raise _EndError(verdict)
        if first.session is None:
            raise _EndError(error("no_session_id", f"{guest.endpoint} issued no session ID"))
        again = self.contact(guest, first.session)
        if verdict := trouble(again):
            raise _EndError(verdict)
        return _Home(guest, who, first.session, first.handshake.server_certificate,
                     resumes=again.handshake.outcome is Outcome.RESUMED)

    def refusal(self, guest: Guest) -> str | None:
        """Make a full handshake; return how the listener refuses this client, None if it does not.

        Raises:
            _EndError: neither can be told.
        """
        contact = self.contact(guest)
        if how := _turned_away(contact.handshake):
            return how
        if contact.handshake.outcome is Outcome.FULL:
            return None
        raise _EndError(trouble(contact) or error(
            "harness_error", f"{guest.endpoint}: {contact.handshake.why}"))

    def carried(self, home: _Home, at: Guest) -> _Crossing:
        """Offer a session where its client was refused.

        OpenSSL forbids a session for good when a peer answers its ClientHello with a fatal
        alert; then a new one is made at home, and resumed there first.

        Raises:
            _EndError: what came of it cannot be told.
        """
        contact = self.contact(at, home.session)
        failure = contact.handshake.failure
        if failure is not None and failure.cause == "not_offered":
            again = self.established(home.guest, home.who)
            contact = self.contact(at, again.session) if again else contact
        handshake = contact.handshake
        if _turned_away(handshake):
            return _Crossing(Outcome.REFUSED)
        if handshake.outcome in (Outcome.RESUMED, Outcome.FULL):
            return _Crossing(handshake.outcome, _greeting(handshake))
        raise _EndError(trouble(contact) or error(
            "harness_error", f"{at.endpoint}: {handshake.why}"))


@dataclass(frozen=True)
class _Home:
    """A session where it was made."""

    guest: Guest
    who: str
    """Its client, for people."""
    session: Session
    server_certificate: str
    """SHA-256 of what the listener presents."""
    resumes: bool


@dataclass(frozen=True)
class _Crossing:
    """What came of a session where its client's certificate is refused."""

    outcome: Outcome
    greeting: str = ""
    """How CONNECT was answered, if it got that far."""


def _greeting(handshake: Handshake) -> str:
    mqtt = handshake.mqtt
    if mqtt is None:
        return "MQTT was not tried"
    return "accepted CONNECT (CONNACK 0)" if not mqtt.cause else f"MQTT did not work: {mqtt.detail}"


def _all(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


# -- SEC-01 --------------------------------------------------------------------------------------


def keeps_domains_apart(bench: Bench, subject: Subject) -> Verdict:
    """SEC-01: a session is worth no more than the certificate it was made with."""
    node = _Node(bench, subject[0])
    if len(node.domains) < 2:
        return skipped("precondition", f"{node.name} has no two listeners that demand client "
                                       f"certificates; {_WHERE}")
    return node.verdict(_cross_domains)


_Way = tuple[TrustDomain, TrustDomain]


def _cross_domains(node: _Node) -> Verdict:
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
    for way in refusals:
        crossing = node.carried(homes[way[0]], node.guest(*way))
        if crossing.outcome is Outcome.FULL:
            return failed("accepted_in_other_domain", f"{node.name} {crossing.greeting} of a "
                          f"client of {way[0]} on {way[1]}, which refused it before, once it "
                          "offered a session")
        if crossing.outcome is Outcome.RESUMED:
            resumed[way] = crossing.greeting
    if not resumed and not any(homes[way[0]].resumes for way in refusals):
        return skipped("nothing_resumes", f"no session resumes on the listeners of {node.name} "
                       "that demand client certificates, not even where it was made")
    same = {way: homes[way[0]].server_certificate == homes[way[1]].server_certificate
            for way in refusals}
    held = [way for way in refusals if way not in resumed]
    besides = _besides(node, homes, open_ways)
    if not resumed:
        return passed(f"{node.name} resumed no session across {_by_certificate(held, same)}, where "
                      f"the listener refuses that client{besides}")
    kept = f"; none across {_by_certificate(held, same)}" if held else ""
    return failed(
        "resumed_in_other_domain",
        f"{node.name} resumed sessions across {_by_certificate(list(resumed), same)} and "
        f"{_all(list(dict.fromkeys(resumed.values())))}, although the listener refuses that "
        f"client in a full handshake with {_all(sorted({refusals[way] for way in resumed}))}"
        f"{kept}{besides}. {_BYPASS} {_REMEDIES}")


_BYPASS = ("A resumed handshake shows no client certificate, so a client that has a session of one "
           "listener gets into the other with it. Client certificates do not separate the clients "
           "of these listeners.")
_REMEDIES = ("Each of these closes it for a pair of listeners on Erlang/OTP, as tried: another "
             "server certificate on one of them; reuse_sessions = false on one of them, whichever; "
             "TLS 1.3 alone on one of them.")


def _besides(node: _Node, homes: dict[TrustDomain, _Home], open_ways: Sequence[_Way]) -> str:
    """Tell what was not judged, and why."""
    mute = [domain.name for domain in node.domains if domain not in homes]
    forgotten = [domain.name for domain, home in homes.items() if not home.resumes]
    return "".join(f"; {what}" for names, what in (
        (open_ways, f"{_ways(open_ways)} is no boundary, since that client is accepted"),
        (mute, f"{_all(mute)} refused TLS 1.2 and was left out"),
        (forgotten, f"sessions of {_all(forgotten)} do not resume even at home")) if names)


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
    return Cost(full=count, resumed=count, refused=2 * count * (count - 1)) if count > 1 else Cost()


# -- SEC-02 --------------------------------------------------------------------------------------


def demands_what_was_not_shown(bench: Bench, subject: Subject) -> Verdict:
    """SEC-02: who never showed a certificate does not get in where one is demanded."""
    node = _Node(bench, subject[0])
    if not node.domains:
        return skipped("precondition", f"{node.name} has no listener that demands client "
                                       f"certificates; {_WHERE}")
    return node.verdict(_come_without)


def _come_without(node: _Node) -> Verdict:
    anonymous = node.guest(None, None)
    home = node.established(anonymous, "a client without certificate")
    if home is None or not home.resumes:
        return error("not_resumed", f"{anonymous.endpoint} did not resume the session of a client "
                                    "without certificate")
    refusals: dict[str, str] = {}
    for domain in node.domains:
        at = node.guest(None, domain)
        how = node.refusal(at)
        if how is None:
            return error("no_certificate_demanded",
                         f"{at.endpoint} accepts a client without certificate in a full "
                         f"handshake: {VARIABLE} is for listeners that demand one")
        if how == _NO_TLS_1_2:
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
        refusals[domain.name] = how
    if not refusals:
        return skipped("no_tls_1_2", f"no listener of {node.name} that demands client certificates "
                                     "speaks TLS 1.2")
    return passed(f"{node.name} did not resume on {_all(list(refusals))} a session that was made "
                  "without a client certificate, which they refuse with "
                  f"{_all(sorted(set(refusals.values())))}")


def _without_cost(target: Target, name: str) -> Cost:
    count = len(target.trust_domains.get(name, ()))
    return Cost(full=1, resumed=1, refused=2 * count) if count else Cost()


# -- what they need ------------------------------------------------------------------------------


def _some_node_has(target: Target, count: int) -> bool:
    return any(len(target.trust_domains.get(name, ())) >= count for name in target.nodes)


def _two_domains(target: Target) -> str | None:
    if not _some_node_has(target, 2):
        return ("it needs a node with two listeners that demand client certificates, signed by "
                f"different CAs: {_WHERE}")
    return resuming(target)


def _one_domain(target: Target) -> str | None:
    if not _some_node_has(target, 1):
        return f"it needs a node with a listener that demands client certificates: {_WHERE}"
    return resuming(target)


def register(registry: Registry) -> None:
    """Add the family."""
    well = (Need("CORE-02"),)
    registry.add(Check(
        "SEC-01", "A session stays in its trust domain",
        "A session that a client made with a listener which trusts its CA does not resume on "
        "another listener of the node which demands client certificates and does not trust that "
        "CA, whether both present the same server certificate or different ones.",
        "CVE-2025-23419's class", Level.MUST, Impact.SAFE, Per.NODE, CostByNode(_cross_cost),
        keeps_domains_apart,
        "Client certificates separate nothing: who has one for any of these listeners gets into "
        "the others by resuming.", well, _two_domains,
        how="The client of every trust domain makes a session at home and resumes it there; each "
        "other domain must refuse that client in a full handshake, and is then offered the "
        "session. What MQTT's CONNECT is answered when one resumes is reported."))
    registry.add(Check(
        "SEC-02", "A session made without a certificate does not replace one",
        "A session that was made without a client certificate does not resume on a listener of "
        "the same node that demands one.",
        "CVE-2025-23419's class", Level.MUST, Impact.SAFE, Per.NODE, CostByNode(_without_cost),
        demands_what_was_not_shown,
        "Anybody who can reach the ordinary listener gets into those that demand client "
        "certificates.", well, _one_domain,
        how="A client without certificate makes a session at the node's ordinary listener and "
        "resumes it there; each listener that demands certificates must refuse it in a full "
        "handshake, and is then offered the session."))

