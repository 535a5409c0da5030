"""The page cites what was measured, and the table says what was not."""
from __future__ import annotations

import re

import pytest

from bench import claims as c
from bench.page import BEGIN, END, ROOT, published, section, written
from bench.table import table


def test_the_page_says_what_was_published() -> None:
    page = (ROOT / "docs" / "benchmark.md").read_text(encoding="utf-8")
    assert written(page, published()) == page


def test_every_claim_and_its_verdict_are_in_it() -> None:
    results = published()
    text = section(results)
    for claim in results["claims"]:
        assert f"| {claim['what']} | " in text
        assert f"| {claim['floor']} | {claim['verdict']} |" in text


def test_what_is_published_says_nothing_of_whose_machine_it_was() -> None:
    text = (ROOT / "bench" / "published.json").read_text(encoding="utf-8")
    assert not re.search(r'[" ]/\w', text)
    assert "samples" not in published()


def test_only_what_is_between_the_markers_changes() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    new = written(text, published())
    assert new.startswith(f"before\n{BEGIN}\n")
    assert new.endswith(f"\n{END}\nafter\n")
    assert "old" not in new
    assert written(new, published()) == new


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"benchmark\.md has no place"):
        written("nothing", published())


def test_a_client_that_was_not_to_be_had_is_in_the_table_with_its_reason() -> None:
    results = published()
    results["missing"] = {c.STRSCLNT: "strsclnt is not installed (Debian's libnss3-tools)"}
    assert f"Not measured: {c.STRSCLNT}: strsclnt is not installed" in table(results)


def test_the_table_has_every_client_and_every_claim() -> None:
    results = published()
    lines = table(results).splitlines()
    for name in results["figures"]:
        assert sum(line.startswith(f"{name} ") for line in lines) == 1
    for claim in results["claims"]:
        [line] = [line for line in lines if line.startswith(claim["what"])]
        assert line.endswith(claim["verdict"])
