"""Faults are undone whatever happens, and say so when they could not be."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers import faults
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import (
    Driver,
    DriverError,
    DriverUnsupported,
    NodeSpec,
)
from ansible_collections.emqx.conformance.plugins.module_utils.identity import Identity

NODE = NodeSpec("n1", "127.0.0.1", 1, "localhost")
Fault = Callable[[Driver, NodeSpec], AbstractContextManager[None]]
FAULTS: list[tuple[Fault, str, str, str]] = [
    (faults.stopped, "stop", "start", "stopped"), (faults.killed, "kill", "start", "killed"),
    (faults.cut_off, "disconnect", "reconnect", "cut off from its peers"),
    (lambda driver, node: faults.reopened(driver, node, 8884, Path("ca.pem")), "reopen", "restore",
     "with other trust anchors at port 8884")]
each_fault = pytest.mark.parametrize(("fault", "do", "undo", "state"), FAULTS,
                                     ids=[do for _, do, _, _ in FAULTS])


class Scribe(Driver):
    """Writes down what it is told, and fails at what it is to fail at."""

    name = "scribe"

    def __init__(self) -> None:
        self.told: list[str] = []
        self.fails: dict[str, Exception] = {}

    def _tell(self, verb: str, node: NodeSpec) -> None:
        self.told.append(f"{verb} {node.name}")
        if verb in self.fails:
            raise self.fails[verb]

    def start(self, node: NodeSpec) -> None:
        self._tell("start", node)

    def stop(self, node: NodeSpec) -> None:
        self._tell("stop", node)

    def kill(self, node: NodeSpec) -> None:
        self._tell("kill", node)

    def disconnect(self, node: NodeSpec) -> None:
        self._tell("disconnect", node)

    def reconnect(self, node: NodeSpec) -> None:
        self._tell("reconnect", node)

    def reopen(self, node: NodeSpec, port: int, cacertfile: Path) -> None:
        assert (port, str(cacertfile)) == (8884, "ca.pem")
        self._tell("reopen", node)

    def restore(self, node: NodeSpec, port: int) -> None:
        assert port == 8884
        self._tell("restore", node)

    def wait_ready(self, nodes: Sequence[NodeSpec], timeout_s: float) -> dict[str, Identity]:
        raise AssertionError("an undo waits for nobody")


@each_fault
def test_it_is_done_and_undone(fault: Fault, do: str, undo: str, state: str) -> None:
    driver = Scribe()
    with fault(driver, NODE):
        assert driver.told == [f"{do} n1"]
    assert driver.told == [f"{do} n1", f"{undo} n1"]


@each_fault
@pytest.mark.parametrize("problem", [
    ValueError("broken"), KeyboardInterrupt(), DriverError("late"), DriverUnsupported("nested")])
def test_it_is_undone_after_whatever_happens_meanwhile(
        fault: Fault, do: str, undo: str, state: str, problem: BaseException) -> None:
    driver = Scribe()
    with pytest.raises(type(problem)) as caught, fault(driver, NODE):
        raise problem
    assert caught.value is problem
    assert driver.told == [f"{do} n1", f"{undo} n1"]


@each_fault
def test_half_done_is_undone_too(fault: Fault, do: str, undo: str, state: str) -> None:
    driver = Scribe()
    driver.fails[do] = DriverError("n1 does not end")
    with pytest.raises(DriverError, match=r"^n1 does not end$"), fault(driver, NODE):
        raise AssertionError("not reached")
    assert driver.told == [f"{do} n1", f"{undo} n1"]


@each_fault
def test_what_cannot_be_done_is_not_undone(fault: Fault, do: str, undo: str, state: str) -> None:
    driver = Scribe()
    driver.fails[do] = DriverUnsupported("cannot")
    with pytest.raises(DriverUnsupported), fault(driver, NODE):
        raise AssertionError("not reached")
    assert driver.told == [f"{do} n1"]


@each_fault
@pytest.mark.parametrize("why", [DriverError("no way"), OSError(28, "No space left")])
def test_a_failing_undo_says_who_is_left_how(
        fault: Fault, do: str, undo: str, state: str, why: Exception) -> None:
    driver = Scribe()
    driver.fails[undo] = why
    with pytest.raises(DriverError) as caught, fault(driver, NODE):
        pass
    assert str(caught.value) == (f"n1 is left {state}: {why}; `make deploy` (or another `make "
                                 "verify`) mends that")


@each_fault
def test_a_failing_undo_does_not_hide_the_first_error(
        fault: Fault, do: str, undo: str, state: str) -> None:
    driver = Scribe()
    driver.fails[undo] = DriverError("no way")
    first = ValueError("first of all")
    with pytest.raises(DriverError) as caught, fault(driver, NODE):
        raise first
    assert str(caught.value).startswith(f"first of all; and n1 is left {state}: no way; ")
    assert caught.value.__cause__ is first


@each_fault
def test_half_done_and_not_undone_is_not_known(
        fault: Fault, do: str, undo: str, state: str) -> None:
    driver = Scribe()
    driver.fails = {do: DriverError("n1 does not end"), undo: DriverError("n1 runs already")}
    with pytest.raises(DriverError) as caught, fault(driver, NODE):
        raise AssertionError("not reached")
    assert str(caught.value).startswith(
        f"n1 does not end; and it is not known whether n1 is {state}: n1 runs already; ")
