"""A link leads to something, and a variable that is documented is one."""
from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """Return the names of a page's headings, as GitHub and GitLab make them."""
    headings = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _astray(page: Path) -> list[str]:
    """Return the links of a page to files and headings that are not there."""
    astray = []
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            astray.append(link)
    return astray


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_what_is_there(page: Path) -> None:
    assert _astray(page) == []


def test_a_link_that_leads_nowhere_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One way: `on`\n[a](other.md) [b](#one-way-on) [c](#two) [d](https://x.example)")
    assert _astray(page) == ["other.md", "#two"]


def test_readme_leads_to_every_page() -> None:
    told = set(_LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    told = {link.partition("#")[0] for link in told}
    missing = {f"docs/{page.name}" for page in PAGES if page.parent.name == "docs"} - told
    assert missing == set()


def test_variables_that_are_documented_are_variables() -> None:
    specs = yaml.safe_load((ROOT / "roles/check_inventory/meta/argument_specs.yml").read_text(
        encoding="utf-8"))["argument_specs"]
    known = {name for entry in specs.values() for name in entry.get("options", {})}
    rows = re.findall(r"^\| (`.+?) \|", (ROOT / "docs/variables.md").read_text(encoding="utf-8"),
                      re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert len(told) > 30
    assert told - known == set()


def test_the_run_in_readme_is_the_one_that_is_there_in_full() -> None:
    def sample(page: str) -> list[str]:
        text = (ROOT / page).read_text(encoding="utf-8")
        return text[text.index("    Target "):].partition("\n\n#")[0].splitlines()

    whole = iter(sample("docs/output.md"))
    short = sample("README.md")
    short = [line for line in short[:short.index("")] if line.strip() != "[...]"]
    assert short[-1].startswith("    Verdict ")
    for line in short:
        assert line in whole, line
