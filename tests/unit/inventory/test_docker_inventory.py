"""The inventory contract of the driver docker: images, ports and files, inside and outside."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.listeners import kinds, schema

from tests.unit.inventory.test_inventory import checked, refusal

EVERYWHERE = "0.0.0.0"  # noqa: S104 - as a container sees itself
DOCKER = {"emqx_driver": "docker", "emqx_cluster_name": "c"}


def bind(result: Mapping[str, Any], node: str) -> Any:
    """Return where the node's ordinary listener is, as the node sees it."""
    return result["rendering"][node]["listeners"]["ssl"]["default"]["bind"]


def test_defaults_of_a_cluster_of_containers() -> None:
    result = checked(DOCKER)
    assert [node["host"] for node in result["nodes"]] == ["127.0.0.1", "127.0.0.1"]
    assert [bind(result, name) for name in ("emqx1", "emqx2")] == [f"{EVERYWHERE}:8883"] * 2
    assert result["containers"]["emqx2"] == {
        "image": "emqx/emqx:5.8.9", "tls_ports": {8883: 8884}, "dashboard_port": None,
        "files": {f"/opt/emqx/etc/conformance/{name}": f"/checkout/certs/{name}"
                  for name in ("ca.pem", "server-cert.pem", "server-key.pem")}}
    rendering = result["rendering"]["emqx1"]
    assert rendering["listeners"]["ssl"]["default"]["ssl_options"]["keyfile"] == (
        "/opt/emqx/etc/conformance/server-key.pem")
    assert rendering["node_name"] == "emqx@emqx1.c.internal"
    assert rendering["listeners_file"] == "/opt/emqx/etc/listeners.hocon"
    # Certificates are made on this machine, and the probe trusts what is here.
    assert result["settings"]["ca"] == "/checkout/certs/ca.pem"
    assert result["settings"]["tls_versions"] == ["tlsv1.2"]


def test_embedded_nodes_have_no_containers() -> None:
    result = checked()
    assert result["containers"] == {}
    assert bind(result, "emqx2") == "127.0.0.1:8884"


def test_the_inventory_name_is_no_address_of_a_container() -> None:
    assert checked(DOCKER, addresses={})["nodes"][0]["host"] == "127.0.0.1"
    assert refusal(DOCKER, hosts={"emqx1": {"emqx_tls_host": "broker.example"}}) == (
        "emqx_tls_host of emqx1 is broker.example, but the driver docker opens its nodes' ports on "
        "127.0.0.1 only: leave emqx_tls_host out.")


def test_images_may_differ_and_the_oldest_release_decides_on_keys() -> None:
    result = checked(DOCKER, hosts={
        "emqx1": {"emqx_image": "emqx/emqx:5.8.9"},
        "emqx2": {"emqx_image": "emqx/emqx:5.7.2", "emqx_tls_port": 8884},
        "emqx3": {"emqx_image": "mine:latest", "emqx_tls_port": 8885}})
    assert [container["image"] for container in result["containers"].values()] == [
        "emqx/emqx:5.8.9", "emqx/emqx:5.7.2", "mine:latest"]
    assert result["settings"]["release"] == "5.7.2"


def test_the_newest_image_decides_on_the_licence() -> None:
    assert "EMQX 5.10.0; set emqx_license" in refusal(DOCKER, hosts={
        "emqx1": {}, "emqx2": {"emqx_image": "emqx/emqx:5.10.0", "emqx_tls_port": 8884}})


def test_a_bind_of_ones_own_is_the_containers_port() -> None:
    listeners = {"ssl": {"default": {"bind": 9999}}}
    result = checked({**DOCKER, "emqx_listeners": listeners})
    assert result["containers"]["emqx2"]["tls_ports"] == {9999: 8884}
    assert bind(result, "emqx2") == 9999
    assert result["settings"]["tls_versions"] == ["tlsv1.2"]


def test_further_listeners_keep_their_ports(tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_text("")
    listeners = {"ssl": {"a": {"bind": 8886, "ssl_options": {
        "cacertfile": "other.pem", "versions": ["tlsv1.3"]}},
        "off": {"enable": False, "bind": 8887}}}
    result = checked({**DOCKER, "emqx_listeners": listeners}, root=tmp_path,
                     hosts={"emqx1": {"emqx_tls_port": 18883}})
    container = result["containers"]["emqx1"]
    assert container["tls_ports"] == {8883: 18883, 8886: 8886}
    assert container["files"]["/opt/emqx/etc/conformance/other.pem"] == str(tmp_path / "other.pem")
    assert result["rendering"]["emqx1"]["listeners"]["ssl"]["a"]["ssl_options"]["cacertfile"] == (
        "/opt/emqx/etc/conformance/other.pem")
    assert result["settings"]["tls_versions"] == ["tlsv1.2"]


def paths_of(table: Mapping[str, schema.Key], folder: Path, prefix: str = "") -> dict[str, Any]:
    """Name a file of its own with every key of EMQX's schema that holds a path."""
    given: dict[str, Any] = {}
    for name, key in table.items():
        file = folder / f"{prefix}{name}.pem"
        if not isinstance(key.holds, kinds.Kind):
            given[name] = paths_of(key.holds, folder, f"{prefix}{name}-")
        elif key.holds is kinds.PATH:
            file.write_text("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"
                            "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n")
            given[name] = file.name
        elif key.holds is kinds.PASSPHRASE:
            file.write_text("secret")
            given[name] = f"file://{file}"
    return given


def test_every_key_that_holds_a_path_is_mounted(tmp_path: Path) -> None:
    options = paths_of(schema.SSL_OPTIONS, tmp_path)
    assert {"cacertfile", "certfile", "keyfile", "dhfile", "password"} <= options.keys()
    assert options["ocsp"] == {"issuer_pem": "ocsp-issuer_pem.pem"}
    result = checked({**DOCKER, "emqx_listeners": {"ssl": {"default": {"ssl_options": options}}}},
                     root=tmp_path, hosts={"emqx1": {}})
    inside = "/opt/emqx/etc/conformance"
    assert {
        **{name: f"{inside}/{name}.pem" for name in options},
        "password": f"file://{inside}/password.pem",
        "ocsp": {"issuer_pem": f"{inside}/ocsp-issuer_pem.pem"},
    }.items() <= result["rendering"]["emqx1"]["listeners"]["ssl"]["default"]["ssl_options"].items()
    files = result["containers"]["emqx1"]["files"]
    assert {files[f"{inside}/{path.name}"] for path in tmp_path.glob("*.pem")} == {
        str(path) for path in tmp_path.glob("*.pem")}


def test_what_is_in_files_of_this_machine_is_looked_at_before_they_are_mounted(
        tmp_path: Path) -> None:
    key = tmp_path / "empty.key"
    key.write_text("")
    assert refusal({**DOCKER, "emqx_listeners": {"ssl": {"default": {"ssl_options": {
        "keyfile": "empty.key"}}}}}, root=tmp_path, hosts={"emqx1": {}}) == (
            f'listeners.ssl.default.ssl_options.keyfile: "{key}" holds no private key: EMQX boots, '
            "but every handshake fails.")


def test_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ca.pem").write_text(folder)
    listeners = {"ssl": {name: {"bind": port, "ssl_options": {"cacertfile": f"{name}/ca.pem"}}
                         for name, port in (("a", 8886), ("b", 8887))}}
    files = checked({**DOCKER, "emqx_listeners": listeners}, root=tmp_path,
                    hosts={"emqx1": {}})["containers"]["emqx1"]["files"]
    assert {str(tmp_path / "a/ca.pem"), str(tmp_path / "b/ca.pem"),
            str(tmp_path / "certs/ca.pem")} <= set(files.values())
    assert len(files) == 5


@pytest.mark.parametrize("path", ["/opt/emqx/etc/certs/cacert.pem", "${EMQX_ETC_DIR}/certs/c.pem"])
def test_files_of_the_image_are_left_alone(path: str) -> None:
    listeners = {"ssl": {"default": {"ssl_options": {"cacertfile": path}}}}
    result = checked({**DOCKER, "emqx_listeners": listeners})
    assert path not in result["containers"]["emqx1"]["files"]
    assert result["rendering"]["emqx1"]["listeners"]["ssl"]["default"]["ssl_options"][
        "cacertfile"] == path


@pytest.mark.parametrize(("group", "hosts", "sentence"), [
    ({"emqx_listeners": {"ssl": {"default": {"ssl_options": {"cacertfile": "none.pem"}}}}}, None,
     ("emqx_listeners names the file /checkout/none.pem, which does not exist (paths of the image "
      "begin with /opt/emqx/).")),
    ({"emqx_listeners": {"ssl": {"default": {"ssl_options": {"password": "file:///no.txt"}}}}},
     None, ("emqx_listeners names the file /no.txt, which does not exist (paths of the image begin "
            "with /opt/emqx/).")),
    ({"emqx_listeners": {"ssl": {"default": {"ssl_options": {"certfile": "file:///no.pem"}}}}},
     None, ('listeners.ssl.default.ssl_options.certfile: "file:///no.pem" must be a path without '
            "file:// (EMQX boots, but every handshake fails).")),
    ({"emqx_listeners": {"ssl": {"default": {"bind": "127.0.0.1:8883"}}}}, {"emqx1": {}},
     ("listeners.ssl.default.bind of emqx1 is the address 127.0.0.1, which only the container "
      "itself reaches: give the port alone, 8883.")),
    ({"emqx_listeners": {"ssl": {"default": {"enable": False}}}}, {"emqx1": {}},
     "emqx1 has no enabled ssl listener, and nothing to probe: enable one under emqx_listeners."),
    ({}, {"emqx1": {"emqx_dashboard_port": 8883}},
     "emqx_dashboard_port of emqx1 is 8883, as is emqx_tls_port of emqx1: give each its own."),
    ({"emqx_container_memory": "lots"}, None,
     ("emqx_container_memory (set for emqx1, emqx2) must be a size as Docker spells it, such as "
      '512m or 1g, not "lots".')),
    ({"emqx_dashboard_port": 0}, {"emqx1": {}},
     "emqx_dashboard_port (set for emqx1) must be an integer from 1 to 65535, not 0."),
    ({"emqx_listeners": {"ssl": "all"}}, {"emqx1": {}},
     "listeners.ssl: must be a mapping from listener names to their keys."),
])
def test_refusals(group: dict[str, Any], hosts: dict[str, Any] | None, sentence: str) -> None:
    assert refusal({**DOCKER, **group}, hosts=hosts) == sentence
