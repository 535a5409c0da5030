"""Nodes that somebody else runs: looked at, never touched."""
from __future__ import annotations

import time
from collections.abc import Sequence

from ..identity import Identity, from_connack
from .base import Driver, DriverError, DriverUnsupported, NodeSpec
from .ready import Caller, NotReadyError


class ExternalDriver(Driver):
    """Can tell what a node is, and nothing else."""

    name = "external"
    abilities = frozenset()
    limits = "somebody else runs them"

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def _unsupported(self, node: NodeSpec, verb: str) -> DriverUnsupported:
        return DriverUnsupported(f"the external driver cannot {verb} {node.name}: "
                                 "external nodes are run by somebody else")

    def start(self, node: NodeSpec) -> None:
        """Not possible."""
        raise self._unsupported(node, "start")

    def stop(self, node: NodeSpec) -> None:
        """Not possible."""
        raise self._unsupported(node, "stop")

    def restart(self, node: NodeSpec) -> None:
        """Not possible."""
        raise self._unsupported(node, "restart")

    def kill(self, node: NodeSpec) -> None:
        """Not possible."""
        raise self._unsupported(node, "kill")

    def pause(self, node: NodeSpec) -> None:
        """Not possible."""
        raise self._unsupported(node, "pause")

    def resume(self, node: NodeSpec) -> None:
        """Not possible."""
        raise self._unsupported(node, "resume")

    def disconnect(self, node: NodeSpec) -> None:
        """Not possible."""
        raise self._unsupported(node, "disconnect")

    def reconnect(self, node: NodeSpec) -> None:
        """Not possible."""
        raise self._unsupported(node, "reconnect")

    def identify(self, node: NodeSpec) -> Identity:
        """Return what the node's MQTT 5 CONNACK says of it."""
        return self._caller.identity(node)

    def wait_ready(self, nodes: Sequence[NodeSpec], timeout_s: float) -> dict[str, Identity]:
        """Return when every node answers CONNECT; nothing can be known of their cluster."""
        end = time.monotonic() + timeout_s
        return {node.name: self._wait_connack(node, end) for node in nodes}

    def _wait_connack(self, node: NodeSpec, end: float) -> Identity:
        while True:
            try:
                return from_connack(self._caller.connack(node))
            except NotReadyError as error:
                if error.final or time.monotonic() >= end:
                    raise DriverError(f"{node.endpoint} is not ready: {error}") from None
                time.sleep(0.2)
