"""Brokers that hang up before TLS, each for a reason of its own."""
from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.support.mqtt_broker import MqttBroker

_LINGER_0 = b"\1\0\0\0\0\0\0\0"
_SESSION_ID_LENGTH_AT = 43
"""Of a ClientHello: record header 5, message header 4, version 2, random 32 (RFC 5246 7.4.1.2)."""


class WatchedBroker(MqttBroker):
    """Remembers when each connection came."""

    def __init__(self, *files: Any, **options: Any) -> None:
        """See :class:`MqttBroker`."""
        self.came: list[float] = []
        self.on_connection: Callable[[], object] = lambda: None
        """Called at each, before the client hears anything."""
        self._watching = threading.Lock()
        super().__init__(*files, **options)

    def _serve(self, connection: socket.socket) -> None:
        with self._watching:
            self.came.append(time.monotonic())
            self.on_connection()
        super()._serve(connection)

    def most_in(self, seconds: float) -> int:
        """Return how many connections came within so many seconds, at most."""
        return max((sum(begin <= other < begin + seconds for other in self.came)
                    for begin in self.came), default=0)


class RateLimitingBroker(WatchedBroker):
    """Accepts so many connections a second, and then hangs up on everybody for a while.

    EMQX's listeners suspend their acceptors in this way beyond ``max_conn_rate``.
    """

    def __init__(self, *files: Any, per_second: int, shut_s: float = 0.7, resets: bool = False,
                 **options: Any) -> None:
        """``resets``: by RST and not by FIN."""
        self._per_second, self._shut_s, self._resets = per_second, shut_s, resets
        self._shut_until = 0.0
        self.turned_away = 0
        super().__init__(*files, **options)

    def _serve(self, connection: socket.socket) -> None:
        with self._watching:
            now = time.monotonic()
            lately = sum(now - came < 1 for came in self.came[-self._per_second:])
            if now >= self._shut_until and lately >= self._per_second:
                self._shut_until = now + self._shut_s
            allowed = now >= self._shut_until
            self.turned_away += not allowed
        if allowed:
            super()._serve(connection)
            return
        if self._resets:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        connection.close()


class NoResumptionBroker(WatchedBroker):
    """Hangs up on whoever offers a session, without a byte, and serves everybody else."""

    def _serve(self, connection: socket.socket) -> None:
        hello = connection.recv(256, socket.MSG_PEEK)
        if len(hello) > _SESSION_ID_LENGTH_AT and hello[_SESSION_ID_LENGTH_AT]:
            connection.close()
            return
        super()._serve(connection)


class ImpatientBroker(WatchedBroker):
    """Hangs up on clients that have not sent CONNECT within a second."""

    IDLE_S = 1.0

    def __init__(self, *files: Any, **options: Any) -> None:
        """See :class:`MqttBroker`."""
        self.hung_up = 0
        super().__init__(*files, **options)

    def _serve(self, connection: socket.socket) -> None:
        spoken = len(self.client_ids)

        def hang_up() -> None:
            if len(self.client_ids) == spoken:
                self.hung_up += 1
                with contextlib.suppress(OSError):  # its client has gone meanwhile
                    connection.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self.IDLE_S, hang_up)
        timer.start()
        try:
            super()._serve(connection)
        finally:
            timer.cancel()
