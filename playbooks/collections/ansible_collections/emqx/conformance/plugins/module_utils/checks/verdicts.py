"""The small vocabulary in which checks give their verdicts."""
from __future__ import annotations

from .. import client_certificate
from ..model import Handshake, Outcome
from ..tls.engine import nothing_in_common
from .bench import Contact
from .pace import TURNED_AWAY, UNDECIDED
from .registry import Status, Verdict

_HINTS = {
    "certificate_not_trusted": "is resumption_ca the CA that signed this node's certificate?",
    "certificate_expired": "renew the node's certificate",
    "certificate_name_mismatch": "set emqx_tls_server_name to a name in the node's certificate",
    "connection_refused": "is the node running, and is emqx_tls_port right?",
    "not_tls": "does emqx_tls_port name a TLS listener?",
    "name_not_resolved": "is emqx_tls_host right?",
    TURNED_AWAY: "set resumption_rate_limit below the rate of connections that it allows",
    "io_error": "is emqx_tls_host right, and can it be reached from here?",
    "mqtt_timeout": "does emqx_tls_port name an MQTT listener?",
    "mqtt_malformed": "does emqx_tls_port name an MQTT listener?",
}
_UNANSWERED = frozenset(("connection_closed", "connection_reset"))
_OURS = frozenset(("certificate_not_trusted", "certificate_expired", "certificate_name_mismatch",
                   "client_broke", "library_rejected", "not_offered", "password_withheld",
                   TURNED_AWAY, UNDECIDED))
"""Causes on our side of the connection, or of what is done to anybody: never evidence."""
_OFFERED = ("all of OpenSSL's TLS 1.2 cipher suites that encrypt and authenticate by certificate, "
            "and its usual groups and signature algorithms")


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


def _sentence(handshake: Handshake, detail: str, hint: str | None) -> str:
    return f"{handshake.endpoint}: {detail}" + (f" ({hint})" if hint else "")


def not_let_in(contact: Contact) -> Verdict | None:
    """Return the verdict where the probe's own client certificate, or its lack, is the trouble."""
    if found := client_certificate.refusal(contact.handshake):
        reason, clause = found
        return error(reason, f"{contact.handshake.endpoint}: {clause}", contact.handshake)
    return None


def _first_hint(handshake: Handshake) -> str:
    """Return what helps with the first word of a node, which is none; empty when nobody knows."""
    failure = handshake.failure
    if failure is None or handshake.outcome is Outcome.REFUSED:
        return _alert_hint(handshake)
    if failure.stage == "connect" and failure.cause == "timeout":
        return "is emqx_tls_host right, and does no firewall stand between?"
    if failure.stage == "handshake" and not handshake.bytes_in:
        if failure.cause in _UNANSWERED:
            return ("it answered nothing to a ClientHello, as a plain MQTT listener does: does "
                    "emqx_tls_port name a TLS listener?")
        if failure.cause == "timeout":
            return "does emqx_tls_port name a TLS listener, and is the node well?"
    return ""


def _alert_hint(handshake: Handshake) -> str:
    alert = handshake.alerts[-1].description if handshake.alerts else ""
    if alert == "protocol_version":
        return ("it does not speak TLS 1.2, and session IDs resume in no later version: add "
                "tlsv1.2 to its versions")
    if alert == "unrecognized_name":
        return "set emqx_tls_server_name to a name that it knows"
    return ""


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
        hint = _first_hint(handshake) if first else ""
        return failed("refused", _sentence(handshake, handshake.why, hint), handshake)
    if failure is not None:
        hint = _HINTS.get(failure.cause) or (_first_hint(handshake) if first else "")
        sentence = _sentence(handshake, failure.detail, hint)
        unmeasured = first or failure.stage == "connect" or failure.cause in _OURS
        return (error if unmeasured else failed)(failure.cause, sentence, handshake)
    if handshake.mqtt is None or handshake.mqtt.cause:
        cause = handshake.mqtt.cause if handshake.mqtt else "mqtt_not_tried"
        detail = handshake.mqtt.detail if handshake.mqtt else "MQTT was not tried"
        sentence = _sentence(handshake, f"TLS works, MQTT does not: {detail}",
                             _HINTS.get(cause) if first else "")
        return error(cause, sentence, handshake) if first or cause in _OURS else failed(
            "mqtt_failed", sentence, handshake)
    return None
