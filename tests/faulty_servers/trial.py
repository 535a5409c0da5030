"""Lets the whole catalogue loose on a server, and compares what it found with the table."""
from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from ansible_collections.emqx.conformance.plugins.module_utils import verify
from ansible_collections.emqx.conformance.plugins.module_utils.checks import load_balancer
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.checks.security import session_ids
from ansible_collections.emqx.conformance.plugins.module_utils.run import randomness
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Registry
from ansible_collections.emqx.conformance.plugins.modules.resumption_verify import ARGUMENT_SPEC

from tests.faulty_servers.start import Started, started
from tests.faulty_servers.table import ALARMS, Expected, Row
from tests.support.costs import add_up
from tests.support.few_handshakes import few_handshakes

_SPEC: dict[str, Any] = dict(ARGUMENT_SPEC)
DEADLINE_S = 4.0
"""What one handshake may take: more than any right server needs on a busy machine."""
FEWER_IDS = 64
"""How many session IDs SEC-03 looks at where they are not what is wrong: the fewest of which it can
tell that a bit is constant, and each costs a handshake in pure Python."""
FEWER_BITS = 48
"""How many of their bits must be free then: no more than there are IDs can show to be."""
FEWER_DEVICES = 6
"""How many devices LB-01 lets come back to a single node where it has nothing to complain of."""
AT_ONCE = (16,)
"""How many clients PERF-01 lets resume at once where that is what goes wrong."""
_SETTLE_S = 2.0
"""How long a server may take to accept what has ended already."""
_MISSING = frozenset(("tlslite_missing", "paho_missing"))
"""Why a check must not be skipped here: what it needs is installed for tests."""


@dataclass(frozen=True)
class Found:
    """One finding of the run."""

    check: str
    subject: str
    status: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.status} {self.reason}".rstrip()

    @property
    def quiet(self) -> bool:
        """Tell whether this may be found in any server.

        What does not apply to a target at all is skipped once for all its nodes.
        """
        return self.status in ("passed", "info") or (
            self.status == "skipped" and self.subject == "cluster"
            and self.reason not in _MISSING)


_LineT = TypeVar("_LineT", Found, Expected)


@dataclass(frozen=True)
class Trial:
    """What was found in the server of one row."""

    row: Row
    found: tuple[Found, ...]
    seconds: float
    budget: Mapping[str, Any] = field(default_factory=dict)
    """What results.json says of the handshakes."""
    unclaimed: tuple[str, ...] = ()
    """Why, for each handshake that is in the report and is evidence of no finding."""
    accepted: int = 0
    """Connections that the servers counted themselves."""

    @property
    def handshakes(self) -> int:
        """How many were made, by the report."""
        return sum(row["handshakes_done"] for part in ("nodes", "load_balancers")
                   for row in self.budget[part].values())

    @property
    def differences(self) -> list[str]:
        """What differs from the table, in one line each."""
        return [line for _, line in _differences(self.row.finds, self.found)]

    @property
    def unsaid(self) -> list[str]:
        """What the table wants said and no sentence says, in one line each."""
        return list(_unsaid(self.row, self.found))

    @property
    def detected(self) -> bool:
        """Tell whether everything was complained of that should have been, as it should."""
        missing = _differences(self.row.alarms, self.found)
        return not any(expected for expected, _ in missing)

    @property
    def false_alarms(self) -> list[Found]:
        """Complaints that the table knows nothing of."""
        return [one for one in self.found if one.status in ALARMS
                and _expected(self.row.finds, one) is None]

    def report(self) -> str:
        """Return the differences for people."""
        lines = self.differences + self.unsaid
        head = f"{self.row.name} ({self.row.what}): "
        return head + (f"{len(lines)} difference{'s' * (len(lines) > 1)} from the table\n  "
                       + "\n  ".join(lines) if lines else "as the table says")


def _expected(finds: Iterable[Expected], one: Found) -> Expected | None:
    """Return what the table says of a finding: the row for its subject before that for all."""
    fitting = [line for line in finds
               if line.check == one.check and line.subject in ("*", one.subject)]
    return min(fitting, key=lambda line: line.subject == "*", default=None)


def _differences(finds: Iterable[Expected],
                 found: Iterable[Found]) -> list[tuple[Expected | None, str]]:
    """Return what differs, in one line each, and what the table says there."""
    differences: list[tuple[Expected | None, str]] = []
    met = set()
    for one in found:
        expected = _expected(finds, one)
        met.add(expected)
        if one.quiet if expected is None else str(one) == str(expected):
            continue
        line = (f"{one.check} {one.subject}: the table says {expected or 'nothing'}, and it came "
                f"to {one}: {one.message}")
        differences.append((expected, line))
    for expected in finds:
        if expected not in met:
            line = (f"{expected.check} {expected.subject}: the table says {expected}, and there "
                    "is no such finding")
            differences.append((expected, line))
    return differences


def _unsaid(row: Row, found: Iterable[Found]) -> Iterator[str]:
    """Yield what stands in no sentence though the table says so, in one line each."""
    for check, text in row.says:
        spoken = [one for one in found if one.check == check and one.status != "skipped"]
        if not spoken:
            yield f"{check}: the table says “{text}”, and it has said nothing"
        for one in spoken:
            if text not in one.message:
                yield (f"{check} {one.subject}: the table says “{text}”, and it came to "
                       f"{one.status}: {one.message}")


def _request(row: Row, server: Started, folder: Path, only: str = "") -> verify.Request:
    # As the module would be called, with its own defaults for what is not said here.
    return verify.request({
        **{name: option.get("default") for name, option in _SPEC.items()},
        "nodes": [{"name": f"n{number}", "host": "127.0.0.1", "port": port,
                   "server_name": "localhost"} for number, port in enumerate(server.ports, 1)],
        "load_balancers": [] if server.balancer_port is None else [{
            "name": "lb", "host": "127.0.0.1", "port": server.balancer_port,
            "server_name": "localhost", "affinity": dict(row.balancer).get("affinity")}],
        "ca": str(server.ca_file), "session_cache_max": 1000, "timeout": DEADLINE_S,
        "tls_versions": ["tlsv1.2"], "max_impact": "noisy",
        "reports_dir": str(folder / "reports"), **({"checks": [only]} if only else {}),
        **dict(row.declared)})


def _blinded(check_id: str) -> Registry:
    """Return the catalogue with one check that always passes."""
    registry = Registry()
    for check in catalogue():
        registry.add(check if check.id != check_id else replace(
            check, story=lambda _: "it asserts nothing"))
    return registry


def run(row: Row, *, only: str = "", blind: str = "") -> Trial:
    """Start the row's servers and verify them, as ``resumption_verify`` does.

    Args:
        row: which.
        only: id of the one check that runs, with what it needs; what is found of it is compared
            alone.
        blind: the same of a check whose assertion is left out.
    """
    if blind:
        with mock.patch.object(verify, "catalogue", return_value=_blinded(blind)):
            return run(row, only=blind)
    done = _run(row, only)
    return done if not only else replace(
        done, row=replace(row, finds=_of(only, row.finds)), found=_of(only, done.found))


def _of(check: str, lines: tuple[_LineT, ...]) -> tuple[_LineT, ...]:
    return tuple(line for line in lines if line.check == check)


def _run(row: Row, only: str) -> Trial:
    begun = time.monotonic()
    with _samples(row), tempfile.TemporaryDirectory(prefix="faulty-") as name:
        folder = Path(name)
        with started(row, folder) as server:
            results, _ = verify.verify(_request(row, server, folder, only), threading.Event())
            evidence = {name for told in results["checks"]
                        for name in told["evidence"]["handshakes"]}
            done = Trial(row, tuple(_found(told) for told in results["checks"]),
                         time.monotonic() - begun, results["budget"],
                         tuple(told["why"] for name, told in results["handshakes"].items()
                               if name not in evidence))
            accepted = _settled(server, done.handshakes)
    add_up(results)
    return replace(done, accepted=accepted)


@contextlib.contextmanager
def _samples(row: Row) -> Iterator[None]:
    """Let those checks take small samples that are not what a planted defect is found by."""
    alarms = {found.check for found in row.alarms}
    with contextlib.ExitStack() as stack:
        stack.enter_context(few_handshakes(*(AT_ONCE if "PERF-01" in alarms else ())))
        if row.planted and "SEC-03" not in alarms:
            stack.enter_context(mock.patch.object(session_ids, "SAMPLE", FEWER_IDS))
            stack.enter_context(mock.patch.object(randomness, "ENOUGH_BITS", FEWER_BITS))
        if row.planted and "LB-01" not in alarms:
            stack.enter_context(
                mock.patch.object(load_balancer, "FEWER_DEVICES", FEWER_DEVICES))
        yield


def _settled(server: Started, expected: int) -> int:
    """Return what the servers have counted, as soon as it is what is expected, or in the end."""
    end = time.monotonic() + _SETTLE_S
    while (counted := server.accepted()) != expected and time.monotonic() < end:
        time.sleep(0.01)
    return counted


def _found(told: dict[str, Any]) -> Found:
    return Found(told["id"], told["subject"], told["status"], told["reason"], told["message"])
