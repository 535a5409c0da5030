"""Real conversations and session files to start from, made anew each time."""
from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any
from unittest import mock

from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt import client as mqtt
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.credentials import Credentials
from ansible_collections.emqx.conformance.plugins.module_utils.tls import crafted, engine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.crafted.client import (
    CraftedClient,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust
from ansible_collections.emqx.conformance.plugins.module_utils.tls.wire import Deadline

from tests.fuzz.memory_wire import RecordingWire
from tests.fuzz.scripted_server import (
    ACCEPT,
    CERTIFICATE,
    CHANGE,
    DONE,
    FINISHED,
    HELLO,
    KEY_EXCHANGE,
    MESSAGE,
    RAW,
    RECORD,
    REPEAT,
)
from tests.support.mqtt_broker import MqttBroker
from tests.support.openssl_cli import CertifiedKey, make_session, openssl, s_server

Flights = list[tuple[bytes, bytes]]
"""What client and server put on the wire, one connection after the other."""


def _talk(attempt: Any) -> None:
    if attempt.stream is not None:
        mqtt.connect(attempt.stream, Credentials(), version="5", deadline=Deadline(5))
        attempt.stream.close()


def conversations(identity: CertifiedKey) -> Flights:
    """Record full, resumed and refused handshakes with MQTT, of both engines, with OpenSSL."""
    made: list[RecordingWire] = []
    wire = type("Wire", (RecordingWire,), {"made": made})
    broker = MqttBroker(identity.certificate, identity.key)
    broker.context.set_ciphers("ALL:@SECLEVEL=0")
    at = Endpoint("n1", "127.0.0.1", broker.port, "localhost")
    ordinary = engine.OrdinaryEngine(Trust(ca_file=str(identity.certificate)))
    client = CraftedClient(Trust())
    try:
        with mock.patch.object(engine, "Wire", wire), \
                mock.patch.object(crafted.client, "Wire", wire):
            full = ordinary.connect(at)
            _talk(full)
            _talk(ordinary.connect(at, offer=full.session))
            for suite in ("AES128-SHA", "ECDHE-RSA-AES128-SHA"):
                session = client.connect(at, crafted.Hello(suites=(suite,)))
                _talk(session)
                assert session.session is not None
                _talk(client.connect(at, crafted.Hello(session_id=session.session.id),
                                     offer=session.session))
            broker.context.verify_mode = ssl.CERT_REQUIRED
            ordinary.connect(at)
            broker.context.verify_mode = ssl.CERT_NONE
            broker.context.minimum_version = ssl.TLSVersion.TLSv1_3
            broker.context.maximum_version = ssl.TLSVersion.TLSv1_3
            ordinary.connect(at)
            _talk(ordinary.connect(at, versions=("tlsv1.2", "tlsv1.3")))
    finally:
        ordinary.close()
        broker.stop()
    return [(bytes(one.sent), bytes(one.received)) for one in made]


def session_files(identity: CertifiedKey, folder: Path) -> list[bytes]:
    """Let openssl write session files: with an ID, with a ticket, of TLS 1.3."""
    seeds = []
    with s_server("-cert", identity.certificate, "-key", identity.key) as port:
        for number, options in enumerate((("-tls1_2", "-no_ticket"), ("-tls1_2",), ("-tls1_3",))):
            path = folder / f"{number}.pem"
            make_session(path, port, *options)
            seeds += [path.read_bytes(), openssl("sess_id", "-in", path, "-outform", "DER")]
    return seeds


_STREAMS = [
    b"\x14\x03\x03\x00\x01\x01" * 300,
    # A ServerHello without extensions, as no server of today's makes it.
    b"\x16\x03\x03\x00\x2a\x02\x00\x00\x26\x03\x03" + bytes(32) + b"\x00\x00\x9c\x00",
]
_STRING = b"\x00\x03abc"
CONNACKS = [
    b"\x20\x02\x00\x00", b"\x20\x02\x01\x00", b"\x20\x02\x00\x05", b"\x20\x03\x00\x00\x00",
    b"\x20\x03\x00\x84\x00", b"\x20\x03\x00\x86\x00",
    b"\x20\x22\x00\x00\x1f\x21\x00\x0a\x26" + _STRING * 2 + b"\x1c" + _STRING + b"\x12" + _STRING
    + b"\x27\x00\x00\x10\x00",
]
_AFTER = [
    b"\x90\x03\x00\x01\x01", b"\x90\x04\x00\x01\x00\x01", b"\x90\x04\x00\x01\x00\x87",
    b"\x40\x02\x00\x02", b"\x40\x03\x00\x02\x87", b"\x30\x06\x00\x03x/yz",
    b"\x30\x07\x00\x03x/y\x00z", b"\x32\x08\x00\x03x/y\x00\x09z", b"\xd0\x00", b"\xe0\x02\x87\x00",
    b"\xe0\x00", b"\xf0\x00", b"\x62\x02\x00\x01", b"\x50\x02\x00\x01",
]
_WHOLE_5 = _AFTER[1] + _AFTER[3] + _AFTER[6] + _AFTER[8]
_WHOLE_3 = _AFTER[0] + _AFTER[3] + _AFTER[5] + _AFTER[8]


def _scripts() -> list[bytes]:
    resumes = bytes((HELLO, 1, CHANGE, FINISHED))
    full = bytes((HELLO, 0, CERTIFICATE, DONE, CHANGE, FINISHED))
    extended = bytes((HELLO, 5, CHANGE, FINISHED, ACCEPT))
    compressed, older = bytes((HELLO, 17)), bytes((HELLO, 9, CHANGE, FINISHED))
    ecdhe = bytes((HELLO, 2, CERTIFICATE, KEY_EXCHANGE, DONE))
    asks = bytes((HELLO, 0, CERTIFICATE, MESSAGE, 13, 0, 10)) + (
        b"\x01\x01\x00\x04\x04\x01\x08\x04\x00\x00" + bytes((DONE,)))
    return [
        extended, compressed, older, resumes + bytes((ACCEPT, RECORD, 21, 2, 1, 0)),
        resumes + bytes((ACCEPT, RAW, 3, 1, 2, 3)),
        resumes + bytes((RECORD, 23, 0, RECORD, 22, 4, 0, 0, 0, 0, ACCEPT)), full, ecdhe, asks,
        resumes + bytes((RECORD, 21, 2, 2, 40)), bytes((RECORD, 21, 2, 1, 112)) + full,
        bytes((HELLO, 1, MESSAGE, 4, 0, 6, 0, 0, 0, 9, 0, 0, CHANGE, FINISHED)),
        bytes((HELLO, 1, MESSAGE, 0, 0, 0, REPEAT, 200, REPEAT, 200)),
        bytes((RECORD, 23, 3)) + b"abc", bytes((RAW, 8)) + b"HTTP/1.1"]


def seeds(identity: CertifiedKey, folder: Path) -> dict[str, list[bytes]]:
    """Return what each target is to start from."""
    flights = conversations(identity)
    hows = bytes((0, 1, 5, 7, 25, 33, 64))
    return {
        "transcript": [bytes((40, flags)) + stream for pair in flights
                       for flags, stream in ((1, pair[0]), (0, pair[1]), (2, pair[1][:400]))]
        + [bytes((40, 0)) + stream for stream in _STREAMS],
        "mqtt": [bytes((how,)) + connack for connack in CONNACKS for how in (0, 1, 255)],
        "paho": [bytes((how,)) + connack for connack in CONNACKS for how in (0, 1)]
        + [b"\xff" + packet for packet in (*_AFTER, _WHOLE_5)]
        + [b"\xfe" + packet for packet in (*_AFTER, _WHOLE_3)],
        "session_file": session_files(identity, folder),
        "ordinary": [bytes((step, how)) + received for _, received in flights
                     for step, how in ((0, 0), (9, 0), (0, 2), (0, 4))],
        "crafted": [bytes((how, step, more)) + script for script in _scripts() for how in hows
                    for step, more in ((0, 0), (30, 1), (0, 2), (0, 0xF8))],
    }
