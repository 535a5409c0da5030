"""The openssl program's own server with MQTT spoken on it, one connection at a time."""
from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import threading
import time
from pathlib import Path

from tests.support.mqtt_broker import Clients, HangUpError, MqttClient

SESSION_CACHE_MAX = 128
"""Sessions that s_server remembers (apps/s_server.c: SSL_CTX_sess_set_cache_size)."""
_START_S = 10.0


def port_of(pid: int) -> int:
    """Return the port on which a process comes to listen."""
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        listing = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True)
        found = re.findall(rf":(\d+) .*pid={pid},", listing.stdout)
        if found:
            return int(found[0])
        time.sleep(0.05)
    raise AssertionError(f"process {pid} listens nowhere")


class SServerBroker:
    """``openssl s_server``, whose standard input and output a broker answers on."""

    def __init__(self, cert_file: Path, key_file: Path, *options: str) -> None:
        # With -quiet standard input and output carry the application data and nothing else.
        self._server = subprocess.Popen(
            ["openssl", "s_server", "-accept", "127.0.0.1:0", "-quiet", "-tls1_2",
             "-cert", str(cert_file), "-key", str(key_file), *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
        self._clients = Clients()
        self._pipes = threading.Thread(target=self._serve, daemon=True)
        self._pipes.start()
        try:
            self.port = port_of(self._server.pid)
        except BaseException:
            self.stop()
            raise

    def _serve(self) -> None:
        """Serve client after client: what they say comes as one stream of packets."""
        pipes, unread, at_end = _Pipes(self._server), b"", False
        while not at_end:
            client = MqttClient(self._clients, pipes, unread)
            with contextlib.suppress(HangUpError):
                try:
                    client.serve()
                except OSError:
                    return
            unread, at_end = client.unread, client.at_end

    def stop(self) -> None:
        """End the server."""
        self._server.kill()
        self._server.wait()
        self._pipes.join(5)
        for pipe in (self._server.stdin, self._server.stdout):
            assert pipe is not None
            pipe.close()


class _Pipes:
    """As much of a TLS socket as the broker uses."""

    def __init__(self, server: subprocess.Popen[bytes]) -> None:
        assert server.stdin is not None
        assert server.stdout is not None
        self._in, self._out = server.stdin.fileno(), server.stdout.fileno()
        self._timeout_s = _START_S

    def settimeout(self, value: float, /) -> None:
        self._timeout_s = value

    def recv(self, buflen: int, /) -> bytes:
        """Return application data, ``b""`` when the server is gone. Raises TimeoutError."""
        if not select.select([self._out], [], [], self._timeout_s)[0]:
            raise TimeoutError
        return os.read(self._out, buflen)

    def sendall(self, data: bytes, /) -> None:
        while data:
            data = data[os.write(self._in, data):]
