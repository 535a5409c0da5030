"""Commands on a terminal of their own, on which Ctrl-C can be pressed."""
from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

CTRL_C = b"\x03"


class Terminal:
    """A command in a session of its own, with a controlling terminal that nobody reads."""

    def __init__(self, command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> None:
        self._ours, its = pty.openpty()
        # Not pty.fork: a test's process has threads, whose locks a fork would take along.
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *command], cwd=cwd, env=dict(environment), stdin=its, stdout=its,
            stderr=its)
        os.close(its)

    def press(self, key: bytes) -> None:
        """Type something."""
        os.write(self._ours, key)

    def end(self) -> int:
        """Wait until the command has ended; return its exit code."""
        code = self._process.wait()
        os.close(self._ours)
        return code
