"""Servers that are hostile from the first byte, or at some point of a good conversation."""
from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlslite.messages import Message

from tests.faulty_servers import message_server
from tests.support.listening import Listening, Talk

LINGER_0 = b"\1\0\0\0\0\0\0\0"
"""struct linger: closing resets the connection."""
_STEP = 2**16


def heard(connection: socket.socket) -> None:
    """Take a ClientHello."""
    connection.recv(4096)


def says(data: bytes, *, resets: bool = False) -> Talk:
    """Say this and close, or reset."""
    def talk(connection: socket.socket) -> None:
        heard(connection)
        connection.sendall(data)
        if resets:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    return talk


def never_stops(unit: bytes, first: bytes = b"") -> Talk:
    """Say ``first``, and then the unit for ever."""
    many = unit * (_STEP // len(unit) + 1)

    def talk(connection: socket.socket) -> None:
        heard(connection)
        connection.sendall(first)
        while True:
            connection.sendall(many)
    return talk


def slowly(data: bytes, every_s: float = 0.02) -> Talk:
    """Say one byte at a time."""
    def talk(connection: socket.socket) -> None:
        heard(connection)
        for at in range(len(data)):
            connection.sendall(data[at:at + 1])
            time.sleep(every_s)
    return talk


def silent(connection: socket.socket) -> None:
    """Hear everything and say nothing."""
    while connection.recv(_STEP):
        pass


# -- hostile after a good handshake ----------------------------------------------------------------

@dataclass(frozen=True)
class Afterwards:
    """What a server says, rightly encrypted, once the handshake is over."""

    kind: int
    """The record's content type."""
    fragment: bytes
    forever: bool = True
    raw: bytes = b""
    """Said instead, as it is."""
    after_connect: bool = True
    """Whether CONNECT is waited for."""
    pause_s: float = 0.0
    """After each record."""


class TurnsHostile(message_server.MessageServer):
    """Makes good handshakes, and then says what it was told."""

    def __init__(self, cert_file: Path, key_file: Path, afterwards: Afterwards) -> None:
        self.afterwards = afterwards
        super().__init__(cert_file, key_file)

    def talk(self, connection: socket.socket) -> None:
        """Begin well."""
        _Hostile(self, connection).serve()


class _Hostile(message_server._Connection):
    def _mqtt(self) -> None:
        server: Any = self._server
        told: Afterwards = server.afterwards
        if told.after_connect:
            self._layer.recvMessageBlocking()
        if told.raw:
            while self._socket.send(told.raw) and told.forever:
                pass
            return
        while True:
            for _ in self._layer.sendRecord(Message(told.kind, bytearray(told.fragment))):
                pass
            time.sleep(told.pause_s)
            if not told.forever:
                return


# -- a good server behind a proxy ------------------------------------------------------------------

@dataclass(frozen=True)
class Damage:
    """What happens to the bytes of a good server, from a place on."""

    at: int
    """Bytes of the server that pass unharmed."""
    what: str
    """``flip``, ``insert``, ``drop`` a byte; ``close``, ``reset``, ``stall``; ``endless``."""
    data: bytes = b"\xff"
    """What is inserted, or comes without end; its first byte is what a byte is flipped with."""


class Proxy(Listening):
    """Stands before a good server and damages some connections."""

    def __init__(self, upstream: int, damages: Callable[[int], Damage | None]) -> None:
        """``damages`` is asked by the connection's number, from 0."""
        self.upstream, self.damages = upstream, damages
        self.connections = 0
        self._counting = threading.Lock()
        super().__init__()

    def talk(self, connection: socket.socket) -> None:
        """Pass on what both say."""
        with self._counting:
            damage = self.damages(self.connections)
            self.connections += 1
        with socket.create_connection(("127.0.0.1", self.upstream), 5) as server:
            other = threading.Thread(target=_pass_on, args=(connection, server), daemon=True)
            other.start()
            try:
                self._pass_back(connection, server, damage)
            finally:
                # The socket is only closed when nobody waits for it any more.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
                other.join(5)

    def _pass_back(self, connection: socket.socket, server: socket.socket,
                   damage: Damage | None) -> None:
        passed = 0
        while data := server.recv(_STEP):
            if damage is not None and passed + len(data) > damage.at:
                at = max(0, damage.at - passed)
                connection.sendall(data[:at])
                data = self._harm(connection, damage, data[at:])
                damage = None
            passed += len(data)
            connection.sendall(data)

    def _harm(self, connection: socket.socket, damage: Damage, data: bytes) -> bytes:
        if damage.what == "flip":
            return bytes((data[0] ^ (damage.data[0] or 1),)) + data[1:]
        if damage.what == "insert":
            return damage.data + data
        if damage.what == "drop":
            return data[1:]
        if damage.what == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        if damage.what == "stall":
            # The client hears nothing more; that it has gone is heard by the other thread.
            while not self.stopped.wait(0.05) and _open(connection):
                pass
        if damage.what == "endless":
            while True:
                connection.sendall(damage.data * (_STEP // len(damage.data)))
        raise OSError("the connection is over")


def _open(connection: socket.socket) -> bool:
    """Tell whether the client has not closed; what it says is for the other thread."""
    with contextlib.suppress(BlockingIOError, TimeoutError):
        connection.setblocking(False)
        try:
            return connection.recv(1, socket.MSG_PEEK) != b""
        finally:
            connection.settimeout(5)
    return True


def _pass_on(client: socket.socket, server: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError):
        while data := client.recv(_STEP):
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)
