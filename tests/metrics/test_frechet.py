"""The Fréchet distance against analytic truth, independent code and first principles."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokbench.errors import MetricError
from tokbench.metrics.frechet import (
    frechet_distance,
    frechet_of_rows,
    frechet_summary,
    frechet_to_published,
)
from tokbench.metrics.moments import CHUNK_ROWS, Moments


def covariance(d: int, seed: int = 0, *, rank: int | None = None) -> np.ndarray:
    """A covariance with a spread of scales, as features have."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(d, rank or 3 * d)) * np.logspace(0, -2, d)[:, None]
    return root @ root.T / (rank or 3 * d)


def paired(n: int, d: int, *, seed: int = 0, noise: float = 0.3, shift: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Features of images and of their reconstructions: the same with noise and a shift."""
    rng = np.random.default_rng(seed)
    scales = np.logspace(0, -1, d)
    reference = rng.normal(size=(n, d)) * scales + 3
    return reference, reference + noise * scales * rng.normal(size=(n, d)) + shift * scales


def weighted_distance(weights: np.ndarray, reference: np.ndarray, reconstruction: np.ndarray) -> float:
    """The distance with a weight for each pair, straight from the definition."""
    moments = []
    for rows in (reference, reconstruction):
        mean = weights @ rows
        moments += [mean, (rows - mean).T @ ((rows - mean) * weights[:, None]) * len(rows) / (len(rows) - 1)]
    return frechet_distance(*moments)


def test_equal_covariances_leave_the_squared_shift() -> None:
    cov = covariance(12)
    mean = np.arange(12.0)
    assert frechet_distance(mean, cov, mean + 0.5, cov) == pytest.approx(12 * 0.25, rel=1e-12)


def test_diagonal_covariances_have_a_closed_form() -> None:
    rng = np.random.default_rng(1)
    a, b, shift = rng.uniform(0.1, 5, 9), rng.uniform(0.1, 5, 9), rng.normal(size=9)
    expected = shift @ shift + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_distance(np.zeros(9), np.diag(a), shift, np.diag(b)) == pytest.approx(expected, rel=1e-12)


def test_scaled_covariance_has_a_closed_form() -> None:
    cov = covariance(10)
    assert frechet_distance(np.zeros(10), cov, np.zeros(10), 4 * cov) == pytest.approx(np.trace(cov), rel=1e-12)


def test_rotating_both_changes_nothing_and_order_does_not_matter() -> None:
    a, b, mean = covariance(15), covariance(15, 1), np.linspace(0, 1, 15)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(15, 15)))[0]
    plain = frechet_distance(mean, a, -mean, b)
    assert frechet_distance(turn @ mean, turn @ a @ turn.T, -turn @ mean, turn @ b @ turn.T) == pytest.approx(plain)
    assert frechet_distance(-mean, b, mean, a) == pytest.approx(plain, rel=1e-12)


def test_covariances_of_complementary_rank_are_as_far_apart_as_their_traces() -> None:
    a, b = np.diag([1.0, 2, 0, 0]), np.diag([0.0, 0, 3, 4])
    assert frechet_distance(np.zeros(4), a, np.zeros(4), b) == pytest.approx(10, rel=1e-12)


def test_equal_moments_are_at_exactly_zero_and_nearly_equal_ones_near_it() -> None:
    cov, mean = covariance(40), np.ones(40)
    assert frechet_distance(mean, cov, mean.copy(), cov.copy()) == 0.0
    assert 0 <= frechet_distance(mean, cov, mean, cov * (1 + 1e-12)) < 1e-12


@pytest.mark.parametrize("rank", [None, 9], ids=["full", "singular"])
def test_distance_is_that_of_scipys_root(rank: int | None) -> None:
    linalg = pytest.importorskip("scipy.linalg")
    a, b = covariance(30, rank=rank), covariance(30, 1)
    root = linalg.sqrtm(a @ b + (1e-14 if rank else 0) * np.eye(30)).real
    expected = 30 + np.trace(a) + np.trace(b) - 2 * np.trace(root)
    got = frechet_distance(np.zeros(30), a, np.ones(30), b)
    assert got == pytest.approx(expected, rel=1e-5 if rank else 1e-8)


def test_nearly_equal_sets_keep_their_digits() -> None:
    """With commuting covariances over eight orders of magnitude the distance is known to the last digit."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(60, 60)))[0]
    variances = np.logspace(0, -8, 60)
    other = variances * 1.01
    expected = float(((np.sqrt(variances) - np.sqrt(other)) ** 2).sum())
    a, b = (turn * variances) @ turn.T, (turn * other) @ turn.T
    assert frechet_distance(np.zeros(60), a, np.zeros(60), b) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("n", "d"), [(60, 7), (8, 7), (7, 7), (6, 20), (2, 5)])
def test_summary_is_the_distance_of_the_sample_moments(n: int, d: int) -> None:
    reference, reconstruction = paired(n, d)
    expected = frechet_distance(
        reference.mean(0), np.cov(reference.T), reconstruction.mean(0), np.cov(reconstruction.T)
    )
    summary = frechet_summary(reference.astype(np.float32), reconstruction.astype(np.float32))
    assert summary.value == pytest.approx(expected, rel=1e-5)
    summary = frechet_summary(reference, reconstruction)
    assert summary.value == pytest.approx(expected, rel=1e-9)
    assert frechet_of_rows(reference, reconstruction) == pytest.approx(expected, rel=1e-9)
    assert summary.n == n
    assert summary.details["mean_term"] + summary.details["covariance_term"] == pytest.approx(summary.value)
    assert ("biased" in summary.details) == (n < 10_000 / 2048 * d)


@pytest.mark.parametrize(("n", "d"), [(60, 7), (9, 7), (7, 7), (6, 20)])
def test_influences_are_the_slopes_in_the_weights(n: int, d: int) -> None:
    reference, reconstruction = paired(n, d)
    influences = frechet_summary(reference, reconstruction).influences
    assert influences.sum() == pytest.approx(0, abs=1e-12 * n)
    even, step = np.full(n, 1 / n), 1e-4
    for image in range(0, n, max(1, n // 5)):
        towards = -even.copy()
        towards[image] += 1
        up = weighted_distance(even + step * towards, reference, reconstruction)
        down = weighted_distance(even - step * towards, reference, reconstruction)
        assert influences[image] == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-6)


def test_influences_agree_with_leaving_images_out() -> None:
    reference, reconstruction = paired(400, 5)
    summary = frechet_summary(reference, reconstruction)
    left_out = [
        frechet_of_rows(np.delete(reference, image, 0), np.delete(reconstruction, image, 0)) for image in range(400)
    ]
    jackknife = 399 * (np.mean(left_out) - np.array(left_out))
    assert np.corrcoef(jackknife, summary.influences)[0, 1] > 0.999
    assert np.std(jackknife) == pytest.approx(np.std(summary.influences), rel=0.03)


def test_published_moments_move_with_the_reconstructions_alone() -> None:
    reference, reconstruction = paired(80, 6)
    mean, cov = reference.mean(0) + 0.1, np.cov(reference.T)
    summary = frechet_to_published(mean, cov, reconstruction)
    assert summary.value == pytest.approx(
        frechet_distance(mean, cov, reconstruction.mean(0), np.cov(reconstruction.T)), rel=1e-10
    )

    def weighted(weights: np.ndarray) -> float:
        own = weights @ reconstruction
        spread = (reconstruction - own).T @ ((reconstruction - own) * weights[:, None]) * 80 / 79
        return frechet_distance(mean, cov, own, spread)

    even, step = np.full(80, 1 / 80), 1e-4
    for image in (0, 17, 79):
        towards = -even.copy()
        towards[image] += 1
        slope = (weighted(even + step * towards) - weighted(even - step * towards)) / (2 * step)
        assert summary.influences[image] == pytest.approx(slope, rel=1e-4)


def test_published_moments_of_another_size_are_refused() -> None:
    with pytest.raises(MetricError, match=r"got \(5,\), \(5, 5\), \(6,\), \(6, 6\)"):
        frechet_to_published(np.zeros(5), np.eye(5), paired(20, 6)[0])


def test_interval_from_influences_covers() -> None:
    """The truth here is the mean over sets of this size: what a reader with other images of the kind would see."""
    n, covered, values = 400, 0, []
    rng = np.random.default_rng(7)
    summaries = []
    for seed in rng.integers(0, 2**31, 200):
        summary = frechet_summary(*paired(n, 4, seed=int(seed)))
        values.append(summary.value)
        summaries.append((summary.value, 1.96 * np.sqrt((summary.influences**2).sum()) / n))
    truth = np.mean(values)
    covered = sum(abs(value - truth) < half for value, half in summaries)
    assert 0.9 <= covered / 200 <= 0.99


def test_equal_rows_are_at_exactly_zero() -> None:
    rows = paired(50, 30)[0].astype(np.float32)
    for n in (50, 20):
        summary = frechet_summary(rows[:n], rows[:n].copy())
        assert summary.value == 0.0
        assert not summary.influences.any()


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_images_are_refused_with_the_reason(n: int) -> None:
    for summary in (
        frechet_summary(np.zeros((n, 3)), np.zeros((n, 3))),
        frechet_to_published(np.zeros(3), np.eye(3), np.zeros((n, 3))),
    ):
        assert summary.value is None
        assert "at least 2" in summary.reason


def test_wrong_shapes_and_values_are_refused() -> None:
    with pytest.raises(MetricError, match=r"got \(4, 3\) and \(5, 3\)"):
        frechet_summary(np.zeros((4, 3)), np.zeros((5, 3)))
    with pytest.raises(MetricError, match="expected two means"):
        frechet_distance(np.zeros(3), np.eye(3), np.zeros(3), np.eye(4))
    rows = paired(9, 3)[0]
    broken = rows.copy()
    broken[4, 1] = np.nan
    with pytest.raises(MetricError, match="not finite"):
        frechet_summary(rows, broken)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 1500), min_size=1, max_size=4), st.integers(0, 4))
def test_moments_do_not_depend_on_calls_and_merge(sizes: list[int], cut: int) -> None:
    rows = np.random.default_rng(sum(sizes)).normal(100, 1, (sum(sizes), 3)).astype(np.float32)
    whole, called = Moments.of(rows), Moments(3)
    parts = np.split(rows, np.cumsum(sizes)[:-1])
    halves = Moments(3), Moments(3)
    for index, part in enumerate(parts):
        called.add(part)
        halves[index >= cut].add(part)
    assert all(np.array_equal(called.to_arrays()[name], array) for name, array in whole.to_arrays().items())
    halves[0].merge(halves[1])
    assert halves[0].n == whole.n == len(rows)
    if len(rows) > 1:
        assert np.allclose(halves[0].mean, whole.mean, rtol=1e-12)
        assert np.allclose(halves[0].covariance, whole.covariance, rtol=1e-12, atol=1e-12)
        assert np.allclose(whole.covariance, np.cov(rows.T.astype(np.float64)), rtol=1e-10, atol=1e-12)


def test_moments_survive_a_file_and_a_large_mean_costs_no_digits() -> None:
    rows = np.random.default_rng(0).normal(size=(CHUNK_ROWS + 500, 4)) + 1e6
    moments = Moments.of(rows)
    assert np.allclose(moments.covariance, np.cov(rows.T), rtol=1e-9)
    file = io.BytesIO()
    np.savez(file, **moments.to_arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        again = Moments.from_arrays(arrays)
    again.merge(Moments(4))
    assert again.n == len(rows)
    assert np.array_equal(again.covariance, moments.covariance)


def test_moments_refuse_what_has_none() -> None:
    with pytest.raises(MetricError, match="at least 2 rows, got 1"):
        _ = Moments.of(np.ones((1, 3))).covariance
    with pytest.raises(MetricError, match="take rows"):
        Moments(3).add(np.ones((2, 4)))
    with pytest.raises(MetricError, match="cannot be merged"):
        Moments(3).merge(Moments(4))
