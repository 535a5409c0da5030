"""What a crafted client can be told to say: cipher suites, the ClientHello, how to go on."""
from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ...lean_imports import parts_of

with parts_of("tlslite"):
    from tlslite.constants import CipherSuite, GroupName, SignatureScheme

_EXCHANGES = ((("ECDHE-ECDSA-", "ECDHE_ECDSA"), ("ECDHE-RSA-", "ECDHE_RSA")),
              (("DHE-RSA-", "DHE_RSA"), ("DHE-DSS-", "DHE_DSS")), (("", "RSA"),))
"""Key exchanges, as OpenSSL and as RFC 5246 begin their suites' names, in the order of preference:
forward secrecy, then what costs less."""
_CIPHERS = (
    ("AES256-GCM-SHA384", "AES_256_GCM_SHA384"), ("AES128-GCM-SHA256", "AES_128_GCM_SHA256"),
    ("CHACHA20-POLY1305", "CHACHA20_POLY1305_SHA256"),
    ("AES256-CCM", "AES_256_CCM"), ("AES128-CCM", "AES_128_CCM"),
    ("AES256-CCM8", "AES_256_CCM_8"), ("AES128-CCM8", "AES_128_CCM_8"),
    ("AES256-SHA384", "AES_256_CBC_SHA384"), ("AES256-SHA256", "AES_256_CBC_SHA256"),
    ("AES128-SHA256", "AES_128_CBC_SHA256"), ("AES256-SHA", "AES_256_CBC_SHA"),
    ("AES128-SHA", "AES_128_CBC_SHA"))


_SPOKEN = frozenset(CipherSuite.certAllSuites + CipherSuite.ecdheEcdsaSuites
                    + CipherSuite.dheDsaSuites) & frozenset(
    CipherSuite.aeadSuites + CipherSuite.shaSuites + CipherSuite.sha256Suites
    + CipherSuite.sha384Suites)
"""Those of which it has both the key exchange and what protects the records."""


def _suites() -> Iterator[tuple[str, int]]:
    for exchanges in _EXCHANGES:
        for cipher, its_name in _CIPHERS:
            for prefix, exchange in exchanges:
                number = int(getattr(CipherSuite, f"TLS_{exchange}_WITH_{its_name}", 0))
                # tlslite-ng 0.8.2 knows DHE-DSS with CBC and SHA-256 by number and cannot speak it.
                if number in _SPOKEN:
                    yield prefix + cipher, number


SUITES = dict(_suites())
"""OpenSSL's names of the cipher suites that can be spoken, in the order of preference."""
OLD_SUITES = tuple(name for name in SUITES if name.endswith("-SHA"))
"""Those that TLS 1.0, 1.1 and 1.2 share: a session of one of them could move between versions."""
NAMES = {number: name for name, number in SUITES.items()}
GROUPS = [GroupName.x25519, GroupName.secp256r1, GroupName.x448, GroupName.secp521r1,
           GroupName.secp384r1]
SIGNED_WITH = {
    "ecdsa": (SignatureScheme.ecdsa_secp256r1_sha256, SignatureScheme.ecdsa_secp384r1_sha384,
              SignatureScheme.ecdsa_secp521r1_sha512),
    "Ed25519": (SignatureScheme.ed25519,),
    "Ed448": (SignatureScheme.ed448,),
    "rsa": (SignatureScheme.rsa_pkcs1_sha256, SignatureScheme.rsa_pkcs1_sha384,
            SignatureScheme.rsa_pkcs1_sha512, SignatureScheme.rsa_pss_rsae_sha256,
            SignatureScheme.rsa_pss_rsae_sha384, SignatureScheme.rsa_pss_rsae_sha512),
    "rsa-pss": (SignatureScheme.rsa_pss_pss_sha256, SignatureScheme.rsa_pss_pss_sha384,
                SignatureScheme.rsa_pss_pss_sha512),
}
"""What a key of each kind signs with (RFC 5246 7.4.1.4.1, RFC 8422 5.1.3, RFC 8446 4.2.3)."""
OTHER_SIGNATURES = (
    SignatureScheme.dsa_sha256, SignatureScheme.dsa_sha384, SignatureScheme.dsa_sha512,
    SignatureScheme.ecdsa_sha224, SignatureScheme.rsa_pkcs1_sha224, SignatureScheme.dsa_sha224)
"""What else OpenSSL offers. No signature of the target's is verified here, so all can be taken."""
TLS12 = (3, 3)
GREASE_SUITE, GREASE_GROUP, GREASE_SIGNATURE, GREASE_VERSION = 0x0A0A, 0x3A3A, 0x4A4A, 0x5A5A
GREASE_EXTENSIONS = ((0x1A1A, b""), (0x2A2A, b"\x00"))
"""RFC 8701 2 and 3: types and bodies, the first and the last of the ClientHello's extensions."""
UNKNOWN_EXTENSIONS = ((0xFF5A, b""), (0xFFA5, bytes(range(64))))
"""Types for private use (RFC 8447 17), and bodies, that mean nothing to anybody."""
NOBODY_KNOWS = frozenset(kind for kind, _ in GREASE_EXTENSIONS + UNKNOWN_EXTENSIONS)


class MasterSecret:
    """A master secret; it does not show in any ``repr`` and cannot be serialised."""

    __slots__ = ("_bytes",)

    def __init__(self, secret: bytes) -> None:
        self._bytes = secret

    def reveal(self) -> bytearray:
        """Return the 48 bytes, for key derivation only."""
        return bytearray(self._bytes)

    def with_one_bit_flipped(self) -> MasterSecret:
        """Return a secret that is as good as unknown."""
        return MasterSecret(self._bytes[:-1] + bytes((self._bytes[-1] ^ 1,)))

    def __reduce__(self) -> str:
        raise TypeError("a master secret never leaves the process")


@dataclass(frozen=True)
class CraftedSession:
    """A session as the crafted client remembers it."""

    id: bytes
    cipher: str
    secret: MasterSecret = field(repr=False, compare=False)
    extended_master_secret: bool = False
    """Whether it was negotiated (RFC 7627 5.2)."""


@dataclass(frozen=True)
class Hello:
    """What the ClientHello carries."""

    session_id: bytes = b""
    suites: tuple[str, ...] = tuple(SUITES)
    """OpenSSL's names."""
    version: tuple[int, int] = TLS12
    """The one that is spoken, at most TLS 1.2; a target that chooses another is not followed."""
    send_server_name: bool = True
    compression: tuple[int, ...] = (0,)
    """Compression methods (RFC 3749 2); one that is chosen other than 0 ends the handshake."""
    extensions: tuple[tuple[int, bytes], ...] = ()
    """Further ones: type and body."""
    extended_master_secret: bool = True
    """Whether the extension is there (RFC 7627 5.1)."""
    grease: bool = False
    """Whether reserved values are among the cipher suites, extensions, groups and signature
    algorithms (RFC 8701 3)."""
    grease_version: bool = False
    """Whether there is supported_versions, of a reserved value and the version (RFC 8701 3)."""
    record_size: int | None = None
    """Bytes of the message in each TLS record (RFC 5246 6.2.1); None: all in one."""
    segment_size: int | None = None
    """Bytes in each TCP segment; None: all in one."""
    server_name: str | None = None
    """The name to send (RFC 6066 3); None: the endpoint's, unless that is an address."""


class StopAfter(enum.Enum):
    """Where the client breaks off a full handshake."""

    SERVER_HELLO_DONE = "the target's ServerHelloDone"
    CLIENT_KEY_EXCHANGE = "our ClientKeyExchange, without Finished"


@dataclass(frozen=True)
class Conduct:
    """How the client goes on once the target has chosen."""

    stop_after: StopAfter | None = None
    """Breaks a full handshake off: no ChangeCipherSpec, no Finished, the connection half closed."""
    finish_with: MasterSecret | None = None
    """In an abbreviated handshake: the secret that our Finished is made and sent with."""
    then_send: bytes = b""
    """Application data for a target that says nothing to such a Finished."""
    finish_wrongly: bool = False
    """Our Finished, encrypted as it should be, holds wrong verify_data (RFC 5246 7.4.9)."""
    also_speaks: tuple[str, ...] = ()
    """Suites that the client goes on with although its hello did not offer them."""


HONEST = Conduct()


def is_host_name(name: str) -> bool:
    """Tell whether a server name may be sent (RFC 6066 3: no literal addresses)."""
    return not name.replace(".", "").isdigit() and ":" not in name


def signed_with(key: Any) -> list[Any]:
    """Return what a client's key signs with. Raises ValueError where we cannot."""
    try:
        return list(SIGNED_WITH[key.key_type])
    except KeyError:
        raise ValueError(f"no signature with a key of {key.key_type}") from None
