"""SEC-03, SEC-04: is what a session is made of any good: its ID, and the secret it keeps alive."""
from __future__ import annotations

from ..model import Handshake, Outcome
from ..run.prober import Contact
from ..tls.engine import is_forward_secret
from . import session_ids
from .conversation import CRAFTED, Conversation, client_for
from .preconditions import crafted
from .registry import Check, Cost, Impact, Level, Need, Per, Status
from .story import Story, came_to

if CRAFTED:
    from ..tls.crafted import SUITES, Conduct, Hello, StopAfter

SAMPLE = 256
"""Session IDs that SEC-03 looks at."""
_SHOWN = 16
"""IDs that a bad finding quotes."""
_DEFLATE = 1
"""RFC 3749 2.1."""


@Check(
    id="SEC-03",
    title="Session IDs are unique and unpredictable",
    requirement=(
        f"{SAMPLE} session IDs in a row, and all others that the run has seen of the node, are "
        "different (MUST); their bits vary without a pattern, enough of them to be beyond guessing "
        "(SHOULD: a node whose IDs can be guessed is warned of)."),
    clause="RFC 5246 7.4.1.3, F.1.4",
    level=Level.MUST, impact=Impact.NOISY, per=Per.NODE, cost=Cost(unfinished=SAMPLE),
    meaning=(
        "Two devices share an ID, so that one of them cannot resume or meets the other's session; "
        "or an outsider can count the node's sessions and try theirs, so that only the master "
        "secret stands between them."),
    needs=(Need("CORE-01"),), precondition=crafted,
    how=(
        f"A crafted client reads {SAMPLE} ServerHellos and breaks off, so that nothing takes "
        "a place in the session cache. Looked for are repetitions, counters in either byte order, "
        "bits that are constant, lopsided or periodic, and bits that follow linearly from others: "
        f"{session_ids.ENOUGH_BITS} bits must be left. A node whose IDs are random is warned of "
        "with a probability below 1e-9. That IDs look random does not prove that they are."),
    reasons={
        "repeated_id": "it issues a session ID more than once",
        "counter_id": "its session IDs follow one another in small or equal steps",
        "short_id": "its session IDs are too short to be beyond guessing",
        "predictable_bits": "too few bits of its session IDs vary without a pattern",
        "no_session_id": "a handshake brings no session ID"})
def ids_are_unique_and_unpredictable(story: Story) -> str:
    """Who can guess an ID can probe for sessions; who gets another's loses his own."""
    before = [handshake.server_id for handshake in story.ledger.handshakes
              if _issued(handshake, story.node)]
    sample = _sample(story)
    without = sum(not session_id for session_id in sample)
    if without:
        story.error("no_session_id", f"{story.node} issued no session ID in {without} of {SAMPLE} "
                                     "handshakes, so there is nothing to compare")
    reading = session_ids.read(sample, before)
    story.data.update({
        "session_ids": len(sample), "compared_with": len(before),
        "shortest_bytes": reading.shortest, "longest_bytes": reading.longest,
        "repeated": len(reading.repeated), "varying_bits": reading.varying_bits,
        "independent_bits": reading.independent_bits})
    verdict = came_to(lambda: _judged(story, reading, len(sample) + len(before)))
    if verdict.status is not Status.PASSED:
        worst = (*reading.repeated, *sample)[:_SHOWN]
        story.data["examples"] = [session_id.hex() for session_id in worst]
    return story.settled(verdict)


def _issued(handshake: Handshake, node: str) -> bool:
    return (handshake.endpoint.name == node and handshake.outcome is Outcome.FULL
            and handshake.version == "tlsv1.2" and bool(handshake.server_id))


def _sample(story: Story) -> list[bytes]:
    """Return the session IDs of handshakes that are broken off; only the first one is evidence."""
    bench, node, client = story.bench, story.node, client_for(story)
    sample: list[bytes] = []
    for number in range(1, SAMPLE + 1):
        handshake = bench.prober.in_turn(node, lambda: client.connect(
            bench.nodes[node], Hello(), conduct=Conduct(stop_after=StopAfter.SERVER_HELLO_DONE),
            deadline_s=bench.settings.deadline_s)).handshake
        as_asked = handshake.failure is not None and handshake.failure.cause == "broken_off"
        shown = number == 1 or not as_asked
        contact = bench.prober.heard(node, Contact(handshake), listed=shown)
        if shown:
            story.seen(contact)
        if not as_asked:
            story.unexpected(contact, f"session ID {number} of {SAMPLE}")
        sample.append(handshake.server_id)
    return sample


def _judged(story: Story, reading: session_ids.Reading, count: int) -> str:
    """Judge session IDs: that they are different is a MUST, the rest a SHOULD."""
    node, enough = story.node, session_ids.ENOUGH_BITS
    if reading.repeated:
        story.fail("repeated_id", f"{node} issued {len(reading.repeated)} of its session IDs more "
                   f"than once in {count} handshakes, such as {reading.repeated[0].hex()}")
    if reading.steps:
        story.warn("counter_id", f"{node} counts: its session IDs follow one another in small or "
                                 "equal steps")
    if 8 * reading.shortest < enough:
        story.warn("short_id", f"{node} issues session IDs of {reading.shortest} bytes, too few to "
                               f"be beyond guessing ({enough // 8} would do)")
    if reading.independent_bits < enough:
        story.warn("predictable_bits", f"only {reading.independent_bits} of the "
                   f"{8 * reading.shortest} bits of {node}'s session IDs vary without a pattern "
                   f"({enough} would do)")
    length = f"{reading.shortest}" if reading.shortest == reading.longest else \
        f"{reading.shortest} to {reading.longest}"
    return (f"{count} session IDs of {node}, of {length} bytes, are all different, and at least "
            f"{enough} of their bits show no pattern")


@Check(
    id="SEC-04",
    title="Forward secrecy, and no compression",
    requirement=(
        "Of a client that offers forward-secret cipher suites and would rather have a static RSA "
        "key exchange, and that offers compression, a node chooses forward secrecy and no "
        "compression."),
    clause="RFC 9325 3.3, 4.1; RFC 3749",
    level=Level.SHOULD, impact=Impact.SAFE, per=Per.NODE, cost=Cost(full=1),
    meaning=(
        "Whoever gets hold of the node's key later can decrypt what was recorded today, or lengths "
        "of compressed records give secrets away. Forward secrecy begins only when a session is "
        "forgotten: until then its master secret is in the node's memory, and every resumption "
        "is keyed by it. In EMQX: leave suites without ECDHE out of ciphers, or put them last and "
        "set honor_cipher_order = true."),
    needs=(Need("CORE-01"),), precondition=crafted,
    how=(
        "A crafted client puts the static RSA suites first in its ClientHello and offers "
        "DEFLATE before no compression. The handshake is finished and MQTT spoken on it, but no "
        "password is sent without forward secrecy to a node that also speaks suites with it. "
        "Whether the node would refuse a client that offers static RSA alone is not asked, since a "
        "refusal fills its log."),
    reasons={
        "static_rsa": "it prefers a static RSA key exchange to forward secrecy",
        "compression": "it compresses"})
def forward_secret_and_uncompressed(story: Story) -> str:
    """Tempt the node with a static RSA key exchange, and with compression."""
    node = Conversation(story)
    contact, _ = node.hears(Hello(suites=_static_first(), compression=(_DEFLATE, 0)), patient=True)
    method = contact.handshake.compression
    if method:
        story.fail("compression", f"{node} compresses: it chose method {method} of a client that "
                                  "offers it")
    cipher = story.reaches_mqtt(contact).cipher
    if not is_forward_secret(cipher):
        told = "; it speaks no other, and got the password over it" if \
            story.prober.takes_no_forward_secrecy(story.bench.nodes[story.node]) else ""
        story.fail("static_rsa", f"{node} chose {cipher}, without forward secrecy, of a client "
                                 f"that prefers it and offers forward-secret suites too{told}")
    return (f"{node} chose the forward-secret {cipher} of a client that prefers static RSA, and no "
            "compression of one that offers it")


def _static_first() -> tuple[str, ...]:
    return tuple(sorted(SUITES, key=is_forward_secret))
