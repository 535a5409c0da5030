"""index.html of a run of client stacks: what a real run came to is on it, escaped and complete."""
from __future__ import annotations

import copy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.page import (
    Page,
    blocks,
)
from ansible_collections.emqx.conformance.plugins.module_utils.report.files import PageError

from tests.support import client_run

EVIL = "</style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


class Reader(HTMLParser):
    """Collects tags, cells, ladders and what can be read."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[tuple[str, str]] = []
        self.ladders: list[list[str]] = []
        self.told = ""
        self._within = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag == "ol" and attributes.get("class") == "ladder":
            self.ladders.append([])
        if tag == "li" and "aria-label" in attributes:
            said = attributes["aria-label"] or ""
            self.ladders[-1].append(said.partition(": ")[2])
        if tag == "td" and attributes.get("class") not in (None, "number"):
            self.cells.append((attributes["class"] or "", ""))
        self._within = tag

    def handle_data(self, data: str) -> None:
        if self._within == "td" and self.cells and not self.cells[-1][1]:
            self.cells[-1] = (self.cells[-1][0], data.strip())
        if self._within != "style":
            self.told += f"{' '.join(data.split())} "


@pytest.fixture(scope="module")
def made(certificate: tuple[Path, Path],
         tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    return client_run.run(certificate, tmp_path_factory.mktemp("run"), client_run.every_kind())


def rendered(results: dict[str, Any]) -> Reader:
    return Reader(Page(client_run.TEMPLATE).render(results))


def test_a_run_leaves_the_page_of_its_result(made: tuple[dict[str, Any], Path]) -> None:
    results, folder = made
    assert (folder / "index.html").read_bytes() == Page(client_run.TEMPLATE).render(results)


def test_every_cell_is_there_and_what_is_to_be_looked_at_is_marked(
        made: tuple[dict[str, Any], Path]) -> None:
    results, reader = made[0], rendered(made[0])
    assert len(reader.cells) == len(results["clients"]["matrix"]) == 4 * 2 * 2 * 3
    # Python's ssl, as it comes and told, on two nodes.
    assert reader.cells[:4] == [("full", "full")] * 2 + [("resumed", "resumed")] * 2
    assert ("not_measured unexpected", "LOCKED OUT !") in reader.cells
    for cell in results["clients"]["matrix"]:
        if cell["status"] != "info":
            assert cell["message"] in reader.told
    assert "Not tried, since it is not built: make stacks STACKS=absent" in reader.told


def test_ladders_show_a_full_and_a_resumed_handshake_message_by_message(
        made: tuple[dict[str, Any], Path]) -> None:
    results, reader = made[0], rendered(made[0])
    [cell] = [cell for cell in results["clients"]["matrix"]
              if (cell["stack"], cell["way"], cell["issuer"], cell["place"]) == (
                  "python_ssl", "told", "n1", "home")]
    first, second = ([f"{message['from']} sends {message['message']}, {message['bytes']} bytes"
                      for message in results["connections"][key]["messages"]]
                     for key in cell["connections"])
    # It is the first stack, and as it comes it has four connections.
    assert reader.ladders[4:6] == [first, second]
    assert any("Certificate" in message for message in first)
    assert not any("Certificate" in message for message in second)
    # Four connections of each stack in each way.
    assert len(reader.ladders) == 4 * 2 * 4


def test_what_it_costs_is_told_with_and_without(made: tuple[dict[str, Any], Path]) -> None:
    results, reader = made[0], rendered(made[0])
    full, resumed = (results["clients"]["stacks"][0]["costs"][kind]
                     for kind in ("full", "resumed"))
    assert (f"Bytes that it gets {full['bytes_from_node']:,} {resumed['bytes_from_node']:,} "
            in reader.told)
    assert "Round trips before CONNECT 2 1 50 %" in reader.told
    assert f"Its processor time, ms {full['cpu_ms']:.2f} {resumed['cpu_ms']:.2f}" in reader.told
    assert "None of its connections resumed by session ID" in reader.told


def test_what_was_not_measured_says_so(made: tuple[dict[str, Any], Path]) -> None:
    results = copy.deepcopy(made[0])
    for one in results["clients"]["stacks"][0]["costs"].values():
        one.update(cpu_ms=None, first=True)
    told = rendered(results).told
    assert "Its processor time, ms not measured not measured -" in told
    assert "This machine does not tell the processor time of another process." in told
    assert "The full ones are clients' first connections" in told


@pytest.mark.parametrize(("pause_ms", "cpu_ms", "says"), [
    (41.2, 1.0, True), (41.2, None, True), (41.2, 30.0, False), (3.0, 1.0, False)])
def test_a_connect_that_tcp_holds_back_is_explained(
        made: tuple[dict[str, Any], Path], pause_ms: float, cpu_ms: float | None, *,
        says: bool) -> None:
    results = copy.deepcopy(made[0])
    results["clients"]["stacks"] = results["clients"]["stacks"][:1]
    results["clients"]["stacks"][0]["costs"]["resumed"].update(pause_ms=pause_ms, cpu_ms=cpu_ms)
    told = rendered(results).told
    assert ("Resumed, 41 ms pass before its CONNECT" in told) is says
    assert ("TCP_NODELAY" in told) is says


def test_the_lines_that_make_it_resume_are_there(made: tuple[dict[str, Any], Path]) -> None:
    told = rendered(made[0]).told
    assert "context.session = client.socket().session" in told
    assert "docs/paho-resumption.md has it to copy" in told
    assert "](" not in told


def test_a_readme_is_read_as_these_are_written() -> None:
    assert list(blocks("# A title\n\nSome `code`,\nand [words](../there.md).\n\n    one();\n"
                       "      two();\n\nThe end.\n")) == [
        ("text", [("Some ", False), ("code", True), (", and words.", False)]),
        ("code", "one();\n  two();"), ("text", [("The end.", False)])]
    assert list(blocks("")) == []


def test_an_interrupted_run_says_so(made: tuple[dict[str, Any], Path]) -> None:
    assert "The run did not get to its end" not in rendered(made[0]).told
    assert "The run did not get to its end" in rendered({**made[0], "complete": False}).told


def test_nothing_is_fetched_no_script_runs_and_everything_is_escaped(
        made: tuple[dict[str, Any], Path]) -> None:
    results = copy.deepcopy(made[0])
    results["headline"] = EVIL
    for row in results["clients"]["stacks"]:
        row.update(title=EVIL, sentence=EVIL, library=EVIL, readme=f"{EVIL}\n\n    {EVIL}\n")
    for cell in results["clients"]["matrix"]:
        cell["message"] = EVIL
    for one in results["connections"].values():
        one["said"] = {"resumed": None, "connack": -1, "error": EVIL, "library": EVIL}
    reader = rendered(results)
    assert not {"script", "img", "link", "iframe", "object", "embed", "form"} & {
        tag for tag, _ in reader.tags}
    for _, attributes in reader.tags:
        assert not {"src", "onclick", "onerror", "onload", "srcset", "action"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")
    [policy] = [attributes["content"] or "" for _, attributes in reader.tags
                if attributes.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "script-src" not in policy


@pytest.mark.parametrize("missing", ["clients.html.j2", "report.css", "clients.css"])
def test_a_template_that_is_not_whole_is_told(missing: str, tmp_path: Path) -> None:
    for path in client_run.TEMPLATE.parent.iterdir():
        if path.name != missing:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(PageError, match=f"{missing} cannot be read"):
        Page(tmp_path / "clients.html.j2")
