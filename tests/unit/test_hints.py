"""What helps, by cause: every cause has its entry, and none is told what is not its own."""
from __future__ import annotations

import ast
import ctypes
import datetime
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins import module_utils
from ansible_collections.emqx.conformance.plugins.module_utils import client_certificate
from ansible_collections.emqx.conformance.plugins.module_utils.hints import (
    HINTS,
    cause_of,
    hint,
    with_hint,
)
from ansible_collections.emqx.conformance.plugins.module_utils.model import (
    Alert,
    Endpoint,
    Failure,
    Handshake,
    MqttResult,
    Outcome,
)
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt import client as mqtt
from ansible_collections.emqx.conformance.plugins.module_utils.mqtt.credentials import Credentials
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Status
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import Contact
from ansible_collections.emqx.conformance.plugins.module_utils.run.verdict import trouble
from ansible_collections.emqx.conformance.plugins.module_utils.tls import verify_results, wire
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.transcript import (
    ALERT_DESCRIPTIONS,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import EngineError, Trust
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.openssl_cli import make_identity, openssl, s_server
from tests.support.strangers import Authority, Pair

ENDPOINT = Endpoint("n1", "127.0.0.1", 8883, "localhost")
_CAUSE_AT = {"Failure": 1, "MqttResult": 1, "MqttError": 0, "UnsupportedVersionError": 0,
             "AclRefusedError": 0, "_QosError": 0}
"""Callables that are given a cause, and which argument it is."""
_IN_ONE_FILE = {"handshake.py": {"EndError": 0}, "paho_session.py": {"_await": 1},
                "mqtt.py": {"await_message": 2}}
_NOT_WRITTEN_THERE = frozenset((
    # Told elsewhere in the same file, or handed on.
    "cause", "late", "because", "error.cause", "refusal.cause", "*_os_cause(error)", "''"))


def causes() -> Iterator[tuple[str, str]]:
    """Yield file and cause of every failure that the sources tell of."""
    for path in sorted(Path(module_utils.__path__[0]).rglob("*.py")):
        tree = ast.parse(path.read_text())
        constants = {target.id: node.value.value for node in ast.walk(tree)
                     if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
                     for target in node.targets if isinstance(target, ast.Name)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(
                node.func, "id", "")
            at = {**_CAUSE_AT, **_IN_ONE_FILE.get(path.name, {})}.get(name)
            if at is None or len(node.args) <= at:
                continue
            yield from ((path.name, cause) for cause in _told(node.args[at], constants))


def _told(argument: ast.expr, constants: Mapping[str, object]) -> Iterator[str]:
    if isinstance(argument, ast.Constant):
        if argument.value:
            yield str(argument.value)
    elif isinstance(argument, ast.JoinedStr) and isinstance(argument.values[0], ast.Constant):
        yield str(argument.values[0].value).rstrip(":")
    elif isinstance(argument, ast.Name) and argument.id in constants:
        yield str(constants[argument.id])
    else:
        assert ast.unparse(argument) in _NOT_WRITTEN_THERE, ast.unparse(argument)


def test_every_cause_that_the_sources_tell_of_has_its_entry() -> None:
    found = set(causes())
    assert len({cause for _, cause in found}) >= 40
    assert {(file, cause) for file, cause in found if cause not in HINTS} == set()


@pytest.mark.parametrize("error", [
    ConnectionRefusedError(), ConnectionResetError(), BrokenPipeError(), OSError(113, "no route"),
])
def test_every_cause_of_the_operating_system_has_its_entry(error: OSError) -> None:
    assert wire._os_cause(error)[0] in HINTS


@pytest.mark.parametrize("alert", ALERT_DESCRIPTIONS.values())
def test_every_alert_has_its_entry(alert: str) -> None:
    assert f"alert {alert}" in HINTS


@pytest.mark.parametrize("code", sorted({*mqtt._REFUSALS_V3, *mqtt._REFUSALS_V5}))
def test_every_refusal_of_connect_has_its_entry(code: int) -> None:
    assert f"CONNACK 0x{code:02x}" in HINTS


def openssls_reasons() -> dict[int, str]:
    """Return the verify results that this OpenSSL has words for, but for success."""
    import _ssl  # noqa: PLC0415 - what links OpenSSL; there is no other need of it
    words = ctypes.CDLL(_ssl.__file__).X509_verify_cert_error_string
    words.restype, words.argtypes = ctypes.c_char_p, [ctypes.c_long]
    unknown = words(10_000)
    return {number: words(number).decode() for number in range(1, 200)
            if words(number) != unknown}


ISSUER_UNKNOWN = {"unable to get issuer certificate", "unable to get local issuer certificate",
                  "unable to verify the first certificate", "self signed certificate",
                  "self-signed certificate", "self signed certificate in certificate chain",
                  "self-signed certificate in certificate chain"}


def test_every_verify_result_is_a_cause_with_an_entry_and_few_are_about_the_ca() -> None:
    reasons = openssls_reasons()
    assert len(reasons) > 60
    about_the_ca = set()
    for number, words in reasons.items():
        cause = verify_results.cause(number)
        assert cause in verify_results.CERTIFICATE_CAUSES
        assert cause in HINTS
        if "resumption_ca" in hint(cause):
            assert cause in verify_results.NO_TRUSTED_ISSUER
            about_the_ca.add(words)
    assert about_the_ca <= ISSUER_UNKNOWN
    assert len(about_the_ca) == 5


@pytest.mark.parametrize(("number", "cause"), [
    (66, "certificate_too_weak"), (67, "certificate_too_weak"), (68, "certificate_too_weak"),
    (2, "certificate_root_missing"), (20, "certificate_not_trusted"),
    (9, "certificate_not_yet_valid"),
    (7, "certificate_rejected"), (65, "certificate_rejected"), (5000, "certificate_rejected")])
def test_which_verify_result_is_which_cause(number: int, cause: str) -> None:
    assert verify_results.cause(number) == cause


def test_every_hint_is_one_and_ends_no_sentence() -> None:
    for cause, helps in HINTS.items():
        assert not helps.endswith((".", ")", " ")), cause
        assert helps.count("?") <= 1, cause
        assert "(" not in helps, cause
        assert set(re.findall(r"\{(\w+)\}", helps)) <= {"prefix"}, cause


def test_a_variable_that_a_hint_names_is_one_of_the_inventory() -> None:
    from tests.support.contract import CONTRACT  # noqa: PLC0415 - reads all of the roles
    named = {name for helps in HINTS.values()
             for name in re.findall(r"\b(?:emqx|resumption)_[a-z_]+", helps)}
    assert "resumption_ca" in named
    assert named <= set(CONTRACT)


def test_a_clause_without_a_hint_stays_as_it_is() -> None:
    assert with_hint("closed", "connection_closed") == "closed"
    assert with_hint("closed", "never seen before") == "closed"


# -- how a handshake's cause is told ---------------------------------------------------------------


def handshake(cause: str, *, stage: str = "handshake", alert: str = "",
              heard: int = 0) -> Handshake:
    return Handshake(
        ENDPOINT, "2026-01-01T00:00:00Z", Outcome.REFUSED if alert else Outcome.FAILED, "why",
        alerts=(Alert("target", "fatal", alert),) if alert else (), bytes_in=heard,
        failure=Failure(stage, cause, "detail"))


@pytest.mark.parametrize(("ended", "first", "later"), [
    (handshake("timeout", stage="connect"), "timeout, connecting", "timeout"),
    (handshake("timeout"), "timeout, nothing heard", "timeout"),
    (handshake("timeout", heard=9), "timeout", "timeout"),
    (handshake("connection_closed"), "closed, nothing heard", "connection_closed"),
    (handshake("connection_reset"), "closed, nothing heard", "connection_reset"),
    (handshake("connection_reset", heard=9), "connection_reset", "connection_reset"),
    (handshake("connection_refused", stage="connect"), "connection_refused", "connection_refused"),
    (handshake("refused", alert="protocol_version"), "alert protocol_version", "refused"),
    (handshake("certificate_expired"), "certificate_expired", "certificate_expired")])
def test_what_is_known_of_a_node_makes_causes_finer(ended: Handshake, first: str,
                                                    later: str) -> None:
    assert (cause_of(ended, first=True), cause_of(ended, first=False)) == (first, later)
    assert {first, later} <= set(HINTS)


@pytest.mark.parametrize("alert", sorted(client_certificate._WITHOUT))
def test_what_can_be_the_answer_to_an_empty_certificate_is_an_alert(alert: str) -> None:
    assert alert in ALERT_DESCRIPTIONS.values()


# -- certificates as they come ---------------------------------------------------------------------


def rsa_1024() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - weak


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


def verdict_on(pair: Pair, ca_file: Path | None, *options: str) -> tuple[str, str]:
    """Return reason and sentence on a node that presents this certificate."""
    with s_server("-cert", pair.cert, "-key", pair.key, "-tls1_2",
                  "-cipher", "DEFAULT:@SECLEVEL=0", *options) as port:
        engine = OrdinaryEngine(Trust(ca_file=str(ca_file) if ca_file else None))
        made = engine.connect(Endpoint("n1", "127.0.0.1", port, "localhost")).handshake
        engine.close()
    verdict = trouble(Contact(made), first=True)
    assert verdict is not None
    assert verdict.status is Status.ERROR
    assert verdict.message.count(" (") == 2  # where it is, and one hint
    return verdict.reason, verdict.message


def _short(folder: Path) -> tuple[Pair, Path]:
    """Return a certificate for a short key, and its CA's file."""
    ca = Authority(folder, "ca")
    return ca.issue("short", key=rsa_1024()), ca.file


def _sha_1(folder: Path) -> tuple[Pair, Path]:
    """Return a certificate that is signed with SHA-1, and its CA's file."""
    ca, made = make_identity(folder, "ca"), Pair(folder / "sha1.pem", folder / "sha1-key.pem")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha1", "-keyout", made.key, "-out",
            made.cert, "-subj", "/CN=sha1", "-addext", "subjectAltName=DNS:localhost",
            "-CA", ca.certificate, "-CAkey", ca.key)
    return made, ca.certificate


Weak = Callable[[Path], tuple[Pair, Path]]


@pytest.mark.parametrize(("weak", "own_words"), [
    (_short, "EE certificate key too weak"), (_sha_1, "CA signature digest algorithm too weak")])
def test_a_weak_server_certificate_is_no_matter_of_the_ca(
        tmp_path: Path, weak: Weak, own_words: str) -> None:
    pair, ca_file = weak(tmp_path)
    reason, sentence = verdict_on(pair, ca_file)
    assert reason == "certificate_too_weak"
    assert f": {own_words} (issue it anew with RSA keys of 2048 bits or " in sentence
    assert "resumption_ca" not in sentence
    assert str(ca_file) not in sentence


def test_an_intermediate_alone_is_not_trusted(tmp_path: Path, ca: Authority) -> None:
    between = Authority(tmp_path, "between", under=ca)
    reason, sentence = verdict_on(between.issue("server"), between.file)
    assert reason == "certificate_root_missing"
    assert (f": unable to get issuer certificate; trusted are those of {between.file} "
            "(resumption_ca ends below the root: it must hold the root too") in sentence


def test_another_ca_is_not_the_right_one(tmp_path: Path, ca: Authority) -> None:
    reason, sentence = verdict_on(ca.issue("server"), Authority(tmp_path, "other").file)
    assert reason == "certificate_not_trusted"
    assert ": unable to get local issuer certificate; trusted are those of " in sentence
    assert "(resumption_ca must hold the CA that signed this node's certificate" in sentence


def test_a_self_signed_one_is_trusted_itself_or_not_at_all(
        certificate: tuple[Path, Path], ca: Authority) -> None:
    reason, sentence = verdict_on(Pair(*certificate), ca.file)
    assert reason == "certificate_self_signed"
    assert "(resumption_ca must hold this very certificate" in sentence


def test_one_that_is_not_valid_yet_has_nothing_to_be_renewed(ca: Authority) -> None:
    tomorrow = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=24)
    reason, sentence = verdict_on(ca.issue("early", since=tomorrow), ca.file)
    assert reason == "certificate_not_yet_valid"
    assert "certificate is not yet valid (are the clocks right" in sentence
    assert "renew" not in sentence


def test_one_of_a_client_is_not_a_servers(ca: Authority) -> None:
    reason, sentence = verdict_on(
        ca.issue("client", purpose=ExtendedKeyUsageOID.CLIENT_AUTH), ca.file)
    assert reason == "certificate_wrong_purpose"
    assert "(its extended key usage must allow serverAuth" in sentence
    assert "resumption_ca" not in sentence


def why_none(pair: Pair, ca_file: Path) -> str:
    """Return what is told of a client certificate that cannot be used."""
    with pytest.raises(EngineError) as caught:
        OrdinaryEngine(Trust(str(ca_file), str(pair.cert), str(pair.key)))
    return str(caught.value)


def test_a_short_key_of_the_probes_own_is_told_in_openssls_words(tmp_path: Path) -> None:
    pair, ca_file = _short(tmp_path)
    assert why_none(pair, ca_file).startswith(
        f"the client certificate {pair.cert} and its key {pair.key} cannot be used: ee key too "
        "small (issue it anew with RSA keys of 2048 bits")


def test_a_weak_signature_under_the_probes_own_is_openssls_or_the_targets_to_refuse(
        tmp_path: Path) -> None:
    """OpenSSL 3.5.9 looks no more at who signed its own certificate: openssl/openssl#31271."""
    pair, ca_file = _sha_1(tmp_path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(pair.cert, pair.key)
    except ssl.SSLError:
        assert why_none(pair, ca_file).startswith(
            f"the client certificate {pair.cert} and its key {pair.key} cannot be used: ca md too "
            "weak (issue it anew with RSA keys of 2048 bits")
    else:
        server = make_identity(tmp_path, "server")
        with s_server("-cert", server.certificate, "-key", server.key, "-tls1_2", "-Verify", "1",
                      "-verify_return_error", "-CAfile", ca_file, "-cipher",
                      "DEFAULT:@SECLEVEL=2") as port:
            engine = OrdinaryEngine(Trust(str(server.certificate), str(pair.cert), str(pair.key)))
            made = engine.connect(Endpoint("n1", "127.0.0.1", port, "localhost")).handshake
            engine.close()
        assert made.outcome is Outcome.REFUSED
        assert made.alerts[-1].raised_by == "target"
        assert client_certificate.shown(made)


def test_two_files_that_are_no_pair_are_told_in_openssls_words(ca: Authority) -> None:
    one, other = ca.issue("one"), ca.issue("other")
    assert why_none(Pair(one.cert, other.key), ca.file) == (
        f"the client certificate {one.cert} and its key {other.key} cannot be used: key values "
        "mismatch (the two must be of one pair)")


# -- MQTT ------------------------------------------------------------------------------------------


class _Answering:
    """A target that answers CONNECT with these bytes, and closes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def send(self, data: bytes, deadline: wire.Deadline) -> None:
        """Do nothing."""

    def receive(self, deadline: wire.Deadline) -> bytes:
        answer, self._answer = self._answer, b""
        return answer


@pytest.mark.parametrize("username", [None, "probe"])
@pytest.mark.parametrize("code", sorted({*mqtt._REFUSALS_V3, *mqtt._REFUSALS_V5} - {1, 0x84}))
def test_every_refusal_is_told_with_one_hint_at_most(code: int, username: str | None) -> None:
    version, answer = ("3.1.1", b"\x20\x02\x00") if code < 0x80 else ("5", b"\x20\x03\x00")
    with pytest.raises(mqtt.MqttError) as caught:
        mqtt.connect(_Answering(answer + bytes((code, 0)) if version == "5" else
                                answer + bytes((code,))),
                     Credentials(username, client_id_prefix="{dev}-"), version=version,
                     deadline=wire.Deadline(1.0))
    sentence = str(caught.value)
    assert f"(0x{code:02x})" in sentence
    demands = code in (4, 5, 0x86, 0x87)
    assert ("resumption_mqtt_password" in sentence) == demands
    assert ("it demands authentication" in sentence) == (demands and username is None)
    assert ("resumption_mqtt_client_id_prefix" in sentence) == (code in (2, 0x85))
    assert ("begin with {dev}-" in sentence) == (code in (5, 0x87) and username is not None)
    assert sentence.count(" (") <= 2


@pytest.mark.parametrize("first", [True, False])
def test_one_that_hangs_up_on_connect_may_have_something_against_the_client(*, first: bool) -> None:
    hung_up = MqttResult("5", "mqtt_closed", "the target closed the connection instead of "
                                             "answering CONNECT")
    verdict = trouble(Contact(Handshake(ENDPOINT, "2026-01-01T00:00:00Z", Outcome.FULL, "why",
                                        mqtt=hung_up)), first=first)
    assert verdict is not None
    assert verdict.reason == ("mqtt_closed" if first else "mqtt_failed")
    # Later the same client was let in before.
    assert ("(a broker may hang up so on a client id, a user name or a client's address"
            in verdict.message) == first


