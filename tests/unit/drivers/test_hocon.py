"""HOCON without pyhocon's traps."""
from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers import hocon
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.hocon import HoconError


def read(tmp_path: Path, text: str) -> dict[str, Any]:
    file = tmp_path / "listeners.hocon"
    file.write_text(text, encoding="utf-8")
    return hocon.read(file)


@pytest.mark.parametrize(("value", "meant"), [
    ("15s", 15_000), ('"15s"', "15s"), ("500ms", 500), ("1h30m", "1h30m"), ("2m", 120_000),
    ('"1MB"', "1MB"), ("infinity", "infinity"), ("true", True), ('"true"', "true"), ("8883", 8883),
    ('"127.0.0.1:8883"', "127.0.0.1:8883"), ('"é"', "é"), ('""', ""), ("-1", -1), ("0.5", 0.5),
    ('["a", "b"]', ["a", "b"]), ("[]", []), ("[[1], [2]]", [[1], [2]]), ("{b = 1}", {"b": 1}),
    (r'"a \"b\" \\ c"', 'a "b" \\ c'), ("null", None), ('"# no comment"', "# no comment"),
])
def test_values(tmp_path: Path, value: str, meant: Any) -> None:
    assert read(tmp_path, f"a {{ key = {value} }}") == {"a": {"key": meant}}


def test_quoted_keys_lose_their_quotes(tmp_path: Path) -> None:
    assert read(tmp_path, '"a" { "b-c" = 1 }') == {"a": {"b-c": 1}}


def test_later_objects_merge_and_later_values_win(tmp_path: Path) -> None:
    assert read(tmp_path, "a { x = 1, y = 1 }\na { y = 2 }") == {"a": {"x": 1, "y": 2}}


def test_an_include_is_read(tmp_path: Path) -> None:
    (tmp_path / "other.hocon").write_text("b = 2")
    assert read(tmp_path, 'include "other.hocon"\na = 1') == {"a": 1, "b": 2}


@pytest.mark.parametrize(("text", "words"), [
    ('include "gone.hocon"', "gone.hocon, which does not exist"),
    ('a { include "gone.hocon" }', "gone.hocon, which does not exist"),
    ('a = 1, include "gone.hocon"', "gone.hocon, which does not exist"),
    ('a { b = "}" // x\n # y\n Include "gone.hocon" }', "gone.hocon, which does not exist"),
    ('include "/no/such/file"', "/no/such/file, which does not exist"),
    ('include required(file("gone.hocon"))', "gone.hocon, which does not exist"),
    ('include url("http://127.0.0.1:1/x")', "only files can be included"),
    ('include "http://127.0.0.1:1/x"', "only files can be included"),
    ('include "*.hocon"', "only files can be included"),
    ('include "listeners.hocon"', "includes itself"),
    ("a {", "is not HOCON"),
    ("a = ${nobody.set.this}", "is not HOCON"),
    ('a."c.d" { x = 1 }', "is not HOCON"),
    ('a { "c.d" = 1 }', '"c.d" may have letters'),
    (r'a = "\u00e9"', "write the character itself"),
    ("[1, 2]", "must hold an object"),
])
def test_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(HoconError, match=r"listeners\.hocon") as error:
        read(tmp_path, text)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", [
    'a = "include \\"x\\""', '# include "x"\na = 1', '// include "x"\na = 1',
    'a = """\ninclude "x"\n"""', "a = no include here",
])
def test_not_every_include_is_one(tmp_path: Path, text: str) -> None:
    assert list(read(tmp_path, text)) == ["a"]


def test_a_missing_include_deep_down(tmp_path: Path) -> None:
    (tmp_path / "other.hocon").write_text('include "gone.hocon"')
    with pytest.raises(HoconError, match=r"other\.hocon includes .*gone\.hocon, which does not"):
        read(tmp_path, 'include "other.hocon"')


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(HoconError, match=r"gone\.hocon: no such file"):
        hocon.read(tmp_path / "gone.hocon")


def test_not_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "listeners.hocon"
    file.write_bytes(b'a = "\xff"')
    with pytest.raises(HoconError, match="not UTF-8"):
        hocon.read(file)


def test_pyhocon_says_nothing_by_itself(tmp_path: Path,
                                        caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(HoconError):
        read(tmp_path, 'include "gone.hocon"')
    assert caplog.text == ""


def test_without_pyhocon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyhocon", None)
    with pytest.raises(HoconError, match="pyhocon is missing"):
        read(tmp_path, "a = 1")
