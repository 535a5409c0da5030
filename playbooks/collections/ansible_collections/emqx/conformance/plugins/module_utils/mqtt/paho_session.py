"""paho-mqtt on a probed connection: whole MQTT with all three witnesses of its TLS handshake.

paho takes its TLS from an SSL context, so that is where the engine's connection goes in: the
context given to paho hands out a socket behind which is the engine's conversation, resumed
session, transcript and key log included. (docs/paho-resumption.md shows how to do the same
with nothing but ``ssl``.)

paho's network loop is driven from here, by one thread and against deadlines. Importing this
module raises ImportError where paho-mqtt 2 is not installed.
"""
from __future__ import annotations

import select
import time
import traceback
from pathlib import Path
from typing import Any, Callable, cast

from ..lean_imports import without
from ..model import Failure
from ..tls.engine import Attempt, Stream
from ..tls.wire import TIMEOUT, Deadline, Interrupted, WireError
from .client import (
    MAX_PACKET,
    AclRefusedError,
    MqttError,
    PacketReader,
    UnsupportedVersionError,
    parse_connack,
    printable,
)
from .sessions import Accepted, Link, MqttIdentity

# paho asks the DNS for SRV records only, and the engine knows the address.
with without("dns"):
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

_PAHO = str(Path(paho.__file__).parent)
_KEEP_ALIVE_S = 60
_SLICE_S = 0.2
"""How long a wait may go on without looking whether the run was interrupted."""
_NOT_AUTHORIZED = 0x87
"""MQTT 5.0 2.4: also what paho makes of 3.1.1's CONNACK code 5."""
_PROTOCOLS = {"3.1.1": MQTTProtocolVersion.MQTTv311, "5": MQTTProtocolVersion.MQTTv5}


class _Socket:
    """What paho takes for a TLS socket."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._buffer = bytearray()
        self._received = 0
        self.attempt: Attempt | None = None
        self.head = bytearray()
        """The first bytes the target sent, for what paho does not tell about a CONNACK."""
        self.dry = False
        """Nothing was there the last time."""
        self.failure: Failure | None = None
        self.flooded = False

    def settimeout(self, seconds: float | None) -> None:
        """Do nothing: the engine keeps its own deadline."""

    def setblocking(self, flag: bool) -> None:
        """Do nothing: it never blocks."""

    def do_handshake(self) -> None:
        """Connect. Raises Interrupted, or ConnectionError when the handshake did not complete."""
        self.attempt = self._link.connect()
        if self.attempt.stream is None:
            raise ConnectionError(self.attempt.handshake.why)

    @property
    def stream(self) -> Stream:
        """The TLS connection."""
        if self.attempt is None or self.attempt.stream is None:
            raise ConnectionError("there is no TLS connection")
        return self.attempt.stream

    def recv(self, count: int) -> bytes:
        """Return up to ``count`` bytes. Raises BlockingIOError or ConnectionError."""
        if not self._buffer:
            self._fill()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _fill(self) -> None:
        try:
            data = self.stream.receive_now()
        except WireError as error:
            self.failure = error.failure
            raise ConnectionError(str(error)) from error
        self.dry = data is None
        if data is None:
            raise BlockingIOError
        self._received += len(data)
        if self._received > MAX_PACKET:
            self.flooded = True
            raise ConnectionError("too much data")
        if len(self.head) < 1024:
            self.head += data
        self._buffer += data

    def send(self, data: bytes) -> int:
        """Send all of ``data``. Raises Interrupted or ConnectionError."""
        try:
            self.stream.send(bytes(data), Deadline(self._link.deadline_s, self._link.stop))
        except WireError as error:
            self.failure = error.failure
            raise ConnectionError(str(error)) from error
        return len(data)

    def pending(self) -> int:
        """Return how many bytes can be had without the network."""
        return len(self._buffer)

    def fileno(self) -> int:
        """Return what can be polled."""
        return self.stream.fileno()

    def close(self) -> None:
        """Say close_notify and close; more than once does no harm."""
        if self.attempt is not None and self.attempt.stream is not None:
            self.attempt.stream.close()


class _Context:
    """What paho takes for an SSLContext: it hands out the one connection it was made for."""

    check_hostname = True
    """The engine has compared the names; paho must not do it again, in its own way."""

    def __init__(self, socket: _Socket) -> None:
        self._socket = socket

    def wrap_socket(self, _sock: Any, **_options: Any) -> _Socket:
        """Return the socket that connects when paho tells it to shake hands."""
        return self._socket


class _Client(paho.Client):
    """paho's client, with the two things its public interface lacks."""

    pongs = 0

    def _create_socket_connection(self) -> Any:
        # paho's TCP connect cannot be interrupted, so the engine makes that connection too.
        return None

    def ping(self) -> None:
        """Send PINGREQ now; by itself paho does so after a keep-alive's silence only."""
        self._send_pingreq()

    def _handle_pingresp(self) -> MQTTErrorCode:
        done = super()._handle_pingresp()
        self.pongs += done == MQTTErrorCode.MQTT_ERR_SUCCESS
        return done


class _Head:
    """Recorded bytes as a stream."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Do nothing."""

    def receive(self, deadline: Deadline) -> bytes:  # noqa: ARG002 - ByteStream's signature
        """Return everything, then the end."""
        data, self._data = self._data, b""
        return data


class PahoConnection:
    """One connection of one MQTT client. Used by one thread; starts none."""

    def __init__(self, link: Link, identity: MqttIdentity) -> None:
        self._link, self._identity = link, identity
        self._socket = _Socket(link)
        self._client = self._new_client()
        self._connack: tuple[paho.ConnectFlags, ReasonCode, Properties | None] | None = None
        self._subacks: dict[int, list[ReasonCode]] = {}
        self._pubacks: dict[int, ReasonCode] = {}
        self._messages: list[tuple[str, bytes]] = []
        self._told_to_go: ReasonCode | None = None
        self._over = False

    def _new_client(self) -> _Client:
        link, identity = self._link, self._identity
        five = link.version == "5"
        client = _Client(CallbackAPIVersion.VERSION2, identity.client_id,
                         clean_session=None if five else identity.clean_start,
                         protocol=_PROTOCOLS[link.version], reconnect_on_failure=False)
        if link.credentials.username is not None or link.credentials.password is not None:
            client.username_pw_set(link.credentials.username or "", link.credentials.password)
        client.tls_set_context(cast(Any, _Context(self._socket)))
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        return client

    # -- What paho tells ---------------------------------------------------------------------------

    def _on_connect(self, _client: paho.Client, _data: Any, flags: paho.ConnectFlags,
                    reason: ReasonCode, properties: Properties | None) -> None:
        self._connack = (flags, reason, properties)

    def _on_subscribe(self, _client: paho.Client, _data: Any, mid: int,
                      reasons: list[ReasonCode], _properties: Properties | None) -> None:
        self._subacks[mid] = reasons

    def _on_publish(self, _client: paho.Client, _data: Any, mid: int, reason: ReasonCode,
                    _properties: Properties) -> None:
        self._pubacks[mid] = reason

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self._messages.append((message.topic, bytes(message.payload)))

    def _on_disconnect(self, _client: paho.Client, _data: Any, flags: paho.DisconnectFlags,
                       reason: ReasonCode, _properties: Properties | None) -> None:
        self._over = True
        if flags.is_disconnect_packet_from_server:
            self._told_to_go = reason

    # -- What the caller asks for ------------------------------------------------------------------

    @property
    def attempt(self) -> Attempt | None:
        """The TLS connection and its evidence; None before :meth:`open`."""
        return self._socket.attempt

    def open(self) -> bool:
        """Make the TLS connection and send CONNECT.

        Returns False when the handshake did not complete: ``attempt`` says why.

        Raises:
            MqttError: CONNECT could not be sent.
            Interrupted: the run was asked to stop.
        """
        identity = self._identity
        extra: dict[str, Any] = {}
        if self._link.version == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            if identity.expiry_s:
                properties.SessionExpiryInterval = identity.expiry_s
            extra = {"clean_start": identity.clean_start, "properties": properties}
        self._begun = time.monotonic()
        try:
            # The engine knows the address; paho wants to be told one all the same.
            sent = self._client.connect("target", keepalive=_KEEP_ALIVE_S, **extra)
        except ConnectionError:
            return False
        if sent != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise self._closed("taking CONNECT")
        return True

    def await_connack(self) -> Accepted:
        """Return what the target granted.

        Raises:
            UnsupportedVersionError: the target does not speak this version.
            MqttError: refused, closed, malformed, or late.
            Interrupted: the run was asked to stop.
        """
        try:
            self._await(lambda: self._connack is not None, "mqtt_timeout", "CONNECT")
        except MqttError as error:
            raise self._why_not_connected(error) from error
        connack_ms = round((time.monotonic() - self._begun) * 1000, 3)
        if self._connack is None or self._connack[1].is_failure:
            raise self._why_not_connected(MqttError("mqtt_refused", "CONNECT was refused"))
        flags, _, properties = self._connack
        expiry: int | None = None
        if self._link.version == "5":
            # Absent means: as asked for (MQTT 5.0 3.2.2.3.2).
            expiry = getattr(properties, "SessionExpiryInterval", self._identity.expiry_s)
        assigned: str | None = getattr(properties, "AssignedClientIdentifier", None)
        return Accepted(flags.session_present, expiry,
                        None if assigned is None else printable(assigned), connack_ms)

    def _why_not_connected(self, error: MqttError) -> MqttError:
        """Read the CONNACK ourselves: paho tells some refusals by an error code alone."""
        head = bytes(self._socket.head)
        if error.cause == "mqtt_timeout" or not head or self._socket.flooded:
            return error
        try:
            first, body = PacketReader(_Head(head)).packet(Deadline(1.0))
            if first == 0x20:
                parse_connack(self._link.version, body)
        except MqttError as refusal:
            return refusal
        return MqttError("mqtt_malformed", "the target answered CONNECT with something that is "
                                           "no CONNACK paho-mqtt could read")

    def subscribe(self, topic: str) -> int:
        """Subscribe with QoS 1 and return the QoS granted.

        Raises:
            AclRefusedError: SUBACK refused.
            MqttError, Interrupted: as :meth:`await_connack`; ``no_suback`` when late.
        """
        _, mid = self._client.subscribe(topic, qos=1)
        self._await(lambda: mid in self._subacks, "no_suback", "SUBSCRIBE", topic)
        (reason,) = self._subacks[mid or 0][:1] or (None,)
        if reason is None:
            raise MqttError("mqtt_malformed", "the target answered SUBSCRIBE without a reason code")
        if reason.is_failure:
            raise AclRefusedError("acl_refused", f"SUBSCRIBE to {topic} was refused: "
                                                 f"{_named(reason)}")
        return reason.value

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1 and wait for PUBACK.

        Raises:
            AclRefusedError: PUBACK refused.
            MqttError, Interrupted: as :meth:`await_connack`; ``no_puback`` when late.
        """
        mid = self._client.publish(topic, payload, qos=1).mid
        self._await(lambda: mid in self._pubacks, "no_puback", "PUBLISH", topic)
        reason = self._pubacks[mid]
        if reason.is_failure:
            raise AclRefusedError("acl_refused", f"PUBLISH to {topic} was refused: "
                                                 f"{_named(reason)}")

    def await_message(self, topic: str, payload: bytes, late: str) -> None:
        """Wait for the message; ``late`` is the token when it does not come.

        Raises:
            MqttError: also ``payload_changed`` when another one comes on this topic.
            Interrupted: the run was asked to stop.
        """
        self._await(lambda: any(name == topic for name, _ in self._messages), late,
                    None, topic)
        got = next(data for name, data in self._messages if name == topic)
        if got != payload:
            raise MqttError("payload_changed", f"the message on {topic} came back with another "
                                               "payload")

    def ping(self) -> None:
        """Send PINGREQ and wait for PINGRESP. Raises MqttError (``no_pingresp``), Interrupted."""
        before = self._client.pongs
        self._client.ping()
        self._await(lambda: self._client.pongs > before, "no_pingresp", "PINGREQ")

    def disconnect(self) -> None:
        """Send DISCONNECT and close. Raises MqttError, Interrupted."""
        if self._over or self._client.disconnect() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise self._closed("waiting for DISCONNECT")

    def close(self) -> None:
        """Close whatever is open; more than once does no harm."""
        self._socket.close()

    # -- The network loop --------------------------------------------------------------------------

    def _await(self, there: Callable[[], bool], late: str, asked: str | None,
               topic: str = "") -> None:
        deadline = Deadline(self._link.deadline_s, self._link.stop, setting=TIMEOUT)
        while not there():
            if self._over:
                if (self._told_to_go is not None and topic
                        and self._told_to_go.value == _NOT_AUTHORIZED):
                    raise AclRefusedError("acl_refused", f"{asked or 'the message'} on {topic} was "
                                          f"answered by DISCONNECT: {_named(self._told_to_go)}")
                raise self._closed(f"answering {asked}" if asked else "sending the message")
            left = deadline.left()
            if left <= 0:
                what = f"did not answer {asked}" if asked else f"sent no message on {topic}"
                raise MqttError(late, f"the target {what} within {deadline.told}")
            self._turn(min(left, _SLICE_S))

    def _turn(self, seconds: float) -> None:
        """Let paho read and write once, waiting for the network at most so long."""
        if self._socket.dry:
            poller = select.poll()
            poller.register(self._socket.fileno(), select.POLLIN)
            if not poller.poll(seconds * 1000):
                return
        try:
            result = self._client.loop_read()
            if self._client.want_write():
                self._client.loop_write()
        except Interrupted:
            raise
        except Exception as problem:
            # What our own code raises, below paho, must not be called the target's.
            if not traceback.extract_tb(problem.__traceback__)[-1].filename.startswith(_PAHO):
                raise
            # paho decodes what the target sent; not every bad packet is a MalformedPacket to it.
            raise MqttError("mqtt_malformed", "paho-mqtt could not read what the target sent "
                                              f"({type(problem).__name__})") from problem
        if result == MQTTErrorCode.MQTT_ERR_PROTOCOL:
            raise MqttError("mqtt_malformed", "the target broke the MQTT protocol")
        self._over = self._over or result != MQTTErrorCode.MQTT_ERR_SUCCESS

    def _closed(self, instead_of: str) -> MqttError:
        if self._socket.flooded:
            return MqttError("mqtt_malformed", f"the target sent more than {MAX_PACKET} bytes "
                                               "that nobody asked for")
        if self._told_to_go is not None:
            how = f"sent DISCONNECT ({_named(self._told_to_go)})"
        elif self._socket.failure is not None:
            how = f"broke the connection ({self._socket.failure.detail})"
        else:
            how = "closed the connection"
        return MqttError("mqtt_closed", f"the target {how} instead of {instead_of}")


def _named(reason: ReasonCode) -> str:
    return f"{reason.getName().lower()} (0x{reason.value:02x})"


__all__ = ["Accepted", "AclRefusedError", "Link", "MqttError", "MqttIdentity",
           "PahoConnection", "UnsupportedVersionError"]
