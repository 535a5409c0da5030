"""Known deviations: what a TLS stack does wrong that no operator can mend. Data, not code.

A file holds the deviations of one stack. Every entry names a check, the reason token with which
it fails, and the releases on which that was measured; see docs/known-deviations.md. Reading YAML
is up to the caller: a host with nothing but its own python3 can load what was read elsewhere.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..identity import major_of
from ..listeners.nearest import did_you_mean
from ..run import reasons
from ..run.check import Check, Level

STACKS: Mapping[str, str] = {"otp": "Erlang/OTP"}
"""Stacks that a run can recognise: the name in files, and for people."""
NEVER = ("CORE", "SEC")
"""Families whose failures no stack is forgiven."""

_DOCUMENT_KEYS = ("stack", "deviations")
_ENTRY_KEYS = ("check", "reason", "otp", "measured", "evidence", "upstream")
_OPTIONAL = ("intermittent",)
_RANGE_KEYS = ("from", "to")
_TOKEN = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


class DeviationError(Exception):
    """Files are refused: one sentence for each thing that is wrong."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(self.problems))


@dataclass(frozen=True)
class Deviation:
    """One entry of a file."""

    file: str
    """As the user would write it."""
    stack: str
    check: str
    reason: str
    since: int
    """First major release."""
    until: int | None
    """Last major release; None: every later one too."""
    measured: tuple[str, ...]
    """Full releases on which the failure was seen."""
    evidence: str
    """What was seen on the wire."""
    upstream: str
    """Where the stack's own people have it, or that none is known."""
    intermittent: bool = False
    """Whether the check may just as well pass: a race."""

    @property
    def releases(self) -> str:
        """``Erlang/OTP 25 to 29``."""
        name = STACKS[self.stack]
        if self.until is None:
            return f"{name} {self.since} and later"
        return f"{name} {self.since}" + (f" to {self.until}" if self.until != self.since else "")

    def covers(self, release: str | None) -> bool:
        """Tell whether a node of this release is in the range. What is not known is not."""
        major = major_of(release)
        return (major is not None and self.since <= major
                and (self.until is None or major <= self.until))

    def overlaps(self, other: Deviation) -> bool:
        """Tell whether both speak of the same failure of the same release."""
        return ((self.stack, self.check, self.reason) == (other.stack, other.check, other.reason)
                and (other.until is None or self.since <= other.until)
                and (self.until is None or other.since <= self.until))

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"file": self.file, "stack": self.stack, "check": self.check, "reason": self.reason,
                "releases": self.releases, "from": self.since, "to": self.until,
                "measured": list(self.measured), "evidence": self.evidence,
                "upstream": self.upstream, "intermittent": self.intermittent}


def load(documents: Iterable[Mapping[str, Any]], checks: Iterable[Check]) -> tuple[Deviation, ...]:
    """Return the entries of documents, each ``{file: its name, content: what it holds}``.

    Raises:
        DeviationError: an entry is not complete, names what there is not, forgives what must not
            be forgiven, or says again what another one says.
    """
    registered = {check.id: check for check in checks}
    problems: list[str] = []
    found: list[Deviation] = []
    for document in documents:
        name, content = str(document["file"]), document["content"]
        wrong = list(_document_problems(content))
        problems += [f"{name}: {problem}" for problem in wrong]
        if wrong:
            continue
        for number, entry in enumerate(content["deviations"], 1):
            wrong = list(_entry_problems(entry, registered))
            problems += [f"{name}: entry {number}{_title(entry)} {problem}" for problem in wrong]
            if not wrong:
                found.append(_entry(name, content["stack"], entry))
    problems += [f"{later.file}: {later.check} {later.reason} of {later.releases} is already in "
                 f"{earlier.file} ({earlier.releases}): keep one of them."
                 for number, later in enumerate(found) for earlier in found[:number]
                 if later.overlaps(earlier)]
    if problems:
        raise DeviationError(problems)
    return tuple(found)


def _title(entry: Any) -> str:
    return f" ({entry['check']})" if isinstance(entry, Mapping) and "check" in entry else ""


def _entry(file: str, stack: str, entry: Mapping[str, Any]) -> Deviation:
    return Deviation(
        file, stack, entry["check"], entry["reason"], entry["otp"]["from"], entry["otp"]["to"],
        tuple(entry["measured"]), " ".join(entry["evidence"].split()),
        " ".join(entry["upstream"].split()), bool(entry.get("intermittent", False)))


def _document_problems(content: Any) -> Iterator[str]:
    if not isinstance(content, Mapping):
        yield f"must be a mapping of {' and '.join(_DOCUMENT_KEYS)}."
        return
    yield from _key_problems(content, _DOCUMENT_KEYS, ())
    if "stack" in content and content["stack"] not in STACKS:
        yield (f'has the stack "{content["stack"]}", which no run can recognise (known: '
               f"{', '.join(STACKS)}).")
    if "deviations" in content and not isinstance(content["deviations"], list):
        yield "has deviations that are no list."


def _key_problems(mapping: Mapping[Any, Any], required: tuple[str, ...],
                  optional: tuple[str, ...]) -> Iterator[str]:
    known = (*required, *optional)
    for key in mapping:
        if key not in known:
            nearest = did_you_mean(str(key), known)
            yield f'has the unknown key "{key}"{nearest or "."}'
    for key in required:
        if key not in mapping:
            yield f"has no {key}."


def _entry_problems(entry: Any, registered: Mapping[str, Check]) -> Iterator[str]:
    if not isinstance(entry, Mapping):
        yield f"must be a mapping with {', '.join(_ENTRY_KEYS)}."
        return
    yield from _key_problems(entry, _ENTRY_KEYS, _OPTIONAL)
    if "check" in entry:
        yield from _check_problems(entry["check"], registered)
    if "reason" in entry:
        yield from _reason_problems(entry["reason"], registered.get(str(entry.get("check"))))
    if "otp" in entry:
        wrong = list(_range_problems(entry["otp"]))
        yield from wrong
        if not wrong and "measured" in entry:
            yield from _measured_problems(entry["measured"], entry["otp"])
    for key in ("evidence", "upstream"):
        if key in entry and not (isinstance(entry[key], str) and entry[key].strip()):
            yield f"must say its {key} in words."
    if not isinstance(entry.get("intermittent", False), bool):
        yield "must say true or false for intermittent."


def _check_problems(check: Any, registered: Mapping[str, Check]) -> Iterator[str]:
    family = str(check).partition("-")[0]
    if family in NEVER:
        yield (f"is a {family} check: {' and '.join(NEVER)} checks are never known deviations; who "
               f"must live with a failure for a while waives it in resumption_waivers.")
    elif check not in registered:
        yield f"names no check that there is{did_you_mean(str(check), registered) or '.'}"
    elif registered[check].level is not Level.MUST:
        yield (f"is a {registered[check].level.value}: its failure is only warned of and needs no "
               f"entry.")


def _reason_problems(reason: Any, check: Check | None) -> Iterator[str]:
    if not _is_token(reason):
        yield f"has the reason {reason!r}, which is no token such as not_resumed."
    elif check is not None and check.family not in NEVER and not reasons.may_come_to(check, reason):
        nearest = did_you_mean(reason, reasons.of(check))
        yield f"has the reason {reason}, which {check.id} never gives{nearest or '.'}"


def _is_token(value: Any) -> bool:
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def _is_major(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _range_problems(told: Any) -> Iterator[str]:
    if not isinstance(told, Mapping) or set(told) != set(_RANGE_KEYS):
        yield ("must give otp as {from: 25, to: 29}, major releases with both ends, or with "
               "to: null.")
        return
    since, until = told["from"], told["to"]
    if not _is_major(since) or not (until is None or _is_major(until)):
        yield f"has the range {since} to {until}, which are no major releases such as 25."
    elif until is not None and until < since:
        yield f"has the range {since} to {until}, which ends before it begins."


def _measured_problems(measured: Any, told: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(measured, list) or not measured or not all(
            isinstance(release, str) and major_of(release) for release in measured):
        yield 'must list what was measured as releases in quotes, such as "27.3.4".'
        return
    since, until = told["from"], told["to"]
    majors = {release: major_of(release) or 0 for release in measured}
    for release, major in majors.items():
        if major < since or (until is not None and major > until):
            yield f"was measured on {release}, which is not in its range."
    for end in (since, until):
        if end is not None and end not in majors.values():
            yield (f"has a range that ends at {end}, on which it was not measured: a range is "
                   f"measured at both ends.")
