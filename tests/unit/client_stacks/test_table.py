"""docs/clients.md and README's table are what the published run says, and that is as expected."""
from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks.definitions import (
    expected,
    names,
    read,
)

from client_stacks import table
from tests.support import client_run

DATA = table.measured()


def test_the_documents_are_what_the_data_say() -> None:
    for path, tables in table.DOCUMENTS.items():
        text = path.read_text()
        assert text == table.written(text, DATA, **tables), "run `make docs`"


def test_every_stack_was_measured_in_each_of_its_ways() -> None:
    assert {row["stack"]: tuple(row["ways"]) for row in DATA["stacks"]} == {
        name: read(name, table.ROOT).ways for name in names(table.ROOT)}
    assert len(DATA["nodes"]) == 3
    assert len(DATA["matrix"]) == 3 * 3 * sum(len(row["ways"]) for row in DATA["stacks"])


def test_what_was_measured_is_what_is_expected() -> None:
    otp = DATA["nodes"][0]["otp_release"]
    for cell in DATA["matrix"]:
        [one] = {entry.result.value for entry in expected(table.ROOT)
                 if entry.covers(cell["stack"], cell["way"], cell["place"], otp, named=True)}
        assert one == cell["result"], cell


def test_a_resumed_connection_costs_each_stack_less() -> None:
    for row in DATA["stacks"]:
        full, resumed = row["costs"]["full"], row["costs"]["resumed"]
        assert full["round_trips"] == 2
        if resumed:
            assert resumed["round_trips"] == 1
            assert resumed["bytes_from_node"] < full["bytes_from_node"] / 2
            assert resumed["cpu_ms"] < full["cpu_ms"]


def test_a_word_of_one_node_alone_is_told_with_its_name() -> None:
    data = copy.deepcopy(DATA)
    for cell in data["matrix"]:
        if (cell["stack"], cell["way"], cell["issuer"]) == ("openssl", "told", "emqx2"):
            cell["result"] = "locked_out"
    assert "emqx1 resumed, emqx2 LOCKED OUT, emqx3 resumed" in "\n".join(table.seen(data))
    assert "emqx1 resumed" not in "\n".join(table.seen(DATA))


def test_a_document_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no place between <!-- clients java: written"):
        table.written("# Title\n", DATA, java=table.java)


@pytest.fixture(scope="module")
def run(certificate: tuple[Path, Path],
        tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run of one stack."""
    return client_run.run(certificate, tmp_path_factory.mktemp("run"),
                          [read("python_ssl", table.ROOT).stack()])[0]


def test_only_a_whole_run_as_expected_is_published(
        run: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(table.TableError, match="this run is without emqtt, erlang_ssl, gnutls"):
        table.reduced(run)
    every = {**run, "clients": {**run["clients"], "stacks": [
        {**run["clients"]["stacks"][0], "stack": name} for name in names(table.ROOT)]}}
    assert len(table.reduced(every)["stacks"]) == len(names(table.ROOT))
    for change in ({"verdict": "failed"}, {"counts": {**run["counts"], "warned": 1}}):
        with pytest.raises(table.TableError, match="only a run is published that passed"):
            table.reduced({**every, **change})
    path = tmp_path / "results.json"
    path.write_text(json.dumps(run))
    before = table.MEASURED.read_text()
    assert table.main([str(path)]) == 1
    assert "make clients-table: this run is without" in capsys.readouterr().err
    assert table.MEASURED.read_text() == before
