"""Whom a probe trusts, and what is wrong with the files that say so."""
from __future__ import annotations

from dataclasses import dataclass


class EngineError(Exception):
    """A client of TLS cannot be set up as asked; the sentence says what to mend."""


@dataclass(frozen=True)
class Trust:
    """Whom the probe trusts, and who it says it is. Paths of PEM files."""

    ca_file: str | None = None
    """None: the system's certificate store."""
    cert_file: str | None = None
    key_file: str | None = None

    @property
    def authorities(self) -> str:
        """Whose signature counts, for people."""
        return f"those of {self.ca_file}" if self.ca_file else (
            "those of the system's store, since resumption_ca is not set")
