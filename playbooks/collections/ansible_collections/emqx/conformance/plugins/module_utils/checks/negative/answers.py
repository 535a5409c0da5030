"""What several checks of this family demand, and how they tell an answer."""
from __future__ import annotations

from dataclasses import replace

from ...client_certificate import CLOSED
from ...model import Handshake, Outcome
from ...run.conversation import CRAFTED, Conversation

if CRAFTED:
    from ...tls.crafted import CraftedSession, Hello


def demand_last_word(node: Conversation, handshake: Handshake, what: str, then: str = "") -> None:
    """Demand that a connection was not left hanging, nor closed without a fatal alert."""
    failure = handshake.failure
    if failure is None or failure.stage == "connect":
        return
    if failure.cause in CLOSED:
        node.story.fail("closed_without_alert", f"{node} refused {what} by closing the connection, "
                                                f"without the fatal alert that says why{then}")
    if failure.cause == "timeout":
        node.story.fail("no_alert", f"{node} neither raised a fatal alert on {what} nor closed the "
                                    f"connection: {handshake.why}{then}")


def reply_of(handshake: Handshake) -> str:
    """Return how a node has answered, in words."""
    if handshake.outcome is Outcome.REFUSED:
        return f"raised the fatal alert {handshake.refusal}"
    how = "resumed" if handshake.outcome is Outcome.RESUMED else "made a full handshake"
    return f"{how} with {handshake.cipher}"


def proven_session(node: Conversation, hello: Hello) -> CraftedSession:
    """Return a session that has resumed once, so that it is known to be there."""
    _, session = node.new_session(hello)
    contact, _ = node.hears(replace(hello, session_id=session.id), knowing=session)
    handshake = node.story.reaches_mqtt(
        contact, "when it was to resume with the ClientHello it was made with")
    if handshake.outcome is not Outcome.RESUMED:
        node.story.error("not_resumed", f"{node} did not resume a session it had just issued, so "
                                        "there was nothing to offer otherwise")
    return session
