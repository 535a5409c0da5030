"""Test certificates: made once, kept, and made anew for a reason that is told."""
from __future__ import annotations

import datetime
import ipaddress
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.certificates import (
    CertificateError,
    CertificatePlan,
    alone_in,
    carry_out,
    check_own,
    make_plan,
    short_lived_client,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support.openssl_cli import make_identity

NOW = datetime.datetime.now(datetime.timezone.utc)
NAMES = ("emqx1.example.com", "192.0.2.7")
FILES = ["ca-key.pem", "ca.pem", "client-cert.pem", "client-key.pem", "server-cert.pem",
         "server-key.pem"]


def deploy(directory: Path, names: tuple[str, ...] = NAMES, key_type: str = "rsa",
           now: datetime.datetime = NOW) -> CertificatePlan:
    with alone_in(directory):
        plan = make_plan(directory, names, key_type, now)
        carry_out(plan)
    return plan


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "certs"
    deploy(directory)
    return directory


@pytest.fixture
def certs(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "certs"))


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_all_files_are_made_and_private_keys_are_private(made: Path) -> None:
    assert sorted(path.name for path in made.iterdir()) == FILES
    modes = {path.name: path.stat().st_mode & 0o777 for path in made.iterdir()}
    assert modes == {name: 0o600 if "key" in name else 0o644 for name in FILES}


def test_the_reasons_are_told(tmp_path: Path) -> None:
    assert deploy(tmp_path).changes == (
        "ca.pem: does not exist", "server-cert.pem: does not exist",
        "client-cert.pem: does not exist")


def test_a_second_run_changes_nothing(certs: Path) -> None:
    before = contents(certs)
    assert deploy(certs).changes == ()
    assert contents(certs) == before


def test_the_server_names_all_nodes_and_loopback(made: Path) -> None:
    names = certificate(made / "server-cert.pem").extensions.get_extension_for_class(
        x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"emqx1.example.com", "localhost"}
    assert set(names.get_values_for_type(x509.IPAddress)) == {
        ipaddress.ip_address(text) for text in ("192.0.2.7", "127.0.0.1", "::1")}


def test_openssl_accepts_the_chain_for_its_purposes(made: Path) -> None:
    for purpose, file in (("sslserver", "server-cert.pem"), ("sslclient", "client-cert.pem")):
        done = subprocess.run(
            ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile",
             str(made / "ca.pem"), str(made / file)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    wrong = subprocess.run(
        ["openssl", "verify", "-purpose", "sslserver", "-CAfile", str(made / "ca.pem"),
         str(made / "client-cert.pem")], capture_output=True, text=True, check=False)
    assert wrong.returncode != 0


def test_pythons_ssl_loads_what_was_made(made: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made / "server-cert.pem", made / "server-key.pem")
    context.load_verify_locations(made / "ca.pem")


def test_rsa_2048_by_default_and_p256_when_asked(certs: Path) -> None:
    public = certificate(certs / "server-cert.pem").public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.key_size == 2048
    plan = deploy(certs, key_type="ecdsa")
    assert plan.changes == tuple(
        f"{name}: the key is rsa and ecdsa is asked for"
        for name in ("ca.pem", "server-cert.pem", "client-cert.pem"))
    changed = certificate(certs / "server-cert.pem").public_key()
    assert isinstance(changed, ec.EllipticCurvePublicKey)
    assert isinstance(changed.curve, ec.SECP256R1)
    assert deploy(certs, key_type="ecdsa").changes == ()


def test_a_new_node_is_added_and_the_ca_and_the_old_names_stay(certs: Path) -> None:
    before = contents(certs)
    plan = deploy(certs, (*NAMES, "emqx2.example.com", "2001:db8::1"))
    assert plan.changes == ("server-cert.pem: does not name 2001:db8::1, emqx2.example.com",)
    assert {name for name, content in contents(certs).items() if before[name] != content} == {
        "server-cert.pem", "server-key.pem"}
    # Two inventories that share the directory must not take turns.
    assert deploy(certs, ("other.example.com",)).changes == (
        "server-cert.pem: does not name other.example.com",)
    assert deploy(certs, (*NAMES, "emqx2.example.com")).changes == ()


def test_names_differ_in_case_only_by_spelling(certs: Path) -> None:
    assert deploy(certs, ("EMQX1.example.com",)).changes == ()


def test_renewed_a_week_before_it_expires_with_the_same_names(certs: Path) -> None:
    end = certificate(certs / "server-cert.pem").not_valid_after_utc
    early = end - datetime.timedelta(days=8)
    assert make_plan(certs, NAMES, "rsa", early).changes == ()
    late = end - datetime.timedelta(days=6)
    plan = deploy(certs, ("127.0.0.1",), now=late)
    assert plan.changes == (f"server-cert.pem: expires on {end:%Y-%m-%d}",
                            f"client-cert.pem: expires on {end:%Y-%m-%d}")
    assert deploy(certs, now=late).changes == ()


def test_expired(certs: Path) -> None:
    end = certificate(certs / "server-cert.pem").not_valid_after_utc
    plan = make_plan(certs, NAMES, "rsa", end)
    assert plan.changes[0] == f"server-cert.pem: expired on {end:%Y-%m-%d}"


def test_no_certificate_outlives_its_ca(certs: Path) -> None:
    end = certificate(certs / "ca.pem").not_valid_after_utc
    deploy(certs, now=end - datetime.timedelta(days=30))
    assert certificate(certs / "server-cert.pem").not_valid_after_utc <= end


def test_a_clock_that_is_behind_is_not_trusted_blindly(certs: Path) -> None:
    plan = make_plan(certs, NAMES, "rsa", NOW - datetime.timedelta(days=2))
    assert plan.changes[0].startswith("ca.pem: is valid only from ")


def test_another_ca_makes_everything_anew(certs: Path, tmp_path: Path) -> None:
    deploy(tmp_path / "other")
    for name in ("ca.pem", "ca-key.pem"):
        shutil.copy(tmp_path / "other" / name, certs / name)
    assert deploy(certs).changes == ("server-cert.pem: not signed by ca.pem",
                                     "client-cert.pem: not signed by ca.pem")


def test_a_lost_ca_key_makes_everything_anew(certs: Path) -> None:
    (certs / "ca-key.pem").unlink()
    assert deploy(certs).changes == (
        "ca.pem: ca-key.pem does not exist", "server-cert.pem: ca.pem is made anew",
        "client-cert.pem: ca.pem is made anew")
    assert deploy(certs).changes == ()


def test_a_key_of_another_certificate_is_noticed(certs: Path) -> None:
    shutil.copy(certs / "client-key.pem", certs / "server-key.pem")
    assert deploy(certs).changes == ("server-cert.pem: server-key.pem is not its private key",)


def test_rubbish_is_replaced(certs: Path) -> None:
    (certs / "server-cert.pem").write_text("rubbish")
    assert deploy(certs).changes == (
        f"server-cert.pem: {certs}/server-cert.pem holds no PEM certificate",)


def test_a_leaf_is_no_ca(certs: Path) -> None:
    shutil.copy(certs / "client-cert.pem", certs / "ca.pem")
    shutil.copy(certs / "client-key.pem", certs / "ca-key.pem")
    assert deploy(certs).changes[0] == "ca.pem: is no CA"


def test_a_key_that_others_can_read_is_closed(certs: Path) -> None:
    before = contents(certs)
    (certs / "server-key.pem").chmod(0o644)
    assert deploy(certs).changes == ("server-key.pem: was readable by others",)
    assert (certs / "server-key.pem").stat().st_mode & 0o777 == 0o600
    assert contents(certs) == before


def test_a_plan_alone_writes_nothing(tmp_path: Path) -> None:
    assert make_plan(tmp_path / "certs", NAMES, "rsa").changes
    assert not (tmp_path / "certs").exists()


def test_an_interrupted_write_leaves_the_old_file(certs: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(certs)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        deploy(certs, ("new.example.com",))
    assert contents(certs) == before


@pytest.mark.parametrize("name", ["a" * 64 + ".example.com", "a..b"])
def test_a_name_no_certificate_can_hold(tmp_path: Path, name: str) -> None:
    with pytest.raises(CertificateError, match="no host name a certificate can hold"):
        make_plan(tmp_path, [name], "rsa")


def test_own_files_are_checked(certs: Path) -> None:
    found = check_own(certs / "ca.pem", certs / "server-cert.pem", certs / "server-key.pem")
    assert found == certificate(certs / "server-cert.pem")


@pytest.mark.parametrize(("files", "sentence"), [
    (("ca.pem", "server-cert.pem", "client-key.pem"),
     "client-key.pem is not the private key of .*server-cert.pem"),
    (("none.pem", "server-cert.pem", "server-key.pem"),
     r"none.pem cannot be read \(No such file or directory\)"),
    (("ca.pem", "server-key.pem", "server-key.pem"), "server-key.pem holds no PEM certificate"),
    (("ca.pem", "server-cert.pem", "server-cert.pem"),
     "server-cert.pem holds no PEM private key"),
])
def test_own_files_that_cannot_work_are_refused(certs: Path, files: tuple[str, str, str],
                                                sentence: str) -> None:
    with pytest.raises(CertificateError, match=sentence):
        check_own(certs / files[0], certs / files[1], certs / files[2])


def test_an_own_certificate_that_expired_is_refused(certs: Path) -> None:
    end = certificate(certs / "server-cert.pem").not_valid_after_utc
    with pytest.raises(CertificateError, match=rf"expired on {end:%Y-%m-%d}"):
        check_own(certs / "ca.pem", certs / "server-cert.pem", certs / "server-key.pem", end)


def test_an_own_encrypted_key_is_refused(certs: Path) -> None:
    subprocess.run(["openssl", "pkey", "-in", certs / "server-key.pem", "-aes256", "-passout",
                    "pass:x", "-out", certs / "encrypted.pem"], check=True, capture_output=True)
    with pytest.raises(CertificateError, match="is encrypted"):
        check_own(certs / "ca.pem", certs / "server-cert.pem", certs / "encrypted.pem")


@pytest.mark.parametrize(("kind", "why"), [
    ("DSA", ""), *((kind, ": Erlang/OTP serves nobody at TLS 1.2 with an Ed25519 or Ed448 key")
                   for kind in ("Ed25519", "Ed448"))])
def test_an_own_key_of_another_kind_is_refused_with_the_reason(tmp_path: Path, kind: str,
                                                               why: str) -> None:
    own = make_identity(tmp_path, "own", kind=kind)
    with pytest.raises(CertificateError) as caught:
        check_own(own.certificate, own.certificate, own.key)
    assert str(caught.value) == f"{own.key} is neither an RSA nor an elliptic curve key{why}"


def test_trust_domains_get_a_ca_and_a_client_of_their_own(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    plan = make_plan(tmp_path, NAMES, "ecdsa", now, domains=("d1", "d2"))
    carry_out(plan)
    assert {path.name for path in tmp_path.iterdir()} == {
        "ca.pem", "ca-key.pem", "server-cert.pem", "server-key.pem", "client-cert.pem",
        "client-key.pem", "other-server-cert.pem", "other-server-key.pem",
        *(f"{domain}-{file}" for domain in ("d1", "d2") for file in (
            "ca.pem", "ca-key.pem", "client-cert.pem", "client-key.pem"))}
    for path in tmp_path.glob("*-key.pem"):
        assert path.stat().st_mode & 0o777 == 0o600
    for name, issuer in (("d1-client-cert.pem", "d1-ca.pem"), ("d2-client-cert.pem", "d2-ca.pem"),
                         ("other-server-cert.pem", "ca.pem")):
        certificate(tmp_path / name).verify_directly_issued_by(certificate(tmp_path / issuer))
    first, second = (certificate(tmp_path / f"{domain}-ca.pem") for domain in ("d1", "d2"))
    assert first.subject != second.subject
    other, server = (certificate(tmp_path / f"{name}-cert.pem") for name in (
        "other-server", "server"))
    assert other.fingerprint(hashes.SHA256()) != server.fingerprint(hashes.SHA256())
    assert len({str(each.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
                for each in (other, server)}) == 1
    assert make_plan(tmp_path, NAMES, "ecdsa", now, domains=("d1", "d2")).changes == ()
    # An inventory without domains finds nothing to do either, nor does one with fewer.
    assert make_plan(tmp_path, NAMES, "ecdsa", now).changes == ()


def test_a_lost_ca_of_a_domain_costs_nobody_else_anything(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    carry_out(make_plan(tmp_path, NAMES, "ecdsa", now, domains=("d1", "d2")))
    (tmp_path / "d2-ca-key.pem").unlink()
    plan = make_plan(tmp_path, NAMES, "ecdsa", now, domains=("d1", "d2"))
    assert plan.changes == ("d2-ca.pem: d2-ca-key.pem does not exist",
                            "d2-client-cert.pem: d2-ca.pem is made anew")
    carry_out(plan)
    assert make_plan(tmp_path, NAMES, "ecdsa", now, domains=("d1", "d2")).changes == ()


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "x" * 40])
def test_a_domain_that_cannot_begin_a_file_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(CertificateError, match="cannot name a trust domain"):
        make_plan(tmp_path, NAMES, "rsa", domains=(name,))


def test_a_short_lived_client(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    carry_out(make_plan(tmp_path, NAMES, "ecdsa", now, domains=("d1",)))
    until = now.replace(microsecond=0) + datetime.timedelta(seconds=5)
    pem = short_lived_client(tmp_path / "d1-ca.pem", tmp_path / "d1-ca-key.pem", until)
    made = x509.load_pem_x509_certificate(pem)
    made.verify_directly_issued_by(certificate(tmp_path / "d1-ca.pem"))
    assert made.not_valid_after_utc == until
    assert b"PRIVATE KEY" in pem
    with pytest.raises(CertificateError, match=r"is not the private key of"):
        short_lived_client(tmp_path / "d1-ca.pem", tmp_path / "ca-key.pem", until)
    with pytest.raises(CertificateError, match=r"cannot be read"):
        short_lived_client(tmp_path / "no-ca.pem", tmp_path / "ca-key.pem", until)


def test_a_short_lived_client_is_looked_up_where_the_others_are(tmp_path: Path) -> None:
    carry_out(make_plan(tmp_path, NAMES, "ecdsa", domains=("d1",)))
    until = NOW + datetime.timedelta(days=1)
    ca, key = tmp_path / "d1-ca.pem", tmp_path / "d1-ca-key.pem"
    points = x509.CRLDistributionPoints([x509.DistributionPoint(
        [x509.UniformResourceIdentifier("http://ca.example.com/d1.crl")], None, None, None)])
    other = certificate(tmp_path / "d1-client-cert.pem")
    signer = serialization.load_pem_private_key(key.read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    like = tmp_path / "like.pem"
    like.write_bytes(
        x509.CertificateBuilder(other.issuer, other.subject, other.public_key(), 1,
                                other.not_valid_before_utc, other.not_valid_after_utc)
        .add_extension(points, critical=False)
        .sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    made = x509.load_pem_x509_certificate(short_lived_client(ca, key, until, like))
    assert made.extensions.get_extension_for_class(x509.CRLDistributionPoints).value == points
    made = x509.load_pem_x509_certificate(
        short_lived_client(ca, key, until, tmp_path / "d1-client-cert.pem"))
    with pytest.raises(x509.ExtensionNotFound):
        made.extensions.get_extension_for_class(x509.CRLDistributionPoints)
