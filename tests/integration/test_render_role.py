"""Certificates and configuration, made by the shipped roles: modes, idempotence, check mode."""
from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pyhocon
import pytest
import yaml

from tests.support.playbooks import ROOT, Cluster, write_inventory

KEYS = {"ca-key.pem", "client-key.pem", "server-key.pem"}
CERTIFICATES = {"ca.pem", "client-cert.pem", "server-cert.pem"}
LISTENERS = {"ssl": {"default": {"max_connections": 500, "ssl_options": {
    "depth": 3, "handshake_timeout": "5s", "ciphers": ["ECDHE-RSA-AES128-GCM-SHA256"],
    "cacertfile": None}}}, "tcp": {"default": {"enable": True, "bind": "127.0.0.1:21883"}}}


class Rendering(Cluster):
    """A cluster that is rendered and never started."""

    @property
    def folder(self) -> Path:
        return self.inventory.parent

    def render(self, *extra: str) -> str:
        """Run deploy.yml's first half and return what it printed."""
        done = self.play(str(self.folder / "render.yml"), *extra)
        assert done.code == 0, done.output
        return done.output

    def files(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.folder)): path.read_bytes()
                for part in ("certs", "config") for path in sorted((self.folder / part).rglob("*"))
                if path.is_file()}

    def listeners(self, node: str) -> Any:
        return pyhocon.ConfigFactory.parse_file(
            self.folder / "config/rendered" / node / "listeners.hocon").as_plain_ordered_dict()


def rendering(folder: Path, variables: dict[str, Any] | None = None) -> Rendering:
    path = write_inventory(folder, "rendered", [28883, 28884], {
        "emqx_certs_dir": str(folder / "certs"), "emqx_config_dir": str(folder / "config"),
        **(variables or {})})
    roles = [{"name": role, "ansible.builtin.import_role": {"name": role}}
             for role in ("test_certificates", "emqx_listeners")]
    (folder / "render.yml").write_text(yaml.safe_dump([
        {"ansible.builtin.import_playbook": str(ROOT / "playbooks/check_inventory.yml")},
        {"hosts": "emqx", "gather_facts": False, "tasks": roles}]))
    return Rendering("rendered", [28883, 28884], path, folder / "reports")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendering:
    made = rendering(tmp_path_factory.mktemp("rendered"), {"emqx_listeners": LISTENERS})
    made.render()
    return made


def test_files_and_modes(rendered: Rendering) -> None:
    certs = rendered.folder / "certs"
    assert {path.name: path.stat().st_mode & 0o777 for path in certs.iterdir()} == {
        **dict.fromkeys(KEYS, 0o600), **dict.fromkeys(CERTIFICATES, 0o644)}
    node = rendered.folder / "config/rendered/emqx1"
    assert {path.name: path.stat().st_mode & 0o777 for path in node.iterdir()} == {
        "listeners.hocon": 0o644, "emqx.conf": 0o644}
    assert node.stat().st_mode & 0o777 == 0o755


def test_what_was_asked_for_is_in_the_file_beside_the_defaults(rendered: Rendering) -> None:
    assert rendered.listeners("emqx2") == {"listeners": {
        "ssl": {"default": {
            "enable": True, "bind": "127.0.0.1:28884", "max_connections": 500,
            "ssl_options": {
                "depth": 3, "handshake_timeout": "5s", "ciphers": ["ECDHE-RSA-AES128-GCM-SHA256"],
                "versions": ["tlsv1.2"], "verify": "verify_none", "reuse_sessions": True,
                "certfile": f"{rendered.folder}/certs/server-cert.pem",
                "keyfile": f"{rendered.folder}/certs/server-key.pem"}}},
        "tcp": {"default": {"enable": True, "bind": "127.0.0.1:21883"}},
        "ws": {"default": {"enable": False}}, "wss": {"default": {"enable": False}}}}


def test_emqx_conf_includes_the_listeners(rendered: Rendering) -> None:
    conf = rendered.folder / "config/rendered/emqx1/emqx.conf"
    read = pyhocon.ConfigFactory.parse_file(conf).as_plain_ordered_dict()
    assert read["node"]["name"] == "emqx1@127.0.0.1"
    assert read["cluster"]["static"]["seeds"] == ["emqx1@127.0.0.1", "emqx2@127.0.0.1"]
    assert read["listeners"] == rendered.listeners("emqx1")["listeners"]


def test_a_second_run_changes_nothing(rendered: Rendering) -> None:
    before = rendered.files()
    recap = rendered.render().partition("PLAY RECAP")[2]
    assert recap.count("changed=0") == recap.count("changed=") == 2
    assert rendered.files() == before


def test_what_somebody_changed_is_mended(rendered: Rendering) -> None:
    before = rendered.files()
    node = rendered.folder / "config/rendered/emqx1"
    node.chmod(0o700)
    (node / "emqx.conf").chmod(0o600)
    with (node / "listeners.hocon").open("a") as file:
        file.write("# mine\n")
    recap = rendered.render("--diff").partition("PLAY RECAP")
    assert "-# mine" in recap[0]
    assert recap[2].count("changed=1") == 1
    assert rendered.files() == before
    assert [path.stat().st_mode & 0o777 for path in (
        node, node / "emqx.conf", node / "listeners.hocon")] == [0o755, 0o644, 0o644]


def test_a_directory_that_cannot_be_made_is_told(rendered: Rendering, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("")
    done = rendering(tmp_path).play(str(tmp_path / "render.yml"))
    assert done.code == 2
    assert f"{tmp_path}/config/rendered: Not a directory" in done.flat


def test_check_and_diff_show_the_change_and_make_none(rendered: Rendering) -> None:
    before = rendered.files()
    deeper = {"emqx_listeners": {"ssl": {"default": {"ssl_options": {"depth": 7}}}}}
    output = rendered.render("--check", "--diff", "-e", "emqx_certificate_key_type=ecdsa", "-e",
                             json.dumps(deeper))
    assert "-        depth = 3" in output
    assert "+        depth = 7" in output
    assert "server-cert.pem: the key is rsa and ecdsa is asked for" in output
    assert "PRIVATE KEY" not in output
    assert rendered.files() == before


def test_check_works_before_anything_was_made(tmp_path: Path) -> None:
    output = rendering(tmp_path).render("--check", "--diff")
    assert "+      bind = \"127.0.0.1:28883\"" in output
    assert not (tmp_path / "certs").exists()
    assert not (tmp_path / "config").exists()


def test_own_certificates_are_used_and_none_are_made(rendered: Rendering, tmp_path: Path) -> None:
    certs = rendered.folder / "certs"
    own = {"emqx_tls_cacertfile": str(certs / "ca.pem"),
           "emqx_tls_certfile": str(certs / "server-cert.pem"),
           "emqx_tls_keyfile": str(certs / "server-key.pem")}
    made = rendering(tmp_path, own)
    made.render()
    assert not (tmp_path / "certs").exists()
    options = made.listeners("emqx1")["listeners"]["ssl"]["default"]["ssl_options"]
    assert options["certfile"] == own["emqx_tls_certfile"]
    done = rendering(tmp_path, {**own, "emqx_tls_keyfile": str(certs / "client-key.pem")}).play(
        str(tmp_path / "render.yml"))
    assert done.code == 2
    assert (f"{certs}/client-key.pem is not the private key of {certs}/server-cert.pem."
            in done.output)


def test_a_missing_file_named_in_the_listeners_is_refused(tmp_path: Path) -> None:
    made = rendering(tmp_path, {"emqx_listeners": {"ssl": {"default": {"ssl_options": {
        "dhfile": "/none/dh.pem"}}}}})
    done = made.play(str(tmp_path / "render.yml"))
    assert done.code == 2
    assert ('listeners.ssl.default.ssl_options.dhfile: "/none/dh.pem" does not exist; EMQX boots '
            "without it, but every handshake fails") in done.flat
    assert not (tmp_path / "config").exists()


@pytest.mark.parametrize(("inventory", "ports"), [
    ("inventory/local", [18883, 18884, 18885]), ("inventory/single", [18883])])
def test_the_base_port_can_be_given_with_e(inventory: str, ports: list[int]) -> None:
    cluster = Cluster("", [], ROOT / inventory, Path("reports"))
    done = cluster.play("playbooks/check_inventory.yml", "-vv", "-e", "emqx_base_port=18883")
    assert done.code == 0, done.output
    for port in ports:
        assert f'"port": {port},' in done.output


def test_local_and_single_can_run_at_once() -> None:
    listings = [subprocess.run(
        ["ansible-inventory", "-i", str(ROOT / inventory), "--list", "--yaml"],
        capture_output=True, text=True, check=True, cwd=ROOT,
        env=Cluster("", [], ROOT, ROOT).environment()).stdout
        for inventory in ("inventory/local", "inventory/single")]
    local, single = (yaml.safe_load(text)["all"]["children"]["emqx"]["hosts"] for text in listings)
    first = local["emqx1"]["emqx_base_port"]
    assert single["emqx1"]["emqx_base_port"] not in range(first, first + len(local))
    assert single["emqx1"]["emqx_cluster_name"] != local["emqx1"]["emqx_cluster_name"]
