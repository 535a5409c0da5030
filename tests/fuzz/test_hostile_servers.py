"""Whole probes, TLS and MQTT with both engines, against servers that want to hurt them.

What must come of it: evidence with one of our own causes and never an exception; within the
deadlines; in bounded memory, OpenSSL's included.
"""
from __future__ import annotations

import contextlib
import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint, Outcome
from ansible_collections.emqx.conformance.plugins.module_utils.run.bench import Bench
from ansible_collections.emqx.conformance.plugins.module_utils.run.conversation import Conversation
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import (
    Contact,
    Offer,
    Prober,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.story import Story
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.tls import crafted
from ansible_collections.emqx.conformance.plugins.module_utils.tls.crafted import (
    CraftedSession,
    Hello,
    MasterSecret,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.crafted.client import (
    CraftedClient,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust
from ansible_collections.emqx.conformance.plugins.module_utils.tls.wire import Deadline, WireError
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faulty_servers.message_server import SUITE
from tests.fuzz.hostile_server import (
    Afterwards,
    Damage,
    Proxy,
    TurnsHostile,
    never_stops,
    says,
    silent,
    slowly,
)
from tests.fuzz.memory_wire import ENDPOINT, MemoryWire
from tests.fuzz.scripted_server import (
    CHANGE,
    FINISHED,
    RECORD,
    SECRET,
    SESSION_ID,
    ScriptedServer,
)
from tests.fuzz.scripted_server import HELLO as HELLO_OP
from tests.fuzz.seeds import conversations
from tests.fuzz.targets import CRAFTED_CAUSES, MQTT_CAUSES, ORDINARY_CAUSES
from tests.support.listening import Talk, talking
from tests.support.mqtt_broker import MqttBroker
from tests.support.openssl_cli import CertifiedKey

ENGINES = ["ordinary", "crafted"]
CAUSES = {"ordinary": ORDINARY_CAUSES | {"not_offered"}, "crafted": CRAFTED_CAUSES}
DEADLINE_S = 0.5
LONGEST_S = 3 * DEADLINE_S + 1.0
"""Connection and handshake, MQTT, DISCONNECT; and the second that close_notify may take."""
PATIENT_S = 10.0
"""Where it is the server who ends it, at once."""
SLACK = 6
"""Times as long on a machine that does much else; what a server never ends is endless all the
same."""
PYTHON_BYTES = 4 * 2**20
PROCESS_KIB = 48 * 1024


class Probe:
    """Both engines on one endpoint, as the checks use them."""

    def __init__(self, engine: OrdinaryEngine, port: int, deadline_s: float = DEADLINE_S) -> None:
        self.bench = Bench(Prober(
            engine, Target({"n1": Endpoint("n1", "127.0.0.1", port, "localhost")},
                           Settings(deadline_s=deadline_s, mqtt_version="5")), threading.Event()))
        self._conversation = Conversation(Story(self.bench, ("n1",)))

    def __call__(self, kind: str, session_id: bytes = b"",
                 knowing: CraftedSession | None = None) -> Contact:
        if kind == "ordinary":
            return self.bench.prober.contact(Offer("n1"))
        return self._conversation.hears(
            Hello(session_id=knowing.id if knowing else session_id), knowing=knowing)[0]


def our_own(contact: Contact, kind: str) -> str:
    """Return the cause of what went wrong, which must be one of ours; empty when nothing did."""
    handshake = contact.handshake
    json.dumps(handshake.as_dict())
    if handshake.failure is not None:
        assert handshake.failure.cause in CAUSES[kind], handshake.failure
        assert handshake.outcome in (Outcome.FAILED, Outcome.REFUSED, Outcome.INCONSISTENT)
        assert contact.session is None
        return handshake.failure.cause
    assert handshake.mqtt is not None
    assert handshake.mqtt.cause in {"", *MQTT_CAUSES}
    return handshake.mqtt.cause


def in_time(probe: Callable[[], Contact], longest_s: float = LONGEST_S) -> Contact:
    """Return what a probe came to, in time."""
    begun = time.monotonic()
    contact = probe()
    took = time.monotonic() - begun
    assert took < SLACK * longest_s, f"{took:.1f} s"
    return contact


def _peak_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Hold what Python allocates, and what the process does altogether, to their bounds."""
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): VmHWM begins anew
    before = _peak_kib()
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < PYTHON_BYTES
    assert _peak_kib() - before < PROCESS_KIB


@pytest.fixture(scope="module")
def engine(rsa: CertifiedKey) -> Iterator[OrdinaryEngine]:
    """The ordinary engine, which trusts the servers."""
    made = OrdinaryEngine(Trust(ca_file=str(rsa.certificate)))
    yield made
    made.close()


@pytest.fixture(scope="module")
def broker(rsa: CertifiedKey) -> Iterator[MqttBroker]:
    """A good server."""
    made = MqttBroker(rsa.certificate, rsa.key)
    made.context.set_ciphers("AES128-SHA:ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def flights(rsa: CertifiedKey) -> list[bytes]:
    """What a good server sent in one conversation each, recorded."""
    return [received for _, received in conversations(rsa)]


def record(kind: int, fragment: bytes) -> bytes:
    return bytes((kind, 3, 3)) + len(fragment).to_bytes(2, "big") + fragment


def message(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + len(body).to_bytes(3, "big") + body


def server_hello(suite: int = SUITE, extensions: bytes = b"") -> bytes:
    body = b"\x03\x03" + b"r" * 32 + b"\x20" + b"i" * 32 + suite.to_bytes(2, "big") + b"\x00"
    return message(2, body + (len(extensions).to_bytes(2, "big") + extensions
                              if extensions else b""))


def in_records(data: bytes) -> bytes:
    return b"".join(record(22, data[at:at + 2**14]) for at in range(0, len(data), 2**14))


# -- from the first byte ---------------------------------------------------------------------------

HELLO = record(22, server_hello())
ENDLESS: dict[str, Talk] = {
    "zeros": never_stops(b"\x00"),
    "HelloRequests": never_stops(record(22, message(0, b"")), HELLO),
    "HelloRequests, many in a record": never_stops(record(22, message(0, b"") * 4000), HELLO),
    "ServerHelloDones": never_stops(record(22, message(14, b"")), HELLO),
    "ServerHellos": never_stops(HELLO),
    "one Certificate of 16 MiB": never_stops(
        record(22, bytes(2**14)), HELLO + record(22, b"\x0b\xff\xff\xff")),
    "a ServerHello of 16 MiB": never_stops(
        record(22, bytes(2**14)), record(22, b"\x02\xff\xff\xff")),
    "empty handshake records": never_stops(record(22, b"")),
    "empty handshake records after the ServerHello": never_stops(record(22, b""), HELLO),
    "warnings": never_stops(record(21, b"\x01\x70")),
    "warnings after the ServerHello": never_stops(record(21, b"\x01\x5a"), HELLO),
    "ChangeCipherSpecs": never_stops(record(20, b"\x01"), HELLO),
    "empty ChangeCipherSpecs": never_stops(record(20, b"")),
    "application data": never_stops(record(23, bytes(2**14))),
    "empty application data": never_stops(record(23, b""), HELLO),
    "heartbeats": never_stops(record(24, b"\x01\x00\x01x")),
    "an SSL 2 record": never_stops(b"\x80\x80" + bytes(128)),
}


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("what", ENDLESS)
def test_a_server_that_never_stops(engine: OrdinaryEngine, kind: str, what: str) -> None:
    with talking(ENDLESS[what]) as port, bounded():
        contact = in_time(lambda: Probe(engine, port)(kind))
    assert our_own(contact, kind) in {"not_tls", "library_rejected", "unexpected_message",
                                      "timeout", "refused"}
    assert len(contact.handshake.messages) <= 256


OVERSIZED = {
    "record": b"\x16\x03\x03\xff\xff" + bytes(70000),
    "record, a little": b"\x16\x03\x03\x48\x01" + bytes(0x4801),
    "plaintext record": record(22, server_hello() + bytes(2**14 + 100)),
    "ServerHello": in_records(message(2, bytes(2**17))),
    "extensions": in_records(server_hello(extensions=b"\xff\x01" + b"\xea\x60" + bytes(60000))),
    "extensions beyond the end": record(22, server_hello(extensions=b"\x00\x17\xff\xff")),
    "many extensions": in_records(server_hello(extensions=b"".join(
        number.to_bytes(2, "big") + b"\x00\x00" for number in range(16000)))),
    "session ID": record(22, message(2, b"\x03\x03" + bytes(32) + b"\xff" + bytes(258))),
    "certificate list": HELLO + in_records(message(11, b"\x03\x00\x00" + bytes(0x30000))),
    "many certificates": HELLO + in_records(message(11, b"\x01\x86\xa0" + b"\x00\x00\x01\x30"
                                                    * 25000)),
    "ServerKeyExchange": HELLO + in_records(message(12, bytes(2**17))),
    "CertificateRequest": HELLO + in_records(message(13, b"\xff" * 2**17)),
    "alert": record(21, b"\x02\x28" * 100),
}


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("what", OVERSIZED)
def test_what_is_too_large(engine: OrdinaryEngine, kind: str, what: str) -> None:
    with talking(says(OVERSIZED[what])) as port, bounded():
        contact = in_time(lambda: Probe(engine, port)(kind))
    assert our_own(contact, kind)


@pytest.mark.parametrize("kind", ENGINES)
def test_one_byte_at_a_time_is_held_to_the_deadline(
        engine: OrdinaryEngine, kind: str, flights: list[bytes]) -> None:
    with talking(slowly(flights[0])) as port:
        contact = in_time(lambda: Probe(engine, port)(kind))
    assert our_own(contact, kind) == "timeout"


@pytest.mark.parametrize("kind", ENGINES)
def test_silence_is_held_to_the_deadline(engine: OrdinaryEngine, kind: str) -> None:
    with talking(silent) as port:
        assert our_own(in_time(lambda: Probe(engine, port)(kind)), kind) == "timeout"


# Bits of the modulus, of the exponent: what tlslite-ng would encrypt for, whatever it takes.
@pytest.mark.parametrize(("modulus", "exponent"), [
    (16385, 17), (2048, 2047), (2**20, 2**19), (2**20, 17), (3, 3), (16, 16), (0, 17)])
def test_an_rsa_key_that_nobody_can_use(engine: OrdinaryEngine, rsa: CertifiedKey, modulus: int,
                                        exponent: int) -> None:
    chain = message(11, _list_of(_certificate(rsa, (1 << modulus) - 1, (1 << exponent) - 1)))
    with talking(says(record(22, server_hello(0x009C)) + in_records(chain)
                      + record(22, message(14, b"")))) as port:
        made = in_time(lambda: Probe(engine, port)("crafted"))
        ordinary = in_time(lambda: Probe(engine, port)("ordinary"))
    cause = our_own(made, "crafted")
    assert (cause == "oversized_key") is (modulus > 2**14 or exponent > 64)
    assert cause in {"oversized_key", "library_rejected", "connection_closed", "connection_reset"}
    assert our_own(ordinary, "ordinary")


def _list_of(certificate: bytes) -> bytes:
    entry = len(certificate).to_bytes(3, "big") + certificate
    return len(entry).to_bytes(3, "big") + entry


def _der(tag: int, body: bytes) -> bytes:
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + body


def _integer(number: int) -> bytes:
    return _der(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _certificate(like: CertifiedKey, modulus: int, exponent: int) -> bytes:
    """Return a certificate with another public key in it; who signs a lie cares for no sum."""
    real = x509.load_pem_x509_certificate(like.certificate.read_bytes())
    key = real.public_key().public_bytes(serialization.Encoding.DER,
                                         serialization.PublicFormat.SubjectPublicKeyInfo)
    algorithm = _der(0x30, bytes.fromhex("06092a864886f70d0101010500"))
    lie = _der(0x30, algorithm + _der(3, b"\x00" + _der(0x30, _integer(modulus)
                                                       + _integer(exponent))))
    tbs = real.tbs_certificate_bytes
    assert tbs.count(key) == 1
    inner = tbs[4:] if tbs[1] == 0x82 else tbs[3:]
    signed = _der(0x30, inner.replace(key, lie))
    sha256_rsa = _der(0x30, bytes.fromhex("06092a864886f70d01010b0500"))
    return _der(0x30, signed + sha256_rsa + _der(3, b"\x00" + real.signature))


# -- real conversations, damaged -------------------------------------------------------------------

@pytest.mark.parametrize("kind", ENGINES)
@settings(deadline=None)
@given(data=st.data())
def test_whatever_is_sent(engine: OrdinaryEngine, kind: str, flights: list[bytes],
                          data: st.DataObject) -> None:
    """Pieces of real flights and of none, in any order."""
    pieces = data.draw(st.lists(st.one_of(
        st.binary(max_size=60), st.sampled_from([HELLO, record(22, message(14, b"")), *flights]),
        st.builds(record, st.integers(19, 25), st.binary(max_size=60)),
        st.builds(lambda flight, at, size: flight[at:at + size], st.sampled_from(flights),
                  st.integers(0, 1500), st.integers(0, 300))), max_size=5))
    with talking(says(b"".join(pieces), resets=data.draw(st.booleans()))) as port:
        contact = in_time(lambda: Probe(engine, port)(kind))
    assert our_own(contact, kind)


def through(upstream: int, damage: Damage | None, probe: Callable[[int], Contact]) -> Contact:
    """Probe a good server through a proxy that damages what it says."""
    proxy = Proxy(upstream, lambda _: damage)
    try:
        return in_time(lambda: probe(proxy.port))
    finally:
        proxy.stop()


def _length(upstream: int, probe: Callable[[int], Contact]) -> int:
    """Return how many bytes the server says until the client has what it wants."""
    contact = through(upstream, None, probe)
    assert contact.handshake.failure is None, contact.handshake.why
    return contact.handshake.bytes_in


@pytest.mark.parametrize("what", ["close", "reset"])
@pytest.mark.parametrize("kind", ENGINES)
def test_a_full_handshake_that_ends_at_any_byte(engine: OrdinaryEngine, broker: MqttBroker,
                                                kind: str, what: str) -> None:
    length = _length(broker.port, lambda port: Probe(engine, port, PATIENT_S)(kind))
    places = set(range(0, length, 11)) | set(range(90)) | set(range(length - 60, length))
    proxy = Proxy(broker.port, lambda _: Damage(at, what))
    try:
        probe = Probe(engine, proxy.port, PATIENT_S)
        for at in sorted(places):
            assert our_own(in_time(lambda: probe(kind)), kind) in {
                "connection_closed", "connection_reset"}, at
    finally:
        proxy.stop()


def await_more_than(handshakes: int, broker: MqttBroker) -> None:
    end = time.monotonic() + PATIENT_S
    while broker.handshakes <= handshakes and time.monotonic() < end:
        time.sleep(0.001)


@pytest.mark.parametrize("what", ["close", "reset"])
def test_an_abbreviated_handshake_that_ends_at_any_byte(
        engine: OrdinaryEngine, broker: MqttBroker, what: str) -> None:
    endpoint = Endpoint("n1", "127.0.0.1", broker.port, "localhost")
    before = broker.handshakes
    made = engine.connect(endpoint)
    assert made.stream is not None
    made.stream.close()
    assert made.session is not None
    # The server keeps the session when its Finished is out, and a fast client is back before.
    await_more_than(before, broker)
    again = engine.connect(endpoint, offer=made.session)
    assert again.stream is not None
    assert again.handshake.outcome is Outcome.RESUMED
    again.stream.close()
    place = [0]
    proxy = Proxy(broker.port, lambda _: Damage(place[0], what))
    try:
        probe = Probe(engine, proxy.port, PATIENT_S)
        for at in range(again.handshake.bytes_in):
            place[0] = at
            contact = in_time(lambda: probe.bench.prober.contact(Offer("n1", made.session)))
            assert our_own(contact, "ordinary") in {"connection_closed", "connection_reset"}, at
            assert contact.handshake.outcome is Outcome.FAILED
    finally:
        proxy.stop()


_DAMAGES = st.builds(
    Damage, st.integers(0, 1400), st.sampled_from(["flip", "flip", "flip", "insert", "drop",
                                                   "endless", "close", "reset", "stall"]),
    st.one_of(st.binary(min_size=1, max_size=4), st.sampled_from(
        [record(22, message(0, b"")), record(21, b"\x01\x5a"), record(23, b""), record(22, b"")])))


@pytest.mark.parametrize("kind", ENGINES)
@settings(deadline=None)
@given(damage=_DAMAGES)
def test_a_good_server_whose_bytes_are_damaged(engine: OrdinaryEngine, broker: MqttBroker,
                                               kind: str, damage: Damage) -> None:
    # What the damage did not reach, or only the close, is a handshake like any other.
    our_own(through(broker.port, damage, lambda port: Probe(engine, port, 0.3)(kind)), kind)


# -- after a good handshake ------------------------------------------------------------------------

AFTERWARDS = {
    "empty application data": Afterwards(23, b""),
    "application data, one byte each": Afterwards(23, b"\x20"),
    "application data that is no MQTT": Afterwards(23, b"\xff" * 2000),
    "a packet that never ends": Afterwards(23, b"\x30"),
    "a CONNACK, slowly": Afterwards(23, b"\x20", pause_s=0.05),
    "empty application data, slowly": Afterwards(23, b"", pause_s=0.05),
    "warnings, slowly": Afterwards(21, b"\x01\x5a", pause_s=0.05),
    "properties without end": Afterwards(23, b"\x26\x00\x01k\x00\x01v" * 200),
    "HelloRequests": Afterwards(22, message(0, b"")),
    "HelloRequests instead of anything": Afterwards(22, message(0, b""), after_connect=False),
    "one message of 16 MiB": Afterwards(22, b"\x0b\xff\xff\xff" + bytes(1000)),
    "warnings": Afterwards(21, b"\x01\x5a"),
    "alerts of half a record": Afterwards(21, b"\x01"),
    "ChangeCipherSpecs": Afterwards(20, b"\x01"),
    "heartbeats": Afterwards(24, b"\x01\x00\x01x"),
    "records of no type": Afterwards(99, b"x"),
    "one heartbeat": Afterwards(24, b"\x01\x40\x00x", forever=False),
    "a fatal alert": Afterwards(21, b"\x02\x50", forever=False),
    "garbage": Afterwards(0, b"", raw=b"\xff" * 4096),
    "records that nobody encrypted": Afterwards(0, b"", raw=record(23, bytes(2**14))),
    "empty records that nobody encrypted": Afterwards(0, b"", raw=record(23, b"") * 4000),
    "an SSL 2 record": Afterwards(0, b"", raw=b"\x80\x80" + bytes(128), forever=False),
}


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("what", AFTERWARDS)
def test_a_server_that_turns_hostile(engine: OrdinaryEngine, rsa: CertifiedKey, kind: str,
                                     what: str) -> None:
    server = TurnsHostile(rsa.certificate, rsa.key, AFTERWARDS[what])
    try:
        with bounded():
            contact = in_time(lambda: Probe(engine, server.port)(kind))
    finally:
        server.stop()
    if contact.handshake.failure is None:
        assert our_own(contact, kind) in MQTT_CAUSES
    else:
        assert our_own(contact, kind)


class _InOnePiece:
    """A target whose whole flight arrives at once."""

    def __init__(self, target: ScriptedServer) -> None:
        self._target = target

    def heard(self, data: bytes) -> None:
        self._target.heard(data)

    def says(self) -> bytes:
        return b"".join(iter(self._target.says, b""))


def test_the_deadline_holds_between_records_that_have_arrived(rsa: CertifiedKey) -> None:
    script = bytes((HELLO_OP, 1, CHANGE, FINISHED)) + 3 * bytes((RECORD, 23, 3, 97, 98, 99))
    session = CraftedSession(SESSION_ID, "AES128-SHA", MasterSecret(SECRET))
    wire = MemoryWire(_InOnePiece(ScriptedServer(script, rsa.certificate)))
    with mock.patch.object(crafted.client, "Wire", return_value=wire):
        stream = CraftedClient(Trust()).connect(
            ENDPOINT, Hello(session_id=session.id), offer=session).stream
    assert stream is not None
    assert stream.receive(Deadline(9)) == b"abc"
    with pytest.raises(WireError, match="was not done within 0 s"):
        stream.receive(Deadline(0))
    assert stream.receive(Deadline(9)) == b"abc"


CONNACKS = {
    "a length without end": b"\x20" + b"\xff" * 100,
    "a length of 256 MiB": b"\x20\xff\xff\xff\x7f",
    "properties whose length has no end": b"\x20\xe8\x00\x00\x00" + b"\xff" * 102,
    "properties that are longer than the packet": b"\x20\x04\x00\x00\x7f\x26",
    "a property that is cut off": b"\x20\x05\x00\x00\x02\x11\x00",
}


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("what", CONNACKS)
def test_a_hostile_connack(engine: OrdinaryEngine, rsa: CertifiedKey, kind: str, what: str) -> None:
    broker = MqttBroker(rsa.certificate, rsa.key, connack=CONNACKS[what])
    try:
        with bounded():
            contact = in_time(lambda: Probe(engine, broker.port, PATIENT_S)(kind))
    finally:
        broker.stop()
    assert our_own(contact, kind) == "mqtt_malformed"


def test_64_kib_of_properties_are_read(engine: OrdinaryEngine, rsa: CertifiedKey) -> None:
    properties = b"\x26\x00\x02kk\x00\x02vv" * 7000
    # Variable Byte Integers of three bytes: 63005 and 63000.
    connack = b"\x20\x9d\xec\x03\x00\x00\x98\xec\x03" + properties
    broker = MqttBroker(rsa.certificate, rsa.key, connack=connack)
    try:
        with bounded():
            contact = in_time(lambda: Probe(engine, broker.port, PATIENT_S)("ordinary"))
    finally:
        broker.stop()
    assert our_own(contact, "ordinary") == ""
    assert contact.connack is not None
    assert contact.connack.user_properties == (("kk", "vv"),) * 7000
