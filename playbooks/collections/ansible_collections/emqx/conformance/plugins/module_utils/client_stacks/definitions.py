"""Reading ``client_stacks/``: what there is, how it is started, what is expected of it.

Needs PyYAML, which comes with ansible-core: it is done on the controller.
"""
from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..listeners.nearest import did_you_mean
from ..tolerance.files import content
from .words import (
    AS_IT_COMES,
    PLACES,
    USUAL_WAYS,
    WAYS,
    Expected,
    Result,
    Stack,
)

FOLDER, BUILT = "client_stacks", ".built"
"""Where stacks are, in the checkout; and in there, where what is built of them goes."""
_KEYS = ("title", "packages", "build", "run", "ways")
_EXPECTED_KEYS = ("stack", "way", *PLACES, "otp", "server_name", "why")
_NAMED = {None: None, "name": True, "address": False}
_EXPECTED = {result.value: result for result in Result
             if result not in (Result.NOT_TRIED, Result.INCONSISTENT)}


class StackError(Exception):
    """A file of ``client_stacks/`` is not as it should be; the sentence says which and how."""


@dataclass(frozen=True)
class Definition:
    """A ``stack.yml``."""

    name: str
    title: str
    packages: tuple[str, ...]
    """Debian packages that it is built of and runs on."""
    build: tuple[tuple[str, ...], ...]
    """Commands that build it, run in its folder."""
    run: tuple[str, ...]
    ways: tuple[str, ...]
    folder: Path
    built: Path
    readme: str
    """What its README.md says, in Markdown."""

    def stack(self) -> Stack:
        """Return the stack as a run takes it, with the reason if it cannot be started."""
        program = self.run[0]
        missing = [word for word in self.run if word.startswith(str(self.built))
                   and not Path(word).exists()]
        why_not = ""
        if missing or shutil.which(program) is None:
            why_not = (f"since it is not built ({(missing or [program])[0]} is not there): "
                       f"make stacks STACKS={self.name}")
        return Stack(self.name, self.title, self.run, self.ways, why_not, self.readme)


def names(root: Path) -> list[str]:
    """Return the names of all stacks of a checkout."""
    return sorted(path.parent.name for path in (root / FOLDER).glob("*/stack.yml"))


def chosen(wanted: Sequence[str], root: Path) -> list[str]:
    """Return the names that are wanted, or all if none is; raise StackError for what is none."""
    known = names(root)
    for name in wanted:
        if name not in known:
            raise StackError(f"there is no client stack {name}"
                             f"{did_you_mean(name, known) or '; there are: ' + ', '.join(known)}")
    return list(dict.fromkeys(wanted)) or known


def read(name: str, root: Path) -> Definition:
    """Return one stack's definition. Raises StackError."""
    folder, built = root / FOLDER / name, root / FOLDER / BUILT / name
    path = folder / "stack.yml"
    row = _mapping(path, _content(path), _KEYS)
    where = {"here": str(folder), "built": str(built), "python": sys.executable}
    ways = tuple(row.get("ways", USUAL_WAYS))
    if not ways or ways[0] != AS_IT_COMES or not set(ways) <= set(WAYS):
        raise StackError(f"{path}: ways are of {', '.join(WAYS)}, the first one first")
    if not row.get("title") or not row.get("run"):
        raise StackError(f"{path}: title and run must be there")
    return Definition(
        name, str(row["title"]), tuple(map(str, row.get("packages", ()))),
        tuple(_filled(path, command, where) for command in row.get("build", ())),
        _filled(path, row["run"], where), ways, folder, built, _readme(folder / "README.md"))


def _readme(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise StackError(f"{path} cannot be read: {_why(error)}") from None


def _filled(path: Path, command: Any, where: Mapping[str, str]) -> tuple[str, ...]:
    try:
        return tuple(str(word).format(**where) for word in command)
    except (KeyError, IndexError, ValueError, TypeError):
        raise StackError(f"{path}: a command is a list of words, in which there may be "
                         "{here}, {built} and {python}") from None


def expected(root: Path) -> tuple[Expected, ...]:
    """Return what ``client_stacks/expected.yml`` expects. Raises StackError."""
    path = root / FOLDER / "expected.yml"
    rows = _content(path)
    if not isinstance(rows, list):
        raise StackError(f"{path} must be a list")
    return tuple(one for row in rows for one in _expected(path, row, names(root)))


def _expected(path: Path, row: Any, known: Iterable[str]) -> Iterable[Expected]:
    row = _mapping(path, row, _EXPECTED_KEYS)
    stack, way, otp = row.get("stack"), row.get("way"), row.get("otp") or {}
    if stack not in known or way not in WAYS or not row.get("why"):
        raise StackError(f"{path}: each entry has a stack that there is, a way ("
                         f"{', '.join(WAYS)}) and a why; this has not: {row}")
    if set(otp) - {"from", "to"} or not all(isinstance(value, int) for value in otp.values()):
        raise StackError(f"{path}: otp has from and to, major releases of Erlang/OTP: {row}")
    if row.get("server_name") not in _NAMED:
        raise StackError(f"{path}: server_name is name or address, or is left out: {row}")
    for place in PLACES:
        if place not in row:
            continue
        if row[place] not in _EXPECTED:
            raise StackError(f"{path}: {place} is one of {', '.join(_EXPECTED)}, not {row[place]}")
        yield Expected(stack, way, place, _EXPECTED[row[place]], otp.get("from", 0), otp.get("to"),
                       _NAMED[row.get("server_name")])


def _content(path: Path) -> Any:
    try:
        return content(path)
    except OSError as error:
        raise StackError(f"{path} cannot be read: {_why(error)}") from None
    except (yaml.YAMLError, ValueError):
        raise StackError(f"{path} is no YAML") from None


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _mapping(path: Path, row: Any, keys: Iterable[str]) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise StackError(f"{path}: this must have the keys {', '.join(keys)}: {row}")
    for key in row:
        if key not in keys:
            raise StackError(f'{path} has the unknown key "{key}"'
                             f"{did_you_mean(str(key), keys) or '.'}")
    return row
