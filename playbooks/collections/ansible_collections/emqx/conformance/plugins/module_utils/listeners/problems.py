"""What is found wrong, as sentences that begin with the path of the key."""
from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Problems:
    """What was found: sentences that begin with the path of the key."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def error(self, path: str, sentence: str) -> None:
        """Add an error."""
        self.errors.append(f"{path}: {sentence}")

    def warn(self, path: str, sentence: str) -> None:
        """Add a warning."""
        self.warnings.append(f"{path}: {sentence}")
