"""The interval of a rate and the number of caches it implies, by known values and simulation."""
from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.checks.load_balancer import (
    DEVICES,
)
from ansible_collections.emqx.conformance.plugins.module_utils.run.proportion import (
    SURE,
    Rate,
    wilson,
)

RUNS = 2000
"""Simulated samples: with seeds of their own, so that they come out alike every time."""


@pytest.mark.parametrize(("hits", "trials", "low", "high"), [
    (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634),
    (1, 29, 0.0061, 0.1718), (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
    (60, 60, 0.9398, 1.0), (20, 60, 0.2272, 0.4594)])
def test_wilson(hits: int, trials: int, low: float, high: float) -> None:
    assert wilson(hits, trials) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(("hits", "trials"), [(0, 0), (2, 1), (-1, 5)])
def test_no_proportion_has_no_interval(hits: int, trials: int) -> None:
    with pytest.raises(ValueError, match="is no proportion"):
        wilson(hits, trials)


@pytest.mark.parametrize(("resumed", "words"), [
    (0, "none resumes"), (60, "all resume"), (59, "nearly all resume"),
    (20, "about 1 in 3 resumes"), (21, "about 1 in 3 resumes"), (30, "about 1 in 2 resumes"),
    (40, "about 2 in 3 resume"), (6, "about 1 in 10 resumes"), (48, "about 4 in 5 resume"),
    (1, "about 1 in 60 resumes")])
def test_a_rate_in_words(resumed: int, words: str) -> None:
    assert Rate(resumed, DEVICES).in_words() == words


def test_what_never_resumed_implies_no_number_of_caches() -> None:
    rate = Rate(0, DEVICES)
    assert rate.caches is None
    assert rate.caches_interval[0] == pytest.approx(16.6, abs=0.1)
    assert rate.caches_interval[1] is None


# -- simulated samples -------------------------------------------------------------------------

def _at_random(weights: list[float], seed: int) -> Callable[[], int]:
    chance = random.Random(seed)  # noqa: S311
    nodes = range(len(weights))
    return lambda: chance.choices(nodes, weights)[0]


def _in_turn(weights: list[float], seed: int) -> Callable[[], int]:
    turns = itertools.cycle(range(len(weights)))
    for _ in range(seed % len(weights)):
        next(turns)
    return lambda: next(turns)


def _sample(land: Callable[[], int], seed: int) -> Rate:
    """Make LB-01's sample, of connections that land where ``land`` says."""
    shuffle = random.Random(-seed - 1).shuffle  # noqa: S311
    made_on = [land() for _ in range(DEVICES)]
    shuffle(made_on)
    return Rate(sum(land() == node for node in made_on), DEVICES)


@pytest.mark.parametrize(("lands", "weights"), [
    *((lands, [1.0] * count) for lands in (_at_random, _in_turn) for count in (1, 2, 3, 5, 10)),
    (_at_random, [0.6, 0.3, 0.1]), (_at_random, [0.9, 0.1])])
def test_the_interval_covers_the_truth(
        lands: Callable[[list[float], int], Callable[[], int]], weights: list[float]) -> None:
    total = sum(weights)
    truth = sum((weight / total) ** 2 for weight in weights)
    rates = [_sample(lands(weights, seed), seed) for seed in range(RUNS)]
    covered = sum(low <= truth <= high for low, high in (rate.interval for rate in rates))
    # Two nodes in turn come to an even number always, which leaves 92 of the nominal 95 %.
    assert covered / RUNS > (0.92 if weights == [1.0] * 2 else 0.94)
    caches = sum(least <= 1 / truth and (most is None or 1 / truth <= most)
                 for least, most in (rate.caches_interval for rate in rates))
    assert caches == covered
    assert all(rate.agrees_with(truth) for rate in rates)


def test_a_lost_affinity_is_no_chance() -> None:
    rates = [_sample(_at_random([1.0] * 3, seed), seed) for seed in range(RUNS)]
    assert not any(rate.agrees_with(1.0) for rate in rates)
    assert not Rate(DEVICES, DEVICES).agrees_with(1 / 3)
    assert not Rate(0, DEVICES).agrees_with(1 / 2)


@pytest.mark.parametrize("share", [1 / 2, 1 / 3, 1 / 10, 1.0])
def test_what_is_judged_is_wrong_as_seldom_as_is_said(share: float) -> None:
    def probability(resumed: int) -> float:
        return math.comb(DEVICES, resumed) * share ** resumed * (1 - share) ** (DEVICES - resumed)

    rates = [Rate(resumed, DEVICES) for resumed in range(DEVICES + 1)]
    wrong = sum(probability(rate.resumed) for rate in rates if not rate.agrees_with(share))
    assert wrong < SURE
    assert sum(not rate.agrees_with(share) for rate in rates) > DEVICES / 3  # it can say no


def test_devices_that_came_back_in_the_same_order_would_deceive() -> None:
    """Why the order is random: by turns among 5, each of 60 devices finds its own node again."""
    land = _in_turn([1.0] * 5, 0)
    made_on = [land() for _ in range(DEVICES)]
    assert all(land() == node for node in made_on)
