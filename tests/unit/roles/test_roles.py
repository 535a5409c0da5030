"""What every role and template owes its reader, whichever role it is."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible.plugins.filter.core import FilterModule

ROOT = Path(__file__).parents[3]
ROLES = sorted(path.parent.parent for path in (ROOT / "roles").glob("*/tasks/main.yml"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def options_of(role: Path) -> dict[str, dict[str, Any]]:
    specs = load(role / "meta/argument_specs.yml")["argument_specs"]
    return {name: option for entry_point in specs.values()
            for name, option in entry_point.get("options", {}).items()}


def test_the_roles_are_found() -> None:
    assert {"check_inventory", "emqx_listeners", "test_certificates"} <= {
        role.name for role in ROLES}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_and_argument_specs_agree(role: Path) -> None:
    defaults = load(role / "defaults/main.yml") if (role / "defaults/main.yml").exists() else {}
    assert defaults == {name: option["default"] for name, option in options_of(role).items()
                        if "default" in option}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_entry_point_and_option_is_described_and_typed(role: Path) -> None:
    for entry_point in load(role / "meta/argument_specs.yml")["argument_specs"].values():
        assert entry_point["short_description"]
    for name, option in options_of(role).items():
        assert option.get("description"), name
        assert option.get("type"), name
        if option["type"] == "list":
            assert option.get("elements"), name


@pytest.mark.parametrize("role", [role for role in ROLES if role.name != "check_inventory"],
                         ids=lambda role: role.name)
def test_roles_keep_to_their_own_names(role: Path) -> None:
    assert [name for name in options_of(role) if not name.startswith(f"{role.name}_")] == []


def _delegated_here(tasks: Any) -> Iterator[dict[str, Any]]:
    for task in tasks or ():
        if task.get("delegate_to") == "localhost":
            yield task
        yield from _delegated_here(task.get("block"))


@pytest.mark.parametrize("file", sorted((ROOT / "roles").glob("*/tasks/*.yml")),
                         ids=lambda path: "/".join(path.parts[-3::2]))
def test_what_an_inventory_says_of_hosts_is_nothing_to_tasks_of_this_machine(file: Path) -> None:
    of_role = file.parents[1] / "vars/main.yml"
    role = load(of_role) if of_role.exists() else {}
    for task in _delegated_here(load(file)):
        # An action without a module needs no Python, no connection and nobody's rights.
        if "emqx.conformance.resumption_report" not in task:
            assert {**role, **task.get("vars", {})}.items() >= {
                "ansible_connection": "local", "ansible_become": False,
                "ansible_python_interpreter": "{{ ansible_playbook_python }}"}.items(), task["name"]


def test_no_two_roles_mean_different_things_by_one_name() -> None:
    seen: dict[str, str] = {}
    for role in ROLES:
        for name in options_of(role):
            assert seen.setdefault(name, role.name) == role.name, name


@pytest.mark.parametrize(
    "template", sorted([*(ROOT / "templates").glob("**/*.j2"), *(ROOT / "roles").glob("**/*.j2")]),
    ids=lambda path: path.name)
def test_every_template_parses(template: Path) -> None:
    environment = jinja2.Environment(trim_blocks=True)  # noqa: S701 - parsed only
    environment.filters.update(FilterModule().filters())
    environment.parse(template.read_text(encoding="utf-8"))


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize(
    "file", sorted(path for folder in ("playbooks", "roles", "inventory", "molecule")
                   for path in (ROOT / folder).glob("**/*.yml")
                   if "ansible_collections" not in path.parts),
    ids=lambda path: str(path.relative_to(ROOT)))
def test_every_expression_in_yaml_parses(file: Path) -> None:
    environment = jinja2.Environment()  # noqa: S701 - parsed only
    for text in _strings(load(file)):
        environment.parse(text)
