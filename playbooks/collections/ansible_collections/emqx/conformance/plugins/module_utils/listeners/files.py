"""The certificate files of a listener, where they are on this machine: are they of use?

Only the standard library: nothing else is on every machine that this runs on.
"""
from __future__ import annotations

import binascii
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .problems import Problems
from .release import Release
from .serving import BUT_NO_HANDSHAKE, check_password, check_suites

_FILES = ("cacertfile", "certfile", "keyfile", "dhfile")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
# What SubjectPublicKeyInfo begins with (RFC 3279, 2.3): rsaEncryption, id-ecPublicKey, id-dsa.
_KEY_TYPES = {bytes.fromhex("06092a864886f70d010101"): "RSA",
              bytes.fromhex("06072a8648ce3d0201"): "EC",
              bytes.fromhex("06072a8648ce380401"): "DSS"}
# The last one: no certificate for a key of this type.
_NOT_ONE_PAIR = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})


def check_files(path: str, options: Mapping[str, Any], release: Release,
                problems: Problems) -> None:
    """Check that the files are there, and that certificate, key and suites fit together."""
    named = {name: options[name] for name in _FILES if name in options}
    if "issuer_pem" in options.get("ocsp", {}):
        named["ocsp.issuer_pem"] = options["ocsp"]["issuer_pem"]
    needless = {"ocsp.issuer_pem": "EMQX boots without it, but has no OCSP response to staple"}
    if options.get("verify") != "verify_peer":
        needless["cacertfile"] = "EMQX does without it, as long as verify is verify_none"
    found: dict[str, str] = {}
    for name, file in named.items():
        content = _content(f"{path}.{name}", file, needless.get(name), problems)
        if content is not None:
            found[name] = content
    if "certfile" in found:
        _check_certificate(path, options, found["certfile"], problems)
    if "keyfile" in found:
        key = found["keyfile"]
        if "PRIVATE KEY-----" not in key:
            problems.error(f"{path}.keyfile", f'"{options["keyfile"]}" holds no private key: '
                                              f"{BUT_NO_HANDSHAKE}")
        check_password(f"{path}.password", options, release, problems,
                       encrypted="ENCRYPTED" in key)
    if "certfile" in found and "keyfile" in found and not _one_pair(options):
        problems.error(f"{path}.keyfile", f'"{options["keyfile"]}" is not the key of the '
                                          f"certificate in certfile: {BUT_NO_HANDSHAKE}")


def _content(path: str, file: str, needless: str | None, problems: Problems) -> str | None:
    """Read a file; ``needless`` says what EMQX does without it, None that it serves nobody."""
    if file.startswith("file://"):
        problems.error(path, f'"{file}" must be a path without file:// ({BUT_NO_HANDSHAKE})')
        return None
    if not Path(file).is_absolute():
        problems.error(path, f'"{file}" must be an absolute path: a node does not run in this '
                             f"directory")
        return None
    try:
        return Path(file).read_bytes().decode("latin-1")
    except (FileNotFoundError, IsADirectoryError) as error:
        what = (f"cannot be read ({error.strerror})" if isinstance(error, IsADirectoryError)
                else "does not exist")
        if needless:
            problems.warn(path, f'"{file}" {what}; {needless}')
        else:
            problems.error(path, f'"{file}" {what}; EMQX boots without it, but every handshake '
                                 f"fails")
    except OSError as error:
        problems.error(path, f'"{file}" cannot be read ({error.strerror})')
    return None


def _check_certificate(path: str, options: Mapping[str, Any], content: str,
                       problems: Problems) -> None:
    first = _CERTIFICATE.search(content)
    if first is None:
        problems.error(f"{path}.certfile", f'"{options["certfile"]}" holds no certificate: '
                                           f"{BUT_NO_HANDSHAKE}")
    else:
        check_suites(path, options, _key_type(first.group()), problems)


def _key_type(certificate: str) -> str | None:
    try:
        der = ssl.PEM_cert_to_DER_cert(certificate)
    except (ValueError, binascii.Error):
        return None
    return next((name for identifier, name in _KEY_TYPES.items() if identifier in der), None)


def _one_pair(options: Mapping[str, Any]) -> bool:
    """Tell whether key and certificate are one pair; yes where OpenSSL cannot tell."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # OTP knows no security level: a short key is no reason.
    context.set_ciphers("ALL:@SECLEVEL=0")
    try:
        context.load_cert_chain(options["certfile"], options["keyfile"],
                                password=lambda: _passphrase(options.get("password", "")))
    except ssl.SSLError as error:
        return error.reason not in _NOT_ONE_PAIR
    except (OSError, ValueError):
        pass
    return True


def _passphrase(password: str) -> str:
    """Return what is in the file that ``password`` names; never ask at the terminal."""
    try:
        return Path(password[len("file://"):]).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
