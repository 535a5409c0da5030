"""What a driver can be asked for, whatever runs the nodes."""
from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..identity import Identity
from ..model import Endpoint


class DriverError(Exception):
    """It did not work; the sentence says which node, and why."""


class DriverUnsupported(DriverError):  # noqa: N818 - no fault of anybody's
    """This driver cannot do this at all; the sentence says what it lacks."""


class DriverInterrupted(DriverError):  # noqa: N818 - no fault of anybody's
    """The run was asked to stop."""

    def __init__(self) -> None:
        super().__init__("interrupted")


@dataclass(frozen=True)
class NodeSpec:
    """One node as the inventory describes it."""

    name: str
    host: str
    port: int
    server_name: str
    config_path: Path | None = None
    """The rendered ``listeners.hocon``; None where the driver renders nothing."""

    @property
    def endpoint(self) -> Endpoint:
        """Where the node's clients connect."""
        return Endpoint(self.name, self.host, self.port, self.server_name)


PATIENCE = "emqx_cluster_timeout"
"""The inventory's variable for how long a deploy waits for its nodes."""


class Driver(abc.ABC):
    """Starts, stops and disturbs nodes. Every method raises DriverError."""

    name: str
    abilities: ClassVar[frozenset[str]]
    """What it can do to a node at all, of ``restart``, ``kill``, ``pause``, ``disconnect`` and
    ``reopen``: a plan is made from this, without a driver."""
    limits: ClassVar[str] = ""
    """Why it cannot do the rest, in one clause."""
    cpu_of: ClassVar[str] = ""
    """Whose processor time :meth:`cpu_s` gives."""
    patience: str = ""
    """The variable that says how long nodes are waited for; empty where none does."""

    @abc.abstractmethod
    def start(self, node: NodeSpec) -> None:
        """Start a node that does not run; return before it is ready."""

    @abc.abstractmethod
    def stop(self, node: NodeSpec) -> None:
        """Stop a node in order, and return when it is gone."""

    def restart(self, node: NodeSpec) -> None:
        """Stop a node in order and start it again; return before it is ready."""
        self.stop(node)
        self.start(node)

    @abc.abstractmethod
    def kill(self, node: NodeSpec) -> None:
        """End a node without warning, and return when it is gone."""

    @abc.abstractmethod
    def pause(self, node: NodeSpec) -> None:
        """Freeze a node: its sockets stay open and nothing answers."""

    @abc.abstractmethod
    def resume(self, node: NodeSpec) -> None:
        """Let a paused node run on."""

    @abc.abstractmethod
    def disconnect(self, node: NodeSpec) -> None:
        """Take a node off the network that the nodes share among themselves.

        It runs on, cut off from its peers; clients still reach it.
        """

    @abc.abstractmethod
    def reconnect(self, node: NodeSpec) -> None:
        """Bring a disconnected node back on its network."""

    def reopen(self, node: NodeSpec, port: int, cacertfile: Path) -> None:  # noqa: ARG002 - as inspect
        """Close a listener of a running node and open it with the trust anchors of a file.

        Its connections end; the node and its sessions stay. One listener of a node at a time.
        """
        raise self._no_anchors(node)

    def restore(self, node: NodeSpec, port: int) -> None:  # noqa: ARG002 - as inspect
        """Open a listener again with its own trust anchors."""
        raise self._no_anchors(node)

    def _no_anchors(self, node: NodeSpec) -> DriverUnsupported:
        why = f": {self.limits}" if self.limits else ""
        return DriverUnsupported(f"the {self.name} driver cannot reopen a listener of {node.name} "
                                 f"with other trust anchors{why}")

    @abc.abstractmethod
    def identify(self, node: NodeSpec) -> Identity:
        """Return what the node is, and how that was learnt."""

    def inspect(self, node: NodeSpec) -> Identity | None:  # noqa: ARG002 - for those who can
        """Return what the node is as learnt from where it runs, without connecting as a client.

        None when this driver has no other way than a client's.
        """
        return None

    def cpu_s(self, node: NodeSpec) -> float:
        """Return the seconds of processor time that a node has taken since it started.

        That is all of :attr:`cpu_of`, whoever it worked for.
        """
        why = self.limits or "its processes cannot be seen from here"
        raise DriverUnsupported(f"the {self.name} driver cannot see how much processor time "
                                f"{node.name} takes: {why}")

    @abc.abstractmethod
    def wait_ready(self, nodes: Sequence[NodeSpec], timeout_s: float) -> dict[str, Identity]:
        """Return when every node answers CONNECT over TLS and the cluster is whole.

        The CONNACKs tell what the nodes are: name -> identity.
        """
