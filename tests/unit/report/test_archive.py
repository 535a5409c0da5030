"""Evidence beyond what a result holds goes to a file, and takes little memory."""
from __future__ import annotations

import json
import threading
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jsonschema
import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.model import (
    Endpoint,
    Handshake,
    Message,
    MqttResult,
    Outcome,
    SecretFingerprint,
    Session,
)
from ansible_collections.emqx.conformance.plugins.module_utils.report import files
from ansible_collections.emqx.conformance.plugins.module_utils.report.archive import FILE
from ansible_collections.emqx.conformance.plugins.module_utils.report.results import (
    RunRecord,
    build,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.bench import Bench
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Impact
from ansible_collections.emqx.conformance.plugins.module_utils.run.plan import make_plan
from ansible_collections.emqx.conformance.plugins.module_utils.run.prober import (
    Contact,
    Offer,
    Prober,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.runner import Runner
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tolerance.finding import Finding

SCHEMA = json.loads(
    (Path(__file__).parents[3] / "schemas/results.schema.json").read_text(encoding="utf-8"))
CHECKS = ("CORE-01", "CORE-02", "CORE-03", "CORE-04")
FLIGHT = ("ClientHello", "ServerHello", "Certificate", "ServerKeyExchange", "ServerHelloDone",
          "ClientKeyExchange", "ChangeCipherSpec", "Finished", "ChangeCipherSpec", "Finished")


class Cluster(Prober):
    """A prober whose nodes answer at once, as a cluster with a cache a node does."""

    def __init__(self, count: int, wrong: tuple[str, str] | None = None,
                 each: int | None = None) -> None:
        nodes = {f"n{number}": Endpoint(f"n{number}", "127.0.0.1", number, "localhost")
                 for number in range(1, count + 1)}
        engine = SimpleNamespace(trust=SimpleNamespace(ca_file="ca.pem"),
                                 can_offer=lambda *_: True)
        super().__init__(cast(OrdinaryEngine, engine),
                         Target(nodes, Settings(tls_versions=("tlsv1.2",), pairs_per_node=each),
                                zones={"n1": "attic", "n2": "attic"}), threading.Event())
        self.wrong = wrong
        self._made = 0

    def tried(self, offer: Offer) -> Contact:
        """Resume where the session was issued, and where it should not."""
        self._made += 1
        node, offered = offer.node, offer.session
        resumed = offered is not None and (
            offered.issuer == node or (offered.issuer, node) == self.wrong)
        new = self._made.to_bytes(32, "big")
        flight = FLIGHT if not resumed else (*FLIGHT[:2], *FLIGHT[6:])
        handshake = Handshake(
            self.target.nodes[node], "2026-11-24T17:35:31.708Z",
            Outcome.RESUMED if resumed else Outcome.FULL, "the three witnesses agree",
            offered.id if offered else b"", offered.id if offered and resumed else new, "tlsv1.2",
            "ECDHE-RSA-AES256-GCM-SHA384", client_random=new, server_random=new,
            library_reused=resumed, wire_abbreviated=resumed, same_master_secret=resumed,
            messages=tuple(Message("client", name, 100 + place, place + self._made / 1000)
                           for place, name in enumerate(flight)),
            bytes_in=3000, bytes_out=500, connect_ms=0.1, handshake_ms=1 + self._made / 1000,
            mqtt=MqttResult("5", "", "CONNACK accepted", 0.5))
        session = None if resumed else Session(
            new, "ECDHE-RSA-AES256-GCM-SHA384", node, "", None, SecretFingerprint(new), new,
            bytes(32))
        return self.heard(node, Contact(handshake, session))


def run(count: int, folder: Path | None, *, most: int,
        wrong: tuple[str, str] | None = None, each: int | None = None) -> RunRecord:
    """Run the checks of the matrix, one subject at a time, with room for so much evidence."""
    bench = Bench(Cluster(count, wrong, each))
    plan = make_plan(bench.target, [check for check in catalogue() if check.id in CHECKS],
                     Impact.NOISY)
    record = RunRecord(bench.ledger, plan, "embedded", "2026-11-24T17:35:31.708Z",
                       bench.prober.paces)
    record.archive.most, record.archive.folder = most, folder
    record.complete = Runner(
        bench, plan, parallel=1, on_verdict=lambda *told: record.findings.append(
            record.archive.settle(Finding(*told)))).run()
    record.archive.close()
    return record


def without_evidence(results: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in results.items() if key not in ("handshakes", "notes")}


def test_what_is_filed_is_missing_from_nothing_else(tmp_path: Path) -> None:
    whole = build(run(5, None, most=1000))
    short = build(run(5, tmp_path, most=12))
    jsonschema.validate(short, SCHEMA)
    assert without_evidence(short) == without_evidence(whole)
    assert list(short["handshakes"]) == [f"h{number:05d}" for number in range(1, 13)]
    filed = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert short["handshakes"] | {
        row["key"]: {key: value for key, value in row.items() if key != "key"}
        for row in filed} == whole["handshakes"]
    # 5 full, 5 resumed, and 20 pairs with two each.
    assert len(filed) == 50 - 12
    assert short["notes"] == [
        ("the evidence of 38 more handshakes, all but the first 12 of findings that came out well, "
         "is in handshakes.jsonl beside results.json, one a line")]
    assert whole["notes"] == []


def test_what_went_wrong_stays_whole_for_longer(tmp_path: Path) -> None:
    results = build(run(5, tmp_path, most=28, wrong=("n5", "n4")))
    (failed,) = [row for row in results["checks"] if row["status"] == "failed"]
    (key,) = failed["evidence"]["handshakes"]
    # It is the last of CORE-03, and beyond the first 28.
    assert key == "h00030"
    assert results["handshakes"][key]["messages"]
    assert set(results["handshakes"]) == {f"h{number:05d}" for number in (*range(1, 29), 30)}
    record = run(5, tmp_path, most=14, wrong=("n5", "n4"))
    assert "h00030" not in record.archive.rows(record.ledger.handshakes)
    assert "h00030" in (tmp_path / FILE).read_text()


def test_without_a_folder_nothing_is_written_and_that_is_said(tmp_path: Path) -> None:
    results = build(run(5, None, most=12))
    assert results["notes"] == [
        ("the evidence of 38 more handshakes, all but the first 12 of findings that came out well, "
         "is not kept")]
    assert list(tmp_path.iterdir()) == []


def _grown(most: int) -> float:
    """Return the bytes that a run of 24 nodes holds in the end for each pair of the last half."""
    held = []
    tracemalloc.start()
    try:
        for count in (17, 24):
            before = tracemalloc.get_traced_memory()[0]
            record = run(count, None, most=most)
            record.archive.texts(record.archive.rows(record.ledger.handshakes))
            held.append(tracemalloc.get_traced_memory()[0] - before)
            del record
    finally:
        tracemalloc.stop()
    return (held[1] - held[0]) / (24 * 23 - 17 * 16)


def test_beyond_what_the_result_holds_a_pair_takes_a_fraction_of_the_memory() -> None:
    # Room for the matrix of 17 nodes, and for everything.
    assert _grown(300) < _grown(10_000) / 4


def test_results_are_written_a_row_a_line_and_read_as_they_were(tmp_path: Path) -> None:
    record = run(3, None, most=1000)
    results = build(record)
    files.write(tmp_path, results, None, handshakes=record.archive.texts(results["handshakes"]))
    text = (tmp_path / "results.json").read_text(encoding="utf-8")
    assert json.loads(text) == results
    files.write(tmp_path, results, None)
    assert (tmp_path / "results.json").read_text(encoding="utf-8") == text
    lines = {line.rstrip(",") for line in text.splitlines()}
    for member in ("nodes", "matrix", "checks"):
        assert lines >= {json.dumps(row, ensure_ascii=False) for row in results[member]}
    assert lines >= {f'"{key}": {json.dumps(row, ensure_ascii=False)}'
                     for key, row in results["handshakes"].items()}


@pytest.mark.parametrize(("asked", "written"), [
    (False, {"results.json", "junit.xml", "summary.md"}), (True, set())])
def test_a_partial_report_is_given_up_when_the_run_is_to_stop(
        tmp_path: Path, asked: bool, written: set[str]) -> None:
    record = run(3, None, most=1000)
    folder = files.ReportFolder(tmp_path, record)
    folder._saved = -10.0  # long ago
    if asked:
        record.stop.set()
    folder.save_sometimes()
    assert {path.name for path in tmp_path.iterdir()} == written
    folder.save()
    assert {path.name for path in tmp_path.iterdir()} == {
        "results.json", "junit.xml", "summary.md"}


def test_a_file_that_is_given_up_in_the_middle_stays_as_it_was(tmp_path: Path) -> None:
    path, stop = tmp_path / "results.json", threading.Event()
    path.write_bytes(b"earlier")

    def parts() -> Iterator[bytes]:
        yield b"one"
        stop.set()
        yield b"two"
        raise AssertionError("it goes on")

    files.write_atomically(path, parts(), given_up=stop.is_set)
    assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [
        ("results.json", b"earlier")]
    files.write_atomically(path, [b"one", b"two"])
    assert path.read_bytes() == b"onetwo"


@pytest.mark.parametrize("most", [12, 1000])
def test_the_summary_names_the_file_where_it_was_written(tmp_path: Path, most: int) -> None:
    record = run(5, tmp_path, most=most)
    files.ReportFolder(tmp_path, record).save()
    assert (FILE in (tmp_path / "summary.md").read_text().splitlines()[-1]) == (
        (tmp_path / FILE).exists()) == (most == 12)


def test_saving_again_makes_no_handshakes_json_twice(tmp_path: Path) -> None:
    record = run(3, None, most=1000)
    first, second = build(record), build(record)
    assert first == second
    for key, row in first["handshakes"].items():
        assert second["handshakes"][key] is row
    text = record.archive.texts(first["handshakes"])["h00001"]
    assert record.archive.texts(second["handshakes"])["h00001"] is text
    assert json.loads(text) == replace(record.ledger.handshakes[0]).as_dict()


def test_a_sample_says_in_the_result_what_it_tells_of_all_pairs() -> None:
    results = build(run(9, None, most=1000, each=3))
    jsonschema.validate(results, SCHEMA)
    sampling = results["sampling"]
    assert {key: sampling[key] for key in ("pairs", "measured", "unexpected", "per_node")} == {
        "pairs": 72, "measured": 27, "unexpected": 0, "per_node": 3}
    assert sampling["zones"] == {"count": 2, "pairs": 4, "covered": 4}
    assert results["notes"] == [sampling["sentence"]]
    assert sum(cell["reason"] == "not_sampled" for cell in results["matrix"]) == 72 - 27
    assert [node.get("zone") for node in results["nodes"]] == ["attic"] * 2 + [None] * 7
    assert "sampling" not in build(run(9, None, most=1000))


def test_a_pair_of_a_sample_that_is_not_as_expected_counts() -> None:
    (issuer, redeemer), *_ = next(
        planned.subjects for planned in run(9, None, most=1000, each=3).plan.checks
        if planned.check.id == "CORE-03")
    results = build(run(9, None, most=1000, each=3, wrong=(issuer, redeemer)))
    jsonschema.validate(results, SCHEMA)
    assert results["sampling"]["unexpected"] == 1
    assert "27 of 72 cross-node pairs were measured, 1 of them not" in results["notes"][0]
