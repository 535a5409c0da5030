"""The crafted engine: a TLS 1.2 client that says what no ordinary client says.

Built of tlslite-ng's messages and record layer, not of its client, which refuses on its own
side what a check wants the *target* to refuse. What it sends is a :class:`Hello` and, of what
follows, a :class:`Conduct`; everything else is an honest handshake. The transcript reads the
wire independently, as in the ordinary engine.

It verifies neither the target's certificate nor its ServerKeyExchange's signature: whom we
talk to is what the ordinary engine verifies, on the same address and in the same run.

Here is what it can be told; the client itself is in ``client.py``, since its messages take long to
import and whoever only looks at the catalogue of checks sends none.
"""
from __future__ import annotations

from .vocabulary import (
    GREASE_EXTENSIONS,
    GREASE_SUITE,
    HONEST,
    OLD_SUITES,
    SUITES,
    UNKNOWN_EXTENSIONS,
    Conduct,
    CraftedSession,
    Hello,
    MasterSecret,
    StopAfter,
    is_host_name,
)

__all__ = [
    "GREASE_EXTENSIONS",
    "GREASE_SUITE",
    "HONEST",
    "OLD_SUITES",
    "SUITES",
    "UNKNOWN_EXTENSIONS",
    "Conduct",
    "CraftedSession",
    "Hello",
    "MasterSecret",
    "StopAfter",
    "is_host_name",
]
