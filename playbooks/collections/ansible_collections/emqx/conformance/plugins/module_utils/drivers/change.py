"""What has to be done to the nodes of a cluster, whatever runs them."""
from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Change:
    """Which node needs what. Names are inventory names."""

    start: list[str] = field(default_factory=list)
    restart: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    """Nodes that run and are in the inventory no more."""
    concerns: dict[str, list[str]] = field(default_factory=dict)
    """Warning -> the nodes it is about."""

    def warn(self, warning: str, node: str) -> None:
        """Note a warning about a node."""
        self.concerns.setdefault(warning, []).append(node)

    @property
    def warnings(self) -> list[str]:
        """One sentence a warning, with its nodes."""
        return [f"{warning} ({', '.join(nodes)})" for warning, nodes in self.concerns.items()]

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.start or self.restart or self.stop)
