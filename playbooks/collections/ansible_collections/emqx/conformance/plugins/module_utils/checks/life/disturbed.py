"""LIFE-01, LIFE-02, LIFE-05: what becomes of sessions and their clients when nodes come and go."""
from __future__ import annotations

from ...drivers import faults
from ...model import Session
from ...run.check import Check, Cost, Impact, Level, Need, Per
from ...run.preconditions import resuming
from ...run.story import READY_S, Story
from ...run.target import Target

_WELL = (Need("CORE-02", "every"),)
"""A cluster that is not well is not disturbed."""


# -- when, and at what cost -------------------------------------------------------------------

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


# -- the checks -------------------------------------------------------------------------------

@Check(
    id="LIFE-01",
    title="A restarted node forgets, and nothing else breaks",
    requirement=(
        "A node that is restarted in order forgets its sessions: one that resumed before leads to "
        "a full handshake without an alert, MQTT works, and the new session resumes; sessions of "
        "the other nodes still resume there. With resumption_cache_scope cluster the old session "
        "resumes instead."),
    clause="RFC 5246 7.4.1.2, F.1.4",
    level=Level.MUST, impact=Impact.DISRUPTIVE, per=Per.NODE, cost=_restart_cost,
    meaning=(
        "A rolling restart locks devices out, or costs devices of nodes that were not restarted "
        "their sessions, or sessions outlive the process that should hold them."),
    needs=_WELL, precondition=_restart_applies, alone=True, awaits=True,
    how=(
        "A session resumes, the node is stopped in order, must be unreachable, is "
        "started again and awaited; then the session is offered to it, and the sessions "
        "of the other nodes to those."),
    titles={"cluster": "A restarted node resumes what it issued, and nothing else breaks"},
    doing="restarts",
    reasons={
        "resumed_after_restart": "a session from before the restart resumes",
        "other_node_forgot": "a session of another node no longer resumes there",
        "not_resumed": "a session that must resume, before or after the restart, does not",
        "alert": "a session is declined or resumed with an alert",
        "no_session_id": "a handshake brings no session ID",
        "not_restarted": "its address answers although it was stopped",
        "not_whole_again": "the cluster is not whole again in time"})
def forgets_when_restarted(story: Story) -> str:
    """A restart costs a device its session, and nothing else."""
    node = story.node
    session = _established(story)
    elsewhere = _sessions_of_others(story)
    with story.disturbed(faults.stopped, forgets=True):
        _demand_gone(story, session, "not_restarted", "stopped")
    story.await_whole()
    new = _offered_after_restart(story, session)
    _resumes(story, new, "not_resumed",
             f"{node} did not resume the session that it issued after its restart")
    story.bench.sessions.remember(node, new)
    for other, theirs in elsewhere.items():
        _resumes(story, theirs, "other_node_forgot", f"{other} no longer resumes its session after "
                 f"{node} was restarted", at=other)
    return (_KEPT if _shared(story.target) else _FORGOT).format(node=node) + _rest(elsewhere)


_FORGOT = ("{node} forgot its session when it was restarted, fell back to a full handshake, and "
           "resumes new ones")
_KEPT = "{node} resumes its session after a restart, as resumption_cache_scope cluster declares"


def _offered_after_restart(story: Story, session: Session) -> Session:
    """Offer a session from before the restart, and return the one in force then."""
    node = story.node
    if _shared(story.target):
        return _resumes(story, session, "not_resumed", f"{node} did not resume a session after its "
                        "restart although resumption_cache_scope is cluster")
    return story.issued(story.falls_back(
        session, "resumed_after_restart", f"{node} resumed a session from before its restart: it "
        "was not really restarted, or keeps its sessions somewhere else"))


def _rest(elsewhere: dict[str, Session]) -> str:
    if len(elsewhere) < 2:
        return "".join(f"; {name} still resumes its own" for name in elsewhere)
    return f"; the {len(elsewhere)} other nodes still resume theirs"


@Check(
    id="LIFE-02",
    title="A client of a killed node is served by another",
    requirement=(
        "A client whose node was killed gets MQTT back on the next node, in a full handshake "
        "without an alert although it offers its old session, and resumes there next time; the "
        "killed node is started again and the cluster is whole. With resumption_cache_scope "
        "cluster the old session resumes there at once."),
    clause="RFC 5246 7.4.1.2",
    level=Level.MUST, impact=Impact.DISRUPTIVE, per=Per.NODE, cost=_fail_over_cost,
    meaning=(
        "When a node dies its devices do not get back by themselves, or pay for a full handshake "
        "every time from then on."),
    needs=_WELL, precondition=_fail_over_applies, alone=True, awaits=True,
    how=(
        "A session resumes, the node is killed and must be unreachable; the client then "
        "goes to the next node in the inventory's order, with its old session, and once "
        "more with the one it got there. The node is started again and awaited whatever "
        "happens."),
    doing="kills",
    reasons={
        "resumed_elsewhere": "the next node resumes a session of the killed one",
        "not_resumed": "a session that must resume, before the kill or on the next node, does not",
        "alert": "a session is declined or resumed with an alert",
        "no_session_id": "a handshake brings no session ID",
        "still_reachable": "its address answers although it was killed",
        "not_whole_again": "the cluster is not whole again in time"})
def fails_over(story: Story) -> str:
    """The client of a node that died is served elsewhere."""
    node, refuge = story.node, story.target.next_after(story.node)
    session = _established(story)
    with story.disturbed(faults.killed, forgets=True):
        _demand_gone(story, session, "still_reachable", "killed")
        there = _offered_elsewhere(story, session, refuge)
        _resumes(story, there, "not_resumed", f"{refuge} did not resume the session it had with a "
                 f"client of {node}, which was killed", at=refuge)
    story.await_whole()
    story.full()
    return _GOT_BACK.format(node=node, refuge=refuge, how=_HOW[_shared(story.target)])


_HOW = {True: "by resuming", False: "by a full handshake"}
_GOT_BACK = ("a client of {node}, which was killed, got MQTT back on {refuge} {how} and resumed "
             "there next time; {node} is back")


def _offered_elsewhere(story: Story, session: Session, refuge: str) -> Session:
    """Offer a killed node's session to another one, and return the one in force then."""
    if _shared(story.target):
        return _resumes(story, session, "not_resumed", f"{refuge} did not resume a session of "
                        f"{story.node}, which was killed, although resumption_cache_scope is "
                        "cluster", at=refuge)
    return story.issued(story.falls_back(
        session, "resumed_elsewhere", f"{refuge} resumed a session of {story.node}, which was "
        "killed", at=refuge))


@Check(
    id="LIFE-05",
    title="A node cut off from its peers keeps its sessions",
    requirement=(
        "A node cut off from its cluster keeps its TLS sessions: they still resume there, full "
        "handshakes and MQTT work; afterwards the cluster heals and the sessions resume still."),
    clause="RFC 5246 7.3",
    level=Level.MUST, impact=Impact.DISRUPTIVE, per=Per.NODE, cost=Cost(full=2, resumed=3),
    meaning=(
        "A network split costs the devices of the nodes behind it their sessions or their "
        "connections, at the worst moment for a wave of full handshakes."),
    needs=_WELL, precondition=_cut_off_applies, alone=True, awaits=True,
    how=(
        "A session resumes, the node is cut off from its peers by the driver, which asks "
        "the nodes whether they have really lost each other; the session is offered "
        "meanwhile and after the cluster has healed."),
    doing="cuts off",
    reasons={
        "not_resumed_cut_off": "its session does not resume while it is cut off",
        "not_resumed_afterwards": "its session does not resume when its peers are back",
        "not_resumed": "a session that it has just issued does not resume",
        "alert": "a session is resumed with an alert",
        "no_session_id": "a handshake brings no session ID",
        "not_whole_again": "the cluster is not whole again in time"})
def keeps_sessions_when_cut_off(story: Story) -> str:
    """A node without its peers still is a node for its own clients."""
    node = story.node
    session = _established(story)
    with story.disturbed(faults.cut_off, forgets=False):
        _resumes(story, session, "not_resumed_cut_off", f"{node} did not resume its session while "
                 "it was cut off from its peers")
        story.full()
    story.await_whole()
    _resumes(story, session, "not_resumed_afterwards", f"{node} did not resume its session after "
             "it was brought back to its peers")
    return (f"{node} resumed its session while it was cut off from its peers and afterwards, MQTT "
            "worked, and the cluster is whole again")


# -- what they all do -------------------------------------------------------------------------

def _established(story: Story) -> Session:
    """Return a new session of the node, which has resumed once: so it can be lost."""
    return _resumes(story, story.full(), "not_resumed",
                    f"{story.node} did not resume a session that it had just issued")


def _resumes(story: Story, session: Session, reason: str, otherwise: str, *,
             at: str = "") -> Session:
    """Demand that a session resumes without an alert, and return it as it is then."""
    contact = story.resumes(session, reason, otherwise, at=at)
    story.quiet(contact, f"on a session of {session.issuer}")
    return story.issued(contact)


def _demand_gone(story: Story, session: Session, reason: str, done: str) -> None:
    """Try to reach the node, which must be in vain."""
    handshake = story.contact(story.node, session).handshake
    if handshake.failure is None or handshake.server_random or handshake.alerts:
        story.error(reason, f"{handshake.endpoint} answers although the node was {done}: does this "
                            "address lead to another node?")


def _sessions_of_others(story: Story) -> dict[str, Session]:
    """Return a session of every other node that resumes there, or is new there, right now.

    New where the one known so far has outlived its time, or our library offers it no more.
    """
    return {name: _in_force(story, name, session)
            for name, session in list(story.bench.sessions.items()) if name != story.node}


def _in_force(story: Story, node: str, session: Session) -> Session:
    contact = story.contact(node, session if story.bench.sessions.can_offer(node) else None)
    story.reaches_mqtt(contact)
    now = story.issued(contact)
    story.bench.sessions.remember(node, now)
    return now
