"""Second controls: what shows that a session was declined on purpose, and not by accident.

A node that has forgotten everything declines whatever it is offered. So, right after a session was
declined, another one that must resume is offered: the same where it was made, or a twin, which is
as old and of which nothing bad is known.
"""
from __future__ import annotations

from dataclasses import replace

from ..model import Outcome
from .bench import Contact
from .registry import Status, Verdict
from .verdicts import error, skipped, trouble


def shown(verdict: Verdict, control: Contact, what: str, *, age_s: float = 0.0,
          lifetime_s: float | None = None, also: str = "") -> Verdict:
    """Return a verdict that rests on a decline, with what its control adds, or why it cannot stand.

    Args:
        verdict: what the check comes to; one that has not passed stands in any case, unless its
            reason is ``also``: one that rests on a decline like a pass.
        control: what came of the session that must resume.
        what: that session, for people.
        age_s: how old it was at least when it was offered; 0 where it was renewed in time.
        lifetime_s: how long sessions are declared to live; None: undeclared.
        also: that reason; empty: there is none.
    """
    if verdict.status is not Status.PASSED and verdict.reason != also:
        return verdict
    if flaw := trouble(control):
        return replace(flaw, message=f"{flaw.message} (when {what} was offered)")
    if control.handshake.outcome is Outcome.RESUMED:
        return replace(verdict, message=f"{verdict.message}; {what} still resumes")
    if lifetime_s is not None and age_s >= lifetime_s:
        return skipped("expired", f"{verdict.message}, which proves nothing, since sessions live "
                       f"{lifetime_s:g} s and {age_s:.0f} s had passed (a higher "
                       "resumption_rate_limit is faster)")
    hint = (f" (if sessions live less than {age_s:.1f} s there, declare emqx_session_lifetime)"
            if age_s and lifetime_s is None else "")
    return error("forgotten", f"{verdict.message}, which proves nothing, since {what} does not "
                              f"resume either{hint}")
