"""Entries of checks that are not in the catalogue yet: they wait, and are moved when it is time."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ansible_collections.emqx.conformance.plugins.module_utils import deviation_files
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.checks.deviations import load

ROOT = Path(__file__).parents[3]
DOCUMENTS = deviation_files.read(["known_deviations/waiting"], ROOT)
CHECKS = {check.id: check for check in catalogue()}


def test_what_waits_is_as_it_must_be_and_its_checks_are_still_missing() -> None:
    waiting = {entry["check"] for document in DOCUMENTS for entry in
               document["content"]["deviations"]}
    stand_ins = [replace(CHECKS["NEG-04"], id=check) for check in waiting]
    assert load(DOCUMENTS, stand_ins)
    assert not waiting & CHECKS.keys(), "move these entries to known_deviations/otp.yml"


def test_no_run_reads_what_waits() -> None:
    files = {document["file"] for document in deviation_files.read(None, ROOT)}
    assert files == {"known_deviations/otp.yml"}
