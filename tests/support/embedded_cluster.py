"""A cluster of embedded nodes, deployed by the library itself, and a bare MQTT client."""
from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import NodeSpec
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded import control
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded.deployment import (
    Deployment,
    EmbeddedChange,
    EmbeddedWanted,
    destroy,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.layout import (
    ClusterFolder,
    NodeRecord,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.ready import Caller
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.release import (
    parse_release,
)
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.credentials import Credentials
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

ROOT = Path(__file__).parents[2]
LISTENER = """
    {name} {{
      bind = "127.0.0.1:{port}"
      {extra}
      ssl_options {{
        versions = ["tlsv1.2"]
        ciphers = [{ciphers}]
        {verify}
        reuse_sessions = {reuse}
        cacertfile = "{ca}"
        certfile = "{cert}"
        keyfile = "{key}"
      }}
    }}
"""


@dataclass
class TestCluster:
    """What a test deploys: a folder, certificates, and each node's ports."""

    __test__ = False

    folder: Path
    certificate: tuple[Path, Path]
    ports: dict[str, int]
    ca: Path | None = None
    """Who signed the certificate, unless it did so itself."""
    session_lifetime: int | None = None
    session_cache_max: int | None = None
    credentials: Credentials | None = None
    timeout_s: float = 30.0
    release: str = "5.8.9"
    """The EMQX whose configuration this is, and as which the nodes do."""
    stop: threading.Event = field(default_factory=threading.Event)
    name: str = "tested"

    @property
    def state_dir(self) -> Path:
        """Where nodes keep their state."""
        return self.folder / "state"

    @property
    def cluster_folder(self) -> ClusterFolder:
        """The cluster's part of it."""
        return ClusterFolder.of(self.state_dir, self.name)

    def config(self, node: str) -> Path:
        """The file a node boots from."""
        return self.folder / "config" / node / "listeners.hocon"

    def listener(self, port: int, *, name: str = "default", extra: str = "",
                 reuse: str = "true", cert: str | None = None, demands: Path | None = None,
                 suites: tuple[str, ...] = ()) -> str:
        """Return one listener in HOCON; ``demands`` is whose client certificates it demands.

        Without ``suites`` it speaks OTP's own choice.
        """
        own = cert or self.certificate[0]
        verify = "verify = verify_none" if demands is None else \
            "verify = verify_peer, fail_if_no_peer_cert = true"
        return LISTENER.format(name=name, port=port, extra=extra, reuse=reuse, verify=verify,
                               ciphers=", ".join(f'"{suite}"' for suite in suites),
                               ca=demands or own, cert=own, key=self.certificate[1])

    def render(self, node: str, *listeners: str) -> None:
        """Write a node's configuration; by default one listener on its port."""
        path = self.config(node)
        path.parent.mkdir(parents=True, exist_ok=True)
        body = "".join(listeners) or self.listener(self.ports[node])
        path.write_text("listeners {\n  ssl {" + body + "  }\n}\n")

    def spec(self, node: str) -> NodeSpec:
        """One node as a driver takes it."""
        return NodeSpec(node, "127.0.0.1", self.ports[node], "localhost", self.config(node))

    def deployment(self, *, only: tuple[str, ...] | None = None) -> Deployment:
        """Return a deployment of all nodes, or of some of them."""
        wanted = EmbeddedWanted(
            nodes=tuple(self.spec(node) for node in only or self.ports),
            all_nodes=tuple(self.ports), release=parse_release(self.release),
            source_dir=ROOT / "embedded_node", session_lifetime=self.session_lifetime,
            session_cache_max=self.session_cache_max,
            credentials=self.credentials, timeout_s=self.timeout_s)
        return Deployment(self.cluster_folder, wanted, self.caller(), self.stop)

    def caller(self) -> Caller:
        """Return what finds out whether a node is ready."""
        return Caller(Trust(ca_file=str(self.ca or self.certificate[0])), self.credentials)

    def prepared(self, *, only: tuple[str, ...] | None = None) -> Deployment:
        """Return a deployment that has a folder to write to."""
        self.cluster_folder.path.mkdir(parents=True, exist_ok=True)
        return self.deployment(only=only)

    def deploy(self, *, only: tuple[str, ...] | None = None) -> EmbeddedChange:
        """Plan, apply, and return the plan."""
        deployment = self.prepared(only=only)
        plan = deployment.plan()
        deployment.apply(plan)
        return plan

    @contextlib.contextmanager
    def running(self) -> Iterator[TestCluster]:
        """Deploy it, for as long as this lasts. What has not been rendered is, by default."""
        for node in self.ports:
            if not self.config(node).exists():
                self.render(node)
        try:
            self.deploy()
            yield self
        finally:
            self.destroy()

    def destroy(self) -> list[str]:
        """End everything and return the nodes that ran."""
        return destroy(self.state_dir, None, self.caller()).stopped

    def pid(self, node: str) -> int:
        """The node's process, which must run."""
        record = NodeRecord.load(self.cluster_folder.run_dir(node))
        assert record is not None
        assert record.process is not None
        assert record.state() != "gone"
        return record.process.pid

    def pids(self) -> dict[str, int]:
        """All nodes' processes."""
        return {node: self.pid(node) for node in self.ports}

    def status(self, node: str) -> dict[str, Any]:
        """What the node says of itself."""
        return control.status(self.cluster_folder.run_dir(node))

    def endpoint(self, node: str, port: int | None = None) -> Endpoint:
        """Where a node is reached."""
        return Endpoint(node, "127.0.0.1", port or self.ports[node], "localhost")

    def client(self, node: str, port: int | None = None) -> Client:
        """Return a TLS connection to a node, without CONNECT."""
        return Client(self.certificate[0], port or self.ports[node])


class Client:
    """MQTT by the byte."""

    def __init__(self, ca: Path, port: int) -> None:
        context = ssl.create_default_context(cafile=str(ca))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.socket = context.wrap_socket(
            socket.create_connection(("127.0.0.1", port), timeout=5), server_hostname="localhost")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def packet(self) -> tuple[int, bytes]:
        """Return the next packet's first byte and body; (0, b"") when the node closed."""
        first = self._exactly(1)
        if not first:
            return 0, b""
        length, shift = 0, 0
        while True:
            [byte] = self._exactly(1)
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return first[0], self._exactly(length)

    def connect(self, **how: Any) -> bytes:
        """Send CONNECT, made by the function of this name, and return the CONNACK's body."""
        self.send(connect(**how))
        first, body = self.packet()
        assert first == 0x20
        return body

    def subscribe(self, topic: str, qos: int, *, version: int = 4) -> bytes:
        """Send SUBSCRIBE and return the SUBACK's body."""
        properties = b"\x00" if version == 5 else b""
        self.send(packet(0x82, b"\x00\x07" + properties + string(topic) + bytes((qos,))))
        first, body = self.packet()
        assert first == 0x90
        return body

    def publish(self, topic: str, payload: str, *, version: int = 4) -> None:
        """Publish with QoS 1 and return when it is acknowledged."""
        properties = b"\x00" if version == 5 else b""
        self.send(packet(0x32, string(topic) + b"\x00\x2a" + properties + payload.encode()))
        assert self.packet() == (0x40, b"\x00\x2a")

    def message(self, *, version: int = 4, acknowledge: bool = True) -> tuple[str, bool]:
        """Return the payload of the next PUBLISH of QoS 1, and whether it has DUP."""
        first, body = self.packet()
        assert first & 0xF7 == 0x32
        at = 2 + int.from_bytes(body[:2], "big")
        if acknowledge:
            self.send(packet(0x40, body[at:at + 2]))
        at += 2
        if version == 5:
            at += 1 + body[at]
        return body[at:].decode(), bool(first & 0x08)

    def silent(self) -> bool:
        """Tell whether nothing comes before the answer to a PINGREQ."""
        self.send(b"\xc0\x00")
        return self.packet() == (0xD0, b"")

    def disconnect(self, body: bytes = b"") -> None:
        """Send DISCONNECT and wait until the node has closed."""
        self.send(packet(0xE0, body))
        assert self.packet() == (0, b"")

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = self.socket.recv(count - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                return b""
            data += more
        return data


def string(text: str) -> bytes:
    """MQTT's string."""
    return len(text.encode()).to_bytes(2, "big") + text.encode()


def packet(first: int, body: bytes) -> bytes:
    """A packet of fewer than 16,384 bytes."""
    length = len(body)
    prefix = bytes((length,)) if length < 128 else bytes((length & 0x7F | 0x80, length >> 7))
    return bytes((first,)) + prefix + body


def connect(*, version: int = 4, client_id: str = "", keep_alive: int = 60, clean: bool = True,
            expiry: int | None = None, will: tuple[str, str] | None = None,
            username: str | None = None, password: str | None = None) -> bytes:
    """CONNECT; a will is topic and payload."""
    flags, payload = 0x02 if clean else 0, string(client_id)
    if will is not None:
        flags |= 0x0C
        payload += (b"\x00" if version == 5 else b"") + string(will[0]) + string(will[1])
    if username is not None:
        flags, payload = flags | 0x80, payload + string(username)
    if password is not None:
        flags, payload = flags | 0x40, payload + string(password)
    properties = b"" if expiry is None else b"\x11" + expiry.to_bytes(4, "big")
    length = bytes((len(properties),)) if version == 5 else b""
    return packet(0x10, string("MQTT") + bytes((version, flags)) + keep_alive.to_bytes(2, "big")
                  + length + properties + payload)
