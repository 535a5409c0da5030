"""Action plugin: says what an upgrade will change, and fails when that is for the worse."""
from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.emqx.conformance.plugins.module_utils.upgrade import (
    WORSE,
    changes,
    headline,
)
from ansible_collections.emqx.conformance.plugins.plugin_utils.shown import say

_NO_NEXT = ("emqx_next_release is missing: name the EMQX release that you upgrade to, as "
            "inventory/upgrade does, or with -e emqx_next_release=5.10.3.")


class ActionModule(ActionBase):
    """Runs on the controller only."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the upgrade in one sentence."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        today, after = self._task.args["today"], self._task.args["next"]
        if not after:
            return {**result, "failed": True, "msg": _NO_NEXT}
        measured = [self._task.args.get(key) for key in ("before", "after")]
        seen = all(found is not None for found in measured)
        found = changes(today, after, (measured[0], measured[1]) if seen else None)
        say("What the upgrade changes, as was measured:" if seen else
            "What the upgrade will change, as far as is known before it is tried:")
        for change in found:
            say(f"{change.kind.upper():<7} {change.message}")
        told = headline(found, today[0]["release"], after[0]["release"])
        worse = seen and any(change.kind == WORSE for change in found)
        say(f"Upgrade {told}.")
        result.update(changed=False, failed=worse, msg=(
            f"worse: what is wrong is said above (upgrade {told})" if worse else told))
        return result
