"""What is done to a node for a while, and undone whatever happens.

Undoing only issues what brings the node back; whoever needs it ready waits with
``Driver.wait_ready``. So a run that was asked to stop leaves no node behind and yet waits for none.
"""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from .base import Driver, DriverError, DriverUnsupported, NodeSpec

Fault = Callable[[Driver, NodeSpec], AbstractContextManager[None]]
Step = Callable[[NodeSpec], None]


@contextlib.contextmanager
def stopped(driver: Driver, node: NodeSpec) -> Iterator[None]:
    """Stop a node in order, and start it again. Raises DriverError."""
    with _while(driver.stop, node, driver.start, "stopped"):
        yield


@contextlib.contextmanager
def killed(driver: Driver, node: NodeSpec) -> Iterator[None]:
    """End a node without warning, and start it again. Raises DriverError."""
    with _while(driver.kill, node, driver.start, "killed"):
        yield


@contextlib.contextmanager
def cut_off(driver: Driver, node: NodeSpec) -> Iterator[None]:
    """Cut a node off from its peers, and bring it back. Raises DriverError."""
    with _while(driver.disconnect, node, driver.reconnect, "cut off from its peers"):
        yield


@contextlib.contextmanager
def reopened(driver: Driver, node: NodeSpec, port: int, cacertfile: Path) -> Iterator[None]:
    """Reopen a listener with other trust anchors, and with its own again. Raises DriverError."""
    with _while(lambda it: driver.reopen(it, port, cacertfile), node,
                lambda it: driver.restore(it, port), f"with other trust anchors at port {port}"):
        yield


@contextlib.contextmanager
def _while(do: Step, node: NodeSpec, undo: Step, state: str) -> Iterator[None]:
    try:
        do(node)
    except DriverUnsupported:
        # Nothing was done. What is not supported inside the block must be undone all the same.
        raise
    except BaseException as first:
        # Perhaps half of it was done.
        _undo(undo, node, f"it is not known whether {node.name} is {state}", first)
        raise
    left = f"{node.name} is left {state}"
    try:
        yield
    except BaseException as first:
        _undo(undo, node, left, first)
        raise
    _undo(undo, node, left)


def _undo(undo: Step, node: NodeSpec, left: str, first: BaseException | None = None) -> None:
    try:
        undo(node)
    except (DriverError, OSError) as error:
        before = f"{str(first) or type(first).__name__}; and " if first is not None else ""
        raise DriverError(f"{before}{left}: {error}; `make deploy` (or another `make verify`) "
                          "mends that") from first or error
