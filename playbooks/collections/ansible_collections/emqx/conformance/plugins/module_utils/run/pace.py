"""How fast one node is connected to: as often as is allowed, and slower once it turns us away."""
from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import replace
from typing import Callable, Protocol, TypeVar

from ..model import Failure, Handshake

_WINDOW_S = 1.0
_PAUSES_S = (1.0, 2.0, 4.0)
"""How long the run stays away from a node that has turned a connection away, time after time."""
_SLOWEST = 1.0
"""Connections a second below which nobody is asked to go."""
CONTROLS = 3
"""Connections without a session that show whether it was the session that was turned away."""
_CUT_OFF = 20
"""Connections that are asked after with one node, besides one for each node whose session it is
offered; what is cut off after that is an error."""
_UNANSWERED = frozenset(("connection_closed", "connection_reset", "connection_refused"))
TURNED_AWAY = "turned_away"
"""Cause of a connection that is no evidence, since the node turns away others like it."""
UNDECIDED = "cut_off_undecided"
"""Cause of a connection that may be evidence: that others would be served was not asked any more.
"""


class Made(Protocol):
    """A connection that was tried."""

    @property
    def handshake(self) -> Handshake:
        """Its evidence."""


_MadeT = TypeVar("_MadeT", bound=Made)


def most_asked(nodes: int) -> int:
    """Return how many connections a run makes with a node, beyond its plan, for cut-off ones."""
    return CONTROLS * (_CUT_OFF + nodes)


def unanswered(handshake: Handshake) -> bool:
    """Tell whether a connection ended before the target had sent a single byte."""
    failure = handshake.failure
    return failure is not None and failure.cause in _UNANSWERED and not handshake.bytes_in


class Pace:
    """Spaces the handshakes to one node. Thread-safe."""

    def __init__(self, per_second: float | None, *, most: int = most_asked(1)) -> None:
        """Begin with so many a second (None or 0: no limit), and ask after cut-off ones so often.
        """
        self._gap = 1.0 / per_second if per_second else 0.0
        self._next = 0.0
        self._begun: deque[float] = deque()
        self._slowed_at: float | None = None
        self._given_up = False
        self._left = most
        self._lock = threading.Lock()
        self.turned_away = 0
        """Connections that ended before a single byte, as others without a session did."""

    @property
    def slowed_to(self) -> float | None:
        """Handshakes a second that the target brought us down to; None when it did not."""
        return 1.0 / self._gap if self._slowed_at is not None else None

    def wait(self, stop: threading.Event) -> None:
        """Return when one more handshake is allowed, or the run was asked to stop."""
        with self._lock:
            now = time.monotonic()
            due = max(self._next, now)
            self._next = due + self._gap if self._gap else self._next
            self._begun.append(due)
            while self._begun[0] < now - _WINDOW_S:
                self._begun.popleft()
        stop.wait(max(0.0, due - now))

    def back_off(self, pause_s: float) -> None:
        """Stay away for so many seconds, and come at half the rate from then on."""
        with self._lock:
            now = time.monotonic()
            self._next = max(self._next, now + pause_s)
            # Connections side by side are turned away together, and that is one reason only.
            if self._slowed_at is None or now - self._slowed_at > _WINDOW_S:
                lately = max(1, sum(now - _WINDOW_S <= begun <= now for begun in self._begun))
                rate = min(1 / self._gap, lately) if self._gap else lately
                self._gap = max(self._gap, 1 / max(_SLOWEST, rate / 2))
                self._slowed_at = now

    def patiently(self, connect: Callable[[], _MadeT], *, control: Callable[[], Handshake],
                  repeated: Callable[[Handshake], None], stop: threading.Event) -> _MadeT:
        """Connect, and again after a pause where the target turns connections away as such.

        That must not hide a target that hangs up on those who offer a session. So connections
        without one follow at once: only if one of those is turned away, too, was it not the
        session, and the first connection is no evidence. All that is done beyond the connection
        itself is bounded for the whole run; what is cut off after that is no evidence either.

        Args:
            connect: makes the connection.
            control: makes a connection without a session, closes it and counts it.
            repeated: is told the handshake of each connection that another one takes the place of.
            stop: ends every wait.
        """
        self.wait(stop)
        made = connect()
        for pause_s in (*(() if self._given_up else _PAUSES_S), None):
            if not unanswered(made.handshake):
                return made
            others_too = self._others_too(control, stop)
            if others_too is None:
                break
            if not others_too:
                return replace(made, handshake=_alone(made.handshake))  # type: ignore[type-var]
            with self._lock:
                self.turned_away += 1
            if pause_s is None or not self._may_ask():
                break
            repeated(made.handshake)
            self.back_off(pause_s)
            self.wait(stop)
            made = connect()
        self._given_up = True
        failure = made.handshake.failure
        if failure is None or failure.stage == "connect":
            return made  # without a connection there is no evidence in any case
        found = _no_evidence(made.handshake, failure) if self.turned_away else \
            _undecided(made.handshake, failure)
        return replace(made, handshake=found)  # type: ignore[type-var]

    def _may_ask(self) -> bool:
        """Tell whether one more connection may be made beyond the plan, and take it as made."""
        with self._lock:
            if not self._left:
                return False
            self._left -= 1
            return True

    def _others_too(self, control: Callable[[], Handshake], stop: threading.Event) -> bool | None:
        """Tell whether a node hangs up on clients without a session; None: it may not be asked."""
        for _ in range(CONTROLS):
            if not self._may_ask():
                return None
            self.wait(stop)
            if unanswered(control()):
                return True
        return False


def _alone(handshake: Handshake) -> Handshake:
    """Return the evidence that it was this connection's own fate, and nobody else's."""
    failure = handshake.failure
    if failure is None:
        return handshake
    told = (f"{failure.detail}, while {CONTROLS} connections without a session right after it were "
            "served")
    return replace(handshake, why=told, failure=replace(failure, detail=told))


def _no_evidence(handshake: Handshake, failure: Failure) -> Handshake:
    why = (f"{failure.detail}, before a single byte and time after time, as it did to clients "
           "without a session")
    return replace(handshake, why=why, failure=Failure(failure.stage, TURNED_AWAY, why))


def _undecided(handshake: Handshake, failure: Failure) -> Handshake:
    why = (f"{failure.detail}, before a single byte; whether clients without a session are served "
           "was not asked any more, since they were each time before")
    return replace(handshake, why=why, failure=Failure(failure.stage, UNDECIDED, why))
