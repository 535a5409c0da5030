"""Text laid out in a terminal's columns: measured as it is shown, wrapped by words."""
from __future__ import annotations

import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One line and the colour Ansible's display should give it."""

    text: str
    colour: str = "normal"


def printable(text: str) -> str:
    """Return the text without anything that a terminal would obey instead of showing it."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else " " if one.isspace() else "?" for one in text)


def columns(text: str) -> int:
    """Return how many columns a printable text takes (Unicode's UAX 11: wide ones take two)."""
    if text.isascii():
        return len(text)
    return sum(_columns_of(one) for one in text)


def _columns_of(one: str) -> int:
    if unicodedata.category(one) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(one) in "WF" else 1


def left(text: str, width: int) -> str:
    """Return the text filled up with spaces to that many columns."""
    return text + " " * (width - columns(text))


def right(text: str, width: int) -> str:
    """Return the text with spaces before it up to that many columns."""
    return " " * (width - columns(text)) + text


def clipped(text: str, width: int) -> str:
    """Return the text, or as much as fits with a ``~`` that says so."""
    return text if columns(text) <= width else f"{_beginning(text, width - 1)}~"


def _beginning(text: str, width: int) -> str:
    taken = 0
    for at, one in enumerate(text):
        taken += _columns_of(one)
        if taken > width:
            return text[:at]
    return text


def hanging(head: str, text: str, width: int) -> list[str]:
    """Return the words of a text after a head; further lines are indented as far as it reaches.

    A path or a name in ASCII is never broken, so that it can be copied; what is longer than a line
    sticks out. In narrow terminals further lines are indented by a third at most.
    """
    indent = " " * min(columns(head), width // 3)
    lines, line, begun = [], head, False
    for word in _pieces(text, width - len(indent)):
        if begun and columns(line) + 1 + columns(word) > width:
            lines.append(line)
            line, begun = indent, False
        elif not begun and line == head and head.strip() and (
                columns(line) + columns(word) > width > columns(indent + word)):
            # Not even the first word fits beside the head.
            lines.append(line)
            line = indent
        line += f" {word}" if begun else word
        begun = True
    return [one.rstrip() for one in (*lines, line)]


def _pieces(text: str, width: int) -> list[str]:
    """Return the words; those of a script without spaces between words in parts that fit."""
    pieces = []
    for word in text.split():
        rest = word
        while not rest.isascii() and columns(rest) > width > 1:
            part = _beginning(rest, width)
            pieces.append(part)
            rest = rest[len(part):]
        if rest:
            pieces.append(rest)
    return pieces


def block(head: str, text: str, width: int, colour: str = "normal") -> list[Line]:
    """Return :func:`hanging` lines in one colour."""
    return [Line(line, colour) for line in hanging(head, text, width)]
