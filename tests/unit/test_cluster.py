"""What the module is asked for: parameters, check mode, and documentation that agrees."""
from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.emqx.conformance.plugins.module_utils.cluster import Answer, ask
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import DriverError
from ansible_collections.emqx.conformance.plugins.modules import emqx_cluster

ROOT = Path(__file__).parents[2]


def params(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    defaults = {name: option.get("default")
                for name, option in emqx_cluster.ARGUMENT_SPEC.items()}
    return {**defaults, "cluster_name": "c", "state_dir": str(tmp_path / "state"),
            "source_dir": str(ROOT / "embedded_node"), "config_dir": str(tmp_path / "config"),
            "nodes": [{"name": "emqx1", "host": "127.0.0.1", "port": 20123, "server_name": None,
                       "config": None}], **changes}


def pretend(tmp_path: Path, **changes: Any) -> Answer:
    return ask(params(tmp_path, **changes), pretend=True, stop=threading.Event())


def test_check_mode_before_anything_is_rendered(tmp_path: Path) -> None:
    answer = pretend(tmp_path)
    assert answer.changed
    assert answer.started == ["emqx1"]
    assert list(tmp_path.iterdir()) == []
    diff = answer.as_dict()["diff"]
    assert (diff["before"], diff["after"]) == ("emqx1: not running\n", "emqx1: running\n")


def test_check_mode_reads_what_is_rendered(tmp_path: Path) -> None:
    config = tmp_path / "config" / "emqx1" / "listeners.hocon"
    config.parent.mkdir(parents=True)
    config.write_text('listeners.ssl.default { bind = "127.0.0.1:20123", zone = "default" }')
    [warning] = pretend(tmp_path).warnings
    assert warning.startswith("listeners.ssl.default.zone: known to EMQX")
    assert warning.endswith("(emqx1)")
    config.write_text("listeners.ssl.default { bnd = 1 }")
    with pytest.raises(DriverError) as error:
        pretend(tmp_path)
    assert str(error.value) == ("emqx1: listeners.ssl.default.bnd: EMQX knows no such key; did "
                                f'you mean "bind"? (in {config})')
    assert [path.name for path in tmp_path.iterdir()] == ["config"]


def test_absent_where_nothing_is(tmp_path: Path) -> None:
    answer = ask(params(tmp_path, state="absent", cluster_name=None), pretend=False,
                 stop=threading.Event())
    assert (answer.changed, answer.stopped) == (False, [])


def test_external_nodes_are_never_stopped(tmp_path: Path) -> None:
    assert not pretend(tmp_path, state="absent", driver="external").changed
    with pytest.raises(DriverError, match="cannot restart nodes"):
        pretend(tmp_path, state="restarted", driver="external")


def test_external_nodes_are_not_called_in_check_mode(tmp_path: Path) -> None:
    answer = pretend(tmp_path, driver="external")
    assert (answer.unchanged, answer.identities) == (["emqx1"], {})


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"nodes": []}, "there is no node to run"),
    ({"cluster_name": None}, "cluster_name is needed for state present"),
    ({"state": "absent", "state_dir": None}, "state_dir is needed for state absent"),
    ({"cluster_name": "../x"}, 'the cluster name "../x" may have'),
    ({"release": "six"}, "release: .*six"),
    ({"source_dir": "/nowhere"}, "there are no sources of the embedded node"),
])
def test_one_sentence_each(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DriverError, match=sentence):
        pretend(tmp_path, **changes)


def test_a_missing_ca_is_told_before_anything_starts_but_not_in_check_mode(
        tmp_path: Path) -> None:
    with pytest.raises(DriverError, match=r"the CA file /nowhere/ca\.pem does not exist"):
        ask(params(tmp_path, ca="/nowhere/ca.pem"), pretend=False, stop=threading.Event())
    assert pretend(tmp_path, ca="/nowhere/ca.pem").started == ["emqx1"]


def test_documentation_and_arguments_agree() -> None:
    def compare(spec: dict[str, Any], documented: dict[str, Any]) -> None:
        assert set(spec) == set(documented)
        for name, option in spec.items():
            for key in ("type", "required", "default", "choices", "elements"):
                assert documented[name].get(key) == option.get(key), (name, key)
            if "options" in option:
                compare(option["options"], documented[name]["suboptions"])

    compare(emqx_cluster.ARGUMENT_SPEC,
            yaml.safe_load(emqx_cluster.DOCUMENTATION)["options"])


def test_examples_use_known_options() -> None:
    for task in yaml.safe_load(emqx_cluster.EXAMPLES):
        assert set(task["emqx.conformance.emqx_cluster"]) <= set(emqx_cluster.ARGUMENT_SPEC)
    returned = yaml.safe_load(emqx_cluster.RETURN)
    assert set(Answer().as_dict()) - {"changed", "diff"} == set(returned) - {"warnings"}


def test_check_mode_does_not_read_what_is_going_to_be_rendered_anew(tmp_path: Path) -> None:
    config = tmp_path / "config" / "emqx1" / "listeners.hocon"
    config.parent.mkdir(parents=True)
    config.write_text('listeners.ssl.default { bind = "127.0.0.1:20999" }')
    with pytest.raises(DriverError, match="no enabled ssl listener is on port 20123"):
        pretend(tmp_path)
    answer = pretend(tmp_path, to_render=["emqx1"])
    assert (answer.changed, answer.started) == (True, ["emqx1"])
