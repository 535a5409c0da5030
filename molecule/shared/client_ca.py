"""A CA for clients: one that is fine, one that has expired, one that is revoked, and its list.

The revocation list is served over HTTP on loopback, where the clients' certificates say it is, as
any CA's is: by Python's own http.server, whose log tells who asked.

    client_ca.py make      make the CA, its clients and its list
    client_ca.py start     serve the list
    client_ca.py destroy   end the server and remove everything
"""
from __future__ import annotations

import datetime
import json
import os
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded.launch import (
    detached,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.processes import Process
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

STATE = Path(__file__).parents[2] / ".cache" / "client-ca"
PORT = int(os.environ["SCENARIO_BASE_PORT"]) + 3
URL = f"http://127.0.0.1:{PORT}/clients.crl"
CA, CA_KEY = STATE / "ca.pem", STATE / "ca-key.pem"
SERVED = STATE / "served"
LIST = SERVED / "clients.crl"
LOG = STATE / "server.log"
CLIENTS = ("valid", "expired", "revoked", "leaving")
"""All but the second are valid by their dates; the last is revoked by whoever wants to see that."""
START_S = 10.0
STOP_S = 5.0
_DAY = datetime.timedelta(days=1)


def certificate(client: str) -> Path:
    """Return where a client's certificate is."""
    return STATE / f"{client}.pem"


def key(client: str) -> Path:
    """Return where its private key is."""
    return STATE / f"{client}-key.pem"


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one step: it may be served at this moment."""
    half = path.with_suffix(".half")
    half.write_bytes(content)
    half.replace(path)


def _new_key(path: Path) -> ec.EllipticCurvePrivateKey:
    made = ec.generate_private_key(ec.SECP256R1())
    _write(path, made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    return made


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey,
             end: datetime.datetime) -> x509.CertificateBuilder:
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
            .public_key(public_key).serial_number(x509.random_serial_number())
            .not_valid_before(end - 10 * _DAY).not_valid_after(end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def _make_ca() -> None:
    secret = _new_key(CA_KEY)
    name = _name("Client CA")
    made = _builder(name, name, secret.public_key(), _now() + 7 * _DAY).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True).add_extension(
        _usage(signs=True), critical=True).sign(secret, hashes.SHA256())
    _write(CA, made.public_bytes(serialization.Encoding.PEM))


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, key_encipherment=False,
        content_commitment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False)


def _authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    secret = serialization.load_pem_private_key(CA_KEY.read_bytes(), None)
    assert isinstance(secret, ec.EllipticCurvePrivateKey)
    return x509.load_pem_x509_certificate(CA.read_bytes()), secret


def _make_client(client: str) -> None:
    authority, secret = _authority()
    own = _new_key(key(client))
    end = _now() + (-1 if client == "expired" else 7) * _DAY
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(URL)], None, None, None)
    made = _builder(_name(f"Client, {client}"), authority.subject, own.public_key(), end)
    for extension, critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True), (_usage(signs=False), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(secret.public_key()), False),
            (x509.CRLDistributionPoints([point]), False)):
        made = made.add_extension(extension, critical)
    _write(certificate(client), made.sign(secret, hashes.SHA256()).public_bytes(
        serialization.Encoding.PEM))


def revoke(*clients: str) -> None:
    """Publish a list of these clients, and of no others."""
    authority, secret = _authority()
    now = _now()
    made = x509.CertificateRevocationListBuilder().issuer_name(authority.subject).last_update(
        now - _DAY).next_update(now + _DAY).add_extension(
        x509.CRLNumber(time.time_ns()), critical=False).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(secret.public_key()), critical=False)
    for client in clients:
        serial = x509.load_pem_x509_certificate(certificate(client).read_bytes()).serial_number
        made = made.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build())
    _write(LIST, made.sign(secret, hashes.SHA256()).public_bytes(serialization.Encoding.DER))


def make() -> None:
    """Make everything anew."""
    os.umask(0o077)
    SERVED.mkdir(parents=True, exist_ok=True)
    _make_ca()
    for client in CLIENTS:
        _make_client(client)
    revoke("revoked")


def start() -> None:
    """Serve the list; return when it can be had."""
    process = detached([sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1",
                        "--directory", str(SERVED), str(PORT)],
                       folder=STATE, output=LOG, extra_environment={})
    (STATE / "process.json").write_text(json.dumps(process.as_dict()))
    end = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", PORT), timeout=1).close()
        except OSError as error:
            if process.state() != "running" or time.monotonic() >= end:
                sys.exit(f"The revocation list is not served at port {PORT}: {error}\n"
                         f"{LOG.read_text()}")
            time.sleep(0.05)
        else:
            return


def destroy() -> None:
    """End the server and remove every file."""
    try:
        process = Process.from_dict(json.loads((STATE / "process.json").read_text()))
    except (OSError, ValueError):
        process = None
    if process is not None:
        process.signal(signal.SIGKILL)
        process.wait_gone(STOP_S)
    shutil.rmtree(STATE, ignore_errors=True)


if __name__ == "__main__":
    verbs = {"make": make, "start": start, "destroy": destroy}
    if len(sys.argv) != 2 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]]()
