"""Three witnesses, every combination."""
from __future__ import annotations

import itertools

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.model import Outcome
from ansible_collections.emqx.conformance.plugins.module_utils.tls.transcript import (
    SeenHello,
    Transcript,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.witness import (
    judge,
    wire_says_abbreviated,
)

ID, OTHER = bytes(32), bytes(31) + b"\x01"


@pytest.mark.parametrize(("offered", "library", "wire", "secret"), list(itertools.product(
    (True, False), (True, False), (True, False, None), (True, False, None))))
def test_resumed_and_full_need_all_witnesses(
        offered: bool, library: bool, wire: bool | None, secret: bool | None) -> None:
    outcome, why = judge(offered=offered, library_reused=library, abbreviated=wire,
                         same_master_secret=secret)
    if offered and library and wire is True and secret is True:
        assert outcome is Outcome.RESUMED
    elif not library and wire is False and secret is not True:
        assert outcome is Outcome.FULL
    else:
        assert outcome is Outcome.INCONSISTENT
        assert "disagree" in why


def transcript_of(offered: bytes, answered: bytes, flight: tuple[str, ...],
                  version: str = "tlsv1.2", asked_for: str = "tlsv1.2") -> Transcript:
    transcript = Transcript()
    transcript.client_hello = SeenHello(asked_for, bytes(32), offered, (0xC02F,), ())
    transcript.server_hello = SeenHello(version, bytes(32), answered, (0xC02F,), ())
    direction = transcript._directions["server"]
    for name in flight:
        transcript._add(direction, name, 1)
    return transcript


FULL_FLIGHT = ("ServerHello", "Certificate", "ServerKeyExchange", "ServerHelloDone",
               "ChangeCipherSpec", "Finished")
SHORT_FLIGHT = ("ServerHello", "ChangeCipherSpec", "Finished")


@pytest.mark.parametrize(("case", "seen"), [
    (transcript_of(ID, ID, SHORT_FLIGHT), True),
    (transcript_of(ID, OTHER, FULL_FLIGHT), False),
    (transcript_of(b"", OTHER, FULL_FLIGHT), False),
    (transcript_of(b"", b"", FULL_FLIGHT), False),
    (transcript_of(ID, ID, FULL_FLIGHT), None),
    (transcript_of(ID, OTHER, SHORT_FLIGHT), None),
    (transcript_of(b"", b"", SHORT_FLIGHT), None),
    # A TLS 1.3 server echoes the legacy session ID: that is no resumption.
    (transcript_of(ID, ID, SHORT_FLIGHT, "tlsv1.3"), False),
    # RFC 4346 7.3: an older version's resumption looks the same, if that is what was asked for.
    (transcript_of(ID, ID, SHORT_FLIGHT, "tlsv1.1", "tlsv1.1"), True),
    (transcript_of(ID, ID, SHORT_FLIGHT, "tlsv1.1"), None),
    (transcript_of(ID, ID, ("ServerHello", "ServerHelloDone", "ChangeCipherSpec")), None),
    (Transcript(), None),
])
def test_what_the_wire_shows(case: Transcript, seen: bool | None) -> None:
    assert wire_says_abbreviated(case) is seen
