"""docs/adding-a-check.md adds a check that finds what it says, and nothing in a right server."""
from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest
import yaml
from ansible_collections.emqx.conformance.plugins.module_utils import verify
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.checks.core import resuming
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Registry
from ansible_collections.emqx.conformance.plugins.module_utils.run.story import Story

from tests.faulty_servers import table, trial
from tests.unit.checks.test_declared import MOST

PAGE = (Path(__file__).parents[2] / "docs/adding-a-check.md").read_text()
ID = "CORE-90"


def _block(language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def with_the_example() -> Iterator[Registry]:
    """The catalogue, and the check of the page, written into a file like resuming.py."""
    module = ModuleType(f"{resuming.__name__}_example")
    sys.modules[module.__name__] = module
    exec(_block("python"), {**vars(resuming), "__name__": module.__name__}, vars(module))  # noqa: S102
    registry = catalogue()
    registry.collect(module)
    with mock.patch.object(verify, "catalogue", return_value=registry):
        yield registry
    del sys.modules[module.__name__]


def test_it_is_declared_as_the_page_says(with_the_example: Registry) -> None:
    [check] = [check for check in with_the_example if check.id == ID]
    code = _block("python")
    assert code.startswith(f'@Check(\n    id="{ID}",\n')
    assert inspect.getdoc(check.story)
    assert len(code[code.index("def "):].splitlines()) <= MOST


def test_it_finds_what_the_row_of_the_page_says(with_the_example: Registry) -> None:
    [(name, told)] = yaml.safe_load(_block("yaml")).items()
    row = table.read()[name]
    assert (row.what, list(row.how)) == (told["what"], told["messages"])
    assert told["finds"] == {"failed not_resumed": [ID]}
    found = trial.run(row, only=ID).found
    assert [(one.status, one.reason, one.message) for one in found] == [
        ("failed", "not_resumed", "n1 did not resume its session once more")]


def test_it_finds_nothing_in_a_right_server(with_the_example: Registry) -> None:
    found = trial.run(table.read()["clean_one_suite"], only=ID).found
    assert [(one.status, one.message) for one in found] == [
        ("passed", "n1 resumed its session once more")]


def test_what_the_page_names_is_there() -> None:
    for name in re.findall(r"`((?:checks|run|tests)/[\w/]+\.(?:py|yml))`", PAGE):
        folder = Path(resuming.__file__).parents[2] if name.startswith(("checks/", "run/")) else (
            Path(__file__).parents[2])
        assert (folder / name).is_file(), name
    methods = re.findall(
        r"`(?:story\.)?(resumes|falls_back|full|fail|warn|inform|skip|confirmed)`", PAGE)
    assert len(methods) == 8
    assert all(hasattr(Story, method) for method in methods)
