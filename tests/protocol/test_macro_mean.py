"""The unweighted mean over size groups and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokbench.errors import MetricError
from tokbench.stats import macro_mean_interval, mean_interval

NAMES = ("small", "large")


def test_one_group_is_the_plain_interval() -> None:
    values = np.random.default_rng(0).normal(0, 1, 30).tolist()
    clusters = [f"c{index % 7}" for index in range(30)]
    macro = macro_mean_interval(values, clusters, ["small"] * 30, names=["small"])
    plain = mean_interval(values, clusters)
    assert macro is not None
    assert macro.ci95 == pytest.approx(plain.ci95, rel=1e-12)
    assert (macro.mean, macro.n, macro.n_clusters) == (plain.mean, 30, 7)


def test_by_hand() -> None:
    """Two groups in the same two clusters: influences (v - mean) / (2 n), each with factor 2 / 1."""
    macro = macro_mean_interval([0.0, 1.0, 0.0, 4.0], list("abab"), ["small"] * 2 + ["large"] * 2, names=NAMES)
    assert macro is not None
    assert macro.mean == 1.25
    # cluster a: -0.5 / 4 - 2 / 4 = -0.625, b: 0.625; variance 2 * 2 * 0.625²; t with one degree of freedom
    half = 12.706204736 * (2 * 2 * 0.625**2) ** 0.5
    assert macro.ci95 == pytest.approx((1.25 - half, 1.25 + half), rel=1e-9)


def test_groups_weigh_the_same_whatever_their_size() -> None:
    values, groups = [0.0] * 90 + [1.0] * 10, ["small"] * 90 + ["large"] * 10
    macro = macro_mean_interval(values, [str(index) for index in range(100)], groups, names=NAMES)
    assert macro is not None
    assert (macro.mean, macro.n) == (0.5, 100)
    assert macro.ci95 == (0.5, 0.5)  # nothing varies within a group


def test_an_empty_group_leaves_the_mean_undefined() -> None:
    assert macro_mean_interval([1.0, 0.0], ["a", "b"], ["small", "small"], names=NAMES) is None
    assert macro_mean_interval([1.0, 0.0], ["a", "b"], [None, "huge"], names=NAMES) is None
    assert macro_mean_interval([], [], [], names=NAMES) is None
    assert macro_mean_interval([1.0], ["a"], ["small"], names=[]) is None


def test_a_group_of_one_cluster_has_no_interval() -> None:
    macro = macro_mean_interval([1.0, 0.0, 1.0], ["a", "b", "a"], ["small", "small", "large"], names=NAMES)
    assert macro is not None
    assert (macro.mean, macro.ci95) == (0.75, None)


def test_values_outside_every_group_change_nothing() -> None:
    inside = ([0.0, 1.0, 1.0, 0.5], list("abcd"), ["small", "small", "large", "large"])
    more = ([*inside[0], 9.0, 9.0], [*inside[1], "e", "a"], [*inside[2], None, "huge"])
    assert macro_mean_interval(*more, names=NAMES) == macro_mean_interval(*inside, names=NAMES)


def test_bad_input_raises() -> None:
    with pytest.raises(MetricError, match="need equal"):
        macro_mean_interval([1.0], ["a", "b"], ["small"], names=NAMES)
    with pytest.raises(MetricError, match="leave undefined values out"):
        macro_mean_interval([float("nan")], ["a"], ["small"], names=["small"])


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.permutations(range(12)))
def test_order_does_not_matter_to_the_last_bit(order: list[int]) -> None:
    values = np.random.default_rng(1).random(12).tolist()
    clusters = [f"c{index % 5}" for index in range(12)]
    groups = [NAMES[index % 3 == 0] for index in range(12)]
    before = macro_mean_interval(values, clusters, groups, names=NAMES)
    after = macro_mean_interval(*([column[i] for i in order] for column in (values, clusters, groups)), names=NAMES)
    assert before == after


@pytest.mark.parametrize(
    ("n_clusters", "reach", "least"),
    [
        (10, (10, 10, 10), 0.93),  # every image holds words of every size
        (60, (20, 20, 20), 0.93),  # each size in its own images
        (40, (40, 20, 10), 0.93),  # unequal
        (30, (30, 10, 4), 0.93),  # the large words come from four images
    ],
)
def test_coverage(n_clusters: int, reach: tuple[int, ...], least: float) -> None:
    """Words share their image's effect, across groups; the true mean is 0. Nominal is 0.95."""
    rng = np.random.default_rng(7)
    starts = (0, 20, 40) if n_clusters == 60 else (0, 0, 0)
    clusters, groups = [], []
    for name, start, size in zip("sml", starts, reach, strict=True):
        for cluster in range(start, start + size):
            clusters += [str(cluster)] * 3
            groups += [name] * 3
    index = np.array([int(cluster) for cluster in clusters])
    n_hits, n_trials = 0, 600
    for _ in range(n_trials):
        values = rng.normal(0, 1, n_clusters)[index] + rng.normal(0, 1, len(index))
        macro = macro_mean_interval(values.tolist(), clusters, groups, names=tuple("sml"))
        assert macro is not None
        assert macro.ci95 is not None
        n_hits += macro.ci95[0] <= 0 <= macro.ci95[1]
    assert least <= n_hits / n_trials <= 0.975
