"""paho-mqtt behind the engine's socket: whatever the target sends, one kind of error comes out."""
from __future__ import annotations

import threading
from typing import Any, cast

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.model import (
    Endpoint,
    Failure,
    Handshake,
    Outcome,
)
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.client import MqttError
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.credentials import Credentials
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.paho_session import (
    PahoConnection,
)
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.sessions import (
    Link,
    MqttIdentity,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import Attempt
from ansible_collections.emqx.conformance.plugins.module_utils.tls.wire import (
    Deadline,
    Interrupted,
    WireError,
)
from hypothesis import given
from hypothesis import strategies as st

ENDPOINT = Endpoint("n1", "127.0.0.1", 1, "x")
CONNACK = {"5": b"\x20\x03\x00\x00\x00", "3.1.1": b"\x20\x02\x00\x00"}


class Canned:
    """A stream that says the same whatever it hears, in pieces, and then ends."""

    def __init__(self, answer: bytes, step: int = 1, *, break_on_send: int = 99) -> None:
        self.heard: list[bytes] = []
        self.closed = 0
        self._pieces = [answer[at:at + step] for at in range(0, len(answer), step)]
        self._break_on_send = break_on_send

    def send(self, data: bytes, _deadline: Deadline) -> None:
        if len(self.heard) + 1 >= self._break_on_send:
            raise WireError(Failure("mqtt", "connection_reset", "the target reset the connection"))
        self.heard.append(data)

    def receive_now(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def close(self) -> None:
        self.closed += 1


def connection(stream: Canned, version: str = "5", *, stop: threading.Event | None = None,
               credentials: Credentials | None = None, **identity: Any) -> PahoConnection:
    handshake = Handshake(ENDPOINT, "now", Outcome.RESUMED, "")
    return PahoConnection(
        Link(lambda: Attempt(handshake, cast(Any, stream)), version, credentials or Credentials(),
             0.3, stop), MqttIdentity("abc", **identity))


def everything(made: PahoConnection) -> None:
    try:
        assert made.open()
        made.await_connack()
        made.subscribe("x/y")
        made.publish("x/y", b"z")
        made.await_message("x/y", b"z", "publish_not_received")
        made.ping()
        made.disconnect()
    finally:
        made.close()


@given(st.binary(max_size=80), st.sampled_from(["3.1.1", "5"]), st.integers(1, 9))
def test_arbitrary_answers_to_connect_raise_nothing_but_its_own_error(
        answer: bytes, version: str, step: int) -> None:
    stream = Canned(answer, step)
    with pytest.raises(MqttError) as caught:
        everything(connection(stream, version))
    assert caught.value.cause in {"mqtt_closed", "mqtt_malformed", "mqtt_refused", "mqtt_version"}
    assert stream.closed


PACKETS = st.builds(lambda first, body: bytes((first, len(body))) + body,
                    st.integers(0, 255), st.binary(max_size=40))


@given(st.lists(PACKETS, max_size=6).map(b"".join), st.sampled_from(["3.1.1", "5"]),
       st.integers(1, 9))
def test_arbitrary_packets_afterwards_raise_nothing_but_its_own_error(
        packets: bytes, version: str, step: int) -> None:
    with pytest.raises(MqttError) as caught:
        everything(connection(Canned(CONNACK[version] + packets, step), version))
    assert caught.value.cause in {"mqtt_closed", "mqtt_malformed", "acl_refused", "payload_changed"}


def test_a_topic_that_is_no_utf_8_is_malformed() -> None:
    with pytest.raises(MqttError) as caught:
        everything(connection(Canned(CONNACK["5"] + b"\x30\x06\x00\x02\xff\xfe\x00x")))
    assert caught.value.cause == "mqtt_malformed"


@pytest.mark.parametrize(("version", "clean", "expiry", "packet"), [
    ("3.1.1", True, 0, b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03abc"),
    ("3.1.1", False, 0, b"\x10\x0f\x00\x04MQTT\x04\x00\x00\x3c\x00\x03abc"),
    ("5", True, 0, b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03abc"),
    ("5", False, 300, b"\x10\x15\x00\x04MQTT\x05\x00\x00\x3c\x05\x11\x00\x00\x01\x2c\x00\x03abc"),
])
def test_connect_says_what_becomes_of_the_session(
        version: str, clean: bool, expiry: int, packet: bytes) -> None:
    stream = Canned(CONNACK[version])
    made = connection(stream, version, clean_start=clean, expiry_s=expiry)
    assert made.open()
    made.await_connack()
    made.disconnect()
    assert stream.heard == [packet, b"\xe0\x00"]
    assert stream.closed


def test_an_absent_session_expiry_is_the_one_asked_for() -> None:
    made = connection(Canned(b"\x20\x03\x01\x00\x00"), clean_start=False, expiry_s=300)
    made.open()
    accepted = made.await_connack()
    assert (accepted.session_present, accepted.expiry_s) == (True, 300)


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_user_name_and_password_go_out(version: str) -> None:
    stream = Canned(CONNACK[version])
    connection(stream, version, credentials=Credentials("me", "pw")).open()
    assert stream.heard[0].endswith(b"\x00\x02me\x00\x02pw")


def test_a_connection_that_breaks_while_sending_is_closed() -> None:
    with pytest.raises(MqttError, match="reset the connection") as caught:
        everything(connection(Canned(CONNACK["5"], break_on_send=2)))
    assert caught.value.cause == "mqtt_closed"


def test_what_our_own_code_raises_is_not_called_malformed() -> None:
    class Broken(Canned):
        def receive_now(self) -> bytes:
            if self.heard:
                raise TypeError("ours")
            return b""

    made = connection(Broken(CONNACK["5"]))
    assert made.open()
    with pytest.raises(TypeError, match="ours"):
        made.await_connack()
    made.close()


def test_a_handshake_that_failed_is_told_and_has_no_mqtt() -> None:
    attempt = Attempt(Handshake(ENDPOINT, "now", Outcome.FAILED, "no"))
    made = PahoConnection(Link(lambda: attempt, "5", Credentials(), 0.3), MqttIdentity("abc"))
    assert not made.open()
    assert made.attempt is attempt
    made.close()


def test_no_thread_is_started_and_an_interrupt_is_heard_in_any_step() -> None:
    stop = threading.Event()
    made = connection(Canned(CONNACK["5"]), stop=stop)
    threads = threading.active_count()
    made.open()
    made.await_connack()
    assert threading.active_count() == threads
    stop.set()
    with pytest.raises(Interrupted):
        made.subscribe("x")
