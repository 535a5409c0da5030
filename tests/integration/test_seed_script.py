"""tls1.2-resumption-test.sh against real servers: what it says, and what it leaves behind."""
from __future__ import annotations

import contextlib
import datetime
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.embedded_cluster import TestCluster
from tests.support.listening import talking
from tests.support.mqtt_broker import MqttBroker
from tests.support.openssl_broker import Broker, make_certificate
from tests.support.playbooks import Cluster
from tests.support.ports import free_ports
from tests.support.seed_script import (
    ROOT,
    SCRIPT,
    Said,
    Script,
    closes,
    first_records,
    http,
    in_pieces,
    s_server,
    silent,
)

PASSWORD = "correct-horse-battery"  # noqa: S105
RESUMED = ("resumed: {} took the session up again, with the same session ID, cipher and keys, and "
           "sent no certificate.")
NOT_RESUMED = ("not resumed: {} issued a session ID and then did not resume it: its session cache "
               "is off (reuse_sessions = false), or the address leads to several nodes, each with "
               "a cache of its own (a load balancer).")
NO_ID = ("failed: {} issued no session ID, so there is nothing to resume: its session cache is "
         "off.")
CLOSED = ("{} closed the connection when TLS began; that port speaks no TLS (plain MQTT?), "
          "or the server takes no more connections.")
HOLDS = "What is said of TLS holds all the same."


@pytest.fixture
def script(tmp_path: Path) -> Script:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    return Script(temporary)


@pytest.fixture
def broker(certificate: tuple[Path, Path]) -> Iterator[MqttBroker]:
    made = MqttBroker(*certificate)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A CA, whose certificate is also good for localhost."""
    return make_signed(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def special(tmp_path_factory: pytest.TempPathFactory,
            authority: tuple[Path, Path]) -> Iterator[dict[str, int]]:
    """The ports of an embedded node's listeners, each with a reason not to resume."""
    ports = dict(zip(("noreuse", "mtls", "strangers", "tls13"), free_ports(4)))
    made = TestCluster(tmp_path_factory.mktemp("special"), authority,
                       {"emqx1": ports["noreuse"]})
    made.render(
        "emqx1", made.listener(ports["noreuse"], reuse="false"),
        made.listener(ports["mtls"], name="mtls", demands=authority[0]),
        made.listener(ports["strangers"], name="strangers",
                      demands=make_signed(tmp_path_factory.mktemp("strangers"))[0]),
        made.listener(ports["tls13"], name="tls13").replace("tlsv1.2", "tlsv1.3"))
    try:
        made.deploy()
        yield ports
    finally:
        made.destroy()


def make_signed(folder: Path, authority: tuple[Path, Path] | None = None, *,
                days: int = 1) -> tuple[Path, Path]:
    """Write and return a certificate for localhost and its key; an authority's own without one.

    Days may be negative.
    """
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"seed {folder.name}")])
    issuer, signing = name, key
    if authority is not None:
        issuer = x509.load_pem_x509_certificate(authority[0].read_bytes()).subject
        loaded = serialization.load_pem_private_key(authority[1].read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signing = loaded
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(issuer)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=abs(days) + 1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(authority is None, None), True)
        .sign(signing, hashes.SHA256()))
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    return cert_file, key_file


def details(said: Said, name: str) -> list[str]:
    """What stands behind a detail of the steps, in order."""
    return [line[14:] for line in said.lines if line.startswith(f"  {name:<12}")]


def in_erlang(identifier: str) -> str:
    """Return hexadecimal bytes as Erlang prints a binary."""
    return f"<<{','.join(map(str, bytes.fromhex(identifier)))}>>"


# -- One endpoint -----------------------------------------------------------------------------

def test_the_five_steps(cluster: Cluster, script: Script) -> None:
    at = f"localhost:{cluster.ports[0]}"
    said = script.run(at)
    assert said.code == 0
    (version,) = re.findall(r"^Client    OpenSSL (\S+), TLS 1\.2 only", said.output, re.MULTILINE)
    (identifier,) = set(details(said, "Session ID")) - {"the same"}
    (cipher,) = {cipher for cipher in details(said, "Cipher") if "the same" not in cipher}
    assert re.fullmatch(r"[0-9A-F]{64}", identifier)
    assert said.lines == [
        f"Server    {at}",
        f"Client    OpenSSL {version}, TLS 1.2 only, session IDs only (no tickets)",
        "Trust     certs/ca.pem",
        "",
        "1. Connect with TLS 1.2",
        "  Handshake   New (full)",
        "  Received    server hello, server certificate, server key exchange, server",
        "              done, change cipher spec, finished",
        "  Protocol    TLSv1.2",
        f"  Cipher      {cipher}",
        "  MQTT        CONNECT accepted (CONNACK, return code 0)",
        "2. Receive a session ID",
        f"  Session ID  {identifier}",
        f"  In Erlang   {in_erlang(identifier)}",
        "3. Disconnect",
        "  MQTT        DISCONNECT sent",
        "  TLS         close_notify sent",
        "4. Reconnect, offering the session ID",
        "  Handshake   Reused (abbreviated)",
        "  Received    server hello, change cipher spec, finished",
        "  Protocol    TLSv1.2",
        f"  Cipher      {cipher}",
        "  MQTT        CONNECT accepted (CONNACK, return code 0)",
        f"  Session ID  {identifier}",
        "5. Verify",
        "  Resumed     openssl says Reused",
        "  Session ID  the same",
        "  Cipher      the same, TLSv1.2 both times",
        "  Master key  the same (compared, never shown)",
        "",
        f"Verdict   resumed: {at} took the session up again, with the same",
        "          session ID, cipher and keys, and sent no certificate."]
    # That one is to be found in a log, whole.
    assert max(len(line) for line in said.lines if "<<" not in line) < 80


def test_mqtt_is_spoken_on_both_connections(broker: MqttBroker, script: Script) -> None:
    assert script.run("--insecure", f"127.0.0.1:{broker.port}").code == 0
    assert broker.conversations == [[1, 14], [1, 14]]
    first, second = broker.client_ids
    assert first != second
    for client_id in (first, second):
        assert re.fullmatch(r"[0-9a-zA-Z]{1,23}", client_id)


def test_a_broker_that_leaves_closing_to_the_client(certificate: tuple[Path, Path],
                                                    script: Script) -> None:
    broker = MqttBroker(*certificate, waits_for_close=True)
    try:
        said = script.run("--insecure", f"localhost:{broker.port}")
    finally:
        broker.stop()
    assert said.code == 0
    assert broker.conversations == [[1, 14], [1, 14]]


def test_a_server_without_mqtt(certificate: tuple[Path, Path], script: Script) -> None:
    (port,) = free_ports(1)
    with s_server(certificate, port):
        said = script.run("--insecure", "--timeout", "1", f"localhost:{port}")
    assert said.verdict == (RESUMED.format(f"localhost:{port}")
                            + f" Note MQTT: CONNECT was not answered within 1 s. {HOLDS}")
    assert said.code == 0


def test_a_server_without_a_cache_issues_no_session_id(certificate: tuple[Path, Path],
                                                       script: Script) -> None:
    (port,) = free_ports(1)
    with s_server(certificate, port, "-no_cache"):
        said = script.run("--insecure", "--timeout", "1", f"localhost:{port}")
    assert said.verdict.startswith(NO_ID.format(f"localhost:{port}"))
    assert said.code == 1
    assert "3. Disconnect" not in said.output


def test_a_node_with_reuse_sessions_false_issues_one(
        special: dict[str, int], authority: tuple[Path, Path], script: Script) -> None:
    at = f"localhost:{special['noreuse']}"
    said = script.run("--ca", str(authority[0]), at)
    assert said.verdict == NOT_RESUMED.format(at)
    assert said.code == 1
    first, second, compared = details(said, "Session ID")
    assert first != second
    assert compared == "another one"
    assert details(said, "In Erlang") == [in_erlang(first), in_erlang(second)]
    assert details(said, "Handshake") == ["New (full)", "New (full)"]
    assert details(said, "Resumed") == ["openssl says New"]
    assert details(said, "Master key") == ["another one (compared, never shown)"]
    assert details(said, "MQTT")[:2] == ["CONNECT accepted (CONNACK, return code 0)",
                                         "DISCONNECT sent"]


def test_an_ipv6_address(certificate: tuple[Path, Path], script: Script) -> None:
    (port,) = free_ports(1)
    with s_server(certificate, port, host="::1"):
        said = script.run("--insecure", "--timeout", "1", f"[::1]:{port}")
        assert said.verdict.startswith(RESUMED.format(f"[::1]:{port}"))
        said = script.run("--ca", str(certificate[0]), f"[::1]:{port}")
    assert said.verdict.startswith(
        f"failed: The certificate of [::1]:{port} is for another name or address (")
    assert said.code == 1


def test_a_server_that_is_gone_when_it_reconnects(certificate: tuple[Path, Path],
                                                  script: Script) -> None:
    (port,) = free_ports(1)
    # The first is the fixture's own look whether it listens.
    with s_server(certificate, port, "-naccept", "2"):
        said = script.run("--insecure", "--timeout", "1", f"127.0.0.1:{port}")
    assert said.verdict.startswith(f"failed: Nothing listens on 127.0.0.1:{port} ")
    assert said.lines.count("4. Reconnect, offering the session ID") == 1
    assert "5. Verify" not in said.lines
    assert said.code == 1


# -- Several endpoints ------------------------------------------------------------------------

def matrix(said: Said) -> list[str]:
    """Return the matrix's lines."""
    start = said.lines.index("Session of (row) offered to (column); ! marks what was not expected")
    return said.lines[start + 1:said.lines.index("", start)]


def test_the_matrix_of_a_cluster(cluster: Cluster, script: Script) -> None:
    nodes = [f"localhost:{port}" for port in cluster.ports]
    said = script.run(*nodes)
    assert matrix(said) == [
        "                     [1]       [2]       [3]",
        f"[1] {nodes[0]}  resumed   full      full",
        f"[2] {nodes[1]}  full      resumed   full",
        f"[3] {nodes[2]}  full      full      resumed"]
    assert said.verdict == (
        "as expected: each of 3 endpoints resumed its own session; with another's, each made a "
        "full handshake, and MQTT went on as before.")
    assert said.code == 0
    # What is to be searched for in logs is in one piece.
    assert max(len(line) for line in said.lines if "<<" not in line) < 80


def test_the_matrix_with_a_node_that_does_not_resume(cluster: Cluster, special: dict[str, int],
                                                     script: Script) -> None:
    nodes = [f"localhost:{cluster.ports[0]}", f"localhost:{special['noreuse']}"]
    said = script.run("--insecure", *nodes)
    assert matrix(said) == [
        "                     [1]       [2]",
        f"[1] {nodes[0]}  resumed   full",
        f"[2] {nodes[1]}  full      full!"]
    assert said.verdict == "not as expected: 1 of 4 pairs."
    why = NOT_RESUMED.format(nodes[1]).removeprefix("not resumed: ")
    assert f" Why {why} Verdict not as expected" in said.flat
    assert said.code == 1


def test_the_matrix_with_one_node_under_two_names(cluster: Cluster, script: Script) -> None:
    port = cluster.ports[0]
    said = script.run(f"localhost:{port}", f"127.0.0.1:{port}")
    assert matrix(said) == [
        "                     [1]       [2]",
        f"[1] localhost:{port}  resumed   resumed!",
        f"[2] 127.0.0.1:{port}  resumed!  resumed"]
    assert (f" Why 127.0.0.1:{port} resumed a session of localhost:{port}: both addresses lead to "
            "one node, or the nodes share their sessions.") in said.flat
    assert said.verdict == "not as expected: 2 of 4 pairs."
    assert said.code == 1


def test_the_matrix_with_a_node_that_is_down(cluster: Cluster, script: Script) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        down = taken.getsockname()[1]
    nodes = [f"127.0.0.1:{cluster.ports[0]}", f"127.0.0.1:{down}"]
    said = script.run(*nodes)
    assert matrix(said) == [
        "                     [1]       [2]",
        f"[1] {nodes[0]}  resumed   -",
        f"[2] {nodes[1]}  -         failed!"]
    assert said.flat.count(f"Nothing listens on {nodes[1]} (connection refused)") == 2
    assert said.verdict == "not as expected: 3 of 4 pairs."
    assert said.code == 1


def test_a_session_that_gets_in_where_its_client_does_not(
        special: dict[str, int], authority: tuple[Path, Path], tmp_path: Path,
        script: Script) -> None:
    nodes = [f"localhost:{special[name]}" for name in ("mtls", "strangers")]
    cert, key = make_signed(tmp_path / "client", authority)
    said = script.run("--insecure", "--cert", str(cert), "--key", str(key), *nodes)
    assert matrix(said) == [
        "                     [1]       [2]",
        f"[1] {nodes[0]}  resumed   resumed!",
        f"[2] {nodes[1]}  -         failed!"]
    assert (f" Why {nodes[1]} refuses this client, and let it in (resumed) when it offered a "
            f"session of {nodes[0]}: CONNECT accepted (CONNACK, return code 0).") in said.flat
    assert f" Why {nodes[1]} refuses the client certificate {cert} (alert: " in said.flat
    assert said.verdict == "not as expected: 3 of 4 pairs."
    assert said.code == 1


def test_a_session_that_is_refused_like_its_client(
        authority: tuple[Path, Path], tmp_path: Path, script: Script) -> None:
    ports = free_ports(2)
    nodes = [f"localhost:{port}" for port in ports]
    cert, key = make_signed(tmp_path / "client", authority)
    stranger, _ = make_signed(tmp_path / "stranger")
    demand = ("-Verify", "1", "-verify_return_error", "-CAfile")
    with s_server(authority, ports[0], *demand, str(authority[0])), \
            s_server(authority, ports[1], *demand, str(stranger)):
        said = script.run("--insecure", "--timeout", "1", "--cert", str(cert), "--key", str(key),
                          *nodes)
    assert matrix(said) == [
        "                     [1]       [2]",
        f"[1] {nodes[0]}  resumed   refused",
        f"[2] {nodes[1]}  -         failed!"]
    assert said.verdict == "not as expected: 2 of 4 pairs."
    assert said.code == 1


def test_the_matrix_when_mqtt_fails_after_the_fallback(
        certificate: tuple[Path, Path], script: Script) -> None:
    brokers = [MqttBroker(*certificate) for _ in range(2)]
    nodes = [f"localhost:{broker.port}" for broker in brokers]
    try:
        process = script.start("--insecure", *nodes)
        assert process.stdout is not None
        # Up to the end of both five steps MQTT works on both.
        heard = ""
        while not heard.endswith(" [2]\n"):
            heard += process.stdout.readline()
        brokers[1].faults.add("no_connect")
        rest = script.finish(process)
        said = Said(rest.code, heard + rest.output, rest.errors)
    finally:
        for broker in brokers:
            broker.stop()
    assert matrix(said)[1].endswith("resumed   failed!")
    assert matrix(said)[2].endswith("full      resumed")
    assert (f"Session of {nodes[0]} offered to {nodes[1]}: TLS worked, but MQTT went otherwise "
            f"than on the first connection to {nodes[1]}: the connection was closed instead of "
            "answering CONNECT.") in said.flat
    assert said.code == 1


# -- One sentence each ------------------------------------------------------------------------

def failed(script: Script, *arguments: str) -> str:
    """Run it, see that it fails with one sentence, and return that."""
    said = script.run("--timeout", "1", *arguments)
    assert said.code == 1
    assert said.verdict.startswith("failed: ")
    assert "Session ID" not in said.output
    return said.verdict.removeprefix("failed: ")


def unconnected(script: Script, at: str, *arguments: str) -> str:
    """Run it, see that openssl does not get as far as to connect, and return why by its words."""
    sentence = failed(script, *arguments, at)
    start = f"openssl s_client could not connect to {at}: "
    assert sentence.startswith(start)
    return sentence.removeprefix(start)


def test_a_closed_port(script: Script) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = f"127.0.0.1:{taken.getsockname()[1]}"
    assert failed(script, at) == (f"Nothing listens on {at} (connection refused); is the server "
                                  "started, and is this its port?")


def test_a_name_that_does_not_resolve(script: Script) -> None:
    assert failed(script, "nobody.invalid").startswith(
        "The host name of nobody.invalid:8883 does not resolve (")


def test_a_host_that_accepts_no_connection(script: Script) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()):
            at = f"127.0.0.1:{full.getsockname()[1]}"
            assert failed(script, at) == (
                f"{at} did not accept a connection within 1 s; is a firewall in between?")


@pytest.mark.parametrize(("serve", "sentence"), [
    (closes, CLOSED),
    (lambda connection: None, CLOSED),
    (http, "{} answers, but not with TLS; that port speaks something else."),
    (silent, "{} accepts connections but did not finish the TLS handshake within 1 s."),
], ids=["closes", "closes at once", "HTTP", "silent"])
def test_a_port_without_tls(script: Script, serve: object, sentence: str) -> None:
    assert callable(serve)
    with talking(serve, silence_s=None) as port:
        at = f"127.0.0.1:{port}"
        assert failed(script, at) == sentence.format(at)


def test_a_handshake_that_stops_or_breaks_off_in_the_middle(broker: MqttBroker,
                                                            script: Script) -> None:
    with talking(first_records(broker.port, 3, then=silent), silence_s=None) as port:
        assert failed(script, "--insecure", f"127.0.0.1:{port}") == (
            f"127.0.0.1:{port} accepts connections but did not finish the TLS handshake within "
            "1 s.")
    with talking(first_records(broker.port, 3), silence_s=None) as port:
        assert failed(script, "--insecure", f"127.0.0.1:{port}") == (
            f"127.0.0.1:{port} broke off the TLS handshake without saying why.")


def test_a_server_of_tls_1_3_only(certificate: tuple[Path, Path], script: Script) -> None:
    (port,) = free_ports(1)
    with s_server(certificate, port, "-tls1_3"):
        assert failed(script, "--insecure", f"localhost:{port}") == (
            f"localhost:{port} does not speak TLS 1.2 (alert: protocol version), perhaps TLS 1.3 "
            'only; session IDs need versions = ["tlsv1.2"] in the listener\'s ssl_options.')


def test_a_listener_of_tls_1_3_only(special: dict[str, int], script: Script) -> None:
    at = f"localhost:{special['tls13']}"
    assert failed(script, "--insecure", at).startswith(
        f"{at} does not speak TLS 1.2 (alert: protocol version)")


def test_a_server_without_a_common_cipher(certificate: tuple[Path, Path], script: Script) -> None:
    (port,) = free_ports(1)
    # The certificate is for ECDSA.
    with s_server(certificate, port, "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"):
        assert failed(script, "--insecure", f"localhost:{port}") == (
            f"localhost:{port} has no cipher suite in common with this openssl, or will not use "
            "TLS 1.2 (alert: handshake failure).")


# -- Certificates -----------------------------------------------------------------------------

def test_a_certificate_that_is_not_trusted(broker: MqttBroker, tmp_path: Path,
                                           script: Script) -> None:
    other, _ = make_certificate(tmp_path)
    at = f"localhost:{broker.port}"
    sentence = failed(script, "--ca", str(other), at)
    assert sentence.startswith(f"The certificate of {at} is not trusted (")
    assert f"it was not signed by the CA in {other}; name the right CA with --ca" in sentence
    assert broker.conversations == []


def test_ca_means_that_ca_and_no_other(broker: MqttBroker, tmp_path: Path,
                                       certificate: tuple[Path, Path], script: Script) -> None:
    other, _ = make_certificate(tmp_path)
    system = tmp_path / "system"
    system.mkdir()
    shutil.copy(certificate[0], system / "trusted.pem")
    subprocess.run(["openssl", "rehash", str(system)], check=True)
    said = script.run("--ca", str(other), f"localhost:{broker.port}",
                      environment={"SSL_CERT_DIR": str(system),
                                   "SSL_CERT_FILE": str(certificate[0])})
    assert "is not trusted" in said.verdict
    assert said.code == 1


def test_a_certificate_for_another_name(broker: MqttBroker, certificate: tuple[Path, Path],
                                        script: Script) -> None:
    ca, at = str(certificate[0]), f"localhost:{broker.port}"
    sentence = failed(script, "--ca", ca, "--servername", "emqx1.example", at)
    assert sentence.lower() == (
        f"the certificate of {at} is for another name or address (hostname mismatch); give a name "
        "that is in it with --servername.")
    assert script.run("--ca", ca, "--servername", "localhost", f"127.0.0.1:{broker.port}").code == 0


def test_an_expired_certificate(authority: tuple[Path, Path], tmp_path: Path,
                                script: Script) -> None:
    (port,) = free_ports(1)
    with s_server(make_signed(tmp_path / "expired", authority, days=-1), port):
        assert failed(script, "--ca", str(authority[0]), f"localhost:{port}") == (
            f"The certificate of localhost:{port} is not valid now: certificate has expired.")
        said = script.run("--insecure", "--timeout", "1", f"localhost:{port}")
        assert said.code == 0


def test_the_default_is_the_ca_beside_the_script(broker: MqttBroker, tmp_path: Path,
                                                 certificate: tuple[Path, Path],
                                                 script: Script) -> None:
    checkout = tmp_path / "a checkout"
    (checkout / "certs").mkdir(parents=True)
    script.path = Path(shutil.copy(SCRIPT, checkout))
    at = f"localhost:{broker.port}"
    said = script.run(at)
    assert "Trust     the server's certificate is not verified (--ca FILE would)" in said.lines
    assert said.code == 0
    shutil.copy(certificate[0], checkout / "certs" / "ca.pem")
    said = script.run(at)
    assert "Trust     certs/ca.pem" in said.lines
    assert said.code == 0
    other, _ = make_certificate(tmp_path)
    shutil.copy(other, checkout / "certs" / "ca.pem")
    assert "is not trusted" in failed(script, at)
    assert script.run("--insecure", at).code == 0


def test_a_server_that_demands_a_client_certificate(authority: tuple[Path, Path],
                                                    tmp_path: Path, script: Script) -> None:
    cert, key = make_signed(tmp_path / "good", authority)
    (port,) = free_ports(1)
    at = f"localhost:{port}"
    with s_server(authority, port, "-Verify", "1", "-verify_return_error",
                  "-CAfile", str(authority[0])):
        assert failed(script, "--insecure", at) == (
            f"{at} demands a client certificate (alert: handshake failure); give one with --cert "
            "and --key, like certs/client-cert.pem and certs/client-key.pem.")
        said = script.run("--insecure", "--timeout", "1", "--cert", str(cert), "--key", str(key),
                          at)
        assert said.verdict.startswith(RESUMED.format(at))
        assert said.code == 0
        expired = make_signed(tmp_path / "expired", authority, days=-1)
        stranger = make_signed(tmp_path / "stranger")
        for (wrong, its_key), alert in ((expired, "certificate expired"), (stranger, "unknown CA")):
            sentence = failed(script, "--insecure", "--cert", str(wrong), "--key", str(its_key), at)
            assert sentence == f"{at} refuses the client certificate {wrong} (alert: {alert})."
        assert failed(script, "--insecure", "--cert", str(cert), "--key", str(expired[1]), at) == (
            f"--key {expired[1]} is not the key of --cert {cert}.")


def test_files_that_hold_something_else(authority: tuple[Path, Path], broker: MqttBroker,
                                        tmp_path: Path, script: Script) -> None:
    cert, key = map(str, authority)
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    at = f"localhost:{broker.port}"
    assert "no certificate or crl found" in unconnected(script, at, "--ca", str(empty))
    said = unconnected(script, at, "--insecure", "--cert", str(empty), "--key", key)
    assert re.search(r"(Could not|unable to) .*certificate", said)
    said = unconnected(script, at, "--insecure", "--cert", cert, "--key", str(empty))
    assert re.search(r"(Could not|unable to) .*private key", said)


def test_a_listener_that_demands_a_client_certificate(
        special: dict[str, int], authority: tuple[Path, Path], tmp_path: Path,
        script: Script) -> None:
    at = f"localhost:{special['mtls']}"
    assert failed(script, "--insecure", at).startswith(f"{at} demands a client certificate (")
    cert, key = make_signed(tmp_path / "good", authority)
    said = script.run("--insecure", "--cert", str(cert), "--key", str(key), at)
    assert said.verdict == RESUMED.format(at)
    assert said.code == 0
    assert details(said, "Received") == [
        "server hello, server certificate, server key exchange, server",
        "server hello, change cipher spec, finished"]
    for wrong in (make_signed(tmp_path / "expired", authority, days=-1),
                  make_signed(tmp_path / "stranger")):
        sentence = failed(script, "--insecure", "--cert", str(wrong[0]), "--key", str(wrong[1]), at)
        assert sentence.startswith(f"{at} refuses the client certificate {wrong[0]} (alert: ")


# -- MQTT -------------------------------------------------------------------------------------

def test_user_name_and_password(certificate: tuple[Path, Path], script: Script) -> None:
    # Ten bytes: their length is a line feed, and what follows would be a command of s_client if it
    # came alone.
    password = "Q\nR %s\\n\u00e9"  # noqa: S105
    assert len(password.encode()) == 10
    broker = MqttBroker(*certificate, password=password)
    at = f"localhost:{broker.port}"
    try:
        said = script.run("--insecure", at, environment={
            "MQTT_USERNAME": "probe", "MQTT_PASSWORD": password})
        assert said.verdict == RESUMED.format(at)
        assert said.code == 0
        for environment in ({}, {"MQTT_USERNAME": "probe", "MQTT_PASSWORD": PASSWORD},
                            {"MQTT_USERNAME": "probe"}):
            said = script.run("--insecure", at, environment=environment)
            assert said.verdict == (
                RESUMED.format(at) + " Note MQTT: CONNECT refused (return code 4: bad user name or "
                f"password); set MQTT_USERNAME and MQTT_PASSWORD. {HOLDS}")
            assert said.code == 0
            assert PASSWORD not in said.output
    finally:
        broker.stop()


@pytest.mark.parametrize("length", [104, 105, 4000, 7995])
def test_a_long_password(certificate: tuple[Path, Path], script: Script, length: int) -> None:
    password = "x" * length
    broker = MqttBroker(*certificate, password=password)
    try:
        said = script.run("--insecure", f"localhost:{broker.port}", environment={
            "MQTT_USERNAME": "probe", "MQTT_PASSWORD": password})
    finally:
        broker.stop()
    assert details(said, "MQTT")[0] == "CONNECT accepted (CONNACK, return code 0)"
    assert said.code == 0


def test_an_answer_that_comes_in_pieces(broker: MqttBroker, script: Script) -> None:
    with talking(in_pieces(broker.port, 11), silence_s=None) as port:
        said = script.run("--insecure", f"localhost:{port}")
    assert said.verdict == RESUMED.format(f"localhost:{port}")
    assert said.code == 0
    assert broker.conversations == [[1, 14], [1, 14]]


@pytest.mark.parametrize(("fault", "text"), [
    ("refuses_version", "CONNECT refused (return code 1: it does not speak MQTT 3.1.1)."),
    ("no_connect", "the connection was closed instead of answering CONNECT."),
    ("no_connack", "the connection was closed instead of answering CONNECT."),
])
def test_a_broker_that_refuses(broker: MqttBroker, script: Script, fault: str, text: str) -> None:
    broker.faults.add(fault)
    said = script.run("--insecure", f"localhost:{broker.port}")
    assert said.verdict == (RESUMED.format(f"localhost:{broker.port}")
                            + f" Note MQTT: {text} {HOLDS}")
    assert said.code == 0


@pytest.mark.parametrize(("connack", "text"), [
    (b"\x20\x02\x00\x05", "CONNECT refused (return code 5: not authorized)"),
    (b"\x20\x02\x00\x03", "CONNECT refused (return code 3: server unavailable)."),
    (b"\x20\x02\x00\x63", "CONNECT refused (return code 99)."),
    (b"\x20\x03\x00\x00\x00", "CONNECT was answered with something that is not MQTT 3.1.1."),
    (b"220 mail\r\n", "CONNECT was answered with something that is not MQTT 3.1.1."),
])
def test_other_answers_to_connect(certificate: tuple[Path, Path], script: Script, connack: bytes,
                                  text: str) -> None:
    broker = Broker(*certificate, connack=connack)
    try:
        said = script.run("--insecure", f"localhost:{broker.port}")
    finally:
        broker.stop()
    assert f"Note MQTT: {text}" in said.verdict
    assert said.code == 0


def test_mqtt_that_fails_over_the_resumed_connection_only(broker: MqttBroker,
                                                          script: Script) -> None:
    broker.faults.add("answers_once")
    at = f"localhost:{broker.port}"
    said = script.run("--insecure", at)
    assert details(said, "Handshake")[1] == "Reused (abbreviated)"
    assert said.verdict == (
        f"failed: TLS worked, but MQTT went otherwise than on the first connection to {at}: the "
        "connection was closed instead of answering CONNECT.")
    assert said.code == 1


# -- The verdict rests on more than one word --------------------------------------------------

# An edited line comes out when it is complete, and a CONNACK is no line.
HASTY = ("--timeout", "1")


def edited(folder: Path, edit: str) -> str:
    """Return a PATH with an openssl whose words about the second connection are edited."""
    folder.mkdir()
    program = folder / "openssl"
    program.write_text(
        "#!/bin/bash\n"
        f"case \"$*\" in *' -sess_in '*) '{shutil.which('openssl')}' \"$@\" | sed -u '{edit}';;\n"
        f"*) exec '{shutil.which('openssl')}' \"$@\";; esac\n")
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize(("edit", "differs"), [
    ("s/Master-Key: ./Master-Key: x/", "the master key"),
    ("s/Session-ID: ./Session-ID: x/", "the session ID"),
    ("s/Cipher    : ./Cipher    : x/", "the cipher"),
])
def test_reused_with_other_parameters_is_not_resumed(broker: MqttBroker, tmp_path: Path,
                                                     script: Script, edit: str,
                                                     differs: str) -> None:
    script.programs = edited(tmp_path / "bin", edit)
    said = script.run("--insecure", *HASTY, f"localhost:{broker.port}")
    assert said.verdict == ("failed: openssl says Reused, but something differs from the first "
                            f"connection: {differs}.")
    assert said.code == 1


def test_the_word_alone_is_not_enough(special: dict[str, int], tmp_path: Path,
                                      script: Script) -> None:
    script.programs = edited(tmp_path / "bin", "s/^New,/Reused,/")
    said = script.run("--insecure", *HASTY, f"localhost:{special['noreuse']}")
    assert said.verdict == (
        "failed: openssl says Reused, but something differs from the first connection: the session "
        "ID, the master key, the handshake (with a certificate).")
    assert said.code == 1


def test_new_with_the_old_keys_is_not_a_full_handshake(broker: MqttBroker, tmp_path: Path,
                                                       script: Script) -> None:
    script.programs = edited(tmp_path / "bin", "s/^Reused,/New,/")
    said = script.run("--insecure", *HASTY, f"localhost:{broker.port}")
    assert said.verdict == ("failed: openssl says New, but session ID, master key or handshake are "
                            "those of a resumed session.")
    assert said.code == 1


def test_another_protocol_is_said(broker: MqttBroker, tmp_path: Path, script: Script) -> None:
    script.programs = edited(tmp_path / "bin", "s/Protocol  : .*/Protocol  : TLSv1.1/")
    said = script.run("--insecure", *HASTY, f"localhost:{broker.port}")
    assert said.verdict == f"failed: localhost:{broker.port} spoke TLSv1.1 and not TLSv1.2."
    assert said.code == 1


# -- What is left behind, and what is never shown ---------------------------------------------

def test_the_session_file_is_the_owners_alone(certificate: tuple[Path, Path],
                                              script: Script) -> None:
    (port,) = free_ports(1)
    with s_server(certificate, port):
        process = script.start("--insecure", "--timeout", "2", f"localhost:{port}")
        file = script.session_file()
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700
        for other in file.parent.iterdir():
            assert other.stat().st_mode & 0o077 == 0
        assert script.processes() != []
        assert script.finish(process).code == 0


@pytest.mark.parametrize("group", [True, False], ids=["Ctrl-C", "kill"])
@pytest.mark.parametrize(("number", "code"), [
    (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)])
def test_a_signal_in_the_middle(certificate: tuple[Path, Path], script: Script, number: int,
                                code: int, group: bool) -> None:
    (port,) = free_ports(1)
    with s_server(certificate, port):
        process = script.start("--insecure", "--timeout", "60", f"localhost:{port}")
        script.session_file()
        (os.killpg if group else os.kill)(process.pid, number)
        said = script.finish(process)
    assert said.code == code
    assert said.errors == ""


def test_a_signal_while_the_server_is_silent(script: Script) -> None:
    with talking(silent, silence_s=None) as port:
        process = script.start("--timeout", "60", f"127.0.0.1:{port}")
        while not script.processes():
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        assert script.finish(process).code == 130


def test_signals_at_any_moment(broker: MqttBroker, script: Script) -> None:
    moments = random.Random(8883)  # noqa: S311 - moments, not secrets
    ended = set()
    for number in (signal.SIGINT, signal.SIGTERM) * 15:
        process = script.start("--insecure", f"localhost:{broker.port}")
        time.sleep(moments.uniform(0, 0.3))
        for _ in range(moments.choice((1, 2))):  # the impatient press Ctrl-C twice
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        ended.add(script.finish(process).code)
    # Before the traps are set a signal ends bash itself (negative), and there is nothing to remove.
    assert ended <= {0, 130, 143, -2, -15}
    assert ended & {130, 143}


def test_nobody_reads_its_output(broker: MqttBroker, script: Script) -> None:
    process = script.start("--insecure", f"localhost:{broker.port}")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    said = script.finish(process)
    assert said.code == -signal.SIGPIPE
    assert said.errors == ""


def test_a_temporary_folder_that_is_missing(script: Script) -> None:
    script.temporary.rmdir()
    process = script.start("--insecure", "localhost:8883")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert " ".join(errors.split()) == (
        f"No temporary folder could be made in {script.temporary}; set TMPDIR to a folder of "
        "yours.")
    script.temporary.mkdir()


def test_secrets_are_on_no_command_line_and_in_no_output(
        certificate: tuple[Path, Path], tmp_path: Path, script: Script) -> None:
    broker = MqttBroker(*certificate, password=PASSWORD)
    secrets, log = tmp_path / "secrets", tmp_path / "log"
    broker.context.keylog_filename = str(secrets)
    programs = tmp_path / "bin"
    programs.mkdir()
    # Every program that the script could start, with its arguments and environment written down.
    for folder in ("/bin", "/usr/bin"):
        for name in ("od", "tr", "tail", "sleep", "rm", "mkdir", "mkfifo", "mktemp", "dirname",
                     "grep", "cat", "sed", "awk", "openssl"):
            if (Path(folder) / name).exists():
                (programs / name).write_text(
                    f"#!/bin/bash\n{{ printf '%s ' {name} \"$@\"; echo; env; }} >>'{log}'\n"
                    f"exec {shutil.which(name)} \"$@\"\n")
                (programs / name).chmod(0o755)
    (programs / "bash").symlink_to("/bin/bash")
    (programs / "env").symlink_to("/usr/bin/env")
    script.programs = str(programs)
    try:
        said = script.run("--insecure", f"localhost:{broker.port}", environment={
            "MQTT_USERNAME": "probe", "MQTT_PASSWORD": PASSWORD})
    finally:
        broker.stop()
    assert said.code == 0
    assert details(said, "MQTT")[0] == "CONNECT accepted (CONNACK, return code 0)"
    (master,) = set(re.findall(r"^CLIENT_RANDOM \w+ (\w{96})$", secrets.read_text(), re.MULTILINE))
    written = log.read_text()
    assert "s_client" in written
    for text in (written, said.output):
        assert master.lower() not in text.lower()
    # What starts before the variables are taken out of the environment has them there.
    arguments = [line for line in written.splitlines() if not line.startswith("MQTT_")]
    assert PASSWORD not in "\n".join(arguments)
    assert PASSWORD not in said.output
    assert PASSWORD not in written.partition("openssl s_client")[2]


# -- Usage ------------------------------------------------------------------------------------

def test_help(script: Script) -> None:
    said = script.run("--help")
    assert said.code == 0
    assert said.lines[0] == "Usage: ./tls1.2-resumption-test.sh [OPTION]... HOST[:PORT]..."
    # What is to be searched for in logs is in one piece.
    assert max(len(line) for line in said.lines if "<<" not in line) < 80
    source = SCRIPT.read_text()
    for option in set(re.findall(r"--[a-z]+", source)) - {"--prefix"}:
        assert f" {option}" in said.output


@pytest.mark.parametrize(("arguments", "sentence"), [
    ([], "Name the server to test, like localhost:8883."),
    (["--cacert", "x", "localhost"], "--cacert: there is no such option."),
    (["--cacert=x", "localhost"], "--cacert: there is no such option."),
    (["localhost", "--ca"], "--ca needs a value."),
    (["localhost", "--ca="], "--ca needs a value."),
    (["localhost", "--ca", "nowhere.pem"], "--ca nowhere.pem: there is no such file to read."),
    (["localhost", "--insecure", "--ca", "/etc/hostname"],
     "Either --ca or --insecure, not both."),
    (["localhost", "--cert", "/etc/hostname"], "--cert and --key go together."),
    (["localhost", "--timeout", "0"], "--timeout 0: must be whole seconds, from 1 to 9999."),
    (["localhost", "--timeout", "1.5"], "--timeout 1.5: must be whole seconds, from 1 to 9999."),
    (["localhost", "--servername", "a b"], "--servername a b: must be a host name."),
    (["localhost:0"], "localhost:0: the port must be a number from 1 to 65535."),
    (["localhost:65536"], "localhost:65536: the port must be a number from 1 to 65535."),
    (["localhost:x"], "localhost:x: the port must be a number from 1 to 65535."),
    (["localhost:"], "localhost:: the port must be a number from 1 to 65535."),
    (["[::1]:"], "[::1]:: the port must be a number from 1 to 65535."),
    *(([wrong], f"{wrong}: an endpoint is written HOST:PORT, like localhost:8883 or [::1]:8883.")
      for wrong in ("::1", "[localhost]:1", "[::1", "mqtts://localhost:8883")),
    (["-x"], "-x: there is no such option."),
    (["localhost", "localhost:08883"], "localhost:8883 is named twice."),
])
def test_wrong_usage(script: Script, arguments: list[str], sentence: str) -> None:
    said = script.finish(script.start(*arguments))
    assert (said.code, said.output) == (2, "")
    assert " ".join(said.errors.split()) == f"{sentence} See ./tls1.2-resumption-test.sh --help"


def test_a_key_with_a_passphrase(certificate: tuple[Path, Path], tmp_path: Path,
                                 script: Script) -> None:
    key = tmp_path / "key.pem"
    subprocess.run(["openssl", "pkcs8", "-topk8", "-in", str(certificate[1]), "-out", str(key),
                    "-passout", "pass:x"], check=True)
    said = script.finish(script.start("localhost", "--cert", str(certificate[0]),
                                      "--key", str(key)))
    assert said.code == 2
    assert "is protected by a passphrase; give a key without one." in " ".join(said.errors.split())


@pytest.mark.parametrize(("environment", "sentence"), [
    ({"MQTT_PASSWORD": PASSWORD},
     "MQTT_PASSWORD needs MQTT_USERNAME (MQTT 3.1.1 has no password without a name)."),
    ({"MQTT_USERNAME": "x", "MQTT_PASSWORD": "x" * 8000},
     "MQTT_USERNAME and MQTT_PASSWORD together must not exceed 8000 bytes."),
])
def test_wrong_credentials(script: Script, environment: dict[str, str], sentence: str) -> None:
    said = script.finish(script.start("localhost", environment=environment))
    assert (said.code, said.output) == (2, "")
    assert " ".join(said.errors.split()).startswith(sentence)


@pytest.mark.parametrize(("version", "sentence"), [
    ("LibreSSL 3.3.6", "The openssl in PATH is LibreSSL 3.3.6, which is too old or not OpenSSL;"),
    ("OpenSSL 1.0.2u  20 Dec 2019",
     "The openssl in PATH is OpenSSL 1.0.2u 20 Dec 2019, which is too old or not OpenSSL;"),
    ("OpenSSL 1.1.0l  10 Sep 2019",
     "The openssl in PATH is OpenSSL 1.1.0l 10 Sep 2019, which is too old or not OpenSSL;"),
])
def test_an_openssl_that_will_not_do(script: Script, tmp_path: Path, version: str,
                                     sentence: str) -> None:
    program = tmp_path / "openssl"
    program.write_text(f"#!/bin/bash\necho '{version}'\n")
    program.chmod(0o755)
    script.programs = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    said = script.finish(script.start("localhost"))
    assert (said.code, said.output) == (1, "")
    assert " ".join(said.errors.split()).startswith(sentence)


def test_no_openssl(script: Script, tmp_path: Path) -> None:
    for name in ("bash", "env", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    script.programs = str(tmp_path)
    said = script.finish(script.start("localhost"))
    assert (said.code, said.output) == (1, "")
    assert said.errors == "openssl was not found; install OpenSSL 1.1.1 or newer.\n"


def test_it_runs_from_anywhere(broker: MqttBroker, script: Script, tmp_path: Path) -> None:
    done = subprocess.run([str(SCRIPT), "--insecure", f"localhost:{broker.port}"], cwd=tmp_path,
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert (ROOT / "tls1.2-resumption-test.sh").stat().st_mode & 0o111 == 0o111
