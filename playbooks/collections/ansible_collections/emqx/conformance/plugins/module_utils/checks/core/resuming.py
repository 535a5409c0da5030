"""CORE-01 to CORE-05, CORE-07, CORE-09: a session resumes at home, and falls back elsewhere."""
from __future__ import annotations

import concurrent.futures
import threading
from typing import NoReturn

from ... import client_certificate
from ...hints import with_hint
from ...identity import major_of
from ...listeners.reuse import TRUE_OMITTED_SINCE, off_unless_told
from ...model import LONGEST_SESSION_ID, Handshake, Outcome, Session
from ...mqtt.client import Connack
from ...run import beyond
from ...run.bench import Bench
from ...run.check import Check, Cost, Impact, Level, Need, Per
from ...run.preconditions import resuming
from ...run.prober import Contact
from ...run.story import Story, StoryEnd
from ...run.target import Target
from ...run.verdict import trouble

REPETITIONS = 10
"""How often CORE-05 resumes one session."""
DIAGNOSIS = 12
"""How often CORE-02 offers a session again that did not resume, to tell why: divisible by 2, 3, 4
and 6, so that nodes which take turns behind one address get equal shares."""
AT_ONCE = 16
"""How many connections share one session in CORE-07."""
_OFFERED = Cost(full=1, resumed=1, at="issuer")
"""What :meth:`Bench.offer` costs where the session has to be made again."""


def _two_nodes(target: Target) -> str | None:
    return None if len(target.nodes) > 1 else "one node: there is no other node to ask"


def _two_nodes_that_resume(target: Target) -> str | None:
    return _two_nodes(target) or resuming(target)


@Check(
    id="CORE-01",
    title="A full handshake issues a session ID",
    requirement="A full TLS 1.2 handshake issues a session ID of 1 to 32 bytes.",
    clause="RFC 5246 7.4.1.3",
    level=Level.MUST, impact=Impact.SAFE, per=Per.NODE, cost=Cost(full=1),
    meaning="The node lets nobody resume by session ID: every reconnect is a full handshake.",
    how=(
        "An ordinary client makes a full handshake, speaks MQTT and keeps the session ID "
        "of the ServerHello."),
    reasons={
        "no_session_id": "a full handshake brings no session ID",
        "session_id_too_long": "its session ID is longer than 32 bytes",
        "client_certificate_demanded": "it demands a client certificate, and there is none",
        "client_certificate_refused": "it refuses the client certificate"})
def issues_session_id(story: Story) -> str:
    """The ID of a full handshake is there to be offered next time."""
    node, contact = story.node, story.fresh_session()
    _demand_let_in(story, contact.handshake)
    handshake = story.reaches_mqtt(contact, first=True)
    length = len(handshake.server_id)
    if length == 0:
        story.fail("no_session_id", f"{node} issued no session ID, so there is nothing to resume")
    # The reader refuses longer ones already; the bound is stated where the clause is judged.
    if length > LONGEST_SESSION_ID:
        story.fail("session_id_too_long", f"{node} issued a session ID of {length} bytes")
    return f"{node} issued a session ID of {length} bytes{_besides(story, handshake)}"


def _besides(story: Story, handshake: Handshake) -> str:
    """Say so where the password was sent without forward secrecy."""
    if not story.prober.takes_no_forward_secrecy(story.bench.nodes[story.node]):
        return ""
    return (f"; it speaks {handshake.cipher} and no suite with forward secrecy, and got the "
            "password all the same")


def _demand_let_in(story: Story, handshake: Handshake) -> None:
    """Demand that the probe's own client certificate, or its lack, is not the trouble."""
    if refused := client_certificate.refusal(handshake):
        reason, clause = refused
        story.error(reason, f"{handshake.endpoint}: {clause}")


@Check(
    id="CORE-02",
    title="The same node resumes",
    requirement=(
        "A node resumes the session it issued: abbreviated flight, same ID, version, cipher "
        "suite and master secret, fresh randoms; and if it names itself, it is the same node."),
    clause="RFC 5246 7.3, 7.4.1.3",
    level=Level.MUST, impact=Impact.SAFE, per=Per.NODE, cost=Cost(resumed=1),
    meaning=(
        "Devices pay for a full handshake on every reconnect: reuse_sessions is false, or EMQX 5.9 "
        "or later leaves it out and its Erlang/OTP resumes nothing then where client certificates "
        "are asked for (29.0.6 and later: erlang/otp#11478), the cache is too small or too "
        "short-lived, or the address leads to several nodes."),
    needs=(Need("CORE-01"),),
    how=(
        "The session of CORE-01 is offered to the same node once. All three witnesses "
        "must say resumed, and cipher suite and randoms are compared with those of the "
        f"first handshake. If it is answered by a full handshake the check has failed, and "
        f"the session is offered {DIAGNOSIS} times more, only to tell a node that does not "
        "resume from an address of several nodes."),
    diagnosis=DIAGNOSIS,
    titles={"none": "The same node does not resume"},
    reasons={
        "not_resumed": "its own session leads to a full handshake",
        "resumed": "its session resumes though resumption_cache_scope is none",
        "other_cipher": "it resumes with another cipher suite than the session's",
        "random_reused": "the random of the resumed handshake is that of the first one",
        "other_identity": "another node is at the other end of the resumed connection"})
def same_node_resumes(story: Story) -> str:
    """The session comes back on the node that issued it."""
    node, session = story.node, story.session
    contact = story.contact(node, session)
    story.ledger.record_cell(node, node, contact.handshake)
    _demand_its_own_cipher(story, contact.handshake, session)
    resumed = story.reaches_mqtt(contact).outcome is Outcome.RESUMED
    if story.settings.expected(node, node) is Outcome.FULL:
        if resumed:
            story.fail("resumed", f"{node} resumed its session although resumption_cache_scope is "
                                  "none")
        return f"{node} does not resume, as resumption_cache_scope none declares"
    if not resumed:
        _diagnose(story, session)
    _demand_fresh_random_and_same_node(story, contact, session)
    return f"{node} resumed its session in an abbreviated handshake"


def _demand_its_own_cipher(story: Story, handshake: Handshake, session: Session) -> None:
    # Looked at before all else: RFC 5246 7.4.1.3 has our own TLS library break off then.
    if handshake.server_id == session.id and handshake.cipher not in (None, session.cipher):
        story.fail("other_cipher", f"{story.node} resumed with {handshake.cipher}, while the "
                                   f"session was made with {session.cipher}")


def _demand_fresh_random_and_same_node(story: Story, contact: Contact, session: Session) -> None:
    """Demand that a resumed handshake is a new one, and with whom the session was made."""
    node, bench = story.node, story.bench
    if contact.handshake.server_random == session.server_random:
        story.fail("random_reused", f"{node} answered the resumption with the random of the first "
                                    "handshake")
    before, now = _told_name(bench.ledger.connacks.get(node)), _told_name(contact.connack)
    # Nodes that share sessions, as declared, may be behind one address.
    if before != now and bench.settings.cache_scope == "node":
        story.fail("other_identity", f"{node} named itself {before or 'not at all'} when the "
                   f"session was made, and {now or 'not at all'} on the resumed connection: this "
                   "address leads to several nodes that share sessions")


def _told_name(connack: Connack | None) -> str:
    """Return how a node names itself in its CONNACK; not everything there stays the same."""
    told = dict(connack.user_properties) if connack is not None else {}
    return " ".join(told[key] for key in ("product", "version", "node") if key in told)


def _asks_for_certificates(bench: Bench, node: str) -> bool:
    """Tell whether a node has sent CertificateRequest (RFC 5246 7.4.4) in this run."""
    return any(message.name == "CertificateRequest" for handshake in bench.ledger.handshakes
               if handshake.endpoint == bench.nodes[node] for message in handshake.messages)


def _cause_of_no_reuse(bench: Bench, node: str) -> str:
    """Return why a node that issues session IDs may resume none, as far as it shows."""
    if not _asks_for_certificates(bench, node):
        return ""
    otp, release = bench.otp_release(node), bench.settings.release
    if otp is None:
        return "not_resumed, certificates asked for"
    connack = bench.ledger.connacks.get(node)
    ssl = dict(connack.user_properties).get("ssl_version") if connack is not None else None
    if off_unless_told(otp=otp, ssl=ssl) is False or (
            release is not None and release < TRUE_OMITTED_SINCE):
        return ""
    return ("not_resumed, Erlang/OTP 27 or 28" if major_of(otp) in (27, 28)
            else "not_resumed, Erlang/OTP 29")


def _diagnose(story: Story, session: Session) -> NoReturn:
    """Tell why a session did not resume; it has failed, whatever comes of more offers.

    A single node resumes it never (its cache is off) or has forgotten it; if it resumes after all,
    it has been on another node than this connection.
    """
    node, again = story.node, []
    for _ in range(DIAGNOSIS):
        with story.ledger.counted_as(beyond.DIAGNOSES):
            contact = story.contact(node, session)
        again.append(contact.handshake.outcome)
        if trouble(contact):
            break
    resumed = again.count(Outcome.RESUMED)
    if not resumed:
        told = (f"{node} issued a session ID and yet answered its own session with a full "
                f"handshake, and on {len(again)} more connections too: its cache is off (EMQX: "
                "reuse_sessions = false; nginx: ssl_session_cache none) or forgets, or this "
                "address leads to many nodes")
        story.fail("not_resumed", with_hint(told, _cause_of_no_reuse(story.bench, node)))
    story.fail("not_resumed", f"{node} is not one node: {_caches(resumed, len(again) + 1)}, for "
               f"its session did not resume at first and did on {resumed} of {len(again)} more "
               f"connections; {_ADDRESSES}")


_ADDRESSES = "give each node's own address, or put this one in the group load_balancer"


def _caches(resumed: int, offers: int) -> str:
    """Say how many caches would make a session resume as often as it did, on whichever it came."""
    count = f"about {max(2, round(offers / resumed))}" if resumed else "many"
    return f"{count} separate session caches answer behind its address (a load balancer?)"


def _demand_always(story: Story, seen: str, resumed: int, offers: int) -> None:
    """Demand that a session that has resumed in CORE-02 does so on every offer.

    One offer cannot tell a node from an address of several: the first may have been lucky.
    """
    if resumed < offers:
        story.fail("not_resumed", f"{seen}, or {_caches(resumed, offers)}; if so, {_ADDRESSES}")


@Check(
    id="CORE-03",
    title="Every other node falls back to a full handshake",
    requirement=(
        "Offered to any other node, a session that resumes at home leads to a full handshake "
        "without an alert, and MQTT works."),
    clause="RFC 5246 7.4.1.2",
    level=Level.MUST, impact=Impact.SAFE, per=Per.PAIR, cost=Cost(full=1),
    meaning=(
        "A device that lands on another node is locked out or fails noisily, or nodes share "
        "sessions that nobody declared as shared."),
    needs=(Need("CORE-02", "issuer"), Need("CORE-01", "redeemer")), precondition=_two_nodes,
    remakes=_OFFERED,
    how=(
        "Each node's session, which has resumed at home, is offered to every other node. "
        "All three witnesses must say full, no alert may come, and CONNECT must be "
        "accepted."),
    titles={"cluster": "Every other node resumes"},
    reasons={
        "resumed_elsewhere": "it resumes a session of another node",
        "not_resumed": "it does not resume a session though resumption_cache_scope is cluster",
        "alert": "a session of another node is declined or resumed with an alert"})
def other_node_as_expected(story: Story) -> str:
    """A foreign session leads quietly to a full handshake."""
    issuer, redeemer = story.subject
    contact = story.seen(story.bench.sessions.offer(issuer, redeemer))
    story.ledger.record_cell(issuer, redeemer, contact.handshake)
    resumed = story.reaches_mqtt(contact).outcome is Outcome.RESUMED
    full = story.settings.expected(issuer, redeemer) is Outcome.FULL
    if resumed and full:
        story.fail("resumed_elsewhere", with_hint(
            f"{redeemer} resumed a session that {issuer} issued", "resumed_elsewhere"))
    if not resumed and not full:
        story.fail("not_resumed", f"{redeemer} did not resume {issuer}'s session although "
                                  "resumption_cache_scope is cluster")
    story.quiet(contact, f"on a session of {issuer}")
    how = "fell back to a full handshake on" if full else "resumed"
    return f"{redeemer} {how} {issuer}'s session, and MQTT works"


@Check(
    id="CORE-04",
    title="A session declined elsewhere still resumes at home",
    requirement=(
        "After another node declined it, a session still resumes on the node that issued it."),
    clause="RFC 5246 7.3",
    level=Level.MUST, impact=Impact.SAFE, per=Per.PAIR, cost=Cost(resumed=1, at="issuer"),
    meaning=(
        "One detour through another node, as behind any load balancer, costs a device its "
        "session."),
    needs=(Need("CORE-03"),), precondition=_two_nodes_that_resume,
    remakes=Cost(full=2, elsewhere=(_OFFERED,)),
    how=(
        "After CORE-03 the session is offered to its issuer again, once for each node "
        "that declined it."),
    titles={"cluster": "A session resumed elsewhere still resumes at home"},
    reasons={"not_resumed": "a session no longer resumes after it was offered to another node"})
def still_resumes_at_home(story: Story) -> str:
    """Being declined elsewhere has not cost the session its home."""
    issuer, redeemer = story.subject
    if story.bench.sessions.can_offer(issuer):
        _demand_been_away(story, redeemer)
    contact = story.seen(story.bench.sessions.offer(issuer, issuer, after=redeemer))
    if story.reaches_mqtt(contact).outcome is not Outcome.RESUMED:
        story.fail("not_resumed", f"{issuer} no longer resumes its session after it was offered to "
                                  f"{redeemer}")
    return f"{issuer} still resumes its session after it was offered to {redeemer}"


def _demand_been_away(story: Story, redeemer: str) -> None:
    """Offer a session elsewhere that was made again since CORE-03, and has not been away yet."""
    bench, there = story.bench, story.ledger.cells.get((story.node, redeemer))
    if there is not None and there.offered_id != story.session.id:
        with bench.ledger.counted_as(bench.ledger.renewed.get(story.node, beyond.SPOILT)):
            away = story.contact(redeemer, story.session)
        # Where another connection has spoilt it just now, it is made again, and goes away then.
        if not away.spoilt:
            story.reaches_mqtt(away)


@Check(
    id="CORE-05",
    title="A session resumes again and again",
    requirement=f"One session resumes {REPETITIONS} times in sequence.",
    clause="RFC 5246 7.3",
    level=Level.MUST, impact=Impact.SAFE, per=Per.NODE, cost=Cost(resumed=REPETITIONS),
    meaning=(
        "The node forgets a session after some use, so devices that reconnect often gain little."),
    needs=(Need("CORE-02"),), precondition=resuming,
    how=(
        "The session is offered one time after the other, each on a connection of its "
        "own with MQTT on it."),
    reasons={"not_resumed": "a session resumes some times, and then no more"})
def resumes_again_and_again(story: Story) -> str:
    """A resumption does not use the session up."""
    outcomes = [
        story.reaches_mqtt(story.contact(story.node, story.session),
                           f"resumption {number} of {REPETITIONS}").outcome
        for number in range(1, REPETITIONS + 1)]
    resumed = outcomes.count(Outcome.RESUMED)
    _demand_always(story, f"{story.node} resumed one session {resumed} of {REPETITIONS} times: it "
                   "forgets a session that it should keep", resumed, REPETITIONS)
    return f"{story.node} resumed one session {REPETITIONS} times in sequence"


@Check(
    id="CORE-07",
    title="Many connections resume one session at once",
    requirement=f"{AT_ONCE} connections that stand at the same time resume one session.",
    clause="RFC 5246 7.3",
    level=Level.SHOULD, impact=Impact.NOISY, per=Per.NODE, cost=Cost(resumed=AT_ONCE),
    meaning=(
        "A client with several connections, or a fleet that reconnects after an outage, resumes "
        "only in part."),
    needs=(Need("CORE-02"),), precondition=resuming, remakes=Cost(full=1),
    how=(
        "Threads offer the same session at once and keep their connections open until "
        "all of them stand."),
    reasons={"not_resumed": "a session resumes on some of many connections at once"})
def resumed_by_many_at_once(story: Story) -> str:
    """A fleet behind one identity, or one client's parallel connections."""
    contacts = _offered_at_once(story, story.session)
    _demand_mqtt_on_all(story, contacts)
    resumed = sum(contact.handshake.outcome is Outcome.RESUMED for contact in contacts)
    _demand_always(story, f"{story.node} resumed one session on {resumed} of {AT_ONCE} connections "
                   "at once: it does not look the session up for so many", resumed, AT_ONCE)
    return f"{story.node} resumed one session on {AT_ONCE} connections at once"


def _offered_at_once(story: Story, session: Session) -> list[Contact]:
    """Offer a session on many connections that stay open until all of them stand."""
    together = threading.Barrier(AT_ONCE)

    def one() -> Contact:
        try:
            contact = story.contact(story.node, session, together=together)
        except BaseException:
            together.abort()
            raise
        if trouble(contact):
            together.abort()
        return contact

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return [future.result() for future in [pool.submit(one) for _ in range(AT_ONCE)]]


def _demand_mqtt_on_all(story: Story, contacts: list[Contact]) -> None:
    """Demand that connections got as far as CONNACK; else the node's session is made again.

    Handshakes that break off may cost it its place in the cache (RFC 5246 7.2.2; OpenSSL does so),
    and no later check may be blamed for that.
    """
    broken = [(contact.spoilt, verdict) for contact in contacts if (verdict := trouble(contact))]
    if broken:
        with story.ledger.made_again(story.node, beyond.SPOILT):
            story.fresh_session()
        # An alert to one of them may have spoilt it for others; that one tells why.
        raise StoryEnd(min(broken, key=lambda one: one[0])[1])


@Check(
    id="CORE-09",
    title="Tickets do not get in the way of session IDs",
    requirement=(
        "A client that offers an empty session ticket still resumes by session ID; whether the "
        "target issues TLS 1.2 tickets is reported."),
    clause="RFC 5077 3.4",
    level=Level.MUST, impact=Impact.SAFE, per=Per.NODE, cost=Cost(full=1, resumed=1),
    meaning="Ordinary TLS clients, which offer tickets unless told not to, never resume here.",
    needs=(Need("CORE-02"),), precondition=resuming,
    how=(
        "A client with an empty session_ticket extension makes a full handshake, to see "
        "whether a NewSessionTicket comes, and then offers the session ID beside the "
        "empty extension."),
    reasons={"not_resumed": "a client that offers an empty ticket does not resume by session ID"})
def tickets_do_not_get_in_the_way(story: Story) -> str:
    """Most TLS clients offer tickets; that must not cost them the session ID."""
    node = story.node
    first = story.reaches_mqtt(story.contact(node, tickets=True, keep_session=False))
    again = story.reaches_mqtt(story.contact(node, story.session, tickets=True))
    if again.ticket_offered != 0:
        story.error("harness_error", "our TLS library did not offer an empty ticket")
    issued = "issues TLS 1.2 tickets" if first.ticket_issued else "issues no TLS 1.2 tickets"
    if again.outcome is not Outcome.RESUMED:
        story.fail("not_resumed", f"{node} {issued}, and does not resume by session ID for a "
                                  "client that offers an empty ticket")
    return f"{node} {issued}; a client that offers an empty ticket still resumes by session ID"
