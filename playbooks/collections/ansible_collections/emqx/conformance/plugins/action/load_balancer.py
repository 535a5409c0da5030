"""Action plugin: runs the module of the same name from where it lies, if that is this host."""
from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.emqx.conformance.plugins.plugin_utils import at_hand


class ActionModule(ActionBase):
    """Runs the module."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        super().run(tmp, task_vars)
        return at_hand.run(self, "emqx.conformance.load_balancer", self._task.args, task_vars)
