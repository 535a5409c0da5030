"""The one way in which servers of tests accept, serve and stop."""
from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import ClassVar

from tests.support.held_ports import close_and_hold


class Listening:
    """Serves each client in a thread of its own, on a port of loopback, until :meth:`stop`."""

    ends: ClassVar[tuple[type[Exception], ...]] = (OSError,)
    """What may end a conversation and is nothing to tell."""
    silence_s: float | None = 5.0
    """How long a client may be silent; None: for ever."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Begin to accept: what :meth:`talk` needs must be there already. 0 is any free port."""
        self.accepted = 0
        """Connections, whatever came of them."""
        self.stopped = threading.Event()
        self._listener = socket.create_server(
            (host, port), backlog=64,
            family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self.arrives(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(*self.ends), connection:
            connection.settimeout(self.silence_s)
            self.talk(connection)

    def arrives(self, connection: socket.socket) -> None:
        """Take note of a client, one at a time, before it is served."""

    def talk(self, connection: socket.socket) -> None:
        """Serve one client; its connection is closed afterwards."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop listening; a later connection is refused."""
        self.stopped.set()
        close_and_hold(self._listener, self)
        self._thread.join(5)


Talk = Callable[[socket.socket], None]


class Talking(Listening):
    """Has the same talk with each client, whatever it may be."""

    def __init__(self, talk: Talk, *, silence_s: float | None = 5.0) -> None:
        self._talk, self.silence_s = talk, silence_s
        super().__init__()

    def talk(self, connection: socket.socket) -> None:
        """Have it."""
        self._talk(connection)


@contextlib.contextmanager
def talking(talk: Talk, *, silence_s: float | None = 5.0) -> Iterator[int]:
    """Yield the port of a server that has this talk with each client."""
    server = Talking(talk, silence_s=silence_s)
    try:
        yield server.port
    finally:
        server.stop()
