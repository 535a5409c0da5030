"""How a module that must finish something hears that it should stop."""
from __future__ import annotations

import os
import select
import signal
import sys
import threading


def stop_when_asked(*, hung_up: bool = False) -> threading.Event:
    """Return an event that a signal, or the end of whoever started this process, sets.

    ansible-playbook ends at once on Ctrl-C and leaves its modules behind; a module that only
    listened to signals might never hear of it. Handlers only set the event, so nothing is ever
    interrupted between doing something and writing it down.

    With ``hung_up`` it is also set when nobody listens to the standard output any more: that is
    all that a module hears, on another host, of the end of its connection.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    parent = os.getppid()
    listener = select.poll()
    if hung_up:
        listener.register(sys.stdout.fileno(), 0)

    def watch() -> None:
        while not stop.wait(0.25):
            if os.getppid() != parent or listener.poll(0):
                stop.set()

    threading.Thread(target=watch, daemon=True).start()
    return stop
