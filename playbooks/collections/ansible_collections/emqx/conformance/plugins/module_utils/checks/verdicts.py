"""The small vocabulary in which checks give their verdicts."""
from __future__ import annotations

from ..model import Handshake, Outcome
from .bench import Contact
from .registry import Status, Verdict

_HINTS = {
    "certificate_not_trusted": "is resumption_ca the CA that signed this node's certificate?",
    "certificate_expired": "renew the node's certificate",
    "certificate_name_mismatch": "set emqx_tls_server_name to a name in the node's certificate",
    "connection_refused": "is the node running, and is emqx_tls_port right?",
    "not_tls": "does emqx_tls_port name a TLS listener?",
    "name_not_resolved": "is emqx_tls_host right?",
    "mqtt_refused": "check resumption_mqtt_username and resumption_mqtt_password",
}
_OURS = frozenset(("certificate_not_trusted", "certificate_expired", "certificate_name_mismatch",
                   "library_rejected", "not_offered"))
"""Causes on our side of the connection: never evidence about the target."""
_ASKS_FOR_CERTIFICATE = frozenset(("handshake_failure", "bad_certificate", "certificate_required"))


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


def _sentence(handshake: Handshake, cause: str, detail: str) -> str:
    hint = _HINTS.get(cause)
    return f"{handshake.endpoint}: {detail}" + (f" ({hint})" if hint else "")


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
        alert = handshake.alerts[-1].description
        hint = ""
        if first and alert in _ASKS_FOR_CERTIFICATE:
            hint = " (does it demand a client certificate? Set resumption_client_cert and _key)"
        return failed("refused", f"{handshake.endpoint}: {handshake.why}{hint}", handshake)
    if failure is not None:
        sentence = _sentence(handshake, failure.cause, failure.detail)
        unmeasured = first or failure.stage == "connect" or failure.cause in _OURS
        return (error if unmeasured else failed)(failure.cause, sentence, handshake)
    if handshake.mqtt is None or handshake.mqtt.cause:
        cause = handshake.mqtt.cause if handshake.mqtt else "mqtt_not_tried"
        detail = handshake.mqtt.detail if handshake.mqtt else "MQTT was not tried"
        sentence = _sentence(handshake, cause, f"TLS works, MQTT does not: {detail}")
        return error(cause, sentence, handshake) if first else failed(
            "mqtt_failed", sentence, handshake)
    return None
