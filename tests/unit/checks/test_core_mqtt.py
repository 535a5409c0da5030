"""CORE-06 against a little broker on OpenSSL's server side: every reason by its fault."""
from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.checks.core import mqtt as core_mqtt
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint, Outcome
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.credentials import Credentials
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import (
    Impact,
    Status,
    Verdict,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.plan import make_plan
from ansible_collections.emqx.conformance.plugins.module_utils.run.story import measured
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust
from ansible_collections.emqx.conformance.plugins.module_utils.tls.wire import Interrupted

from tests.support.lab import Lab
from tests.support.mqtt_broker import FAULTS, MqttBroker

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 12, 14


class Tried(Lab):
    """A broker, a bench on it with a session, and the check."""

    def __init__(self, certificate: tuple[Path, Path], *, version: str = "auto",
                 password: str | None = None, deadline_s: float = 4.0,
                 client_certificate: bool = False, **options: Any) -> None:
        self.broker = MqttBroker(*certificate, password=password, **options)
        super().__init__(
            self.broker.port,
            Trust(str(certificate[0]), *(map(str, certificate) if client_certificate else ())),
            deadline_s=deadline_s, mqtt_version=version, mqtt_topic="probe/",
            credentials=Credentials("probe" if password else None, password))
        self.establish()
        self.broker.conversations.clear()
        self.broker.client_ids.clear()

    def spoken(self, *faults: str) -> Verdict:
        """Return what CORE-06 comes to with a broker of these faults."""
        self.broker.faults.update(faults)
        return measured(core_mqtt.mqtt_over_resumed_connections, self.bench, ("n1",))

    def no_session_is_left(self) -> bool:
        """Tell so as soon as it is: the broker learns of the last DISCONNECT after us."""
        end = time.monotonic() + 3
        while self.broker.sessions and time.monotonic() < end:
            time.sleep(0.02)
        return not self.broker.sessions

    def all_is_heard(self) -> bool:
        """Tell so as soon as the broker has heard each DISCONNECT: of each it learns by itself."""
        end = time.monotonic() + 20
        while not (heard := all(one[-1:] == [DISCONNECT] for one in self.broker.conversations)):
            if time.monotonic() > end:
                break
            time.sleep(0.02)
        return heard

    def close(self) -> None:
        self.broker.stop()
        super().close()


@pytest.fixture
def tried(certificate: tuple[Path, Path]) -> Iterator[Callable[..., Tried]]:
    made: list[Tried] = []

    def make(**options: object) -> Tried:
        made.append(Tried(certificate, **options))  # type: ignore[arg-type]
        return made[-1]

    threads = threading.active_count()
    yield make
    for one in made:
        one.close()
    end = time.monotonic() + 3
    while threading.active_count() > threads and time.monotonic() < end:
        time.sleep(0.02)
    assert threading.active_count() == threads


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_healthy_broker_passes_on_five_resumed_connections(
        tried: Callable[..., Tried], version: str) -> None:
    one = tried(version=version)
    verdict = one.spoken()
    assert (verdict.status, verdict.reason) == (Status.PASSED, ""), verdict.message
    assert verdict.message == (f"n1 carries MQTT {version} over 5 resumed connections; "
                               "a persistent session was kept")
    assert len(verdict.handshakes) == core_mqtt.CONNECTIONS == 5
    assert {h.outcome for h in verdict.handshakes} == {Outcome.RESUMED}
    assert all(h.library_reused and h.wire_abbreviated and h.same_master_secret
               for h in verdict.handshakes)
    assert all(h.mqtt is not None and h.mqtt.version == version and not h.mqtt.cause
               and h.mqtt.connack_ms is not None for h in verdict.handshakes)
    # Counted where all handshakes are, and no more than the broker saw.
    assert one.bench.ledger.handshakes[one.before:] == list(verdict.handshakes)
    assert one.broker.handshakes == len(one.bench.ledger.handshakes)


def test_what_the_broker_saw_is_the_whole_of_mqtt(tried: Callable[..., Tried]) -> None:
    one = tried()
    one.spoken()
    assert one.all_is_heard()
    assert one.no_session_is_left()
    assert one.broker.conversations == [
        [CONNECT, SUBSCRIBE, PUBLISH, PUBACK, PINGREQ, DISCONNECT],
        [CONNECT, SUBSCRIBE, DISCONNECT],
        [CONNECT, PUBLISH, DISCONNECT],
        [CONNECT, PUBACK, DISCONNECT],
        [CONNECT, DISCONNECT]]
    first, stays, publisher, returns, deletes = one.broker.client_ids
    assert stays == returns == deletes
    assert len({first, stays, publisher}) == 3
    assert all(len(client_id.encode()) <= 23 for client_id in one.broker.client_ids)
    assert len(set(one.broker.topics_seen)) == 2
    assert all(topic.startswith("probe/") and "//" not in topic
               for topic in one.broker.topics_seen)


def test_the_password_is_used(tried: Callable[..., Tried]) -> None:
    assert tried(password=secrets.token_hex(8)).spoken().status is Status.PASSED


def test_a_client_certificate_is_remarked_upon(tried: Callable[..., Tried]) -> None:
    verdict = tried(client_certificate=True).spoken()
    assert verdict.status is Status.PASSED
    assert verdict.message.endswith(
        "no driver can ask the node whether it still knows the client's certificate")


def test_refused_persistence_is_not_offered_and_passes(tried: Callable[..., Tried]) -> None:
    one = tried()
    verdict = one.spoken("expiry_0")
    assert verdict.status is Status.PASSED
    assert "persistent sessions are not offered" in verdict.message
    assert len(verdict.handshakes) == core_mqtt.CONNECTIONS


SILENT = {"no_puback", "drops_publish", "no_suback", "no_pingresp", "no_connack", "loses_messages"}
"""Faults that show only when a deadline has passed."""
SHORT_S = 0.6
LONG_S = 60.0
"""A deadline that nothing is to wait for."""
"""The deadline then; a busy machine needs more for an answer that does come."""
FAILURES = [
    ("5", {"no_puback"}, "no_puback",
     "did not answer PUBLISH within the 0.6 s of resumption_timeout"),
    ("5", {"drops_publish"}, "publish_not_received", "if an ACL drops messages"),
    ("5", {"changes_payload"}, "payload_changed", "another payload"),
    ("5", {"no_suback"}, "no_suback", "did not answer SUBSCRIBE"),
    ("5", {"no_pingresp"}, "no_pingresp", "did not answer PINGREQ"),
    ("5", {"no_connack"}, "mqtt_timeout", "did not answer CONNECT"),
    ("5", {"no_connect"}, "mqtt_closed", "closed the connection instead of answering CONNECT"),
    ("5", {"closes_on_subscribe"}, "mqtt_closed", "instead of answering SUBSCRIBE"),
    ("5", {"closes_on_publish"}, "mqtt_closed", "instead of answering PUBLISH"),
    ("5", {"resets_on_publish"}, "mqtt_closed", "reset the connection"),
    ("5", {"breaks_protocol"}, "mqtt_malformed", "broke the MQTT protocol"),
    ("5", {"floods"}, "mqtt_malformed", "more than 65536 bytes"),
    ("5", {"sends_nonsense"}, "mqtt_malformed", "broke the MQTT protocol"),
    ("5", {"refuses_password"}, "mqtt_refused", "bad user name or password"),
    ("3.1.1", {"refuses_password"}, "mqtt_refused", "bad user name or password"),
    ("5", {"assigns_client_id"}, "other_client_id", "somebody-else"),
    ("5", {"never_present"}, "session_not_present", "came back to its persistent session"),
    ("3.1.1", {"never_present"}, "session_not_present", "came back"),
    ("5", {"always_present"}, "session_present_wrongly", "a client id never used before"),
    ("5", {"always_present_even_clean"}, "session_present_wrongly",
     "a client with clean start"),
    ("3.1.1", {"always_present_even_clean"}, "session_present_wrongly",
     "a client with clean start"),
    ("5", {"loses_messages"}, "message_lost", "sent no message on probe/"),
    ("3.1.1", {"loses_messages"}, "message_lost", "sent no message on probe/"),
    ("5", {"keeps_after_clean_start"}, "session_present_wrongly", "clean start"),
]


@pytest.mark.parametrize(("version", "faults", "reason", "says"), FAILURES)
def test_every_fault_fails_by_its_name_and_leaves_no_session(
        tried: Callable[..., Tried], version: str, faults: set[str], reason: str,
        says: str) -> None:
    one = tried(version=version, deadline_s=SHORT_S if faults & SILENT else LONG_S)
    begun = time.monotonic()
    verdict = one.spoken(*faults)
    assert (verdict.status, verdict.reason) == (Status.FAILED, reason), verdict.message
    assert says in verdict.message
    assert verdict.message.startswith("n1: on a resumed connection ")
    assert time.monotonic() - begun < LONG_S
    assert list(verdict.handshakes) == one.bench.ledger.handshakes[one.before:]
    assert one.no_session_is_left()


SKIPPED = [
    ("5", {"acl_subscribe"}, "acl_refused", "SUBSCRIBE to probe/"),
    ("3.1.1", {"acl_subscribe"}, "acl_refused", "SUBSCRIBE to probe/"),
    ("5", {"acl_publish"}, "acl_refused", "not authorized (0x87)"),
    ("5", {"acl_disconnect"}, "acl_refused", "answered by DISCONNECT: not authorized"),
    ("5", {"grants_qos_0"}, "qos_1_not_granted", "granted QoS 0 only"),
    ("5", {"refuses_version"}, "mqtt_version", "does not speak MQTT 5"),
    ("3.1.1", {"refuses_version"}, "mqtt_version", "does not speak MQTT 3.1.1"),
]


@pytest.mark.parametrize(("version", "faults", "reason", "says"), SKIPPED)
def test_what_is_not_allowed_or_not_spoken_is_skipped(
        tried: Callable[..., Tried], version: str, faults: set[str], reason: str,
        says: str) -> None:
    verdict = tried(version=version).spoken(*faults)
    assert (verdict.status, verdict.reason) == (Status.SKIPPED, reason), verdict.message
    assert says in verdict.message


def test_a_session_that_cannot_be_deleted_is_named(tried: Callable[..., Tried]) -> None:
    one = tried()
    verdict = one.spoken("hangs_up_on_deletion")
    assert (verdict.status, verdict.reason) == (Status.FAILED, "mqtt_closed")
    (client_id,) = one.broker.sessions
    assert verdict.message.endswith(f"the persistent session of {client_id} may be left behind")


def test_every_fault_of_the_broker_is_tried() -> None:
    tried = {fault for _, faults, _, _ in FAILURES + SKIPPED for fault in faults}
    # The latter two are about which version a node speaks: test_verify tries them.
    elsewhere = {"expiry_0", "hangs_up_on_deletion", "closes_on_v5", "answers_once"}
    assert tried | elsewhere == FAULTS


def test_a_full_handshake_is_not_resumed(tried: Callable[..., Tried]) -> None:
    one = tried()
    one.broker._cache = False
    verdict = one.spoken()
    assert (verdict.status, verdict.reason) == (Status.FAILED, "not_resumed")
    (handshake,) = verdict.handshakes
    assert handshake.outcome is Outcome.FULL


def test_a_node_that_went_away_was_not_measured(tried: Callable[..., Tried]) -> None:
    one = tried()
    one.broker.stop()
    verdict = one.spoken()
    assert (verdict.status, verdict.reason) == (Status.ERROR, "connection_refused")
    assert len(verdict.handshakes) == 1


@pytest.mark.parametrize("fault", ["no_suback", "loses_messages"])
def test_an_interrupt_ends_it_at_once_and_deletes_the_session(
        tried: Callable[..., Tried], fault: str) -> None:
    one = tried(deadline_s=LONG_S)
    threading.Timer(0.5, one.stop.set).start()
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        one.spoken(fault)
    assert time.monotonic() - begun < LONG_S
    assert one.no_session_is_left()


def test_without_paho_it_is_skipped_and_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_mqtt, "PAHO", False)
    check = next(check for check in catalogue() if check.id == "CORE-06")
    target = Target({"n1": Endpoint("n1", "127.0.0.1", 1, "x")}, Settings())
    plan = make_plan(target, [check], Impact.SAFE)
    (planned,) = plan.checks
    assert planned.skipped is not None
    assert planned.skipped.reason == "paho_missing"
    assert "pip install paho-mqtt==2.2.0" in planned.skipped.message
    assert plan.handshakes == {}


def test_the_catalogue_is_there_without_paho() -> None:
    script = ("import sys; sys.modules['paho'] = None; "
              f"from {catalogue.__module__} import catalogue; import {core_mqtt.__name__} as mqtt; "
              "print(mqtt.PAHO, len(list(catalogue())))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          check=True, env={"PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.stdout.split() == ["False", str(len(list(catalogue())))]


def test_where_nothing_is_to_resume_it_does_not_apply() -> None:
    check = next(check for check in catalogue() if check.id == "CORE-06")
    target = Target({"n1": Endpoint("n1", "127.0.0.1", 1, "x")}, Settings(cache_scope="none"))
    (planned,) = make_plan(target, [check], Impact.SAFE).checks
    assert planned.skipped is not None
    assert planned.skipped.reason == "precondition"
