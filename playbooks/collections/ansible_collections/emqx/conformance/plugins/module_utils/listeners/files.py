"""The certificate files of a listener, where they are on this machine: are they of use?

Only the standard library: nothing else is on every machine that this runs on.
"""
from __future__ import annotations

import binascii
import re
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Optional

from . import kinds
from .problems import Problems
from .release import Release
from .serving import BUT_NO_HANDSHAKE, check_key, check_password, check_suites

_FILES = ("cacertfile", "certfile", "keyfile", "dhfile")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
# What SubjectPublicKeyInfo begins with (RFC 3279, 2.3): rsaEncryption, id-ecPublicKey, id-dsa. Then
# what the signature of a certificate for one of these may be, and an Edwards curve's key is too
# (RFC 4055, 1.2; RFC 8410, 3): id-RSASSA-PSS, id-Ed25519, id-Ed448.
_KEY_TYPES = {bytes.fromhex("06092a864886f70d010101"): "RSA",
              bytes.fromhex("06072a8648ce3d0201"): "EC",
              bytes.fromhex("06072a8648ce380401"): "DSS",
              bytes.fromhex("06092a864886f70d01010a"): "",
              bytes.fromhex("06032b6570"): "Ed25519", bytes.fromhex("06032b6571"): "Ed448"}
# The last one: no certificate for a key of this type.
_NOT_ONE_PAIR = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})


Locate = Callable[[str], Optional[str]]
"""From a path that a listener names to where the file is on this machine; None: nobody looks,
because it is in an image or still to be made."""


def as_named(path: str) -> str | None:
    """Locate files of a node that runs on this machine."""
    return path


def check_files(path: str, options: Mapping[str, Any], release: Release,
                problems: Problems, locate: Locate = as_named) -> None:
    """Check that the files are there, and that certificate, key and suites fit together."""
    named = {name: options[name] for name in _FILES if name in options}
    if "issuer_pem" in options.get("ocsp", {}):
        named["ocsp.issuer_pem"] = options["ocsp"]["issuer_pem"]
    needless = {"ocsp.issuer_pem": "EMQX boots without it, but has no OCSP response to staple"}
    if options.get("verify") != "verify_peer":
        needless["cacertfile"] = "EMQX does without it, as long as verify is verify_none"
    here: dict[str, str] = {}
    found: dict[str, str] = {}
    for name, file in named.items():
        located = _located(f"{path}.{name}", file, locate, problems)
        content = located and _content(f"{path}.{name}", located, needless.get(name), problems)
        if located and content is not None:
            here[name], found[name] = located, content
    if "certfile" in found:
        _check_certificate(path, {**options, **here}, found["certfile"], problems)
    if "keyfile" in found and "PRIVATE KEY-----" not in found["keyfile"]:
        problems.error(f"{path}.keyfile", f'"{here["keyfile"]}" holds no private key: '
                                          f"{BUT_NO_HANDSHAKE}")
    check_password(f"{path}.password", options, release, problems,
                   encrypted=_is_encrypted(found["keyfile"]) if "keyfile" in found else None)
    if "certfile" in found and "keyfile" in found and not _one_pair(
            here["certfile"], here["keyfile"], _passphrase(options.get("password", ""), locate)):
        problems.error(f"{path}.keyfile", f'"{here["keyfile"]}" is not the key of the '
                                          f"certificate in certfile: {BUT_NO_HANDSHAKE}")


def encrypted_key(options: Mapping[str, Any], locate: Locate) -> str | None:
    """Return the path of a listener's private key on this machine, if it has a passphrase."""
    file = locate(options["keyfile"])
    try:
        return file if file and _is_encrypted(Path(file).read_text(encoding="latin-1")) else None
    except OSError:
        return None


def _is_encrypted(key: str) -> bool:
    return "ENCRYPTED" in key


def _located(path: str, file: str, locate: Locate, problems: Problems) -> str | None:
    if file.startswith(kinds.IN_FILE):
        problems.error(path, f'"{file}" must be a path without file:// ({BUT_NO_HANDSHAKE})')
        return None
    located = locate(file)
    if located is None or Path(located).is_absolute():
        return located
    problems.error(path, f'"{file}" must be an absolute path: a node does not run in this '
                         f"directory")
    return None


def _content(path: str, file: str, needless: str | None, problems: Problems) -> str | None:
    """Read a file; ``needless`` says what EMQX does without it, None that it serves nobody."""
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
        key_type = _key_type(first.group())
        check_key(path, options, key_type or "", problems)
        check_suites(path, options, key_type, problems)


def _key_type(certificate: str) -> str | None:
    try:
        der = ssl.PEM_cert_to_DER_cert(certificate)
    except (ValueError, binascii.Error):
        return None
    return next((name for identifier, name in _KEY_TYPES.items() if identifier in der), None)


def _one_pair(certificate: str, key: str, passphrase: str) -> bool:
    """Tell whether key and certificate are one pair; yes where OpenSSL cannot tell."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # OTP knows no security level: a short key is no reason.
    context.set_ciphers("ALL:@SECLEVEL=0")
    try:
        # A function, so that OpenSSL never asks at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: passphrase)
    except ssl.SSLError as error:
        return error.reason not in _NOT_ONE_PAIR
    except (OSError, ValueError):
        pass
    return True


def _passphrase(password: str, locate: Locate) -> str:
    """Return what is in the file that ``password`` names; nothing where that cannot be read."""
    try:
        file = locate(password[len(kinds.IN_FILE):]) if password else None
        return Path(file).read_text(encoding="utf-8").strip() if file else ""
    except (OSError, ValueError):
        return ""
