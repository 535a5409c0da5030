"""What a run is about, and how it behaves: enough to plan, before there is any connection."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..listeners.release import Release
from ..model import Endpoint, Outcome, TrustDomain
from ..mqtt.credentials import Credentials


@dataclass(frozen=True)
class Fleet:
    """Devices that reconnect again and again."""

    devices: int = 100_000
    minutes: int = 60
    """How long after the last time each of them does."""

    @property
    def per_s(self) -> float:
        """Reconnects a second, of all devices together."""
        return self.devices / (60 * self.minutes)


@dataclass(frozen=True)
class Settings:
    """How the run behaves; the names are those of the inventory."""

    cache_scope: str = "node"
    """Where a session is expected to resume: ``node``, ``cluster`` or ``none``."""
    session_cache_max: int = 1000
    """Sessions a node remembers; the budget of every check is a share of it."""
    cache_declared: bool = True
    """Whether somebody said so, or it is only assumed."""
    session_lifetime: float | None = None
    """Seconds for which a node is declared to remember a session; None: undeclared."""
    max_wait: float = 30
    """Seconds that a check may wait for a session or a certificate to expire."""
    rate_limit: float | None = None
    """Handshakes a second and node; None: unlimited."""
    deadline_s: float = 5.0
    """For TCP connect and handshake together, and again for CONNECT to CONNACK."""
    tls_versions: tuple[str, ...] = ()
    """Versions that the target is declared to speak, as EMQX spells them; empty: undeclared."""
    mqtt_version: str = "auto"
    credentials: Credentials = field(default_factory=Credentials)
    mqtt_topic: str = "tls-resumption"
    """Topic under which the probe publishes and subscribes."""
    fleet: Fleet = field(default_factory=Fleet)
    """Whom resumption is to save something."""
    release: Release | None = None
    """The EMQX that the nodes are declared to be; None: undeclared."""
    pairs_per_node: int | None = None
    """How many other nodes each node's session is offered to, within the budget; None: as many as
    the number of nodes suggests."""

    def expected(self, issuer: str, redeemer: str) -> Outcome:
        """Return what offering ``issuer``'s session to ``redeemer`` should come to."""
        if self.cache_scope == "cluster" or (self.cache_scope == "node" and issuer == redeemer):
            return Outcome.RESUMED
        return Outcome.FULL


@dataclass(frozen=True)
class Balancer:
    """An address that is expected to lead to several nodes."""

    endpoint: Endpoint
    affinity: str | None = None
    """What it is declared to keep together: ``session_id`` (who offers a session comes to the node
    that issued it), ``source`` (who comes from one address comes to one node) or ``none``; None:
    undeclared."""


@dataclass(frozen=True)
class Target:
    """What a run is about, before any connection: enough to plan."""

    nodes: dict[str, Endpoint]
    settings: Settings
    driver: str = "external"
    """Name of the driver."""
    abilities: frozenset[str] = frozenset()
    """What it can do to a node; those of :mod:`..drivers.base`."""
    limits: str = ""
    """Why it cannot do the rest, in one clause."""
    trust_domains: Mapping[str, tuple[TrustDomain, ...]] = field(default_factory=dict)
    """By node: its listeners that demand client certificates."""
    places: int = 1
    """How many places it is probed from, one after the other: they share its session budget."""
    vantage: bool = False
    """Whether this is one of the others than the controller, with nothing but python3."""
    balancers: Mapping[str, Balancer] = field(default_factory=dict)
    """By name: addresses that lead to the nodes, and are none themselves."""
    zones: Mapping[str, str] = field(default_factory=dict)
    """By node: where it stands, as far as that is declared."""
    spare: int | None = None
    """Full handshakes that a node's session budget has left for each check that does with what
    there is (:attr:`Check.elastic`); None: there is no plan."""

    @property
    def shared_addresses(self) -> tuple[str, ...]:
        """The addresses that may lead to several nodes: load balancers, or a single node's."""
        if self.balancers:
            return tuple(self.balancers)
        return tuple(self.nodes) if len(self.nodes) == 1 else ()

    def next_after(self, node: str) -> str:
        """Return the node after this one in the inventory's order; after the last, the first."""
        names = list(self.nodes)
        return names[(names.index(node) + 1) % len(names)]
