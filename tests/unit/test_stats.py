from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokbench.errors import MetricError
from tokbench.stats import group_means, mean_interval


def own(n: int) -> list[str]:
    return [f"c{index}" for index in range(n)]


def test_one_value_a_cluster_is_the_textbook_interval() -> None:
    from scipy.stats import t

    values = np.random.default_rng(0).normal(3, 2, 15)
    result = mean_interval(values.tolist(), own(15))
    expected = t.interval(0.95, 14, values.mean(), values.std(ddof=1) / math.sqrt(15))
    assert result.ci95 == pytest.approx(expected, rel=1e-10)
    assert (result.mean, result.n, result.n_clusters) == (pytest.approx(values.mean()), 15, 15)


def test_equal_clusters_are_the_interval_of_cluster_means() -> None:
    values = np.random.default_rng(1).normal(0, 1, (8, 5))
    clusters = [f"c{row}" for row in range(8) for _ in range(5)]
    nested = mean_interval(values.ravel().tolist(), clusters)
    means = mean_interval(values.mean(axis=1).tolist(), own(8))
    assert nested.ci95 == pytest.approx(means.ci95, rel=1e-10)
    assert (nested.n, nested.n_clusters) == (40, 8)


def test_repeating_a_sample_within_its_cluster_adds_no_confidence() -> None:
    once = mean_interval([1.0, 2.0, 4.0], own(3))
    often = mean_interval([1.0] * 50 + [2.0] * 50 + [4.0] * 50, ["c0"] * 50 + ["c1"] * 50 + ["c2"] * 50)
    assert often.ci95 == pytest.approx(once.ci95)


def test_fewer_than_two_clusters_have_no_interval() -> None:
    assert mean_interval([1.0, 2.0], ["a", "a"]).ci95 is None
    assert mean_interval([1.0], ["a"]).mean == 1


def test_interval_is_cut_to_the_range() -> None:
    result = mean_interval([0.0, 1.0, 1.0], own(3), low=0.0, high=1.0)
    assert result.ci95 == (0.0, 1.0)
    assert mean_interval([0.0, 1.0, 1.0], own(3)).ci95[1] > 1


def test_equal_values_have_a_sharp_interval() -> None:
    assert mean_interval([0.1] * 7, own(7)).ci95 == (0.1, 0.1)
    assert mean_interval([0.1] * 7, own(7)).mean == 0.1


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.sampled_from("abcdef")), min_size=1, max_size=30), st.randoms())
def test_order_does_not_matter_to_the_bit(rows: list[tuple[float, str]], shuffler: random.Random) -> None:
    values, clusters = zip(*rows, strict=True)
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    moved_values, moved_clusters = zip(*shuffled, strict=True)
    assert mean_interval(values, clusters) == mean_interval(moved_values, moved_clusters)


@pytest.mark.parametrize(
    ("values", "clusters", "words"),
    [([], [], "no values"), ([1.0], [], "every value needs one"), ([math.nan], ["a"], "leave undefined values out")],
)
def test_bad_input_is_refused(values: list[float], clusters: list[str], words: str) -> None:
    with pytest.raises(MetricError, match=words):
        mean_interval(values, clusters)


def test_other_bad_input_is_refused() -> None:
    with pytest.raises(MetricError, match="groups"):
        group_means([1.0], ["a"], [], names=["x"])


def covers(clusters: int, size: int, spread: float, *, respected: bool = True) -> float:
    """How often the interval holds the true mean 0: normal values, with a common part of ``spread`` a cluster."""
    rng = np.random.default_rng(7)
    names = [f"c{row}" for row in range(clusters) for _ in range(size)]
    names = names if respected else own(len(names))
    hits = 0
    for _ in range(1500):
        values = (rng.normal(0, spread, (clusters, 1)) + rng.normal(0, 1, (clusters, size))).ravel().tolist()
        low, high = mean_interval(values, names).ci95
        hits += low <= 0 <= high
    return hits / 1500


@pytest.mark.parametrize(("clusters", "size", "spread"), [(3, 4, 1.0), (10, 3, 2.0), (25, 1, 0.0)])
def test_coverage_is_nominal_for_clustered_normal_data(clusters: int, size: int, spread: float) -> None:
    assert 0.93 <= covers(clusters, size, spread) <= 0.97


def test_ignoring_clusters_would_cover_far_too_little() -> None:
    assert covers(10, 5, 2.0, respected=False) < 0.75


def test_coverage_with_clusters_of_unequal_size_is_nominal_too() -> None:
    rng = np.random.default_rng(3)
    sizes = [1, 1, 2, 2, 3, 3, 4, 4, 6, 6, 8, 8]
    names = [f"c{row}" for row, size in enumerate(sizes) for _ in range(size)]
    hits = 0
    for _ in range(1000):
        common = np.repeat(rng.normal(0, 1, len(sizes)), sizes)
        low, high = mean_interval((common + rng.normal(0, 1, len(names))).tolist(), names).ci95
        hits += low <= 0 <= high
    assert 0.93 <= hits / 1000 <= 0.97


def test_names_of_clusters_do_not_matter_to_the_bit() -> None:
    rng = np.random.default_rng(5)
    values, clusters = rng.normal(0, 1, 40).tolist(), [str(row // 3) for row in range(40)]
    renamed = [f"{(5 * int(name)) % 14:02}" for name in clusters]
    assert mean_interval(values, clusters) == mean_interval(values, renamed)


def test_groups() -> None:
    means = group_means(
        [1.0, 2.0, 3.0, 9.0], ["a", "b", "a", "a"], ["s", "s", "l", None], names=["s", "m", "l"], low=0.0
    )
    assert means["s"] == mean_interval([1.0, 2.0], ["a", "b"], low=0.0)
    assert means["m"] is None
    assert means["l"].mean == 3
    assert means["l"].ci95 is None
