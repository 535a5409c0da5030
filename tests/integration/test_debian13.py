"""What README promises of Debian 12 or newer, on a bare Debian 13."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.playbooks import ROOT

SCRIPT = ROOT / "scripts/test-debian13"
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


def _tried(*commands: str) -> str:
    """Run commands in there with what nodes and checks need, and return what was printed."""
    if why := _why_not():
        pytest.skip(why)
    packages = subprocess.run(
        ["make", "-s", "--eval", "told: ; @echo $(NODE_PACKAGES) iproute2 openssl procps", "told"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    assert "erlang-ssl" in packages
    done = subprocess.run([SCRIPT, *commands], capture_output=True, text=True, check=False,
                          timeout=LIMIT_S,
                          env={**os.environ, "PACKAGES": packages, "FOLDER": str(FOLDER)})
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "Debian GNU/Linux 13 (trixie), Python 3.13" in done.stdout
    assert "All green on Debian 13, in " in done.stdout
    with open("/proc/mounts") as mounts:  # noqa: PTH123 - a file of the kernel's
        assert str(FOLDER) not in mounts.read()
    return done.stdout


@pytest.mark.timeout(LIMIT_S + 60)
def test_a_bare_debian_13_verifies_and_the_checks_pass_their_tests() -> None:
    told = _tried("make verify", "pytest -q --gate -n 4 tests/unit/tls tests/unit/checks")
    assert "Verdict   PASSED: 9 of 9 pairs as expected" in told


@pytest.mark.timeout(LIMIT_S + 60)
@pytest.mark.alone
def test_servers_that_send_alerts_are_told_of_on_debian_13() -> None:
    """By OpenSSL 3.5 a session that a fatal alert has answered is not offered again."""
    told = _tried("pytest -q --gate tests/integration/test_faulty_servers.py "
                  "-k 'library or alert or clean_o'")
    assert " passed, " in told
