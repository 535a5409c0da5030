"""The openssl program: a TLS server, sessions made by its client, and what it reads in them."""
from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


def openssl(*arguments: str | Path, data: bytes | None = None) -> bytes:
    """Run openssl, which must succeed, and return what it printed."""
    done = subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True,
                          check=False, timeout=30)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


@dataclass(frozen=True)
class CertifiedKey:
    """A self-signed certificate and its key."""

    certificate: Path
    key: Path


KEYS = {
    "RSA": ["rsa:2048"], "RSA-PSS": ["rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"],
    "P-256": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "P-384": ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "P-521": ["ec", "-pkeyopt", "ec_paramgen_curve:P-521"],
    "secp256k1": ["ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
    "Ed25519": ["ed25519"], "Ed448": ["ed448"],
}
"""Kinds of keys, and how ``openssl req -newkey`` is asked for one."""


def make_identity(folder: Path, name: str, *, ecdsa: bool = False, kind: str = "",
                  serial: str | None = None) -> CertifiedKey:
    """Write a self-signed certificate; its serial number is in hex.

    ``kind`` is one of KEYS, or ``DSA``; without it the key is RSA's, or ECDSA's if that is asked
    for.
    """
    made = CertifiedKey(folder / f"{name}-cert.pem", folder / f"{name}-key.pem")
    key = KEYS.get(kind or ("P-256" if ecdsa else "RSA"))
    if key is None:
        parameters = folder / "dsa.pem"
        openssl("dsaparam", "-out", parameters, "2048")
        key = [f"dsa:{parameters}"]
    openssl("req", "-x509", "-newkey", *key, "-nodes", "-days", "2", "-keyout", made.key,
            "-out", made.certificate, "-subj", f"/O=Session tests, Inc./CN={name}",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            *(["-set_serial", f"0x{serial}"] if serial else []))
    return made


def make_dh_parameters(folder: Path) -> Path:
    """Write the Diffie-Hellman group ffdhe2048 (RFC 7919) for a server."""
    path = folder / "dh.pem"
    openssl("genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048", "-out", path)
    return path


@contextlib.contextmanager
def s_server(*options: str | Path) -> Iterator[int]:
    """Run openssl s_server on a free loopback port, which is yielded."""
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", *map(str, options)]
    # At the end of its standard input s_server ends, so that stays open.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout is not None
        try:
            said = []
            for line in server.stdout:
                said.append(line)
                if found := re.match(r"ACCEPT 127\.0\.0\.1:(\d+)", line):
                    break
            else:
                raise AssertionError("".join(said))
            yield int(found[1])
        finally:
            server.kill()


def make_session(path: Path, port: int, *options: str | Path) -> str:
    """Let openssl s_client write a session file, and return what it printed."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-sess_out", str(path),
               *map(str, options)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as client:
        assert client.stdin is not None
        # A session of TLS 1.3 comes after the handshake: its file is waited for.
        until = time.monotonic() + 10
        while client.poll() is None and not _complete(path) and time.monotonic() < until:
            time.sleep(0.02)
        output, _ = client.communicate(timeout=10)
    assert _complete(path), output
    return output


def _complete(path: Path) -> bool:
    return path.exists() and "-----END" in path.read_text()


def sess_id(path: Path) -> dict[str, str]:
    """Return what openssl sess_id prints of a session file, by what stands before the colon."""
    fields = {}
    for line in openssl("sess_id", "-in", path, "-text", "-noout").decode().splitlines():
        name, colon, value = line.partition(":")
        if colon and not re.match(r" +[0-9a-f]{4} - ", line):
            fields[name.strip()] = value.strip()
    return fields
