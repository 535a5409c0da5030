"""Where a cluster of embedded nodes keeps what, under the state directory."""
from __future__ import annotations

import json
import os
import re
import secrets
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .base import DriverError
from .processes import Process

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_RECORD = "node.json"
_ENDING_S = 5.0


def check_name(kind: str, name: str) -> None:
    """Refuse what cannot be a directory of its own.

    Raises:
        DriverError: the name has other characters, or begins with a dot.
    """
    if not _NAME.fullmatch(name):
        raise DriverError(f'the {kind} "{name}" may have letters, digits, ".", "_" and "-" only, '
                          "and must begin with a letter or digit")


def erlang_name(name: str) -> str:
    """Return the Erlang node name of an inventory name."""
    local = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    if local != name:
        # "a.b" and "a_b" are two nodes.
        local += f"-{zlib.crc32(name.encode()):08x}"
    return f"{local}@127.0.0.1"


@dataclass(frozen=True)
class NodeRecord:
    """What a node was last started from, and as which process."""

    fingerprint: str
    command: list[str]
    epmd_port: int
    process: Process | None

    @classmethod
    def load(cls, run_dir: Path) -> NodeRecord | None:
        """Return the record, or None when there is none that can be read."""
        try:
            data = json.loads((run_dir / _RECORD).read_text())
            return cls(str(data["fingerprint"]), [str(word) for word in data["command"]],
                       int(data["epmd_port"]), Process.from_dict(data["process"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, run_dir: Path) -> None:
        """Write the record, whole or not at all."""
        replace_file(run_dir / _RECORD, json.dumps({
            "fingerprint": self.fingerprint, "command": self.command,
            "epmd_port": self.epmd_port,
            "process": self.process.as_dict() if self.process else None}, indent=1) + "\n", 0o600)

    def state(self) -> str:
        """Return ``running``, ``paused``, ``ending`` or ``gone``."""
        return self.process.state() if self.process else "gone"

    def await_ending(self) -> None:
        """Return when a process that is ending right now has let go of its ports."""
        if self.process is not None and self.process.state() == "ending":
            self.process.wait_gone(_ENDING_S)


@dataclass(frozen=True)
class ClusterFolder:
    """The directory of one cluster: ``<state_dir>/<cluster>/<node>/``."""

    path: Path

    @classmethod
    def of(cls, state_dir: Path, cluster: str) -> ClusterFolder:
        """Return the folder; nothing is made yet. Raises DriverError for a bad name."""
        check_name("cluster name", cluster)
        # The kernel knows a process's directory without symbolic links.
        return cls(state_dir.resolve() / cluster)

    def run_dir(self, node: str) -> Path:
        """Return a node's working directory. Raises DriverError for a bad name."""
        check_name("node name", node)
        return self.path / node

    def nodes(self) -> dict[str, NodeRecord]:
        """Return every node that was ever started here and not removed."""
        found = {}
        for folder in sorted(self.path.iterdir()) if self.path.is_dir() else ():
            record = NodeRecord.load(folder) if folder.is_dir() else None
            if record is not None:
                found[folder.name] = record
        return found

    def ensure_cookie(self) -> None:
        """Make the cluster's random cookie, readable by its owner alone.

        Nodes get this directory as $HOME, where Erlang looks for the cookie by itself.
        """
        if not self.cookie.exists():
            replace_file(self.cookie, secrets.token_hex(32), 0o400)

    @property
    def cookie(self) -> Path:
        """Where the cluster's cookie is."""
        return self.path / ".erlang.cookie"


def replace_file(path: Path, text: str, mode: int) -> None:
    """Write a file so that it is there whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.chmod(mode)
    fresh.replace(path)


def as_json(value: Any) -> str:
    """Return a stable JSON text, to compare and to digest."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
