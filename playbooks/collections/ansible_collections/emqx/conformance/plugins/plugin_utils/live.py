"""Runs a module and shows its progress while it takes longer than two seconds."""
from __future__ import annotations

import contextlib
import json
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.emqx.conformance.plugins.module_utils.progress import sentence
from ansible_collections.emqx.conformance.plugins.plugin_utils import at_hand

FIRST_S, THEN_S = 2.0, 3.0
"""Seconds until the first line of progress, and between the following ones."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE_S = 5.0
_showing = threading.Lock()


def show(line: str) -> None:
    """Show a line.

    It goes to Ansible's main process through a queue that all workers lock. A worker that dies with
    the lock leaves it locked, and ansible-playbook then waits for it without end: so nothing that
    ends this process comes between (:func:`ending_in_order`).
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        with _showing:
            Display().display(line)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Let Ansible's worker die of a signal only when no other thread of it shows a line."""
    usual = {number: handler for number in _SIGNALS
             if callable(handler := signal.getsignal(number))}

    def end(number: int, frame: FrameType | None) -> None:
        # Never let go again: from here on nothing is shown.
        _showing.acquire(timeout=_PATIENCE_S)
        usual[signal.Signals(number)](number, frame)

    for number in usual:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def run_module(action: ActionBase, module_name: str, arguments: dict[str, Any],
               task_vars: dict[str, Any] | None) -> dict[str, Any]:
    """Return the module's result; it is given ``progress_file`` beside its arguments."""
    path = Path(constants.DEFAULT_LOCAL_TMP) / f"progress-{secrets.token_hex(8)}"
    # A module's payload is unpacked where Python keeps temporary files: not outside the checkout.
    # A host without this folder falls back to its own.
    task = action._task
    task.environment = [*(task.environment or ()), {"TMPDIR": constants.DEFAULT_LOCAL_TMP}]
    told = {**arguments, "progress_file": str(path)}
    try:
        with _beside(lambda done: _watch(path, done)):
            return at_hand.run(action, module_name, told, task_vars)
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _beside(watch: Callable[[threading.Event], None]) -> Iterator[None]:
    """Let something watch in a thread of its own, until it is told to end."""
    done = threading.Event()
    watcher = threading.Thread(target=watch, args=(done,), daemon=True)
    with ending_in_order():
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join(1.0)


def telling_time(what: str) -> contextlib.AbstractContextManager[None]:
    """Say every few seconds that something is going on whose progress cannot be seen from here."""
    return _beside(lambda done: _tell_time(what, done))


def _tell_time(what: str, done: threading.Event) -> None:
    _leave_signals_alone()
    begun = time.monotonic()
    wait = FIRST_S
    while not done.wait(wait):
        wait = THEN_S
        show(f"  {what} ({time.monotonic() - begun:.0f} s)")


def _leave_signals_alone() -> None:
    # Ansible's worker hands Ctrl-C on to its module in a handler that only its first thread can
    # run; a signal that this thread took would not even wake it.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


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
        show(f"  {sentence(progress)} ({time.monotonic() - begun:.0f} s)")
