"""NEG: clients that offer what they should not, as broken and hostile ones do."""
from __future__ import annotations

import secrets

from ..model import Outcome
from ..mqtt.client import connect_packet
from .bench import Bench, Contact
from .conversation import CRAFTED, Conversation
from .preconditions import crafted, crafted_and_resuming, resuming
from .registry import Check, Cost, Impact, Level, Need, Per, Registry, Status, Subject, Verdict
from .verdicts import error, failed, passed, trouble

if CRAFTED:
    from ..tls.crafted import Conduct, Hello, StopAfter

LONGEST_ID = 32
"""RFC 5246 7.4.1.2: opaque SessionID<0..32>."""
NEAR_MISSES = 5
"""IDs that NEG-02 offers."""
_UNFINISHED = 2
"""Handshakes that NEG-07 breaks off."""
_WRONG_FINISHED = "a Finished made with a wrong master secret"


def unknown_id_falls_back(bench: Bench, subject: Subject) -> Verdict:
    """NEG-01: an ID that nobody issued is no reason to complain."""
    (name,) = subject
    node = Conversation(bench, name)
    if verdict := node.flaw_in_fallback(secrets.token_bytes(LONGEST_ID),
                                        "an unknown session ID of 32 bytes"):
        return verdict
    return passed(f"{name} answered an unknown session ID of 32 bytes with a full handshake, and "
                  "MQTT works", *node.handshakes)


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


def wrong_secret_is_refused(bench: Bench, subject: Subject) -> Verdict:
    """NEG-04: an ID is public on the wire; it is the master secret that proves the client."""
    (name,) = subject
    node = Conversation(bench, name)
    first, session = node.hears(Hello())
    if verdict := trouble(first):
        return Verdict(verdict.status, verdict.reason, verdict.message, tuple(node.handshakes))
    if session is None:
        return error("no_session_id", f"{name} issued no session ID this time, so there was "
                                      "nothing to offer", *node.handshakes)
    credentials = bench.settings.credentials
    lie, _ = node.hears(Hello(session_id=session.id), knowing=session, conduct=Conduct(
        finish_with=session.secret.with_one_bit_flipped(),
        then_send=connect_packet(bench.mqtt_version(name), credentials.new_client_id(),
                                 credentials)))
    if verdict := _not_refused(node, lie):
        return verdict
    owner, _ = node.hears(Hello(session_id=session.id), knowing=session)
    if verdict := trouble(owner):
        return Verdict(verdict.status, verdict.reason, f"{verdict.message} (to the rightful owner "
                       "of a session, after somebody else offered it)", tuple(node.handshakes))
    still = "still resumes" if owner.handshake.outcome is Outcome.RESUMED else \
        "has forgotten the session, and gets a full handshake"
    if lie.handshake.outcome is not Outcome.REFUSED:
        # RFC 5246 7.2.2 wants the alert. OTP 25 tells the application first, which closes the
        # connection: whether the alert gets out is a race there (in EMQX's acceptor as here).
        return Verdict(Status.WARNED, "closed_without_alert",
                       f"{name} refused {_WRONG_FINISHED} by closing the connection, without the "
                       f"fatal alert that says why; the rightful owner {still}",
                       tuple(node.handshakes))
    alert = lie.handshake.alerts[-1].description
    return passed(f"{name} answered {_WRONG_FINISHED} with the fatal alert {alert}; the rightful "
                  f"owner {still}", *node.handshakes)


def _not_refused(node: Conversation, lie: Contact) -> Verdict | None:
    """Judge how the target took a Finished that is made with a wrong master secret."""
    handshake, name = lie.handshake, node.name
    failure = handshake.failure
    if not any(message.sender == "client" and message.name == "Finished"
               for message in handshake.messages) or not handshake.library_reused:
        # Declined, or broken off by the target at once: it was given no Finished to judge.
        early = trouble(lie) or error("not_resumed", f"{name} did not resume a session it had "
                                      "just issued, so there was nothing to finish wrongly")
        return Verdict(early.status, early.reason, early.message, tuple(node.handshakes))
    cause = failure.cause if failure is not None else ""
    if handshake.outcome is Outcome.REFUSED or cause in ("connection_closed", "connection_reset"):
        return None
    if failure is not None and cause == "accepted":
        return failed("accepted_wrong_secret", f"{name} accepted {_WRONG_FINISHED}: "
                                               f"{failure.detail}", *node.handshakes)
    if failure is not None and cause == "timeout":
        return failed("no_alert", f"{name} neither raised a fatal alert on {_WRONG_FINISHED} nor "
                                  f"closed the connection: {failure.detail}", *node.handshakes)
    other = trouble(lie) or error("harness_error", f"{name}: {handshake.why}")
    return Verdict(other.status, other.reason, other.message, tuple(node.handshakes))


def unfinished_leaves_nothing(bench: Bench, subject: Subject) -> Verdict:
    """NEG-07: a session is what both sides have finished."""
    (name,) = subject
    node = Conversation(bench, name)
    for stop in (StopAfter.SERVER_HELLO_DONE, StopAfter.CLIENT_KEY_EXCHANGE):
        contact, session = node.hears(Hello(), conduct=Conduct(stop_after=stop))
        handshake = contact.handshake
        if handshake.failure is None or handshake.failure.cause != "broken_off":
            early = trouble(contact) or error("harness_error", f"{name}: {handshake.why}")
            return Verdict(early.status, early.reason, early.message, tuple(node.handshakes))
        if not handshake.server_id:
            continue
        if verdict := node.flaw_in_fallback(
                handshake.server_id, f"the session of a handshake that ended after {stop.value}",
                session):
            return verdict
    return passed(f"{name} resumes nothing of handshakes that were broken off after its "
                  "ServerHelloDone and after our ClientKeyExchange", *node.handshakes)


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
        "RFC 5246 7.4.1.2", Level.MUST, Impact.SAFE, Per.NODE, Cost(full=1),
        unknown_id_falls_back,
        "A device whose session has been evicted, or was made with another broker, is locked out "
        "until it forgets the session by itself.", needs, crafted,
        how="A crafted client offers 32 random bytes."))
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
            "ordinary client offers the right one."))
    registry.add(Check(
        "NEG-04", "The right ID with a wrong master secret is refused",
        "A client that offers a live session's ID and sends a Finished made with another master "
        "secret gets a fatal alert and never application data. A node that closes the connection "
        "without the alert is warned of. Whether the rightful owner still resumes afterwards is "
        "reported.",
        "RFC 5246 7.2.2, 7.4.9", Level.MUST, Impact.NOISY, Per.NODE,
        # The rightful owner resumes or not: announced is what would take a place in the cache.
        Cost(full=2, refused=1), wrong_secret_is_refused,
        "Whoever has seen a session ID on the wire can take the session over, or, without an "
        "alert, nobody learns why a client fails.", needs, crafted_and_resuming,
        how="A crafted client resumes its own session, checks the target's Finished, and "
            "sends its own made with a master secret of which one bit is flipped. What the "
            "target sends next is judged; one that says nothing is sent a CONNECT, so that "
            "acceptance would show. Then the session is offered honestly."))
    registry.add(Check(
        "NEG-07", "An unfinished handshake leaves nothing to resume",
        "The session IDs of handshakes that the client broke off, once after ServerHelloDone and "
        "once after its ClientKeyExchange, lead to full handshakes without an alert, and MQTT "
        "works.",
        "RFC 5246 7.3", Level.MUST, Impact.NOISY, Per.NODE,
        Cost(full=_UNFINISHED, unfinished=_UNFINISHED), unfinished_leaves_nothing,
        "Sessions can be resumed that nobody has authenticated with a Finished, and broken "
        "handshakes push real sessions out of the cache.", needs, crafted_and_resuming,
        how="A crafted client ends its side after the target's ServerHelloDone, and on "
            "another connection after its own ClientKeyExchange, waits until the target has "
            "closed, and offers the ID of that ServerHello together with the master secret "
            "both sides could have."))
    registry.add(Check(
        "NEG-11", "Secure renegotiation is signalled when resuming",
        "The ServerHello of a resumed handshake carries renegotiation_info.",
        "RFC 5746 3.6", Level.MUST, Impact.SAFE, Per.NODE, Cost(resumed=1),
        renegotiation_info_when_resumed,
        "Clients that insist on secure renegotiation break off when they resume, and the others "
        "are open to prefix injection.", needs, resuming,
        how="An ordinary client resumes, and the extensions of the ServerHello are read from "
            "the wire."))
