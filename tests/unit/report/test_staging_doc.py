"""docs/staging.md says what the code does."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.emqx.conformance.plugins.module_utils.report import staging_cost

ROOT = Path(__file__).parents[3]
PLUGINS = ROOT / "playbooks/collections/ansible_collections/emqx/conformance/plugins"
PAGE = (ROOT / "docs/staging.md").read_text()
SNIPPETS: list[Any] = [yaml.safe_load(text) for text in re.findall(
    r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def spoken(source: str) -> str:
    """Return a source with its string literals joined, and … for what is filled in."""
    text = re.sub(r'["\']\s*\n\s*f?["\']', "", source)
    while (shorter := re.sub(r"\{[^{}]*\}", "…", text)) != text:
        text = shorter
    return text


def test_the_table_of_costs_is_not_stale() -> None:
    assert staging_cost.with_table(PAGE) == PAGE, "run `make docs`"
    assert PAGE.count("\n| 3 | ") == 1


def test_the_variables_are_the_contracts() -> None:
    contract = yaml.safe_load((ROOT / "roles/check_inventory/meta/argument_specs.yml").read_text())
    named = set(re.findall(r"`((?:emqx|resumption)_[a-z_]+)[`:]", PAGE))
    assert len(named) >= 12
    assert named <= set(contract["argument_specs"]["main"]["options"])


def test_the_sentences_of_the_dns_are_those_of_the_plugin() -> None:
    said = spoken("\n".join((PLUGINS / "plugin_utils" / name).read_text()
                            for name in ("dns_client.py", "discovery.py")))
    rows = re.findall(r"^\| `(.+?)` \|", PAGE.partition("## When something is wrong")[2],
                      re.MULTILINE)
    assert len(rows) == 8
    for row in rows:
        parts = [part for part in re.split(r"…|\d+|SERVFAIL|A or AAAA|DNS server", row)
                 if len(part.strip(" :.")) > 2]
        assert parts
        assert [part for part in parts if part.strip(" .") not in said] == []


def test_the_snippets_for_ci_run_what_is_here() -> None:
    gitlab, github = SNIPPETS
    (job,) = gitlab.values()
    step = next(step for step in github["jobs"]["verify"]["steps"] if "run" in step)
    assert job["script"] == step["run"].splitlines() == [
        "make check INVENTORY=inventory/staging",
        ".venv/bin/ansible-playbook -i inventory/staging verify.yml"]
    assert (ROOT / "verify.yml").is_file()
    assert "\ncheck:" in (ROOT / "Makefile").read_text()
    assert job["artifacts"]["reports"]["junit"] == "reports/2*/junit.xml"
    shown = next(step for step in github["jobs"]["verify"]["steps"] if step.get("if") == "always()")
    assert shown["run"] == 'cat reports/latest/summary.md >>"$GITHUB_STEP_SUMMARY"'
    # YAML 1.1 takes the key "on" for true.
    assert github[True]["schedule"]
    example = (ROOT / "inventory/staging.example/group_vars/emqx.yml").read_text()
    assert all(f"'{name}'" in example for name in step["env"])
