"""What kind of key a certificate is for: as much of X.509 as that takes (RFC 5280 4.1).

The signature with that key is most of what a full handshake costs a server. Needs nothing but
Python, since vantage points have nothing else.
"""
from __future__ import annotations

import functools

_SEQUENCE, _INTEGER, _BIT_STRING, _OID, _VERSION = 0x30, 0x02, 0x03, 0x06, 0xA0
_RSA = {bytes.fromhex("2a864886f70d010101"): "RSA", bytes.fromhex("2a864886f70d01010a"): "RSA-PSS"}
"""RFC 8017 A.1 and A.2.3: with a modulus."""
_EC = bytes.fromhex("2a8648ce3d0201")
_CURVES = {bytes.fromhex("2a8648ce3d030107"): "P-256", bytes.fromhex("2b81040022"): "P-384",
           bytes.fromhex("2b81040023"): "P-521"}
"""RFC 5480 2.1.1."""
_EDWARDS = {bytes.fromhex("2b6570"): "Ed25519", bytes.fromhex("2b6571"): "Ed448"}
"""RFC 8410 3."""


class _Reader:
    """Takes DER elements off some bytes, one after the other (X.690 8.1)."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def tag(self) -> int:
        """The next element's tag; 0 at the end."""
        return self._data[self._at] if self._at < len(self._data) else 0

    def take(self, tag: int | None = None) -> bytes:
        """Return the content of the next element. Raises ValueError if it is cut off or another."""
        data, at = self._data, self._at
        if at + 2 > len(data) or tag not in (None, data[at]):
            raise ValueError("not this element")
        length, at = data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(data[at:at + size], "big"), at + size
        if at + length > len(data):
            raise ValueError("cut off")
        self._at = at + length
        return data[at:self._at]

    def enter(self) -> _Reader:
        """Return a reader of what the next element, a SEQUENCE, holds."""
        return _Reader(self.take(_SEQUENCE))


@functools.lru_cache(maxsize=64)
def key_of(certificate: bytes) -> str:
    """Return ``RSA 2048``, ``ECDSA P-256`` or the like; empty when it cannot be told.

    Args:
        certificate: DER, as it comes in a handshake.
    """
    try:
        return _described(_public_key(certificate))
    except ValueError:
        return ""


def _public_key(certificate: bytes) -> _Reader:
    """Return a reader of the SubjectPublicKeyInfo. Raises ValueError."""
    signed = _Reader(certificate).enter().enter()
    if signed.tag == _VERSION:
        signed.take()
    for _ in ("serialNumber", "signature", "issuer", "validity", "subject"):
        signed.take()
    return signed.enter()


def _described(info: _Reader) -> str:
    algorithm, key = info.enter(), info.take(_BIT_STRING)
    kind = algorithm.take(_OID)
    if kind in _RSA:
        # The first byte of a BIT STRING counts unused bits (X.690 8.6.2).
        modulus = _Reader(key[1:]).enter().take(_INTEGER)
        return f"{_RSA[kind]} {int.from_bytes(modulus, 'big').bit_length()}"
    if kind == _EC:
        curve = _CURVES.get(algorithm.take(_OID), "")
        return f"ECDSA {curve}".rstrip()
    return _EDWARDS.get(kind, "")
