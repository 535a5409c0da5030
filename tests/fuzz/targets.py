"""What reads hostile bytes, each with what must hold whatever the bytes are.

A target takes any bytes and raises AssertionError, or lets something through that is none of its
errors, when it does not hold. All are fast and need no network: the fuzzer calls them millions of
times, and the tests call them with what hypothesis makes up and with what was ever found.
"""
from __future__ import annotations

import contextlib
import datetime
import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, cast
from unittest import mock

from ansible_collections.emqx.conformance.plugins.module_utils.model import Handshake, Outcome
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt import client as mqtt
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt import paho_session, sessions
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.credentials import (
    Credentials,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls import (
    crafted,
    engine,
    session_file,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls import transcript as t
from ansible_collections.emqx.conformance.plugins.module_utils.tls.crafted.client import (
    CraftedClient,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust
from ansible_collections.emqx.conformance.plugins.module_utils.tls.verify_results import (
    CERTIFICATE_CAUSES,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.wire import Deadline, WireError
from ansible_collections.emqx.conformance.plugins.module_utils.tls.witness import (
    wire_says_abbreviated,
)

from tests.fuzz import reference
from tests.fuzz.memory_wire import ENDPOINT, MemoryWire, Recorded
from tests.fuzz.scripted_server import SECRET, SESSION_ID, ScriptedServer
from tests.support.openssl_cli import CertifiedKey

HANDSHAKE_CAUSES = frozenset((
    "connection_closed", "connection_reset", "timeout", "refused", "not_tls", "library_rejected"))
ORDINARY_CAUSES = HANDSHAKE_CAUSES | {
    *CERTIFICATE_CAUSES, "echoed_but_full"}
CRAFTED_CAUSES = HANDSHAKE_CAUSES | {
    "unexpected_message", "other_version", "unoffered_suite", "finished_wrong", "resumed_unknown",
    "oversized_key", "compressed", "unknown_extension", "accepted", "broken_off"}
MQTT_CAUSES = frozenset((
    "mqtt_closed", "mqtt_malformed", "mqtt_refused", "mqtt_version", "mqtt_timeout"))
PAHO_CAUSES = MQTT_CAUSES | {
    "acl_refused", "payload_changed", "no_suback", "no_puback", "no_pingresp",
    "publish_not_received"}

Target = Callable[[bytes], None]

TIME_S = 5.0
"""Seconds of processor time that one input may take: all of them take milliseconds."""
MEMORY = 24 * 2**20
"""Bytes that may be held at any moment of one input."""


def hold(target: Target, data: bytes, *, memory: bool) -> None:
    """Run a target and hold it to its time, or with ``memory`` to its memory."""
    if not memory:
        begun = time.process_time()
        target(data)
        took = time.process_time() - begun
        assert took < TIME_S, f"{took:.1f} s for {len(data)} bytes"
        return
    tracemalloc.start()
    try:
        target(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY, f"{peak} bytes held for {len(data)} bytes"


# -- the transcript reader ------------------------------------------------------------------------

def told(transcript: t.Transcript) -> tuple[Any, ...]:
    """Return all that a transcript says, without the times."""
    return ([message._replace(at_ms=0.0) for message in transcript.messages], transcript.alerts,
            transcript.client_hello, transcript.server_hello, transcript.server_flight(),
            transcript.server_sent("NewSessionTicket"), wire_says_abbreviated(transcript))


def read(chunks: list[tuple[str, bytes]]) -> tuple[t.Transcript, str]:
    """Feed chunks by sender; return the transcript and the kind of the error, if there was one."""
    transcript = t.Transcript()
    try:
        for sender, data in chunks:
            transcript.feed(sender, data)
    except t.TranscriptError as error:
        assert str(error)
        # How much of what is not TLS can be quoted depends on how much has come.
        return transcript, str(error).partition(":")[0]
    return transcript, ""


def cut(sender: str, data: bytes, step: int) -> list[tuple[str, bytes]]:
    """Cut a stream into chunks."""
    return [(sender, data[at:at + step]) for at in range(0, len(data), step)]


def check_against_reference(sender: str, stream: bytes) -> None:
    """Compare the reader with the plain one on a stream it accepts; frozen, it reads no more."""
    transcript, error = read([(sender, stream)])
    if error:
        return
    named = [(message.name, message.length) for message in transcript.messages]
    assert named == plainly(stream)
    assert transcript.bytes_in + transcript.bytes_out == len(stream)
    before = told(transcript)
    transcript.freeze()
    transcript.feed(sender, stream + b"HTTP/1.1")
    assert told(transcript) == before
    assert transcript.bytes_in + transcript.bytes_out == len(stream)


_HANDSHAKE_TYPES = {
    0: "HelloRequest", 1: "ClientHello", 2: "ServerHello", 4: "NewSessionTicket",
    11: "Certificate", 12: "ServerKeyExchange", 13: "CertificateRequest", 14: "ServerHelloDone",
    15: "CertificateVerify", 16: "ClientKeyExchange", 20: "Finished", 22: "CertificateStatus"}


_CONTENT_TYPES = {20: "ChangeCipherSpec", 23: "ApplicationData", 24: "ApplicationData"}


def plainly(stream: bytes) -> list[tuple[str, int]]:
    """Return the names and lengths of one direction's messages as the plain reader sees them."""
    named = []
    encrypted = False
    for kind, handshake, length in reference.messages(stream):
        name = _CONTENT_TYPES.get(kind, "Finished")
        if kind == reference.ALERT:
            name = "Alert (encrypted)" if encrypted else "Alert"
        elif handshake is not None:
            name = _HANDSHAKE_TYPES.get(handshake, f"handshake type {handshake}")
        named.append((name, length))
        encrypted = encrypted or kind == reference.CHANGE_CIPHER_SPEC
    return named


_OFFER = bytes.fromhex("160301004d010000490303") + bytes(32) + b"\x20" + SESSION_ID + (
    b"\x00\x02\x00\x2f\x01\x00")
"""A ClientHello, for servers that are to echo its session ID."""


def transcript(data: bytes) -> None:
    """Two bytes: chunk size; whose stream it is and whether a ClientHello went before. Then it."""
    if len(data) < 2:
        return
    step, sender, stream = 1 + data[0], ("server", "client")[data[1] & 1], data[2:]
    before = [("client", _OFFER)] if data[1] & 2 else []
    whole, error = read([*before, (sender, stream)])
    pieces, other = read([*before, *cut(sender, stream, step)])
    assert other == error
    assert told(pieces) == told(whole)
    assert len(whole.messages) <= t.MAX_MESSAGES
    assert len(whole.alerts) <= t.MAX_MESSAGES
    check_against_reference(sender, stream)


# -- MQTT -----------------------------------------------------------------------------------------

class _Canned:
    """A stream that says the same whatever it hears, in pieces."""

    def __init__(self, answer: bytes, step: int) -> None:
        self._pieces = [answer[at:at + step] for at in range(0, len(answer), step)]
        self._next = 0

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Do nothing."""

    def receive(self, _deadline: Deadline) -> bytes:
        """Return the next piece."""
        self._next += 1
        return self._pieces[self._next - 1] if self._next <= len(self._pieces) else b""

    def receive_now(self) -> bytes:
        """Return the next piece."""
        return self.receive(Deadline(1))

    def close(self) -> None:
        """Do nothing."""


def _mqtt_outcome(answer: bytes, version: str, step: int) -> str:
    try:
        connack = mqtt.connect(_Canned(answer, step), Credentials(), version=version,
                               deadline=Deadline(5))
    except mqtt.MqttError as error:
        assert str(error)
        assert str(error).isprintable()
        assert error.cause in MQTT_CAUSES
        return str(error)
    assert connack.version == version
    assert all(text.isprintable() for pair in connack.user_properties for text in pair)
    assert sum(len(key) + len(value) for key, value in connack.user_properties) <= len(answer)
    return repr(connack)


def mqtt_reader(data: bytes) -> None:
    """One byte: version and chunk size; then the answer to CONNECT."""
    if not data:
        return
    version = "5" if data[0] & 1 else "3.1.1"
    answer = data[1:]
    assert _mqtt_outcome(answer, version, 1 + data[0] // 2) == _mqtt_outcome(answer, version, 2**17)
    reader = mqtt.PacketReader(_Canned(answer, 1 + data[0] // 2))
    taken = 0
    with contextlib.suppress(mqtt.MqttError):
        while True:
            _, body = reader.packet(Deadline(5))
            taken += 2 + len(body)
            assert taken <= len(answer)
            assert len(body) <= mqtt.MAX_PACKET


def paho(data: bytes) -> None:
    """One byte: version, chunk size, and whether CONNACK comes first; then what else is said."""
    if not data:
        return
    version = "5" if data[0] & 1 else "3.1.1"
    connack = {"5": b"\x20\x03\x00\x00\x00", "3.1.1": b"\x20\x02\x00\x00"}[version]
    stream = _Canned((connack if data[0] & 2 else b"") + data[1:], 1 + data[0] // 4)
    attempt = engine.Attempt(Handshake(ENDPOINT, "now", Outcome.RESUMED, ""), cast(Any, stream))
    made = paho_session.PahoConnection(
        sessions.Link(lambda: attempt, version, Credentials(), 5),
        sessions.MqttIdentity("abc"))
    try:
        assert made.open()
        accepted = made.await_connack()
        assert (accepted.assigned_client_id or "x").isprintable()
        made.subscribe("x/y")
        made.publish("x/y", b"z")
        made.await_message("x/y", b"z", "publish_not_received")
        made.ping()
        made.disconnect()
    except mqtt.MqttError as error:
        assert str(error)
        assert str(error).isprintable()
        assert error.cause in PAHO_CAUSES
    finally:
        made.close()


# -- whole probes, without a network --------------------------------------------------------------

def _judge(handshake: Handshake, causes: frozenset[str], wire: MemoryWire, *, open_: bool) -> None:
    json.dumps(handshake.as_dict())
    assert handshake.why
    assert handshake.why.isprintable()
    assert len(handshake.messages) <= t.MAX_MESSAGES
    if handshake.failure is None:
        assert handshake.outcome in (Outcome.RESUMED, Outcome.FULL, Outcome.INCONSISTENT)
        assert open_
        return
    assert not open_
    assert wire.closed
    assert handshake.failure.cause in causes, handshake.failure
    assert handshake.outcome in (Outcome.FAILED, Outcome.REFUSED, Outcome.INCONSISTENT)


_VERSIONS = {2: ("tlsv1.2", "tlsv1.3"), 4: ("tlsv1", "tlsv1.1")}


class Probes:
    """The two engines, and an identity that is everybody's: ours and the target's."""

    def __init__(self, identity: CertifiedKey) -> None:
        self._certificate = identity.certificate
        certificate, key = str(identity.certificate), str(identity.key)
        self._ordinary = engine.OrdinaryEngine(Trust(ca_file=certificate))
        self._crafted = [CraftedClient(trust) for trust in (
            Trust(), Trust(cert_file=certificate, key_file=key))]

    def ordinary(self, data: bytes) -> None:
        """Two bytes: chunk size, how it ends and begins; then what the target sends."""
        if len(data) < 2:
            return
        wire = MemoryWire(Recorded(data[2:]), step=data[0], resets=bool(data[1] & 1))
        with mock.patch.object(engine, "Wire", return_value=wire):
            attempt = self._ordinary.connect(ENDPOINT, versions=_VERSIONS.get(data[1] & 6))
        _judge(attempt.handshake, ORDINARY_CAUSES, wire, open_=attempt.stream is not None)

    def crafted(self, data: bytes) -> None:
        """Three bytes: how the client behaves, chunk size, more; then the script of a server."""
        if len(data) < 3:
            return
        how, more = data[0], data[2]
        session = crafted.CraftedSession(SESSION_ID, "AES128-SHA", crafted.MasterSecret(SECRET))
        offers = how & 1 != 0
        conduct = crafted.Conduct(
            stop_after=(None, None, *crafted.StopAfter)[how >> 1 & 3],
            finish_with=crafted.MasterSecret(bytes(48)) if how & 8 else None,
            then_send=b"\xc0\x00" if how & 16 else b"", finish_wrongly=more & 1 != 0,
            also_speaks=("AES128-SHA",) if more & 2 else ())
        wire = MemoryWire(ScriptedServer(data[3:], self._certificate), step=data[1],
                          resets=bool(how & 32))
        with mock.patch.object(crafted.client, "Wire", return_value=wire):
            attempt = self._crafted[how >> 6 & 1].connect(
                ENDPOINT, crafted.Hello(
                    session_id=SESSION_ID if offers else b"",
                    suites=("ECDHE-RSA-AES128-SHA",) if more & 2 else tuple(crafted.SUITES),
                    version=(3, 2) if more & 4 else (3, 3), grease=more & 8 != 0,
                    grease_version=more & 8 != 0,
                    compression=(1, 0) if more & 16 else (0,),
                    extended_master_secret=not more & 32, record_size=99 if more & 64 else None,
                    segment_size=150 if more & 128 else None),
                offer=session if offers else None, conduct=conduct)
        _judge(attempt.handshake, CRAFTED_CAUSES, wire, open_=attempt.stream is not None)
        if attempt.stream is None:
            return
        stream = attempt.stream
        try:
            mqtt.connect(stream, Credentials(), version="5", deadline=Deadline(5))
            mqtt.disconnect(stream, Deadline(5))
            while stream.receive(Deadline(5)):
                pass
        except mqtt.MqttError as error:
            assert error.cause in MQTT_CAUSES
        except WireError as error:
            assert error.failure.stage == "mqtt"
        finally:
            stream.close()
        assert wire.closed


# -- session files --------------------------------------------------------------------------------

_NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def session_files(data: bytes) -> None:
    """What is in the file."""
    try:
        session = session_file.parse(data)
    except session_file.SessionFileError as error:
        assert str(error)
        return
    secret = session.master_secret
    told = json.dumps(session_file.as_result(session, _NOW)) + repr(session)
    if len(secret) > 8:
        assert secret.hex() not in told


def targets(identity: CertifiedKey) -> dict[str, Target]:
    """Return all targets by name; ``identity`` is for those that have certificates in them."""
    probes = Probes(identity)
    return {"transcript": transcript, "mqtt": mqtt_reader, "paho": paho,
            "session_file": session_files, "ordinary": probes.ordinary, "crafted": probes.crafted}
