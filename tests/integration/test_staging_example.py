"""inventory/staging.example, copied and edited as docs/staging.md says, on nodes that ask for all.

They demand a client certificate and a password, and stand behind one DNS name.
"""
from __future__ import annotations

import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from tests.support.dns_server import DnsServer
from tests.support.playbooks import ROOT, Cluster, Done
from tests.support.ports import free_ports

EXAMPLE = ROOT / "inventory" / "staging.example"
ADDRESSES = [f"127.0.0.{last}" for last in (2, 3, 4)]
NAME = "mqtt.staging.example.com"
PASSWORD = secrets.token_hex(16)
PASSWORD_VARIABLE = "STAGING_MQTT_PASSWORD"  # noqa: S105 - its name
SETTING = re.compile(
    r"^( *)# ((?:emqx|resumption|ansible)_\w+:|load_balancer:|vantage:|(?:name|type|port): "
    r"|  +(?:- )?(?:[\w-]+:|# ))",
    re.MULTILINE)
"""How what is commented out begins, and the lines that go on with it."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three embedded nodes at one port of three addresses, with a certificate for one name."""
    folder = tmp_path_factory.mktemp("nodes")
    (port,) = free_ports(1)
    inventory = folder / "hosts.yml"
    certificates = folder / "certs"
    inventory.write_text(yaml.safe_dump({"emqx": {
        "hosts": {f"emqx{number}": {"emqx_tls_host": address}
                  for number, address in enumerate(ADDRESSES, 1)},
        "vars": {"ansible_connection": "local", "emqx_driver": "embedded", "emqx_tls_port": port,
                 "emqx_cluster_name": "test-staging", "emqx_certs_dir": str(certificates),
                 "emqx_tls_server_name": NAME,
                 "emqx_listeners": {"ssl": {"default": {"ssl_options": {
                     "verify": "verify_peer", "fail_if_no_peer_cert": True}}}},
                 "resumption_client_cert": str(certificates / "client-cert.pem"),
                 "resumption_client_key": str(certificates / "client-key.pem"),
                 "resumption_mqtt_username": "resumption-probe",
                 "resumption_mqtt_password": PASSWORD}}}))
    made = Cluster("test-staging", [port], inventory, folder / "reports")
    done = made.play("playbooks/deploy.yml")
    try:
        assert done.code == 0, done.output
        yield made
    finally:
        assert made.play("playbooks/destroy.yml").code == 0


def uncommented(text: str, *settings: str) -> str:
    """Return a file with these settings no longer commented out, or all of them."""
    if not settings:
        return SETTING.sub(r"\1\2", text)
    for setting in settings:
        assert f"# {setting}" in text
        text = text.replace(f"# {setting}", setting)
    return text


def edit(file: Path, text: str, changes: Mapping[str, str]) -> None:
    """Write a file with names replaced, each of which must be there."""
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


def copied(folder: Path, certificates: Path, *, vaulted: str = "") -> Path:
    """Copy the example, and say in it whom to trust and who we are."""
    inventory = folder / "my-staging"
    shutil.copytree(EXAMPLE, inventory)
    file = inventory / "group_vars" / "emqx.yml"
    text = uncommented(
        file.read_text(), "resumption_ca", "resumption_client_cert", "resumption_client_key",
        "resumption_mqtt_username", "resumption_tls_versions",
        *([] if vaulted else ["resumption_mqtt_password"]))
    edit(file, text + vaulted, {
        "~/staging/ca.pem": str(certificates / "ca.pem"),
        "~/staging/probe-cert.pem": str(certificates / "client-cert.pem"),
        "~/staging/probe-key.pem": str(certificates / "client-key.pem")})
    return inventory


def logs(nodes: Cluster) -> dict[str, str]:
    """Return the nodes' logs, which begin at the level notice."""
    return {file.parent.name: file.read_text()
            for file in (ROOT / ".cluster" / nodes.name).glob("emqx*/node.log")}


def assert_nine_of_nine(staging: Cluster, done: Done) -> None:
    """Everything was measured, and the password is nowhere."""
    assert done.code == 0, done.output
    results = staging.results()
    assert results["headline"] == "9 of 9 pairs as expected"
    assert results["target"]["driver"] == "external"
    assert {row["outcome"] for row in results["handshakes"].values()} == {"full", "resumed"}
    for node in results["budget"]["nodes"].values():
        assert node["handshakes_done"] == node["handshakes_announced"]
    assert PASSWORD not in done.output
    files = [file for file in staging.reports.rglob("*") if file.is_file()]
    assert {"results.json", "junit.xml", "summary.md", "index.html"} <= {
        file.name for file in files}
    assert not [file for file in files if PASSWORD.encode() in file.read_bytes()]


def test_hosts_written_down(nodes: Cluster, tmp_path: Path,
                            monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = copied(tmp_path, nodes.inventory.parent / "certs")
    hosts = inventory / "hosts.yml"
    edit(hosts, hosts.read_text(), {
        f"emqx{number}.staging.example.com":
            f"{address}\n          emqx_tls_port: {nodes.ports[0]}\n"
            f"          emqx_tls_server_name: {NAME}"
        for number, address in enumerate(ADDRESSES, 1)})
    staging = Cluster("", [], inventory, tmp_path / "reports")

    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    done = staging.play("verify.yml")
    assert done.code == 2
    assert "resumption_mqtt_password of emqx1 cannot be evaluated." in done.flat
    assert not staging.reports.exists()

    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    before = logs(nodes)
    assert len(before) == 3
    assert_nine_of_nine(staging, staging.play("verify.yml"))
    assert logs(nodes) == before, "docs/staging.md says that a safe run leaves nothing in OTP's log"


def test_hosts_found_by_the_dns_and_a_password_in_a_vault(nodes: Cluster, tmp_path: Path) -> None:
    key = tmp_path / "vault-key"
    key.write_text(secrets.token_hex(16))
    staging = Cluster("", [], tmp_path / "my-staging", tmp_path / "reports")
    vaulted = subprocess.run(
        ["ansible-vault", "encrypt_string", "--vault-password-file", str(key),
         "--stdin-name", "resumption_mqtt_password"], input=PASSWORD, capture_output=True,
        text=True, check=True, cwd=ROOT, env=staging.environment()).stdout
    assert PASSWORD not in vaulted
    inventory = copied(tmp_path, nodes.inventory.parent / "certs", vaulted=f"\n{vaulted}\n")
    (inventory / "hosts.yml").unlink()
    found = inventory / "discovery.yml.txt"
    with DnsServer({NAME: {"A": ADDRESSES}}) as server:
        edit(found, uncommented(found.read_text(), "port: "), {"8884": str(nodes.ports[0])})
        with found.open("a") as file:
            file.write(f"servers: [{server.host}]\nserver_port: {server.port}\n")
        found.rename(inventory / "discovery.yml")
        planned = staging.play("verify.yml", "--check", "--vault-password-file", str(key))
        assert planned.code == 0, planned.output
        assert not staging.reports.exists()
        done = staging.play("verify.yml", "--vault-password-file", str(key))
        assert_nine_of_nine(staging, done)
        assert [node["name"] for node in staging.results()["nodes"]] == ADDRESSES
        for name, node in staging.results()["budget"]["nodes"].items():
            assert f"{name}: {node['handshakes_announced']} handshakes, of which" in planned.flat


def test_as_it_comes_it_is_accepted(tmp_path: Path) -> None:
    done = Cluster("", [], EXAMPLE, tmp_path).play("playbooks/check_inventory.yml")
    assert done.code == 0, done.output


def test_everything_that_is_commented_out_is_accepted_too(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = tmp_path / "my-staging"
    shutil.copytree(EXAMPLE, inventory)
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    files = tmp_path / "staging"
    files.mkdir()
    for name in ("ca.pem", "probe-cert.pem", "probe-key.pem"):
        (files / name).touch()
    for file in (inventory / "hosts.yml", inventory / "group_vars" / "emqx.yml"):
        text = uncommented(file.read_text())
        file.write_text(text.replace("~/staging", str(files)))
    groups = yaml.safe_load((inventory / "hosts.yml").read_text())["all"]["children"]
    assert set(groups) == {"emqx", "load_balancer", "vantage"}
    settings = yaml.safe_load((inventory / "group_vars" / "emqx.yml").read_text())
    assert len(settings) == 19
    done = Cluster("", [], inventory, tmp_path).play("playbooks/check_inventory.yml")
    assert done.code == 0, done.output


def test_the_options_of_the_discovery_are_options(tmp_path: Path) -> None:
    text = (EXAMPLE / "discovery.yml.txt").read_text()
    head, _, srv = text.partition("# Or one node for each SRV record, which has the port too:")
    assert srv
    with DnsServer({"_secure-mqtt._tcp.staging.example.com": {
            "SRV": ["0 0 8884 emqx1.staging.example.com."]},
            "emqx1.staging.example.com": {"A": ["192.0.2.1"]},
            NAME: {"A": ["192.0.2.2"]}}) as server:
        asked = f"\nservers: [{server.host}]\nserver_port: {server.port}\n"
        hosts = []
        for options in (uncommented(head, "port: ", "server_name: "),
                        f"plugin: emqx.conformance.dns_nodes\n{uncommented(srv)}"):
            file = tmp_path / "discovery.yml"
            file.write_text(options + asked)
            done = subprocess.run(
                ["ansible-inventory", "-i", str(file), "--list", "--yaml"], cwd=ROOT,
                capture_output=True, text=True, check=False, timeout=60,
                env=Cluster("", [], file, tmp_path).environment())
            assert done.returncode == 0, done.stderr
            hosts.append(done.stdout)
    assert "192.0.2.2:" in hosts[0]
    assert "broker.staging.example.com" in hosts[0]
    assert "emqx1:" in hosts[1]
    assert hosts[0].count("8884") == hosts[1].count("8884") == 1
