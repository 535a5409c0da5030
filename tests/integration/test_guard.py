"""The guard, through ansible-playbook: one clear sentence, exit 2, nothing touched."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.playbooks import Cluster, Done

HIDDEN = "correct-horse-battery"
NODES = {"emqx1": {"emqx_tls_port": 28883}, "emqx2": {"emqx_tls_port": 28884}}


def inventory(folder: Path, nodes: dict[str, Any] | None, group: dict[str, Any] | None = None,
              others: dict[str, Any] | None = None) -> Cluster:
    """Write an inventory by hand: the cluster is never started."""
    children = {} if nodes is None else {"emqx": {
        "hosts": nodes, "vars": {"ansible_host": "127.0.0.1", "emqx_cluster_name": "guarded",
                                 "emqx_certs_dir": str(folder / "certs"),
                                 "emqx_config_dir": str(folder / "config"),
                                 "emqx_state_dir": str(folder / "state"), **(group or {})}}}
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"hosts": others or {}, "children": children}}))
    return Cluster("guarded", [28883, 28884], path, folder / "reports")


def refused(cluster: Cluster, *extra: str, playbook: str = "playbooks/deploy.yml") -> Done:
    """Run a playbook that must be refused with nothing written."""
    done = cluster.play(playbook, *extra)
    assert done.code == 2, done.output
    assert sorted(path.name for path in cluster.inventory.parent.iterdir()) == ["hosts.yml"]
    assert done.output.count("[ERROR]") == 1, done.output
    return done


def sentence(done: Done) -> str:
    """Return what stands behind ansible's [ERROR], up to where it shows the task."""
    error = done.output.partition("[ERROR]: Task failed: Action failed: ")[2]
    return error.partition("\nOrigin:")[0]


@pytest.mark.parametrize("playbook", ["playbooks/deploy.yml", "verify.yml"])
def test_a_group_that_is_missing(tmp_path: Path, playbook: str) -> None:
    done = refused(inventory(tmp_path, None, others={"web1": {}}), playbook=playbook)
    assert sentence(done) == ("The inventory has no group emqx: put one host a node into it, as "
                              "inventory/local does.")


def test_a_group_that_is_empty_without_any_host(tmp_path: Path) -> None:
    assert sentence(refused(inventory(tmp_path, {}))) == (
        "The group emqx is empty: put one host a node into it, as inventory/local does.")


@pytest.mark.parametrize("limit", ["web1", "all", "localhost,web1"])
def test_a_group_that_is_empty_under_limit(tmp_path: Path, limit: str) -> None:
    done = refused(inventory(tmp_path, {}, others={"web1": {}}), "--limit", limit)
    assert sentence(done) == (
        "The group emqx is empty: put one host a node into it, as inventory/local does.")


@pytest.mark.parametrize("playbook", ["playbooks/deploy.yml", "verify.yml"])
def test_limit_that_leaves_no_node(tmp_path: Path, playbook: str) -> None:
    done = refused(inventory(tmp_path, NODES, others={"web1": {}}), "--limit", "web1",
                   playbook=playbook)
    assert sentence(done) == (
        "--limit leaves no host of the group emqx, which has emqx1, emqx2: limit to one of them "
        "or leave --limit out.")


def test_limit_that_leaves_nothing_is_refused_by_ansible_itself(tmp_path: Path) -> None:
    done = inventory(tmp_path, NODES).play("playbooks/deploy.yml", "--limit", "nobody")
    assert done.code == 1
    assert "leaves us with no hosts to target" in done.output


def test_limit_that_leaves_one_node(tmp_path: Path) -> None:
    done = inventory(tmp_path, NODES).play("playbooks/check_inventory.yml", "--limit", "emqx2")
    assert done.code == 0, done.output
    assert "ok: [emqx2]" in done.output


def test_misspelt_names_and_a_wrong_type_are_all_told_at_once(tmp_path: Path) -> None:
    done = refused(inventory(tmp_path, NODES, {"emqx_session_lifetme": 300}),
                   "-e", "resumption_max_impct=safe", "-e", "emqx_session_lifetime=soon")
    assert sentence(done).splitlines() == [
        ("emqx_session_lifetme (set for emqx1, emqx2) is no variable of this project; did you mean "
         '"emqx_session_lifetime"?'),
        ("resumption_max_impct (given with -e) is no variable of this project; did you mean "
         '"resumption_max_impact"?'),
        "emqx_session_lifetime (given with -e) must be an integer of 1 or more, not 'soon'."]


def test_an_expression_that_cannot_be_evaluated(tmp_path: Path) -> None:
    done = refused(inventory(tmp_path, NODES, {"emqx_session_lifetime": "{{ nowhere }}"}))
    assert sentence(done).startswith("emqx_session_lifetime of emqx1 cannot be evaluated: ")
    assert "'nowhere' is undefined" in sentence(done)


def test_an_unknown_tls_option_and_one_that_is_evaluated_and_wrong(tmp_path: Path) -> None:
    done = refused(inventory(tmp_path, NODES, {
        "my_depth": -1,
        "emqx_listeners": {"ssl": {"default": {"ssl_options": {
            "verfy": "verify_peer", "depth": "{{ my_depth }}"}}}}}))
    assert sorted(sentence(done).splitlines()) == [
        "listeners.ssl.default.ssl_options.depth: must be an integer of 0 or more, not -1.",
        ('listeners.ssl.default.ssl_options.verfy: unknown to EMQX 5.8.9; did you mean "verify"?')]


def test_a_host_that_cannot_be_reached_is_not_connected_to(tmp_path: Path) -> None:
    nodes = {"emqx1": {"ansible_host": "192.0.2.1", "ansible_connection": "ssh"}}
    done = inventory(tmp_path, nodes, {"emqx_driver": "external"}).play(
        "playbooks/check_inventory.yml")
    assert done.code == 0, done.output


def test_variables_registered_by_the_roles_do_not_look_misspelt(tmp_path: Path) -> None:
    """site.yml checks twice, the second time with everything that deploying has registered."""
    playbook = tmp_path / "twice.yml"
    root = Path(__file__).parents[2]
    playbook.write_text(yaml.safe_dump([
        {"hosts": "emqx", "gather_facts": False, "tasks": [
            {"ansible.builtin.command": "true", "register": "emqx_cluster_result",
             "delegate_to": "localhost", "run_once": True}]},
        {"ansible.builtin.import_playbook": str(root / "playbooks/check_inventory.yml")}]))
    done = inventory(tmp_path, NODES).play(str(playbook))
    assert done.code == 0, done.output


@pytest.mark.parametrize("extra", [(), ("-e", "emqx_session_lifetime=soon")])
def test_secrets_do_not_show_even_with_vvv(tmp_path: Path, extra: tuple[str, ...]) -> None:
    done = inventory(tmp_path, NODES, {
        "emqx_license": HIDDEN, "resumption_mqtt_password": HIDDEN}).play(
        "playbooks/check_inventory.yml", "-vvv", *extra)
    assert done.code == (2 if extra else 0), done.output
    assert HIDDEN not in done.output


def test_a_broken_inventory_can_be_destroyed(tmp_path: Path) -> None:
    broken = inventory(tmp_path, NODES, {"emqx_drivr": 1, "emqx_session_lifetime": "{{ nowhere }}"})
    done = broken.play("playbooks/destroy.yml")
    assert done.code == 0, done.output
    assert "changed=0" in done.output


def test_everything_can_be_destroyed_without_any_inventory(tmp_path: Path) -> None:
    nothing = Cluster("", [], Path("localhost,"), tmp_path / "reports")
    done = nothing.play("playbooks/destroy.yml", "-e", "emqx_destroy_scope=all",
                        "-e", f"emqx_state_dir={tmp_path / 'state'}")
    assert done.code == 0, done.output
