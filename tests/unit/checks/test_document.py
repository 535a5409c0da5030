"""The document of the checks is the registry's."""
from __future__ import annotations

from pathlib import Path

from ansible_collections.emqx.conformance.plugins.module_utils.checks import document

ROOT = Path(__file__).parents[3]


def test_conformance_md_is_not_stale() -> None:
    assert (ROOT / "docs/conformance.md").read_text() == document.render(), "run `make docs`"
