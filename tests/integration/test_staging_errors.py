"""What can be wrong with somebody else's cluster: one clear sentence, a whole report, exit 2."""
from __future__ import annotations

import secrets
import socket
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.listening import Talking
from tests.support.mqtt_broker import MqttBroker
from tests.support.playbooks import ROOT, Cluster, Done
from tests.support.strangers import (
    Authority,
    Pair,
    says_nothing,
    speaks_http,
    speaks_plain_mqtt,
)
from tests.support.whole_run import whole_run

TIMEOUT_S = 1.0
RIGHT, WRONG = secrets.token_hex(8), secrets.token_hex(8)
NOWHERE = "emqx.staging.invalid"
LISTENER = "does emqx_tls_port name a TLS listener"
NOT_TRUSTED = ("resumption_ca must hold the CA that signed this node's certificate, and those "
               "above it up to the root")
FAULTS = {
    "expired": ("certificate_expired",
                "{at}: certificate has expired (renew it, or the CA's above it that has expired)"),
    "other_name": ("certificate_name_mismatch",
                   ("{at}: Hostname mismatch, certificate is not valid for 'localhost' (set "
                   "emqx_tls_server_name to a name in the node's certificate)")),
    "down": ("connection_refused", ("{at}: connection refused: nothing listens there (is the node "
                                   "running, and is emqx_tls_port right?)")),
    "unnamed": ("name_not_resolved", "{at}: the name " + NOWHERE + " does not resolve"),
    "plain_mqtt": ("connection_closed",
                   "{at}: the target closed the connection in the handshake (it answered nothing "
                   "to a ClientHello, as a plain MQTT listener does, and one that waits for a load "
                   "balancer's PROXY protocol header, which the probe does not send: " + LISTENER
                   + " without proxy_protocol?)"),
    "http": ("not_tls", "{at}: the server sent something that is not TLS: HTTP, "
                        "b'HTTP/1.1 400 Bad' (" + LISTENER + "?)"),
    "silent": ("timeout", "{at}: the target did not answer within the 1 s of "
                          "resumption_timeout (" + LISTENER + ", and is the node well?)"),
}
"""What is wrong with one node: the reason's token, and how its sentence begins."""


class Staging:
    """Small servers on loopback, one for each fault."""

    def __init__(self, folder: Path) -> None:
        self.ca = Authority(folder, "ca")
        self.other_ca = Authority(folder, "other-ca")
        good = self.ca.issue("server")
        self._brokers: dict[str, MqttBroker] = {}
        for name, pair in (("healthy", good), ("expired", self.ca.expired("expired")),
                           ("other_name", self.ca.issue("other", hosts=("other.example",)))):
            self._brokers[name] = self._broker(pair)
        self._brokers["locked"] = self._broker(good, password=RIGHT)
        self._ports = {name: Talking(talk, silence_s=None) for name, talk in (
            ("plain_mqtt", speaks_plain_mqtt), ("http", speaks_http), ("silent", says_nothing))}
        # Bound and not listening: refused, and nobody else can take it meanwhile.
        self._taken = socket.socket()
        self._taken.bind(("127.0.0.1", 0))

    @staticmethod
    def _broker(pair: Pair, **options: Any) -> MqttBroker:
        return MqttBroker(pair.cert, pair.key, **options)

    def node(self, name: str) -> dict[str, Any]:
        """Return the node as the module takes it."""
        if name == "unnamed":
            return {"name": name, "host": NOWHERE, "port": 8883}
        port = self._taken.getsockname()[1] if name == "down" else (
            self._brokers[name] if name in self._brokers else self._ports[name]).port
        return {"name": name, "host": "127.0.0.1", "port": port, "server_name": "localhost"}

    def at(self, name: str) -> str:
        """Return how the node is called in sentences."""
        node = self.node(name)
        return f"{name} ({node['host']}:{node['port']})"

    def handshakes(self, name: str) -> int:
        """Return how many the node has counted."""
        return self._brokers[name].handshakes

    def stop(self) -> None:
        """End all of them."""
        for broker in self._brokers.values():
            broker.stop()
        for port in self._ports.values():
            port.stop()
        self._taken.close()


@pytest.fixture(scope="module")
def staging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staging]:
    """Shared by all: nothing here changes any of them."""
    made = Staging(tmp_path_factory.mktemp("staging"))
    yield made
    made.stop()


@pytest.fixture
def probe(staging: Staging, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Verify nodes by the library; the report must be whole."""

    def go(*names: str, trusting: Path | None = staging.ca.file,
           **changed: Any) -> dict[str, Any]:
        results = whole_run([], trusting, tmp_path, **{
            "nodes": [staging.node(name) for name in names], "max_impact": "safe",
            "tls_versions": [], "timeout": TIMEOUT_S,
            "page_template": str(ROOT / "templates/report.html.j2"), **changed})
        assert_whole(tmp_path / "latest", results, len(names))
        assert results["verdict"] == "error"
        return results

    return go


def assert_whole(report: Path, results: dict[str, Any], nodes: int) -> None:
    """Everything that was not measured is in every report, with its reason."""
    assert results["complete"] is True
    assert len(results["matrix"]) == nodes ** 2
    assert all(cell["passed"] or cell["reason"] for cell in results["matrix"])
    assert all(row["status"] and row["message"] for row in results["checks"])
    assert all(row["reason"] for row in results["checks"] if row["status"] != "passed")
    cases = list(ET.parse(report / "junit.xml").getroot().iter("testcase"))
    assert len(cases) == 1 + len(results["checks"])
    page = (report / "index.html").read_text()
    assert all(row["id"] in page for row in results["checks"])


def errors(results: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return reason and sentence of every error, by subject: one each, and nothing failed."""
    rows = [row for row in results["checks"] if row["status"] in ("error", "failed")]
    assert {row["status"] for row in rows} == {"error"}
    told = {row["subject"]: (row["reason"], row["message"]) for row in rows}
    assert len(told) == len(rows)
    return told


@pytest.mark.parametrize("fault", FAULTS)
def test_one_node_is_not_as_it_should_be(staging: Staging, probe: Callable[..., dict[str, Any]],
                                         fault: str) -> None:
    results = probe("healthy", fault)
    reason, sentence = FAULTS[fault]
    (subject, told), = errors(results).items()
    assert (subject, told[0]) == (fault, reason)
    assert told[1].startswith(sentence.format(at=staging.at(fault)))
    assert told[1] in results["headline"]
    # The healthy one is measured all the same.
    cells = {(cell["issuer"], cell["redeemer"]): cell["outcome"] for cell in results["matrix"]}
    assert cells.pop(("healthy", "healthy")) == "resumed"
    assert set(cells.values()) == {"not_measured"}


@pytest.mark.parametrize(("username", "password", "says"), [
    ("probe", "wrong", ("bad user name or password (0x86) (check resumption_mqtt_username and "
                       "resumption_mqtt_password)")),
    (None, None, ("bad user name or password (0x86) (it demands authentication: set "
                 "resumption_mqtt_username and resumption_mqtt_password)")),
    (None, "a token", ("bad user name or password (0x86) (check resumption_mqtt_username and "
                      "resumption_mqtt_password)")),
])
def test_a_wrong_password(staging: Staging, probe: Callable[..., dict[str, Any]],
                          username: str | None, password: str | None, says: str) -> None:
    results = probe("locked", mqtt_username=username, mqtt_password=password)
    assert errors(results) == {"locked": (
        "mqtt_refused", (f"{staging.at('locked')}: TLS works, MQTT does not: CONNECT was refused: "
                        f"{says}"))}


def test_a_wrong_ca(staging: Staging, probe: Callable[..., dict[str, Any]]) -> None:
    results = probe("healthy", trusting=staging.other_ca.file)
    assert errors(results) == {"healthy": (
        "certificate_not_trusted", (f"{staging.at('healthy')}: unable to get local issuer "
        f"certificate; trusted are those of {staging.other_ca.file} ({NOT_TRUSTED})"))}


def test_without_a_ca_the_systems_store_counts(
        staging: Staging, probe: Callable[..., dict[str, Any]], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    results = probe("healthy", trusting=None)
    (reason, sentence), = errors(results).values()
    assert reason == "certificate_not_trusted"
    assert "trusted are those of the system's store, since resumption_ca is not set" in sentence
    # OpenSSL takes this file for the system's store.
    monkeypatch.setenv("SSL_CERT_FILE", str(staging.ca.file))
    results = whole_run([], None, tmp_path / "system", nodes=[staging.node("healthy")],
                        max_impact="safe")
    assert results["verdict"] == "passed"
    assert ("certificates signed by the CAs of the system's store are trusted, since resumption_ca "
            "is not set") in results["notes"]


# -- as a user sees it -----------------------------------------------------------------------------


def play(staging: Staging, folder: Path, names: tuple[str, ...], **variables: Any,
         ) -> tuple[Done, dict[str, Any]]:
    """Run verify.yml on these nodes; return what it printed and results.json."""
    hosts = {node["name"]: {
        "emqx_tls_host": node["host"], "emqx_tls_port": node["port"],
        "emqx_tls_server_name": node.get("server_name", node["host"])}
        for node in map(staging.node, names)}
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"children": {"emqx": {"hosts": hosts, "vars": {
        "emqx_driver": "external", "resumption_ca": str(staging.ca.file),
        "resumption_timeout": TIMEOUT_S, **variables}}}}}))
    cluster = Cluster("staging", [], path, folder / "reports")
    done = cluster.play("verify.yml")
    results = cluster.results()
    assert_whole(cluster.reports / "latest", results, len(names))
    return done, results


def before_ansible(done: Done) -> str:
    """Return what the probe printed, folded; Ansible says the verdict twice more after it."""
    return " ".join(done.output.partition("[ERROR]")[0].split())


def test_seven_faults_at_once_through_ansible(staging: Staging, tmp_path: Path) -> None:
    done, results = play(staging, tmp_path, ("healthy", *FAULTS))
    assert done.code == 2
    assert {subject: reason for subject, (reason, _) in errors(results).items()} == {
        fault: reason for fault, (reason, _) in FAULTS.items()}
    printed = before_ansible(done).partition(" Report ")[0]
    for fault, (_, sentence) in FAULTS.items():
        assert printed.count(sentence.format(at=staging.at(fault))) == 1, (fault, printed)
    # Not once for each check that needs it.
    assert "needs CORE" not in printed
    assert "Skipped as a consequence" in printed


def test_a_wrong_password_through_ansible(staging: Staging, tmp_path: Path) -> None:
    before = staging.handshakes("locked")
    done, results = play(staging, tmp_path, ("locked",), resumption_mqtt_username="probe",
                         resumption_mqtt_password=WRONG)
    assert done.code == 2
    assert list(errors(results)) == ["locked"]
    assert (f"{staging.at('locked')}: TLS works, MQTT does not: CONNECT was refused: bad user name "
            "or password (0x86) (check resumption_mqtt_username and resumption_mqtt_password)"
            ) in before_ansible(done)
    assert WRONG not in done.output
    assert staging.handshakes("locked") == before + 1  # it was not tried again and again


def test_a_wrong_ca_through_ansible(staging: Staging, tmp_path: Path) -> None:
    done, results = play(staging, tmp_path, ("healthy",),
                         resumption_ca=str(staging.other_ca.file))
    assert done.code == 2
    assert list(errors(results)) == ["healthy"]
    assert f"trusted are those of {staging.other_ca.file} ({NOT_TRUSTED})" in before_ansible(done)
