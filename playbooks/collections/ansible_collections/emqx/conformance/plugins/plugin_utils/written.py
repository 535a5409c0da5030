"""Files and directories as they should be, changed only where they are not."""
from __future__ import annotations

from pathlib import Path

from ansible_collections.emqx.conformance.plugins.module_utils.drivers.layout import replace_file

_DIRECTORY, _FILE = 0o755, 0o644


def directory_made(path: Path, *, pretend: bool) -> bool:
    """Have a directory with its parents, and return whether that changes anything.

    Raises:
        OSError: it cannot be made.
    """
    if path.is_dir() and _mode(path) == _DIRECTORY:
        return False
    if not pretend:
        for missing in reversed([one for one in (path, *path.parents) if not one.exists()]):
            # Other nodes of the cluster are rendered side by side, and have the same parents.
            missing.mkdir(exist_ok=True)
            # Whatever the umask is: a node of another user reads what lies there.
            missing.chmod(_DIRECTORY)
        path.chmod(_DIRECTORY)
    return True


def written(path: Path, text: str, *, pretend: bool) -> dict[str, str] | None:
    """Have a file with this text, and return what changes as Ansible shows it; None if nothing.

    Raises:
        OSError: it cannot be read or written.
    """
    try:
        before = path.read_text(encoding="utf-8", errors="replace")
        same = before == text and _mode(path) == _FILE
    except FileNotFoundError:
        before, same = "", False
    if same:
        return None
    if not pretend:
        replace_file(path, text, _FILE)
    return {"before_header": str(path), "before": before, "after_header": str(path), "after": text}


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777
