"""Intervals of quantiles hold what they promise, for any distribution, and are given only then."""
from __future__ import annotations

import math
import random

import pytest
from ansible_collections.emqx.conformance.plugins.module_utils.run import quantiles


@pytest.mark.parametrize(("numbers", "percent", "value"), [
    ([], 50, None), ([4.0], 99, 4.0), ([1.0, 2.0, 3.0, 4.0], 50, 2.0),
    ([float(number) for number in range(1, 101)], 95, 95.0),
    ([float(number) for number in range(1, 101)], 99, 99.0)])
def test_percentile_is_the_nearest_rank(
        numbers: list[float], percent: int, value: float | None) -> None:
    assert quantiles.percentile(numbers, percent) == value


@pytest.mark.parametrize(("count", "percent", "ranks"), [
    # Tables of the sign test: the median of 10 lies between the 2nd and the 9th.
    (5, 50, None), (6, 50, (1, 6)), (10, 50, (2, 9)), (100, 50, (40, 61)),
    (71, 95, None), (72, 95, (64, 72)), (73, 95, (65, 73)), (367, 99, None), (368, 99, (360, 368)),
])
def test_the_ranks_of_an_interval(count: int, percent: int, ranks: tuple[int, int] | None) -> None:
    sample = [float(rank) for rank in range(1, count + 1)]
    assert quantiles.interval(sample, percent) == ranks


@pytest.mark.parametrize(("percent", "values"), [(50, 6), (95, 72), (99, 368)])
def test_how_many_values_an_interval_takes(percent: int, values: int) -> None:
    assert quantiles.least(percent) == values


@pytest.mark.parametrize(("count", "percent"), [(6, 50), (78, 50), (78, 95), (372, 99)])
def test_an_interval_encloses_the_quantile_as_often_as_it_says(count: int, percent: int) -> None:
    """Counted, and not only computed: of log-normal values, as times of handshakes look."""
    draw = random.Random(count + percent)  # noqa: S311 - a test that can be repeated
    true = math.exp({50: 0.0, 95: 1.6448536, 99: 2.3263479}[percent])
    rounds = 1000
    hits = 0
    for _ in range(rounds):
        found = quantiles.interval(
            sorted(draw.lognormvariate(0, 1) for _ in range(count)), percent)
        assert found is not None
        hits += found[0] <= true <= found[1]
    # Four standard deviations below 95 %.
    assert hits >= rounds * 0.95 - 4 * math.sqrt(rounds * 0.95 * 0.05)
