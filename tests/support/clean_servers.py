"""Servers that are set up correctly, of four TLS libraries, each a context manager by name."""
from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.embedded_cluster import TestCluster
from tests.support.gnutls_broker import PRIORITY, GnuTlsBroker
from tests.support.mqtt_broker import MqttBroker
from tests.support.ports import free_ports
from tests.support.rabbitmq_node import RabbitMqNode
from tests.support.s_server_broker import SESSION_CACHE_MAX, SServerBroker, port_of

Certificate = tuple[Path, Path]


@dataclass(frozen=True)
class Clean:
    """Running servers of one kind, each a node of its own."""

    ports: list[int]
    ca: Path
    params: dict[str, Any] = field(default_factory=dict)
    """What a verification must be told about them."""


@contextlib.contextmanager
def openssl_s_server(certificate: Certificate, _: Path) -> Iterator[Clean]:
    """Two ``openssl s_server``, each with a session cache and, as it comes, tickets."""
    with contextlib.ExitStack() as stack:
        servers = []
        for _number in range(2):
            servers.append(SServerBroker(*certificate))
            stack.callback(servers[-1].stop)
        yield Clean([server.port for server in servers], certificate[0],
                    {"session_cache_max": SESSION_CACHE_MAX})


@contextlib.contextmanager
def openssl_library(certificate: Certificate, _: Path) -> Iterator[Clean]:
    """Two brokers on OpenSSL through Python's ssl, many connections at once."""
    with contextlib.ExitStack() as stack:
        servers = []
        for _number in range(2):
            servers.append(MqttBroker(*certificate))
            stack.callback(servers[-1].stop)
        yield Clean([server.port for server in servers], certificate[0])


@contextlib.contextmanager
def gnutls_library(certificate: Certificate, _: Path) -> Iterator[Clean]:
    """Two brokers on GnuTLS."""
    with contextlib.ExitStack() as stack:
        servers = []
        for _number in range(2):
            servers.append(GnuTlsBroker(*certificate))
            stack.callback(servers[-1].stop)
        yield Clean([server.port for server in servers], certificate[0])


@contextlib.contextmanager
def gnutls_serv(certificate: Certificate, _: Path) -> Iterator[Clean]:
    """The program ``gnutls-serv``, which speaks no MQTT."""
    cert_file, key_file = certificate
    # It listens on every address: it knows no option for one.
    server = subprocess.Popen(
        ["gnutls-serv", "--echo", "--disable-client-cert", "--port", "0", "--priority", PRIORITY,
         "--noticket", "--x509certfile", str(cert_file), "--x509keyfile", str(key_file)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield Clean([port_of(server.pid)], cert_file)
    finally:
        server.kill()
        server.wait()


@contextlib.contextmanager
def embedded_node(certificate: Certificate, folder: Path) -> Iterator[Clean]:
    """Two embedded nodes, on the OTP that is installed."""
    first, second = free_ports(2)
    made = TestCluster(folder / "embedded", certificate, {"n1": first, "n2": second})
    for node in made.ports:
        made.render(node)
    try:
        made.deploy()
        yield Clean([first, second], certificate[0])
    finally:
        made.destroy()


@contextlib.contextmanager
def rabbitmq(_: Certificate, folder: Path) -> Iterator[Clean]:
    """A RabbitMQ node, on the OTP that is installed."""
    node = RabbitMqNode(folder / "rabbitmq")
    try:
        yield Clean([node.port], node.ca, {
            "nodes": [{"name": "n1", "host": "127.0.0.1", "port": node.port}], **node.credentials})
    finally:
        node.stop()


SERVERS: dict[str, Callable[[Certificate, Path], contextlib.AbstractContextManager[Clean]]] = {
    "openssl s_server": openssl_s_server, "OpenSSL library": openssl_library,
    "GnuTLS library": gnutls_library, "gnutls-serv": gnutls_serv,
    "embedded OTP node": embedded_node, "RabbitMQ": rabbitmq}
