"""An upgrade to an Erlang/OTP with another default, and the table of upgrades measured anew."""
from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import docker_engine
from tests.support.playbooks import ROOT, Cluster
from tests.support.ports import free_ports
from upgrade_table import page
from upgrade_table.__main__ import measured

pytestmark = [
    pytest.mark.beyond_gate("it needs an image of Erlang/OTP 29, which takes a minute to build"),
    pytest.mark.skipif(bool(docker_engine.why_not()), reason=docker_engine.why_not() or "none")]
NAME = "test-upgrade"


def test_listeners_with_client_certificates_stop_resuming_on_another_erlang(
        tmp_path: Path) -> None:
    ports = free_ports(4)
    cluster = Cluster(NAME, ports, ROOT / "inventory/upgrade", tmp_path / "reports")
    given = ("-e", f"emqx_base_port={ports[0]}", "-e", f"emqx_cluster_name={NAME}",
             "-e", f"emqx_certs_dir={tmp_path / 'certs'}", "-e", "emqx_driver=docker",
             "-e", f"emqx_image={docker_engine.local_image(25)}",
             "-e", f"emqx_next_image={docker_engine.local_image(29)}")
    try:
        done = cluster.play("upgrade.yml", *given)
    finally:
        gone = cluster.play("playbooks/destroy.yml", *given)
    assert gone.code == 0, gone.output
    assert done.code == 2, done.output
    _, _, said = done.flat.partition("What the upgrade changes, as was measured:")
    assert ("WORSE ssl.plant of emqx1 (reuse_sessions = true, verify_peer): resumes today (EMQX "
            "5.8.9, Erlang/OTP 25) and will not after the upgrade (EMQX 5.10.2, Erlang/OTP 29): "
            "EMQX 5.10.2 leaves true out") in said
    assert "WORSE ssl.fresh of emqx1 (reuse_sessions = false): resumes nobody today" in said
    # Nobody resumes there any more, and nothing gets around certificates.
    assert "SAME ssl.vendors of emqx1 (reuse_sessions = false, verify_peer)" in said
    assert "client certificates of emqx1" not in said


def test_the_table_is_measured_again_as_it_was() -> None:
    docker_engine.local_image(29)
    again = measured(("29",), free_ports(10)[0], "test-upgrade-table", ("5.10.2",))
    before = [row for row in page.measured()["listeners"]
              if row["otp"].startswith("29.") and row["release"] == "5.10.2"]

    def seen(rows: list[dict[str, object]]) -> list[tuple[object, ...]]:
        return [(row["listener"], row["reuse_sessions"], row["resumes"]) for row in rows]

    assert seen(again["listeners"]) == seen(before)
