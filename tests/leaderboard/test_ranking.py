"""Ranks, pairs and fronts: against truths known beforehand, the comparison's own estimates, and by simulation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.leaderboard.synthetic import make_task, value_of, write_submission
from tokbench.cards import Better
from tokbench.estimates import cluster_table, estimate, holm
from tokbench.leaderboard.collect import Entry, collect
from tokbench.leaderboard.pairs import all_pairs
from tokbench.leaderboard.pareto import pareto_front
from tokbench.leaderboard.ranking import Rank, ranks
from tokbench.leaderboard.records import Column, read_columns
from tokbench.results import Value
from tokbench.stats import macro_mean_interval, mean_interval
from tokbench.tasks.task import Task


def column(numbers: np.ndarray, clusters: np.ndarray, *, units: str = "same") -> tuple[Value, Column]:
    made = mean_interval(numbers.tolist(), clusters.tolist())
    value = value_of("psnr", value=made.mean, n=made.n, ci95=made.ci95)
    return value, Column(table=cluster_table(numbers, clusters), units=units)


# ---- ranks -----------------------------------------------------------------------------------------------------------


def test_ranks_of_a_clear_order() -> None:
    order = np.array([[False, True, True], [False, False, True], [False, False, False]])
    assert ranks(order) == [Rank(1, 1), Rank(2, 2), Rank(3, 3)]


def test_ties_are_ranges() -> None:
    # A beats C and D, B beats D; nothing else is beyond doubt.
    beats = np.zeros((4, 4), bool)
    beats[0, 2] = beats[0, 3] = beats[1, 3] = True
    assert list(map(str, ranks(beats))) == ["1–2", "1–3", "2–4", "3–4"]


def test_nothing_known_is_one_tie() -> None:
    assert ranks(np.zeros((3, 3), bool)) == [Rank(1, 3)] * 3


# ---- pairs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_groups", [1, 2])
def test_pairs_equal_the_estimate_of_each_difference(n_groups: int) -> None:
    rng = np.random.default_rng(n_groups)
    clusters = np.sort(rng.integers(0, 12, 60)).astype(np.str_)
    groups = rng.integers(0, n_groups, 60)
    base = rng.normal(30, 4, 60)
    rows = [base + rng.normal(shift, 1, 60) for shift in (0.0, 0.3, 1.0)]
    rows.append(rows[0].copy())  # identical
    rows.append(np.where(clusters == clusters[0], rows[0] + 1, rows[0]))  # one cluster alone differs
    rows.append(np.where(np.isin(clusters, np.unique(clusters)[:2]), rows[0] + rng.normal(1, 0.1, 60), rows[0]))
    rows.append(rows[0] + 1.0)  # differs by a constant
    columns = [Column(table=cluster_table(r, clusters, groups, n_groups=n_groups), units="u") for r in rows]
    values = [value_of("psnr", value=c.table.mean, ci95=None) for c in columns]
    found = all_pairs(values, columns)
    expected = {}
    for i in range(len(rows)):
        for j in range(i + 1, len(rows)):
            made = estimate(cluster_table(rows[j] - rows[i], clusters, groups, n_groups=n_groups))
            expected[i, j] = made.p_value()
            assert found.differences[i, j] == pytest.approx(made.value, abs=1e-12)
            interval = made.interval()
            if interval is None:
                assert np.isnan(found.halves[i, j])
            else:
                assert found.halves[i, j] == pytest.approx((interval[1] - interval[0]) / 2, rel=1e-9, abs=1e-12)
            assert found.is_paired[i, j]
    known = [pair for pair, p in expected.items() if p is not None]
    corrected = holm([p for p in expected.values() if p is not None])
    for pair, p in zip(known, corrected, strict=True):
        assert found.p_corrected[pair] == pytest.approx(p, rel=1e-6, abs=1e-300)
        assert found.p_corrected[pair[::-1]] == found.p_corrected[pair]
    assert [pair for pair in expected if np.isnan(found.p_corrected[pair])] == [(0, 4), (3, 4)]


def test_pairing_sees_what_intervals_cannot() -> None:
    rng = np.random.default_rng(0)
    clusters = np.arange(200).astype(np.str_)
    base = rng.normal(30, 5, 200)
    rows = [base, base + rng.normal(0.2, 0.3, 200)]
    values, columns = zip(*(column(row, clusters) for row in rows), strict=True)
    assert all_pairs(values, columns).beats("higher")[1, 0]
    lonely = [Column(table=c.table, units=str(i)) for i, c in enumerate(columns)]
    apart = all_pairs(values, lonely)
    assert not apart.is_paired.any()
    assert not apart.beats("higher").any()


def test_without_intervals_nothing_is_told() -> None:
    values = [value_of("rfid", value=3.0, better="lower"), value_of("rfid", value=30.0, better="lower")]
    found = all_pairs(values, [None, None])
    assert np.isnan(found.p_corrected).all()
    assert ranks(found.beats("lower")) == [Rank(1, 2), Rank(1, 2)]


def test_unpaired_intervals_are_read_as_errors() -> None:
    values = [value_of("x", value=v, ci95=(v - 1.0, v + 1.0)) for v in (0.0, 1.3, 9.0)]
    found = all_pairs(values, [None] * 3)
    z = 1.3 / np.sqrt(2) * 1.959963984540054
    from scipy.stats import norm

    assert found.p_corrected[0, 1] == pytest.approx(2 * norm.sf(z))  # the largest of three is not multiplied
    assert found.halves[0, 1] == pytest.approx(np.sqrt(2))
    beats = found.beats("lower")
    assert beats[0, 2]
    assert beats[1, 2]
    assert not beats[0, 1]
    assert not found.beats("neither").any()


@pytest.mark.parametrize("correlated", [True, False])
def test_simulated_ranks_hold_the_true_ones(correlated: bool) -> None:
    """Six tokenizers, two of them equal: all ranges right at once in at least 95 % of draws, and they say something."""
    rng = np.random.default_rng(11)
    truth = np.array([30.0, 30.4, 30.4, 30.8, 31.5, 33.0])
    clusters = np.repeat(np.arange(60), 2).astype(np.str_)
    n_right, n_ties_shown, widths = 0, 0, []
    for _ in range(300):
        common = np.repeat(rng.normal(0, 3 if correlated else 0, 60), 2)
        rows = [mean + common + np.repeat(rng.normal(0, 0.8, 60), 2) + rng.normal(0, 0.8, 120) for mean in truth]
        values, columns = zip(*(column(row, clusters) for row in rows), strict=True)
        if not correlated:
            columns = tuple(Column(table=c.table, units=str(i)) for i, c in enumerate(columns))
        found = ranks(all_pairs(values, columns).beats("higher"))
        # A true rank is a range where tokenizers are equal; the interval must meet it in both ends.
        true = [((truth > mean).sum() + 1, (truth >= mean).sum()) for mean in truth]
        n_right += all(r.low <= low and high <= r.high for r, (low, high) in zip(found, true, strict=True))
        n_ties_shown += found[1].high > found[1].low
        widths.append(np.mean([r.high - r.low for r in found]))
    assert n_right >= 0.95 * 300 - 2 * np.sqrt(300 * 0.95 * 0.05)
    assert n_ties_shown >= 0.9 * 300
    assert np.mean(widths) < 2.5  # of 5: the ranges tell something


# ---- fronts ----------------------------------------------------------------------------------------------------------


def test_front_of_known_points() -> None:
    rates, values = [1.0, 2.0, 3.0, 2.0, 0.5], [10.0, 20.0, 15.0, 20.0, 5.0]
    assert pareto_front(rates, values, "higher") == (4, 0, 1, 3)
    assert pareto_front(rates, [-value for value in values], "lower") == (4, 0, 1, 3)
    assert pareto_front(rates, values, "neither") == ()
    assert pareto_front([], [], "higher") == ()


@given(
    points=st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8)), max_size=20),
    better=st.sampled_from(["higher", "lower"]),
)
def test_front_is_what_nothing_beats(points: list[tuple[int, int]], better: Better) -> None:
    sign = 1 if better == "higher" else -1

    def beats(one: tuple[int, int], other: tuple[int, int]) -> bool:
        return one != other and one[0] <= other[0] and sign * one[1] >= sign * other[1]

    expected = {i for i, own in enumerate(points) if not any(beats(other, own) for other in points)}
    front = pareto_front([float(x) for x, _ in points], [float(y) for _, y in points], better)
    assert set(front) == expected
    assert [points[i][0] for i in front] == sorted(points[i][0] for i in front)


# ---- from files ------------------------------------------------------------------------------------------------------


def read_one(root: Path, task: Task) -> Entry:
    found = collect(root, tasks={task.name: task})
    assert not found.skipped
    return found.entries[0]


def test_columns_hold_the_mean_of_the_result(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    task = make_task(rank_by=("psnr", "t_acc", "rfid"))
    clusters = [f"c{place // 3}" for place in range(30)]
    words = [[float(v) for v in rng.integers(0, 2, rng.integers(0, 5))] for _ in range(30)]
    moves = rng.normal(0, 1, 30)
    write_submission(
        tmp_path, "a/b", task=task, images={"psnr": rng.normal(30, 3, 30)}, words=words, clusters=clusters,
        influences=moves - moves.mean(), values={"rfid": value_of("rfid", value=3.0, kind="set", aggregate="pooled")},
    )  # fmt: skip
    entry = read_one(tmp_path, task)
    columns = read_columns(entry, ("psnr", "t_acc", "rfid", "absent"))
    assert sorted(columns) == ["psnr", "rfid", "t_acc"]
    for key in ("psnr", "t_acc"):
        assert columns[key].table.mean == pytest.approx(entry.result.values[key].value or 0, rel=1e-12)
    flat = [(v, clusters[i], k % 2) for i, row in enumerate(words) for k, v in enumerate(row)]
    made = macro_mean_interval(
        [v for v, _, _ in flat], [c for _, c, _ in flat], [("small", "large")[g] for _, _, g in flat],
        names=("small", "large"),
    )  # fmt: skip
    assert made is not None
    assert columns["t_acc"].table.n_clusters == made.n_clusters
    assert columns["t_acc"].table.counts.sum() == made.n
    assert columns["rfid"].is_influence
    assert columns["rfid"].table.n_clusters == 10


def test_columns_do_not_depend_on_the_order_of_records(tmp_path: Path) -> None:
    import gzip

    from tests.leaderboard.synthetic import seal

    task = make_task()
    folder = write_submission(tmp_path, "a/b", task=task, images={"psnr": np.arange(20.0)})
    one = read_columns(read_one(tmp_path, task), ("psnr",))["psnr"]
    path = folder / "records.jsonl.gz"
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(reversed(lines))))
    seal(folder, "a/b", task.name, {})
    other = read_columns(read_one(tmp_path, task), ("psnr",))["psnr"]
    assert one.units == other.units
    assert (one.table.sums == other.table.sums).all()


def test_other_words_are_other_units(tmp_path: Path) -> None:
    task = make_task(rank_by=("t_acc",))
    images = {"psnr": [30.0] * 4}
    write_submission(tmp_path, "a/one", task=task, images=images, words=[[0, 1], [1, 1], [0, 1], [1, 0]])
    write_submission(tmp_path, "a/two", task=task, images=images, words=[[0, 1], [1, 1], [0, 1], [1, 0, 1]])
    found = collect(tmp_path, tasks={task.name: task})
    one, two = (read_columns(entry, ("t_acc",))["t_acc"] for entry in found.entries)
    assert one.units != two.units
