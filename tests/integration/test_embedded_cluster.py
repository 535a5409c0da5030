"""The embedded driver on real processes: deploy, disturb, refuse, destroy."""
from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers import faults
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import (
    Driver,
    DriverError,
    DriverInterrupted,
    DriverUnsupported,
    NodeSpec,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded import control
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded import (
    driver as embedded_driver,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded.driver import (
    EmbeddedDriver,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.lock import exclusive
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.processes import (
    working_under,
)

from tests.support.embedded_cluster import TestCluster
from tests.support.ports import free_ports

Fault = Callable[[Driver, NodeSpec], AbstractContextManager[None]]


def rendered(folder: Path, certificate: tuple[Path, Path]) -> TestCluster:
    made = TestCluster(folder, certificate,
                       dict(zip(("emqx1", "emqx2", "emqx3"), free_ports(3))))
    for node in made.ports:
        made.render(node)
    return made


@pytest.fixture
def cluster(tmp_path: Path, certificate: tuple[Path, Path]) -> Iterator[TestCluster]:
    """Three nodes, rendered and not deployed; whatever a test leaves behind is ended."""
    made = rendered(tmp_path, certificate)
    yield made
    made.destroy()
    assert working_under(tmp_path) == []


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory,
             certificate: tuple[Path, Path]) -> Iterator[TestCluster]:
    folder = tmp_path_factory.mktemp("cluster")
    made = rendered(folder, certificate)
    yield made
    made.destroy()
    assert working_under(folder) == []


@pytest.fixture
def deployed(standing: TestCluster) -> TestCluster:
    """Three nodes that run as first rendered, whatever the test before did to them."""
    fresh = TestCluster(standing.folder, standing.certificate, dict(standing.ports))
    for node in fresh.ports:
        fresh.render(node)
    fresh.deploy()
    return fresh


@pytest.fixture
def driver(deployed: TestCluster) -> EmbeddedDriver:
    """What a check has that drives nodes somebody else deployed."""
    return EmbeddedDriver(deployed.cluster_folder, deployed.caller())


def kill(cluster: TestCluster, node: str, number: signal.Signals, state: str) -> None:
    """Send a signal and wait until it has worked."""
    os.kill(cluster.pid(node), number)
    driver = cluster.deployment().driver
    end = time.monotonic() + 5
    while driver.state(node) != state and time.monotonic() < end:
        time.sleep(0.005)
    assert driver.state(node) == state


# -- Deploying --------------------------------------------------------------------------------

def test_deploy_again_changes_nothing(deployed: TestCluster) -> None:
    before = deployed.pids()
    plan = deployed.deploy()
    assert not plan.changed
    assert plan.unchanged == ["emqx1", "emqx2", "emqx3"]
    assert deployed.pids() == before


def test_a_changed_config_restarts_just_its_node(deployed: TestCluster) -> None:
    before = deployed.pids()
    deployed.render("emqx2", deployed.listener(deployed.ports["emqx2"], reuse="false"))
    plan = deployed.deploy()
    assert (plan.restart, plan.unchanged) == (["emqx2"], ["emqx1", "emqx3"])
    after = deployed.pids()
    assert {node for node in after if after[node] != before[node]} == {"emqx2"}


def test_a_comment_in_the_config_restarts_nothing(deployed: TestCluster) -> None:
    with deployed.config("emqx1").open("a") as file:
        file.write("# nothing\n")
    assert not deployed.deploy().changed


def test_a_renewed_certificate_restarts_all(deployed: TestCluster, tmp_path: Path) -> None:
    copy = tmp_path / "copied.pem"
    shutil.copy(deployed.certificate[0], copy)
    for node, port in deployed.ports.items():
        deployed.render(node, deployed.listener(port, cert=str(copy)))
    assert deployed.deploy().restart == ["emqx1", "emqx2", "emqx3"]
    assert not deployed.deploy().changed
    copy.write_text(copy.read_text() + "\n")
    assert deployed.deploy().restart == ["emqx1", "emqx2", "emqx3"]


def test_a_changed_lifetime_restarts_all(deployed: TestCluster) -> None:
    deployed.session_lifetime = 123
    assert deployed.deploy().restart == ["emqx1", "emqx2", "emqx3"]


def test_dead_and_paused_nodes_are_started_anew(deployed: TestCluster) -> None:
    before = deployed.pids()
    kill(deployed, "emqx1", signal.SIGKILL, "gone")
    kill(deployed, "emqx3", signal.SIGSTOP, "paused")
    plan = deployed.deploy()
    assert (plan.start, plan.unchanged) == (["emqx1", "emqx3"], ["emqx2"])
    assert deployed.pids()["emqx2"] == before["emqx2"]
    assert len(deployed.status("emqx2")["members"]) == 3


def test_nodes_killed_this_very_moment_are_started_anew(deployed: TestCluster) -> None:
    for _ in range(4):
        for node in ("emqx1", "emqx3"):
            os.kill(deployed.pid(node), signal.SIGKILL)
        plan = deployed.deploy()
        assert (plan.start, plan.unchanged) == (["emqx1", "emqx3"], ["emqx2"])


def register_with_epmd(port: int, name: str) -> socket.socket:
    """Take a node name, as a node does: for as long as the connection lives."""
    request = (b"x" + (1).to_bytes(2, "big") + b"\x4d\x00" + (6).to_bytes(2, "big")
               + (5).to_bytes(2, "big") + len(name).to_bytes(2, "big") + name.encode()
               + b"\x00\x00")
    caller = socket.create_connection(("127.0.0.1", port), timeout=5)
    caller.sendall(len(request).to_bytes(2, "big") + request)
    assert caller.recv(2)[1:] == b"\x00"
    return caller


def test_a_name_that_epmd_still_remembers_is_waited_for(cluster: TestCluster) -> None:
    cluster.deploy(only=("emqx1", "emqx2"))
    driver = cluster.deployment().driver
    epmd = driver.epmd.recorded()
    assert epmd is not None
    driver.kill_all(["emqx1"])
    holder = register_with_epmd(epmd.port, "emqx1")
    release = threading.Timer(2.0, holder.close)
    release.start()
    begun = time.monotonic()
    assert cluster.deploy(only=("emqx1", "emqx2")).start == ["emqx1"]
    assert time.monotonic() - begun > 2.0
    release.join()


def test_a_name_that_stays_taken_is_told(cluster: TestCluster) -> None:
    cluster.deploy(only=("emqx1",))
    epmd = cluster.deployment().driver.epmd.recorded()
    assert epmd is not None
    with register_with_epmd(epmd.port, "emqx2"), pytest.raises(DriverError) as error:
        cluster.deploy(only=("emqx1", "emqx2"))
    assert str(error.value) == ("emqx2 did not boot: Erlang distribution as emqx2@127.0.0.1 did "
                                "not start: another node has this name")
    assert cluster.deploy(only=("emqx1", "emqx2")).start == ["emqx2"]


def test_a_dead_epmd_is_replaced(deployed: TestCluster) -> None:
    epmd = deployed.deployment().driver.epmd.recorded()
    assert epmd is not None
    epmd.process.signal(signal.SIGKILL)
    assert epmd.process.wait_gone(2.0)
    assert deployed.deploy().restart == ["emqx1", "emqx2", "emqx3"]
    assert not deployed.deploy().changed


def test_a_few_nodes_boot_at_a_time(cluster: TestCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_driver, "_BOOTING", 2)
    counts: list[int] = []
    booting: list[int] = []
    start = EmbeddedDriver.start

    def watched(self: EmbeddedDriver, node: NodeSpec) -> None:
        start(self, node)
        started = [folder for folder in cluster.cluster_folder.path.iterdir()
                   if (folder / "console.log").exists()]
        booting.append(sum(not (folder / "control.sock").exists() for folder in started))

    monkeypatch.setattr(EmbeddedDriver, "start", watched)
    deployment = cluster.prepared()
    deployment.driver.on_booted = counts.append
    deployment.apply(deployment.plan())
    assert len(booting) == 3
    assert max(booting) <= 2
    assert counts == sorted(counts)
    assert counts[-1] == 3
    assert len(cluster.status("emqx1")["members"]) == 3


def test_limit_leaves_the_others_alone(cluster: TestCluster) -> None:
    assert cluster.deploy(only=("emqx1",)).start == ["emqx1"]
    assert cluster.status("emqx1")["members"] == ["emqx1@127.0.0.1"]
    assert cluster.deploy(only=("emqx3",)).start == ["emqx3"]
    assert cluster.status("emqx3")["members"] == ["emqx1@127.0.0.1", "emqx3@127.0.0.1"]


def test_a_node_that_left_the_inventory_is_stopped(deployed: TestCluster) -> None:
    gone = deployed.pid("emqx3")
    del deployed.ports["emqx3"]
    plan = deployed.deploy()
    assert plan.stop == ["emqx3"]
    assert not Path(f"/proc/{gone}/exe").exists()
    assert not deployed.cluster_folder.run_dir("emqx3").exists()


def test_a_missing_certificate_boots_and_fails_handshakes(cluster: TestCluster) -> None:
    cluster.render("emqx1", cluster.listener(cluster.ports["emqx1"], cert="/no/such/file.pem"))
    cluster.timeout_s = 3.0
    with pytest.raises(DriverError, match=r"emqx1 .* did not answer CONNECT over TLS"):
        cluster.deploy(only=("emqx1",))
    assert working_under(cluster.folder) == []


# -- Refusing -----------------------------------------------------------------------------------

def test_a_taken_port_is_refused_before_anything_starts(cluster: TestCluster) -> None:
    port = cluster.ports["emqx2"]
    with socket.create_server(("127.0.0.1", port)), pytest.raises(DriverError) as error:
        cluster.deploy()
    assert str(error.value).startswith(
        f"emqx2 listeners.ssl.default: 127.0.0.1:{port} is already in use by pid {os.getpid()} ")
    assert working_under(cluster.folder) == []


def test_a_port_of_another_cluster_is_named(deployed: TestCluster,
                                            certificate: tuple[Path, Path]) -> None:
    other = TestCluster(deployed.folder, certificate, deployed.ports, name="other")
    with pytest.raises(DriverError) as error:
        other.deploy()
    assert "is already in use by node emqx1 of cluster tested (pid " in str(error.value)
    assert deployed.deploy().unchanged == ["emqx1", "emqx2", "emqx3"]


def test_a_port_lost_at_the_last_moment_is_the_nodes_own_sentence(
        deployed: TestCluster) -> None:
    before = deployed.pids()
    kill(deployed, "emqx3", signal.SIGKILL, "gone")
    deployment = deployed.deployment()
    plan = deployment.plan()
    port = deployed.ports["emqx3"]
    with socket.create_server(("127.0.0.1", port)), pytest.raises(DriverError) as error:
        deployment.apply(plan)
    assert str(error.value) == ("emqx3 did not boot: listeners.ssl.default: "
                                f"127.0.0.1:{port} is already in use")
    # What this run did not start lives on.
    assert [deployed.pid(node) for node in ("emqx1", "emqx2")] == [
        before["emqx1"], before["emqx2"]]
    assert len(working_under(deployed.folder)) == 3


def test_two_nodes_on_one_port(cluster: TestCluster) -> None:
    cluster.ports["emqx2"] = cluster.ports["emqx1"]
    cluster.render("emqx2")
    with pytest.raises(DriverError, match=r"emqx1 .* and emqx2 .* both want port"):
        cluster.deploy()


def test_an_endpoint_without_listener(cluster: TestCluster) -> None:
    cluster.render("emqx1", cluster.listener(cluster.ports["emqx1"], extra="enable = false"))
    with pytest.raises(DriverError, match="emqx1: no enabled ssl listener is on port"):
        cluster.deploy()


def test_what_only_otp_can_refuse_is_passed_on(cluster: TestCluster) -> None:
    text = cluster.config("emqx1").read_text()
    cluster.config("emqx1").write_text(
        text.replace("verify = verify_none", 'verify = verify_none\n ciphers = ["ROT13"]'))
    with pytest.raises(DriverError) as error:
        cluster.deploy()
    assert str(error.value) == (
        "emqx1 did not boot: listeners.ssl.default.ssl_options.ciphers: OTP does not know the "
        "cipher suite ROT13")
    assert working_under(cluster.folder) == []


def test_interrupted_while_starting(cluster: TestCluster) -> None:
    failures: list[BaseException] = []

    def deploy() -> None:
        try:
            cluster.deploy()
        except DriverInterrupted as error:
            failures.append(error)

    thread = threading.Thread(target=deploy)
    thread.start()
    end = time.monotonic() + 20
    while len(working_under(cluster.folder)) < 3 and time.monotonic() < end:
        time.sleep(0.005)
    cluster.stop.set()
    thread.join()
    assert len(failures) == 1
    assert working_under(cluster.folder) == []
    cluster.stop.clear()
    assert cluster.deploy().start == ["emqx1", "emqx2", "emqx3"]


def test_a_second_deploy_at_the_same_time_says_so(cluster: TestCluster) -> None:
    folder = cluster.cluster_folder.path
    with exclusive(folder, "cluster tested"):
        with pytest.raises(DriverError) as error, exclusive(folder, "cluster tested"):
            pytest.fail("two hold one lock")
        assert str(error.value) == ("cluster tested is being deployed or destroyed right now by "
                                    f"pid {os.getpid()}; try again when that is done")
    assert not folder.exists()


# -- Disturbing -----------------------------------------------------------------------------------

def test_restart_gives_a_new_process_and_the_cluster_heals(
        deployed: TestCluster, driver: EmbeddedDriver) -> None:
    before = deployed.pids()
    node = deployed.spec("emqx2")
    driver.stop(node)
    driver.start(node)
    driver.wait_ready([deployed.spec(name) for name in deployed.ports], 20)
    after = deployed.pids()
    assert {name for name in after if after[name] != before[name]} == {"emqx2"}
    assert not deployed.deploy().changed


def test_kill_and_start(deployed: TestCluster, driver: EmbeddedDriver) -> None:
    node = deployed.spec("emqx1")
    driver.kill(node)
    assert driver.state("emqx1") == "gone"
    with pytest.raises(control.ControlError):
        deployed.status("emqx1")
    driver.start(node)
    with pytest.raises(DriverError, match="emqx1 runs already"):
        driver.start(node)
    driver.wait_ready([node], 20)
    assert len(deployed.status("emqx3")["members"]) == 3


def test_a_paused_node_is_stopped_all_the_same(
        deployed: TestCluster, driver: EmbeddedDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    kill(deployed, "emqx1", signal.SIGSTOP, "paused")
    # It is not waited for: that would take longer than a test may.
    monkeypatch.setattr(embedded_driver, "_STOP_S", 3600.0)
    driver.stop(deployed.spec("emqx1"))
    assert driver.state("emqx1") == "gone"


def test_disconnect_is_not_possible(deployed: TestCluster, driver: EmbeddedDriver) -> None:
    with pytest.raises(DriverUnsupported, match="cannot take emqx1 off the network"):
        driver.disconnect(deployed.spec("emqx1"))
    with pytest.raises(DriverUnsupported, match="cannot bring emqx1 back on a network"):
        driver.reconnect(deployed.spec("emqx1"))


@pytest.mark.parametrize("fault", [faults.stopped, faults.killed])
def test_a_fault_is_undone_even_by_a_run_that_was_interrupted(
        deployed: TestCluster, fault: Fault) -> None:
    stop = threading.Event()
    driver = EmbeddedDriver(deployed.cluster_folder, deployed.caller(), stop=stop)
    node = deployed.spec("emqx2")

    def interrupted() -> None:
        with fault(driver, node):
            assert driver.state("emqx2") == "gone"
            stop.set()
            driver.wait_ready([node], 20)

    with pytest.raises(DriverInterrupted):
        interrupted()
    assert driver.state("emqx2") == "running"
    stop.clear()
    driver.wait_ready([deployed.spec(name) for name in deployed.ports], 20)
    assert len(deployed.status("emqx2")["members"]) == 3


def test_identify(deployed: TestCluster, driver: EmbeddedDriver) -> None:
    identity = driver.wait_ready([deployed.spec("emqx1")], 20)["emqx1"]
    assert identity.product.startswith("embedded OTP node")
    assert identity.version == "0.1.0"
    assert identity.otp_release == deployed.status("emqx1")["otp_release"]


def test_a_node_nobody_deployed(deployed: TestCluster, driver: EmbeddedDriver) -> None:
    deployed.ports["emqx9"] = 1
    with pytest.raises(DriverError, match="emqx9 was never deployed"):
        driver.start(deployed.spec("emqx9"))


# -- Destroying -----------------------------------------------------------------------------------

def test_destroy_removes_everything(deployed: TestCluster) -> None:
    assert len(working_under(deployed.folder)) == 4  # three nodes and their epmd
    assert deployed.destroy() == ["tested/emqx1", "tested/emqx2", "tested/emqx3"]
    assert not deployed.state_dir.exists()
    assert working_under(deployed.folder) == []
    assert deployed.destroy() == []


def test_destroy_finds_nodes_whose_files_are_lost(deployed: TestCluster) -> None:
    shutil.rmtree(deployed.state_dir)
    assert len(working_under(deployed.folder)) == 4
    deployed.destroy()
    assert working_under(deployed.folder) == []


def test_deploy_ends_nodes_whose_records_are_lost(deployed: TestCluster) -> None:
    lost = deployed.pid("emqx2")
    (deployed.cluster_folder.run_dir("emqx2") / "node.json").unlink()
    assert deployed.deploy().start == ["emqx2"]
    assert deployed.pid("emqx2") != lost
    assert len(working_under(deployed.folder)) == 4


def test_nodes_run_on_without_their_starter(cluster: TestCluster) -> None:
    cluster.deploy()
    for pid in cluster.pids().values():
        assert os.getsid(pid) == pid
        listing = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True,
                                 text=True, check=True).stdout
        assert str(cluster.cluster_folder.path) in listing
