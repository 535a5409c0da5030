"""The evidence of a run, so kept that ten thousand pairs fit into memory.

A handshake takes some twelve kilobytes, as evidence, as JSON and as text. The first ``MOST`` of a
run stay whole and are in results.json. Beyond that, handshakes of findings that came out well go to
a file beside it, one a line, and what stays in memory of each is what statistics need.
"""
from __future__ import annotations

import json
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from ..model import Handshake, Outcome
from ..run.check import Status, Subject
from ..run.ledger import Ledger, place_of
from ..tolerance.finding import Finding

MOST = 12_000
"""Handshakes in results.json: those of 50 nodes with all their checks, or the matrix of 100."""
FILE = "handshakes.jsonl"
_WELL = frozenset((Status.PASSED, Status.INFO))


def is_timed(handshake: Handshake) -> bool:
    """Tell whether its times are those of one TLS 1.2 handshake by itself."""
    return (handshake.handshake_ms is not None and handshake.version == "tlsv1.2"
            and not handshake.crowded)


@dataclass
class Timing:
    """Times and bytes of handshakes, a number each."""

    ms: array[float] = field(default_factory=lambda: array("d"))
    bytes_in: array[int] = field(default_factory=lambda: array("q"))
    bytes_out: array[int] = field(default_factory=lambda: array("q"))

    def add(self, handshake: Handshake) -> None:
        """Take in one that is timed."""
        self.ms.append(handshake.handshake_ms or 0.0)
        self.bytes_in.append(handshake.bytes_in)
        self.bytes_out.append(handshake.bytes_out)

    def extend(self, other: Timing) -> None:
        """Take in all of another."""
        self.ms.extend(other.ms)
        self.bytes_in.extend(other.bytes_in)
        self.bytes_out.extend(other.bytes_out)


@dataclass
class Archive:
    """The handshakes of a run, whole or filed.

    The run may enter more into its ledger at any time; all that is done here is done by one thread.
    """

    ledger: Ledger
    folder: Path | None = None
    """Where the file goes; without one, what is filed is told nowhere."""
    most: int = MOST
    _filed: int = 0
    _timings: defaultdict[tuple[str, Outcome], Timing] = field(
        default_factory=lambda: defaultdict(Timing))
    _blanks: dict[tuple[str, Outcome], Handshake] = field(default_factory=dict)
    _rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    _texts: dict[str, str] = field(default_factory=dict)
    _file: TextIO | None = None

    def settle(self, finding: Finding) -> Finding:
        """Return the finding as it is kept: its handshakes may have been filed.

        What did not come out well stays whole for twice as long: somebody is going to look at it.

        Raises:
            OSError: the file cannot be written.
        """
        verdict = finding.verdict
        room = self.most if verdict.status in _WELL else 2 * self.most
        filed = {handshake.key: handshake for handshake in verdict.handshakes
                 if handshake.key and place_of(handshake.key) >= room}
        if not filed:
            return finding
        for handshake in filed.values():
            self._put_away(handshake, finding.subject)
        return replace(finding, filed=tuple(sorted(filed)), verdict=replace(
            verdict, handshakes=tuple(handshake for handshake in verdict.handshakes
                                      if handshake.key not in filed)))

    def _put_away(self, handshake: Handshake, subject: Subject) -> None:
        place = place_of(handshake.key)
        if not self.ledger.handshakes[place].key:
            return  # with an earlier finding
        self._write(handshake)
        self._rows.pop(handshake.key, None)
        self._texts.pop(handshake.key, None)
        of = handshake.endpoint.name, handshake.outcome
        if is_timed(handshake):
            self._timings[of].add(handshake)
        if of not in self._blanks:
            self._blanks[of] = Handshake(handshake.endpoint, "", handshake.outcome, "filed")
        self.ledger.handshakes[place] = self._blanks[of]
        self._filed += 1
        cell = subject[0], subject[-1]
        recorded = self.ledger.cells.get(cell)
        if recorded is not None and recorded.key == handshake.key:
            self.ledger.cells[cell] = replace(recorded, messages=(), mqtt=None)

    def _write(self, handshake: Handshake) -> None:
        if self.folder is None:
            return
        if self._file is None:
            self._file = (self.folder / FILE).open("w", encoding="utf-8")
        self._file.write(
            json.dumps({"key": handshake.key, **handshake.as_dict()}, ensure_ascii=False) + "\n")

    def flush(self) -> None:
        """See that what was filed is in the file. Raises OSError."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file. Raises OSError."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def rows(self, handshakes: Iterable[Handshake]) -> dict[str, dict[str, Any]]:
        """Return the JSON form of those of the run's first handshakes that are whole, by key.

        Each is made once: the report is written many times.
        """
        rows = {}
        for handshake in handshakes:
            if handshake.key:
                row = self._rows.get(handshake.key)
                if row is None:
                    row = self._rows[handshake.key] = handshake.as_dict()
                rows[handshake.key] = row
        return rows

    def texts(self, rows: Mapping[str, dict[str, Any]]) -> dict[str, str]:
        """Return these rows as text, by key; each is made once."""
        for key, row in rows.items():
            if key not in self._texts:
                self._texts[key] = json.dumps(row, ensure_ascii=False)
        return self._texts

    def timing(self, handshakes: Iterable[Handshake], outcome: Outcome,
               endpoints: Iterable[str]) -> Timing:
        """Return what these handshakes and those that were filed took, with these endpoints."""
        wanted, found = frozenset(endpoints), Timing()
        for (endpoint, came_to), timing in self._timings.items():
            if came_to is outcome and endpoint in wanted:
                found.extend(timing)
        for handshake in handshakes:
            if (handshake.outcome is outcome and is_timed(handshake)
                    and handshake.endpoint.name in wanted):
                found.add(handshake)
        return found

    def notes(self) -> Iterator[str]:
        """Say where the evidence is that the result object does not hold."""
        if self._filed:
            where = "is not kept" if self.folder is None else (
                f"is in {FILE} beside results.json, one a line")
            yield (f"the evidence of {self._filed} more handshakes, all but the first "
                   f"{self.most} of findings that came out well, {where}")
