"""Starts the servers of a row, each on a free port of loopback."""
from __future__ import annotations

import contextlib
import datetime
import functools
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import NameOID

from tests.faulty_servers.message_server import MessageServer
from tests.faulty_servers.table import Row
from tests.support.embedded_cluster import TestCluster
from tests.support.mqtt_broker import FAULTS as MQTT_FAULTS
from tests.support.mqtt_broker import Clients, MqttBroker
from tests.support.ports import free_ports
from tests.support.tcp_balancer import TcpBalancer

_VERSIONS = {"tlsv1": ssl.TLSVersion.TLSv1, "tlsv1.1": ssl.TLSVersion.TLSv1_1,
             "tlsv1.2": ssl.TLSVersion.TLSv1_2, "tlsv1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True)
class Started:
    """Servers that run."""

    ports: tuple[int, ...]
    ca_file: Path
    """What vouches for their certificates."""
    balancer_port: int | None = None
    """Of the balancer before them; None: there is none."""
    accepted: Callable[[], int] = field(default=lambda: 0)
    """Returns how many connections all of them have counted themselves."""


@functools.cache
def _key(kind: str, owner: str) -> rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey:
    """Return a key, one of each owner's for all servers of this process: to make one takes long."""
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


def make_identity(folder: Path, wrong: str = "", kind: str = "RSA",
                  owner: str = "") -> tuple[Path, Path, Path]:
    """Write a self-signed certificate for localhost, its key and what vouches for it.

    ``wrong``: ``other_name``, ``expired`` or ``other_ca``; ``kind`` of key: ``RSA`` or ``Ed25519``.
    """
    key = _key(kind, owner)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "faulty server")])
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    if wrong == "other_name":
        names = [x509.DNSName("elsewhere.example")]
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * day)
        .not_valid_after(now - day if wrong == "expired" else now + day)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256() if kind == "RSA" else None))
    paths = folder / "cert.pem", folder / "key.pem", folder / "ca.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].touch(0o600)
    paths[1].write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    paths[2].write_bytes(paths[0].read_bytes())
    if wrong == "other_ca":
        other = folder / "other"
        other.mkdir()
        paths[2].write_bytes(make_identity(other, owner="other")[0].read_bytes())
    return paths


@contextlib.contextmanager
def started(row: Row, folder: Path, *, port: int = 0) -> Iterator[Started]:
    """Run a row's servers.

    Args:
        row: which.
        folder: where certificates, and what else they need, are written.
        port: of the first node, the others follow; 0: free ones.
    """
    cert, key, ca_file = make_identity(folder, row.certificate, row.key)
    with contextlib.ExitStack() as stack:
        servers = tuple(_STARTERS[row.kind](row, (cert, key), port, stack))
        ports = tuple(server.port for server in servers)

        def accepted() -> int:
            return sum(server.accepted for server in servers)

        options = dict(row.balancer)
        if not options:
            yield Started(ports, ca_file, accepted=accepted)
            return
        balancer = TcpBalancer(ports, options["mode"])
        stack.callback(balancer.stop)
        yield Started(ports[:len(ports) - options.get("hidden", 0)], ca_file, balancer.port,
                      accepted)


class _Server(Protocol):
    """A server of a row."""

    port: int

    @property
    def accepted(self) -> int:
        """How many connections it has counted since it is there for the trial."""


class _OtpNode:
    """An embedded node, which has been asked whether it is ready before the trial."""

    def __init__(self, cluster: TestCluster, name: str) -> None:
        self.port = cluster.ports[name]
        self._cluster, self._name = cluster, name
        self._before = self._counted()

    def _counted(self) -> int:
        return int(self._cluster.status(self._name)["handshakes"]["accepted"])

    @property
    def accepted(self) -> int:
        return self._counted() - self._before


def _ports(first: int, count: int) -> list[int]:
    return [first + number if first else 0 for number in range(count)]


def _plant(clients: Clients, row: Row) -> None:
    assert set(row.mqtt) <= MQTT_FAULTS, set(row.mqtt) - MQTT_FAULTS
    clients.faults.update(row.mqtt)


def _messages(row: Row, identity: tuple[Path, Path], port: int,
              stack: contextlib.ExitStack) -> Iterator[_Server]:
    servers = []
    for own in _ports(port, row.nodes):
        server = MessageServer(*identity, *row.how, port=own, **dict(row.cache))
        stack.callback(server.stop)
        _plant(server.clients, row)
        servers.append(server)
    servers[0].join(*servers[1:])
    return iter(servers)


def _openssl(row: Row, identity: tuple[Path, Path], port: int,
             stack: contextlib.ExitStack) -> Iterator[_Server]:
    options: dict[str, Any] = dict(row.how)
    versions = options.pop("versions", ["tlsv1.2", "tlsv1.2"])
    ciphers = options.pop("ciphers", "DEFAULT")
    for own in _ports(port, row.nodes):
        broker = MqttBroker(*identity, port=own, **options)
        stack.callback(broker.stop)
        _plant(broker, row)
        # OpenSSL's default security level has no signature algorithms for TLS 1.0 and 1.1.
        broker.context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
        broker.context.minimum_version, broker.context.maximum_version = (
            _VERSIONS[version] for version in versions)
        yield broker


def _otp(row: Row, identity: tuple[Path, Path], port: int,
         stack: contextlib.ExitStack) -> Iterator[_Server]:
    options: dict[str, Any] = dict(row.how)
    ports = [own or free for own, free in zip(_ports(port, row.nodes), free_ports(row.nodes))]
    cluster = TestCluster(identity[0].parent / "otp", identity, {
        f"n{number}": own for number, own in enumerate(ports, 1)},
        session_lifetime=options.get("session_lifetime"),
        session_cache_max=options.get("session_cache_max"))
    for name, own in cluster.ports.items():
        cluster.render(name, cluster.listener(
            own, reuse=str(options.get("reuse_sessions", True)).lower(),
            suites=tuple(options.get("ciphers", ()))))
    stack.callback(cluster.destroy)
    cluster.deploy()  # tidied up also when it fails
    return iter([_OtpNode(cluster, name) for name in cluster.ports])


_STARTERS = {"messages": _messages, "openssl": _openssl, "otp": _otp}
