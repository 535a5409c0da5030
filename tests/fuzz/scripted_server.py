"""A TLS 1.2 server in memory that does what a script of bytes says, in any order and wrong.

With the secret of a session it resumes that session, and from its ChangeCipherSpec on everything
it says is rightly encrypted: so hostile plaintext reaches what is behind the record layer.
"""
from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tlslite.constants import CertificateType, CipherSuite
from tlslite.handshakehashes import HandshakeHashes
from tlslite.mathtls import calc_key
from tlslite.messages import Certificate, Message
from tlslite.recordlayer import RecordLayer
from tlslite.x509certchain import X509CertChain

from tests.fuzz.memory_wire import PATIENCE

TLS12 = (3, 3)
SUITE = CipherSuite.TLS_RSA_WITH_AES_128_CBC_SHA
SECRET = bytes(range(48))
SESSION_ID = bytes(range(32))
RANDOM = b"\x07" * 32
CONNACK = b"\x20\x03\x00\x00\x00"
# An uncompressed length, a NIST curve's and X25519's point, and a signature that nobody verifies.
_X25519 = b"\x03\x00\x1d\x20" + b"\x09" + bytes(31) + b"\x04\x01\x00\x04sign"

# renegotiation_info, extended_master_secret, server_name: all of them empty.
_EXTENSIONS = b"\x00\x0d\xff\x01\x00\x01\x00\x00\x17\x00\x00\x00\x00\x00\x00"

HELLO, CERTIFICATE, KEY_EXCHANGE, DONE, CHANGE, FINISHED, ACCEPT = range(3, 10)
RAW, RECORD, MESSAGE, REPEAT = 0, 1, 2, 10
_OPS = 11


def message(kind: int, body: bytes) -> bytes:
    """Return a handshake message (RFC 5246 7.4)."""
    return bytes((kind,)) + len(body).to_bytes(3, "big") + body


@functools.cache
def certificate_message(path: Path) -> bytes:
    """Return a Certificate message."""
    chain = X509CertChain()
    chain.parsePemList(path.read_text())
    return bytes(Certificate(CertificateType.x509, TLS12).create(chain).write())


class _Out:
    """What tlslite-ng takes for a socket; sent only."""

    def __init__(self) -> None:
        self.data = bytearray()

    def send(self, data: bytes) -> int:
        self.data += data
        return len(data)


class ScriptedServer:
    """One connection. A script is a row of operations: their number, then what they take.

    RAW: length (1 byte), bytes for the wire. RECORD: content type, length (1), a fragment.
    MESSAGE: handshake type, length (2), a body. REPEAT: how often the last output comes again.
    HELLO: the bits of the next byte tell whether the session ID is the offered one, the suite the
    ECDHE one, there are extensions, the version TLS 1.1, the compression DEFLATE. The others take
    nothing and are right where they are in turn.
    """

    def __init__(self, script: bytes, certificate: Path) -> None:
        self._script, self._at = script, 0
        self._certificate = certificate
        self._out = _Out()
        self._layer = RecordLayer(self._out)
        self._layer.client, self._layer.version = False, TLS12
        self._hashes = HandshakeHashes()
        self._client_random = bytearray(32)
        self._offered = b""
        self._last = b""
        self._total = 0
        self._do: dict[int, Callable[[], None]] = {
            RAW: lambda: self._raw(self._take(self._number(1))),
            RECORD: lambda: self._record(self._number(1), self._take(self._number(1))),
            MESSAGE: lambda: self._message(self._number(1), self._take(self._number(2))),
            HELLO: self._hello,
            CERTIFICATE: lambda: self._whole(certificate_message(self._certificate)),
            KEY_EXCHANGE: lambda: self._message(12, _X25519),
            DONE: lambda: self._message(14, b""),
            CHANGE: self._change,
            FINISHED: self._finished,
            ACCEPT: lambda: self._record(23, CONNACK),
            REPEAT: lambda: self._raw(self._last * self._number(1)),
        }

    def heard(self, data: bytes) -> None:
        """Take what the client sent; only its ClientHello counts."""
        if not self._client_random.strip(b"\x00") and data[:1] == b"\x16":
            self._client_random = bytearray(data[11:43])
            self._offered = data[44:44 + data[43]]
            self._hashes.update(bytearray(data[5:5 + int.from_bytes(data[3:5], "big")]))

    def says(self) -> bytes:
        """Go on until something is to be sent; ``b""`` when the script is over."""
        while not self._out.data and self._at < len(self._script) and self._total < PATIENCE:
            self._do[self._number(1) % _OPS]()
        said = bytes(self._out.data)
        self._out.data.clear()
        self._total += len(said)
        self._last = said or self._last
        return said

    def _take(self, count: int) -> bytes:
        self._at += count
        return self._script[self._at - count:self._at]

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def _raw(self, data: bytes) -> None:
        self._out.data += data

    def _record(self, kind: int, fragment: bytes) -> None:
        # tlslite-ng only writes a whole message into one record, and this is one to it.
        for _ in self._layer.sendRecord(Message(kind, bytearray(fragment))):
            pass

    def _message(self, kind: int, body: bytes) -> None:
        self._whole(message(kind, body))

    def _whole(self, data: bytes) -> None:
        self._hashes.update(bytearray(data))
        self._record(22, data)

    def _hello(self) -> None:
        how = self._number(1)
        session_id = self._offered if how & 1 else b"\x05" * 32
        suite = CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA if how & 2 else SUITE
        self._message(2, (b"\x03\x02" if how & 8 else bytes(TLS12)) + RANDOM
                      + bytes((len(session_id),)) + session_id + suite.to_bytes(2, "big")
                      + (b"\x01" if how & 16 else b"\x00") + (_EXTENSIONS if how & 4 else b""))

    def _change(self) -> None:
        self._record(20, b"\x01")
        self._layer.calcPendingStates(SUITE, bytearray(SECRET), self._client_random,
                                      bytearray(RANDOM), ["python"])
        self._layer.changeWriteState()

    def _finished(self) -> None:
        data: Any = calc_key(TLS12, bytearray(SECRET), SUITE, b"server finished",
                             handshake_hashes=self._hashes, output_length=12)
        self._message(20, bytes(data))
