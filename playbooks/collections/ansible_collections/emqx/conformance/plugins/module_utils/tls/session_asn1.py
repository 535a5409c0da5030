"""OpenSSL's SSL_SESSION, the structure inside a session file, and its decoding.

``SSL_SESSION_ASN1`` of OpenSSL's ``ssl/ssl_asn1.c``, version 1: what 1.1.1 and all of 3 write. They
differ only in which optional fields there are. Needs ``cryptography`` 49, whose declarative ASN.1
is its first to take a certificate as a field; it is memory-safe and allocates nothing by a
length that the bytes only claim.
"""
from __future__ import annotations

from typing import Annotated, Optional

from cryptography import x509
from cryptography.hazmat import asn1

from ..model import LONGEST_SESSION_ID

MAX_MASTER_SECRET = 512
"""In bytes: 48 up to TLS 1.2 (RFC 5246 8.1); OpenSSL reads up to 512 for TLS 1.3's PSK."""

# Plain names for get_type_hints, which also Python 3.9 can evaluate.
_Octets = Optional[bytes]
_Integer = Optional[int]
_Certificate = Optional[x509.Certificate]


class SessionFileError(Exception):
    """This is no session that can be read; the sentence says why, and never quotes the bytes."""


@asn1.sequence
class SslSession:
    """The fields by OpenSSL's names, in the order of the structure."""

    version: int
    ssl_version: int
    cipher: bytes
    session_id: bytes
    master_key: bytes
    key_arg: Annotated[_Octets, asn1.Implicit(0)] = None
    """SSLv2's; nothing has written it since OpenSSL 1.1.0."""
    time: Annotated[_Integer, asn1.Explicit(1)] = None
    timeout: Annotated[_Integer, asn1.Explicit(2)] = None
    peer: Annotated[_Certificate, asn1.Explicit(3)] = None
    session_id_context: Annotated[_Octets, asn1.Explicit(4)] = None
    verify_result: Annotated[_Integer, asn1.Explicit(5)] = None
    tlsext_hostname: Annotated[_Octets, asn1.Explicit(6)] = None
    psk_identity_hint: Annotated[_Octets, asn1.Explicit(7)] = None
    psk_identity: Annotated[_Octets, asn1.Explicit(8)] = None
    tlsext_tick_lifetime_hint: Annotated[_Integer, asn1.Explicit(9)] = None
    tlsext_tick: Annotated[_Octets, asn1.Explicit(10)] = None
    comp_id: Annotated[_Octets, asn1.Explicit(11)] = None
    srp_username: Annotated[_Octets, asn1.Explicit(12)] = None
    flags: Annotated[_Integer, asn1.Explicit(13)] = None
    tlsext_tick_age_add: Annotated[_Integer, asn1.Explicit(14)] = None
    max_early_data: Annotated[_Integer, asn1.Explicit(15)] = None
    alpn_selected: Annotated[_Octets, asn1.Explicit(16)] = None
    tlsext_max_fragment_len_mode: Annotated[_Integer, asn1.Explicit(17)] = None
    ticket_appdata: Annotated[_Octets, asn1.Explicit(18)] = None
    kex_group: Annotated[_Integer, asn1.Explicit(19)] = None
    peer_rpk: Annotated[_Octets, asn1.Explicit(20)] = None


def decode(der: bytes) -> SslSession:
    """Decode one session and hold it to the bounds that OpenSSL itself sets.

    Raises:
        SessionFileError: the bytes are cut off, another structure, or out of bounds.
    """
    claimed = _claimed_length(der)
    if claimed is None:
        raise SessionFileError("is no OpenSSL session: it does not begin as one does")
    if len(der) < claimed:
        raise SessionFileError(f"is cut off: {len(der)} of the session's {claimed} bytes are there")
    if len(der) > claimed:
        raise SessionFileError(f"goes on after the session's {claimed} bytes: keep one session, "
                               "and nothing else, in a file")
    try:
        session = asn1.decode_der(SslSession, der)
    except (ValueError, x509.InvalidVersion):
        # Not their text: it can name what was met, and that may be a piece of the master secret.
        raise SessionFileError("is no OpenSSL session, but another structure or a damaged one") \
            from None
    _check(session)
    return session


def _claimed_length(der: bytes) -> int | None:
    """Return how long the outer SEQUENCE says it is (X.690 8.1.3), or None if there is none."""
    if len(der) < 2 or der[0] != 0x30:
        return None
    if der[1] < 0x80:
        return 2 + der[1]
    size = der[1] & 0x7F
    if not 1 <= size <= 4 or len(der) < 2 + size:
        return None
    return 2 + size + int.from_bytes(der[2:2 + size], "big")


def _check(session: SslSession) -> None:
    if session.version != 1:
        raise SessionFileError("is a session in a version of the structure other than 1, which no "
                               "known OpenSSL writes")
    # SSL 3.0 to TLS 1.3 (RFC 5246 6.2.1), and DTLS with its own two numbers (RFC 6347 4.1).
    if session.ssl_version >> 8 not in (0x03, 0xFE):
        raise SessionFileError("is a session of no TLS or DTLS version")
    if len(session.cipher) != 2:
        raise SessionFileError(f"names its cipher suite in {len(session.cipher)} bytes; TLS has 2")
    if len(session.session_id) > LONGEST_SESSION_ID:
        raise SessionFileError(f"has a session ID of {len(session.session_id)} bytes, over "
                               f"{LONGEST_SESSION_ID}")
    if len(session.master_key) > MAX_MASTER_SECRET:
        raise SessionFileError(f"has a master secret of {len(session.master_key)} bytes, over "
                               f"{MAX_MASTER_SECRET}")
    if session.comp_id is not None and len(session.comp_id) != 1:
        raise SessionFileError(f"names its compression in {len(session.comp_id)} bytes; TLS has 1")
    numbers = ((session.time, 64), (session.timeout, 64), (session.verify_result, 32),
               (session.tlsext_tick_lifetime_hint, 64), (session.flags, 64))
    if any(number is not None and number.bit_length() >= bits for number, bits in numbers):
        raise SessionFileError("has a number in it that is longer than OpenSSL can hold")
