"""The shipped inventory/trust: what Erlang/OTP lets through, what a waiver does, what helps."""
from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import junitparser
import pytest
import yaml
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.base import (
    DriverError,
    NodeSpec,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.embedded.driver import (
    EmbeddedDriver,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.faults import reopened
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.layout import (
    ClusterFolder,
    NodeRecord,
)
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.ready import Caller
from ansible_collections.emqx.conformance.plugins.module_utils.report.reproduce import recipe
from ansible_collections.emqx.conformance.plugins.module_utils.tls.engine import OrdinaryEngine
from ansible_collections.emqx.conformance.plugins.module_utils.tls.trust import Trust

from tests.support.by_hand import typed, words
from tests.support.playbooks import ROOT, WITHOUT_FIGURES, Cluster, Done
from tests.support.ports import free_ports

NAME = "test-trust"
FAILING = ("SEC-01", "SEC-05", "SEC-06")
REASONS = {"SEC-01": "resumed_in_other_domain", "SEC-05": "resumed_after_trust_change",
           "SEC-06": "resumed_after_expiry"}
DISRUPTIVE = ("-e", "resumption_max_impact=disruptive")
SEC = ("-e", "resumption_checks=SEC")


@dataclass(frozen=True)
class TrustCluster(Cluster):
    """inventory/trust on ports of its own, with certificates of its own."""

    certs: Path = Path()

    def command(self, playbook: str, *extra: str) -> list[str]:
        """The command line for a playbook on this cluster."""
        return super().command(playbook, "-e", f"emqx_base_port={self.ports[0]}",
                               "-e", f"emqx_cluster_name={self.name}",
                               "-e", f"emqx_certs_dir={self.certs}",
                               "-e", "emqx_certificate_key_type=ecdsa",
                               # Little to fill for LIFE-04.
                               "-e", "emqx_session_cache_max=100", *extra)

    def found(self, done: Done, code: int) -> dict[str, dict[str, Any]]:
        """Return the SEC findings of a finished run by check."""
        assert done.code == code, done.output
        return {row["id"]: row for row in self.results()["checks"]
                if row["id"] in ("SEC-01", "SEC-02", "SEC-05", "SEC-06")}


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrustCluster]:
    folder = tmp_path_factory.mktemp(NAME)
    made = TrustCluster(NAME, free_ports(4), ROOT / "inventory/trust", folder / "reports",
                        folder / "certs")
    done = made.play("playbooks/deploy.yml")
    try:
        assert done.code == 0, done.output
        yield made
    finally:
        gone = made.play("playbooks/destroy.yml")
        assert gone.code == 0, gone.output
        assert made.pids() == set()


@dataclass(frozen=True)
class Logged:
    """A run of verify.yml, its SEC findings by check, and what the node has logged meanwhile."""

    done: Done
    found: dict[str, dict[str, Any]]
    results: dict[str, Any]
    lines: list[str]


@pytest.fixture(scope="module")
def safe(trust: TrustCluster) -> Logged:
    """A safe run, on the node as it was deployed."""
    log = ROOT / ".cluster" / NAME / "emqx1" / "node.log"
    before = len(log.read_text())
    done = trust.play("verify.yml", "-e", "resumption_max_impact=safe")
    return Logged(done, trust.found(done, 2), trust.results(),
                  log.read_text()[before:].splitlines())


def test_a_safe_run_leaves_no_alert_in_the_log_but_those_it_announces(safe: Logged) -> None:
    assert safe.found["SEC-01"]["reason"] == "resumed_in_other_domain"
    lines = safe.lines
    assert all(" SERVER ALERT: Fatal - " in line for line in lines), lines
    refused = [row for row in safe.results["handshakes"].values() if row["outcome"] == "refused"]
    assert len(lines) == len(refused) > 0
    # Two for each of six ways from domain to domain, and two at each of three domains.
    announced = 2 * 6 + 2 * 3
    assert (f"Alerts: {announced} of these are refused on purpose, by emqx1, which may log an "
            "alert for each (SEC-01, SEC-02)") in safe.done.flat.partition(" Target ")[0]
    # Two ways were open: what was to be refused there was resumed.
    assert len(lines) == announced - 2


def test_the_bypass_is_found_with_its_evidence_and_the_node_is_left_as_it_was(
        trust: TrustCluster) -> None:
    before = trust.pids()
    found = trust.found(trust.play("verify.yml", *DISRUPTIVE, *WITHOUT_FIGURES), 2)
    assert {check: row["status"] for check, row in found.items()} == {
        **dict.fromkeys(FAILING, "failed"), "SEC-02": "passed"}
    assert {check: found[check]["reason"] for check in FAILING} == REASONS
    ways = found["SEC-01"]["message"]
    assert ("resumed sessions across domain1->domain2, domain2->domain1 (same server certificate) "
            "and accepted CONNECT (CONNACK 0)") in ways
    assert ("none across domain1->domain3, domain2->domain3, domain3->domain1, domain3->domain2 "
            "(different server certificates)") in ways
    assert "unknown_ca" in found["SEC-05"]["message"]
    assert "certificate_expired" in found["SEC-06"]["message"]
    results = trust.results()
    handshakes = [results["handshakes"][key] for key in found["SEC-01"]["evidence"]["handshakes"]]
    # Six ways, and each domain's session at home again.
    crossed = [handshake for handshake in handshakes[-9:-3] if handshake["outcome"] == "resumed"]
    assert [handshake["port"] for handshake in crossed] == [trust.ports[2], trust.ports[1]]
    assert all(handshake["witnesses"] == {"library_reused": True, "wire_abbreviated": True,
                                          "same_master_secret": True}
               and handshake["mqtt"]["cause"] == "" for handshake in crossed)
    assert len({handshake["server_certificate"] for handshake in handshakes} - {""}) == 2
    assert {alert["raised_by"] for handshake in handshakes
            for alert in handshake["alerts"]} <= {"target"}
    (budget,) = results["budget"]["nodes"].values()
    assert budget["handshakes_done"] == budget["handshakes_announced"]
    # LIFE-01 restarts it; nothing of SEC-05 is left.
    assert len(trust.pids()) == len(before) == 1
    assert list(run_dir().glob("anchors-*")) == []
    deployed = trust.play("playbooks/deploy.yml")
    assert deployed.code == 0
    assert "changed=0" in deployed.flat


def run_dir() -> Path:
    return ROOT / ".cluster" / NAME / "emqx1"


def waivers(expires: datetime.date) -> tuple[str, str]:
    return "-e", json.dumps({"resumption_waivers": [
        {"id": check, "subject": "emqx1", "why": f"we live with {check} for now",
         "expires": str(expires)} for check in FAILING]})


def test_waivers_let_it_pass_and_stay_visible_and_end(trust: TrustCluster) -> None:
    today = datetime.datetime.now(datetime.timezone.utc).date()
    # Not today, which may end before the run does.
    last_day = today + datetime.timedelta(days=1)
    done = trust.play("verify.yml", *DISRUPTIVE, *SEC, *waivers(last_day))
    found = trust.found(done, 0)
    results = trust.results()
    assert results["verdict"] == "passed"
    assert {row["id"] for row in results["checks"] if "waiver" in row["evidence"]} == set(FAILING)
    cases = {case.classname: case for suite in junitparser.JUnitXml.fromfile(
        str(trust.reports / "latest/junit.xml")) for case in suite}
    for check in FAILING:
        why = f"we live with {check} for now"
        assert (found[check]["status"], found[check]["reason"]) == ("known", REASONS[check])
        assert found[check]["evidence"]["waiver"] == f"waived until {last_day}: {why}"
        assert found[check]["evidence"]["handshakes"]
        (result,) = cases[check].result
        assert why in result.message
        assert f"{check} known" in done.flat
        assert why in done.flat
    yesterday = today - datetime.timedelta(days=1)
    found = trust.found(trust.play("verify.yml", *DISRUPTIVE, *SEC, *waivers(yesterday)), 2)
    assert {found[check]["status"] for check in FAILING} == {"failed"}


def test_a_safe_run_leaves_the_listener_alone(safe: Logged) -> None:
    assert {check: row["reason"] for check, row in safe.found.items()} == {
        "SEC-01": "resumed_in_other_domain", "SEC-02": "", "SEC-05": "impact_not_allowed",
        "SEC-06": "impact_not_allowed"}


def test_somebody_elses_listeners_are_probed_alike(trust: TrustCluster, tmp_path: Path) -> None:
    def client(domain: str) -> dict[str, str]:
        return {"name": domain, "client_cert": f"{trust.certs}/{domain}-client-cert.pem",
                "client_key": f"{trust.certs}/{domain}-client-key.pem"}

    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"emqx": {"hosts": {"far": {
        "ansible_connection": "local", "emqx_driver": "external", "emqx_tls_host": "127.0.0.1",
        "emqx_tls_port": trust.ports[0], "resumption_ca": f"{trust.certs}/ca.pem",
        "resumption_max_impact": "disruptive", "resumption_trust_domains": [
            {**client("domain1"), "port": trust.ports[1]},
            {**client("domain2"), "port": trust.ports[2],
             "ca_cert": f"{trust.certs}/domain2-ca.pem"}]}}}}))
    far = TrustCluster("far", trust.ports, inventory, tmp_path / "reports", trust.certs)
    found = far.found(Cluster.play(far, "verify.yml", *SEC), 2)
    assert found["SEC-01"]["reason"] == "resumed_in_other_domain"
    assert "far resumed sessions across domain1->domain2, domain2->domain1" in \
        found["SEC-01"]["message"]
    assert found["SEC-02"]["status"] == "passed"
    assert ("the external driver cannot reopen a listener with another CA: somebody else runs "
            "them") in found["SEC-05"]["message"]
    assert "with ca_cert and ca_key to issue one" in found["SEC-06"]["message"]


REMEDIES: dict[str, dict[str, Any]] = {
    "reuse_sessions": {"reuse_sessions": False}, "tls_1_3": {"versions": ["tlsv1.3"]}}


@pytest.mark.parametrize(("remedy", "listener"), [
    ("reuse_sessions", "domain1"), ("reuse_sessions", "domain2"), ("tls_1_3", "domain1")])
def test_what_the_finding_names_helps(
        trust: TrustCluster, remedy: str, listener: str) -> None:
    group = yaml.safe_load((ROOT / "inventory/trust/group_vars/emqx.yml").read_text())
    listeners = group["emqx_listeners"]
    listeners["ssl"][listener]["ssl_options"].update(REMEDIES[remedy])
    changed = json.dumps({"emqx_listeners": listeners})
    done = trust.play("playbooks/site.yml", "-e", changed, "-e", "resumption_max_impact=safe")
    found = trust.found(done, 0)
    assert found["SEC-01"]["status"] == "passed", found["SEC-01"]["message"]
    assert listener in found["SEC-01"]["message"].partition("; ")[2]


# -- the driver's part of SEC-05 -----------------------------------------------------------------


@pytest.fixture(scope="module")
def embedded(trust: TrustCluster) -> Iterator[EmbeddedDriver]:
    """Its driver, after a deploy of what the inventory has; each test leaves the node like that."""
    done = trust.play("playbooks/deploy.yml")
    assert done.code == 0, done.output
    caller = Caller(Trust(str(trust.certs / "ca.pem")))
    yield EmbeddedDriver(ClusterFolder.of(ROOT / ".cluster", NAME), caller)
    caller.close()


def spec(trust: TrustCluster) -> NodeSpec:
    return NodeSpec("emqx1", "127.0.0.1", trust.ports[0], "localhost")


def is_let_in(trust: TrustCluster, client: str, at: int) -> bool:
    """Tell whether a domain's client gets through a full handshake at a listener."""
    engine = OrdinaryEngine(Trust(str(trust.certs / "ca.pem"),
                                  str(trust.certs / f"{client}-client-cert.pem"),
                                  str(trust.certs / f"{client}-client-key.pem")))
    try:
        endpoint = NodeSpec("emqx1", "127.0.0.1", trust.ports[at], "localhost").endpoint
        attempt = engine.connect(endpoint)
        if attempt.stream is not None:
            attempt.stream.close()
        return attempt.stream is not None
    finally:
        engine.close()


def test_a_listener_is_reopened_while_the_node_runs_on(
        trust: TrustCluster, embedded: EmbeddedDriver) -> None:
    before = trust.pids()
    with reopened(embedded, spec(trust), trust.ports[1], trust.certs / "domain2-ca.pem"):
        assert is_let_in(trust, "domain2", 1)
        assert not is_let_in(trust, "domain1", 1)
        assert is_let_in(trust, "domain2", 2)
        (copy,) = run_dir().glob("anchors-*")
        assert copy.stat().st_mode & 0o777 == 0o600
    assert is_let_in(trust, "domain1", 1)
    assert not is_let_in(trust, "domain2", 1)
    assert trust.pids() == before
    assert list(run_dir().glob("anchors-*")) == []


def test_a_listener_that_nobody_restored_is_mended_by_the_next_deploy(
        trust: TrustCluster, embedded: EmbeddedDriver) -> None:
    before = trust.pids()
    embedded.reopen(spec(trust), trust.ports[1], trust.certs / "domain2-ca.pem")
    done = trust.play("playbooks/deploy.yml")
    assert done.code == 0, done.output
    assert trust.pids() != before
    assert is_let_in(trust, "domain1", 1)
    record = NodeRecord.load(run_dir())
    assert record is not None
    assert not record.fingerprint.startswith("reopened")


def test_what_cannot_be_reopened_is_one_sentence(
        trust: TrustCluster, embedded: EmbeddedDriver, tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="there is no listener at port 1"):
        embedded.reopen(spec(trust), 1, trust.certs / "domain2-ca.pem")
    embedded.restore(spec(trust), trust.ports[1])
    with pytest.raises(DriverError, match=r"missing\.pem cannot be copied"):
        embedded.reopen(spec(trust), trust.ports[1], tmp_path / "missing.pem")
    assert is_let_in(trust, "domain1", 1)


# -- by hand ---------------------------------------------------------------------------------------


def test_the_bypass_shows_in_the_lines_of_the_report(
        trust: TrustCluster, safe: Logged, embedded: EmbeddedDriver, tmp_path: Path) -> None:
    found, results = safe.found, safe.results
    at_home = found["SEC-01"]["evidence"]["handshakes"][0]

    def printed(check: str, *steps: Callable[[], object], **row: Any) -> list[str]:
        told = recipe(results, {**found[check], "status": "failed", **row})
        assert told is not None
        # Where keys lie is in no report.
        keys = {"key=client-key.pem": f"key={trust.certs / 'domain1-client-key.pem'}",
                "ca_key=ca-key.pem": f"ca_key={trust.certs / 'domain1-ca-key.pem'}"}
        lines = "\n".join(told.lines)
        for placeholder, key in keys.items():
            lines = lines.replace(f" {placeholder} ", f" {key} ")
        return typed(replace(told, lines=tuple(lines.split("\n"))), tmp_path / check, *steps)

    refused_yet_resumed = ["New", "New", "no handshake", "Reused"]
    lines = printed("SEC-01")
    assert words(lines) == refused_yet_resumed
    assert "alert unknown ca" in lines[1]
    # Nothing is wrong there: that shows, too.
    lines = printed("SEC-02", reason="resumed_without_certificate")
    assert words(lines) == ["New", *["New", "no handshake"] * 2]
    assert all("alert handshake failure" in line for line in (lines[1], lines[4]))
    lines = printed("SEC-06", reason="resumed_after_expiry", evidence={"handshakes": [at_home]})
    assert words(lines) == refused_yet_resumed
    assert "alert certificate expired" in lines[1]
    with contextlib.ExitStack() as changed:
        lines = printed("SEC-05", lambda: changed.enter_context(reopened(
            embedded, spec(trust), trust.ports[1], trust.certs / "domain2-ca.pem")),
            reason="resumed_after_trust_change", evidence={"handshakes": [at_home]})
    assert words(lines) == refused_yet_resumed
    assert "alert unknown ca" in lines[1]
