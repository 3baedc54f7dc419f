from __future__ import annotations

import io

import numpy as np
import pytest

import tokbench.metrics.rows as rows_module
from tokbench.metrics.rows import Rows
from tokbench.metrics.state import Field, State


def pieces(n: int = 40) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(index % 7, 8)).astype(np.float32) for index in range(n)]


@pytest.mark.parametrize("limit", [0, 1000, 1 << 30])
def test_rows_read_the_same_wherever_they_lie(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "MAX_MEMORY_BYTES", limit)
    monkeypatch.setattr(rows_module, "_CHUNK_BYTES", 320)
    table = Rows("float32", (8,))
    assert table.array().shape == (0, 8)
    seen = []
    for index, rows in enumerate(pieces()):
        table.append(rows)
        seen.append(rows)
        if index % 9 == 0:
            assert np.array_equal(table.array(), np.concatenate(seen))
    twice = Rows("float32", (8,))
    twice.extend(table)
    twice.extend(table)
    twice.extend(twice)
    twice.extend(Rows("float32", (8,)))
    assert np.array_equal(twice.array(), np.concatenate(seen * 4))
    assert isinstance(twice.array(), np.memmap) == (limit < 1 << 30)


def test_what_was_read_does_not_change_with_later_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "MAX_MEMORY_BYTES", 100)
    table = Rows("float32", (8,))
    table.append(np.ones((5, 8), np.float32))
    before = table.array()
    table.append(np.zeros((5, 8), np.float32))
    assert before.shape == (5, 8)
    assert before.all()
    assert table.array().shape == (10, 8)
    with pytest.raises(ValueError, match="read-only"):
        before[0, 0] = 3


def test_a_state_with_rows_in_a_file_merges_and_survives_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def fed(parts: list[np.ndarray]) -> State:
        state = State({"rows": Field(reduction="cat", dtype="float32", shape=(8,))})
        for rows in parts:
            state.add("rows", rows)
        return state

    in_memory = fed(pieces())
    monkeypatch.setattr(rows_module, "MAX_MEMORY_BYTES", 500)
    spilled, left, right = fed(pieces()), fed(pieces()[:13]), fed(pieces()[13:])
    left.merge(right)
    assert spilled == in_memory == left
    file = io.BytesIO()
    np.savez(file, **left.to_arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        assert State.from_arrays(arrays) == in_memory
