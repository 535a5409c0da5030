"""Action plugin: shows a report that vantage points have added to, and fails if it is not good."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.emqx.conformance.plugins.plugin_utils.shown import (
    results_in,
    show,
    tell_once,
)


class ActionModule(ActionBase):
    """Runs on the controller only."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the verdict of everything together."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        if self._task.check_mode:
            return {**result, "changed": False}
        folder = Path(self._task.args["report"])
        show(folder)
        results = results_in(folder)
        result.update({key: results[key] for key in ("verdict", "headline", "counts")},
                      changed=False, failed=results["verdict"] != "passed", report=str(folder))
        tell_once(result)
        return result
