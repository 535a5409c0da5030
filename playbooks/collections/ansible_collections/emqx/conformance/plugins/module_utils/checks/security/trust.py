"""SEC-01, SEC-02: whom a listener trusts, a resumed session must not get around.

A resumed handshake shows no certificate (RFC 5246 7.3). So a node that lets a session of one
listener resume on another lets its client in where its certificate would be refused.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import NoReturn

from ...contract.domains import VARIABLE
from ...model import Outcome, TrustDomain
from ...run.check import Check, Cost, CostByNode, Impact, Level, Need, Per
from ...run.clients import (
    BACK_AGAIN,
    CARRIED_AGAIN,
    NO_TLS_1_2,
    WHERE,
    Clients,
    Crossing,
    Home,
    all_of,
)
from ...run.prober import Guest
from ...run.story import Control, Story, StoryEnd
from ...run.target import Target

_Way = tuple[TrustDomain, TrustDomain]
"""From the listener that issued a session to another one."""


# -- when, and at what cost -------------------------------------------------------------------

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


def _cross_cost(target: Target, name: str) -> Cost:
    count = len(target.trust_domains.get(name, ()))
    return Cost(full=count, resumed=2 * count,
                refused=2 * count * (count - 1)) if count > 1 else Cost()


def _cross_again(target: Target, name: str) -> Cost:
    count = len(target.trust_domains.get(name, ()))
    return Cost(full=CARRIED_AGAIN * count * (count - 1) + BACK_AGAIN * count)


def _without_cost(target: Target, name: str) -> Cost:
    count = len(target.trust_domains.get(name, ()))
    return Cost(full=1, resumed=2, refused=2 * count) if count else Cost()


def _without_again(target: Target, name: str) -> Cost:
    count = len(target.trust_domains.get(name, ()))
    return Cost(full=CARRIED_AGAIN * count + BACK_AGAIN) if count else Cost()


# -- SEC-01 -----------------------------------------------------------------------------------

@Check(
    id="SEC-01",
    title="A session stays in its trust domain",
    requirement=(
        "A session that a client made with a listener which trusts its CA does not resume on "
        "another listener of the node which demands client certificates and does not trust that "
        "CA, whether both present the same server certificate or different ones."),
    clause="CVE-2025-23419's class",
    level=Level.MUST, impact=Impact.SAFE, per=Per.NODE, cost=CostByNode(_cross_cost),
    meaning=(
        "Client certificates separate nothing: who has one for any of these listeners gets into "
        "the others by resuming."),
    precondition=_two_domains, remakes=CostByNode(_cross_again),
    how=(
        "The client of every trust domain makes a session at home and resumes it there; each "
        "other domain must refuse that client in a full handshake, and is then offered the "
        "session. What MQTT's CONNECT is answered when one resumes is reported."),
    control=(
        "In the end each session is offered once more where it was made, and must resume "
        "there, as it did before."),
    reasons={
        "resumed_in_other_domain": "a session resumes on a listener that refuses its client",
        "accepted_in_other_domain": (
            "a listener that refuses a client makes a full handshake with it once it offers a "
            "session"),
        "client_refused": "a listener refuses the client of its own domain",
        "no_session_id": "a session was to be made again, and there is none",
        "not_offered": "our own TLS library offers a session no more",
        "not_refused_again": "what was refused once is not refused the next time",
        "forgotten": "what was declined does not resume where it was made either",
        "expired": "sessions live shorter than it took",
        "no_tls_1_2": "fewer than two of its listeners speak TLS 1.2",
        "no_trust_boundary": "every listener accepts the clients of the others",
        "nothing_resumes": "no session resumes even where it was made"})
def keeps_domains_apart(story: Story) -> str:
    """A session is worth no more than the certificate it was made with."""
    clients = Clients(story)
    found = _boundaries(clients, _homes(clients))
    resumed = _offered_across(clients, found)
    if not resumed and not any(found.homes[issuer].resumes for issuer, _ in found.refusals):
        story.skip("nothing_resumes", f"no session resumes on the listeners of {story.node} that "
                   "demand client certificates, not even where it was made")
    controls = _all_back_home(clients, found)
    held = found.by_certificate([way for way in found.refusals if way not in resumed])
    besides = _besides(clients, found)
    if resumed:
        _fail_crossing(story, found, resumed, (f"; none across {held}" if held else "") + besides)
    sentence = (f"{story.node} resumed no session across {held}, where the listener refuses that "
                f"client{besides}")
    for control in controls:
        sentence = story.confirmed(sentence, control)
    return sentence


@dataclass(frozen=True)
class _Boundaries:
    """Who is let in where, without a session."""

    homes: dict[TrustDomain, Home]
    """By listener that speaks TLS 1.2: the session of its own client."""
    refusals: dict[_Way, str]
    """How the second listener refuses the client of the first."""
    open_ways: list[_Way]
    """Where the client of the first is let in: no boundary."""

    def by_certificate(self, ways: Sequence[_Way]) -> str:
        """Name ways by whether both listeners present the same server certificate."""
        same = [way for way in ways if len({
            self.homes[domain].server_certificate for domain in way}) == 1]
        parts = ((same, "same server certificate"),
                 ([way for way in ways if way not in same], "different server certificates"))
        return " and ".join(f"{_ways(chosen)} ({what})" for chosen, what in parts if chosen)


def _homes(clients: Clients) -> dict[TrustDomain, Home]:
    """Make a session of every domain's client where it belongs."""
    if len(clients.domains) < 2:
        clients.story.skip("precondition", f"{clients.node} has no two listeners that demand "
                                           f"client certificates; {WHERE}")
    homes = {domain: home for domain in clients.domains if (home := clients.established(
        clients.guest(domain, domain), f"{domain}'s own client")) is not None}
    if len(homes) < 2:
        clients.story.skip("no_tls_1_2", f"fewer than two listeners of {clients.node} that demand "
                                         "client certificates speak TLS 1.2")
    return homes


def _boundaries(clients: Clients, homes: dict[TrustDomain, Home]) -> _Boundaries:
    """Let every client try every other listener in a full handshake."""
    answers = {way: clients.refusal(clients.guest(*way)) for way in permutations(homes, 2)}
    refusals = {way: how for way, how in answers.items() if how is not None}
    if not refusals:
        clients.story.skip("no_trust_boundary", f"every listener of {clients.node} that {VARIABLE} "
                           "names accepts the others' clients in a full handshake: there is no "
                           "boundary")
    return _Boundaries(homes, refusals, [way for way, how in answers.items() if how is None])


def _offered_across(clients: Clients, found: _Boundaries) -> dict[_Way, str]:
    """Offer sessions where their clients are refused; return how CONNECT was answered if resumed.
    """
    resumed: dict[_Way, str] = {}
    for way in found.refusals:
        issuer, redeemer = way
        if found.homes[issuer].session is None:
            continue
        crossing = clients.carried(found.homes[issuer], clients.guest(issuer, redeemer))
        if crossing.outcome is Outcome.FULL:
            clients.story.fail("accepted_in_other_domain", f"{clients.node} {crossing.greeting} of "
                               f"a client of {issuer} on {redeemer}, which refused it before, once "
                               "it offered a session")
        if crossing.outcome is Outcome.RESUMED:
            resumed[way] = crossing.greeting
    return resumed


def _all_back_home(clients: Clients, found: _Boundaries) -> list[Control]:
    """Offer each session where it was made; return those that had resumed there before."""
    last_declined = dict(way for way in found.refusals if found.homes[way[0]].session is not None)
    back = {issuer: clients.back_home(
        found.homes[issuer], _at_home(found.homes[issuer]), clients.guest(issuer, redeemer))
        for issuer, redeemer in last_declined.items()}
    return [control for issuer, control in back.items() if found.homes[issuer].resumes]


def _at_home(home: Home) -> str:
    return f"the session of {home.who}, where it was made,"


def _besides(clients: Clients, found: _Boundaries) -> str:
    """Tell what was not judged, and why."""
    mute = [domain.name for domain in clients.domains if domain not in found.homes]
    across = _ways(found.open_ways)
    forgotten = [domain.name for domain, home in found.homes.items() if not home.resumes]
    return "".join(f"; {what}" for names, what in (
        (across, f"{across} is no boundary, since that client is accepted"),
        (mute, f"{all_of(mute)} refused TLS 1.2 and was left out"),
        (forgotten, f"sessions of {all_of(forgotten)} do not resume even at home")) if names)


def _fail_crossing(story: Story, found: _Boundaries, resumed: dict[_Way, str],
                   besides: str) -> NoReturn:
    greetings = all_of(list(dict.fromkeys(resumed.values())))
    refused = all_of(sorted({found.refusals[way] for way in resumed}))
    story.fail("resumed_in_other_domain",
               f"{story.node} resumed sessions across {found.by_certificate(list(resumed))} and "
               f"{greetings}, although the listener refuses that client in a full handshake with "
               f"{refused}{besides}. {_BYPASS} {_REMEDIES}")


_BYPASS = ("A resumed handshake shows no client certificate, so a client that has a session of one "
           "listener gets into the other with it. Client certificates do not separate the clients "
           "of these listeners.")
_REMEDIES = ("Each of these closes it for a pair of listeners on Erlang/OTP, as tried: another "
             "server certificate on one of them; reuse_sessions = false on one of them, whichever; "
             "TLS 1.3 alone on one of them.")


def _ways(ways: Sequence[_Way]) -> str:
    return ", ".join(f"{issuer}->{redeemer}" for issuer, redeemer in ways)


# -- SEC-02 -----------------------------------------------------------------------------------

@Check(
    id="SEC-02",
    title="A session made without a certificate does not replace one",
    requirement=(
        "A session that was made without a client certificate does not resume on a listener of "
        "the same node that demands one."),
    clause="CVE-2025-23419's class",
    level=Level.MUST, impact=Impact.SAFE, per=Per.NODE, cost=CostByNode(_without_cost),
    meaning=(
        "Anybody who can reach the ordinary listener gets into those that demand client "
        "certificates."),
    needs=(Need("CORE-01"),), precondition=_one_domain, remakes=CostByNode(_without_again),
    how=(
        "A client without certificate makes a session at the node's ordinary listener and "
        "resumes it there; each listener that demands certificates must refuse it in a full "
        "handshake, and is then offered the session."),
    control=(
        "In the end the session is offered once more where it was made, and must resume "
        "there, as it did before."),
    reasons={
        "resumed_without_certificate": (
            "a session of a client without certificate resumes on a listener that demands one"),
        "accepted_without_certificate": (
            "a listener that demands a certificate makes a full handshake with a client that has "
            "none once it offers a session"),
        "no_certificate_demanded": "a listener of a trust domain demands no certificate",
        "client_refused": "a client without certificate is refused",
        "not_resumed": "a session does not resume at home though one did in CORE-02",
        "no_session_id": "a session was to be made again, and there is none",
        "not_offered": "our own TLS library offers a session no more",
        "not_refused_again": "what was refused once is not refused the next time",
        "forgotten": "what was declined does not resume where it was made either",
        "expired": "sessions live shorter than it took",
        "certificate_demanded": "its ordinary listener demands a certificate itself",
        "no_tls_1_2": "its listeners do not speak TLS 1.2",
        "nothing_resumes": "no session resumes where it was made"})
def demands_what_was_not_shown(story: Story) -> str:
    """Who never showed a certificate does not get in where one is demanded."""
    clients = Clients(story)
    if not clients.domains:
        story.skip("precondition", f"{story.node} has no listener that demands client "
                                   f"certificates; {WHERE}")
    home = _home_without(clients)
    refusals, last = _offered_where_demanded(clients, home)
    control = clients.back_home(home, _at_home(home), last)
    if not home.resumes:
        _skip_where_nothing_resumes(story, home)
    return story.confirmed(
        f"{story.node} did not resume on {all_of(list(refusals))} a session that was made without "
        f"a client certificate, which they refuse with {all_of(sorted(set(refusals.values())))}",
        control)


def _home_without(clients: Clients) -> Home:
    """Make a session of a client without certificate at the node's ordinary listener."""
    story, anonymous = clients.story, clients.guest(None, None)
    try:
        home = clients.established(anonymous, "a client without certificate")
    except StoryEnd as end:
        if end.verdict.reason == "client_refused":
            story.skip("certificate_demanded", f"{anonymous.endpoint} demands a client certificate "
                       "itself, so nobody gets a session without one")
        raise
    if home is None:
        story.skip("no_tls_1_2", f"{anonymous.endpoint} does not speak TLS 1.2, so nobody gets a "
                                 "session without a certificate")
    before = story.ledger.cells.get((story.node, story.node))
    if not home.resumes and before is not None and before.outcome is Outcome.RESUMED:
        story.error("not_resumed", f"{anonymous.endpoint} did not resume the session of a client "
                                   "without certificate, though it had resumed one in CORE-02")
    if home.session is None:
        _skip_where_nothing_resumes(story, home)
    return home


def _skip_where_nothing_resumes(story: Story, home: Home) -> NoReturn:
    story.skip("nothing_resumes", f"no session resumes on {home.guest.endpoint}, where clients "
                                  "without a certificate get in")


def _offered_where_demanded(clients: Clients, home: Home) -> tuple[dict[str, str], Guest]:
    """Offer a session where its client is refused without one.

    Return how each listener refuses it, by domain, and the last of them.
    """
    refusals: dict[str, str] = {}
    last: Guest | None = None
    for domain in clients.domains:
        at = clients.guest(None, domain)
        how = clients.refusal(at)
        if how is None:
            clients.story.error(
                "no_certificate_demanded", f"{at.endpoint} accepts a client without certificate in "
                f"a full handshake: {VARIABLE} is for listeners that demand one")
        if how != NO_TLS_1_2:
            _demand_declined(clients, domain, how, clients.carried(home, at))
            refusals[domain.name], last = how, at
    if last is None:
        clients.story.skip("no_tls_1_2", f"no listener of {clients.node} that demands client "
                                         "certificates speaks TLS 1.2")
    return refusals, last


def _demand_declined(clients: Clients, domain: TrustDomain, how: str, crossing: Crossing) -> None:
    """Judge what came of a session on a listener that refuses its client, as told."""
    story = clients.story
    if crossing.outcome is Outcome.RESUMED:
        story.fail("resumed_without_certificate",
                   f"{story.node} resumed on {domain} a session that was made without a client "
                   f"certificate, and {crossing.greeting}, although {domain} refuses such a client "
                   f"in a full handshake with {how}")
    if crossing.outcome is Outcome.FULL:
        story.fail("accepted_without_certificate",
                   f"{story.node} {crossing.greeting} of a client without certificate on {domain}, "
                   "which refused it before, once it offered a session")
