"""How a client introduces itself in CONNECT (MQTT 3.1)."""
from __future__ import annotations

import secrets
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credentials:
    """How the probe introduces itself."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    client_id_prefix: str = "tlsresumption"

    def new_client_id(self) -> str:
        """Return an id nobody else has.

        Every server takes one of 0-9, a-z and A-Z with 23 characters at most (MQTT-3.1.3-5), as it
        is with the prefix that is the default.
        """
        return f"{self.client_id_prefix}{secrets.token_hex(4)}"
