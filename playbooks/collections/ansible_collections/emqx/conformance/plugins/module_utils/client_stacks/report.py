"""The report of a run of client stacks: result object, its files and a terminal."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from ..identity import Identity
from ..report import junit
from ..report.columns import Line, block, columns, left, printable
from ..report.files import PageMaker, as_json, write_atomically
from ..words import some
from .control import CONTROL
from .costs import costs
from .judge import CONCLUSIONS, NOT_TRIED, concluded
from .plan import NOT_BUILT, as_dict
from .words import (
    HOME,
    IN_WORDS,
    PLACES,
    SHOWN,
    WAYS,
    Cell,
    Result,
    Stack,
    why_not_tried,
)

if TYPE_CHECKING:
    from .measure import Record

SCHEMA_VERSION = "1.1"
STATUSES = ("info", "warned", "failed", "skipped", "error")
_COLOURS = {"passed": "green", "failed": "red", "error": "red", "warned": "yellow",
            "skipped": "cyan", "info": "normal"}
_INTERRUPTED = "the run was interrupted before"


def build(record: Record) -> dict[str, Any]:
    """Return the result object (schemas/clients.schema.json). What is not measured is in it."""
    cells = [*record.cells, *_missing(record)]
    stacks = list(dict.fromkeys(row.stack for row in record.plan.rows))
    rows = [_stack(record, stack, [cell for cell in cells if cell.stack == stack.name])
            for stack in stacks]
    counts = Counter(cell.status for cell in cells)
    verdict, headline = judge(cells, rows, len(record.nodes), complete=record.complete)
    return {
        "schema_version": SCHEMA_VERSION, "started_at": record.started_at,
        "duration_s": round(record.duration_s, 3), "complete": record.complete,
        "verdict": verdict, "headline": headline,
        "nodes": [_node(record, name) for name in record.nodes],
        "clients": {"stacks": rows, "left_out": [as_dict(one) for one in record.plan.left_out],
                    "matrix": [cell.as_dict() for cell in cells]},
        "counts": {status: counts[status] for status in STATUSES},
        "budget": {"session_limit": record.plan.session_limit, "nodes": {
            name: {"handshakes_announced": record.plan.handshakes[name],
                   "handshakes_done": record.made[name],
                   "sessions_announced": record.plan.sessions[name],
                   "sessions_made": record.new_sessions[name]} for name in record.nodes}},
        "connections": record.connections}


def _missing(record: Record) -> list[Cell]:
    """Return the planned cells that were not come to."""
    done = {(cell.stack, cell.way, cell.issuer, cell.place) for cell in record.cells}
    return [Cell(row.stack.name, row.way, row.home.name, endpoint.name, place, Result.NOT_TRIED,
                 "error", "not_measured", _INTERRUPTED)
            for row in record.plan.rows for _, place, endpoint in row.reconnects()
            if (row.stack.name, row.way, row.home.name, place) not in done]


def _stack(record: Record, stack: Stack, cells: list[Cell]) -> dict[str, Any]:
    return {**concluded(stack, cells), "library": record.libraries.get(stack.name),
            "ways": list(stack.ways), "readme": stack.readme,
            "costs": costs(one for one in record.connections.values()
                           if one["stack"] == stack.name)}


def _node(record: Record, name: str) -> dict[str, Any]:
    endpoint, control = record.nodes[name], record.controls.get(name)
    identity = record.identities.get(name) or Identity.unknown("it was not asked")
    return {"name": name, "host": endpoint.host, "port": endpoint.port,
            "server_name": endpoint.server_name, **identity.as_dict(),
            "resumes": control.resumes if control else None, "why_not": control.why if control else
            _INTERRUPTED}


def judge(cells: list[Cell], stacks: list[dict[str, Any]], nodes: int, *,
          complete: bool) -> tuple[str, str]:
    """Return the verdict and why, in a sentence. That a stack does not resume is no failure."""
    statuses = {cell.status for cell in cells}
    tokens = Counter(token for row in stacks for token in set(row["nodes"].values()))
    told = ", ".join(f"{count} {CONCLUSIONS[token]}" if count == 1 else
                     f"{count} {_plural(CONCLUSIONS[token])}"
                     for token in CONCLUSIONS if (count := tokens[token]))
    headline = (f"of {len(stacks)} client stack{'s' if len(stacks) != 1 else ''} on {nodes} "
                f"node{'s' if nodes != 1 else ''}, {told}")
    if "failed" in statuses:
        locked = dict.fromkeys(cell.stack for cell in cells if cell.status == "failed")
        return "failed", f"{some(locked)} gave up where a session was declined; {headline}"
    if not any(cell.result is not Result.NOT_TRIED for cell in cells):
        return "error", "no client stack could be tried: what keeps it is said with each"
    if not complete:
        return "error", f"interrupted: not everything was measured; {headline}"
    if "error" in statuses:
        return "error", f"some of it could not be judged; {headline}"
    return "passed", headline


def _plural(words: str) -> str:
    first, _, rest = words.partition(" ")
    several = {"resumes": "resume", "is": "are", "never": "never"}.get(first, first)
    return f"{several} {rest.replace('resumes', 'resume') if first == 'never' else rest}"


def write(folder: Path, results: dict[str, Any], page: PageMaker | None = None) -> None:
    """Write results.json, junit.xml and, with what makes it, index.html. Raises OSError."""
    write_atomically(folder / "results.json", as_json(results, {}))
    write_atomically(folder / "junit.xml", [render_junit(results)])
    if page is not None:
        write_atomically(folder / "index.html", [page.render(results)])


def render_junit(results: dict[str, Any]) -> bytes:
    """Return the JUnit document: one suite a stack, one case a cell, and the verdict."""
    root = ET.Element("testsuites", name="Client stacks")
    for row in results["clients"]["stacks"]:
        cells = [cell for cell in results["clients"]["matrix"] if cell["stack"] == row["stack"]]
        suite = junit.add_suite(root, row["title"], (cell["status"] for cell in cells))
        for cell in cells:
            case = junit.add_case(suite, f"clients.{cell['stack']}.{cell['way']}",
                              f"{cell['place']}: {cell['issuer']} -> {cell['redeemer']}")
            junit.add_outcome(case, cell["status"], cell["reason"], cell["message"])
    for left_out in results["clients"]["left_out"]:
        suite = junit.add_suite(root, left_out["title"], ["skipped"])
        case = junit.add_case(suite, f"clients.{left_out['stack']}", "left out")
        junit.add_outcome(case, "skipped", left_out["reason"], left_out["why"])
    status = {"passed": "info"}.get(results["verdict"], results["verdict"])
    suite = junit.add_suite(root, "verdict", [status], results["duration_s"])
    junit.add_outcome(junit.add_case(suite, "verdict", "verdict", results["duration_s"]), status,
                  results["verdict"], results["headline"])
    return junit.document(root)


def render(results: dict[str, Any], folder: str, width: int = 80) -> list[Line]:
    """Return the matrix, what is to be said of it, and the verdict, for a terminal."""
    clients = results["clients"]
    names = [node["name"] for node in results["nodes"]]
    lines: list[Line] = []
    for title, cells in matrices(clients):
        lines += [*_matrix(title, clients["stacks"], names, cells, width), Line("")]
    lines += _told(clients, width)
    for node in results["nodes"]:
        if node["why_not"]:
            lines += block(f"{node['name']}  ", node["why_not"], width, "cyan")
    lines += _stacks(clients, width)
    counts = ", ".join(f"{count} {status}" for status, count in results["counts"].items() if count)
    lines += [Line(""), *block("Report    ", folder, width),
              *block("Budget    ", _budget(results["budget"]), width),
              *block("Findings  ", counts or "none", width),
              *block("Verdict   ", f"{results['verdict'].upper()}: {results['headline']}", width,
                     _COLOURS[results["verdict"]])]
    return [Line(printable(line.text), line.colour) for line in lines]


Cells = Mapping[tuple[str, str, str], dict[str, Any]]
"""By stack, way and the node that issued the session."""


def matrices(clients: Mapping[str, Any]) -> Iterator[tuple[str, Cells]]:
    """Yield what each matrix is about, and its cells; where one node is alone there is one."""
    for place, title in PLACES.items():
        cells = {(cell["stack"], cell["way"], cell["issuer"]): cell
                 for cell in clients["matrix"] if cell["place"] == place}
        if cells or place == HOME:
            yield title, cells


def _matrix(title: str, stacks: list[dict[str, Any]], names: list[str], cells: Cells,
            width: int) -> list[Line]:
    """Return rows of stack and way, columns of nodes; where they do not fit, in several parts."""
    labels = {(row["stack"], way): f"{row['title']}, {WAYS[way]}"
              for row in stacks for way in row["ways"]}
    first = max((columns(label) for label in labels.values()), default=0) + 2
    column = 2 + max(0, *(columns(name) for name in names),
                     *(len(word(cell)) for cell in cells.values()))
    each = max(1, (width - first) // column)
    lines = block("", f"{title}; ! marks what is to be looked at", width)
    for begin in range(0, len(names), each):
        some_names = names[begin:begin + each]
        heads = "".join(left(name, column) for name in some_names)
        lines.append(Line(" " * first + heads.rstrip()))
        for (stack, way), label in labels.items():
            row = [cells[stack, way, name] for name in some_names]
            text = "".join(left(word(cell), column) for cell in row)
            lines.append(Line(left(label, first) + text.rstrip(), _colour(row)))
    return lines


def word(cell: Mapping[str, Any]) -> str:
    """Return what a matrix has of a cell, with a mark where it is to be looked at."""
    shown = SHOWN[Result(cell["result"])]
    return f"{shown} !" if cell["status"] in ("warned", "failed", "error") else shown


def _colour(row: list[dict[str, Any]]) -> str:
    statuses = {cell["status"] for cell in row}
    worst = next((status for status in ("failed", "error", "warned", "skipped")
                  if status in statuses), "info")
    return _COLOURS[worst]


def told(clients: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return status and sentence of what is to be looked at, or why something was not tried."""
    looked_at = dict.fromkeys(
        (status, cell["message"]) for status in ("failed", "error", "warned")
        for cell in clients["matrix"] if cell["status"] == status)
    return [*looked_at, *(("skipped", message) for message in _not_tried(clients))]


def _not_tried(clients: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each reason why something was not tried, whatever has it."""
    titles = {row["stack"]: row["title"] for row in clients["stacks"]}
    alike: dict[str, list[Mapping[str, Any]]] = {}
    for cell in clients["matrix"]:
        if cell["status"] == "skipped" and cell["reason"] != CONTROL:
            alike.setdefault(why_not_tried(cell["message"]), []).append(cell)
    for why, cells in alike.items():
        if len(cells) == 1:
            yield cells[0]["message"]
            continue
        stacks = some(dict.fromkeys(titles[cell["stack"]] for cell in cells))
        nodes = some(dict.fromkeys(cell["redeemer"] for cell in cells))
        yield (f"{stacks}, on {nodes}: {len(cells)} connections "
               f"{IN_WORDS[Result.NOT_TRIED]}: {why}")


def left_out(clients: Mapping[str, Any]) -> Iterator[tuple[list[str], str]]:
    """Yield the titles of stacks that were left out for one reason, and a clause that says why."""
    alike: dict[str, list[Mapping[str, str]]] = {}
    for one in clients["left_out"]:
        # What is not built differs in what is missing, and all of it is built by one command.
        key = one["reason"] if one["reason"] == NOT_BUILT else one["why"]
        alike.setdefault(key, []).append(one)
    for key, several in alike.items():
        why = several[0]["why"]
        if key == NOT_BUILT and len(several) > 1:
            names = " ".join(one["stack"] for one in several)
            why = f"since they are not built: make stacks STACKS='{names}'"
        yield [one["title"] for one in several], why


def _stacks(clients: Mapping[str, Any], width: int) -> Iterator[Line]:
    """Yield what each stack comes to; those of which nothing could be tried, by reason."""
    alike: dict[str, list[str]] = {}
    rows = []
    for row in clients["stacks"]:
        if set(row["nodes"].values()) == {NOT_TRIED}:
            alike.setdefault(row["sentence"], []).append(row["title"])
        else:
            library = f" ({row['library']})" if row["library"] else ""
            rows.append((row["title"], f"{row['sentence']}{library}", "normal"))
    rows += [_several(titles, sentence) for sentence, titles in alike.items()]
    rows += [_several(titles, f"Left out, {why}") for titles, why in left_out(clients)]
    first = max((columns(title) for title, _, _ in rows), default=0) + 2
    for title, sentence, colour in rows:
        yield from block(left(title, first), sentence, width, colour)


def _several(titles: list[str], sentence: str) -> tuple[str, str, str]:
    """Return a row for a terminal of what one or several stacks have in common."""
    if len(titles) == 1:
        return titles[0], sentence, "cyan"
    return f"{len(titles)} stacks", f"{sentence} ({', '.join(titles)})", "cyan"


def _told(clients: Mapping[str, Any], width: int) -> list[Line]:
    lines = [line for status, message in told(clients)
             for line in block(f"{status.upper():<8}  ", message, width, _COLOURS[status])]
    return [*lines, Line("")] if lines else []


def _budget(budget: dict[str, Any]) -> str:
    nodes = budget["nodes"].values()
    announced, done = (sum(node[key] for node in nodes)
                       for key in ("handshakes_announced", "handshakes_done"))
    most = max((node["sessions_made"] for node in nodes), default=0)
    return (f"{announced} handshakes announced, {done} made; at most {most} new sessions on one "
            f"node (limit {budget['session_limit']})")
