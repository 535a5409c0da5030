"""The document of the checks is the registry's."""
from __future__ import annotations

from pathlib import Path

from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.report import document

ROOT = Path(__file__).parents[3]


def test_conformance_md_is_not_stale() -> None:
    assert (ROOT / "docs/conformance.md").read_text() == document.render(), "run `make docs`"


def test_every_check_says_how_it_is_tested() -> None:
    assert not [check.id for check in catalogue() if not check.how.endswith(".")]


def test_the_table_of_known_deviations_is_not_stale() -> None:
    page = (ROOT / "docs/known-deviations.md").read_text()
    assert page == document.with_table(page), "run `make docs`"
    assert all(f"`{entry.reason}`" in page for entry in document.shipped())


def test_a_check_names_its_known_deviations() -> None:
    sections = {section.partition("\n")[0]: section
                for section in document.render().split("\n## ")[1:]}
    for entry in document.shipped():
        assert f"`{entry.reason}` of {entry.releases}" in sections[entry.check]
    assert "Known deviation" not in sections["CORE-02"]
