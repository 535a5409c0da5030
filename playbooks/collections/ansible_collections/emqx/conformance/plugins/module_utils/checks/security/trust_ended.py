"""SEC-05, SEC-06: trust that has ended since, and sessions that outlive it.

A node that keeps a session checks nothing again when it resumes: neither whether it still trusts
the CA, nor whether the certificate is still valid. RFC 5246 F.1.4 bounds a session's life for that.
"""
from __future__ import annotations

import contextlib
import datetime
import importlib.util
import os
import time
from itertools import permutations
from pathlib import Path

from ...drivers import faults
from ...drivers.base import DriverError
from ...model import Outcome, TrustDomain
from ...run.check import Check, Cost, CostByNode, Impact, Level, Per, Verdict
from ...run.clients import CARRIED_AGAIN, WHERE, Clients, Crossing, Home, turned_away
from ...run.prober import Guest
from ...run.story import Control, Story, came_to
from ...run.target import Target
from ...run.verdict import skipped, trouble
from ...tls.engine import OrdinaryEngine
from ...tls.trust import Trust
from ...tls.wire import Interrupted

CERTIFICATES = importlib.util.find_spec("cryptography") is not None
"""Whether cryptography is installed where the probe runs."""
_LIFETIME = "(session_lifetime, 24 h unless set)"
_ENDS_IT = ("What ends that on Erlang/OTP, as tried: restarting the node, which forgets all "
            "sessions; and with reuse_sessions = false on the listener there is none.")


# -- SEC-05 -----------------------------------------------------------------------------------

def _replaceable(target: Target, name: str) -> tuple[TrustDomain, TrustDomain] | None:
    """Return a domain of the node, and another one whose CA can be put in its CA's place."""
    return next(((domain, other) for domain, other in permutations(
        target.trust_domains.get(name, ()), 2) if other.ca_cert), None)


def _anchor_can_be_replaced(target: Target) -> str | None:
    if not any(_replaceable(target, name) for name in target.nodes):
        return ("it needs a node with two listeners that demand client certificates, one of them "
                f"with its ca_cert: {WHERE}")
    if "reopen" not in target.abilities:
        why = f": {target.limits}" if target.limits else ""
        return f"the {target.driver} driver cannot reopen a listener with another CA{why}"
    return None


def _replace_cost(target: Target, name: str) -> Cost:
    return Cost(full=4, resumed=3, refused=2) if _replaceable(target, name) else Cost()


@Check(
    id="SEC-05",
    title="A CA that is trusted no more takes its sessions along",
    requirement=(
        "After a listener's trust anchor is replaced and the listener reopened, a session that was "
        "made under the old one does not resume."),
    clause="CVE-2025-23419's class",
    level=Level.MUST, impact=Impact.DISRUPTIVE, per=Per.NODE, cost=CostByNode(_replace_cost),
    meaning=(
        "Replacing a CA, after its key was stolen or a contract has ended, does not lock its "
        "clients out."),
    precondition=_anchor_can_be_replaced, alone=True, remakes=Cost(full=CARRIED_AGAIN),
    how=(
        "A client makes a session and resumes it; the listener is closed and opened again with "
        "the CA of another domain while the node runs on. A client of that must get in and the "
        "first be refused in a full handshake; then the session is offered. Whatever happens, the "
        "listener gets its own CA back, and its client must get in again."),
    control=(
        "Before, a client of that other domain makes a session where it belongs, on a "
        "listener that nobody touches, and resumes it; after the decline it must resume there "
        "again. Where no session resumes there the check is skipped, nothing_resumes."),
    doing="reopens a listener of",
    reasons={
        "resumed_after_trust_change": (
            "a session resumes whose client the listener refuses since its CA was replaced"),
        "accepted_after_trust_change": (
            "a client that is refused since the CA was replaced gets a full handshake once it "
            "offers a session"),
        "not_replaced": "the listener refuses the client of its new CA",
        "still_trusted": "the listener accepts the client of the CA that was replaced",
        "not_restored": "the listener does not accept its own client afterwards",
        "client_refused": "a listener refuses the client of its own domain",
        "no_session_id": "a session was to be made again, and there is none",
        "not_offered": "our own TLS library offers a session no more",
        "forgotten": "a session of a listener whose CA has stayed does not resume either",
        "expired": "sessions live shorter than it took",
        "nothing_resumes": "no session resumes where it was made"})
def forgets_with_its_anchor(story: Story) -> str:
    """A CA that is trusted no more takes its clients' sessions along."""
    clients = Clients(story)
    pair = _replaceable(story.target, story.node)
    if pair is None:
        story.skip("precondition", f"{story.node} has no two listeners that demand client "
                                   f"certificates, one of them with its ca_cert; {WHERE}")
    domain, other = pair
    home = _home(clients, clients.guest(domain, domain), f"{domain}'s own client", "its CA")
    beside = clients.established(clients.guest(other, other), f"{other}'s own client")
    return _with_anchor_of(clients, home, beside, domain, other)


def _home(clients: Clients, guest: Guest, who: str, outlived: str) -> Home:
    """Make a session that resumes where it was made."""
    home = clients.established(guest, who)
    if home is None or not home.resumes:
        clients.story.skip("nothing_resumes", f"no session ID resumes on {guest.endpoint}, so "
                                              f"there is nothing to outlive {outlived}")
    return home


def _with_anchor_of(clients: Clients, home: Home, beside: Home | None, domain: TrustDomain,
                    other: TrustDomain) -> str:
    """Judge while a domain's listener has another's CA; its own client must get in afterwards."""
    story, bench = clients.story, clients.story.bench
    try:
        with faults.reopened(bench.driver, bench.specs[story.node], domain.port,
                             Path(other.ca_cert or "")):
            verdict = came_to(lambda: _declined_since(clients, home, beside, domain, other))
        back = clients.contact(home.guest)
    except DriverError as problem:
        bench.not_whole = bench.not_whole or f"a listener was not reopened: {problem}"
        story.error("driver_failed", str(problem))
    if turned_away(back.handshake) or trouble(back):
        bench.not_whole = f"{home.guest.endpoint} does not accept its own clients any more"
        story.error("not_restored", f"{verdict.message}; {bench.not_whole}")
    return story.settled(verdict)


def _declined_since(clients: Clients, home: Home, beside: Home | None, domain: TrustDomain,
                    other: TrustDomain) -> str:
    """Demand that a session does not resume since its client's CA was replaced."""
    story, guest = clients.story, home.guest
    now = clients.contact(clients.guest(other, domain))
    if how := turned_away(now.handshake):
        story.error("not_replaced", f"{guest.endpoint} was reopened with the CA of {other} and "
                                    f"refused {other}'s client with {how}")
    story.reaches_mqtt(now, first=True)
    refused = clients.refusal(guest)
    if refused is None:
        story.error("still_trusted", f"{guest.endpoint} was reopened with the CA of {other}, and "
                                     f"still accepts {domain}'s client in a full handshake")
    crossing = clients.carried(home, guest)
    control = None if beside is None or beside.session is None else clients.back_home(
        beside, f"a session as old on {other}, whose CA has stayed,")
    sentence = _declined_with_its_anchor(story, domain, refused, crossing)
    if control is None or beside is None or not beside.resumes:
        story.skip("nothing_resumes", f"{sentence}, which proves nothing, since no session resumes "
                                      f"on {other}, whose CA stays, either")
    return story.confirmed(sentence, control)


def _declined_with_its_anchor(story: Story, domain: TrustDomain, refused: str,
                              crossing: Crossing) -> str:
    """Judge what came of a session whose client is refused without one, as told."""
    if crossing.outcome is Outcome.RESUMED:
        story.fail("resumed_after_trust_change",
                   f"{story.node} resumed a session of {domain}'s client after {domain} was "
                   f"reopened with another CA and {crossing.greeting}, although it refuses that "
                   f"client in a full handshake with {refused}. Clients of the CA that was "
                   "replaced get in for as long as the node remembers their sessions "
                   f"{_LIFETIME}. {_ENDS_IT}")
    if crossing.outcome is Outcome.FULL:
        story.fail("accepted_after_trust_change", f"{story.node} {crossing.greeting} of "
                   f"{domain}'s client, which it had refused since {domain} was reopened with "
                   "another CA, once it offered a session")
    return (f"{story.node} did not resume a session of {domain}'s client after {domain} was "
            f"reopened with another CA, and refuses that client with {refused}")


# -- SEC-06 -----------------------------------------------------------------------------------

VALID_S = 5
"""For how long SEC-06's certificate is valid: ample for two handshakes."""
_MARGIN_S = 2.0
"""How long after that it counts as expired: clocks differ, and certificates have whole seconds."""
LONGEST_WAIT_S = VALID_S + _MARGIN_S
_NO_CA_KEY = ("it needs a listener that demands client certificates, with ca_cert and ca_key to "
              f"issue one that expires: {WHERE}")


def _issuing(target: Target, name: str) -> TrustDomain | None:
    return next((domain for domain in target.trust_domains.get(name, ()) if domain.ca_key), None)


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


def _expire_cost(target: Target, name: str) -> Cost:
    return Cost(full=2, resumed=2, refused=2) if _issuing(target, name) else Cost()


@Check(
    id="SEC-06",
    title="A session does not outlive its client certificate",
    requirement="A session whose client certificate has expired since does not resume.",
    clause="RFC 5246 F.1.4",
    level=Level.MUST, impact=Impact.NOISY, per=Per.NODE, cost=CostByNode(_expire_cost),
    meaning=(
        "Certificates with a short life do not end access: whoever keeps a session gets in for as "
        "long as the node remembers it."),
    precondition=_certificate_can_expire, remakes=Cost(full=CARRIED_AGAIN),
    how=(
        f"A client certificate that is valid for {VALID_S} s is issued, its client makes a "
        "session and resumes it. Once it has expired the client must be refused in a full "
        "handshake, and offers the session. Revocation is not measured: the probe revokes nobody. "
        "What Erlang/OTP was seen to do then is in docs/trust.md."),
    control=(
        "A session as old, of a client of the same domain whose certificate is valid, must "
        "still resume after the decline."),
    reasons={
        "resumed_after_expiry": "a session resumes whose client certificate has expired",
        "accepted_after_expiry": (
            "a client whose certificate has expired gets a full handshake once it offers a "
            "session"),
        "not_refused": "a client whose certificate has expired is not refused",
        "ca_unusable": "no client certificate can be issued with the CA that is declared",
        "client_refused": "a listener refuses the client of its own domain",
        "no_session_id": "a session was to be made again, and there is none",
        "not_offered": "our own TLS library offers a session no more",
        "forgotten": "a session as old whose certificate is valid does not resume either",
        "expired": "sessions live shorter than it took",
        "nothing_resumes": "no session resumes where it was made"})
def forgets_what_expired(story: Story) -> str:
    """A session outlives no certificate."""
    clients = Clients(story)
    domain = _issuing(story.target, story.node)
    if domain is None:
        story.skip("precondition", f"{story.node}: {_NO_CA_KEY}")
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    until = now + datetime.timedelta(seconds=VALID_S)
    with contextlib.closing(_short_lived(story, domain, until)) as engine:
        return _declined_when_expired(clients, domain, engine, until)


def _short_lived(story: Story, domain: TrustDomain, until: datetime.datetime) -> OrdinaryEngine:
    """Return a client whose certificate, and key, are in memory alone."""
    # Few runs come here, and all the others need not load cryptography.
    from ...certificates import CertificateError, short_lived_client  # noqa: PLC0415

    try:
        pem = short_lived_client(Path(domain.ca_cert or ""), Path(domain.ca_key or ""), until,
                                 Path(domain.client_cert))
    except CertificateError as problem:
        story.error("ca_unusable", f"{problem}: no client certificate could be issued for {domain} "
                                   f"of {story.node}")
    ours = story.prober.engine
    descriptor = os.memfd_create("client", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        path = f"/proc/self/fd/{descriptor}"
        return OrdinaryEngine(Trust(ours.trust.ca_file, path, path), stop=story.bench.stop,
                              forward_secret=ours.forward_secret)


def _declined_when_expired(clients: Clients, domain: TrustDomain, engine: OrdinaryEngine,
                           until: datetime.datetime) -> str:
    """Demand that a session does not resume when its client's certificate has expired."""
    story, lasting = clients.story, clients.guest(domain, domain)
    expiring = Guest(engine, lasting.endpoint)
    home = _home(clients, expiring, f"a client of {domain} whose certificate is valid for "
                                    f"{VALID_S} s", "its certificate")
    made = time.monotonic()
    other = clients.contact(lasting)
    story.reaches_mqtt(other, first=True)
    _wait_until(story, until + datetime.timedelta(seconds=_MARGIN_S))
    refused = clients.refusal(expiring)
    if refused is None:
        story.error("not_refused", f"{lasting.endpoint} accepts a client certificate in a full "
                                   f"handshake {_MARGIN_S:g} s after it expired: does its clock "
                                   "agree with this machine's?")
    crossing = clients.carried(home, expiring)
    age_s = time.monotonic() - made
    control = Control(clients.contact(lasting, other.session),
                      "a session as old whose certificate is valid", age_s)
    return story.confirmed(_declined_with_its_certificate(story, domain, refused, crossing),
                           control)


def _declined_with_its_certificate(story: Story, domain: TrustDomain, refused: str,
                                   crossing: Crossing) -> str:
    """Judge what came of a session whose certificate has expired."""
    if crossing.outcome is Outcome.RESUMED:
        story.fail("resumed_after_expiry",
                   f"{story.node} resumed on {domain} a session whose client certificate had "
                   f"expired and {crossing.greeting}, although it refuses that client in a full "
                   f"handshake with {refused}. A client whose certificate has expired gets in for "
                   f"as long as the node remembers its session {_LIFETIME}. {_ENDS_IT}")
    if crossing.outcome is Outcome.FULL:
        story.fail("accepted_after_expiry", f"{story.node} {crossing.greeting} on {domain} of a "
                   "client with an expired certificate, which it had refused, once it offered a "
                   "session")
    return (f"{story.node} did not resume on {domain} a session whose client certificate has "
            f"expired, and refuses that client with {refused}")


def _wait_until(story: Story, moment: datetime.datetime) -> None:
    """Wait for a certificate to expire. Raises Interrupted."""
    left = (moment - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
    with story.bench.waiting(f"SEC-06 waits {max(0.0, left):.0f} s for a client certificate to "
                             "expire"):
        if story.bench.stop.wait(max(0.0, left)):
            raise Interrupted
