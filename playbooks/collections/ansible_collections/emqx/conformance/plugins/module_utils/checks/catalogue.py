"""The catalogue: every family's checks, in the order in which they run."""
from __future__ import annotations

from ..run.check import Registry
from . import load_balancer, performance
from .core import mqtt, resuming, versions
from .life import capacity, disturbed, lifetime
from .negative import (
    extended_master_secret,
    ids,
    names,
    renegotiation,
    secrets,
    shapes,
    suites,
)
from .negative import versions as other_versions
from .security import secrecy, session_ids, trust, trust_ended

_MODULES = (
    resuming, versions, mqtt,
    ids, secrets, suites, other_versions, names, extended_master_secret, renegotiation, shapes,
    session_ids, secrecy, trust, trust_ended,
    load_balancer, performance,
    disturbed, lifetime, capacity)


def catalogue() -> Registry:
    """Return all checks."""
    registry = Registry()
    for module in _MODULES:
        registry.collect(module)
    return registry
