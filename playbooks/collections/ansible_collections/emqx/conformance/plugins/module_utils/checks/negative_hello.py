"""NEG: clients that resume with another ClientHello than the one that made their session."""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from ..model import Outcome, Session
from .bench import Bench, Contact, Target
from .controls import shown
from .conversation import CRAFTED, Conversation, Twin
from .preconditions import crafted_and_resuming
from .registry import Check, Cost, Impact, Level, Need, Per, Registry, Status, Subject, Verdict
from .verdicts import error, failed, passed, skipped, trouble

if CRAFTED:
    from ..tls.crafted import OLD_SUITES, SUITES, UNKNOWN_EXTENSIONS, CraftedSession, Hello

_OLDER = {"tlsv1.1": (3, 2), "tlsv1": (3, 1)}
"""Versions before 1.2 in which sessions are resumed by ID too."""
_LABELS = {"tlsv1.1": "TLS 1.1", "tlsv1": "TLS 1.0"}
_CLOSED = frozenset(("connection_closed", "connection_reset"))
_RECORD, _TINY_RECORD, _SEGMENT = 16, 3, 5
"""Bytes. A tiny record does not even hold a handshake message's header, of 4 bytes."""


def _proven_session(node: Conversation, hello: Hello) -> CraftedSession | Verdict:
    """Return a session that has resumed once, so that it is known to be there, or why not."""
    first = node.new_session(hello)
    if isinstance(first, Verdict):
        return first
    session = first[1]
    contact, _ = node.hears(replace(hello, session_id=session.id), knowing=session)
    if verdict := trouble(contact):
        return node.with_all(verdict, "when it was to resume with the ClientHello it was made with")
    if contact.handshake.outcome is not Outcome.RESUMED:
        return error("not_resumed", f"{node.name} did not resume a session it had just issued, so "
                                    "there was nothing to offer otherwise", *node.handshakes)
    return session


# -- NEG-06 ---------------------------------------------------------------------------------------


def _older(target: Target) -> list[str]:
    """Return the versions before 1.2 to ask for: the declared ones, or, undeclared, the likeliest.
    """
    declared = target.settings.tls_versions
    return [version for version in _OLDER if version in declared] if declared else ["tlsv1.1"]


def _newer(target: Target) -> bool:
    declared = target.settings.tls_versions
    return not declared or "tlsv1.3" in declared


def other_version_does_not_resume(bench: Bench, subject: Subject) -> Verdict:
    """NEG-06: a session belongs to the version it was made with."""
    (name,) = subject
    node = Conversation(bench, name)
    across = _Across()
    if older := _older(bench.target):
        # Suites that both versions have come first: with another, there is nothing to resume with.
        hello = Hello(suites=tuple(dict.fromkeys((*OLD_SUITES, *SUITES))))
        session = _proven_session(node, hello)
        if isinstance(session, Verdict):
            return session
        twin = node.twin(hello)
        if isinstance(twin, Verdict):
            return twin
        across.controls.append(partial(node.with_control, twin=twin, of=" of TLS 1.2"))
        if session.cipher not in OLD_SUITES:
            across.seen.append(
                f"chose {session.cipher} for its session, which no older version has")
        for version in older:
            if verdict := _offer_to_older(bench, node, session, version, across):
                return verdict
    if _newer(bench.target) and (verdict := _offer_to_newer(bench, node, across)):
        return verdict
    verdict = passed(f"{name} resumes no session at another version than it was made with: it "
                     f"{'; '.join(across.seen)}")
    for control in across.controls:
        verdict = control(verdict)
    return node.with_all(verdict)


@dataclass
class _Across:
    """What comes of sessions at other versions than their own."""

    seen: list[str] = field(default_factory=list)
    """What the node does, in a clause each."""
    controls: list[Callable[[Verdict], Verdict]] = field(default_factory=list)
    """Offers of what must resume, for the end."""


def _offer_to_older(bench: Bench, node: Conversation, session: CraftedSession, version: str,
                    across: _Across) -> Verdict | None:
    """Offer a TLS 1.2 session at an older version; and, where that is declared, one of it at 1.2.
    """
    declared, label = bool(bench.settings.tls_versions), _LABELS[version]
    # RFC 5246 7.4.1.2 wants the session's suite there, RFC 5288 4 no other one of TLS 1.2.
    hello = Hello(session_id=session.id, version=_OLDER[version],
                  suites=tuple(dict.fromkeys((session.cipher, *OLD_SUITES))))
    contact, old_session = node.hears(hello, knowing=session)
    if verdict := _resumed_across(node, contact, f"TLS 1.2 for a client of {label}"):
        return verdict
    if refusal := _refusal(contact, may_close=not declared):
        across.seen.append(f"answers a client of {label} {refusal}")
        return None
    if verdict := trouble(contact):
        return node.with_all(verdict, f"when a client of {label} offered a session of TLS 1.2")
    across.seen.append(f"makes a full handshake with a client of {label}")
    if not declared or old_session is None:
        return None
    twin = node.twin(Hello(version=_OLDER[version], suites=OLD_SUITES))
    if isinstance(twin, Verdict):
        return twin
    across.controls.append(partial(_at_its_own_version, node, twin, label))
    return _offer_back(node, old_session, version, across.seen)


def _at_its_own_version(node: Conversation, twin: Twin, label: str, verdict: Verdict) -> Verdict:
    """Offer an older version's session at that version: does any of it resume at all?"""
    judged = node.with_control(verdict, twin, f" of {label}")
    if judged.reason == "forgotten" and verdict.status is Status.PASSED:
        return skipped("nothing_resumes", f"no session of {label} resumes on {node.name}, not even "
                       f"at {label}, so that none does at TLS 1.2 proves nothing; otherwise "
                       f"{verdict.message}")
    return judged


def _refusal(contact: Contact, *, may_close: bool) -> str:
    """Say how the target refused a version, if it did.

    Whether a target of undeclared versions owes an alert is CORE-08's question.
    """
    failure = contact.handshake.failure
    if contact.handshake.outcome is Outcome.REFUSED:
        return f"with the alert {contact.handshake.alerts[-1].description}"
    if may_close and failure is not None and failure.cause in _CLOSED:
        return "by closing the connection"
    return ""


def _offer_back(node: Conversation, session: CraftedSession, version: str,
                seen: list[str]) -> Verdict | None:
    """Offer an older version's session at TLS 1.2."""
    label = _LABELS[version]
    contact, _ = node.hears(Hello(session_id=session.id), knowing=session)
    if contact.handshake.version == version:
        # Not the best that both speak, but the session's own.
        seen.append(f"goes back to {label} for a client of TLS 1.2 that offers a session of it")
        return None
    if verdict := _resumed_across(node, contact, f"{label} for a client of TLS 1.2"):
        return verdict
    if refusal := _refusal(contact, may_close=False):
        seen.append(f"answers a client of TLS 1.2 that offers a session of {label} {refusal}")
        return None
    if verdict := trouble(contact):
        return node.with_all(verdict, f"when a client of TLS 1.2 offered a session of {label}")
    seen.append(f"makes one with a client of TLS 1.2 that offers a session of {label}")
    return None


def _resumed_across(node: Conversation, contact: Contact, what: str) -> Verdict | None:
    handshake = contact.handshake
    if handshake.library_reused:
        lacking = handshake.version != "tlsv1.2" and handshake.cipher not in OLD_SUITES
        return failed("resumed_at_other_version",
                      f"{node.name} resumed a session of {what}, at {handshake.version} with "
                      f"{handshake.cipher}" + (", which that version does not have" * lacking),
                      *node.handshakes)
    if handshake.failure is not None and handshake.failure.cause == "other_version":
        return failed("other_version", f"{node.name} was offered a session of {what}, and "
                                       f"{handshake.failure.detail}", *node.handshakes)
    return None


def _offer_to_newer(bench: Bench, node: Conversation, across: _Across) -> Verdict | None:
    """Offer a TLS 1.2 session in a ClientHello that prefers TLS 1.3."""
    # A session of its own: a target that refuses this hello would spoil the run's one.
    made = time.monotonic()
    first = bench.contact(node.name)
    node.handshakes.append(first.handshake)
    if verdict := trouble(first):
        return node.with_all(verdict)
    if first.session is None:
        return node.no_session()
    across.controls.append(partial(_at_tls_1_2_again, bench, node, first.session, made))
    both = bench.contact(node.name, first.session, versions=("tlsv1.2", "tlsv1.3"))
    node.handshakes.append(both.handshake)
    if verdict := trouble(both):
        return node.with_all(verdict, "when a client that also speaks TLS 1.3 offered a session of "
                                            "TLS 1.2")
    if both.handshake.version == "tlsv1.3":
        # RFC 8446 4.1.3: any ID is echoed.
        across.seen.append("makes a full TLS 1.3 handshake with a client that speaks both, where "
                           "the echoed ID means nothing")
    else:
        across.seen.append("stays with TLS 1.2 for a client that also speaks TLS 1.3")
    return None


def _at_tls_1_2_again(bench: Bench, node: Conversation, session: Session, made: float,
                      verdict: Verdict) -> Verdict:
    """Offer a session of TLS 1.2, that a client of TLS 1.3 has offered too, where it must resume.
    """
    age_s = time.monotonic() - made
    contact = bench.contact(node.name, session)
    node.handshakes.append(contact.handshake)
    return shown(verdict, contact, "the session that a client of both versions has offered",
                 age_s=age_s, lifetime_s=bench.settings.session_lifetime)


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


# -- NEG-10 ---------------------------------------------------------------------------------------


def extended_master_secret_is_kept(bench: Bench, subject: Subject) -> Verdict:
    """NEG-10: RFC 7627's cases, the one that ends in an alert last."""
    (name,) = subject
    node = Conversation(bench, name)
    first = node.new_session(Hello())
    if isinstance(first, Verdict):
        return first
    extended, twin = first[1], node.twin(Hello())
    if isinstance(twin, Verdict):
        return twin
    if not first[0].handshake.extended_master_secret:
        return node.with_control(_without_extension(node, extended), twin)
    if verdict := _extended_to_extended(node, extended):
        return verdict
    legacy = _legacy_to_extended(node)
    if isinstance(legacy, Verdict):
        return legacy
    # That it did not abort is no fault of a node that had forgotten the session.
    return node.with_control(_extended_to_legacy(node, extended, legacy), twin,
                             also="ems_session_not_aborted")


def _without_extension(node: Conversation, session: CraftedSession) -> Verdict:
    """Offer sessions the same ways to a node that leaves the extension out of its ServerHello.

    It must not matter then whether a client has it, and a run makes the handshakes it announced.
    """
    plain = Hello(extended_master_secret=False)
    made, other = node.hears(plain)
    if other is None:
        return trouble(made) or node.no_session()
    contacts = [made, *(node.hears(replace(hello, session_id=offered.id), knowing=offered)[0]
                        for hello, offered in ((Hello(), session), (Hello(), other),
                                               (plain, session)))]
    for verdict in filter(None, map(trouble, contacts)):
        return node.with_all(verdict, "though whether a client has the extended master secret "
                                      "should not matter to a node that does not negotiate it")
    return Verdict(
        Status.WARNED, "not_negotiated", f"{node.name} does not negotiate the extended master "
        "secret, so a session is not bound to the handshake and the certificate it was made "
        "with; RFC 7627's rules for resumption do not apply (Erlang/OTP, and so EMQX, has none: "
        "erlang/otp#9235)", tuple(node.handshakes))


def _extended_to_extended(node: Conversation, session: CraftedSession) -> Verdict | None:
    contact, _ = node.hears(Hello(session_id=session.id), knowing=session)
    if verdict := trouble(contact):
        return node.with_all(verdict, "when a session with extended master secret was offered")
    if contact.handshake.outcome is not Outcome.RESUMED:
        return failed("not_resumed", f"{node.name} did not resume a session with extended master "
                                     "secret for a client that offers it again", *node.handshakes)
    if not contact.handshake.extended_master_secret:
        return failed("ems_dropped", f"{node.name} resumed a session with extended master secret "
                      "and left the extension out of its ServerHello, so that clients must break "
                      "off", *node.handshakes)
    return None


def _legacy_to_extended(node: Conversation) -> str | Verdict:
    """Return how a client without the extension fares, and one that has it the next time."""
    contact, session = node.hears(Hello(extended_master_secret=False))
    if contact.handshake.extended_master_secret:
        return failed("ems_unasked", f"{node.name} sends the extended_master_secret extension to a "
                                     "client that did not", *node.handshakes)
    if contact.handshake.outcome is Outcome.REFUSED:
        # RFC 7627 5.2 leaves that to the server.
        return f"refuses clients without it ({contact.handshake.alerts[-1].description})"
    if verdict := trouble(contact):
        return node.with_all(verdict, "without the extended_master_secret extension")
    if session is None:
        return node.no_session()
    if verdict := _upgraded(node, session):
        return verdict
    return "makes a full handshake when a client that had none comes with it"


def _upgraded(node: Conversation, session: CraftedSession) -> Verdict | None:
    contact, _ = node.hears(Hello(session_id=session.id), knowing=session)
    what = "a session without extended master secret, offered by a client that now has it"
    if contact.handshake.library_reused:
        return failed("resumed_into_ems", f"{node.name} resumed {what}", *node.handshakes)
    if verdict := trouble(contact):
        return node.with_all(verdict, what)
    if not contact.handshake.extended_master_secret:
        return failed("ems_dropped", f"{node.name} answered {what}, with a full handshake that "
                                     "leaves it out", *node.handshakes)
    return None


def _extended_to_legacy(node: Conversation, session: CraftedSession, seen: str) -> Verdict:
    contact, _ = node.hears(Hello(session_id=session.id, extended_master_secret=False),
                            knowing=session)
    handshake, failure = contact.handshake, contact.handshake.failure
    what = "a session with extended master secret, offered by a client without"
    if handshake.library_reused:
        return failed("resumed_without_ems", f"{node.name} resumed {what}", *node.handshakes)
    if handshake.outcome is Outcome.REFUSED:
        return passed(f"{node.name} keeps to the extended master secret: it resumes with it, "
                      f"{seen}, and answers {what}, with the fatal alert "
                      f"{handshake.alerts[-1].description}", *node.handshakes)
    if failure is not None and failure.cause in _CLOSED:
        return Verdict(Status.WARNED, "closed_without_alert",
                       f"{node.name} answered {what}, by closing the connection, without the "
                       "fatal alert that says why", tuple(node.handshakes))
    if verdict := trouble(contact):
        return node.with_all(verdict, what)
    # RFC 7627 5.3 wants the abbreviated handshake aborted, and 5.2 calls a fatal alert that. As
    # nothing was resumed, nobody is in danger.
    return Verdict(Status.WARNED, "ems_session_not_aborted",
                   f"{node.name} answered {what}, with a full handshake and not with a fatal alert",
                   tuple(node.handshakes))


# -- NEG-12 ---------------------------------------------------------------------------------------


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


def odd_hellos_resume(bench: Bench, subject: Subject) -> Verdict:
    """NEG-12: what a ClientHello looks like says nothing about its session."""
    (name,) = subject
    node = Conversation(bench, name)
    broken: list[tuple[str, str]] = []
    for shape in _shapes():
        # Whatever becomes of a session, the next shape is not to pay for it, and a run makes as
        # many handshakes with a node that breaks as with one that does not.
        session = _proven_session(node, Hello())
        if isinstance(session, Verdict):
            return session
        flaw = _flaw(node, shape, session)
        if isinstance(flaw, Verdict):
            return flaw
        if flaw is not None:
            broken.append(flaw)
    if broken:
        return failed(broken[0][0], f"{name}: {'; '.join(text for _, text in broken)}",
                      *node.handshakes)
    return passed(f"{name} resumed for a ClientHello in small and in tiny records, in small TCP "
                  "segments, with GREASE and unknown extensions, with GREASE among the supported "
                  "versions, and with all of that at once, and MQTT works", *node.handshakes)


def _flaw(node: Conversation, shape: _Shape, session: CraftedSession,
          ) -> tuple[str, str] | Verdict | None:
    """Return reason and sentence, a verdict when nothing could be measured, or None."""
    contact, _ = node.hears(replace(shape.hello, session_id=session.id), knowing=session)
    verdict = trouble(contact)
    if verdict is not None and verdict.status is Status.ERROR:
        return node.with_all(verdict, f"a ClientHello {shape.what}")
    if verdict is not None:
        return (f"broken_{shape.token}",
                f"a ClientHello {shape.what} does not get through: {contact.handshake.why}")
    if contact.handshake.outcome is not Outcome.RESUMED:
        return (f"not_resumed_{shape.token}",
                f"a ClientHello {shape.what} gets a full handshake")
    return None


def register(registry: Registry) -> None:
    """Add these checks to the family."""
    needs = (Need("CORE-02"),)
    registry.add(Check(
        "NEG-06", "No session resumes at another protocol version",
        "A TLS 1.2 session offered by a client of an older version does not resume, nor does an "
        "older version's session at TLS 1.2; in TLS 1.3 the echo of an offered ID resumes nothing. "
        "A full handshake or a fatal alert is right.",
        "RFC 5246 7, 7.4.1.2, RFC 5288 4, RFC 8446 4.1.3", Level.MUST, Impact.NOISY, Per.NODE,
        _versions_cost, other_version_does_not_resume,
        "What is allowed for each version does not hold for clients that resume: their sessions go "
        "on at an older one, with cipher suites that it does not have or a new session would be "
        "refused; or a client gets a version that it does not speak, and breaks off. Where no old "
        "client needs it, leave TLS 1.2 as the only version (ssl_options.versions).", needs,
        _other_versions,
        how="A session whose cipher suite both versions have, and which has just resumed, is "
            "offered in a ClientHello of TLS 1.1 and 1.0 as far as they are declared (1.1 when "
            "nothing is), and the session of that handshake, where they are declared, in one of "
            "TLS 1.2. An ordinary client offers another in a ClientHello that prefers TLS 1.3. "
            "MQTT must work on whatever connection comes of it.",
        control="In the end a session of TLS 1.2, made just before and ended properly, must "
                "resume, and so must the one that a client of TLS 1.3 has offered, at TLS 1.2. One "
                "of each older version is offered at that version: where none resumes even there, "
                "the check is skipped, nothing_resumes."))
    registry.add(Check(
        "NEG-10", "The extended master secret is kept when resuming",
        "A session with extended master secret resumes with the extension in the ServerHello, "
        "and a client that offers it without the extension gets a fatal alert; a session without "
        "leads to a full handshake for a client with the extension. A node that negotiates none, "
        "or falls back to a full handshake instead of the alert, is warned of.",
        "RFC 7627 5.2, 5.3", Level.MUST, Impact.NOISY, Per.NODE,
        Cost(full=4, resumed=2, refused=1), extended_master_secret_is_kept,
        "An attacker in the middle can make sessions with client and server that share one master "
        "secret (the triple handshake), which resumption then carries over to connections that "
        "both trust.", needs, crafted_and_resuming,
        how="A crafted client derives both kinds of master secret and offers each session with "
            "and without the extension, as far as RFC 7627 has a rule. With a node that does not "
            "negotiate it as many handshakes are made, in which it must not matter.",
        control="A session with extended master secret that is made just before and ended properly "
                "must resume with it in the end."))
    registry.add(Check(
        "NEG-12", "A fragmented or greased ClientHello still resumes",
        f"A session resumes for a ClientHello in records of {_RECORD} and of {_TINY_RECORD} bytes, "
        f"in TCP segments of {_SEGMENT} bytes, with GREASE values and unknown extensions, with a "
        "GREASE value among its supported versions, and with all of that at once, and MQTT works.",
        "RFC 5246 6.2.1, 7.4.1.4, RFC 8701 3", Level.SHOULD, Impact.NOISY, Per.NODE,
        Cost(full=6, resumed=2 * 6), odd_hellos_resume,
        "Devices behind links with a small MTU, with a small TLS record limit, or with a modern "
        "TLS library pay for full handshakes or do not get in at all.", needs,
        crafted_and_resuming,
        how="Each shape is tried with a session of its own, which first resumes with a plain "
            "ClientHello. GREASE is among cipher suites, extensions, groups and signature "
            "algorithms, and in another shape in supported_versions, beside TLS 1.2; an answer to "
            "any of it breaks the handshake off."))
