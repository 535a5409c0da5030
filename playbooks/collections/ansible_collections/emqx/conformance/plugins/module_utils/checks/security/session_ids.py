"""SEC-03: session IDs are unique and cannot be predicted."""
from __future__ import annotations

from ...model import Handshake, Outcome
from ...run import randomness
from ...run.check import Check, Cost, Impact, Level, Need, Per, Status
from ...run.conversation import CRAFTED, client_for
from ...run.preconditions import crafted
from ...run.prober import Contact
from ...run.story import Story, came_to

if CRAFTED:
    from ...tls.crafted import Conduct, Hello, StopAfter


SAMPLE = 256
"""Session IDs that SEC-03 looks at."""
_SHOWN = 16
"""IDs that a bad finding quotes."""


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
        f"{randomness.ENOUGH_BITS} bits must be left. A node whose IDs are random is warned of "
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
    reading = randomness.read(sample, before)
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


def _judged(story: Story, reading: randomness.Reading, count: int) -> str:
    """Judge session IDs: that they are different is a MUST, the rest a SHOULD."""
    node, enough = story.node, randomness.ENOUGH_BITS
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
