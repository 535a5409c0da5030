"""One change of a cluster at a time."""
from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from .base import DriverError


@contextlib.contextmanager
def exclusive(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of this folder, which is made if need be.

    Raises:
        DriverError: somebody else holds it.
    """
    path = folder / ".lock"
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue
        try:
            _take(descriptor, what)
            # Destroying a cluster deletes the file: what we hold must be what others find.
            if _same_file(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
                try:
                    yield
                finally:
                    _leave_nothing_empty(path)
                return
        finally:
            os.close(descriptor)


def _take(descriptor: int, what: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace")
        by = f" by pid {holder}" if holder else ""
        raise DriverError(f"{what} is being deployed or destroyed right now{by}; "
                          "try again when that is done") from None


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _leave_nothing_empty(path: Path) -> None:
    """Remove a folder that holds nothing but the lock: nothing was deployed in it."""
    with contextlib.suppress(OSError):
        if [entry.name for entry in path.parent.iterdir()] == [path.name]:
            path.unlink()
            path.parent.rmdir()
