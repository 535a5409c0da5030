"""The plan keeps every node's session budget and says what it leaves out."""
from __future__ import annotations

import math
from collections import Counter

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.report.document import USUAL
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import (
    Cost,
    Impact,
    Need,
    Registry,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.plan import Plan, make_plan
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from hypothesis import given
from hypothesis import strategies as st

from tests.support.a_check import a_check

HANDSHAKES = {
    "CORE-01": (1, 1), "CORE-02": (1, 0),
    # With each of two others: a foreign session, and back home after it was declined.
    "CORE-03": (2, 2), "CORE-04": (2, 0),
    "CORE-05": (10, 0), "CORE-06": (5, 0), "CORE-07": (16, 0),
    "CORE-08": (4, 1), "CORE-09": (2, 1), "CORE-10": (1, 1),
    "NEG-01": (2, 1), "NEG-02": (6, 5), "NEG-03": (4, 2), "NEG-04": (5, 3), "NEG-05": (6, 4),
    "NEG-07": (6, 3), "NEG-08": (13, 10), "NEG-09": (7, 4), "NEG-10": (7, 4), "NEG-11": (1, 0),
    "NEG-12": (18, 6),
    "SEC-03": (256, 0), "SEC-04": (1, 1),
    # Two first; 78 full and 372 resumed in turn; with 4, 16 and 64 clients at once six parts of 24,
    # 32 and 64, and two of each client beside.
    "PERF-01": (2 + 78 + 372 + 152 + 224 + 512, 1 + 78)}
"""What a noisy plan measures: handshakes with each of three nodes, and how many are full."""
ALL = sum(total for total, _ in HANDSHAKES.values())
FULL = sum(full for _, full in HANDSHAKES.values())
PAIRS = ("CORE-03", "CORE-04")
FOR_ONE = FULL - HANDSHAKES["CORE-03"][1] - HANDSHAKES["PERF-01"][1]
"""Full handshakes with a node that no sampling can spare it, without PERF-01's."""
SAFE = ("CORE-01", "CORE-02", *PAIRS, "CORE-05", "CORE-06", "CORE-09", "CORE-10", "NEG-01",
        "NEG-11", "SEC-04")
LIFE = ("LIFE-01", "LIFE-02", "LIFE-05")
"""What needs a driver; LIFE-03 needs a declared lifetime, LIFE-04 a declared size."""
ABLE = frozenset(("restart", "kill", "disconnect"))


def plan_for(count: int, impact: Impact = Impact.NOISY, cache: int = 1000,
             scope: str = "node", abilities: frozenset[str] = frozenset()) -> Plan:
    nodes = {f"n{number}": Endpoint(f"n{number}", "127.0.0.1", number, "x")
             for number in range(1, count + 1)}
    settings = Settings(cache_scope=scope, session_cache_max=cache, tls_versions=("tlsv1.2",))
    return make_plan(Target(nodes, settings, abilities=abilities), catalogue(), impact)


def measured(plan: Plan) -> set[str]:
    """Return the checks that have subjects; the others must say why they have none."""
    assert all(bool(planned.subjects) != (planned.skipped is not None) for planned in plan.checks)
    return {planned.check.id for planned in plan.checks if planned.subjects}


def timing(count: int, cache: int) -> int:
    """Return PERF-01's full handshakes with each of so many nodes, in a noisy run.

    One first, and then six times as many as there is room for, 13 or, of many nodes, 5 at most:
    in 8 % of the cache, and in what single nodes and all pairs leave over of a quarter of it.
    """
    room = min(int(0.08 * cache), int(0.25 * cache) - FOR_ONE - (count - 1))
    each = min(13 if count <= 10 else 5, (room - 1) // 6)
    return 1 + 6 * each if each > 0 else 0


def filling(cache: int) -> int:
    """Return the full handshakes with one node in LIFE-04.

    A quarter more sessions than it remembers and one, 14 of them offered again, and a new one.
    """
    return math.ceil(1.25 * cache) + 1 + 14 + 1


def test_three_nodes_are_measured_whole() -> None:
    plan = plan_for(3)
    sizes = {planned.check.id: len(planned.subjects) for planned in plan.checks}
    assert sizes == {**dict.fromkeys(sizes, 0), **dict.fromkeys(HANDSHAKES, 3),
                     **dict.fromkeys(PAIRS, 6)}
    assert measured(plan) == set(HANDSHAKES)
    for planned in plan.checks:
        if planned.subjects:
            cost = planned.check.cost_for(Target({}, Settings(tls_versions=("tlsv1.2",))))
            each = len(planned.subjects) // 3
            assert (each * cost.total, each * cost.full) == HANDSHAKES[planned.check.id]
    assert plan.handshakes == dict.fromkeys(("n1", "n2", "n3"), ALL)
    assert plan.sessions == dict.fromkeys(("n1", "n2", "n3"), FULL)


def test_safe_leaves_out_what_is_noisy() -> None:
    plan = plan_for(3, Impact.SAFE)
    assert measured(plan) == set(SAFE)
    why = {planned.check.id: planned.skipped.reason for planned in plan.checks if planned.skipped}
    assert {check for check, reason in why.items() if reason == "impact_not_allowed"} == {
        check.id for check in catalogue() if check.impact > Impact.SAFE}
    assert {why[check] for check in {*HANDSHAKES, *LIFE} - set(SAFE)} == {"impact_not_allowed"}


def test_one_node_skips_what_needs_another_and_says_so() -> None:
    plan = plan_for(1)
    why = {planned.check.id: planned.skipped.message for planned in plan.checks if planned.skipped}
    assert measured(plan) == set(HANDSHAKES) - set(PAIRS) | {"LB-01"}  # which asks its address
    assert {why[check].partition(":")[0] for check in PAIRS} == {"one node"}


def test_a_target_that_declares_no_resumption_is_not_asked_to_resume() -> None:
    plan = plan_for(3, scope="none")
    assert measured(plan) == {
        "CORE-01", "CORE-02", "CORE-03", "CORE-08", "CORE-10", "NEG-01", "SEC-03", "SEC-04"}


@pytest.mark.parametrize(("scope", "told"), [
    ("node", "LIFE-01  A restarted node forgets, and nothing else breaks"),
    ("cluster", "LIFE-01  A restarted node resumes what it issued, and nothing else breaks"),
    ("none", "CORE-02  The same node does not resume"),
])
def test_the_plan_tells_what_is_expected_of_this_target(scope: str, told: str) -> None:
    plan = plan_for(2, Impact.DISRUPTIVE, scope=scope, abilities=ABLE)
    assert [line for line in plan.lines() if line.startswith(f"{told}: 2 nodes")]


@given(st.integers(2, 40), st.sampled_from(list(Impact)), st.integers(50, 3000))
def test_no_node_gets_more_sessions_than_its_budget(
        count: int, impact: Impact, cache: int) -> None:
    plan = plan_for(count, impact, cache)
    assert max(plan.sessions.values()) <= plan.session_limit
    # One pair has room beside what single nodes need; filling a cache is not held against it.
    needed = {Impact.SAFE: 5}.get(impact, FOR_ONE) + 1
    extra = filling(cache) if impact is Impact.DISRUPTIVE else 0
    assert plan.session_limit == max(int(cache * impact.cache_share), needed) + extra
    cross = next(planned for planned in plan.checks if planned.check.id == "CORE-03")
    assert len(cross.subjects) + cross.left_out == count * (count - 1)
    assert len(set(cross.subjects)) == len(cross.subjects)
    # However small the sample, every node issues and every node redeems, equally often.
    issued = Counter(issuer for issuer, _ in cross.subjects)
    redeemed = Counter(redeemer for _, redeemer in cross.subjects)
    assert len(issued) == len(redeemed) == count
    assert len(set(issued.values()) | set(redeemed.values())) == 1
    back_home = next(planned for planned in plan.checks if planned.check.id == "CORE-04")
    assert set(back_home.subjects) == set(cross.subjects)


@given(st.integers(2, 40), st.integers(50, 3000))
def test_what_resumption_is_worth_is_measured_with_what_pairs_leave_over(
        count: int, cache: int) -> None:
    plan = plan_for(count, cache=cache)
    (cross,) = (planned for planned in plan.checks if planned.check.id == "CORE-03")
    (timed,) = (planned for planned in plan.checks if planned.check.id == "PERF-01")
    room = int(0.25 * cache) - FOR_ONE
    assert len(cross.subjects) == count * max(1, min(count - 1, room))
    full = plan.sessions["n1"] - FOR_ONE - len(cross.subjects) // count
    assert full == timing(count, cache)
    assert bool(timed.subjects) == (full > 0) == (timed.skipped is None)


def test_what_disturbing_nodes_costs_is_announced() -> None:
    plan = plan_for(3, Impact.DISRUPTIVE, abilities=ABLE)
    # LIFE-01: 2 full and 2 resumed, and 2 resumed for each of 2 others; LIFE-02: 2 full and 1
    # resumed, and 1 full and 1 resumed as a refuge; LIFE-05: 2 full and 3 resumed.
    assert measured(plan) == {*HANDSHAKES, *LIFE, "LIFE-04"}
    fill = filling(1000)
    assert fill == 1266
    assert plan.handshakes == dict.fromkeys(("n1", "n2", "n3"), ALL + 8 + 5 + fill + 5)
    assert plan.sessions == dict.fromkeys(("n1", "n2", "n3"), FULL + 2 + 3 + fill + 2)


def test_a_shared_cache_saves_full_handshakes() -> None:
    base = plan_for(3, scope="cluster")
    plan = plan_for(3, Impact.DISRUPTIVE, scope="cluster", abilities=ABLE)
    # LIFE-01: 1 full and 3 resumed, and 2 resumed for each of 2 others; LIFE-02: 2 full and 1
    # resumed, and 2 resumed as a refuge; LIFE-05 is skipped.
    assert measured(plan) - measured(base) == {"LIFE-01", "LIFE-02", "LIFE-04"}
    assert plan.handshakes["n1"] - base.handshakes["n1"] == 8 + 5 + filling(1000)
    assert plan.sessions["n1"] - base.sessions["n1"] == 3 + filling(1000)


@pytest.mark.parametrize(("abilities", "count", "why"), [
    (frozenset(), 3, dict.fromkeys(LIFE, "the odd driver cannot")),
    (ABLE - {"disconnect"}, 3, {"LIFE-05": "the odd driver cannot cut a node off from its peers: "
                                           "it is odd"}),
    (ABLE - {"kill"}, 3, {"LIFE-02": "the odd driver cannot kill nodes: it is odd"}),
    (ABLE, 1, {"LIFE-02": "one node: ", "LIFE-05": "one node: "}),
    (ABLE, 2, {}),
])
def test_what_a_driver_cannot_do_is_skipped_and_says_so(
        abilities: frozenset[str], count: int, why: dict[str, str]) -> None:
    nodes = {f"n{number}": Endpoint(f"n{number}", "127.0.0.1", 1, "x") for number in range(count)}
    plan = make_plan(Target(nodes, Settings(), "odd", abilities, "it is odd"), catalogue(),
                     Impact.DISRUPTIVE)
    skipped = {planned.check.id: planned.skipped for planned in plan.checks
               if planned.skipped is not None and planned.check.id in LIFE}
    assert set(skipped) == set(why)
    for check, verdict in skipped.items():
        assert verdict.reason == "precondition"
        assert verdict.message.startswith(why[check])


def test_others_and_the_next_pay_their_part() -> None:
    target = Target({name: Endpoint(name, "127.0.0.1", 1, "x") for name in "abc"}, Settings())
    cost = Cost(full=1, elsewhere=(Cost(full=2, resumed=1, at="others"),
                                   Cost(refused=5, at="next")))
    check = a_check(cost=cost, alone=True)
    plan = make_plan(target, [check], Impact.SAFE)
    # 1 of its own, 3 for each of two others, 5 for the one before it.
    assert plan.handshakes == dict.fromkeys("abc", 1 + 2 * 3 + 5)
    assert plan.sessions == dict.fromkeys("abc", 1 + 2 * 2)
    assert plan.session_limit == 10
    assert plan.lines()[0] == "X-01     X: 3 nodes, one after the other"
    only_a = Target(dict([*target.nodes.items()][:1]), Settings())
    assert make_plan(only_a, [check], Impact.SAFE).handshakes == {"a": 6}


@given(st.integers(2, 40), st.integers(50, 3000))
def test_disruptive_plans_keep_the_budget_too(count: int, cache: int) -> None:
    plan = plan_for(count, Impact.DISRUPTIVE, cache, abilities=ABLE)
    # What no sampling can spare a node is 7 more than in a noisy run, and a pair beside.
    assert max(plan.sessions.values()) <= plan.session_limit
    assert plan.session_limit == max(cache, FOR_ONE + 7 + 1) + filling(cache)
    assert len(set(plan.handshakes.values())) == len(set(plan.sessions.values())) == 1


def test_a_check_above_the_allowed_impact_is_skipped_by_name() -> None:
    target = Target({"n1": Endpoint("n1", "127.0.0.1", 1, "x")}, Settings())
    loud = a_check(impact=Impact.DISRUPTIVE, cost=Cost(full=500))
    (planned,) = make_plan(target, [loud], Impact.NOISY).checks
    assert planned.subjects == ()
    assert planned.skipped is not None
    assert planned.skipped.reason == "impact_not_allowed"
    assert "disruptive" in planned.skipped.message


def test_the_registry_refuses_a_second_owner_and_a_need_that_runs_later() -> None:
    registry = Registry()
    check = a_check()
    registry.add(check)
    with pytest.raises(ValueError, match="registered twice"):
        registry.add(check)
    with pytest.raises(ValueError, match="X-02 needs X-03, which does not run before it"):
        registry.add(a_check(2, needs=(Need("X-03"),)))


def test_checks_run_in_the_order_of_their_ids_after_what_they_need() -> None:
    ids = [check.id for check in catalogue()]
    assert len(set(ids)) == len(ids)
    families = ("CORE", "NEG", "SEC", "LB", "PERF", "LIFE")
    assert ids == sorted(ids, key=lambda check: (families.index(check.partition("-")[0]), check))
    assert set(ids) >= {*HANDSHAKES, *LIFE, "NEG-06", "LIFE-03", "LIFE-04"}
    for check in catalogue():
        assert all(ids.index(need.check) < ids.index(check.id) for need in check.needs)


def test_every_check_of_the_catalogue_says_what_it_judges() -> None:
    for check in catalogue():
        assert check.requirement.endswith(".")
        assert check.meaning.endswith(".")
        assert check.clause
        assert check.how.endswith(".")
        # NEG-06 costs nothing where TLS 1.2 alone is declared, SEC-01 where there are no domains.
        assert any(check.cost_for(target).total for target in (USUAL, Target({}, Settings())))
