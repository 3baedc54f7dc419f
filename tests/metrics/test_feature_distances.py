"""Distances of feature sets: the mean discrepancy from first principles, and EfficientNet's on real photographs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_inputs import compare, noisy, photographs
from network_inputs import with_features

from tokbench.contracts import StatefulMetric, Summary
from tokbench.errors import MetricError
from tokbench.metrics import gaussian_mmd
from tokbench.metrics.feature_distances import METRICS, cmmd_summary
from tokbench.metrics.gaussian_mmd import mmd_summary

BY_KEY = {metric.card.key: metric for metric in METRICS}
EFFNET = BY_KEY["fd_effnet"]
WEIGHTLESS = EFFNET.unavailable()


def rows(n: int, d: int = 5, *, seed: int = 0, unit: bool = False) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(n, d))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True) if unit else drawn


def by_hand(a: np.ndarray, b: np.ndarray, *, sigma: float) -> float:
    """The V-statistic as its definition reads."""

    def kernel_mean(x: np.ndarray, y: np.ndarray) -> float:
        total = [math.exp(-float(((p - q) ** 2).sum()) / (2 * sigma**2)) for p in x for q in y]
        return math.fsum(total) / len(total)

    return kernel_mean(a, a) + kernel_mean(b, b) - 2 * kernel_mean(a, b)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 7), st.integers(1, 4), st.floats(0.3, 20), st.integers(0, 100))
def test_equals_the_definition(n: int, d: int, sigma: float, seed: int) -> None:
    a, b = rows(n, d, seed=seed), rows(n, d, seed=seed + 1000)
    assert mmd_summary(a, b, sigma=sigma).value == pytest.approx(by_hand(a, b, sigma=sigma), rel=1e-9, abs=1e-14)


def test_known_value() -> None:
    """Two points each, one shifted by one: k(0) = 1, k(1) = exp(-1/2), k(10) and k(11) vanish."""
    a = np.array([[0.0], [30.0]])
    expected = (2 * 2 + 2 * 2 - 2 * 4 * math.exp(-0.5)) / 4 / 2
    assert mmd_summary(a, a + 1, sigma=1).value == pytest.approx(expected, rel=1e-12)


def test_influences_are_the_derivative_of_the_value() -> None:
    """A resampled set as weights on the pairs: the statistic is quadratic in them, with the influences as gradient."""
    n, sigma = 9, 1.5
    a, b = rows(n), rows(n, seed=1)
    found = mmd_summary(a, b, sigma=sigma)
    assert found.influences is not None
    assert found.influences.sum() == pytest.approx(0, abs=1e-14)

    def weighted(weights: np.ndarray) -> float:
        def k(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            return np.exp(-((x[:, None] - y) ** 2).sum(2) / (2 * sigma**2))

        return float(weights @ (k(a, a) + k(b, b) - k(a, b) - k(b, a)) @ weights)

    even = np.full(n, 1 / n)
    for row in range(n):
        towards = np.eye(n)[row] - even
        slope = (weighted(even + 1e-6 * towards) - weighted(even - 1e-6 * towards)) / 2e-6
        assert found.influences[row] == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_the_bias_is_that_of_keeping_own_pairs() -> None:
    """Without them the estimator is unbiased: the mean of h over the other pairs."""
    n, a, b = 8, rows(8), rows(8, seed=1)
    found = mmd_summary(a, b, sigma=2, scale=10)
    assert found.details is not None
    assert found.value is not None

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.exp(-((x[:, None] - y) ** 2).sum(2) / 8)

    h = kernel(a, a) + kernel(b, b) - kernel(a, b) - kernel(b, a)
    unbiased = 10 * (h.sum() - np.trace(h)) / (n * (n - 1))
    assert found.value - found.details["bias"] == pytest.approx(unbiased, rel=1e-9)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = rows(23), rows(23, seed=1)
    whole = mmd_summary(a, b, sigma=2)
    monkeypatch.setattr(gaussian_mmd, "CHUNK_ROWS", 5)
    parts = mmd_summary(a, b, sigma=2)
    assert parts.value == pytest.approx(whole.value, rel=1e-12)
    assert parts.influences == pytest.approx(whole.influences, abs=1e-15)
    assert parts.details == pytest.approx(whole.details, rel=1e-12)


def test_order_and_direction_do_not_matter() -> None:
    a, b = rows(12), rows(12, seed=1)
    value = mmd_summary(a, b, sigma=2).value
    order = np.random.default_rng(2).permutation(12)
    assert mmd_summary(b, a, sigma=2).value == pytest.approx(value, rel=1e-12)
    assert mmd_summary(a[order], b[order], sigma=2).value == pytest.approx(value, rel=1e-12)


def test_cmmd_is_the_published_one() -> None:
    """The value that distance.mmd of sayakpaul/cmmd-pytorch (f7673a9) gives for these rows, handed over in float64.

    In its own float32 it gives 0.00262.
    """
    generator = np.random.default_rng(0)
    a = generator.normal(size=(300, 768))
    b = a + 0.3 * generator.normal(size=a.shape)
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    assert cmmd_summary(a, b).value == pytest.approx(0.0026714449061771, rel=1e-8)


def test_equal_sets_are_at_exactly_zero_and_none_is_below() -> None:
    a = rows(40, 64, unit=True)
    for metric in METRICS:
        found = metric.statistic(a, a.copy())
        assert found.value == 0.0
        assert found.influences is not None
        assert not found.influences.any()
    assert cmmd_summary(a, a[::-1]).value == pytest.approx(0, abs=1e-10)
    assert (cmmd_summary(a, a[::-1]).value or 0) >= 0


def test_sets_that_say_nothing_or_are_broken() -> None:
    for metric in METRICS:
        for n in (0, 1):
            found = metric.statistic(rows(n), rows(n, seed=1))
            assert found.value is None
            assert found.n == n
            assert found.reason
    with pytest.raises(MetricError, match=r"\(3, 5\).*\(4, 5\)"):
        cmmd_summary(rows(3), rows(4))
    with pytest.raises(MetricError, match="not finite"):
        cmmd_summary(rows(3), rows(3) * np.nan)


def test_cards_say_what_the_numbers_are() -> None:
    assert [metric.card.key for metric in METRICS] == ["fd_effnet", "fd_dinov2", "cmmd"]
    for metric in METRICS:
        assert isinstance(metric, StatefulMetric)
        assert metric.card.group == "distribution"
        assert metric.card.better == "lower"
        assert all(note in metric.card.notes for note in metric.feature.network.card.notes)
    assert "Not FID" in EFFNET.card.notes


@pytest.mark.skipif(bool(WEIGHTLESS), reason=WEIGHTLESS)
def test_effnet_grows_with_noise_and_is_zero_without() -> None:
    images = photographs(4)

    def distance(sigma: float) -> Summary:
        state = EFFNET.new_state()
        EFFNET.update(state, with_features(compare(images, noisy(images, sigma)), EFFNET.features))
        return EFFNET.compute(state)

    values = [distance(sigma).value or 0.0 for sigma in (0, 4, 12, 40)]
    assert values[0] == 0.0
    assert values == sorted(values)
    assert len(set(values)) == 4
    assert distance(12).n == 4
