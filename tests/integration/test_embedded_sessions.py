"""Sessions of the embedded node that outlive their connection, on one node and across nodes."""
from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.embedded_cluster import Client, TestCluster, connect
from tests.support.ports import free_ports

ABSENT, PRESENT = 0, 1
EXPIRY = 0x11


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory,
            certificate: tuple[Path, Path]) -> Iterator[TestCluster]:
    made = TestCluster(tmp_path_factory.mktemp("sessions"), certificate,
                       dict(zip(("emqx1", "emqx2"), free_ports(2))))
    with made.running():
        yield made


@pytest.fixture
def client_id() -> str:
    """One that no other test has."""
    return f"c-{secrets.token_hex(4)}"


def present(client: Client, client_id: str, **how: object) -> int:
    """Connect and return Session Present."""
    body = client.connect(client_id=client_id, **how)
    assert body[1] == 0
    return body[0]


def come_and_go(cluster: TestCluster, node: str, client_id: str, **how: object) -> int:
    with cluster.client(node) as client:
        answer = present(client, client_id, **how)
        client.disconnect()
    return answer


def publish(cluster: TestCluster, topic: str, *payloads: str, node: str = "emqx1") -> None:
    with cluster.client(node) as publisher:
        publisher.connect()
        for payload in payloads:
            publisher.publish(topic, payload)
        publisher.disconnect()


def sessions(cluster: TestCluster) -> list[int]:
    return [int(cluster.status(node)["sessions"]) for node in ("emqx1", "emqx2")]


def await_sessions(cluster: TestCluster, expected: list[int], within_s: float = 5.0) -> None:
    end = time.monotonic() + within_s
    while sessions(cluster) != expected and time.monotonic() < end:
        time.sleep(0.02)
    assert sessions(cluster) == expected


# -- Session Present ----------------------------------------------------------------------------

KEPT_4 = {"version": 4, "clean": False}
KEPT_5 = {"version": 5, "clean": False, "expiry": 60}
CLEAN_4 = {"version": 4, "clean": True}
CLEAN_5 = {"version": 5, "clean": True}


@pytest.mark.parametrize(("first", "second", "expected"), [
    (KEPT_4, KEPT_4, PRESENT),
    (KEPT_5, KEPT_5, PRESENT),
    (KEPT_4, KEPT_5, PRESENT),
    (KEPT_5, KEPT_4, PRESENT),
    (KEPT_5, {"version": 5, "clean": False}, PRESENT),
    ({**KEPT_5, "clean": True}, KEPT_5, PRESENT),
    (KEPT_4, CLEAN_4, ABSENT),
    (KEPT_5, CLEAN_5, ABSENT),
    (CLEAN_4, KEPT_4, ABSENT),
    (CLEAN_5, KEPT_5, ABSENT),
    ({"version": 5, "clean": False}, KEPT_5, ABSENT),
    ({**KEPT_5, "expiry": 0}, KEPT_5, ABSENT),
])
def test_session_present(cluster: TestCluster, first: dict[str, object],
                         second: dict[str, object], expected: int) -> None:
    for node in ("emqx1", "emqx2"):
        client_id = f"present-{secrets.token_hex(4)}"
        assert come_and_go(cluster, "emqx1", client_id, **first) == ABSENT
        assert come_and_go(cluster, node, client_id, **second) == expected
        assert come_and_go(cluster, "emqx1", client_id, **CLEAN_4) == ABSENT


def test_clean_start_leaves_nothing_on_any_node(cluster: TestCluster, client_id: str) -> None:
    await_sessions(cluster, [0, 0])
    come_and_go(cluster, "emqx1", client_id, **KEPT_4)
    assert sessions(cluster) == [1, 0]
    come_and_go(cluster, "emqx2", client_id, **CLEAN_4)
    await_sessions(cluster, [0, 0])


@pytest.mark.parametrize("node", ["emqx1", "emqx2"])
@pytest.mark.parametrize(("how", "expected"), [(KEPT_5, PRESENT), (KEPT_4, PRESENT),
                                               (CLEAN_4, ABSENT), (CLEAN_5, ABSENT)])
def test_session_present_when_taken_over(cluster: TestCluster, client_id: str, node: str,
                                         how: dict[str, object], expected: int) -> None:
    with cluster.client("emqx1") as first, cluster.client(node) as second:
        assert present(first, client_id, **how) == ABSENT
        first.subscribe("over", 1, version=int(str(how["version"])))
        assert present(second, client_id, **{**how, "clean": False}) == expected
        assert first.packet() in [(0xE0, b"\x8e"), (0, b"")]
        publish(cluster, f"over{secrets.token_hex(2)}", "no")
        assert second.silent()
    come_and_go(cluster, node, client_id)


def test_connections_lost_without_disconnect(cluster: TestCluster, client_id: str) -> None:
    for node in ("emqx1", "emqx1", "emqx2", "emqx1"):
        with cluster.client(node) as client:
            last = present(client, client_id, **KEPT_5)
    assert last == PRESENT
    come_and_go(cluster, "emqx1", client_id)


def test_two_at_the_same_time_on_two_nodes(cluster: TestCluster) -> None:
    ids = [f"rivals-{secrets.token_hex(4)}" for _ in range(30)]
    alive = []
    for client_id in ids:
        pair = [cluster.client(node) for node in ("emqx1", "emqx2")]
        for client in pair:
            client.send(connect(version=5, client_id=client_id, clean=False, expiry=60))
        alive.append(pair)
    time.sleep(2.0)
    for client_id, pair in zip(ids, alive):
        told = []
        for client in pair:
            assert client.packet()[0] == 0x20
            client.send(b"\xc0\x00")
            told.append(client.packet()[0])
            client.socket.close()
        assert sorted(told) == [0xD0, 0xE0], client_id
        come_and_go(cluster, "emqx1", client_id)
    await_sessions(cluster, [0, 0])


# -- Expiry --------------------------------------------------------------------------------------

@pytest.mark.parametrize(("asked", "announced"), [
    (None, None), (0, None), (60, None), (7200, None), (7201, 7200), (0xFFFFFFFF, 7200)])
def test_the_granted_expiry_is_announced_when_it_is_another(
        cluster: TestCluster, client_id: str, asked: int | None, announced: int | None) -> None:
    with cluster.client("emqx1") as client:
        body = client.connect(version=5, client_id=client_id, expiry=asked)
        # The node writes it after Retain Available.
        told = [int.from_bytes(body[at + 3:at + 7], "big")
                for at in range(3, len(body) - 6) if body[at:at + 3] == b"\x25\x00\x11"]
        assert told == ([] if announced is None else [announced])
        client.disconnect()
    come_and_go(cluster, "emqx1", client_id)


def test_a_session_expires(cluster: TestCluster, client_id: str) -> None:
    await_sessions(cluster, [0, 0])
    come_and_go(cluster, "emqx1", client_id, version=5, clean=False, expiry=1)
    assert come_and_go(cluster, "emqx1", client_id, version=5, clean=False, expiry=1) == PRESENT
    assert sessions(cluster) == [1, 0]
    await_sessions(cluster, [0, 0])
    assert come_and_go(cluster, "emqx2", client_id, **KEPT_5) == ABSENT
    come_and_go(cluster, "emqx1", client_id)


def disconnect_with_expiry(seconds: int) -> bytes:
    return b"\x00\x05" + bytes((EXPIRY,)) + seconds.to_bytes(4, "big")


def test_disconnect_changes_the_expiry(cluster: TestCluster, client_id: str) -> None:
    for expiry, expected in ((0, ABSENT), (60, PRESENT)):
        with cluster.client("emqx1") as client:
            present(client, client_id, **{**KEPT_5, "clean": True})
            client.disconnect(disconnect_with_expiry(expiry))
        assert come_and_go(cluster, "emqx1", client_id, **KEPT_5) == expected
    come_and_go(cluster, "emqx1", client_id)


def test_disconnect_cannot_make_a_session_that_was_not_asked_for(
        cluster: TestCluster, client_id: str) -> None:
    with cluster.client("emqx1") as client:
        present(client, client_id, version=5, clean=True)
        client.send(b"\xe0\x07" + disconnect_with_expiry(60))
        assert client.packet() == (0xE0, b"\x82")
    assert come_and_go(cluster, "emqx1", client_id, **KEPT_5) == ABSENT
    come_and_go(cluster, "emqx1", client_id)


# -- Messages ------------------------------------------------------------------------------------

@pytest.mark.parametrize(("back", "publisher"), [("emqx1", "emqx1"), ("emqx1", "emqx2"),
                                                 ("emqx2", "emqx1"), ("emqx2", "emqx2")])
@pytest.mark.parametrize("version", [4, 5])
def test_messages_of_qos_1_are_kept_while_away(cluster: TestCluster, client_id: str, version: int,
                                               back: str, publisher: str) -> None:
    how = KEPT_4 if version == 4 else KEPT_5
    topic = f"kept/{client_id}"
    with cluster.client("emqx1") as client:
        present(client, client_id, **how)
        client.subscribe(f"kept/{client_id}", 1, version=version)
        client.disconnect()
    publish(cluster, topic, "one", "two", "three", node=publisher)
    with cluster.client(publisher) as plain:
        plain.connect()
        plain.send(b"\x30" + bytes((2 + len(topic) + 1,)) + len(topic).to_bytes(2, "big")
                   + topic.encode() + b"0")
        assert plain.silent()
    with cluster.client(back) as client:
        assert present(client, client_id, **how) == PRESENT
        assert [client.message(version=version) for _ in range(3)] == [
            ("one", False), ("two", False), ("three", False)]
        assert client.silent()
        # The subscription is where its client is now.
        publish(cluster, topic, "four", node=publisher)
        assert client.message(version=version) == ("four", False)
        client.disconnect()
    come_and_go(cluster, "emqx1", client_id)


@pytest.mark.parametrize("back", ["emqx1", "emqx2"])
def test_unacknowledged_messages_come_again_with_dup(cluster: TestCluster, client_id: str,
                                                     back: str) -> None:
    topic = f"again/{client_id}"
    with cluster.client("emqx1") as client:
        present(client, client_id, **KEPT_4)
        client.subscribe(topic, 1)
        publish(cluster, topic, "one", "two")
        assert client.message() == ("one", False)
        assert client.message(acknowledge=False) == ("two", False)
        client.disconnect()
    publish(cluster, topic, "three")
    with cluster.client(back) as client:
        assert present(client, client_id, **KEPT_4) == PRESENT
        assert client.message(acknowledge=False) == ("two", True)
        # One at a time.
        assert client.silent()
        client.disconnect()
    with cluster.client(back) as client:
        assert present(client, client_id, **KEPT_4) == PRESENT
        assert [client.message() for _ in range(2)] == [("two", True), ("three", False)]
        assert client.silent()
    with cluster.client(back) as client:
        assert present(client, client_id, **KEPT_4) == PRESENT
        assert client.silent()
    come_and_go(cluster, "emqx1", client_id)


def test_the_queue_is_bounded_and_loses_the_oldest(cluster: TestCluster, client_id: str) -> None:
    topic = f"many/{client_id}"
    with cluster.client("emqx1") as client:
        present(client, client_id, **KEPT_4)
        client.subscribe(topic, 1)
        client.disconnect()
    publish(cluster, topic, *map(str, range(1010)))
    with cluster.client("emqx1") as client:
        assert present(client, client_id, **KEPT_4) == PRESENT
        assert [client.message()[0] for _ in range(1000)] == [
            str(number) for number in range(10, 1010)]
        assert client.silent()
    come_and_go(cluster, "emqx1", client_id)
    [line] = logged(cluster, client_id)
    assert "1000 messages wait already, the oldest is lost" in line


def logged(cluster: TestCluster, words: str) -> list[str]:
    """Return the first node's lines with these words, once there are some."""
    end = time.monotonic() + 5
    while True:
        text = (cluster.cluster_folder.run_dir("emqx1") / "node.log").read_text()
        lines = [line for line in text.splitlines() if words in line]
        if lines or time.monotonic() > end:
            return lines
        time.sleep(0.05)


def test_clean_start_deletes_subscriptions_and_messages(cluster: TestCluster,
                                                        client_id: str) -> None:
    topic = f"deleted/{client_id}"
    with cluster.client("emqx1") as client:
        present(client, client_id, **KEPT_5)
        client.subscribe(topic, 1, version=5)
        client.disconnect()
    publish(cluster, topic, "one")
    for node in ("emqx2", "emqx1"):
        with cluster.client(node) as client:
            assert present(client, client_id, **{**KEPT_5, "clean": True}) == ABSENT
            publish(cluster, topic, "two")
            assert client.silent()
            client.disconnect()
    come_and_go(cluster, "emqx1", client_id)


# -- Nodes that go, hence last ---------------------------------------------------------------------

def test_the_session_of_a_frozen_node_is_given_up(cluster: TestCluster, client_id: str) -> None:
    come_and_go(cluster, "emqx1", client_id, **KEPT_4)
    pid = cluster.pid("emqx1")
    os.kill(pid, signal.SIGSTOP)
    try:
        assert come_and_go(cluster, "emqx2", client_id, **KEPT_4) == ABSENT
    finally:
        os.kill(pid, signal.SIGCONT)
    # The frozen copy is not the client's any more.
    await_sessions(cluster, [0, 1], within_s=20.0)
    assert come_and_go(cluster, "emqx1", client_id, **KEPT_4) == PRESENT
    come_and_go(cluster, "emqx1", client_id)


def test_the_session_of_a_dead_node_is_lost(cluster: TestCluster, client_id: str) -> None:
    come_and_go(cluster, "emqx1", client_id, **KEPT_4)
    cluster.deployment().driver.kill_all(["emqx1"])
    assert come_and_go(cluster, "emqx2", client_id, **KEPT_4) == ABSENT
    assert cluster.deploy().start == ["emqx1"]
    assert come_and_go(cluster, "emqx1", client_id, **KEPT_4) == PRESENT
    come_and_go(cluster, "emqx1", client_id)
