"""Starting programs that outlive us."""
from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ..base import DriverError
from ..processes import Process


def detached(command: list[str], *, folder: Path, output: Path,
             extra_environment: Mapping[str, str]) -> Process:
    """Start a program in a session of its own, so that Ctrl-C does not reach it.

    It gets none of our environment but PATH: an ERL_FLAGS somewhere must not change what is
    verified.

    Raises:
        DriverError: it could not be started at all.
    """
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8",
                   **extra_environment}
    try:
        with output.open("ab") as log:
            child = subprocess.Popen(  # noqa: S603 - no shell, our own arguments
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True)
    except OSError as error:
        raise DriverError(f"{command[0]} could not be started: {error.strerror}") from None
    process = Process.of(child.pid)
    # It is meant to live on: no complaint when this object goes before it.
    child.returncode = 0
    if process is None:
        raise DriverError(f"{command[0]} ended at once")
    return process
