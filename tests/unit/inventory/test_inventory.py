"""The inventory contract: defaults, and every refusal in its own words."""
from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.emqx.conformance.plugins.module_utils.contract import releases
from ansible_collections.emqx.conformance.plugins.module_utils.contract.check import check
from ansible_collections.emqx.conformance.plugins.module_utils.contract.values import (
    Inventory,
    InventoryError,
)

from tests.support.contract import CONTRACT
from tests.support.openssl_cli import make_identity

ROOT = Path(__file__).parents[3]
HIDDEN = "correct horse"
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n"


def checked(group: Mapping[str, Any] | None = None, *, hosts: Mapping[str, Any] | None = None,
            selected: set[str] | None = None, given: set[str] | None = None,
            root: Path = Path("/checkout"), others: Mapping[str, Any] | None = None,
            addresses: Mapping[str, str] | None = None,
            vantage: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Check an inventory of two nodes unless told otherwise."""
    per_host = hosts if hosts is not None else {
        "emqx1": {"emqx_tls_port": 8883}, "emqx2": {"emqx_tls_port": 8884}}
    variables = {host: {**(group or {}), **own} for host, own in per_host.items()}
    return check(
        Inventory(variables={**variables, **(others or {})},
                  addresses=addresses if addresses is not None else dict.fromkeys(
                      per_host, "127.0.0.1"),
                  members=tuple(per_host), selected=frozenset(selected or per_host),
                  given=frozenset(given or ()), root=root, vantage=vantage or {}),
        CONTRACT, frozenset(CONTRACT) | {"emqx_cluster_timeout"})


def refusal(group: Mapping[str, Any] | None = None, **more: Any) -> str:
    """Return the one sentence with which the inventory is refused."""
    with pytest.raises(InventoryError) as caught:
        checked(group, **more)
    (sentence,) = caught.value.problems
    return sentence


def test_defaults_of_an_embedded_cluster() -> None:
    result = checked()
    assert result["settings"] == {
        "cluster_name": "emqx", "driver": "embedded",
        "container_memory": "1g", "container_cpus": 1.0,
        "release": "5.8.9", "next_release": None,
        "licensed": False, "base_port": None, "node_count": None,
        "destroy_scope": "cluster",
        "session_lifetime": 86400, "session_cache_max": 1000, "certificate_key_type": "rsa",
        "certificate_domains": [],
        "certs_dir": "/checkout/certs", "config_dir": "/checkout/config",
        "state_dir": "/checkout/.cluster", "reports_dir": "/checkout/reports",
        "compare": None,
        "ca": "/checkout/certs/ca.pem", "client_cert": None, "client_key": None,
        "cache_scope": "node", "tls_versions": ["tlsv1.2"], "max_impact": "noisy",
        "rate_limit": 0.0, "timeout": 5.0, "max_wait": 30,
        "fleet_devices": 100000, "fleet_minutes": 60,
        "strict": False, "checks": [], "skip_checks": {}, "client_stacks": [], "waivers": [],
        "foreign_variables": [],
        "known_deviations": [], "otp_releases": {}, "zones": {}, "pairs_per_node": None,
        "mqtt_username": None, "mqtt_version": "auto", "mqtt_client_id_prefix": "tlsresumption",
        "mqtt_topic": "tls-resumption"}
    assert result["nodes"] == result["all_nodes"] == [
        {"name": "emqx1", "host": "127.0.0.1", "port": 8883, "server_name": "127.0.0.1"},
        {"name": "emqx2", "host": "127.0.0.1", "port": 8884, "server_name": "127.0.0.1"}]
    assert result["rendering"]["emqx2"] == {
        "listeners": {
            "ssl": {"default": {"enable": True, "bind": "127.0.0.1:8884", "ssl_options": {
                "versions": ["tlsv1.2"], "verify": "verify_none", "reuse_sessions": True,
                "cacertfile": "/checkout/certs/ca.pem",
                "certfile": "/checkout/certs/server-cert.pem",
                "keyfile": "/checkout/certs/server-key.pem"}}},
            **{other: {"default": {"enable": False}} for other in ("tcp", "ws", "wss")}},
        "node_name": "emqx2@127.0.0.1",
        "listeners_file": "/checkout/config/emqx/emqx2/listeners.hocon"}
    assert result["own_certificates"] == result["listener_warnings"] == []


def test_external_nodes_are_treated_gently_and_nothing_is_rendered() -> None:
    result = checked({"emqx_driver": "external"})
    settings = result["settings"]
    assert (settings["max_impact"], settings["rate_limit"], settings["ca"]) == ("safe", 50.0, "")
    assert (settings["release"], settings["tls_versions"], result["rendering"]) == (None, [], {})


def test_what_external_nodes_remember_is_what_somebody_declares_or_nothing() -> None:
    remembered = ("session_lifetime", "session_cache_max")
    settings = checked({"emqx_driver": "external"})["settings"]
    assert [settings[name] for name in remembered] == [None, None]
    settings = checked({"emqx_driver": "external", "emqx_session_lifetime": 300,
                        "emqx_session_cache_max": 1000})["settings"]
    assert [settings[name] for name in remembered] == [300, 1000]


def test_listeners_of_external_nodes_have_no_effect_and_that_is_said() -> None:
    result = checked({"emqx_driver": "external", "emqx_listeners": {"ssl": {}}})
    assert result["listener_warnings"] == [
        "emqx_listeners has no effect with emqx_driver external: nothing is rendered"]


def test_the_host_comes_from_the_variable_then_ansible_host_then_the_name() -> None:
    result = checked(
        {"emqx_driver": "external"}, addresses={"b": "192.0.2.2", "c": "192.0.2.3"},
        hosts={"a.example.com": {}, "b": {}, "c": {"emqx_tls_host": "mqtt.example.com",
                                                   "emqx_tls_server_name": "broker"}})
    assert [(node["host"], node["server_name"]) for node in result["nodes"]] == [
        ("a.example.com", "a.example.com"), ("192.0.2.2", "192.0.2.2"),
        ("mqtt.example.com", "broker")]


def test_limit_leaves_some_nodes_and_the_cluster_keeps_all() -> None:
    result = checked(selected={"emqx2", "localhost"})
    assert [node["name"] for node in result["nodes"]] == ["emqx2"]
    assert [node["name"] for node in result["all_nodes"]] == ["emqx1", "emqx2"]
    assert set(result["rendering"]) == {"emqx1", "emqx2"}


def test_strings_given_with_e_become_what_they_mean() -> None:
    settings = checked({
        "emqx_session_lifetime": "300", "resumption_rate_limit": "2.5", "resumption_strict": "yes",
        "resumption_tls_versions": "tlsv1.2,tlsv1.3", "resumption_mqtt_version": 5,
        "emqx_listeners": '{"ssl": {"default": {"acceptors": 4}}}'})["settings"]
    assert settings["session_lifetime"] == 300
    assert settings["rate_limit"] == 2.5
    assert settings["strict"] is True
    assert settings["tls_versions"] == ["tlsv1.2", "tlsv1.3"]
    assert settings["mqtt_version"] == "5"


def test_zones_are_the_hosts_and_pairs_a_setting() -> None:
    settings = checked({"resumption_pairs_per_node": "20"}, hosts={
        "a": {"emqx_tls_port": 8883, "emqx_zone": "eu-1a"},
        "b": {"emqx_tls_port": 8884, "emqx_zone": 2}, "c": {"emqx_tls_port": 8885}})["settings"]
    assert settings["zones"] == {"a": "eu-1a", "b": "2"}
    assert settings["pairs_per_node"] == 20


def test_an_empty_value_is_a_default() -> None:
    settings = checked({"emqx_session_lifetime": None, "resumption_max_impact": None})["settings"]
    assert (settings["session_lifetime"], settings["max_impact"]) == (86400, "noisy")


def test_declared_versions_come_from_the_rendered_listener() -> None:
    listeners = {"ssl": {"default": {"ssl_options": {"versions": ["tlsv1.3", "tlsv1.2"]}},
                         "other": {"bind": 9999, "ssl_options": {"versions": ["tlsv1.1"]}}}}
    assert checked({"emqx_listeners": listeners})["settings"]["tls_versions"] == [
        "tlsv1.2", "tlsv1.3"]


def test_the_release_comes_from_the_variable_then_the_images_tag() -> None:
    docker = {"emqx_driver": "docker", "emqx_image": "emqx/emqx:5.8.6"}
    assert checked(docker)["settings"]["release"] == "5.8.6"
    assert checked({**docker, "emqx_image": "mine:latest"})["settings"]["release"] == "5.8.9"
    assert checked({"emqx_release": "5.7"})["settings"]["release"] == "5.7.0"


@pytest.mark.parametrize(("members", "sentence"), [
    (None, ("The inventory has no group emqx: put one host a node into it, as inventory/local "
           "does.")),
    ((), "The group emqx is empty: put one host a node into it, as inventory/local does."),
    (("emqx1", "emqx2"), ("--limit leaves no host of the group emqx, which has emqx1, emqx2: limit "
                         "to one of them or leave --limit out.")),
])
def test_no_node_to_work_on(members: tuple[str, ...] | None, sentence: str) -> None:
    inventory = Inventory(
        variables={host: {} for host in members or ()}, addresses={}, members=members,
        selected=frozenset({"localhost"}), given=frozenset(), root=Path("/checkout"))
    with pytest.raises(InventoryError) as caught:
        check(inventory, CONTRACT, frozenset(CONTRACT))
    assert caught.value.problems == (sentence,)


@pytest.mark.parametrize(("group", "sentence"), [
    ({"resumption_max_impct": "safe"},
     ("resumption_max_impct (set for emqx1, emqx2) is no variable of this project; did you mean "
     '"resumption_max_impact"?')),
    ({"emqx_zome": "a"},
     'emqx_zome (set for emqx1, emqx2) is no variable of this project; did you mean "emqx_zone"?'),
    ({"emqx_drivr": 1},
     ("emqx_drivr (set for emqx1, emqx2) is no variable of this project; did you mean "
     '"emqx_driver"?')),
    ({"emqx_qqqqqqqqqqqqqqqqq": 1},
     ("emqx_qqqqqqqqqqqqqqqqq (set for emqx1, emqx2) is no variable of this project; the known "
     "ones are in roles/check_inventory/meta/argument_specs.yml. If it is another role's, name it "
     "in resumption_foreign_variables.")),
    ({"emqx_version": "5.8.6"},
     ("emqx_version (set for emqx1, emqx2) is no variable of this project; the known ones are in "
      "roles/check_inventory/meta/argument_specs.yml. If it is another role's, name it in "
      "resumption_foreign_variables.")),
    ({"resumption_foreign_variables": ["emqx_driver"]},
     ("resumption_foreign_variables has emqx_driver, which is a variable of this project: it "
      "cannot be another role's too.")),
    ({"emqx_driver": "dockr"},
     "emqx_driver (set for emqx1, emqx2) must be one of embedded, docker, external, not 'dockr'."),
    ({"emqx_driver": ["docker"]},
     "emqx_driver (set for emqx1, emqx2) must be a string, not ['docker']."),
    ({"emqx_session_lifetime": "soon"},
     "emqx_session_lifetime (set for emqx1, emqx2) must be an integer of 1 or more, not 'soon'."),
    ({"emqx_session_lifetime": True},
     "emqx_session_lifetime (set for emqx1, emqx2) must be an integer of 1 or more, not true."),
    ({"resumption_pairs_per_node": 0},
     "resumption_pairs_per_node (set for emqx1, emqx2) must be an integer of 1 or more, not 0."),
    ({"emqx_session_cache_max": 0},
     "emqx_session_cache_max (set for emqx1, emqx2) must be an integer of 1 or more, not 0."),
    ({"resumption_rate_limit": -1},
     "resumption_rate_limit (set for emqx1, emqx2) must be a number of 0 or more, not -1."),
    ({"resumption_rate_limit": "nan"},
     "resumption_rate_limit (set for emqx1, emqx2) must be a number of 0 or more, not 'nan'."),
    ({"resumption_timeout": 0},
     "resumption_timeout (set for emqx1, emqx2) must be a number of more than 0, not 0."),
    ({"resumption_strict": "perhaps"},
     "resumption_strict (set for emqx1, emqx2) must be true or false, not 'perhaps'."),
    ({"emqx_listeners": "ssl"},
     "emqx_listeners (set for emqx1, emqx2) must be a mapping, not 'ssl'."),
    ({"resumption_tls_versions": {"a": 1}},
     "resumption_tls_versions (set for emqx1, emqx2) must be a list, not {'a': 1}."),
    ({"resumption_tls_versions": ["tls1.2"]},
     ('resumption_tls_versions (set for emqx1, emqx2) has the unknown version "tls1.2" (known: '
     'tlsv1, tlsv1.1, tlsv1.2, tlsv1.3); did you mean "tlsv1.2"?')),
    ({"resumption_tls_versions": "tlsv1.2:tlsv1.3"},
     ('resumption_tls_versions (set for emqx1, emqx2) has the unknown version "tlsv1.2:tlsv1.3" '
      '(known: tlsv1, tlsv1.1, tlsv1.2, tlsv1.3); did you mean "tlsv1.2, tlsv1.3", separated by '
      "commas?")),
    ({"resumption_checks": "CORE SEC-01"},
     ("resumption_checks: there is no check or family CORE SEC-01; did you mean "
      '"CORE, SEC-01", separated by commas?')),
    ({"emqx_cluster_name": "../x"},
     ("emqx_cluster_name (set for emqx1, emqx2) must be letters, digits, _, - and dots, not "
     '"../x".')),
    ({"emqx_release": "4.4.19"},
     ("emqx_release (set for emqx1, emqx2): EMQX 4.4.19 is not supported: its listeners are not "
     "HOCON; 5.0.0 is the oldest that is.")),
    ({"emqx_release": "newest"},
     'emqx_release (set for emqx1, emqx2): "newest" is not an EMQX release such as 5.8.9.'),
    *[({"emqx_release": number},
       ("emqx_release (set for emqx1, emqx2) must be a string (quote it: without quotes YAML reads "
        f"5.10 as the number 5.1), not {number}.")) for number in (5.10, 5.8, 5)],
    ({"resumption_mqtt_username": 5.10},
     ("resumption_mqtt_username (set for emqx1, emqx2) must be a string (quote it: without quotes "
      "YAML reads 5.10 as the number 5.1), not 5.1.")),
    ({"emqx_driver": "docker", "emqx_image": "emqx/emqx:5.8.6", "emqx_release": "5.8.9"},
     ("emqx_release is 5.8.9, but emqx_image is emqx/emqx:5.8.6: leave emqx_release out or make "
     "them agree.")),
    ({"emqx_driver": "docker", "emqx_image": "emqx/emqx:5.10.0"},
     ("emqx_license is missing: from 5.9.0 on EMQX needs a licence key for a cluster, and this one "
     "has 2 nodes of EMQX 5.10.0; set emqx_license, take EMQX 5.8.9 or one node.")),
    ({"resumption_client_cert": "/dev/null"},
     ("resumption_client_key is missing: resumption_client_cert and resumption_client_key go "
     "together.")),
    ({"resumption_ca": "none/ca.pem"},
     ("resumption_ca (set for emqx1, emqx2) names the file /checkout/none/ca.pem, which does not "
     "exist.")),
    ({"resumption_ca": "/"},
     "resumption_ca (set for emqx1, emqx2) names /, which cannot be read: Is a directory."),
    ({"resumption_waivers": ["CORE-01"]},
     ("resumption_waivers (set for emqx1, emqx2) must be a list whose every item is a mapping, not "
     "['CORE-01'].")),
    ({"resumption_waivers": [{"id": "CORE-01", "why": "known"}]},
     "resumption_waivers: waiver 1 has no expires."),
    ({"resumption_waivers": [{"id": "CORE-01", "why": "x", "expires": "2030-01-01", "subjct": 1}]},
     'resumption_waivers: waiver 1 has the unknown key "subjct"; did you mean "subject"?'),
    ({"resumption_waivers": [{"id": "CORE-99", "why": "x", "expires": "2030-01-01"}]},
     'resumption_waivers: waiver 1: there is no check CORE-99; did you mean "CORE-09"?'),
    ({"resumption_waivers": [{"id": "CORE-01", "why": "x", "expires": "soon"}]},
     "resumption_waivers: waiver 1: soon is no date like 2027-01-31."),
    ({"resumption_checks": ["CORE", "SEC-99"]},
     'resumption_checks: there is no check or family SEC-99; did you mean "SEC-06"?'),
    # The checkout of these tests has none at all.
    ({"resumption_client_stacks": ["openssl"]},
     "resumption_client_stacks: there is no client stack openssl; there are: "),
    ({"resumption_skip_checks": {"CORE-09": ""}},
     ('resumption_skip_checks does not say why CORE-09 is left out: write {CORE-09: "the '
      'reason"}.')),
    ({"resumption_known_deviations": "own.yml"},
     "resumption_known_deviations names /checkout/own.yml, which does not exist."),
    ({"resumption_known_deviations": [{"stack": "otp"}]},
     ("resumption_known_deviations (set for emqx1, emqx2) must be a list whose every item is a "
      "string, not [{'stack': 'otp'}].")),
    ({"emqx_tls_port": 8883},
     ("emqx1 and emqx2 have the same address 127.0.0.1:8883: give each its own emqx_tls_port or "
     "emqx_tls_host.")),
    ({"emqx_listeners": {"ssl": {"default": {"ssl_options": {"verfy": 1}}}}},
     'listeners.ssl.default.ssl_options.verfy: unknown to EMQX 5.8.9; did you mean "verify"?'),
    ({"emqx_listeners": {"ssl": {"default": {"ssl_options": {"fail_if_no_peer_cert": True}}}}},
     ("listeners.ssl.default.ssl_options.fail_if_no_peer_cert: needs verify: verify_peer; EMQX "
     "does not boot with verify_none.")),
])
def test_refusals(group: dict[str, Any], sentence: str) -> None:
    hosts: dict[str, dict[str, Any]] | None = None
    if "emqx_tls_port" in group:
        hosts = {"emqx1": {}, "emqx2": {}}
    assert refusal(group, hosts=hosts) == sentence


def test_a_variable_given_with_e_is_said_to_be() -> None:
    assert refusal({"resumption_max_impct": "safe"}, given={"resumption_max_impct"},
                   others={"localhost": {"resumption_max_impct": "safe"}}).startswith(
        "resumption_max_impct (given with -e) is no variable of this project")
    assert refusal({"emqx_session_lifetime": "x"}, given={"emqx_session_lifetime"}).startswith(
        "emqx_session_lifetime (given with -e) must be")


def test_unknown_names_are_found_on_any_host() -> None:
    assert refusal(others={"lb1": {"emqx_lisenters": {}}}) == (
        'emqx_lisenters (set for lb1) is no variable of this project; did you mean '
        '"emqx_listeners"?')


def test_names_that_other_roles_know_pass() -> None:
    assert checked({"emqx_cluster_timeout": 60})["nodes"]


def test_variables_that_are_declared_another_roles_pass() -> None:
    theirs = {"emqx_version": "5.8.6", "emqx_node_cookie": "c", "emqx_node_max_ports": 1024}
    declared = {"resumption_foreign_variables": ["emqx_version", "emqx_node_*"]}
    assert checked({**theirs, **declared})["nodes"]
    # As -e gives them.
    assert checked({**theirs, "resumption_foreign_variables": "emqx_version,emqx_node_*"})["nodes"]
    # Ours keep their meaning, whatever the pattern, and what is still unknown is refused.
    assert refusal({**theirs, **declared, "emqx_node_count": "x"}).startswith(
        "emqx_node_count (set for emqx1, emqx2) must be")
    assert refusal({**declared, "emqx_drivr": "docker"}).endswith('did you mean "emqx_driver"?')


@pytest.mark.parametrize("name", ["emqx_version", "emqx_node_cookie", "emqx_node_name",
                                  "emqx_dashboard_user", "resumption_enabled"])
def test_a_name_that_shares_little_but_the_prefix_is_not_suggested(name: str) -> None:
    assert "did you mean" not in refusal({name: "x"})


def test_other_peoples_variables_are_none_of_our_business() -> None:
    assert checked(others={"lb1": {"emqxtra": 1, "my_emqx_thing": 2}})["nodes"]


def test_a_wrong_base_port_is_one_sentence_not_one_for_each_port() -> None:
    assert refusal({"emqx_base_port": "abc"}, hosts={"emqx1": {"emqx_tls_port": 0},
                                                     "emqx2": {"emqx_tls_port": 1}}) == (
        "emqx_base_port (set for emqx1, emqx2) must be an integer from 1 to 65535, not 'abc'.")


def test_only_the_host_with_the_wrong_value_is_named() -> None:
    assert refusal(hosts={"emqx1": {"emqx_tls_port": 8883}, "emqx2": {"emqx_tls_port": "x"}}) == (
        "emqx_tls_port (set for emqx2) must be an integer from 1 to 65535, not 'x'.")


def test_long_lists_of_hosts_are_cut() -> None:
    hosts = {f"emqx{number}": {"emqx_tls_port": 8000 + number} for number in range(1, 8)}
    assert refusal({"emqx_driver": 1}, hosts=hosts).startswith(
        "emqx_driver (set for emqx1, emqx2, emqx3 and 4 more) must be one of")


def test_a_setting_of_the_cluster_cannot_differ() -> None:
    assert refusal(hosts={"emqx1": {"emqx_driver": "embedded"},
                          "emqx2": {"emqx_driver": "docker", "emqx_tls_port": 8884}}) == (
        "emqx_driver differs between nodes (embedded for emqx1, docker for emqx2): it is a setting "
        "of the whole cluster, so set it once for the group emqx.")


def test_several_mistakes_come_at_once_each_once() -> None:
    with pytest.raises(InventoryError) as caught:
        checked({"emqx_drivr": 1, "emqx_session_lifetime": 0, "resumption_strict": "x"})
    assert [sentence.partition(" ")[0] for sentence in caught.value.problems] == [
        "emqx_drivr", "emqx_session_lifetime", "resumption_strict"]


@pytest.mark.parametrize("name", ["emqx_license", "emqx_dashboard_password",
                                  "resumption_mqtt_password"])
def test_secrets_are_neither_in_the_result_nor_in_a_refusal(name: str) -> None:
    assert HIDDEN not in repr(checked({name: HIDDEN}))
    assert HIDDEN not in refusal({name: [HIDDEN]})
    assert HIDDEN not in refusal(hosts={"emqx1": {name: HIDDEN},
                                        "emqx2": {name: "x", "emqx_tls_port": 8884}})


def test_a_licence_lets_newer_clusters_pass() -> None:
    result = checked({"emqx_driver": "docker", "emqx_image": "emqx/emqx:5.10.0",
                      "emqx_license": HIDDEN})
    assert result["settings"]["licensed"] is True


def test_one_node_needs_no_licence() -> None:
    assert checked({"emqx_driver": "docker", "emqx_image": "emqx/emqx:5.10.0"},
                   hosts={"emqx1": {}})["nodes"]


def test_a_literal_key_password_is_refused_without_being_shown() -> None:
    sentence = refusal({"emqx_listeners": {"ssl": {"default": {"ssl_options": {
        "password": HIDDEN}}}}})
    assert "clear text" in sentence
    assert HIDDEN not in sentence


def test_an_embedded_node_must_listen_where_it_is_probed() -> None:
    assert refusal({"emqx_listeners": {"ssl": {"default": {"bind": 9999}}}},
                   hosts={"emqx1": {}}) == (
        "No enabled ssl listener of emqx1 is bound to its emqx_tls_port 8883, where it is probed: "
        "make emqx_listeners and emqx_tls_port agree.")


@pytest.mark.parametrize("host", ["https://broker", "broker:8883", "[::1]", "a b", ""])
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    hosts: dict[str, dict[str, Any]] = {"emqx1": {"emqx_tls_host": host}}
    if not host:
        assert checked(hosts=hosts)["nodes"][0]["host"] == "127.0.0.1"
    else:
        assert "without scheme, brackets and port" in refusal(hosts=hosts)


@pytest.mark.parametrize("variable", [
    "resumption_ca", "resumption_client_cert", "resumption_client_key", "emqx_tls_keyfile",
    "emqx_tls_certfile", "emqx_tls_cacertfile"])
def test_the_text_of_a_file_is_not_its_path(variable: str) -> None:
    sentence = refusal({variable: PEM})
    assert sentence == (f"{variable} (set for emqx1, emqx2) must be the path of a file, and not "
                        "the PEM text that is in it.")


@pytest.mark.parametrize("key", ["cacertfile", "certfile", "keyfile"])
def test_the_text_of_a_file_is_not_its_path_in_a_listener(key: str) -> None:
    sentence = refusal({"emqx_listeners": {"ssl": {"default": {"ssl_options": {key: PEM}}}}})
    assert sentence == (f"listeners.ssl.default.ssl_options.{key}: must be the path of a file, "
                        "and not the PEM text that is in it.")


@pytest.mark.parametrize(("address", "own", "written"), [
    ("[::1]", {}, "ansible_host"), ("a b", {}, "ansible_host"),
    ("[::1]", {"emqx_tls_host": "https://broker"}, "emqx_tls_host"),
    ("127.0.0.1", {"emqx_tls_host": "[::1]"}, "emqx_tls_host")])
def test_a_host_that_is_none_is_told_by_the_variable_that_was_written(
        address: str, own: dict[str, Any], written: str) -> None:
    wrong = own.get("emqx_tls_host", address)
    assert refusal({"emqx_driver": "external"}, hosts={"emqx1": own},
                   addresses={"emqx1": address}) == (
        f"{written} of emqx1 must be a host name or an address without scheme, brackets and port, "
        f'not "{wrong}".')


@pytest.mark.parametrize("host", ["::1", "2001:db8::7", "fe80::1%eth0", "broker", "a.example.com"])
def test_hosts_that_pass(host: str) -> None:
    result = checked({"emqx_driver": "external"}, hosts={"emqx1": {"emqx_tls_host": host}})
    assert result["nodes"][0]["host"] == host


def test_own_certificates_go_together_and_exist(tmp_path: Path) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text("")
    own = {"emqx_tls_cacertfile": "ca.pem", "emqx_tls_certfile": "cert.pem",
           "emqx_tls_keyfile": "key.pem"}
    result = checked(own, root=tmp_path)
    paths = {"cacertfile": f"{tmp_path}/ca.pem", "certfile": f"{tmp_path}/cert.pem",
             "keyfile": f"{tmp_path}/key.pem"}
    assert result["own_certificates"] == [paths]
    options = result["rendering"]["emqx1"]["listeners"]["ssl"]["default"]["ssl_options"]
    assert paths.items() <= options.items()
    assert result["settings"]["ca"] == f"{tmp_path}/ca.pem"
    assert refusal({**own, "emqx_tls_keyfile": None}, root=tmp_path, hosts={"emqx1": {}}) == (
        "emqx_tls_keyfile of emqx1 is missing: emqx_tls_cacertfile, emqx_tls_certfile, "
        "emqx_tls_keyfile go together.")
    (tmp_path / "key.pem").unlink()
    assert refusal(own, root=tmp_path) == (
        f"emqx_tls_keyfile (set for emqx1, emqx2) names the file {tmp_path}/key.pem, which does "
        f"not exist.")


def test_files_of_embedded_nodes_are_looked_at_before_anything_is_made(tmp_path: Path) -> None:
    def refused(**options: Any) -> str:
        return refusal({"emqx_listeners": {"ssl": {"default": {"ssl_options": options}}}},
                       root=tmp_path)

    where = "listeners.ssl.default.ssl_options"
    for path in ("etc/certs/cert.pem", "${EMQX_ETC_DIR}/certs/cert.pem"):
        assert refused(certfile=path) == (
            f'{where}.certfile: "{path}" must be an absolute path: a node does not run in this '
            "directory.")
    assert refused(dhfile="/none/dh.pem") == (
        f'{where}.dhfile: "/none/dh.pem" does not exist; EMQX boots without it, but every '
        "handshake fails.")
    (tmp_path / "empty").write_text("")
    assert refused(certfile=str(tmp_path / "empty")) == (
        f'{where}.certfile: "{tmp_path}/empty" holds no certificate: EMQX boots, but every '
        "handshake fails.")
    # What the deploy makes need not be there, and what is there of it may be mended.
    made = tmp_path / "certs/../certs/client-cert.pem"
    assert checked({"emqx_listeners": {"ssl": {"default": {"ssl_options": {
        "certfile": str(made), "keyfile": str(made.with_name("client-key.pem"))}}}}},
        root=tmp_path)["listener_warnings"] == []


OPTIONS = "listeners.ssl.default.ssl_options"
SUITES = {"rsa": "ECDHE-RSA-AES128-SHA", "ecdsa": "ECDHE-ECDSA-AES128-SHA"}


@pytest.mark.parametrize("driver", ["embedded", "docker"])
@pytest.mark.parametrize(("kind", "other", "key"), [
    ("rsa", "ecdsa", "RSA"), ("ecdsa", "rsa", "EC")])
def test_what_the_deploy_will_make_is_known_before_it_is_there(
        driver: str, kind: str, other: str, key: str, tmp_path: Path) -> None:
    def given(**options: Any) -> dict[str, Any]:
        return {"emqx_driver": driver, "emqx_certificate_key_type": kind,
                "emqx_certificate_domains": ["d1"],
                "emqx_listeners": {"ssl": {"default": {"ssl_options": options}}}}

    certs = tmp_path / "certs"
    other_pair = {"certfile": f"{certs}/other-server-cert.pem",
                  "keyfile": f"{certs}/other-server-key.pem"}
    for fits in ({"ciphers": [SUITES[kind]]}, {"ciphers": list(SUITES.values())}, other_pair,
                 {"certfile": f"{certs}/ca.pem", "keyfile": f"{certs}/ca-key.pem"}):
        checked(given(**fits), root=tmp_path)
    for wrong, sentence in (
            ({"ciphers": [SUITES[other]]},
             f"{OPTIONS}.ciphers: has no suite for the {key} key of certfile"),
            ({"keyfile": f"{certs}/d1-client-key.pem"},
             (f'{OPTIONS}.keyfile: "{certs}/d1-client-key.pem" is not the key of the certificate '
              "in certfile")),
            ({"keyfile": f"{certs}/ca.pem", "certfile": f"{certs}/ca.pem"},
             f'{OPTIONS}.keyfile: "{certs}/ca.pem" holds no private key'),
            ({"certfile": f"{certs}/d1-ca-key.pem", "keyfile": f"{certs}/d1-ca-key.pem"},
             f'{OPTIONS}.certfile: "{certs}/d1-ca-key.pem" holds no certificate')):
        assert sentence in refusal(given(**wrong), root=tmp_path)


def test_of_own_certificates_only_what_they_are_for_is_looked_at(tmp_path: Path) -> None:
    """Whether they are of use the role test_certificates says."""
    rsa, ec = make_identity(tmp_path, "rsa"), make_identity(tmp_path, "ec", ecdsa=True)
    own = {"emqx_tls_cacertfile": str(ec.certificate), "emqx_tls_certfile": str(ec.certificate),
           "emqx_tls_keyfile": str(ec.key)}

    def given(**options: Any) -> dict[str, Any]:
        return {**own, "emqx_listeners": {"ssl": {"default": {"ssl_options": options}}}}

    checked(given(ciphers=[SUITES["ecdsa"]]))
    assert f"{OPTIONS}.ciphers: has no suite for the EC key of certfile" in refusal(
        given(ciphers=[SUITES["rsa"]]))
    assert "is not the key of the certificate in certfile" in refusal(given(keyfile=str(rsa.key)))
    checked({**own, "emqx_tls_keyfile": str(rsa.key)})


@pytest.mark.parametrize("begin", ["-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
                                   "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"])
def test_an_embedded_node_with_an_encrypted_key_is_refused_at_once(
        tmp_path: Path, begin: str) -> None:
    key = tmp_path / "server.key"
    key.write_text(begin)
    own = {"emqx_listeners": {"ssl": {"default": {"ssl_options": {
        "keyfile": str(key), "password": f"file://{tmp_path}/passphrase"}}}}}
    where = "listeners.ssl.default.ssl_options"
    assert refusal(own) == (
        f'{where}.keyfile: "{key}" has a passphrase, which the embedded node does not read, so '
        "that every handshake would fail: use a key without one.")
    assert refusal({**own, "emqx_release": "5.8.1"}) == (
        f"{where}.password: EMQX 5.8.1 takes file://… for the passphrase itself (it reads the file "
        "from 5.8.2 on), and every handshake fails: use a key without a passphrase.")


def test_files_of_known_deviations_are_read_and_checked(tmp_path: Path) -> None:
    text = (ROOT / "known_deviations/otp.yml").read_text()
    (tmp_path / "known_deviations").mkdir()
    (tmp_path / "known_deviations/otp.yml").write_text(text)
    (tmp_path / "none.yml").write_text("stack: otp\ndeviations: []\n")
    (tmp_path / "bad.yml").write_text("stack: otp\ndeviations: [{check: CORE-01}]\n")

    def read(**variables: Any) -> Any:
        return checked({"emqx_driver": "external", **variables},
                       root=tmp_path)["settings"]["known_deviations"]

    assert read() == [{"file": "known_deviations/otp.yml", "content": yaml.safe_load(text)}]
    assert [document["file"] for document in read(
        resumption_known_deviations="known_deviations,none.yml")] == [
        "known_deviations/otp.yml", "none.yml"]
    assert read(resumption_known_deviations=[]) == read(resumption_known_deviations="[]") == []
    with pytest.raises(InventoryError) as caught:
        read(resumption_known_deviations=["bad.yml"])
    assert ("bad.yml: entry 1 (CORE-01) is a CORE check: CORE and SEC checks are never known "
            "deviations;") in str(caught.value)


def test_the_otp_release_of_a_node_that_cannot_tell_is_declared() -> None:
    external = {"emqx_driver": "external"}
    nodes: dict[str, Any] = {"emqx1": {"emqx_otp_release": "27.3.4"},
                             "emqx2": {"emqx_otp_release": 25}, "emqx3": {}}

    def declared(group: dict[str, Any]) -> Any:
        return checked(group, hosts=nodes, addresses={})["settings"]["otp_releases"]

    own = {"emqx1": {"release": "27.3.4", "how": "as emqx_otp_release declares"},
           "emqx2": {"release": "25", "how": "as emqx_otp_release declares"}}
    assert declared(external) == own
    assert declared({**external, "emqx_release": "5.8.6"}) == {**own, "emqx3": {
        "release": "26", "how": "which EMQX 5.8.6 is built with, as emqx_release declares"}}
    assert declared({**external, "emqx_release": "6.4.0"}) == own


def test_the_release_of_deployed_nodes_says_nothing_of_what_they_run_on() -> None:
    assert checked({"emqx_release": "5.8.6"})["settings"]["otp_releases"] == {}


def test_an_otp_release_is_a_number() -> None:
    assert refusal({"emqx_driver": "external"}, hosts={"a": {"emqx_otp_release": "R16B03"}}) == (
        "emqx_otp_release of a must be an Erlang/OTP release such as 27 or 27.3.4, not "
        '"R16B03".')


def test_warnings_about_the_release_are_passed_on() -> None:
    result = checked({"emqx_release": "5.9.0", "emqx_listeners": {
        "ssl": {"default": {"ssl_options": {"reuse_sessions": False}}}}})
    assert result["listener_warnings"] == [
        ("listeners.ssl.default.ssl_options.reuse_sessions: EMQX 5.9.0 ignores false and reuses "
        "sessions all the same (emqx/emqx#16456)")]


NOBODY = (
    "listeners.ssl.default.ssl_options.reuse_sessions: EMQX {release} leaves true out, and {stack} "
    "resumes no session on a listener with verify: verify_peer unless told to "
    "(erlang/otp#11478): each of its clients makes a full handshake whenever it reconnects")


def mutual(**options: Any) -> dict[str, Any]:
    return {"ssl": {"default": {"ssl_options": {"verify": "verify_peer", **options}}}}


def test_a_listener_that_will_resume_nobody_is_named_before_it_is_rendered(
        monkeypatch: pytest.MonkeyPatch) -> None:
    def warned(release: str, **options: Any) -> list[str]:
        result = checked({"emqx_release": release, "emqx_listeners": mutual(**options)})
        return list(result["listener_warnings"])

    monkeypatch.setattr(releases, "installed_ssl", lambda _: "11.7.8")
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/erl")
    nobody = NOBODY.format(release="5.10.3", stack="the Erlang/OTP of this machine (ssl 11.7.8)")
    assert warned("5.10.3") == [nobody]
    assert warned("5.10.3", versions=["tlsv1.2", "tlsv1.3"]) == [nobody]
    # Told, meant, nobody asked for a certificate, or no session IDs at all.
    assert warned("5.8.9") == []
    assert warned("5.10.3", reuse_sessions=False) == []
    assert warned("5.10.3", verify="verify_none") == []
    assert nobody not in warned("5.10.3", versions=["tlsv1.3"])
    monkeypatch.setattr(releases, "installed_ssl", lambda _: "10.8.7")
    assert warned("5.10.3") == []
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert warned("5.10.3") == []


def test_which_nodes_will_resume_nobody_is_said_where_they_differ() -> None:
    docker = {"emqx_driver": "docker", "emqx_image": "embedded-otp-node:otp29",
              "emqx_release": "5.10.3", "emqx_license": "key",
              "emqx_listeners": mutual()}
    stack = "the Erlang/OTP 29 of embedded-otp-node:otp29"
    assert checked(docker)["listener_warnings"] == [NOBODY.format(release="5.10.3", stack=stack)]
    assert checked({**docker, "emqx_image": "embedded-otp-node:otp27"})["listener_warnings"] == []
    assert checked({**docker, "emqx_image": "emqx/emqx:5.10.3"})["listener_warnings"] == []
    declared = {"emqx1": {"emqx_otp_release": "29.0.6"},
                "emqx2": {"emqx_otp_release": "29.0.5", "emqx_tls_port": 8884}}
    stack = "its Erlang/OTP 29.0.6, as emqx_otp_release says,"
    assert checked(docker, hosts=declared)["listener_warnings"] == [
        f"{NOBODY.format(release='5.10.3', stack=stack)} (on emqx1)"]


def test_vantage_points_are_what_limit_leaves_in_the_inventory_order() -> None:
    vantage = {"outside": "10.0.0.1", "inside": "inside"}
    assert checked(vantage=vantage)["vantage"] == []
    everybody = {"emqx1", "emqx2", "outside", "inside"}
    assert checked(vantage=vantage, selected=everybody)["vantage"] == [
        {"name": "outside", "host": "10.0.0.1"}, {"name": "inside", "host": "inside"}]
    assert checked()["vantage"] == []


def test_a_vantage_point_has_no_settings_of_its_own() -> None:
    own = {"outside": {"resumption_strict": None}}
    assert refusal(vantage={"outside": "o"}, others=own) == (
        "resumption_strict (set for outside) has no effect on a vantage point: set it for the "
        "group emqx.")
    # What the group all says, nodes hear too; a node may be a vantage point.
    checked({"resumption_strict": True}, vantage={"outside": "o", "emqx1": "e"}, others=own)
    assert refusal(vantage={"controller": "c"}) == (
        "The host controller of the group vantage has the name that reports give the machine "
        "ansible-playbook runs on: call it something else.")


def test_an_earlier_run_is_found_before_its_link_names_another(tmp_path: Path) -> None:
    earlier = ROOT / "tests/unit/report/earliest_results.json"
    folder = tmp_path / "reports" / "first"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(earlier.read_text())
    (tmp_path / "reports" / "latest").symlink_to("first")
    settings = checked({"resumption_compare": "reports/latest"}, root=tmp_path)["settings"]
    assert settings["compare"] == str(folder / "results.json")
    with pytest.raises(InventoryError) as refused:
        checked({"resumption_compare": "reports/other"}, root=tmp_path)
    assert str(refused.value) == (
        f"resumption_compare (set for emqx1, emqx2): {tmp_path}/reports/other does not exist: name "
        "the folder of an earlier run, such as reports/latest, or its results.json.")
