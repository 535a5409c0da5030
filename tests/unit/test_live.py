"""Lines of progress, and what a signal may not interrupt."""
from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from typing import Any
from unittest import mock

import pytest
from ansible_collections.emqx.conformance.plugins.plugin_utils import live

FORK = multiprocessing.get_context("fork")


def worker(queue_lock: Any, on_its_way: Any) -> None:
    """Be a worker of Ansible: show time pass through a queue with a lock, and die of a signal."""
    def die(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def display(_line: str) -> None:
        with queue_lock:
            on_its_way.set()
            time.sleep(0.5)

    signal.signal(signal.SIGTERM, die)
    with mock.patch.object(live, "Display", return_value=mock.Mock(display=display)), \
            mock.patch.object(live, "FIRST_S", 0.0), live.telling_time("It goes on"):
        time.sleep(30)


# Ansible forks its workers, whatever threads there are; Python 3.12 and later warn of it.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_worker_that_a_signal_ends_leaves_the_queue_to_the_others() -> None:
    queue_lock, on_its_way = FORK.Lock(), FORK.Event()
    child = FORK.Process(target=worker, args=(queue_lock, on_its_way))
    child.start()
    assert on_its_way.wait(10)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGTERM)
    child.join(10)
    assert child.exitcode == -signal.SIGTERM
    assert queue_lock.acquire(timeout=1), "it died with the lock: ansible-playbook would hang"


@pytest.mark.parametrize("usual", [lambda *_: None, signal.SIG_DFL, signal.SIG_IGN])
def test_afterwards_signals_are_as_before(monkeypatch: pytest.MonkeyPatch, usual: Any) -> None:
    monkeypatch.setattr(live, "_SIGNALS", (signal.SIGUSR1,))
    before = signal.signal(signal.SIGUSR1, usual)
    try:
        with live.ending_in_order():
            # What Ansible does nothing at, is left to the system.
            assert (signal.getsignal(signal.SIGUSR1) != usual) == (
                usual not in (signal.SIG_DFL, signal.SIG_IGN))
        assert signal.getsignal(signal.SIGUSR1) == usual
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_waits_until_a_line_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def display(line: str) -> None:
        # To this thread: a test's process has others, which do not block it. A worker has none.
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        seen.append(line)

    monkeypatch.setattr(live, "_SIGNALS", (signal.SIGUSR1,))
    monkeypatch.setattr(live, "Display", lambda: mock.Mock(display=display))
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append("signal"))
    try:
        live.show("line")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == ["line", "signal"]
