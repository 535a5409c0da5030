"""The catalogue: every family's checks, in the order in which they run."""
from __future__ import annotations

from . import (
    core,
    core_mqtt,
    life,
    life_cache,
    load_balancer,
    negative,
    negative_hello,
    negative_offers,
    performance,
    quality,
    trust,
    trust_ended,
)
from .registry import Registry


def catalogue() -> Registry:
    """Return all checks."""
    registry = Registry()
    core.register(registry)
    core_mqtt.register(registry)
    registry.collect(negative)
    registry.collect(negative_hello)
    registry.collect(negative_offers)
    registry.collect(quality)
    registry.collect(trust)
    registry.collect(trust_ended)
    registry.collect(load_balancer)
    registry.collect(performance)
    registry.collect(life)
    registry.collect(life_cache)
    return registry
