"""NEG-06: a session is offered in another version than its own."""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ...client_certificate import CLOSED
from ...model import Outcome, Session
from ...run.check import Check, Cost, Impact, Level, Need, Per, Verdict
from ...run.conversation import CRAFTED, Conversation
from ...run.preconditions import crafted_and_resuming
from ...run.prober import Contact
from ...run.story import Control, Story, came_to
from ...run.target import Target
from .answers import proven_session

if CRAFTED:
    from ...tls.crafted import OLD_SUITES, SUITES, CraftedSession, Hello


_OLDER = {"tlsv1.1": (3, 2), "tlsv1": (3, 1)}
"""Versions before 1.2 in which sessions are resumed by ID too."""
_LABELS = {"tlsv1.1": "TLS 1.1", "tlsv1": "TLS 1.0"}


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
    needs=(Need("CORE-02"),), precondition=_other_versions,
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
    session, twin = proven_session(node, hello), node.twin(hello)
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
        return f"with the alert {contact.handshake.refusal}"
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
