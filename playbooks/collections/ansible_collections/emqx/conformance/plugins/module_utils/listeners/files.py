"""The certificate files of a listener, where they are on this machine: are they of use?

Only the standard library: nothing else is on every machine that this runs on.
"""
from __future__ import annotations

import binascii
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

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


@dataclass(frozen=True)
class File:
    """What is in a file that a listener names."""

    path: str
    """Where it is on this machine."""
    holds_certificate: bool = False
    holds_key: bool = False
    """A private key."""
    encrypted: bool = False
    """Whether that has a passphrase."""
    key_type: str | None = None
    """What the certificate's key is, ``RSA`` or ``EC`` for example; None where nobody can tell."""
    key: str | None = None
    """Path of the private key that belongs to the certificate, where somebody vouches for it."""


Locate = Callable[[str], Union[str, File, None]]
"""From a path that a listener names to where the file is on this machine, or to what will be in it
when a node reads it; None: nobody looks, because it is in an image."""


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
    found = {name: _found(f"{path}.{name}", file, locate, needless.get(name), problems)
             for name, file in named.items()}
    certificate, key = found.get("certfile"), found.get("keyfile")
    if certificate:
        _check_certificate(path, options, certificate, problems)
    if key and not key.holds_key:
        problems.error(f"{path}.keyfile", f'"{key.path}" holds no private key: {BUT_NO_HANDSHAKE}')
    check_password(f"{path}.password", options, release, problems,
                   encrypted=key.encrypted if key else None)
    if certificate and key and certificate.holds_certificate and key.holds_key and not _one_pair(
            certificate, key, _passphrase(options.get("password", ""), locate)):
        problems.error(f"{path}.keyfile", f'"{key.path}" is not the key of the certificate in '
                                          f"certfile: {BUT_NO_HANDSHAKE}")


def encrypted_key(options: Mapping[str, Any], locate: Locate) -> str | None:
    """Return the path of a listener's private key on this machine, if it has a passphrase."""
    located = locate(options["keyfile"])
    try:
        file = read_file(located) if isinstance(located, str) else located
    except OSError:
        return None
    return file.path if file and file.encrypted else None


def read_file(path: str) -> File:
    """Look into a file.

    Raises:
        OSError: it cannot be read.
    """
    text = Path(path).read_bytes().decode("latin-1")
    certificate = _CERTIFICATE.search(text)
    return File(path, certificate is not None, "PRIVATE KEY-----" in text, "ENCRYPTED" in text,
                _key_type(certificate.group()) if certificate else None)


def _found(path: str, file: str, locate: Locate, needless: str | None,
           problems: Problems) -> File | None:
    """Find a file; ``needless`` says what EMQX does without it, None that it serves nobody."""
    if file.startswith(kinds.IN_FILE):
        problems.error(path, f'"{file}" must be a path without file:// ({BUT_NO_HANDSHAKE})')
        return None
    located = locate(file)
    if not isinstance(located, str):
        return located
    if Path(located).is_absolute():
        return _looked_into(path, located, needless, problems)
    problems.error(path, f'"{file}" must be an absolute path: a node does not run in this '
                         f"directory")
    return None


def _looked_into(path: str, file: str, needless: str | None, problems: Problems) -> File | None:
    try:
        return read_file(file)
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


def _check_certificate(path: str, options: Mapping[str, Any], file: File,
                       problems: Problems) -> None:
    if file.holds_certificate:
        check_key(path, options, file.key_type or "", problems)
        check_suites(path, options, file.key_type, problems)
    else:
        problems.error(f"{path}.certfile", f'"{file.path}" holds no certificate: '
                                           f"{BUT_NO_HANDSHAKE}")


def _key_type(certificate: str) -> str | None:
    try:
        der = ssl.PEM_cert_to_DER_cert(certificate)
    except (ValueError, binascii.Error):
        return None
    return next((name for identifier, name in _KEY_TYPES.items() if identifier in der), None)


def _one_pair(certificate: File, key: File, passphrase: str) -> bool:
    """Tell whether key and certificate are one pair; yes where OpenSSL cannot tell."""
    if certificate.key == key.path:
        return True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # OTP knows no security level: a short key is no reason.
    context.set_ciphers("ALL:@SECLEVEL=0")
    try:
        # A function, so that OpenSSL never asks at the terminal.
        context.load_cert_chain(certificate.path, key.path, password=lambda: passphrase)
    except ssl.SSLError as error:
        return error.reason not in _NOT_ONE_PAIR
    except FileNotFoundError:
        # What is still to be made is of a pair of its own; of a passphrase others say more.
        return key.encrypted
    except (OSError, ValueError):
        pass
    return True


def _passphrase(password: str, locate: Locate) -> str:
    """Return what is in the file that ``password`` names; nothing where that cannot be read."""
    try:
        file = locate(password[len(kinds.IN_FILE):]) if password else None
        return Path(file).read_text(encoding="utf-8").strip() if isinstance(file, str) else ""
    except (OSError, ValueError):
        return ""
