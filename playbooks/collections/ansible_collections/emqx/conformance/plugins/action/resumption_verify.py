"""Action plugin: shows what the module of the same name measured, as a person reads it."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.emqx.conformance.plugins.module_utils.verify import (
    RequestError,
    announced,
    request,
)
from ansible_collections.emqx.conformance.plugins.modules.resumption_verify import ARGUMENT_SPEC
from ansible_collections.emqx.conformance.plugins.plugin_utils.live import run_module
from ansible_collections.emqx.conformance.plugins.plugin_utils.shown import (
    as_typed,
    say,
    show,
    tell_once,
)


class ActionModule(ActionBase):
    """Runs the module, then prints matrix, findings, latency and verdict.

    Where vantage points are still to add to the report, only the headline: the rest comes then.
    """

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        super().run(tmp, task_vars)
        arguments = self._task.args
        where = as_typed(Path(arguments["reports_dir"]) / "latest")
        if not self._task.check_mode:
            balancers = len(arguments.get("load_balancers") or ())
            also = f" and {balancers} load balancer(s)" if balancers else ""
            say(f"Probing {len(arguments['nodes'])} node(s){also}; the report is written to "
                f"{where} as the run goes.")
            for sentence in _announcement(arguments):
                say(sentence)
        result = run_module(self, "emqx.conformance.resumption_verify", arguments, task_vars)
        for line in result.get("plan", []):
            say(line)
        if "report" in result:
            if arguments.get("vantage"):
                say(f"From the controller: {result['verdict'].upper()}: {result['headline']}")
            else:
                show(Path(result["report"]))
                tell_once(result)
        return result


def _announcement(arguments: dict[str, Any]) -> list[str]:
    """Return what the run costs; nothing of arguments that the module is about to refuse."""
    checked = ArgumentSpecValidator(ARGUMENT_SPEC).validate(arguments)
    if checked.error_messages:
        return []
    try:
        return announced(request(checked.validated_parameters))
    except RequestError:
        return []
