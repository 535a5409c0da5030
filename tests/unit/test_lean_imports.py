"""Packages of which parts are imported: they work, and the whole can be had afterwards."""
from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.lean_imports import parts_of, without


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package with a module ``part`` whose ``__init__`` imports another one, ``rest``."""
    name = "package_of_a_test"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("from . import rest\nwhole = True\n")
    (folder / "part.py").write_text(
        "from . import rest_of_part\n"
        "try:\n    import optional_for_a_test\nexcept ImportError:\n    FOUND = False\n"
        "else:\n    FOUND = True\n")
    (folder / "rest.py").touch()
    (folder / "rest_of_part.py").touch()
    (tmp_path / "optional_for_a_test.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    for module in [*sys.modules]:
        if module.partition(".")[0] in (name, "optional_for_a_test"):
            del sys.modules[module]


def test_a_part_is_imported_without_the_rest(package: str) -> None:
    with parts_of(package):
        importlib.import_module(f"{package}.part")
    assert f"{package}.rest_of_part" in sys.modules
    assert f"{package}.rest" not in sys.modules


def test_whoever_imports_the_package_then_gets_all_of_it(package: str) -> None:
    with parts_of(package):
        part = importlib.import_module(f"{package}.part")
    assert importlib.import_module(package).whole
    assert f"{package}.rest" in sys.modules
    assert importlib.import_module(f"{package}.part") is part


def test_a_package_that_has_been_imported_is_left_alone(package: str) -> None:
    whole = importlib.import_module(package)
    with parts_of(package):
        importlib.import_module(f"{package}.part")
    assert sys.modules[package] is whole


def test_a_package_that_is_not_installed_is_missed_as_ever() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package"), parts_of("no_such_package"):
        importlib.import_module("no_such_package.part")


def test_what_can_be_done_without_is_not_found_meanwhile(package: str) -> None:
    with without("optional_for_a_test"):
        assert not importlib.import_module(f"{package}.part").FOUND
    assert importlib.import_module("optional_for_a_test")


def test_what_has_been_imported_is_found(package: str) -> None:
    importlib.import_module("optional_for_a_test")
    with without("optional_for_a_test"):
        assert importlib.import_module(f"{package}.part").FOUND


@pytest.mark.parametrize("way", [parts_of, without])
def test_nothing_stays_behind_when_an_import_fails(package: str, way: type) -> None:
    with pytest.raises(ZeroDivisionError), way(package):
        raise ZeroDivisionError
    assert importlib.import_module(package).whole
