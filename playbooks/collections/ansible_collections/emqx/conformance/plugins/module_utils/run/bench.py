"""The bench: what checks see of a run."""
from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from ..drivers.base import Driver, DriverError, NodeSpec
from .prober import Prober
from .sessions import SessionBook


class Bench:
    """A run's prober, sessions, ledger and driver. Subjects of one check share it."""

    otp_release: Callable[[str], str | None] = staticmethod(lambda _: None)
    """Tells a node's Erlang/OTP release as this run has learnt it."""

    def __init__(self, prober: Prober) -> None:
        self.prober, self.ledger, self.sessions = prober, prober.ledger, SessionBook(prober)
        self.target, self.stop = prober.target, prober.stop
        self.nodes, self.settings = self.target.nodes, self.target.settings
        self.specs = {name: NodeSpec(name, node.host, node.port, node.server_name)
                      for name, node in self.nodes.items()}
        """The nodes as a driver takes them."""
        self.not_whole = ""
        """Why the cluster must not be disturbed any more; empty as long as it may."""
        self.on_wait: Callable[[str], None] = lambda _: None
        """Told what takes its time, in one clause, and the empty string when it is over."""
        self._driver: Driver | DriverError = DriverError("there is no driver")
        self._waiting: list[str] = []
        self._lock = threading.Lock()

    @property
    def driver(self) -> Driver:
        """What can disturb the nodes.

        Raises:
            DriverError: there is none; the sentence says why.
        """
        if isinstance(self._driver, DriverError):
            raise self._driver
        return self._driver

    @driver.setter
    def driver(self, driver: Driver | DriverError) -> None:
        self._driver = driver

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Let people know what takes its time meanwhile; of several at once, the latest."""
        self._tell_waiting(what, begins=True)
        try:
            yield
        finally:
            self._tell_waiting(what, begins=False)

    def _tell_waiting(self, what: str, *, begins: bool) -> None:
        with self._lock:
            (self._waiting.append if begins else self._waiting.remove)(what)
            latest = self._waiting[-1] if self._waiting else ""
        self.on_wait(latest)
