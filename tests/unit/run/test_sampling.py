"""Where not all pairs are measured, those that are stand for all, and it is said how well."""
from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.catalogue import catalogue
from ansible_collections.emqx.conformance.plugins.module_utils.model import Endpoint
from ansible_collections.emqx.conformance.plugins.module_utils.run.check import Impact
from ansible_collections.emqx.conformance.plugins.module_utils.run.plan import Plan, make_plan
from ansible_collections.emqx.conformance.plugins.module_utils.run.proportion import most_in_all
from ansible_collections.emqx.conformance.plugins.module_utils.run.sampling import (
    Sampling,
    choose,
    usual,
    zone_pairs,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.target import Settings, Target
from hypothesis import assume, given
from hypothesis import strategies as st


def _names(count: int) -> list[str]:
    return [f"emqx{number}" for number in range(1, count + 1)]


def _in_rows(names: list[str], count: int) -> dict[str, str]:
    """Return zones as inventories have them: the first nodes in the first, and so on."""
    return {name: f"zone{place * count // len(names)}" for place, name in enumerate(names)}


def _seen(pairs: tuple[tuple[str, ...], ...], zones: dict[str, str]) -> set[tuple[str, str]]:
    return {(zones[issuer], zones[redeemer]) for issuer, redeemer in pairs}


def plan_for(count: int, *, zones: int = 1, each: int | None = None, cache: int = 1000,
             impact: Impact = Impact.NOISY) -> Plan:
    nodes = {name: Endpoint(name, "127.0.0.1", 1, "x") for name in _names(count)}
    settings = Settings(session_cache_max=cache, tls_versions=("tlsv1.2",), pairs_per_node=each)
    return make_plan(Target(nodes, settings, zones=_in_rows(list(nodes), zones)), catalogue(),
                     impact)


def pairs_of(plan: Plan, check: str = "CORE-03") -> tuple[tuple[str, ...], ...]:
    return next(planned.subjects for planned in plan.checks if planned.check.id == check)


@given(st.integers(2, 60), st.integers(1, 70), st.integers(1, 6))
def test_every_node_issues_and_redeems_equally_often(count: int, each: int, zones: int) -> None:
    names = _names(count)
    pairs = choose(names, each, _in_rows(names, min(zones, count)))
    often = min(each, count - 1)
    assert len(set(pairs)) == len(pairs)
    assert all(issuer != redeemer for issuer, redeemer in pairs)
    assert Counter(issuer for issuer, _ in pairs) == dict.fromkeys(names, often)
    assert Counter(redeemer for _, redeemer in pairs) == dict.fromkeys(names, often)
    # In the inventory's order, as the matrix is.
    assert list(pairs) == sorted(pairs, key=lambda pair: tuple(map(names.index, pair)))


@given(st.integers(2, 8), st.integers(2, 12), st.integers(1, 12))
def test_every_ordered_pair_of_zones_is_covered(zones: int, size: int, each: int) -> None:
    names = _names(zones * size)
    # Twice as many pairs from a zone as there are zones leave room to exchange some.
    assume(size * each >= 2 * zones)
    where = _in_rows(names, zones)
    assert len(zone_pairs(names, where)) == zones * zones
    assert len(_seen(choose(names, each, where), where)) == zones * zones


def test_zones_of_one_node_are_covered_but_for_themselves() -> None:
    names = _names(30)
    where = {**dict.fromkeys(names, "hall"), "emqx7": "attic", "emqx9": "cellar"}
    wanted = zone_pairs(names, where)
    assert ("attic", "attic") not in wanted
    assert len(wanted) == 7
    assert _seen(choose(names, 3, where), where) == set(wanted)


def test_the_same_inventory_makes_the_same_pairs_and_its_order_none_of_them() -> None:
    names = _names(200)
    where = _in_rows(names, 4)
    pairs = choose(names, 5, where)
    assert pairs == choose(list(names), 5, dict(where))
    assert set(choose(names[::-1], 5, {})) == set(choose(names, 5, {}))
    # Of the circle 1, 2, 3 … every pair would be of neighbours at most 5 apart: 5 %, not all.
    place = {name: number for number, name in enumerate(names)}
    near = sum(min((place[a] - place[b]) % 200, (place[b] - place[a]) % 200) <= 5
               for a, b in choose(names, 5, {}))
    assert near / 1000 < 0.15


def test_no_pair_is_taken_in_both_directions_and_no_large_group_slips_through() -> None:
    names = _names(13)
    pairs = set(choose(names, 3, {}))
    assert not pairs & {(redeemer, issuer) for issuer, redeemer in pairs}
    # One node in four can share a cache unseen, 3 of 13; of no 4 are all pairs left out.
    for group, unseen in ((3, True), (4, False)):
        assert any(not pairs & {(a, b) for a in some for b in some}
                   for some in combinations(names, group)) == unseen


def test_small_clusters_are_measured_whole() -> None:
    for count in (2, 3, 50, 100):
        plan = plan_for(count)
        assert len(pairs_of(plan)) == count * (count - 1)
        assert plan.sampling is None
        assert not any("a sample" in line for line in plan.lines())


@pytest.mark.parametrize(("count", "each"), [(101, 30), (150, 20), (300, 10), (1000, 10)])
def test_large_clusters_are_sampled(count: int, each: int) -> None:
    plan = plan_for(count, zones=3)
    assert usual(count) == each
    assert len(pairs_of(plan)) == count * each >= 3000
    assert pairs_of(plan, "CORE-04") == pairs_of(plan)
    assert plan.sampling is not None
    told = plan.sampling.told(dict.fromkeys(pairs_of(plan), True))
    assert (told["measured"], told["per_node"]) == (count * each, each)
    assert told["zones"] == {"count": 3, "pairs": 9, "covered": 9}
    assert told["at_most"] / told["pairs"] < 0.001
    assert any(line.endswith(f"{count * (count - 1 - each)} left out since so many are enough)")
               for line in plan.lines())
    assert told["sentence"] in plan.lines()[-1]


def test_as_many_pairs_as_are_asked_for_within_the_budget() -> None:
    few = plan_for(20, each=4)
    assert len(pairs_of(few)) == 80
    assert any("300 left out by resumption_pairs_per_node" in line for line in few.lines())
    assert len(pairs_of(plan_for(120, each=500))) == 120 * 119
    scarce = plan_for(120, each=500, impact=Impact.SAFE)
    assert len(pairs_of(scarce)) == 120 * 5
    assert any("left out by the session budget" in line for line in scarce.lines())
    assert max(scarce.sessions.values()) <= scarce.session_limit


# -- what a sample tells -----------------------------------------------------------------------


def _exactly(whole: int, marked: int, drawn: int, hits: int) -> float:
    return sum(math.comb(marked, one) * math.comb(whole - marked, drawn - one)
               for one in range(hits + 1)) / math.comb(whole, drawn)


@given(st.integers(1, 150), st.data())
def test_the_bound_is_the_largest_number_that_is_not_too_unlikely(
        whole: int, data: st.DataObject) -> None:
    drawn = data.draw(st.integers(0, whole))
    hits = data.draw(st.integers(0, drawn))
    bound = most_in_all(whole, drawn, hits)
    assert hits <= bound <= whole - (drawn - hits)
    assert _exactly(whole, bound, drawn, hits) >= 0.05 - 1e-9
    if bound < whole - (drawn - hits):
        assert _exactly(whole, bound + 1, drawn, hits) < 0.05 + 1e-9


def test_the_bound_is_what_the_rule_of_three_says_of_few_among_many() -> None:
    for drawn in (1000, 3000, 10_000):
        assert most_in_all(999_000, drawn, 0) / 999_000 == pytest.approx(3 / drawn, rel=0.02)
    assert most_in_all(90, 90, 0) == 0
    assert most_in_all(90, 0, 0) == 90
    assert most_in_all(90, 90, 7) == 7


@pytest.mark.parametrize("counts", [(5, 6, 0), (5, 3, 4), (5, 3, -1)])
def test_what_is_no_sample_is_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="is no sample"):
        most_in_all(*counts)


def _sampling(zones: int) -> Sampling:
    names = _names(20)
    where = _in_rows(names, zones)
    return Sampling(tuple(names), choose(names, 3, where), where)


def test_what_was_seen_is_told_with_its_confidence() -> None:
    sampling = _sampling(2)
    told = sampling.told(dict.fromkeys(sampling.chosen, True))
    assert told["sentence"] == (
        "a sample: 60 of 380 cross-node pairs were measured, all as expected; every node issued "
        "and redeemed 3 times or more and all 4 ordered pairs of 2 zones were among them; with "
        "95 % confidence at most 17 of all pairs (4.5 %) are not as expected, if those lie at "
        "random; a node or a pair of zones of which no pair is as expected cannot have been missed")
    assert _exactly(380, 17, 60, 0) >= 0.05 > _exactly(380, 18, 60, 0)


def test_what_was_not_as_expected_or_not_measured_counts() -> None:
    sampling = _sampling(1)
    seen = dict.fromkeys(sampling.chosen, True)
    seen[sampling.chosen[0]] = seen[sampling.chosen[-1]] = False
    told = sampling.told(seen)
    assert (told["unexpected"], told["zones"]["count"]) == (2, 1)
    assert "2 of them not as expected" in told["sentence"]
    assert "zones" not in told["sentence"]
    assert _exactly(380, told["at_most"], 60, 2) >= 0.05 > _exactly(380, told["at_most"] + 1, 60, 2)
    # Interrupted: a node that was not heard may be anything.
    few = sampling.told({pair: True for pair in sampling.chosen if "emqx4" not in pair})
    assert few["per_node"] == 0
    assert few["measured"] == 54
    assert "cannot have been missed" not in few["sentence"]
    nothing = sampling.told({})
    assert (nothing["measured"], nothing["at_most"]) == (0, 380)
