"""The files that are shipped: every entry is about something that a check can really say."""
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.tolerance import (
    files as deviation_files,
)
from ansible_collections.emqx.conformance.plugins.module_utils.tolerance.deviations import (
    Deviation,
    load,
)

ROOT = Path(__file__).parents[3]
CHECKS = {check.id: check for check in catalogue()}
SHIPPED = load(deviation_files.read(None, ROOT), CHECKS.values())


def test_something_is_shipped() -> None:
    assert {entry.file for entry in SHIPPED} == {"known_deviations/otp.yml"}


@pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: f"{entry.check}-{entry.reason}")
def test_its_check_can_give_its_reason(entry: Deviation) -> None:
    assert entry.reason in CHECKS[entry.check].reasons


@pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: f"{entry.check}-{entry.reason}")
def test_it_tells_where_it_was_measured_and_what_was_seen(entry: Deviation) -> None:
    assert entry.until is not None, "an open end is a guess"
    assert entry.evidence.endswith(".")
    assert all("." in release for release in entry.measured), "name the full release"
