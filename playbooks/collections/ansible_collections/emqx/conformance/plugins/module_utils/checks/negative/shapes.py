"""NEG-12: hellos of other shapes, as other clients send them."""
from __future__ import annotations

from dataclasses import dataclass, replace

from ...model import Outcome
from ...run.check import Check, Cost, Impact, Level, Need, Per, Status
from ...run.conversation import CRAFTED, Conversation
from ...run.preconditions import crafted_and_resuming
from ...run.story import Story
from ...run.verdict import trouble
from .answers import proven_session

if CRAFTED:
    from ...tls.crafted import UNKNOWN_EXTENSIONS, CraftedSession, Hello


_RECORD, _TINY_RECORD, _SEGMENT = 16, 3, 5
"""Bytes. A tiny record does not even hold a handshake message's header, of 4 bytes."""


@dataclass(frozen=True)
class _Shape:
    """One way in which an honest ClientHello can look odd."""

    token: str
    """Ends the reason: ``not_resumed_in_records``."""
    what: str
    hello: Hello


def _shapes() -> tuple[_Shape, ...]:
    grease = Hello(grease=True, extensions=UNKNOWN_EXTENSIONS)
    return (
        _Shape("in_records", f"in records of {_RECORD} bytes", Hello(record_size=_RECORD)),
        _Shape("in_tiny_records", f"in records of {_TINY_RECORD} bytes, which split its header,",
               Hello(record_size=_TINY_RECORD)),
        _Shape("in_segments", f"in TCP segments of {_SEGMENT} bytes", Hello(segment_size=_SEGMENT)),
        _Shape("with_grease", "with GREASE among cipher suites, extensions, groups and signature "
               "algorithms, and with unknown extensions,", grease),
        # Apart, since it alone makes a target that speaks TLS 1.3 read the rest of the hello as
        # TLS 1.3's.
        _Shape("with_grease_version", "with supported_versions of GREASE and TLS 1.2",
               Hello(grease_version=True)),
        _Shape("all_together", "with all that GREASE, in small records and segments at once,",
               replace(grease, grease_version=True, record_size=_RECORD, segment_size=_SEGMENT)))


_TOKENS = {
    "in_records": f"in records of {_RECORD} bytes",
    "in_tiny_records": f"in records of {_TINY_RECORD} bytes",
    "in_segments": f"in TCP segments of {_SEGMENT} bytes",
    "with_grease": "with GREASE and unknown extensions",
    "with_grease_version": "with GREASE among the supported versions",
    "all_together": "with all of that at once"}


@Check(
    id="NEG-12",
    title="A fragmented or greased ClientHello still resumes",
    requirement=(
        f"A session resumes for a ClientHello in records of {_RECORD} and of {_TINY_RECORD} bytes, "
        f"in TCP segments of {_SEGMENT} bytes, with GREASE values and unknown extensions, with a "
        "GREASE value among its supported versions, and with all of that at once, and MQTT works."),
    clause="RFC 5246 6.2.1, 7.4.1.4, RFC 8701 3",
    level=Level.SHOULD, impact=Impact.NOISY, per=Per.NODE, cost=Cost(full=6, resumed=2 * 6),
    meaning=(
        "Devices behind links with a small MTU, with a small TLS record limit, or with a modern "
        "TLS library pay for full handshakes or do not get in at all."),
    needs=(Need("CORE-02"),), precondition=crafted_and_resuming,
    how=(
        "Each shape is tried with a session of its own, which first resumes with a plain "
        "ClientHello. GREASE is among cipher suites, extensions, groups and signature "
        "algorithms, and in another shape in supported_versions, beside TLS 1.2; an answer to "
        "any of it breaks the handshake off."),
    reasons={
        **{f"not_resumed_{token}": f"a ClientHello {how} gets a full handshake"
           for token, how in _TOKENS.items()},
        **{f"broken_{token}": f"a ClientHello {how} does not get through"
           for token, how in _TOKENS.items()},
        "not_resumed": "a session that it has just issued does not resume",
        "no_session_id": "a handshake brings no session ID"})
def odd_hellos_resume(story: Story) -> str:
    """What a ClientHello looks like says nothing about its session."""
    node = Conversation(story)
    # Whatever becomes of a session, the next shape is not to pay for it, and a run makes as many
    # handshakes with a node that breaks as with one that does not.
    broken = [flaw for shape in _shapes()
              if (flaw := _flaw(node, shape, proven_session(node, Hello()))) is not None]
    if broken:
        story.fail(broken[0][0], f"{node}: {'; '.join(text for _, text in broken)}")
    return (f"{node} resumed for a ClientHello in small and in tiny records, in small TCP "
            "segments, with GREASE and unknown extensions, with GREASE among the supported "
            "versions, and with all of that at once, and MQTT works")


def _flaw(node: Conversation, shape: _Shape, session: CraftedSession) -> tuple[str, str] | None:
    """Return reason and sentence where a session does not resume for a hello of this shape."""
    contact, _ = node.hears(replace(shape.hello, session_id=session.id), knowing=session)
    verdict = trouble(contact)
    if verdict is not None and verdict.status is Status.ERROR:
        node.story.reaches_mqtt(contact, f"a ClientHello {shape.what}")
    if verdict is not None:
        return (f"broken_{shape.token}",
                f"a ClientHello {shape.what} does not get through: {contact.handshake.why}")
    if contact.handshake.outcome is not Outcome.RESUMED:
        return (f"not_resumed_{shape.token}",
                f"a ClientHello {shape.what} gets a full handshake")
    return None
