"""NEG: clients that offer what they should not, as broken and hostile ones do."""
from __future__ import annotations

import secrets
from dataclasses import replace

from ..model import Handshake, Outcome
from ..mqtt.client import connect_packet
from ..tls.transcript import ALERT_DESCRIPTIONS
from .bench import Bench, Contact, Target
from .controls import shown
from .conversation import CRAFTED, Conversation
from .preconditions import crafted, crafted_and_resuming, resuming
from .registry import Check, Cost, Impact, Level, Need, Per, Registry, Subject, Verdict
from .verdicts import error, failed, passed, trouble

if CRAFTED:
    from ..tls.crafted import Conduct, CraftedSession, Hello, StopAfter

LONGEST_ID = 32
"""RFC 5246 7.4.1.2: opaque SessionID<0..32>."""
ENDING_ALERTS = (20, 40, 80)
"""What NEG-08 raises: bad_record_mac, handshake_failure, internal_error (RFC 5246 7.2)."""
NEAR_MISSES = 5
"""IDs that NEG-02 offers."""
_UNFINISHED = 2
"""Handshakes that NEG-07 breaks off."""
_WRONG_FINISHED = "a Finished made with a wrong master secret"
_WRONG_VERIFY_DATA = "a Finished with wrong verify_data in a full handshake"
_CLOSED = ("connection_closed", "connection_reset")
_TWIN = "that is made just before and ended properly"


def unknown_id_falls_back(bench: Bench, subject: Subject) -> Verdict:
    """NEG-01: an ID that nobody issued is no reason to complain."""
    (name,) = subject
    node = Conversation(bench, name)
    if verdict := node.flaw_in_fallback(secrets.token_bytes(LONGEST_ID),
                                        "an unknown session ID of 32 bytes"):
        return verdict
    verdict = passed(f"{name} answered an unknown session ID of 32 bytes with a full handshake, "
                     "and MQTT works", *node.handshakes)
    if resuming(bench.target):
        return verdict
    contact = bench.contact(name, bench.sessions[name])
    node.handshakes.append(contact.handshake)
    return node.with_all(shown(verdict, contact, "the node's own session"))


def _unknown_cost(target: Target) -> Cost:
    return Cost(full=1, resumed=0 if resuming(target) else 1)


def near_misses_fall_back(bench: Bench, subject: Subject) -> Verdict:
    """NEG-02: an ID is compared whole."""
    (name,) = subject
    node = Conversation(bench, name)
    session_id = bench.sessions[name].id
    shorter, half = session_id[:-1], session_id[:(len(session_id) + 1) // 2]
    for what, offered in (
            ("its session's ID with one bit flipped", shorter + bytes((session_id[-1] ^ 1,))),
            (f"the first {len(shorter)} bytes of its session's ID", shorter),
            (f"the first {len(half)} bytes of its session's ID", half),
            ("the first byte of its session's ID", session_id[:1]),
            ("a session ID of 32 zero bytes", bytes(LONGEST_ID))):
        if verdict := node.flaw_in_fallback(offered, what):
            return verdict
    contact = bench.contact(name, bench.sessions[name])
    handshakes = (*node.handshakes, contact.handshake)
    if verdict := trouble(contact):
        return Verdict(verdict.status, verdict.reason, verdict.message, handshakes)
    if contact.handshake.outcome is not Outcome.RESUMED:
        return failed("not_resumed", f"{name} no longer resumes its session after IDs like it "
                                     "were offered", *handshakes)
    return passed(f"{name} answered {NEAR_MISSES} IDs that are almost its session's, or nobody's, "
                  "with full handshakes, and still resumes the session", *handshakes)


def long_id_is_refused(bench: Bench, subject: Subject) -> Verdict:
    """NEG-03: SessionID<0..32> is the whole of what a server may have to read."""
    (name,) = subject
    node = Conversation(bench, name)
    longest = secrets.token_bytes(LONGEST_ID)
    # The same hello with one byte less: only then is an alert known to be about the length.
    if verdict := node.flaw_in_fallback(longest, "an unknown session ID of 32 bytes"):
        return verdict
    too_long, _ = node.hears(Hello(session_id=longest + secrets.token_bytes(1)))
    what = f"a session_id of {LONGEST_ID + 1} bytes"
    if verdict := _harmed(bench, node, f"after it was sent {what}"):
        return verdict
    handshake = too_long.handshake
    if any(message.sender == "server" and message.name == "ServerHello"
           for message in handshake.messages):
        how = "made a full handshake" if handshake.outcome is Outcome.FULL else handshake.why
        return failed("accepted_long_id", f"{name} answered {what} with a ServerHello ({how}), "
                                          "instead of a fatal alert", *node.handshakes)
    if verdict := _no_alert(node, handshake, what):
        return verdict
    if handshake.outcome is not Outcome.REFUSED:
        return node.with_all(trouble(too_long) or error("harness_error", handshake.why))
    alert = handshake.alerts[-1].description
    named = "" if alert == "decode_error" else \
        ", where RFC 5246 7.2.2 has decode_error for a length that is out of range"
    return passed(f"{name} answered {what} with the fatal alert {alert}{named}, and 32 bytes with "
                  "a full handshake; afterwards it serves and resumes as before",
                  *node.handshakes)


def _harmed(bench: Bench, node: Conversation, when: str) -> Verdict | None:
    """Make one full handshake, and resume the node's session; return a failure, or None."""
    name = node.name
    for offer, outcome in ((None, Outcome.FULL), (bench.sessions[name], Outcome.RESUMED)):
        contact = bench.contact(name, offer)
        node.handshakes.append(contact.handshake)
        if verdict := trouble(contact):
            return node.with_all(verdict, when)
        if contact.handshake.outcome is not outcome:
            return failed("not_resumed", f"{name} no longer resumes its session {when}",
                          *node.handshakes)
    return None


def _no_alert(node: Conversation, handshake: Handshake, what: str) -> Verdict | None:
    """Return a failure if the target ended the connection without a word, or did not, or None."""
    failure = handshake.failure
    if failure is None or failure.stage == "connect":
        return None
    if failure.cause in _CLOSED:
        return failed("closed_without_alert",
                      f"{node.name} refused {what} by closing the connection, without the fatal "
                      "alert that says why", *node.handshakes)
    if failure.cause == "timeout":
        return failed("no_alert", f"{node.name} neither raised a fatal alert on {what} nor closed "
                                  f"the connection: {handshake.why}", *node.handshakes)
    return None


def wrong_secret_is_refused(bench: Bench, subject: Subject) -> Verdict:
    """NEG-04: an ID is public on the wire; it is the master secret that proves the client."""
    (name,) = subject
    node = Conversation(bench, name)
    twin = node.twin(Hello())
    if isinstance(twin, Verdict):
        return twin
    refused = _offer_and_forge(bench, node)
    if isinstance(refused, Verdict):
        return refused
    lie, session = refused
    owner, _ = node.hears(Hello(session_id=session.id), knowing=session)
    if verdict := trouble(owner):
        return node.with_all(verdict, "to the rightful owner of a session, after somebody else "
                                      "offered it")
    still = "still resumes" if owner.handshake.outcome is Outcome.RESUMED else \
        "has forgotten the session, and gets a full handshake"
    # RFC 5246 7.2.2 wants the alert. OTP 25 tells the application first, which closes the
    # connection: whether the alert gets out is a race there (in EMQX's acceptor as here).
    if verdict := _no_alert(node, lie.handshake, _WRONG_FINISHED):
        return node.with_control(
            replace(verdict, message=f"{verdict.message}; the rightful owner {still}"), twin)
    alert = lie.handshake.alerts[-1].description
    return node.with_control(passed(
        f"{name} answered {_WRONG_FINISHED} with the fatal alert {alert}; the rightful owner "
        f"{still}"), twin)


def _offer_and_forge(bench: Bench, node: Conversation) -> Verdict | tuple[Contact, CraftedSession]:
    """Resume a new session with a Finished that is made with a wrong master secret.

    Return how the target refused it and the session, or the verdict if it did not refuse.
    """
    first = node.new_session(Hello())
    if isinstance(first, Verdict):
        return first
    session = first[1]
    lie, _ = node.hears(Hello(session_id=session.id), knowing=session, conduct=Conduct(
        finish_with=session.secret.with_one_bit_flipped(), then_send=_connect(bench, node.name)))
    if not lie.handshake.library_reused:
        early = trouble(lie) or error(
            "not_resumed", f"{node.name} did not resume a session it had just issued, so there "
                           "was nothing to finish wrongly")
        return node.with_all(early)
    return _not_refused(node, lie, _WRONG_FINISHED, "accepted_wrong_secret") or (lie, session)


def _connect(bench: Bench, name: str) -> bytes:
    credentials = bench.settings.credentials
    return connect_packet(bench.mqtt_version(name), credentials.new_client_id(), credentials)


def _not_refused(node: Conversation, lie: Contact, what: str, accepted: str) -> Verdict | None:
    """Judge how the target took a wrong Finished; None if it ended the connection on it."""
    handshake = lie.handshake
    cause = handshake.failure.cause if handshake.failure is not None else ""
    heard = any(message.sender == "client" and message.name == "Finished"
                for message in handshake.messages)
    if heard and (handshake.outcome is Outcome.REFUSED or cause in _CLOSED):
        return None
    if heard and cause == "accepted":
        return failed(accepted, f"{node.name} accepted {what}: {handshake.why}", *node.handshakes)
    # Without our Finished: broken off by the target at once, so that it was given none to judge.
    return (heard and _no_alert(node, handshake, what)) or node.with_all(
        trouble(lie) or error("harness_error", f"{node.name}: {handshake.why}"))


def unfinished_leaves_nothing(bench: Bench, subject: Subject) -> Verdict:
    """NEG-07: a session is what both sides have finished."""
    (name,) = subject
    node = Conversation(bench, name)
    twin = node.twin(Hello())
    if isinstance(twin, Verdict):
        return twin
    for stop in (StopAfter.SERVER_HELLO_DONE, StopAfter.CLIENT_KEY_EXCHANGE):
        contact, session = node.hears(Hello(), conduct=Conduct(stop_after=stop))
        handshake = contact.handshake
        if handshake.failure is None or handshake.failure.cause != "broken_off":
            return node.with_all(
                trouble(contact) or error("harness_error", f"{name}: {handshake.why}"))
        if not handshake.server_id:
            continue
        if verdict := node.flaw_in_fallback(
                handshake.server_id, f"the session of a handshake that ended after {stop.value}",
                session):
            return verdict
    return node.with_control(passed(
        f"{name} resumes nothing of handshakes that were broken off after its ServerHelloDone and "
        "after our ClientKeyExchange"), twin)


def ended_by_alert_is_forgotten(bench: Bench, subject: Subject) -> Verdict:
    """NEG-08: a fatal alert ends the session, whoever raises it."""
    (name,) = subject
    node = Conversation(bench, name)
    twin = node.twin(Hello())
    if isinstance(twin, Verdict):
        return twin
    return node.with_control(_end_in_alerts(bench, node), twin)


def _end_in_alerts(bench: Bench, node: Conversation) -> Verdict:
    """Let connections fail in every way, and offer their sessions."""
    name = node.name
    if verdict := _flaw_after_wrong_verify_data(bench, node):
        return verdict
    refused = _offer_and_forge(bench, node)
    if isinstance(refused, Verdict):
        return refused
    lie, session = refused
    alert = lie.handshake.alerts[-1].description if lie.handshake.outcome is Outcome.REFUSED else ""
    forged = node.flaw_in_fallback(session.id, f"a session after {_WRONG_FINISHED}", session)
    if forged and forged.reason != "resumed":
        return forged
    resumed = []
    for description in ENDING_ALERTS:
        flaw = _flaw_after_alert(node, description)
        if flaw and flaw.reason != "resumed":
            return flaw
        if flaw:
            resumed.append(ALERT_DESCRIPTIONS[description])
    by_us = f"after our fatal alert ({', '.join(resumed)})"
    ended = f"had ended with the fatal alert {alert}" if alert else "had closed without an alert"
    by_it = f"after {_WRONG_FINISHED}, on which it {ended}"
    if resumed or forged:
        reason, when = (("resumed_after_alert", by_us) if not forged else
                        ("resumed_after_wrong_finished", by_it) if not resumed else
                        # A token of its own: a deviation known of one must not hide the other.
                        ("resumed_after_alert_and_wrong_finished", f"{by_us}, and {by_it}"))
        return failed(reason, f"{name} resumed sessions whose connection had failed: {when}")
    return passed(f"{name} resumes no session after our fatal alerts "
                  f"{', '.join(ALERT_DESCRIPTIONS[number] for number in ENDING_ALERTS)}, nor "
                  f"after {_WRONG_FINISHED} or {_WRONG_VERIFY_DATA}")


def _flaw_after_wrong_verify_data(bench: Bench, node: Conversation) -> Verdict | None:
    """Finish a full handshake wrongly and offer its session; return a failure, or None."""
    lie, session = node.hears(Hello(), conduct=Conduct(
        finish_wrongly=True, then_send=_connect(bench, node.name)))
    if verdict := _not_refused(node, lie, _WRONG_VERIFY_DATA, "accepted_wrong_finished"):
        return verdict
    if session is None:
        return None
    flaw = node.flaw_in_fallback(session.id, f"the session of {_WRONG_VERIFY_DATA}", session)
    if flaw and flaw.reason == "resumed":
        # Nobody has authenticated this one: worse than the others, and told apart from them.
        return replace(flaw, reason="resumed_unfinished")
    return flaw


def _flaw_after_alert(node: Conversation, description: int) -> Verdict | None:
    """End an established connection in our alert and offer its session; return a failure."""
    alert = ALERT_DESCRIPTIONS[description]
    contact, session, closed = node.ends_in_alert(description)
    if verdict := trouble(contact):
        return node.with_all(verdict)
    if session is None:
        return node.no_session()
    if not closed:
        return failed("not_closed", f"{node.name} did not close the connection on our fatal alert "
                                    f"{alert}", *node.handshakes)
    return node.flaw_in_fallback(session.id, f"a session after our fatal alert {alert}", session)


def renegotiation_info_when_resumed(bench: Bench, subject: Subject) -> Verdict:
    """NEG-11: a resumed connection is as safe from injected prefixes as a full one."""
    (name,) = subject
    contact = bench.contact(name, bench.sessions[name])
    handshake = contact.handshake
    # Looked at first: a handshake that came to nothing may have shown it all the same.
    if handshake.server_random and not handshake.secure_renegotiation:
        return failed("not_signalled", f"{name} sends no renegotiation_info in answer to a client "
                                       "that resumes", handshake)
    if verdict := trouble(contact):
        return verdict
    if handshake.outcome is not Outcome.RESUMED:
        return failed("not_resumed", f"{name} did not resume its session", handshake)
    return passed(f"{name} signals secure renegotiation in a resumed handshake", handshake)


def register(registry: Registry) -> None:
    """Add the family."""
    needs = (Need("CORE-02"),)
    registry.add(Check(
        "NEG-01", "An unknown session ID leads to a full handshake",
        "Offered a random session ID of 32 bytes, a node makes a full handshake without an "
        "alert, and MQTT works.",
        "RFC 5246 7.4.1.2", Level.MUST, Impact.SAFE, Per.NODE, _unknown_cost,
        unknown_id_falls_back,
        "A device whose session has been evicted, or was made with another broker, is locked out "
        "until it forgets the session by itself.", needs, crafted,
        how="A crafted client offers 32 random bytes.",
        control="Right after it the node's own session is offered by an ordinary client, and must "
                "resume; not so where resumption_cache_scope none declares that nothing does."))
    registry.add(Check(
        "NEG-02", "An ID that is almost right leads to a full handshake",
        "Offered its live session's ID with one bit flipped, cut short to 31, 16 and 1 bytes, and "
        "an ID of 32 zero bytes, a node makes full handshakes without an alert, and MQTT works; "
        "the session itself still resumes afterwards.",
        "RFC 5246 7.4.1.2", Level.MUST, Impact.NOISY, Per.NODE,
        Cost(full=NEAR_MISSES, resumed=1), near_misses_fall_back,
        "IDs are compared only in part, so that sessions can be guessed or mixed up, or an odd ID "
        "locks a device out or costs another one its session.", needs, crafted_and_resuming,
        how="A crafted client offers one changed ID after the other, and in the end an "
            "ordinary client offers the right one.",
        control="The session whose ID was altered must still resume in the end: another answer is "
                "a failure, not_resumed."))
    registry.add(Check(
        "NEG-03", "A session ID that is too long is refused",
        "A ClientHello with a session_id of 33 bytes is answered with a fatal alert, and the node "
        "serves and resumes afterwards as before.",
        "RFC 5246 7.4.1.2, 7.2.2", Level.MUST, Impact.NOISY, Per.NODE,
        Cost(full=2, resumed=1, refused=1), long_id_is_refused,
        "The node reads messages that are not TLS: what a stricter proxy in front refuses, or what "
        "a later layer cuts at 32 bytes, is taken for something else here.",
        needs, crafted_and_resuming,
        how="A random ID of 32 bytes must lead to a full handshake; the same hello with one byte "
            "more must not be answered with a ServerHello. decode_error is the alert that RFC "
            "5246 names, any fatal one is accepted. Then a full handshake and the node's session "
            "are tried again.",
        control="The node's own session must still resume in the end: another answer is a failure, "
                "not_resumed."))
    registry.add(Check(
        "NEG-04", "The right ID with a wrong master secret is refused",
        "A client that offers a live session's ID and sends a Finished made with another master "
        "secret gets a fatal alert and never application data. Whether the rightful owner still "
        "resumes afterwards is reported, and not judged here: see NEG-08.",
        "RFC 5246 7.2.2, 7.4.9", Level.MUST, Impact.NOISY, Per.NODE,
        # The rightful owner resumes or not: announced is what would take a place in the cache.
        Cost(full=3, resumed=1, refused=1), wrong_secret_is_refused,
        "Whoever has seen a session ID on the wire can take the session over, or, without an "
        "alert, nobody learns why a client fails.", needs, crafted_and_resuming,
        how="The client ignores the node's Finished, and sends its own, made and encrypted with "
            "the master secret after one bit was flipped. If the node says nothing, a CONNECT "
            "follows.",
        control=f"A session {_TWIN} must resume in the end: the same client can, as long as its "
                "Finished is right, and nobody else's session is lost to a wrong one."))
    registry.add(Check(
        "NEG-07", "An unfinished handshake leaves nothing to resume",
        "The session IDs of handshakes that the client broke off, once after ServerHelloDone and "
        "once after its ClientKeyExchange, lead to full handshakes without an alert, and MQTT "
        "works.",
        "RFC 5246 7.3", Level.MUST, Impact.NOISY, Per.NODE,
        Cost(full=_UNFINISHED + 1, resumed=1, unfinished=_UNFINISHED), unfinished_leaves_nothing,
        "Sessions can be resumed that nobody has authenticated with a Finished, and broken "
        "handshakes push real sessions out of the cache.", needs, crafted_and_resuming,
        how="A crafted client ends its side after the target's ServerHelloDone, and on "
            "another connection after its own ClientKeyExchange, waits until the target has "
            "closed, and offers the ID of that ServerHello together with the master secret "
            "both sides could have.",
        control=f"A session {_TWIN} must resume in the end."))
    registry.add(Check(
        "NEG-08", "A session that ended in a fatal alert is not resumed",
        "After a fatal alert of the client's on an established connection, after a Finished made "
        "with a wrong master secret when resuming, and after a wrong Finished in a full handshake, "
        "the session's ID leads to a full handshake without an alert, and MQTT works.",
        "RFC 5246 7.2.2", Level.MUST, Impact.NOISY, Per.NODE,
        # Twice for each alert and for the forged Finished, what is offered after the wrong one, and
        # the twin.
        Cost(full=2 * len(ENDING_ALERTS) + 4, resumed=1, refused=2), ended_by_alert_is_forgotten,
        "A connection that one side broke off because it was tampered with can be resumed with the "
        "same keys. The opposite has its price, too: where the session is forgotten after a forged "
        "Finished, as RFC 5246 demands, whoever has seen its ID on the wire can make its owner's "
        "next handshake a full one.", needs, crafted_and_resuming,
        how="Three sessions end in our bad_record_mac, handshake_failure and internal_error after "
            "CONNACK; each is offered again once the node has closed the connection. One more is "
            "resumed with a Finished as in NEG-04, and offered again; one is never finished, since "
            "the verify_data of our Finished is wrong, and is offered all the same.",
        control=f"A session {_TWIN} must resume in the end."))
    registry.add(Check(
        "NEG-11", "Secure renegotiation is signalled when resuming",
        "The ServerHello of a resumed handshake carries renegotiation_info.",
        "RFC 5746 3.6", Level.MUST, Impact.SAFE, Per.NODE, Cost(resumed=1),
        renegotiation_info_when_resumed,
        "Clients that insist on secure renegotiation break off when they resume, and the others "
        "are open to prefix injection.", needs, resuming,
        how="An ordinary client resumes, and the extensions of the ServerHello are read from "
            "the wire."))
