"""Terms: what file:consult/1 reads is what was written."""
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.terms import (
    Atom,
    Term,
    render,
    render_file,
)


@pytest.mark.parametrize(("value", "text"), [
    (Atom("tlsv1.2"), "'tlsv1.2'"),
    (Atom("it's"), r"'it\'s'"),
    (True, "true"),
    (False, "false"),
    (-7, "-7"),
    ("plain", '<<"plain"/utf8>>'),
    ('a"b\\c', r'<<"a\"b\\c"/utf8>>'),
    ("new\nline", r'<<"new\x{a}line"/utf8>>'),
    ("", '<<""/utf8>>'),
    ([1, [Atom("a")]], "[1, ['a']]"),
    ([], "[]"),
    (("::1", 8883), '{<<"::1"/utf8>>, 8883}'),
    ({"b": 1, "a": {}}, "#{'a' => #{}, 'b' => 1}"),
])
def test_render(value: Term, text: str) -> None:
    assert render(value) == text


@pytest.mark.parametrize("value", [None, 1.5, b"bytes", {1}])
def test_what_has_no_form_is_refused(value: Term) -> None:
    with pytest.raises(TypeError):
        render(value)


def test_erlang_reads_it_back(tmp_path: Path) -> None:
    tricky = "é \"quoted\" back\\slash\ttab %comment 'x' \u2028 \U0001f512"
    file = tmp_path / "term"
    file.write_text(render_file({"text": tricky, "name": Atom("ä'b"), "list": [True, (1, 2)]}),
                    encoding="utf-8")
    check = ("{ok, [#{text := T, name := N, list := [true, {1, 2}]}]} = file:consult(hd("
             "init:get_plain_arguments())), io:put_chars([T, $|, atom_to_binary(N)]), halt().")
    done = subprocess.run(["erl", "+pc", "unicode", "-noinput", "-eval",
                           f"io:setopts([{{encoding, unicode}}]), {check}", "-extra", str(file)],
                          capture_output=True, check=True, timeout=30)
    assert done.stdout.decode() == f"{tricky}|ä'b"
