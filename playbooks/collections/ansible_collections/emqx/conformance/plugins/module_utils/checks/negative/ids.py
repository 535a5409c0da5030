"""NEG-01 to NEG-03: session IDs that no node has issued, or that no ServerHello may echo."""
from __future__ import annotations

import secrets
from collections.abc import Iterator

from ...model import LONGEST_SESSION_ID, Outcome
from ...run.check import Check, Cost, Impact, Level, Need, Per
from ...run.conversation import CRAFTED, Conversation
from ...run.preconditions import crafted, crafted_and_resuming, resuming
from ...run.prober import Contact
from ...run.story import Control, Story
from ...run.target import Target
from .answers import demand_last_word

if CRAFTED:
    from ...tls.crafted import Hello


NEAR_MISSES = 5
"""IDs that NEG-02 offers."""
_NEEDS = (Need("CORE-02"),)


def _unknown_cost(target: Target) -> Cost:
    return Cost(full=1, resumed=0 if resuming(target) else 1)


@Check(
    id="NEG-01",
    title="An unknown session ID leads to a full handshake",
    requirement=(
        "Offered a random session ID of 32 bytes, a node makes a full handshake without an "
        "alert, and MQTT works."),
    clause="RFC 5246 7.4.1.2",
    level=Level.MUST, impact=Impact.SAFE, per=Per.NODE, cost=_unknown_cost,
    meaning=(
        "A device whose session has been evicted, or was made with another broker, is locked out "
        "until it forgets the session by itself."),
    needs=_NEEDS, precondition=crafted,
    how="A crafted client offers 32 random bytes.",
    control=(
        "Right after it the node's own session is offered by an ordinary client, and must "
        "resume; not so where resumption_cache_scope none declares that nothing does."),
    reasons={
        "resumed": "an ID that it did not issue is resumed",
        "alert": "an ID that it did not issue is answered with an alert",
        "forgotten": "its own session does not resume either"})
def unknown_id_falls_back(story: Story) -> str:
    """An ID that nobody issued is no reason to complain."""
    node = Conversation(story)
    node.falls_back(secrets.token_bytes(LONGEST_SESSION_ID), "an unknown session ID of 32 bytes")
    sentence = (f"{node} answered an unknown session ID of 32 bytes with a full handshake, and "
                "MQTT works")
    if resuming(story.target):
        return sentence
    own = Control(story.contact(story.node, story.session), "the node's own session")
    return story.confirmed(sentence, own)


@Check(
    id="NEG-02",
    title="An ID that is almost right leads to a full handshake",
    requirement=(
        "Offered its live session's ID with one bit flipped, cut short to 31, 16 and 1 bytes, and "
        "an ID of 32 zero bytes, a node makes full handshakes without an alert, and MQTT works; "
        "the session itself still resumes afterwards."),
    clause="RFC 5246 7.4.1.2",
    level=Level.MUST, impact=Impact.NOISY, per=Per.NODE, cost=Cost(full=NEAR_MISSES, resumed=1),
    meaning=(
        "IDs are compared only in part, so that sessions can be guessed or mixed up, or an odd ID "
        "locks a device out or costs another one its session."),
    needs=_NEEDS, precondition=crafted_and_resuming,
    how=(
        "A crafted client offers one changed ID after the other, and in the end an "
        "ordinary client offers the right one."),
    control=(
        "The session whose ID was altered must still resume in the end: another answer is "
        "a failure, not_resumed."),
    reasons={
        "resumed": "an ID that is only almost its session's is resumed",
        "alert": "an ID that is almost its session's is answered with an alert",
        "not_resumed": "its session no longer resumes afterwards"})
def near_misses_fall_back(story: Story) -> str:
    """An ID is compared whole."""
    node = Conversation(story)
    for what, session_id in _near_misses(story.session.id):
        node.falls_back(session_id, what)
    story.resumes(story.session, "not_resumed",
                  f"{node} no longer resumes its session after IDs like it were offered")
    return (f"{node} answered {NEAR_MISSES} IDs that are almost its session's, or nobody's, with "
            "full handshakes, and still resumes the session")


def _near_misses(session_id: bytes) -> Iterator[tuple[str, bytes]]:
    shorter, half = session_id[:-1], session_id[:(len(session_id) + 1) // 2]
    yield "its session's ID with one bit flipped", shorter + bytes((session_id[-1] ^ 1,))
    yield f"the first {len(shorter)} bytes of its session's ID", shorter
    yield f"the first {len(half)} bytes of its session's ID", half
    yield "the first byte of its session's ID", session_id[:1]
    yield "a session ID of 32 zero bytes", bytes(LONGEST_SESSION_ID)


@Check(
    id="NEG-03",
    title="A session ID that is too long is refused",
    requirement=(
        "A ClientHello with a session_id of 33 bytes is answered with a fatal alert, and the node "
        "serves and resumes afterwards as before."),
    clause="RFC 5246 7.4.1.2, 7.2.2",
    level=Level.MUST, impact=Impact.NOISY, per=Per.NODE, cost=Cost(full=2, resumed=1, refused=1),
    meaning=(
        "The node reads messages that are not TLS: what a stricter proxy in front refuses, or what "
        "a later layer cuts at 32 bytes, is taken for something else here."),
    needs=_NEEDS, precondition=crafted_and_resuming,
    how=(
        "A random ID of 32 bytes must lead to a full handshake; the same hello with one byte "
        "more must not be answered with a ServerHello. decode_error is the alert that RFC "
        "5246 names, any fatal one is accepted. Then a full handshake and the node's session "
        "are tried again."),
    control=(
        "The node's own session must still resume in the end: another answer is a failure, "
        "not_resumed."),
    reasons={
        "accepted_long_id": "a session_id of 33 bytes is answered with a ServerHello",
        "closed_without_alert": "it closes the connection without a fatal alert",
        "no_alert": "it neither raises a fatal alert nor closes the connection",
        "resumed": "an ID of 32 bytes that it did not issue is resumed",
        "alert": "an ID of 32 bytes is answered with an alert",
        "not_resumed": "its session no longer resumes afterwards"})
def long_id_is_refused(story: Story) -> str:
    """SessionID<0..32> is the whole of what a server may have to read."""
    node = Conversation(story)
    longest = secrets.token_bytes(LONGEST_SESSION_ID)
    # The same hello with one byte less: only then is an alert known to be about the length.
    node.falls_back(longest, "an unknown session ID of 32 bytes")
    too_long, _ = node.hears(Hello(session_id=longest + secrets.token_bytes(1)))
    what = f"a session_id of {LONGEST_SESSION_ID + 1} bytes"
    _demand_unharmed(story, f"after it was sent {what}")
    alert = _refusal_of_hello(node, too_long, what)
    return (f"{node} answered {what} with the fatal alert {alert}, and 32 bytes with a full "
            "handshake; afterwards it serves and resumes as before")


def _demand_unharmed(story: Story, when: str) -> None:
    """Demand a full handshake, and that the node's session resumes."""
    no_longer = f"{story.node} no longer resumes its session {when}"
    if story.reaches_mqtt(story.contact(story.node), when).outcome is not Outcome.FULL:
        story.fail("not_resumed", no_longer)
    story.resumes(story.session, "not_resumed", no_longer, when=when)


def _refusal_of_hello(node: Conversation, contact: Contact, what: str) -> str:
    """Demand a fatal alert in the place of a ServerHello, and return it with what it should be."""
    handshake = contact.handshake
    if handshake.sent("server", "ServerHello"):
        how = "made a full handshake" if handshake.outcome is Outcome.FULL else handshake.why
        node.story.fail("accepted_long_id", f"{node} answered {what} with a ServerHello ({how}), "
                                            "instead of a fatal alert")
    demand_last_word(node, handshake, what)
    if handshake.outcome is not Outcome.REFUSED:
        node.story.unexpected(contact)
    alert = handshake.refusal
    return alert if alert == "decode_error" else (
        f"{alert}, where RFC 5246 7.2.2 has decode_error for a length that is out of range")
