"""roles/load_balancer with the real HAProxy: started, left alone, restarted, refused, gone."""
from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.emqx.conformance.plugins.module_utils.drivers import haproxy
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import DriverError
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.layout import ClusterFolder

from tests.support.playbooks import ROOT, Cluster
from tests.support.ports import free_ports

CONFIG = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
{more}
listen {name}
    bind 127.0.0.1:{port}
    server nobody 127.0.0.1:1
"""


class Bench:
    """Load balancers of a cluster without nodes."""

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self.folder = ClusterFolder.of(folder / "state", "tested")
        self.configs = folder / "config"
        self.ports = dict(zip(names, free_ports(len(names))))
        for name in names:
            self.render(name)

    def render(self, name: str, more: str = "") -> None:
        """Write one's configuration."""
        path = self.configs / name / "haproxy.cfg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CONFIG.format(name=name, port=self.ports[name], more=more))

    def spec(self, name: str) -> haproxy.BalancerSpec:
        """One load balancer as the inventory has it."""
        return haproxy.BalancerSpec(name, "127.0.0.1", self.ports[name],
                                    self.configs / name / "haproxy.cfg")

    def balancers(self, *names: str) -> haproxy.Balancers:
        """These are all that the inventory has."""
        return haproxy.Balancers(self.folder, [self.spec(name) for name in names], names,
                                 threading.Event())

    def deploy(self, *names: str) -> haproxy.BalancerPlan:
        """Plan, apply, and return the plan."""
        balancers = self.balancers(*names)
        plan = balancers.plan()
        balancers.apply(plan)
        return plan

    def pids(self) -> dict[str, int]:
        """The processes of those that run."""
        return {name: record.process.pid for name, record in haproxy.recorded(self.folder).items()
                if record.process is not None and record.is_running()}

    def accepts(self, name: str) -> bool:
        """Whether somebody listens at its port."""
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.ports[name])) == 0


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, ("lb1", "lb2"))
    yield made
    for name in made.ports:
        haproxy.end(made.folder, name)
    assert haproxy.processes(tmp_path) == []


def test_only_what_changed_is_restarted(bench: Bench) -> None:
    first = bench.deploy("lb1", "lb2")
    assert (first.start, first.restart, first.unchanged) == (["lb1", "lb2"], [], [])
    assert bench.accepts("lb1")
    assert bench.accepts("lb2")
    before = bench.pids()
    again = bench.deploy("lb1", "lb2")
    assert (again.changed, again.unchanged) == (False, ["lb1", "lb2"])
    bench.render("lb2", "    retries 1")
    changed = bench.deploy("lb1", "lb2")
    assert (changed.restart, changed.unchanged) == (["lb2"], ["lb1"])
    after = bench.pids()
    assert after["lb1"] == before["lb1"]
    assert after["lb2"] != before["lb2"]
    assert bench.accepts("lb2")


def test_one_that_died_is_started_again(bench: Bench) -> None:
    bench.deploy("lb1")
    haproxy.end(bench.folder, "lb1")
    assert not bench.accepts("lb1")
    assert bench.deploy("lb1").start == ["lb1"]
    assert bench.accepts("lb1")


def test_one_that_no_record_knows_makes_room(bench: Bench) -> None:
    bench.deploy("lb1")
    (haproxy.run_dir(bench.folder, "lb1") / "load_balancer.json").unlink()
    assert bench.deploy("lb1").start == ["lb1"]
    assert len(haproxy.processes(bench.folder.path)) == 1


def test_one_that_is_in_the_inventory_no_more_is_stopped(bench: Bench) -> None:
    bench.deploy("lb1", "lb2")
    assert bench.deploy("lb1").stop == ["lb2"]
    assert not bench.accepts("lb2")
    assert bench.deploy().stop == ["lb1"]
    assert not (bench.folder.path / ".load_balancers").exists()


def test_a_taken_port_is_told_and_nothing_is_started(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", bench.ports["lb2"])):
        with pytest.raises(DriverError) as error:
            bench.deploy("lb1", "lb2")
        assert re.fullmatch(
            rf"lb2: 127\.0\.0\.1:{bench.ports['lb2']} is already in use by pid \d+ \(.*",
            str(error.value))
    assert not bench.accepts("lb1")


def test_another_checkouts_haproxy_keeps_its_port(bench: Bench, tmp_path: Path) -> None:
    """HAProxy would share a port with another HAProxy of the same user."""
    other = Bench(tmp_path / "other", ("lb1",))
    other.ports = {"lb1": bench.ports["lb1"]}
    other.render("lb1")
    try:
        other.deploy("lb1")
        with pytest.raises(DriverError, match=r"is already in use by pid \d+ \(haproxy\), working"):
            bench.deploy("lb1")
    finally:
        haproxy.end(other.folder, "lb1")


def test_a_configuration_that_haproxy_refuses_is_told_and_the_running_one_goes_on(
        bench: Bench) -> None:
    bench.deploy("lb1")
    before = bench.pids()
    bench.render("lb1", "    balance surce")
    with pytest.raises(DriverError) as error:
        bench.deploy("lb1")
    path = bench.configs / "lb1" / "haproxy.cfg"
    assert re.fullmatch(
        rf"lb1: haproxy refuses {path}: parsing \[{path}:\d+\] ?: .*balance.*", str(error.value))
    assert bench.pids() == before


def test_one_that_ends_at_once_takes_the_others_of_its_run_along(bench: Bench) -> None:
    # A bind that no check of the configuration tries.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bench.render("lb2", f"listen again\n    bind 127.0.0.1:{taken.getsockname()[1]}\n"
                            "    server nobody 127.0.0.1:1\n")
        with pytest.raises(DriverError, match=r"^lb2: haproxy ended at once: .*cannot bind socket"):
            bench.deploy("lb1", "lb2")
    assert bench.pids() == {}
    assert not bench.accepts("lb1")


def test_haproxy_that_is_not_installed_is_told(bench: Bench, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haproxy, "_PATH", str(tmp_path))
    with pytest.raises(DriverError) as error:
        bench.deploy("lb1")
    assert str(error.value) == (
        "haproxy was not found: the load balancers of this inventory need it (apt-get install "
        "haproxy)")


def test_what_is_not_rendered_yet_is_no_error_in_a_plan(bench: Bench) -> None:
    (bench.configs / "lb1" / "haproxy.cfg").unlink()
    assert bench.balancers("lb1").plan(may_be_unrendered=True).start == ["lb1"]
    with pytest.raises(DriverError, match="cannot be read"):
        bench.balancers("lb1").plan()


def test_a_plan_does_not_read_what_is_going_to_be_rendered_anew(bench: Bench) -> None:
    bench.deploy("lb1")
    assert bench.balancers("lb1").plan(may_be_unrendered=True).unchanged == ["lb1"]
    again = bench.balancers("lb1").plan(may_be_unrendered=True, to_render=["lb1"])
    assert (again.restart, again.unchanged) == (["lb1"], [])


# -- through the playbooks ------------------------------------------------------------------------

@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One node and one load balancer, to be deployed by the tests in their order."""
    folder = tmp_path_factory.mktemp("balanced")
    ports = free_ports(2)
    made = Cluster("test-balanced", ports, folder / "hosts.yml", folder / "reports")
    write(made, {})
    yield made
    gone = made.play("playbooks/destroy.yml")
    assert gone.code == 0, gone.output
    assert made.pids() == set()


def write(cluster: Cluster, balancer: dict[str, Any] | None) -> None:
    """Write the inventory; None: without a load balancer."""
    children: dict[str, Any] = {"emqx": {
        "hosts": {"emqx1": {"emqx_tls_port": cluster.ports[0]}},
        "vars": {"ansible_connection": "local", "ansible_host": "127.0.0.1",
                 "emqx_driver": "embedded", "emqx_cluster_name": cluster.name}}}
    if balancer is not None:
        children["load_balancer"] = {"hosts": {"lb1": {
            "emqx_tls_port": cluster.ports[1], **balancer}}}
    cluster.inventory.write_text(yaml.safe_dump({"all": {"children": children}}))


def recap(output: str) -> dict[str, int]:
    """Return ansible's counts for the one node."""
    (line,) = re.findall(r"^emqx1 +: (.*)$", output, re.MULTILINE)
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", line)}


def test_check_mode_starts_nothing_and_shows_the_configuration(balanced: Cluster) -> None:
    done = balanced.play("playbooks/deploy.yml", "--check", "--diff")
    assert done.code == 0, done.output
    assert f"+    bind 127.0.0.1:{balanced.ports[1]}" in done.output
    assert "+lb1: running" in done.output
    assert balanced.pids() == set()


def test_a_load_balancer_that_cannot_start_lets_no_node_start(balanced: Cluster) -> None:
    with socket.create_server(("127.0.0.1", balanced.ports[1])):
        done = balanced.play("playbooks/deploy.yml")
        assert done.code == 2, done.output
        assert f"lb1: 127.0.0.1:{balanced.ports[1]} is already in use by pid" in done.flat
        assert len(balanced.pids()) == 1  # ours
    assert balanced.pids() == set()


def test_one_that_fails_late_takes_the_node_along(balanced: Cluster) -> None:
    template = balanced.inventory.parent / "late.cfg.j2"
    source = (ROOT / "templates/haproxy.cfg.j2").read_text()
    template.write_text(source + f"    bind 127.0.0.1:{balanced.ports[0]}\n")
    write(balanced, {"emqx_lb_template": str(template)})
    done = balanced.play("playbooks/deploy.yml")
    assert done.code == 2, done.output
    assert "lb1: haproxy ended at once:" in done.flat
    assert balanced.pids() == set()
    write(balanced, {})


def test_a_second_deploy_changes_nothing(balanced: Cluster) -> None:
    done = balanced.play("playbooks/deploy.yml")
    assert done.code == 0, done.output
    before = balanced.pids()
    assert len(before) == 2
    again = balanced.play("playbooks/deploy.yml")
    assert again.code == 0, again.output
    assert recap(again.output)["changed"] == 0
    assert balanced.pids() == before


def test_check_mode_tells_what_another_configuration_would_restart(balanced: Cluster) -> None:
    done = balanced.play("playbooks/deploy.yml", "--check", "--diff", "-e",
                         "emqx_lb_balance=leastconn")
    assert done.code == 0, done.output
    assert "+lb1: running, started anew" in done.output


def test_another_mode_restarts_it_and_not_the_node(balanced: Cluster) -> None:
    before = balanced.pids()
    write(balanced, {"emqx_lb_balance": "session_id"})
    done = balanced.play("playbooks/deploy.yml", "--diff")
    assert done.code == 0, done.output
    assert "+lb1: running, started anew" in done.output
    assert len(balanced.pids() & before) == 1
    assert len(balanced.pids()) == 2


def test_without_it_in_the_inventory_it_goes(balanced: Cluster) -> None:
    write(balanced, None)
    done = balanced.play("playbooks/deploy.yml")
    assert done.code == 0, done.output
    assert len(balanced.pids()) == 1
    write(balanced, {})
    assert balanced.play("playbooks/deploy.yml").code == 0
    assert len(balanced.pids()) == 2


def test_a_configuration_for_a_load_balancer_elsewhere(balanced: Cluster, tmp_path: Path) -> None:
    """Rendered alone, for nodes that somebody else runs."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"children": {
        "emqx": {"hosts": {"a.example": {}, "b.example": {}},
                 "vars": {"emqx_driver": "external", "emqx_cluster_name": "elsewhere",
                          "emqx_config_dir": str(tmp_path / "config")}},
        "load_balancer": {"hosts": {"lb.example": {
            "emqx_tls_host": "192.0.2.1", "emqx_lb_balance": "session_id",
            "emqx_lb_proxy_protocol": True}}}}}}))
    playbook = tmp_path / "render.yml"
    playbook.write_text(yaml.safe_dump([
        {"import_playbook": str(ROOT / "playbooks" / "check_inventory.yml")},
        {"hosts": "emqx", "gather_facts": False, "tasks": [{"import_role": {
            "name": "load_balancer"}, "vars": {"load_balancer_state": "rendered"}}]}]))
    done = Cluster("elsewhere", [], inventory, tmp_path / "reports").play(str(playbook))
    assert done.code == 0, done.output
    text = (tmp_path / "config/elsewhere/lb.example/haproxy.cfg").read_text()
    assert "bind 192.0.2.1:8883" in text
    assert "server a.example a.example:8883 send-proxy-v2\n" in text
    assert "stick store-response res.payload_lv(43,1)" in text
