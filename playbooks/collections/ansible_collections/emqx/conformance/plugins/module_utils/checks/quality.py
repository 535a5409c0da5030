"""SEC: is what a session is made of any good: its ID, and the secret that it keeps alive."""
from __future__ import annotations

from typing import Any

from ..model import Handshake, Outcome
from ..tls.engine import is_forward_secret
from . import session_ids
from .bench import Bench, Contact
from .conversation import CRAFTED, Conversation, client_for
from .preconditions import crafted
from .registry import Check, Cost, Impact, Level, Need, Per, Registry, Status, Subject, Verdict
from .verdicts import error, failed, passed, trouble

if CRAFTED:
    from ..tls.crafted import SUITES, Conduct, Hello, StopAfter

SAMPLE = 256
"""Session IDs that SEC-03 looks at."""
_SHOWN = 16
"""IDs that a bad finding quotes."""
_DEFLATE = 1
"""RFC 3749 2.1."""


def ids_are_unique_and_unpredictable(bench: Bench, subject: Subject) -> Verdict:
    """SEC-03: who can guess an ID can probe for sessions; who gets another's loses his own."""
    (node,) = subject
    before = [handshake.server_id for handshake in bench.handshakes if _issued(handshake, node)]
    client = client_for(bench, node)
    sample: list[bytes] = []
    first: Handshake | None = None
    for _ in range(SAMPLE):
        handshake = bench.in_turn(node, lambda: client.connect(
            bench.nodes[node], Hello(), conduct=Conduct(stop_after=StopAfter.SERVER_HELLO_DONE),
            deadline_s=bench.settings.deadline_s)).handshake
        as_asked = handshake.failure is not None and handshake.failure.cause == "broken_off"
        contact = bench.heard(node, Contact(handshake), listed=first is None or not as_asked)
        if not as_asked:
            early = trouble(contact) or error("harness_error", f"{node}: {handshake.why}")
            return Verdict(early.status, early.reason, f"{early.message} (session ID "
                           f"{len(sample) + 1} of {SAMPLE})", (handshake,))
        first = first or handshake
        sample.append(handshake.server_id)
    return _judged(node, sample, before, first)


def _issued(handshake: Handshake, node: str) -> bool:
    return (handshake.endpoint.name == node and handshake.outcome is Outcome.FULL
            and handshake.version == "tlsv1.2" and bool(handshake.server_id))


def _judged(node: str, sample: list[bytes], before: list[bytes],
            first: Handshake | None) -> Verdict:
    evidence = () if first is None else (first,)
    without = sum(not session_id for session_id in sample)
    if without:
        return error("no_session_id", f"{node} issued no session ID in {without} of {SAMPLE} "
                     "handshakes, so there is nothing to compare", *evidence)
    reading = session_ids.read(sample, before)
    data: dict[str, Any] = {
        "session_ids": len(sample), "compared_with": len(before),
        "shortest_bytes": reading.shortest, "longest_bytes": reading.longest,
        "repeated": len(reading.repeated), "varying_bits": reading.varying_bits,
        "independent_bits": reading.independent_bits}
    verdict = _verdict(node, reading, len(sample) + len(before))
    if verdict.status is not Status.PASSED:
        worst = (*reading.repeated, *sample)[:_SHOWN]
        data["examples"] = [session_id.hex() for session_id in worst]
    return Verdict(verdict.status, verdict.reason, verdict.message, evidence, data)


def _verdict(node: str, reading: session_ids.Reading, count: int) -> Verdict:
    if reading.repeated:
        return failed("repeated_id", f"{node} issued {len(reading.repeated)} of its session IDs "
                      f"more than once in {count} handshakes, such as "
                      f"{reading.repeated[0].hex()}")
    if reading.steps:
        return _guessable("counter_id", f"{node} counts: its session IDs follow one another in "
                                        "small or equal steps")
    enough = session_ids.ENOUGH_BITS
    if 8 * reading.shortest < enough:
        return _guessable("short_id", f"{node} issues session IDs of {reading.shortest} bytes, "
                                      f"too few to be beyond guessing ({enough // 8} would do)")
    if reading.independent_bits < enough:
        return _guessable("predictable_bits", f"only {reading.independent_bits} of the "
                          f"{8 * reading.shortest} bits of {node}'s session IDs vary without a "
                          f"pattern ({enough} would do)")
    length = f"{reading.shortest}" if reading.shortest == reading.longest else \
        f"{reading.shortest} to {reading.longest}"
    return passed(f"{count} session IDs of {node}, of {length} bytes, are all different, and at "
                  f"least {enough} of their bits show no pattern")


def _guessable(reason: str, message: str) -> Verdict:
    # The uniqueness is a MUST, the rest a SHOULD.
    return Verdict(Status.WARNED, reason, message)


def forward_secret_and_uncompressed(bench: Bench, subject: Subject) -> Verdict:
    """SEC-04: tempt the node with a static RSA key exchange, and with compression."""
    (name,) = subject
    node = Conversation(bench, name)
    contact, _ = node.hears(Hello(suites=_static_first(), compression=(_DEFLATE, 0)), patient=True)
    handshake = contact.handshake
    if handshake.compression:
        return failed("compression", f"{name} compresses: it chose method {handshake.compression} "
                                     "of a client that offers it", *node.handshakes)
    if verdict := trouble(contact):
        return verdict
    if not is_forward_secret(handshake.cipher):
        told = "; it speaks no other, and got the password over it" if \
            bench.takes_no_forward_secrecy(bench.nodes[name]) else ""
        return failed("static_rsa", f"{name} chose {handshake.cipher}, without forward secrecy, "
                      f"of a client that prefers it and offers forward-secret suites too{told}",
                      *node.handshakes)
    return passed(f"{name} chose the forward-secret {handshake.cipher} of a client that prefers "
                  "static RSA, and no compression of one that offers it", *node.handshakes)


def _static_first() -> tuple[str, ...]:
    return tuple(sorted(SUITES, key=is_forward_secret))


def register(registry: Registry) -> None:
    """Add these checks of the family."""
    registry.add(Check(
        "SEC-03", "Session IDs are unique and unpredictable",
        f"{SAMPLE} session IDs in a row, and all others that the run has seen of the node, are "
        "different (MUST); their bits vary without a pattern, enough of them to be beyond guessing "
        "(SHOULD: a node whose IDs can be guessed is warned of).",
        "RFC 5246 7.4.1.3, F.1.4", Level.MUST, Impact.NOISY, Per.NODE, Cost(unfinished=SAMPLE),
        ids_are_unique_and_unpredictable,
        "Two devices share an ID, so that one of them cannot resume or meets the other's session; "
        "or an outsider can count the node's sessions and try theirs, so that only the master "
        "secret stands between them.", (Need("CORE-01"),), crafted,
        how=f"A crafted client reads {SAMPLE} ServerHellos and breaks off, so that nothing takes "
        "a place in the session cache. Looked for are repetitions, counters in either byte order, "
        "bits that are constant, lopsided or periodic, and bits that follow linearly from others: "
        f"{session_ids.ENOUGH_BITS} bits must be left. A node whose IDs are random is warned of "
        "with a probability below 1e-9. That IDs look random does not prove that they are."))
    registry.add(Check(
        "SEC-04", "Forward secrecy, and no compression",
        "Of a client that offers forward-secret cipher suites and would rather have a static RSA "
        "key exchange, and that offers compression, a node chooses forward secrecy and no "
        "compression.",
        "RFC 9325 3.3, 4.1; RFC 3749", Level.SHOULD, Impact.SAFE, Per.NODE, Cost(full=1),
        forward_secret_and_uncompressed,
        "Whoever gets hold of the node's key later can decrypt what was recorded today, or lengths "
        "of compressed records give secrets away. Forward secrecy begins only when a session is "
        "forgotten: until then its master secret is in the node's memory, and every resumption "
        "is keyed by it. In EMQX: leave suites without ECDHE out of ciphers, or put them last and "
        "set honor_cipher_order = true.", (Need("CORE-01"),), crafted,
        how="A crafted client puts the static RSA suites first in its ClientHello and offers "
        "DEFLATE before no compression. The handshake is finished and MQTT spoken on it, but no "
        "password is sent without forward secrecy to a node that also speaks suites with it. "
        "Whether the node would refuse a client that offers static RSA alone is not asked, since a "
        "refusal fills its log."))
