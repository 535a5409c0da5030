"""Medians, ratios within a round, and verdicts on floors."""
from __future__ import annotations

import math

import pytest

from bench import claims as c
from bench.arithmetic import Claim, Sample, judge, median

ROUNDS = [
    {"ours": Sample(1.0, 1000, 0.5, 1001), "theirs": Sample(2.0, 2000, 0.5, 2001)},
    # Everything takes ten times as long here: a ratio of medians would not be 1, 4, 2.
    {"ours": Sample(10.0, 1000, 5.0, 1001), "theirs": Sample(20.0, 500, 1.0, 501)},
    {"ours": Sample(2.0, 1000, 0.7, 1001), "theirs": Sample(2.0, 500, 0.4, 501)}]


def ratio(floor: float, *, at_least: bool, aim: float | None = None) -> Claim:
    return Claim("rate", "ours / theirs",
                 lambda measured: measured["ours"].per_second / measured["theirs"].per_second,
                 floor, at_least=at_least, aim=aim)


def test_a_sample_is_told_by_the_handshake() -> None:
    sample = Sample(2.0, 500, 0.4, 501)
    assert sample.per_second == 250
    assert math.isclose(sample.cpu_us, 800)
    assert sample.wall_ms == 2000
    assert sample.pair_ms == 4


def test_the_median_is_of_the_rounds_in_which_a_client_was() -> None:
    assert median(ROUNDS, "ours", lambda sample: sample.per_second) == 500
    assert median([*ROUNDS, {}], "ours", lambda sample: sample.wall_s) == 2.0
    assert median(ROUNDS, "nobody", lambda sample: sample.wall_s) is None


def test_ratios_are_taken_within_a_round() -> None:
    judged = judge(ratio(1.5, at_least=True), ROUNDS, {})
    assert judged.ratio == 2.0
    assert judged.spread == (1.0, 4.0)


@pytest.mark.parametrize(("claim", "verdict"), [
    (ratio(1.5, at_least=True), "met"), (ratio(2.0, at_least=True), "met"),
    (ratio(2.1, at_least=True), "missed"),
    (ratio(1.5, at_least=True, aim=3.0), "met"), (ratio(1.5, at_least=True, aim=2.0), "aim met"),
    (ratio(2.1, at_least=True, aim=2.0), "missed"),
    (ratio(2.0, at_least=False), "met"), (ratio(1.9, at_least=False), "missed"),
    (ratio(3.0, at_least=False, aim=2.0), "aim met"), (ratio(3.0, at_least=False, aim=1.0), "met"),
])
def test_a_verdict_is_the_medians(claim: Claim, verdict: str) -> None:
    assert judge(claim, ROUNDS, {}).verdict == verdict


def test_what_was_not_to_be_had_is_named_with_its_reason() -> None:
    judged = judge(ratio(1.5, at_least=True), [{"ours": ROUNDS[0]["ours"]}],
                   {"theirs": "it is not installed"})
    assert (judged.ratio, judged.spread) == (None, None)
    assert judged.verdict == "not measured: it is not installed"


def test_the_floors_are_those_that_are_claimed() -> None:
    assert {claim.name: (claim.floor, claim.aim, claim.at_least) for claim in c.claims((10,))} == {
        "matrix": (20, None, True), "rate": (0.8, 1.0, True), "client CPU": (3, 2, False),
        "evidence": (1.3, None, False), "one node": (1.0, None, False),
        "a pair of 10 nodes": (1.2, None, False), "playbook": (1.0, None, False)}


def test_every_claim_is_the_ratio_it_names() -> None:
    measured = {
        c.SHELL: Sample(30.0, 9), c.MATRIX: Sample(0.9, 9), c.matrix_of(10): Sample(11.0, 100),
        c.WITNESSED: Sample(1.0, 900, 0.45), c.BARE: Sample(1.0, 1000, 0.4),
        c.S_TIME: Sample(1.0, 1000, 0.25), c.PROBE_ONE: Sample(0.6), c.SSLYZE: Sample(0.75),
        c.VERIFY: Sample(3.0), c.PROBE: Sample(1.0), c.EMPTY: Sample(0.5)}
    ratios = {claim.name: claim.figure(measured) for claim in c.claims((10,))}
    assert ratios == pytest.approx({
        "matrix": 30 / 0.9, "rate": 0.9, "client CPU": 2.0, "evidence": 1.25, "one node": 0.8,
        "a pair of 10 nodes": 1.1, "playbook": 1.5})
