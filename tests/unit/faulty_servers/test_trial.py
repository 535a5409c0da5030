"""The comparison of findings with the table, which must see differences in both directions."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.faulty_servers import table
from tests.faulty_servers.table import TableError
from tests.faulty_servers.trial import Found, Trial

ROWS = """
servers:
  lame:
    what: it limps
    messages: []
    nodes: 2
    finds:
      failed slow: [CORE-02, CORE-03 n1->n2]
      skipped needs_CORE-02: [[CORE-04], CORE-05]
    says:
      CORE-02: slow
"""
FINDINGS = (
    Found("CORE-01", "n1", "passed", "", "fine"),
    Found("CORE-02", "n1", "failed", "slow", "slow"),
    Found("CORE-03", "n1->n2", "failed", "slow", "slow"),
    Found("CORE-03", "n2->n1", "passed", "", "fine"),
    Found("CORE-04", "n1", "skipped", "needs_CORE-02", "needs CORE-02"),
    Found("CORE-05", "n1", "skipped", "needs_CORE-02", "needs CORE-02"),
    Found("CORE-06", "n1", "info", "undeclared", "by the way"),
    Found("LIFE-01", "cluster", "skipped", "precondition", "no driver"))


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """One in which all is as the table says."""
    path = tmp_path / "servers.yml"
    path.write_text(ROWS)
    return Trial(table.read(path)["lame"], FINDINGS, 1.0)


def test_as_the_table_says(trial: Trial) -> None:
    assert trial.differences == trial.unsaid == []
    assert trial.detected
    assert trial.false_alarms == []
    assert trial.report() == "lame (it limps): as the table says"


@pytest.mark.parametrize(("says", "line"), [
    ({"CORE-03": "fine"}, "CORE-03 n1->n2: the table says “fine”, and it came to failed: slow"),
    ({"CORE-04": "needs"}, "CORE-04: the table says “needs”, and it has said nothing"),
])
def test_what_no_sentence_says_is_told(trial: Trial, says: dict[str, str], line: str) -> None:
    silent = replace(trial, row=replace(trial.row, says=tuple(says.items())))
    assert silent.unsaid == [line]
    assert f"\n  {line}" in silent.report()
    # What a check asserts is known by what it finds, and not by how it says so.
    assert silent.differences == []


@pytest.mark.parametrize(("at", "changed", "line"), [
    (0, {"status": "failed", "reason": "odd"},
     "CORE-01 n1: the table says nothing, and it came to failed odd: fine"),
    (1, {"reason": "lazy"},
     "CORE-02 n1: the table says failed slow, and it came to failed lazy: slow"),
    (1, {"status": "passed", "reason": ""},
     "CORE-02 n1: the table says failed slow, and it came to passed: slow"),
    (1, {"status": "warned"},
     "CORE-02 n1: the table says failed slow, and it came to warned slow: slow"),
    (1, {"check": "CORE-12"},
     "CORE-02 *: the table says failed slow, and there is no such finding"),
    (2, {"subject": "n2->n1"},
     "CORE-03 n1->n2: the table says failed slow, and there is no such finding"),
    (3, {"status": "failed", "reason": "slow"},
     "CORE-03 n2->n1: the table says nothing, and it came to failed slow: fine"),
    (4, {"reason": "odd"},
     "CORE-04 n1: the table says skipped needs_CORE-02, and it came to skipped odd: needs CORE-02"),
    (6, {"status": "error"},
     "CORE-06 n1: the table says nothing, and it came to error undeclared: by the way"),
    (6, {"status": "skipped", "reason": "needs_CORE-02"},
     "CORE-06 n1: the table says nothing, and it came to skipped needs_CORE-02: by the way"),
    (7, {"reason": "tlslite_missing"},
     "LIFE-01 cluster: the table says nothing, and it came to skipped tlslite_missing: no driver"),
])
def test_whatever_differs_is_told(trial: Trial, at: int, changed: dict[str, str],
                                  line: str) -> None:
    found = list(FINDINGS)
    found[at] = replace(found[at], **changed)
    differing = replace(trial, found=tuple(found))
    assert line in differing.differences
    assert f"\n  {line}" in differing.report()


def test_one_verdict_for_all_subjects_covers_each(trial: Trial) -> None:
    on_another = replace(FINDINGS[1], subject="n2")
    assert replace(trial, found=(*FINDINGS, on_another)).differences == []
    passed = replace(on_another, status="passed", reason="")
    assert len(replace(trial, found=(*FINDINGS, passed)).differences) == 1


def test_what_is_missed_is_not_detected_and_what_is_invented_is_a_false_alarm(
        trial: Trial) -> None:
    missed = replace(trial, found=(FINDINGS[0], *FINDINGS[2:]))
    assert not missed.detected
    assert missed.false_alarms == []
    invented = replace(trial, found=(
        replace(FINDINGS[0], status="warned", reason="odd"), *FINDINGS[1:]))
    assert invented.detected
    assert [one.check for one in invented.false_alarms] == ["CORE-01"]
    skipped = replace(trial, found=(*FINDINGS[:5], replace(FINDINGS[5], reason="odd"),
                                    *FINDINGS[6:]))
    assert skipped.detected
    assert skipped.differences


@pytest.mark.parametrize(("row", "says"), [
    ("messages: []", "needs a sentence"),
    ("what: x", "needs a sentence"),
    ("{what: x, messages: [], openssl: {}}", "needs a sentence"),
    ("{what: x, messages: [], findings: {}}", "nobody knows findings"),
    ("{what: x, messages: [], finds: {passed: [CORE-01]}}", "no status and reason"),
    ("{what: x, messages: [], finds: {failed: [CORE-01]}}", "no status and reason"),
    ("{what: x, messages: [], finds: {failed a: [X-1], failed b: [X-1]}}", "X-1 is there twice"),
])
def test_a_row_that_makes_no_sense_is_refused(tmp_path: Path, row: str, says: str) -> None:
    path = tmp_path / "servers.yml"
    path.write_text(f"servers:\n  odd:\n    {row}\n")
    with pytest.raises(TableError, match=says):
        table.read(path)
