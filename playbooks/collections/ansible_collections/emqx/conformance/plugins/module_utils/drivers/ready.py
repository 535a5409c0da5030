"""A node is ready when it answers CONNECT over TLS."""
from __future__ import annotations

import contextlib
import threading
from collections import Counter

from .. import client_certificate
from ..hints import with_hint
from ..model import Outcome
from ..mqtt import client as mqtt
from ..mqtt.client import Connack
from ..mqtt.credentials import Credentials
from ..tls.engine import Attempt, OrdinaryEngine, Stream, nothing_in_common
from ..tls.trust import EngineError, Trust
from ..tls.verify_results import CERTIFICATE_CAUSES
from ..tls.wire import TIMEOUT, Deadline, Interrupted, WireError
from .base import DriverError, DriverInterrupted, NodeSpec


class NotReadyError(DriverError):
    """No CONNACK."""

    def __init__(self, sentence: str, *, final: bool) -> None:
        """``final``: trying again will not help."""
        super().__init__(sentence)
        self.final = final


class Caller:
    """Makes ordinary connections to find out whether nodes serve, and what they are."""

    def __init__(self, trust: Trust, credentials: Credentials | None = None,
                 stop: threading.Event | None = None, timeout_s: float = 5.0) -> None:
        """Remember whom to trust; the files are read when the first connection is made.

        ``timeout_s`` is what a node has for TCP connect and handshake, and again for CONNECT to
        CONNACK. A plan (``--check``) connects to nobody, and the certificates may not be there yet.
        """
        self._trust = trust
        self._credentials = credentials or Credentials()
        self._stop = stop
        self._timeout_s = timeout_s
        self.asked: Counter[str] = Counter()
        """By node: the handshakes that it was asked for."""
        self._counting = threading.Lock()
        self._engine: OrdinaryEngine | None = None
        self._of_all_suites: OrdinaryEngine | None = None

    def close(self) -> None:
        """Release what the engine holds."""
        for engine in (self._engine, self._of_all_suites):
            if engine is not None:
                engine.close()
        self._engine = self._of_all_suites = None

    def load(self) -> OrdinaryEngine:
        """Read the certificates now, so that a wrong path is told before anything starts.

        Raises:
            DriverError: a file is missing or unusable.
        """
        if self._engine is None:
            try:
                # A password is sent without forward secrecy only where nothing else is spoken.
                self._engine = OrdinaryEngine(
                    self._trust, stop=self._stop,
                    forward_secret=self._credentials.password is not None)
            except EngineError as error:
                raise DriverError(str(error)) from None
        return self._engine

    def connack(self, node: NodeSpec) -> Connack:
        """Connect, and return what CONNECT is answered; MQTT 5 first, then 3.1.1.

        Raises:
            NotReadyError: the node does not answer so.
            DriverInterrupted: the run was asked to stop.
        """
        try:
            try:
                return self._ask(node, "5")
            except mqtt.UnsupportedVersionError:
                return self._ask(node, "3.1.1")
        except mqtt.MqttError as error:
            raise NotReadyError(str(error), final=error.cause == "mqtt_refused") from None
        except Interrupted:
            raise DriverInterrupted from None

    def _ask(self, node: NodeSpec, version: str) -> Connack:
        engine = self.load()
        attempt = self._connected(engine, node)
        if engine.forward_secret and nothing_in_common(attempt.handshake):
            self._of_all_suites = self._of_all_suites or OrdinaryEngine(
                self._trust, stop=self._stop)
            attempt = self._connected(self._of_all_suites, node)
        if attempt.stream is None:
            handshake = attempt.handshake
            cause = handshake.failure.cause if handshake.failure else ""
            distrusted = cause in CERTIFICATE_CAUSES
            _, why = client_certificate.refusal(handshake) or (
                "", with_hint(handshake.why, cause if distrusted else ""))
            raise NotReadyError(why, final=handshake.outcome is Outcome.REFUSED or distrusted)
        try:
            return self._talk(attempt.stream, version)
        finally:
            attempt.stream.close()

    def _connected(self, engine: OrdinaryEngine, node: NodeSpec) -> Attempt:
        attempt = engine.connect(node.endpoint, deadline_s=self._timeout_s)
        with self._counting:
            self.asked[node.name] += attempt.handshake.arrived
        return attempt

    def _talk(self, stream: Stream, version: str) -> Connack:
        deadline = Deadline(self._timeout_s, self._stop, setting=TIMEOUT)
        connack = mqtt.connect(stream, self._credentials, version=version, deadline=deadline)
        with contextlib.suppress(WireError):
            mqtt.disconnect(stream, deadline)
        return connack
