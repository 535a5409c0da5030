"""CORE-08 and CORE-10: which versions a node speaks, and what a client gets that pins none."""
from __future__ import annotations

from ...model import Handshake, Outcome
from ...run.check import Check, Cost, Impact, Level, Need, Per, Status
from ...run.story import Story
from ...run.target import Target
from ...run.verdict import trouble

_OTHER_VERSIONS = ("tlsv1", "tlsv1.1", "tlsv1.3")
"""What CORE-08 offers alone. TLS 1.2 alone is what every other check offers; SSL 3.0 can no
longer be offered by any current TLS library."""
_DEFAULT_VERSIONS = ("tlsv1.2", "tlsv1.3")
"""What OpenSSL, GnuTLS, Go and Java offer unless they are told otherwise."""
_SPOKEN = "is spoken"
_NOT_OFFERED = "was not tried (our TLS library cannot offer it)"


def _versions_cost(target: Target) -> Cost:
    declared = target.settings.tls_versions
    spoken = sum(version in declared for version in _OTHER_VERSIONS)
    return Cost(full=1 + spoken, refused=len(_OTHER_VERSIONS) - spoken)


@Check(
    id="CORE-08",
    title="Only the declared versions are spoken",
    requirement=(
        "Versions outside the declared ones end in a fatal alert, and a client that also offers "
        "TLS 1.3 gets what is declared."),
    clause="RFC 5246 7.2.2, E.1",
    level=Level.MUST, impact=Impact.NOISY, per=Per.NODE, cost=_versions_cost,
    meaning=(
        "Devices speak another TLS version than the configuration says, and session IDs do not "
        "resume in it, or old versions are open to attack."),
    needs=(Need("CORE-01"),),
    how=(
        "Clients that offer TLS 1.0, 1.1 and 1.3 alone are answered by a handshake where "
        "the version is declared and by the target's own fatal alert where it is not; "
        "one that offers 1.2 and 1.3 must get the best that is declared. Where nothing "
        "is declared, what was seen is told and not judged."),
    reasons={
        "version_refused": "it does not speak a version that is declared",
        "version_accepted": "it speaks a version that is not declared",
        "no_alert": "a version that is not declared is refused without a fatal alert",
        "other_version": "a client that offers 1.2 and 1.3 does not get the best that is declared",
        "undeclared": "no version is declared, so there is nothing to judge"})
def versions_as_declared(story: Story) -> str:
    """Nothing but the declared versions, and the best of them for who offers more."""
    node, declared = story.node, story.settings.tls_versions
    answers = [_offered_alone(story, version) for version in _OTHER_VERSIONS]
    both = story.reaches_mqtt(story.contact(node, versions=_DEFAULT_VERSIONS))
    gets = f"a client that offers both 1.2 and 1.3 gets {both.version}"
    best = "tlsv1.3" if "tlsv1.3" in declared else "tlsv1.2"
    seen = "; ".join([*(told for told, _ in answers), gets])
    flaws = [flaw for _, flaw in answers if flaw is not None]
    if both.version != best:
        flaws.append(("other_version", f"{gets} and not {best}"))
    if not declared:
        story.inform("undeclared", f"{node}: {seen} (resumption_tls_versions declares nothing)")
    if flaws:
        story.fail(flaws[0][0], f"{node}: {'; '.join(text for _, text in flaws)}")
    return f"{node}: {seen}"


def _offered_alone(story: Story, version: str) -> tuple[str, tuple[str, str] | None]:
    """Offer one version alone; return what came of it, and reason and clause of a flaw in that."""
    contact = story.contact(story.node, versions=(version, version))
    failure = contact.handshake.failure
    if failure is not None and failure.stage == "connect":
        story.reaches_mqtt(contact)
    told, declared = _told(contact.handshake), version in story.settings.tls_versions
    flaw = None
    if told == _NOT_OFFERED:
        pass
    elif declared and told != _SPOKEN:
        flaw = ("version_refused", f"{version} is declared, and {told}")
    elif not declared and told == _SPOKEN:
        flaw = ("version_accepted", f"{version} is not declared, and {told}")
    elif not declared and contact.handshake.outcome is not Outcome.REFUSED:
        flaw = ("no_alert", f"{version} is not declared, and {told}, without a fatal alert")
    return f"{version} {told}", flaw


def _told(handshake: Handshake) -> str:
    """Say how the target answered the one version that was offered."""
    if handshake.failure is None:
        return _SPOKEN
    if not handshake.client_random:
        return _NOT_OFFERED
    if handshake.outcome is Outcome.REFUSED:
        return f"is refused ({handshake.refusal})"
    return f"ends with: {handshake.failure.detail}"


@Check(
    id="CORE-10",
    title="What a client gets that pins no version",
    requirement=(
        "Which version and cipher suite a client gets that offers TLS 1.2 and 1.3 is reported."),
    clause="RFC 8446 4.2.1, D.1",
    level=Level.INFO, impact=Impact.SAFE, per=Per.NODE, cost=Cost(full=1),
    meaning=(
        "Nothing by itself: where it is TLS 1.3, clients that speak it too resume by tickets "
        "(RFC 8446 2.2) or not at all, and session IDs serve those that speak TLS 1.2 alone."),
    needs=(Need("CORE-01"),),
    how=(
        "A client that offers TLS 1.2 and 1.3, as TLS libraries do by default, makes a "
        "handshake and speaks MQTT. All other checks of resumption offer TLS 1.2 alone."),
    reasons={"not_tls_1_2": "a client that pins no version does not get TLS 1.2"})
def default_client(story: Story) -> str:
    """Every other check speaks TLS 1.2 alone; who does not pin it may never resume."""
    contact = story.contact(story.node, versions=_DEFAULT_VERSIONS, keep_session=False)
    verdict = trouble(contact)
    if verdict is not None and verdict.status is Status.FAILED:
        # Nothing is demanded of the target here, but who is turned away wants to know.
        story.warn(verdict.reason, verdict.message)
    handshake = story.reaches_mqtt(contact)
    story.data.update(version=handshake.version, cipher=handshake.cipher)
    gets = (f"{story.node}: a client that pins no version gets {handshake.version} with "
            f"{handshake.cipher}")
    if handshake.version != "tlsv1.2":
        story.inform("not_tls_1_2", f"{gets}, where no session ID resumes: what the rest of this "
                     "report says holds for clients that speak TLS 1.2 alone")
    return f"{gets}, where session IDs resume"
