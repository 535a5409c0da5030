"""What OpenSSL's verify results mean: the numbers ``X509_V_…`` of its x509_vfy.h."""
from __future__ import annotations

_MEANINGS = {
    0: "the certificate was verified",
    2: "the issuer's certificate was not found",
    3: "the revocation list was not found",
    7: "the signature of a certificate is wrong",
    9: "a certificate is not valid yet",
    10: "a certificate has expired",
    12: "the revocation list has expired",
    18: "the certificate is self-signed and not trusted",
    19: "the chain ends in a self-signed certificate that is not trusted",
    20: "the certificate's issuer is not among the trusted ones",
    21: "the chain is only the certificate, and its issuer is not trusted",
    22: "the chain is too long",
    23: "a certificate was revoked",
    # Not one of a CA in OpenSSL 1.1.1, which has since become 79.
    24: "an issuer's certificate is not one of a CA, or has no public key",
    25: "a CA's certificate allows no chain this long",
    26: "the certificate is not meant for this purpose",
    27: "the root certificate is not trusted for this purpose",
    28: "the root certificate is marked as rejected for this purpose",
    30: "the issuer's key identifier is not the one that the certificate names",
    31: "the issuer's serial number is not the one that the certificate names",
    32: "an issuer's key is not meant for signing certificates",
    33: "the revocation list's issuer was not found",
    34: "a critical extension is unknown",
    47: "a name is not permitted by a CA in the chain",
    48: "a name is excluded by a CA in the chain",
    62: "the certificate is for another host name",
    63: "the certificate is for another e-mail address",
    64: "the certificate is for another IP address",
    66: "the certificate's key is too weak for OpenSSL's security level",
    67: "a CA's key is too weak for OpenSSL's security level",
    68: "the digest of a CA's signature is too weak for OpenSSL's security level",
    79: "a certificate in the chain is not one of a CA",
}


_CAUSES = {
    # _UNABLE_TO_GET_ISSUER_CERT: of one that is trusted itself, such as an intermediate CA's.
    2: "certificate_root_missing",
    9: "certificate_not_yet_valid",
    10: "certificate_expired",
    18: "certificate_self_signed",  # _DEPTH_ZERO_SELF_SIGNED_CERT
    # _SELF_SIGNED_CERT_IN_CHAIN, _UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
    # _UNABLE_TO_VERIFY_LEAF_SIGNATURE
    **dict.fromkeys((19, 20, 21), "certificate_not_trusted"),
    23: "certificate_revoked",
    26: "certificate_wrong_purpose",
    62: "certificate_name_mismatch",
    64: "certificate_name_mismatch",
    # _EE_KEY_TOO_SMALL, _CA_KEY_TOO_SMALL, _CA_MD_TOO_WEAK
    **dict.fromkeys((66, 67, 68), "certificate_too_weak"),
}
_ANY_OTHER = "certificate_rejected"
CERTIFICATE_CAUSES = frozenset((*_CAUSES.values(), _ANY_OTHER))
"""Causes for which our library turns a certificate down."""
NO_TRUSTED_ISSUER = frozenset(("certificate_not_trusted", "certificate_root_missing",
                               "certificate_self_signed"))
"""Those of which it matters whom we trust."""


def cause(number: int) -> str:
    """Return the cause for which a certificate with this verify result is turned down."""
    return _CAUSES.get(number, _ANY_OTHER)


def meaning(number: int) -> str:
    """Return what a verify result means in a few words."""
    return _MEANINGS.get(number, "the certificate was not verified; x509_vfy.h of OpenSSL has the "
                                 "number")
