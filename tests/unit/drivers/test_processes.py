"""Processes are recognised without doubt, or not at all."""
from __future__ import annotations

import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.drivers import ports
from ansible_collections.emqx.conformance.plugins.module_utils.drivers.processes import (
    Process,
    working_under,
)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(["sleep", "60"])
    yield child
    child.kill()
    child.wait()


def test_a_process_is_itself(sleeper: subprocess.Popen[bytes]) -> None:
    process = Process.of(sleeper.pid)
    assert process is not None
    assert process.state() == "running"
    assert Process.from_dict(process.as_dict()) == process


def test_a_recycled_pid_is_somebody_else_and_never_signalled(
        sleeper: subprocess.Popen[bytes]) -> None:
    now = Process.of(sleeper.pid)
    assert now is not None
    before = replace(now, born=now.born + "1")
    assert before.state() == "gone"
    assert before.signal(signal.SIGKILL) is False
    time.sleep(0.05)
    assert sleeper.poll() is None


def test_processor_time_of_all_threads(sleeper: subprocess.Popen[bytes]) -> None:
    """Two threads that compute outside of Python's lock, for as long as they say themselves."""
    work = ("import hashlib, sys, threading, time\n"
            "def one():\n"
            "    while time.process_time() < 0.4: hashlib.pbkdf2_hmac('sha256', b'', b'', 2000)\n"
            "threads = [threading.Thread(target=one) for _ in range(2)]\n"
            "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
            "print(time.process_time(), flush=True); sys.stdin.read()")
    with subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as busy:
        assert busy.stdout is not None
        told = float(busy.stdout.readline())
        process, idle = Process.of(busy.pid), Process.of(sleeper.pid)
        assert process is not None
        assert idle is not None
        used = process.cpu_s()
        assert used is not None
        assert told <= used < 2 * told
        assert (idle.cpu_s() or 0.0) < used
        assert replace(process, born=process.born + "1").cpu_s() is None
        busy.communicate()
    assert process.cpu_s() is None


def test_pause_resume_kill(sleeper: subprocess.Popen[bytes]) -> None:
    process = Process.of(sleeper.pid)
    assert process is not None
    for number, state in ((signal.SIGSTOP, "paused"), (signal.SIGCONT, "running")):
        assert process.signal(number)
        end = time.monotonic() + 2
        while process.state() != state and time.monotonic() < end:
            time.sleep(0.005)
        assert process.state() == state
    assert process.wait_gone(0.05) is False
    assert process.signal(signal.SIGKILL)
    assert process.wait_gone(2.0)
    assert process.signal(signal.SIGKILL) is False


def test_a_zombie_is_gone() -> None:
    child = subprocess.Popen(["true"])
    process = Process.of(child.pid)
    assert process is not None
    end = time.monotonic() + 5
    while process.state() != "gone" and time.monotonic() < end:
        time.sleep(0.005)
    assert process.state() == "gone"
    child.wait()


def test_a_process_whose_first_thread_is_a_zombie_is_ending() -> None:
    """Its other threads still hold its sockets, as those of a killed node do for a while."""
    exit_of_one_thread = 60 if platform.machine() == "x86_64" else 93
    script = ("import ctypes, socket, sys, threading; s = socket.create_server(('127.0.0.1', 0)); "
              "threading.Thread(target=sys.stdin.read).start(); "
              "print(s.getsockname()[1], flush=True); "
              f"ctypes.CDLL(None).syscall({exit_of_one_thread}, 0)")
    child = subprocess.Popen([sys.executable, "-c", script],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    port = int(child.stdout.readline())
    process = Process.of(child.pid)
    assert process is not None
    end = time.monotonic() + 5
    while process.state() == "running" and time.monotonic() < end:
        time.sleep(0.005)
    try:
        assert process.state() == "ending"
        assert process.wait_gone(0.1) is False
        assert not ports.is_free("127.0.0.1", port)
    finally:
        child.kill()
    assert process.wait_gone(5.0)
    assert ports.is_free("127.0.0.1", port)


def test_a_killed_process_is_running_no_more(sleeper: subprocess.Popen[bytes]) -> None:
    process = Process.of(sleeper.pid)
    assert process is not None
    for _ in range(20):
        sleeper.kill()
        assert process.state() in ("ending", "gone")


def test_nobody_has_this_pid() -> None:
    assert Process.of(2**22 + 1) is None


@pytest.mark.parametrize("data", [None, [], {}, {"pid": "1"}, "x"])
def test_what_is_no_record(data: object) -> None:
    assert Process.from_dict(data) is None


def test_description(sleeper: subprocess.Popen[bytes]) -> None:
    process = Process.of(sleeper.pid)
    assert process is not None
    assert process.describe() == f"pid {sleeper.pid} (sleep), working in {Path.cwd()}"


def test_other_programs_in_our_folder_are_not_ours(tmp_path: Path) -> None:
    child = subprocess.Popen(["sleep", "60"], cwd=tmp_path)
    try:
        assert working_under(tmp_path) == []
    finally:
        child.kill()
        child.wait()
