"""What helps, by cause: at most one hint for each, and only one that the cause allows.

A cause is the token of a failure, or a finer word for it where the token leaves open what helps.
Every cause has an entry; an empty one where nobody can know from here.
"""
from __future__ import annotations

from .model import Handshake, Outcome

_ADDRESS = "is emqx_tls_host right, or ansible_host where that is not set"
_TLS_PORT = "does emqx_tls_port name a TLS listener"
_MQTT_PORT = "does emqx_tls_port name an MQTT listener?"
_WHO = "resumption_mqtt_username and resumption_mqtt_password"
_AUTHENTICATE = f"it demands authentication: set {_WHO}"
_TOPIC = "resumption_mqtt_topic says where to publish"
_SILENT_ACL = "if an ACL drops messages without saying so, set resumption_mqtt_topic"
_CLIENT_ID = ("set resumption_mqtt_client_id_prefix to what it accepts: every server takes 0-9, "
              "a-z and A-Z, and 23 characters with the 8 that the probe adds, MQTT-3.1.3-5")
_MEANT_FOR_CLIENTS = "is resumption_client_cert meant for clients?"
_STRONGER = ("with RSA keys of 2048 bits or elliptic curve keys of 256, and SHA-256 in every "
             "signature up to the root")

_OF_THE_CONNECTION = {
    "connection_refused": "is the node running, and is emqx_tls_port right?",
    "name_not_resolved": f"{_ADDRESS}?",
    "io_error": f"{_ADDRESS}, and can it be reached from here?",
    "not_tls": f"{_TLS_PORT}?",
    "turned_away": "set resumption_rate_limit below the rate of connections that it allows",
    "timeout, connecting": f"{_ADDRESS}, and does no firewall stand between?",
    "timeout, nothing heard": f"{_TLS_PORT}, and is the node well?",
    "closed, nothing heard": (
        "it answered nothing to a ClientHello, as a plain MQTT listener does, and one that waits "
        f"for a load balancer's PROXY protocol header, which the probe does not send: {_TLS_PORT} "
        "without proxy_protocol?"),
}
"""What ended a connection before anything of TLS could."""

_OF_ITS_CERTIFICATE = {
    "certificate_not_trusted": ("resumption_ca must hold the CA that signed this node's "
                                "certificate, and those above it up to the root"),
    "certificate_root_missing": ("resumption_ca ends below the root: it must hold the root too, "
                                 "and every CA between"),
    "certificate_self_signed": ("resumption_ca must hold this very certificate, or the node "
                                "present another"),
    "certificate_expired": "renew it, or the CA's above it that has expired",
    "certificate_not_yet_valid": "are the clocks right, here and where it was issued?",
    "certificate_name_mismatch": "set emqx_tls_server_name to a name in the node's certificate",
    "certificate_too_weak": f"issue it anew {_STRONGER}",
    "certificate_revoked": "issue the node another: its CA has revoked this one",
    "certificate_wrong_purpose": ("its extended key usage must allow serverAuth, and that of the "
                                  "CAs above it, where they have one"),
    "certificate_rejected": "",
}
"""What our TLS library has against the certificate that a node presents."""

_OF_OPENSSL = {
    "OpenSSL: ee key too small": f"issue it anew {_STRONGER}",
    "OpenSSL: ca key too small": f"issue it anew {_STRONGER}",
    "OpenSSL: ca md too weak": f"issue it anew {_STRONGER}",
    "OpenSSL: key values mismatch": "the two must be of one pair",
    "OpenSSL: key type mismatch": "the two must be of one pair",
    "OpenSSL: dh key too small": "give the node a dhfile of 2048 bits, or no DHE suites",
}
"""OpenSSL's own reasons, in its words: about the probe's certificate, and in the handshake."""

_NO_HINT_IN_THE_HANDSHAKE = (
    "connection_closed", "connection_reset", "timeout", "refused", "target_alert",
    "library_rejected", "echoed_but_full", "not_offered",
    # What only the crafted client sees.
    "resumed_unknown", "accepted", "unexpected_message", "oversized_key", "broken_off",
    "other_version", "unoffered_suite", "compressed", "unknown_extension", "finished_wrong",
    "client_broke", "cut_off_undecided")

_OF_ALERTS = {
    "alert protocol_version": ("it does not speak TLS 1.2, and session IDs resume in no later "
                               "version: add tlsv1.2 to its versions"),
    "alert unrecognized_name": "set emqx_tls_server_name to a name that it knows",
}
_NEW_DEFAULT = ("do not resume on listeners that ask for client certificates unless told to, and "
                "EMQX 5.9 and later do not tell it: erlang/otp#11478")
_OF_RESUMPTION = {
    "not_resumed, certificates asked for": (
        "a server on OpenSSL that asks for client certificates, as it does, keeps no session "
        "unless it has a session ID context: SSL_CTX_set_session_id_context"),
    "not_resumed, Erlang/OTP 29": (
        f"Erlang/OTP 29.0.6 and later {_NEW_DEFAULT}"),
    "not_resumed, Erlang/OTP 27 or 28": (
        "Erlang/OTP 27 from ssl 11.2.12.12 and 28 from ssl 11.6.0.5 on "
        f"{_NEW_DEFAULT}"),
    "resumed_elsewhere": (
        "both use one session cache, as two ports of nginx do with one ssl_session_cache: if that "
        "is meant, set resumption_cache_scope to cluster"),
}
"""What became of a session, where EMQX is not to blame, or its TLS stack is."""
_ALERTS_WITHOUT_HINT = (
    "close_notify", "unexpected_message", "bad_record_mac", "decryption_failed",
    "record_overflow", "decompression_failure", "handshake_failure", "no_certificate",
    "bad_certificate", "unsupported_certificate", "certificate_revoked", "certificate_expired",
    "certificate_unknown", "illegal_parameter", "unknown_ca", "access_denied", "decode_error",
    "decrypt_error", "export_restriction", "insufficient_security", "internal_error",
    "inappropriate_fallback", "user_canceled", "no_renegotiation", "missing_extension",
    "unsupported_extension", "bad_certificate_status_response", "certificate_required",
    "no_application_protocol")
"""Alerts (RFC 5246 7.2) that say nothing about the inventory, as far as they are about no client
certificate."""

_OF_OUR_CERTIFICATE = {
    "ours: closed": "does this listener trust the CA that signed resumption_client_cert?",
    "ours: access_denied": "is the client of resumption_client_cert allowed here?",
    "ours: bad_certificate": "is resumption_client_cert a client's, and where the listener checks "
                             "revocation, can it get its CA's list?",
    "ours: certificate_expired": "renew resumption_client_cert",
    "ours: certificate_revoked": "its CA has revoked resumption_client_cert: use another",
    "ours: certificate_unknown": "is resumption_client_cert valid, and meant for clients?",
    "ours: unknown_ca": "this listener does not trust the CA that signed resumption_client_cert",
    "ours: unsupported_certificate": _MEANT_FOR_CLIENTS,
    "ours: none": "set resumption_client_cert and resumption_client_key",
}
"""How a listener refused the probe's client certificate: by alert, by closing, or for want of
one."""

_OF_MQTT = {
    "mqtt_timeout": _MQTT_PORT,
    "mqtt_malformed": _MQTT_PORT,
    "mqtt_closed": ("a broker may hang up so on a client id, a user name or a client's address "
                    "that it does not allow: its log tells which"),
    "acl_refused": _TOPIC,
    "qos_1_not_granted": _TOPIC,
    "publish_not_received": _SILENT_ACL,
    "message_lost": _SILENT_ACL,
    **dict.fromkeys((
        "mqtt_refused", "mqtt_version", "mqtt_not_tried", "mqtt_broken_off", "mqtt_interrupted",
        "password_withheld", "no_suback", "no_puback", "no_pingresp", "payload_changed",
        "session_present_wrongly", "session_not_present", "other_client_id"), ""),
}
_OF_CONNACKS = {
    **dict.fromkeys(("CONNACK 0x02", "CONNACK 0x85"), _CLIENT_ID),
    **dict.fromkeys(("CONNACK 0x04", "CONNACK 0x86"), f"check {_WHO}"),
    **dict.fromkeys(("CONNACK 0x05", "CONNACK 0x87"),
                    f"check {_WHO}, and whether this user may have client ids that begin with "
                    "{prefix}"),
    **dict.fromkeys(("CONNACK 0x04, no user name", "CONNACK 0x86, no user name",
                     "CONNACK 0x05, no user name", "CONNACK 0x87, no user name"), _AUTHENTICATE),
    "CONNACK 0x8a": ("a ban is on a client id, a user name or an address: is it on the probe's, "
                     "and may it be lifted?"),
    "CONNACK 0x9f": "lower resumption_rate_limit",
    **dict.fromkeys((f"CONNACK 0x{code:02x}" for code in (
        0x01, 0x03, 0x80, 0x81, 0x82, 0x83, 0x84, 0x88, 0x89, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a,
        0x9b, 0x9c, 0x9d)), ""),
}
"""CONNACK's codes of both versions, which do not overlap (MQTT 3.1.1 3.2.2.3, 5.0 3.2.2.2)."""

HINTS: dict[str, str] = {
    **_OF_THE_CONNECTION, **_OF_ITS_CERTIFICATE, **_OF_OPENSSL,
    **dict.fromkeys(_NO_HINT_IN_THE_HANDSHAKE, ""),
    **_OF_ALERTS, **dict.fromkeys((f"alert {name}" for name in _ALERTS_WITHOUT_HINT), ""),
    **_OF_OUR_CERTIFICATE, **_OF_MQTT, **_OF_CONNACKS, **_OF_RESUMPTION,
}
"""Cause -> what helps; empty where nobody can know."""

CAUSES = frozenset(cause for cause in HINTS
                   if cause.replace("_", "").isalnum() and cause not in _OF_RESUMPTION)
"""The tokens of failures among them: why a connection, or MQTT on it, came to nothing."""


def hint(cause: str) -> str:
    """Return what helps; empty where nothing is known to, or nobody has ever seen this cause."""
    return HINTS.get(cause, "")


def with_hint(clause: str, cause: str) -> str:
    """Return a clause with the hint of its cause behind it, if there is one."""
    helps = hint(cause)
    return f"{clause} ({helps})" if helps else clause


def cause_of(handshake: Handshake, *, first: bool) -> str:
    """Return the cause of a handshake's failure, as fine as it shows.

    ``first``: nothing is known of the node yet, so that its silence or its alert may be about how
    it is addressed; later it cannot be.
    """
    failure = handshake.failure
    if failure is None or handshake.outcome is Outcome.REFUSED:
        return _cause_of_alert(handshake, first=first)
    if not first or HINTS.get(failure.cause):
        return failure.cause
    if failure.stage == "connect" and failure.cause == "timeout":
        return "timeout, connecting"
    if failure.stage == "handshake" and not handshake.bytes_in:
        return {"connection_closed": "closed, nothing heard",
                "connection_reset": "closed, nothing heard",
                "timeout": "timeout, nothing heard"}.get(failure.cause, failure.cause)
    return failure.cause


def _cause_of_alert(handshake: Handshake, *, first: bool) -> str:
    alert = handshake.refusal
    return f"alert {alert}" if first and alert else "refused"
