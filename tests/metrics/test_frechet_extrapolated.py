from __future__ import annotations

import json

import numpy as np
import pytest

from tokbench.metrics.frechet import frechet_of_rows
from tokbench.metrics.frechet_extrapolated import frechet_infinity_summary, sizes


def paired(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Paired features, and the distance between the distributions they come from."""
    rng = np.random.default_rng(seed)
    scales = np.logspace(0, -1, d)
    reference = rng.normal(size=(n, d)) * scales
    reconstruction = reference + 0.02 * scales + 0.3 * scales * rng.normal(size=(n, d))
    truth = ((0.02 * scales) ** 2).sum() + ((np.sqrt(1.09) - 1) ** 2 * scales**2).sum()
    return reference, reconstruction, float(truth)


def test_sizes_are_dgm_evals() -> None:
    assert list(sizes(50_000)[[0, -1]]) == [5000, 50_000]
    assert list(sizes(150)) == [15, 24, 34, 43, 53, 63, 72, 82, 92, 101, 111, 121, 130, 140, 150]


def test_the_intercept_is_nearer_the_truth_than_the_distance() -> None:
    intercepts, plain, truths = [], [], []
    for seed in range(10):
        reference, reconstruction, truth = paired(800, 16, seed)
        summary = frechet_infinity_summary(reference, reconstruction)
        intercepts.append(summary.value)
        plain.append(summary.details["distance_at_n"])
        truths.append(truth)
    bias, plain_bias = np.mean(intercepts) - np.mean(truths), np.mean(plain) - np.mean(truths)
    assert abs(bias) < plain_bias / 2
    assert plain_bias > 0


def test_summary_says_what_it_rests_on_and_repeats() -> None:
    reference, reconstruction, _ = paired(200, 8, 0)
    summary = frechet_infinity_summary(reference.astype(np.float32), reconstruction.astype(np.float32))
    again = frechet_infinity_summary(reference.astype(np.float32), reconstruction.astype(np.float32))
    assert summary == again
    curve = json.loads(summary.details["distance_curve"])["points"]
    assert [size for size, _ in curve] == list(sizes(200))
    whole = frechet_of_rows(reference.astype(np.float32), reconstruction.astype(np.float32))
    assert curve[-1][1] == pytest.approx(whole, rel=1e-9)
    assert summary.details["distance_at_n"] == curve[-1][1]
    x, y = np.array(curve).T
    (slope, intercept), cov = np.polyfit(1 / x, y, 1, cov=True)
    assert summary.value == pytest.approx(intercept, rel=1e-9)
    assert slope > 0
    assert summary.details["standard_error"] == pytest.approx(np.sqrt(cov[1, 1]), rel=1e-6)
    assert summary.influences is None
    few = frechet_infinity_summary(*paired(40, 16, 0)[:2])
    assert "no straight line" in few.details["biased"]


def test_equal_sets_are_at_zero_and_few_images_are_refused() -> None:
    rows = paired(60, 4, 0)[0]
    assert frechet_infinity_summary(rows, rows.copy()).value == 0.0
    for n in (0, 1, 19):
        summary = frechet_infinity_summary(rows[:n], rows[:n])
        assert summary.value is None
        assert "at least" in summary.reason
