"""SEC-04: forward secrecy, and no compression."""
from __future__ import annotations

from ...run.check import Check, Cost, Impact, Level, Need, Per
from ...run.conversation import CRAFTED, Conversation
from ...run.preconditions import crafted
from ...run.story import Story
from ...tls.engine import is_forward_secret

if CRAFTED:
    from ...tls.crafted import SUITES, Hello


_DEFLATE = 1
"""RFC 3749 2.1."""


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
