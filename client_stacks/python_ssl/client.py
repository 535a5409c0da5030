"""An MQTT client as a Python user's first one: paho-mqtt, which takes its TLS from Python's ssl."""
from __future__ import annotations

import contextlib
import json
import os
import ssl
import sys
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion


class Context(ssl.SSLContext):
    """Asks for a name where paho would ask for the address; offers a session once it has one."""

    server_name = ""
    session: ssl.SSLSession | None = None

    def wrap_socket(self, sock: Any, *_: Any, **options: Any) -> ssl.SSLSocket:
        """Return a TLS socket, as paho asks for one."""
        return super().wrap_socket(sock, **{
            **options, "server_hostname": self.server_name, "session": self.session})


def on_connect(client: mqtt.Client, seen: dict[str, Any], _flags: object,
               reason_code: Any, _properties: object) -> None:
    """Remember how it went, and leave."""
    tls: Any = client.socket()
    seen.update(connack=reason_code.value, resumed=tls.session_reused, session=tls.session)
    client.disconnect()


def say_close_notify(_client: object, _seen: object, tls: Any) -> None:
    """Close TLS before TCP: paho does not, and OpenSSL then forgets the session."""
    with contextlib.suppress(OSError, ValueError):
        tls.unwrap()


def connection(host: str, port: int, client_id: str, context: Context, *,
               told: bool) -> dict[str, Any]:
    """Connect, CONNECT, CONNACK, DISCONNECT; return what is said of it."""
    seen: dict[str, Any] = {"resumed": False, "connack": -1, "error": ""}
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, userdata=seen,
                         reconnect_on_failure=False)
    client.tls_set_context(context)
    if "MQTT_USERNAME" in os.environ:
        client.username_pw_set(os.environ["MQTT_USERNAME"], os.environ.get("MQTT_PASSWORD"))
    client.on_connect = on_connect
    if told:
        client.on_socket_close = say_close_notify
    try:
        client.connect(host, port)
        client.loop_forever()
    except OSError as error:  # ssl.SSLError is one
        seen["error"] = str(error)
    session = seen.pop("session", None)
    if told and session:
        context.session = session  # this is what makes it resume
    return seen


def main() -> None:
    """Connect so many times, one after the other."""
    host, port, ca, server_name, way, client_id, connections = sys.argv[1:]
    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = server_name
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(ca)
    if "CLIENT_CERT" in os.environ:
        context.load_cert_chain(os.environ["CLIENT_CERT"], os.environ["CLIENT_KEY"])
    for number in range(1, int(connections) + 1):
        seen = connection(host, int(port), client_id, context, told=way == "told")
        sys.stdout.write(json.dumps({
            "connection": number, "library": f"paho-mqtt, {ssl.OPENSSL_VERSION}", **seen}) + "\n")
        sys.stdout.flush()


main()
