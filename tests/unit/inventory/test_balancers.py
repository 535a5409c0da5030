"""Hosts of the group load_balancer: what they are given, and every refusal in its own words."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.contract.check import check
from ansible_collections.emqx.conformance.plugins.module_utils.contract.values import (
    Inventory,
    InventoryError,
)

from tests.support.contract import CONTRACT

PROXIED = {"ssl": {"proxied": {"bind": 9883, "proxy_protocol": True}}}


def checked(balancers: Mapping[str, Mapping[str, Any]], group: Mapping[str, Any] | None = None, *,
            selected: set[str] | None = None, addresses: Mapping[str, str] | None = None,
            root: Path = Path("/checkout")) -> dict[str, Any]:
    """Check an inventory of two nodes and these load balancers."""
    nodes = {"emqx1": {"emqx_tls_port": 8883}, "emqx2": {"emqx_tls_port": 8884}}
    variables = {host: {**(group or {}), **own} for host, own in nodes.items()}
    return check(
        Inventory(variables={**variables, **balancers},
                  addresses={**dict.fromkeys(nodes, "127.0.0.1"), **(addresses or {})},
                  members=tuple(nodes),
                  selected=frozenset(selected or {*nodes, *balancers}), given=frozenset(),
                  root=root, balancers=tuple(balancers)),
        CONTRACT, frozenset(CONTRACT))


def refusal(*arguments: Any, **more: Any) -> str:
    """Return the one sentence with which the inventory is refused."""
    with pytest.raises(InventoryError) as caught:
        checked(*arguments, **more)
    (sentence,) = caught.value.problems
    return sentence


def test_defaults() -> None:
    assert checked({"lb1": {"emqx_tls_port": 8890}})["load_balancers"] == [{
        "name": "lb1", "host": "127.0.0.1", "port": 8890, "server_name": "127.0.0.1",
        "affinity": None, "balance": "roundrobin", "template": "", "servers": [
            {"name": "emqx1", "host": "127.0.0.1", "port": 8883, "proxy_protocol": False},
            {"name": "emqx2", "host": "127.0.0.1", "port": 8884, "proxy_protocol": False}]}]


def test_no_group_is_no_load_balancer() -> None:
    result = checked({})
    assert (result["load_balancers"], result["all_load_balancers"]) == ([], [])


@pytest.mark.parametrize("balancers", [{}, {"lb1": {"emqx_tls_port": 8890}}])
def test_what_only_load_balancers_have_is_not_ignored_elsewhere(
        balancers: Mapping[str, Mapping[str, Any]]) -> None:
    assert refusal(balancers, {"resumption_lb_affinity": "source"}) == (
        "resumption_lb_affinity (set for emqx1, emqx2) has an effect on hosts of the group "
        "load_balancer only: put what is in front of the nodes there, as inventory/load-balanced "
        "does.")


def test_what_is_said_for_all_hosts_is_said_for_load_balancers() -> None:
    said = {"resumption_lb_affinity": "source"}
    assert checked({"lb1": {"emqx_tls_port": 8890, **said}}, said)["load_balancers"][0][
        "affinity"] == "source"


def test_what_is_said_is_kept() -> None:
    result = checked({"lb1": {
        "emqx_tls_host": "127.0.0.9", "emqx_tls_port": "8890",
        "emqx_tls_server_name": "mqtt.example", "emqx_lb_balance": "session_id",
        "resumption_lb_affinity": "session_id"}})
    (balancer,) = result["load_balancers"]
    assert (balancer["host"], balancer["port"], balancer["server_name"], balancer["balance"],
            balancer["affinity"]) == ("127.0.0.9", 8890, "mqtt.example", "session_id", "session_id")


def test_an_external_one_is_where_its_name_leads() -> None:
    (balancer,) = checked({"mqtt.example.com": {}}, {"emqx_driver": "external"})["load_balancers"]
    assert (balancer["host"], balancer["port"]) == ("mqtt.example.com", 8883)
    assert [server["port"] for server in balancer["servers"]] == [8883, 8884]


def test_limit_leaves_some() -> None:
    result = checked({"lb1": {"emqx_tls_port": 8890}, "lb2": {"emqx_tls_port": 8891}},
                     selected={"emqx1", "emqx2", "lb2"})
    assert [balancer["name"] for balancer in result["load_balancers"]] == ["lb2"]
    assert result["all_load_balancers"] == ["lb1", "lb2"]


def test_proxy_protocol_is_what_the_listener_expects() -> None:
    result = checked(
        {"lb1": {"emqx_tls_port": 8890, "emqx_lb_listener": "proxied"},
         "lb2": {"emqx_tls_port": 8891}}, {"emqx_listeners": PROXIED})
    assert [[(server["port"], server["proxy_protocol"]) for server in balancer["servers"]]
            for balancer in result["load_balancers"]] == [
        [(9883, True), (9883, True)], [(8883, False), (8884, False)]]
    assert result["listener_warnings"] == []


@pytest.mark.parametrize(("listener", "said", "expected"), [
    ("proxied", False, "true"), ("default", True, "false")])
def test_a_load_balancer_that_nobody_gets_through_is_warned_of(
        listener: str, said: bool, expected: str) -> None:
    result = checked({"lb1": {"emqx_tls_port": 8890, "emqx_lb_listener": listener,
                              "emqx_lb_proxy_protocol": said}}, {"emqx_listeners": PROXIED})
    assert result["listener_warnings"] == [
        f"emqx_lb_proxy_protocol of lb1 is {str(said).lower()}, but "
        f"listeners.ssl.{listener}.proxy_protocol of {node} is {expected}: no client will get "
        "through" for node in ("emqx1", "emqx2")]
    assert {server["proxy_protocol"] for server in result["load_balancers"][0]["servers"]} == {said}


def test_ports_of_containers_are_those_of_this_machine() -> None:
    result = checked({"lb1": {"emqx_tls_port": 8890}, "lb2": {"emqx_tls_port": 8891,
                                                              "emqx_lb_listener": "proxied"}},
                     {"emqx_driver": "docker", "emqx_listeners": PROXIED})
    assert [[server["port"] for server in balancer["servers"]]
            for balancer in result["load_balancers"]] == [[8883, 8884], [9883, 9883]]


@pytest.mark.parametrize(("own", "sentence"), [
    ({"emqx_lb_balance": "random"},
     ("emqx_lb_balance (set for lb1) must be one of roundrobin, leastconn, source, session_id, "
      "not 'random'.")),
    ({"resumption_lb_affinity": "sticky"},
     ("resumption_lb_affinity (set for lb1) must be one of session_id, source, none, "
      "not 'sticky'.")),
    ({"emqx_lb_blance": "source"},
     ('emqx_lb_blance (set for lb1) is no variable of this project; did you mean '
      '"emqx_lb_balance"?')),
    ({"emqx_lb_listener": "defualt"},
     ('emqx_lb_listener of lb1 is "defualt", but emqx1 has no enabled ssl listener of that name; '
      'did you mean "default"?')),
    ({"emqx_lb_template": "my.cfg.j2"},
     "emqx_lb_template of lb1 names the file /checkout/my.cfg.j2, which does not exist."),
    ({"emqx_tls_port": 8884},
     ("emqx2 and lb1 have the same address 127.0.0.1:8884: give each its own emqx_tls_port or "
      "emqx_tls_host.")),
    ({"emqx_tls_port": 0},
     "emqx_tls_port (set for lb1) must be an integer from 1 to 65535, not 0."),
])
def test_refused(own: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InventoryError) as caught:
        checked({"lb1": {"emqx_tls_port": 8890, **own}})
    assert caught.value.problems[0] == sentence


def test_a_node_is_no_load_balancer() -> None:
    with pytest.raises(InventoryError) as caught:
        checked({"emqx1": {"emqx_tls_port": 8883}})
    assert caught.value.problems[0] == (
        "emqx1 cannot be in both groups, emqx and load_balancer: a load balancer has a host of its "
        "own in the inventory.")


@pytest.mark.parametrize("driver", ["embedded", "docker"])
def test_nodes_are_not_probed_where_only_load_balancers_are_answered(driver: str) -> None:
    with pytest.raises(InventoryError) as caught:
        checked({}, {"emqx_driver": driver,
                     "emqx_listeners": {"ssl": {"default": {"proxy_protocol": True}}}})
    assert caught.value.problems[0] == (
        "listeners.ssl.default of emqx1 has proxy_protocol = true and answers nobody who comes "
        "without a load balancer, but it is at emqx_tls_port 8883, where the node itself is "
        "probed: give the node a second ssl listener without proxy_protocol for that, as "
        "inventory/load-balanced does.")
