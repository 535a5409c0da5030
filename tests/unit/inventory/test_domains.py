"""Trust domains of the inventory: read whole, or refused in one sentence."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.contract.values import InventoryError

from tests.unit.inventory.test_inventory import PEM, checked, refusal

DEMANDS = {"verify": "verify_peer", "fail_if_no_peer_cert": True,
           "cacertfile": "/checkout/certs/domain1-ca.pem"}
LISTENERS = {"ssl": {"domain1": {"bind": "127.0.0.1:9001", "ssl_options": DEMANDS},
                     "domain2": {"bind": 9002, "ssl_options": DEMANDS}}}
FILES = {"client_cert": "certs/domain1-client-cert.pem",
         "client_key": "certs/domain1-client-key.pem"}
DOMAIN = {"name": "domain1", "port": 9001, **FILES}
GENERATED = {"emqx_certificate_domains": ["domain1", "domain2"]}
ONE: dict[str, dict[str, Any]] = {"emqx1": {"emqx_tls_port": 8883, "emqx_listeners": LISTENERS}}


def group(*domains: Any) -> dict[str, Any]:
    return {**GENERATED, "resumption_trust_domains": list(domains)}


def test_there_are_none_unless_they_are_named() -> None:
    assert checked()["trust_domains"] == []


def test_a_domain_is_read_with_absolute_paths_and_belongs_to_its_node() -> None:
    hosts: dict[str, dict[str, Any]] = {"emqx1": dict(ONE["emqx1"]),
                                        "emqx2": {"emqx_tls_port": 8884}}
    result = checked(GENERATED, hosts={
        host: {**own, **({"resumption_trust_domains": [{
            **DOMAIN, "port": "9001", "ca_cert": "certs/domain1-ca.pem",
            "ca_key": "certs/domain1-ca-key.pem"}]} if host == "emqx1" else {})}
        for host, own in hosts.items()})
    assert result["trust_domains"] == [{
        "node": "emqx1", "name": "domain1", "port": 9001,
        "client_cert": "/checkout/certs/domain1-client-cert.pem",
        "client_key": "/checkout/certs/domain1-client-key.pem",
        "ca_cert": "/checkout/certs/domain1-ca.pem",
        "ca_key": "/checkout/certs/domain1-ca-key.pem"}]
    hosts["emqx1"]["resumption_trust_domains"] = [DOMAIN]
    assert checked(GENERATED, hosts=hosts, selected={"emqx2"})["trust_domains"] == []


@pytest.mark.parametrize(("domains", "sentence"), [
    ([{**DOMAIN, "prot": 1}],
     'domain 1 has the unknown key "prot"; did you mean "port"?'),
    ([{"name": "domain1", "port": 9001}], "domain 1 has no client_cert."),
    ([{**DOMAIN, "port": 0}],
     "domain 1 has a port that must be an integer from 1 to 65535, not 0."),
    ([{**DOMAIN, "client_key": PEM}],
     ("domain 1 has a client_key that must be the path of a file, and not the PEM text that is in "
      "it.")),
    ([{**DOMAIN, "client_cert": 7}], "domain 1 has a client_cert that must be a string."),
    ([{**DOMAIN, "ca_key": "certs/domain1-ca-key.pem"}],
     "domain 1 has a ca_key and no ca_cert: they go together."),
    ([DOMAIN, {**DOMAIN, "port": 9002}], "two domains are called domain1."),
    ([DOMAIN, {**DOMAIN, "name": "domain2"}],
     "domain1 and domain2 have the same port 9001: give each domain its own listener."),
    ([{**DOMAIN, "port": 9003}],
     ("no enabled ssl listener is bound to the port 9003 of domain1 (they are at 8883, 9001, "
      "9002).")),
    ([{**DOMAIN, "port": 8883}],
     ("the port of domain1 is 8883, the node's own emqx_tls_port: a domain has a listener of its "
      "own.")),
    ([{**DOMAIN, "client_cert": "missing.pem"}],
     ("client_cert of domain1 names the file /checkout/missing.pem, which does not exist.")),
    ([{**DOMAIN, "client_cert": "certs/domain9-client-cert.pem"}],
     ("client_cert of domain1 names the file /checkout/certs/domain9-client-cert.pem, which does "
      "not exist.")),
])
def test_refusals(domains: list[dict[str, Any]], sentence: str) -> None:
    with pytest.raises(InventoryError) as caught:
        checked(group(*domains), hosts=ONE)
    # What has no certificate has no key either.
    assert caught.value.problems[0] == f"resumption_trust_domains of emqx1: {sentence}"


def test_a_listener_that_demands_no_certificate_is_no_domain() -> None:
    hosts = {"emqx1": {"emqx_tls_port": 8883, "emqx_listeners": {
        "ssl": {"domain1": {"bind": 9001, "ssl_options": {"verify": "verify_peer"}}}}}}
    assert refusal(group(DOMAIN), hosts=hosts) == (
        "resumption_trust_domains of emqx1: the listener at the port 9001 of domain1 demands no "
        "client certificate: set verify: verify_peer and fail_if_no_peer_cert: true in its "
        "ssl_options.")


@pytest.mark.parametrize(("driver", "cacertfile"), [
    ("embedded", DEMANDS["cacertfile"]), ("docker", "certs/domain1-ca.pem")])
def test_a_domain_is_not_probed_where_only_load_balancers_are_answered(
        driver: str, cacertfile: str) -> None:
    hosts = {"emqx1": {"emqx_tls_port": 8883, "emqx_listeners": {"ssl": {"domain1": {
        "bind": 9001, "proxy_protocol": True,
        "ssl_options": {**DEMANDS, "cacertfile": cacertfile}}}}}}
    with pytest.raises(InventoryError) as caught:
        checked({**group(DOMAIN), "emqx_driver": driver}, hosts=hosts, addresses={})
    assert caught.value.problems[0] == (
        "resumption_trust_domains of emqx1: the listener at the port 9001 of domain1 has "
        "proxy_protocol = true and answers nobody who comes without a load balancer, as the probe "
        "does: leave it out there.")


def test_containers_are_asked_at_the_ports_they_are_reached_at() -> None:
    listeners = {"ssl": {"domain1": {"bind": 9001, "ssl_options": {
        **DEMANDS, "cacertfile": "certs/domain1-ca.pem"}}}}
    hosts = {"emqx1": {"emqx_tls_port": 18883, "emqx_listeners": listeners}}
    docker = {"emqx_driver": "docker", "emqx_image": "x:1"}
    assert checked({**group(DOMAIN), **docker}, hosts=hosts, addresses={})[
        "trust_domains"][0]["port"] == 9001
    assert "the node's own emqx_tls_port" in refusal(
        {**group({**DOMAIN, "port": 18883}), **docker}, hosts=hosts, addresses={})


def test_listeners_of_somebody_elses_nodes_are_taken_as_they_are(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).touch()
    external = {"emqx_driver": "external"}
    domain = {"name": "plant", "port": 8884, "client_cert": "cert.pem", "client_key": "key.pem"}
    result = checked({**external, "resumption_trust_domains": [domain]},
                     hosts={"emqx1": {"emqx_tls_port": 8883}}, root=tmp_path)
    assert result["trust_domains"] == [{
        **domain, "node": "emqx1", "client_cert": f"{tmp_path}/cert.pem",
        "client_key": f"{tmp_path}/key.pem", "ca_cert": None, "ca_key": None}]
    assert "does not exist" in refusal(
        {**external, "resumption_trust_domains": [{**domain, "client_key": "no.pem"}]},
        hosts={"emqx1": {"emqx_tls_port": 8883}}, root=tmp_path)


def test_a_domain_that_cannot_begin_a_file_name() -> None:
    assert refusal({"emqx_certificate_domains": ["../x"]}) == (
        'emqx_certificate_domains (set for emqx1, emqx2) has "../x": use letters, digits, _ and - '
        "only.")
