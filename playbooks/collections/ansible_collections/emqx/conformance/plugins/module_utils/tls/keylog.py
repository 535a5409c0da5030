"""Master secrets of this process's connections, comparable but never readable.

The TLS library writes its key log into an anonymous memory file; each line is turned
into a keyed fingerprint as soon as it is read, so nothing reaches a disk and nothing
that could decrypt traffic is kept.
"""
from __future__ import annotations

import hashlib
import os
import secrets
import threading

from ..model import SecretFingerprint

_CHUNK = 4096


class KeyLog:
    """A key log in memory. Close it when its TLS context is no longer used."""

    def __init__(self) -> None:
        if not hasattr(os, "memfd_create"):
            raise OSError("the key log needs memfd_create (Linux)")
        self._fd = os.memfd_create("keylog", os.MFD_CLOEXEC)
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._offset = 0
        self._rest = b""
        self._found: dict[str, SecretFingerprint] = {}

    @property
    def path(self) -> str:
        """Where the TLS library writes to; valid inside this process only."""
        return f"/proc/self/fd/{self._fd}"

    def take(self, client_random: bytes) -> SecretFingerprint | None:
        """Return, once, the fingerprint of the connection that sent ``client_random``."""
        with self._lock:
            self._read_new_lines()
            return self._found.pop(client_random.hex(), None)

    def close(self) -> None:
        """Give the memory back."""
        os.close(self._fd)

    def _read_new_lines(self) -> None:
        chunk = None
        while chunk is None or len(chunk) == _CHUNK:
            chunk = os.pread(self._fd, _CHUNK, self._offset)
            self._offset += len(chunk)
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                # TLS 1.2's line of the key log format: label, client random, master secret.
                parts = line.split(b" ")
                if len(parts) == 3 and parts[0] == b"CLIENT_RANDOM":
                    # Keyed as HMAC is (RFC 7693 2.9), and a third of its time.
                    digest = hashlib.blake2b(
                        parts[2].lower(), key=self._key, digest_size=32).digest()
                    self._found[parts[1].decode("ascii").lower()] = SecretFingerprint(digest)
