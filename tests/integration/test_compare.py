"""A run tells what changed since an earlier one, and begins only if it can."""
from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.support.playbooks import ROOT, WITHOUT_FIGURES, Cluster

SAFE = ("-e", "resumption_max_impact=safe")


def reports(cluster: Cluster) -> set[Path]:
    return {path for path in cluster.reports.iterdir() if not path.is_symlink()}


def test_the_latest_run_is_the_one_before(cluster: Cluster) -> None:
    before = cluster.play("verify.yml", *SAFE)
    assert before.code == 0, before.output
    assert "hanged since" not in before.output
    assert "comparison" not in cluster.results()
    [first] = reports(cluster)
    after = cluster.play("verify.yml", *SAFE, "-e", f"resumption_compare={cluster.reports}/latest")
    assert after.code == 0, after.output
    [second] = reports(cluster) - {first}
    comparison = cluster.results()["comparison"]
    assert (cluster.reports / "latest").resolve() == second
    assert comparison["with"] == str(first)
    assert comparison["changes"] == []
    assert f"Nothing changed since {first} (passed," in after.flat

    # Other checks than before: that is a change, and no failure.
    more = cluster.play("verify.yml", "-e", f"resumption_compare={first}/results.json",
                        *WITHOUT_FIGURES)
    assert more.code == 0, more.output
    assert f"Changed since {first} (passed," in more.flat
    kinds = {change["kind"] for change in cluster.results()["comparison"]["changes"]}
    assert kinds == {"other"}
    assert re.search(r"check CORE-07, .*: skipped \(impact_not_allowed\) -> passed", more.flat)


def test_what_cannot_be_compared_with_is_refused_before_anything_is_deployed(
        cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"schema_version": "7.0"}')
    known = reports(cluster)
    for path, says in ((tmp_path / "nowhere", "nowhere does not exist: name the folder of an"),
                       (tmp_path, "was written by a newer version of this project")):
        done = cluster.play("playbooks/site.yml", "-e", f"resumption_compare={path}")
        assert done.code != 0
        assert f"resumption_compare (given with -e): {path}" in done.flat
        assert says in done.flat
        assert "TASK [emqx_cluster" not in done.output
    assert reports(cluster) == known


def test_make_hands_the_path_over_with_its_blanks() -> None:
    for target in ("verify", "check"):
        said = subprocess.run(
            ["make", "-n", target, "COMPARE=my reports/latest", "INVENTORY=inventory/staging"],
            cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert """-e '{"resumption_compare": "my reports/latest"}'""" in said
        said = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True,
                              check=True).stdout
        assert "resumption_compare" not in said
