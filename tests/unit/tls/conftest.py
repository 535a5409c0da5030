"""Servers of single cipher suites, with the certificate and the group that each needs."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.mqtt_broker import MqttBroker
from tests.support.openssl_cli import make_dh_parameters, make_identity


@pytest.fixture(scope="session")
def identities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Certificate and key by what a suite's name has of them."""
    made = {}
    for name, kind in (("ECDSA", "P-256"), ("DSS", "DSA"), ("RSA", "RSA")):
        identity = make_identity(tmp_path_factory.mktemp(name), "localhost", kind=kind)
        made[name] = identity.certificate, identity.key
    return made


@pytest.fixture(scope="session")
def dh_parameters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A group, for DHE."""
    return make_dh_parameters(tmp_path_factory.mktemp("dh"))


@pytest.fixture
def speaking(identities: dict[str, tuple[Path, Path]],
             dh_parameters: Path) -> Iterator[Callable[[str], MqttBroker]]:
    """Starts a broker that speaks one suite and nothing else, at any security level."""
    brokers: list[MqttBroker] = []

    def start(suite: str) -> MqttBroker:
        kind = next((kind for kind in ("ECDSA", "DSS") if kind in suite), "RSA")
        broker = MqttBroker(*identities[kind])
        brokers.append(broker)
        broker.context.load_dh_params(str(dh_parameters))
        broker.context.set_ciphers(f"{suite}:@SECLEVEL=0")
        return broker

    yield start
    for broker in brokers:
        broker.stop()
