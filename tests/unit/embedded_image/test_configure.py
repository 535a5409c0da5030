"""emqx.conf and the environment become what the node boots from."""
from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from embedded_image import configure
from embedded_image.settings import NodeSettings, SettingsError

IMAGE = Path(__file__).parents[3] / "embedded_node" / "image"
NAME = {"EMQX_NODE__NAME": "emqx@node1.example", "EMQX_NODE__COOKIE": "crumb"}
LISTENER = """
listeners.ssl.default {
  bind = "0.0.0.0:8883"
  ssl_options {
    versions = [tlsv1.2], certfile = "/opt/emqx/etc/conformance/cert.pem"
    keyfile = "/opt/emqx/etc/conformance/key.pem"
  }
}
"""
CLUSTERED = """
node { name = "emqx@node1.example", data_dir = "data" }
cluster {
  name = shop, discovery_strategy = static
  static { seeds = ["emqx@node2.example", "emqx@node1.example"] }
}
dashboard { listeners.http.bind = 18083 }
include "listeners.hocon"
"""


def configured(tmp_path: Path, text: str,
               environment: dict[str, str] | None = None) -> tuple[NodeSettings, list[str]]:
    file = tmp_path / "emqx.conf"
    file.write_text(text)
    return configure.configured(file, NAME if environment is None else environment)


def test_what_the_driver_mounts(tmp_path: Path) -> None:
    (tmp_path / "listeners.hocon").write_text(LISTENER)
    found, notes = configured(tmp_path, CLUSTERED)
    assert (found.name, found.cookie, found.cluster_name) == ("emqx@node1.example", "crumb", "shop")
    assert found.seeds == ("emqx@node1.example", "emqx@node2.example")
    assert found.dashboard == ("0.0.0.0", 18083)  # noqa: S104 - compared, not bound
    assert [listener.path for listener in found.listeners] == ["listeners.ssl.default"]
    assert notes == []


def test_the_environment_alone(tmp_path: Path) -> None:
    found, notes = configured(tmp_path, "", {
        **NAME, "EMQX_CLUSTER__DISCOVERY_STRATEGY": "static",
        "EMQX_CLUSTER__STATIC__SEEDS": "[emqx@a.example,emqx@b.example]",
        "EMQX_LISTENERS__SSL__MINE__BIND": "127.0.0.1:8884",
        "EMQX_LISTENERS__SSL__MINE__SSL_OPTIONS__VERSIONS": "[tlsv1.2]",
        "EMQX_DASHBOARD__LISTENERS__HTTP__BIND": "127.0.0.1:8080"})
    assert found.seeds == ("emqx@a.example", "emqx@b.example")
    assert [(each.path, each.address, each.port) for each in found.listeners] == [
        ("listeners.ssl.mine", "127.0.0.1", 8884)]
    assert found.dashboard == ("127.0.0.1", 8080)
    assert notes == []


@pytest.mark.parametrize(("setting", "bind"), [
    ("", None), ("bind = 0", None), ("bind = 18083, enable = false", None),
    ("bind = 18083, enable = true", 18083), ('bind = "18083"', 18083),
])
def test_the_dashboard_port_is_open_where_the_configuration_says_so(
        tmp_path: Path, setting: str, bind: int | None) -> None:
    found, _ = configured(tmp_path, f"dashboard.listeners.http {{ {setting} }}")
    assert (found.dashboard[1] if found.dashboard else None) == bind


def test_what_has_no_effect_is_named_once_and_never_shown(tmp_path: Path) -> None:
    _, notes = configured(tmp_path, LISTENER + """
        node.process_limit = 1000
        dashboard { listeners.http.bind = 18083, default_username = "s3cret-a" }
        log.console.level = "s3cret-b"
        """, {**NAME, "EMQX_LICENSE__KEY": "s3cret-c", "EMQX_dashboard__default_user": "s3cret-d",
              "EMQX_AUTHENTICATION": '[{password = "s3cret-e"}]'})
    idle = "known to EMQX, without effect here: "
    assert notes == [
        f"{idle}EMQX_AUTHENTICATION, EMQX_LICENSE__KEY, EMQX_dashboard__default_user",
        f"{idle}node.process_limit, dashboard.default_username, log"]


def test_a_variable_that_emqx_does_not_know_is_named(tmp_path: Path) -> None:
    _, notes = configured(tmp_path, LISTENER, {**NAME, "EMQX_LISTENER__TCP": "1",
                                               "EMQX_LOADED_PLUGINS": "a"})
    assert notes == ["no setting of EMQX, ignored: EMQX_LISTENER__TCP, EMQX_LOADED_PLUGINS"]


def test_warnings_about_listeners(tmp_path: Path) -> None:
    _, notes = configured(tmp_path, LISTENER + 'listeners.ssl.default.zone = "z"\n'
                                               "listeners.tcp.default { bind = 1883 }")
    assert len(notes) == 2
    assert "listeners.ssl.default.zone" in notes[0]
    assert "without effect here" in notes[0]
    assert "listeners.tcp.default: not implemented" in notes[1]


def test_who_wins_and_what_is_missing_is_said(tmp_path: Path) -> None:
    found, notes = configured(tmp_path, 'node.name = "emqx@file.example"',
                              {"EMQX_HOST": "172.17.0.2"})
    assert found.name == "emqx@172.17.0.2"
    assert ["wins over emqx@file.example" in notes[0], "insecure" in notes[1],
            "no MQTT client can connect" in notes[2], len(notes)] == [True, True, True, 3]


@pytest.mark.parametrize(("text", "sentence"), [
    ("listener.ssl.default.bind = 8883",
     'listener: EMQX knows no such key; did you mean "listeners"?'),
    ("listeners.ssl.default.bnid = 8883",
     'listeners.ssl.default.bnid: EMQX knows no such key; did you mean "bind"?'),
    ("listeners.ssl.default.bind = high", "listeners.ssl.default.bind must be a port"),
    ("listeners = 1", "listeners must be an object"),
    ("cluster.discovery_strategy = dns",
     "cluster.discovery_strategy: the embedded node knows manual, singleton, static, not dns"),
    ("cluster { discovery_strategy = static, static.seeds = [here] }",
     'cluster.static.seeds: "here" is not a node name such as emqx@node1.example'),
    ("cluster { discovery_strategy = static, static.seeds = {a = 1} }",
     "cluster.static.seeds must be a list"),
    ("cluster { discovery_strategy = static, static = 1 }", "cluster.static must be an object"),
    ("dashboard.listeners.http.bind = 99999", "dashboard.listeners.http.bind or .enable must be"),
    ('node.cookie = "with space"', "node.cookie must be 1 to 255 printable"),
    ("node.cookie = true", "node.cookie must be a string"),
])
def test_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as error:
        configured(tmp_path, text, {"EMQX_NODE__NAME": "emqx@node1.example"})
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize(("release", "told"), [
    ({}, True), ({"CONFORMANCE_EMQX_RELEASE": ""}, True),
    ({"CONFORMANCE_EMQX_RELEASE": "5.8.9"}, True), ({"CONFORMANCE_EMQX_RELEASE": "5.10.2"}, None)])
def test_it_does_as_the_release_that_it_is_told(
        tmp_path: Path, release: dict[str, str], told: bool | None) -> None:
    found, _ = configured(tmp_path, LISTENER, {**NAME, **release})
    assert found.listeners[0].ssl_options.get("reuse_sessions") is told


def test_a_release_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r'^CONFORMANCE_EMQX_RELEASE: "five" is not an EMQX'):
        configured(tmp_path, LISTENER, {**NAME, "CONFORMANCE_EMQX_RELEASE": "five"})


def test_a_key_of_a_newer_release_is_known_there(tmp_path: Path) -> None:
    text = LISTENER + "listeners.ssl.default.ssl_options.partial_chain = true\n"
    with pytest.raises(SettingsError, match="partial_chain: EMQX knows no such key"):
        configured(tmp_path, text)
    _, notes = configured(tmp_path, text, {**NAME, "CONFORMANCE_EMQX_RELEASE": "5.9.0"})
    assert notes == [("listeners.ssl.default.ssl_options.partial_chain: known to EMQX, not "
                     "implemented by the embedded node, without effect here")]


@pytest.mark.parametrize("name", ["emqx", "emqx@node1", "@node1.example", "a b@node1.example"])
def test_a_name_that_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=rf'node\.name: "{name}" is not a node name'):
        configured(tmp_path, "", {"EMQX_NODE__NAME": name})


def test_a_top_level_name_that_resembles_none_is_left_alone(tmp_path: Path) -> None:
    _, notes = configured(tmp_path, LISTENER + "quux.a = 1")
    assert notes == ["quux: not known here, ignored"]


def test_manual_discovery_has_no_seeds(tmp_path: Path) -> None:
    found, _ = configured(tmp_path, 'cluster.static.seeds = ["emqx@a.example"]')
    assert found.seeds == ()


def test_the_image_s_own_configuration_boots(tmp_path: Path) -> None:
    found, notes = configured(tmp_path, (IMAGE / "emqx.conf").read_text(),
                              {"EMQX_HOST": "172.17.0.2"})
    assert (found.name, found.cluster_name, found.seeds) == ("emqx@172.17.0.2", "emqxcl", ())
    assert found.dashboard is not None
    assert len(notes) == 2


def test_main_writes_what_erlang_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("EMQX_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EMQX_NODE__NAME", "emqx@node1.example")
    monkeypatch.setenv("EMQX_NODE__COOKIE", "12345")
    (tmp_path / "emqx.conf").write_text(CLUSTERED)
    (tmp_path / "listeners.hocon").write_text(LISTENER)
    for _ in range(2):
        assert configure.main([str(tmp_path / "emqx.conf")]) == 0
    assert capsys.readouterr().err == ""
    assert (tmp_path / ".erlang.cookie").read_text() == "12345"
    assert stat.S_IMODE((tmp_path / ".erlang.cookie").stat().st_mode) == 0o400
    erl = shutil.which("erl")
    assert erl is not None
    shown = ('{ok, [#{peers := P, container := C}]} = file:consult("node.config"), '
             'io:format("~0p ~0p", [P, C]), halt().')
    done = subprocess.run([erl, "-noinput", "-eval", shown],
                          capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == ("['emqx@node1.example','emqx@node2.example'] "
                           '#{cluster_name => <<"shop">>,dashboard => {<<"0.0.0.0">>,18083}}')


@pytest.mark.parametrize(("text", "sentence"), [
    ("a {", "cannot boot: {path}/emqx.conf is not HOCON"),
    ("listener = 1", "cannot boot: listener: EMQX knows no such key"),
    ('include "gone.hocon"', "cannot boot: {path}/emqx.conf includes {path}/gone.hocon, which"),
])
def test_main_refuses_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str], text: str,
                                      sentence: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "emqx.conf").write_text(text)
    assert configure.main([str(tmp_path / "emqx.conf")]) == 1
    said = capsys.readouterr().err
    assert said.startswith(sentence.format(path=tmp_path))
    assert said.count("\n") == 1
