"""Scripts that get what tests need, with programs that only say what they do."""
from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.playbooks import ROOT

LISTS = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 4711 (apt-get)"
# Fails so often, and says why; then it works.
APT_GET = """#!/bin/bash
echo "$*" >>"$TOLD"
left=$(cat "$LEFT")
[ "$left" -gt 0 ] || exit 0
echo $((left - 1)) >"$LEFT"
echo "$WHY" >&2
exit 100
"""


@pytest.fixture
def install(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder with programs that only pretend, and the environment to use them in."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {"apt-get": APT_GET, "dpkg-query": "#!/bin/sh\nexit 1\n",
                       "sudo": '#!/bin/sh\nexec "$@"\n', "sleep": "#!/bin/sh\n"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return tmp_path, {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}",
                      "TOLD": str(tmp_path / "told"), "LEFT": str(tmp_path / "left")}


def debian_packages(install: tuple[Path, dict[str, str]], failures: int, why: str,
                    **more: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    folder, environment = install
    (folder / "left").write_text(str(failures))
    done = subprocess.run(
        [ROOT / "scripts/debian-packages", "some-package"], capture_output=True, text=True,
        check=False, timeout=60, env={**environment, "WHY": why, **more})
    return done, (folder / "told").read_text().splitlines()


def test_apt_is_waited_for_while_something_else_has_its_locks(
        install: tuple[Path, dict[str, str]]) -> None:
    done, told = debian_packages(install, 3, LISTS)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("Installing Debian packages: some-package ...\n"
                           "Something else is using apt; waiting for it for up to 120 s ...\n")
    assert [line.split()[4] for line in told] == ["update"] * 4 + ["install"]
    # dpkg's own lock apt waits for itself; a download that broke off it begins again.
    assert {line.partition(" update")[0].partition(" install")[0] for line in told} == {
        "-o DPkg::Lock::Timeout=120 -o Acquire::Retries=3"}


@pytest.mark.parametrize(("why", "more"), [
    ("E: Unable to locate package some-package", {}),
    # As if the two minutes were over.
    (LISTS, {"PATIENCE_S": "0"})])
def test_anything_else_and_too_long_a_wait_are_told_at_once(
        install: tuple[Path, dict[str, str]], why: str, more: dict[str, str]) -> None:
    done, told = debian_packages(install, 1, why, **more)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        why, ("The Debian packages could not be installed; once that is mended, run: apt-get "
              "install --yes --no-install-recommends some-package")]
    assert len(told) == 1


def test_a_step_says_what_it_was_and_how_long_it_took() -> None:
    done = subprocess.run([ROOT / "scripts/step", "a pause", "sh", "-c", "echo hidden; sleep 1"],
                          capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"ready in [1-9][0-9]* s: a pause\n", done.stdout)


def test_a_step_that_fails_shows_why() -> None:
    done = subprocess.run(
        [ROOT / "scripts/step", "a thing", "sh", "-c", "echo no such thing; exit 3"],
        capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("no such thing\nnot ready, after ")
    assert done.stderr.endswith(" s: a thing\n")


@pytest.mark.parametrize(("programs", "told"), [
    ({"id": "echo 1000"}, "only root can make a Debian in a folder: sudo make test-debian13"),
    ({"id": "echo 0", "unshare": "exit 1", "mmdebstrap": "exit 1"},
     "it takes namespaces of its own (unshare), and root may make none here: is this a container?"),
    ({"id": "echo 0", "setpriv": "echo E: Failed to fetch; exit 7", "unshare": "exit 0",
      "mmdebstrap": "exit 1"},
     "not ready, after 0 s: a bare Debian 13 (all of it is in {}/log; is the network there?)")])
def test_why_there_can_be_no_debian_13_is_one_sentence(
        tmp_path: Path, programs: dict[str, str], told: str) -> None:
    bin_, folder = tmp_path / "bin", tmp_path / "debian13"
    bin_.mkdir()
    for name, text in programs.items():
        (bin_ / name).write_text(f"#!/bin/sh\n{text}\n")
        (bin_ / name).chmod(0o755)
    done = subprocess.run(
        [ROOT / "scripts/test-debian13", "true"], capture_output=True, text=True, check=False,
        timeout=60, env={**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}",
                         "PACKAGES": "some-package", "FOLDER": str(folder)})
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"test-debian13: {told.format(folder)}"
    assert not (folder / "root").exists()
