"""What a user may point the probe at by mistake: wrong certificates, ports without TLS."""
from __future__ import annotations

import datetime
import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Union

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = Union[ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey]


@dataclass(frozen=True)
class Pair:
    """PEM files of a certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """A CA that signs whatever a test wants."""

    def __init__(self, folder: Path, name: str, *, under: Authority | None = None,
                 key: Key | None = None) -> None:
        """``under``: the CA that signs this one's certificate; None: itself."""
        self._folder = folder
        self._key = key or _new_key()
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        above = under or self
        certificate = (
            _begun(self._name, above._name, self._key, _hours(-48), _hours(48))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(above._key, hashes.SHA256()))
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def private_key(self) -> bytes:
        """Return its key as PEM."""
        return _pem(self._key)

    def issue(self, name: str, *, hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1"),
              since: datetime.datetime | None = None, until: datetime.datetime | None = None,
              key: Key | None = None, purpose: x509.ObjectIdentifier | None = None) -> Pair:
        """Write and return a certificate for these names and addresses, valid for two days."""
        key = key or _new_key()
        builder = (
            _begun(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), self._name, key,
                   since or _hours(-48), until or _hours(48))
            .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]),
                           critical=False))
        if purpose is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}-key.pem")
        pair.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(_pem(key))
        return pair

    def expired(self, name: str) -> Pair:
        """Write and return a certificate that was valid until an hour ago."""
        return self.issue(name, until=_hours(-1))


def _hours(count: int) -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=count)


def _new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def _pem(key: Key) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def _begun(subject: x509.Name, issuer: x509.Name, key: Key,
           since: datetime.datetime, until: datetime.datetime) -> x509.CertificateBuilder:
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(since).not_valid_after(until))


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def speaks_plain_mqtt(connection: socket.socket) -> None:
    """Hang up on everybody whose first packet is no CONNECT (MQTT 3.1.1 3.1), without a word."""
    connection.recv(4096)
    connection.close()


def speaks_http(connection: socket.socket) -> None:
    """Answer as a web server does that is not spoken to in HTTP."""
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n"
                       b"Connection: close\r\n\r\n")
    connection.close()


def says_nothing(connection: socket.socket) -> None:
    """Read and never answer."""
    while connection.recv(4096):
        pass
