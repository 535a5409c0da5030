"""The crafted engine: what it can speak, what it keeps to itself, and hostile targets."""
from __future__ import annotations

import contextlib
import json
import pickle
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint, Outcome
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt import client as mqtt
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.credentials import Credentials
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Status
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import Contact
from ansible_collections.emqx.conformance.plugins.module_utils.run.verdict import trouble
from ansible_collections.emqx.conformance.plugins.module_utils.tls.crafted import (
    SUITES,
    Conduct,
    CraftedSession,
    Hello,
    MasterSecret,
    StopAfter,
    handshake,
    openssl,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.crafted.client import (
    CraftedClient,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import EngineError, Trust
from ansible_collections.emqx.conformance.plugins.module_utils.tls.wire import (
    Deadline,
    Interrupted,
    WireError,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faulty_servers.message_server import MessageServer
from tests.support.mqtt_broker import MqttBroker
from tests.support.openssl_cli import CertifiedKey, make_identity, s_server

CLIENT = CraftedClient(Trust())
OURS = frozenset((
    "connection_closed", "connection_reset", "timeout", "refused", "not_tls", "library_rejected",
    "unexpected_message", "other_version", "unoffered_suite", "finished_wrong",
    "resumed_unknown", "oversized_key", "unknown_extension"))


@pytest.fixture(scope="module")
def rsa(tmp_path_factory: pytest.TempPathFactory) -> CertifiedKey:
    """An RSA certificate."""
    return make_identity(tmp_path_factory.mktemp("rsa"), "localhost")


def at(port: int) -> Endpoint:
    return Endpoint("n1", "127.0.0.1", port, "localhost")


def remembers(broker: MqttBroker, count: int) -> bool:
    """Tell whether the broker has so many sessions as soon as it has: it is a little behind us."""
    end = time.monotonic() + 3
    while broker.context.session_stats()["number"] != count and time.monotonic() < end:
        time.sleep(0.02)
    return broker.context.session_stats()["number"] == count


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_is_made_and_resumed_and_carries_mqtt(
        speaking: Callable[[str], MqttBroker], suite: str) -> None:
    broker = speaking(suite)
    full = CLIENT.connect(at(broker.port), Hello())
    assert (full.handshake.outcome, full.handshake.cipher) == (Outcome.FULL, suite)
    assert full.stream is not None
    assert full.session is not None
    full.stream.close()
    assert remembers(broker, 1)
    again = CLIENT.connect(at(broker.port), Hello(session_id=full.session.id), offer=full.session)
    assert again.handshake.outcome is Outcome.RESUMED, again.handshake.why
    assert again.handshake.wire_abbreviated is again.handshake.same_master_secret is True
    assert again.handshake.handshake_ms is None  # a client in Python says nothing about a target
    assert again.stream is not None
    accepted = mqtt.connect(again.stream, Credentials(), version="5", deadline=Deadline(2))
    assert accepted.version == "5"
    mqtt.disconnect(again.stream, Deadline(2))
    assert again.stream.receive(Deadline(2)) == b""
    again.stream.close()


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("curve", ["prime256v1", "X25519"])
def test_with_or_without_cryptography_keys_are_agreed_on(
        rsa: CertifiedKey, monkeypatch: pytest.MonkeyPatch, curve: str, installed: bool) -> None:
    monkeypatch.setattr(openssl, "INSTALLED", installed)
    with s_server("-cert", rsa.certificate, "-key", rsa.key, "-tls1_2", "-groups", curve,
                  "-cipher", "ECDHE-RSA-AES128-GCM-SHA256") as port:
        attempt = CLIENT.connect(at(port), Hello())
    assert attempt.handshake.outcome is Outcome.FULL, attempt.handshake.why
    assert attempt.stream is not None
    attempt.stream.close()


@pytest.mark.parametrize("share", [
    "02" + "11" * 32, "04" + "11" * 64, "04", "00"],
    ids=["compressed", "no point", "short", "none"])
def test_what_is_no_point_is_rejected(share: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whoever says so
        openssl._by_p256(bytes.fromhex(share))


def test_a_suite_that_the_target_does_not_have_is_refused_by_the_target(
        brokers: Callable[..., MqttBroker]) -> None:
    attempt = CLIENT.connect(at(brokers().port), Hello(suites=("AES128-SHA",)))
    assert attempt.handshake.outcome is Outcome.REFUSED
    assert [(alert.raised_by, alert.description) for alert in attempt.handshake.alerts] == [
        ("target", "handshake_failure")]
    assert attempt.stream is None


@pytest.mark.parametrize("kind", ["RSA", "RSA-PSS", "P-256", "P-384", "P-521", "Ed25519", "Ed448"])
def test_a_client_certificate_is_shown_to_a_target_that_demands_one(
        certificate: tuple[Path, Path], tmp_path: Path, kind: str) -> None:
    ours = make_identity(tmp_path, "client", kind=kind)
    broker = MqttBroker(*certificate)
    broker.context.load_verify_locations(ours.certificate)
    broker.context.verify_mode = ssl.CERT_REQUIRED
    without = CLIENT.connect(at(broker.port), Hello())
    assert without.handshake.outcome is Outcome.REFUSED
    client = CraftedClient(Trust(cert_file=str(ours.certificate), key_file=str(ours.key)))
    shown = client.connect(at(broker.port), Hello())
    assert shown.handshake.outcome is Outcome.FULL, shown.handshake.why
    assert shown.stream is not None
    shown.stream.close()
    broker.stop()


@pytest.mark.parametrize("algorithms", ["rsa_pss_rsae_sha256", "rsa_pkcs1_sha512"])
def test_a_client_signs_with_what_the_target_takes(
        tmp_path: Path, rsa: CertifiedKey, algorithms: str) -> None:
    ours = make_identity(tmp_path, "client", kind="RSA")
    with s_server("-tls1_2", "-cert", rsa.certificate, "-key", rsa.key, "-Verify", "1",
                  "-CAfile", ours.certificate, "-client_sigalgs", algorithms) as port:
        client = CraftedClient(Trust(cert_file=str(ours.certificate), key_file=str(ours.key)))
        made = client.connect(at(port), Hello())
        assert made.handshake.outcome is Outcome.FULL, made.handshake.why
        assert made.stream is not None
        made.stream.close()


def test_a_client_without_a_suitable_signature_shows_no_certificate(
        tmp_path: Path, rsa: CertifiedKey) -> None:
    ours = make_identity(tmp_path, "client", kind="Ed25519")
    with s_server("-tls1_2", "-cert", rsa.certificate, "-key", rsa.key, "-verify", "1",
                  "-CAfile", ours.certificate, "-client_sigalgs", "ecdsa_secp256r1_sha256") as port:
        client = CraftedClient(Trust(cert_file=str(ours.certificate), key_file=str(ours.key)))
        made = client.connect(at(port), Hello())
        assert made.handshake.outcome is Outcome.FULL, made.handshake.why
        sent = {message.name: message.length for message in made.handshake.messages
                if message.sender == "client"}
        assert sent["Certificate"] == 7
        assert "CertificateVerify" not in sent
        assert made.stream is not None
        made.stream.close()


@pytest.mark.parametrize("kind", ["RSA", "RSA-PSS", "P-384", "P-521", "Ed25519", "Ed448"])
def test_every_server_key_that_the_ordinary_client_takes_is_taken(
        tmp_path: Path, kind: str) -> None:
    identity = make_identity(tmp_path, "localhost", kind=kind)
    broker = MqttBroker(identity.certificate, identity.key)
    ordinary = OrdinaryEngine(Trust(str(identity.certificate)))
    for made in (ordinary.connect(at(broker.port)), CLIENT.connect(at(broker.port), Hello())):
        assert made.handshake.outcome is Outcome.FULL, made.handshake.why
        assert made.stream is not None
        made.stream.close()
    ordinary.close()
    broker.stop()


@pytest.mark.parametrize("group", ["X25519", "P-256", "X448", "P-521", "P-384"])
def test_every_group_is_spoken(rsa: CertifiedKey, group: str) -> None:
    with s_server("-tls1_2", "-cert", rsa.certificate, "-key", rsa.key, "-groups", group) as port:
        made = CLIENT.connect(at(port), Hello())
        assert made.handshake.outcome is Outcome.FULL, made.handshake.why
        assert made.stream is not None
        made.stream.close()


def test_what_breaks_on_our_side_is_not_called_the_targets(
        brokers: Callable[..., MqttBroker], monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise TypeError("ours")

    monkeypatch.setattr(handshake, "calc_key", breaks)
    made = CLIENT.connect(at(brokers().port), Hello()).handshake
    assert made.failure is not None
    assert (made.outcome, made.failure.cause) == (Outcome.FAILED, "client_broke")
    assert "our own crafted client broke" in made.why
    verdict = trouble(Contact(made))
    assert verdict is not None
    assert verdict.status is Status.ERROR


@pytest.mark.parametrize("kind", ["DSA", "secp256k1"])
def test_a_client_key_that_cannot_sign_is_one_sentence(tmp_path: Path, kind: str) -> None:
    ours = make_identity(tmp_path, "client", kind=kind)
    with pytest.raises(EngineError, match=r"client-cert\.pem and key .* cannot be used"):
        CraftedClient(Trust(cert_file=str(ours.certificate), key_file=str(ours.key)))


def test_a_client_certificate_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    with pytest.raises(EngineError, match=r"broken\.pem and key .* cannot be used"):
        CraftedClient(Trust(cert_file=str(broken), key_file=str(broken)))


@pytest.mark.parametrize("stop", StopAfter)
def test_a_handshake_that_is_broken_off_has_no_finished(
        brokers: Callable[..., MqttBroker], stop: StopAfter) -> None:
    broker = brokers()
    attempt = CLIENT.connect(at(broker.port), Hello(), conduct=Conduct(stop_after=stop))
    assert attempt.handshake.outcome is Outcome.FAILED
    assert attempt.handshake.failure is not None
    assert attempt.handshake.failure.cause == "broken_off"
    names = [message.name for message in attempt.handshake.messages if message.sender == "client"]
    assert names == {StopAfter.SERVER_HELLO_DONE: ["ClientHello"],
                     StopAfter.CLIENT_KEY_EXCHANGE: ["ClientHello", "ClientKeyExchange"]}[stop]
    assert broker.handshakes == 0


def test_a_fatal_alert_of_ours_is_heard_by_the_target(certificate: tuple[Path, Path]) -> None:
    broker = MqttBroker(*certificate)
    attempt = CLIENT.connect(at(broker.port), Hello())
    assert attempt.stream is not None
    assert attempt.session is not None
    assert remembers(broker, 1)
    assert attempt.stream.abort(80)
    # OpenSSL forgets such a session (RFC 5246 7.2.2) when it reads the alert, before it closes.
    assert broker.context.session_stats()["number"] == 0
    assert not attempt.stream.abort(80)  # in vain, and harmless
    attempt.stream.close()
    again = CLIENT.connect(at(broker.port), Hello(session_id=attempt.session.id),
                           offer=attempt.session)
    assert again.handshake.outcome is Outcome.FULL
    assert again.stream is not None
    again.stream.close()
    broker.stop()


def test_a_target_that_ignores_our_fatal_alert_is_not_waited_for_long(
        rsa: CertifiedKey) -> None:
    server = MessageServer(rsa.certificate, rsa.key, "stays_after_alert")
    attempt = CLIENT.connect(at(server.port), Hello())
    assert attempt.stream is not None
    assert not attempt.stream.abort(80, deadline_s=0.2)
    server.stop()


def test_wrong_verify_data_is_refused_by_openssl_in_full_handshakes_and_resumed_ones(
        brokers: Callable[..., MqttBroker]) -> None:
    broker = brokers()
    first = CLIENT.connect(at(broker.port), Hello())
    assert first.stream is not None
    assert first.session is not None
    first.stream.close()
    for hello, offer in ((Hello(), None), (Hello(session_id=first.session.id), first.session)):
        attempt = CLIENT.connect(at(broker.port), hello, offer=offer,
                                 conduct=Conduct(finish_wrongly=True))
        assert attempt.stream is None
        assert [(alert.raised_by, alert.description) for alert in attempt.handshake.alerts] == [
            ("target", "decrypt_error")]
        assert attempt.handshake.library_reused is (offer is not None)


def test_a_suite_that_was_not_offered_is_spoken_only_on_request(rsa: CertifiedKey) -> None:
    server = MessageServer(rsa.certificate, rsa.key, "resumes_with_unoffered_suite")
    first = CLIENT.connect(at(server.port), Hello())
    assert first.stream is not None
    assert first.session is not None
    first.stream.close()
    hello = Hello(session_id=first.session.id, suites=("ECDHE-RSA-AES256-GCM-SHA384",))
    refused = CLIENT.connect(at(server.port), hello, offer=first.session)
    assert refused.handshake.failure is not None
    assert refused.handshake.failure.cause == "unoffered_suite"
    spoken = CLIENT.connect(at(server.port), hello, offer=first.session,
                            conduct=Conduct(also_speaks=(first.session.cipher,)))
    assert spoken.handshake.outcome is Outcome.RESUMED
    assert spoken.stream is not None
    spoken.stream.close()
    server.stop()


@pytest.mark.parametrize(("hello", "server_name", "asked"), [
    (Hello(), "localhost", "localhost"),
    (Hello(), "127.0.0.1", None),
    (Hello(), "::1", None),
    (Hello(server_name="a.example"), "127.0.0.1", "a.example"),
    (Hello(server_name="a.example", send_server_name=False), "localhost", None),
])
def test_the_name_that_is_asked_for_and_its_acknowledgement_are_evidence(
        rsa: CertifiedKey, hello: Hello, server_name: str, asked: str | None) -> None:
    server = MessageServer(rsa.certificate, rsa.key)
    attempt = CLIENT.connect(Endpoint("n1", "127.0.0.1", server.port, server_name), hello)
    assert attempt.stream is not None
    attempt.stream.close()
    assert attempt.handshake.server_name == asked
    assert attempt.handshake.sni_acknowledged is (asked is not None)
    server.stop()


def test_the_offered_hello_is_what_is_on_the_wire(brokers: Callable[..., MqttBroker]) -> None:
    attempt = CLIENT.connect(at(brokers().port), Hello(
        session_id=b"\x07" * 33, send_server_name=False, extensions=((35, b""),)))
    # More than 32 bytes are ours to send (RFC 5246 7.4.1.2), and OpenSSL's to refuse.
    assert attempt.handshake.offered_id == b"\x07" * 33
    assert attempt.handshake.ticket_offered == 0
    assert attempt.handshake.server_name is None
    assert [(alert.raised_by, alert.description) for alert in attempt.handshake.alerts] == [
        ("target", "decode_error")]


def test_no_secret_shows_anywhere(brokers: Callable[..., MqttBroker]) -> None:
    attempt = CLIENT.connect(at(brokers().port), Hello())
    assert attempt.session is not None
    assert attempt.stream is not None
    secret = attempt.session.secret.reveal()
    attempt.stream.close()
    for text in (repr(attempt), repr(attempt.session), str(attempt.session.secret),
                 json.dumps(attempt.handshake.as_dict())):
        assert secret.hex() not in text
        assert repr(bytes(secret)) not in text
    with pytest.raises(TypeError):
        pickle.dumps(attempt.session)


# -- hostile targets ------------------------------------------------------------------------------


@contextlib.contextmanager
def speaker(data: bytes, *, stays: bool = False) -> Iterator[int]:
    """Answer one ClientHello with these bytes, whatever they are."""
    done = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(2)
                connection.recv(4096)
                connection.sendall(data)
                if stays:
                    done.wait(5)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        done.set()
        thread.join(5)


def record(kind: int, body: bytes) -> bytes:
    return bytes((kind, 3, 3)) + len(body).to_bytes(2, "big") + body


def message(kind: int, body: bytes) -> bytes:
    return record(22, bytes((kind,)) + len(body).to_bytes(3, "big") + body)


def server_hello(session_id: bytes, suite: int = SUITES["AES128-GCM-SHA256"],
                 version: bytes = b"\x03\x03") -> bytes:
    return message(2, version + bytes(32) + bytes((len(session_id),)) + session_id
                   + suite.to_bytes(2, "big") + b"\x00")


def test_a_target_that_resumes_what_nobody_has_is_found_out() -> None:
    unknown = bytes(range(32))
    with speaker(server_hello(unknown) + record(20, b"\x01")) as port:
        handshake = CLIENT.connect(at(port), Hello(session_id=unknown)).handshake
    assert handshake.failure is not None
    assert handshake.failure.cause == "resumed_unknown"
    assert handshake.library_reused is handshake.wire_abbreviated is True


@pytest.mark.parametrize(("data", "cause"), [
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not_tls"),
    (server_hello(b"", suite=0x1301), "unoffered_suite"),
    (server_hello(b"", version=b"\x03\x02"), "other_version"),
    (message(14, b""), "unexpected_message"),
    (server_hello(b"x" * 32) + message(14, b""), "unexpected_message"),
    (server_hello(b"x" * 32) + message(99, b""), "unexpected_message"),
    (server_hello(b"x" * 32) + record(23, b"early"), "unexpected_message"),
    (b"", "connection_closed"),
    (record(21, b"\x01\x64") + record(21, b"\x02\x28"), "refused"),
])
def test_what_is_wrong_is_named(data: bytes, cause: str) -> None:
    with speaker(data) as port:
        handshake = CLIENT.connect(at(port), Hello(), deadline_s=2).handshake
    assert handshake.failure is not None
    assert handshake.failure.cause == cause


def test_silence_ends_at_the_deadline_and_by_the_stop() -> None:
    with speaker(b"", stays=True) as port:
        handshake = CLIENT.connect(at(port), Hello(), deadline_s=0.3).handshake
    assert handshake.failure is not None
    assert handshake.failure.cause == "timeout"
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    begun = time.monotonic()
    with speaker(b"", stays=True) as port, pytest.raises(Interrupted):
        CraftedClient(Trust(), stop=stop).connect(at(port), Hello(), deadline_s=60)
    assert time.monotonic() - begun < 60


_PIECES = st.one_of(
    st.binary(max_size=200),
    st.builds(record, st.integers(19, 25), st.binary(max_size=200)),
    st.builds(message, st.sampled_from((0, 2, 4, 11, 12, 13, 14, 20, 22)),
              st.binary(max_size=200)),
    st.builds(server_hello, st.sampled_from((b"", b"s" * 32)),
              st.sampled_from(sorted(SUITES.values()))))


@settings(max_examples=200, deadline=None)
@given(st.lists(_PIECES, max_size=6), st.booleans())
def test_whatever_a_target_sends_is_told_in_our_own_words(pieces: list[bytes],
                                                         offers: bool) -> None:
    session = CraftedSession(b"s" * 32, "AES128-GCM-SHA256", MasterSecret(bytes(48)))
    with speaker(b"".join(pieces)) as port:
        attempt = CLIENT.connect(
            at(port), Hello(session_id=session.id if offers else b""),
            offer=session if offers else None, deadline_s=2)
    assert attempt.stream is None
    assert attempt.handshake.failure is not None
    assert attempt.handshake.failure.cause in OURS
    json.dumps(attempt.handshake.as_dict())


@pytest.mark.parametrize("data", [b"\x17\x03\x03\x00\x20" + bytes(32), b"\xff" * 60, b""])
def test_garbage_after_the_handshake_is_a_wire_error_or_the_end(
        certificate: tuple[Path, Path], data: bytes) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def serve() -> None:
        raw, _ = listener.accept()
        tls = context.wrap_socket(raw, server_side=True)
        tls.recv(1)
        with socket.socket(fileno=tls.detach()) as bare:
            bare.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        stream = CLIENT.connect(at(listener.getsockname()[1]), Hello()).stream
        assert stream is not None
        stream.send(b"x", Deadline(2))
        if data:
            with pytest.raises(WireError):
                stream.receive(Deadline(2))
        else:
            assert stream.receive(Deadline(2)) == b""
        stream.close()
        thread.join(5)
