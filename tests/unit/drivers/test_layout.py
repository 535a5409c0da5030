"""Names and files of a cluster's directory."""
from __future__ import annotations

import stat
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import DriverError
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.layout import (
    ClusterFolder,
    NodeRecord,
    erlang_name,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.processes import Process


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a b", "-x", "a\n", "ä"])
def test_names_that_are_no_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(DriverError, match="may have letters"):
        ClusterFolder.of(tmp_path, name)
    with pytest.raises(DriverError, match="may have letters"):
        ClusterFolder.of(tmp_path, "ok").run_dir(name)


def test_erlang_names_never_collide() -> None:
    assert erlang_name("emqx1") == "emqx1@127.0.0.1"
    names = {erlang_name(name) for name in ("a.b", "a_b", "a-b", "a.b.c")}
    assert len(names) == 4
    assert all(name.count("@") == 1 and "." not in name.partition("@")[0] for name in names)


def test_a_record_survives(tmp_path: Path) -> None:
    record = NodeRecord("print", ["erl", "-x"], 24000, Process(7, "boot/1"))
    record.save(tmp_path)
    assert NodeRecord.load(tmp_path) == record
    assert stat.S_IMODE((tmp_path / "node.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["node.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"fingerprint": 1}', "null"])
def test_a_broken_record_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "node.json").write_text(text)
    assert NodeRecord.load(tmp_path) is None


def test_the_cookie_is_made_once(tmp_path: Path) -> None:
    folder = ClusterFolder.of(tmp_path, "c")
    folder.path.mkdir()
    folder.ensure_cookie()
    cookie = folder.path / ".erlang.cookie"
    first = cookie.read_text()
    assert len(first) == 64
    assert stat.S_IMODE(cookie.stat().st_mode) == 0o400
    folder.ensure_cookie()
    assert cookie.read_text() == first
