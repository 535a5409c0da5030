"""The matrix in a terminal: in words, in signs, or, where neither fits, in numbers."""
from __future__ import annotations

from typing import Any

from ..words import some
from .columns import Line, block, clipped, columns, left, right

_SIGNS = {"resumed": "r", "full": "-", "not_measured": "."}
"""Of what was expected, or not measured."""
_CAPITALS = {"resumed": "R", "full": "F", "refused": "X", "failed": "E", "inconsistent": "?"}
"""Of what was not expected: they stand out, without colour too."""
_MEANING = {"r": "resumed", "-": "full", ".": "not measured", "R": "resumed", "F": "full",
            "X": "refused", "E": "failed", "?": "inconsistent"}
_LONGEST_NAME = 24
"""Columns for a node's name beside its number."""
_MOST_PAIRS = 8
"""Unexpected pairs of a kind that are named."""

Cell = dict[str, Any]
Cells = dict[tuple[str, str], Cell]


def matrix(results: dict[str, Any], width: int) -> list[Line]:
    """Return who resumed whose session, as far as it fits."""
    names = [node["name"] for node in results["nodes"]]
    cells = {(cell["issuer"], cell["redeemer"]): cell for cell in results["matrix"]}
    first = max(columns(name) for name in names) + 3
    column = 2 + max(*(columns(name) for name in names),
                     *(len(_words(cell)) for cell in cells.values()))
    if first + len(names) * column - 2 <= width:
        return _in_words(names, cells, first, column, width)
    return _in_signs(names, cells, width) or _in_numbers(names, cells, width)


def unexpected(cell: Cell) -> bool:
    """Tell whether a pair was measured and is not as expected."""
    return not cell["passed"] and cell["outcome"] != "not_measured"


def _words(cell: Cell) -> str:
    return f"{cell['outcome'].replace('_', ' ')}{' !' if unexpected(cell) else ''}"


def _in_words(names: list[str], cells: Cells, first: int, column: int,
              width: int) -> list[Line]:
    lines = block("", "Session of (row) offered to (column); ! marks what was not expected", width)
    lines.append(Line(" " * first + "".join(left(name, column) for name in names).rstrip()))
    for issuer in names:
        row = [cells[issuer, redeemer] for redeemer in names]
        text = "".join(left(_words(cell), column) for cell in row)
        lines.append(Line(left(issuer, first) + text.rstrip(), _colour(row)))
    return lines


def _in_signs(names: list[str], cells: Cells, width: int) -> list[Line]:
    """Return a matrix of one sign a pair; nothing if its rows do not fit."""
    count = len(names)
    digits = len(str(count))
    name_width = min(_LONGEST_NAME, max(columns(name) for name in names))
    first = digits + 1 + name_width + 2
    if first + 2 * count - 1 <= width:
        at = [2 * number for number in range(count)]
    else:
        # Without spaces between them tens are kept apart.
        at = [number + number // 10 for number in range(count)]
    if first + at[-1] + 1 > width:
        return []
    rows = [[cells[issuer, redeemer] for redeemer in names] for issuer in names]
    seen = {_sign(cell) for row in rows for cell in row}
    lines = block("", f"Session of (row) offered to (column, by number): {_legend(seen)}", width)
    lines += [Line(" " * first + _placed(heads, at)) for heads in _heads(count, digits)]
    for number, (issuer, row) in enumerate(zip(names, rows), 1):
        label = f"{right(str(number), digits)} {left(clipped(issuer, name_width), name_width)}  "
        lines.append(Line(label + _placed([_sign(cell) for cell in row], at), _colour(row)))
    return [*lines, *_named(names, cells, width)]


def _sign(cell: Cell) -> str:
    signs = _CAPITALS if unexpected(cell) else _SIGNS
    return signs[cell["outcome"]]


def _legend(seen: set[str]) -> str:
    told = [f"{sign} {meaning}" for sign, meaning in _MEANING.items() if sign in seen]
    capitals = seen & set(_CAPITALS.values())
    return ", ".join(told) + ("; what was not expected is in capitals" if capitals else "")


def _heads(count: int, digits: int) -> list[list[str]]:
    """Return the columns' numbers from top to bottom; of tens only where they change."""
    numbers = [str(number).rjust(digits) for number in range(1, count + 1)]
    return [[number[place] if place == digits - 1 or set(number[place + 1:]) == {"0"} else " "
             for number in numbers] for place in range(digits)]


def _placed(signs: list[str], at: list[int]) -> str:
    text = [" "] * (at[-1] + 1)
    for sign, place in zip(signs, at):
        text[place] = sign
    return "".join(text).rstrip()


def _in_numbers(names: list[str], cells: Cells, width: int) -> list[Line]:
    """Return how many pairs are as expected, and name those that are not."""
    lines = block("", f"Sessions of {len(names)} nodes offered to each of them; the whole matrix "
                      "is in index.html", width)
    kinds = (("the same node", [cell for pair, cell in cells.items() if pair[0] == pair[1]]),
             ("another node", [cell for pair, cell in cells.items() if pair[0] != pair[1]]))
    for kind, of_kind in kinds:
        good = sum(cell["passed"] for cell in of_kind)
        bad = sum(unexpected(cell) for cell in of_kind)
        text = f"{good} of {len(of_kind)} pairs as expected"
        text += f", {bad} not" if bad else ""
        unmeasured = len(of_kind) - good - bad
        text += f", {unmeasured} not measured" if unmeasured else ""
        lines += block(left(kind, 15), text, width, _colour(of_kind))
    return [*lines, *_named(names, cells, width)]


def _named(names: list[str], cells: Cells, width: int) -> list[Line]:
    """Name the pairs that are not as expected, those alike together."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for issuer in names:
        for redeemer in names:
            cell = cells[issuer, redeemer]
            if unexpected(cell):
                kind = cell["outcome"], cell["expected"], cell["reason"]
                alike.setdefault(kind, []).append(f"{issuer}->{redeemer}")
    lines = []
    for (outcome, expected, reason), pairs in alike.items():
        instead = f" instead of {expected}" if expected != outcome else ""
        why = f" ({reason})" if reason else ""
        lines += block("! ", f"{outcome}{instead}{why}: {some(pairs, _MOST_PAIRS)}", width, "red")
    return lines


def _colour(row: list[Cell]) -> str:
    if any(unexpected(cell) for cell in row):
        return "red"
    # What is left out on purpose is nothing to worry about.
    good = all(cell["passed"] or cell.get("reason") in ("not_sampled", "not_chosen")
               for cell in row)
    return "green" if good else "cyan"
