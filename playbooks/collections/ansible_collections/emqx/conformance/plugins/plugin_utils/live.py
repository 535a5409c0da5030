"""Runs a module and shows its progress while it takes longer than two seconds."""
from __future__ import annotations

import contextlib
import json
import secrets
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.module_utils.common.json import Direction, get_module_encoder
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible.vars.clean import remove_internal_keys
from ansible_collections.emqx.conformance.plugins.module_utils.progress import sentence

COLLECTIONS = Path(__file__).parents[5]
FIRST_S, THEN_S = 2.0, 3.0
"""Seconds until the first line of progress, and between the following ones."""


def run_module(action: ActionBase, module_name: str, arguments: dict[str, Any],
               task_vars: dict[str, Any] | None) -> dict[str, Any]:
    """Return the module's result; it is given ``progress_file`` beside its arguments."""
    path = Path(constants.DEFAULT_LOCAL_TMP) / f"progress-{secrets.token_hex(8)}"
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(path, done), daemon=True)
    watcher.start()
    # A module's payload is unpacked where Python keeps temporary files: not outside the checkout.
    # A host without this folder falls back to its own.
    task = action._task
    task.environment = [*(task.environment or ()), {"TMPDIR": constants.DEFAULT_LOCAL_TMP}]
    told = {**arguments, "progress_file": str(path)}
    try:
        result: dict[str, Any]
        if _is_at_hand(action, task_vars or {}):
            result = _run_at_hand(action, module_name, told, task_vars)
        else:
            result = action._execute_module(
                module_name=module_name, module_args=told, task_vars=task_vars)
    finally:
        done.set()
        watcher.join(1.0)
        path.unlink(missing_ok=True)
    return result


def _is_at_hand(action: ActionBase, task_vars: dict[str, Any]) -> bool:
    """Tell whether the module is to run on this host, as this user, by this very Python."""
    if action._connection.transport != "local" or action._connection.become:
        return False
    delegated = task_vars.get("ansible_delegated_vars", {})
    variables = delegated.get(action._task.delegate_to, task_vars)
    python = variables.get("ansible_python_interpreter", sys.executable)
    return bool(action._templar.template(python) == sys.executable)


def _run_at_hand(action: ActionBase, module_name: str, arguments: dict[str, Any],
                 task_vars: dict[str, Any] | None) -> dict[str, Any]:
    """Run the module from where it lies, as Ansible documents for trying one out.

    To pack the whole library for the way to another host, and to compile it out of the archive at
    the other end, takes longer than to verify three nodes; from here Python has it compiled.
    """
    action._update_module_args(module_name, arguments, task_vars)
    encoder = get_module_encoder("legacy", Direction.CONTROLLER_TO_MODULE)
    namespace, collection, name = module_name.split(".")
    command = (f"{action._compute_environment_string()} "
               f"PYTHONPATH={shlex.quote(str(COLLECTIONS))}${{PYTHONPATH:+:$PYTHONPATH}} "
               f"{shlex.quote(sys.executable)} -m "
               f"ansible_collections.{namespace}.{collection}.plugins.modules.{name}")
    done = action._low_level_execute_command(
        command, in_data=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}, cls=encoder).encode())
    result: dict[str, Any] = action._parse_returned_data(done, "legacy")
    remove_internal_keys(result)
    return result


@contextlib.contextmanager
def telling_time(what: str) -> Iterator[None]:
    """Say every few seconds that something is going on whose progress cannot be seen from here."""
    done = threading.Event()
    watcher = threading.Thread(target=_tell_time, args=(what, done), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join(1.0)


def _tell_time(what: str, done: threading.Event) -> None:
    _leave_signals_alone()
    begun = time.monotonic()
    wait = FIRST_S
    while not done.wait(wait):
        wait = THEN_S
        Display().display(f"  {what} ({time.monotonic() - begun:.0f} s)")


def _leave_signals_alone() -> None:
    # Ansible's worker hands Ctrl-C on to its module in a handler that only its first thread can
    # run; a signal that this thread took would not even wake it.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))


def _watch(path: Path, done: threading.Event) -> None:
    _leave_signals_alone()
    begun = time.monotonic()
    wait = FIRST_S
    while not done.wait(wait):
        wait = THEN_S
        try:
            progress = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        Display().display(f"  {sentence(progress)} ({time.monotonic() - begun:.0f} s)")
