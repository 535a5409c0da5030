"""NEG-04, NEG-07, NEG-08: who lacks the master secret, or has broken off, resumes nothing."""
from __future__ import annotations

from typing import NoReturn

from ...client_certificate import CLOSED
from ...model import Handshake, Outcome
from ...mqtt.client import connect_packet
from ...run.check import Check, Cost, Impact, Level, Need, Per
from ...run.conversation import CRAFTED, Conversation
from ...run.preconditions import crafted_and_resuming
from ...run.prober import Contact
from ...run.story import Story, came_to
from ...tls.transcript import ALERT_DESCRIPTIONS
from .answers import demand_last_word

if CRAFTED:
    from ...tls.crafted import Conduct, CraftedSession, Hello, StopAfter


ENDING_ALERTS = (20, 40, 80)
"""What NEG-08 raises: bad_record_mac, handshake_failure, internal_error (RFC 5246 7.2)."""
_UNFINISHED = 2
"""Handshakes that NEG-07 breaks off."""
_WRONG_FINISHED = "a Finished made with a wrong master secret"
_WRONG_VERIFY_DATA = "a Finished with wrong verify_data in a full handshake"
_TWIN = "that is made just before and ended properly"
_NEEDS = (Need("CORE-02"),)


@Check(
    id="NEG-04",
    title="The right ID with a wrong master secret is refused",
    requirement=(
        "A client that offers a live session's ID and sends a Finished made with another master "
        "secret gets a fatal alert and never application data. Whether the rightful owner still "
        "resumes afterwards is reported, and not judged here: see NEG-08."),
    clause="RFC 5246 7.2.2, 7.4.9",
    level=Level.MUST, impact=Impact.NOISY, per=Per.NODE, cost=Cost(full=3, resumed=1, refused=1),
    meaning=(
        "Whoever has seen a session ID on the wire can take the session over, or, without an "
        "alert, nobody learns why a client fails."),
    needs=_NEEDS, precondition=crafted_and_resuming,
    how=(
        "The client ignores the node's Finished, and sends its own, made and encrypted with "
        "the master secret after one bit was flipped. If the node says nothing, a CONNECT "
        "follows."),
    control=(
        f"A session {_TWIN} must resume in the end: the same client can, as long as its "
        "Finished is right, and nobody else's session is lost to a wrong one."),
    reasons={
        "accepted_wrong_secret": "it goes on after a Finished made with another master secret",
        "closed_without_alert": "it closes the connection without a fatal alert",
        "no_alert": "it neither raises a fatal alert nor closes the connection",
        "not_resumed": "a session that it has just issued does not resume",
        "no_session_id": "a handshake brings no session ID",
        "forgotten": "a session made just before does not resume either",
        "expired": "sessions live shorter than it took"})
def wrong_secret_is_refused(story: Story) -> str:
    """An ID is public on the wire; it is the master secret that proves the client."""
    node = Conversation(story)
    twin = node.twin(Hello())
    lie, session = _offer_and_forge(node)
    owner, _ = node.hears(Hello(session_id=session.id), knowing=session)
    story.reaches_mqtt(owner, "to the rightful owner of a session, after somebody else offered it")
    fares = "the rightful owner " + (
        "still resumes" if owner.handshake.outcome is Outcome.RESUMED else
        "has forgotten the session, and gets a full handshake")
    control = node.offered_again(twin)
    # RFC 5246 7.2.2 wants the alert. OTP 25 tells the application first, which closes the
    # connection: whether the alert gets out is a race there (in EMQX's acceptor as here).
    demand_last_word(node, lie, _WRONG_FINISHED, f"; {fares}")
    return story.confirmed(f"{node} answered {_WRONG_FINISHED} with the fatal alert "
                           f"{lie.refusal}; {fares}", control)


def _offer_and_forge(node: Conversation) -> tuple[Handshake, CraftedSession]:
    """Resume a new session with a Finished that is made with a wrong master secret.

    Demand that the target refuses it; return how it does, and the session.
    """
    _, session = node.new_session(Hello())
    lie, _ = node.hears(Hello(session_id=session.id), knowing=session, conduct=Conduct(
        finish_with=session.secret.with_one_bit_flipped(), then_send=_connect(node.story)))
    if not lie.handshake.library_reused:
        node.story.reaches_mqtt(lie)
        node.story.error("not_resumed", f"{node} did not resume a session it had just issued, so "
                                        "there was nothing to finish wrongly")
    _demand_refused(node, lie, _WRONG_FINISHED, "accepted_wrong_secret")
    return lie.handshake, session


def _connect(story: Story) -> bytes:
    credentials = story.settings.credentials
    return connect_packet(story.prober.mqtt_version(story.node), credentials.new_client_id(),
                          credentials)


def _demand_refused(node: Conversation, lie: Contact, what: str, accepted: str) -> None:
    """Demand that the target ended the connection on a wrong Finished."""
    handshake = lie.handshake
    cause = handshake.failure.cause if handshake.failure is not None else ""
    # Without our Finished the target has broken off before, and was given none to judge.
    judged = handshake.sent("client", "Finished")
    if judged and cause == "accepted":
        node.story.fail(accepted, f"{node} accepted {what}: {handshake.why}")
    if judged and cause == "timeout":
        demand_last_word(node, handshake, what)
    if not judged or (handshake.outcome is not Outcome.REFUSED and cause not in CLOSED):
        node.story.unexpected(lie)


@Check(
    id="NEG-07",
    title="An unfinished handshake leaves nothing to resume",
    requirement=(
        "The session IDs of handshakes that the client broke off, once after ServerHelloDone and "
        "once after its ClientKeyExchange, lead to full handshakes without an alert, and MQTT "
        "works."),
    clause="RFC 5246 7.3",
    level=Level.MUST, impact=Impact.NOISY, per=Per.NODE,
    cost=Cost(full=_UNFINISHED + 1, resumed=1, unfinished=_UNFINISHED),
    meaning=(
        "Sessions can be resumed that nobody has authenticated with a Finished, and broken "
        "handshakes push real sessions out of the cache."),
    needs=_NEEDS, precondition=crafted_and_resuming,
    how=(
        "A crafted client ends its side after the target's ServerHelloDone, and on "
        "another connection after its own ClientKeyExchange, waits until the target has "
        "closed, and offers the ID of that ServerHello together with the master secret "
        "both sides could have."),
    control=f"A session {_TWIN} must resume in the end.",
    reasons={
        "resumed": "the session of a handshake that was broken off is resumed",
        "alert": "the ID of a handshake that was broken off is answered with an alert",
        "no_session_id": "a handshake brings no session ID",
        "forgotten": "a session made just before does not resume either",
        "expired": "sessions live shorter than it took"})
def unfinished_leaves_nothing(story: Story) -> str:
    """A session is what both sides have finished."""
    node = Conversation(story)
    twin = node.twin(Hello())
    for stop in (StopAfter.SERVER_HELLO_DONE, StopAfter.CLIENT_KEY_EXCHANGE):
        contact, session = node.hears(Hello(), conduct=Conduct(stop_after=stop))
        handshake = contact.handshake
        if handshake.failure is None or handshake.failure.cause != "broken_off":
            story.unexpected(contact)
        if handshake.server_id:
            node.falls_back(handshake.server_id, "the session of a handshake that ended after "
                            f"{stop.value}", session)
    return story.confirmed(f"{node} resumes nothing of handshakes that were broken off after its "
                           "ServerHelloDone and after our ClientKeyExchange",
                           node.offered_again(twin))


@Check(
    id="NEG-08",
    title="A session that ended in a fatal alert is not resumed",
    requirement=(
        "After a fatal alert of the client's on an established connection, after a Finished made "
        "with a wrong master secret when resuming, and after a wrong Finished in a full handshake, "
        "the session's ID leads to a full handshake without an alert, and MQTT works."),
    clause="RFC 5246 7.2.2",
    level=Level.MUST, impact=Impact.NOISY, per=Per.NODE,
    cost=Cost(full=2 * len(ENDING_ALERTS) + 4, resumed=1, refused=2),
    meaning=(
        "A connection that one side broke off because it was tampered with can be resumed with the "
        "same keys. The opposite has its price, too: where the session is forgotten after a forged "
        "Finished, as RFC 5246 demands, whoever has seen its ID on the wire can make its owner's "
        "next handshake a full one."),
    needs=_NEEDS, precondition=crafted_and_resuming,
    how=(
        "Three sessions end in our bad_record_mac, handshake_failure and internal_error after "
        "CONNACK; each is offered again once the node has closed the connection. One more is "
        "resumed with a Finished as in NEG-04, and offered again; one is never finished, since "
        "the verify_data of our Finished is wrong, and is offered all the same."),
    control=f"A session {_TWIN} must resume in the end.",
    reasons={
        "resumed_after_alert": "it resumes a session after our fatal alert",
        "resumed_after_wrong_finished": "it resumes a session after a Finished it has refused",
        "resumed_after_alert_and_wrong_finished": "it resumes a session after either",
        "resumed_unfinished": "it resumes a session that was never finished",
        "accepted_wrong_finished": "it goes on after a Finished with wrong verify_data",
        "accepted_wrong_secret": "it goes on after a Finished made with another master secret",
        "no_alert": "it neither raises a fatal alert on a wrong Finished nor closes the connection",
        "not_closed": "it does not close the connection on our fatal alert",
        "alert": "the ID of such a session is answered with an alert",
        "not_resumed": "a session that it has just issued does not resume",
        "no_session_id": "a handshake brings no session ID",
        "forgotten": "a session made just before does not resume either",
        "expired": "sessions live shorter than it took"})
def ended_by_alert_is_forgotten(story: Story) -> str:
    """A fatal alert ends the session, whoever raises it."""
    node = Conversation(story)
    twin = node.twin(Hello())
    verdict = came_to(lambda: _forgotten_after_alerts(node))
    control = node.offered_again(twin)
    return story.confirmed(story.settled(verdict), control)


def _forgotten_after_alerts(node: Conversation) -> str:
    """Let connections fail in every way, and offer their sessions."""
    _demand_nothing_of_wrong_verify_data(node)
    lie, session = _offer_and_forge(node)
    forged = node.resumed(session.id, f"a session after {_WRONG_FINISHED}", session)
    alerts = [ALERT_DESCRIPTIONS[number] for number in ENDING_ALERTS
              if _resumed_after_alert(node, number)]
    if forged or alerts:
        _fail_resumed(node, alerts, lie if forged else None)
    return (f"{node} resumes no session after our fatal alerts "
            f"{', '.join(ALERT_DESCRIPTIONS[number] for number in ENDING_ALERTS)}, nor after "
            f"{_WRONG_FINISHED} or {_WRONG_VERIFY_DATA}")


def _fail_resumed(node: Conversation, alerts: list[str], lie: Handshake | None) -> NoReturn:
    """Fail for what was resumed: after our ``alerts``, or after a refused ``lie``, or both."""
    by_us = f"after our fatal alert ({', '.join(alerts)})"
    reason, when = "resumed_after_alert", by_us
    if lie is not None:
        ended = f"had ended with the fatal alert {lie.refusal}" \
            if lie.outcome is Outcome.REFUSED else "had closed without an alert"
        by_it = f"after {_WRONG_FINISHED}, on which it {ended}"
        # A token of its own for both: a deviation known of one must not hide the other.
        reason, when = ("resumed_after_alert_and_wrong_finished", f"{by_us}, and {by_it}") \
            if alerts else ("resumed_after_wrong_finished", by_it)
    node.story.fail(reason, f"{node} resumed sessions whose connection had failed: {when}")


def _demand_nothing_of_wrong_verify_data(node: Conversation) -> None:
    """Finish a full handshake wrongly; demand that it is refused, and leaves no session."""
    lie, session = node.hears(Hello(), conduct=Conduct(
        finish_wrongly=True, then_send=_connect(node.story)))
    _demand_refused(node, lie, _WRONG_VERIFY_DATA, "accepted_wrong_finished")
    if session is not None:
        # Nobody has authenticated this one: worse than the others, and told apart from them.
        node.falls_back(session.id, f"the session of {_WRONG_VERIFY_DATA}", session,
                        reason="resumed_unfinished")


def _resumed_after_alert(node: Conversation, description: int) -> bool:
    """End an established connection in our alert, and tell whether its session is resumed."""
    story, alert = node.story, ALERT_DESCRIPTIONS[description]
    contact, session, closed = node.ends_in_alert(description)
    story.reaches_mqtt(contact)
    if session is None:
        story.nothing_to_offer()
    if not closed:
        story.fail("not_closed", f"{node} did not close the connection on our fatal alert {alert}")
    return node.resumed(session.id, f"a session after our fatal alert {alert}", session)
