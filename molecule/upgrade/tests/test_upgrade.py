"""An upgrade that turns resumption on where it was off: foretold, measured, and seen by OpenSSL."""
from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

import outside
import pytest

PORTS = outside.ports("default", "fresh")
NO_NEXT = ("emqx_next_release is missing: name the EMQX release that you upgrade to, as "
           "inventory/upgrade does, or with -e emqx_next_release=5.10.3.")


@dataclass(frozen=True)
class Done:
    """A finished upgrade.yml, and what OpenSSL saw of two listeners before and after."""

    code: int
    said: str
    before: dict[str, list[str]]
    after: dict[str, list[str]]


def _seen() -> dict[str, list[str]]:
    return {name: outside.openssl_reconnects("127.0.0.1", port) for name, port in PORTS.items()}


def _upgrade(*extra: str) -> Done:
    before = _seen()
    done = subprocess.run(
        ["ansible-playbook", "-i", str(outside.INVENTORY), "upgrade.yml",
         "-e", f"resumption_reports_dir={outside.REPORTS}", *extra],
        cwd=outside.ROOT, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "ANSIBLE_CONFIG": str(outside.ROOT / "ansible.cfg"), "NO_COLOR": "1"})
    return Done(done.returncode, outside.flat(done.stdout + done.stderr), before, _seen())


@pytest.fixture(scope="module")
def pretended() -> Done:
    """What it says that it would do, on the node as it was deployed."""
    return _upgrade("--check")


@pytest.fixture(scope="module")
def done(pretended: Done) -> Done:
    """The upgrade."""
    assert pretended.code == 0
    return _upgrade()


def test_a_check_foretells_and_changes_nothing(pretended: Done) -> None:
    assert pretended.code == 0, pretended.said
    assert pretended.before == pretended.after == {
        "default": ["New", *["Reused"] * 5], "fresh": ["New"] * 6}
    assert "What the upgrade will change, as far as is known before it is tried:" in pretended.said
    assert "Upgrade from EMQX 5.8.9 to 5.10.2: 2 for the worse, 0 for the better" in pretended.said
    for release in ("5.8.9", "5.10.2"):
        assert f"Would ask each listener as EMQX {release}" in pretended.said
    assert "as was measured" not in pretended.said


def test_what_gets_worse_is_said_and_fails(done: Done) -> None:
    assert done.code == 2, done.said
    _, _, measured = done.said.partition("What the upgrade changes, as was measured:")
    assert "WORSE ssl.fresh of emqx1 (reuse_sessions = false): resumes nobody today" in measured
    assert ("EMQX 5.10.2 ignores false (emqx/emqx#16456), which counts again from 5.10.3 on: "
            "upgrade to that") in measured
    assert "WORSE ssl.vendors of emqx1 (reuse_sessions = false, verify_peer)" in measured
    assert ("WORSE client certificates of emqx1: no session gets around them today, and after the "
            "upgrade (SEC-01) emqx1 resumed sessions across plant->vendors") in measured
    assert "SAME ssl.default of emqx1 (reuse_sessions = true): resumes today" in measured
    assert "SAME ssl.plant of emqx1 (reuse_sessions = true, verify_peer)" in measured
    assert "Upgrade from EMQX 5.8.9 to 5.10.2: 3 for the worse, 0 for the better, 2 stay" \
        in measured


def test_openssl_agrees(done: Done) -> None:
    assert done.before == {"default": ["New", *["Reused"] * 5], "fresh": ["New"] * 6}
    assert done.after == {name: ["New", *["Reused"] * 5] for name in PORTS}


def test_without_a_next_release_it_says_what_to_set() -> None:
    nowhere = _upgrade("-e", "emqx_next_release=")
    assert nowhere.code == 2
    assert NO_NEXT in nowhere.said
