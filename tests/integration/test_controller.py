"""What an inventory says of its hosts is nothing to the machine that everything is done on."""
from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support.playbooks import Cluster
from tests.support.ports import free_ports

EVERY_HOST = {
    # Ansible becomes nobody it is already, and tests may be run by root.
    "ansible_become": True, "ansible_become_user": "nobody", "ansible_become_exe": "/none/sudo",
    "ansible_connection": "ssh", "ansible_ssh_executable": "/none/ssh", "ansible_user": "stranger",
    "ansible_python_interpreter": "/none/python"}
"""As of a fleet that other playbooks manage: here each of them would end a task."""


@pytest.mark.parametrize("named", [{"localhost": {}}, {}], ids=["localhost-named", "not-named"])
def test_tasks_of_this_machine_are_immune(tmp_path: Path, named: dict[str, object]) -> None:
    ports, name = free_ports(1), f"test-controller-{len(named)}"
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": named, "vars": EVERY_HOST, "children": {
        "emqx": {"hosts": {"emqx1": {"emqx_tls_port": ports[0]}}, "vars": {
            "emqx_driver": "embedded", "emqx_tls_host": "127.0.0.1",
            "emqx_cluster_name": name, "emqx_certs_dir": str(tmp_path / "certs"),
            "emqx_config_dir": str(tmp_path / "config"), "resumption_max_impact": "safe"}}}}}))
    cluster = Cluster(name, ports, inventory, tmp_path / "reports")
    planned = cluster.play("playbooks/site.yml", "--check")
    assert planned.code == 0, planned.output
    try:
        if named:
            done = cluster.play("playbooks/site.yml")
            assert done.code == 0, done.output
            assert cluster.results()["verdict"] == "passed"
    finally:
        gone = cluster.play("playbooks/destroy.yml")
    assert gone.code == 0, gone.output
    assert cluster.pids() == set()
