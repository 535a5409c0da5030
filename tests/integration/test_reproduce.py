"""The lines that reproduce a finding by hand, run as they stand, against servers that have it."""
from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.drivers import faults
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded.driver import (
    EmbeddedDriver,
)
from ansible_collections.emqx.conformance.plugins.module_utils.report.reproduce import (
    Recipe,
    recipe,
)

from tests.faulty_servers.start import Started, make_identity, started
from tests.faulty_servers.table import read
from tests.support.by_hand import typed, words
from tests.support.embedded_cluster import TestCluster
from tests.support.ports import free_ports
from tests.support.tcp_balancer import TcpBalancer
from tests.support.whole_run import whole_run

SERVERS = read()
CHECKS = {check.id: check for check in catalogue()}


def found(servers: Started, check: str, reason: str, **data: Any) -> Recipe | None:
    """Return how to reproduce a finding on the first of these servers, or the first two.

    LB-01's is of the balancer before them, where there is one.
    """
    def address(name: str, port: int) -> dict[str, Any]:
        return {"name": name, "host": "127.0.0.1", "port": port, "server_name": "localhost"}

    balancers = [] if servers.balancer_port is None else [address("lb", servers.balancer_port)]
    subject = "n1->n2" if CHECKS[check].per.value == "pair" else "n1"
    return recipe(
        {"nodes": [address(f"n{number}", port) for number, port in enumerate(servers.ports, 1)],
         "load_balancers": balancers, "matrix": [], "handshakes": {},
         "probed_with": {"ca": str(servers.ca_file), "client_cert": None, "client_key": None}},
        {"id": check, "status": "failed", "reason": reason, "message": "It is so.",
         "impact": "noisy", "subject": "lb" if check == "LB-01" and balancers else subject,
         "evidence": {"handshakes": []}, "data": data})


@pytest.fixture
def servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Started]:
    with started(SERVERS[request.param], tmp_path) as running:
        yield running


@pytest.mark.parametrize(("server", "check", "subject", "prints"), [
    ("no_cache", "CORE-02", "n1", ["New", "New"]),
    ("no_session_id", "CORE-01", "n1", ["New", "Session-ID:"]),
    ("shared_cache", "CORE-03", "n1->n2", ["New", "Reused"]),
    ("alerts_on_unknown_id", "NEG-01", "n1", ["New", "New", "no handshake"]),
    ("certificate_for_another_name", "CORE-01", "n1", ["verify error:num=62:hostname mismatch",
                                                       "New", "no handshake"]),
    ("mqtt_dies_when_resumed", "CORE-02", "n1", ["New"]),
])
def test_a_finding_of_a_run_shows_in_its_lines(server: str, check: str, subject: str,
                                               prints: list[str], tmp_path: Path) -> None:
    with started(SERVERS[server], tmp_path) as running:
        results = whole_run(list(running.ports), running.ca_file, tmp_path / "reports",
                            max_impact="safe")
        row = next(row for row in results["checks"]
                   if (row["id"], row["subject"]) == (check, subject))
        assert row["status"] in ("failed", "error"), row
        assert words(typed(recipe(results, row), tmp_path / "sessions")) == prints


@pytest.mark.parametrize(("servers", "finding", "prints"), [
    ("forgets_when_asked_elsewhere", ("CORE-04", "not_resumed", {}), ["New", "New", "New"]),
    ("refuses_every_fifth", ("CORE-05", "not_resumed", {}), ["New", *["Reused"] * 4, "New"]),
    ("accepts_tls11", ("CORE-08", "other_version", {}), [
        "TLS 1.0", "New", "no handshake", "TLS 1.1", "New", "TLS 1.2", "New", "TLS 1.3", "New",
        "no handshake"]),
    ("resumes_with_unoffered_suite", ("NEG-05", "resumed_with_other_suite", {}),
     ["New", "Reused", "no handshake"]),
    ("resumes_across_sni", ("NEG-09", "resumed_under_other_name", {}), ["New", "Reused"]),
    ("no_renegotiation_info_when_resumed", ("NEG-11", "not_signalled", {}),
     ["New", "Reused", "Secure Renegotiation IS NOT supported"]),
    ("never_expires", ("LIFE-03", "resumed_after_lifetime", {"lifetime_s": 0.1}),
     ["New", "Reused"]),
    ("small_cache", ("LIFE-04", "forgets_early", {"declared": 200}), ["New", "New"]),
], indirect=["servers"])
def test_a_fault_shows(servers: Started, finding: tuple[str, str, dict[str, Any]],
                       prints: list[str], tmp_path: Path) -> None:
    check, reason, data = finding
    printed = words(typed(found(servers, check, reason, **data), tmp_path / "sessions"))
    assert printed[:len(prints)] == prints


SOUND = {
    "CORE-01": ["New", "Session-ID: ID"], "CORE-02": ["New", "Reused"],
    "CORE-03": ["New", "New"], "CORE-04": ["New", "New", "Reused"],
    "CORE-05": ["New", *["Reused"] * 10], "CORE-06": ["New", "20 02 00 00"],
    "CORE-07": ["New", *["Reused"] * 16],
    "CORE-08": ["TLS 1.0", "New", "no handshake", "TLS 1.1", "New", "no handshake",
                "TLS 1.2", "New", "TLS 1.3", "New", "no handshake"],
    "CORE-09": ["New", "Reused"], "NEG-01": ["New", "New"], "NEG-02": ["New", "New"],
    "NEG-05": ["New", "New"], "NEG-08": ["New", "New", "Reused"], "NEG-09": ["New", "New"],
    "NEG-10": ["New", "Extended master secret: yes", "Reused", "Extended master secret: yes"],
    "NEG-11": ["New", "Reused", "Secure Renegotiation IS supported"],
    "SEC-03": [], "SEC-04": ["New", "Compression: NONE"],
    "LIFE-04": ["New", "Reused"], "LB-01": ["New", "20 Reused"],
    "CORE-10": ["New", "Reused"],
}
"""By check: what its lines print where nothing is wrong."""


def seen(servers: Started, folder: Path) -> dict[str, list[str]]:
    """Return what the lines of these checks print, session IDs taken out."""
    data = {"LIFE-04": {"declared": 20}}
    printed = {check: words(typed(found(servers, check, "it_is_so", **data.get(check, {})), folder))
               for check in SOUND}
    return {check: [re.sub(r"[0-9A-F]{64}", "ID", line) for line in lines]
            for check, lines in printed.items()}


@pytest.mark.parametrize("servers", ["clean"], indirect=True)
def test_a_sound_server_prints_what_it_should(servers: Started, tmp_path: Path) -> None:
    assert seen(servers, tmp_path / "sessions") == SOUND


# -- on Erlang/OTP ---------------------------------------------------------------------------------

LIFETIME_S, PLACES = 8, 20


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCluster]:
    """Two embedded nodes that forget soon."""
    folder = tmp_path_factory.mktemp("otp")
    cert, key, _ = make_identity(folder)
    made = TestCluster(folder, (cert, key), dict(zip(("n1", "n2"), free_ports(2))),
                       session_lifetime=LIFETIME_S, session_cache_max=PLACES)
    with made.running():
        yield made


@pytest.fixture
def nodes(cluster: TestCluster) -> Started:
    return Started(tuple(cluster.ports.values()), cluster.certificate[0])


DEVIATIONS = {
    "NEG-05": ["New", "Reused", "no handshake"],
    "NEG-08": ["New", "Reused", "no handshake", "Reused"],
    "NEG-09": ["New", "Reused"],
    "NEG-10": ["New", "Extended master secret: no", "Reused", "Extended master secret: no"]}
"""What they print where known_deviations/otp.yml says that OTP 25 is wrong."""


def test_otp_prints_its_known_deviations_and_nothing_else(nodes: Started, tmp_path: Path) -> None:
    assert seen(nodes, tmp_path / "sessions") == {**SOUND, **DEVIATIONS}


@pytest.mark.parametrize(("finding", "prints"), [
    (("LIFE-03", "resumed_after_lifetime", {"lifetime_s": LIFETIME_S}), ["New", "New"]),
    (("LIFE-03", "expired_early", {"lifetime_s": LIFETIME_S}), ["New", "Reused"]),
    (("LIFE-04", "forgets_early", {"declared": PLACES}), ["New", "Reused"]),
    (("LIFE-04", "forgets_early", {"declared": 2 * PLACES}), ["New", "New"]),
    (("LIFE-04", "remembers_more", {"declared": PLACES}), ["New", "New"]),
    (("LIFE-04", "remembers_more", {"declared": PLACES // 2}), ["New", "Reused"])])
def test_what_a_node_remembers_shows(nodes: Started, finding: tuple[str, str, dict[str, Any]],
                                     prints: list[str], tmp_path: Path) -> None:
    check, reason, data = finding
    assert words(typed(found(nodes, check, reason, **data), tmp_path / "sessions")) == prints


@pytest.fixture
def driver(cluster: TestCluster) -> Iterator[EmbeddedDriver]:
    made = EmbeddedDriver(cluster.cluster_folder, cluster.caller())
    yield made
    made.wait_ready([cluster.spec(name) for name in cluster.ports], 60.0)


def test_that_a_restarted_node_forgets_shows(cluster: TestCluster, driver: EmbeddedDriver,
                                             nodes: Started, tmp_path: Path) -> None:
    def restart() -> None:
        with faults.stopped(driver, cluster.spec("n1")):
            pass
        driver.wait_ready([cluster.spec("n1")], 60.0)

    told = found(nodes, "LIFE-01", "it_is_so")
    assert words(typed(told, tmp_path / "sessions", restart)) == ["New", "New", "New", "Reused"]


def test_that_another_node_serves_a_killed_ones_client_shows(
        cluster: TestCluster, driver: EmbeddedDriver, nodes: Started, tmp_path: Path) -> None:
    told = found(nodes, "LIFE-02", "it_is_so")
    with contextlib.ExitStack() as killed:
        printed = typed(told, tmp_path / "sessions", lambda: killed.enter_context(
            faults.killed(driver, cluster.spec("n1"))))
    assert words(printed) == ["New", "New", "Reused"]


@pytest.mark.parametrize(("mode", "resumed"), [("round_robin", 10), ("source", 20),
                                               ("session_id", 20)])
def test_how_many_resume_behind_a_balancer_shows(nodes: Started, mode: str, resumed: int,
                                                 tmp_path: Path) -> None:
    balancer = TcpBalancer(nodes.ports, mode)
    try:
        behind = Started(nodes.ports, nodes.ca_file, balancer.port)
        printed = words(typed(found(behind, "LB-01", "affinity_lost"), tmp_path / "sessions"))
    finally:
        balancer.stop()
    assert printed == ["New", *(["10 New"] if resumed == 10 else []), f"{resumed} Reused"]
