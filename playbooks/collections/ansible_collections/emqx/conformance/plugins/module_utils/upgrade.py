"""What an upgrade of EMQX will change for an inventory's own listeners, in sentences.

Pure. What is foretold follows from the rules of ``listeners/reuse.py``; what was measured on nodes
of both releases takes its place, and must be the same.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .every_listener import ACROSS, HOME
from .listeners.release import (
    REUSE_SESSIONS_IGNORED,
    REUSE_SESSIONS_OFF_SINCE,
    Release,
    ignores_reuse_sessions,
    parse_release,
)
from .words import some

WORSE, BETTER, SAME, NOTE = "worse", "better", "same", "note"
"""Kinds of sentences: a listener will no longer do what its configuration says; will again;
neither; and what is to be known besides."""


@dataclass(frozen=True)
class Side:
    """A listener on one release."""

    release: Release
    erlang: str
    """Its Erlang/OTP in words."""
    value: bool
    """Its ``reuse_sessions``."""
    stated: bool
    """Whether its user wrote it."""
    verify_peer: bool
    resumes: bool | None
    """As the rules say; None: they do not tell."""
    built_with: int | None
    """The Erlang/OTP that EMQX itself is built with, where its node has another one."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Side:
        """Read a row of the inventory check's ``ssl_listeners``."""
        return cls(parse_release(row["release"]), row["erlang"], bool(row["reuse_sessions"]),
                   bool(row["stated"]), bool(row["verify_peer"]), row["resumes"],
                   row["built_with"])

    def __str__(self) -> str:
        return f"EMQX {self.release}, {self.erlang}"


@dataclass(frozen=True)
class Change:
    """What becomes of one listener, or of the client certificates of a node."""

    kind: str
    message: str


Findings = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Listener -> check -> its finding."""


def changes(today: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]],
            measured: tuple[Findings, Findings] | None = None) -> list[Change]:
    """Return what changes between two releases, one sentence for listeners that fare alike.

    Args:
        today: the rows of ``ssl_listeners`` as today's release has them.
        after: the same of the next one.
        measured: what was found on nodes of both; None: it is foretold.
    """
    later = {row["name"]: row for row in after}
    told: dict[tuple[str, str, str, str], list[str]] = {}
    sides: list[tuple[Side, Side]] = []
    for row in today:
        was, will = Side.of(row), Side.of(later[row["name"]])
        sides.append((was, will))
        for kind, tail in _of_listener(row, was, will, measured):
            told.setdefault((kind, f"ssl.{row['listener']}", _set_to(will), tail), []).append(
                row["node"])
    found = [Change(kind, f"{listener} of {some(nodes)} ({keys}): {tail}")
             for (kind, listener, keys, tail), nodes in told.items()]
    found += [Change(NOTE, sentence) for sentence in dict.fromkeys(
        f"EMQX {was.release} itself is built with Erlang/OTP {was.built_with}, and {will.release} "
        f"with {will.built_with}: docs/upgrade.md says what that changes"
        for was, will in sides if was.built_with and will.built_with)]
    if measured is not None:
        found += _crossings(*measured)
    order = (WORSE, BETTER, SAME, NOTE)
    return sorted(found, key=lambda change: order.index(change.kind))


def _set_to(side: Side) -> str:
    """Return a listener's keys that matter here."""
    return (f"reuse_sessions = {str(side.value).lower()}"
            f"{', verify_peer' if side.verify_peer else ''}")


def _of_listener(row: Mapping[str, Any], was: Side, will: Side,
                 measured: tuple[Findings, Findings] | None) -> list[tuple[str, str]]:
    if row["why_not"]:
        return [(NOTE, row["why_not"])]
    states: list[bool | None] = []
    for number, side in enumerate((was, will)):
        state, problem = side.resumes, ""
        if measured is not None:
            state, problem = _measured(measured[number].get(row["name"], {}).get(HOME), side)
        if problem:
            return [(WORSE, problem)]
        states.append(state)
    if states[0] is None or states[1] is None:
        side = was if states[0] is None else will
        return [(NOTE, (f"nobody can tell from here whether it resumes as {side}: name its "
                        "Erlang/OTP to the patch in emqx_otp_release"))]
    return [(_kind(states[0], states[1], was, will), _told(states[0], states[1], was, will)),
            *_left_out(was, will)]


def _measured(finding: Mapping[str, Any] | None, side: Side) -> tuple[bool | None, str]:
    """Return whether it resumed, and what is wrong with that."""
    if finding is None:
        return None, f"it was not measured as {side}"
    if (finding["status"], finding["reason"]) not in (("passed", ""), ("failed", "not_resumed")):
        return None, f"it could not be measured as {side}: {finding['message']}"
    resumed = finding["status"] == "passed"
    if side.resumes not in (None, resumed):
        return None, (f"as {side} it was measured to resume{'' if resumed else ' nobody'}, which "
                      f"is not what is known of that release: {finding['message']}")
    return resumed, ""


def _kind(was_on: bool, will_on: bool, was: Side, will: Side) -> str:
    kept, keeps = was_on is was.value, will_on is will.value
    if kept is keeps:
        return SAME
    return BETTER if keeps else WORSE


def _told(was_on: bool, will_on: bool, was: Side, will: Side) -> str:
    then = "" if was_on is will_on else "will " if will_on else "will not "
    text = (f"resumes{'' if was_on else ' nobody'} today ({was}) and {then}after the upgrade "
            f"({will})")
    return text if will_on is will.value else f"{text}: {_why(will_on, will)}"


def _why(on: bool, side: Side) -> str:
    """Say why a listener does not do what its configuration says, and what to set."""
    if on and ignores_reuse_sessions(side.release):
        mended = next(window.before for window in REUSE_SESSIONS_IGNORED if side.release in window)
        helps = (", and until then give the listeners of each CA a server certificate of their own"
                 if side.verify_peer else "")
        return (f"EMQX {side.release} ignores false (emqx/emqx#16456), which counts again from "
                f"{mended} on: upgrade to that{helps}")
    return (f"EMQX {side.release} leaves true out, and that Erlang/OTP resumes nobody on a "
            "listener with verify_peer unless told to (erlang/otp#11478): no key turns it on, so "
            "keep to an older Erlang/OTP, or let devices make full handshakes")


def _left_out(was: Side, will: Side) -> list[tuple[str, str]]:
    if will.stated or not was.release < REUSE_SESSIONS_OFF_SINCE <= will.release:
        return []
    return [(NOTE, ("emqx_listeners leaves reuse_sessions out, and a deploy from here writes true; "
                    f"EMQX {will.release} takes false where its own configuration leaves it out: "
                    "set reuse_sessions = true there before the upgrade"))]


def _crossings(before: Findings, after: Findings) -> list[Change]:
    """Tell where sessions get around client certificates (SEC-01) on one release and not the other.

    Found on one listener of a node, it is about all of them.
    """
    found = []
    for name, checks in before.items():
        was, will = checks.get(ACROSS), after.get(name, {}).get(ACROSS)
        if was is None or will is None:
            continue
        node, open_now, open_then = name.partition("/")[0], *(
            row["status"] == "failed" for row in (was, will))
        # The sentences after the first are about what helps, which the listeners have been told.
        seen = will["message"].replace(name, node).partition(". ")[0]
        if open_then and not open_now:
            found.append(Change(WORSE, f"client certificates of {node}: no session gets around "
                                       f"them today, and after the upgrade ({ACROSS}) {seen}"))
        elif open_now and not open_then:
            found.append(Change(BETTER, f"client certificates of {node}: sessions get around them "
                                        f"today ({ACROSS}), and will not after the upgrade"))
        elif open_now:
            found.append(Change(SAME, f"client certificates of {node}: sessions get around them "
                                      f"today and after the upgrade ({ACROSS})"))
    return found


def headline(found: Iterable[Change], today: str, after: str) -> str:
    """Return the upgrade in one clause."""
    kinds = [change.kind for change in found]
    counts = ", ".join(f"{kinds.count(kind)} {words}" for kind, words in (
        (WORSE, "for the worse"), (BETTER, "for the better")))
    return f"from EMQX {today} to {after}: {counts}, {kinds.count(SAME)} stay as they are"
