"""What a vantage point is handed, and what it makes of it."""
from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.emqx.conformance.plugins.action.resumption_vantage import ActionModule
from ansible_collections.emqx.conformance.plugins.module_utils.report.vantage import VantagePoint
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Impact
from ansible_collections.emqx.conformance.plugins.module_utils.vantage import (
    HandoverError,
    Received,
    handed_over,
    packed,
    unpacked,
)
from ansible_collections.emqx.conformance.plugins.module_utils.verify import (
    foretold,
    from_vantage,
    plan_of,
    request,
)
from ansible_collections.emqx.conformance.plugins.modules.resumption_verify import ARGUMENT_SPEC

PASSWORD = "hush"  # noqa: S105 - nobody's


def parameters(folder: Path, **changed: Any) -> dict[str, Any]:
    spec: Any = ARGUMENT_SPEC
    for name in ("ca.pem", "cert.pem", "key.pem", "domain.pem", "domain-key.pem", "ca-key.pem"):
        (folder / name).write_text(f"content of {name}")
    return {
        **{name: option.get("default") for name, option in spec.items()},
        "nodes": [{"name": f"n{number}", "host": f"10.0.0.{number}", "port": 8883,
                   "server_name": None} for number in range(1, 4)],
        "ca": str(folder / "ca.pem"), "client_cert": str(folder / "cert.pem"),
        "client_key": str(folder / "key.pem"), "reports_dir": str(folder / "reports"),
        "state_dir": str(folder), "cluster_name": "c", "driver": "embedded",
        "mqtt_password": PASSWORD, "max_impact": "disruptive",
        "trust_domains": [
            {"node": "n1", "name": name, "port": port, "ca_cert": str(folder / "ca.pem"),
             "client_cert": str(folder / "domain.pem"), "ca_key": str(folder / "ca-key.pem"),
             "client_key": str(folder / "domain-key.pem")}
            for name, port in (("x", 8884), ("y", 8885))],
        "vantage": [{"name": "a", "host": "10.0.0.9"}, {"name": "b", "host": "b"}], **changed}


def test_files_come_along_and_are_in_memory_while_they_are_needed(tmp_path: Path) -> None:
    text = handed_over(parameters(tmp_path), {"n1": {"release": "27", "how": "told"}}, places=3)
    received = Received(text)
    params = received.params
    (tmp_path / "ca.pem").unlink()
    for path, content in ((params["ca"], "ca.pem"), (params["client_cert"], "cert.pem"),
                          (params["client_key"], "key.pem"),
                          (params["trust_domains"][1]["client_key"], "domain-key.pem")):
        assert path.startswith("/proc/self/fd/")
        for _ in range(2):
            assert Path(path).read_text() == f"content of {content}"
    assert params["mqtt_password"] == PASSWORD
    assert params["otp_releases"] == {"n1": {"release": "27", "how": "told"}}
    assert received.named(f"the CA file {params['ca']} is bad") == (
        f"the CA file {tmp_path}/ca.pem is bad")
    descriptors = [int(params[key].rpartition("/")[2]) for key in ("ca", "client_key")]
    received.close()
    for descriptor in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_the_key_of_a_ca_and_what_is_the_controllers_own_stay_behind(tmp_path: Path) -> None:
    whole = json.loads(handed_over(parameters(tmp_path), {}, places=3))
    assert str(tmp_path / "ca-key.pem") not in json.dumps(whole)
    assert not {"reports_dir", "state_dir", "progress_file", "vantage"} & set(whole["params"])
    assert set(whole["files"]) == {str(tmp_path / name) for name in (
        "ca.pem", "cert.pem", "key.pem", "domain.pem", "domain-key.pem")}


def test_every_path_that_a_run_takes_comes_along_or_stays_behind() -> None:
    spec: Any = ARGUMENT_SPEC
    paths = {name for name, option in spec.items() if option["type"] == "path"}
    assert paths == {"ca", "client_cert", "client_key",
                     "reports_dir", "page_template", "progress_file", "state_dir", "compare",
                     "root"}
    assert {name for name, option in spec["trust_domains"]["options"].items()
            if option["type"] == "path"} == {"client_cert", "client_key", "ca_cert", "ca_key"}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    params = parameters(tmp_path)
    (tmp_path / "key.pem").unlink()
    with pytest.raises(HandoverError) as caught:
        handed_over(params, {}, places=2)
    assert str(caught.value) == f"{tmp_path}/key.pem cannot be read: No such file or directory"


def test_what_a_vantage_point_plans_is_what_the_controller_announced(tmp_path: Path) -> None:
    params = parameters(tmp_path)
    here = request(params)
    received = Received(handed_over(params, {}, places=3))
    there = from_vantage(request(received.params))
    plan = plan_of(there)
    received.close()
    assert plan.handshakes == plan_of(from_vantage(here)).handshakes
    own = plan_of(here)
    lines = foretold(here)
    checks = sum(planned.skipped is None for planned in plan.checks)
    assert f"Then from a, b, over SSH, one after the other: {checks} of these checks" in lines
    for node in ("n1", "n2", "n3"):
        assert (f"{node}: {plan.handshakes[node]} handshakes from each, of which "
                f"{plan.sessions[node]} full; in all "
                f"{own.handshakes[node] + 2 * plan.handshakes[node]}, of which "
                f"{own.sessions[node] + 2 * plan.sessions[node]} full") in lines
    skipped = {planned.check.id: planned.skipped.reason for planned in plan.checks
               if planned.skipped}
    assert {skipped[check.id] for check in (planned.check for planned in plan.checks)
            if check.impact is Impact.DISRUPTIVE} == {"not_from_vantage"}
    assert skipped["CORE-06"] == "paho_missing"
    assert skipped["NEG-04"] == "tlslite_missing"
    assert skipped["SEC-06"] == "not_from_vantage"
    assert not {"CORE-01", "CORE-02", "CORE-03", "CORE-04", "SEC-01"} & set(skipped)


def test_places_share_the_session_budget_but_for_what_is_safe(tmp_path: Path) -> None:
    def limit(impact: str, points: int) -> int:
        vantage = [{"name": f"v{number}", "host": "v"} for number in range(points)]
        params = parameters(tmp_path, max_impact=impact, vantage=vantage, trust_domains=[],
                            session_cache_max=10000)
        return plan_of(from_vantage(request(params))).session_limit

    assert [limit("noisy", points) for points in (0, 1, 4, 99)] == [2500, 1250, 500, 100]
    assert [limit("safe", points) for points in (0, 9)] == [100, 100]
    # No vantage point is disruptive.
    assert limit("disruptive", 1) == 1250


def test_a_result_survives_the_way_back() -> None:
    results = {"headline": "é " * 1000, "n": [1, None, 2.5]}
    word = packed(results)
    assert word.isascii()
    assert len(word) < 200
    assert unpacked(word) == results


class HungUp(ActionModule):
    """Its host closes the connection while it is being sent the module."""

    def __init__(self, rc: int, stderr: str) -> None:
        self._used_interpreter = "#!/usr/bin/python9"
        self._answer = {"rc": rc, "stdout": "", "stderr": stderr}
        self.commands: list[str] = []

    def _execute_module(self, **_: Any) -> dict[str, Any]:
        try:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        except BrokenPipeError as problem:
            raise AnsibleConnectionFailure("Data could not be sent to remote host.") from problem

    def _low_level_execute_command(self, command: str) -> dict[str, Any]:
        self.commands.append(command)
        if self._answer["rc"] == 255:
            raise AnsibleConnectionFailure("Connection refused")
        return self._answer


@pytest.mark.parametrize(("rc", "stderr", "why"), [
    (127, "/bin/sh: 1: /usr/bin/python9: not found\n",
     "the probe did not run on v: The module interpreter '/usr/bin/python9' was not found"),
    (126, "/bin/sh: 1: /usr/bin/python9: Permission denied\n",
     "the probe did not run on v: /bin/sh: 1: /usr/bin/python9: Permission denied"),
    (255, "", "v cannot be reached by Ansible: Connection refused"),
    (0, "", ("v hung up while it was being sent the probe: Data could not be sent to remote host: "
             "[Errno 32] Broken pipe")),
])
def test_a_host_that_hangs_up_while_it_is_sent_the_probe_is_asked_why(
        tmp_path: Path, rc: int, stderr: str, why: str) -> None:
    action = HungUp(rc, stderr)
    row = action._seen_from(VantagePoint("v", "10.0.0.9"), parameters(tmp_path), {"nodes": []}, {})
    assert (row["report"], row["message"]) == (None, why)
    assert action.commands == ["/usr/bin/python9 --version"]
