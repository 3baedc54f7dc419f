"""The reference cache."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from tokbench.cache import ReferenceCache, cache_folder, feature_key
from tokbench.samples import Region

KEY = b"k" * 32


class Feature:
    name = "words"
    sides = "reference"
    uses_regions = True

    def __init__(self, version: int = 1) -> None:
        self.version = version

    def identity(self) -> Mapping[str, str | int | float]:
        return {"version": self.version}

    def compute(self, images: torch.Tensor, regions: Sequence[Sequence[Region]]) -> list[dict[str, np.ndarray]]:
        return [{} for _ in images]


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    arrays = {"text": np.array(["Exit", "café"]), "score": np.array([0.5, 1.0]), "empty": np.zeros((0, 4))}
    cache = ReferenceCache(tmp_path / "deep" / "cache.sqlite")
    assert cache.get(KEY) is None
    cache.put(KEY, arrays)
    cache.close()
    again = ReferenceCache(tmp_path / "deep" / "cache.sqlite")
    found = again.get(KEY)
    assert found is not None
    for name, array in arrays.items():
        assert np.array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert (again.hits, again.misses) == (1, 0)
    again.close()


def test_the_key_depends_on_everything_the_value_does() -> None:
    word = Region(kind="word", box=(0, 0, 9, 9), label="Exit")
    moved = Region(kind="word", box=(0, 0, 9, 8), label="Exit")
    keys = {
        feature_key(feature, reference_sha256=pixels, regions=regions)
        for feature in (Feature(1), Feature(2))
        for pixels in ("aa", "bb")
        for regions in ([word], [moved], [])
    }
    assert len(keys) == 12
    blind = Feature()
    blind.uses_regions = False
    assert feature_key(blind, reference_sha256="aa", regions=[word]) == feature_key(
        blind, reference_sha256="aa", regions=[]
    )


def test_pickles_are_neither_written_nor_read(tmp_path: Path) -> None:
    cache = ReferenceCache(tmp_path / "cache.sqlite")
    with pytest.raises(ValueError, match="allow_pickle"):
        cache.put(KEY, {"object": np.array([{}], dtype=object)})
    cache.close()


def test_a_damaged_entry_is_computed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "cache.sqlite"
    cache = ReferenceCache(path)
    cache.put(KEY, {"a": np.ones(3)})
    cache.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE features SET value = ?", (b"PK\x03\x04 not a zip",))
    connection.close()
    cache = ReferenceCache(path)
    assert cache.get(KEY) is None
    assert "unreadable entry" in caplog.text
    cache.put(KEY, {"a": np.ones(3)})
    assert cache.get(KEY) is not None
    cache.close()


def test_a_cache_that_cannot_be_opened_warns_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cache.sqlite").write_bytes(b"this is no database" * 100)
    cache = ReferenceCache(tmp_path / "cache.sqlite")
    cache.put(KEY, {"a": np.ones(3)})
    assert cache.get(KEY) is None
    assert "cannot be used" in caplog.text


def test_where_it_lives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKBENCH_CACHE", str(tmp_path / "a"))
    assert cache_folder() == tmp_path / "a"
    monkeypatch.delenv("TOKBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_folder() == tmp_path / "b" / "tokbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "tokbench"
