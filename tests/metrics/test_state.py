from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokbench.errors import MetricError
from tokbench.metrics.state import Field, Histogram, State

FIELDS = {
    "total": Field(reduction="sum"),
    "row": Field(reduction="sum", shape=(3,)),
    "top": Field(reduction="max"),
    "bottom": Field(reduction="min", shape=(2,)),
    "seen": Field(reduction="cat", dtype="float32", shape=(2,)),
    "codes": Field(reduction="histogram"),
}
KEYS = st.lists(st.one_of(st.integers(0, 5), st.integers(2**63, 2**64 - 1)), max_size=30)


def fed(parts: list[list[int]]) -> State:
    state = State(FIELDS)
    for keys in parts:
        state.add("total", sum(keys))
        state.add("row", np.array([len(keys), 1, -1]))
        state.add("top", len(keys))
        state.add("bottom", np.array([len(keys), -len(keys)]))
        state.add("seen", np.full((len(keys), 2), len(keys), np.float32))
        state.count("codes", np.array(keys, np.uint64))
    return state


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(KEYS, max_size=6), st.integers(0, 6))
def test_two_halves_equal_one_pass_and_survive_a_file(parts: list[list[int]], cut: int) -> None:
    whole, left, right = fed(parts), fed(parts[:cut]), fed(parts[cut:])
    left.merge(right)
    assert left == whole
    file = io.BytesIO()
    np.savez(file, **whole.to_arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        assert State.from_arrays(arrays) == whole


def test_integer_sums_have_no_limit() -> None:
    state = State({"total": Field(reduction="sum")})
    for _ in range(3):
        state.add("total", 2**63 - 1)
    assert state["total"] == 3 * (2**63 - 1)
    assert State.from_arrays(state.to_arrays())["total"] == 3 * (2**63 - 1)


def test_extreme_of_nothing_is_none_and_merging_into_it_works() -> None:
    empty, full = fed([]), fed([[1, 2]])
    assert empty["top"] is None
    assert State.from_arrays(empty.to_arrays()) == empty
    empty.merge(full)
    assert empty == full
    assert empty["top"] == 2


def test_histogram_matches_a_dictionary_through_many_small_updates() -> None:
    rng = np.random.default_rng(0)
    histogram, counted = Histogram(), {}
    for _ in range(300):
        keys = rng.integers(0, 5000, size=700)
        histogram.add(keys)
        for key in keys.tolist():
            counted[key] = counted.get(key, 0) + 1
    assert dict(zip(histogram.keys.tolist(), histogram.counts.tolist(), strict=True)) == counted
    assert histogram.total == 210_000


def test_histogram_gives_up_on_too_many_keys_however_the_set_is_split() -> None:
    field = {"codes": Field(reduction="histogram", max_keys=10)}
    left, right, whole = State(field), State(field), State(field)
    left.count("codes", np.arange(6))
    right.count("codes", np.arange(5, 11))
    whole.count("codes", np.arange(11))
    whole.count("codes", np.array([5]))
    assert not left["codes"].is_overfull
    left.merge(right)
    assert left["codes"].is_overfull
    assert left == whole
    assert left["codes"].total == 12
    assert left["codes"].keys.size == 0
    again = State.from_arrays(left.to_arrays())
    assert again == left
    again.merge(right)
    assert again["codes"].is_overfull
    assert again["codes"].total == 18


def test_late_fields_and_conflicts() -> None:
    first, second = State(), State()
    second.declare("late", Field(reduction="sum"))
    second.add("late", 4)
    first.merge(second)
    assert first == second
    assert "late" in first
    with pytest.raises(MetricError, match="already"):
        first.declare("late", Field(reduction="max"))
    assert first != State()
    assert first != "late"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("total", 1.5, "whole numbers"),
        ("row", np.zeros(2, np.int64), "takes shape"),
        ("row", np.zeros(3), "whole numbers"),
        ("seen", np.zeros(2, np.float32), "takes shape"),
        ("codes", 1, "use count"),
        ("nothing", 1, "no field"),
    ],
)
def test_wrong_values_are_refused(name: str, value: object, words: str) -> None:
    with pytest.raises(MetricError, match=words):
        State(FIELDS).add(name, value)


def test_wrong_keys_are_refused() -> None:
    for keys in (np.array([-1]), np.array([0.5]), np.zeros((2, 2), np.int64)):
        with pytest.raises(MetricError, match="histogram keys"):
            Histogram().add(keys)
    with pytest.raises(MetricError, match="histogram counts"):
        Histogram().add(np.array([1, 2]), np.array([1]))
    with pytest.raises(MetricError, match="int64 or float64"):
        State({"x": Field(reduction="sum", dtype="float32")})


def test_added_arrays_are_copied() -> None:
    state, row = State(FIELDS), np.ones((1, 2), np.float32)
    state.add("seen", row)
    row[:] = 7
    np.testing.assert_array_equal(state["seen"], [[1, 1]])


def test_float_sums_are_float64() -> None:
    state = State(
        {"x": Field(reduction="sum", dtype="float64"), "m": Field(reduction="sum", dtype="float64", shape=(2,))}
    )
    state.add("x", 0.1)
    state.add("x", 0.2)
    state.add("m", np.array([0.1, 1.0], np.float32))
    assert state["x"] == 0.1 + 0.2
    assert state["m"].dtype == np.float64
    assert State.from_arrays(state.to_arrays()) == state
