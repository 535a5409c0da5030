"""The one table that `make bench` prints."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FIGURES = {"per_second": ("handshakes/s", "{:,.0f}"), "cpu_us": ("client CPU us", "{:,.0f}"),
            "wall_ms": ("wall ms", "{:,.0f}"), "pair_ms": ("ms a pair", "{:.2f}"),
            "connections": ("connections", "{:,.0f}")}


def rows(columns: list[str], cells: list[list[str]]) -> list[str]:
    """Return aligned lines; the first column is text, the others are figures."""
    widths = [max(len(line[at]) for line in [columns, *cells]) for at in range(len(columns))]
    return ["  ".join(cell.ljust(width) if at == 0 else cell.rjust(width)
                      for at, (cell, width) in enumerate(zip(line, widths))).rstrip()
            for line in [columns, *cells]]


def figures(results: Mapping[str, Any]) -> list[str]:
    """Return what was measured, client by client."""
    cells = [[name, *(shape.format(told[key]) if told.get(key) is not None else ""
                      for key, (_, shape) in _FIGURES.items())]
             for name, told in results["figures"].items()]
    return rows(["Median of the rounds", *(head for head, _ in _FIGURES.values())], cells)


def claims(results: Mapping[str, Any]) -> list[str]:
    """Return what was claimed, and what came of it."""
    cells = []
    for claim in results["claims"]:
        ratio, spread = claim["ratio"], claim["spread"]
        cells.append([
            claim["what"], "" if ratio is None else f"{ratio:.2f}",
            "" if spread is None else f"{spread[0]:.2f}-{spread[1]:.2f}", claim["floor"],
            claim["verdict"]])
    return rows(["Ratio within a round", "median", "range", "floor", "verdict"], cells)


def table(results: Mapping[str, Any]) -> str:
    """Return all of it."""
    machine = results["machine"]
    missing = [f"Not measured: {name}: {why}" for name, why in results["missing"].items()]
    return "\n".join([
        (f"{results['rounds']} rounds, interleaved, on {machine['cores']} x {machine['cpu']}; "
        f"Python {machine['python']}, {machine['openssl']}, Erlang/OTP {machine['otp']}; "
        f"load {machine['load']}"), "", *figures(results), "", *claims(results),
        *([""] if missing else []), *missing])
