"""index.html: escaped, self-contained, readable at any size."""
from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.report import compare
from ansible_collections.emqx.conformance.plugins.module_utils.report.files import PageError
from ansible_collections.emqx.conformance.plugins.module_utils.report.page import Page

from tests.support.result_objects import finding, run

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "templates" / "report.html.j2"
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


class Reader(HTMLParser):
    """Collects tags, the cells of the matrix, what scripts hold, and what can be read."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.scripts: list[str] = []
        self.told = ""
        self._within = ""
        self.feed(Page(TEMPLATE).render(document).decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        cell = tag == "td" and bool({"resumed", "full", "refused", "not_measured"} & set(
            (attributes.get("class") or "").split()))
        self._within = "cell" if cell else tag

    def handle_data(self, data: str) -> None:
        if self._within == "script":
            self.scripts.append(data)
        elif self._within != "style":
            self.told += f"{' '.join(data.split())} "
        if self._within == "cell":
            self.cells.append(data.strip())
        self._within = ""


def test_the_made_up_results_are_as_real_ones() -> None:
    schema = json.loads((ROOT / "schemas/results.schema.json").read_text())
    jsonschema.validate(run(3, lambda *pair: pair == ("n1", "n2")), schema)


def test_words_up_to_eight_nodes_and_letters_beyond() -> None:
    assert Reader(run(2)).cells == ["resumed", "full", "full", "resumed"]
    assert Reader(run(9)).cells[:10] == ["R", *["F"] * 8, "F"]


@pytest.mark.parametrize(("count", "text"), [(2, "resumed !"), (9, "R!")])
def test_what_was_not_expected_is_marked_whatever_the_size(count: int, text: str) -> None:
    assert Reader(run(count, lambda *pair: pair == ("n1", "n2"))).cells[1] == text


def test_a_pair_that_results_leave_out_is_not_measured() -> None:
    document = run(2)
    del document["matrix"][1]
    assert Reader(document).cells == ["resumed", "not measured", "full", "resumed"]


def test_handshakes_beyond_those_announced_are_told() -> None:
    document = run(2)
    assert "Beyond those announced" not in Reader(document).told
    document["budget"]["nodes"]["n1"] = {**document["budget"]["nodes"]["n1"], "renewals": 1,
                                         "controls": 3, "polls": 6}
    told = Reader(document).told
    assert ("Beyond those announced: 1 more for sessions that had grown old; 3 more to tell why "
            "connections were cut off.") in told
    assert "1 + 4" in told
    assert "Handshakes of the driver: 6 besides to see whether nodes were ready." in told


def test_what_a_target_says_is_escaped_everywhere() -> None:
    document = run(2, lambda *_pair: True)
    plain = len(Reader(document).scripts)
    document["target"]["product"] = document["headline"] = document["notes"] = [EVIL]
    for row in document["checks"]:
        row.update(message=EVIL, data={EVIL: EVIL})
    for one in document["handshakes"].values():
        one.update(why=EVIL, cipher=EVIL, server_name=EVIL)
        one["mqtt"]["detail"] = EVIL
    reader = Reader(document)
    assert len(reader.scripts) == plain
    assert "img" not in {tag for tag, _ in reader.tags}
    assert EVIL in json.loads(reader.scripts[0])["strings"]


def test_nothing_is_fetched_and_no_other_script_may_run() -> None:
    reader = Reader(run(3))
    tags = {tag for tag, _ in reader.tags}
    assert not {"link", "img", "iframe", "object", "embed", "form"} & tags
    for _, attributes in reader.tags:
        assert not {"src", "onclick", "onerror", "onload", "srcset", "action"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")
    [policy] = [attributes["content"] or "" for tag, attributes in reader.tags
                if attributes.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(reader.scripts[-1].encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}';" in policy
    style = (ROOT / "templates/report.css").read_text()
    assert not re.search(r"url\(|@import", style)


def test_plots_are_drawn_once_the_run_is_over() -> None:
    document = run(3)
    assert "How long handshakes took" in Reader(document).told
    page = Page(TEMPLATE).render(document)
    assert b"<svg" in page
    assert b"://" not in page
    assert b"<svg" not in Page(TEMPLATE).render({**document, "complete": False})


def test_what_resumption_is_worth_is_told_with_its_intervals() -> None:
    figures = {"count": 90, "bytes_in": 2305, "bytes_out": 316, "p50_ms": 14.0, "p95_ms": 21.5,
               "p50_ms_95": [13.5, 14.25], "p95_ms_95": None, "p99_ms": 23.0, "p99_ms_95": None}
    document = run(1)
    document["checks"] += [finding("PERF-01", name, "info", "measured", data={
        "certificate": "RSA 2048", "full": figures, "resumed": {**figures, "p50_ms": 3.5},
        "rates": [], "cpu": cpu, "cpu_why": "n1 is not here", "sentence": "A fleet saves a lot"})
        for name, cpu in (("n1", None), ("n2", {"full_ms": 1.5, "resumed_ms": 0.25}))]
    told = " ".join(Reader(document).told.split())
    assert told.count("A fleet saves a lot") == 2  # here, and among the figures
    assert ("n1, RSA 2048 full 90 14.00 (13.50 to 14.25) 21.50 23.00 2305 316 \N{EN DASH} "
            "n1, RSA 2048 resumed 90 3.50") in told
    assert "the 95 % confidence interval. No CPU time: n1 is not here." in told
    assert "n2, RSA 2048 resumed 90 3.50 (13.50 to 14.25) 21.50 23.00 2305 316 0.25" in told


def test_what_each_node_saves_is_told_of_the_first_four() -> None:
    figures = dict.fromkeys(("count", "bytes_in", "bytes_out", "p50_ms", "p95_ms", "p50_ms_95",
                             "p95_ms_95", "p99_ms", "p99_ms_95"))
    document = run(1)
    document["checks"] += [finding("PERF-01", f"n{number}", "info", "measured", data={
        "certificate": "RSA 2048", "full": figures, "resumed": figures, "rates": [], "cpu": None,
        "cpu_why": "no driver", "sentence": f"That saves {number} CPUs"}) for number in range(1, 7)]
    told = " ".join(Reader(document).told.split())
    assert ("side by side n1: That saves 1 CPUs. n2: That saves 2 CPUs. n3: That saves 3 CPUs. "
            "n4: That saves 4 CPUs. What the other 2 nodes save is among the findings") in told


def test_what_changed_since_the_run_before_is_told() -> None:
    before, now = run(3, lambda *pair: pair == ("n1", "n2")), run(3)
    assert "Since the run before" not in Reader(now).told
    told = Reader(compare.compared(now, compare.Previous.of("reports/before", before))).told
    section = " ".join(told.partition("Since the run before")[2].split())
    assert section.startswith("Changed since reports/before (failed, 2026-01-01 00:00 UTC): ▲ ")
    assert "▲ better CORE-03 n1->n2: failed (resumed_elsewhere) -> passed" in section


def test_what_is_wrong_stands_at_the_top_and_open() -> None:
    document = run(3, lambda *pair: pair == ("n1", "n2"))
    document["checks"].append(finding("NEG-01", "n1", "error", "timeout"))
    reader = Reader(document)
    told = reader.told
    assert (told.index("FAILED") < told.index("What is wrong")
            < told.index("n2 resumed a session that n1 issued") < told.index("NEG-01")
            < told.index("Each row is the node") < told.index("Evidence"))
    opened = [attributes["id"] for tag, attributes in reader.tags
              if tag == "details" and attributes.get("class") == "check" and "open" in attributes]
    assert opened == ["CORE-03", "NEG-01"]
    links = [attributes["href"] for tag, attributes in reader.tags if tag == "a"]
    anchors = {attributes.get("id") for _, attributes in reader.tags}
    assert {"#CORE-03-1", "#NEG-01-1"} <= set(links)
    assert {str(link)[1:] for link in links} <= anchors


def test_of_many_problems_the_top_names_the_first_and_counts_the_rest() -> None:
    document = run(1)
    document["checks"] = [finding(f"NEG-{number:02}", "n1", "failed", "x")
                          for number in range(1, 10)]
    told = Reader(document).told.partition("What is wrong")[2].partition("Each row is")[0]
    assert [f"NEG-{number:02}" in told for number in range(1, 10)] == [True] * 6 + [False] * 3
    assert "And 3 more," in told


def test_every_table_names_its_rows_and_columns() -> None:
    reader = Reader(run(3))
    assert all(attributes.get("scope") in ("row", "col")
               for tag, attributes in reader.tags if tag == "th")


@pytest.mark.parametrize(("cells", "says"), [
    ({("n1", "n1"), ("n2", "n2")}, "on the diagonal only"),
    ({("n1", "n1"), ("n1", "n2"), ("n2", "n1"), ("n2", "n2")}, "everywhere"),
    (set(), "nowhere")])
def test_it_says_where_resumption_was_expected(cells: set[tuple[str, str]], says: str) -> None:
    document = run(2)
    for cell in document["matrix"]:
        pair = (cell["issuer"], cell["redeemer"])
        cell["expected"] = "resumed" if pair in cells else "full"
    assert f"Resumed is expected {says};" in Reader(document).told


def test_it_says_how_many_handshakes_it_holds() -> None:
    document = run(2)
    assert "All 6 handshakes in results.json" in Reader(document).told
    document["handshakes"]["h00099"] = document["handshakes"]["h00001"]
    assert "6 of the 7 handshakes in results.json" in Reader(document).told


def test_results_of_an_earlier_release_are_shown() -> None:
    document = run(2)
    for one in document["handshakes"].values():
        del one["port"]
    for node in document["nodes"]:
        del node["how_identified"]
    assert Reader(document).cells == ["resumed", "full", "full", "resumed"]


@pytest.mark.parametrize("missing", ["report.html.j2", "report.css", "report.js"])
def test_a_missing_file_of_the_template_is_named(tmp_path: Path, missing: str) -> None:
    for suffix in ("html.j2", "css", "js"):
        if missing != f"report.{suffix}":
            (tmp_path / f"report.{suffix}").write_text("")
    with pytest.raises(PageError, match=rf"{re.escape(missing)} cannot be read"):
        Page(tmp_path / "report.html.j2")
