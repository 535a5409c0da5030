"""Nodes that somebody else runs: connected to by a verification alone, and never touched."""
from __future__ import annotations

from .base import Driver


class ExternalDriver(Driver):
    """Can do nothing to a node."""

    name = "external"
    limits = "somebody else runs them"
