"""The small vocabulary in which checks give their verdicts."""
from __future__ import annotations

from ..hints import cause_of, with_hint
from ..model import Handshake, Outcome
from ..tls.engine import CCM_8_LEFT_OUT, nothing_in_common
from ..tls.verify_results import CERTIFICATE_CAUSES
from .check import Status, Verdict
from .pace import TURNED_AWAY, UNDECIDED
from .prober import Contact

_OURS = frozenset((*CERTIFICATE_CAUSES, "client_broke", "library_rejected", "not_offered",
                   "password_withheld", TURNED_AWAY, UNDECIDED))
"""Causes on our side of the connection, or of what is done to anybody: never evidence."""
_OFFERED = ("all of OpenSSL's TLS 1.2 cipher suites that encrypt and authenticate by certificate"
            + (" (but CCM_8, which OpenSSL 3.2 and later call too weak)" if CCM_8_LEFT_OUT else "")
            + ", and its usual groups and signature algorithms")


def passed(message: str, *handshakes: Handshake) -> Verdict:
    """The requirement holds."""
    return Verdict(Status.PASSED, "", message, handshakes)


def failed(reason: str, message: str, *handshakes: Handshake) -> Verdict:
    """The requirement does not hold; ``reason`` is a stable token."""
    return Verdict(Status.FAILED, reason, message, handshakes)


def error(reason: str, message: str, *handshakes: Handshake) -> Verdict:
    """Nothing was measured."""
    return Verdict(Status.ERROR, reason, message, handshakes)


def skipped(reason: str, message: str) -> Verdict:
    """The requirement does not apply here, or cannot be judged."""
    return Verdict(Status.SKIPPED, reason, message)


def trouble(contact: Contact, *, first: bool = False) -> Verdict | None:
    """Return the verdict on a connection that did not get as far as MQTT, or None.

    Args:
        contact: the connection.
        first: nothing is known of this node yet, so that an unanswered or garbled
            handshake means "could not be measured" and not "resumption broke it".
    """
    handshake = contact.handshake
    failure = handshake.failure
    if handshake.outcome is Outcome.INCONSISTENT:
        return failed("inconsistent", f"{handshake.endpoint}: {handshake.why}", handshake)
    if handshake.outcome is Outcome.REFUSED:
        if first and nothing_in_common(handshake):
            return error("nothing_in_common", f"{handshake.endpoint}: {handshake.why} on a "
                         f"ClientHello with {_OFFERED}: it takes none of them, or has no "
                         "certificate and key that can be used with one", handshake)
        return failed("refused", with_hint(f"{handshake.endpoint}: {handshake.why}",
                                           cause_of(handshake, first=first)), handshake)
    if failure is not None:
        sentence = with_hint(f"{handshake.endpoint}: {failure.detail}",
                             cause_of(handshake, first=first))
        unmeasured = first or failure.stage == "connect" or failure.cause in _OURS
        return (error if unmeasured else failed)(failure.cause, sentence, handshake)
    if handshake.mqtt is None or handshake.mqtt.cause:
        cause = handshake.mqtt.cause if handshake.mqtt else "mqtt_not_tried"
        detail = handshake.mqtt.detail if handshake.mqtt else "MQTT was not tried"
        sentence = with_hint(f"{handshake.endpoint}: TLS works, MQTT does not: {detail}",
                             cause if first else "")
        return error(cause, sentence, handshake) if first or cause in _OURS else failed(
            "mqtt_failed", sentence, handshake)
    return None
