"""Bjøntegaard deltas: known answers first, then an integration of our own, then properties."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokbench.cards import Better
from tokbench.errors import MetricError
from tokbench.rate_distortion import (
    Curve,
    beaten_points,
    deltas,
    interval,
    pchip_mean,
    replicated_deltas,
    resampled_means,
)

RATES = (0.2, 0.5, 1.1, 2.0, 3.1)
VALUES = (24.0, 27.5, 30.2, 33.0, 34.8)


def curve(rates: Any = RATES, values: Any = VALUES, name: str = "mine") -> Curve:
    labels = tuple(f"p{i}" for i in range(len(values)))
    return Curve(name=name, rates=tuple(rates), values=tuple(values), labels=labels)


def test_a_curve_against_itself_is_zero() -> None:
    found = deltas(anchor=curve(), test=curve(), better="higher")
    assert found == pytest.approx((0, 0, 1), abs=1e-9)


@pytest.mark.parametrize("factor", [0.5, 0.93, 1.25, 3.0])
def test_all_rates_times_c_is_c_minus_one(factor: float) -> None:
    scaled = curve([factor * rate for rate in RATES])
    assert deltas(anchor=curve(), test=scaled, better="higher").bd_rate == pytest.approx(100 * (factor - 1), rel=1e-9)


@pytest.mark.parametrize("shift", [-2.0, 0.1, 1.5])
def test_all_values_plus_d_is_d(shift: float) -> None:
    shifted = curve(values=[value + shift for value in VALUES])
    assert deltas(anchor=curve(), test=shifted, better="higher").bd_metric == pytest.approx(shift, rel=1e-9)
    assert deltas(anchor=curve(), test=shifted, better="higher").overlap == pytest.approx(
        (10.8 - abs(shift)) / (10.8 + abs(shift))
    )


def test_swapping_inverts() -> None:
    other = curve((0.15, 0.4, 0.9, 2.5), (23.0, 27.0, 29.0, 34.0), "other")
    there = deltas(anchor=curve(), test=other, better="higher")
    back = deltas(anchor=other, test=curve(), better="higher")
    assert (1 + there.bd_rate / 100) * (1 + back.bd_rate / 100) == pytest.approx(1)
    assert there.bd_metric == pytest.approx(-back.bd_metric)


def test_where_lower_is_better_the_rate_is_the_same_and_the_metric_turns() -> None:
    """A metric and its negative are one curve."""
    other = curve((0.15, 0.4, 0.9, 2.5), (23.0, 27.0, 29.0, 34.0), "other")
    up = deltas(anchor=curve(), test=other, better="higher")
    negative = [curve(one.rates, [-value for value in one.values], one.name) for one in (curve(), other)]
    down = deltas(anchor=negative[0], test=negative[1], better="lower")
    assert down.bd_rate == pytest.approx(up.bd_rate)
    assert down.bd_metric == pytest.approx(-up.bd_metric)


def test_the_order_of_points_does_not_matter() -> None:
    other = curve((0.15, 0.4, 0.9, 2.5), (23.0, 27.0, 29.0, 34.0), "other")
    turned = Curve(name="other", rates=other.rates[::-1], values=other.values[::-1], labels=other.labels[::-1])
    assert deltas(anchor=curve(), test=turned, better="higher") == deltas(anchor=curve(), test=other, better="higher")


def fine_integral(x: Any, y: Any, low: float, high: float) -> float:
    """The mean of scipy's monotone interpolant by the trapezium rule on a fine grid."""
    from scipy.interpolate import PchipInterpolator

    grid = np.linspace(low, high, 200_001)
    heights = PchipInterpolator(x, y)(grid)
    return float((heights[:-1] + heights[1:]).sum() / 2 / 200_000)


def test_parity_with_a_numeric_integration() -> None:
    anchor, test = curve(), curve((0.3, 0.45, 1.0, 1.7), (25.0, 26.0, 31.0, 32.5), "other")
    found = deltas(anchor=anchor, test=test, better="higher")
    low, high = 25.0, 32.5
    rate = fine_integral(test.values, np.log10(test.rates), low, high)
    rate -= fine_integral(anchor.values, np.log10(anchor.rates), low, high)
    assert found.bd_rate == pytest.approx(100 * (10**rate - 1), abs=1e-6)
    low, high = math.log10(0.3), math.log10(1.7)
    metric = fine_integral(np.log10(test.rates), test.values, low, high)
    metric -= fine_integral(np.log10(anchor.rates), anchor.values, low, high)
    assert found.bd_metric == pytest.approx(metric, abs=1e-6)


@pytest.mark.parametrize(
    ("rates", "values", "better", "message"),
    [
        ((0.1, 0.2, 0.3), (1, 2, 3), "higher", r"other has 3 points, a delta needs at least 4"),
        (RATES, (24, 27, 26, 33, 34), "higher", r"not monotone: p2 costs more than p1 and is worse"),
        (RATES, (24, 27, 30, 33, 33), "higher", r"saturated: p3 and p4 both have the value 33"),
        ((0.2, 0.5, 0.5, 2.0, 3.1), VALUES, "higher", r"p1 and p2 have the same rate"),
        (RATES, (44, 45, 46, 47, 48), "higher", r"other \(44 to 48\) and mine \(24 to 34\.8\) have no value in common"),
        ((5, 6, 7, 8, 9), VALUES, "higher", r"other \(5 to 9 bit/px\) .* no rate in common"),
        (RATES, VALUES, "lower", r"mine is not monotone: p1 costs more than p0 and is worse"),
        (RATES, VALUES, "neither", r"needs a metric with a better direction"),
    ],
)
def test_what_has_no_delta_says_why(rates: Any, values: Any, better: Better, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        deltas(anchor=curve(), test=curve(rates, values, "other"), better=better)


@pytest.mark.parametrize(
    ("rate", "value"), [(0.0, 1.0), (-1.0, 1.0), (math.nan, 1.0), (math.inf, 1.0), (1, math.nan), (1, math.inf)]
)
def test_numbers_that_are_none_are_refused(rate: float, value: float) -> None:
    with pytest.raises(MetricError, match="curve mine, point p4"):
        curve((*RATES[:4], rate), (*VALUES[:4], value))


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(MetricError, match="2 rates, 1 values and 1 labels"):
        Curve(name="x", rates=(1.0, 2.0), values=(1.0,), labels=("a",))


def test_points_beaten_by_a_cheaper_one_are_flagged() -> None:
    assert beaten_points(curve(values=(1, 3, 2, 3, 4)), "higher") == (False, False, True, True, False)
    assert beaten_points(curve(values=(4, 3, 3.5, 2, 1)), "lower") == (False, False, True, False, False)
    assert beaten_points(curve(values=(1, 3, 2, 3, 4)), "neither") == (False,) * 5


steps = st.floats(0.01, 3.0)


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    n = draw(st.integers(4, 7))
    rates = np.cumprod([1 + draw(steps) for _ in range(n)]) * draw(st.floats(0.05, 0.3))
    values = np.cumsum([draw(steps) for _ in range(n)]) + draw(st.floats(-0.5, 0.5))
    return curve(rates.tolist(), values.tolist())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(curves(), curves(), st.floats(0.3, 3.0))
def test_resampled_deltas_are_those_of_the_package(anchor: Curve, test: Curve, factor: float) -> None:
    """Array maths and package agree, in value and in what they refuse; and so for rates in another unit."""
    pairs = [(np.array([one.rates]), np.array([one.values])) for one in (anchor, test)]
    ours = replicated_deltas(anchor=pairs[0], test=pairs[1], better="higher")
    try:
        expected = deltas(anchor=anchor, test=test, better="higher")
    except MetricError:
        assert np.isnan(ours[0]).all()
        return
    assert ours[0][0] == pytest.approx(expected.bd_rate, rel=1e-6, abs=1e-6)
    assert ours[1][0] == pytest.approx(expected.bd_metric, rel=1e-6, abs=1e-6)
    scaled = [curve([factor * rate for rate in one.rates], one.values) for one in (anchor, test)]
    assert deltas(anchor=scaled[0], test=scaled[1], better="higher").bd_rate == pytest.approx(
        expected.bd_rate, rel=1e-5, abs=1e-5
    )


def test_resampled_curves_without_delta_are_nan() -> None:
    rates = np.array([RATES, RATES, RATES])
    values = np.array([VALUES, (24, 27, 26, 33, 34), (44, 45, 46, 47, 48)])
    anchor = (rates, np.array([VALUES] * 3))
    found = replicated_deltas(anchor=anchor, test=(rates, values), better="higher")[0]
    assert found[0] == pytest.approx(0, abs=1e-9)
    assert np.isnan(found[1:]).all()


def test_pchip_mean_is_exact_for_a_line_and_agrees_with_scipy_over_part_of_the_range() -> None:
    from scipy.interpolate import PchipInterpolator

    x = np.array([[0.0, 1.0, 2.5, 4.0]])
    assert pchip_mean(x, 3 * x + 1, np.array([0.5]), np.array([3.5]))[0] == pytest.approx(7)
    y = np.array([[0.0, 5.0, 5.0, 1.0]])
    expected = PchipInterpolator(x[0], y[0]).integrate(0.3, 3.7) / 3.4
    assert pchip_mean(x, y, np.array([0.3]), np.array([3.7]))[0] == pytest.approx(float(expected))


def test_an_interval_needs_nearly_all_resamples() -> None:
    numbers = np.arange(101.0)
    assert interval(numbers) == pytest.approx((2.5, 97.5))
    assert interval(np.where(numbers < 5, np.nan, numbers)) is not None
    assert interval(np.where(numbers < 6, np.nan, numbers)) is None
    assert interval(np.full(10, np.nan)) is None


def test_resampled_means_weigh_groups_alike_and_leave_undrawn_ones_out() -> None:
    small = (np.array([[2.0], [0.0]]), np.array([[2.0], [0.0]]))  # only the first cluster has small words: mean 1
    large = (np.array([[0.0], [8.0]]), np.array([[0.0], [2.0]]))  # only the second has large ones: mean 4
    weights = np.array([[1, 1], [2, 0], [1, 3]])
    found = resampled_means([small[0], large[0]], [small[1], large[1]], weights)
    assert found[0, 0] == found[2, 0] == 2.5
    assert np.isnan(found[1, 0])


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Curves whose images share their difficulty: the paired interval of BD-metric holds the true shift."""
    rng = np.random.default_rng(3)
    rates, base = np.array(RATES), np.array(VALUES)
    hits, trials = 0, 120
    for _ in range(trials):
        g = 40
        difficulty, own = rng.normal(0, 2, (g, 1)), rng.normal(0, 0.5, (g, 1))
        anchor, test = base + difficulty, base + difficulty + own + 0.4
        weights = rng.multinomial(g, np.full(g, 1 / g), size=200)
        ones = np.ones((g, 5))
        means = [resampled_means([one], [ones], weights) for one in (anchor, test)]
        costs = np.tile(rates, (200, 1))
        replicates = replicated_deltas(anchor=(costs, means[0]), test=(costs, means[1]), better="higher")[1]
        found = interval(replicates)
        assert found is not None
        assert found[1] - found[0] < 0.6  # unpaired it would be about 1.8
        hits += found[0] <= 0.4 <= found[1]
    assert 0.87 <= hits / trials <= 0.99
