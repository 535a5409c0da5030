"""The readers held to what no single input shows: independence, memory and time."""
from __future__ import annotations

import contextlib
import time
import tracemalloc
from collections.abc import Callable

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt import client as mqtt
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.credentials import (
    Credentials,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls import session_file
from ansible_collections.emqx.conformance.plugins.module_utils.tls import transcript as t
from ansible_collections.emqx.conformance.plugins.module_utils.tls.wire import Deadline
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tlslite.errors import TLSProtocolException
from tlslite.messages import ClientHello, ServerHello
from tlslite.utils.codec import DecodeError, Parser

from tests.fuzz import reference, targets

SENDERS = ["client", "server"]


def record(kind: int, fragment: bytes) -> bytes:
    return bytes((kind, 3, 3)) + len(fragment).to_bytes(2, "big") + fragment


def message(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + len(body).to_bytes(3, "big") + body


def vector(size: int, body: bytes) -> bytes:
    return len(body).to_bytes(size, "big") + body


# -- the transcript reader, side by side with the plain one ----------------------------------------

_EXTENSIONS = st.lists(st.builds(
    lambda kind, data: kind.to_bytes(2, "big") + vector(2, data),
    st.one_of(st.sampled_from((23, 35, 43, 0xFF01)), st.integers(0, 0xFFFF)),
    st.binary(max_size=6)), max_size=4).map(b"".join)


def _hello(*, client: bool, id_length: int = 32) -> st.SearchStrategy[bytes]:
    choice = st.lists(st.integers(0, 0xFFFF), max_size=3).map(
        lambda suites: vector(2, b"".join(suite.to_bytes(2, "big") for suite in suites))
        + b"\x01\x00") if client else st.binary(min_size=2, max_size=2).map(lambda suite: suite
                                                                            + b"\x00")
    return st.builds(
        lambda session_id, chosen, extensions: b"\x03\x03" + bytes(32) + vector(1, session_id)
        + chosen + (vector(2, extensions) if extensions else b""),
        st.binary(max_size=id_length), choice, _EXTENSIONS)


_MESSAGES = st.one_of(
    _hello(client=True).map(lambda body: message(1, body)),
    _hello(client=False).map(lambda body: message(2, body)),
    st.builds(message, st.sampled_from((0, 4, 11, 12, 14, 16, 20, 99)), st.binary(max_size=60)))


class Reading(RuleBasedStateMachine):
    """Two well-formed streams that come in pieces of any size, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.transcript = t.Transcript()
        self.fed = dict.fromkeys(SENDERS, b"")
        self.waiting = dict.fromkeys(SENDERS, b"")
        self.handshaking = dict.fromkeys(SENDERS, True)
        self.frozen: object = None

    @precondition(lambda self: self.frozen is None)
    @rule(sender=st.sampled_from(SENDERS), messages=st.lists(_MESSAGES, min_size=1, max_size=4),
          cuts=st.integers(1, 100))
    def say_messages(self, sender: str, messages: list[bytes], cuts: int) -> None:
        """Several in a record, or one in several."""
        if self.handshaking[sender]:
            data = b"".join(messages)
            self.waiting[sender] += b"".join(
                record(22, data[at:at + cuts]) for at in range(0, len(data), cuts))

    @precondition(lambda self: self.frozen is None)
    @rule(sender=st.sampled_from(SENDERS), kind=st.sampled_from((21, 23, 24)))
    def say_something_else(self, sender: str, kind: int) -> None:
        """An alert, application data, a heartbeat."""
        self.waiting[sender] += record(kind, b"\x01\x00")

    @precondition(lambda self: self.frozen is None)
    @rule(sender=st.sampled_from(SENDERS), finished=st.binary(min_size=1, max_size=40))
    def change_cipher_spec(self, sender: str, finished: bytes) -> None:
        """From here on nothing can be read."""
        self.waiting[sender] += record(20, b"\x01") + record(22, finished)
        self.handshaking[sender] = False

    @rule(sender=st.sampled_from(SENDERS), count=st.integers(1, 200))
    def arrive(self, sender: str, count: int) -> None:
        """Some of it arrives."""
        piece, self.waiting[sender] = self.waiting[sender][:count], self.waiting[sender][count:]
        self.transcript.feed(sender, piece)
        if self.frozen is None:
            self.fed[sender] += piece

    @precondition(lambda self: self.frozen is None and sum(map(len, self.fed.values())) > 300)
    @rule()
    def freeze(self) -> None:
        """The handshake is over; whatever comes is not recorded."""
        self.transcript.freeze()
        self.frozen = targets.told(self.transcript)

    @invariant()
    def reads_what_the_plain_reader_reads(self) -> None:
        """Both directions, each in its own order."""
        for sender in SENDERS:
            seen = [(m.name, m.length) for m in self.transcript.messages if m.sender == sender]
            assert seen == targets.plainly(self.fed[sender])
        assert self.transcript.bytes_out == len(self.fed["client"])
        assert self.transcript.bytes_in == len(self.fed["server"])
        if self.frozen is not None:
            assert targets.told(self.transcript) == self.frozen


TestReading = Reading.TestCase
TestReading.settings = settings(deadline=None, stateful_step_count=20)


@settings(deadline=None)
@given(client=st.booleans(), data=st.data())
def test_hellos_are_read_as_tlslite_reads_them(client: bool, data: st.DataObject) -> None:
    body = data.draw(_hello(client=client, id_length=33))
    end = data.draw(st.integers(0, len(body) + 1))
    body = (body + b"\x00")[:end] if data.draw(st.booleans()) else body
    theirs = (ClientHello() if client else ServerHello())
    try:
        ours = t.parse_hello(body, client=client)
    except t.TranscriptError:
        return
    try:
        theirs.parse(Parser(bytearray(len(body).to_bytes(3, "big") + body)))
    except (TLSProtocolException, DecodeError, SyntaxError, ValueError):
        return  # It reads into the extensions, which is no business of a transcript.
    assert ours.session_id == bytes(theirs.session_id)
    assert ours.random == bytes(theirs.random)
    assert list(ours.extensions) == [one.extType for one in theirs.extensions or []]
    assert list(ours.cipher_suites) == (
        list(theirs.cipher_suites) if client else [theirs.cipher_suite])


# -- memory and time -------------------------------------------------------------------------------

UNITS = {
    "a Certificate": record(22, bytes(2**14)),
    "small pieces of a Certificate": record(22, b"x") * 500,
    "empty handshake records": record(22, b"") * 500,
    "HelloRequests": record(22, message(0, b"") * 4000),
    "application data": record(23, bytes(2**14)),
    "alerts": record(21, b"\x01\x5a") * 100,
    "ChangeCipherSpecs": record(20, b"\x01") * 100,
}


def _read_endless(unit: bytes, times: int, step: int) -> None:
    reader = t.Transcript()
    with contextlib.suppress(t.TranscriptError):
        reader.feed("server", record(22, b"\x0b\xff\xff\xff"))
        for _ in range(times):
            for at in range(0, len(unit), step):
                reader.feed("server", unit[at:at + step])


@pytest.mark.parametrize("step", [1000, 2**16])
@pytest.mark.parametrize("what", UNITS)
def test_a_transcript_of_something_endless_is_small(what: str, step: int) -> None:
    unit = UNITS[what]
    tracemalloc.start()
    try:
        _read_endless(unit, 2**18 // len(unit), step)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 150_000


def seconds(work: Callable[[], None]) -> float:
    """Return the least processor time of three."""
    took = []
    for _ in range(3):
        begun = time.process_time()
        work()
        took.append(time.process_time() - begun)
    return min(took)


def is_linear(work: Callable[[int], None], size: int) -> None:
    """Sixteen times the work may take at most three times sixteen times the time."""
    small, large = seconds(lambda: work(size)), seconds(lambda: work(16 * size))
    assert large < 3 * 16 * max(small, 0.001), (small, large)


@pytest.mark.parametrize("step", [1, 2**16])
@pytest.mark.parametrize("what", UNITS)
def test_the_transcripts_time_is_linear(what: str, step: int) -> None:
    unit = UNITS[what]
    is_linear(lambda size: _read_endless(unit, size // len(unit) + 1, step), 2**12)


def test_one_large_chunk_is_read_in_linear_time() -> None:
    def work(size: int) -> None:
        with contextlib.suppress(t.TranscriptError):
            t.Transcript().feed("server", record(22, b"") * size)

    is_linear(work, 10_000)


class _Endless:
    """A target that says one thing for ever."""

    def __init__(self, first: bytes, unit: bytes) -> None:
        self._next, self._unit = first, unit

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Do nothing."""

    def receive(self, deadline: Deadline) -> bytes:
        """Return the next of it."""
        said, self._next = self._next, self._unit
        return said


@pytest.mark.parametrize(("first", "unit"), [
    (b"\x20", b"\xff"), (b"\x20\xff\xff\xff\x7f", b"\x26"), (b"\x20\xff\xff\x03\x00\x00", b"\xff"),
    (b"\x20\x80\x80\x04\x00\x00\xfc\xff\x03", b"\x26\x00\x00\x00\x00"), (b"\xd0\x00", bytes(9))])
def test_an_endless_answer_to_connect_is_small(first: bytes, unit: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(mqtt.MqttError) as caught:
            mqtt.connect(_Endless(first, unit), Credentials(), version="5",
                         deadline=Deadline(60))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.cause == "mqtt_malformed"
    assert peak < 8_000_000


def _variable(number: int) -> bytes:
    """Return a Variable Byte Integer of four bytes."""
    return bytes((number >> shift & 0x7F | (0x80 if shift < 21 else 0))
                 for shift in (0, 7, 14, 21))


@pytest.mark.parametrize("unit", [
    b"\xff", b"\x26\x00\x00\x00\x00", b"\x25\x01", b"\x1c\x00\x00", b"\x26\x00\x01k\xff\xff"])
@pytest.mark.parametrize("with_length", [True, False])
def test_a_connacks_time_is_linear(unit: bytes, with_length: bool) -> None:
    def work(size: int) -> None:
        properties = unit * (size // len(unit))
        with contextlib.suppress(mqtt.MqttError):
            mqtt.parse_connack("5", b"\x00\x00" + (
                _variable(len(properties)) if with_length else b"") + properties)

    is_linear(work, 2**13)


_BEGIN = b"-----BEGIN SSL SESSION PARAMETERS-----\n"


@pytest.mark.parametrize("file", [
    lambda size: b"\n" * size + b"x", lambda size: _BEGIN * (size // len(_BEGIN)),
    lambda size: _BEGIN + b"MIIB\n" * (size // 5) + _BEGIN.replace(b"BEGIN", b"END"),
    lambda size: b"\x30\x83" + size.to_bytes(3, "big") + b"\x02" * size,
    lambda size: b"\x30\x83" + size.to_bytes(3, "big") + b"\x30\x80" * (size // 2)])
def test_a_session_files_time_is_linear(file: Callable[[int], bytes]) -> None:
    def work(size: int) -> None:
        with contextlib.suppress(session_file.SessionFileError):
            session_file.parse(file(size))

    is_linear(work, 2**13)


def test_the_plain_reader_reads_what_is_known() -> None:
    hello = message(2, b"\x03\x03" + bytes(32) + b"\x00\x00\x9c\x00")
    stream = record(22, hello[:9]) + record(21, b"\x01\x5a") + record(22, hello[9:]) + record(
        20, b"\x01") + record(22, bytes(40)) + b"\x16\x03"
    assert reference.messages(stream) == [
        (21, None, 2), (22, 2, len(hello)), (20, None, 1), (22, None, 40)]
    with pytest.raises(reference.NotTlsError):
        reference.messages(b"HTTP/1.1 400")
