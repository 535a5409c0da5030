"""A target without a network: what the engines take for a TCP connection."""
from __future__ import annotations

from typing import Any, Protocol

from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint, Failure
from ansible_collections.emqx.conformance.plugins.module_utils.tls.wire import (
    Deadline,
    Wire,
    WireError,
)

ENDPOINT = Endpoint("n1", "memory", 8883, "localhost")
PATIENCE = 2**20
"""Bytes after which a target that never ends is one that missed the deadline."""


class Target(Protocol):
    """Whoever answers."""

    def heard(self, data: bytes) -> None:
        """Take what the client sent."""

    def says(self) -> bytes:
        """Return what is said next, ``b""`` at the end."""


class Recorded:
    """A target that says the same whatever it hears."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def heard(self, data: bytes) -> None:
        """Do nothing."""

    def says(self) -> bytes:
        """Return everything, then the end."""
        data, self._data = self._data, b""
        return data


class MemoryWire:
    """A :class:`Wire` to a target in memory; never waits."""

    def __init__(self, target: Target, *, step: int = 0, resets: bool = False) -> None:
        """``step``: bytes that arrive at a time, 0 for all there are; ``resets`` at the end."""
        self.peer, self.stage = "memory", "handshake"
        self.closed = False
        self._target, self._step, self._resets = target, step or 2**16, resets
        self._there = bytearray()
        self._given = 0

    def send(self, data: bytes, _deadline: Deadline) -> None:
        """Hand it to the target."""
        self._target.heard(bytes(data))

    def receive(self, deadline: Deadline) -> bytes:
        """Return the next bytes, as :meth:`Wire.receive` does."""
        if deadline.left() <= 0 or self._given > PATIENCE:
            raise WireError(Failure(self.stage, "timeout", "the target was not done in time"))
        if not self._there:
            self._there += self._target.says()
        data = bytes(self._there[:self._step])
        del self._there[:self._step]
        self._given += len(data)
        if not data and self._resets:
            raise WireError(Failure(self.stage, "connection_reset", "the target reset it"))
        return data

    def receive_now(self) -> bytes:
        """Return the next bytes: they are always there."""
        return self.receive(Deadline(1))

    def end_sending(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Note it."""
        self.closed = True


class RecordingWire(Wire):
    """A real connection that keeps what the target sent."""

    received: bytearray
    sent: bytearray
    made: list[RecordingWire]

    def __init__(self, *connection: Any) -> None:
        self.received, self.sent = bytearray(), bytearray()
        self.made.append(self)
        super().__init__(*connection)

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send and keep."""
        self.sent += data
        super().send(data, deadline)

    def receive(self, deadline: Deadline) -> bytes:
        """Receive and keep."""
        data = super().receive(deadline)
        self.received += data
        return data

    def receive_now(self) -> bytes | None:
        """Receive and keep."""
        data = super().receive_now()
        self.received += data or b""
        return data
