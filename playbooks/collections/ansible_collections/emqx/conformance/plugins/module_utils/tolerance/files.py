"""Reading files of known deviations. Needs PyYAML, which comes with ansible-core."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from .deviations import DeviationError

SHIPPED = "known_deviations"
"""The folder of the files that come with the project, at its root."""


def read(paths: Sequence[str] | None, root: Path) -> list[dict[str, Any]]:
    """Return ``{file, content}`` of every file, in the order given.

    Args:
        paths: files, and folders of which every ``*.yml`` is read; relative ones begin at
            ``root``. None: what is shipped.
        root: the checkout.

    Raises:
        DeviationError: a file cannot be read, or is no YAML.
    """
    problems: list[str] = []
    found: dict[Path, dict[str, Any]] = {}
    for path in _files([SHIPPED] if paths is None else paths, root):
        try:
            found[path] = {"file": shown(path, root), "content": content(path)}
        except FileNotFoundError:
            problems.append(f"resumption_known_deviations names {path}, which does not exist.")
        except OSError as error:
            problems.append(f"resumption_known_deviations names {path}, which cannot be read: "
                            f"{error.strerror}.")
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            problems.append(f"{shown(path, root)} is no YAML{_place(error)}.")
        except ValueError as error:
            problems.append(f"{shown(path, root)}: {error}.")
    if problems:
        raise DeviationError(problems)
    return list(found.values())


def shown(path: Path, root: Path) -> str:
    """Return a path as a user at the root would type it."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _files(paths: Iterable[str], root: Path) -> list[Path]:
    found: list[Path] = []
    for name in paths:
        path = root / Path(name).expanduser()
        if path.is_dir():
            found += sorted(path.glob("*.yml"))
        elif name != SHIPPED or path.exists():
            # Without the shipped folder nothing is forgiven, which is no mistake.
            found.append(path)
    return list(dict.fromkeys(found))


class _Strict(yaml.SafeLoader):
    """YAML that refuses a key given twice: one of the two would be lost in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f'line {node.start_mark.line + 1} and on has "{key}" twice')
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def content(path: Path) -> Any:
    """Return what a file of YAML holds. Raises OSError, yaml.YAMLError, UnicodeError, ValueError.
    """
    return yaml.load(path.read_text(encoding="utf-8"), _Strict)  # noqa: S506 - a safe loader


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f" (line {mark.line + 1})" if mark is not None else ""
