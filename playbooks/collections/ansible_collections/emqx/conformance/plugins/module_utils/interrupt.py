"""How a module that must finish something hears that it should stop."""
from __future__ import annotations

import os
import signal
import threading


def stop_when_asked() -> threading.Event:
    """Return an event that a signal, or the end of whoever started this process, sets.

    ansible-playbook ends at once on Ctrl-C and leaves its modules behind; a module that only
    listened to signals might never hear of it. Handlers only set the event, so nothing is ever
    interrupted between doing something and writing it down.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    parent = os.getppid()

    def watch() -> None:
        while not stop.wait(0.25):
            if os.getppid() != parent:
                stop.set()

    threading.Thread(target=watch, daemon=True).start()
    return stop
