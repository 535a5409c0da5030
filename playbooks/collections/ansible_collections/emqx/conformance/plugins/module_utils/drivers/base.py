"""What a driver can be asked for, whatever runs the nodes."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

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


class Driver:
    """Starts, stops and disturbs nodes. Every method raises DriverError.

    A driver can do what it overrides; all else raises DriverUnsupported.
    """

    name: ClassVar[str]
    abilities: ClassVar[frozenset[str]] = frozenset()
    """What it can do to a node at all, of :data:`ABILITIES`: a plan is made from this, without a
    driver."""
    limits: ClassVar[str] = ""
    """Why it cannot do the rest, in one clause."""
    cpu_of: ClassVar[str] = ""
    """Whose processor time :meth:`cpu_s` gives."""
    patience: str = ""
    """The variable that says how long nodes are waited for; empty where none does."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Tell its abilities by what it implements."""
        super().__init_subclass__(**options)
        cls.abilities = frozenset(
            ability for ability, verbs in ABILITIES.items()
            if all(getattr(cls, verb) is not getattr(Driver, verb) for verb in verbs))

    def start(self, node: NodeSpec) -> None:
        """Start a node that does not run; return before it is ready."""
        raise self._unsupported(f"start {node.name}")

    def stop(self, node: NodeSpec) -> None:
        """Stop a node in order, and return when it is gone."""
        raise self._unsupported(f"stop {node.name}")

    def kill(self, node: NodeSpec) -> None:
        """End a node without warning, and return when it is gone."""
        raise self._unsupported(f"kill {node.name}")

    def disconnect(self, node: NodeSpec) -> None:
        """Take a node off the network that the nodes share among themselves.

        It runs on, cut off from its peers; clients still reach it.
        """
        raise self._unsupported(f"take {node.name} off the network")

    def reconnect(self, node: NodeSpec) -> None:
        """Bring a disconnected node back on its network."""
        raise self._unsupported(f"bring {node.name} back on a network")

    def reopen(self, node: NodeSpec, port: int, cacertfile: Path) -> None:  # noqa: ARG002 - as inspect
        """Close a listener of a running node and open it with the trust anchors of a file.

        Its connections end; the node and its sessions stay. One listener of a node at a time.
        """
        raise self._no_anchors(node)

    def restore(self, node: NodeSpec, port: int) -> None:  # noqa: ARG002 - as inspect
        """Open a listener again with its own trust anchors."""
        raise self._no_anchors(node)

    def _no_anchors(self, node: NodeSpec) -> DriverUnsupported:
        return self._unsupported(f"reopen a listener of {node.name} with other trust anchors")

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
        raise self._unsupported(f"see how much processor time {node.name} takes", why)

    def wait_ready(self, nodes: Sequence[NodeSpec],
                   timeout_s: float) -> dict[str, Identity]:  # noqa: ARG002 - as inspect
        """Return when every node answers CONNECT over TLS and the cluster is whole.

        The CONNACKs tell what the nodes are: name -> identity.
        """
        raise self._unsupported(f"wait for {', '.join(node.name for node in nodes)}")

    def _unsupported(self, what: str, why: str = "") -> DriverUnsupported:
        why = why or self.limits
        return DriverUnsupported(f"the {self.name} driver cannot {what}"
                                 f"{f': {why}' if why else ''}")


ABILITIES = {"restart": ("stop", "start"), "kill": ("kill", "start"),
             "disconnect": ("disconnect", "reconnect"), "reopen": ("reopen", "restore")}
"""What a driver may be able to do to a node and to undo, and what it implements for it."""
