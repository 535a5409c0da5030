"""Nodes out of the DNS: ansible-inventory asks a real server on loopback.

What the server may answer is in tests/unit/inventory/test_dns_client.py; a whole verification of
nodes that were found is in test_staging_example.py.
"""
from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.dns_server import DnsServer, Zone
from tests.support.playbooks import ROOT, Cluster, Done

PODS = {f"emqx-core-{number}.emqx-headless.iot.svc.cluster.local": {"A": [f"10.0.0.{number + 1}"]}
        for number in range(3)}
ZONE: Zone = {
    "mqtt.example.com": {"A": ["192.0.2.10", "192.0.2.9", "192.0.2.11"]},
    "both.example.com": {"A": ["192.0.2.19"], "AAAA": ["2001:db8::9", "2001:db8::"]},
    "_mqttssl._tcp.emqx-headless.iot.svc.cluster.local": {
        "SRV": [f"0 33 8883 {pod}." for pod in PODS]}, **PODS,
}
WRONG: dict[str, Any] = {
    "name must be a DNS name, and 192.0.2.1 is an address: write it into a hosts.yml as "
    "emqx_tls_host.": {"name": "192.0.2.1"},
    "The DNS name nothing.example.com does not exist.": {"name": "nothing.example.com"},
    'prefix must be letters, digits, _, - and dots, and begin with a letter or digit, not "-".': {
        "name": "mqtt.example.com", "prefix": "-"},
    "mqtt.example.com leads to 3 addresses, and max_nodes is 2: is it the name of a cluster? Every "
    "node is connected to, so set max_nodes if it is.": {
        "name": "mqtt.example.com", "max_nodes": 2},
    'emqx.conformance.dns_nodes has no option famly; did you mean "family"?': {
        "name": "mqtt.example.com", "famly": "ipv4"},
    "port has no place beside type: srv, whose records say the ports.": {
        "name": "_mqtts._tcp.example.com", "type": "srv", "port": 8883},
    "port must be 1 to 65535, not 65536.": {"name": "mqtt.example.com", "port": 65536},
    "server_port must be 1 to 65535, not 0.": {"name": "mqtt.example.com", "server_port": 0},
    "timeout must be more than 0, not 0.": {"name": "mqtt.example.com", "timeout": 0},
    "max_nodes must be more than 0, not -1.": {"name": "mqtt.example.com", "max_nodes": -1},
}
WRONG_FOR_ANSIBLE: dict[str, Any] = {
    "Required config 'name'": {},
    "Invalid value 'mx' for config 'type'": {"name": "mqtt.example.com", "type": "mx"},
    "Invalid value provided for 'int': 'often'": {"name": "mqtt.example.com", "port": "often"},
}
"""What Ansible's own check refuses in its own words."""


@pytest.fixture(scope="module")
def server() -> Iterator[DnsServer]:
    with DnsServer(ZONE) as server:
        yield server


def write(folder: Path, server: DnsServer, **options: Any) -> Path:
    """Write an inventory file that asks the server, and return it."""
    folder.mkdir(exist_ok=True)
    file = folder / "discovery.yml"
    file.write_text(yaml.safe_dump({"plugin": "emqx.conformance.dns_nodes",
                                    "servers": [server.host], "server_port": server.port,
                                    **options}))
    return file


def inventory(files: Sequence[Path], *arguments: str,
              environment: Mapping[str, str] | None = None) -> Done:
    """Run ansible-inventory."""
    usual = Cluster("", [], files[0], files[0].parent).environment()
    done = subprocess.run(
        ["ansible-inventory", *(part for file in files for part in ("-i", str(file))), *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        env={**usual, "COLUMNS": "1000", **(environment or {})})
    return Done(done.returncode, done.stdout + done.stderr)


def sentences(done: Done) -> list[str]:
    """Return why files were refused, in their order."""
    assert "Traceback" not in done.output
    return re.findall(r"Failed to parse inventory with 'auto' plugin: (.+)", done.output)


def test_the_graph_shows_one_node_for_each_address(tmp_path: Path, server: DnsServer) -> None:
    done = inventory([write(tmp_path, server, name="mqtt.example.com")], "--graph")
    assert done.code == 0, done.output
    # The server shuffles its answers.
    assert done.output == ("@all:\n  |--@ungrouped:\n  |--@emqx:\n  |  |--192.0.2.9\n"
                           "  |  |--192.0.2.10\n  |  |--192.0.2.11\n")


def test_the_list_has_every_variable_and_limit_takes_some(
        tmp_path: Path, server: DnsServer) -> None:
    files = [
        write(tmp_path / "1", server, name="MQTT.example.com.", family="ipv4", prefix="lab-",
              port=8884, server_name="broker.example.com"),
        write(tmp_path / "2", server, name="both.example.com", group="load_balancer"),
        write(tmp_path / "3", server, type="srv", group="pods",
              name="_mqttssl._tcp.emqx-headless.iot.svc.cluster.local.")]
    done = inventory(files, "--list", "--limit", "all,!lab-192.0.2.10,!emqx-core-1")
    assert done.code == 0, done.output
    # Ansible marks strings that come from outside: they are never evaluated as templates.
    listed = json.loads(
        done.output[done.output.index("{"):done.output.rindex("}") + 1],
        object_hook=lambda value: value.get("__ansible_unsafe", value))
    found = {host: tuple(variables[f"emqx_tls_{name}"] for name in ("host", "port", "server_name"))
             for host, variables in listed["_meta"]["hostvars"].items()}
    pods = list(PODS)
    assert found == {
        "lab-192.0.2.9": ("192.0.2.9", 8884, "broker.example.com"),
        "lab-192.0.2.11": ("192.0.2.11", 8884, "broker.example.com"),
        "192.0.2.19": ("192.0.2.19", 8883, "both.example.com"),
        "2001-db8--0": ("2001:db8::", 8883, "both.example.com"),
        "2001-db8--9": ("2001:db8::9", 8883, "both.example.com"),
        "emqx-core-0": ("10.0.0.1", 8883, pods[0]), "emqx-core-2": ("10.0.0.3", 8883, pods[2])}
    assert [listed[group]["hosts"] for group in ("emqx", "load_balancer", "pods")] == [
        ["lab-192.0.2.9", "lab-192.0.2.11"], ["192.0.2.19", "2001-db8--0", "2001-db8--9"],
        ["emqx-core-0", "emqx-core-2"]]
    assert "both.example.com leads to 1 IPv4 and 2 IPv6 addresses" in done.flat


def test_what_goes_wrong_is_said(tmp_path: Path, server: DnsServer) -> None:
    files = [write(tmp_path / str(number), server, **options) for number, options in enumerate(
        [*WRONG.values(), *WRONG_FOR_ANSIBLE.values()])]
    done = inventory(files, "--graph", environment={
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "0"})
    assert done.code == 1
    said = sentences(done)
    assert len(said) == len(files), done.output
    assert said[:len(WRONG)] == list(WRONG)
    for expected, sentence in zip(WRONG_FOR_ANSIBLE, said[len(WRONG):]):
        assert expected in sentence


def test_without_dnspython_the_sentence_says_what_to_install(
        tmp_path: Path, server: DnsServer) -> None:
    hiding = tmp_path / "hiding" / "dns"
    hiding.mkdir(parents=True)
    (hiding / "__init__.py").write_text("raise ImportError('hidden')\n")
    done = inventory([write(tmp_path, server, name="mqtt.example.com")], "--graph", environment={
        "PYTHONPATH": os.pathsep.join([str(hiding.parent), os.environ.get("PYTHONPATH", "")])})
    # With the shipped configuration one file that is refused ends the run.
    assert done.code == 1
    (sentence,) = sentences(done)
    assert sentence == ("emqx.conformance.dns_nodes needs dnspython, which is not installed here: "
                        "pip install -r requirements.txt.")
