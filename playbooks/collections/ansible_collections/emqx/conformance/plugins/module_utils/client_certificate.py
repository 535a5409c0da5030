"""What became of the client certificate that a listener asks for, as the wire shows it.

In TLS 1.2 both sides show it in clear: a target that wants a certificate asks for it in
CertificateRequest (RFC 5246 7.4.4), and a client that has none answers with an empty Certificate
message (7.4.6).
"""
from __future__ import annotations

from .hints import HINTS, with_hint
from .model import Handshake, Message, Outcome

CLOSED = frozenset(("connection_closed", "connection_reset"))
"""Causes of a failure by which OTP refuses, too: whether its alert gets out before is a race."""
_EMPTY = 7
"""Bytes of a Certificate message that holds none: type, length, and the list's own length."""
_WITHOUT = frozenset(("access_denied", "bad_certificate", "certificate_required",
                      "certificate_unknown", "handshake_failure"))
"""Alerts that can be the answer to an empty Certificate message."""


def shown(handshake: Handshake) -> Message | None:
    """Return the Certificate message with which the client answered CertificateRequest, or None."""
    if not handshake.sent("server", "CertificateRequest"):
        return None
    return next((message for message in handshake.messages
                 if message.sender == "client" and message.name == "Certificate"), None)


def refusal(handshake: Handshake) -> tuple[str, str] | None:
    """Return how the probe was refused for its client certificate, or for having none.

    That is a reason token and a clause for people, about ``resumption_client_cert``; None where the
    handshake did not end so.
    """
    answer = shown(handshake)
    if answer is None:
        return None
    if handshake.outcome is Outcome.REFUSED:
        alert = handshake.refusal
        how = f"the fatal alert {alert}"
    elif (handshake.failure is not None and handshake.failure.stage == "handshake"
          and handshake.failure.cause in CLOSED):
        alert, how = "", "closing the connection"
    else:
        return None
    if answer.length <= _EMPTY and (alert in _WITHOUT or not alert):
        clause = ("the listener demands a client certificate, and refused a client without one "
                  f"with {how}")
        return "client_certificate_demanded", with_hint(clause, "ours: none")
    cause = f"ours: {alert or 'closed'}"
    if answer.length > _EMPTY and cause in HINTS:
        clause = f"the listener refused our client certificate with {how}"
        return "client_certificate_refused", with_hint(clause, cause)
    return None
