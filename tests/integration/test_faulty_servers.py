"""The whole catalogue against every server of the table: nothing is found but what it says."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint, Session
from ansible_collections.emqx.conformance.plugins.module_utils.run import beyond
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import (
    Attempt,
    OrdinaryEngine,
)

from tests.faulty_servers import proof, table
from tests.faulty_servers.trial import Trial, run
from tests.faulty_servers.trials import run_all, summary

# A right server keeps its deadlines only where processors have little else to do.
pytestmark = pytest.mark.alone
ROWS = table.read()
PROOF = "test_without_any_one_check_the_table_is_red"


@dataclass(frozen=True)
class Tried:
    """What came of all trials that this run of pytest asks for."""

    seeing: dict[str, Trial]
    """By row."""
    blinded: dict[str, Trial]
    """By the check that asserted nothing."""


@pytest.fixture(scope="module")
def tried(request: pytest.FixtureRequest) -> Tried:
    """All at once: they mostly wait, each for a server of its own."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    names = [str(item.callspec.params["name"]) for item in items
             if item.originalname == "test_server"] or list(ROWS)
    pairs = proof.pairs(ROWS.values()) if any(
        item.originalname == PROOF for item in items) else []
    done = list(run_all([*map(ROWS.__getitem__, names), *(row for _, row in pairs)],
                        [*("" for _ in names), *(check for check, _ in pairs)]))
    return Tried(dict(zip(names, done)),
                 dict(zip((check for check, _ in pairs), done[len(names):])))


@pytest.fixture(scope="module")
def trials(tried: Tried) -> dict[str, Trial]:
    """The trials of the rows, as the catalogue is."""
    return tried.seeing


@pytest.mark.parametrize("name", ROWS)
def test_server(trials: dict[str, Trial], name: str) -> None:
    trial = trials[name]
    assert trial.differences + trial.unsaid == [], trial.report()
    # All that a check has made is its evidence, whatever it came to; what came on top is nobody's.
    on_top = sum(row[kind] for row in beyond.addresses({"budget": trial.budget})
                 for kinds in beyond.BOUNDS.values() for kind in kinds if kind != beyond.DIAGNOSES)
    assert len(trial.unclaimed) <= on_top, trial.unclaimed
    if {found.check.partition("-")[0] for found in trial.row.alarms} == {"NEG"}:
        assert not trial.unclaimed
    # All that was made, of whatever kind, is what the servers counted.
    assert trial.handshakes == trial.accepted


@pytest.mark.parametrize(("name", "nodes"), [
    ("alerts_on_unknown_id", 3), ("alerts_every_fifth", 1)])
def test_a_library_that_drops_sessions_after_alerts_finds_the_same(name: str, nodes: int) -> None:
    """OpenSSL forgets, for good, a session whose offer was answered with a fatal alert.

    From CPython 3.13 on that is the session itself. Of three nodes two may spoil one side by side,
    and so may a single node in CORE-07.
    """
    dropped: set[bytes] = set()
    prepare, connect = OrdinaryEngine._tls, OrdinaryEngine.connect

    def forgetful(self: OrdinaryEngine, endpoint: Endpoint, offer: Session | None,
                  **options: Any) -> Any:
        kept = offer if offer is not None and offer.id not in dropped else None
        return prepare(self, endpoint, kept, **options)

    def spoilt(self: OrdinaryEngine, *args: Any, **options: Any) -> Attempt:
        attempt = connect(self, *args, **options)
        if any(alert.level == "fatal" for alert in attempt.handshake.alerts):
            dropped.add(attempt.handshake.offered_id)
        return attempt

    with mock.patch.object(OrdinaryEngine, "_tls", forgetful), \
            mock.patch.object(OrdinaryEngine, "connect", spoilt):
        trial = run(replace(ROWS[name], nodes=nodes))
    assert dropped - {b""}
    assert not trial.differences, trial.report()
    assert trial.handshakes == trial.accepted
    # What that costs more is neither announced nor said to have grown old.
    addresses = trial.budget["nodes"].values()
    assert [(row["renewals"], row["spoilt"] > 0) for row in addresses] == [(0, True)] * nodes
    assert all(row["spoilt"] <= row["renewals_up_to"] for row in addresses)
    assert [clause for clause in beyond.told(addresses) if "grown old" in clause] == []


def test_figures(trials: dict[str, Trial],
                 record_property: Callable[[str, object], None]) -> None:
    record_property("figures", summary(trials.values()))
    assert not any(trial.false_alarms for trial in trials.values())
    assert all(trial.detected for trial in trials.values())


def test_no_check_is_left_untried() -> None:
    ids = {check.id for check in catalogue()}
    assert {found.check for row in ROWS.values() for found in row.finds} <= ids
    assert proof.untried_checks(ROWS.values()) == ids & set(proof.OTHERWISE_TRIED)


def test_no_reason_is_left_untried() -> None:
    assert proof.untried_reasons(ROWS.values()) == set(proof.UNTRIED_REASONS)
    assert proof.unasserted_reasons() == set()


def test_without_any_one_check_the_table_is_red(
        tried: Tried, record_property: Callable[[str, object], None]) -> None:
    red = {check: bool(trial.differences) for check, trial in tried.blinded.items()}
    assert set(red) == {check.id for check in catalogue()} - set(proof.OTHERWISE_TRIED)
    record_property("figures", f"{sum(red.values())} of {len(red)} checks turn the table red when "
                               "they assert nothing")
    assert all(red.values()), red


def test_what_is_right_is_measured_and_passes(trials: dict[str, Trial]) -> None:
    right = [trial for trial in trials.values() if not trial.row.finds]
    # PERF-01 judges nothing: what it has measured is for information.
    passed = {one.check for trial in right for one in trial.found if one.status == "passed"
              or (one.check, one.status, one.reason) == ("PERF-01", "info", "measured")}
    assert passed == {check.id for check in catalogue()} - set(proof.OTHERWISE_TRIED)
