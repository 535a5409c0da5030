"""The result as text for a terminal; at its best from 80 columns up, whole in fewer."""
from __future__ import annotations

from itertools import islice
from typing import Any

from ..run import beyond
from ..vantage import CONTROLLER
from ..words import capital, figure, some
from . import compare, known, vantage
from .columns import Line, block, columns, left, printable, right
from .evidence import Evidence
from .grouped import WORST_FIRST, Checked, Group, grouped, landed, why_left_out
from .matrix_text import matrix

_COLOURS = {"passed": "green", "failed": "red", "error": "red", "known": "yellow",
            "warned": "yellow", "info": "normal", "skipped": "cyan"}

_MOST = 4
"""Subjects that are named where many are hit."""
_MOST_TOLD = 4
"""Sentences of one check on what passed, and, without -v, on what is told and not judged."""
_MOST_HANDSHAKES = 6
"""Handshakes of one sentence whose evidence is shown; results.json has all."""
SENTENCES, HANDSHAKES, MESSAGES = 1, 2, 3
"""How often -v is given for: what passed and why something is known; evidence; its messages."""


def render(results: dict[str, Any], report: str, width: int = 80,
           verbosity: int = 0) -> list[Line]:
    """Return the whole summary, with as much evidence as ansible-playbook's -v asks for."""
    lines = [*_head(results, width), Line(""), *matrix(results, width), Line(""),
             *_findings(results, width, verbosity), Line(""), *_through(results, width),
             *_latency(results, width), Line(""), *_vantage(results, width),
             *_changed(results, width)]
    verdict = results["verdict"]
    counts = ", ".join(f"{number} {status}" + (f" ({kinds})" if kinds else "")
                       for status, number, kinds in known.counted(results))
    # What several places have seen is not added up.
    whose = f"of the {CONTROLLER}: " if "vantage" in results else ""
    lines += [*block("Report    ", report, width),
              *block("Budget    ", f"{whose}{_budget(results)}", width),
              *block("Findings  ", f"{whose}{counts}", width)]
    for told in _differences(results):
        lines += block("          ", told, width)
    for note in known.notes(results):
        lines += block("Note      ", note, width, _COLOURS["warned"])
    lines += block("Verdict   ", f"{verdict.upper()}: {results['headline']}", width,
                   _COLOURS[verdict])
    return [Line(printable(line.text), line.colour) for line in lines]


def _changed(results: dict[str, Any], width: int) -> list[Line]:
    """Return what changed since an earlier run, if this one was compared with any."""
    colours = {"worse": "red", "better": "green"}
    lines = [line for text, kind in compare.told(results)
             for line in block("" if kind == "head" else "         ", text, width,
                               colours.get(kind, "normal"))]
    return [*lines, Line("")] if lines else []


def _budget(results: dict[str, Any]) -> str:
    budget = results["budget"]
    nodes = budget["nodes"].values()
    addresses = beyond.addresses(results)
    announced, done = (sum(address.get(key, 0) for address in addresses)
                       for key in ("handshakes_announced", "handshakes_done"))
    made = max(node["sessions_made"] for node in nodes)
    more = "".join(f" and {clause}" for clause in beyond.told(addresses))
    polls = "".join(f"; {clause}" for clause in [beyond.polls(addresses)] if clause)
    return (f"{announced} handshakes announced{more}, {done} made{polls}; at most {made} new "
            f"sessions on one node (limit {budget['session_limit']})")


def _differences(results: dict[str, Any]) -> list[str]:
    """Say how a check's handshakes differ from its price, once for nodes that do not differ.

    Checks that made none hang on others, and are only counted.
    """
    nodes: dict[tuple[str, int, int, str], list[str]] = {}
    without: dict[str, list[int]] = {}
    for row in results["budget"]["differences"]:
        if row["made"]:
            nodes.setdefault((row["check"], row["made"], row["announced"], row["why"]),
                             []).append(row["node"])
        else:
            without.setdefault(row["node"], []).append(row["announced"])
    told = [f"{check} made {made} of {announced} with {', '.join(names)}: {why}"
            for (check, made, announced, why), names in nodes.items()]
    return told + [f"{sum(left)} {'was' if sum(left) == 1 else 'were'} not made with {node}, in "
                   f"{len(left)} check{'s' * (len(left) > 1)} that did not come to it"
                   for node, left in without.items()]


def _head(results: dict[str, Any], width: int) -> list[Line]:
    target = results["target"]
    what = target["product"]
    if target["version"]:
        what += f" {target['version']}"
    if target["otp_release"]:
        what += f", Erlang/OTP {target['otp_release']}"
    return [*block("Target    ", f"{what} (driver {target['driver']})", width),
            *block("          ", capital(target["how_identified"]), width),
            *block("Started   ", f"{results['started_at']}, took {results['duration_s']:.1f} s",
                   width)]


def _findings(results: dict[str, Any], width: int, verbosity: int) -> list[Line]:
    found = grouped(results["checks"])
    evidence = Evidence(results) if verbosity >= HANDSHAKES else None
    lines: list[Line] = []
    for check in found.checks:
        tally = check.tally
        share = f"{f'{tally.count}/{tally.of}':>7}"
        if tally.skipped:
            share += f", skipped {tally.skipped}"
        lines += block(f"{check.id:<7}  {tally.worst:<7} {share}  ", check.title, width,
                       _COLOURS[tally.worst])
        told, left_out = _told(check, verbosity)
        for group in told:
            lines += _details(group, width, verbosity)
            if evidence is not None:
                lines += _handshakes(group, evidence, width, ladder=verbosity >= MESSAGES)
        if left_out:
            lines += block("         ", f"and on {some(left_out, _MOST)}: see index.html", width)
    return [*lines, *_consequences(found.consequences, width), *_left_out(found.left_out, width)]


def _told(check: Checked, verbosity: int) -> tuple[list[Group], list[str]]:
    """Return what is told in sentences, and on which subjects there would be more to tell.

    Figures differ from node to node, so that what nobody has to act upon is not told of all.
    """
    told: list[Group] = []
    left_out: list[str] = []
    for status in WORST_FIRST:
        groups = [group for group in check.groups if group.status == status]
        if status == "passed" and verbosity < SENTENCES:
            continue
        bounded = status == "passed" or (status == "info" and verbosity < SENTENCES)
        shown = groups[:_MOST_TOLD] if bounded else groups
        told += shown
        left_out += [row["subject"] for group in groups[len(shown):] for row in group.rows]
    return told, left_out


def _consequences(unmeasured: dict[str, list[str]], width: int) -> list[Line]:
    """Tell once what was skipped because of what went wrong above."""
    if not unmeasured:
        return []
    subjects = list(dict.fromkeys(name for names in unmeasured.values() for name in names))
    return [Line(""), *block(
        "Skipped  ", f"as a consequence, on {some(subjects, _MOST)}: {', '.join(unmeasured)}",
        width, _COLOURS["skipped"])]


def _left_out(left_out: dict[str, list[str]], width: int) -> list[Line]:
    """Name in one line what the allowed impact, or a choice, leaves out."""
    lines = [Line("")] if left_out else []
    for why, checks in left_out.items():
        lines += block("Skipped  ", f"since {why_left_out(why, checks)}: {', '.join(checks)}",
                       width, _COLOURS["skipped"])
    return lines


def _details(group: Group, width: int, verbosity: int) -> list[Line]:
    """Tell one reason once: the first subject's sentences, then whom else it hit."""
    text = group.message
    if group.others:
        text += f" ({group.alike}: {some(group.others, _MOST)})"
    first = group.rows[0]
    why = known.explanation(first) if verbosity >= SENTENCES else known.name(first)
    return [line for said in (text, why) if said
            for line in block("         ", said, width, _COLOURS[group.status])]


def _handshakes(group: Group, evidence: Evidence, width: int, *, ladder: bool) -> list[Line]:
    """Show the first handshakes that what was told rests on, each subject's before the next's."""
    keys = list(dict.fromkeys(
        key for row in group.rows for key in row["evidence"].get("handshakes", ())))
    lines = [line for key in islice(keys, _MOST_HANDSHAKES)
             for line in evidence.shown(key, width, ladder=ladder)]
    if len(keys) > _MOST_HANDSHAKES:
        lines += block("         ", f"{len(keys) - _MOST_HANDSHAKES} more in results.json", width)
    return lines


def _through(results: dict[str, Any], width: int) -> list[Line]:
    """Tell what each address that leads to several nodes is worth."""
    rows = [row for row in results["checks"] if row["id"] == "LB-01" and "data" in row]
    if not rows:
        return []
    table = [["Through", "offers", "resumed", "95 % interval", "caches implied", "affinity"]]
    for row in rows:
        data = row["data"]
        low, high = data["rate_95"]
        implied = data["implied_caches"]
        table.append([row["subject"], str(data["offers"]), str(data["resumed"]),
                      f"{100 * low:.0f} to {100 * high:.0f} %",
                      "-" if implied is None else format(implied, ".1f"), data["affinity_seen"]])
    lines = _table(table, width, to_the_left=(0, 5))
    for row in rows:
        where = ", ".join(f"{name} {count}" for name, count in landed(row["data"]).items())
        if where:
            lines += block(f"{row['subject']}: ", "Connections without a session landed on "
                           f"{where}", width)
    return [*lines, Line("")]


def _latency(results: dict[str, Any], width: int) -> list[Line]:
    table = [["Handshake", "count", "p50 ms", "p95 ms", "p99 ms", "bytes in", "bytes out"]]
    for kind in ("full", "resumed"):
        row = results["latency"][kind]
        table.append([kind, str(row["count"]), *(
            figure(row[key]) for key in ("p50_ms", "p95_ms", "p99_ms", "bytes_in", "bytes_out"))])
    return _table(table, width)


def _table(rows: list[list[str]], width: int, to_the_left: tuple[int, ...] = (0,)) -> list[Line]:
    """Return rows in columns under the first one; where they do not fit, each as a sentence."""
    widths = [max(columns(row[at]) for row in rows) for at in range(len(rows[0]))]
    if sum(widths) + 2 * (len(widths) - 1) > width:
        heads = rows[0]
        return [line for row in rows[1:] for line in block(
            f"{row[0]}: ", ", ".join(f"{head} {cell}" for head, cell in zip(heads[1:], row[1:])),
            width)]
    return [Line("  ".join(left(cell, widths[at]) if at in to_the_left else right(cell, widths[at])
                           for at, cell in enumerate(row)).rstrip()) for row in rows]


def _vantage(results: dict[str, Any], width: int) -> list[Line]:
    """Return a line for each place that probed, and what was not the same from all of them."""
    if "vantage" not in results:
        return []
    seen, points = results["vantage"], results["vantage"]["points"]
    first = max(len("Probed from"), *(columns(point["name"]) for point in points)) + 2
    own = seen["controller"]["verdict"]
    lines = [Line(f"{left('Probed from', first)}verdict    pairs  handshakes  with"),
             Line(f"{left(CONTROLLER, first)}{own:<7}  {_figures(results)}".rstrip(),
                  _COLOURS[own])]
    for point in points:
        verdict, _ = vantage.verdict_of(point)
        head, what = f"{left(point['name'], first)}{verdict:<7}  ", point["message"]
        if point["report"]:
            # Without the day of the release, so that it fits into 80 columns.
            library = " ".join(point["openssl"].split()[:2])
            head += _figures(point["report"])
            what = f"Python {point['python']}, {library}"
        lines += block(head, what, width, _COLOURS[verdict])
    told = vantage.told(seen["differences"])
    lines.append(Line("Nothing that was probed from several of them differs." if not told else
                      "Seen differently:"))
    for what, subjects, clauses in told:
        lines += block(f"{what:<9}", f"{some(subjects, 6)}: {'; '.join(clauses)}", width,
                       _COLOURS["warned"])
    return [*lines, *block("", "All the rest here is what was seen from the controller; "
                           "index.html and results.json have the others'.", width), Line("")]


def _figures(results: dict[str, Any]) -> str:
    """Return the pairs as expected, and the handshakes made, each of how many, in columns."""
    as_expected = sum(cell["passed"] for cell in results["matrix"])
    nodes = results["budget"]["nodes"].values()
    made, announced = (sum(node[f"handshakes_{key}"] for node in nodes)
                       for key in ("done", "announced"))
    pairs, handshakes = f"{as_expected}/{len(results['matrix'])}", f"{made}/{announced}"
    return f"{pairs:>7}  {handshakes:>10}  "
