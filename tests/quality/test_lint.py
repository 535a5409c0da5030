"""The linters are tests: one command runs them all, one count closes the run."""
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHELL_SCRIPTS = [str(path.relative_to(ROOT)) for path in sorted(
    [*ROOT.glob("*.sh"), *(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run"])]


@pytest.mark.parametrize("command", [
    ["ruff", "check", "--no-cache", "."],
    ["mypy"],
    ["yamllint", "--strict", "."],
    ["ansible-lint", "--offline", "-q"],
    ["shellcheck", *SHELL_SCRIPTS],
], ids=lambda command: str(command[0]))
def test_lint(command: list[str]) -> None:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
        env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
