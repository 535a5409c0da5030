"""One connection with MQTT on it, of a real broker, and how it is entered."""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint, Outcome
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.credentials import Credentials
from ansible_collections.emqx.conformance.plugins.module_utils.run import beyond
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import (
    Contact,
    Guest,
    Offer,
    Prober,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.tls import engine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.support.mqtt_broker import MqttBroker

Probe = Callable[[MqttBroker], Prober]


@pytest.fixture
def prober(certificate: tuple[Path, Path]) -> Iterator[Probe]:
    """Makes probers of one broker each."""
    made: list[Prober] = []

    def make(broker: MqttBroker) -> Prober:
        made.append(Prober(
            OrdinaryEngine(Trust(str(certificate[0]))),
            Target({"n1": Endpoint("n1", "127.0.0.1", broker.port, "localhost")},
                   Settings(credentials=Credentials(client_id_prefix="p"))), threading.Event()))
        return made[-1]

    yield make
    for each in made:
        each.close()
        each.engine.close()


def test_a_contact_is_entered_with_mqtt_session_and_connack(
        brokers: Callable[..., MqttBroker], prober: Probe) -> None:
    one = prober(brokers())
    first = one.contact(Offer("n1"))
    assert first.session is not None
    assert first.handshake.mqtt is not None
    assert (first.handshake.key, first.handshake.outcome, first.handshake.mqtt.cause) == (
        "h00001", Outcome.FULL, "")
    assert one.ledger.connacks == {"n1": first.connack}
    again = one.contact(Offer("n1", first.session))
    assert again.handshake.outcome is Outcome.RESUMED
    assert one.ledger.handshakes == [first.handshake, again.handshake]


def test_what_is_usual_is_counted_only(brokers: Callable[..., MqttBroker], prober: Probe) -> None:
    one = prober(brokers())
    usual = one.contact(Offer("n1", usual=Outcome.FULL))
    assert usual.session is not None
    assert not usual.handshake.key
    other = one.contact(Offer("n1", usual=Outcome.RESUMED, keep_session=False))
    assert other.session is None
    assert one.ledger.handshakes == [other.handshake]
    assert one.ledger.unlisted.sessions == {"n1": 1}


def test_who_speaks_no_mqtt_5_is_asked_again_once(
        brokers: Callable[..., MqttBroker], prober: Probe) -> None:
    one = prober(brokers(speaks_v5=False))
    contacts = [one.contact(Offer("n1")) for _ in range(2)]
    assert [contact.connack.version for contact in contacts if contact.connack] == ["3.1.1"] * 2
    assert one.ledger.beyond == {beyond.SECOND_TRIES: {"n1": 1}}
    assert [handshake.key for handshake in one.ledger.handshakes] == [
        "h00001", *(contact.handshake.key for contact in contacts)]


def test_a_session_that_our_library_has_dropped_is_not_connected_for(
        brokers: Callable[..., MqttBroker], prober: Probe,
        monkeypatch: pytest.MonkeyPatch) -> None:
    broker = brokers()
    one = prober(broker)
    session = one.contact(Offer("n1")).session
    assert session is not None
    assert one.can_offer("n1", session)
    # As OpenSSL does after a fatal alert; from CPython 3.13 on for all connections.
    monkeypatch.setattr(engine._Tls, "offers", lambda *_: False)
    assert not one.can_offer("n1", session)
    assert one.tried(Offer("n1", session)).spoilt
    assert one.ledger.handshakes[1:] == []
    contact = one.contact(Offer("n1", session))
    assert contact.spoilt
    assert one.ledger.handshakes[1:] == [contact.handshake]
    assert one.ledger.done("n1") == len(broker.client_ids) == 1


def test_a_guest_comes_by_its_own_listener_and_is_counted_with_the_node(
        brokers: Callable[..., MqttBroker], prober: Probe, certificate: tuple[Path, Path]) -> None:
    usual, other = brokers(), brokers()
    one = prober(usual)
    theirs = one.engine_of(*map(str, certificate))
    assert theirs is one.engine_of(*map(str, certificate)) is not one.engine
    assert one.engine_of() is one.engine
    contact = one.contact(Offer("n1", guest=Guest(
        theirs, Endpoint("n1", "127.0.0.1", other.port, "localhost"))))
    assert contact.handshake.outcome is Outcome.FULL
    assert (len(usual.client_ids), len(other.client_ids)) == (0, 1)
    assert one.ledger.done("n1") == 1


def test_those_that_stay_together_are_crowded(
        brokers: Callable[..., MqttBroker], prober: Probe) -> None:
    one, together = prober(brokers()), threading.Barrier(2)
    contacts: list[Contact] = []
    threads = [threading.Thread(target=lambda: contacts.append(
        one.contact(Offer("n1", together=together)))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [contact.handshake.crowded for contact in contacts] == [True, True]


def test_an_offer_is_not_changed_on_its_way() -> None:
    with pytest.raises(FrozenInstanceError):
        Offer("n1").keep_session = False  # type: ignore[misc]
