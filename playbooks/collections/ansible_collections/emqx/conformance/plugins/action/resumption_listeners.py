"""Action plugin: runs the module of the same name, and says whom it asks and where it tells."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.emqx.conformance.plugins.module_utils.words import some
from ansible_collections.emqx.conformance.plugins.plugin_utils.live import run_module
from ansible_collections.emqx.conformance.plugins.plugin_utils.shown import as_typed, say


class ActionModule(ActionBase):
    """Runs the module."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        super().run(tmp, task_vars)
        arguments = self._task.args
        asked = [row for row in arguments["listeners"] if not row["why_not"]]
        asking = "Would ask" if self._task.check_mode else "Asking"
        for words in dict.fromkeys(f"EMQX {row['release']}, {row['erlang']}" for row in asked):
            say(f"{asking} each listener as {words}: {some(row['name'] for row in asked)}")
        result = run_module(self, "emqx.conformance.resumption_listeners", arguments, task_vars)
        for line in result.get("plan", []):
            say(line)
        for folder in result.get("reports", []):
            say(f"Report: {as_typed(Path(folder))}")
        return result
