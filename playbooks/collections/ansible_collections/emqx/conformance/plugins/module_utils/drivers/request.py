"""What the module ``emqx_cluster`` is asked for, and what it answers."""
from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..identity import Identity
from ..listeners.release import DEFAULT_RELEASE, parse_release
from ..mqtt.credentials import Credentials
from ..progress import ProgressFile
from ..tls.trust import Trust
from .base import DriverError, NodeSpec
from .change import Change
from .docker import deployment as docker_deployment
from .docker.deployment import ContainerSpec, DockerDeployment, WantedContainers
from .docker.driver import DockerCluster
from .docker.engine import Engine
from .embedded.deployment import Deployment, Wanted, destroy, diff_text
from .layout import ClusterFolder
from .lock import exclusive
from .ready import Caller


@dataclass
class Answer:
    """What was done, or would be."""

    changed: bool = False
    started: list[str] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    identities: dict[str, Identity] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    """By node: handshakes that it took to see whether it was ready."""
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the module's result; Ansible collects the warnings by itself."""
        before = {**dict.fromkeys(self.started, "not running"),
                  **dict.fromkeys([*self.restarted, *self.unchanged, *self.stopped], "running")}
        after = {**dict.fromkeys([*self.started, *self.unchanged], "running"),
                 **dict.fromkeys(self.restarted, "running, started anew"),
                 **dict.fromkeys(self.stopped, "gone")}
        return {
            "changed": self.changed, "started": self.started, "restarted": self.restarted,
            "unchanged": self.unchanged, "stopped": self.stopped,
            "identities": {name: identity.as_dict()
                           for name, identity in self.identities.items()},
            "asked": self.asked,
            "diff": {"before_header": "nodes", "after_header": "nodes",
                     "before": diff_text(before), "after": diff_text(after)},
        }


def ask(params: Mapping[str, Any], *, pretend: bool, stop: threading.Event) -> Answer:
    """Do, or pretend to do, what the module's parameters ask for.

    Raises:
        DriverError: one sentence for people.
        OSError: a directory cannot be read or written.
    """
    caller = Caller(_trust(params), _credentials(params), stop, params["answer_timeout"])
    try:
        if params["state"] == "absent":
            return _absent(params, caller, pretend=pretend)
        if not params["nodes"]:
            raise DriverError("there is no node to run: nodes is empty")
        if not pretend:
            caller.load()
        if params["driver"] == "external":
            return _external(params)
        run = _docker if params["driver"] == "docker" else _embedded
        answer = run(params, caller, pretend=pretend, stop=stop)
        answer.asked = {node.name: caller.asked[node.name] for node in _specs(params)
                        if node.name in caller.asked}
        return answer
    finally:
        caller.close()


def _trust(params: Mapping[str, Any]) -> Trust:
    """Return the certificates; none where no connection will be made."""
    if params["state"] == "absent":
        return Trust()
    return Trust(params["ca"] or None, params["client_cert"] or None,
                 params["client_key"] or None)


def _credentials(params: Mapping[str, Any]) -> Credentials | None:
    username, password = params["mqtt_username"] or None, params["mqtt_password"] or None
    if username is None and password is None:
        return None
    return Credentials(username, password)


def _specs(params: Mapping[str, Any]) -> tuple[NodeSpec, ...]:
    return tuple(NodeSpec(
        node["name"], node["host"], int(node["port"]), node.get("server_name") or node["host"],
        _config(params, node)) for node in params["nodes"])


def _config(params: Mapping[str, Any], node: Mapping[str, Any]) -> Path | None:
    if node.get("config"):
        return Path(node["config"])
    if params["config_dir"]:
        return Path(params["config_dir"], node["name"], "listeners.hocon")
    return None


def _needed(params: Mapping[str, Any], name: str) -> str:
    if not params[name]:
        raise DriverError(f"{name} is needed for state {params['state']}")
    return str(params[name])


def _absent(params: Mapping[str, Any], caller: Caller, *, pretend: bool) -> Answer:
    if params["driver"] == "external":
        return Answer()
    state_dir, name = Path(_needed(params, "state_dir")), params["cluster_name"] or None
    # Which driver a cluster was deployed with is not said, and the inventory may have changed.
    containers = docker_deployment.destroy(state_dir, name, pretend=pretend)
    done = destroy(state_dir, name, caller, pretend=pretend)
    return Answer(changed=bool(containers or done.stopped or done.removed),
                  stopped=[*containers, *done.stopped])


def _external(params: Mapping[str, Any]) -> Answer:
    """Let nodes of somebody else alone: every connection to them is announced by a verification."""
    if params["state"] == "restarted":
        raise DriverError("the external driver cannot restart nodes: external nodes are run by "
                          "somebody else")
    return Answer(unchanged=[node.name for node in _specs(params)])


def _embedded(params: Mapping[str, Any], caller: Caller, *, pretend: bool,
              stop: threading.Event) -> Answer:
    name = _needed(params, "cluster_name")
    folder = ClusterFolder.of(Path(_needed(params, "state_dir")), name)
    nodes = _specs(params)
    wanted = Wanted(
        nodes=nodes, all_nodes=tuple(params["all_nodes"] or [node.name for node in nodes]),
        release=_release(params["release"]), source_dir=Path(_needed(params, "source_dir")),
        session_lifetime=params["session_lifetime"],
        session_cache_max=params["session_cache_max"], credentials=_credentials(params),
        timeout_s=params["timeout"])
    restart = params["state"] == "restarted"
    if pretend:
        plan = Deployment(folder, wanted, caller, stop).plan(
            may_be_unrendered=True, to_render=params["to_render"], restart=restart)
        return _of_plan(plan)
    with exclusive(folder.path, f"cluster {name}"):
        deployment = Deployment(folder, wanted, caller, stop)
        plan = deployment.plan(restart=restart)
        told = ProgressFile(params.get("progress_file"), len(nodes), "nodes ready")
        deployment.driver.on_ready = told.update
        deployment.driver.on_booted = lambda count: told.wait_for(f"{count} have booted")
        identities = deployment.apply(plan)
        answer = _of_plan(plan)
        answer.identities = {node.name: identities[node.name] for node in nodes}
    return answer


def _docker(params: Mapping[str, Any], caller: Caller, *, pretend: bool,
            stop: threading.Event) -> Answer:
    name, state_dir = _needed(params, "cluster_name"), Path(_needed(params, "state_dir"))
    folder = ClusterFolder.of(state_dir, name)
    nodes = _specs(params)
    wanted = WantedContainers(
        nodes=nodes, all_nodes=tuple(params["all_nodes"] or [node.name for node in nodes]),
        containers={node.name: _container(params, node.name) for node in nodes},
        release=_release(params["release"]), session_lifetime=params["session_lifetime"],
        session_cache_max=params["session_cache_max"],
        dashboard_password=params["dashboard_password"] or None,
        license_key=params["license"] or None, memory=params["container_memory"],
        cpus=params["container_cpus"], timeout_s=params["timeout"],
        progress_file=params.get("progress_file"))
    restart = params["state"] == "restarted"
    engine = Engine()
    try:
        cluster = DockerCluster(engine, state_dir, name)
        if pretend:
            plan = DockerDeployment(cluster, folder, wanted, caller, stop).plan(
                pretend=True, to_render=params["to_render"], restart=restart)
            return _of_plan(plan)
        with exclusive(folder.path, f"cluster {name}"):
            deployment = DockerDeployment(cluster, folder, wanted, caller, stop)
            plan = deployment.plan(restart=restart)
            deployment.driver.on_ready = ProgressFile(
                wanted.progress_file, len(nodes), "nodes ready").update
            identities = deployment.apply(plan)
            answer = _of_plan(plan)
            answer.identities = identities
        return answer
    finally:
        engine.close()


def _container(params: Mapping[str, Any], node: str) -> ContainerSpec:
    try:
        spec = params["containers"][node]
        return ContainerSpec(
            str(spec["image"]),
            {int(inside): int(outside) for inside, outside in spec["tls_ports"].items()},
            spec.get("dashboard_port"), dict(spec.get("files") or {}))
    except (KeyError, TypeError, ValueError):
        raise DriverError(f"containers says no image or tls_ports of {node}") from None


def _of_plan(plan: Change) -> Answer:
    return Answer(plan.changed, plan.start, plan.restart, plan.unchanged, plan.stop,
                  warnings=plan.warnings)


def _release(text: str | None) -> Any:
    try:
        return parse_release(text or DEFAULT_RELEASE)
    except ValueError as error:
        raise DriverError(f"release: {error}") from None
