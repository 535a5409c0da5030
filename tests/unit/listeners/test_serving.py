"""What EMQX boots with and serves nobody with: refused or named, in words that say so."""
from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.complete import (
    Certificates,
    ConfiguredNode,
)
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.files import as_named
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.release import (
    parse_release,
)
from ansible_collections.emqx.conformance.plugins.module_utils.listeners.validate import (
    Checked,
    check_node,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.support.openssl_cli import make_identity, openssl

CERTIFICATES = Certificates("/certs/ca.pem", "/certs/server-cert.pem", "/certs/server-key.pem")
OPTIONS = "listeners.ssl.default.ssl_options"


def checked(listener: Mapping[str, Any], release: str = "5.8.9",
            certificates: Certificates | None = None) -> Checked:
    """Check one ``ssl`` listener, and its files where there are some."""
    node = ConfiguredNode("emqx1", "127.0.0.1", 8883, {"ssl": {"default": listener}},
                          certificates or CERTIFICATES)
    return check_node(node, parse_release(release), as_named if certificates else lambda _: None)


def tls(**options: Any) -> dict[str, Any]:
    return {"ssl_options": options}


def passphrase(written: str) -> dict[str, Any]:
    return {"ssl_options": {"password": written}}


@pytest.mark.parametrize(("listener", "sentence"), [
    ({"acceptors": 10**20},
     ("listeners.ssl.default.acceptors: must be at most 2097152: EMQX does not boot with more than "
     "it may have processes")),
    ({"max_conn_rate": "100000000000000000000/s"},
     ("listeners.ssl.default.max_conn_rate: is more than EMQX counts, and it does not boot: write "
     "infinity for no limit")),
    ({"proxy_protocol": True, "proxy_protocol_timeout": 0},
     ("listeners.ssl.default.proxy_protocol_timeout: must be more than 0: EMQX 5.8.9 boots, but "
     "closes every connection")),
    (tls(depth=256),
     (f"{OPTIONS}.depth: must be at most 255: with more, EMQX does not boot, or boots and every "
     "handshake fails")),
    (tls(handshake_timeout="0.0001s"),
     (f"{OPTIONS}.handshake_timeout: must be more than 0: EMQX 5.8.9 boots, but every handshake "
     "fails")),
    (tls(verify="verify_peer", cacertfile=None),
     (f"{OPTIONS}.cacertfile: cannot be removed with verify: verify_peer (EMQX boots, but every "
     "handshake fails)")),
])
def test_what_serves_nobody_is_refused(listener: dict[str, Any], sentence: str) -> None:
    assert checked(listener).errors == (sentence,)


@pytest.mark.parametrize("listener", [
    {"acceptors": 2097152}, {"max_conn_rate": "1000000/s"}, {"proxy_protocol_timeout": 0},
    {"proxy_protocol": True, "proxy_protocol_timeout": "1ms"}, {"zone": "default"},
    {"tcp_options": {"active_n": 1}}, tls(depth=255), tls(handshake_timeout=15000),
    tls(handshake_timeout="100ms"), tls(handshake_timeout="1000"), tls(cacertfile=None),
    tls(verify="verify_peer", cacerts=True, cacertfile=None),
    tls(ciphers=["DES-CBC3-SHA", "AES128-SHA"]),
    tls(ciphers=["PSK-AES128-CBC-SHA"], versions=["tlsv1.2", "tlsv1.3"]),
    tls(ciphers=["ECDHE-ECDSA-AES128-SHA"]), tls(versions=[]), tls(versions=None),
])
def test_what_serves_somebody_passes_without_a_word(listener: dict[str, Any]) -> None:
    done = checked(listener)
    assert (done.errors, done.warnings) == ((), ())


def test_a_listener_that_is_switched_off_serves_nobody_anyway() -> None:
    done = checked({"enable": False, "zone": "other", **tls(depth=256)})
    assert (done.errors, done.warnings) == ((), ())


@pytest.mark.parametrize(("listener", "key", "words"), [
    ({"zone": "other"}, "zone", "MQTT may be closed without a CONNACK"),
    ({"tcp_options": {"active_n": 0}}, "tcp_options.active_n", "reads nothing from its clients"),
    (tls(handshake_timeout=15), "ssl_options.handshake_timeout",
     "is 15 ms, in which few handshakes end: if seconds are meant, write 15s"),
    (tls(handshake_timeout="300"), "ssl_options.handshake_timeout", "write 300s"),
    (tls(handshake_timeout="5ms"), "ssl_options.handshake_timeout",
     "is 5 ms, in which few handshakes end"),
    (tls(ciphers=["PSK-AES128-CBC-SHA", "RC4-SHA"]), "ssl_options.ciphers",
     "most clients' handshakes fail"),
    (tls(ciphers=["SRP-RSA-AES-128-CBC-SHA"]), "ssl_options.ciphers", "need a shared secret"),
    (tls(ciphers=["EDH-RSA-DES-CBC-SHA"]), "ssl_options.ciphers", "OpenSSL 3 no longer offers"),
])
def test_what_may_serve_nobody_is_named(listener: dict[str, Any], key: str, words: str) -> None:
    done = checked(listener)
    assert done.errors == ()
    [warning] = done.warnings
    assert warning.startswith(f"listeners.ssl.default.{key}: ")
    assert words in warning
    if "5ms" in str(listener):
        assert "seconds" not in warning


def test_a_passphrase_is_read_from_a_file_from_5_8_2_on() -> None:
    listener = passphrase("file:///run/secrets/key")
    assert checked(listener, "5.8.2").warnings == ()
    assert checked(listener, "5.8.1").warnings == (
        (f"{OPTIONS}.password: EMQX 5.8.1 takes file://… for the passphrase itself (it reads the "
         "file from 5.8.2 on): if the key is encrypted, every handshake fails"),)
    assert checked(passphrase("hunter2"), "5.8.1").errors == (
        (f"{OPTIONS}.password: would stand in clear text in listeners.hocon: use a key without a "
         "passphrase (EMQX 5.8.1 reads none from a file)"),)


class Files:
    """Keys and certificates in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.short = rsa.generate_private_key(65537, 1024)  # noqa: S505 - what OTP serves, too
        for name, key in (("rsa", self.rsa), ("ec", self.ec), ("short", self.short)):
            self.write(f"{name}.key", key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption()))
            self.write(f"{name}.pem", self._certificate(key))
        for name, form in (("pkcs8", serialization.PrivateFormat.PKCS8),
                           ("openssl", serialization.PrivateFormat.TraditionalOpenSSL)):
            self.write(f"encrypted-{name}.key", self.rsa.private_bytes(
                serialization.Encoding.PEM, form,
                serialization.BestAvailableEncryption(b"secret")))
        self.write("passphrase", b"secret\n")
        self.write("empty.pem", b"")
        self.write("garbage.pem",
                   b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")

    def write(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)

    @staticmethod
    def _certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "serving")])
        begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
        built = x509.CertificateBuilder().subject_name(name).issuer_name(name) \
            .public_key(key.public_key()).serial_number(1) \
            .not_valid_before(begin).not_valid_after(begin + datetime.timedelta(days=3650))
        return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def named(self, certificate: str, key: str, ca: str = "rsa.pem") -> Certificates:
        return Certificates(*(str(self.folder / name) for name in (ca, certificate, key)))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("files"))


@pytest.mark.parametrize(("certificate", "key", "at", "words"), [
    ("rsa.pem", "ec.key", "keyfile", "is not the key of the certificate in certfile"),
    ("rsa.pem", "short.key", "keyfile", "is not the key of the certificate in certfile"),
    ("empty.pem", "rsa.key", "certfile", "holds no certificate"),
    ("rsa.pem", "empty.pem", "keyfile", "holds no private key"),
    ("rsa.pem", "rsa.pem", "keyfile", "holds no private key"),
])
def test_files_of_no_use(files: Files, certificate: str, key: str, at: str, words: str) -> None:
    [sentence] = checked({}, certificates=files.named(certificate, key)).errors
    named = {"certfile": certificate, "keyfile": key}[at]
    assert sentence == (f'{OPTIONS}.{at}: "{files.folder}/{named}" {words}: EMQX boots, but every '
                        f"handshake fails")


@pytest.mark.parametrize(("certificate", "key"), [
    ("rsa.pem", "rsa.key"), ("ec.pem", "ec.key"), ("short.pem", "short.key"),
    # What is wrong with it is OTP's to say.
    ("garbage.pem", "rsa.key")])
def test_files_of_use(files: Files, certificate: str, key: str) -> None:
    done = checked({}, certificates=files.named(certificate, key))
    assert (done.errors, done.warnings) == ((), ())


@pytest.mark.parametrize("key", ["encrypted-pkcs8.key", "encrypted-openssl.key"])
def test_an_encrypted_key(files: Files, key: str) -> None:
    listener = passphrase(f"file://{files.folder}/passphrase")
    assert checked(listener, "5.8.2", files.named("rsa.pem", key)).errors == ()
    assert checked(listener, "5.8.1", files.named("rsa.pem", key)).errors == (
        (f"{OPTIONS}.password: EMQX 5.8.1 takes file://… for the passphrase itself (it reads the "
         "file from 5.8.2 on), and every handshake fails: use a key without a passphrase"),)
    assert checked(listener, "5.8.1", files.named("rsa.pem", "rsa.key")).warnings == ()
    # Of another certificate: seen through the passphrase, and not asked for without one.
    [sentence] = checked(listener, "5.8.2", files.named("short.pem", key)).errors
    assert "is not the key of the certificate" in sentence
    assert checked({}, "5.8.2", files.named("short.pem", key)).errors == ()
    nowhere = passphrase("file:///nowhere")
    assert checked(nowhere, "5.8.2", files.named("short.pem", key)).errors == ()


@pytest.mark.parametrize(("pair", "ciphers", "key_type"), [
    ("rsa", ["ECDHE-ECDSA-AES128-SHA"], "RSA"), ("rsa", ["DHE-DSS-AES128-SHA"], "RSA"),
    ("ec", ["ECDHE-RSA-AES128-SHA", "AES128-SHA", "RSA-PSK-AES128-CBC-SHA"], "EC")])
def test_suites_for_another_key(files: Files, pair: str, ciphers: list[str],
                                key_type: str) -> None:
    done = checked(tls(ciphers=ciphers), certificates=files.named(f"{pair}.pem", f"{pair}.key"))
    assert done.errors == (
        (f"{OPTIONS}.ciphers: has no suite for the {key_type} key of certfile: EMQX boots, but "
         "every handshake fails"),)


@pytest.mark.parametrize("kind", ["Ed25519", "Ed448"])
def test_a_key_with_which_nobody_is_served_at_tls_1_2(tmp_path: Path, kind: str) -> None:
    own = make_identity(tmp_path, "own", kind=kind)
    pair = Certificates(str(own.certificate), str(own.certificate), str(own.key))
    reason = (f"{OPTIONS}.certfile: is for an {kind} key: Erlang/OTP serves nobody at TLS 1.2 with "
              "an Ed25519 or Ed448 key")
    for options in (tls(), tls(ciphers=["ECDHE-RSA-AES128-SHA"])):
        done = checked(options, certificates=pair)
        assert done.errors == (f"{reason} (EMQX boots, but every handshake fails)",)
    done = checked(tls(versions=["tlsv1.3", "tlsv1.2"]), certificates=pair)
    assert done.errors == ()
    assert done.warnings == (f"{reason}, so that clients get TLS 1.3 or nothing",)


def test_a_key_is_told_from_the_one_that_signed_its_certificate(tmp_path: Path) -> None:
    ca = make_identity(tmp_path, "ca", kind="Ed25519")
    own = tmp_path / "own.pem"
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "own.key",
            "-out", own, "-subj", "/CN=own", "-CA", ca.certificate, "-CAkey", ca.key)
    done = checked({}, certificates=Certificates(str(own), str(own), str(tmp_path / "own.key")))
    assert (done.errors, done.warnings) == ((), ())


@pytest.mark.parametrize(("pair", "ciphers"), [
    ("rsa", ["ECDHE-ECDSA-AES128-SHA", "AES128-SHA"]), ("ec", ["ECDHE-ECDSA-AES128-SHA"]),
    # Tried: with suites of TLS 1.3 alone, EMQX serves TLS 1.2 as if there were none named.
    ("ec", ["TLS_AES_256_GCM_SHA384"])])
def test_a_suite_for_the_key(files: Files, pair: str, ciphers: list[str]) -> None:
    done = checked(tls(ciphers=ciphers), certificates=files.named(f"{pair}.pem", f"{pair}.key"))
    assert (done.errors, done.warnings) == ((), ())


def test_trust_anchors_that_nobody_is_held_to_may_be_missing(files: Files, tmp_path: Path) -> None:
    missing = files.named("rsa.pem", "rsa.key", ca="none.pem")
    folder = Certificates(str(tmp_path), missing.certfile, missing.keyfile)
    for certificates, what in ((missing, "does not exist"),
                               (folder, "cannot be read (Is a directory)")):
        done = checked({}, certificates=certificates)
        assert done.errors == ()
        assert done.warnings == (
            (f'{OPTIONS}.cacertfile: "{certificates.cacertfile}" {what}; EMQX does without it, as '
             "long as verify is verify_none"),)
        done = checked(tls(verify="verify_peer"), certificates=certificates)
        assert done.errors == (
            (f'{OPTIONS}.cacertfile: "{certificates.cacertfile}" {what}; EMQX boots without it, '
             "but every handshake fails"),)


def test_an_issuer_that_is_missing_has_nothing_stapled(files: Files) -> None:
    done = checked(tls(ocsp={"issuer_pem": "/none/issuer.pem"}),
                   certificates=files.named("rsa.pem", "rsa.key"))
    assert done.errors == ()
    assert done.warnings == (
        (f'{OPTIONS}.ocsp.issuer_pem: "/none/issuer.pem" does not exist; EMQX boots without it, '
         "but has no OCSP response to staple"),)


def test_a_url_is_no_path(files: Files) -> None:
    url = f"file://{files.folder}/rsa.pem"
    [sentence] = checked(tls(certfile=url), certificates=files.named("rsa.pem", "rsa.key")).errors
    assert sentence == (f'{OPTIONS}.certfile: "{url}" must be a path without file:// (EMQX boots, '
                        "but every handshake fails)")
