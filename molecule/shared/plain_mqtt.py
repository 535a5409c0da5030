"""Just enough MQTT 3.1.1 to hear a message, written from the standard and from nothing else."""
from __future__ import annotations

import secrets
import socket
import ssl
from types import TracebackType

TIMEOUT_S = 10.0
CONNECT, CONNACK, PUBLISH, SUBSCRIBE, SUBACK = 0x10, 0x20, 0x30, 0x82, 0x90
PACKET_ID = b"\x00\x01"


class Client:
    """One MQTT connection over one TLS connection, in which a session may be offered."""

    def __init__(self, context: ssl.SSLContext, port: int,
                 session: ssl.SSLSession | None = None,
                 credentials: tuple[str, str] | None = None) -> None:
        """Connect to a port of loopback, TLS and MQTT; the client id is one nobody else has.

        Raises:
            OSError: no TCP, no TLS, or no answer in time.
            AssertionError: the answer is no CONNACK that accepts.
        """
        plain = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._tls = context.wrap_socket(plain, server_hostname="127.0.0.1", session=session)
        client_id = f"molecule-{secrets.token_hex(4)}"
        # Clean session, with or without user name and password (MQTT 3.1.1, 3.1.2.3).
        flags = bytes((0xC2 if credentials else 0x02,))
        keep_alive_s = (60).to_bytes(2, "big")
        try:
            self._send(CONNECT, _text("MQTT") + b"\x04" + flags + keep_alive_s + b"".join(
                _text(text) for text in (client_id, *(credentials or ()))))
            assert self._receive(CONNACK) == b"\x00\x00"
        except BaseException:
            self._tls.close()
            raise

    def __enter__(self) -> Client:
        """Nothing but itself: the connection stands already."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Say DISCONNECT and close_notify, so that nobody has a reason to drop the session."""
        self._tls.sendall(b"\xe0\x00")
        self._tls.unwrap().close()

    @property
    def session(self) -> ssl.SSLSession | None:
        """The TLS session of this connection."""
        return self._tls.session

    @property
    def session_reused(self) -> bool:
        """Whether the offered session was resumed."""
        return bool(self._tls.session_reused)

    def subscribe(self, topic: str) -> None:
        """Subscribe at QoS 0 and wait for the SUBACK."""
        self._send(SUBSCRIBE, PACKET_ID + _text(topic) + b"\x00")
        assert self._receive(SUBACK) == PACKET_ID + b"\x00"

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 0."""
        self._send(PUBLISH, _text(topic) + payload)

    def message(self) -> tuple[str, bytes]:
        """Return topic and payload of the next message."""
        body = self._receive(PUBLISH)
        end = 2 + int.from_bytes(body[:2], "big")
        return body[2:end].decode(), body[end:]

    def _send(self, kind: int, body: bytes) -> None:
        assert len(body) < 128, "longer packets have a longer length field"
        self._tls.sendall(bytes((kind, len(body))) + body)

    def _receive(self, kind: int) -> bytes:
        first, length = self._exactly(2)
        assert first == kind, f"0x{first:02x} instead of 0x{kind:02x}"
        return self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._tls.recv(count - len(data))
            assert more, "the node closed the connection"
            data += more
        return data


def _text(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()
