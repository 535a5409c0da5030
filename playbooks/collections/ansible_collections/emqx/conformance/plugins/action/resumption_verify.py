"""Action plugin: shows what the module of the same name measured, as a person reads it."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.emqx.conformance.plugins.module_utils.report import terminal
from ansible_collections.emqx.conformance.plugins.plugin_utils.live import run_module

_MIN_WIDTH, _MAX_WIDTH = 80, 120


class ActionModule(ActionBase):
    """Runs the module, then prints matrix, findings, latency and verdict."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        super().run(tmp, task_vars)
        display = Display()
        arguments = self._task.args
        where = _shown(Path(arguments["reports_dir"]) / "latest")
        if not self._task.check_mode:
            display.display(f"Probing {len(arguments['nodes'])} node(s); the report is written to "
                            f"{where} as the run goes.")
        result = run_module(self, "emqx.conformance.resumption_verify", arguments, task_vars)
        for line in result.get("plan", []):
            display.display(line)
        if "report" in result:
            folder = Path(result["report"])
            results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
            width = min(_MAX_WIDTH, max(_MIN_WIDTH, display.columns))
            display.display("")
            for line in terminal.render(results, _shown(folder), width):
                display.display(line.text, color=line.colour)
        return result


def _shown(path: Path) -> str:
    """Return a path as the user would type it."""
    try:
        return str(path.resolve().parent.relative_to(Path.cwd()) / path.name)
    except ValueError:
        return str(path)
