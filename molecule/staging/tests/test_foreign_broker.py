"""RabbitMQ: the shipped verify.yml is right about a broker that nobody here wrote."""
from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import outside
import pytest
import rabbitmq

CA = rabbitmq.TLS / "ca.pem"
PORTS = {node.name: node.port for node in rabbitmq.NODES}
AT = {name: f"{name} (127.0.0.1:{port})" for name, port in PORTS.items()}
PAIRS = [(issuer, redeemer) for issuer in PORTS for redeemer in PORTS]
NEVER_WRONG = {"passed", "info", "skipped", "warned"}
SPEAKS_MQTT_5 = rabbitmq.version() >= (3, 13)
HEAD = re.compile(r"\S+ \S+ \[\w+\] <[\d.]+>")
"""Time, level and process: what every line of RabbitMQ's log begins with, and one event's alike."""
LEFT_AT_ONCE = re.compile(r"\*\* Generic server .*\n\*\* Last message in was \{keepalive,\n\{init,"
                          r"[^*]*\*\* When Server state == .*\n\*\* Reason for termination ==\n"
                          r"\*\* einval\n", re.DOTALL)
"""RabbitMQ 4 begins to watch keep-alive after CONNACK, and asks the socket how much it has
received. Where the client's close_notify has been faster, its connection's process ends so, and
that is logged thrice."""


def processes() -> Iterator[str]:
    """Yield the number of every process of this machine."""
    return (name for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 - the fastest


@contextlib.contextmanager
def command_lines() -> Iterator[set[str]]:
    """Yield what fills up with the command lines of all processes that begin meanwhile."""
    seen: set[str] = set()
    done = threading.Event()
    # To read those of a whole machine again and again would keep a processor busy.
    before = set(processes())

    def watch() -> None:
        while not done.wait(0.01):
            for pid in set(processes()) - before:
                with contextlib.suppress(OSError):
                    seen.add(Path("/proc", pid, "cmdline").read_bytes().decode(errors="replace"))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        done.set()
        watching.join()


def log_of(node: rabbitmq.Node) -> str:
    """Return a node's own log."""
    return (node.folder / "rabbitmq.log").read_text(errors="replace")


def connections(node: rabbitmq.Node, seen: int, expected: int) -> int:
    """Return how many MQTT connections a node's log tells of, beyond what was seen of it.

    The node writes its log a little later; more than expected are told as they are.
    """
    deadline = time.monotonic() + 5
    while True:
        counted = len(re.findall(
            r"[Aa]ccept(?:ing|ed) MQTT connection|MQTT cannot parse a frame on connection",
            log_of(node)[seen:]))
        if counted >= expected or time.monotonic() >= deadline:
            return counted
        time.sleep(0.2)


def unexplained(lines: list[str]) -> list[str]:
    """Return the events of a log at another level than info that nobody can explain."""
    events: dict[str, str] = {}
    for line in filter(None, lines):
        head = HEAD.match(line)
        assert head, line
        events[head[0]] = f"{events.get(head[0], '')}{line[head.end():].strip()}\n"
    hasty = {head.split()[-1] for head, text in events.items()
             if SPEAKS_MQTT_5 and LEFT_AT_ONCE.match(text)}
    ends = [f"rabbit_mqtt_reader:start_link/3 at {pid} exit with reason: einval" for pid in hasty]
    return [head + text for head, text in events.items() if "[info]" not in head
            and head.split()[-1] not in hasty and not any(end in text for end in ends)]


def assert_complete(verification: outside.Verification) -> None:
    """Every cell and every planned check is in every report, whatever happened."""
    outside.assert_complete(verification, PORTS)


def assert_absent(password: str, verification: outside.Verification) -> None:
    """A password is neither in the output nor in any file of the report."""
    assert password not in verification.output
    files = [file for file in verification.report.rglob("*") if file.is_file()]
    assert {"results.json", "junit.xml", "summary.md"} <= {file.name for file in files}
    assert not [file for file in files if password.encode() in file.read_bytes()]


def reasons(verification: outside.Verification) -> dict[tuple[str, str], tuple[str, str]]:
    """Return status and reason of what neither passed nor was skipped, by check and subject."""
    return {(row["id"], row["subject"]): (row["status"], row["reason"])
            for row in verification.results["checks"] if row["status"] not in NEVER_WRONG}


@dataclass(frozen=True)
class Logged:
    """A run of verify.yml, and what each node's log tells of it."""

    verification: outside.Verification
    commands: set[str]
    """The command lines of all processes that began meanwhile."""
    lines: dict[str, list[str]]
    connections: dict[str, int]


@functools.cache
def logged(version: str) -> Logged:
    """Run the shipped verify.yml on the healthy cluster, once for each MQTT version.

    As it is by default (``auto``) it says all that it can be made to say.
    """
    before = {node.name: len(log_of(node)) for node in rabbitmq.NODES}
    more = ["-vvv"] if version == "auto" else []
    with command_lines() as commands:
        verification = outside.run_verify("-e", f"resumption_mqtt_version={version}", *more)
    made = {name: budget["handshakes_done"]
            for name, budget in verification.results["budget"]["nodes"].items()}
    counted = {node.name: connections(node, before[node.name], made[node.name])
               for node in rabbitmq.NODES}
    return Logged(verification, commands, {node.name: log_of(node)[before[node.name]:].splitlines()
                                 for node in rabbitmq.NODES}, counted)


@pytest.fixture(scope="module")
def healthy() -> outside.Verification:
    """The shipped verify.yml on the healthy cluster, as it is by default."""
    return logged("auto").verification


@pytest.fixture
def without_rabbit3() -> Iterator[None]:
    """The cluster while one node listens to nobody."""
    rabbitmq.listen(rabbitmq.NODES[2], listening=False)
    yield
    rabbitmq.listen(rabbitmq.NODES[2], listening=True)


def assert_nine_of_nine(verification: outside.Verification) -> None:
    assert verification.exit_code == 0, verification.output
    assert verification.results["verdict"] == "passed"
    assert verification.results["headline"] == "9 of 9 pairs as expected"
    assert outside.matrix(verification.results) == {
        (issuer, redeemer): "resumed" if issuer == redeemer else "full"
        for issuer, redeemer in PAIRS}
    assert reasons(verification) == {}


def test_all_nine_pairs_are_as_expected(healthy: outside.Verification) -> None:
    assert_nine_of_nine(healthy)
    assert_complete(healthy)


@pytest.mark.parametrize("version", ["3.1.1", "auto"])
def test_nothing_is_changed(version: str) -> None:
    changed = re.findall(r"^\S+ +: ok=\d+ +changed=(\d+)", logged(version).verification.output,
                         re.MULTILINE)
    assert changed
    assert set(changed) == {"0"}


def test_the_target_is_what_it_says_of_itself(healthy: outside.Verification) -> None:
    target = healthy.results["target"]
    assert target["driver"] == "external"
    # Nothing in MQTT obliges a broker to tell, and MQTT 3.1.1 has no place for it.
    assert (target["product"], target["version"], target["otp_release"]) == ("unknown", None, None)
    assert target["how_identified"]


def test_a_safe_run_leaves_nothing_in_the_log_but_connections_that_come_and_go() -> None:
    run = logged("3.1.1")
    assert run.verification.exit_code == 0, run.verification.output
    assert "Alerts:" not in run.verification.output
    assert "MQTT: version 5 is tried first" not in run.verification.output
    for lines in run.lines.values():
        assert lines
        assert unexplained(lines) == []


@pytest.mark.parametrize("version", ["3.1.1", "auto"])
def test_the_announced_handshakes_are_those_that_the_broker_logs(version: str) -> None:
    run = logged(version)
    verification = run.verification
    assert verification.exit_code == 0, verification.output
    spoken = {row["mqtt"]["version"] for row in verification.results["handshakes"].values()
              if row["mqtt"] and not row["mqtt"]["cause"]}
    assert spoken == {"5" if version == "auto" and SPEAKS_MQTT_5 else "3.1.1"}
    # To learn that a node does not speak MQTT 5 costs one connection.
    extra = int(version == "auto" and not SPEAKS_MQTT_5)
    for node in rabbitmq.NODES:
        budget = verification.results["budget"]["nodes"][node.name]
        expected = budget["handshakes_announced"] + extra
        assert run.connections[node.name] == expected
        assert budget["handshakes_done"] == expected
        assert budget["second_tries"] == extra
    assert verification.results["budget"]["differences"] == []


@pytest.mark.parametrize(("issuer", "redeemer"), PAIRS)
def test_openssl_agrees(healthy: outside.Verification, tmp_path: Path,
                        issuer: str, redeemer: str) -> None:
    found = outside.openssl_pair(PORTS[issuer], PORTS[redeemer], CA, tmp_path)
    assert found == outside.matrix(healthy.results)[issuer, redeemer]


def test_noisy_checks_are_right_too_and_make_what_they_announce() -> None:
    # What is refused or broken off is in no log; the broker counts at its listener, too.
    before = rabbitmq.accepted()
    verification = outside.run_verify("-e", "resumption_max_impact=noisy",
                                      "-e", "resumption_mqtt_version=3.1.1",
                                      "-e", '{"resumption_tls_versions": ["tlsv1.2"]}',
                                      "-e", "emqx_otp_release=25")
    assert verification.exit_code == 0, verification.output
    for name, accepted in rabbitmq.accepted().items():
        budget = verification.results["budget"]["nodes"][name]
        assert accepted - before[name] == budget["handshakes_announced"]
    assert verification.results["budget"]["differences"] == []
    found = reasons(verification)
    assert {status for status, _ in found.values()} == {"known"}
    # In NEG-04 it is a race whether OTP's alert gets out.
    assert {check for check, _ in found} | {"NEG-04"} == {"NEG-03", "NEG-04", "NEG-05", "NEG-08"}
    assert_complete(verification)


def test_nothing_but_mqtt_over_tls_on_loopback(host: Any) -> None:
    pids = {outside.process_of(port)[0] for port in PORTS.values()}
    assert len(pids) == len(PORTS)
    for pid in pids:
        listening = host.run(f"ss -Hltnp | grep pid={pid},").stdout
        ports = {int(port) for port in re.findall(r"127\.0\.0\.1:(\d+) ", listening)}
        assert len(listening.splitlines()) == 2, listening
        assert ports < {port for node in rabbitmq.NODES for port in (node.port, node.dist_port)}


def test_the_password_is_nowhere() -> None:
    password = rabbitmq.PASSWORD_FILE.read_text()
    run = logged("auto")
    assert run.verification.exit_code == 0, run.verification.output
    assert "resumption_verify" in run.verification.output
    assert any("verify.yml" in command for command in run.commands)
    assert not [command for command in run.commands if password in command]
    assert_absent(password, run.verification)


def test_a_wrong_password_is_one_clear_sentence(tmp_path: Path) -> None:
    wrong = secrets.token_hex(16)
    (tmp_path / "password").write_text(wrong)
    verification = outside.run_verify("-vvv", "-e", f"staging_password_file={tmp_path}/password")
    assert verification.exit_code == 2, verification.output
    assert verification.results["verdict"] == "error"
    code = "0x86" if SPEAKS_MQTT_5 else "0x04"
    assert (f"CONNECT was refused: bad user name or password ({code}) (check "
            "resumption_mqtt_username and resumption_mqtt_password)") in outside.flat(
        verification.output)
    assert {reason for _, reason in reasons(verification).values()} == {"mqtt_refused"}
    assert {cell["outcome"] for cell in verification.results["matrix"]} == {"not_measured"}
    assert_complete(verification)
    assert_absent(wrong, verification)


def test_a_wrong_ca_is_one_clear_sentence(tmp_path: Path) -> None:
    rabbitmq.make_ca(tmp_path / "ca.pem", tmp_path / "ca-key.pem")
    verification = outside.run_verify("-e", f"resumption_ca={tmp_path / 'ca.pem'}")
    assert verification.exit_code == 2, verification.output
    assert verification.results["verdict"] == "error"
    assert "(resumption_ca must hold the CA that signed this node's certificate" in outside.flat(
        verification.output)
    assert {reason for _, reason in reasons(verification).values()} == {"certificate_not_trusted"}
    assert {cell["outcome"] for cell in verification.results["matrix"]} == {"not_measured"}
    assert_complete(verification)


def test_a_node_that_does_not_listen_is_one_clear_sentence(without_rabbit3: None) -> None:
    verification = outside.run_verify()
    assert verification.exit_code == 2, verification.output
    assert verification.results["verdict"] == "error"
    assert (f"{AT['rabbit3']}: connection refused: nothing listens there (is "
            "the node running, and is emqx_tls_port right?)") in outside.flat(verification.output)
    assert set(reasons(verification).values()) == {("error", "connection_refused")}
    assert {subject for _, subject in reasons(verification)} == {"rabbit3"}
    matrix = outside.matrix(verification.results)
    assert Counter(matrix.values()) == {"resumed": 2, "full": 2, "not_measured": 5}
    assert all("rabbit3" in pair for pair, outcome in matrix.items() if outcome == "not_measured")
    assert_complete(verification)


def test_the_cluster_is_whole_again() -> None:
    verification = outside.run_verify()
    assert verification.exit_code == 0, verification.output


@pytest.fixture(scope="module")
def demanding() -> Iterator[None]:
    """The cluster while its listeners demand client certificates, and no password."""
    rabbitmq.demand_certificates(demand=True)
    yield
    rabbitmq.demand_certificates(demand=False)


def verify_as(cert: Path | str, key: Path | str) -> outside.Verification:
    """Run the shipped verify.yml with a client certificate, or none, and without a password."""
    return outside.run_verify(
        "-e", f"resumption_client_cert={cert}", "-e", f"resumption_client_key={key}",
        "-e", "resumption_mqtt_username=", "-e", "resumption_mqtt_password=")


def test_all_nine_pairs_are_as_expected_with_client_certificates(demanding: None) -> None:
    verification = verify_as(rabbitmq.TLS / "client.pem", rabbitmq.TLS / "client-key.pem")
    assert_nine_of_nine(verification)
    # Resuming, a client shows no certificate: the node has to know it from the session.
    assert {row["status"] for row in verification.results["checks"] if row["id"] == "CORE-06"} == {
        "passed"}
    assert_complete(verification)


def test_no_client_certificate_is_one_clear_sentence(demanding: None) -> None:
    verification = verify_as("", "")
    assert verification.exit_code == 2, verification.output
    assert verification.results["verdict"] == "error"
    assert (f"{AT['rabbit1']}: the listener demands a client certificate, and refused a "
            "client without one with the fatal alert handshake_failure (set resumption_client_cert "
            "and resumption_client_key)") in outside.flat(verification.output)
    assert {reason for _, reason in reasons(verification).values()} == {
        "client_certificate_demanded"}
    assert set(outside.matrix(verification.results).values()) == {"not_measured"}
    assert_complete(verification)
