"""Runs a module and shows its progress while it takes longer than two seconds."""
from __future__ import annotations

import json
import secrets
import signal
import threading
import time
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.emqx.conformance.plugins.module_utils.progress import sentence

FIRST_S, THEN_S = 2.0, 3.0
"""Seconds until the first line of progress, and between the following ones."""


def run_module(action: ActionBase, module_name: str, arguments: dict[str, Any],
               task_vars: dict[str, Any] | None) -> dict[str, Any]:
    """Return the module's result; it is given ``progress_file`` beside its arguments."""
    path = Path(constants.DEFAULT_LOCAL_TMP) / f"progress-{secrets.token_hex(8)}"
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(path, done), daemon=True)
    watcher.start()
    try:
        result: dict[str, Any] = action._execute_module(
            module_name=module_name, module_args={**arguments, "progress_file": str(path)},
            task_vars=task_vars)
    finally:
        done.set()
        watcher.join(1.0)
        path.unlink(missing_ok=True)
    return result


def _watch(path: Path, done: threading.Event) -> None:
    # Ansible's worker hands Ctrl-C on to its module in a handler that only its first thread can
    # run; a signal that this thread took would not even wake it.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    begun = time.monotonic()
    wait = FIRST_S
    while not done.wait(wait):
        wait = THEN_S
        try:
            progress = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        Display().display(f"  {sentence(progress)} ({time.monotonic() - begun:.0f} s)")
