"""The reader of bytes from the network: what it reads, and that nothing hurts it."""
from __future__ import annotations

import struct
import tracemalloc

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.tls import transcript as t
from ansible_collections.emqx.conformance.plugins.module_utils.tls.transcript import (
    Transcript,
    TranscriptError,
)
from hypothesis import given, settings
from hypothesis import strategies as st

ID = bytes(range(32))


def record(kind: int, body: bytes, version: int = 0x0303) -> bytes:
    return struct.pack("!BHH", kind, version, len(body)) + body


def message(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + len(body).to_bytes(3, "big") + body


def extension(kind: int, data: bytes) -> bytes:
    return struct.pack("!HH", kind, len(data)) + data


def client_hello(session_id: bytes = b"", extensions: bytes = b"") -> bytes:
    body = (b"\x03\x03" + bytes(32) + bytes((len(session_id),)) + session_id
            + b"\x00\x04\xc0\x2f\x00\xff" + b"\x01\x00")
    if extensions:
        body += len(extensions).to_bytes(2, "big") + extensions
    return message(1, body)


def server_hello(session_id: bytes = b"", extensions: bytes = b"") -> bytes:
    body = (b"\x03\x03" + b"\x01" * 32 + bytes((len(session_id),)) + session_id
            + b"\xc0\x2f" + b"\x00")
    if extensions:
        body += len(extensions).to_bytes(2, "big") + extensions
    return message(2, body)


def names(transcript: Transcript) -> list[tuple[str, str]]:
    return [(m.sender, m.name) for m in transcript.messages]


def test_reads_an_abbreviated_flight() -> None:
    transcript = Transcript()
    transcript.feed("client", record(22, client_hello(ID), 0x0301))
    transcript.feed("server", record(22, server_hello(ID)) + record(20, b"\x01")
                    + record(22, b"\xaa" * 40))
    assert names(transcript) == [("client", "ClientHello"), ("server", "ServerHello"),
                                 ("server", "ChangeCipherSpec"), ("server", "Finished")]
    assert transcript.client_hello is not None
    assert transcript.server_hello is not None
    assert transcript.client_hello.session_id == ID == transcript.server_hello.session_id
    assert transcript.server_hello.cipher_suites == (0xC02F,)
    assert transcript.server_flight() == ("ServerHello",)


def test_reads_messages_split_and_joined_across_records_byte_by_byte() -> None:
    flight = server_hello(ID) + message(11, b"c" * 900) + message(12, b"k" * 300) + message(14, b"")
    records = b"".join(record(22, flight[at:at + 7]) for at in range(0, len(flight), 7))
    transcript = Transcript()
    for at in range(len(records)):
        transcript.feed("server", records[at:at + 1])
    assert transcript.server_flight() == ("ServerHello", "Certificate", "ServerKeyExchange",
                                          "ServerHelloDone")
    assert [m.length for m in transcript.messages][1:] == [904, 304, 4]
    assert transcript.bytes_in == len(records)


def test_supported_versions_of_the_server_hello_is_the_negotiated_version() -> None:
    hello = server_hello(ID, extension(43, b"\x03\x04"))
    parsed = t.parse_hello(hello[4:], client=False)
    assert parsed.version == "tlsv1.3"
    assert parsed.extensions == (43,)


def test_our_own_hello_is_read_as_it_is_also_when_its_session_id_is_too_long() -> None:
    transcript = Transcript()
    transcript.feed("client", record(22, client_hello(bytes(33))))
    assert transcript.client_hello is not None
    assert transcript.client_hello.session_id == bytes(33)


def test_a_client_hello_that_the_server_sends_is_none_of_ours() -> None:
    transcript = Transcript()
    transcript.feed("server", record(22, client_hello(bytes(33))))
    transcript.feed("client", record(22, server_hello(bytes(33))))
    assert transcript.client_hello is transcript.server_hello is None
    assert names(transcript) == [("server", "ClientHello"), ("client", "ServerHello")]


@pytest.mark.parametrize(("data", "name"), [
    (b"\x00\x0e\x00\x00\x0bexample.com", "example.com"),
    (b"\x00\x11\x07\x00\x00\x00\x00\x0bexample.com", "example.com"),  # behind another type
    (b"\x00\x04\x00\x00\x01\xe9", "\\xe9"),
    (b"\x00\x00", None), (b"", None), (b"\x00\x0e\x00\x00\xffexample.com", None),
])
def test_the_server_name_that_we_ask_for_is_read(data: bytes, name: str | None) -> None:
    hello = client_hello(ID, extension(0, data) + extension(35, b""))
    parsed = t.parse_hello(hello[4:], client=True)
    assert (parsed.server_name, parsed.extensions) == (name, (0, 35))
    acknowledged = t.parse_hello(server_hello(ID, extension(0, b""))[4:], client=False)
    assert (acknowledged.server_name, acknowledged.extensions) == (None, (0,))


@pytest.mark.parametrize(("sender", "raised_by"), [("server", "target"), ("client", "client")])
def test_an_alert_names_who_raised_it(sender: str, raised_by: str) -> None:
    transcript = Transcript()
    transcript.feed(sender, record(21, b"\x02\x28"))
    (alert,) = transcript.alerts
    assert (alert.raised_by, alert.level, alert.description) == (
        raised_by, "fatal", "handshake_failure")


def test_an_encrypted_alert_is_seen_but_not_guessed() -> None:
    transcript = Transcript()
    transcript.feed("server", record(20, b"\x01") + record(21, b"\x02\x28" + bytes(24)))
    assert transcript.alerts == []
    assert names(transcript)[-1] == ("server", "Alert (encrypted)")


@pytest.mark.parametrize(("data", "says"), [
    (b"HTTP/1.1 400 Bad Request\r\n", "not TLS"),
    (b"\x20\x02\x00\x00\x00\x00", "not TLS"),
    (b"\x16\x03\x03\xff\xff", "announced a record of 65535 bytes"),
    (record(22, b"\x02\xff\xff\xff"), "announced a hello of 16777215 bytes"),
    (record(22, message(2, b"\x03\x03")), "middle of a field"),
    (record(22, server_hello(bytes(33))), "33 bytes, over 32"),
    (record(21, b"\x02"), "an alert of 1 bytes"),
    (record(20, b"\x01") * 300, "more than 256 messages"),
])
def test_what_is_not_tls_is_refused_with_a_reason(data: bytes, says: str) -> None:
    with pytest.raises(TranscriptError, match=says):
        Transcript().feed("server", data)


def test_nothing_is_read_after_freeze() -> None:
    transcript = Transcript()
    transcript.freeze()
    transcript.feed("server", b"HTTP/1.1")
    assert transcript.bytes_in == 0


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["client", "server"]), st.binary(max_size=200)),
                max_size=12))
def test_arbitrary_bytes_raise_nothing_but_its_own_error(chunks: list[tuple[str, bytes]]) -> None:
    transcript = Transcript()
    try:
        for sender, data in chunks:
            transcript.feed(sender, data)
    except TranscriptError as error:
        assert str(error)


_RECORDS = st.builds(
    lambda kind, body: record(kind, body), st.sampled_from([20, 21, 22, 23, 24]),
    st.one_of(st.binary(max_size=300),
              st.builds(message, st.integers(0, 30), st.binary(max_size=200)),
              st.builds(lambda sid: server_hello(sid), st.binary(max_size=40)),
              st.builds(lambda sid, ext: client_hello(sid, ext), st.binary(max_size=40),
                        st.binary(max_size=60))))


@settings(max_examples=400, deadline=None)
@given(st.lists(_RECORDS, max_size=10), st.integers(1, 50))
def test_well_framed_garbage_raises_nothing_but_its_own_error(
        records: list[bytes], step: int) -> None:
    whole = Transcript()
    pieces = Transcript()
    data = b"".join(records)
    errors = []
    for transcript, size in ((whole, len(data) or 1), (pieces, step)):
        try:
            for at in range(0, len(data), size):
                transcript.feed("server", data[at:at + size])
        except TranscriptError as error:
            errors.append(str(error))
    # How TCP cut the bytes must not change what is read.
    assert len(errors) in (0, 2)
    assert names(whole) == names(pieces)


def test_memory_stays_bounded_on_an_endless_certificate() -> None:
    transcript = Transcript()
    header = record(22, b"\x0b\xff\xff\xff" + bytes(16000))
    more = record(22, bytes(16384))
    tracemalloc.start()
    try:
        transcript.feed("server", header)
        for _ in range(500):  # 8 MB of one message's body
            transcript.feed("server", more)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert transcript.bytes_in > 8_000_000
    assert peak < 300_000
