"""The words of client stacks: a stack, a way, what a client says, what one came to. Pure."""
from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..identity import major_of

AS_IT_COMES, NAME_UNVERIFIED, TOLD = "as_it_comes", "name_unverified", "told"
"""Ways: a stack's client as its user writes it first; the same, but that it does not verify the
server's name; and as its documentation says how to resume."""
WAYS: Mapping[str, str] = {AS_IT_COMES: "as it comes", NAME_UNVERIFIED: "name not verified",
                           TOLD: "told to resume"}
"""Every way, for people."""
USUAL_WAYS = (AS_IT_COMES, TOLD)
"""Those of a stack that does not name its own."""
HOME, ELSEWHERE, BACK = "home", "elsewhere", "back"
"""Places where a client connects again: the node that issued its session, another one, and the
first one after that, as behind an address that leads to one node after the other."""
PLACES: Mapping[str, str] = {
    HOME: "A client's second connection to a node",
    ELSEWHERE: "Its third, to the next node, with what it has from this one",
    BACK: "Its fourth, back to this node"}
"""Every place, in the order in which a client comes there, with what a matrix of it is about."""


class Result(str, enum.Enum):
    """What a client's connection came to after one that had left it a session."""

    RESUMED = "resumed"
    """By session ID, and MQTT worked."""
    NOT_OFFERED = "not_offered"
    """A full handshake, since it offered nothing."""
    DECLINED = "declined"
    """A full handshake, although it offered the session; MQTT worked."""
    UNKNOWN_ID = "unknown_id"
    """A full handshake, after it had offered an ID that it was never given."""
    TICKET = "ticket"
    """Resumed, by a ticket (RFC 5077): nothing to do with session IDs."""
    TICKET_DECLINED = "ticket_declined"
    """A full handshake, after it had offered a ticket."""
    OTHER_VERSION = "other_version"
    """Another version than TLS 1.2 was negotiated: its session IDs mean nothing."""
    LOCKED_OUT = "locked_out"
    """It offered something, and did not get as far as MQTT."""
    INCONSISTENT = "inconsistent"
    """The wire shows neither a full nor an abbreviated handshake, and yet MQTT worked."""
    NOT_TRIED = "not_tried"
    """Nothing was measured."""


SHOWN: Mapping[Result, str] = {
    Result.RESUMED: "resumed", Result.NOT_OFFERED: "full", Result.DECLINED: "fell back",
    Result.UNKNOWN_ID: "unknown ID", Result.TICKET: "by ticket",
    Result.TICKET_DECLINED: "fell back", Result.OTHER_VERSION: "not TLS 1.2",
    Result.LOCKED_OUT: "LOCKED OUT", Result.INCONSISTENT: "?", Result.NOT_TRIED: "-"}
"""How a matrix has them."""
IN_WORDS: Mapping[Result, str] = {
    Result.RESUMED: "resumes by session ID",
    Result.NOT_OFFERED: "offers nothing: a full handshake",
    Result.DECLINED: "offers its session, is declined, and MQTT works after a full handshake",
    Result.UNKNOWN_ID: "offers an ID that it was not given, and MQTT works after a full handshake",
    Result.TICKET: "resumes by a ticket, which is not by session ID",
    Result.TICKET_DECLINED: "offers a ticket, and MQTT works after a full handshake",
    Result.OTHER_VERSION: "does not speak TLS 1.2 there",
    Result.LOCKED_OUT: "is locked out",
    Result.INCONSISTENT: "shows neither a full nor an abbreviated handshake",
    Result.NOT_TRIED: "could not be tried"}
"""In the clause of a sentence whose subject is the stack."""


def why_not_tried(message: str) -> str:
    """Return the reason in the sentence of a cell that could not be tried."""
    return message.rpartition(f"{IN_WORDS[Result.NOT_TRIED]}: ")[2]


@dataclass(frozen=True)
class Stack:
    """A client stack that can be started; a folder of ``client_stacks/``."""

    name: str
    title: str
    run: tuple[str, ...]
    """The command, but for the arguments of the contract."""
    ways: tuple[str, ...] = USUAL_WAYS
    why_not: str = ""
    """Why it cannot be started here, in a clause; empty: it can."""
    readme: str = ""
    """Its README, in Markdown: what it is, and the lines that make it resume."""


@dataclass(frozen=True)
class Expected:
    """What a stack is expected to do; an entry of ``client_stacks/expected.yml``."""

    stack: str
    way: str
    place: str
    result: Result
    since: int = 0
    """First major release of Erlang/OTP; 0: any, also one that nobody knows."""
    until: int | None = None
    """Last one; None: every later one too."""
    named: bool | None = None
    """Whether the node is asked by a name, and not by an address; None: either."""

    def covers(self, stack: str, way: str, place: str, otp_release: str | None, *,
               named: bool) -> bool:
        """Tell whether it is about this stack and way, there, on this Erlang/OTP.

        Args:
            stack: the stack's name.
            way: one of ``WAYS``.
            place: one of ``PLACES``.
            otp_release: that of the node that issues, as far as it is known.
            named: whether that is asked by a name.
        """
        if (stack, way, place) != (self.stack, self.way, self.place):
            return False
        if self.named not in (None, named):
            return False
        if not self.since and self.until is None:
            return True
        major = major_of(otp_release)
        return major is not None and self.since <= major and (
            self.until is None or major <= self.until)


@dataclass(frozen=True)
class Said:
    """What a client says of one of its connections. Compared, and never believed."""

    resumed: bool | None
    """None: its library does not tell."""
    connack: int
    """The CONNACK's code; -1: there was none."""
    error: str = ""
    library: str = ""
    """Name and version of its TLS library."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Said:
        """Read a line of JSON. Raises ValueError where it is not as the contract has it."""
        resumed, connack = row.get("resumed"), row.get("connack")
        if not (resumed is None or isinstance(resumed, bool)) or not isinstance(connack, int):
            raise ValueError(f"this is not what a client says of a connection: {dict(row)}")
        return cls(resumed, connack, str(row.get("error") or ""), str(row.get("library") or ""))

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"resumed": self.resumed, "connack": self.connack, "error": self.error,
                "library": self.library}


@dataclass(frozen=True)
class Cell:
    """What one stack came to in one way, between two nodes."""

    stack: str
    way: str
    issuer: str
    """The node that issued the first session."""
    redeemer: str
    """The node that the client came to with what it had."""
    place: str
    result: Result
    status: str
    """``info``, ``warned``, ``failed``, ``skipped`` or ``error``."""
    reason: str
    """Stable token; empty with ``info``."""
    message: str
    """One sentence."""
    expected: Result | None = None
    connections: tuple[str, ...] = ()
    """Keys of the evidence."""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"stack": self.stack, "way": self.way, "issuer": self.issuer,
                "redeemer": self.redeemer, "place": self.place, "result": self.result.value,
                "status": self.status, "reason": self.reason, "message": self.message,
                "expected": self.expected.value if self.expected else None,
                "connections": list(self.connections)}
