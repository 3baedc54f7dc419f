from __future__ import annotations

import numpy as np
import pytest

from tokbench.errors import MetricError
from tokbench.metrics import kernels
from tokbench.metrics.kernels import kid_summary, row_means, unbiased_mmd2


def paired(n: int, d: int = 6, *, seed: int = 0, shift: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=(n, d)) + 0.5
    return reference, 0.9 * reference + 0.4 * rng.normal(size=(n, d)) + shift


def cubic_loops(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.array([[(sum(a * b for a, b in zip(p, q, strict=True)) / len(p) + 1) ** 3 for q in y] for p in x])


def test_a_small_set_is_one_estimate_straight_from_the_definition() -> None:
    x, y = paired(9)
    within = sum(cubic_loops(rows, rows)[i, j] for rows in (x, y) for i in range(9) for j in range(9) if i != j)
    across = cubic_loops(x, y)
    expected = within / (9 * 8) - 2 * (across.sum() - np.trace(across)) / (9 * 8)
    summary = kid_summary(x, y)
    assert summary.value == pytest.approx(expected, rel=1e-12)
    assert summary.details["subsets"] == 1
    assert summary.details["subset_size"] == 9
    assert summary.details["own_pairs_kept"] == pytest.approx(within / (9 * 8) - 2 * across.mean(), rel=1e-12)


def test_a_small_set_and_itself_are_at_exactly_zero() -> None:
    x, _ = paired(30)
    assert kid_summary(x, x.copy()).value == 0.0
    assert kid_summary(x, x.copy()).details["own_pairs_kept"] < 0


def test_far_apart_sets_are_far_and_equal_distributions_near() -> None:
    rng = np.random.default_rng(0)
    near = kid_summary(rng.normal(size=(600, 4)), rng.normal(size=(600, 4)))  # independent, and so unpaired
    far = kid_summary(rng.normal(size=(600, 4)), rng.normal(size=(600, 4)) + 1)
    assert abs(near.value) < 4 * near.details["standard_error"]
    assert far.value > 8 * far.details["standard_error"]


def test_influences_are_the_slopes_in_the_weights() -> None:
    x, y = paired(40)
    kxx, kyy, kxy = (kernels.cubic(a, b) for a, b in ((x, x), (y, y), (x, y)))

    def weighted(weights: np.ndarray) -> float:
        pairs = np.outer(weights, weights)
        np.fill_diagonal(pairs, 0)
        return float((pairs * (kxx + kyy - kxy - kxy.T)).sum() / pairs.sum())

    even, step = np.full(40, 1 / 40), 1e-5
    influences = kid_summary(x, y).influences
    assert influences.sum() == pytest.approx(0, abs=1e-10)
    slopes = []
    for image in range(40):
        towards = -even.copy()
        towards[image] += 1
        slopes.append((weighted(even + step * towards) - weighted(even - step * towards)) / (2 * step))
    assert np.allclose(influences, slopes, rtol=0.1, atol=0.06 * np.abs(slopes).max())
    assert np.corrcoef(influences, slopes)[0, 1] > 0.9999


def test_standard_error_is_the_spread_over_sets() -> None:
    """To first order: it is too small where the distance itself is no larger than it."""
    summaries = [kid_summary(*paired(200, 3, seed=seed, shift=0.5)) for seed in range(120)]
    spread = np.std([summary.value for summary in summaries])
    assert np.mean([summary.details["standard_error"] for summary in summaries]) == pytest.approx(spread, rel=0.2)


def test_subsets_are_the_same_looked_up_or_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "SUBSET_SIZE", 50)
    monkeypatch.setattr(kernels, "SUBSETS", 10)
    looked_up = kid_summary(*paired(130))
    monkeypatch.setattr(kernels, "MAX_WHOLE", 100)
    computed = kid_summary(*paired(130))
    assert computed.value == pytest.approx(looked_up.value, rel=1e-12)
    assert computed.details["subset_deviation"] == pytest.approx(looked_up.details["subset_deviation"], rel=1e-9)
    assert "own_pairs_left_out" not in computed.details
    assert computed.details["standard_error"] == pytest.approx(looked_up.details["standard_error"], rel=0.1)


def test_row_means_over_some_rows_are_close_to_those_over_all() -> None:
    x, y = paired(900)
    every, some = row_means(x, y, limit=900), row_means(x, y, limit=300)
    assert np.corrcoef(every.influences(), some.influences())[0, 1] > 0.9


def test_order_changes_a_small_set_by_rounding_only() -> None:
    x, y = paired(60)
    order = np.random.default_rng(0).permutation(60)
    assert kid_summary(x[order], y[order]).value == pytest.approx(kid_summary(x, y).value, rel=1e-10)


def test_estimator_of_two_images_and_what_is_refused() -> None:
    assert unbiased_mmd2(np.array([[9, 2.0], [2, 9]]), np.array([[9, 4.0], [4, 9]]), np.full((2, 2), 3.0)) == 0
    for n in (0, 1):
        summary = kid_summary(np.zeros((n, 3)), np.zeros((n, 3)))
        assert summary.value is None
        assert "at least 2" in summary.reason
    with pytest.raises(MetricError, match="paired features"):
        kid_summary(np.zeros((4, 3)), np.zeros((5, 3)))
    with pytest.raises(MetricError, match="not finite"):
        kid_summary(np.full((4, 3), np.nan), np.zeros((4, 3)))
