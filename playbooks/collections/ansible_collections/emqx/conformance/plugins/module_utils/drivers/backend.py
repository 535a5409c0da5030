"""How a cluster comes to be, is driven and goes, by what its nodes are."""
from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..identity import Identity
from ..listeners.release import Release
from ..mqtt.credentials import Credentials
from .base import Driver, DriverError, NodeSpec
from .change import Change
from .ready import Caller


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the inventory asks for of a cluster, whatever its nodes are."""

    nodes: tuple[NodeSpec, ...]
    """The nodes of this run."""
    all_nodes: tuple[str, ...]
    """Inventory names of the whole cluster; more than ``nodes`` under --limit."""
    release: Release
    """The EMQX release whose keys count as known."""
    session_lifetime: int | None = None
    """Seconds; None leaves OTP's default of 24 h."""
    session_cache_max: int | None = None
    """Sessions; None leaves OTP's default of 1,000."""
    timeout_s: float = 30.0


@dataclass(frozen=True)
class Order:
    """A cluster to deploy: what is wanted, and how to go about it."""

    name: str
    state_dir: Path
    common: Mapping[str, Any]
    """The arguments of :class:`Wanted`."""
    credentials: Credentials | None
    own: Mapping[str, Any]
    """The module's parameters, of which a backend takes those that only its nodes have."""
    pretend: bool
    """Whether to say only what would be done."""
    restart: bool
    to_render: tuple[str, ...]
    """Nodes whose configuration is yet to be rendered, when only pretending."""
    progress_file: str | None

    @property
    def nodes(self) -> tuple[NodeSpec, ...]:
        """The nodes of this run."""
        nodes: tuple[NodeSpec, ...] = self.common["nodes"]
        return nodes


@dataclass
class Removed:
    """What was running and ended, as ``cluster/node``, and whether anything else went."""

    stopped: list[str] = field(default_factory=list)
    changed: bool = False


class Backend(ABC):
    """Deploys, opens and destroys clusters of one kind of nodes. Methods raise DriverError."""

    driver: type[Driver]

    @abstractmethod
    def deploy(self, order: Order, caller: Caller,
               stop: threading.Event) -> tuple[Change, dict[str, Identity]]:
        """Make the nodes run as they are wanted, or say what that would take.

        Returns:
            What was or would be done, and what each node of the order says it is; of nodes that
            were not asked, nothing.
        """

    @abstractmethod
    def open(self, state_dir: Path | None, cluster: str | None, caller: Caller,
             stop: threading.Event) -> Driver:
        """Return a driver of a cluster that is deployed; nothing is started or connected."""

    def destroy(self, state_dir: Path, cluster: str | None,  # noqa: ARG002 - for those who can
                caller: Caller, *, pretend: bool) -> Removed:  # noqa: ARG002
        """End and remove one cluster, or every one under the state directory."""
        return Removed()


def needed(params: Mapping[str, Any], name: str) -> str:
    """Return one of the module's parameters. Raises DriverError where it is empty."""
    if not params[name]:
        raise DriverError(f"{name} is needed for state {params['state']}")
    return str(params[name])


def placed(state_dir: Path | None, cluster: str | None) -> tuple[Path, str]:
    """Return where a cluster keeps its state, and its name. Raises DriverError without."""
    if state_dir is None or not cluster:
        raise DriverError("where the cluster keeps its state is not known: state_dir and "
                          "cluster_name are needed to drive its nodes")
    return state_dir, cluster


def never_deployed(state_dir: Path, name: str) -> DriverError:
    """Return the error that there is no such cluster."""
    return DriverError(f"the cluster {name} was never deployed in {state_dir}: run `make deploy` "
                       "first")
