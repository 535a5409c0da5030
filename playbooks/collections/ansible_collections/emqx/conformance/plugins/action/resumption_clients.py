"""Action plugin: reads what client stacks there are, runs the module, shows what it measured."""
from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.emqx.conformance.plugins.module_utils.client_stacks import (
    definitions,
    report,
)
from ansible_collections.emqx.conformance.plugins.plugin_utils.live import run_module
from ansible_collections.emqx.conformance.plugins.plugin_utils.shown import (
    as_typed,
    say,
    show_lines,
    speakable_results,
)


class ActionModule(ActionBase):
    """Runs the module."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            arguments = _with_definitions(self._task.args)
        except definitions.StackError as error:
            return {**result, "failed": True, "msg": str(error)}
        result = run_module(self, "emqx.conformance.resumption_clients", arguments, task_vars)
        for line in result.get("plan", []):
            say(line)
        if "report" in result:
            folder = Path(result["report"])
            results = speakable_results(folder)
            show_lines(lambda width: report.render(results, as_typed(folder), width))
            if result.get("failed"):
                result["msg"] = f"{result['verdict']}: what is wrong is said above"
                result.pop("exception", None)
            else:
                result["_ansible_verbose_override"] = True
        return result


def _with_definitions(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with what is in the folders of the stacks. Raises StackError."""
    root = Path(arguments["root"])
    names = definitions.chosen(arguments.get("stacks") or [], root)
    stacks = [definitions.read(name, root).stack() for name in names]
    return {
        **arguments, "stacks": names,
        "definitions": [{**asdict(stack), "run": list(stack.run), "ways": list(stack.ways)}
                        for stack in stacks],
        "expected": [{**asdict(one), "result": one.result.value}
                     for one in definitions.expected(root) if one.stack in names]}
