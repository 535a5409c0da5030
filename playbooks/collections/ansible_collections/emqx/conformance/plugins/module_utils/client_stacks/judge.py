"""Judges the run of a client by the wire, and compares with what it says of itself. Pure.

A run is a first connection, a second one to the same node and, where there is another node, a third
to that and a fourth back to the first.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..model import Endpoint
from ..words import capital, some
from .control import CONTROL
from .process import Run
from .relay import Passed
from .words import (
    AS_IT_COMES,
    BACK,
    ELSEWHERE,
    HOME,
    IN_WORDS,
    PLACES,
    TOLD,
    WAYS,
    Cell,
    Expected,
    Result,
    Stack,
    why_not_tried,
)

BY_DEFAULT, WHEN_TOLD, NEVER, LOCKED_OUT, NOT_TRIED = (
    "by_default", "when_told", "never", "locked_out", "not_tried")
"""What a stack comes to on a node."""
CONCLUSIONS: Mapping[str, str] = {
    BY_DEFAULT: "resumes by default", WHEN_TOLD: "resumes when told",
    NEVER: "never resumes by session ID",
    LOCKED_OUT: "is locked out when its session is declined", NOT_TRIED: "could not be tried"}
"""And in words."""


@dataclass(frozen=True)
class Row:
    """One stack in one way at one node: whom its client is to come to."""

    stack: Stack
    way: str
    route: tuple[Endpoint, ...]
    """The node that issues the session, twice, and then another one and the first, if there is one.
    """

    @property
    def home(self) -> Endpoint:
        """The node that issues the session."""
        return self.route[0]

    def reconnects(self) -> list[tuple[int, str, Endpoint]]:
        """Return number in the route, place and node of every connection that can resume."""
        return [(at, place, endpoint) for (at, endpoint), place in zip(
            list(enumerate(self.route))[1:], PLACES)]


@dataclass(frozen=True)
class _Seen:
    """The result of one connection, and what is to be said of it."""

    result: Result
    reason: str = ""
    why: str = ""


@dataclass
class Judge:
    """Makes cells of runs. It knows which session IDs were given to whom in this harness's run."""

    expected: Sequence[Expected] = ()
    given: dict[bytes, str] = field(default_factory=dict)
    """Session ID -> the row that it was given to."""

    def cells(self, row: Row, run: Run, otp_release: str | None,
              keys: Sequence[str] = ()) -> list[Cell]:
        """Return a cell for each connection that could have resumed.

        Args:
            row: whom the client was to come to.
            run: what came of it.
            otp_release: that of the node that issues, as far as it is known.
            keys: of the evidence of the run's connections.
        """
        who = f"{row.stack.name} {row.way} {row.home.name}"
        named = row.home.named
        refusal = _first_refused(run)
        cells = []
        for at, place, _ in row.reconnects():
            given = {passed.server_id for passed in run.passed[:at] if passed.server_id}
            seen = refusal or self._seen(row, run, at, given, who)
            expected = next((one.result for one in self.expected if one.covers(
                row.stack.name, row.way, place, otp_release, named=named)), None)
            used = tuple(keys[index] for index in (0, at) if index < len(keys))
            cells.append(_cell(row, at, place, seen, run, expected=expected, keys=used))
        self.given.update((passed.server_id, who) for passed in run.passed if passed.server_id)
        return cells

    def _seen(self, row: Row, run: Run, at: int, given: set[bytes], who: str) -> _Seen:
        if at >= len(run.passed):
            return _Seen(Result.NOT_TRIED, "no_reconnect",
                         f"it made {len(run.passed)} of {len(row.route)} connections{_why(run)}")
        passed, said = run.passed[at], run.said.get(at + 1)
        offered = self._offered(passed, given, who)
        if passed.failure and passed.failure.stage == "connect":
            return _Seen(Result.NOT_TRIED, passed.failure.cause, passed.failure.detail)
        if not passed.answered or (said is not None and said.connack > 0):
            how = _how_it_ended(passed, run, at)
            if passed.closed_by != "node" and row.route[at].server_name != row.home.server_name \
                    and not passed.established:
                return _Seen(Result.NOT_TRIED, "other_name", (
                    f"{how}; it came to {passed.node} by the name {row.home.server_name}, which "
                    f"need not be in the certificate of {row.route[at].server_name}: give the "
                    "nodes one emqx_tls_server_name, as devices have, to tell"))
            if not offered:
                return _Seen(Result.NOT_TRIED, "not_served", how)
            return _Seen(Result.LOCKED_OUT, "locked_out", f"it offered {offered}, and {how}")
        return _of_the_wire(passed, offered, given)

    def _offered(self, passed: Passed, given: set[bytes], who: str) -> str:
        """Return in words what the client offered; empty: nothing."""
        if passed.ticket_offered:
            return f"a ticket of {passed.ticket_offered} bytes"
        if not passed.offered_id:
            return ""
        if passed.offered_id in given:
            return "its session"
        other = self.given.get(passed.offered_id)
        if other is not None and other != who:
            return f"the session ID that was given to {other}"
        # RFC 8446 4.1.2: who would take TLS 1.3 makes up an ID that stands for nothing.
        return "" if passed.offers_later_versions else "a session ID that it was never given"


def _first_refused(run: Run) -> _Seen | None:
    """Return why a run says nothing, where its client was not served even without a session."""
    if not run.passed:
        return _Seen(Result.NOT_TRIED, "no_connection",
                     f"it made no connection{_why(run)}")
    first = run.passed[0]
    said = run.said.get(1)
    if first.failure:
        return _Seen(Result.NOT_TRIED, first.failure.cause, first.failure.detail)
    if not first.answered or (said is not None and said.connack > 0):
        return _Seen(Result.NOT_TRIED, "not_served",
                     f"even without a session {_how_it_ended(first, run, 0)}")
    return None


def _of_the_wire(passed: Passed, offered: str, given: set[bytes]) -> _Seen:
    if passed.version != "tlsv1.2":
        return _Seen(Result.OTHER_VERSION, "other_version", f"{passed.version} was negotiated")
    by_ticket, why = bool(passed.ticket_offered), ""
    if passed.abbreviated and (by_ticket or passed.offered_id in given):
        return _Seen(Result.TICKET if by_ticket else Result.RESUMED)
    if passed.abbreviated is not False:
        return _Seen(Result.INCONSISTENT, "inconsistent", (
            f"it offered {offered or 'nothing'}, and the node answered as if it had offered "
            "something else"))
    result = Result.NOT_OFFERED
    if by_ticket:
        result = Result.TICKET_DECLINED
    elif passed.offered_id in given:
        result = Result.DECLINED
    elif offered:
        result, why = Result.UNKNOWN_ID, f"it offered {offered}"
    return _Seen(result, why=why)


def _how_it_ended(passed: Passed, run: Run, at: int) -> str:
    """Return a clause that says who ended a connection before MQTT worked, and where."""
    said = run.said.get(at + 1)
    if said is not None and said.connack > 0:
        return f"its CONNECT was answered with the code {said.connack}"
    fatal = [alert for alert in passed.alerts if alert.level == "fatal"]
    if fatal:
        whose = "it" if fatal[0].raised_by == "client" else passed.node
        return f"{whose} ended the handshake with the alert {fatal[0].description}"
    where = "before MQTT" if passed.established else "in the handshake"
    if not passed.closed_by:
        return f"nothing came of it {where}{_why(run)}"
    whose = "it" if passed.closed_by == "client" else passed.node
    detail = f" ({said.error})" if said is not None and said.error else ""
    return f"{whose} closed the connection {where}{detail}"


def _why(run: Run) -> str:
    """Return what was wrong with a client, to end a clause."""
    return f"; {run.trouble}" if run.trouble else ""


def _cell(row: Row, at: int, place: str, seen: _Seen, run: Run, *, expected: Result | None,
          keys: tuple[str, ...]) -> Cell:
    result, endpoint = seen.result, row.route[at]
    where = {HOME: endpoint.name, ELSEWHERE: f"{endpoint.name} with a session of {row.home.name}",
             BACK: f"{endpoint.name} after {row.route[at - 1].name}"}[place]
    text = (f"{row.stack.title}, {WAYS[row.way]}, on {where}: {IN_WORDS[result]}"
            + (f": {seen.why}" if seen.why else ""))
    status, reason = "info", ""
    if result is Result.NOT_TRIED:
        status, reason = "skipped", seen.reason
    elif result is Result.LOCKED_OUT:
        status, reason = "failed", seen.reason
    elif result is Result.INCONSISTENT:
        status, reason = "error", seen.reason
    else:
        complaints = _complaints(run, at, result, expected)
        if complaints:
            status, reason = "warned", complaints[0][0]
            text += "; " + "; ".join(words for _, words in complaints)
    return Cell(row.stack.name, row.way, row.home.name, endpoint.name, place, result, status,
                reason, text, expected, keys)


def _complaints(run: Run, at: int, result: Result,
                expected: Result | None) -> list[tuple[str, str]]:
    """Return what is to be warned of, each a token and a clause."""
    found = []
    if expected is not None and expected is not result:
        found.append(("not_as_expected",
                      f"expected was {expected.value}, and it is {result.value}"))
    said, reused = run.said.get(at + 1), result in (Result.RESUMED, Result.TICKET)
    if said is None:
        found.append(("says_nothing", f"it says nothing of its connection {at + 1}{_why(run)}"))
    elif said.resumed is not None and said.resumed is not reused:
        found.append(("says_otherwise", (
            f"it says itself that it {'resumed' if said.resumed else 'did not resume'}")))
    elif said.connack < 0:
        found.append(("says_otherwise", (
            "it says itself that there was no CONNACK, and the node answered something")))
    if run.beyond:
        found.append(("too_many_connections", (
            f"it made {run.beyond} connections more than it was asked for, which led nowhere")))
    return found


def conclusion(cells: Sequence[Cell]) -> str:
    """Return what a stack's cells of one node, both ways together, come to."""
    home = {cell.way: cell.result for cell in cells if cell.place == HOME}
    if any(cell.result is Result.LOCKED_OUT for cell in cells):
        return LOCKED_OUT
    if home.get(AS_IT_COMES) is Result.RESUMED:
        return BY_DEFAULT
    if home.get(TOLD) is Result.RESUMED:
        return WHEN_TOLD
    if not home or Result.NOT_TRIED in home.values() or Result.OTHER_VERSION in home.values():
        return NOT_TRIED
    return NEVER


def concluded(stack: Stack, cells: Sequence[Cell]) -> dict[str, Any]:
    """Return the JSON form of what a stack comes to on every node, and a sentence."""
    nodes: dict[str, str] = {}
    for name in dict.fromkeys(cell.issuer for cell in cells):
        nodes[name] = conclusion([cell for cell in cells if cell.issuer == name])
    alike: dict[str, list[str]] = {}
    for name, token in nodes.items():
        alike.setdefault(token, []).append(name)
    whose = [f"{CONCLUSIONS[token]}{_because(token, names, cells)}"
             + (f" ({some(names)})" if len(alike) > 1 else "") for token, names in alike.items()]
    return {"stack": stack.name, "title": stack.title, "nodes": nodes,
            "sentence": capital("; ".join(whose) or CONCLUSIONS[NOT_TRIED])}


def _because(token: str, names: Sequence[str], cells: Sequence[Cell]) -> str:
    """Return why something could not be tried, to end a clause."""
    if token != NOT_TRIED:
        return ""
    if all(cell.reason == CONTROL for cell in cells if cell.issuer in names):
        return ", as is said of the node"
    whys = dict.fromkeys(
        why_not_tried(cell.message) for cell in cells
        if cell.issuer in names and cell.result is Result.NOT_TRIED
        and cell.place == HOME)
    return f": {some(list(whys), 1)}" if whys else ""
