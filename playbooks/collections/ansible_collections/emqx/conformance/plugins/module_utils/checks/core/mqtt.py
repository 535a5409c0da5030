"""CORE-06: MQTT, whole, over resumed connections."""
from __future__ import annotations

import contextlib
import importlib.util
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ...hints import with_hint
from ...model import MqttResult, Outcome
from ...mqtt.client import AclRefusedError, MqttError, UnsupportedVersionError
from ...mqtt.sessions import Accepted, Link, MqttIdentity
from ...run.check import Check, Cost, Impact, Level, Need, Per, Verdict
from ...run.prober import Contact
from ...run.story import Story, StoryEnd
from ...run.target import Target
from ...run.verdict import skipped

if TYPE_CHECKING:
    from ...mqtt.paho_session import PahoConnection

try:
    PAHO = importlib.util.find_spec("paho.mqtt.enums") is not None
except ImportError:
    PAHO = False
"""Whether paho-mqtt 2 is installed where the probe runs."""

CONNECTIONS = 5
"""One with clean start; one that begins a session, one that publishes meanwhile, one that comes
back to the session, one that deletes it."""
SESSION_EXPIRY_S = 300
"""What is asked for, in seconds: if the session cannot be deleted, MQTT 5 forgets it then."""
_LAST_DEADLINE_S = 1.0
"""For each step of deleting a session when the check went wrong or the run is ending."""


class _QosError(MqttError):
    """The target grants QoS 0 only."""


class _Paho:
    """What paho-mqtt does with one node: each time on a resumed connection of its own."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self._bench, self._name = story.bench, story.node
        self.left_behind = ""
        """Client id whose session may be there still."""

    @property
    def left(self) -> str:
        """Say whose persistent session may be there still, as far as anybody's."""
        return f"; the persistent session of {self.left_behind} may be left behind" \
            if self.left_behind else ""

    def topic(self) -> str:
        """Return a topic that nobody else uses."""
        return f"{self._bench.settings.mqtt_topic.rstrip('/')}/{secrets.token_hex(6)}"

    @contextlib.contextmanager
    def connected(self, identity: MqttIdentity, *, last: bool = False,
                  ) -> Iterator[tuple[PahoConnection, Accepted]]:
        """Connect, and send DISCONNECT in the end.

        ``last`` is for putting things in order: short deadlines, deaf to interrupts, and on a full
        handshake too, since what went wrong may have spoilt the session. Otherwise the check ends
        where the connection was not resumed.

        Raises:
            MqttError: MQTT did not work.
            Interrupted: the run was asked to stop.
        """
        # Ansible asks for the catalogue in every run, and in few does paho speak.
        from ...mqtt.paho_session import PahoConnection  # noqa: PLC0415

        bench, settings = self._bench, self._bench.settings
        seconds = min(settings.deadline_s, _LAST_DEADLINE_S) if last else settings.deadline_s
        version = bench.prober.mqtt_version(self._name)
        offers = not last or bench.sessions.can_offer(self._name)
        connection = PahoConnection(Link(
            lambda: bench.prober.open(self._name, bench.sessions[self._name] if offers else None,
                                      heed_stop=not last, deadline_s=seconds),
            version, settings.credentials, seconds, None if last else bench.stop), identity)
        result = MqttResult(version, "mqtt_broken_off", "not resumed, so MQTT went no further")
        try:
            if connection.open():
                self._demand_resumed(connection, last=last)
                result = MqttResult(version, "mqtt_interrupted", "interrupted")
                accepted = connection.await_connack()
                result = MqttResult(version, "", "CONNACK accepted", accepted.connack_ms)
                if accepted.assigned_client_id is not None:
                    raise MqttError("other_client_id", "CONNACK assigns the client id "
                                    f"{accepted.assigned_client_id} to a client that has one")
                yield connection, accepted
                connection.disconnect()
        except MqttError as error:
            result = MqttResult(version, error.cause, str(error), result.connack_ms)
            raise
        finally:
            connection.close()
            self._heard(connection, result)
        self._demand_resumed(connection, last=last)

    def _heard(self, connection: PahoConnection, result: MqttResult) -> None:
        attempt = connection.attempt
        if attempt is None:
            return
        handshake = attempt.handshake
        if attempt.stream is not None:
            handshake = replace(handshake, mqtt=result)
        self.story.seen(self._bench.prober.heard(self._name, Contact(handshake)))

    def _demand_resumed(self, connection: PahoConnection, *, last: bool) -> None:
        attempt = connection.attempt
        if attempt is None or attempt.handshake.outcome is Outcome.RESUMED or (
                last and attempt.handshake.outcome is Outcome.FULL):
            return
        # MQTT comes after; here only the TLS half is judged.
        fine = replace(attempt.handshake, mqtt=MqttResult("", "", ""))
        self.story.reaches_mqtt(Contact(fine))
        self.story.fail("not_resumed", f"{self._name} did not resume its session for paho-mqtt, "
                                       "although it did before")

    def clean_start(self) -> None:
        """Everything a client does, with clean start."""
        topic, payload = self.topic(), secrets.token_bytes(16)
        with self.connected(MqttIdentity(self._new_id())) as (client, accepted):
            _demand_absent(accepted, "a client with clean start")
            _subscribe(client, topic)
            client.publish(topic, payload)
            client.await_message(topic, payload, "publish_not_received")
            client.ping()

    def persistent_session(self) -> bool:
        """A session outlives its connection. Returns False when the target offers none."""
        identity = MqttIdentity(self._new_id(), clean_start=False, expiry_s=SESSION_EXPIRY_S)
        before = len(self.story.evidence)
        try:
            offered = self._stay_and_return(identity)
        except BaseException:
            if any(handshake.failure is None for handshake in self.story.evidence[before:]):
                with contextlib.suppress(MqttError, StoryEnd):
                    self._forget(identity, last=True)
            raise
        self._forget(identity)
        return offered

    def _stay_and_return(self, identity: MqttIdentity) -> bool:
        topic, payload = self.topic(), secrets.token_bytes(16)
        with self.connected(identity) as (client, accepted):
            _demand_absent(accepted, "a client id never used before")
            granted = accepted.expiry_s is None or accepted.expiry_s > 0
            _subscribe(client, topic)
        with self.connected(MqttIdentity(self._new_id())) as (publisher, _):
            publisher.publish(topic, payload)
        with self.connected(identity) as (client, accepted):
            if not granted:
                _demand_absent(accepted, "a session it had refused to keep (Session Expiry "
                                         "Interval 0)")
            elif not accepted.session_present:
                raise MqttError("session_not_present", "CONNACK tells no session to a client that "
                                "came back to its persistent session")
            else:
                client.await_message(topic, payload, "message_lost")
        return granted

    def _forget(self, identity: MqttIdentity, *, last: bool = False) -> None:
        self.left_behind = identity.client_id
        with self.connected(replace(identity, clean_start=True, expiry_s=0),
                            last=last) as (_, accepted):
            _demand_absent(accepted, "a client with clean start")
        self.left_behind = ""

    def _new_id(self) -> str:
        return self._bench.settings.credentials.new_client_id()


def _subscribe(client: PahoConnection, topic: str) -> None:
    if client.subscribe(topic) == 0:
        raise _QosError("qos_1_not_granted", f"SUBSCRIBE to {topic} was granted QoS 0 only")


def _demand_absent(accepted: Accepted, whom: str) -> None:
    """Judge what every CONNACK must say to a client without a session (MQTT 3.2.2.2)."""
    if accepted.session_present:
        raise MqttError("session_present_wrongly", f"CONNACK tells a session to {whom}")


@contextlib.contextmanager
def _in_words(client: _Paho) -> Iterator[None]:
    """Let what MQTT came to end the check, and say what may be left behind."""
    story = client.story
    try:
        yield
    except StoryEnd as end:
        verdict = replace(end.verdict, message=end.verdict.message + client.left)
        raise StoryEnd(verdict) from None
    except (AclRefusedError, _QosError) as error:
        story.skip(error.cause, with_hint(f"{story.node}: {error}", error.cause) + client.left)
    except UnsupportedVersionError as error:
        story.skip(error.cause, f"{story.node}: {error}")
    except MqttError as error:
        # What helps with CONNECT is of no use here: it was accepted before.
        told = with_hint(f"{story.node}: on a resumed connection {error}",
                         "" if error.cause.startswith("mqtt_") else error.cause)
        story.fail(error.cause, told + client.left)


def _applies(target: Target) -> str | Verdict | None:
    if target.settings.cache_scope == "none":
        return "resumption_cache_scope none declares that nothing resumes"
    if target.vantage:
        return skipped("paho_missing", "it needs paho-mqtt, and from a vantage point is probed "
                                       "with nothing but python3, which speaks CONNECT and CONNACK "
                                       "in the other checks")
    if not PAHO:
        return skipped("paho_missing", "paho-mqtt 2 is not installed where the probe runs: "
                                       "pip install paho-mqtt==2.2.0")
    return None


@Check(
    id="CORE-06",
    title="MQTT works over resumed connections",
    requirement=(
        "Over resumed connections CONNECT, SUBSCRIBE, a QoS 1 round trip, PING and DISCONNECT "
        "work; with clean start no session is present, and a persistent session is told of, keeps "
        "its QoS 1 messages and is gone when deleted."),
    clause="MQTT 3.1.1 and 5.0, 3.1.2.4, 3.2.2.2, 4.1, 4.3.2",
    level=Level.MUST, impact=Impact.SAFE, per=Per.NODE, cost=Cost(resumed=CONNECTIONS),
    meaning=(
        "Devices that resume are connected and yet get no messages, lose their subscriptions, or "
        "are taken for somebody else."),
    needs=(Need("CORE-02"),), precondition=_applies,
    how=(
        "paho-mqtt speaks on connections that resume the session: a clean start with "
        "SUBSCRIBE, PUBLISH at QoS 1 and its delivery, PINGREQ and DISCONNECT; then a "
        "persistent session that is left, sent a message while away, found again and "
        "deleted. Where an ACL or the MQTT version forbids that, it is skipped with the "
        "reason."),
    reasons={
        "not_resumed": "its session does not resume for paho-mqtt",
        "publish_not_received": "a message to oneself does not arrive",
        "payload_changed": "a message arrives with another payload",
        "message_lost": "a persistent session loses a message",
        "session_not_present": "a persistent session is not there when its client comes back",
        "session_present_wrongly": "CONNACK tells a session where there must be none",
        "other_client_id": "CONNACK assigns another client id",
        "no_suback": "SUBSCRIBE is not answered",
        "no_puback": "PUBLISH at QoS 1 is not answered",
        "no_pingresp": "PINGREQ is not answered",
        "acl_refused": "an ACL forbids to publish or to subscribe",
        "qos_1_not_granted": "SUBSCRIBE is granted QoS 0 only"})
def mqtt_over_resumed_connections(story: Story) -> str:
    """A resumed connection carries everything MQTT does, and changes no identity."""
    client = _Paho(story)
    with _in_words(client):
        client.clean_start()
        offered = client.persistent_session()
    kept = "a persistent session was kept" if offered else \
        "persistent sessions are not offered (Session Expiry Interval 0)"
    asked = "; no driver can ask the node whether it still knows the client's certificate" \
        if story.prober.engine.has_client_certificate else ""
    return (f"{story.node} carries MQTT {story.prober.mqtt_version(story.node)} over {CONNECTIONS} "
            f"resumed connections; {kept}{asked}")
