"""Fixtures that several families of unit tests share."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.openssl_broker import Broker


@pytest.fixture
def brokers(certificate: tuple[Path, Path]) -> Iterator[Callable[..., Broker]]:
    """Start brokers that end with the test."""
    started: list[Broker] = []

    def start(**options: object) -> Broker:
        broker = Broker(*certificate, **options)  # type: ignore[arg-type]
        started.append(broker)
        return broker

    yield start
    for broker in started:
        broker.stop()
