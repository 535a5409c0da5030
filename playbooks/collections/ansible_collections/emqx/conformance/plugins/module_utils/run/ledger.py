"""What a run has made: every handshake once, with the key that it has in results.json."""
from __future__ import annotations

import contextlib
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ..model import Handshake, Outcome
from ..mqtt.client import Connack


def key_of(place: int) -> str:
    """Return what a report calls the handshake at this place of the run, counted from 0."""
    return f"h{place + 1:05d}"


def place_of(key: str) -> int:
    """Return the place of :func:`key_of`."""
    return int(key[1:]) - 1


@dataclass(frozen=True)
class Tally:
    """Handshakes that are counted and not listed."""

    handshakes: Counter[str] = field(default_factory=Counter)
    """By node."""
    sessions: Counter[str] = field(default_factory=Counter)
    """By node: full ones."""


class Ledger:
    """The handshakes of a run, and how many of which kind. Thread-safe."""

    def __init__(self) -> None:
        self.handshakes: list[Handshake] = []
        """In the order in which they ended; in the place of one that a report has filed stands
        another, without evidence and key, of the same endpoint and outcome."""
        self.unlisted = Tally()
        """Those of checks that make more than anybody could read: never their evidence."""
        self.cells: dict[tuple[str, str], Handshake] = {}
        """The matrix: what offering issuer's session to redeemer came to."""
        self.connacks: dict[str, Connack] = {}
        """By node: the first CONNACK, in which a target may name itself."""
        self.renewed: dict[str, str] = {}
        """By issuer: for which reason its session was made again last."""
        self.check = ""
        """Id of the check that is being measured."""
        self.made: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """By check: how many handshakes each node was asked for, of those that the plan has."""
        self.more: dict[tuple[str, str], str] = {}
        """By check and node: why that took more than announced, in one clause."""
        self.beyond: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """By kind (:mod:`.beyond`) and node: handshakes that no plan has."""
        self.polls: Mapping[str, int] = {}
        """By node: how often a driver has asked whether it is ready."""
        self.on_handshake: Callable[[int], None] = lambda _: None
        """Told the number of handshakes so far, after each; what found nobody is none."""
        self._answered: set[str] = set()
        self._arrived = 0
        self._counting = threading.local()
        self._lock = threading.Lock()

    def enter(self, node: str, handshake: Handshake, connack: Connack | None = None, *,
              listed: bool = True) -> Handshake:
        """Count a handshake that has ended, and return it with its key.

        Args:
            node: a node or a load balancer, by name.
            handshake: with what MQTT came to on it.
            connack: how the node accepted CONNECT, if it did.
            listed: False for one of very many, which is evidence of nothing by itself: then it is
                only counted, has no key, and takes no memory.
        """
        kind = getattr(self._counting, "kind", "")
        with self._lock:
            if listed:
                handshake = replace(handshake, key=key_of(len(self.handshakes)))
                self.handshakes.append(handshake)
            if connack is not None:
                self.connacks.setdefault(node, connack)
            if handshake.bytes_in:
                self._answered.add(node)
            if handshake.arrived:
                self._arrived += 1
                (self.beyond[kind] if kind else self.made[self.check])[node] += 1
                self.unlisted.handshakes[node] += not listed
            self.unlisted.sessions[node] += not listed and handshake.outcome is Outcome.FULL
            count = self._arrived
        self.on_handshake(count)
        return handshake

    def has_answered(self, node: str) -> bool:
        """Tell whether a node has sent a single byte in this run."""
        return node in self._answered

    def record_cell(self, issuer: str, redeemer: str, handshake: Handshake) -> None:
        """Put a handshake into the matrix."""
        with self._lock:
            self.cells[issuer, redeemer] = handshake

    @contextlib.contextmanager
    def counted_as(self, kind: str) -> Iterator[None]:
        """Count what this thread makes meanwhile by itself, as of this kind (:mod:`.beyond`)."""
        before = getattr(self._counting, "kind", "")
        self._counting.kind = kind
        try:
            yield
        finally:
            self._counting.kind = before

    @contextlib.contextmanager
    def made_again(self, issuer: str, reason: str) -> Iterator[None]:
        """Count what is made meanwhile for a new session of this issuer, and remember why."""
        self.renewed[issuer] = reason
        with self.counted_as(reason):
            yield

    @property
    def unannounced(self) -> int:
        """Handshakes so far that no plan has."""
        return sum(by_node.total() for by_node in list(self.beyond.values()))

    def done(self, node: str) -> int:
        """Return how many handshakes a node or load balancer was asked for so far, of all kinds."""
        return sum(by_node[node] for counts in (self.made, self.beyond)
                   for by_node in list(counts.values()))
