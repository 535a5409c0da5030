"""Users of embedded nodes: the same password, the same file; another one, another salt."""
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded.users import (
    User,
    known_or_new,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.terms import render_file

ROOT = Path(__file__).parents[3]


def config(user: User) -> str:
    return render_file({"max_packet_size": 1, "users": [user.term()]})


def test_a_known_password_keeps_its_salt() -> None:
    first = known_or_new("probe", "secret", "")
    assert known_or_new("probe", "secret", config(first)) == first


@pytest.mark.parametrize(("username", "password"), [("probe", "other"), ("else", "secret")])
def test_anything_else_gets_another_salt(username: str, password: str) -> None:
    first = known_or_new("probe", "secret", "")
    assert known_or_new(username, password, config(first)).salt != first.salt
    assert known_or_new("probe", "secret", "").salt != first.salt


def test_neither_password_nor_hash_is_shown() -> None:
    user = known_or_new("probe", "secret", "")
    assert user.digest not in repr(user)
    assert "secret" not in config(user)


def test_the_node_reads_what_we_write(tmp_path: Path) -> None:
    username, password = "pr\u00f6be \"'\\", "s\u00e9cret \u2028 \U0001f512"
    file = tmp_path / "users"
    file.write_text(render_file([known_or_new(username, password, "").term()]), encoding="utf-8")
    (tmp_path / "given").write_bytes(username.encode() + b"\0" + password.encode())
    subprocess.run(["erlc", "-o", str(tmp_path),
                    str(ROOT / "embedded_node/src/embedded_node_users.erl")], check=True)
    check = ("{ok, [Users]} = file:consult(\"users\"), {ok, Given} = file:read_file(\"given\"), "
             "[Name, Password] = binary:split(Given, <<0>>), "
             "Ask = fun(P) -> embedded_node_users:may_connect("
             "#{username => Name, password => fun() -> P end}, Users) end, "
             "io:format(\"~p ~p\", [Ask(Password), Ask(<<Password/binary, $x>>)]), halt().")
    done = subprocess.run(["erl", "-noinput", "-pa", ".", "-eval", check], cwd=tmp_path,
                          capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "true false"
