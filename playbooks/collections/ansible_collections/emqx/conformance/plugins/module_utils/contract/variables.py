"""Reading a variable's value as its argument specification says.

``-e name=value`` gives every value as a string, so numbers, booleans, lists and mappings are
taken from strings too. Ansible's own validator would turn a mapping given for a string into one
and words its refusals for programmers.
"""
from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ..listeners import kinds
from ..listeners.kinds import WrongValueError

BOUNDS: Mapping[str, tuple[int, int | None]] = {
    "emqx_tls_port": (1, kinds.MAX_PORT),
    "emqx_base_port": (1, kinds.MAX_PORT),
    "emqx_dashboard_port": (1, kinds.MAX_PORT),
    "emqx_session_lifetime": (1, None),
    "emqx_session_cache_max": (1, None),
    "resumption_max_wait": (0, None),
    "resumption_fleet_devices": (1, None),
    "resumption_fleet_minutes": (1, None),
    "resumption_pairs_per_node": (1, None),
}
"""What an argument specification cannot say: the least and the greatest value."""

QUOTED = frozenset({"emqx_release"})
"""Strings that no number can stand for: in YAML 5.10 is 5.1, which is another release."""

POSITIVE = frozenset({"resumption_timeout"})
"""Numbers that must be more than 0."""

_BOOLEANS: Mapping[str, bool] = {"true": True, "yes": True, "on": True, "1": True,
                                 "false": False, "no": False, "off": False, "0": False}


def read(name: str, option: Mapping[str, Any], value: Any) -> Any:
    """Return the value of the option's type, or raise WrongValueError with what it must be."""
    kind = str(option.get("type", "str"))
    if kind == "str" and "choices" not in option:
        _refuse_number(name, value)
    result = _TYPES[kind](value) if name not in BOUNDS else kinds.integer(*BOUNDS[name]).read(
        value)
    if name in POSITIVE and not result:
        raise WrongValueError("a number of more than 0")
    choices = option.get("choices")
    if choices:
        words = [str(choice) for choice in choices]
        if result not in words:
            raise WrongValueError(f"one of {', '.join(words)}")
    if kind == "list":
        element = _TYPES[str(option.get("elements", "str"))]
        try:
            return [element(item) for item in result]
        except WrongValueError as wrong:
            raise WrongValueError(f"a list whose every item is {wrong}") from None
    return result


def _refuse_number(name: str, value: Any) -> None:
    """Refuse what YAML has made a number of and which no longer is what somebody wrote."""
    if isinstance(value, float) or (name in QUOTED and isinstance(value, int)):
        raise WrongValueError("a string (quote it: without quotes YAML reads 5.10 as the number "
                              "5.1)")


def _string(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise WrongValueError("a string")
    return kinds.text(str(value))


def _path(value: Any) -> str:
    kinds.refuse_content(value)
    return _string(value)


def _integer(value: Any) -> int:
    result = kinds.integer().read(value)
    return int(result)


def _number(value: Any) -> float:
    try:
        number = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < float("inf"):
        raise WrongValueError("a number of 0 or more")
    return number


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    try:
        return _BOOLEANS[str(value).lower()]
    except KeyError:
        raise WrongValueError("true or false") from None


def _list(value: Any) -> list[Any]:
    if isinstance(value, str):
        value = _decoded(value) if value.lstrip().startswith("[") else [
            item.strip() for item in value.split(",") if item.strip()]
    if not isinstance(value, (list, tuple)):
        raise WrongValueError("a list")
    return list(value)


def _dict(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        value = _decoded(value)
    if not isinstance(value, Mapping):
        raise WrongValueError("a mapping")
    return dict(value)


def _decoded(text: str) -> Any:
    """Read JSON, the only way to give a list or mapping with ``-e name=value``."""
    try:
        return json.loads(text)
    except ValueError:
        return None


_TYPES: Mapping[str, Callable[[Any], Any]] = {
    "str": _string, "path": _path, "int": _integer, "float": _number, "bool": _boolean,
    "list": _list, "dict": _dict}
