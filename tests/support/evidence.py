"""Whether a server deviates as a check says, found out without this project's clients.

``openssl s_client`` and the ClientHello of Python's ssl do the talking, with a relay of bytes
between them and the server where something has to be said that neither says.
"""
from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from tests.support.openssl_cli import make_session
from tests.support.peers import Asked

_TIMEOUT_S = 10.0
_HANDSHAKE, _ALERT = 22, 21
_OTHER_SUITES = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
"""Not what any of the servers prefers."""
_WITHOUT_EMS = """\
openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = defaults
[defaults]
Options = -ExtendedMasterSecret
"""


def _options(server: Asked, *more: str) -> list[str]:
    return ["-tls1_2", "-no_ticket", "-servername", "localhost", "-CAfile", str(server.ca), *more]


def _s_client(server: Asked, *more: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", *_options(server, *more)],
        input="", capture_output=True, text=True, check=False, timeout=_TIMEOUT_S,
        env={**os.environ, **(environment or {})})
    return done.stdout + done.stderr


def _new_or_reused(output: str) -> str:
    found = re.search(r"^(New|Reused), TLSv1\.2, ", output, re.MULTILINE)
    assert found, output
    return found[1]


def resumes_with_unoffered_suite(server: Asked, folder: Path) -> bool:
    """NEG-05: s_client offers its session, and suites without the session's."""
    path = folder / "suite.pem"
    made = make_session(path, server.port, *_options(server))
    assert not any(f"Cipher is {suite}" in made for suite in _OTHER_SUITES.split(":")), made
    output = _s_client(server, "-sess_in", str(path), "-cipher", _OTHER_SUITES)
    if "wrong cipher returned" in output:
        return True
    assert _new_or_reused(output) == "New"
    return False


class _Relay:
    """Relays one connection, and can say something to the server on its own."""

    def __init__(self, server: Asked) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_TIMEOUT_S)
        self.port: int = self._listener.getsockname()[1]
        self._server = socket.create_connection(("127.0.0.1", server.port), _TIMEOUT_S)
        self.ended = threading.Event()
        """Set when the server has closed."""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client:
            back = threading.Thread(target=self._back, args=(client,), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while data := client.recv(16384):
                    self._server.sendall(data)
            back.join(_TIMEOUT_S)

    def _back(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := self._server.recv(16384):
                client.sendall(data)
        self.ended.set()
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def say(self, data: bytes) -> None:
        self._server.sendall(data)

    def close(self) -> None:
        for one in (self._server, self._listener):
            one.close()
        self._thread.join(_TIMEOUT_S)


def resumes_after_fatal_alert(server: Asked, folder: Path) -> bool:
    """NEG-08: a record that nobody can decrypt makes the server end s_client's session fatally."""
    path = folder / "alert.pem"
    relay = _Relay(server)
    client = subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{relay.port}",
         *_options(server, "-sess_out", str(path))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert client.stdout is not None
        while not (line := client.stdout.readline()).startswith("    Verify return code"):
            assert line
        relay.say(b"\x17\x03\x03\x00\x28" + bytes(40))
        assert relay.ended.wait(_TIMEOUT_S), "the server did not mind"
    finally:
        client.kill()
        client.communicate()
        relay.close()
    return _new_or_reused(_s_client(server, "-sess_in", str(path))) == "Reused"


def _client_hello(server: Asked) -> bytes:
    """Return a ClientHello of OpenSSL's without the record's header."""
    context = ssl.create_default_context(cafile=str(server.ca))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()[5:]


def _record(fragment: bytes) -> bytes:
    return b"\x16\x03\x01" + len(fragment).to_bytes(2, "big") + fragment


def _answered(server: Asked, data: bytes) -> bool:
    """Send this and tell whether a handshake message comes back, and not an alert or nothing."""
    with socket.create_connection(("127.0.0.1", server.port), _TIMEOUT_S) as connection:
        connection.sendall(data)
        first = connection.recv(1)
    assert first in (b"", bytes((_HANDSHAKE,)), bytes((_ALERT,)))
    return first == bytes((_HANDSHAKE,))


def accepts_long_id(server: Asked, _: Path) -> bool:
    """NEG-03: a ClientHello of OpenSSL's, with a session ID of 33 bytes put in."""
    hello = _client_hello(server)
    assert hello[0] == 1
    # Message type, length; version, random; the session ID's length and the ID.
    assert hello[38] == 0
    body = hello[4:38] + b"\x21" + bytes(range(33)) + hello[39:]
    return _answered(server, _record(hello[:1] + len(body).to_bytes(3, "big") + body))


def breaks_on_tiny_records(server: Asked, _: Path) -> bool:
    """NEG-12: a ClientHello of OpenSSL's in records of 3 bytes; in records of 100 it must work."""
    hello = _client_hello(server)

    def split(size: int) -> bytes:
        return b"".join(_record(hello[at:at + size]) for at in range(0, len(hello), size))

    assert _answered(server, split(100))
    return not _answered(server, split(3))


def mistakes_extended_master_secret(server: Asked, folder: Path) -> bool:
    """NEG-10: not negotiated at all, or not insisted on when its session is offered without."""
    path = folder / "ems.pem"
    if "Extended master secret: yes" not in make_session(path, server.port, *_options(server)):
        return True
    config = folder / "openssl.cnf"
    config.write_text(_WITHOUT_EMS)
    output = _s_client(server, "-sess_in", str(path), environment={"OPENSSL_CONF": str(config)})
    if re.search(r"alert number 40|alert handshake failure", output):
        return False
    assert _new_or_reused(output) == "New"
    assert "Extended master secret: no" in output
    return True


def serves_one_at_a_time(server: Asked, _: Path) -> bool:
    """CORE-07: whether a second s_client waits as long as a first one stands."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", *_options(server)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as first:
        assert first.stdout is not None
        while "Cipher is ECDHE" not in (line := first.stdout.readline()):
            assert line
        try:
            # At the end of its standard input s_client closes, as soon as it has shaken hands.
            subprocess.run(command, input=b"", capture_output=True, timeout=2, check=False)
        except subprocess.TimeoutExpired:
            waited = True
        else:
            waited = False
        first.communicate("")
    assert "Cipher is ECDHE" in _s_client(server)
    return waited


EVIDENCE: dict[str, Callable[[Asked, Path], bool]] = {
    "CORE-07": serves_one_at_a_time, "NEG-03": accepts_long_id,
    "NEG-05": resumes_with_unoffered_suite, "NEG-08": resumes_after_fatal_alert,
    "NEG-10": mistakes_extended_master_secret, "NEG-12": breaks_on_tiny_records}
"""By the check that says so; each tells whether the server deviates."""
