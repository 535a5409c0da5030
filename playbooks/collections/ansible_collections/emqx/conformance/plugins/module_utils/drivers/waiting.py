"""Waits for nodes that run here until they answer CONNECT over TLS and see their whole cluster."""
from __future__ import annotations

import abc
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, TypeVar

from ..identity import Identity, from_connack
from ..mqtt.client import Connack
from ..tls.wire import within
from .base import Driver, DriverError, DriverInterrupted, NodeSpec
from .ready import Caller, NotReadyError

_REFUSAL = "cannot boot: "
"""How the node begins the line that says why it does not boot (embedded_node.erl)."""
LOG_LINES = 3
"""How many lines of a log a sentence quotes."""
_LOG_LINE = 240
_ItemT = TypeVar("_ItemT")
_ResultT = TypeVar("_ResultT")


class WaitingDriver(Driver):
    """Knows how nodes are waited for; what runs them says how each of them is looked at."""

    poll_s: ClassVar[float] = 0.1
    """Seconds between two looks."""
    at_once: ClassVar[int] = 8
    """How many nodes are looked at, or asked, at a time."""

    def __init__(self, caller: Caller, *, members: Sequence[str] | None = None,
                 stop: threading.Event | None = None) -> None:
        """Look at a cluster; nothing is started.

        Args:
            caller: makes the connections that show a node ready.
            members: inventory names the cluster has when it is whole; by default every node
                that runs.
            stop: when set, every wait ends with DriverInterrupted.
        """
        self._caller, self._members = caller, members
        self._stop = stop or threading.Event()
        self.on_ready: Callable[[int], None] = lambda _: None
        """Told how many nodes see the whole cluster, again and again while the others are waited
        for."""

    @abc.abstractmethod
    def _running(self) -> list[str]:
        """Return the inventory names of all nodes of the cluster that run, or are paused."""

    @abc.abstractmethod
    def _erlang_name(self, name: str) -> str:
        """Return how its peers name a node."""

    @abc.abstractmethod
    def _seen_by(self, name: str) -> Iterable[str]:
        """Return the Erlang names of the members that a node sees, its own among them.

        Raises:
            DriverError: it does not tell; the sentence says why.
        """

    @abc.abstractmethod
    def _is_gone(self, name: str) -> bool:
        """Tell whether a node has ended."""

    @abc.abstractmethod
    def _last_words(self, name: str) -> list[str]:
        """Return the last lines that a node has said while it booted (:func:`last_lines`)."""

    @abc.abstractmethod
    def _log_tail(self, name: str) -> str:
        """Return how the node's log ends, as a clause to add; empty where there is none."""

    def _why_gone(self, name: str) -> str:
        """Return why a node has ended, where what runs it can tell."""
        return f"{name} ended unexpectedly{self._log_tail(name)}"

    def _identity(self, node: NodeSpec, connack: Connack) -> Identity:  # noqa: ARG002 - who can ask
        """Return what a node is that has answered CONNECT."""
        return from_connack(connack)

    def wait_ready(self, nodes: Sequence[NodeSpec], timeout_s: float) -> dict[str, Identity]:
        """Return when every node answers CONNECT over TLS and sees all members."""
        end = time.monotonic() + timeout_s
        self._caller.load()
        told = self._each(nodes, lambda node: self._await_connack(node, end, timeout_s))
        self.wait_members([node.name for node in nodes], timeout_s)
        return dict(zip((node.name for node in nodes), self._each(
            list(zip(nodes, told)), lambda pair: self._identity(*pair))))

    def wait_members(self, names: Sequence[str], timeout_s: float) -> None:
        """Return when each of these nodes sees the whole cluster.

        Raises:
            DriverError: a node ended, or did not see all in time.
            DriverInterrupted: the run was asked to stop.
        """
        members = self._running() if self._members is None else self._members
        whole = {self._erlang_name(name) for name in members}
        end = time.monotonic() + timeout_s
        late = dict.fromkeys(names, "")
        while True:
            told = self._each(list(late), lambda name: self._missing(name, whole))
            late = {name: missing for name, missing in zip(late, told) if missing}
            self.on_ready(len(names) - len(late))
            if not late:
                return
            # A node that has ended is the reason why the others do not see it.
            for name in names:
                self._demand_alive(name)
            if time.monotonic() >= end:
                name, missing = next(iter(late.items()))
                raise DriverError(f"{name} was not ready within "
                                  f"{within(timeout_s, self.patience)}: {missing}"
                                  f"{self._log_tail(name)}")
            self._pause()

    def _missing(self, name: str, whole: set[str]) -> str:
        """Return what a node lacks of the whole cluster; empty where it sees all of it."""
        try:
            seen = sorted(self._seen_by(name))
        except DriverError as error:
            return str(error)
        if whole <= set(seen):
            return ""
        return f"it sees {', '.join(seen) or 'nobody'} instead of {', '.join(sorted(whole))}"

    def _await_connack(self, node: NodeSpec, end: float, timeout_s: float) -> Connack:
        while True:
            try:
                return self._caller.connack(node)
            except NotReadyError as error:
                self._demand_alive(node.name)
                if error.final:
                    # A node that answers, and wrongly for its client, has nothing in its log.
                    raise DriverError(f"{node.endpoint} did not answer CONNECT over TLS: "
                                      f"{error}") from None
                if time.monotonic() >= end:
                    raise DriverError(f"{node.endpoint} did not answer CONNECT over TLS within "
                                      f"{within(timeout_s, self.patience)}: {error}"
                                      f"{self._log_tail(node.name)}") from None
                self._pause()

    def _demand_alive(self, name: str) -> None:
        """Go on only with a node that has not ended, and while nobody asked the run to stop."""
        if self._stop.is_set():
            raise DriverInterrupted
        if not self._is_gone(name):
            return
        refusal = next((line.removeprefix(_REFUSAL) for line in self._last_words(name)
                        if line.startswith(_REFUSAL)), None)
        raise DriverError(self._why_gone(name) if refusal is None else
                          f"{name} did not boot: {refusal}")

    def _pause(self, seconds: float | None = None) -> None:
        if self._stop.wait(self.poll_s if seconds is None else seconds):
            raise DriverInterrupted

    def _each(self, items: Sequence[_ItemT], work: Callable[[_ItemT], _ResultT]) -> list[_ResultT]:
        """Do something for each, several at a time."""
        if not items:
            return []
        with ThreadPoolExecutor(max_workers=min(len(items), self.at_once)) as pool:
            return list(pool.map(work, items))


def last_lines(text: str) -> list[str]:
    """Return the last lines of a log, for a sentence: few, and none of them long."""
    lines = [line for line in text.splitlines() if line.strip()][-LOG_LINES:]
    return [shortened(line) for line in lines]


def shortened(line: str) -> str:
    """Return a line of a log as far as a sentence has room for it."""
    return line if len(line) <= _LOG_LINE else line[:_LOG_LINE] + "…"
