from __future__ import annotations

import math

import numpy as np
import pytest

from tokbench.contracts import CostMetric, Timing
from tokbench.metrics import efficiency
from tokbench.metrics.efficiency import median_rank

ENCODE, DECODE, SPEED = efficiency.METRICS


def timing(n: int, encode_s: float, decode_s: float, *, is_warm_up: bool = False) -> Timing:
    return Timing(n=n, encode_s=encode_s, decode_s=decode_s, is_warm_up=is_warm_up)


def test_medians_and_throughput_without_the_warm_up() -> None:
    timings = [timing(2, 90, 90, is_warm_up=True), timing(2, 0.2, 0.4), timing(2, 0.4, 0.4), timing(1, 0.3, 0.1)]
    encode, decode, speed = (metric.summarise(timings) for metric in efficiency.METRICS)
    assert encode.value == pytest.approx(0.2)
    assert decode.value == pytest.approx(0.2)
    assert speed.value == pytest.approx(5 / 1.8)
    for result in (encode, decode, speed):
        assert (result.n, result.n_unit, result.ci95) == (5, "images", None)
        assert result.details["batches"] == 3
        assert result.details["warm_up_batches_left_out"] == 1
        assert "note" not in result.details


def test_a_run_of_warm_ups_only_says_so() -> None:
    result = ENCODE.summarise([timing(4, 2, 1, is_warm_up=True)])
    assert result.value == 0.5
    assert "included" in result.details["note"]
    assert result.details["warm_up_batches_left_out"] == 0


@pytest.mark.parametrize("metric", efficiency.METRICS, ids=lambda metric: metric.card.key)
def test_nothing_timed_is_undefined(metric: CostMetric) -> None:
    for timings in ([], [timing(0, 1, 1)]):
        result = metric.summarise(timings)
        assert result.value is None
        assert result.reason == "nothing was timed"


def test_zero_seconds_have_no_throughput() -> None:
    assert DECODE.summarise([timing(1, 0, 0)]).value == 0
    result = SPEED.summarise([timing(1, 0, 0)])
    assert result.value is None
    assert "clock" in result.reason


def test_intervals_hold_the_value_and_name_their_method() -> None:
    rng = np.random.default_rng(0)
    timings = [timing(8, *rng.uniform(0.8, 1.2, 2).tolist()) for _ in range(20)]
    for metric in efficiency.METRICS:
        result = metric.summarise(timings)
        low, high = result.ci95
        assert low < result.value < high
        assert result.details["ci95_method"]
        assert metric.summarise(timings[::-1]) == result
    each = sorted(t.encode_s / 8 for t in timings)
    assert ENCODE.summarise(timings).ci95 == (each[5], each[14])
    assert ENCODE.summarise(timings[:5]).ci95 is None
    assert SPEED.summarise(timings[:5]).ci95 is not None
    assert SPEED.summarise(timings[:4]).ci95 is None


def test_equal_batches_have_a_sharp_interval() -> None:
    result = SPEED.summarise([timing(4, 1, 1)] * 6)
    assert result.value == 2
    assert result.ci95 == (2, 2)


@pytest.mark.parametrize("n", [6, 7, 20, 101, 1500])
def test_median_rank_is_the_largest_that_covers(n: int) -> None:
    def coverage(rank: int) -> float:
        return 1 - 2 * sum(math.comb(n, below) for below in range(rank)) / 2**n

    rank = median_rank(n)
    assert coverage(rank) >= 0.95 > coverage(rank + 1)
