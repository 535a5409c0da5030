"""What the module ``emqx_cluster`` is asked for and answers, and which kinds of nodes there are."""
from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .drivers.backend import Backend, Order, needed
from .drivers.base import Driver, DriverError, NodeSpec
from .drivers.docker.backend import DockerBackend
from .drivers.embedded.backend import EmbeddedBackend
from .drivers.embedded.deployment import diff_text
from .drivers.external import ExternalBackend
from .drivers.ready import Caller
from .identity import Identity
from .listeners.release import DEFAULT_RELEASE, Release, parse_release
from .mqtt.credentials import Credentials
from .tls.trust import Trust

BACKENDS: dict[str, Backend] = {
    backend.driver.name: backend
    for backend in (EmbeddedBackend(), DockerBackend(), ExternalBackend())}
"""By the value of ``emqx_driver``."""


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
        nodes = _specs(params)
        change, identities = _backend(params["driver"]).deploy(
            _order(params, nodes, pretend=pretend), caller, stop)
        return Answer(
            change.changed, change.start, change.restart, change.unchanged, change.stop,
            {node.name: identities[node.name] for node in nodes if node.name in identities},
            {node.name: caller.asked[node.name] for node in nodes if node.name in caller.asked},
            change.warnings)
    finally:
        caller.close()


def open_driver(kind: str, *, state_dir: Path | None, cluster: str | None, caller: Caller,
                stop: threading.Event) -> Driver:
    """Return a driver of a cluster that was deployed before; nothing is started or connected.

    Args:
        kind: the driver's name.
        state_dir: where clusters keep their state.
        cluster: the cluster's name.
        caller: makes the connections that show a node ready.
        stop: when set, every wait ends with DriverInterrupted.

    Raises:
        DriverError: there is no such driver, or no such cluster.
    """
    return _backend(kind).open(state_dir, cluster, caller, stop)


def _backend(kind: str) -> Backend:
    if kind not in BACKENDS:
        raise DriverError(f"there is no driver {kind}")
    return BACKENDS[kind]


def _absent(params: Mapping[str, Any], caller: Caller, *, pretend: bool) -> Answer:
    if params["driver"] == "external":
        return Answer()
    state_dir, name = Path(needed(params, "state_dir")), params["cluster_name"] or None
    # Which driver a cluster was deployed with is not said, and the inventory may have changed.
    gone = [BACKENDS[kind].destroy(state_dir, name, caller, pretend=pretend)
            for kind in ("docker", "embedded")]
    return Answer(changed=any(removed.changed for removed in gone),
                  stopped=[node for removed in gone for node in removed.stopped])


def _order(params: Mapping[str, Any], nodes: tuple[NodeSpec, ...], *, pretend: bool) -> Order:
    """Return what is to be deployed; of external nodes no more is asked than who they are."""
    external = params["driver"] == "external"
    return Order(
        name="" if external else needed(params, "cluster_name"),
        state_dir=Path() if external else Path(needed(params, "state_dir")),
        common={
            "nodes": nodes,
            "all_nodes": tuple(params["all_nodes"] or [node.name for node in nodes]),
            "release": _release(params["release"]),
            "session_lifetime": params["session_lifetime"],
            "session_cache_max": params["session_cache_max"], "timeout_s": params["timeout"]},
        credentials=_credentials(params), own=params, pretend=pretend,
        restart=params["state"] == "restarted", to_render=tuple(params["to_render"]),
        progress_file=params.get("progress_file"))


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


def _release(text: str | None) -> Release:
    try:
        return parse_release(text or DEFAULT_RELEASE)
    except ValueError as error:
        raise DriverError(f"release: {error}") from None
