"""Results that differ in what may differ are the same, and all else is told."""
from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import result_objects
from tests.support.playbooks import ROOT
from tests.support.same_results import differences


@pytest.fixture
def results() -> dict[str, Any]:
    """Return a result of two nodes, with a finding whose sentence tells a time and an ID."""
    made = result_objects.run(2)
    made["checks"][0]["message"] = "n1 answered after 12.5 ms, 3 of 4 times, to 00ff00ff00ff"
    made["checks"].append(result_objects.finding(
        "PERF-01", "n1", "info", "measured", level="INFO", message="24 handshakes take 5 ms",
        data={"full": {"count": 24, "times_ms": [1.0, 2.0]}, "sentence": "it saves 5 GB"}))
    return made


def _other_keys(results: dict[str, Any]) -> None:
    """Let the first two handshakes have ended the other way round."""
    first, second, *_ = results["handshakes"]
    swapped = {first: second, second: first}
    rows = results["handshakes"]
    results["handshakes"] = {key: rows[swapped.get(key, key)] for key in rows}
    for row in results["checks"]:
        row["evidence"]["handshakes"] = [
            swapped.get(key, key) for key in row["evidence"]["handshakes"]]
    for cell in results["matrix"]:
        cell["evidence"]["handshake"] = swapped.get(
            cell["evidence"]["handshake"], cell["evidence"]["handshake"])


def _same(results: dict[str, Any]) -> None:
    """Change what each run has of its own."""
    results.update(started_at="2027-01-01T00:00:00.000Z", duration_s=77.7)
    results["latency"]["full"]["p50_ms"] = 99.9
    for row in results["handshakes"].values():
        row.update(handshake_ms=77.0, started_at="2027-01-01T00:00:00.000Z",
                   server_id=row["server_id"][::-1])
    results["checks"][0]["message"] = "n1 answered after 7 ms, 3 of 4 times, to 11ee11ee11ee"
    results["checks"][-1].update(
        message="25 handshakes take 6 ms",
        data={"full": {"count": 25, "times_ms": [3.0]}, "sentence": "it saves 6 GB"})


def _gained(results: dict[str, Any]) -> None:
    results["checks"][0]["evidence"]["handshakes"].insert(0, next(iter(results["handshakes"])))


@pytest.mark.parametrize("change", [_same, _other_keys, _gained])
def test_times_ids_order_and_evidence_gained_are_no_difference(
        results: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
    after = copy.deepcopy(results)
    change(after)
    assert after != results
    assert list(differences(results, after)) == []


def _lost(results: dict[str, Any]) -> None:
    next(row for row in results["checks"] if row["evidence"]["handshakes"])[
        "evidence"]["handshakes"].pop()


def _one_less(results: dict[str, Any]) -> None:
    """Drop a handshake that no finding refers to."""
    results["handshakes"].popitem()


DIFFERENT: dict[str, Callable[[dict[str, Any]], None]] = {
    "verdict": lambda results: results.update(verdict="error"),
    "headline": lambda results: results.update(headline="1 of 4 pairs as expected"),
    "counts.passed": lambda results: results["counts"].update(passed=77),
    "checks[0].status": lambda results: results["checks"][0].update(status="failed"),
    "checks[0].message": lambda results: results["checks"][0].update(
        message="n1 answered after 12.5 ms, 2 of 4 times, to 00ff00ff00ff"),
    "checks[1].data": lambda results: results["checks"][1].update(data={"new": 1}),
    "checks": lambda results: results["checks"].pop(),
    "checks: CORE-01 n1: has lost its evidence": _lost,
    "matrix[1].outcome": lambda results: results["matrix"][1].update(outcome="refused"),
    "handshakes": _one_less,
    "handshakes: -": lambda results: results["handshakes"]["h00001"].update(
        outcome="refused"),
    "handshakes: +": lambda results: results["handshakes"]["h00001"]["messages"].pop(),
}


@pytest.mark.parametrize("told", DIFFERENT)
def test_all_else_is_told(results: dict[str, Any], told: str) -> None:
    after = copy.deepcopy(results)
    DIFFERENT[told](after)
    assert [line for line in differences(results, after) if line.startswith(told)]


def test_the_script_says_so_with_its_exit_code(results: dict[str, Any], tmp_path: Path) -> None:
    after = copy.deepcopy(results)
    for name, changed in (("same", _same), ("other", DIFFERENT["verdict"])):
        changed(after)
        (tmp_path / f"{name}.json").write_text(json.dumps(after))
    (tmp_path / "before.json").write_text(json.dumps(results))

    def compared(*names: str) -> tuple[int, str]:
        done = subprocess.run([ROOT / "scripts/compare-results", *(tmp_path / name
                                                                   for name in names)],
                              capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    assert compared("before.json", "same.json") == (
        0, "equal but for times, IDs and evidence gained\n")
    assert compared("before.json", "other.json") == (
        1, f'verdict: "{results["verdict"]}" -> "error"\n')
    assert compared("before.json") == (2, "")
