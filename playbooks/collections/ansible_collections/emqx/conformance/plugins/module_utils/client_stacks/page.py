"""index.html of a run of client stacks: its result object as one self-contained page."""
from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..report.ladders import named_messages
from ..report.template import Template
from . import report
from .costs import FULL, RESUMED, held_back
from .judge import BY_DEFAULT, CONCLUSIONS, LOCKED_OUT, NEVER, NOT_TRIED, WHEN_TOLD
from .words import HOME, SHOWN, WAYS, Result

_BADGES = {BY_DEFAULT: ("passed", "✓"), WHEN_TOLD: ("info", "i"), NEVER: ("skipped", "-"),
           LOCKED_OUT: ("failed", "✗"), NOT_TRIED: ("warned", "△")}
"""Class of each conclusion's badge, and the mark in it, so that colour is not all there is."""
_COLOURS = {Result.RESUMED: "resumed", Result.NOT_OFFERED: "full", Result.DECLINED: "full",
            Result.TICKET_DECLINED: "full", Result.UNKNOWN_ID: "full"}
"""Class of a cell's ground, for those that have one of their own."""
_FIGURES = (("bytes_from_client", "Bytes that it sends"), ("bytes_from_node", "Bytes that it gets"),
            ("round_trips", "Round trips before CONNECT"), ("connack_ms", "Until CONNACK, ms"),
            ("pause_ms", "Of that, from the node's Finished to CONNECT"),
            ("cpu_ms", "Its processor time, ms"))
HELD_BACK = (
    "Resumed, {} ms pass before its CONNECT, far more than it computes for: its Finished and "
    "its CONNECT are small writes in a row, of which TCP holds back the second (Nagle's algorithm, "
    "RFC 896) until the node's kernel has acknowledged the first, and that takes its time (RFC "
    "1122 4.2.3.2). TCP_NODELAY on the client's socket ends it.")
"""What is said of a client that TCP keeps waiting; with milliseconds."""
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_SPACE = 5.0
"""Height, in rem, that the pauses of a ladder share."""


class Page:
    """Makes the page of result objects."""

    def __init__(self, template: Path) -> None:
        """Read the template, and the style sheets beside it. Raises PageError."""
        self._template = Template(template, styles=("report.css", "clients.css"))

    def render(self, results: dict[str, Any]) -> bytes:
        """Return the page of a result object (schemas/clients.schema.json)."""
        return self._template.render(
            results=results, names=[node["name"] for node in results["nodes"]],
            matrices=list(_matrices(results)), stacks=[
                _stack(row, results) for row in results["clients"]["stacks"]],
            problems=report.told(results["clients"]),
            left_out=list(report.left_out(results["clients"])),
            counts=[(status, count) for status, count in results["counts"].items() if count])


def _matrices(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the matrix of each place where clients come with what they have."""
    clients, names = results["clients"], [node["name"] for node in results["nodes"]]
    for title, cells in report.matrices(clients):
        yield {"title": title, "stacks": [
            (row, [(WAYS[way], [_cell(cells[row["stack"], way, name]) for name in names])
                   for way in row["ways"]]) for row in clients["stacks"]]}


def _cell(cell: Mapping[str, Any]) -> tuple[str, str]:
    """Return the class of a cell, and what it says."""
    word = report.word(cell)
    unexpected = " unexpected" if word.endswith("!") else ""
    return f"{_COLOURS.get(Result(cell['result']), 'not_measured')}{unexpected}", word


def _stack(row: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    cells = [cell for cell in results["clients"]["matrix"] if cell["stack"] == row["stack"]]
    full, resumed = row["costs"][FULL], row["costs"][RESUMED]
    return {
        **row, "badges": [(*_BADGES[token], CONCLUSIONS[token])
                          for token in dict.fromkeys(row["nodes"].values())],
        "blocks": list(blocks(row["readme"])),
        "ways": [_way(way, [cell for cell in cells if cell["way"] == way], results["connections"])
                 for way in row["ways"]],
        "figures": [(title, *_figures(key, full, resumed)) for key, title in _FIGURES],
        "cost_notes": list(_cost_notes(full, resumed))}


def _figures(key: str, full: Mapping[str, Any] | None,
             resumed: Mapping[str, Any] | None) -> tuple[str, str, str]:
    """Return a figure of the full and of the resumed connection, and what is saved of it."""
    with_, without = (one[key] if one else None for one in (resumed, full))
    saved = f"{100 * (without - with_) / without:.0f} %" if with_ is not None and without and (
        key != "pause_ms") else "-"
    return _number(without), _number(with_), saved


def _number(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:.2f}" if isinstance(value, float) else f"{value:,}"


def _cost_notes(full: Mapping[str, Any] | None,
                resumed: Mapping[str, Any] | None) -> Iterator[str]:
    """Say what the figures are of, and why one is not there."""
    counted = [f"{one['count']} {word}" for one, word in ((full, "full"), (resumed, "resumed"))
               if one]
    if counted:
        yield f"Medians of {' and '.join(counted)} connections, from the ClientHello to CONNACK."
    if full and full["first"]:
        yield ("The full ones are clients' first connections, which also pay for what a library "
               "does once.")
    if full is None:
        yield "No connection of it was full."
    if resumed is None:
        yield "None of its connections resumed by session ID, so that there is nothing to compare."
    elif held_back(resumed):
        yield HELD_BACK.format(f"{resumed['pause_ms']:.0f}")
    if any(one and one["cpu_ms"] is None for one in (full, resumed)):
        yield "This machine does not tell the processor time of another process."


def _way(way: str, cells: Sequence[Mapping[str, Any]],
         connections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the ladders of one way at one node: one that resumed there, if there is any."""
    home = [cell for cell in cells if cell["place"] == HOME]
    shown = next((cell for cell in home if cell["result"] == Result.RESUMED.value), home[0])
    route = [cell for cell in cells if cell["issuer"] == shown["issuer"]]
    keys = list(dict.fromkeys(key for cell in route for key in cell["connections"]))
    results = {cell["connections"][-1]: cell["result"] for cell in route if cell["connections"]}
    return {"title": WAYS[way], "sentences": [cell["message"] for cell in route],
            "sides": [_side(connections[key], results.get(key)) for key in keys]}


def _side(connection: Mapping[str, Any], result: str | None) -> dict[str, Any]:
    number, node = connection["number"], connection["node"]
    came = f": {SHOWN[Result(result)]}" if result and number > 1 else ""
    return {"caption": f"Connection {number}, with {node}{came}", "node": node,
            "rungs": list(_rungs(connection)), "facts": list(_facts(connection))}


def _rungs(connection: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each message with the room above it, which goes by the time since the one before."""
    times = [message["at_ms"] for message in connection["messages"]]
    steps = [0.0, *(after - before for before, after in itertools.pairwise(times))]
    whole = sum(steps) or 1.0
    for (sender, name, length), at_ms, step in zip(named_messages(connection), times, steps):
        yield {"sender": sender, "name": name, "bytes": length, "at": f"{at_ms - times[0]:.2f} ms",
               "space": f"{0.15 + _SPACE * step / whole:.2f}rem"}


def _facts(connection: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    offered, answered = connection["offered_id"], connection["server_id"]
    same = "" if not offered or not answered else (
        " (the same)" if offered == answered else " (another one)")
    yield "ID offered", offered or "none"
    yield "ID answered", (answered or "none") + same
    if connection["ticket_offered"]:
        yield "Ticket offered", f"{connection['ticket_offered']} bytes"
    yield "Version", connection["version"] or "none negotiated"
    yield "Extended master secret", (
        "not offered" if not connection["extended_master_secret_offered"] else
        "negotiated" if connection["extended_master_secret"] else "offered, and not answered")
    yield "Bytes", (f"{connection['bytes_from_client']:,} sent, "
                    f"{connection['bytes_from_node']:,} received")
    yield "Processor time", ("not measured" if connection["cpu_ms"] is None
                             else f"{connection['cpu_ms']:.2f} ms of the client")
    if connection["failure"]:
        yield "Failure", connection["failure"]["detail"]
    yield "The client says", _said(connection["said"])


def _said(said: Mapping[str, Any] | None) -> str:
    if said is None:
        return "nothing"
    resumed = {True: "it resumed", False: "it did not resume", None: "not whether it resumed"}
    connack = f"CONNACK with code {said['connack']}" if said["connack"] >= 0 else "no CONNACK"
    return ", ".join(filter(None, (resumed[said["resumed"]], connack, said["error"])))


def blocks(readme: str) -> Iterator[tuple[str, Any]]:
    """Yield what a README has below its title: ``code``, or ``text`` in pieces.

    A piece is text, and whether it is code. Of Markdown it knows what these files have:
    paragraphs, indented code, `` ` `` and links, of which the words stay.
    """
    for block in re.split(r"\n{2,}", readme.strip("\n")):
        if not block or block.startswith("#"):
            continue
        if all(line.startswith("    ") for line in block.splitlines()):
            yield "code", textwrap.dedent(block)
        else:
            yield "text", list(_pieces(_LINK.sub(r"\1", " ".join(block.split()))))


def _pieces(text: str) -> Iterable[tuple[str, bool]]:
    return ((piece, bool(at % 2)) for at, piece in enumerate(text.split("`")) if piece)
