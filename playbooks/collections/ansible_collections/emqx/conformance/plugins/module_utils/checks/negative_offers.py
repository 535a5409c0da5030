"""NEG: sessions offered in a hello that no longer fits them: another suite, another name."""
from __future__ import annotations

from ..model import Handshake, Outcome
from ..tls.transcript import EXT_SERVER_NAME
from .bench import Bench, Contact
from .conversation import CRAFTED, Conversation
from .preconditions import crafted_and_resuming
from .registry import Check, Cost, Impact, Level, Need, Per, Registry, Status, Subject, Verdict
from .verdicts import failed, passed, trouble

if CRAFTED:
    from ..tls.crafted import SUITES, Conduct, CraftedSession, Hello, is_host_name

SOME_NAME, OTHER_NAME = "first.example", "second.example"
"""Names that no target has by chance (RFC 2606 3)."""
BROKEN_NAME = b"\x00\x05\x00\x00\xffab"
"""A server_name extension in which a name of 255 bytes has two."""

RESUMED_ALL_THE_SAME = "resumed_with_unoffered_suite"


def unoffered_suite_is_never_spoken(bench: Bench, subject: Subject) -> Verdict:
    """NEG-05: what a client does not offer it must not get, whatever it once agreed to."""
    (name,) = subject
    node = Conversation(bench, name)
    first = node.new_session(Hello())
    if isinstance(first, Verdict):
        return first
    session, twin = first[1], node.twin(Hello())
    if isinstance(twin, Verdict):
        return twin
    others = tuple(suite for suite in SUITES if suite != session.cipher)
    without, other = node.hears(Hello(suites=others))
    alone = without.handshake.outcome is Outcome.REFUSED
    if not alone and (verdict := trouble(without)):
        return node.with_all(verdict, f"without {session.cipher}, and with no session offered")
    offer, _ = node.hears(Hello(session_id=session.id, suites=others), knowing=session,
                          conduct=Conduct(also_speaks=(session.cipher,)))
    flaw = _flaw_in_suite(node, session, offer, others)
    if flaw and flaw.reason != RESUMED_ALL_THE_SAME:
        return flaw
    kept = other or session
    # Measured in any case: a deviation known of the first must not hide what comes of the second.
    verdict = _flaw_in_choice(node, kept) or flaw or passed(
        f"{name} {_answer(offer.handshake)} when its session was offered without "
        f"{session.cipher} ({_choice(without.handshake)}); offered a session of {kept.cipher} with "
        f"all suites, it {_answer(node.handshakes[-1])}")
    return node.with_control(verdict, twin)


def _flaw_in_suite(node: Conversation, session: CraftedSession, offer: Contact,
                   offered: tuple[str, ...]) -> Verdict | None:
    """Judge how the target went on without the session's suite; return a failure, or None."""
    handshake, name = offer.handshake, node.name
    without = f"with {session.cipher}, which that client did not offer"
    # The ServerHello is the deed; how far the handshake came after it makes no difference.
    if handshake.cipher == session.cipher and handshake.server_id == session.id:
        done = "resumed" if handshake.outcome is Outcome.RESUMED else "began to resume"
        return failed(RESUMED_ALL_THE_SAME, f"{name} {done} its session {without}",
                      *node.handshakes)
    if handshake.cipher is not None and handshake.cipher not in offered:
        return failed("unoffered_suite", f"{name} declined the session, and went on {without}",
                      *node.handshakes)
    if handshake.outcome is Outcome.REFUSED:
        return None
    failure = handshake.failure
    if failure is not None and failure.cause in ("connection_closed", "connection_reset"):
        return failed("closed_without_alert", f"{name} refused its session without "
                      f"{session.cipher} by closing the connection, without the fatal alert that "
                      "says why", *node.handshakes)
    verdict = trouble(offer)
    return verdict and node.with_all(verdict, f"when its session was offered without "
                                              f"{session.cipher}")


def _flaw_in_choice(node: Conversation, session: CraftedSession) -> Verdict | None:
    """Offer all suites, and a session whose suite would not be chosen now; return a failure.

    What BoringSSL's runner calls a cipher that is not preferred.
    """
    again, _ = node.hears(Hello(session_id=session.id), knowing=session)
    if verdict := trouble(again):
        return node.with_all(verdict, f"when offered a session of {session.cipher} and all suites")
    if again.handshake.outcome is Outcome.RESUMED and again.handshake.cipher != session.cipher:
        return failed("resumed_with_other_suite", f"{node.name} resumed a session of "
                      f"{session.cipher} with {again.handshake.cipher}", *node.handshakes)
    return None


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


def other_name_is_not_resumed(bench: Bench, subject: Subject) -> Verdict:
    """NEG-09: a session belongs to the name under which it was made."""
    (name,) = subject
    node = Conversation(bench, name)
    own = bench.nodes[name].server_name
    own = own if is_host_name(own) else SOME_NAME
    first = node.new_session(Hello(server_name=own))
    if isinstance(first, Verdict):
        return _own_name_refused(node, first, own)
    session, twin = first[1], node.twin(Hello(server_name=own))
    if isinstance(twin, Verdict):
        return twin
    for hello, how, may_refuse in _under_names(session, own):
        contact, _ = node.hears(hello, knowing=session)
        if may_refuse and contact.handshake.outcome is Outcome.REFUSED:
            continue
        if verdict := trouble(contact):
            return node.with_all(verdict, f"when offered a session of {own} {how}")
    return node.with_control(
        _names_judged(node, own, acknowledges=first[0].handshake.sni_acknowledged), twin)


def _under_names(session: CraftedSession, own: str) -> tuple[tuple[Hello, str, bool], ...]:
    """Return the hellos that offer a session, how they do, and whether an alert is right."""
    return (
        (Hello(session.id, server_name=own), "under that name", False),
        # Whatever comes after an alert may be due to that: the rest is not judged by resumption.
        (Hello(session.id, server_name=OTHER_NAME), f"under {OTHER_NAME}", True),
        (Hello(session.id, send_server_name=False), "without a name", True),
        (Hello(session.id, send_server_name=False, extensions=((EXT_SERVER_NAME, BROKEN_NAME),)),
         "with a server_name extension that cannot be decoded", True))


def _own_name_refused(node: Conversation, verdict: Verdict, own: str) -> Verdict:
    handshake = node.handshakes[-1]
    if own == SOME_NAME and handshake.outcome is Outcome.REFUSED:
        return Verdict(Status.SKIPPED, "no_name_known",
                       f"{node.name}'s server name is an address, which no client asks for by SNI, "
                       f"and it refuses names that it does not know with "
                       f"{handshake.alerts[-1].description}: set emqx_tls_server_name to one that "
                       "it knows", tuple(node.handshakes))
    return verdict


def _names_judged(node: Conversation, own: str, *, acknowledges: bool) -> Verdict:
    name, handshakes = node.name, tuple(node.handshakes)
    same, other, nameless, broken = handshakes[-4:]
    if same.outcome is not Outcome.RESUMED:
        return failed("not_resumed", f"{name} did not resume a session it had just issued, under "
                                     f"the same name, {own}", *handshakes)
    then = (f"; without a name it {_answer(nameless)}, and on a server_name extension that cannot "
            f"be decoded it {_answer(broken)}")
    if other.outcome is Outcome.RESUMED and acknowledges:
        return failed("resumed_under_other_name", f"{name} acknowledged the name {own}, and "
                      f"resumed that session under {OTHER_NAME}{then}", *handshakes)
    if any(handshake.outcome is Outcome.RESUMED and handshake.sni_acknowledged
           for handshake in handshakes):
        return failed("server_name_when_resumed", f"{name} put server_name into the ServerHello of "
                                                  "a resumed handshake", *handshakes)
    if other.outcome is Outcome.RESUMED:
        return Verdict(Status.INFO, "resumed_under_other_name",
                       f"{name} does not acknowledge names, as if it had not heard them, and "
                       f"resumed a session of {own} under {OTHER_NAME}{then} (Erlang/OTP binds a "
                       "session to its name from 29.1.2 on: erlang/otp#11773)", handshakes)
    if acknowledges and broken.outcome is not Outcome.REFUSED:
        # Who makes no use of the extension need not look into it (RFC 5246 7.4.1.4).
        return failed("accepted_broken_name", f"{name} acknowledges names, and yet "
                      f"{_answer(broken)} on a server_name extension that cannot be decoded",
                      *handshakes)
    return passed(f"{name} {'acknowledges' if acknowledges else 'does not acknowledge'} names, and "
                  f"resumes a session of {own} under that name; under {OTHER_NAME} it "
                  f"{_answer(other)}{then}", *handshakes)


def register(registry: Registry) -> None:
    """Add these of the family."""
    needs = (Need("CORE-02"),)
    registry.add(Check(
        "NEG-05", "A suite that is not offered is not spoken",
        "Offered a session without the session's cipher suite, a node makes a full handshake with "
        "a suite that was offered, or raises a fatal alert; it never goes on with the session's. A "
        "session whose suite is offered, and would not be the node's choice now, resumes with that "
        "suite or leads to a full handshake.",
        "RFC 5246 7.4.1.2, 7.4.1.3", Level.MUST, Impact.NOISY, Per.NODE, Cost(full=4, resumed=2),
        unoffered_suite_is_never_spoken,
        "A client that has stopped offering a weak suite is pushed back to it by resumption (the "
        "class of CVE-2010-4180).", needs, crafted_and_resuming,
        how="The session is offered with all other suites of ours; a client that would go on with "
            "the session's shows how far the node does. The same hello without a session shows "
            "first whether the node speaks any other suite, so that an alert can be told from "
            "having nothing in common. The session of that handshake, or else the first one, is "
            "then offered with all suites.",
        control="A session that is made just before and ended properly must resume in the end, for "
                "the ClientHello that it was made with."))
    registry.add(Check(
        "NEG-09", "A session does not resume under another name",
        "Where the ServerHello of a full handshake acknowledges server_name, the session is not "
        "resumed for a client that asks for another name; where it does not, that is informed of. "
        "The ServerHello of a resumed handshake carries no server_name, and a name that cannot "
        "be decoded leads to a fatal alert where names are acknowledged. What comes of a client "
        "without a name is reported.",
        "RFC 6066 3, RFC 5246 7.2.2", Level.MUST, Impact.NOISY, Per.NODE,
        # A client without a name may be resumed or not; a broken name may be passed over.
        Cost(full=4, resumed=2, refused=1),
        other_name_is_not_resumed,
        "What one virtual host has agreed with a client holds at another one, whose certificate "
        "and rules the client has never met.", needs, crafted_and_resuming,
        how="A session made under the node's server name (under first.example, if that is an "
            "address) is offered under the same name, under second.example, without any name, and "
            "with one whose length is wrong. A fatal alert is as good an answer to another name "
            "as a full handshake. Erlang/OTP binds a session to its name from 29.1.2 (ssl 11.7.8) "
            "on (erlang/otp#11773); earlier releases do not, and acknowledge no name.",
        control="A session that is made just before, under the same name, and ended properly must "
                "resume under it in the end."))
