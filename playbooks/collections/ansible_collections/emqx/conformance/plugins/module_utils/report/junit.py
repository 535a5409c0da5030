"""junit.xml as CI servers read it: each suite is what Maven Surefire's schema allows.

Surefire writes a file for each suite, so its schema knows no ``testsuites`` around them; Jenkins'
does, and so do all who read several suites from one file. docs/ci.md says what was checked.
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree as ET

from . import known, vantage

# XML 1.0 2.2: what a document must not contain, whatever a target made us quote.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MOST = 10_000
"""Characters of one text; servers cut, or refuse, what is much longer."""
_COUNTED = {"failed": "failures", "error": "errors", "skipped": "skipped", "known": "skipped"}
"""Statuses that are no pass, by the attribute of a suite that counts them."""


def _clean(text: str) -> str:
    clean = _FORBIDDEN.sub("\ufffd", text)
    left_out = len(clean) - _MOST
    if left_out <= 0:
        return clean
    return f"{clean[:_MOST]}... and {left_out} more characters, which results.json has"


def render(results: dict[str, Any]) -> bytes:
    """Return the JUnit document of a result object: one suite a family, one case a finding."""
    root = ET.Element("testsuites", name="TLS 1.2 session-ID resumption")
    families: dict[str, list[dict[str, Any]]] = {}
    for row in results["checks"]:
        families.setdefault(row["id"].partition("-")[0], []).append(row)
    for family, rows in families.items():
        _family(root, family, rows)
    _add_vantage(root, results)
    _add_verdict(root, results)
    return document(root)


def document(root: ET.Element) -> bytes:
    """Return the document of all suites under a root, which is given their counts."""
    for counted in ("tests", "failures", "errors", "skipped"):
        root.set(counted, str(sum(int(suite.get(counted, 0)) for suite in root)))
    # Jenkins' schema has no count of what was skipped for all suites together.
    del root.attrib["skipped"]
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def add_suite(root: ET.Element, name: str, statuses: Iterable[str],
              duration_s: float = 0.0) -> ET.Element:
    """Add a suite, which counts the statuses of its cases, and return it."""
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for status in statuses:
        counts["tests"] += 1
        if status in _COUNTED:
            counts[_COUNTED[status]] += 1
    return ET.SubElement(root, "testsuite", {
        "name": _clean(name), "time": _seconds(duration_s),
        **{key: str(count) for key, count in counts.items()}})


def add_case(suite: ET.Element, classname: str, name: str,
             duration_s: float = 0.0) -> ET.Element:
    """Add a case to a suite and return it."""
    # What is in one suite may be in others too: servers tell cases apart by class and name.
    return ET.SubElement(suite, "testcase", classname=_clean(classname), name=_clean(name),
                         time=_seconds(duration_s))


def _seconds(duration_s: float) -> str:
    return f"{duration_s:.3f}"


def _family(root: ET.Element, name: str, rows: list[dict[str, Any]], place: str = "") -> None:
    """Add a suite of findings; ``place`` is where they were made, if not on the controller."""
    suite = add_suite(root, name, (row["status"] for row in rows))
    for row in rows:
        _finding(add_case(suite, f"{place}.{row['id']}" if place else row["id"],
                          f"{row['id']} {row['subject']}: {row['title']}"), row)


def _finding(case: ET.Element, row: dict[str, Any]) -> None:
    message = row["message"]
    if row["status"] == "known":
        ET.SubElement(case, "skipped", message=_clean(
            f"known: {message}. {known.explanation(row)}"))
    else:
        add_outcome(case, row["status"], row["reason"], message,
                    f"{row['clause']} ({row['level']}): {message}")


def add_outcome(case: ET.Element, status: str, reason: str, message: str, text: str = "") -> None:
    """Say what a case came to; ``text`` is what a failure or an error says at length."""
    if status in ("failed", "error"):
        told = ET.SubElement(case, "failure" if status == "failed" else "error",
                             type=reason, message=_clean(message))
        told.text = _clean(text or message)
    elif status == "skipped":
        ET.SubElement(case, "skipped", message=_clean(message))
    else:
        ET.SubElement(case, "system-out").text = _clean(f"{status}: {message}")


def _add_vantage(root: ET.Element, results: dict[str, Any]) -> None:
    """A suite for each vantage point, and one that tells what differs between places."""
    if "vantage" not in results:
        return
    for point in results["vantage"]["points"]:
        name = f"from {point['name']}"
        if point["report"] is not None:
            _family(root, name, point["report"]["checks"], point["name"])
            continue
        case = add_case(add_suite(root, name, ["error"]), "vantage", name)
        ET.SubElement(case, "error", type="not_measured", message=_clean(point["message"]))
    told = vantage.told(results["vantage"]["differences"])
    case = add_case(add_suite(root, "vantage", ["info"]), "vantage",
                    "What differs between the places probed from")
    ET.SubElement(case, "system-out").text = _clean("\n".join(
        f"{what} {', '.join(subjects)}: {'; '.join(clauses)}" for what, subjects, clauses in told)
        or "nothing")


def _add_verdict(root: ET.Element, results: dict[str, Any]) -> None:
    """The verdict is a case of its own: a run that measured nothing must not look green."""
    verdict, took = results["verdict"], results["duration_s"]
    suite = add_suite(root, "verdict", [verdict], took)
    properties = ET.SubElement(suite, "properties")
    ET.SubElement(properties, "property", name="started_at", value=_clean(results["started_at"]))
    notes = known.notes(results)
    for note in notes:
        ET.SubElement(properties, "property", name="note", value=_clean(note))
    case = add_case(suite, "verdict", "verdict", took)
    headline = results["headline"]
    if verdict != "passed":
        ET.SubElement(case, "failure" if verdict == "failed" else "error", type=verdict,
                      message=_clean(headline))
        headline = ""
    said = [text for text in (headline, *notes) if text]
    if said:
        ET.SubElement(case, "system-out").text = _clean("\n".join(said))
