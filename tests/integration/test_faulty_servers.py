"""The whole catalogue against every server of the table: nothing is found but what it says."""
from __future__ import annotations

import time

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue

from tests.faulty_servers import table
from tests.faulty_servers.trial import Trial
from tests.faulty_servers.trials import run_all, summary

ROWS = table.read()
LIMIT_S = 300.0
"""For all trials together."""
NEVER_FAIL = {
    "LIFE-01": "it needs a driver: tests/unit/checks/test_life.py",
    "LIFE-02": "it needs a driver: tests/unit/checks/test_life.py",
    "LIFE-05": "it needs a driver: tests/unit/checks/test_life.py",
}
"""Checks that no server of the table makes fail, and why, and what tries them instead."""


@pytest.fixture(scope="module")
def trials(request: pytest.FixtureRequest) -> dict[str, Trial]:
    """The trials of the rows that this run of pytest asks for, all at once."""
    asked = {str(item.callspec.params["name"]) for item in request.session.items
             if isinstance(item, pytest.Function) and item.originalname == "test_server"}
    begun = time.monotonic()
    done = {trial.row.name: trial for trial in run_all(ROWS[name] for name in asked or ROWS)}
    assert time.monotonic() - begun < LIMIT_S
    return done


@pytest.mark.parametrize("name", ROWS)
def test_server(trials: dict[str, Trial], name: str) -> None:
    trial = trials[name]
    assert not trial.differences, trial.report()


def test_figures(trials: dict[str, Trial], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{summary(trials.values())}")  # noqa: T201
    assert not any(trial.false_alarms for trial in trials.values())
    assert all(trial.detected for trial in trials.values())


def test_every_check_can_fail_and_can_pass() -> None:
    ids = {check.id for check in catalogue()}
    fail = {found.check for row in ROWS.values() for found in row.alarms}
    assert fail <= ids
    assert ids - fail == set(NEVER_FAIL), "checks whose assertion no server tries"


def test_what_is_right_is_measured_and_passes(trials: dict[str, Trial]) -> None:
    right = [trial for trial in trials.values() if not trial.row.finds]
    passed = {one.check for trial in right for one in trial.found if one.status == "passed"}
    assert passed == {check.id for check in catalogue()} - set(NEVER_FAIL)
