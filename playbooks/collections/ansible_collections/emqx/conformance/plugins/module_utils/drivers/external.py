"""Nodes that somebody else runs: connected to by a verification alone, and never touched."""
from __future__ import annotations

import threading
from pathlib import Path

from ..identity import Identity
from .backend import Backend, Order
from .base import Driver, DriverError
from .change import Change
from .ready import Caller


class ExternalDriver(Driver):
    """Can do nothing to a node."""

    name = "external"
    limits = "somebody else runs them"


class ExternalBackend(Backend):
    """Lets nodes alone: every connection to them is announced by a verification."""

    driver = ExternalDriver

    def deploy(self, order: Order, caller: Caller,  # noqa: ARG002 - nobody is called
               stop: threading.Event) -> tuple[Change, dict[str, Identity]]:  # noqa: ARG002
        """Change nothing. Raises DriverError where nodes are to be restarted."""
        if order.restart:
            raise DriverError("the external driver cannot restart nodes: external nodes are run by "
                              "somebody else")
        return Change(unchanged=[node.name for node in order.nodes]), {}

    def open(self, state_dir: Path | None, cluster: str | None,  # noqa: ARG002 - there is none
             caller: Caller, stop: threading.Event) -> ExternalDriver:  # noqa: ARG002
        """Return the driver that can do nothing."""
        return ExternalDriver()
