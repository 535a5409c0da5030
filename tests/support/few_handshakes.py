"""PERF-01 with few handshakes, for tests of something else."""
from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

from ansible_collections.emqx.conformance.plugins.module_utils.checks import performance


@contextlib.contextmanager
def few_handshakes(*clients: int) -> Iterator[None]:
    """Let it make a few, and then as many as so many clients at once take; that is announced."""
    with mock.patch.multiple(performance, FULL=1, RESUMED=2, CLIENTS=clients, _PART=1):
        yield
