"""Does a node resume at all? Our own client asks before any other: two connections."""
from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Callable

from .. import client_certificate
from ..hints import with_hint
from ..identity import Identity, from_connack
from ..model import Endpoint, Outcome, Session
from ..mqtt import client as mqtt
from ..mqtt.client import Connack
from ..mqtt.credentials import Credentials
from ..tls.engine import Attempt, OrdinaryEngine, Stream
from ..tls.wire import TIMEOUT, Deadline, WireError

CONTROL = "control"
"""Reason token of what is not tried for what our own client has seen."""


@dataclass(frozen=True)
class Control:
    """What our own client saw of a node."""

    resumes: bool
    why: str
    """If it does not, why clients cannot be tried there, in a clause."""
    identity: Identity
    handshakes: int = 0
    """That it took."""
    full: int = 0
    """Those of them that were full."""


@dataclass
class Asking:
    """Asks nodes."""

    engine: OrdinaryEngine
    credentials: Credentials
    mqtt_version: str
    """``auto`` tries 5, then 3.1.1."""
    deadline_s: float
    wait: Callable[[Endpoint], None]
    stop: threading.Event

    def ask(self, endpoint: Endpoint) -> Control:
        """Make a session, offer it again, and speak MQTT both times.

        Raises:
            Interrupted: the run was asked to stop.
        """
        full, refused = 0, ""
        unknown = Identity.unknown("it has accepted no CONNECT")
        for version in self._versions():
            attempt = self._connected(endpoint, None)
            if attempt.stream is None:
                return Control(False, _why_none(attempt), unknown,
                               full + attempt.handshake.arrived, full)
            full += 1
            try:
                identity = from_connack(self._talk(attempt.stream, version))
            except mqtt.UnsupportedVersionError as error:
                refused = str(error)
                continue
            except mqtt.MqttError as error:
                # MQTT 3.1.1 3.1.4: who does not speak 5 may close on such a CONNECT.
                if error.cause != "mqtt_closed" or version != "5" or self.mqtt_version != "auto":
                    return Control(False, str(error), unknown, full, full)
                refused = str(error)
                continue
            except WireError as error:
                return Control(False, str(error), unknown, full, full)
            return self._again(endpoint, attempt.session, version, Control(
                False, "", identity, full, full))
        return Control(False, refused, unknown, full, full)

    def _versions(self) -> Iterator[str]:
        yield from ("5", "3.1.1") if self.mqtt_version == "auto" else (self.mqtt_version,)

    def _again(self, endpoint: Endpoint, session: Session | None, version: str,
               before: Control) -> Control:
        if session is None:
            return replace(before, why=f"{endpoint.name} issues no session IDs")
        attempt = self._connected(endpoint, session)
        made = replace(before, handshakes=before.handshakes + attempt.handshake.arrived)
        if attempt.stream is None:
            return replace(made, why=_why_none(attempt))
        with contextlib.suppress(mqtt.MqttError, WireError):
            self._talk(attempt.stream, version)
        if attempt.handshake.outcome is Outcome.RESUMED:
            return replace(made, resumes=True)
        return replace(made, full=made.full + 1, why=(
            f"{endpoint.name} does not resume the session of our own client either "
            f"({attempt.handshake.why}): make verify tells why"))

    def _connected(self, endpoint: Endpoint, offer: Session | None) -> Attempt:
        self.wait(endpoint)
        return self.engine.connect(endpoint, offer=offer, deadline_s=self.deadline_s)

    def _talk(self, stream: Stream, version: str) -> Connack:
        deadline = Deadline(self.deadline_s, self.stop, setting=TIMEOUT)
        try:
            connack = mqtt.connect(stream, self.credentials, version=version,
                                   deadline=deadline)
            with contextlib.suppress(WireError):
                mqtt.disconnect(stream, deadline)
            return connack
        finally:
            stream.close()


def _why_none(attempt: Attempt) -> str:
    """Return why there was no connection, with what helps."""
    handshake = attempt.handshake
    cause = handshake.failure.cause if handshake.failure else ""
    _, why = client_certificate.refusal(handshake) or ("", with_hint(handshake.why, cause))
    return f"{handshake.endpoint}: {why}"
