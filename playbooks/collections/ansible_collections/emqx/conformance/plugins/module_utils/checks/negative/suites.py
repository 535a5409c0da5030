"""NEG-05: a session is offered without its cipher suite."""
from __future__ import annotations

from ...client_certificate import CLOSED
from ...model import Handshake, Outcome
from ...run.check import Check, Cost, Impact, Level, Need, Per
from ...run.conversation import CRAFTED, Conversation
from ...run.preconditions import crafted_and_resuming
from ...run.prober import Contact
from ...run.story import Story
from .answers import reply_of

if CRAFTED:
    from ...tls.crafted import SUITES, Conduct, CraftedSession, Hello


@Check(
    id="NEG-05",
    title="A suite that is not offered is not spoken",
    requirement=(
        "Offered a session without the session's cipher suite, a node makes a full handshake with "
        "a suite that was offered, or raises a fatal alert; it never goes on with the session's. A "
        "session whose suite is offered, and would not be the node's choice now, resumes with that "
        "suite or leads to a full handshake."),
    clause="RFC 5246 7.4.1.2, 7.4.1.3",
    level=Level.MUST, impact=Impact.NOISY, per=Per.NODE, cost=Cost(full=4, resumed=2),
    meaning=(
        "A client that has stopped offering a weak suite is pushed back to it by resumption (the "
        "class of CVE-2010-4180)."),
    needs=(Need("CORE-02"),), precondition=crafted_and_resuming,
    how=(
        "The session is offered with all other suites of ours; a client that would go on with "
        "the session's shows how far the node does. The same hello without a session shows "
        "first whether the node speaks any other suite, so that an alert can be told from "
        "having nothing in common. The session of that handshake, or else the first one, is "
        "then offered with all suites."),
    control=(
        "A session that is made just before and ended properly must resume in the end, for "
        "the ClientHello that it was made with."),
    reasons={
        "resumed_with_unoffered_suite": "it goes on with the session's suite, which is not offered",
        "unoffered_suite": "it declines the session and goes on with a suite that is not offered",
        "resumed_with_other_suite": "it resumes a session with another suite than the session's",
        "closed_without_alert": "it closes the connection without a fatal alert",
        "no_session_id": "a handshake brings no session ID",
        "forgotten": "a session made just before does not resume either",
        "expired": "sessions live shorter than it took"})
def unoffered_suite_is_never_spoken(story: Story) -> str:
    """What a client does not offer it must not get, whatever it once agreed to."""
    node = Conversation(story)
    _, session = node.new_session(Hello())
    twin = node.twin(Hello())
    others = tuple(suite for suite in SUITES if suite != session.cipher)
    without, other = node.hears(Hello(suites=others))
    if without.handshake.outcome is not Outcome.REFUSED:
        story.reaches_mqtt(without, f"without {session.cipher}, and with no session offered")
    offer, _ = node.hears(Hello(session_id=session.id, suites=others), knowing=session,
                          conduct=Conduct(also_speaks=(session.cipher,)))
    all_the_same = _resumed_all_the_same(node, session, offer, others)
    kept = other or session
    again, _ = node.hears(Hello(session_id=kept.id), knowing=kept)
    control = node.offered_again(twin)
    # Judged in any case: a deviation known of the first must not hide what comes of the second.
    _demand_its_own_suite(node, kept, again)
    if all_the_same:
        story.fail("resumed_with_unoffered_suite", all_the_same)
    return story.confirmed(
        f"{node} {reply_of(offer.handshake)} when its session was offered without {session.cipher} "
        f"({_choice(without.handshake)}); offered a session of {kept.cipher} with all suites, it "
        f"{reply_of(again.handshake)}", control)


def _resumed_all_the_same(node: Conversation, session: CraftedSession, offer: Contact,
                          offered: tuple[str, ...]) -> str:
    """Say how the target resumed without the session's suite; empty where it did something right.

    Anything else ends the check.
    """
    handshake, story = offer.handshake, node.story
    without = f"with {session.cipher}, which that client did not offer"
    # The ServerHello is the deed; how far the handshake came after it makes no difference.
    if handshake.cipher == session.cipher and handshake.server_id == session.id:
        done = "resumed" if handshake.outcome is Outcome.RESUMED else "began to resume"
        return f"{node} {done} its session {without}"
    if handshake.cipher is not None and handshake.cipher not in offered:
        story.fail("unoffered_suite", f"{node} declined the session, and went on {without}")
    if handshake.failure is not None and handshake.failure.cause in CLOSED:
        story.fail("closed_without_alert", f"{node} refused its session without {session.cipher} "
                   "by closing the connection, without the fatal alert that says why")
    if handshake.outcome is not Outcome.REFUSED:
        story.reaches_mqtt(offer, f"when its session was offered without {session.cipher}")
    return ""


def _demand_its_own_suite(node: Conversation, session: CraftedSession, again: Contact) -> None:
    """Judge an offer of all suites, and of a session whose suite would not be chosen now.

    What BoringSSL's runner calls a cipher that is not preferred.
    """
    handshake = node.story.reaches_mqtt(
        again, f"when offered a session of {session.cipher} and all suites")
    if handshake.outcome is Outcome.RESUMED and handshake.cipher != session.cipher:
        node.story.fail("resumed_with_other_suite", f"{node} resumed a session of {session.cipher} "
                                                    f"with {handshake.cipher}")


def _choice(without: Handshake) -> str:
    """Say what the target speaks without the session's suite, and with no session offered."""
    if without.outcome is Outcome.REFUSED:
        return ("it speaks no other suite of ours: without a session it raises "
                f"{without.refusal} as well")
    return f"without a session it speaks {without.cipher} then"
