"""NEG-11: secure renegotiation when a session is resumed."""
from __future__ import annotations

from ...model import Outcome
from ...run.check import Check, Cost, Impact, Level, Need, Per
from ...run.conversation import CRAFTED
from ...run.preconditions import resuming
from ...run.story import Story

if CRAFTED:
    pass


@Check(
    id="NEG-11",
    title="Secure renegotiation is signalled when resuming",
    requirement="The ServerHello of a resumed handshake carries renegotiation_info.",
    clause="RFC 5746 3.6",
    level=Level.MUST, impact=Impact.SAFE, per=Per.NODE, cost=Cost(resumed=1),
    meaning=(
        "Clients that insist on secure renegotiation break off when they resume, and the others "
        "are open to prefix injection."),
    needs=(Need("CORE-02"),), precondition=resuming,
    how=(
        "An ordinary client resumes, and the extensions of the ServerHello are read from "
        "the wire."),
    reasons={
        "not_signalled": "the ServerHello carries no renegotiation_info",
        "not_resumed": "its session does not resume"})
def renegotiation_info_when_resumed(story: Story) -> str:
    """A resumed connection is as safe from injected prefixes as a full one."""
    contact = story.contact(story.node, story.session)
    handshake = contact.handshake
    # Looked at first: a handshake that came to nothing may have shown it all the same.
    if handshake.server_random and not handshake.secure_renegotiation:
        story.fail("not_signalled", f"{story.node} sends no renegotiation_info in answer to a "
                                    "client that resumes")
    if story.reaches_mqtt(contact).outcome is not Outcome.RESUMED:
        story.fail("not_resumed", f"{story.node} did not resume its session")
    return f"{story.node} signals secure renegotiation in a resumed handshake"
