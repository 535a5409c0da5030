"""What a check is, and what a list of checks holds to.

A check is one requirement sentence and one function that measures it on one subject: a
node, an ordered pair of nodes (issuer, redeemer), or an address that may lead to several nodes.
"""
from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable

from ..model import Handshake
from .target import Target

if TYPE_CHECKING:
    from .story import Story


class Level(str, enum.Enum):
    """RFC 2119's level, for the target."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    INFO = "INFO"


class Impact(enum.IntEnum):
    """What a check does to its target."""

    SAFE = 0
    """A handful of ordinary connections."""
    NOISY = 1
    """Many connections or malformed hellos; fills logs."""
    DISRUPTIVE = 2
    """Stops or restarts a node, or fills its cache."""

    @property
    def label(self) -> str:
        """The name users write."""
        return self.name.lower()

    @property
    def cache_share(self) -> float:
        """The share of a node's session cache that checks of this impact may fill."""
        return (0.01, 0.25, 1.0)[self.value]


class Status(str, enum.Enum):
    """The status of a finding."""

    PASSED = "passed"
    FAILED = "failed"
    KNOWN = "known"
    """A failure that a known deviation or a waiver covers."""
    WARNED = "warned"
    """A SHOULD that failed, or a pass where a known deviation says there is none."""
    INFO = "info"
    SKIPPED = "skipped"
    """A declared precondition is absent, or a check it needs failed."""
    ERROR = "error"
    """Selected but not measured, or the harness broke."""


class Per(str, enum.Enum):
    """What a check has one finding for."""

    NODE = "node"
    PAIR = "pair"
    ADDRESS = "address"
    """One that may lead to several nodes."""


Subject = tuple[str, ...]
"""``(node,)``, ``(issuer, redeemer)``, or the name of an address."""


@dataclass(frozen=True)
class Cost:
    """Handshakes one subject costs. ``full`` ones each fill a place in a session cache."""

    full: int = 0
    resumed: int = 0
    refused: int = 0
    """Handshakes that the target is expected to refuse."""
    unfinished: int = 0
    """Handshakes that the probe breaks off."""
    at: str = "redeemer"
    """Who pays: the ``issuer`` or the ``redeemer`` of a pair. A node pays for itself. Elsewhere,
    each of the ``others``, the ``next`` node in the inventory's order, or, for an address, every
    one of the ``nodes``."""
    elsewhere: tuple[Cost, ...] = ()
    """What the same subject costs nodes that are no part of it."""

    @property
    def total(self) -> int:
        """Handshakes altogether, on one node that pays."""
        return self.full + self.resumed + self.refused + self.unfinished

    @property
    def parts(self) -> tuple[Cost, ...]:
        """This and what is paid elsewhere."""
        return (self, *self.elsewhere)


@dataclass(frozen=True)
class CostByNode:
    """What a check of single nodes or addresses costs where they differ."""

    of: Callable[[Target, str], Cost]


@dataclass(frozen=True)
class Need:
    """A check that must have passed before this one means anything."""

    check: str
    of: str = "same"
    """``same`` subject, this pair's ``issuer`` or ``redeemer``, or ``every`` node."""


@dataclass(frozen=True)
class Verdict:
    """What a check's function says about its subject."""

    status: Status
    reason: str
    """Stable token, for machines; empty when passed."""
    message: str
    """One plain sentence."""
    handshakes: tuple[Handshake, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    """What was measured, in figures, as JSON; empty where the sentence says it all."""


Tell = Callable[["Story"], str]
"""Measures a subject and returns the sentence of a pass, or ends early."""


def _untold(_: Story) -> str:
    raise NotImplementedError("a check is declared above the function that measures it")


@dataclass(frozen=True)
class Check:
    """One row of the catalogue."""

    id: str
    title: str
    requirement: str
    """What must hold, in one sentence."""
    clause: str
    level: Level
    impact: Impact
    per: Per
    cost: Cost | Callable[[Target], Cost] | CostByNode
    """A constant, or what it comes to for this target, or for a node of it."""
    meaning: str
    """What a failure means for an operator."""
    needs: tuple[Need, ...] = ()
    precondition: Callable[[Target], str | Verdict | None] = field(default=lambda _: None)
    """Returns why the check cannot apply to this target at all, or None.

    A sentence, or a verdict where the reason has a token of its own.
    """
    how: str = ""
    """How it is tested, in a sentence or three."""
    control: str = ""
    """What must resume after a decline that is good news, so that it was no accident."""
    alone: bool = False
    """Whether its subjects are measured one after another, since each disturbs the cluster."""

    fills_cache: bool = False
    """Whether its point is to fill the cache, so that no share of it is kept for the rest."""

    elastic: bool = False
    """Whether it does with what all others leave over of the session budget: what it costs goes by
    :attr:`Target.spare`."""

    diagnosis: int = 0
    """Handshakes with a node that are made only when it fails, to tell why."""

    remakes: Cost | CostByNode = field(default_factory=Cost)
    """What it may cost on top to make sessions again while it measures."""

    awaits: bool = False
    """Whether all nodes are asked whether they are ready after each subject."""

    waits: bool = False
    """Whether it does little but wait, so that all its subjects can do so at the same time."""

    titles: Mapping[str, str] = field(default_factory=dict)
    """By resumption_cache_scope: its title where something else is expected than its title says."""

    doing: str = ""
    """What it does to a node that takes its time: ``restarts``; empty where it takes none."""

    reasons: Mapping[str, str] = field(default_factory=dict)
    """Its own reason tokens, each with what it says of a node, in one clause."""

    story: Tell = field(default=_untold)
    """The function that this stands above."""

    def __call__(self, story: Tell) -> Check:
        """Return this check with the function that measures it: a decorator."""
        return replace(self, story=story)

    @property
    def family(self) -> str:
        """``CORE`` of ``CORE-01``."""
        return self.id.partition("-")[0]

    def title_for(self, target: Target) -> str:
        """Return what is expected of this target, in a few words."""
        return self.titles.get(target.settings.cache_scope, self.title)

    def cost_for(self, target: Target, node: str | None = None) -> Cost:
        """Return what one subject of this target costs; of this node, where nodes differ."""
        if isinstance(self.cost, CostByNode):
            return self.cost.of(target, node or next(iter(target.nodes), ""))
        return self.cost if isinstance(self.cost, Cost) else self.cost(target)


class Registry:
    """All checks, in the order in which they run: by id, families as they were added."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def __iter__(self) -> Iterator[Check]:
        families = list(dict.fromkeys(check.family for check in self._checks.values()))
        return iter(sorted(self._checks.values(),
                           key=lambda check: (families.index(check.family), check.id)))

    def add(self, check: Check) -> None:
        """Add a check whose needs are already there.

        Raises:
            ValueError: the id is taken, or a need is unknown.
        """
        if check.id in self._checks:
            raise ValueError(f"{check.id} is registered twice")
        for need in check.needs:
            if need.check not in self._checks:
                raise ValueError(f"{check.id} needs {need.check}, which does not run before it")
        self._checks[check.id] = check

    def collect(self, module: ModuleType) -> None:
        """Add the checks that a module declares, in its order. Raises ValueError as :meth:`add`."""
        for declared in vars(module).values():
            if isinstance(declared, Check):
                self.add(declared)
