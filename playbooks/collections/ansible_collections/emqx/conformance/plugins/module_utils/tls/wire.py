"""A TCP connection that keeps its deadline and can be interrupted."""
from __future__ import annotations

import contextlib
import errno
import functools
import os
import queue
import select
import socket
import threading
import time
from typing import Any

from ..model import Endpoint, Failure

_SLICE_S = 0.2
"""How long a wait may go on without looking whether the run was interrupted."""


class WireError(Exception):
    """The connection could not be made, broke, or missed its deadline."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


class Interrupted(Exception):  # noqa: N818 - not an error of anybody's
    """The run was asked to stop."""


TIMEOUT = "resumption_timeout"
"""The inventory's variable for how long a target may take."""


class Deadline:
    """A moment on the monotonic clock, and the event that may come before it."""

    def __init__(self, seconds: float, stop: threading.Event | None = None, *,
                 setting: str = "") -> None:
        """``setting``: the variable with which it can be made longer; empty: there is none."""
        self.seconds = seconds
        self.stop = stop
        self._setting = setting
        self._end = time.monotonic() + seconds

    @property
    def told(self) -> str:
        """How long it is, for people, and what makes it longer."""
        return within(self.seconds, self._setting)

    def left(self) -> float:
        """Return the seconds left, never negative.

        Raises:
            Interrupted: the run was asked to stop.
        """
        if self.stop is not None and self.stop.is_set():
            raise Interrupted
        return max(0.0, self._end - time.monotonic())


def within(seconds: float, setting: str = "") -> str:
    """Return how long something was waited for, and the variable that says so, if one does."""
    return f"the {seconds:g} s of {setting}" if setting else f"{seconds:g} s"


def late(stage: str, deadline: Deadline) -> WireError:
    """Return the error of a target that goes on beyond the deadline."""
    return WireError(Failure(stage, "timeout",
                             f"the target was not done within {deadline.told}"))


def _os_cause(error: OSError) -> tuple[str, str]:
    if isinstance(error, ConnectionRefusedError):
        return "connection_refused", "connection refused: nothing listens there"
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return "connection_reset", "the target reset the connection"
    return "io_error", (error.strerror or str(error)).lower()


@functools.lru_cache(maxsize=1024)
def _numeric(host: str, port: int) -> list[tuple[int, Any]]:
    """Return what a numeric address stands for. Raises OSError for a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [(int(family), address) for family, _, _, _, address in found]


def resolve(endpoint: Endpoint, deadline: Deadline) -> list[tuple[int, Any]]:
    """Return (address family, socket address) pairs for an endpoint.

    The resolver has no deadline of its own, so it runs in a thread that is left behind
    when it is late.

    Raises:
        WireError: the name does not resolve, or not in time.
    """
    # Numeric addresses need no thread.
    with contextlib.suppress(OSError):
        return _numeric(endpoint.host, endpoint.port)
    answers: queue.Queue[list[tuple[int, Any]] | OSError] = queue.Queue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
            answers.put([(int(family), address) for family, _, _, _, address in found])
        except (OSError, UnicodeError) as error:
            answers.put(error if isinstance(error, OSError) else OSError(str(error)))

    threading.Thread(target=ask, daemon=True).start()
    while True:
        left = deadline.left()
        try:
            answer = answers.get(timeout=min(left, _SLICE_S) or 0.001)
        except queue.Empty:
            if left <= 0:
                raise WireError(Failure("connect", "name_not_resolved",
                                        f"the name {endpoint.host} did not resolve within "
                                        f"{deadline.told}")) from None
            continue
        if isinstance(answer, OSError):
            raise WireError(Failure("connect", "name_not_resolved",
                                    f"the name {endpoint.host} does not resolve: "
                                    f"{(answer.strerror or str(answer)).lower()}"))
        return answer


class Wire:
    """A connected TCP socket that never waits for longer than a slice of time.

    The socket itself waits, in C. To poll it from here instead costs a quarter of the CPU of a
    whole resumed handshake.
    """

    def __init__(self, endpoint: Endpoint, deadline: Deadline) -> None:
        """Connect, trying each of the name's addresses in turn.

        Raises:
            WireError: with stage ``connect``.
        """
        self.stage = "connect"
        self._slice = 0.0
        last: WireError | None = None
        for family, address in resolve(endpoint, deadline):
            try:
                self._socket = self._connected(family, address, deadline)
            except WireError as error:
                last = error
                continue
            self.peer = str(address[0])
            self.stage = "handshake"
            return
        raise last or WireError(Failure("connect", "name_not_resolved",
                                        f"the name {endpoint.host} has no address"))

    def _connected(self, family: int, address: Any, deadline: Deadline) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._limit(sock, deadline.left())
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = sock.connect_ex(address)
            if code == errno.EWOULDBLOCK:
                self._wait_until_connected(sock, deadline)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
        except OSError as error:
            sock.close()
            raise WireError(Failure("connect", *_os_cause(error))) from error
        except BaseException:
            sock.close()
            raise
        return sock

    def _limit(self, sock: socket.socket, left_s: float) -> None:
        """Let the socket's next call wait for a slice, or for what is left when that is less."""
        # A timeout of 0 would mean another mode of the socket.
        slice_s = min(max(left_s, 0.001), _SLICE_S)
        if slice_s != self._slice:
            sock.settimeout(slice_s)
            self._slice = slice_s

    def _wait_until_connected(self, sock: socket.socket, deadline: Deadline) -> None:
        poller = select.poll()
        poller.register(sock, select.POLLOUT)
        while not poller.poll(min(self._left(deadline), _SLICE_S) * 1000):
            pass

    def _left(self, deadline: Deadline) -> float:
        """Return the seconds left after a wait that was in vain. Raises WireError."""
        left = deadline.left()
        if left <= 0:
            what = "did not accept the connection" if self.stage == "connect" else "did not answer"
            raise WireError(Failure(self.stage, "timeout",
                                    f"the target {what} within {deadline.told}"))
        return left

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send all of ``data``. Raises WireError."""
        sent, left = 0, deadline.left()
        while sent < len(data):
            self._limit(self._socket, left)
            try:
                sent += self._socket.send(data[sent:] if sent else data)
            except socket.timeout:
                left = self._left(deadline)
            except OSError as error:
                raise WireError(Failure(self.stage, *_os_cause(error))) from error

    def receive(self, deadline: Deadline) -> bytes:
        """Return the next bytes, ``b""`` at the end of the stream. Raises WireError."""
        # The deadline holds even against a peer that always has one more byte ready.
        left = deadline.left()
        if left <= 0:
            raise late(self.stage, deadline)
        while True:
            self._limit(self._socket, left)
            try:
                return self._socket.recv(65536)
            except socket.timeout:
                left = self._left(deadline)
            except OSError as error:
                raise WireError(Failure(self.stage, *_os_cause(error))) from error

    def end_sending(self) -> None:
        """Tell the peer that nothing more comes; it can still be heard. Raises WireError."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise WireError(Failure(self.stage, *_os_cause(error))) from error

    def receive_now(self) -> bytes | None:
        """Return the bytes that are already there, ``b""`` at the end, None when there are none.

        Raises WireError.
        """
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        if not poller.poll(0):
            return None
        try:
            return self._socket.recv(65536)
        except OSError as error:
            raise WireError(Failure(self.stage, *_os_cause(error))) from error

    def fileno(self) -> int:
        """Return the socket's descriptor, to be polled."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
