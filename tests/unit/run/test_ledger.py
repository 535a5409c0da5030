"""Every handshake is in the ledger once, under the key that it has in results.json."""
from __future__ import annotations

import threading
from collections.abc import Callable

from ansible_collections.emqx.conformance.plugins.module_utils.model import (
    Endpoint,
    Failure,
    Handshake,
    Outcome,
)
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.client import Connack
from ansible_collections.emqx.conformance.plugins.module_utils.run import beyond
from ansible_collections.emqx.conformance.plugins.module_utils.run.ledger import (
    Ledger,
    key_of,
    place_of,
)


def handshake(outcome: Outcome = Outcome.FULL, *, cause: str = "", octets: int = 100) -> Handshake:
    failure = Failure("connect", cause, "no") if cause else None
    return Handshake(Endpoint("n1", "127.0.0.1", 1, "localhost"), "", outcome, "",
                     bytes_in=octets, failure=failure)


def test_a_key_is_given_on_entry_and_tells_the_place() -> None:
    ledger = Ledger()
    entered = [ledger.enter("n1", handshake()) for _ in range(3)]
    assert [one.key for one in entered] == ["h00001", "h00002", "h00003"]
    assert all(kept is one for kept, one in zip(ledger.handshakes, entered))
    assert [place_of(one.key) for one in entered] == [0, 1, 2]
    assert place_of(key_of(123_456)) == 123_456


def test_keys_are_given_once_however_many_enter_at_once() -> None:
    ledger = Ledger()

    def enter() -> None:
        for _ in range(200):
            ledger.enter("n1", handshake())

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.key for one in ledger.handshakes] == [key_of(place) for place in range(800)]
    assert ledger.done("n1") == 800


def test_one_of_very_many_is_counted_and_has_no_key() -> None:
    ledger = Ledger()
    ledger.check = "LIFE-04"
    assert not ledger.enter("n1", handshake(), listed=False).key
    assert not ledger.enter("n1", handshake(Outcome.RESUMED), listed=False).key
    assert ledger.handshakes == []
    assert ledger.unlisted.handshakes == {"n1": 2}
    assert ledger.unlisted.sessions["n1"] == 1
    assert ledger.made == {"LIFE-04": {"n1": 2}}


def test_what_found_nobody_is_listed_and_not_counted() -> None:
    ledger, told = Ledger(), list[int]()
    ledger.on_handshake = told.append
    assert ledger.enter("n1", handshake(Outcome.FAILED, cause="connection_refused", octets=0)).key
    assert (ledger.done("n1"), ledger.has_answered("n1")) == (0, False)
    ledger.enter("n1", handshake(Outcome.FAILED, cause="connection_reset", octets=0))
    assert (ledger.done("n1"), ledger.has_answered("n1")) == (1, False)
    ledger.enter("n1", handshake())
    assert (ledger.done("n1"), ledger.has_answered("n1")) == (2, True)
    assert told == [0, 1, 2]


def _elsewhere(do: Callable[[], object]) -> None:
    thread = threading.Thread(target=do)
    thread.start()
    thread.join()


def test_what_no_plan_has_is_counted_by_kind_and_by_thread() -> None:
    ledger = Ledger()
    ledger.check = "CORE-02"
    with ledger.counted_as(beyond.DIAGNOSES):
        ledger.enter("n1", handshake())
        with ledger.counted_as(beyond.CONTROLS):
            ledger.enter("n1", handshake())
        ledger.enter("n1", handshake())
        _elsewhere(lambda: ledger.enter("n1", handshake()))
    ledger.enter("n2", handshake())
    assert ledger.beyond == {beyond.DIAGNOSES: {"n1": 2}, beyond.CONTROLS: {"n1": 1}}
    assert ledger.made == {"CORE-02": {"n1": 1, "n2": 1}}
    assert ledger.unannounced == 3
    assert (ledger.done("n1"), ledger.done("n2")) == (4, 1)


def test_a_renewal_is_counted_under_its_reason_which_is_remembered() -> None:
    ledger = Ledger()
    with ledger.made_again("n1", beyond.SPOILT):
        ledger.enter("n1", handshake())
    assert ledger.beyond == {beyond.SPOILT: {"n1": 1}}
    assert ledger.renewed == {"n1": beyond.SPOILT}


def test_the_first_connack_of_a_node_stays() -> None:
    ledger = Ledger()
    first, second = Connack("5", session_present=False), Connack("3.1.1", session_present=False)
    for connack in (None, first, second):
        ledger.enter("n1", handshake(), connack)
    assert ledger.connacks == {"n1": first}


def test_the_last_handshake_of_a_pair_is_its_cell() -> None:
    ledger = Ledger()
    for _ in range(2):
        ledger.record_cell("n1", "n2", ledger.enter("n2", handshake()))
    assert ledger.cells["n1", "n2"].key == "h00002"
