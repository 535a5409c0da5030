"""CONNECT and CONNACK, byte by byte."""
from __future__ import annotations

import re

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt import client as mqtt
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.credentials import Credentials
from ansible_collections.emqx.conformance.plugins.module_utils.tls.wire import Deadline
from hypothesis import given
from hypothesis import strategies as st

from tests.support.contract import CONTRACT


class Canned:
    """A stream that says the same whatever it hears, in pieces."""

    def __init__(self, answer: bytes, step: int = 1) -> None:
        self.heard = b""
        self._pieces = [answer[at:at + step] for at in range(0, len(answer), step)]

    def send(self, data: bytes, deadline: Deadline) -> None:
        self.heard += data

    def receive(self, deadline: Deadline) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


def connect(answer: bytes, version: str = "5", step: int = 1) -> mqtt.Connack:
    return mqtt.connect(Canned(answer, step), Credentials(), version=version,
                        deadline=Deadline(1))


def string(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def connack5(code: int = 0, properties: bytes = b"", flags: int = 0) -> bytes:
    body = bytes((flags, code, len(properties))) + properties
    return b"\x20" + bytes((len(body),)) + body


def test_connect_packet_3_1_1_is_what_the_standard_says() -> None:
    packet = mqtt.connect_packet("3.1.1", "abc", Credentials("u", "pw"))
    assert packet == (b"\x10\x16" + b"\x00\x04MQTT\x04\xc2\x00\x3c" + b"\x00\x03abc"
                      + b"\x00\x01u" + b"\x00\x02pw")


def test_connect_packet_5_has_empty_properties_and_clean_start() -> None:
    assert mqtt.connect_packet("5", "abc", Credentials()) == (
        b"\x10\x10" + b"\x00\x04MQTT\x05\x02\x00\x3c\x00" + b"\x00\x03abc")


def test_client_ids_differ_and_keep_their_prefix() -> None:
    credentials = Credentials(client_id_prefix="probe-")
    ids = {credentials.new_client_id() for _ in range(50)}
    assert len(ids) == 50
    assert all(client_id.startswith("probe-") for client_id in ids)


def test_a_password_is_not_in_the_repr() -> None:
    assert "hunter2" not in repr(Credentials("u", "hunter2"))


def test_connack_of_version_5_tells_who_the_target_is() -> None:
    properties = (b"\x21\x00\x0a" + b"\x26" + string("product") + string("thing")
                  + b"\x1c" + string("other:8883") + b"\x26" + string("version") + string("1.2"))
    connack = connect(connack5(0, properties, flags=1))
    assert connack == mqtt.Connack("5", True, (("product", "thing"), ("version", "1.2")),
                                   "other:8883")


def test_connack_of_version_3() -> None:
    assert connect(b"\x20\x02\x00\x00", "3.1.1") == mqtt.Connack("3.1.1", False)


@pytest.mark.parametrize(("answer", "version"), [
    (b"\x20\x02\x00\x01", "3.1.1"), (b"\x20\x02\x00\x01", "5"), (connack5(0x84), "5")])
def test_an_unsupported_version_can_be_told(answer: bytes, version: str) -> None:
    with pytest.raises(mqtt.UnsupportedVersionError):
        connect(answer, version)


@pytest.mark.parametrize(("answer", "version", "cause", "says"), [
    (connack5(0x86), "5", "mqtt_refused", "bad user name or password \\(0x86\\)"),
    (b"\x20\x02\x00\x05", "3.1.1", "mqtt_refused", "not authorized \\(0x05\\)"),
    (b"", "5", "mqtt_closed", "closed the connection"),
    (b"\x20\x03\x00", "5", "mqtt_closed", "closed the connection"),
    (b"\x30\x02\x00\x00", "5", "mqtt_malformed", "no CONNACK"),
    (b"\x20\xff\xff\xff\xff\xff", "5", "mqtt_malformed", "malformed MQTT length"),
    (b"\x20\xff\xff\xff\x7f", "5", "mqtt_malformed", "announced a packet of 268435455 bytes"),
    (b"\x20\x01\x00", "5", "mqtt_malformed", "fewer than 2"),
    (b"\x20\x02\x00\x00", "5", "mqtt_malformed", "without properties"),
    (connack5(0, b"\x26\x00\xffx"), "5", "mqtt_malformed", "middle of a string"),
    (connack5(0, b"\x7f"), "5", "mqtt_malformed", "unknown property 0x7f"),
])
def test_what_is_no_acceptance_is_refused_with_a_reason(
        answer: bytes, version: str, cause: str, says: str) -> None:
    with pytest.raises(mqtt.MqttError, match=says) as caught:
        connect(answer, version)
    assert caught.value.cause == cause


@given(st.binary(max_size=80), st.sampled_from(["3.1.1", "5"]), st.integers(1, 9))
def test_arbitrary_answers_raise_nothing_but_its_own_error(
        answer: bytes, version: str, step: int) -> None:
    try:
        assert connect(answer, version, step).version == version
    except mqtt.MqttError as error:
        assert error.cause.startswith("mqtt_")


@given(st.binary(max_size=60))
def test_arbitrary_connacks_raise_nothing_but_its_own_error(body: bytes) -> None:
    try:
        mqtt.parse_connack("5", b"\x00\x00" + body)
    except mqtt.MqttError as error:
        assert error.cause == "mqtt_malformed"


def test_every_server_takes_the_ids_that_are_made_by_default() -> None:
    # MQTT 3.1.1 and 5.0, MQTT-3.1.3-5.
    ids = {Credentials().new_client_id() for _ in range(50)}
    assert len(ids) == 50
    assert all(re.fullmatch("[0-9A-Za-z]{1,23}", made) for made in ids)
    assert CONTRACT["resumption_mqtt_client_id_prefix"]["default"] == \
        Credentials().client_id_prefix
