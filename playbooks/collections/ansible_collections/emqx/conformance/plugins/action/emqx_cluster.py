"""Action plugin: shows how far the module of the same name is while nodes start."""
from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.emqx.conformance.plugins.plugin_utils.live import run_module


class ActionModule(ActionBase):
    """Runs the module."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        super().run(tmp, task_vars)
        return run_module(self, "emqx.conformance.emqx_cluster", self._task.args, task_vars)
