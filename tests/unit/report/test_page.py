"""index.html: escaped, self-contained, readable at any size."""
from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.report.page import Page, PageError

TEMPLATE = Path(__file__).parents[3] / "templates" / "report.html.j2"


def results(count: int, **changed: Any) -> dict[str, Any]:
    names = [f"n{number}" for number in range(1, count + 1)]
    matrix: list[dict[str, Any]] = [{
               "issuer": issuer, "redeemer": redeemer,
               "outcome": "resumed" if issuer == redeemer else "full",
               "expected": "resumed" if issuer == redeemer else "full", "passed": True,
               "reason": "", "offered_id": "aa", "server_id": "bb", "evidence": {}}
              for issuer in names for redeemer in names]
    row = {"p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": None, "count": 1, "bytes_in": 1,
           "bytes_out": None}
    budget = {"handshakes_announced": 1, "handshakes_done": 1, "sessions_announced": 1,
              "sessions_made": 1}
    return {
        "verdict": "passed", "headline": "fine", "complete": True, "duration_s": 1.0,
        "started_at": "2026-01-01T00:00:00.000Z",
        "target": {"product": "thing", "version": None, "otp_release": None, "driver": "external",
                   "how_identified": "it said so"},
        "counts": {"passed": 1, "failed": 0}, "matrix": matrix,
        "nodes": [{"name": name, "host": "127.0.0.1", "port": 1, "product": "thing",
                   "version": None, "otp_release": None, "how_identified": "it said so"}
                  for name in names],
        "checks": [{"id": "CORE-01", "title": "t", "clause": "c", "level": "MUST",
                    "status": "passed", "reason": "", "subject": "n1", "message": "m",
                    "evidence": {}}],
        "latency": {"full": row, "resumed": row},
        "budget": {"session_limit": 10, "nodes": dict.fromkeys(names, budget)}, **changed}


class Reader(HTMLParser):
    """Collects tags, and the cells of the matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._in_cell = tag == "td" and "title" in dict(attributes)

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.cells.append(data)
            self._in_cell = False


def read(document: dict[str, Any]) -> Reader:
    reader = Reader()
    reader.feed(Page(TEMPLATE).render(document).decode())
    return reader


def test_words_up_to_eight_nodes_and_letters_beyond() -> None:
    assert read(results(2)).cells == ["resumed", "full", "full", "resumed"]
    assert read(results(9)).cells[:10] == ["R", *["F"] * 8, "F"]


def test_what_was_not_expected_is_marked_whatever_the_size() -> None:
    for count, text in ((2, "resumed !"), (9, "R!")):
        document = results(count)
        document["matrix"][1].update(outcome="resumed", passed=False, reason="resumed_elsewhere")
        assert read(document).cells[1] == text


def test_what_a_target_says_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    document = results(2)
    document["target"]["product"] = evil
    document["checks"][0].update(status="failed", reason="x", message=evil)
    reader = read(document)
    assert "script" not in reader.tags


def test_nothing_is_fetched() -> None:
    reader = read(results(3))
    assert not {"script", "link", "img", "iframe"} & set(reader.tags)


@pytest.mark.parametrize(("cells", "says"), [
    ({("n1", "n1"), ("n2", "n2")}, "on the diagonal only"),
    ({("n1", "n1"), ("n1", "n2"), ("n2", "n1"), ("n2", "n2")}, "everywhere"),
    (set(), "nowhere")])
def test_it_says_where_resumption_was_expected(cells: set[tuple[str, str]], says: str) -> None:
    document = results(2)
    for cell in document["matrix"]:
        pair = (cell["issuer"], cell["redeemer"])
        cell["expected"] = "resumed" if pair in cells else "full"
    assert f"Resumed is expected {says};" in Page(TEMPLATE).render(document).decode()


def test_a_missing_template_is_named() -> None:
    with pytest.raises(PageError, match=r"nowhere\.j2 cannot be read"):
        Page(Path("nowhere.j2"))
