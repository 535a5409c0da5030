"""Real embedded nodes, on the wire: MQTT, one TLS session cache a node, one cluster."""
from __future__ import annotations

import re
import socket
import ssl
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded import control
from ansible_collections.emqx.conformance.plugins.module_utils.model import Outcome
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.support.embedded_cluster import TestCluster, connect, packet, string
from tests.support.ports import free_ports

CONNECT_TIMEOUT_S = 15.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory,
            certificate: tuple[Path, Path]) -> Iterator[TestCluster]:
    """Two nodes; the first has three listeners: two alike, one without reuse and for one client."""
    ports = free_ports(4)
    made = TestCluster(tmp_path_factory.mktemp("node"), certificate,
                       {"emqx1": ports[0], "emqx2": ports[1]}, session_lifetime=300)
    made.render("emqx1", made.listener(ports[0]), made.listener(ports[2], name="second"),
                made.listener(ports[3], name="small", extra="max_connections = 1", reuse="false"))
    with made.running():
        yield made


@pytest.fixture
def engine(cluster: TestCluster) -> Iterator[OrdinaryEngine]:
    made = OrdinaryEngine(Trust(ca_file=str(cluster.certificate[0])))
    yield made
    made.close()


def listener_port(cluster: TestCluster, name: str) -> int:
    [bind] = [listener["bind"] for listener in cluster.status("emqx1")["listeners"]
              if listener["name"] == name]
    return int(bind.rpartition(":")[2])


# -- TLS ----------------------------------------------------------------------------------------

def outcomes(cluster: TestCluster, engine: OrdinaryEngine,
             *places: tuple[str, int | None]) -> list[Outcome]:
    """Establish a session at the first place, offer it at the others; say what came back."""
    found, session = [], None
    for node, port in places:
        attempt = engine.connect(cluster.endpoint(node, port), offer=session)
        assert attempt.stream is not None, attempt.handshake.why
        attempt.stream.close()
        session = session or attempt.session
        found.append(attempt.handshake.outcome)
    return found


def test_all_ssl_listeners_of_a_node_share_one_session_cache(
        cluster: TestCluster, engine: OrdinaryEngine) -> None:
    second = listener_port(cluster, "second")
    assert outcomes(cluster, engine, ("emqx1", None), ("emqx1", None), ("emqx1", second)) == [
        Outcome.FULL, Outcome.RESUMED, Outcome.RESUMED]


def test_nodes_do_not_share_it(cluster: TestCluster, engine: OrdinaryEngine) -> None:
    assert outcomes(cluster, engine, ("emqx1", None), ("emqx2", None), ("emqx1", None)) == [
        Outcome.FULL, Outcome.FULL, Outcome.RESUMED]


def test_reuse_sessions_false_issues_ids_and_resumes_nothing(
        cluster: TestCluster, engine: OrdinaryEngine) -> None:
    endpoint = cluster.endpoint("emqx1", listener_port(cluster, "small"))
    first = engine.connect(endpoint)
    assert first.stream is not None
    assert len(first.handshake.server_id) == 32
    first.stream.close()
    wait_for_connections(cluster, "small", 0)
    again = engine.connect(endpoint, offer=first.session)
    assert again.stream is not None
    again.stream.close()
    assert again.handshake.outcome is Outcome.FULL


def test_a_release_that_ignores_reuse_sessions_resumes_all_the_same(
        tmp_path: Path, certificate: tuple[Path, Path], engine: OrdinaryEngine) -> None:
    (port,) = free_ports(1)
    ignoring = TestCluster(tmp_path, certificate, {"emqx1": port}, name="ignoring",
                           release="5.9.0")
    ignoring.render("emqx1", ignoring.listener(port, reuse="false"))
    with ignoring.running():
        assert outcomes(ignoring, engine, ("emqx1", None), ("emqx1", None)) == [
            Outcome.FULL, Outcome.RESUMED]


def test_handshakes_are_counted(cluster: TestCluster) -> None:
    before = cluster.status("emqx1")
    with cluster.client("emqx1") as client:
        client.connect()
    with pytest.raises(OSError, match=r"SSL|reset|closed"):
        cluster_refuses(cluster)
    end = time.monotonic() + 5
    while True:
        after = cluster.status("emqx1")
        counted = {key: after["handshakes"][key] - before["handshakes"][key]
                   for key in ("accepted", "completed", "failed")}
        if counted == {"accepted": 2, "completed": 1, "failed": 1} or time.monotonic() > end:
            break
        time.sleep(0.05)
    assert counted == {"accepted": 2, "completed": 1, "failed": 1}
    assert after["mqtt_connects"] - before["mqtt_connects"] == 1


def cluster_refuses(cluster: TestCluster) -> None:
    """Offer TLS 1.3 alone, which the listener does not speak."""
    context = ssl.create_default_context(cafile=str(cluster.certificate[0]))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with socket.create_connection(("127.0.0.1", cluster.ports["emqx1"]), timeout=5) as plain:
        context.wrap_socket(plain, server_hostname="localhost")


def wait_for_connections(cluster: TestCluster, listener: str, count: int) -> None:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if [entry["current_connections"] for entry in cluster.status("emqx1")["listeners"]
                if entry["name"] == listener] == [count]:
            return
        time.sleep(0.02)
    pytest.fail(f"{listener} never had {count} connections")


def test_max_connections(cluster: TestCluster) -> None:
    port = listener_port(cluster, "small")
    wait_for_connections(cluster, "small", 0)
    with cluster.client("emqx1", port) as client:
        client.connect()
        with pytest.raises(OSError, match=r"SSL|reset|EOF|closed|handshake"):
            cluster.client("emqx1", port)
        client.send(b"\xc0\x00")
        assert client.packet() == (0xD0, b"")


# -- MQTT ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("version", [4, 5])
def test_connect_byte_by_byte(cluster: TestCluster, version: int) -> None:
    with cluster.client("emqx1") as client:
        for byte in connect(version=version, client_id=f"bytes-{version}"):
            client.send(bytes((byte,)))
        first, body = client.packet()
    assert (first, body[:2]) == (0x20, b"\x00\x00")


def test_everything_in_one_segment(cluster: TestCluster) -> None:
    with cluster.client("emqx1") as client:
        client.send(connect() + b"\xc0\x00" * 3 + b"\xe0\x00")
        assert client.packet() == (0x20, b"\x00\x00")
        assert [client.packet() for _ in range(3)] == [(0xD0, b"")] * 3
        assert client.packet() == (0, b"")


def test_the_node_names_itself_in_connack(cluster: TestCluster) -> None:
    with cluster.client("emqx1") as client:
        body = client.connect(version=5)
    for key, value in (("product", "embedded OTP node"), ("note", "not EMQX"),
                       ("version", "0.1.0"), ("node", "emqx1@127.0.0.1"),
                       ("otp_release", str(cluster.status("emqx1")["otp_release"])),
                       ("ssl_version", str(cluster.status("emqx1")["ssl_version"]))):
        assert b"\x26" + string(key) + string(value) in body
    # Maximum QoS 1, and no retain, identifiers or shared groups.
    for announced in (b"\x24\x01", b"\x25\x00", b"\x29\x00", b"\x2a\x00"):
        assert announced in body


@pytest.mark.parametrize(("level", "answer"), [
    (3, b"\x00\x01"), (6, b"\x00\x84\x00"), (131, b"\x00\x84\x00")])
def test_an_unknown_protocol_level_is_answered(cluster: TestCluster, level: int,
                                               answer: bytes) -> None:
    with cluster.client("emqx1") as client:
        client.send(connect(version=level))
        assert client.packet() == (0x20, answer)
        assert client.packet() == (0, b"")


@pytest.mark.parametrize(("version", "answers"), [
    (4, [(0, b"")]), (5, [(0x20, b"\x00\x83\x00"), (0, b"")])])
def test_a_will_is_refused(cluster: TestCluster, version: int,
                           answers: list[tuple[int, bytes]]) -> None:
    with cluster.client("emqx1") as client:
        client.send(connect(version=version, will=("will", "lost")))
        assert [client.packet() for _ in answers] == answers


@pytest.mark.parametrize("data", [
    b"\x10\xff\xff\xff\xff\x7f",                  # five length bytes
    b"\x10\xff\xff\xff\x7f",                      # 256 MB to come
    b"\xc0\x00",                                  # not CONNECT
    b"\x10\x02\xff\xff",                          # a string beyond the packet
    b"GET / HTTP/1.1\r\n\r\n",
    packet(0x10, string("HTTP") + b"\x04\x02\x00\x3c" + string("x")),
])
def test_hostile_bytes_close_the_connection_and_nothing_else(cluster: TestCluster,
                                                             data: bytes) -> None:
    with cluster.client("emqx1") as bystander, cluster.client("emqx1") as client:
        bystander.connect()
        client.send(data)
        assert client.packet() == (0, b"")
        bystander.send(b"\xc0\x00")
        assert bystander.packet() == (0xD0, b"")


def test_a_malformed_packet_after_connect_is_named_in_mqtt_5(cluster: TestCluster) -> None:
    with cluster.client("emqx1") as client:
        client.connect(version=5)
        client.send(b"\x36\x00")
        assert client.packet() == (0xE0, b"\x81")
        assert client.packet() == (0, b"")


def test_without_connect_the_node_closes_after_15_s(cluster: TestCluster) -> None:
    with cluster.client("emqx1") as silent, cluster.client("emqx1") as slow:
        begun = time.monotonic()
        slow.send(b"\x10")
        silent.socket.settimeout(2 * CONNECT_TIMEOUT_S)
        assert silent.packet() == (0, b"")
        took = time.monotonic() - begun
        # A CONNECT that never ends is none.
        assert slow.packet() == (0, b"")
    assert took > CONNECT_TIMEOUT_S - 0.5


def test_keep_alive_is_enforced_at_one_and_a_half(cluster: TestCluster) -> None:
    with (cluster.client("emqx1") as patient, cluster.client("emqx1") as unbounded,
          cluster.client("emqx1") as client):
        # They are silent for longer than the other, and stay.
        patient.connect(keep_alive=60)
        unbounded.connect(keep_alive=0)
        client.connect(version=5, keep_alive=1)
        time.sleep(0.8)
        client.send(b"\xc0\x00")
        assert client.packet() == (0xD0, b"")
        begun = time.monotonic()
        # However late on a busy machine, before those that may be silent for longer.
        client.socket.settimeout(60)
        assert client.packet() == (0xE0, b"\x8d")
        assert time.monotonic() - begun > 1.3
        assert client.packet() == (0, b"")
        assert patient.silent()
        assert unbounded.silent()


@pytest.mark.parametrize("subscriber_node", ["emqx1", "emqx2"])
@pytest.mark.parametrize(("topic", "version"), [("room/1", 4), ("room/+", 5), ("#", 4)])
def test_a_publish_reaches_subscribers_on_every_node(
        cluster: TestCluster, subscriber_node: str, topic: str, version: int) -> None:
    with cluster.client(subscriber_node) as subscriber, cluster.client("emqx1") as publisher:
        subscriber.connect(version=version)
        assert subscriber.subscribe(topic, 2, version=version)[-1] == 1
        publisher.connect(version=5)
        publisher.send(packet(0x32, string("room/1") + b"\x00\x2a\x00" + b"hello"))
        assert publisher.packet() == (0x40, b"\x00\x2a")
        first, body = subscriber.packet()
        assert first == 0x32
        properties = b"\x00" if version == 5 else b""
        assert re.fullmatch(re.escape(string("room/1")) + rb".." + properties + b"hello", body,
                            re.DOTALL)
        subscriber.send(packet(0x40, body[8:10]))
        subscriber.send(packet(0xA2, b"\x00\x09" + properties + string(topic)))
        assert subscriber.packet()[0] == 0xB0


def test_qos_0_and_a_payload_of_many_records(cluster: TestCluster) -> None:
    payload = bytes(range(256)) * 60
    with cluster.client("emqx2") as subscriber, cluster.client("emqx1") as publisher:
        subscriber.connect()
        subscriber.subscribe("big", 0)
        publisher.connect()
        publisher.send(packet(0x30, string("big") + payload))
        assert subscriber.packet() == (0x30, string("big") + payload)


def test_a_client_id_is_connected_once_in_the_cluster(cluster: TestCluster) -> None:
    with cluster.client("emqx1") as first, cluster.client("emqx2") as second:
        first.connect(version=5, client_id="twice")
        second.connect(version=5, client_id="twice")
        assert first.packet() == (0xE0, b"\x8e")
        second.send(b"\xc0\x00")
        assert second.packet() == (0xD0, b"")


# -- The process ----------------------------------------------------------------------------------

def test_status(cluster: TestCluster) -> None:
    status = cluster.status("emqx1")
    assert status["product"] == "embedded OTP node"
    assert status["note"] == "not EMQX"
    assert status["members"] == ["emqx1@127.0.0.1", "emqx2@127.0.0.1"]
    assert [(listener["name"], listener["type"]) for listener in status["listeners"]] == [
        ("default", "ssl"), ("second", "ssl"), ("small", "ssl")]
    assert isinstance(status["uptime_s"], int)


def test_an_unknown_command_is_answered(cluster: TestCluster) -> None:
    run_dir = cluster.cluster_folder.run_dir("emqx1")
    assert control.ask(run_dir, "shutdown").startswith("unknown command")


def test_the_cookie_is_secret(cluster: TestCluster) -> None:
    cookie = cluster.cluster_folder.path / ".erlang.cookie"
    assert stat.S_IMODE(cookie.stat().st_mode) == 0o400
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert cookie.read_text() not in listing.stdout
    socket_mode = (cluster.cluster_folder.run_dir("emqx1") / "control.sock").stat().st_mode
    assert stat.S_IMODE(socket_mode) == 0o600


def test_nothing_but_mqtt_listens_beyond_loopback(cluster: TestCluster) -> None:
    listing = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    pids = [f"pid={pid}," for pid in cluster.pids().values()]
    addresses = [line.split()[3] for line in listing.splitlines()
                 if any(pid in line for pid in pids)]
    assert len(addresses) == 6  # four listeners and two distribution ports
    assert all(address.startswith("127.0.0.1:") for address in addresses)


def test_a_node_is_small(cluster: TestCluster) -> None:
    for pid in cluster.pids().values():
        text = Path(f"/proc/{pid}/status").read_text()
        resident_kb = int(text.partition("VmRSS:")[2].split()[0])
        # Measured: about 50 MB on OTP 25, 65 MB on 27 and 29.
        assert resident_kb < 80 * 1024
