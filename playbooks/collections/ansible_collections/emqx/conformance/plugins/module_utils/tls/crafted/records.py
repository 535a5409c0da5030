"""A crafted client's connection: records, messages and application data, and how they end."""
from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import Iterator
from typing import Any

from ...lean_imports import parts_of
from ...model import Failure
from ..transcript import (
    ALERT,
    ALERT_DESCRIPTIONS,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    Transcript,
    TranscriptError,
)
from ..wire import Deadline, Interrupted, Wire, WireError, late
from .openssl import Layer

with parts_of("tlslite"):
    from tlslite.constants import AlertLevel
    from tlslite.defragmenter import Defragmenter
    from tlslite.errors import TLSAbruptCloseError
    from tlslite.messages import Alert as AlertMessage
    from tlslite.messages import ApplicationData
    from tlslite.utils.rijndael import Rijndael

# For each key a decorator reads the source file that asks for one, to warn of an old name of this
# class: that takes longer than the handshake.
Rijndael.__init__ = inspect.unwrap(Rijndael.__init__)

_MAX_HANDSHAKE = 2**18
"""Bytes that a target may send before its handshake must be over."""
_PAUSE_S = 0.002
"""Between TCP segments, so that a target reads them one by one."""
LAST_WORDS_S = 1.0
"""How long a target may take to close a connection that we have ended."""


class EndError(Exception):
    """The handshake ended, in a way that the target chose."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.failure = Failure("handshake", cause, detail)


class RejectedError(Exception):
    """Our library rejected what the target sent."""


class AlertError(Exception):
    """The target raised a fatal alert."""

    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.description = description


class Pipe:
    """What tlslite-ng takes for a socket: the wire, with the transcript beside it."""

    def __init__(self, wire: Wire, deadline: Deadline) -> None:
        self.wire, self.deadline = wire, deadline
        self.transcript = Transcript()
        self.handshaking = True
        self._buffer = bytearray()
        self._unsent = bytearray()
        self._received = 0

    def send(self, data: bytes) -> int:
        """Keep it until the flight is whole: see :meth:`flush`."""
        self._unsent += data
        return len(data)

    def flush(self, segment_size: int | None = None) -> None:
        """Put a flight on the wire: in one piece, or in TCP segments of so many bytes.

        A target that refuses its first record and closes would reset the connection on a second
        piece, and sending that would fail before its alert is read.
        """
        data = bytes(self._unsent)
        self._unsent.clear()
        if not data:
            return
        self.transcript.feed("client", data)
        if segment_size is None:
            self.wire.send(data, self.deadline)
        else:
            self._send_in_segments(data, segment_size)

    def _send_in_segments(self, data: bytes, size: int) -> None:
        for at in range(0, len(data), size):
            if at:
                time.sleep(min(_PAUSE_S, self.deadline.left()))
            try:
                self.wire.send(data[at:at + size], self.deadline)
            except WireError as error:
                if error.failure.cause != "connection_reset":
                    raise
                # What the target said before it closed is still to be read.
                return

    def recv(self, count: int) -> bytes:
        # Between two records too: what is in the buffer takes seconds to decrypt in Python.
        if self.deadline.left() <= 0:
            raise late(self.wire.stage, self.deadline)
        if not self._buffer:
            self.fill()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def fill(self) -> None:
        """Say what is still to be said, and take what the target sends next."""
        self.flush()
        data = self.wire.receive(self.deadline)
        self._received += len(data)
        if self.handshaking and self._received > _MAX_HANDSHAKE:
            raise TranscriptError(f"the target sent more than {_MAX_HANDSHAKE} bytes in one "
                                  "handshake")
        self.transcript.feed("server", data)
        self._buffer += data

    def wait_for_end(self, deadline: Deadline) -> bool:
        """Read on until the target closes; tell whether it did. What it still says is not kept."""
        try:
            while self.wire.receive(deadline):
                pass
        except WireError as error:
            return error.failure.cause != "timeout"
        return True


class Records:
    """Messages of one connection, encrypted or not."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        sorter = Defragmenter()
        sorter.add_static_size(CHANGE_CIPHER_SPEC, 1)
        sorter.add_static_size(ALERT, 2)
        sorter.add_dynamic_size(HANDSHAKE, 1, 3)
        self.layer = Layer(pipe, sorter)
        self.layer.client = True
        self.layer.version = (3, 1)  # RFC 5246 E.1: of the first record

    def send(self, message: Any) -> None:
        self.layer.sendMessageBlocking(message)

    def send_in_records(self, message: Any, size: int | None) -> None:
        """Send a message in records of so many bytes; None: as few as can be."""
        whole = self.layer.recordSize
        self.layer.recordSize = size or whole
        self.send(message)
        self.layer.recordSize = whole

    def receive(self) -> tuple[int, bytes]:
        """Return the next message's content type and bytes; warnings are passed over.

        Raises:
            AlertError: a fatal alert.
            RejectedError: it is no TLS, or does not decrypt.
            WireError: I/O, deadline or close_notify.
        """
        while True:
            with reading():
                header, parser = self.layer.recvMessageBlocking()
            kind, body = int(header.type), bytes(parser.bytes)
            if kind != ALERT:
                return kind, body
            if body[0] == AlertLevel.fatal:
                raise AlertError(ALERT_DESCRIPTIONS.get(body[1], str(body[1])))
            if body[1] == 0:
                raise closed(self.pipe.wire.stage)


class CraftedStream:
    """An established connection of the crafted client: what MQTT is spoken over."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._closed = False

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send all of ``data`` as application data. Raises WireError."""
        self._records.pipe.deadline = deadline
        self._records.send(ApplicationData().create(bytearray(data)))
        self._records.pipe.flush()

    def receive(self, deadline: Deadline) -> bytes:
        """Return the next application data, ``b""`` when the target closed. Raises WireError."""
        pipe = self._records.pipe
        pipe.deadline = deadline
        while True:
            try:
                kind, body = self._records.receive()
            except WireError as error:
                if error.failure.cause == "connection_closed":
                    return b""
                raise
            except AlertError as alert:
                raise WireError(Failure("mqtt", f"target_alert:{alert.description}",
                                        f"the target raised {alert.description}")) from None
            except TLSAbruptCloseError:
                return b""
            except RejectedError as error:
                raise WireError(rejected("mqtt", error)) from error
            if kind == APPLICATION_DATA and body:
                return body

    def close(self) -> None:
        """Say close_notify and close."""
        self._end(0, AlertLevel.warning)

    def abort(self, description: int, *, deadline_s: float = LAST_WORDS_S) -> bool:
        """Raise a fatal alert of this number (RFC 5246 7.2), and close after the target has.

        Return whether the target closed within ``deadline_s`` seconds, which is how it can be
        told that it has heard the alert.

        Raises:
            Interrupted: the run was asked to stop.
        """
        return self._end(description, AlertLevel.fatal, wait_s=deadline_s)

    def _end(self, description: int, level: int, *, wait_s: float = 0.0) -> bool:
        if self._closed:
            return False
        self._closed = True
        pipe = self._records.pipe
        stop = pipe.deadline.stop
        pipe.deadline = Deadline(LAST_WORDS_S)
        try:
            with contextlib.suppress(WireError):
                self._records.send(AlertMessage().create(description, level))
                pipe.flush()
                if wait_s:
                    pipe.wire.end_sending()
            return bool(wait_s) and pipe.wait_for_end(Deadline(wait_s, stop))
        finally:
            pipe.wire.close()


def closed(stage: str) -> WireError:
    return WireError(Failure(stage, "connection_closed", "the target closed the connection"))


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Tell what our library raises on the target's bytes from what it raises on its own.

    Raises:
        RejectedError: the library raised what is neither ours nor about the connection's end.
    """
    try:
        yield
    except (EndError, TranscriptError, TLSAbruptCloseError):
        raise
    except Exception as error:
        pass_on(error)
        # Only the kind: what a message says may be made of the target's bytes.
        raise RejectedError(type(error).__name__) from error


def rejected(stage: str, error: RejectedError) -> Failure:
    return Failure(stage, "library_rejected",
                   f"our TLS library rejected what the target sent ({error})")


def pass_on(error: Exception) -> None:
    """Let go what is not the library's: an interrupted run, or a programming mistake of ours."""
    if isinstance(error, (Interrupted, WireError, NameError, ImportError)):
        raise error
