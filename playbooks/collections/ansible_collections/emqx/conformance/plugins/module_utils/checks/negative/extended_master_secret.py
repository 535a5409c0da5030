"""NEG-10: a session is offered with or without the extended master secret."""
from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

from ...client_certificate import CLOSED
from ...model import Outcome
from ...run.check import Check, Cost, Impact, Level, Need, Per
from ...run.conversation import CRAFTED, Conversation, Twin
from ...run.preconditions import crafted_and_resuming
from ...run.prober import Contact
from ...run.story import Control, Story, came_to

if CRAFTED:
    from ...tls.crafted import CraftedSession, Hello


@Check(
    id="NEG-10",
    title="The extended master secret is kept when resuming",
    requirement=(
        "A session with extended master secret resumes with the extension in the ServerHello, "
        "and a client that offers it without the extension gets a fatal alert; a session without "
        "leads to a full handshake for a client with the extension. A node that negotiates none, "
        "or falls back to a full handshake instead of the alert, is warned of."),
    clause="RFC 7627 5.2, 5.3",
    level=Level.MUST, impact=Impact.NOISY, per=Per.NODE, cost=Cost(full=4, resumed=2, refused=1),
    meaning=(
        "An attacker in the middle can make sessions with client and server that share one master "
        "secret (the triple handshake), which resumption then carries over to connections that "
        "both trust."),
    needs=(Need("CORE-02"),), precondition=crafted_and_resuming,
    how=(
        "A crafted client derives both kinds of master secret and offers each session with "
        "and without the extension, as far as RFC 7627 has a rule. With a node that does not "
        "negotiate it as many handshakes are made, in which it must not matter."),
    control=(
        "A session with extended master secret that is made just before and ended properly "
        "must resume with it in the end."),
    reasons={
        "resumed_without_ems": (
            "a session with extended master secret resumes for a client without the extension"),
        "resumed_into_ems": (
            "a session without extended master secret resumes for a client with the extension"),
        "ems_dropped": "the ServerHello leaves the extension out where it must be there",
        "ems_unasked": "the ServerHello has the extension though the client has not",
        "closed_without_alert": "it closes the connection without a fatal alert",
        "ems_session_not_aborted": "it falls back to a full handshake instead of a fatal alert",
        "not_negotiated": "it does not negotiate the extended master secret at all",
        "not_resumed": "a session with extended master secret does not resume with it",
        "no_session_id": "a handshake brings no session ID",
        "forgotten": "a session made just before does not resume either",
        "expired": "sessions live shorter than it took"})
def extended_master_secret_is_kept(story: Story) -> str:
    """RFC 7627's cases, the one that ends in an alert last."""
    node = Conversation(story)
    first, extended = node.new_session(Hello())
    twin = node.twin(Hello())
    if not first.extended_master_secret:
        _warn_where_not_negotiated(node, extended, twin)
    _demand_resumed_with_extension(node, extended)
    seen = _offered_with_extension(node)
    downgraded, _ = node.hears(Hello(session_id=extended.id, extended_master_secret=False),
                               knowing=extended)
    return _judged_without_extension(node, downgraded, seen, node.offered_again(twin))


def _warn_where_not_negotiated(node: Conversation, session: CraftedSession, twin: Twin) -> NoReturn:
    """Offer sessions the same ways to a node that leaves the extension out of its ServerHello.

    It must not matter then whether a client has it, and a run makes the handshakes it announced.
    """
    verdict = came_to(lambda: _does_not_matter(node, session))
    node.offered_again(twin)
    node.story.warn("not_negotiated", node.story.settled(verdict))


def _does_not_matter(node: Conversation, session: CraftedSession) -> str:
    story, plain = node.story, Hello(extended_master_secret=False)
    made, other = node.hears(plain)
    if other is None:
        story.reaches_mqtt(made)
        story.nothing_to_offer()
    contacts = [made, *(node.hears(replace(hello, session_id=offered.id), knowing=offered)[0]
                        for hello, offered in ((Hello(), session), (Hello(), other),
                                               (plain, session)))]
    for contact in contacts:
        story.reaches_mqtt(contact, "though whether a client has the extended master secret should "
                                    "not matter to a node that does not negotiate it")
    return (f"{node} does not negotiate the extended master secret, so a session is not bound to "
            "the handshake and the certificate it was made with; RFC 7627's rules for resumption "
            "do not apply (Erlang/OTP, and so EMQX, has none: erlang/otp#9235)")


def _demand_resumed_with_extension(node: Conversation, session: CraftedSession) -> None:
    contact, _ = node.hears(Hello(session_id=session.id), knowing=session)
    handshake = node.story.reaches_mqtt(
        contact, "when a session with extended master secret was offered")
    if handshake.outcome is not Outcome.RESUMED:
        node.story.fail("not_resumed", f"{node} did not resume a session with extended master "
                                       "secret for a client that offers it again")
    if not handshake.extended_master_secret:
        node.story.fail("ems_dropped", f"{node} resumed a session with extended master secret and "
                        "left the extension out of its ServerHello, so that clients must break off")


def _offered_with_extension(node: Conversation) -> str:
    """Say how a client without the extension fares, and one that has it the next time."""
    contact, session = node.hears(Hello(extended_master_secret=False))
    handshake = contact.handshake
    if handshake.extended_master_secret:
        node.story.fail("ems_unasked", f"{node} sends the extended_master_secret extension to a "
                                       "client that did not")
    if handshake.outcome is Outcome.REFUSED:
        # RFC 7627 5.2 leaves that to the server.
        return f"refuses clients without it ({handshake.refusal})"
    node.story.reaches_mqtt(contact, "without the extended_master_secret extension")
    if session is None:
        node.story.nothing_to_offer()
    _demand_upgraded(node, session)
    return "makes a full handshake when a client that had none comes with it"


def _demand_upgraded(node: Conversation, session: CraftedSession) -> None:
    contact, _ = node.hears(Hello(session_id=session.id), knowing=session)
    what = "a session without extended master secret, offered by a client that now has it"
    if contact.handshake.library_reused:
        node.story.fail("resumed_into_ems", f"{node} resumed {what}")
    if not node.story.reaches_mqtt(contact, what).extended_master_secret:
        node.story.fail("ems_dropped", f"{node} answered {what}, with a full handshake that leaves "
                                       "it out")


def _judged_without_extension(node: Conversation, contact: Contact, seen: str,
                              control: Control) -> str:
    """Judge what came of a session with extended master secret for a client without."""
    story, handshake, failure = node.story, contact.handshake, contact.handshake.failure
    what = "a session with extended master secret, offered by a client without"
    if handshake.library_reused:
        story.fail("resumed_without_ems", f"{node} resumed {what}")
    if failure is not None and failure.cause in CLOSED:
        story.warn("closed_without_alert", f"{node} answered {what}, by closing the connection, "
                                           "without the fatal alert that says why")
    if handshake.outcome is not Outcome.REFUSED:
        story.reaches_mqtt(contact, what)
        # RFC 7627 5.3 wants the abbreviated handshake aborted, and 5.2 calls a fatal alert that. As
        # nothing was resumed, nobody is in danger; and a node that had forgotten it has no fault.
        story.warn("ems_session_not_aborted", story.confirmed(
            f"{node} answered {what}, with a full handshake and not with a fatal alert", control))
    return story.confirmed(
        f"{node} keeps to the extended master secret: it resumes with it, {seen}, and answers "
        f"{what}, with the fatal alert {handshake.refusal}", control)
