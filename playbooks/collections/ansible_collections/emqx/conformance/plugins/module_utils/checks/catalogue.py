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
    for family in (core, core_mqtt, negative, negative_hello, negative_offers, quality, trust,
                   trust_ended, load_balancer, performance, life, life_cache):
        registry.collect(family)
    return registry
