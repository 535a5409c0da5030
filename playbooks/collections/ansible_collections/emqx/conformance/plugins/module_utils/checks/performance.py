"""PERF-01: what a node and a device get out of resumption, in time, bytes and processor time.

The sample. ``ROUNDS`` times some full handshakes are made and then some resumed ones, or, every
second time, the other way round: whatever else the machines do meanwhile hits both alike. Every
connection is whole, with CONNECT and DISCONNECT on it. Before each of these blocks and after it
the node is let alone for a moment, so that its processor time can be told apart, and what it takes
when nothing is asked of it is taken off.

The loads. Several clients at once resume a session, each on one connection after the other. That
takes no place in the node's cache, which is why full handshakes are not made so. Clients that began
together end in bursts, so a rate is told of rounds in which all of them come by, and of the time in
which all were busy: not while the first connection of each goes on, nor while they run dry. The
probe is one process of Python: where it is at its limit before the node is at its own, the finding
says so.

Intervals are of order statistics (``run/quantiles.py``): of latencies, and of the ``ROUNDS``
blocks or equal parts, of which the median lies between the least and the greatest.
"""
from __future__ import annotations

import itertools
import math
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ..drivers.base import DriverError
from ..model import Handshake, Outcome, Session
from ..run import quantiles
from ..run.bench import Bench
from ..run.check import Check, Cost, Impact, Level, Need, Per, Verdict
from ..run.preconditions import resuming
from ..run.prober import Contact
from ..run.savings import Savings
from ..run.story import Story, StoryEnd
from ..run.target import Target
from ..run.verdict import skipped
from ..tls.wire import Interrupted

ROUNDS = 6
"""The fewest of which the median has an interval."""
FULL, RESUMED = 13, 62
"""Handshakes of a round: so that p95 of all full ones, and p99 of all resumed ones, have an
interval."""
CLIENTS = (4, 16, 64)
"""How many resume at once, each four times as many as before; one at a time do in the sample."""
_PART = 24
"""The fewest handshakes of a part of a load: times of single ones differ by a third or more."""
_MANY = 10
"""Nodes beyond which a run has little time for each."""
_FULL_OF_MANY, _RESUMED_OF_MANY = 5, 12
_SHARE = 0.08
"""What full handshakes may take of a node's session cache."""
_SAMPLE_S, _LOADS_S = 30.0, 20.0
"""Seconds after which no more is asked of a node that answers slowly."""
_WEIGHT = {Outcome.FULL: 3, Outcome.RESUMED: 1}
"""How the time is shared out: full handshakes take longer, and there are fewer of them."""
_LIMITED_S = 9.1
"""What the sample takes where a rate limit decides."""
_SETTLE_S = 0.02
_IDLE_S = 0.25
_BUSY = 0.85
"""Share of one processor beyond which the probe is at its limit: Python runs on one."""
_PERCENTS = (50, 95, 99)


@dataclass(frozen=True)
class _Size:
    """How much is measured."""

    full: int
    """Handshakes of a round."""
    resumed: int
    clients: tuple[int, ...] = ()
    """How many resume at once, load after load."""
    no_loads: str = ""
    """Why none do, in one clause."""

    @classmethod
    def of(cls, target: Target) -> _Size:
        """Return what fits the target's cache, its rate limit and its number of nodes."""
        settings = target.settings
        places = int(_SHARE * settings.session_cache_max / target.places)
        if target.spare is not None:
            places = min(places, target.spare)
        full, resumed = min(FULL, (places - 1) // ROUNDS), RESUMED
        if len(target.nodes) > _MANY:
            full, resumed = min(full, _FULL_OF_MANY), min(resumed, _RESUMED_OF_MANY)
        if settings.rate_limit:
            most = int((_LIMITED_S * settings.rate_limit - 2) / ROUNDS)
            full = min(full, max(1, most // 2))
            return cls(full, min(resumed, max(1, most - full)), (), (
                f"resumption_rate_limit allows {settings.rate_limit:g} a second"))
        if len(target.nodes) > _MANY:
            return cls(full, resumed, (), f"there are more than {_MANY} nodes")
        return cls(full, resumed, CLIENTS)

    @property
    def weight(self) -> int:
        """How much time all rounds may take, as :data:`_WEIGHT` counts it."""
        return ROUNDS * (self.full * _WEIGHT[Outcome.FULL]
                         + self.resumed * _WEIGHT[Outcome.RESUMED])

    @property
    def loads(self) -> int:
        """Handshakes of all loads."""
        return sum(_handshakes(clients) for clients in self.clients)

    @property
    def cost(self) -> Cost:
        """What it all costs a node, with the two handshakes that are made first."""
        return Cost(full=1 + ROUNDS * self.full, resumed=1 + ROUNDS * self.resumed + self.loads)


def _handshakes(clients: int) -> int:
    """Return how many a load takes: ``ROUNDS`` parts, and one of each client before and after."""
    return 2 * clients + ROUNDS * clients * math.ceil(_PART / clients)


# -- what is measured -------------------------------------------------------------------------

@dataclass(frozen=True)
class _Timing:
    """What is kept of one handshake."""

    handshake_ms: float
    connect_ms: float
    bytes_in: int
    bytes_out: int

    @classmethod
    def of(cls, handshake: Handshake) -> _Timing:
        return cls(handshake.handshake_ms or 0.0, handshake.connect_ms or 0.0,
                   handshake.bytes_in, handshake.bytes_out)


@dataclass(frozen=True)
class _Block:
    """Handshakes of one kind, one after the other."""

    timings: tuple[_Timing, ...]
    seconds: float
    cpu_s: float | None
    """Of the node; None: nobody knows."""

    @property
    def per_s(self) -> float:
        return len(self.timings) / self.seconds

    @property
    def cpu_ms(self) -> float | None:
        """For each handshake."""
        return None if self.cpu_s is None else 1000 * self.cpu_s / len(self.timings)


@dataclass(frozen=True)
class _Load:
    """What came of several clients at once."""

    clients: int
    ended: tuple[float, ...]
    """Seconds from the beginning to the end of each connection, ascending; ``ROUNDS`` or more."""
    probe_cpus: float
    """Processors that the probe kept busy."""
    node_cpus: float | None

    @property
    def per_s(self) -> float:
        """The median of the parts; without parts, the rate of all."""
        return statistics.median(self.parts or [len(self.ended) / self.ended[-1]])

    @property
    def parts(self) -> list[float]:
        """The rates of equal parts of the time in which all clients were busy.

        In each all clients come by, once or several times. None when there are too few handshakes.
        """
        each = (len(self.ended) // self.clients - 2) // ROUNDS * self.clients
        if each < 1:
            return []
        marks = self.ended[self.clients - 1::each][:ROUNDS + 1]
        return [each / (after - before) for before, after in zip(marks, marks[1:])]


class _Meter:
    """Reads a node's processor time, where its driver can."""

    def __init__(self, bench: Bench, node: str) -> None:
        self._bench, self._spec = bench, bench.specs[node]
        self._idle = 0.0
        self.of = self.why = ""
        """Whose processor time it is; or why it cannot be read, in one clause."""

    def read(self) -> tuple[float, float] | None:
        """Return the node's processor time and the time, in seconds."""
        if self.why:
            return None
        try:
            driver = self._bench.driver
            self.of = driver.cpu_of
            return driver.cpu_s(self._spec), time.monotonic()
        except DriverError as problem:
            self.why = str(problem)
            return None

    def since(self, before: tuple[float, float] | None) -> float | None:
        """Return what the node has taken since then for what was asked of it, in seconds."""
        now = self.read()
        if before is None or now is None:
            return None
        return now[0] - before[0] - self._idle * (now[1] - before[1])

    def find_idle(self) -> None:
        """See what the node takes when nothing is asked of it."""
        before = self.read()
        if before is not None and not self._bench.stop.wait(_IDLE_S):
            self._idle = (self.since(before) or 0.0) / _IDLE_S


@dataclass
class _Sample:
    """All that was measured of one node."""

    node: str
    size: _Size
    blocks: dict[Outcome, list[_Block]] = field(
        default_factory=lambda: {Outcome.FULL: [], Outcome.RESUMED: []})
    loads: list[_Load] = field(default_factory=list)

    def timings(self, kind: Outcome) -> list[_Timing]:
        return [timing for block in self.blocks[kind] for timing in block.timings]


class _Trial:
    """Makes the handshakes with one node."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self._bench, self._node = story.bench, story.node
        self.meter = _Meter(story.bench, story.node)
        self.sample = _Sample(story.node, _Size.of(story.target))
        self._session = self._first()

    def _first(self) -> Session:
        """Make the two handshakes that are shown: the first ones are seldom like the others."""
        first = self.story.fresh_session()
        self.story.reaches_mqtt(first)
        if first.session is None:
            self.story.error("no_session_id", f"{self._node} issued no session ID")
        self._judge(self.story.contact(self._node, first.session), Outcome.RESUMED)
        return first.session

    def _judge(self, contact: Contact, kind: Outcome, when: str = "") -> None:
        """Demand that a handshake came to what it should."""
        if self.story.reaches_mqtt(contact, when).outcome is not kind:
            self.story.error("not_resumed", f"{self._node} answered a session that it had resumed "
                             "before with a full handshake" + (f" ({when})" if when else ""))

    def rounds(self) -> None:
        """Take the sample."""
        size, begun, asked = self.sample.size, time.monotonic(), 0
        self.meter.find_idle()
        for number in range(ROUNDS):
            kinds = [(Outcome.FULL, size.full), (Outcome.RESUMED, size.resumed)]
            for kind, count in kinds if number % 2 == 0 else reversed(kinds):
                asked += _WEIGHT[kind] * count
                until = begun + _SAMPLE_S * asked / size.weight
                self.sample.blocks[kind].append(self._block(kind, count, until))

    def _settle(self) -> None:
        """Let what is still being done for the last connection be counted with it."""
        if self._bench.stop.wait(0 if self.meter.why else _SETTLE_S):
            raise Interrupted

    def _block(self, kind: Outcome, count: int, until: float) -> _Block:
        self._settle()
        timings: list[_Timing] = []
        before, begun = self.meter.read(), time.monotonic()
        while len(timings) < count and (not timings or time.monotonic() < until):
            timings.append(self._connected(kind, keep=not timings))
        seconds = time.monotonic() - begun
        self._settle()
        return _Block(tuple(timings), seconds, self.meter.since(before))

    def _connected(self, kind: Outcome, *, keep: bool) -> _Timing:
        """Make one handshake; of full ones, let what follows resume the kept one."""
        offer = self._session if kind is Outcome.RESUMED else None
        contact = self.story.contact(self._node, offer, usual=kind,
                                     keep_session=keep and offer is None)
        self._judge(contact, kind)
        self._session = contact.session or self._session if offer is None else self._session
        return _Timing.of(contact.handshake)

    def load(self, clients: int, until: float) -> _Load:
        """Let so many clients resume at once."""
        tickets: Iterator[int] = itertools.count()
        stumbled = threading.Event()
        ended: list[float] = []

        def one() -> None:
            while not stumbled.is_set() and (
                    len(ended) < ROUNDS or time.monotonic() < until) and (
                    next(tickets) < _handshakes(clients)):
                try:
                    contact = self.story.contact(self._node, self._session,
                                                 usual=Outcome.RESUMED, keep_session=False)
                    # An alert to one of them may have spoilt it for all; that one tells why.
                    if contact.spoilt and stumbled.wait(self.story.settings.deadline_s):
                        return
                    self._judge(contact, Outcome.RESUMED, f"with {clients} clients at once")
                except BaseException:
                    stumbled.set()
                    raise
                ended.append(time.monotonic())

        self._settle()
        before, probe, begun = self.meter.read(), time.process_time(), time.monotonic()
        with ThreadPoolExecutor(clients) as pool:
            futures = [pool.submit(one) for _ in range(clients)]
        for future in futures:
            future.result()
        seconds, probe = time.monotonic() - begun, time.process_time() - probe
        self._settle()
        node = self.meter.since(before)
        return _Load(clients, tuple(sorted(end - begun for end in ended)), probe / seconds,
                     None if node is None else node / seconds)


# -- when, and at what cost -------------------------------------------------------------------

def _why_not(target: Target) -> str | Verdict | None:
    if why := resuming(target):
        return why
    settings, size = target.settings, _Size.of(target)
    if target.vantage:
        return skipped("not_from_vantage", "it is measured from the controller only, whose sample "
                                           "takes its share of each node's session cache")
    if size.full < 1:
        return (f"{1 + ROUNDS} full handshakes are more than {_SHARE:.0%} of the "
                f"{settings.session_cache_max} places in a session cache, or than the other checks "
                "leave over of each node's session budget")
    seconds = max(_SAMPLE_S, size.cost.total / (settings.rate_limit or math.inf))
    if settings.session_lifetime is not None and settings.session_lifetime < seconds:
        return (f"sessions live {settings.session_lifetime:g} s, and the sample may take "
                f"{seconds:.0f} s")
    return None


# -- the check --------------------------------------------------------------------------------

@Check(
    id="PERF-01",
    title="What resumption is worth",
    requirement=(
        "How long full and resumed handshakes take, how many bytes and how much of the node's "
        "processor time, how many are made a second, and what that saves a fleet, is reported."),
    clause="—",
    level=Level.INFO, impact=Impact.NOISY, per=Per.NODE, cost=lambda target: _Size.of(target).cost,
    meaning=(
        "Nothing by itself. no_gain: a resumed handshake is no faster than a full one, so the time "
        "goes elsewhere than into keys and certificates. A warning: the node resumes for one "
        "client at a time, and not for as many at once as the finding says."),
    needs=(Need("CORE-02"), Need("CORE-05")), precondition=_why_not,
    how=(
        f"In {ROUNDS} rounds {FULL} full and {RESUMED} resumed handshakes are made in turn, "
        "every second round the other way round, each with CONNECT and DISCONNECT; then "
        f"{', '.join(str(clients) for clients in CLIENTS)} clients at once resume. Intervals are "
        "of order statistics, so that nothing is taken for granted about the distribution of "
        "times; where the sample is too small for one there is none. Rates are of the time in "
        "which all clients were busy, in parts in which all of them come by. Processor time is "
        "that of the node's whole process or container, less what it takes when idle, and is told "
        "of nodes that a driver runs on this machine. Where a rate limit is set, and of more than "
        f"{_MANY} nodes, fewer handshakes are made and no rates are measured. "
        "docs/resumption-savings.md says how to read it."),
    alone=True, elastic=True,
    doing="times handshakes with",
    reasons={
        "measured": "a resumed handshake is faster than a full one",
        "no_gain": "a resumed handshake is no faster than a full one",
        "not_resumed": "a session that has resumed before does not",
        "no_session_id": "a handshake brings no session ID"})
def what_resumption_is_worth(story: Story) -> NoReturn:
    """What a fleet saves, so that one can tell whether to care."""
    trial = _Trial(story)
    trial.rounds()
    stumbled = _loads(trial)
    bench, announced = story.bench, trial.sample.size.cost.total
    if stumbled is None and bench.ledger.made[bench.ledger.check][story.node] < announced:
        bench.ledger.more[bench.ledger.check, story.node] = "it answers too slowly for all of them"
    reason, sentence = _measured(trial)
    if stumbled is not None:
        story.warn(stumbled.reason, f"{stumbled.message}. {sentence}")
    story.inform(reason, sentence)


def _loads(trial: _Trial) -> Verdict | None:
    """Let more and more clients resume; return what ended that early."""
    size, begun, asked = trial.sample.size, time.monotonic(), 0
    for clients in size.clients:
        asked += _handshakes(clients)
        try:
            trial.sample.loads.append(trial.load(clients, begun + _LOADS_S * asked / size.loads))
        except StoryEnd as end:
            return end.verdict
    return None


# -- what it comes to -------------------------------------------------------------------------

def _measured(trial: _Trial) -> tuple[str, str]:
    """Keep the figures, and return what they come to and a sentence."""
    story, sample, fleet = trial.story, trial.sample, trial.story.settings.fleet
    full, resumed = (sample.timings(kind) for kind in (Outcome.FULL, Outcome.RESUMED))
    figures = {"full": _figures(full), "resumed": _figures(resumed)}
    cpu, first = _cpu(sample, trial.meter), story.evidence[0]
    round_trip = statistics.median(timing.connect_ms for timing in (*full, *resumed))
    saved = _savings(figures, round_trip, cpu)
    sentence = saved.sentence(fleet)
    story.data.update({
        "certificate": first.server_key, "cipher": first.cipher, **figures,
        "round_trip_ms": round(round_trip, 3), "rates": _rates(sample), "cpu": cpu,
        "fleet": saved.of(fleet), "sentence": sentence})
    if not cpu:
        story.data["cpu_why"] = trial.meter.why
    if not sample.loads:
        story.data["rates_why"] = sample.size.no_loads
    gains = figures["resumed"]["p50_ms_95"][1] < figures["full"]["p50_ms_95"][0]
    return ("measured" if gains else "no_gain",
            f"{_told(sample.node, story.data, gains=gains)}. {sentence}")


def _savings(figures: dict[str, dict[str, Any]], round_trip: float,
             cpu: dict[str, Any] | None) -> Savings:
    full, resumed = figures["full"], figures["resumed"]
    return Savings(full["p50_ms"] - resumed["p50_ms"] - round_trip,
                   sum(full[way] - resumed[way] for way in ("bytes_in", "bytes_out")),
                   cpu["full_ms"] - cpu["resumed_ms"] if cpu else None)


def _figures(timings: Sequence[_Timing]) -> dict[str, Any]:
    times = sorted(timing.handshake_ms for timing in timings)
    told: dict[str, Any] = {"count": len(times)}
    for percent in _PERCENTS:
        told[f"p{percent}_ms"] = quantiles.percentile(times, percent)
        told[f"p{percent}_ms_95"] = _ends(quantiles.interval(times, percent), 3)
    return {**told,
            "too_few_for": [f"p{percent}" for percent in _PERCENTS
                            if len(times) < quantiles.least(percent)],
            "bytes_in": int(statistics.median(timing.bytes_in for timing in timings)),
            "bytes_out": int(statistics.median(timing.bytes_out for timing in timings)),
            "times_ms": [timing.handshake_ms for timing in timings]}


def _ends(interval: tuple[float, float] | None, digits: int) -> list[float] | None:
    return None if interval is None else [round(end, digits) for end in interval]


def _median(values: Sequence[float], digits: int) -> tuple[float, list[float] | None]:
    """Return the median and its interval."""
    return (round(statistics.median(values), digits),
            _ends(quantiles.interval(sorted(values), 50), digits))


def _cpu(sample: _Sample, meter: _Meter) -> dict[str, Any] | None:
    told: dict[str, Any] = {"of": meter.of}
    for kind in (Outcome.FULL, Outcome.RESUMED):
        used = [block.cpu_ms for block in sample.blocks[kind]]
        known = [each for each in used if each is not None]
        if len(known) < len(used):
            return None
        told[f"{kind.value}_ms"], told[f"{kind.value}_ms_95"] = _median(known, 3)
    return told


def _rates(sample: _Sample) -> list[dict[str, Any]]:
    """Return handshakes a second by number of clients; without loads there is no rate at all."""
    if not sample.loads:
        return []
    blocks = {kind: [block.per_s for block in sample.blocks[kind]] for kind in sample.blocks}
    full, full_95 = _median(blocks[Outcome.FULL], 1)
    one, one_95 = _median(blocks[Outcome.RESUMED], 1)
    return [{"clients": 1, "per_s": one, "per_s_95": one_95,
             "handshakes": len(sample.timings(Outcome.RESUMED)),
             "full_per_s": full, "full_per_s_95": full_95},
            *({"clients": load.clients, "per_s": round(load.per_s, 1),
               "per_s_95": _ends(quantiles.interval(sorted(load.parts), 50), 1),
               "handshakes": len(load.ended), "probe_cpus": round(load.probe_cpus, 2),
               "node_cpus": None if load.node_cpus is None else round(load.node_cpus, 2)}
              for load in sample.loads)]


def _told(node: str, data: dict[str, Any], *, gains: bool) -> str:
    full, resumed, cpu = data["full"], data["resumed"], data["cpu"]
    key = f" ({data['certificate']} certificate)" if data["certificate"] else ""
    told = (f"{node}{key}: a resumed handshake takes {_with_interval(resumed)} ms and a full one "
            f"{_with_interval(full)}")
    if not gains:
        told += ", so resuming is no faster here"
    told += f"; {_octets(resumed)} bytes instead of {_octets(full)}"
    if cpu:
        told += (f"; {_number(cpu['resumed_ms'])} ms of the node's CPU time instead of "
                 f"{_number(cpu['full_ms'])}")
    return told + (f"; {_best(data['rates'])}" if data["rates"] else "")


def _with_interval(figures: dict[str, Any]) -> str:
    low, high = figures["p50_ms_95"]
    return f"{_number(figures['p50_ms'])} ({_number(low)} to {_number(high)})"


def _number(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _octets(figures: dict[str, Any]) -> str:
    return f"{figures['bytes_in'] + figures['bytes_out']:,}"


def _best(rates: Sequence[dict[str, Any]]) -> str:
    best = max(rates, key=lambda rate: float(rate["per_s"]))
    many = "one client makes" if best["clients"] == 1 else f"{best['clients']} clients at once make"
    told = f"{many} {best['per_s']:,.0f} resumed handshakes a second"
    return told + (", and this probe no more" if best.get("probe_cpus", 0) > _BUSY else "")
