"""Action plugin: probes from the host of the task and adds what is seen there to a report."""
from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.emqx.conformance.plugins.module_utils.report import compare, files
from ansible_collections.emqx.conformance.plugins.module_utils.report.vantage import (
    VantagePoint,
    measured,
    merged,
    not_measured,
    verdict_of,
)
from ansible_collections.emqx.conformance.plugins.module_utils.vantage import (
    HandoverError,
    handed_over,
    unpacked,
)
from ansible_collections.emqx.conformance.plugins.module_utils.verify import page_of
from ansible_collections.emqx.conformance.plugins.modules.resumption_verify import ARGUMENT_SPEC
from ansible_collections.emqx.conformance.plugins.plugin_utils.live import telling_time
from ansible_collections.emqx.conformance.plugins.plugin_utils.shown import results_in, say


class ActionModule(ActionBase):
    """Hands a request over, runs it there, and merges the result on the controller."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the vantage point's verdict; never fails for what is wrong out there."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        result["changed"] = False
        if self._task.check_mode:
            return result
        params, folder = self._params(), Path(self._task.args["report"])
        name = str(self._task.delegate_to)
        [point] = [VantagePoint(point["name"], point["host"]) for point in params["vantage"]
                   if point["name"] == name]
        say(f"Probing {len(params['nodes'])} node(s) from {name} ({point.host}).")
        previous = self._previous(params)
        results = results_in(folder)
        with telling_time(f"probing from {name}"):
            row = self._seen_from(point, params, results, task_vars)
        template = params["page_template"]
        whole = merged(results, [row])
        files.write(folder, compare.compared(whole, previous) if previous else whole,
                    page_of(Path(template) if template else None))
        verdict, headline = verdict_of(row)
        say(f"From {name}: {verdict.upper()}: {headline}")
        return {**result, "verdict": verdict, "headline": headline}

    def _previous(self, params: dict[str, Any]) -> compare.Previous | None:
        if not params["compare"]:
            return None
        try:
            return compare.load(Path(params["compare"]),
                                Path(params["root"]) if params["root"] else None)
        except compare.CompareError as error:
            raise AnsibleError(str(error)) from None

    def _params(self) -> dict[str, Any]:
        checked = ArgumentSpecValidator(ARGUMENT_SPEC).validate(self._task.args["probe"])
        if checked.error_messages:
            raise AnsibleError(f"probe: {'; '.join(checked.error_messages)}")
        params: dict[str, Any] = checked.validated_parameters
        return params

    def _seen_from(self, point: VantagePoint, params: dict[str, Any], results: dict[str, Any],
                   task_vars: dict[str, Any] | None) -> dict[str, Any]:
        known = {node["name"]: {"release": node["otp_release"],
                                "how": "as the controller has learnt"}
                 for node in results["nodes"] if node["otp_release"]}
        try:
            request = handed_over(params, known, places=1 + len(params["vantage"]))
            told = self._execute_module(module_name="emqx.conformance.resumption_probe",
                                        module_args={"request": request}, task_vars=task_vars)
        except AnsibleConnectionFailure as error:
            return not_measured(point, self._why_not_sent(point, error))
        except (AnsibleError, HandoverError) as error:
            return not_measured(point, f"nothing can be run on {point.name}: {_last_line(error)}")
        if "seen" not in told:
            return not_measured(point, f"the probe did not run on {point.name}: "
                                       f"{_last_line(told.get('msg') or 'it says nothing')}")
        return measured(point, unpacked(told["seen"]), python=told["python"],
                        openssl=told["openssl"])

    def _why_not_sent(self, point: VantagePoint, problem: AnsibleConnectionFailure) -> str:
        """Say why a host was not sent the probe.

        One without the interpreter hangs up before it has taken all of it, and ssh may still run
        when Ansible notices: then Ansible tells that a pipe broke, and not what the host said. So
        the interpreter is asked for its version, which is nothing to send.
        """
        unreachable = f"{point.name} cannot be reached by Ansible: "
        if not _hung_up(problem):
            return unreachable + _last_line(problem)
        interpreter = (self._used_interpreter or "").lstrip("#!")
        try:
            done = self._low_level_execute_command(f"{interpreter} --version")
        except AnsibleConnectionFailure as again:
            return unreachable + _last_line(again)
        if not done["rc"]:
            return (f"{point.name} hung up while it was being sent the probe: "
                    f"{_last_line(problem)}")
        told = self._parse_returned_data(done, "legacy")["msg"]
        said = told if interpreter in told else done["stderr"] or done["stdout"]
        return f"the probe did not run on {point.name}: {_last_line(said)}"


def _hung_up(problem: BaseException) -> bool:
    """Tell whether a connection stood, and its other end closed it while it was being sent data."""
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno == errno.EPIPE:
            return True
        cause = cause.__cause__
    return False


def _last_line(said: object) -> str:
    """Return what ssh or Python says last, which is why."""
    lines = [line.strip() for line in str(said).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "no reason is given"
