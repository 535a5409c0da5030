"""Key agreement and AES-GCM by OpenSSL, where cryptography is installed.

tlslite-ng's are pure Python, and more than half of what a full handshake takes. They are used for
all other groups and ciphers, and without cryptography.
"""
from __future__ import annotations

from typing import Any

from ...lean_imports import parts_of

with parts_of("tlslite"):
    from tlslite.constants import GroupName
    from tlslite.errors import TLSIllegalParameterException
    from tlslite.keyexchange import ECDHE_RSAKeyExchange
    from tlslite.messagesocket import MessageSocket
    from tlslite.utils.cipherfactory import createAESGCM

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric import ec, x25519
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
except ImportError:
    INSTALLED = False
else:
    INSTALLED = True

_UNCOMPRESSED = 4
"""First byte of a point (SEC 1, 2.3.3)."""


class KeyExchange(ECDHE_RSAKeyExchange):  # type: ignore[misc]
    """tlslite-ng's, with OpenSSL's X25519 and P-256."""

    def processServerKeyExchange(self, public_key: Any, agreed: Any) -> Any:  # noqa: N802 - its name
        group = agreed.named_curve
        known = group in self.acceptedCurves and agreed.ecdh_Ys
        if not known or not INSTALLED or group not in (GroupName.x25519, GroupName.secp256r1):
            return super().processServerKeyExchange(public_key, agreed)
        agree = _by_x25519 if group == GroupName.x25519 else _by_p256
        try:
            share, premaster = agree(bytes(agreed.ecdh_Ys))
        except ValueError:
            raise TLSIllegalParameterException("Invalid key share") from None
        self.ecdhYc = bytearray(share)
        return bytearray(premaster)


def _by_x25519(theirs: bytes) -> tuple[bytes, bytes]:
    """Return our share and what is agreed on. Raises ValueError: theirs is none (RFC 7748 6.1)."""
    own = x25519.X25519PrivateKey.generate()
    return (own.public_key().public_bytes_raw(),
            own.exchange(x25519.X25519PublicKey.from_public_bytes(theirs)))


def _by_p256(theirs: bytes) -> tuple[bytes, bytes]:
    """Return our share and what is agreed on. Raises ValueError: theirs is no point of P-256."""
    if theirs[0] != _UNCOMPRESSED:
        raise ValueError("the point is compressed, which we have not offered (RFC 8422 5.1.2)")
    own = ec.generate_private_key(ec.SECP256R1())
    return (own.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
            own.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(
                ec.SECP256R1(), theirs)))


class AesGcm:
    """AES-GCM as tlslite-ng calls it."""

    isBlockCipher, isAEAD = False, True  # noqa: N815 - tlslite-ng's names, and so on
    nonceLength, tagLength = 12, 16  # noqa: N815
    implementation = "openssl"

    def __init__(self, key: bytearray, _implementations: list[str]) -> None:
        self.name = f"aes{8 * len(key)}gcm"
        self._cipher = AESGCM(bytes(key))

    def seal(self, nonce: bytearray, plaintext: bytearray, data: bytearray) -> bytearray:
        return bytearray(self._cipher.encrypt(bytes(nonce), bytes(plaintext), bytes(data)))

    def open(self, nonce: bytearray, ciphertext: bytearray, data: bytearray) -> bytearray | None:
        try:
            return bytearray(self._cipher.decrypt(bytes(nonce), bytes(ciphertext), bytes(data)))
        except InvalidTag:
            return None


class Layer(MessageSocket):  # type: ignore[misc]
    """tlslite-ng's, with OpenSSL's AES-GCM."""

    @staticmethod
    def _getCipherSettings(suite: int) -> tuple[int, int, Any]:  # noqa: N802 - tlslite-ng's name
        key_length, iv_length, cipher = MessageSocket._getCipherSettings(suite)
        return key_length, iv_length, (
            AesGcm if INSTALLED and cipher is createAESGCM else cipher)
