"""LIFE: what becomes of sessions, and of those who hold them, when nodes come and go."""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from ..drivers import faults
from ..drivers.base import DriverError, DriverInterrupted
from ..model import Handshake, Outcome, Session
from ..tls.wire import Interrupted
from .bench import Bench, Contact, Target
from .preconditions import resuming
from .registry import Check, Cost, Impact, Level, Need, Per, Registry, Subject, Verdict
from .verdicts import error, failed, passed, skipped, trouble

READY_S = 120.0
"""How long a cluster may take to be whole again: ample, since a node that ended is told at once."""


class _EndError(Exception):
    """The measurement ended early, with this verdict."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict


class _Tale:
    """What happens to one node, what it costs, and the cluster made whole in the end."""

    def __init__(self, bench: Bench, node: str) -> None:
        self.bench, self.node = bench, node
        self.handshakes: list[Handshake] = []
        self._disturbed = False

    def verdict(self, story: Callable[[_Tale], str]) -> Verdict:
        """Return what the story comes to. Whatever that is, the cluster is whole afterwards.

        Raises:
            Interrupted: the run was asked to stop.
        """
        try:
            verdict = passed(story(self))
        except _EndError as end:
            verdict = end.verdict
        except DriverInterrupted:
            raise Interrupted from None
        except DriverError as problem:
            verdict = error("driver_failed", str(problem))
        if self._disturbed:
            verdict = self._mended(verdict)
        return replace(verdict, handshakes=tuple(self.handshakes))

    def _mended(self, verdict: Verdict) -> Verdict:
        """Wait for a cluster that the story left in pieces, and say so if they stay pieces."""
        try:
            self.await_whole()
            if self.node not in self.bench.sessions:
                self._heard(self.bench.fresh_session(self.node))
        except _EndError as end:
            return replace(verdict, message=f"{verdict.message}; {end.verdict.message}")
        except DriverInterrupted:
            # Who is left behind must be told, even by a run that ends here.
            if verdict.reason == "driver_failed":
                return verdict
            raise Interrupted from None
        return verdict

    # -- what is done to nodes ---------------------------------------------------------------

    @contextlib.contextmanager
    def disturbed(self, fault: faults.Fault, *, forgets: bool) -> Iterator[None]:
        """Do something to the node for a while.

        Args:
            fault: what.
            forgets: the node has forgotten its sessions afterwards.

        Raises:
            DriverError: it could not be done, or not be undone.
        """
        driver = self.bench.driver
        if forgets:
            self.bench.forget(self.node)
        self._disturbed = True
        with fault(driver, self.bench.specs[self.node]):
            yield

    def await_whole(self) -> None:
        """Return when every node of the run is ready, and sees all the others.

        Raises:
            _EndError: that did not come to be.
            DriverInterrupted: the run was asked to stop.
        """
        self._disturbed = False
        try:
            self.bench.driver.wait_ready(list(self.bench.specs.values()), READY_S)
        except DriverInterrupted:
            raise
        except DriverError as problem:
            self.bench.not_whole = f"the cluster is not whole again: {problem}"
            raise _EndError(failed("not_whole_again", self.bench.not_whole)) from None

    # -- what clients do meanwhile -------------------------------------------------------------

    def established(self) -> Session:
        """Return a new session of the node, which has resumed once: so it can be lost."""
        session = self.fresh()
        return self.resumes(self.node, session, "not_resumed",
                            f"{self.node} did not resume a session that it had just issued")

    def fresh(self) -> Session:
        """Return the session of a full handshake with the node."""
        return self._session(self.bench.fresh_session(self.node), self.node)

    def resumes(self, node: str, session: Session, reason: str, otherwise: str) -> Session:
        """Offer a session that the node must resume. Raises _EndError."""
        return self.offered(node, session, Outcome.RESUMED, reason, otherwise)

    def offered(self, node: str, session: Session, expected: Outcome, reason: str,
                otherwise: str) -> Session:
        """Offer a session, see what is expected, quietly, and return the session in force then.

        Raises:
            _EndError: anything else; ``reason`` and ``otherwise`` are for the other outcome.
        """
        contact = self.bench.contact(node, session)
        self._heard(contact)
        handshake = contact.handshake
        if verdict := trouble(contact):
            raise _EndError(verdict)
        if handshake.outcome is not expected:
            raise _EndError(failed(reason, otherwise))
        if handshake.alerts:
            alert = handshake.alerts[0]
            raise _EndError(failed(
                "alert", f"{node} raised the {alert.level} alert {alert.description} on a session "
                f"of {session.issuer}"))
        return self._issued(contact, node)

    def demand_gone(self, session: Session, reason: str, done: str) -> None:
        """Try to reach the node, which must be in vain. Raises _EndError."""
        contact = self.bench.contact(self.node, session)
        self._heard(contact)
        handshake = contact.handshake
        if handshake.failure is None or handshake.server_random or handshake.alerts:
            raise _EndError(error(reason, f"{handshake.endpoint} answers although the node was "
                                          f"{done}: does this address lead to another node?"))

    def sessions_of_others(self) -> dict[str, Session]:
        """Return a session of every other node that resumes there, or is new there, right now.

        New where the one known so far has outlived its time.
        """
        return {name: self._session(self.bench.contact(name, session), name)
                for name, session in list(self.bench.sessions.items()) if name != self.node}

    def _session(self, contact: Contact, node: str) -> Session:
        self._heard(contact)
        if verdict := trouble(contact):
            raise _EndError(verdict)
        session = self._issued(contact, node)
        self.bench.remember(node, session)
        return session

    def _issued(self, contact: Contact, node: str) -> Session:
        if contact.session is None:
            raise _EndError(failed("no_session_id", f"{node} issued no session ID"))
        return contact.session

    def _heard(self, contact: Contact) -> None:
        self.handshakes.append(contact.handshake)


def _measured(bench: Bench, subject: Subject, doing: str,
              story: Callable[[_Tale], str]) -> Verdict:
    (node,) = subject
    if bench.not_whole:
        return skipped("not_whole", bench.not_whole)
    with bench.waiting(f"{doing} {node}"):
        return _Tale(bench, node).verdict(story)


def forgets_when_restarted(bench: Bench, subject: Subject) -> Verdict:
    """LIFE-01: a restart costs a device its session, and nothing else."""
    return _measured(bench, subject, "LIFE-01 restarts", _restart)


def _restart(tale: _Tale) -> str:
    node, bench = tale.node, tale.bench
    session = tale.established()
    elsewhere = tale.sessions_of_others()
    with tale.disturbed(faults.stopped, forgets=True):
        tale.demand_gone(session, "not_restarted", "stopped")
    tale.await_whole()
    if _shared(bench.target):
        new = tale.resumes(node, session, "not_resumed", f"{node} did not resume a session after "
                           "its restart although resumption_cache_scope is cluster")
    else:
        new = tale.offered(node, session, Outcome.FULL, "resumed_after_restart",
                           f"{node} resumed a session from before its restart: it was not really "
                           "restarted, or keeps its sessions somewhere else")
    tale.resumes(node, new, "not_resumed",
                 f"{node} did not resume the session that it issued after its restart")
    bench.remember(node, new)
    for other, theirs in elsewhere.items():
        tale.resumes(other, theirs, "other_node_forgot",
                     f"{other} no longer resumes its session after {node} was restarted")
    return (_KEPT if _shared(bench.target) else _FORGOT).format(node=node) + _rest(elsewhere)


_FORGOT = ("{node} forgot its session when it was restarted, fell back to a full handshake, and "
           "resumes new ones")
_KEPT = "{node} resumes its session after a restart, as resumption_cache_scope cluster declares"


def _rest(elsewhere: dict[str, Session]) -> str:
    if len(elsewhere) < 2:
        return "".join(f"; {name} still resumes its own" for name in elsewhere)
    return f"; the {len(elsewhere)} other nodes still resume theirs"


def fails_over(bench: Bench, subject: Subject) -> Verdict:
    """LIFE-02: the client of a node that died is served elsewhere."""
    return _measured(bench, subject, "LIFE-02 kills", _fail_over)


def _fail_over(tale: _Tale) -> str:
    node, bench = tale.node, tale.bench
    refuge = bench.target.next_after(node)
    session = tale.established()
    with tale.disturbed(faults.killed, forgets=True):
        tale.demand_gone(session, "still_reachable", "killed")
        if bench.settings.expected(node, refuge) is Outcome.FULL:
            how = "by a full handshake"
            there = tale.offered(refuge, session, Outcome.FULL, "resumed_elsewhere",
                                 f"{refuge} resumed a session of {node}, which was killed")
        else:
            how = "by resuming"
            there = tale.resumes(refuge, session, "not_resumed",
                                 f"{refuge} did not resume a session of {node}, which was killed, "
                                 "although resumption_cache_scope is cluster")
        tale.resumes(refuge, there, "not_resumed", f"{refuge} did not resume the session it had "
                     f"with a client of {node}, which was killed")
    tale.await_whole()
    tale.fresh()
    return (f"a client of {node}, which was killed, got MQTT back on {refuge} {how} and resumed "
            f"there next time; {node} is back")


def keeps_sessions_when_cut_off(bench: Bench, subject: Subject) -> Verdict:
    """LIFE-05: a node without its peers still is a node for its own clients."""
    return _measured(bench, subject, "LIFE-05 cuts off", _cut_off)


def _cut_off(tale: _Tale) -> str:
    node = tale.node
    session = tale.established()
    with tale.disturbed(faults.cut_off, forgets=False):
        tale.resumes(node, session, "not_resumed_cut_off", f"{node} did not resume its session "
                     "while it was cut off from its peers")
        tale.fresh()
    tale.await_whole()
    tale.resumes(node, session, "not_resumed_afterwards", f"{node} did not resume its session "
                 "after it was brought back to its peers")
    return (f"{node} resumed its session while it was cut off from its peers and afterwards, MQTT "
            "worked, and the cluster is whole again")


def _shared(target: Target) -> bool:
    return target.settings.cache_scope == "cluster"


def _able(target: Target, ability: str, what: str) -> str | None:
    if ability in target.abilities:
        return None
    why = f": {target.limits}" if target.limits else ""
    return f"the {target.driver} driver cannot {what}{why}"


def _short_lived(target: Target) -> str | None:
    lifetime = target.settings.session_lifetime
    if lifetime is None or lifetime > READY_S:
        return None
    return (f"sessions live {lifetime:g} s, and may be forgotten of age before a node is back "
            f"(up to {READY_S:g} s)")


def _restart_applies(target: Target) -> str | None:
    return _able(target, "restart", "restart nodes") or resuming(target) or _short_lived(target)


def _fail_over_applies(target: Target) -> str | None:
    alone = "one node: there is no other node to fail over to" if len(target.nodes) < 2 else None
    return (_able(target, "kill", "kill nodes") or alone or resuming(target)
            or _short_lived(target))


def _cut_off_applies(target: Target) -> str | None:
    alone = "one node: there are no peers to be cut off from" if len(target.nodes) < 2 else None
    far = "a node that is cut off may lose the cache that resumption_cache_scope cluster declares" \
        if _shared(target) else None
    return (_able(target, "disconnect", "cut a node off from its peers") or alone
            or resuming(target) or far or _short_lived(target))


def _restart_cost(target: Target) -> Cost:
    others = (Cost(resumed=2, at="others"),)
    return Cost(full=1, resumed=3, elsewhere=others) if _shared(target) else \
        Cost(full=2, resumed=2, elsewhere=others)


def _fail_over_cost(target: Target) -> Cost:
    refuge = Cost(resumed=2, at="next") if _shared(target) else Cost(full=1, resumed=1, at="next")
    return Cost(full=2, resumed=1, elsewhere=(refuge,))


def register(registry: Registry) -> None:
    """Add the family."""
    # A cluster that is not well is not disturbed.
    well = (Need("CORE-02", "every"),)
    registry.add(Check(
        "LIFE-01", "A restarted node forgets, and nothing else breaks",
        "A node that is restarted in order forgets its sessions: one that resumed before leads to "
        "a full handshake without an alert, MQTT works, and the new session resumes; sessions of "
        "the other nodes still resume there. With resumption_cache_scope cluster the old session "
        "resumes instead.",
        "RFC 5246 7.4.1.2, F.1.4", Level.MUST, Impact.DISRUPTIVE, Per.NODE, _restart_cost,
        forgets_when_restarted,
        "A rolling restart locks devices out, or costs devices of nodes that were not restarted "
        "their sessions, or sessions outlive the process that should hold them.",
        well, _restart_applies, alone=True, awaits=True,
        how="A session resumes, the node is stopped in order, must be unreachable, is "
            "started again and awaited; then the session is offered to it, and the sessions "
            "of the other nodes to those.",
        titles={"cluster": "A restarted node resumes what it issued, and nothing else breaks"}))
    registry.add(Check(
        "LIFE-02", "A client of a killed node is served by another",
        "A client whose node was killed gets MQTT back on the next node, in a full handshake "
        "without an alert although it offers its old session, and resumes there next time; the "
        "killed node is started again and the cluster is whole. With resumption_cache_scope "
        "cluster the old session resumes there at once.",
        "RFC 5246 7.4.1.2", Level.MUST, Impact.DISRUPTIVE, Per.NODE, _fail_over_cost, fails_over,
        "When a node dies its devices do not get back by themselves, or pay for a full handshake "
        "every time from then on.", well, _fail_over_applies, alone=True, awaits=True,
        how="A session resumes, the node is killed and must be unreachable; the client then "
            "goes to the next node in the inventory's order, with its old session, and once "
            "more with the one it got there. The node is started again and awaited whatever "
            "happens."))
    registry.add(Check(
        "LIFE-05", "A node cut off from its peers keeps its sessions",
        "A node cut off from its cluster keeps its TLS sessions: they still resume there, full "
        "handshakes and MQTT work; afterwards the cluster heals and the sessions resume still.",
        "RFC 5246 7.3", Level.MUST, Impact.DISRUPTIVE, Per.NODE, Cost(full=2, resumed=3),
        keeps_sessions_when_cut_off,
        "A network split costs the devices of the nodes behind it their sessions or their "
        "connections, at the worst moment for a wave of full handshakes.",
        well, _cut_off_applies, alone=True, awaits=True,
        how="A session resumes, the node is cut off from its peers by the driver, which asks "
            "the nodes whether they have really lost each other; the session is offered "
            "meanwhile and after the cluster has healed."))
