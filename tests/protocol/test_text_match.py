"""The text measures: by definition, by properties, and on every word of the official release's logs."""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokbench.metrics.text_match import cer, edit_distance, is_match, ned, wer
from tokbench.samples import Region
from tokbench.stats import group_means, macro_mean_interval
from tokbench.tasks.catalogue import find_task

LOGS = Path(__file__).resolve().parents[3] / "shared" / "data" / "tokbench_logs" / "text_256.csv.gz"
SHORT = st.text(alphabet="abcé", max_size=12)


def by_the_book(first: Sequence[Any], second: Sequence[Any]) -> int:
    """The textbook dynamic programme."""
    row = list(range(len(second) + 1))
    for i, x in enumerate(first, start=1):
        above, row = row, [i]
        for j, y in enumerate(second, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y)))
    return row[-1]


@settings(derandomize=True, deadline=None, max_examples=400)
@given(SHORT, SHORT)
def test_edit_distance_is_the_dynamic_programme(first: str, second: str) -> None:
    distance = edit_distance(first, second)
    assert distance == by_the_book(first, second) == edit_distance(second, first)
    assert (distance == 0) == is_match(first, second)


def test_edit_distance_has_no_length_limit() -> None:
    first, second = "kitten" * 60, "sitting" * 50
    assert edit_distance(first, second) == by_the_book(first, second)
    assert edit_distance("ab", "ba") == 2  # a transposition is two edits
    assert edit_distance(["to", "be"], ["to", "bee"]) == 1


@pytest.mark.parametrize(
    ("label", "read", "expected"),
    [
        ("Tiredness", "Treeneas", (False, 2 / 3, 3 / 9, 1.0)),
        ("word", "word", (True, 1.0, 0.0, 0.0)),
        ("word", "Word", (False, 0.75, 0.25, 1.0)),  # case counts
        ("\u00e9", "e\u0301", (False, 0.0, 2.0, 1.0)),  # composed and decomposed are different code points
        ("word", "", (False, 0.0, 1.0, 1.0)),
        ("", "", (True, 1.0, 0.0, 0.0)),
        ("", "ab", (False, 0.0, 2.0, 1.0)),
        ("ab", "abcdef", (False, 1 / 3, 2.0, 1.0)),
        ("to be", "to  be or", (False, 5 / 9, 0.8, 0.5)),
    ],
)
def test_words_by_hand(label: str, read: str, expected: tuple[bool, float, float, float]) -> None:
    assert (is_match(label, read), ned(label, read), cer(label, read), wer(label, read)) == pytest.approx(expected)


@settings(derandomize=True, deadline=None)
@given(SHORT, SHORT)
def test_rates_are_finite_and_in_range(label: str, read: str) -> None:
    assert 0 <= ned(label, read) <= 1
    assert cer(label, read) >= 0
    assert wer(label, read) >= 0
    assert math.isfinite(cer(label, read) + wer(label, read))
    assert (ned(label, read) == 1) == (cer(label, read) == 0) == is_match(label, read)


needs_logs = pytest.mark.skipif(not LOGS.is_file(), reason="../shared/data/tokbench_logs is not beside the repository")


@pytest.fixture(scope="module")
def rows() -> Any:
    import pandas as pd

    with gzip.open(LOGS, "rt", encoding="utf-8") as file:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    assert len(table) == 36_087
    return table.astype({"ratio": float, "accuracy": int, "ned": float})


@needs_logs
def test_every_logged_word_is_reproduced(rows: Any) -> None:
    for label, read, accuracy, expected in zip(rows.label, rows.prediction, rows.accuracy, rows.ned, strict=True):
        assert is_match(label, read) == bool(accuracy)
        assert abs(ned(label, read) - expected) < 1e-9


@needs_logs
def test_the_published_means_are_reproduced(rows: Any) -> None:
    """Our grouping, means and macro mean, against the printed digits and an independent restatement."""
    sizes = find_task("tokbench-256").size_groups["word"]
    groups = [sizes.group_of(Region(kind="word", box=(0, 0, 1, 1), ratio=ratio)) for ratio in rows.ratio]
    images = (rows.dataset + "/" + rows.file_name).tolist()
    expected = {"accuracy": [0.3015, 0.7389, 10.6464, 3.8956], "ned": [5.7641, 8.8421, 31.3022, 15.3028]}
    for column, printed in expected.items():
        compare = is_match if column == "accuracy" else ned
        values = [float(compare(a, b)) for a, b in zip(rows.label, rows.prediction, strict=True)]
        means = group_means(values, images, groups, names=sizes.names)
        macro = macro_mean_interval(values, images, groups, names=sizes.names, low=0, high=1)
        assert macro is not None
        found = [part for part in (*means.values(), macro) if part is not None]
        assert [part.n for part in found] == [995, 406, 526, 1927]
        assert [round(100 * part.mean, 4) for part in found] == printed
        restated = [
            rows[column][(rows.ratio >= low) & (rows.ratio < high)].mean()
            for low, high in ((0.02, 0.03), (0.03, 0.04), (0.04, 1.0))
        ]
        assert [part.mean for part in found] == pytest.approx([*restated, sum(restated) / 3], abs=1e-9)
        assert macro.ci95 is not None
        assert macro.ci95[0] < macro.mean < macro.ci95[1]


@needs_logs
def test_the_means_of_each_set_are_reproduced(rows: Any) -> None:
    names = ["ic13", "ic15", "tt", "cord", "sroie", "infograph", "docvqa"]
    accuracy = [float(is_match(a, b)) for a, b in zip(rows.label, rows.prediction, strict=True)]
    similarity = [ned(a, b) for a, b in zip(rows.label, rows.prediction, strict=True)]
    for values, printed in (
        (accuracy, [5.67, 0.00, 0.34, 0.00, 0.00, 0.04, 0.04]),
        (similarity, [17.08, 2.22, 6.35, 3.30, 1.59, 1.98, 2.31]),
    ):
        means = group_means(values, rows.file_name.tolist(), rows.dataset.tolist(), names=names)
        assert [round(100 * part.mean, 2) for part in means.values() if part is not None] == printed


@needs_logs
@pytest.mark.parametrize(
    ("size", "n_words"), [(256, [995, 406, 526]), (512, [7001, 995, 932]), (1024, [15681, 7001, 1927])]
)
def test_published_groups_hold_the_published_numbers_of_words(rows: Any, size: int, n_words: list[int]) -> None:
    sizes = find_task(f"tokbench-{size}").size_groups["word"]
    groups = [sizes.group_of(Region(kind="word", box=(0, 0, 1, 1), ratio=ratio)) for ratio in rows.ratio]
    assert [groups.count(name) for name in sizes.names] == n_words


@needs_logs
@pytest.mark.parametrize("size", [256, 512, 1024])
def test_the_fair_tasks_leave_no_word_out(rows: Any, size: int) -> None:
    sizes = find_task(f"fidelity-{size}").size_groups["word"]
    groups = [sizes.group_of(Region(kind="word", box=(0, 0, 1, 1), ratio=ratio)) for ratio in rows.ratio]
    assert None not in groups
    assert min(groups.count(name) for name in sizes.names) > 100


@needs_logs
def test_no_logged_reading_breaks_the_bound_of_its_batch(rows: Any) -> None:
    """The attribute ``published_cap`` is right: batches of 64 within a set, in the order of its file."""
    from tokbench.data.converters.tokbench_annotations import published_caps

    n_at_bound = 0
    for _, part in rows.groupby("dataset", sort=False):
        caps = published_caps(part.label.tolist())
        assert all(len(read) <= cap + 1 for read, cap in zip(part.prediction, caps, strict=True))
        n_at_bound += sum(len(read) == cap + 1 for read, cap in zip(part.prediction, caps, strict=True))
    assert n_at_bound > 0
