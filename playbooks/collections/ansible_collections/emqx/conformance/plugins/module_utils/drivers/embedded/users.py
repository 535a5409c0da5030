"""Who may connect to an embedded node: salted hashes, never a password."""
from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field

from ..terms import Term, render

# What every CONNECT may cost: 5 ms of one core, measured. The file is its owner's alone.
_ITERATIONS = 10_000
_SALT_BYTES = 16
_SALT = re.compile(r"'salt' => <<\"([0-9a-f]+)\"/utf8>>")


@dataclass(frozen=True)
class User:
    """One user with PBKDF2-HMAC-SHA-256 of the password (RFC 8018)."""

    username: str
    salt: str
    """Hexadecimal."""
    digest: str = field(repr=False)
    """Hexadecimal."""

    @classmethod
    def of(cls, username: str, password: str, salt: str) -> User:
        """Return the user with this password under this salt."""
        digest = hashlib.pbkdf2_hmac("sha256", password.encode(), bytes.fromhex(salt), _ITERATIONS)
        return cls(username, salt, digest.hex())

    def term(self) -> Term:
        """Return the Erlang form."""
        return {"username": self.username, "salt": self.salt, "hash": self.digest,
                "iterations": _ITERATIONS}


def known_or_new(username: str, password: str, config: str) -> User:
    """Return the user as this node.config has it, or with a fresh salt.

    The same password thus gives the same file, and another one another salt.
    """
    for salt in _SALT.findall(config):
        user = User.of(username, password, salt)
        if render(user.term()) in config:
            return user
    return User.of(username, password, secrets.token_hex(_SALT_BYTES))
