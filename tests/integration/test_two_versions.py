"""A listener of TLS 1.2 and 1.3: what is said of it names what was tried."""
from __future__ import annotations

from pathlib import Path

from tests.support.embedded_cluster import TestCluster
from tests.support.ports import free_ports
from tests.support.whole_run import whole_run


def test_what_breaks_there_is_supported_versions_and_no_other_grease(
        certificate: tuple[Path, Path], tmp_path: Path) -> None:
    (port,) = free_ports(1)
    cluster = TestCluster(tmp_path, certificate, {"emqx1": port})
    cluster.render("emqx1", cluster.listener(port).replace('"tlsv1.2"', '"tlsv1.3", "tlsv1.2"'))
    with cluster.running():
        results = whole_run([port], certificate[0], tmp_path / "reports",
                            tls_versions=["tlsv1.2", "tlsv1.3"])
    (found,) = [row for row in results["checks"] if row["id"] == "NEG-12"]
    # As measured on OTP 25.2 with an ECDSA certificate, whatever signature algorithms are offered.
    told = [text.partition(" does not get through")[0] for text in found["message"].split("; ")]
    assert told[1:] == [
        "a ClientHello with supported_versions of GREASE and TLS 1.2",
        "a ClientHello with all that GREASE, in small records and segments at once,"]
    assert told[0].startswith("n1: a ClientHello in records of 3 bytes")
    node = results["budget"]["nodes"]["n1"]
    assert node["handshakes_announced"] == node["handshakes_done"]
