"""junit.xml in the form that CI servers read (Maven Surefire's)."""
from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

from . import known

# XML 1.0 2.2: what a document must not contain, whatever a target made us quote.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)


def render(results: dict[str, Any]) -> bytes:
    """Return the JUnit document of a result object: one suite a family, one case a finding."""
    root = ET.Element("testsuites", name="TLS 1.2 session-ID resumption")
    families: dict[str, list[dict[str, Any]]] = {}
    for row in results["checks"]:
        families.setdefault(row["id"].partition("-")[0], []).append(row)
    for family, rows in families.items():
        _suite(root, family, rows, results)
    _add_verdict(root, results)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _suite(root: ET.Element, family: str, rows: list[dict[str, Any]],
           results: dict[str, Any]) -> None:
    counts = {status: sum(row["status"] == status for row in rows)
              for status in ("failed", "error", "skipped", "known")}
    suite = ET.SubElement(
        root, "testsuite", name=family, tests=str(len(rows)), failures=str(counts["failed"]),
        errors=str(counts["error"]), skipped=str(counts["skipped"] + counts["known"]),
        time="0", timestamp=results["started_at"].partition(".")[0])
    for row in rows:
        case = ET.SubElement(suite, "testcase", classname=row["id"], time="0",
                             name=_clean(f"{row['id']} {row['subject']}: {row['title']}"))
        message = _clean(row["message"])
        if row["status"] in ("failed", "error"):
            tag = "failure" if row["status"] == "failed" else "error"
            ET.SubElement(case, tag, type=row["reason"], message=message).text = _clean(
                f"{row['clause']} ({row['level']}): {row['message']}")
        elif row["status"] == "skipped":
            ET.SubElement(case, "skipped", message=message)
        elif row["status"] == "known":
            ET.SubElement(case, "skipped", message=_clean(
                f"known: {row['message']}. {known.explanation(row)}"))
        else:
            ET.SubElement(case, "system-out").text = f"{row['status']}: {message}"


def _add_verdict(root: ET.Element, results: dict[str, Any]) -> None:
    """The verdict is a case of its own: a run that measured nothing must not look green."""
    verdict = results["verdict"]
    suite = ET.SubElement(
        root, "testsuite", name="verdict", tests="1", failures=str(int(verdict == "failed")),
        errors=str(int(verdict == "error")), skipped="0", time=str(results["duration_s"]),
        timestamp=results["started_at"].partition(".")[0])
    notes = known.notes(results)
    if notes:
        properties = ET.SubElement(suite, "properties")
        for note in notes:
            ET.SubElement(properties, "property", name="note", value=_clean(note))
    case = ET.SubElement(suite, "testcase", classname="verdict", name="verdict",
                         time=str(results["duration_s"]))
    headline = _clean(results["headline"])
    if verdict != "passed":
        ET.SubElement(case, "failure" if verdict == "failed" else "error", type=verdict,
                      message=headline)
        headline = ""
    said = [_clean(text) for text in (headline, *notes) if text]
    if said:
        ET.SubElement(case, "system-out").text = "\n".join(said)
