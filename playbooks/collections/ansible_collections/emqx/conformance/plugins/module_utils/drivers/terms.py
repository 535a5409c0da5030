"""Python values as Erlang terms, for ``file:consult/1``."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Union


@dataclass(frozen=True, order=True)
class Atom:
    """An Erlang atom."""

    name: str


Term = Union[Atom, bool, int, str, "Sequence[Term]", "Mapping[str, Term]"]
"""Strings become binaries, lists lists, tuples tuples; a mapping's keys become atoms."""


def _escaped(text: str, quote: str) -> str:
    plain = text.replace("\\", "\\\\").replace(quote, "\\" + quote)
    return "".join(char if char.isprintable() else f"\\x{{{ord(char):x}}}" for char in plain)


def _atom(name: str) -> str:
    return "'" + _escaped(name, "'") + "'"


def render(term: Term) -> str:
    """Return the term in Erlang's syntax, without the final dot.

    Raises:
        TypeError: the value has no form here.
    """
    if isinstance(term, Atom):
        return _atom(term.name)
    if isinstance(term, int):
        return str(term).lower()  # bool is an int: true, false
    if isinstance(term, str):
        return '<<"' + _escaped(term, '"') + '"/utf8>>'
    if isinstance(term, Mapping):
        pairs = (f"{_atom(key)} => {render(value)}" for key, value in sorted(term.items()))
        return "#{" + ", ".join(pairs) + "}"
    if isinstance(term, (tuple, list)):
        first, last = "{}" if isinstance(term, tuple) else "[]"
        return first + ", ".join(render(item) for item in term) + last
    raise TypeError(f"{type(term).__name__} has no form as an Erlang term")


def render_file(term: Term) -> str:
    """Return the text of a file that holds this one term."""
    return f"%% coding: utf-8\n{render(term)}.\n"
