"""CORE: does resumption work, where it should and only there."""
from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Sequence
from dataclasses import replace

from ..hints import with_hint
from ..listeners.reuse import TRUE_OMITTED_SINCE, off_unless_told
from ..model import Handshake, Outcome, Session
from ..mqtt.client import Connack
from . import beyond
from .bench import Bench, Contact, Target
from .deviations import major_of
from .preconditions import resuming
from .registry import Check, Cost, Impact, Level, Need, Per, Registry, Status, Subject, Verdict
from .verdicts import error, failed, not_let_in, passed, trouble

REPETITIONS = 10
"""How often CORE-05 resumes one session."""
DIAGNOSIS = 12
"""How often CORE-02 offers a session again that did not resume, to tell why: divisible by 2, 3, 4
and 6, so that nodes which take turns behind one address get equal shares."""
AT_ONCE = 16
"""How many connections share one session in CORE-07."""
MAX_SESSION_ID = 32
"""RFC 5246 7.4.1.3: opaque SessionID<0..32>."""
_OTHER_VERSIONS = ("tlsv1", "tlsv1.1", "tlsv1.3")
"""What CORE-08 offers alone. TLS 1.2 alone is what every other check offers; SSL 3.0 can no
longer be offered by any current TLS library."""
_DEFAULT_VERSIONS = ("tlsv1.2", "tlsv1.3")
"""What OpenSSL, GnuTLS, Go and Java offer unless they are told otherwise."""
_OFFERED = Cost(full=1, resumed=1, at="issuer")
"""What :meth:`Bench.offer` costs where the session has to be made again."""
_SPOKEN = "is spoken"
_NOT_OFFERED = "was not tried (our TLS library cannot offer it)"


def issues_session_id(bench: Bench, subject: Subject) -> Verdict:
    """CORE-01: the ID of a full handshake is there to be offered next time."""
    (node,) = subject
    contact = bench.fresh_session(node)
    if verdict := not_let_in(contact) or trouble(contact, first=True):
        return verdict
    handshake = contact.handshake
    length = len(handshake.server_id)
    if length == 0:
        return failed("no_session_id", f"{node} issued no session ID, so there is nothing to "
                                       "resume", handshake)
    # The reader refuses longer ones already; the bound is stated where the clause is judged.
    if length > MAX_SESSION_ID:
        return failed("session_id_too_long", f"{node} issued a session ID of {length} bytes",
                      handshake)
    told = "" if not bench.takes_no_forward_secrecy(bench.nodes[node]) else (
        f"; it speaks {handshake.cipher} and no suite with forward secrecy, and got the password "
        "all the same")
    return passed(f"{node} issued a session ID of {length} bytes{told}", handshake)


def _wrong_cipher(node: str, handshake: Handshake, session: Session) -> Verdict | None:
    # Looked at before all else: RFC 5246 7.4.1.3 has our own TLS library break off then.
    if handshake.server_id != session.id or handshake.cipher in (None, session.cipher):
        return None
    return failed("other_cipher", f"{node} resumed with {handshake.cipher}, while the session was "
                                  f"made with {session.cipher}", handshake)


def _flaw(bench: Bench, node: str, contact: Contact, session: Session) -> tuple[str, str] | None:
    """Return what is wrong with a resumed handshake, or with who is at its other end."""
    if contact.handshake.server_random == session.server_random:
        return "random_reused", "answered the resumption with the random of the first handshake"
    before, now = _told_name(bench.connacks.get(node)), _told_name(contact.connack)
    # Nodes that share sessions, as declared, may be behind one address.
    if before != now and bench.settings.cache_scope == "node":
        return "other_identity", (f"named itself {before or 'not at all'} when the session was "
                                  f"made, and {now or 'not at all'} on the resumed connection: "
                                  "this address leads to several nodes that share sessions")
    return None


def _told_name(connack: Connack | None) -> str:
    """Return how a node names itself in its CONNACK; not everything there stays the same."""
    told = dict(connack.user_properties) if connack is not None else {}
    return " ".join(told[key] for key in ("product", "version", "node") if key in told)


def same_node_resumes(bench: Bench, subject: Subject) -> Verdict:
    """CORE-02: the session comes back on the node that issued it."""
    (node,) = subject
    session = bench.sessions[node]
    contact = bench.contact(node, session)
    handshake = contact.handshake
    bench.record_cell(node, node, handshake)
    if verdict := _wrong_cipher(node, handshake, session) or trouble(contact):
        return verdict
    if bench.settings.expected(node, node) is Outcome.FULL:
        if handshake.outcome is Outcome.RESUMED:
            return failed("resumed", f"{node} resumed its session although "
                                     "resumption_cache_scope is none", handshake)
        return passed(f"{node} does not resume, as resumption_cache_scope none declares", handshake)
    if handshake.outcome is not Outcome.RESUMED:
        return _diagnosed(bench, node, session, handshake)
    if flaw := _flaw(bench, node, contact, session):
        return failed(flaw[0], f"{node} {flaw[1]}", handshake)
    return passed(f"{node} resumed its session in an abbreviated handshake", handshake)


def _asks_for_certificates(bench: Bench, node: str) -> bool:
    """Tell whether a node has sent CertificateRequest (RFC 5246 7.4.4) in this run."""
    return any(message.name == "CertificateRequest" for handshake in bench.handshakes
               if handshake.endpoint == bench.nodes[node] for message in handshake.messages)


def _cause_of_no_reuse(bench: Bench, node: str) -> str:
    """Return why a node that issues session IDs may resume none, as far as it shows."""
    if not _asks_for_certificates(bench, node):
        return ""
    otp, release = bench.otp_release(node), bench.settings.release
    if otp is None:
        return "not_resumed, certificates asked for"
    connack = bench.connacks.get(node)
    ssl = dict(connack.user_properties).get("ssl_version") if connack is not None else None
    if off_unless_told(otp=otp, ssl=ssl) is False or (
            release is not None and release < TRUE_OMITTED_SINCE):
        return ""
    return ("not_resumed, Erlang/OTP 27 or 28" if major_of(otp) in (27, 28)
            else "not_resumed, Erlang/OTP 29")


def _diagnosed(bench: Bench, node: str, session: Session, handshake: Handshake) -> Verdict:
    """Tell why a session did not resume; it has failed, whatever comes of more offers.

    A single node resumes it never (its cache is off) or has forgotten it; if it resumes after all,
    it has been on another node than this connection.
    """
    again = []
    for _ in range(DIAGNOSIS):
        with bench.counted_as(beyond.DIAGNOSES):
            contact = bench.contact(node, session)
        again.append(contact.handshake)
        if trouble(contact):
            break
    resumed = sum(one.outcome is Outcome.RESUMED for one in again)
    if not resumed:
        told = (f"{node} issued a session ID and yet answered its own session with a full "
                f"handshake, and on {len(again)} more connections too: its cache is off (EMQX: "
                "reuse_sessions = false; nginx: ssl_session_cache none) or forgets, or this "
                "address leads to many nodes")
        return failed("not_resumed", with_hint(told, _cause_of_no_reuse(bench, node)),
                      handshake, *again)
    return failed("not_resumed",
                  f"{node} is not one node: {_caches(resumed, len(again) + 1)}, for its session "
                  f"did not resume at first and did on {resumed} of {len(again)} more connections; "
                  f"{_ADDRESSES}", handshake, *again)


_ADDRESSES = "give each node's own address, or put this one in the group load_balancer"


def _caches(resumed: int, offers: int) -> str:
    """Say how many caches would make a session resume as often as it did, on whichever it came."""
    count = f"about {max(2, round(offers / resumed))}" if resumed else "many"
    return f"{count} separate session caches answer behind its address (a load balancer?)"


def _not_always(seen: str, resumed: int, handshakes: Sequence[Handshake]) -> Verdict:
    """Return the failure of a node whose session resumed in CORE-02, and now only at times.

    One offer cannot tell a node from an address of several: the first may have been lucky.
    """
    return failed("not_resumed", f"{seen}, or {_caches(resumed, len(handshakes))}; if so, "
                                 f"{_ADDRESSES}", *handshakes)


def other_node_as_expected(bench: Bench, subject: Subject) -> Verdict:
    """CORE-03: a foreign session leads quietly to a full handshake."""
    issuer, redeemer = subject
    contact = bench.offer(issuer, redeemer)
    handshake = contact.handshake
    bench.record_cell(issuer, redeemer, handshake)
    if verdict := trouble(contact):
        return verdict
    expected = bench.settings.expected(issuer, redeemer)
    if handshake.outcome is not expected:
        if expected is Outcome.FULL:
            return failed("resumed_elsewhere", with_hint(
                f"{redeemer} resumed a session that {issuer} issued", "resumed_elsewhere"),
                handshake)
        return failed("not_resumed", f"{redeemer} did not resume {issuer}'s session although "
                                     "resumption_cache_scope is cluster", handshake)
    if handshake.alerts:
        alert = handshake.alerts[0]
        return failed("alert", f"{redeemer} raised the {alert.level} alert {alert.description} on "
                               f"a session of {issuer}", handshake)
    how = "fell back to a full handshake on" if expected is Outcome.FULL else "resumed"
    return passed(f"{redeemer} {how} {issuer}'s session, and MQTT works", handshake)


def still_resumes_at_home(bench: Bench, subject: Subject) -> Verdict:
    """CORE-04: being declined elsewhere has not cost the session its home."""
    issuer, redeemer = subject
    session, there = bench.sessions[issuer], bench.cells.get((issuer, redeemer))
    if there is not None and there.offered_id != session.id:
        # Made again since CORE-03: this one has not been away yet.
        with bench.counted_as(bench.renewed.get(issuer, beyond.SPOILT)):
            away = bench.contact(redeemer, session)
        if verdict := trouble(away):
            return verdict
    contact = bench.offer(issuer, issuer)
    if verdict := trouble(contact):
        return verdict
    if contact.handshake.outcome is not Outcome.RESUMED:
        return failed("not_resumed", f"{issuer} no longer resumes its session after it was "
                                     f"offered to {redeemer}", contact.handshake)
    return passed(f"{issuer} still resumes its session after it was offered to {redeemer}",
                  contact.handshake)


def resumes_again_and_again(bench: Bench, subject: Subject) -> Verdict:
    """CORE-05: a resumption does not use the session up."""
    (node,) = subject
    handshakes = []
    for attempt in range(1, REPETITIONS + 1):
        contact = bench.contact(node, bench.sessions[node])
        handshakes.append(contact.handshake)
        if verdict := trouble(contact):
            return Verdict(verdict.status, verdict.reason,
                           f"{verdict.message} (resumption {attempt} of {REPETITIONS})",
                           tuple(handshakes))
    resumed = sum(handshake.outcome is Outcome.RESUMED for handshake in handshakes)
    if resumed < REPETITIONS:
        return _not_always(f"{node} resumed one session {resumed} of {REPETITIONS} times: it "
                           "forgets a session that it should keep", resumed, handshakes)
    return passed(f"{node} resumed one session {REPETITIONS} times in sequence", *handshakes)


def resumed_by_many_at_once(bench: Bench, subject: Subject) -> Verdict:
    """CORE-07: a fleet behind one identity, or one client's parallel connections."""
    (node,) = subject
    session = bench.sessions[node]
    together = threading.Barrier(AT_ONCE)

    def one() -> Contact:
        try:
            contact = bench.contact(node, session, together=together)
        except BaseException:
            together.abort()
            raise
        if trouble(contact):
            together.abort()
        return contact

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        contacts = [future.result() for future in [pool.submit(one) for _ in range(AT_ONCE)]]
    handshakes = [contact.handshake for contact in contacts]
    for contact in contacts:
        if verdict := trouble(contact):
            # Handshakes that break off may cost the session its place in the cache (RFC 5246
            # 7.2.2; OpenSSL does so), and no later check may be blamed for that.
            with bench.made_again(node, beyond.SPOILT):
                renewed = bench.fresh_session(node)
            return Verdict(verdict.status, verdict.reason, verdict.message,
                           (*handshakes, renewed.handshake))
    resumed = sum(handshake.outcome is Outcome.RESUMED for handshake in handshakes)
    if resumed < AT_ONCE:
        return _not_always(f"{node} resumed one session on {resumed} of {AT_ONCE} connections at "
                           "once: it does not look the session up for so many", resumed, handshakes)
    return passed(f"{node} resumed one session on {AT_ONCE} connections at once", *handshakes)


def versions_as_declared(bench: Bench, subject: Subject) -> Verdict:
    """CORE-08: nothing but the declared versions, and the best of them for who offers more."""
    (node,) = subject
    declared = bench.settings.tls_versions
    handshakes, flaws, seen = [], [], []
    for version in _OTHER_VERSIONS:
        contact = bench.contact(node, versions=(version, version))
        handshakes.append(contact.handshake)
        if _unreachable(contact) and (verdict := trouble(contact)):
            return verdict
        told = _told(contact)
        seen.append(f"{version} {told}")
        if told == _NOT_OFFERED:
            continue
        if version in declared and told != _SPOKEN:
            flaws.append(("version_refused", f"{version} is declared, and {told}"))
        elif version not in declared and told == _SPOKEN:
            flaws.append(("version_accepted", f"{version} is not declared, and {told}"))
        elif version not in declared and contact.handshake.outcome is not Outcome.REFUSED:
            flaws.append(("no_alert",
                          f"{version} is not declared, and {told}, without a fatal alert"))
    both = bench.contact(node, versions=("tlsv1.2", "tlsv1.3"))
    handshakes.append(both.handshake)
    if verdict := trouble(both):
        return verdict
    seen.append(f"a client that offers both 1.2 and 1.3 gets {both.handshake.version}")
    best = "tlsv1.3" if "tlsv1.3" in declared else "tlsv1.2"
    if both.handshake.version != best:
        flaws.append(("other_version", f"{seen[-1]} and not {best}"))
    if not declared:
        return Verdict(Status.INFO, "undeclared", f"{node}: {'; '.join(seen)} "
                       "(resumption_tls_versions declares nothing)", tuple(handshakes))
    if flaws:
        return failed(flaws[0][0], f"{node}: {'; '.join(text for _, text in flaws)}", *handshakes)
    return passed(f"{node}: {'; '.join(seen)}", *handshakes)


def _unreachable(contact: Contact) -> bool:
    failure = contact.handshake.failure
    return failure is not None and failure.stage == "connect"


def _told(contact: Contact) -> str:
    """Say how the target answered the one version that was offered."""
    handshake = contact.handshake
    if handshake.failure is None:
        return _SPOKEN
    if not handshake.client_random:
        return _NOT_OFFERED
    if handshake.outcome is Outcome.REFUSED:
        return f"is refused ({handshake.alerts[-1].description})"
    return f"ends with: {handshake.failure.detail}"


def _versions_cost(target: Target) -> Cost:
    declared = target.settings.tls_versions
    spoken = sum(version in declared for version in _OTHER_VERSIONS)
    return Cost(full=1 + spoken, refused=len(_OTHER_VERSIONS) - spoken)


def tickets_do_not_get_in_the_way(bench: Bench, subject: Subject) -> Verdict:
    """CORE-09: most TLS clients offer tickets; that must not cost them the session ID."""
    (node,) = subject
    first = bench.contact(node, tickets=True, keep_session=False)
    if verdict := trouble(first):
        return verdict
    again = bench.contact(node, bench.sessions[node], tickets=True)
    handshakes = (first.handshake, again.handshake)
    if verdict := trouble(again):
        return verdict
    if again.handshake.ticket_offered != 0:
        return error("harness_error", "our TLS library did not offer an empty ticket", *handshakes)
    issued = "issues TLS 1.2 tickets" if first.handshake.ticket_issued else \
        "issues no TLS 1.2 tickets"
    if again.handshake.outcome is not Outcome.RESUMED:
        return failed("not_resumed", f"{node} {issued}, and does not resume by session ID for a "
                                     "client that offers an empty ticket", *handshakes)
    return passed(f"{node} {issued}; a client that offers an empty ticket still resumes by "
                  "session ID", *handshakes)


def default_client(bench: Bench, subject: Subject) -> Verdict:
    """CORE-10: every other check speaks TLS 1.2 alone; who does not pin it may never resume."""
    (node,) = subject
    contact = bench.contact(node, versions=_DEFAULT_VERSIONS, keep_session=False)
    if verdict := trouble(contact):
        # Nothing is demanded of the target here, but who is turned away wants to know.
        return replace(verdict, status=Status.WARNED) if verdict.status is Status.FAILED \
            else verdict
    handshake = contact.handshake
    gets = f"a client that pins no version gets {handshake.version} with {handshake.cipher}"
    data = {"version": handshake.version, "cipher": handshake.cipher}
    if handshake.version == "tlsv1.2":
        return Verdict(Status.PASSED, "", f"{node}: {gets}, where session IDs resume",
                       (handshake,), data)
    return Verdict(Status.INFO, "not_tls_1_2", f"{node}: {gets}, where no session ID resumes: what "
                   "the rest of this report says holds for clients that speak TLS 1.2 alone",
                   (handshake,), data)


def _two_nodes(target: Target) -> str | None:
    return None if len(target.nodes) > 1 else "one node: there is no other node to ask"


def _two_nodes_that_resume(target: Target) -> str | None:
    return _two_nodes(target) or resuming(target)


def register(registry: Registry) -> None:
    """Add the family."""
    registry.add(Check(
        "CORE-01", "A full handshake issues a session ID",
        "A full TLS 1.2 handshake issues a session ID of 1 to 32 bytes.",
        "RFC 5246 7.4.1.3", Level.MUST, Impact.SAFE, Per.NODE, Cost(full=1), issues_session_id,
        "The node lets nobody resume by session ID: every reconnect is a full handshake.",
        how="An ordinary client makes a full handshake, speaks MQTT and keeps the session ID "
            "of the ServerHello."))
    registry.add(Check(
        "CORE-02", "The same node resumes",
        "A node resumes the session it issued: abbreviated flight, same ID, version, cipher "
        "suite and master secret, fresh randoms; and if it names itself, it is the same node.",
        "RFC 5246 7.3, 7.4.1.3", Level.MUST, Impact.SAFE, Per.NODE, Cost(resumed=1),
        same_node_resumes,
        "Devices pay for a full handshake on every reconnect: reuse_sessions is false, or EMQX 5.9 "
        "or later leaves it out and its Erlang/OTP resumes nothing then where client certificates "
        "are asked for (29.0.6 and later: erlang/otp#11478), the cache is too small or too "
        "short-lived, or the address leads to several nodes.", (Need("CORE-01"),),
        how="The session of CORE-01 is offered to the same node once. All three witnesses "
            "must say resumed, and cipher suite and randoms are compared with those of the "
            f"first handshake. If it is answered by a full handshake the check has failed, and "
            f"the session is offered {DIAGNOSIS} times more, only to tell a node that does not "
            "resume from an address of several nodes.", diagnosis=DIAGNOSIS,
        titles={"none": "The same node does not resume"}))
    registry.add(Check(
        "CORE-03", "Every other node falls back to a full handshake",
        "Offered to any other node, a session that resumes at home leads to a full handshake "
        "without an alert, and MQTT works.",
        "RFC 5246 7.4.1.2", Level.MUST, Impact.SAFE, Per.PAIR, Cost(full=1),
        other_node_as_expected,
        "A device that lands on another node is locked out or fails noisily, or nodes share "
        "sessions that nobody declared as shared.",
        (Need("CORE-02", "issuer"), Need("CORE-01", "redeemer")), _two_nodes, remakes=_OFFERED,
        how="Each node's session, which has resumed at home, is offered to every other node. "
            "All three witnesses must say full, no alert may come, and CONNECT must be "
            "accepted.", titles={"cluster": "Every other node resumes"}))
    registry.add(Check(
        "CORE-04", "A session declined elsewhere still resumes at home",
        "After another node declined it, a session still resumes on the node that issued it.",
        "RFC 5246 7.3", Level.MUST, Impact.SAFE, Per.PAIR, Cost(resumed=1, at="issuer"),
        still_resumes_at_home,
        "One detour through another node, as behind any load balancer, costs a device its "
        "session.", (Need("CORE-03"),), _two_nodes_that_resume,
        # One that was made again since has to be away first.
        remakes=Cost(full=1, elsewhere=(_OFFERED,)),
        how="After CORE-03 the session is offered to its issuer again, once for each node "
            "that declined it.",
        titles={"cluster": "A session resumed elsewhere still resumes at home"}))
    registry.add(Check(
        "CORE-05", "A session resumes again and again",
        f"One session resumes {REPETITIONS} times in sequence.",
        "RFC 5246 7.3", Level.MUST, Impact.SAFE, Per.NODE, Cost(resumed=REPETITIONS),
        resumes_again_and_again,
        "The node forgets a session after some use, so devices that reconnect often gain little.",
        (Need("CORE-02"),), resuming,
        how="The session is offered one time after the other, each on a connection of its "
            "own with MQTT on it."))
    registry.add(Check(
        "CORE-07", "Many connections resume one session at once",
        f"{AT_ONCE} connections that stand at the same time resume one session.",
        "RFC 5246 7.3", Level.SHOULD, Impact.NOISY, Per.NODE, Cost(resumed=AT_ONCE),
        resumed_by_many_at_once,
        "A client with several connections, or a fleet that reconnects after an outage, resumes "
        "only in part.", (Need("CORE-02"),), resuming, remakes=Cost(full=1),
        how="Threads offer the same session at once and keep their connections open until "
            "all of them stand."))
    registry.add(Check(
        "CORE-08", "Only the declared versions are spoken",
        "Versions outside the declared ones end in a fatal alert, and a client that also offers "
        "TLS 1.3 gets what is declared.",
        "RFC 5246 7.2.2, E.1", Level.MUST, Impact.NOISY, Per.NODE, _versions_cost,
        versions_as_declared,
        "Devices speak another TLS version than the configuration says, and session IDs do not "
        "resume in it, or old versions are open to attack.", (Need("CORE-01"),),
        how="Clients that offer TLS 1.0, 1.1 and 1.3 alone are answered by a handshake where "
            "the version is declared and by the target's own fatal alert where it is not; "
            "one that offers 1.2 and 1.3 must get the best that is declared. Where nothing "
            "is declared, what was seen is told and not judged."))
    registry.add(Check(
        "CORE-09", "Tickets do not get in the way of session IDs",
        "A client that offers an empty session ticket still resumes by session ID; whether the "
        "target issues TLS 1.2 tickets is reported.",
        "RFC 5077 3.4", Level.MUST, Impact.SAFE, Per.NODE, Cost(full=1, resumed=1),
        tickets_do_not_get_in_the_way,
        "Ordinary TLS clients, which offer tickets unless told not to, never resume here.",
        (Need("CORE-02"),), resuming,
        how="A client with an empty session_ticket extension makes a full handshake, to see "
            "whether a NewSessionTicket comes, and then offers the session ID beside the "
            "empty extension."))
    registry.add(Check(
        "CORE-10", "What a client gets that pins no version",
        "Which version and cipher suite a client gets that offers TLS 1.2 and 1.3 is reported.",
        "RFC 8446 4.2.1, D.1", Level.INFO, Impact.SAFE, Per.NODE, Cost(full=1), default_client,
        "Nothing by itself: where it is TLS 1.3, clients that speak it too resume by tickets "
        "(RFC 8446 2.2) or not at all, and session IDs serve those that speak TLS 1.2 alone.",
        (Need("CORE-01"),),
        how="A client that offers TLS 1.2 and 1.3, as TLS libraries do by default, makes a "
            "handshake and speaks MQTT. All other checks of resumption offer TLS 1.2 alone."))
