"""vm.args: what of it the embedded node takes, and Erlang reads it so."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from embedded_image import configure, vm_args

EMQX_S_OWN = """
## Erlang VM flags
+P 2097152
-env ERL_CRASH_DUMP log/crash.dump   # relative to home
-shutdown_time 30000
-kernel net_ticktime 120
-ssl session_lifetime 300
-ssl session_cache_server_max 100000 # devices
"""


def test_the_two_that_are_about_sessions_are_taken_and_the_others_named() -> None:
    found = vm_args.read(EMQX_S_OWN)
    assert found.text() == "-ssl session_lifetime 300\n-ssl session_cache_server_max 100000\n"
    assert found.notes == (
        "known to Erlang, without effect here: +P, -env, -shutdown_time, -kernel (vm.args)",)


def test_an_empty_file_says_nothing() -> None:
    assert (vm_args.read("").text(), vm_args.read("# nothing\n\n").notes) == ("", ())


@pytest.mark.parametrize(("text", "ssl", "notes"), [
    ("-ssl session_lifetime 1 session_cache_server_max 2",
     (("session_lifetime", "1"), ("session_cache_server_max", "2")), ()),
    ("-ssl session_lifetime 5 -ssl session_lifetime 6",
     (("session_lifetime", "5"), ("session_lifetime", "6")), ()),
    ("#-ssl session_lifetime 5", (), ()),
    ("-ssl session_lifetime", (),
     ("vm.args: -ssl session_lifetime is no number, so Erlang/OTP keeps its own",)),
    ("-ssl session_cache_server_max 10k", (),
     ("vm.args: -ssl session_cache_server_max is no number, so Erlang/OTP keeps its own",)),
    ("-ssl session_cb other", (),
     ("known to Erlang, without effect here: -ssl session_cb (vm.args)",)),
])
def test_flags(text: str, ssl: tuple[tuple[str, str], ...], notes: tuple[str, ...]) -> None:
    assert vm_args.read(text) == vm_args.VmArgs(ssl, notes)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A container's etc and its working directory in one."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("EMQX_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EMQX_NODE__NAME", "emqx@node1.example")
    monkeypatch.setenv("EMQX_NODE__COOKIE", "12345")
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "emqx.conf").touch()
    return etc


def test_erlang_takes_it_before_erl_flags(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "vm.args").write_text("+Q 1048576\n-ssl session_cache_server_max 7\n")
    assert configure.main([str(folder / "emqx.conf")]) == 0
    assert "WARNING: known to Erlang, without effect here: +Q (vm.args)\n" in (
        capsys.readouterr().err)
    erl = shutil.which("erl")
    assert erl is not None
    shown = ("application:load(ssl), [io:format(\"~0p \", [application:get_env(ssl, Name)]) "
             "|| Name <- [session_lifetime, session_cache_server_max]], halt().")
    done = subprocess.run(
        [erl, "-noinput", "-args_file", "vm.args", "-eval", shown], capture_output=True, text=True,
        env={**os.environ, "ERL_FLAGS": "-ssl session_lifetime 5 session_cache_server_max 5"},
        check=True, timeout=60)
    assert done.stdout == "{ok,5} {ok,7} "


def test_without_one_there_is_an_empty_one_for_erlang(folder: Path) -> None:
    Path("vm.args").write_text("-ssl session_lifetime 1\n")  # of the boot before
    assert configure.main([str(folder / "emqx.conf")]) == 0
    assert Path("vm.args").read_text() == ""


def test_one_that_cannot_be_read_is_one_sentence(
        folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "vm.args").write_bytes(b"-ssl \xff")
    assert configure.main([str(folder / "emqx.conf")]) == 1
    assert capsys.readouterr().err == (
        f"cannot boot: {folder}/vm.args cannot be read: it is not UTF-8\n")
