"""The files that are shipped: every entry is about something that a check can really say."""
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils import deviation_files
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.checks.deviations import (
    Deviation,
    load,
)
from ansible_collections.emqx.conformance.plugins.module_utils.checks.registry import Check

from tests.support.reason_tokens import tokens_of

ROOT = Path(__file__).parents[3]
CHECKS = {check.id: check for check in catalogue()}
SHIPPED = load(deviation_files.read(None, ROOT), CHECKS.values())


def _tokens(check: Check) -> set[str]:
    return tokens_of(check.measure or check.story)


def test_something_is_shipped() -> None:
    assert {entry.file for entry in SHIPPED} == {"known_deviations/otp.yml"}


@pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: f"{entry.check}-{entry.reason}")
def test_its_check_can_give_its_reason(entry: Deviation) -> None:
    assert entry.reason in _tokens(CHECKS[entry.check])


@pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: f"{entry.check}-{entry.reason}")
def test_it_tells_where_it_was_measured_and_what_was_seen(entry: Deviation) -> None:
    assert entry.until is not None, "an open end is a guess"
    assert entry.evidence.endswith(".")
    assert all("." in release for release in entry.measured), "name the full release"


def test_the_tokens_of_a_check_are_its_own() -> None:
    wrong_secret = _tokens(CHECKS["NEG-04"])
    # Its own, those of what it calls in its module and in others, and constants with a name.
    assert "a Finished made with a wrong master secret" in wrong_secret
    assert {"accepted_wrong_secret", "no_alert", "closed_without_alert"} <= wrong_secret
    assert "certificate_name_mismatch" not in wrong_secret
    assert "closed_without_alert" not in _tokens(CHECKS["NEG-11"])
    assert "not_signalled" in _tokens(CHECKS["NEG-11"])
    assert "resumed" in _tokens(CHECKS["NEG-07"]), "said by a method that it calls"
