"""NEG-06, NEG-10, NEG-12: clients that resume with another ClientHello than made their session."""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NoReturn

from ..client_certificate import CLOSED
from ..model import Outcome, Session
from ..run.prober import Contact
from ..run.target import Target
from .conversation import CRAFTED, Conversation, Twin
from .preconditions import crafted_and_resuming
from .registry import Check, Cost, Impact, Level, Need, Per, Status, Verdict
from .story import Control, Story, came_to
from .verdicts import trouble

if CRAFTED:
    from ..tls.crafted import OLD_SUITES, SUITES, UNKNOWN_EXTENSIONS, CraftedSession, Hello

_OLDER = {"tlsv1.1": (3, 2), "tlsv1": (3, 1)}
"""Versions before 1.2 in which sessions are resumed by ID too."""
_LABELS = {"tlsv1.1": "TLS 1.1", "tlsv1": "TLS 1.0"}
_RECORD, _TINY_RECORD, _SEGMENT = 16, 3, 5
"""Bytes. A tiny record does not even hold a handshake message's header, of 4 bytes."""
_NEEDS = (Need("CORE-02"),)


def _proven_session(node: Conversation, hello: Hello) -> CraftedSession:
    """Return a session that has resumed once, so that it is known to be there."""
    _, session = node.new_session(hello)
    contact, _ = node.hears(replace(hello, session_id=session.id), knowing=session)
    handshake = node.story.reaches_mqtt(
        contact, "when it was to resume with the ClientHello it was made with")
    if handshake.outcome is not Outcome.RESUMED:
        node.story.error("not_resumed", f"{node} did not resume a session it had just issued, so "
                                        "there was nothing to offer otherwise")
    return session


# -- NEG-06 -----------------------------------------------------------------------------------

def _older(target: Target) -> list[str]:
    """Return the versions before 1.2 to ask for: the declared ones, or, undeclared, the likeliest.
    """
    declared = target.settings.tls_versions
    return [version for version in _OLDER if version in declared] if declared else ["tlsv1.1"]


def _newer(target: Target) -> bool:
    declared = target.settings.tls_versions
    return not declared or "tlsv1.3" in declared


def _versions_cost(target: Target) -> Cost:
    """Return what NEG-06 costs, as if every older version were spoken."""
    older, newer = _older(target), _newer(target)
    back = bool(target.settings.tls_versions)
    return Cost(full=(2 + len(older) * (1 + 2 * back) if older else 0) + 2 * newer,
                resumed=(2 + len(older) * back if older else 0) + newer)


def _other_versions(target: Target) -> str | Verdict | None:
    if not _older(target) and not _newer(target):
        return "resumption_tls_versions declares no version but TLS 1.2 to resume at"
    return crafted_and_resuming(target)


@Check(
    id="NEG-06",
    title="No session resumes at another protocol version",
    requirement=(
        "A TLS 1.2 session offered by a client of an older version does not resume, nor does an "
        "older version's session at TLS 1.2; in TLS 1.3 the echo of an offered ID resumes nothing. "
        "A full handshake or a fatal alert is right."),
    clause="RFC 5246 7, 7.4.1.2, RFC 5288 4, RFC 8446 4.1.3",
    level=Level.MUST, impact=Impact.NOISY, per=Per.NODE, cost=_versions_cost,
    meaning=(
        "What is allowed for each version does not hold for clients that resume: their sessions go "
        "on at an older one, with cipher suites that it does not have or a new session would be "
        "refused; or a client gets a version that it does not speak, and breaks off. Where no old "
        "client needs it, leave TLS 1.2 as the only version (ssl_options.versions)."),
    needs=_NEEDS, precondition=_other_versions,
    how=(
        "A session whose cipher suite both versions have, and which has just resumed, is "
        "offered in a ClientHello of TLS 1.1 and 1.0 as far as they are declared (1.1 when "
        "nothing is), and the session of that handshake, where they are declared, in one of "
        "TLS 1.2. An ordinary client offers another in a ClientHello that prefers TLS 1.3. "
        "MQTT must work on whatever connection comes of it."),
    control=(
        "In the end a session of TLS 1.2, made just before and ended properly, must "
        "resume, and so must the one that a client of TLS 1.3 has offered, at TLS 1.2. One "
        "of each older version is offered at that version: where none resumes even there, "
        "the check is skipped, nothing_resumes."),
    reasons={
        "resumed_at_other_version": "a session resumes at another version than its own",
        "other_version": "it answers with a version that the client did not offer",
        "not_resumed": "a session that it has just issued does not resume",
        "no_session_id": "a handshake brings no session ID",
        "forgotten": "what must resume afterwards does not",
        "expired": "sessions live shorter than it took",
        "nothing_resumes": "no session of an older version resumes even at that version"})
def other_version_does_not_resume(story: Story) -> str:
    """A session belongs to the version it was made with."""
    node, across = Conversation(story), _Across()
    if older := _older(story.target):
        _offer_to_all_older(node, older, across)
    if _newer(story.target):
        _offer_to_newer(story, across)
    controls = [(label, offered()) for label, offered in across.controls]
    sentence = (f"{node} resumes no session at another version than it was made with: it "
                f"{'; '.join(across.seen)}")
    for label, control in controls:
        sentence = _confirmed(story, sentence, control, label)
    return sentence


@dataclass
class _Across:
    """What comes of sessions at other versions than their own."""

    seen: list[str] = field(default_factory=list)
    """What the node does, in a clause each."""
    controls: list[tuple[str, Callable[[], Control]]] = field(default_factory=list)
    """Offers of what must resume, for the end, and the older version that they are of, if any."""


def _offer_to_all_older(node: Conversation, older: list[str], across: _Across) -> None:
    """Offer a TLS 1.2 session at every older version."""
    # Suites that both versions have come first: with another, there is nothing to resume with.
    hello = Hello(suites=tuple(dict.fromkeys((*OLD_SUITES, *SUITES))))
    session, twin = _proven_session(node, hello), node.twin(hello)
    across.controls.append(("", lambda: node.offered_again(twin, " of TLS 1.2")))
    if session.cipher not in OLD_SUITES:
        across.seen.append(f"chose {session.cipher} for its session, which no older version has")
    for version in older:
        _offer_to_older(node, session, version, across)


def _offer_to_older(node: Conversation, session: CraftedSession, version: str,
                    across: _Across) -> None:
    """Offer a TLS 1.2 session at an older version; and, where that is declared, one of it at 1.2.
    """
    story, label = node.story, _LABELS[version]
    declared = bool(story.settings.tls_versions)
    # RFC 5246 7.4.1.2 wants the session's suite there, RFC 5288 4 no other one of TLS 1.2.
    hello = Hello(session_id=session.id, version=_OLDER[version],
                  suites=tuple(dict.fromkeys((session.cipher, *OLD_SUITES))))
    contact, old_session = node.hears(hello, knowing=session)
    _demand_not_resumed(node, contact, f"TLS 1.2 for a client of {label}")
    if refusal := _refusal(contact, may_close=not declared):
        across.seen.append(f"answers a client of {label} {refusal}")
        return
    story.reaches_mqtt(contact, f"when a client of {label} offered a session of TLS 1.2")
    across.seen.append(f"makes a full handshake with a client of {label}")
    if declared and old_session is not None:
        twin = node.twin(Hello(version=_OLDER[version], suites=OLD_SUITES))
        across.controls.append((label, lambda: node.offered_again(twin, f" of {label}")))
        across.seen.append(_offered_back(node, old_session, version))


def _offered_back(node: Conversation, session: CraftedSession, version: str) -> str:
    """Offer an older version's session at TLS 1.2, and say what the node does."""
    label = _LABELS[version]
    contact, _ = node.hears(Hello(session_id=session.id), knowing=session)
    if contact.handshake.version == version:
        # Not the best that both speak, but the session's own.
        return f"goes back to {label} for a client of TLS 1.2 that offers a session of it"
    _demand_not_resumed(node, contact, f"{label} for a client of TLS 1.2")
    if refusal := _refusal(contact, may_close=False):
        return f"answers a client of TLS 1.2 that offers a session of {label} {refusal}"
    node.story.reaches_mqtt(contact, f"when a client of TLS 1.2 offered a session of {label}")
    return f"makes one with a client of TLS 1.2 that offers a session of {label}"


def _refusal(contact: Contact, *, may_close: bool) -> str:
    """Say how the target refused a version, if it did.

    Whether a target of undeclared versions owes an alert is CORE-08's question.
    """
    failure = contact.handshake.failure
    if contact.handshake.outcome is Outcome.REFUSED:
        return f"with the alert {contact.handshake.alerts[-1].description}"
    if may_close and failure is not None and failure.cause in CLOSED:
        return "by closing the connection"
    return ""


def _demand_not_resumed(node: Conversation, contact: Contact, what: str) -> None:
    """Demand that a session was not resumed, nor answered with a version that was not offered."""
    handshake, failure = contact.handshake, contact.handshake.failure
    if handshake.library_reused:
        lacking = handshake.version != "tlsv1.2" and handshake.cipher not in OLD_SUITES
        node.story.fail("resumed_at_other_version",
                        f"{node} resumed a session of {what}, at {handshake.version} with "
                        f"{handshake.cipher}" + (", which that version does not have" * lacking))
    if failure is not None and failure.cause == "other_version":
        node.story.fail("other_version", f"{node} was offered a session of {what}, and "
                                         f"{failure.detail}")


def _offer_to_newer(story: Story, across: _Across) -> None:
    """Offer a TLS 1.2 session in a ClientHello that prefers TLS 1.3."""
    # A session of its own: a target that refuses this hello would spoil the run's one.
    made = time.monotonic()
    first = story.contact(story.node)
    story.reaches_mqtt(first)
    session = first.session
    if session is None:
        story.nothing_to_offer()
    across.controls.append(("", lambda: _offered_at_tls_1_2(story, session, made)))
    both = story.reaches_mqtt(
        story.contact(story.node, session, versions=("tlsv1.2", "tlsv1.3")),
        "when a client that also speaks TLS 1.3 offered a session of TLS 1.2")
    # RFC 8446 4.1.3: any ID is echoed.
    across.seen.append(
        "makes a full TLS 1.3 handshake with a client that speaks both, where the echoed ID means "
        "nothing" if both.version == "tlsv1.3" else
        "stays with TLS 1.2 for a client that also speaks TLS 1.3")


def _offered_at_tls_1_2(story: Story, session: Session, made: float) -> Control:
    """Offer a session of TLS 1.2, that a client of TLS 1.3 has offered too, where it must resume.
    """
    age_s = time.monotonic() - made
    return Control(story.contact(story.node, session),
                   "the session that a client of both versions has offered", age_s)


def _confirmed(story: Story, sentence: str, control: Control, label: str) -> str:
    """Judge a control; of an older version's, whether any of its sessions resumes at all."""
    verdict = came_to(lambda: story.confirmed(sentence, control))
    if label and verdict.reason == "forgotten":
        story.skip("nothing_resumes", f"no session of {label} resumes on {story.node}, not even at "
                   f"{label}, so that none does at TLS 1.2 proves nothing; otherwise {sentence}")
    return story.settled(verdict)


# -- NEG-10 -----------------------------------------------------------------------------------

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
    needs=_NEEDS, precondition=crafted_and_resuming,
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
        return f"refuses clients without it ({handshake.alerts[-1].description})"
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
        f"{what}, with the fatal alert {handshake.alerts[-1].description}", control)


# -- NEG-12 -----------------------------------------------------------------------------------

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
    needs=_NEEDS, precondition=crafted_and_resuming,
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
              if (flaw := _flaw(node, shape, _proven_session(node, Hello()))) is not None]
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
