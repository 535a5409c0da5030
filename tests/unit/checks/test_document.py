"""The document of the checks is the registry's."""
from __future__ import annotations

from pathlib import Path

from ansible_collections.emqx.conformance.plugins.module_utils.checks import document
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue

ROOT = Path(__file__).parents[3]


def test_conformance_md_is_not_stale() -> None:
    assert (ROOT / "docs/conformance.md").read_text() == document.render(), "run `make docs`"


def test_every_check_says_how_it_is_tested() -> None:
    assert not [check.id for check in catalogue() if not check.how.endswith(".")]
