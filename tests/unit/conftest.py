"""Fixtures that several families of unit tests share."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.mqtt_broker import MqttBroker


@pytest.fixture
def brokers(certificate: tuple[Path, Path]) -> Iterator[Callable[..., MqttBroker]]:
    """Start brokers that end with the test."""
    started: list[MqttBroker] = []

    def start(**options: object) -> MqttBroker:
        broker = MqttBroker(*certificate, **options)  # type: ignore[arg-type]
        started.append(broker)
        return broker

    yield start
    for broker in started:
        broker.stop()
