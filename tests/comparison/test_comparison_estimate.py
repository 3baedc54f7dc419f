"""Estimates over clusters: textbook cases, brute force, properties, and the coverage that is promised."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import coverage
from tokbench.errors import MetricError
from tokbench.estimates import (
    WORKING_CORRELATION,
    ClusterTable,
    Estimate,
    bootstrap,
    cluster_table,
    estimate,
    holm,
)


def test_one_value_a_cluster_is_the_textbook_t_test() -> None:
    from scipy.stats import ttest_1samp

    values = np.random.default_rng(0).normal(0.4, 2, 17)
    made = estimate(cluster_table(values, np.arange(17)))
    expected = ttest_1samp(values, 0)
    assert made.value == pytest.approx(values.mean())
    assert made.degrees == pytest.approx(16)
    assert made.p_value() == pytest.approx(expected.pvalue, rel=1e-9)
    assert made.interval() == pytest.approx(tuple(expected.confidence_interval()), rel=1e-9)
    assert made.p_value(0.4) == pytest.approx(ttest_1samp(values, 0.4).pvalue, rel=1e-9)


def test_equal_clusters_are_the_t_test_of_their_means() -> None:
    from scipy.stats import ttest_1samp

    values = np.random.default_rng(1).normal(0, 1, (8, 5))
    made = estimate(cluster_table(values.ravel(), np.repeat(np.arange(8), 5)))
    expected = ttest_1samp(values.mean(axis=1), 0)
    assert made.degrees == pytest.approx(7)
    assert made.p_value() == pytest.approx(expected.pvalue, rel=1e-9)


def brute_force(counts: np.ndarray, sums: np.ndarray) -> tuple[float, float]:
    """CR2 variance and Satterthwaite's degrees of freedom from whole matrices over units."""
    n_clusters, n_groups = counts.shape
    units = [(g, k) for g in range(n_clusters) for k in range(n_groups) for _ in range(int(counts[g, k]))]
    sizes = counts.sum(axis=0)
    linear = np.zeros((n_clusters, len(units)))  # contributions of clusters = linear @ values of units
    for column, (g, k) in enumerate(units):
        for h in range(n_clusters):
            weight = 1 / (n_groups * sizes[k] * math.sqrt(1 - counts[h, k] / sizes[k]))
            linear[h, column] = weight * ((g == h) - counts[h, k] / sizes[k])
    working = np.array(
        [
            [1.0 if i == j else WORKING_CORRELATION * (a[0] == b[0]) for j, b in enumerate(units)]
            for i, a in enumerate(units)
        ]
    )
    covariance = linear @ working @ linear.T
    values = np.array([sums[g, k] / counts[g, k] for g, k in units])
    return float(((linear @ values) ** 2).sum()), float(np.trace(covariance) ** 2 / (covariance**2).sum())


@pytest.mark.parametrize("n_groups", [1, 3])
def test_the_closed_form_is_the_brute_force(n_groups: int) -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 5, (7, n_groups)).astype(float)
    counts[0], counts[1] = 4, 1
    sums = rng.normal(0, 1, counts.shape) * counts
    made = estimate(ClusterTable(counts=counts, sums=sums))
    variance, degrees = brute_force(counts, sums)
    assert made.error == pytest.approx(math.sqrt(variance), rel=1e-9)
    assert made.degrees == pytest.approx(min(degrees, 6), rel=1e-9)
    assert made.value == pytest.approx(float(np.mean(sums.sum(axis=0) / counts.sum(axis=0))))


def test_unequal_clusters_have_fewer_degrees_of_freedom() -> None:
    sizes = np.array([1] * 10 + [30])
    made = estimate(cluster_table(np.random.default_rng(0).normal(0, 1, 40), np.repeat(np.arange(11), sizes)))
    assert made.degrees is not None
    assert 1 <= made.degrees < 6 < 10


def test_nothing_varies() -> None:
    same = estimate(cluster_table(np.zeros(6), np.arange(6)))
    assert (same.value, same.interval(), same.p_value()) == (0.0, (0.0, 0.0), 1.0)
    moved = estimate(cluster_table(np.full(6, -0.1), np.arange(6)))
    assert moved.p_value() == 0.0
    assert moved.interval() == (moved.value, moved.value)
    assert moved.value == pytest.approx(-0.1)


def test_too_little_to_tell_has_no_interval() -> None:
    alone = estimate(cluster_table(np.array([1.0, 2.0]), np.array([5, 5])))
    assert (alone.value, alone.error, alone.interval(), alone.p_value()) == (1.5, None, None, None)
    one_moved = estimate(cluster_table(np.array([0.0, 0.0, 0.0, -1.0]), np.arange(4)))
    assert (one_moved.value, one_moved.interval()) == (-0.25, None)
    two_moved = estimate(cluster_table(np.array([0.0] * 38 + [-1.0, -1.0]), np.arange(40)))
    assert two_moved.degrees == 1
    group = estimate(cluster_table(np.ones(3), np.arange(3), np.array([0, 0, 1]), n_groups=2))
    assert group.error is None


@pytest.mark.parametrize(
    ("values", "clusters", "groups", "words"),
    [
        ([1.0], [1, 2], None, "need equal"),
        ([np.nan], [1], None, "not finite"),
        ([], [], None, "no values"),
        ([1.0, 2.0], [1, 2], [0, 0], "no values"),
    ],
)
def test_bad_tables_are_refused(values: list[float], clusters: list[int], groups: list[int] | None, words: str) -> None:
    rows = None if groups is None else np.array(groups)
    with pytest.raises(MetricError, match=words):
        cluster_table(np.array(values), np.array(clusters), rows, n_groups=1 if rows is None else 2)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(0, 5), st.integers(-1, 1)), min_size=3, max_size=30),
    st.randoms(),
)
def test_order_changes_nothing_to_the_bit(rows: list[tuple[float, int, int]], shuffler: object) -> None:
    rows = [*rows, (0.5, 0, 0), (0.25, 0, 1)]
    moved = list(rows)
    shuffler.shuffle(moved)  # type: ignore[attr-defined]

    def made(of: list[tuple[float, int, int]]) -> tuple[Estimate, object]:
        columns = [np.array(column) for column in zip(*of, strict=True)]
        table = cluster_table(columns[0].astype(float), columns[1], columns[2], n_groups=2)
        return estimate(table), bootstrap(table, seed="x", replicates=200)

    assert made(rows) == made(moved)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.floats(-100, 100), min_size=4, max_size=20), st.floats(0.01, 100))
def test_turning_and_scaling_the_difference_turns_and_scales_everything(values: list[float], scale: float) -> None:
    clusters = np.arange(len(values)) // 2
    one = estimate(cluster_table(np.array(values), clusters))
    two = estimate(cluster_table(-scale * np.array(values), clusters))
    if one.error:
        assert two.value == pytest.approx(-scale * one.value, rel=1e-6, abs=1e-9)
        assert two.error == pytest.approx(scale * one.error, rel=1e-6, abs=1e-9)
        assert two.degrees == pytest.approx(one.degrees, rel=1e-9)


def test_the_interval_and_the_p_value_agree() -> None:
    rng = np.random.default_rng(4)
    for _ in range(200):
        made = estimate(cluster_table(rng.normal(0.3, 1, 12), np.arange(12) // 2))
        low, high = made.interval() or (0, 0)
        assert (made.p_value() < 0.05) == (not low <= 0 <= high)


def test_the_bootstrap_agrees_with_the_t_interval_on_many_clusters() -> None:
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(300), 3)
    table = cluster_table(rng.normal(0, 1, 300)[clusters] + rng.normal(0.2, 1, 900), clusters)
    exact, drawn = estimate(table), bootstrap(table, seed="a", replicates=4000)
    assert drawn is not None
    assert drawn.ci95 == pytest.approx(exact.interval(), abs=0.01)
    assert drawn.p_value == pytest.approx(exact.p_value(), abs=0.01)
    assert drawn == bootstrap(table, seed="a", replicates=4000)
    assert drawn != bootstrap(table, seed="b", replicates=4000)


def test_the_bootstrap_of_group_means_agrees_too() -> None:
    rng = np.random.default_rng(0)
    clusters, groups = np.repeat(np.arange(200), 6), np.tile([0, 0, 0, 1, 1, 2], 200)
    table = cluster_table(rng.normal(groups * 0.1, 1.0), clusters, groups, n_groups=3)
    drawn = bootstrap(table, seed="a", replicates=4000)
    assert drawn is not None
    assert drawn.ci95 == pytest.approx(estimate(table).interval(), abs=0.01)


def test_the_bootstrap_knows_when_it_cannot_tell() -> None:
    assert bootstrap(cluster_table(np.zeros(5), np.arange(5)), seed="s") is None
    assert bootstrap(cluster_table(np.ones(3), np.zeros(3)), seed="s") is None
    with pytest.raises(MetricError, match="replicates"):
        bootstrap(cluster_table(np.ones(3), np.arange(3)), seed="s", replicates=0)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, corrected, strict=True))
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    assert all(corrected[a] <= corrected[b] for a, b in pairwise(order))


# ---- what benchmarks/coverage.py prints, on fewer worlds ---------------------------------------------------------

WORLDS = 700  # one sd of the simulation is 0.8 points: outside 92 to 98 is no chance


@pytest.mark.parametrize(
    "scenario",
    [
        coverage.independent(100), coverage.crops(58), coverage.words(40), coverage.words(15),
        coverage.grouped_words(150), coverage.crops(4),
    ],
    ids=lambda scenario: scenario.name,
)  # fmt: skip
def test_intervals_cover_what_they_promise(scenario: coverage.Scenario) -> None:
    assert 92 <= coverage.coverage(scenario, WORLDS, seed=11)["used"] <= 98


def test_the_difference_of_rfid_is_covered_without_being_biased() -> None:
    assert 92 <= coverage.coverage(coverage.frechet_difference(25), WORLDS, seed=3)["used"] <= 98


def test_the_plain_interval_would_promise_too_much_with_few_unequal_clusters() -> None:
    found = coverage.coverage(coverage.words(8), WORLDS, seed=2)
    assert found["CR1"] < 91 < 93 <= found["used"]


def test_ignoring_clusters_would_cover_far_too_little() -> None:
    truth = coverage.words(40)

    def apart(rng: np.random.Generator) -> coverage.World:
        world = truth.draw(rng)
        return coverage.World(world.differences, np.arange(len(world.differences)))

    blind = coverage.Scenario(name="blind", truth=truth.truth, draw=apart)
    assert coverage.coverage(blind, 300)["used"] < 88


def test_the_gate_raises_few_false_alarms_and_sees_what_matters() -> None:
    assert coverage.gate_rate(n_images=60, n_metrics=8, effect=0.0, worlds=300) <= 5
    assert coverage.gate_rate(n_images=40, n_metrics=1, effect=0.0, worlds=300, crops_each=4) <= 6
    assert coverage.gate_rate(n_images=200, n_metrics=8, effect=0.4, worlds=100) > 90
    assert coverage.mixed_gate_rate(worlds=300) <= 5
