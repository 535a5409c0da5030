"""Action plugin: shows how far the module of the same name is while nodes start."""
from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.emqx.conformance.plugins.module_utils.words import some
from ansible_collections.emqx.conformance.plugins.plugin_utils.live import run_module, show


class ActionModule(ActionBase):
    """Runs the module."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        super().run(tmp, task_vars)
        for line in _announced(self._task.args):
            show(line)
        result = run_module(self, "emqx.conformance.emqx_cluster", self._task.args, task_vars)
        for line in (*_ready(result.get("identities") or {}), *_asked(result.get("asked") or {})):
            show(line)
        return result


def _announced(args: dict[str, Any]) -> list[str]:
    """Say whether nodes will be contacted, which no verification counts."""
    if args.get("state") == "absent":
        return []
    if args.get("driver") == "external":
        names = [node["name"] for node in args["nodes"]]
        return [f"Not contacted: {some(names)}: the verification will tell"]
    return [("Readiness: each node is asked by CONNECT until it answers, which takes 1 handshake "
             "if it does at once; one that does not is asked again for as long as it has, so "
             "nobody can tell how often")]


def _ready(identities: dict[str, dict[str, Any]]) -> list[str]:
    """Say what now runs: one line for nodes that are the same."""
    nodes: dict[str, list[str]] = {}
    for name, identity in identities.items():
        otp = f", Erlang/OTP {identity['otp_release']}" if identity["otp_release"] else ""
        nodes.setdefault(
            f"{identity['product']} {identity['version'] or ''}".rstrip() + otp, []).append(name)
    return [f"Ready: {some(names)}: {product}" for product, names in nodes.items()]


def _asked(counts: dict[str, int]) -> list[str]:
    """Say how many handshakes that took, which no verification counts."""
    nodes: dict[int, list[str]] = {}
    for name, count in counts.items():
        nodes.setdefault(count, []).append(name)
    return [f"Readiness: {count} handshake{'' if count == 1 else 's'} with {some(names)}"
            for count, names in nodes.items()]
