"""A driver for a cluster that is deployed, and one sentence where there is none."""
from __future__ import annotations

import threading
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.cluster import (
    BACKENDS,
    open_driver,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import (
    Driver,
    DriverError,
    DriverUnsupported,
    NodeSpec,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded.driver import (
    EmbeddedDriver,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.external import (
    ExternalDriver,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.layout import NodeRecord
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.ready import Caller
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

FAR = NodeSpec("far", "127.0.0.1", 1, "localhost")


def opened(kind: str, state_dir: Path | None = None, cluster: str | None = None) -> Driver:
    return open_driver(kind, state_dir=state_dir, cluster=cluster, caller=Caller(Trust()),
                       stop=threading.Event())


def test_external_needs_no_cluster() -> None:
    assert isinstance(opened("external"), ExternalDriver)


@pytest.mark.parametrize(("verb", "what"), [
    ("start", "start far"), ("stop", "stop far"), ("kill", "kill far"),
    ("disconnect", "take far off the network"), ("reconnect", "bring far back on a network"),
    ("cpu_s", "see how much processor time far takes")])
def test_external_nodes_are_never_touched(verb: str, what: str) -> None:
    says = f"^the external driver cannot {what}: somebody else runs them$"
    with pytest.raises(DriverUnsupported, match=says):
        getattr(opened("external"), verb)(FAR)


def test_no_listener_of_an_external_node_is_reopened() -> None:
    says = ("the external driver cannot reopen a listener of far with other trust anchors: "
            "somebody else runs them")
    with pytest.raises(DriverUnsupported, match=says):
        opened("external").reopen(FAR, 2, Path("ca.pem"))
    with pytest.raises(DriverUnsupported, match=says):
        opened("external").restore(FAR, 2)


def test_embedded_drives_what_was_deployed(tmp_path: Path) -> None:
    (tmp_path / "c" / "n1").mkdir(parents=True)
    NodeRecord("", [], 1, None).save(tmp_path / "c" / "n1")
    driver = opened("embedded", tmp_path, "c")
    assert isinstance(driver, EmbeddedDriver)
    assert driver.state("n1") == "gone"


@pytest.mark.parametrize(("kind", "known", "cluster", "says"), [
    ("embedded", True, "c", "the cluster c was never deployed in .*: run `make deploy` first"),
    ("embedded", True, None, "state_dir and cluster_name are needed"),
    ("embedded", False, "c", "state_dir and cluster_name are needed"),
    ("embedded", True, "../c", 'the cluster name "../c" may have'),
    ("steam", True, "c", "there is no driver steam"),
])
def test_what_cannot_be_driven_is_one_sentence(
        tmp_path: Path, kind: str, known: bool, cluster: str | None, says: str) -> None:
    with pytest.raises(DriverError, match=says):
        opened(kind, tmp_path if known else None, cluster)
    assert list(tmp_path.iterdir()) == []


def test_abilities_are_known_without_a_driver() -> None:
    assert {name: set(backend.driver.abilities) for name, backend in BACKENDS.items()} == {
        "embedded": {"restart", "kill", "reopen"},
        "docker": {"restart", "kill", "disconnect"}, "external": set()}
    # What cannot do everything says why.
    assert all(backend.driver.limits for backend in BACKENDS.values())
