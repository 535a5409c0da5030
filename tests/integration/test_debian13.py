"""What README promises of Debian 12 or newer, on a bare Debian 13."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.playbooks import ROOT

CHOICE = (
    "make verify",
    # What rests on Python's and OpenSSL's own ways with sessions, alerts and records.
    ("pytest -q --gate -n 2 tests/unit/tls tests/unit/checks/test_core_mqtt.py "
     "tests/unit/checks/test_trust.py"),
    "pytest -q --gate tests/integration/test_faulty_servers.py -k 'library or alert or clean_o'")
FOLDER = Path(os.environ.get("FOLDER", ROOT / ".cache/debian13"))
"""scripts/test-debian13's. Where there is none yet, making it takes longer than all the rest."""
LIMIT_S = 3000


def _why_not() -> str:
    """Return what is missing for a Debian in a folder; empty when nothing is."""
    if os.getuid():
        return "only root can make a Debian in a folder"
    if shutil.which("mmdebstrap") is None:
        return "mmdebstrap is not installed"
    apart = subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "true"],
                           capture_output=True, check=False, timeout=60)
    return "" if apart.returncode == 0 else "root may make no namespaces here"


@pytest.mark.timeout(LIMIT_S + 60)
@pytest.mark.beyond_gate("to make a Debian 13 and its environment takes minutes of both processors")
def test_a_bare_debian_13_verifies_and_its_own_tests_pass() -> None:
    if why := _why_not():
        pytest.skip(why)
    packages = subprocess.run(["make", "-n", "test-debian13"], cwd=ROOT, capture_output=True,
                              text=True, check=True, timeout=60).stdout
    assert 'PACKAGES="' in packages
    done = subprocess.run(
        [ROOT / "scripts/test-debian13", *CHOICE], capture_output=True, text=True, check=False,
        timeout=LIMIT_S,
        env={**os.environ, "PACKAGES": packages.split('"')[1], "FOLDER": str(FOLDER)})
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "Debian GNU/Linux 13 (trixie), Python 3.13" in done.stdout
    assert "Verdict   PASSED: 9 of 9 pairs as expected" in done.stdout
    assert "All green on Debian 13, in " in done.stdout
    with open("/proc/mounts") as mounts:  # noqa: PTH123 - a file of the kernel's
        assert str(FOLDER) not in mounts.read()
