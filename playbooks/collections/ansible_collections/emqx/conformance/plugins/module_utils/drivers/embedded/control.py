"""The embedded node's control socket."""
from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

_LONGEST_ANSWER = 256 * 1024


class ControlError(Exception):
    """The node does not answer."""


def ask(run_dir: Path, command: str, timeout_s: float = 2.0) -> str:
    """Send one command and return the answer, one line.

    Raises:
        ControlError: there is no node, or no answer in time.
    """
    try:
        # A Unix socket's path has at most 107 bytes and a checkout's may be longer.
        folder = os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ControlError(str(error.strerror)) from None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
            caller.settimeout(timeout_s)
            caller.connect(f"/proc/self/fd/{folder}/control.sock")
            caller.sendall(command.encode() + b"\n")
            answer = bytearray()
            while not answer.endswith(b"\n"):
                data = caller.recv(65536)
                if not data or len(answer) > _LONGEST_ANSWER:
                    raise ControlError("the answer broke off")
                answer += data
    except OSError as error:
        raise ControlError(str(error.strerror or error)) from None
    finally:
        os.close(folder)
    return answer.decode("utf-8", "replace").strip()


def status(run_dir: Path) -> dict[str, Any]:
    """Return the node's own account of itself.

    Raises:
        ControlError: no answer, or not the expected one.
    """
    try:
        answer = json.loads(ask(run_dir, "status"))
    except ValueError as error:
        raise ControlError(f"the answer is not JSON: {error}") from None
    if not isinstance(answer, dict):
        raise ControlError("the answer is not an object")
    return answer
