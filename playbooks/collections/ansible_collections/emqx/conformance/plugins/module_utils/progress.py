"""How a module tells how far it is: a small file that its action plugin looks at.

A module cannot speak while it runs; the action plugin beside it on the controller can.
"""
from __future__ import annotations

import contextlib
import json
import threading
import time
from pathlib import Path
from typing import Any

_EVERY_S = 0.25


class ProgressFile:
    """Written by the module; a missing path means that nobody wants to know."""

    def __init__(self, path: str | None, total: int, what: str) -> None:
        """``what`` is the plural of what is counted: ``handshakes``, ``nodes``."""
        self._path = Path(path) if path else None
        self._total, self._what = total, what
        self._begun = time.monotonic()
        self._written = 0.0
        self._done, self._waiting = 0, ""
        self._lock = threading.Lock()

    def update(self, done: int, *, total: int | None = None) -> None:
        """Say how many are done, of a total that may have grown. Cheap enough for every one."""
        with self._lock:
            self._done = done
            self._total = self._total if total is None else total
            if time.monotonic() - self._written >= _EVERY_S:
                self._write()

    def wait_for(self, what: str) -> None:
        """Say what takes its time now, in one clause; empty when nothing does."""
        with self._lock:
            self._waiting = what
            self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        self._written = time.monotonic()
        # Progress is a courtesy: a run must not fail for the want of it.
        with contextlib.suppress(OSError):
            temporary = self._path.with_name(f"{self._path.name}.new")
            temporary.write_text(json.dumps(
                {"done": self._done, "total": self._total, "what": self._what,
                 "waiting": self._waiting, "elapsed_s": round(self._written - self._begun, 3)}))
            temporary.replace(self._path)


def sentence(progress: dict[str, Any]) -> str:
    """Return ``612 of 5700 handshakes, 298/s, about 17 s left``.

    While something else takes its time, that is named instead of a rate.
    """
    done, total, elapsed = progress["done"], progress["total"], progress["elapsed_s"]
    text = f"{done} of {total} {progress['what']}"
    if progress.get("waiting"):
        return f"{text}; {progress['waiting']}"
    rate = done / elapsed if elapsed > 0 else 0.0
    if rate <= 0:
        return text
    shown = f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s"
    left = max(0.0, total - done) / rate
    return f"{text}, {shown}, about {left:.0f} s left"
