"""The tables of client stacks in docs/clients.md and README.md, from what a run measured.

    python -m client_stacks.table [results.json of a run of all stacks]

takes that run for the published one (client_stacks/measured.json) first.
"""
from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable

import yaml
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.costs import (
    FULL,
    RESUMED,
    held_back,
)
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.definitions import (
    names,
)
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.judge import (
    CONCLUSIONS,
)
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.words import (
    AS_IT_COMES,
    PLACES,
    SHOWN,
    TOLD,
    WAYS,
    Result,
)
from ansible_collections.emqx.conformance.plugins.module_utils.words import some

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "client_stacks" / "measured.json"
EXPECTED = ROOT / "client_stacks" / "expected.yml"
PAGE = ROOT / "docs" / "clients.md"
README = ROOT / "README.md"
BEGIN = "<!-- clients {}: written by `make docs` from client_stacks/measured.json -->"
END = "<!-- end of clients {} -->"
"""Around each table, by its name."""


Table = Callable[[Mapping[str, Any]], Iterator[str]]
"""Makes lines of the published data."""


class TableError(Exception):
    """A run cannot be published; the sentence says why."""


def reduced(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is published of a result object.

    Raises:
        TableError: it is not of all stacks, or not all of it is as expected.
    """
    if results["verdict"] != "passed" or set(results["counts"]) - {"info"} != {
            status for status, count in results["counts"].items() if not count}:
        raise TableError("only a run is published that passed and in which everything is as "
                         f"expected; this one: {results['headline']}")
    clients = results["clients"]
    missing = sorted(set(names(ROOT)) - {row["stack"] for row in clients["stacks"]})
    if missing:
        raise TableError(f"this run is without {some(missing)}")
    return {
        "measured_on": results["started_at"][:10], "took_s": round(results["duration_s"]),
        "nodes": [{key: node[key] for key in ("name", "product", "version", "otp_release")}
                  for node in results["nodes"]],
        "stacks": [{key: row[key] for key in
                    ("stack", "title", "library", "nodes", "ways", "costs")}
                   for row in sorted(clients["stacks"], key=lambda row: row["title"].lower())],
        "matrix": [{key: cell[key] for key in ("stack", "way", "issuer", "place", "result")}
                   for cell in clients["matrix"]]}


def short(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield README's table."""
    whys = _whys()
    yield "| stack | measured | | how, or why not |"
    yield "|---|---|---|---|"
    for row in data["stacks"]:
        yield (f"| {row['title']} | {row['library']} | {_concluded(row)} | "
               f"{_why(row, whys)} |")


def written(text: str, data: Mapping[str, Any], **tables: Table) -> str:
    """Return a document's text with tables between their markers.

    Raises:
        ValueError: there is no place for one.
    """
    for name, table in tables.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, begun, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not begun or not ended:
            raise ValueError(f"there is no place between {begin} and {end}")
        text = "\n".join([f"{before}{begin}", *table(data), f"{end}{after}"])
    return text


def _concluded(row: Mapping[str, Any]) -> str:
    return "; ".join(CONCLUSIONS[token] for token in dict.fromkeys(row["nodes"].values()))


def _whys() -> dict[tuple[str, str], str]:
    rows = yaml.safe_load(EXPECTED.read_text(encoding="utf-8"))
    return {(row["stack"], row["way"]): row["why"] for row in rows
            if row.get("server_name") != "address"}


def _why(row: Mapping[str, Any], whys: Mapping[tuple[str, str], str]) -> str:
    """Return what makes a stack resume, or why it does not."""
    way = AS_IT_COMES if "by_default" in row["nodes"].values() or TOLD not in row["ways"] else TOLD
    return whys[row["stack"], way]


def _words(data: Mapping[str, Any], stack: str, way: str, place: str) -> str:
    """Return what a place's matrix says of a stack in one way, by node where that differs."""
    found = {cell["issuer"]: SHOWN[Result(cell["result"])] for cell in data["matrix"]
             if (cell["stack"], cell["way"], cell["place"]) == (stack, way, place)}
    if len(set(found.values())) <= 1:
        return next(iter(found.values()), "-")
    return ", ".join(f"{node} {word}" for node, word in found.items())


def seen(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was measured where, and the table of what each stack did."""
    node, whys = data["nodes"][0], _whys()
    yield (f"On {data['measured_on']}, on {len(data['nodes'])} nodes ({node['product']}, "
           f"Erlang/OTP {node['otp_release']}), in {data['took_s']} s.")
    yield ""
    yield ("| stack | measured | as it comes | elsewhere | back | told to resume | elsewhere | "
           "back | | how, or why not |")
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in data["stacks"]:
        words = " | ".join(_words(data, row["stack"], way, place)
                           for way in (AS_IT_COMES, TOLD) for place in PLACES)
        yield (f"| {row['title']} | {row['library']} | {words} | {_concluded(row)} | "
               f"{_why(row, whys)} |")


def cost(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of what a full and a resumed connection cost."""
    yield "| stack | sends, bytes | gets, bytes | round trips | processor, ms | |"
    yield "|---|---|---|---|---|---|"
    for row in data["stacks"]:
        yield _cost(row)


def _cost(row: Mapping[str, Any]) -> str:
    full, resumed = row["costs"][FULL], row["costs"][RESUMED]

    def figure(key: str, digits: int = 0) -> str:
        values = [f"{one[key]:,.{digits}f}" for one in (full, resumed)
                  if one and one[key] is not None]
        return " → ".join(values) or "not measured"

    waits = "waits" if resumed and held_back(resumed) else ""
    return (f"| {row['title']} | {figure('bytes_from_client')} | {figure('bytes_from_node')} | "
            f"{figure('round_trips')} | {figure('cpu_ms', 2)} | {waits} |")


def java(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of Java's ways."""
    yield "| | second connection to a node | third, to another one | fourth, back to the first |"
    yield "|---|---|---|---|"
    for way, title in WAYS.items():
        words = (_words(data, "java", way, place) for place in PLACES)
        yield f"| {title} | {' | '.join(words)} |"


DOCUMENTS: Mapping[Path, Mapping[str, Table]] = {
    PAGE: {"seen": seen, "costs": cost, "java": java}, README: {"short": short}}
"""Every document, with the tables in it."""


def measured() -> dict[str, Any]:
    """Return the published measurements."""
    data: dict[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8"))
    return data


def main(arguments: Sequence[str]) -> int:
    """Publish a run if one is given, and write both documents; return the exit code."""
    try:
        if arguments:
            results = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
            MEASURED.write_text(json.dumps(reduced(results), indent=1) + "\n", encoding="utf-8")
    except (OSError, TableError) as error:
        print(f"make clients-table: {error}", file=sys.stderr)
        return 1
    for path, tables in DOCUMENTS.items():
        text = written(path.read_text(encoding="utf-8"), measured(), **tables)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
