"""SEC: trust that has ended since, and sessions that outlive it.

A node that keeps a session checks nothing again when it resumes: neither whether it still trusts
the CA, nor whether the certificate is still valid. RFC 5246 F.1.4 bounds a session's life for that.
"""
from __future__ import annotations

import datetime
import importlib.util
import os
import time
from dataclasses import replace
from itertools import permutations
from pathlib import Path

from ..domains import TrustDomain
from ..drivers import faults
from ..drivers.base import DriverError
from ..model import Outcome
from ..tls.engine import OrdinaryEngine, Trust
from ..tls.wire import Interrupted
from .bench import Bench, Guest, Target
from .clients import CARRIED_AGAIN, WHERE, Crossing, Home, Node, turned_away
from .controls import shown
from .registry import (
    Check,
    Cost,
    CostByNode,
    Impact,
    Level,
    Per,
    Registry,
    Status,
    Subject,
    Verdict,
)
from .verdicts import error, failed, passed, skipped, trouble

CERTIFICATES = importlib.util.find_spec("cryptography") is not None
"""Whether cryptography is installed where the probe runs."""


# -- SEC-05 --------------------------------------------------------------------------------------


def forgets_with_its_anchor(bench: Bench, subject: Subject) -> Verdict:
    """SEC-05: a CA that is trusted no more takes its clients' sessions along."""
    node = Node(bench, subject[0])
    found = _replaceable(bench.target, node.name)
    if found is None:
        return skipped("precondition", f"{node.name} has no two listeners that demand client "
                                       f"certificates, one of them with its ca_cert; {WHERE}")
    if bench.not_whole:
        return skipped("not_whole", bench.not_whole)
    with bench.waiting(f"SEC-05 reopens a listener of {node.name}"):
        return node.verdict(lambda it: _replace_anchor(it, *found))


def _replaceable(target: Target, name: str) -> tuple[TrustDomain, TrustDomain] | None:
    """Return a domain of the node, and another one whose CA can be put in its CA's place."""
    return next(((domain, other) for domain, other in permutations(
        target.trust_domains.get(name, ()), 2) if other.ca_cert), None)


def _replace_anchor(node: Node, domain: TrustDomain, other: TrustDomain) -> Verdict:
    bench, guest = node.bench, node.guest(domain, domain)
    home = node.established(guest, f"{domain}'s own client")
    if home is None or not home.resumes:
        return skipped("nothing_resumes", f"no session ID resumes on {guest.endpoint}, so there "
                                          "is nothing to outlive its CA")
    beside = node.established(node.guest(other, other), f"{other}'s own client")
    try:
        with faults.reopened(bench.driver, bench.specs[node.name], domain.port,
                             Path(other.ca_cert or "")):
            verdict = _after_replacement(node, home, beside, domain, other)
        back = node.contact(guest)
    except DriverError as problem:
        bench.not_whole = bench.not_whole or f"a listener was not reopened: {problem}"
        return error("driver_failed", str(problem))
    if turned_away(back.handshake) or trouble(back):
        bench.not_whole = f"{guest.endpoint} does not accept its own clients any more"
        return replace(verdict, status=Status.ERROR, reason="not_restored",
                       message=f"{verdict.message}; {bench.not_whole}")
    return verdict


def _after_replacement(node: Node, home: Home, beside: Home | None, domain: TrustDomain,
                       other: TrustDomain) -> Verdict:
    guest = home.guest
    now = node.contact(node.guest(other, domain))
    if how := turned_away(now.handshake):
        return error("not_replaced", f"{guest.endpoint} was reopened with the CA of {other} and "
                                     f"refused {other}'s client with {how}")
    if verdict := trouble(now, first=True):
        return verdict
    how = node.refusal(guest)
    if how is None:
        return error("still_trusted", f"{guest.endpoint} was reopened with the CA of {other}, and "
                                      f"still accepts {domain}'s client in a full handshake")
    verdict = _after_crossing(node, domain, how, node.carried(home, guest))
    return _unless_forgotten(node, verdict, other, beside)


def _after_crossing(node: Node, domain: TrustDomain, how: str, crossing: Crossing) -> Verdict:
    """Judge what came of a session whose client is refused without one, as told."""
    if crossing.outcome is Outcome.RESUMED:
        return failed("resumed_after_trust_change",
                      f"{node.name} resumed a session of {domain}'s client after {domain} was "
                      f"reopened with another CA and {crossing.greeting}, although it refuses that "
                      f"client in a full handshake with {how}. Clients of the CA that was replaced "
                      f"get in for as long as the node remembers their sessions {_LIFETIME}. "
                      f"{_ENDS_IT}")
    if crossing.outcome is Outcome.FULL:
        return failed("accepted_after_trust_change", f"{node.name} {crossing.greeting} of "
                      f"{domain}'s client, which it had refused since {domain} was reopened with "
                      "another CA, once it offered a session")
    return passed(f"{node.name} did not resume a session of {domain}'s client after {domain} was "
                  f"reopened with another CA, and refuses that client with {how}")


def _unless_forgotten(node: Node, verdict: Verdict, other: TrustDomain,
                      beside: Home | None) -> Verdict:
    """Offer a session that is as old on a listener whose CA has stayed."""
    control = node.back_home(beside) if beside is not None and beside.session else None
    if verdict.status is not Status.PASSED:
        return verdict
    if beside is None or control is None or not beside.resumes:
        return skipped("nothing_resumes", f"{verdict.message}, which proves nothing, since no "
                       f"session resumes on {other}, whose CA stays, either")
    return node.shown(verdict, beside, control,
                      f"a session as old on {other}, whose CA has stayed,")


_LIFETIME = "(session_lifetime, 24 h unless set)"
_ENDS_IT = ("What ends that on Erlang/OTP, as tried: restarting the node, which forgets all "
            "sessions; and with reuse_sessions = false on the listener there is none.")


def _replace_cost(target: Target, name: str) -> Cost:
    return Cost(full=4, resumed=3, refused=2) if _replaceable(target, name) else Cost()


# -- SEC-06 --------------------------------------------------------------------------------------

VALID_S = 5
"""For how long SEC-06's certificate is valid: ample for two handshakes."""
_MARGIN_S = 2.0
"""How long after that it counts as expired: clocks differ, and certificates have whole seconds."""
LONGEST_WAIT_S = VALID_S + _MARGIN_S


def forgets_what_expired(bench: Bench, subject: Subject) -> Verdict:
    """SEC-06: a session outlives no certificate."""
    node = Node(bench, subject[0])
    domain = _issuing(bench.target, node.name)
    if domain is None:
        return skipped("precondition", f"{node.name}: {_NO_CA_KEY}")
    # Few runs come here, and all the others need not load cryptography.
    from ..certificates import CertificateError  # noqa: PLC0415

    until = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    until += datetime.timedelta(seconds=VALID_S)
    try:
        engine = _short_lived(bench, domain, until)
    except CertificateError as problem:
        return error("ca_unusable", f"{problem}: no client certificate could be issued for "
                                    f"{domain} of {node.name}")
    try:
        return node.verdict(lambda it: _expire(it, domain, engine, until))
    finally:
        engine.close()


def _issuing(target: Target, name: str) -> TrustDomain | None:
    return next((domain for domain in target.trust_domains.get(name, ()) if domain.ca_key), None)


def _short_lived(bench: Bench, domain: TrustDomain, until: datetime.datetime) -> OrdinaryEngine:
    """Return a client whose certificate, and key, are in memory alone. Raises CertificateError."""
    from ..certificates import short_lived_client  # noqa: PLC0415 - as above

    pem = short_lived_client(Path(domain.ca_cert or ""), Path(domain.ca_key or ""), until,
                             Path(domain.client_cert))
    descriptor = os.memfd_create("client", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        path = f"/proc/self/fd/{descriptor}"
        return OrdinaryEngine(Trust(bench.engine.trust.ca_file, path, path), stop=bench.stop,
                              forward_secret=bench.engine.forward_secret)


def _expire(node: Node, domain: TrustDomain, engine: OrdinaryEngine,
            until: datetime.datetime) -> Verdict:
    lasting = node.guest(domain, domain)
    expiring = Guest(engine, lasting.endpoint)
    home = node.established(expiring, f"a client of {domain} whose certificate is valid for "
                                      f"{VALID_S} s")
    if home is None or not home.resumes:
        return skipped("nothing_resumes", f"no session ID resumes on {lasting.endpoint}, so there "
                                          "is nothing to outlive its certificate")
    made = time.monotonic()
    other = node.contact(lasting)
    if verdict := trouble(other, first=True):
        return verdict
    _wait_until(node, until + datetime.timedelta(seconds=_MARGIN_S))
    how = node.refusal(expiring)
    if how is None:
        return error("not_refused", f"{lasting.endpoint} accepts a client certificate in a full "
                                    f"handshake {_MARGIN_S:g} s after it expired: does its clock "
                                    "agree with this machine's?")
    verdict = _after_expiry(node, domain, how, node.carried(home, expiring))
    age_s = time.monotonic() - made
    return shown(verdict, node.contact(lasting, other.session),
                 "a session as old whose certificate is valid", age_s=age_s,
                 lifetime_s=node.bench.settings.session_lifetime)


def _after_expiry(node: Node, domain: TrustDomain, how: str, crossing: Crossing) -> Verdict:
    """Judge what came of a session whose certificate has expired."""
    if crossing.outcome is Outcome.RESUMED:
        return failed("resumed_after_expiry",
                      f"{node.name} resumed on {domain} a session whose client certificate had "
                      f"expired and {crossing.greeting}, although it refuses that client in a full "
                      f"handshake with {how}. A client whose certificate has expired gets in for "
                      f"as long as the node remembers its session {_LIFETIME}. {_ENDS_IT}")
    if crossing.outcome is Outcome.FULL:
        return failed("accepted_after_expiry", f"{node.name} {crossing.greeting} on {domain} of a "
                      "client with an expired certificate, which it had refused, once it offered "
                      "a session")
    return passed(f"{node.name} did not resume on {domain} a session whose client certificate "
                  f"has expired, and refuses that client with {how}")


def _wait_until(node: Node, moment: datetime.datetime) -> None:
    """Wait for a certificate to expire. Raises Interrupted."""
    left = (moment - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
    with node.bench.waiting(f"SEC-06 waits {max(0.0, left):.0f} s for a client certificate to "
                            "expire"):
        if node.bench.stop.wait(max(0.0, left)):
            raise Interrupted


def _expire_cost(target: Target, name: str) -> Cost:
    return Cost(full=2, resumed=2, refused=2) if _issuing(target, name) else Cost()


# -- what they need ------------------------------------------------------------------------------


def _anchor_can_be_replaced(target: Target) -> str | None:
    if not any(_replaceable(target, name) for name in target.nodes):
        return ("it needs a node with two listeners that demand client certificates, one of them "
                f"with its ca_cert: {WHERE}")
    if "reopen" not in target.abilities:
        why = f": {target.limits}" if target.limits else ""
        return f"the {target.driver} driver cannot reopen a listener with another CA{why}"
    return None


_NO_CA_KEY = ("it needs a listener that demands client certificates, with ca_cert and ca_key to "
              f"issue one that expires: {WHERE}")


def _certificate_can_expire(target: Target) -> str | Verdict | None:
    if target.vantage:
        return skipped("not_from_vantage", "it needs a CA's private key, which no vantage point is "
                                           "given")
    if not any(_issuing(target, name) for name in target.nodes):
        return _NO_CA_KEY
    if not CERTIFICATES:
        return skipped("cryptography_missing", "cryptography is not installed where the probe "
                                               "runs, so no client certificate can be issued")
    lifetime = target.settings.session_lifetime
    if lifetime is not None and lifetime <= LONGEST_WAIT_S:
        return (f"it waits {LONGEST_WAIT_S:g} s for a client certificate to expire, and a session "
                f"lives {lifetime:g} s")
    if target.settings.max_wait < LONGEST_WAIT_S:
        return (f"it waits {LONGEST_WAIT_S:g} s for a client certificate to expire, and "
                f"resumption_max_wait is {target.settings.max_wait:g}")
    return None


def register(registry: Registry) -> None:
    """Add the family's other part."""
    registry.add(Check(
        "SEC-05", "A CA that is trusted no more takes its sessions along",
        "After a listener's trust anchor is replaced and the listener reopened, a session that was "
        "made under the old one does not resume.",
        "CVE-2025-23419's class", Level.MUST, Impact.DISRUPTIVE, Per.NODE,
        CostByNode(_replace_cost), forgets_with_its_anchor,
        "Replacing a CA, after its key was stolen or a contract has ended, does not lock its "
        "clients out.", precondition=_anchor_can_be_replaced, alone=True,
        remakes=Cost(full=CARRIED_AGAIN),
        how="A client makes a session and resumes it; the listener is closed and opened again with "
        "the CA of another domain while the node runs on. A client of that must get in and the "
        "first be refused in a full handshake; then the session is offered. Whatever happens, the "
        "listener gets its own CA back, and its client must get in again.",
        control="Before, a client of that other domain makes a session where it belongs, on a "
        "listener that nobody touches, and resumes it; after the decline it must resume there "
        "again. Where no session resumes there the check is skipped, nothing_resumes."))
    registry.add(Check(
        "SEC-06", "A session does not outlive its client certificate",
        "A session whose client certificate has expired since does not resume.",
        "RFC 5246 F.1.4", Level.MUST, Impact.NOISY, Per.NODE, CostByNode(_expire_cost),
        forgets_what_expired,
        "Certificates with a short life do not end access: whoever keeps a session gets in for as "
        "long as the node remembers it.", precondition=_certificate_can_expire,
        remakes=Cost(full=CARRIED_AGAIN),
        how=f"A client certificate that is valid for {VALID_S} s is issued, its client makes a "
        "session and resumes it. Once it has expired the client must be refused in a full "
        "handshake, and offers the session. Revocation is not measured: the probe revokes nobody. "
        "What Erlang/OTP was seen to do then is in docs/trust.md.",
        control="A session as old, of a client of the same domain whose certificate is valid, must "
        "still resume after the decline."))
