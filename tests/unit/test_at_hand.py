"""Which modules are run from where they lie, and which go the way to another host."""
from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.emqx.conformance.plugins.plugin_utils import live

MODULE = "emqx.conformance.resumption_verify"


class Action:
    """What is asked of an action; it notes which way its module went."""

    def __init__(self, transport: str = "local", become: object = None,
                 answer: str = '{"changed": false, "_ansible_no_log": false}') -> None:
        self._connection = SimpleNamespace(transport=transport, become=become)
        self._task = SimpleNamespace(delegate_to="localhost", environment=None)
        self._templar = SimpleNamespace(template=lambda text: text)
        self._answer = answer
        self.commands: list[tuple[str, bytes]] = []
        self.executed: list[str] = []

    def _update_module_args(self, name: str, arguments: dict[str, Any], _: Any) -> None:
        arguments["_ansible_module_name"] = name

    def _compute_environment_string(self) -> str:
        return "TMPDIR=here"

    def _low_level_execute_command(self, command: str, in_data: bytes) -> dict[str, Any]:
        self.commands.append((command, in_data))
        return {"stdout": self._answer}

    def _parse_returned_data(self, done: dict[str, Any], profile: str) -> dict[str, Any]:
        assert profile == "legacy"
        return {"from": done["stdout"], "_ansible_parsed": True, "_ansible_no_log": False}

    def _execute_module(self, *, module_name: str, module_args: dict[str, Any],
                        task_vars: dict[str, Any] | None) -> dict[str, Any]:
        self.executed.append(module_name)
        return {"from": "elsewhere"}


def run(action: Action, **variables: Any) -> dict[str, Any]:
    return live.run_module(cast(ActionBase, action), MODULE, {"nodes": ["one"]}, variables)


def test_a_module_of_this_host_is_run_from_where_it_lies() -> None:
    action = Action(answer="this host")
    assert run(action)["from"] == "this host"
    [(command, data)] = action.commands
    assert command.startswith("TMPDIR=here PYTHONPATH=")
    assert command.endswith(f"{sys.executable} -m ansible_collections.emqx.conformance.plugins."
                            "modules.resumption_verify")
    assert b'"nodes": ["one"]' in data
    assert b'"_ansible_module_name": "emqx.conformance.resumption_verify"' in data
    assert action.executed == []


@pytest.mark.parametrize(("action", "variables"), [
    (Action("ssh"), {}), (Action(become="sudo"), {}),
    (Action(), {"ansible_python_interpreter": "/usr/bin/another-python"}),
    (Action(), {"ansible_delegated_vars": {
        "localhost": {"ansible_python_interpreter": "/usr/bin/another-python"}}}),
])
def test_another_host_user_or_python_gets_it_packed(
        action: Action, variables: dict[str, Any]) -> None:
    assert run(action, **variables)["from"] == "elsewhere"
    assert action.executed == [MODULE]
    assert action.commands == []
