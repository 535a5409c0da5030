"""A small MQTT broker on OpenSSL's server side: one more TLS stack to test the probe on.

It answers CONNECT and waits for DISCONNECT. Each instance is a node of its own: its
session cache is its own TLS context's.
"""
from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.listening import Listening


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Write and return a self-signed certificate for localhost and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([
            x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256()))
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    return cert_file, key_file


class Broker(Listening):
    """A broker on OpenSSL, until :meth:`stop`."""

    def __init__(self, cert_file: Path, key_file: Path, *, cache: bool = True,
                 connack: bytes = b"\x20\x03\x00\x00\x00", speaks_v5: bool = True,
                 host: str = "127.0.0.1", port: int = 0) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert_file, key_file)
        self.context.options |= ssl.OP_NO_TICKET
        self.context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.handshakes = 0
        self._connack = connack
        self._speaks_v5 = speaks_v5
        self._cache = cache
        self._cert = (cert_file, key_file)
        super().__init__(host, port)

    def _context_for_one(self) -> ssl.SSLContext:
        if self._cache:
            return self.context
        # A context of its own for every connection remembers nothing.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._cert)
        context.options |= ssl.OP_NO_TICKET
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context

    def talk(self, connection: socket.socket) -> None:
        """Answer CONNECT, and wait for DISCONNECT. A refused handshake is an OSError too."""
        with self._context_for_one().wrap_socket(connection, server_side=True) as tls:
            self.handshakes += 1
            if packet := tls.recv(4096):
                tls.sendall(self._answer(packet))
                tls.recv(4096)
            tls.unwrap()

    def _answer(self, packet: bytes) -> bytes:
        if self._speaks_v5:
            return self._connack
        level = packet[packet.index(b"MQTT") + 4]
        return b"\x20\x02\x00\x00" if level == 4 else b"\x20\x02\x00\x01"
