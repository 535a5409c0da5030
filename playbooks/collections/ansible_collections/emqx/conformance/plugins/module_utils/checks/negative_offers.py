"""NEG-05, NEG-09: sessions offered in a hello that no longer fits them: another suite or name."""
from __future__ import annotations

from collections.abc import Sequence

from ..client_certificate import CLOSED
from ..model import Handshake, Outcome
from ..run.prober import Contact
from ..tls.transcript import EXT_SERVER_NAME
from .conversation import CRAFTED, Conversation
from .preconditions import crafted_and_resuming
from .registry import Check, Cost, Impact, Level, Need, Per
from .story import Story, StoryEnd

if CRAFTED:
    from ..tls.crafted import SUITES, Conduct, CraftedSession, Hello, is_host_name

SOME_NAME, OTHER_NAME = "first.example", "second.example"
"""Names that no target has by chance (RFC 2606 3)."""
BROKEN_NAME = b"\x00\x05\x00\x00\xffab"
"""A server_name extension in which a name of 255 bytes has two."""
_NEEDS = (Need("CORE-02"),)


# -- NEG-05 -----------------------------------------------------------------------------------

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
    needs=_NEEDS, precondition=crafted_and_resuming,
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
        f"{node} {_answer(offer.handshake)} when its session was offered without {session.cipher} "
        f"({_choice(without.handshake)}); offered a session of {kept.cipher} with all suites, it "
        f"{_answer(again.handshake)}", control)


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
                f"{without.alerts[-1].description} as well")
    return f"without a session it speaks {without.cipher} then"


def _answer(handshake: Handshake) -> str:
    if handshake.outcome is Outcome.REFUSED:
        return f"raised the fatal alert {handshake.alerts[-1].description}"
    how = "resumed" if handshake.outcome is Outcome.RESUMED else "made a full handshake"
    return f"{how} with {handshake.cipher}"


# -- NEG-09 -----------------------------------------------------------------------------------

@Check(
    id="NEG-09",
    title="A session does not resume under another name",
    requirement=(
        "Where the ServerHello of a full handshake acknowledges server_name, the session is not "
        "resumed for a client that asks for another name; where it does not, that is informed of. "
        "The ServerHello of a resumed handshake carries no server_name, and a name that cannot "
        "be decoded leads to a fatal alert where names are acknowledged. What comes of a client "
        "without a name is reported."),
    clause="RFC 6066 3, RFC 5246 7.2.2",
    level=Level.MUST, impact=Impact.NOISY, per=Per.NODE, cost=Cost(full=4, resumed=2, refused=1),
    meaning=(
        "What one virtual host has agreed with a client holds at another one, whose certificate "
        "and rules the client has never met."),
    needs=_NEEDS, precondition=crafted_and_resuming,
    how=(
        "A session made under the node's server name (under first.example, if that is an "
        "address) is offered under the same name, under second.example, without any name, and "
        "with one whose length is wrong. A fatal alert is as good an answer to another name "
        "as a full handshake. Erlang/OTP binds a session to its name from 29.1.2 (ssl 11.7.8) "
        "on (erlang/otp#11773); earlier releases do not, and acknowledge no name."),
    control=(
        "A session that is made just before, under the same name, and ended properly must "
        "resume under it in the end."),
    reasons={
        "resumed_under_other_name": (
            "it acknowledges names and resumes a session under another one; for information "
            "where it acknowledges none"),
        "server_name_when_resumed": "the ServerHello of a resumed handshake carries server_name",
        "accepted_broken_name": "it acknowledges names and accepts one that cannot be decoded",
        "not_resumed": "a session does not resume under its own name",
        "no_session_id": "a handshake brings no session ID",
        "forgotten": "a session made just before does not resume either",
        "expired": "sessions live shorter than it took",
        "no_name_known": "its server name is an address, and it refuses names it does not know"})
def other_name_is_not_resumed(story: Story) -> str:
    """A session belongs to the name under which it was made."""
    node, own = Conversation(story), _own_name(story)
    made, session = _made_under(node, own)
    twin = node.twin(Hello(server_name=own))
    answers = [_offered_under(node, session, own, hello, how, may_refuse=may_refuse)
               for hello, how, may_refuse in _under_names(session, own)]
    control = node.offered_again(twin)
    return story.confirmed(
        _names_judged(node, own, answers, acknowledges=made.sni_acknowledged), control)


def _own_name(story: Story) -> str:
    name = story.bench.nodes[story.node].server_name
    return name if is_host_name(name) else SOME_NAME


def _made_under(node: Conversation, own: str) -> tuple[Handshake, CraftedSession]:
    """Make a session under the node's own name, or under another where it has none."""
    try:
        return node.new_session(Hello(server_name=own))
    except StoryEnd:
        handshake = node.story.evidence[-1]
        if own == SOME_NAME and handshake.outcome is Outcome.REFUSED:
            node.story.skip(
                "no_name_known", f"{node}'s server name is an address, which no client asks for by "
                "SNI, and it refuses names that it does not know with "
                f"{handshake.alerts[-1].description}: set emqx_tls_server_name to one that it "
                "knows")
        raise


def _under_names(session: CraftedSession, own: str) -> tuple[tuple[Hello, str, bool], ...]:
    """Return the hellos that offer a session, how they do, and whether an alert is right."""
    return (
        (Hello(session.id, server_name=own), "under that name", False),
        # Whatever comes after an alert may be due to that: the rest is not judged by resumption.
        (Hello(session.id, server_name=OTHER_NAME), f"under {OTHER_NAME}", True),
        (Hello(session.id, send_server_name=False), "without a name", True),
        (Hello(session.id, send_server_name=False, extensions=((EXT_SERVER_NAME, BROKEN_NAME),)),
         "with a server_name extension that cannot be decoded", True))


def _offered_under(node: Conversation, session: CraftedSession, own: str, hello: Hello, how: str,
                   *, may_refuse: bool) -> Handshake:
    contact, _ = node.hears(hello, knowing=session)
    if not may_refuse or contact.handshake.outcome is not Outcome.REFUSED:
        node.story.reaches_mqtt(contact, f"when offered a session of {own} {how}")
    return contact.handshake


def _names_judged(node: Conversation, own: str, answers: Sequence[Handshake], *,
                  acknowledges: bool) -> str:
    """Judge the answers to a session under its own name, another one, none and a broken one."""
    story, (same, other, nameless, broken) = node.story, answers
    if same.outcome is not Outcome.RESUMED:
        story.fail("not_resumed", f"{node} did not resume a session it had just issued, under the "
                                  f"same name, {own}")
    then = (f"; without a name it {_answer(nameless)}, and on a server_name extension that cannot "
            f"be decoded it {_answer(broken)}")
    if other.outcome is Outcome.RESUMED and acknowledges:
        story.fail("resumed_under_other_name", f"{node} acknowledged the name {own}, and resumed "
                                               f"that session under {OTHER_NAME}{then}")
    if any(answer.outcome is Outcome.RESUMED and answer.sni_acknowledged for answer in answers):
        story.fail("server_name_when_resumed", f"{node} put server_name into the ServerHello of a "
                                               "resumed handshake")
    if other.outcome is Outcome.RESUMED:
        story.inform("resumed_under_other_name",
                     f"{node} does not acknowledge names, as if it had not heard them, and resumed "
                     f"a session of {own} under {OTHER_NAME}{then} (Erlang/OTP binds a session to "
                     "its name from 29.1.2 on: erlang/otp#11773)")
    if acknowledges and broken.outcome is not Outcome.REFUSED:
        # Who makes no use of the extension need not look into it (RFC 5246 7.4.1.4).
        story.fail("accepted_broken_name", f"{node} acknowledges names, and yet {_answer(broken)} "
                                           "on a server_name extension that cannot be decoded")
    return (f"{node} {'acknowledges' if acknowledges else 'does not acknowledge'} names, and "
            f"resumes a session of {own} under that name; under {OTHER_NAME} it "
            f"{_answer(other)}{then}")
