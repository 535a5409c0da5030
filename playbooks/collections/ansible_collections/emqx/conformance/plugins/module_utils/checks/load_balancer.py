"""LB-01: what an address is worth to devices that resume, when several nodes may be behind it.

The sample. ``DEVICES`` connections without a session make one device each; then every device comes
back once and offers its session, as a fleet does after an outage. The order in which they come back
is random, because a balancer that takes its nodes in turn would otherwise bring all devices to
their own node, or all to another one, by nothing but arithmetic. Each device offers once, because
only then are the offers independent of one another, which Wilson's interval takes for granted:
where nodes get unequal shares, whether a device resumes twice is one accident and not two.

What the address alone tells. A connection offers one session, so it tells one thing: whether it
landed on the cache that has this session. If not, it makes a session that is on another cache than
the offered one, and no offer ever tells more about the two. So what is proved is a forest of "not
the same", which two caches could explain however often it is asked: that there is more than one is
proved, how many there are follows only from how often sessions resume (:class:`Rate`).

What the nodes tell. Where they are in the inventory, under addresses of their own, the sessions of
the first ``PLACED`` devices are offered to every one of them: the node that resumes a session is
the node on which the connection that made it landed.
"""
from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..model import Outcome, Session
from ..run.check import Check, Cost, CostByNode, Impact, Level, Per
from ..run.preconditions import resuming
from ..run.prober import Contact, Guest
from ..run.proportion import Rate
from ..run.story import Story
from ..run.target import Target
from ..run.verdict import trouble

DEVICES = 60
"""Sessions that are made through a load balancer; each is offered once."""
FEWER_DEVICES = 30
"""The same, through the address of a single node, which is seldom a load balancer's."""
PLACED = 20
"""Sessions that are looked for on the nodes."""
_SECONDS = 30
"""What the sample may take where no rate limit makes it longer."""
_SHARE = Impact.NOISY.cache_share
"""What one address may take of a node's session cache, if all its sessions land there."""
_SHARE_OF_ALL = 0.75
"""What all of them may take, one after another: none of a run's other sessions is lost for it."""

_PINNING = ("session_id", "source")
"""Affinities under which every offered session resumes."""
_shuffle = random.SystemRandom().shuffle


@dataclass
class _Sample:
    """What was seen through the address, and then at the nodes."""

    address: str
    declared: str | None
    shared: bool
    """Whether the nodes are declared to share their sessions."""
    known: tuple[str, ...]
    """The nodes in the inventory."""
    devices: int
    resumed: int = 0
    named: Counter[str] = field(default_factory=Counter)
    """By the name that a node told in its CONNACK: connections that landed on it."""
    first_named: Counter[str] = field(default_factory=Counter)
    """The same, of the connections without a session."""
    landed: list[frozenset[str]] | None = None
    """By placed session: the nodes that resumed it; None: the nodes were not asked."""
    not_asked: str = ""
    """Why they were not, in one clause."""

    @property
    def rate(self) -> Rate:
        return Rate(self.resumed, self.devices)

    @property
    def at_node(self) -> Counter[str]:
        """By node of the inventory: connections without a session that landed on it."""
        return Counter({node: count for node in self.known
                        if (count := sum(node in where for where in self.landed or ()))})

    @property
    def strangers(self) -> int:
        """Connections that landed on no node of the inventory."""
        return sum(not where for where in self.landed or ())

    @property
    def caches(self) -> int | None:
        """Session caches on which connections without a session landed; None: nobody can tell."""
        if self.landed is not None:
            return len(set(self.landed))
        if self.first_named.total() < self.devices:
            return None
        return 1 if self.shared else len(self.first_named)

    @property
    def affinity(self) -> str:
        """What the address was seen to keep together."""
        if self.resumed < self.devices:
            return "none"
        if self.caches is None:
            return "unknown"
        return "session_id" if self.caches > 1 else "source"


# -- when, and at what cost -------------------------------------------------------------------

def _why_not(target: Target) -> str | None:
    if not target.shared_addresses:
        return ("there is no group load_balancer, and each node has an address of its own, which "
                "CORE-02 asks")
    return resuming(target) or _too_little(target)


def _too_little(target: Target) -> str | None:
    settings = target.settings
    seconds = _SECONDS + 4 * DEVICES / settings.rate_limit \
        if settings.rate_limit else _SECONDS
    if settings.session_lifetime is not None and settings.session_lifetime < seconds:
        return (f"sessions live {settings.session_lifetime:g} s, and the sample may take "
                f"{seconds:.0f} s")
    each = [sum(part.full for part in _cost(target, address).parts)
            for address in target.shared_addresses for _ in range(target.places)]
    if max(each) > _SHARE * settings.session_cache_max:
        return (f"its sample takes up to {max(each)} places in a session cache, which is more than "
                f"{100 * _SHARE:.0f} % of the {settings.session_cache_max} that there are")
    if sum(each) > _SHARE_OF_ALL * settings.session_cache_max:
        return (f"its samples take up to {sum(each)} places in a session cache, which is more than "
                f"{100 * _SHARE_OF_ALL:.0f} % of the {settings.session_cache_max} that there are: "
                "leave some of the load balancers out with --limit")
    return None


def _cost(target: Target, address: str) -> Cost:
    balancer = target.balancers.get(address)
    if balancer is None:
        return Cost(full=FEWER_DEVICES, resumed=FEWER_DEVICES)
    at_nodes = (Cost(full=PLACED, at="nodes"),)
    if balancer.affinity in _PINNING:
        return Cost(full=DEVICES, resumed=DEVICES, elsewhere=at_nodes)
    return Cost(full=2 * DEVICES, elsewhere=at_nodes)


# -- the check --------------------------------------------------------------------------------

@Check(
    id="LB-01",
    title="Devices resume through the load balancer",
    requirement=(
        "Through a load balancer with the affinity session_id or source every session that is "
        "offered resumes, and with source connections from one address come to one node; without "
        "any (none) as many resume as come back to their node by chance, and the rest gets a full "
        "handshake and MQTT. Where no affinity is declared, what was seen is told and not judged."),
    clause="RFC 5246 7.3",
    level=Level.MUST, impact=Impact.NOISY, per=Per.ADDRESS, cost=CostByNode(_cost),
    meaning=(
        "Devices pay for full handshakes though their session is still there, on another node than "
        "the balancer brings them to: docs/load-balancer.md has a configuration that pins them."),
    precondition=_why_not,
    how=(
        f"{DEVICES} connections without a session are made, and then each session is offered "
        "once, in random order, on a connection that may come to a full handshake. The rate is "
        "told with Wilson's 95 % interval, and the number of session caches that it implies; with "
        "none it is judged against the number of nodes, so that a right one fails in less than 1 "
        "of 100,000 runs. The first "
        f"{PLACED} sessions are then offered to every node at its own address, which shows where "
        "they were made. Addresses are the hosts of the group load_balancer; without one, that of "
        f"a single node, which may be a balancer's, with {FEWER_DEVICES} sessions."),
    alone=True,
    reasons={
        "affinity_lost": "not every session resumes though the affinity that is declared pins them",
        "not_by_source": "connections from one address come to several nodes, against source",
        "rate_disagrees": "more or fewer sessions resume than by chance, against none",
        "unknown_node": "connections land on a node that is not in the inventory",
        "alert": "a session is declined or resumed with an alert",
        "no_session_id": "a handshake brings no session ID",
        "undeclared": "no affinity is declared, so there is nothing to judge"})
def resumes_through_the_address(story: Story) -> str:
    """Tell how often a device that comes back by this address resumes, and why not always."""
    balancer = story.target.balancers.get(story.node)
    if balancer is None:
        _demand_whole_handshake(story)
    sample = _Sample(story.node, balancer.affinity if balancer else None,
                     story.settings.cache_scope == "cluster", tuple(story.bench.nodes),
                     DEVICES if balancer else FEWER_DEVICES)
    sessions = _ask_the_address(story, sample)
    if balancer is not None:
        _ask_the_nodes(story, sample, sessions[:PLACED])
    story.data.update(_data(sample))
    return _judged(story, sample)


def _demand_whole_handshake(story: Story) -> None:
    home = story.ledger.cells.get((story.node, story.node))
    if home is None or trouble(Contact(home)) is not None:
        story.skip("needs_CORE-02", "needs an offered session to be answered by a whole handshake "
                                    f"in CORE-02 on {story.node}")


# -- the sample -------------------------------------------------------------------------------

def _ask_the_address(story: Story, sample: _Sample) -> list[Session]:
    """Make every device's two connections and return the sessions of the first ones."""
    sessions = [_session(story, _connected(story, sample, None)) for _ in range(sample.devices)]
    sample.first_named = Counter(sample.named)
    order = list(sessions)
    _shuffle(order)
    for session in order:
        contact = _connected(story, sample, session)
        sample.resumed += contact.handshake.outcome is Outcome.RESUMED
    return sessions


def _connected(story: Story, sample: _Sample, offer: Session | None) -> Contact:
    contact = story.contact(story.node, offer)
    number = len(story.evidence)
    story.reaches_mqtt(contact, f"connection {number} of {2 * sample.devices}", first=number == 1)
    story.quiet(contact, "on a session that a device offered", f"a node behind {story.node}")
    told = dict(contact.connack.user_properties).get("node") if contact.connack else None
    if told:
        sample.named[told] += 1
    return contact


def _session(story: Story, contact: Contact) -> Session:
    if contact.session is None:
        story.error("no_session_id", f"a node behind {story.node} issued no session ID, so its "
                                     "devices have nothing to resume")
    return contact.session


def _ask_the_nodes(story: Story, sample: _Sample, sessions: Iterable[Session]) -> None:
    """Find out on which node each session was made, by offering it to all of them."""
    # Under the name that the session was made with: another one may not resume it (RFC 6066 3).
    bench = story.bench
    name = bench.prober.endpoints[sample.address].server_name
    doors = {node: Guest(bench.prober.engine, replace(endpoint, server_name=name))
             for node, endpoint in bench.nodes.items()}
    landed = []
    for session in sessions:
        where = set()
        for node, door in doors.items():
            contact = story.contact(node, session, guest=door)
            if verdict := trouble(contact):
                sample.not_asked = verdict.message
                return
            if contact.handshake.outcome is Outcome.RESUMED:
                where.add(node)
        landed.append(frozenset(where))
    sample.landed = landed


# -- what it comes to -------------------------------------------------------------------------

def _judged(story: Story, sample: _Sample) -> str:
    if sample.declared in _PINNING and sample.resumed < sample.devices:
        story.fail("affinity_lost", _told(
            sample, f"although resumption_lb_affinity declares {sample.declared}"))
    if sample.declared == "source" and (sample.caches or 1) > 1:
        story.fail("not_by_source", _told(
            sample, "although they do not come to one node, as resumption_lb_affinity source "
                    "declares"))
    if sample.declared == "none" and not sample.rate.agrees_with(_by_chance(sample)):
        story.fail("rate_disagrees", _told(
            sample, "although resumption_lb_affinity none declares that they resume by chance, "
                    f"which is {_chance_in_words(sample)}"))
    if sample.strangers:
        count = f"{sample.strangers} of {len(sample.landed or ())}"
        story.warn("unknown_node", _told(
            sample, f"and {count} connections landed on no node of the inventory"))
    if sample.declared is None:
        story.inform("undeclared", _told(sample))
    return _told(sample, f"as resumption_lb_affinity {sample.declared} declares")


def _by_chance(sample: _Sample) -> float:
    """Return the rate of devices that land on any node alike."""
    return 1.0 if sample.shared else 1 / max(len(sample.known), sample.caches or 0)


def _chance_in_words(sample: _Sample) -> str:
    if sample.shared:
        return "always, with a cache that all nodes share"
    return f"1 in {round(1 / _by_chance(sample))}"


def _told(sample: _Sample, judged: str = "") -> str:
    """Return what a fleet would see, and how that is judged; all the rest in further sentences."""
    rate, percent = sample.rate, _percent(sample.rate.interval)
    seen = f"{rate.resumed} of {rate.offers}; 95 % interval {percent}"
    told = f"of devices that reconnect with their session, {rate.in_words()}"
    if sample.resumed < sample.devices:
        told += " and the rest pay a full handshake" if sample.resumed else \
            " and all pay a full handshake"
    told = f"{sample.address}: {told} ({seen})" + (f", {judged}" if judged else "")
    more = "; ".join(part for part in (_implied(sample), _landing(sample)) if part)
    return f"{told}. {more[:1].upper()}{more[1:]}" if more else told


def _implied(sample: _Sample) -> str:
    """Say how many caches the rate implies, and whether that fits those that were found."""
    rate = sample.rate
    if rate.resumed == rate.offers:
        return ""
    least, most = rate.caches_interval
    until = f"{least:.1f} to {most:.1f}" if most else f"{least:.1f} or more"
    told = f"that implies {_number(rate.caches)} equally used session caches ({until})"
    if sample.caches is not None and not rate.agrees_with(1 / sample.caches):
        told += ", which disagrees with what was found"
    return told


def _number(caches: float | None) -> str:
    return "any number of" if caches is None else f"{caches:.1f}"


def _landing(sample: _Sample) -> str:
    """Say where connections without a session landed, as far as it can be told."""
    caches = sample.caches
    if caches is None:
        why = f" ({sample.not_asked})" if sample.not_asked else ""
        return f"which node a connection lands on cannot be told{why}" if (
            sample.declared or sample.not_asked) else ""
    if sample.landed is not None:
        where = _counted(sample.at_node)
        if sample.strangers:
            where += (f"{', ' if where else ''}and {sample.strangers} on no node of the inventory "
                      "(or one that knows it no more)")
        how = "found by resuming there"
    else:
        where, how = _counted(sample.first_named), "as the nodes name themselves"
    count = len(sample.landed) if sample.landed is not None else sample.devices
    told = (f"{count} connections without a session landed on {caches} cache"
            f"{'' if caches == 1 else 's'}: {where} ({how})")
    if sample.resumed < sample.devices:
        return told
    return told + (", so sessions are pinned and not sources" if caches > 1 else
                   ", so it pins sources, or has one node behind it")


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _percent(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.0f} to {100 * interval[1]:.0f} %"


def _data(sample: _Sample) -> dict[str, Any]:
    """Return the figures as JSON."""
    rate = sample.rate
    least, most = rate.caches_interval
    return {
        "offers": rate.offers, "resumed": rate.resumed,
        "rate": round(rate.share, 4), "rate_95": [round(end, 4) for end in rate.interval],
        "implied_caches": _rounded(rate.caches),
        "implied_caches_95": [_rounded(least), _rounded(most)],
        "affinity_declared": sample.declared, "affinity_seen": sample.affinity,
        "caches_found": sample.caches,
        "landed": dict(sample.at_node) if sample.landed is not None else None,
        "landed_elsewhere": sample.strangers if sample.landed is not None else None,
        "named": dict(sorted(sample.named.items())),
        "nodes_not_asked": sample.not_asked}


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 2)
