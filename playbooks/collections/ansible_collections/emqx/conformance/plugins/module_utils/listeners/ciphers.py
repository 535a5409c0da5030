"""Cipher suite names.

EMQX compares ``ciphers`` with OpenSSL's names of the suites its OTP has, so RFC names
(``TLS_ECDHE_RSA_WITH_…``) of suites before TLS 1.3 stop it from booting although OTP's ``ssl``
itself would take them.
"""
from __future__ import annotations

import re

from .nearest import did_you_mean, several

# ssl:cipher_suites(all, Version, openssl) of OTP 25.2 for every TLS version, and the PSK suites
# that EMQX adds to them itself.
_RSA = """AES128-GCM-SHA256 AES128-SHA AES128-SHA256 AES256-GCM-SHA384 AES256-SHA AES256-SHA256
DES-CBC-SHA DES-CBC3-SHA RC4-MD5 RC4-SHA"""
_DHE = """DHE-DSS-AES128-GCM-SHA256 DHE-DSS-AES128-SHA DHE-DSS-AES128-SHA256
DHE-DSS-AES256-GCM-SHA384 DHE-DSS-AES256-SHA DHE-DSS-AES256-SHA256 DHE-DSS-DES-CBC3-SHA
DHE-RSA-AES128-GCM-SHA256 DHE-RSA-AES128-SHA DHE-RSA-AES128-SHA256 DHE-RSA-AES256-GCM-SHA384
DHE-RSA-AES256-SHA DHE-RSA-AES256-SHA256 DHE-RSA-CHACHA20-POLY1305 EDH-RSA-DES-CBC-SHA
EDH-RSA-DES-CBC3-SHA"""
_ECDH = """ECDH-ECDSA-AES128-GCM-SHA256 ECDH-ECDSA-AES128-SHA ECDH-ECDSA-AES128-SHA256
ECDH-ECDSA-AES256-GCM-SHA384 ECDH-ECDSA-AES256-SHA ECDH-ECDSA-AES256-SHA384
ECDH-ECDSA-DES-CBC3-SHA ECDH-ECDSA-RC4-SHA ECDH-RSA-AES128-GCM-SHA256 ECDH-RSA-AES128-SHA
ECDH-RSA-AES128-SHA256 ECDH-RSA-AES256-GCM-SHA384 ECDH-RSA-AES256-SHA ECDH-RSA-AES256-SHA384
ECDH-RSA-DES-CBC3-SHA ECDH-RSA-RC4-SHA"""
_ECDHE = """ECDHE-ECDSA-AES128-CCM ECDHE-ECDSA-AES128-CCM8 ECDHE-ECDSA-AES128-GCM-SHA256
ECDHE-ECDSA-AES128-SHA ECDHE-ECDSA-AES128-SHA256 ECDHE-ECDSA-AES256-CCM ECDHE-ECDSA-AES256-CCM8
ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-ECDSA-AES256-SHA ECDHE-ECDSA-AES256-SHA384
ECDHE-ECDSA-CHACHA20-POLY1305 ECDHE-ECDSA-DES-CBC3-SHA ECDHE-ECDSA-RC4-SHA
ECDHE-RSA-AES128-GCM-SHA256 ECDHE-RSA-AES128-SHA ECDHE-RSA-AES128-SHA256
ECDHE-RSA-AES256-GCM-SHA384 ECDHE-RSA-AES256-SHA ECDHE-RSA-AES256-SHA384
ECDHE-RSA-CHACHA20-POLY1305 ECDHE-RSA-DES-CBC3-SHA ECDHE-RSA-RC4-SHA"""
_PSK_SRP = """PSK-AES128-CBC-SHA PSK-AES128-CBC-SHA256 PSK-AES128-GCM-SHA256 PSK-AES256-CBC-SHA
PSK-AES256-CBC-SHA384 PSK-AES256-GCM-SHA384 RSA-PSK-AES128-CBC-SHA RSA-PSK-AES128-CBC-SHA256
RSA-PSK-AES128-GCM-SHA256 RSA-PSK-AES256-CBC-SHA RSA-PSK-AES256-CBC-SHA384
RSA-PSK-AES256-GCM-SHA384 RSA-PSK-DES-CBC3-SHA RSA-PSK-RC4-SHA SRP-DSS-AES128-CBC-SHA
SRP-DSS-AES256-CBC-SHA SRP-DSS-DES-CBC3-SHA SRP-RSA-AES-128-CBC-SHA SRP-RSA-AES-256-CBC-SHA
SRP-RSA-DES-CBC3-SHA"""
_TLS13 = """TLS_AES_128_CCM_8_SHA256 TLS_AES_128_CCM_SHA256 TLS_AES_128_GCM_SHA256
TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256"""

CIPHERS = frozenset(" ".join((_RSA, _DHE, _ECDH, _ECDHE, _PSK_SRP, _TLS13)).split())


def key_of(name: str) -> str:
    """Return the type of the server's key that a suite needs: RSA, EC or DSS.

    Empty: any key (TLS 1.3), or none (PSK).
    """
    if name.startswith(("TLS_", "PSK-")):
        return ""
    # ECDH-RSA: an elliptic curve key whose certificate is signed with RSA.
    if "ECDSA" in name or name.startswith("ECDH-"):
        return "EC"
    return "DSS" if "DSS" in name else "RSA"


def needs_shared_secret_or_old_library(name: str) -> bool:
    """Tell whether an ordinary client of today speaks no such suite."""
    return "PSK-" in name or name.startswith("SRP-") or "RC4-" in name or "DES-" in name


def _folded(name: str) -> str:
    """Return what OpenSSL's and the RFC's name of one suite have in common."""
    words = [word for word in re.split(r"[-_]", name.upper())
             if word not in {"TLS", "WITH", "CBC"}]
    if words[:1] == ["RSA"] and words[1:2] != ["PSK"]:
        words = words[1:]
    joined = "".join(words).replace("3DESEDE", "DES3").replace("CCM8", "CCM_8")
    return re.sub(r"(CHACHA20POLY1305)SHA256$", r"\1", joined)


_BY_FOLDED_NAME = {_folded(name): name for name in CIPHERS}


def cipher_hint(name: str) -> str:
    """Return the end of the sentence about an unknown suite: what to write instead."""
    same = _BY_FOLDED_NAME.get(_folded(name))
    if same and name.upper().startswith("TLS_"):
        return f'; EMQX takes OpenSSL\'s names: write "{same}"'
    if several(name) and not set(several(name)) <= CIPHERS:
        return ("; EMQX takes no cipher strings of OpenSSL: name every suite by itself, separated "
                "by commas")
    return did_you_mean(name, CIPHERS)
