"""A node that expects PROXY protocol headers, spoken to by the byte."""
from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded import control
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.support.embedded_cluster import TestCluster
from tests.support.ports import free_ports

TIMEOUT_S = 5.0
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
ADDRESSES = bytes((192, 0, 2, 7, 192, 0, 2, 1)) + (40_000).to_bytes(2, "big") + b"\x22\xb3"
VERSION_1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 8883\r\n"
VERSION_2 = SIGNATURE + b"\x21\x11\x00\x0c" + ADDRESSES
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory,
            certificate: tuple[Path, Path]) -> Iterator[TestCluster]:
    """One node: an ordinary listener, and one behind a load balancer that is not there."""
    ports = free_ports(2)
    made = TestCluster(tmp_path_factory.mktemp("proxied"), certificate, {"emqx1": ports[0]})
    made.render("emqx1", made.listener(ports[0]), made.listener(
        ports[1], name="proxied",
        extra='proxy_protocol = true\n      proxy_protocol_timeout = "1s"'))
    try:
        made.deploy()
        yield made
    finally:
        made.destroy()


def port_of(cluster: TestCluster) -> int:
    (bind,) = [listener["bind"] for listener in cluster.status("emqx1")["listeners"]
               if listener["proxy_protocol"]]
    return int(bind.rpartition(":")[2])


def handshaken(cluster: TestCluster, header: bytes, *, together: bool) -> socket.socket:
    """Send a header, and a ClientHello with it or after it; return when TLS stands."""
    plain = socket.create_connection(("127.0.0.1", port_of(cluster)), TIMEOUT_S)
    context = ssl.create_default_context(cafile=str(cluster.certificate[0]))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(here, there, server_hostname="localhost")
    held = header
    if not together:
        plain.sendall(header)
        held = b""
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            plain.sendall(held + there.read())
            held = b""
            data = plain.recv(65536)
            assert data, "the node closed the connection"
            here.write(data)
        else:
            return plain


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("header", [VERSION_1, VERSION_2])
def test_the_header_says_who_the_client_is(cluster: TestCluster, header: bytes, *,
                                           together: bool) -> None:
    with handshaken(cluster, header, together=together):
        assert peers(cluster) == {"listeners.ssl.default": [],
                                  "listeners.ssl.proxied": ["192.0.2.7:40000"]}
    gone(cluster)


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n"])
def test_without_a_source_the_client_is_who_connects(cluster: TestCluster, header: bytes) -> None:
    with handshaken(cluster, header, together=True) as plain:
        assert peers(cluster)["listeners.ssl.proxied"] == ["{}:{}".format(*plain.getsockname())]
    gone(cluster)


def test_a_probe_that_brings_no_header_finds_the_connection_closed(cluster: TestCluster) -> None:
    engine = OrdinaryEngine(Trust(ca_file=str(cluster.certificate[0])))
    attempt = engine.connect(cluster.endpoint("emqx1", port_of(cluster)), deadline_s=TIMEOUT_S)
    engine.close()
    assert attempt.stream is None
    assert attempt.handshake.failure is not None
    assert attempt.handshake.failure.cause in ("connection_closed", "connection_reset")
    assert "closed" in attempt.handshake.why or "reset" in attempt.handshake.why


def test_the_node_itself_answers_at_its_other_listener(cluster: TestCluster) -> None:
    with cluster.client("emqx1") as client:
        client.connect()
        assert len(peers(cluster)["listeners.ssl.default"]) == 1


def peers(cluster: TestCluster) -> dict[str, list[str]]:
    """Return the clients' addresses as the node knows them."""
    told: dict[str, list[str]] = json.loads(
        control.ask(cluster.cluster_folder.run_dir("emqx1"), "peers"))
    return told


def gone(cluster: TestCluster) -> None:
    """Return when the node has noticed that its client left."""
    end = time.monotonic() + TIMEOUT_S
    while peers(cluster)["listeners.ssl.proxied"]:
        assert time.monotonic() < end
        time.sleep(0.02)
