"""Compiling: once, whole, and safely at the same time."""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import DriverError
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded import build


@pytest.fixture
def source_dir(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/one.erl").write_text("-module(one).\n-export([f/0]).\nf() -> ok.\n")
    (tmp_path / "src/one.app").write_text("{application, one, []}.\n")
    return tmp_path


def test_compiled_once(source_dir: Path) -> None:
    target = build.compiled(source_dir)
    assert target == source_dir / "ebin" / build.code_version(source_dir)
    assert sorted(path.name for path in target.iterdir()) == ["one.app", "one.beam"]
    made_at = (target / "one.beam").stat().st_mtime_ns
    assert build.compiled(source_dir) == target
    assert (target / "one.beam").stat().st_mtime_ns == made_at


def test_a_changed_source_gets_a_directory_of_its_own(source_dir: Path) -> None:
    before = build.compiled(source_dir)
    (source_dir / "src/one.erl").write_text("-module(one).\n-export([f/0]).\nf() -> yes.\n")
    after = build.compiled(source_dir)
    assert before != after
    assert before.is_dir()


def test_another_otp_release_gets_a_directory_of_its_own(
        source_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build.code_version(source_dir)
    other = tmp_path / "erlang"
    (other / "bin").mkdir(parents=True)
    (other / "bin" / "erl").write_text("#!/bin/sh\n")
    (other / "bin" / "erl").chmod(0o755)
    (other / "releases" / "99").mkdir(parents=True)
    (other / "releases" / "99" / "OTP_VERSION").write_text("99.1\n")
    monkeypatch.setenv("PATH", str(other / "bin"))
    assert build.code_version(source_dir) != before


def test_builds_at_the_same_time(source_dir: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = set(pool.map(lambda _: build.compiled(source_dir), range(4)))
    assert len(made) == 1
    assert [path.name for path in (source_dir / "ebin").iterdir()] == [made.pop().name]


def test_an_error_is_passed_on_and_leaves_nothing(source_dir: Path) -> None:
    (source_dir / "src/one.erl").write_text("-module(one).\nf( -> ok.\n")
    with pytest.raises(DriverError, match=r"does not compile: .*one\.erl:2") as error:
        build.compiled(source_dir)
    assert "\n" not in str(error.value)
    assert list((source_dir / "ebin").iterdir()) == []


def test_a_compiler_that_was_interrupted_made_nothing(
        source_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # erlc ended by a signal may report success.
    monkeypatch.setattr(build, "program", lambda _: "true")
    with pytest.raises(DriverError, match="nothing was made of one"):
        build.compiled(source_dir)
    assert list((source_dir / "ebin").iterdir()) == []


def test_no_sources(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="there are no sources"):
        build.compiled(tmp_path)


def test_no_erlang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DriverError, match=r"erl was not found: .*apt-get install erlang-base"):
        build.program("erl")
