"""Session files that openssl wrote, read field by field as openssl reads them; and hostile ones."""
from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import json
import os
import stat
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.tls.session_asn1 import (
    SslSession,
    decode,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tls.session_file import (
    MAX_FILE,
    SessionFileError,
    as_result,
    parse,
    read,
)
from cryptography import x509
from cryptography.hazmat import asn1
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.openssl_cli import (
    CertifiedKey,
    make_identity,
    make_session,
    openssl,
    s_server,
    sess_id,
)

UTC = datetime.timezone.utc
PROTOCOLS = {"TLSv1.1": "tlsv1.1", "TLSv1.2": "tlsv1.2", "TLSv1.3": "tlsv1.3"}
ID_ONLY = ("-tls1_2", "-no_ticket")
WEAK = ("-cipher", "ALL:@SECLEVEL=0")


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CertifiedKey]:
    folder = tmp_path_factory.mktemp("identities")
    return {"rsa": make_identity(folder, "localhost"),
            "ecdsa": make_identity(folder, "elliptic", ecdsa=True, serial="0A1B"),
            "client": make_identity(folder, "device-1")}


@pytest.fixture(scope="module")
def servers(identities: dict[str, CertifiedKey]) -> Iterator[dict[str, int]]:
    """Ports of s_server by what it demands: nothing, or a client certificate."""
    rsa, ecdsa = (("-cert", identities[kind].certificate, "-key", identities[kind].key, *WEAK)
                  for kind in ("rsa", "ecdsa"))
    knows = ("-servername", "localhost", "-cert2", rsa[1], "-key2", rsa[3])
    demands = ("-Verify", "1", "-verify_return_error", "-CAfile", identities["client"].certificate)
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(s_server(*options)) for name, options in {
            "rsa": (*rsa, *knows), "ecdsa": ecdsa, "rsa with mTLS": (*rsa, *demands),
            "ecdsa with mTLS": (*ecdsa, *demands), "anonymous": ("-nocert", *WEAK)}.items()}


@pytest.fixture(scope="module")
def client_options(identities: dict[str, CertifiedKey]) -> tuple[str | Path, ...]:
    return "-cert", identities["client"].certificate, "-key", identities["client"].key


@pytest.fixture(scope="module")
def plain(servers: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of TLS 1.2 with an ID and without ticket."""
    path = tmp_path_factory.mktemp("plain") / "session.pem"
    make_session(path, servers["rsa"], *ID_ONLY)
    path.chmod(0o600)
    return path


def der_of(path: Path) -> bytes:
    return openssl("sess_id", "-in", path, "-outform", "DER")


def result_of(path: Path, **how: Any) -> dict[str, Any]:
    return as_result(read(str(path)).session, datetime.datetime.now(UTC), **how)


def changed(path: Path, **fields: Any) -> bytes:
    """Return a session's DER with other values in some fields."""
    session = decode(der_of(path))
    for name, value in fields.items():
        setattr(session, name, value)
    return asn1.encode_der(session)


def refusal(data: bytes) -> str:
    with pytest.raises(SessionFileError) as caught:
        parse(data)
    return str(caught.value)


# --- What openssl wrote ------------------------------------------------------------------------

@pytest.mark.parametrize("server", ["rsa", "ecdsa", "rsa with mTLS", "ecdsa with mTLS"])
@pytest.mark.parametrize(("options", "resumes_by"), [
    (ID_ONLY, "session_id"), (("-tls1_2",), "ticket"), (("-tls1_3",), "ticket"),
    (("-tls1_1", "-no_ticket", *WEAK), "session_id")], ids=["id", "ticket", "tls13", "tls11"])
def test_every_field_is_what_openssl_reads(
        server: str, options: tuple[str, ...], resumes_by: str, servers: dict[str, int], *,
        client_options: tuple[str | Path, ...], tmp_path: Path) -> None:
    path = tmp_path / "session.pem"
    make_session(path, servers[server], *options,
                 *(client_options if server.endswith("mTLS") else ()))
    mine, theirs = result_of(path, show_master_secret=True), sess_id(path)

    assert mine["protocol"] == PROTOCOLS[theirs["Protocol"]]
    assert mine["cipher"] == theirs["Cipher"]
    assert mine["session_id"].upper() == theirs["Session-ID"]
    assert mine["session_id_bytes"] * 2 == len(theirs["Session-ID"])
    assert mine["session_id_context"].upper() == theirs["Session-ID-ctx"]
    secret = theirs.get("Master-Key") or theirs["Resumption PSK"]
    assert mine["master_secret"] == {"present": True, "bytes": len(secret) // 2,
                                     "hex": secret.lower()}
    started = datetime.datetime.fromtimestamp(int(theirs["Start Time"]), UTC)
    assert mine["started_at"] == f"{started:%Y-%m-%dT%H:%M:%SZ}"
    assert theirs["Timeout"] == f"{mine['timeout_s']} (sec)"
    expires = started + datetime.timedelta(seconds=mine["timeout_s"])
    assert mine["expires_at"] == f"{expires:%Y-%m-%dT%H:%M:%SZ}"
    assert mine["expired"] is False
    assert theirs["Verify return code"].startswith(f"{mine['verify_result']['number']} (")
    assert mine["verify_result"] == {"number": 18, "meaning": "the certificate is self-signed and "
                                                              "not trusted"}
    if mine["protocol"] == "tlsv1.3":
        assert mine["extended_master_secret"] is None
    else:
        assert {True: "yes", False: "no"}[mine["extended_master_secret"]] == \
            theirs["Extended master secret"]
    if resumes_by == "ticket":
        assert theirs["TLS session ticket lifetime hint"] == \
            f"{mine['ticket']['lifetime_hint_s']} (seconds)"
    else:
        assert "TLS session ticket lifetime hint" not in theirs
        assert mine["ticket"] is None
    assert mine["resumes_by"] == resumes_by
    assert mine["session_id_from_server"] is (resumes_by == "session_id")
    assert mine["compression"] == "none"


@pytest.mark.parametrize("server", ["rsa", "ecdsa"])
def test_the_peer_certificate_is_what_openssl_reads(server: str, servers: dict[str, int],
                                                    tmp_path: Path) -> None:
    path = tmp_path / "session.pem"
    make_session(path, servers[server], *ID_ONLY)
    pem = openssl("sess_id", "-in", path, "-cert")
    printed = openssl("x509", "-noout", "-subject", "-issuer", "-serial", "-enddate",
                      "-fingerprint", "-sha256", "-nameopt", "RFC2253", "-dateopt", "iso_8601",
                      data=pem).decode()
    theirs = dict(line.split("=", 1) for line in printed.splitlines())
    mine = result_of(path)["peer_certificate"]
    assert mine["subject"] == theirs["subject"]
    assert "O=Session tests\\, Inc." in mine["subject"]
    assert mine["issuer"] == theirs["issuer"]
    assert mine["serial"] == theirs["serial"]
    assert server != "ecdsa" or mine["serial"] == "0A1B"  # whole bytes, as openssl prints them
    assert mine["not_after"] == theirs["notAfter"].replace(" ", "T")
    assert mine["sha256"].upper() == theirs["sha256 Fingerprint"].replace(":", "")


def test_a_handshake_without_certificate_has_no_peer(servers: dict[str, int],
                                                     tmp_path: Path) -> None:
    path = tmp_path / "session.pem"
    make_session(path, servers["anonymous"], *ID_ONLY, "-cipher", "aNULL:@SECLEVEL=0")
    found = result_of(path)
    assert found["cipher"] == sess_id(path)["Cipher"]
    assert found["cipher"].startswith(("ADH-", "AECDH-"))
    assert found["peer_certificate"] is None
    assert found["verify_result"] == {"number": 0, "meaning": "no certificate was shown, so none "
                                                              "was verified"}


def test_a_verified_certificate(servers: dict[str, int], identities: dict[str, CertifiedKey],
                                tmp_path: Path) -> None:
    path = tmp_path / "session.pem"
    make_session(path, servers["rsa"], *ID_ONLY, "-CAfile", identities["rsa"].certificate)
    assert sess_id(path)["Verify return code"] == "0 (ok)"
    assert result_of(path)["verify_result"] == {"number": 0,
                                                "meaning": "the certificate was verified"}


def test_the_server_name_is_there_when_it_was_acknowledged(servers: dict[str, int],
                                                           tmp_path: Path) -> None:
    names = {}
    for server in ("rsa", "ecdsa"):  # only the first was told to know the name
        path = tmp_path / f"{server}.pem"
        make_session(path, servers[server], *ID_ONLY, "-servername", "localhost")
        names[server] = result_of(path)["server_name"]
    assert names == {"rsa": "localhost", "ecdsa": None}


def test_der_and_pem_with_text_around_it_are_the_same_session(plain: Path, tmp_path: Path) -> None:
    expected = result_of(plain)
    der, text = tmp_path / "session.der", tmp_path / "text.pem"
    der.write_bytes(der_of(plain))
    openssl("sess_id", "-in", plain, "-text", "-out", text)
    assert text.read_text().startswith("SSL-Session:")
    assert result_of(der) == result_of(text) == expected
    windows = plain.read_bytes().replace(b"\n", b"\r\n")
    assert parse(windows) == read(str(plain)).session


def test_a_session_id_context_set_by_openssl(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "context.pem"
    openssl("sess_id", "-in", plain, "-context", "listener-1", "-out", path)
    assert result_of(path)["session_id_context"] == b"listener-1".hex()
    assert sess_id(path)["Session-ID-ctx"] == b"listener-1".hex().upper()


def test_the_id_of_a_session_with_a_ticket_is_openssls_own(servers: dict[str, int],
                                                           tmp_path: Path) -> None:
    for version in ("-tls1_2", "-tls1_3"):
        path = tmp_path / f"{version}.pem"
        make_session(path, servers["rsa"], version)
        session = read(str(path)).session
        assert session.ticket is not None
        assert session.session_id == hashlib.sha256(session.ticket).digest()
        assert not session.session_id_from_server
        [remark] = session.remarks()
        assert ("no resumption by session ID" if version == "-tls1_3" else "-no_ticket") in remark


@pytest.mark.parametrize(("number", "theirs", "ours"), [
    (2, "unable to get issuer", "issuer's certificate was not found"), (7, "signature failure",
     "signature of a certificate is wrong"), (9, "not yet valid", "not valid yet"),
    (10, "expired", "expired"), (12, "CRL has expired", "revocation list has expired"),
    (19, "in certificate chain", "chain ends in a self-signed"), (20, "local issuer", "issuer"),
    (21, "first certificate", "the chain is only the certificate"), (23, "revoked", "revoked"),
    (26, "purpose", "purpose"), (34, "critical extension", "critical extension"),
    (47, "permitted", "not permitted"), (48, "excluded", "excluded"), (62, "hostname", "host name"),
    (64, "IP address", "IP address"), (66, "EE certificate key too weak", "key is too weak"),
    (67, "CA certificate key too weak", "CA's key is too weak"), (90, "", "was not verified")])
def test_a_verify_result_means_what_it_means_to_openssl(number: int, theirs: str, ours: str,
                                                        plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "session.pem"
    path.write_bytes(openssl("sess_id", "-inform", "DER",
                             data=changed(plain, verify_result=number)))
    said = sess_id(path)["Verify return code"]
    assert said.startswith(f"{number} (")
    assert theirs in said
    found = result_of(path)["verify_result"]
    assert found["number"] == number
    assert ours in found["meaning"]


def test_the_fields_that_only_some_versions_write(plain: Path) -> None:
    """OpenSSL 1.1.1 knows no kex_group, 1.0 no flags; 3.2 may write the peer's raw key."""
    whole = parse(der_of(plain))
    assert decode(der_of(plain)).kex_group is not None
    assert parse(changed(plain, kex_group=None)) == whole
    assert parse(changed(plain, peer_rpk=b"a key", alpn_selected=b"mqtt")) == whole
    assert parse(changed(plain, kex_group=None, flags=None)).extended_master_secret is False
    assert parse(changed(plain, key_arg=b"SSLv2")) == whole


def test_every_optional_field_may_be_absent() -> None:
    bare = asn1.encode_der(SslSession(version=1, ssl_version=0x0303, cipher=b"\xc0\x30",
                                      session_id=b"", master_key=b""))
    found = as_result(parse(bare), datetime.datetime.now(UTC))
    assert (found["started_at"], found["timeout_s"], found["expires_at"], found["expired"]) == (
        None, None, None, None)
    assert found["master_secret"] == {"present": False, "bytes": 0}
    assert found["resumes_by"] == "nothing"
    [remark] = found["remarks"]
    assert remark.endswith("the session cannot be resumed.")


@pytest.mark.parametrize(("number", "name"), [
    (0x0300, "sslv3"), (0x0303, "tlsv1.2"), (0xFEFD, "dtlsv1.2"), (0xFEFF, "dtlsv1"),
    (0x0309, "0x0309")])
def test_versions_are_spelt_as_emqx_spells_them(number: int, name: str, plain: Path) -> None:
    found = as_result(parse(changed(plain, ssl_version=number)), datetime.datetime.now(UTC))
    assert (found["protocol"], found["protocol_number"]) == (name, number)


def test_a_cipher_suite_that_this_openssl_lacks_goes_by_its_number(plain: Path) -> None:
    found = as_result(parse(changed(plain, cipher=b"\x12\x34")), datetime.datetime.now(UTC))
    assert found["cipher"] == found["cipher_code"] == "0x1234"


@pytest.mark.parametrize(("method", "name"), [(0, "none"), (1, "deflate"), (64, "lzs"), (9, "9")])
def test_compression(method: int, name: str, plain: Path) -> None:
    session = parse(changed(plain, comp_id=bytes((method,))))
    assert as_result(session, datetime.datetime.now(UTC))["compression"] == name


def test_expiry_is_start_plus_timeout(plain: Path) -> None:
    session = parse(changed(plain, time=1_000_000_000, timeout=60))
    end = datetime.datetime(2001, 9, 9, 1, 47, 40, tzinfo=UTC)
    assert as_result(session, end)["started_at"] == "2001-09-09T01:46:40Z"
    assert as_result(session, end)["expires_at"] == "2001-09-09T01:47:40Z"
    assert as_result(session, end)["expired"] is True
    assert as_result(session, end - datetime.timedelta(seconds=1))["expired"] is False


def test_a_timeout_beyond_the_calendar_never_expires(plain: Path) -> None:
    found = as_result(parse(changed(plain, timeout=2**62)), datetime.datetime.now(UTC))
    assert (found["timeout_s"], found["expires_at"], found["expired"]) == (2**62, None, False)


def test_an_expired_session_is_offered_and_resumed_all_the_same(
        servers: dict[str, int], tmp_path: Path) -> None:
    """docs/sessions.md: the timeout in the file binds nobody in TLS 1.2."""
    path, old = tmp_path / "session.pem", tmp_path / "old.pem"
    make_session(path, servers["rsa"], *ID_ONLY)
    old.write_bytes(openssl("sess_id", "-inform", "DER", data=changed(path, time=1_000_000_000)))
    assert result_of(old)["expired"] is True
    said = openssl("s_client", "-connect", f"127.0.0.1:{servers['rsa']}", *ID_ONLY,
                   "-sess_in", old, data=b"").decode()
    assert "\nReused, TLSv1.2" in said


# --- Secrets -----------------------------------------------------------------------------------

def spellings(secret: bytes) -> tuple[str, ...]:
    """Ways in which a secret, or most of it, may occur in a text."""
    turned = (base64.b64encode(secret[at:]).decode()[:40] for at in range(3))
    return (secret.hex(), secret.hex().upper(), repr(secret)[2:-1], str(list(secret))[1:-1],
            *turned)


def test_the_secret_is_in_no_text_unless_asked_for(plain: Path) -> None:
    found = read(str(plain))
    secret = found.session.master_secret
    assert len(secret) == 48
    shown = json.dumps(result_of(plain, show_master_secret=True))
    assert secret.hex() in shown
    texts = (repr(found), str(found.session), json.dumps(result_of(plain)),
             repr(decode(der_of(plain))))
    for spelling in spellings(secret):
        assert not any(spelling in text for text in texts)


def test_who_else_may_read_it_is_warned_about(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "session.pem"
    path.write_bytes(plain.read_bytes())
    for mode, who in ((0o600, None), (0o400, None), (0o640, "its group"), (0o644, "everybody"),
                      (0o604, "everybody"), (0o622, None)):
        path.chmod(mode)
        warning = read(str(path)).warning(str(path))
        assert warning == (who and f"{path} holds a master secret in clear, and {who} may read "
                                   f"it: chmod 600 {path}")
    path.write_bytes(changed(plain, master_key=b""))
    path.chmod(0o644)
    assert read(str(path)).warning(str(path)) is None


# --- Files that are no session -----------------------------------------------------------------

def test_files_that_cannot_be_read(plain: Path, tmp_path: Path) -> None:
    def message(path: str) -> str:
        with pytest.raises(SessionFileError) as caught:
            read(path)
        return str(caught.value)

    fifo, huge = tmp_path / "fifo", tmp_path / "huge"
    os.mkfifo(fifo)
    with huge.open("wb") as stream:
        stream.truncate(2**40)
    assert message(f"{tmp_path}/none") == (
        f"{tmp_path}/none does not exist; openssl s_client -sess_out writes no file when the "
        "server gave it no session")
    for path in (str(tmp_path), str(fifo), "/dev/zero"):
        assert message(path) == f"{path} is no regular file"
    assert message(str(huge)) == (
        f"{huge} has more than {MAX_FILE} bytes, which no session file has")
    assert message(f"{plain}/x") == f"{plain}/x cannot be read: not a directory"
    assert message("a\0b") == r"'a\x00b' is no path"


def test_a_file_that_is_somebody_elses(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "session.pem"
    path.write_bytes(plain.read_bytes())
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(SessionFileError) as caught:
            read(str(path))
    finally:
        if root:
            os.seteuid(0)
    assert str(caught.value) == f"{path} cannot be read: permission denied. Read it as its owner"


def test_other_files(plain: Path, identities: dict[str, CertifiedKey]) -> None:
    rsa = identities["rsa"]
    pem = plain.read_bytes()
    lines = pem.splitlines(keepends=True)
    printed = openssl("sess_id", "-in", plain, "-text", "-noout")
    assert refusal(b"") == refusal(b" \n") == (
        "is empty: openssl s_client got no session to write into it")
    assert refusal(rsa.certificate.read_bytes()) == "holds a certificate and no session"
    assert refusal(rsa.key.read_bytes()) == "holds a private key and no session"
    assert refusal(rsa.certificate.read_bytes() + rsa.key.read_bytes()) == (
        "holds a private key and no session")
    assert refusal(b"-----BEGIN X9.42 DH PARAMETERS-----\n") == (
        "holds PEM of another kind and no session")
    assert refusal(printed).startswith("holds what openssl sess_id -text prints")
    assert refusal(pem + pem) == "holds 2 sessions: keep one session in a file"
    assert refusal(b"".join(lines[:-1])) == (
        "is cut off: the line END SSL SESSION PARAMETERS is missing")
    assert refusal(b"".join([*lines[:2], b"*** ***\n", *lines[2:]])) == (
        "is damaged: between its BEGIN and END lines is something that is not base64")
    assert refusal(lines[0] + b"Proc-Type: 4,ENCRYPTED\n" + b"".join(lines[1:])) == (
        "is encrypted PEM, which cannot be read here")
    assert "GnuTLS and NSS have formats of their own" in refusal(b"\xfa\xde\xba\xdd" * 40)
    assert refusal(b"x" * (MAX_FILE + 1)) == (
        f"has more than {MAX_FILE} bytes, which no session file has")


def test_der_that_is_no_session(plain: Path, identities: dict[str, CertifiedKey]) -> None:
    der = der_of(plain)
    size = len(der)
    assert refusal(der[:-1]) == f"is cut off: {size - 1} of the session's {size} bytes are there"
    assert refusal(der + b"x") == (f"goes on after the session's {size} bytes: keep one session, "
                                   "and nothing else, in a file")
    assert refusal(der[:2]) == "is no OpenSSL session: it does not begin as one does"
    certificate = openssl("x509", "-in", identities["rsa"].certificate, "-outform", "DER")
    assert refusal(certificate) == "is no OpenSSL session, but another structure or a damaged one"
    # A PEM block may hold anything, also less than one session.
    armoured = openssl("sess_id", "-in", plain).splitlines()
    assert refusal(b"\n".join([*armoured[:-2], armoured[-1]])).startswith("is cut off: ")
    assert refusal(b"\n".join((armoured[0], armoured[-1]))) == (
        "is no OpenSSL session: it does not begin as one does")


@pytest.mark.parametrize(("fields", "says"), [
    ({"version": 2}, "in a version of the structure other than 1"),
    ({"ssl_version": 2}, "of no TLS or DTLS version"),
    ({"ssl_version": 2**4000}, "of no TLS or DTLS version"),
    ({"cipher": b"\x01\x00\x80"}, "names its cipher suite in 3 bytes"),
    ({"session_id": bytes(33)}, "has a session ID of 33 bytes, over 32"),
    ({"master_key": bytes(513)}, "has a master secret of 513 bytes, over 512"),
    ({"comp_id": b""}, "names its compression in 0 bytes"),
    ({"time": 2**63}, "longer than OpenSSL can hold"),
    ({"time": 2**62}, "a start time that no calendar has"),
    ({"timeout": -1}, "a negative timeout"),
    ({"tlsext_tick_lifetime_hint": -1}, "a negative lifetime hint"),
    ({"verify_result": 2**31}, "longer than OpenSSL can hold"),
])
def test_what_is_out_of_bounds_is_refused_by_name(fields: dict[str, Any], says: str,
                                                  plain: Path) -> None:
    assert says in refusal(changed(plain, **fields))


def test_what_is_refused_here_is_no_session_to_openssl(plain: Path) -> None:
    """These bounds are OpenSSL's own."""
    for fields in ({"version": 2}, {"ssl_version": 2}, {"cipher": b"\x01\x00\x80"},
                   {"session_id": bytes(33)}, {"master_key": bytes(513)}, {"time": 2**63},
                   {"verify_result": 2**31}):
        done = subprocess.run(["openssl", "sess_id", "-inform", "DER", "-noout"],
                              input=changed(plain, **fields), capture_output=True, check=False)
        assert done.returncode != 0, fields


# --- Hostile bytes -----------------------------------------------------------------------------

def judge(data: bytes, secret: bytes = b"") -> None:
    """Read ``data``, which must end in a session that can be shown, or in our own error."""
    try:
        told = json.dumps(as_result(parse(data), datetime.datetime.now(UTC)))
    except SessionFileError as error:
        told = str(error)
    assert told
    if secret:
        assert not any(spelling in told for spelling in spellings(secret))


@settings(max_examples=400, deadline=None)
@given(st.one_of(
    st.binary(max_size=400), st.binary(max_size=400).map(lambda more: b"\x30\x82" + more),
    st.binary(max_size=400).map(lambda body: b"-----BEGIN SSL SESSION PARAMETERS-----\n" + body
                                + b"\n-----END SSL SESSION PARAMETERS-----\n")))
def test_arbitrary_bytes_raise_nothing_but_its_own_error(data: bytes) -> None:
    judge(data)


@pytest.fixture(scope="module")
def mutated(plain: Path) -> Callable[[list[tuple[int, int]], bytes, int], bytes]:
    """Make a damaged copy of a real session: bytes replaced, some more put in at a place."""
    der = der_of(plain)

    def make(replaced: list[tuple[int, int]], inserted: bytes, at: int) -> bytes:
        data = bytearray(der)
        for place, value in replaced:
            data[place % len(data)] = value
        data[at % len(data):at % len(data)] = inserted
        # Mostly a true outer length, or all of them would end at that one check.
        return b"\x30\x82" + (len(data) - 4).to_bytes(2, "big") + bytes(data[4:])

    return make


@settings(max_examples=800, deadline=None)
@given(replaced=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=4),
       inserted=st.binary(max_size=3), at=st.integers(0, 4000))
def test_a_damaged_session_raises_nothing_but_its_own_error_and_tells_no_secret(
        mutated: Callable[..., bytes], plain: Path, replaced: list[tuple[int, int]],
        inserted: bytes, at: int) -> None:
    judge(mutated(replaced, inserted, at), read(str(plain)).session.master_secret)


_INTEGERS = st.one_of(st.none(), st.integers(), st.integers(-2**70, 2**70), st.just(2**60000))
_BYTES = st.one_of(st.none(), st.binary(max_size=600))
_SESSIONS = st.builds(
    SslSession, version=st.sampled_from([1, 1, 1, 0, -1]),
    ssl_version=st.one_of(st.sampled_from([0x0303, 0x0304, 0xFEFD]), st.integers()),
    cipher=st.binary(min_size=1, max_size=3), session_id=st.binary(max_size=40),
    master_key=st.binary(max_size=600), key_arg=_BYTES, time=_INTEGERS, timeout=_INTEGERS,
    session_id_context=_BYTES, verify_result=_INTEGERS, tlsext_hostname=_BYTES,
    psk_identity_hint=_BYTES, psk_identity=_BYTES, tlsext_tick_lifetime_hint=_INTEGERS,
    tlsext_tick=_BYTES, comp_id=_BYTES, srp_username=_BYTES, flags=_INTEGERS,
    tlsext_tick_age_add=_INTEGERS, max_early_data=_INTEGERS, alpn_selected=_BYTES,
    tlsext_max_fragment_len_mode=_INTEGERS, ticket_appdata=_BYTES, kex_group=_INTEGERS,
    peer_rpk=_BYTES)


@settings(max_examples=400, deadline=None)
@given(_SESSIONS)
def test_well_formed_sessions_of_any_content_raise_nothing_but_its_own_error(
        session: SslSession) -> None:
    judge(asn1.encode_der(session))


def test_a_certificate_whose_name_is_of_a_wrong_type(plain: Path) -> None:
    """It is only looked at when it is to be shown."""
    der = der_of(plain)
    certificate = decode(der).peer
    assert certificate is not None
    name = certificate.subject.public_bytes()
    # The last attribute's value: a UTF8String becomes a BIT STRING.
    at = name.rindex(b"\x0c\x09localhost")
    broken = name[:at] + b"\x03\x09\x00ocalhost" + name[at + 11:]
    assert isinstance(certificate, x509.Certificate)
    assert refusal(der.replace(name, broken)) == "has a peer certificate that cannot be read"


def test_a_certificate_of_a_version_that_there_is_not(plain: Path) -> None:
    """The library has an error of its own for it, which is no ValueError."""
    der, version_3 = der_of(plain), b"\xa0\x03\x02\x01\x02"
    assert der.count(version_3) == 1
    assert refusal(der.replace(version_3, b"\xa0\x03\x02\x01\x01")) == (
        "is no OpenSSL session, but another structure or a damaged one")


def test_memory_does_not_follow_a_length_that_is_only_claimed(plain: Path) -> None:
    der = der_of(plain)
    # The master secret's OCTET STRING claims 4 GiB, and so does the whole.
    at = der.index(b"\x04\x30")
    inner = der[:at] + b"\x04\x84\xff\xff\xff\xf0" + der[at + 2:]
    inner = b"\x30\x82" + (len(inner) - 4).to_bytes(2, "big") + inner[4:]
    tracemalloc.start()
    try:
        assert refusal(inner) == "is no OpenSSL session, but another structure or a damaged one"
        assert refusal(b"\x30\x84\xff\xff\xff\xff" + der[4:]).startswith("is cut off: ")
        refusal(b"\n" * MAX_FILE + b"x")
        refusal(b"-----BEGIN SSL SESSION PARAMETERS-----\n" * (MAX_FILE // 40))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * MAX_FILE


def test_a_session_file_is_read_without_being_changed(plain: Path) -> None:
    before = plain.stat()
    read(str(plain))
    after = plain.stat()
    assert (after.st_mtime_ns, after.st_size, stat.S_IMODE(after.st_mode)) == (
        before.st_mtime_ns, before.st_size, 0o600)
