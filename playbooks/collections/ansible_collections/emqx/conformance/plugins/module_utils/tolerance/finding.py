"""What a check came to on one subject, and why a failure is known."""
from __future__ import annotations

from dataclasses import dataclass

from ..run.check import Check, Subject, Verdict
from .deviations import Deviation


@dataclass(frozen=True)
class Finding:
    """One verdict of one check on one subject."""

    check: Check
    subject: Subject
    verdict: Verdict
    waiver: str | None = None
    """Why a failure is ``known``: somebody's decision."""
    deviations: tuple[Deviation, ...] = ()
    """Why a failure is ``known``: entries for what its subject's TLS stack does wrong."""
    filed: tuple[str, ...] = ()
    """Keys of those of its handshakes that are no longer in memory."""

    @property
    def subject_name(self) -> str:
        """``emqx1``, ``emqx1->emqx2``, or ``cluster`` for a check without subjects."""
        return "->".join(self.subject) or "cluster"
