"""NEG-09: a session is offered under another server name."""
from __future__ import annotations

from collections.abc import Sequence

from ...model import Handshake, Outcome
from ...run.check import Check, Cost, Impact, Level, Need, Per
from ...run.conversation import CRAFTED, Conversation
from ...run.preconditions import crafted_and_resuming
from ...run.story import Story, StoryEnd
from ...tls.transcript import EXT_SERVER_NAME
from .answers import reply_of

if CRAFTED:
    from ...tls.crafted import CraftedSession, Hello, is_host_name


SOME_NAME, OTHER_NAME = "first.example", "second.example"
"""Names that no target has by chance (RFC 2606 3)."""
BROKEN_NAME = b"\x00\x05\x00\x00\xffab"
"""A server_name extension in which a name of 255 bytes has two."""


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
    needs=(Need("CORE-02"),), precondition=crafted_and_resuming,
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
                f"{handshake.refusal}: set emqx_tls_server_name to one that it "
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
    then = (f"; without a name it {reply_of(nameless)}, and on a server_name extension that cannot "
            f"be decoded it {reply_of(broken)}")
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
        story.fail("accepted_broken_name", f"{node} acknowledges names, and yet {reply_of(broken)} "
                                           "on a server_name extension that cannot be decoded")
    return (f"{node} {'acknowledges' if acknowledges else 'does not acknowledge'} names, and "
            f"resumes a session of {own} under that name; under {OTHER_NAME} it "
            f"{reply_of(other)}{then}")
