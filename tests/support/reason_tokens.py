"""Which reason tokens a check can give, read from its compiled code."""
from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

from ansible_collections.emqx.conformance.plugins.module_utils.checks.story import Story


def tokens_of(measure: Callable[..., Any]) -> set[str]:
    """Return every string among the constants of a check's function, named ones included.

    Those of its story and of what it calls in its own package are among them, methods and closures
    included. A reason that is not there cannot be given; one that is there may still mean something
    else.
    """
    found: set[str] = set()
    seen: set[Any] = set()
    waiting: list[Any] = [measure, Story]
    while waiting:
        thing = waiting.pop()
        for code, reachable in _functions(thing):
            if code in seen:
                continue
            seen.add(code)
            found.update(_words(code.co_consts))
            found.update(thing for thing in reachable if isinstance(thing, str))
            waiting += reachable
    return found


def _functions(thing: Any) -> Iterator[tuple[types.CodeType, list[Any]]]:
    if isinstance(thing, functools.partial):
        yield from _functions(thing.func)
        for argument in (*thing.args, *thing.keywords.values()):
            yield from _functions(argument)
        return
    if isinstance(thing, (types.MethodType, staticmethod, classmethod)):
        thing = thing.__func__
    if isinstance(thing, property):
        thing = thing.fget
    if isinstance(thing, type):
        for member in vars(thing).values():
            if isinstance(member, (types.FunctionType, staticmethod, classmethod, property)):
                yield from _functions(member)
    if isinstance(thing, types.FunctionType) and ".checks." in thing.__module__:
        cells = [cell.cell_contents for cell in thing.__closure__ or ()]
        yield from _code(thing.__code__, thing.__globals__, cells)


def _code(code: types.CodeType, names: dict[str, Any],
          cells: list[Any]) -> Iterator[tuple[types.CodeType, list[Any]]]:
    reachable = [names[name] for name in code.co_names if name in names]
    yield code, [*cells, *(thing for thing in reachable if _ours(thing))]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _code(constant, names, [])


def _ours(thing: Any) -> bool:
    return isinstance(thing, str) or ".checks." in str(getattr(thing, "__module__", ""))


def _words(constants: tuple[Any, ...]) -> Iterator[str]:
    for constant in constants:
        if isinstance(constant, tuple):
            yield from _words(constant)
        elif isinstance(constant, str):
            yield constant
