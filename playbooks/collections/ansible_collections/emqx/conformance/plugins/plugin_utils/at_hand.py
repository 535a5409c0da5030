"""Runs a module from where it lies, where it is to run on this host."""
from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from ansible.module_utils.common.json import Direction, get_module_encoder
from ansible.plugins.action import ActionBase
from ansible.vars.clean import remove_internal_keys

COLLECTIONS = Path(__file__).parents[5]


def run(action: ActionBase, module_name: str, arguments: dict[str, Any],
        task_vars: dict[str, Any] | None) -> dict[str, Any]:
    """Return the module's result.

    Args:
        action: whose task it is.
        module_name: with its namespace and collection.
        arguments: the module's.
        task_vars: the task's variables, as an action gets them.
    """
    result: dict[str, Any]
    if _is_at_hand(action, task_vars or {}):
        result = _run_at_hand(action, module_name, arguments, task_vars)
    else:
        result = action._execute_module(
            module_name=module_name, module_args=arguments, task_vars=task_vars)
    return result


def _is_at_hand(action: ActionBase, task_vars: dict[str, Any]) -> bool:
    """Tell whether the module is to run on this host, as this user, by this very Python."""
    if action._connection.transport != "local" or action._connection.become:
        return False
    delegated = task_vars.get("ansible_delegated_vars", {})
    variables = delegated.get(action._task.delegate_to, task_vars)
    python = variables.get("ansible_python_interpreter", sys.executable)
    return bool(action._templar.template(python) == sys.executable)


def _run_at_hand(action: ActionBase, module_name: str, arguments: dict[str, Any],
                 task_vars: dict[str, Any] | None) -> dict[str, Any]:
    """Run the module from where it lies, as Ansible documents for trying one out.

    To pack the whole library for the way to another host, and to compile it out of the archive at
    the other end, takes longer than to verify three nodes; from here Python has it compiled.
    """
    action._update_module_args(module_name, arguments, task_vars)
    encoder = get_module_encoder("legacy", Direction.CONTROLLER_TO_MODULE)
    namespace, collection, name = module_name.split(".")
    command = (f"{action._compute_environment_string()} "
               f"PYTHONPATH={shlex.quote(str(COLLECTIONS))}${{PYTHONPATH:+:$PYTHONPATH}} "
               f"{shlex.quote(sys.executable)} -m "
               f"ansible_collections.{namespace}.{collection}.plugins.modules.{name}")
    done = action._low_level_execute_command(
        command, in_data=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}, cls=encoder).encode())
    result: dict[str, Any] = action._parse_returned_data(done, "legacy")
    remove_internal_keys(result)
    return result
