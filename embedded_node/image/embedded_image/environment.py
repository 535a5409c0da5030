"""EMQX's environment variables: ``EMQX_A__B=value`` is ``a.b = value`` and wins over the file."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.emqx.conformance.plugins.module_utils.drivers import hocon

_PREFIX = "EMQX_"
# What EMQX's own start scripts read; these are no configuration paths.
_OF_THE_SCRIPTS = ("EMQX_NODE_NAME", "EMQX_NAME", "EMQX_HOST")
# EMQX's scanner lets a node name stand without quotes, the HOCON reference does not.
_BARE_NODE_NAME = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s\[\]{},:="]+@[^\s\[\]{},:="]+')

Path = tuple[str, ...]


def overrides(environment: Mapping[str, str]) -> dict[Path, Any]:
    """Return what the environment sets, by its path, as EMQX's own start scripts would.

    An empty variable sets nothing. A node's name is EMQX_NODE_NAME, or else EMQX_NODE__NAME, or
    else EMQX_NAME@EMQX_HOST, which the entrypoint gives defaults: so the name that stands in the
    file never counts in a container, as in EMQX's image.
    """
    found = {path_of(name): _value(text) for name, text in sorted(environment.items())
             if name.startswith(_PREFIX) and name not in _OF_THE_SCRIPTS and text}
    name = environment.get("EMQX_NODE_NAME") or environment.get("EMQX_NODE__NAME")
    if not name and environment.get("EMQX_HOST"):
        name = f"{environment.get('EMQX_NAME') or 'emqx'}@{environment['EMQX_HOST']}"
    if name:
        found["node", "name"] = name
    return found


def path_of(variable: str) -> Path:
    """Return the path that a variable's name stands for."""
    return tuple(variable.removeprefix(_PREFIX).lower().split("__"))


def variable_of(path: Iterable[str]) -> str:
    """Return the variable that stands for a path."""
    return _PREFIX + "__".join(path).upper()


def overlaid(tree: Mapping[str, Any], values: Mapping[Path, Any]) -> dict[str, Any]:
    """Return the tree with these values put in; an object merges with what is there."""
    result = dict(tree)
    for path, value in values.items():
        _put(result, path, value)
    return result


def _put(tree: dict[str, Any], path: Path, value: Any) -> None:
    key, *rest = path
    below = tree.get(key)
    if rest:
        tree[key] = dict(below) if isinstance(below, Mapping) else {}
        _put(tree[key], tuple(rest), value)
    elif isinstance(value, Mapping) and isinstance(below, Mapping):
        tree[key] = overlaid(below, {(name,): item for name, item in value.items()})
    else:
        tree[key] = value


def _value(text: str) -> Any:
    """Read a value as HOCON; what is none is a string, as for EMQX."""
    for candidate in (text, _BARE_NODE_NAME.sub(_quoted, text)):
        try:
            return hocon.read_value(candidate)
        except hocon.HoconError:
            continue
    return text


def _quoted(match: re.Match[str]) -> str:
    word = match.group()
    return word if word.startswith('"') else f'"{word}"'
