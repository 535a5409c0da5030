"""Vantage points: the same probed over SSH, from hosts with nothing but python3."""
from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import junitparser
import pytest
import yaml

from tests.support.playbooks import ROOT, WITHOUT_FIGURES, Cluster, Done
from tests.support.vantage_hosts import WRITABLE, Network, VantageHost, vantage_hosts, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=f"no vantage hosts here: {why_not()}")

SCHEMA = json.loads((ROOT / "schemas" / "results.schema.json").read_text())
# A password that is part of every node's name: what Ansible masks would be missed in the report.
USERNAME, PASSWORD = "probe", "emqx"
CREDENTIALS = {"resumption_mqtt_username": USERNAME, "resumption_mqtt_password": PASSWORD}
CLIENT = {"resumption_client_cert": str(ROOT / "certs" / "client-cert.pem"),
          "resumption_client_key": str(ROOT / "certs" / "client-key.pem")}
VARIABLES: dict[str, Any] = {
    **CREDENTIALS, **CLIENT, "emqx_listeners": {"ssl": {"default": {
        "bind": "0.0.0.0:{{ emqx_tls_port }}",
        "ssl_options": {"verify": "verify_peer", "fail_if_no_peer_cert": True}}}}}
NODES = ("emqx1", "emqx2", "emqx3")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with vantage_hosts(tmp_path_factory.mktemp("vantage"), "near", "far") as made:
        yield made


def as_seen(cluster: Cluster, network: Network, folder: Path) -> Cluster:
    """Return the nodes as somebody else's, at addresses that the vantage hosts reach too."""
    inventory = folder / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"children": {
        "emqx": {
            "hosts": {name: {"emqx_tls_host": address, "emqx_tls_port": port}
                      for name, address, port in zip(NODES, network.nodes, cluster.ports)},
            "vars": {"emqx_driver": "external", "emqx_tls_server_name": "localhost",
                     "resumption_ca": str(ROOT / "certs" / "ca.pem"),
                     "resumption_tls_versions": ["tlsv1.2"], **CREDENTIALS, **CLIENT}},
        "vantage": {"hosts": {host.name: host.variables() for host in network.hosts}}}}},
        sort_keys=False))
    return replace(cluster, inventory=inventory, reports=folder / "reports")


@pytest.fixture
def seen(cluster: Cluster, network: Network, tmp_path: Path) -> Cluster:
    """The nodes as they are seen, with reports of this test alone."""
    return as_seen(cluster, network, tmp_path)


@dataclass(frozen=True)
class Planned:
    """A run of verify.yml, and the plan of it that was asked for before."""

    plan: Done
    plan_left_a_report: bool
    done: Done
    seen: Cluster


@pytest.fixture(scope="module")
def planned(cluster: Cluster, network: Network,
            tmp_path_factory: pytest.TempPathFactory) -> Planned:
    """A run from everywhere."""
    seen = as_seen(cluster, network, tmp_path_factory.mktemp("planned"))
    plan = seen.play("verify.yml", "--check")
    return Planned(plan, seen.reports.exists(), seen.play("verify.yml"), seen)


@pytest.fixture
def cut_off(network: Network) -> Iterator[VantageHost]:
    """The second host, which has no way to the third node."""
    far = network.hosts[1]
    route = ("unreachable", f"{network.nodes[2]}/32")
    far.inside("ip", "route", "add", *route)
    yield far
    far.inside("ip", "route", "del", *route)


def written(seen: Cluster) -> dict[str, Any]:
    """Return results.json, after looking at every file of the report."""
    folder = seen.reports / "latest"
    results = seen.results()
    jsonschema.validate(results, SCHEMA)
    points = results["vantage"]["points"]
    suites = {suite.name: suite for suite in junitparser.JUnitXml.fromfile(
        str(folder / "junit.xml"))}
    for point in points:
        suite = suites[f"from {point['name']}"]
        assert suite.tests == (len(point["report"]["checks"]) if point["report"] else 1)
        red = suite.failures + suite.errors
        assert bool(red) == (point["report"] is None or point["report"]["verdict"] != "passed")
    page = (folder / "index.html").read_text()
    for point in points:
        assert f"From {point['name']} ({point['host']})" in page
    assert page.count('<tr><th scope="row">emqx1</th>') >= 1 + sum(
        point["report"] is not None for point in points)
    return results


def reports(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {"controller": results, **{
        point["name"]: point["report"] for point in results["vantage"]["points"]}}


def assert_untouched(network: Network) -> None:
    """Nothing of a run is on the hosts; the rest of their files cannot be written to at all."""
    for host in network.hosts:
        left = host.inside("find", *WRITABLE, "-type", "f").split()
        assert sorted(left) == ["/run/authorized_keys", "/run/host_key", "/run/sshd_config"]
        assert host.processes() == []


def test_the_hosts_have_nothing_but_python3(network: Network) -> None:
    for host in network.hosts:
        assert host.ssh("/usr/bin/python3 -c 'import ssl'").returncode == 0
        for library in ("tlslite", "paho", "jinja2", "cryptography", "yaml", "ansible"):
            done = host.ssh(f"/usr/bin/python3 -c 'import {library}'")
            assert f"No module named '{library}'" in done.stderr
        assert "Read-only file system" in host.ssh(f"touch {ROOT}/x /var/tmp/x").stderr


def test_the_same_is_seen_from_everywhere(planned: Planned, network: Network) -> None:
    done = planned.done
    assert done.code == 0, done.output
    results = written(planned.seen)
    assert results["verdict"] == "passed"
    assert results["headline"] == ("from the controller, near and far: 9 of 9 pairs as expected")
    assert results["vantage"]["differences"] == []
    for place, report in reports(results).items():
        assert report["verdict"] == "passed" or place == "controller"
        assert [cell["outcome"] for cell in report["matrix"]] == [
            "resumed", "full", "full", "full", "resumed", "full", "full", "full", "resumed"]
        # Every cell's three witnesses, and MQTT with CONNACK 0, are there as from the controller.
        for cell in report["matrix"]:
            handshake = report["handshakes"][cell["evidence"]["handshake"]]
            assert cell["evidence"]["witnesses"]["same_master_secret"] is (
                cell["outcome"] == "resumed")
            assert handshake["mqtt"]["cause"] == ""
    for point in results["vantage"]["points"]:
        statuses = {row["id"]: (row["status"], row["reason"]) for row in point["report"]["checks"]}
        assert statuses["CORE-06"] == ("skipped", "paho_missing")
        assert statuses["CORE-03"] == ("passed", "")
        assert point["python"].startswith("3.")
        assert point["openssl"].startswith("OpenSSL")
        assert point["report"]["target"] == results["target"]
    assert "Nothing that was probed from several of them differs." in done.output

    assert_untouched(network)


def test_each_place_is_compared_with_what_was_seen_from_there_before(seen: Cluster) -> None:
    assert seen.play("verify.yml", "--limit", "emqx,near").code == 0
    before = (seen.reports / "latest").resolve()
    done = seen.play("verify.yml", "-e", f"resumption_compare={seen.reports}/latest")
    assert done.code == 0, done.output
    comparison = written(seen)["comparison"]
    assert comparison["with"] == str(before)
    assert [(one["what"], one["subject"], one["now"]) for one in comparison["changes"]] == [
        ("place", "far", "passed")]
    assert f"Changed since {before} (passed," in done.flat
    assert "place far is new: passed" in done.flat


def test_what_is_announced_is_what_the_nodes_get(planned: Planned) -> None:
    assert planned.plan.code == 0, planned.plan.output
    assert not planned.plan_left_a_report
    results = planned.seen.results()
    for node in NODES:
        budgets = [report["budget"]["nodes"][node] for report in reports(results).values()]
        made = sum(budget["handshakes_done"] for budget in budgets)
        assert made == sum(budget["handshakes_announced"] for budget in budgets)
        # README's promise for safe runs is 2N + 22 a place.
        assert made <= 3 * (2 * len(NODES) + 22)
        full = sum(budget["sessions_made"] for budget in budgets)
        assert f"in all {made}, of which {full} full" in planned.plan.flat
        assert full <= 3 * 10


def test_noisy_checks_that_need_more_than_python3_are_skipped_there(seen: Cluster) -> None:
    done = seen.play("verify.yml", "-e", "resumption_max_impact=disruptive",
                     "-e", "emqx_otp_release=25", "--limit", "emqx,near", *WITHOUT_FIGURES)
    results = written(seen)
    assert [point["name"] for point in results["vantage"]["points"]] == ["near"]
    assert results["vantage"]["differences"] == [], done.output
    [near] = results["vantage"]["points"]
    skipped = {row["id"]: row["reason"] for row in near["report"]["checks"]
               if row["status"] == "skipped"}
    assert {check: skipped[check] for check in ("NEG-03", "NEG-04", "LIFE-01", "LIFE-04")} == {
        "NEG-03": "tlslite_missing", "NEG-04": "tlslite_missing", "LIFE-01": "not_from_vantage",
        "LIFE-04": "not_from_vantage"}
    passed = {row["id"] for row in near["report"]["checks"] if row["status"] == "passed"}
    assert {"CORE-07", "CORE-08"} <= passed, passed
    assert near["report"]["verdict"] == "passed"


def test_a_node_that_one_place_cannot_reach(seen: Cluster, network: Network,
                                            cut_off: VantageHost) -> None:
    done = seen.play("verify.yml")
    assert done.code == 2
    results = written(seen)
    assert results["verdict"] == "error"
    assert results["vantage"]["controller"]["verdict"] == "passed"
    near, far = results["vantage"]["points"]
    assert near["report"]["verdict"] == "passed"
    assert far["report"]["verdict"] == "error"
    differing = {(row["what"], row["subject"]): row["seen"]
                 for row in results["vantage"]["differences"]}
    assert differing["CORE-01", "emqx3"]["controller"] == {"result": "passed", "reason": ""}
    assert differing["CORE-01", "emqx3"]["near"] == {"result": "passed", "reason": ""}
    assert differing["CORE-01", "emqx3"]["far"]["result"] == "error"
    assert {subject for what, subject in differing if what == "matrix"} == {
        f"{issuer}->{redeemer}" for issuer in NODES for redeemer in NODES
        if "emqx3" in (issuer, redeemer)}
    assert "CORE-01 emqx3: passed from the controller and near; error" in done.flat
    assert_untouched(network)


def test_a_host_that_cannot_be_reached_leaves_the_others_alone(
        seen: Cluster, network: Network, tmp_path: Path) -> None:
    inventory = yaml.safe_load(seen.inventory.read_text())
    hosts = inventory["all"]["children"]["vantage"]["hosts"]
    hosts["near"]["ansible_port"] = 1
    hosts["elsewhere"] = {**hosts["far"], "ansible_python_interpreter": "/usr/bin/python9"}
    # What now and then happens by itself: the module is not taken, and ssh has not ended yet.
    hanging_up = tmp_path / "ssh"
    hanging_up.write_text('#!/bin/sh\nexec < /dev/null\nsleep 0.2\nexec ssh "$@"\n')
    hanging_up.chmod(0o700)
    hosts["hanging_up"] = {**hosts["elsewhere"], "ansible_ssh_executable": str(hanging_up)}
    seen.inventory.write_text(yaml.safe_dump(inventory, sort_keys=False))
    done = seen.play("verify.yml")
    assert done.code == 2
    results = written(seen)
    assert results["verdict"] == "error"
    near, far, *without_python = results["vantage"]["points"]
    assert near["report"] is None
    assert near["message"].startswith("near cannot be reached by Ansible: ")
    assert near["message"].endswith("Connection refused")
    assert far["report"]["verdict"] == "passed"
    assert [point["message"] for point in without_python] == [
        f"the probe did not run on {name}: The module interpreter '/usr/bin/python9' was not found"
        for name in ("elsewhere", "hanging_up")]
    assert near["message"] in done.flat
    assert len(results["matrix"]) == 9
    assert_untouched(network)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_and_says_so(seen: Cluster, network: Network,
                                                       number: signal.Signals) -> None:
    playing = subprocess.Popen(
        seen.command("verify.yml", "-e", "resumption_rate_limit=3"), cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=seen.environment(),
        start_new_session=True)
    near = network.hosts[0]
    end = time.monotonic() + 90
    while not any("python3" in line for line in near.processes()):
        assert time.monotonic() < end
        assert playing.poll() is None
        time.sleep(0.1)
    time.sleep(0.5)
    # It is there with its program, and with no key, neither in a file nor in an argument.
    assert near.inside("find", *WRITABLE, "-path", "*ansible*", "-type", "f") != ""
    secret = Path(CLIENT["resumption_client_key"]).read_text().splitlines()[1]
    assert near.inside("sh", "-c", f"grep -rlF {secret} {' '.join(WRITABLE)} || true") == ""
    assert secret not in "".join(near.processes())
    playing.send_signal(number)
    playing.communicate(timeout=20)
    assert playing.returncode != 0
    end = time.monotonic() + 15
    while near.processes() and time.monotonic() < end:
        time.sleep(0.1)
    assert_untouched(network)
    results = written(seen)
    assert results["verdict"] == "error"
    assert [point["message"] for point in results["vantage"]["points"]] == [
        "it has not been probed from there"] * 2


def test_what_is_wrong_with_the_group_is_said_before_anything_is_touched(seen: Cluster) -> None:
    inventory = yaml.safe_load(seen.inventory.read_text())
    hosts = inventory["all"]["children"]["vantage"]["hosts"]
    hosts["controller"] = {}
    hosts["near"]["resumption_waivers"] = []
    hosts["far"]["resumption_rate_limti"] = 5
    seen.inventory.write_text(yaml.safe_dump(inventory, sort_keys=False))
    done = seen.play("verify.yml")
    assert done.code == 2
    assert "resumption_waivers (set for near) has no effect on a vantage point" in done.flat
    assert "resumption_rate_limti (set for far) is no variable of this project" in done.flat
    assert "The host controller of the group vantage has the name that reports give" in done.flat
    assert not seen.reports.exists()
