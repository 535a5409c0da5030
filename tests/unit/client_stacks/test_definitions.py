"""What is in client_stacks/ is read whole, and what is wrong there is told."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.definitions import (
    StackError,
    chosen,
    expected,
    names,
    read,
)
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.words import (
    HOME,
    TOLD,
    Expected,
    Result,
)

from tests.support.playbooks import ROOT

GOOD = "title: Mine\nrun: ['{python}', '{here}/client.py']\n"


def made(root: Path, text: str = GOOD, expects: str = "[]") -> Path:
    """Write a checkout with one stack."""
    folder = root / "client_stacks" / "mine"
    folder.mkdir(parents=True)
    (folder / "stack.yml").write_text(text)
    (folder / "README.md").write_text("# Mine\n")
    (folder.parent / "expected.yml").write_text(expects)
    return root


def test_the_stacks_that_are_there_can_be_read_and_say_what_they_are() -> None:
    assert {"erlang_ssl", "openssl", "python_ssl"} <= set(names(ROOT))
    for name in names(ROOT):
        definition = read(name, ROOT)
        assert definition.stack().name == name
        assert (definition.folder / "README.md").read_text().startswith("# ")


def test_everything_that_is_there_has_something_expected() -> None:
    there = {(name, way) for name in names(ROOT) for way in read(name, ROOT).ways}
    assert there == {(one.stack, one.way) for one in expected(ROOT)}


def test_a_stack_without_a_readme_is_told(tmp_path: Path) -> None:
    (made(tmp_path) / "client_stacks" / "mine" / "README.md").unlink()
    with pytest.raises(StackError, match=r"README\.md cannot be read: no such file"):
        read("mine", tmp_path)


def test_commands_are_filled_in(tmp_path: Path) -> None:
    definition = read("mine", made(tmp_path))
    assert definition.run == (sys.executable, f"{tmp_path}/client_stacks/mine/client.py")
    assert definition.stack().why_not == ""


def test_what_is_not_built_cannot_be_tried_and_says_what_to_do(tmp_path: Path) -> None:
    stack = read("mine", made(tmp_path, "title: Mine\nrun: ['{built}/client']\n")).stack()
    assert stack.why_not == (f"since it is not built ({tmp_path}/client_stacks/.built/mine/client "
                             "is not there): make stacks STACKS=mine")


def test_a_name_that_is_none_is_told_with_the_nearest(tmp_path: Path) -> None:
    assert chosen([], made(tmp_path)) == ["mine"]
    with pytest.raises(StackError, match=r'no client stack mime; did you mean "mine"\?'):
        chosen(["mime"], tmp_path)
    with pytest.raises(StackError, match="there is no client stack zzz; there are: mine"):
        chosen(["zzz"], tmp_path)


@pytest.mark.parametrize(("text", "says"), [
    ("titel: Mine\nrun: [x]\n", r'has the unknown key "titel"; did you mean "title"\?'),
    ("title: Mine\n", "title and run must be there"),
    ("title: Mine\nrun: ['{nowhere}']\n", "a command is a list of words"),
    ("title: Mine\nrun: [x]\nways: [told]\n", "ways are of as_it_comes, .*, the first one first"),
    ("[]", "this must have the keys title"), ("a: [", "is no YAML")])
def test_a_definition_that_is_wrong_is_told(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(StackError, match=says):
        read("mine", made(tmp_path, text))


def test_what_is_expected_goes_by_erlang(tmp_path: Path) -> None:
    [one] = expected(made(tmp_path, expects=(
        "- {stack: mine, way: told, home: resumed, why: it does, otp: {from: 25, to: 27}}")))
    assert one == Expected("mine", TOLD, HOME, Result.RESUMED, 25, 27)
    covered = [one.covers("mine", TOLD, HOME, release, named=True)
               for release in ("24", "25.2.3", "27", "28.1", None)]
    assert covered == [False, True, True, False, False]


@pytest.mark.parametrize(("written", "covered"), [
    ("name", (True, False)), ("address", (False, True)), ("null", (True, True))])
def test_and_by_what_the_node_is_asked_by(tmp_path: Path, written: str,
                                          covered: tuple[bool, bool]) -> None:
    [one] = expected(made(tmp_path, expects=(
        f"- {{stack: mine, way: told, home: resumed, why: it does, server_name: {written}}}")))
    assert tuple(one.covers("mine", TOLD, HOME, "25", named=named)
                 for named in (True, False)) == covered


@pytest.mark.parametrize(("text", "says"), [
    ("- {stack: mine, way: told, home: resumed}", "and a why; this has not"),
    ("- {stack: mine, way: told, home: resumed, why: x, server_name: ip}",
     "server_name is name or address"),
    ("- {stack: other, way: told, home: resumed, why: x}", "each entry has a stack that there is"),
    ("- {stack: mine, way: told, home: perhaps, why: x}", "home is one of resumed, not_offered"),
    ("- {stack: mine, way: told, home: not_tried, why: x}", "home is one of resumed"),
    ("- {stack: mine, way: told, home: resumed, why: x, otp: {since: 25}}", "otp has from and to"),
    ("{}", "must be a list")])
def test_an_expectation_that_is_wrong_is_told(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(StackError, match=says):
        expected(made(tmp_path, expects=text))
