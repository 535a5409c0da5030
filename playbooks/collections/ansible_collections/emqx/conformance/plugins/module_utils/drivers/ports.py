"""Whether a TCP port is free, and who has it when it is not."""
from __future__ import annotations

import contextlib
import errno
import socket
from pathlib import Path

from .processes import PROC, Process


def is_free(address: str, port: int) -> bool:
    """Tell whether a listener could be opened here now.

    Raises:
        OSError: it could not, for another reason than that somebody has it.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def why_not_opened(error: OSError) -> str:
    """Return what :func:`is_free` raised as the predicate of a sentence about the address."""
    return {errno.EADDRNOTAVAIL: "is not an address of this machine",
            errno.EACCES: "needs more rights (ports below 1024)"}.get(
                error.errno or 0, f"cannot be opened: {error.strerror or error}")


def holders(port: int) -> list[Process]:
    """Return the processes that listen on the port, as far as we may see them."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    found = []
    for entry in PROC.iterdir() if sockets else ():
        if not entry.name.isdigit():
            continue
        if _has_one_of(entry / "fd", sockets):
            process = Process.of(int(entry.name))
            if process is not None:
                found.append(process)
    return found


def _has_one_of(descriptors: Path, sockets: set[str]) -> bool:
    with contextlib.suppress(OSError):
        for link in descriptors.iterdir():
            # Descriptors come and go while we look; the one that lists ours is gone already.
            with contextlib.suppress(FileNotFoundError):
                if str(link.readlink()) in sockets:
                    return True
    return False


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                # Local address, state 0A (LISTEN) and inode, proc(5).
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes
