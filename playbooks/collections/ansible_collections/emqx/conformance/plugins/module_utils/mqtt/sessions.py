"""MQTT's own sessions: how to get a connection, who is on it, and what becomes of the session."""
from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Callable

from ..tls.engine import Attempt
from .credentials import Credentials


@dataclass(frozen=True)
class Link:
    """How to get a connection, and how to behave on it."""

    connect: Callable[[], Attempt]
    """Makes the TLS connection."""
    version: str
    """MQTT's: ``3.1.1`` or ``5``."""
    credentials: Credentials
    deadline_s: float
    """For every step: CONNECT to CONNACK, SUBSCRIBE to SUBACK …"""
    stop: threading.Event | None = None
    """Ends every wait with Interrupted."""


@dataclass(frozen=True)
class MqttIdentity:
    """Who connects, and what is to become of the MQTT session."""

    client_id: str
    clean_start: bool = True
    """MQTT 3.1.1 calls it clean session."""
    expiry_s: int = 0
    """MQTT 5: Session Expiry Interval to ask for."""


@dataclass(frozen=True)
class Accepted:
    """What the CONNACK granted."""

    session_present: bool
    expiry_s: int | None
    """MQTT 5's Session Expiry Interval; None in 3.1.1, which has none."""
    assigned_client_id: str | None
    """MQTT 5: the id the target gave us instead of ours."""
    connack_ms: float
