"""Each layer of the collection sees only what stands below it."""
from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins import module_utils

ROOT = Path(module_utils.__path__[0])
LAYERS = (
    {"__init__", "model", "words", "hints", "generated", "interrupt", "lean_imports", "progress",
     "vantage"},
    {"tls", "mqtt", "listeners", "identity", "certificates", "client_certificate"},
    {"drivers", "cluster"},
    {"contract"},
    {"run"},
    {"checks"},
    {"tolerance"},
    {"report"},
    {"verify", "client_stacks"},
    {"every_listener", "upgrade"},
)
"""From words to whole runs: files and folders. Those of one layer see each other."""
UPWARDS = {
    # What an inventory says of checks, waivers, client stacks and earlier runs is refused by the
    # very code that reads it in a run: nothing else knows what it may be.
    "contract.settings": {"run", "checks", "tolerance", "report", "client_stacks"},
}
"""By module: layers that it sees from below, with why."""
ROOMS = {**dict.fromkeys(LAYERS[0], "words"), "client_certificate": "tls",
         "certificates": "listeners", "identity": "mqtt", "cluster": "drivers",
         "every_listener": "upgrade"}
"""Files that the picture of docs/architecture.md has in a room; a folder is a room by itself."""
_ARROW = re.compile(r"^ +(\w+)(?:\[[^]]*\])? --> (\w+)$", re.MULTILINE)


def _modules() -> Iterator[tuple[tuple[str, ...], ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield (path.relative_to(ROOT).with_suffix("").parts,
               ast.parse(path.read_text(encoding="utf-8")))


def _seen(module: tuple[str, ...], tree: ast.Module) -> set[str]:
    """Return the files and folders of module_utils that a module imports of, for types or not."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            at = (*module[:-node.level], *(node.module or "").split("."))
            found.update([at[0]] if at[0] else [alias.name for alias in node.names])
    return found - {module[0]}


def _height(name: str) -> int:
    [height] = [number for number, layer in enumerate(LAYERS) if name in layer]
    return height


def test_each_file_and_folder_has_its_layer() -> None:
    there = {module[0] for module, _ in _modules()}
    listed = [name for layer in LAYERS for name in layer]
    assert sorted(listed) == sorted(there)


def test_nobody_looks_up() -> None:
    upwards = {}
    for module, tree in _modules():
        above = {name for name in _seen(module, tree) if _height(name) > _height(module[0])}
        if above:
            upwards[".".join(module)] = above
    assert upwards == UPWARDS


def _reaches(start: str, end: str, arrows: set[tuple[str, str]]) -> bool:
    todo, seen = [start], {start}
    while todo:
        room = todo.pop()
        onwards = {seen_room for at, seen_room in arrows if at == room} - seen
        seen |= onwards
        todo += onwards
    return end in seen


def test_the_picture_has_every_room_and_the_arrows_that_lead_to_all_it_sees() -> None:
    arrows = set()
    for module, tree in _modules():
        if ".".join(module) not in UPWARDS:
            at = ROOMS.get(module[0], module[0])
            arrows |= {(at, ROOMS.get(name, name)) for name in _seen(module, tree)} - {(at, at)}
    needed = {arrow for arrow in arrows if not _reaches(*arrow, arrows - {arrow})}
    page = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
    picture = page.partition("```mermaid\n")[2].partition("```")[0]
    assert set(_ARROW.findall(picture)) == needed
    assert len(needed) > 10


def test_within_the_collection_imports_are_relative() -> None:
    for module, tree in _modules():
        whole = [node.lineno for node in ast.walk(tree)
                 if (isinstance(node, ast.ImportFrom) and not node.level
                     and (node.module or "").startswith("ansible_collections"))
                 or (isinstance(node, ast.Import)
                     and any(alias.name.startswith("ansible_collections") for alias in node.names))]
        assert whole == [], ".".join(module)


@pytest.mark.parametrize(("module", "code", "seen"), [
    (("run", "plan"), "from ..report.files import write", {"report"}),
    (("run", "plan"), "from .. import report, model", {"report", "model"}),
    (("verify",), "from . import upgrade", {"upgrade"}),
    (("checks", "core", "mqtt"), "from ...report import files", {"report"}),
    (("checks", "core", "mqtt"), "from ..life import capacity\nfrom . import resuming", set()),
    (("tls", "engine"), "if TYPE_CHECKING:\n    from ..run.bench import Bench", {"run"}),
    (("tls", "engine"), "def later():\n    from ..drivers import base", {"drivers"})])
def test_an_import_is_seen_wherever_it_stands(
        module: tuple[str, ...], code: str, seen: set[str]) -> None:
    assert _seen(module, ast.parse(code)) == seen
