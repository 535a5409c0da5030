"""A probe that is refused for its client certificate says so, and what to do about it."""
from __future__ import annotations

import _ssl
import ctypes
import datetime
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.certificates import (
    short_lived_client,
)
from ansible_collections.emqx.conformance.plugins.module_utils.client_certificate import refusal
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import NodeSpec
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.ready import (
    Caller,
    NotReadyError,
)
from ansible_collections.emqx.conformance.plugins.module_utils.model import (
    Alert,
    Endpoint,
    Failure,
    Handshake,
    Message,
    Outcome,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.support.mqtt_broker import MqttBroker
from tests.support.trust_broker import TrustingNode

EMPTY, FULL = 7, 700


def handshake(certificate: int | None, alert: str = "", *, asked: bool = True,
              cause: str = "refused") -> Handshake:
    """A handshake that ended once the client had answered with a Certificate of these bytes."""
    messages = [Message("client", "ClientHello", 200, 0.0),
                Message("server", "ServerHello", 80, 1.0)]
    messages += [Message("server", "CertificateRequest", 50, 1.0)] if asked else []
    messages += [] if certificate is None else [Message("client", "Certificate", certificate, 2.0)]
    return Handshake(
        Endpoint("n1", "127.0.0.1", 8883, "localhost"), "2026-01-01T00:00:00Z",
        Outcome.REFUSED if alert else Outcome.FAILED, "why", messages=tuple(messages),
        alerts=(Alert("target", "fatal", alert),) if alert else (),
        failure=Failure("handshake", cause, "detail"))


@pytest.mark.parametrize("alert", ["handshake_failure", "bad_certificate", "certificate_required"])
def test_none_was_given(alert: str) -> None:
    assert refusal(handshake(EMPTY, alert)) == (
        "client_certificate_demanded",
        ("the listener demands a client certificate, and refused a client without one with the "
         f"fatal alert {alert} (set resumption_client_cert and resumption_client_key)"))


@pytest.mark.parametrize(("alert", "hint"), [
    ("certificate_expired", "renew resumption_client_cert"),
    ("certificate_revoked", "its CA has revoked resumption_client_cert: use another"),
    ("unknown_ca", "this listener does not trust the CA that signed resumption_client_cert")])
def test_one_was_refused(alert: str, hint: str) -> None:
    assert refusal(handshake(FULL, alert)) == (
        "client_certificate_refused",
        f"the listener refused our client certificate with the fatal alert {alert} ({hint})")


@pytest.mark.parametrize("cause", ["connection_closed", "connection_reset"])
def test_closing_may_be_all_that_is_seen(cause: str) -> None:
    for certificate, reason in ((EMPTY, "client_certificate_demanded"),
                                (FULL, "client_certificate_refused")):
        found = refusal(handshake(certificate, cause=cause))
        assert found is not None
        assert found[0] == reason
        assert "with closing the connection (" in found[1]


@pytest.mark.parametrize("other", [
    handshake(None, "handshake_failure", asked=False), handshake(None, "handshake_failure"),
    handshake(None, cause="connection_closed"), handshake(EMPTY, "decrypt_error"),
    handshake(EMPTY, "certificate_revoked"), handshake(FULL, "handshake_failure"),
    handshake(FULL, cause="timeout"), handshake(EMPTY, cause="timeout")])
def test_everything_else_has_another_cause(other: Handshake) -> None:
    assert refusal(other) is None


@pytest.fixture
def demanding(tmp_path: Path) -> Iterator[TrustingNode]:
    node = TrustingNode(tmp_path, (), 2)
    yield node
    node.stop()


def _write_expired(node: TrustingNode) -> tuple[str, str]:
    domain = node.domains[0]
    file = node.folder / "expired.pem"
    file.write_bytes(short_lived_client(
        Path(domain.ca_cert or ""), Path(domain.ca_key or ""),
        datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=1)))
    return str(file), str(file)


@pytest.mark.parametrize(("who", "reason", "clause"), [
    ("nobody", "client_certificate_demanded",
     "(set resumption_client_cert and resumption_client_key)"),
    ("foreign", "client_certificate_refused", "with the fatal alert unknown_ca"),
    ("expired", "client_certificate_refused", "with the fatal alert certificate_expired"),
    ("right", "", "")])
def test_whole_verifications(demanding: TrustingNode, run: Callable[..., dict[str, Any]], who: str,
                             reason: str, clause: str) -> None:
    own, foreign = demanding.domains
    cert, key = {
        "nobody": (None, None), "foreign": (foreign.client_cert, foreign.client_key),
        "expired": _write_expired(demanding), "right": (own.client_cert, own.client_key)}[who]
    results = run([own.port], ca=str(demanding.folder / "ca.pem"), client_cert=cert,
                  client_key=key, max_impact="safe")
    wrong = [row for row in results["checks"] if row["status"] in ("failed", "error")]
    if who == "right":
        assert wrong == []
        assert results["verdict"] == "passed"
        return
    assert results["verdict"] == "error"
    assert results["complete"] is True
    [row] = wrong
    assert (row["id"], row["status"], row["reason"]) == ("CORE-01", "error", reason)
    assert row["message"].startswith(f"n1 (127.0.0.1:{own.port}): the listener ")
    assert clause in row["message"]
    assert clause in results["headline"]


def test_who_waits_for_a_node_is_told_the_same(demanding: TrustingNode) -> None:
    caller = Caller(Trust(str(demanding.folder / "ca.pem")))
    try:
        with pytest.raises(NotReadyError, match=r"the listener demands a client certificate, and "
                                                r".*set resumption_client_cert") as told:
            caller.connack(NodeSpec("n1", "127.0.0.1", demanding.domains[0].port, "localhost"))
    finally:
        caller.close()
    # No use in waiting longer.
    assert told.value.final


# -- what a server on OpenSSL does that EMQX does not ---------------------------------------------


def forget_session_id_context(context: ssl.SSLContext) -> None:
    """Leave a server without the session ID context that Python gives it, as others forget to.

    Python 3.11 gives it to the context, and 3.13 to each connection.
    """
    wrap = context.wrap_socket
    forget = ctypes.CDLL(_ssl.__file__).SSL_set_session_id_context

    def wrap_without(*args: Any, **options: Any) -> ssl.SSLSocket:
        connection = wrap(*args, **{**options, "do_handshake_on_connect": False})
        # CPython's object of a connection begins with its own header and a reference to the socket,
        # and the SSL comes next.
        held = connection._sslobj  # type: ignore[attr-defined]
        place = id(held) + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)
        done = forget(ctypes.c_void_p.from_address(place), b"", 0)
        assert done == 1
        connection.do_handshake()
        return connection

    context.wrap_socket = wrap_without  # type: ignore[method-assign]


@pytest.mark.parametrize("asks", [True, False])
def test_a_server_without_a_session_id_context_keeps_no_session_of_who_may_show_a_certificate(
        certificate: tuple[Path, Path], run: Callable[..., dict[str, Any]], *, asks: bool) -> None:
    broker = MqttBroker(*certificate)
    forget_session_id_context(broker.context)
    if asks:
        broker.context.load_verify_locations(certificate[0])
        broker.context.verify_mode = ssl.CERT_OPTIONAL
    try:
        results = run([broker.port], max_impact="safe")
    finally:
        broker.stop()
    (home,) = [row for row in results["checks"] if row["id"] == "CORE-02"]
    if not asks:
        assert home["status"] == "passed"
        return
    assert (home["status"], home["reason"]) == ("failed", "not_resumed")
    assert home["message"].endswith(
        "or this address leads to many nodes (a server on OpenSSL that asks for client "
        "certificates, as it does, keeps no session unless it has a session ID context: "
        "SSL_CTX_set_session_id_context)")


def test_of_who_asks_for_no_certificate_that_is_not_said(
        certificate: tuple[Path, Path], run: Callable[..., dict[str, Any]]) -> None:
    broker = MqttBroker(*certificate, cache=False)
    try:
        results = run([broker.port], max_impact="safe")
    finally:
        broker.stop()
    (home,) = [row for row in results["checks"] if row["id"] == "CORE-02"]
    assert home["reason"] == "not_resumed"
    assert "session ID context" not in home["message"]


# -- what Erlang/OTP does since it has a new default, and EMQX with it ----------------------------


def connack_of(**properties: str) -> bytes:
    """Return an MQTT 5 CONNACK with these user properties (3.2.2.3.10)."""
    told = b"".join(b"\x26" + b"".join(
        len(text).to_bytes(2, "big") + text.encode() for text in pair)
        for pair in properties.items())
    body = b"\x00\x00" + bytes([len(told)]) + told
    return b"\x20" + bytes([len(body)]) + body


NEW_DEFAULT = (
    "do not resume on listeners that ask for client certificates unless told to, and EMQX 5.9 and "
    "later do not tell it: erlang/otp#11478)")
OTP_29 = f"or this address leads to many nodes (Erlang/OTP 29.0.6 and later {NEW_DEFAULT}"


@pytest.mark.parametrize(("otp", "ssl_version", "release", "ending"), [
    ("29", "11.7.8", "5.10.2", OTP_29),
    # Nobody has said which EMQX, or which ssl.
    ("29", "11.7.8", None, OTP_29), ("29", "", "5.10.2", OTP_29),
    ("27", "11.2.12.12", "5.10.2", (
        f"Erlang/OTP 27 from ssl 11.2.12.12 and 28 from ssl 11.6.0.5 on {NEW_DEFAULT}")),
    # Another cause: the old default, and an EMQX that tells it.
    ("29", "11.7.4", "5.10.2", "or this address leads to many nodes"),
    ("25", "10.8.7", "5.10.2", "or this address leads to many nodes"),
    ("29", "11.7.8", "5.8.9", "or this address leads to many nodes"),
])
def test_the_new_default_of_otp_is_named_where_it_may_be_the_cause(
        certificate: tuple[Path, Path], run: Callable[..., dict[str, Any]], *, otp: str,
        ssl_version: str, release: str | None, ending: str) -> None:
    home = _home_of_one_that_asks(certificate, run, connack_of(
        product="thing", otp_release=otp, ssl_version=ssl_version), release=release)
    assert (home["status"], home["reason"]) == ("failed", "not_resumed")
    assert home["message"].endswith(ending)


def test_nor_is_it_named_of_who_asks_for_no_certificate(
        certificate: tuple[Path, Path], run: Callable[..., dict[str, Any]]) -> None:
    home = _home_of_one_that_asks(certificate, run, connack_of(
        product="thing", otp_release="29", ssl_version="11.7.8"), asks=False)
    assert home["message"].endswith("or this address leads to many nodes")


def test_the_otp_release_may_be_declared(
        certificate: tuple[Path, Path], run: Callable[..., dict[str, Any]]) -> None:
    def told(otp: str) -> str:
        home = _home_of_one_that_asks(certificate, run, None, release="5.10.2", otp_releases={
            "n1": {"release": otp, "how": "as emqx_otp_release declares"}})
        return str(home["message"])

    assert told("29.0.6").endswith(OTP_29)
    assert told("29.0.5").endswith("or this address leads to many nodes")


def _home_of_one_that_asks(
        certificate: tuple[Path, Path], run: Callable[..., dict[str, Any]],
        connack: bytes | None, *, asks: bool = True, **params: Any) -> dict[str, Any]:
    """Return CORE-02 of a node that resumes nothing."""
    # Without a cache each connection has another context; this one keeps none of who is asked.
    broker = MqttBroker(*certificate, cache=asks, connack=connack)
    if asks:
        forget_session_id_context(broker.context)
        broker.context.load_verify_locations(certificate[0])
        broker.context.verify_mode = ssl.CERT_OPTIONAL
    try:
        results = run([broker.port], checks=["CORE-02"], max_impact="safe", **params)
    finally:
        broker.stop()
    (home,) = [row for row in results["checks"] if row["id"] == "CORE-02"]
    return dict(home)
