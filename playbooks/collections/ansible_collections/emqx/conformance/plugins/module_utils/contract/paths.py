"""Files that variables name."""
from __future__ import annotations

from pathlib import Path


def unreadable(path: str) -> str | None:
    """Return a file that cannot be read, in words behind "names"; None if it can."""
    try:
        with Path(path).open("rb"):
            return None
    except FileNotFoundError:
        return f"the file {path}, which does not exist"
    except OSError as error:
        return f"{path}, which cannot be read: {error.strerror}"
