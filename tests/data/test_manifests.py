"""Manifests as files, and samples as pixels."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tokbench.data import pixels as pixels_module
from tokbench.data.manifests import list_manifests, load_manifest, load_pixels, save_manifest
from tokbench.errors import ChecksumError, ManifestError, SampleError, UnknownNameError
from tokbench.images import encode_png
from tokbench.samples import Manifest, Region, Sample

PIXELS = np.random.default_rng(5).integers(0, 256, (20, 30, 3), dtype=np.uint8)
PNG = encode_png(PIXELS)


def sample(**changes: object) -> Sample:
    facts = {"id": "a", "source": "a.png", "sha256": hashlib.sha256(PNG).hexdigest(), "width_px": 30, "height_px": 20}
    return Sample(**{**facts, **changes})  # type: ignore[arg-type]


def manifest(*samples: Sample) -> Manifest:
    return Manifest(
        name="small",
        version=3,
        title='Quotes " and \\ and ünïcode',
        licence="CC0",
        citation="line one\nline two\x7f\t",
        samples=samples,
        notes=("first", 'second "note"'),
    )


FACE = Region(kind="face", box=(1, 2, 13, 14.5), label="someone", keypoints=((3, 4), (5, 6.25)), ratio=0.25)
FULL = sample(
    id="deep/ü b", crop=(1, 2, 11, 12), scene={"canvas": [10, 10], "fonts": {}, "words": []}, width_px=10,
    height_px=10, cluster="c", label="l", tags=("t", "u"), regions=(FACE, Region(kind="word", box=(0, 0, 1, 1))),
)  # fmt: skip


def test_round_trip(tmp_path: Path) -> None:
    before = manifest(sample(), FULL)
    save_manifest(before, tmp_path / "new" / "small")
    after = load_manifest(tmp_path / "new" / "small")
    assert replace(after, root="") == before
    assert after.root == str(tmp_path / "new" / "small")
    assert load_manifest(tmp_path / "new" / "small" / "manifest.toml", root="/data").root == "/data"
    again = tmp_path / "again"
    save_manifest(after, again)
    for name in ("manifest.toml", "samples.jsonl"):
        assert (again / name).read_bytes() == (tmp_path / "new" / "small" / name).read_bytes()
    assert sorted(file.name for file in again.iterdir()) == ["manifest.toml", "samples.jsonl"]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("samples.jsonl", '"width_px": 30', '"width_px": 31', r"digest sha256:.* says sha256:"),
        ("samples.jsonl", '"id": "a", ', "", "line 1.*malformed"),
        ("samples.jsonl", '"id": "a"', '"idea": "a"', "line 1.*unknown fields"),
        ("samples.jsonl", '{"id": "a"', '["id": "a"', "line 1"),
        ("samples.jsonl", '"id": "deep', '"id": "../deep', "line 2.*relative POSIX"),
        ("samples.jsonl", '"id": "deep/ü b"', '"id": "a"', "occurs twice"),
        ("samples.jsonl", "{", "[]\n{", "line 1.*expected an object"),
        ("manifest.toml", "n_samples = 2", "n_samples = 3", "number of samples 2.* says 3"),
        ("manifest.toml", "n_samples = 2\n", "", "missing fields .*n_samples"),
        ("manifest.toml", "version = 3", 'version = "3"', "wrong type"),
        ("manifest.toml", "version = 3", "version = true", "wrong type"),
        ("manifest.toml", "version = 3", "version = 3\nlicense = 4", "unknown fields .*license"),
        ("manifest.toml", "version = 3", "version = ", "cannot be read"),
    ],
)
def test_tampering_is_noticed(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    save_manifest(manifest(sample(), FULL), tmp_path)
    text = (tmp_path / file).read_text(encoding="utf-8")
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ManifestError, match=message):
        load_manifest(tmp_path)


def test_a_removed_line_is_noticed(tmp_path: Path) -> None:
    save_manifest(manifest(sample(), FULL), tmp_path)
    lines = (tmp_path / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "samples.jsonl").write_text(lines[0] + "\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="number of samples 1"):
        load_manifest(tmp_path)
    (tmp_path / "samples.jsonl").unlink()
    with pytest.raises(ManifestError, match="cannot be read"):
        load_manifest(tmp_path)


def test_unknown_name_is_answered_with_a_near_one(tmp_path: Path) -> None:
    assert "quick" in list_manifests()
    with pytest.raises(UnknownNameError, match="did you mean 'quick'"):
        load_manifest("quik")
    with pytest.raises(UnknownNameError, match="no manifest"):
        load_manifest(tmp_path)


def test_pixels_of_a_whole_file_a_crop_and_a_scene(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    np.testing.assert_array_equal(load_pixels(sample(), tmp_path), PIXELS)
    np.testing.assert_array_equal(load_pixels(FULL, tmp_path), PIXELS[2:12, 1:11])
    resized = sample(scene={"canvas": [8, 9], "fonts": {}, "words": []}, width_px=8, height_px=9)
    assert load_pixels(resized, str(tmp_path)).shape == (9, 8, 3)


def test_what_a_caller_writes_does_not_reach_the_next(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    for item in (sample(), FULL, sample(crop=(0, 0, 30, 20))):
        first = load_pixels(item, tmp_path)
        expected = first.copy()
        first[:] = 0
        np.testing.assert_array_equal(load_pixels(item, tmp_path), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width_px": 31}, "30×20 px, the manifest says 31×20"),
        ({"width_px": 0, "height_px": 0}, "the manifest says 0×0"),
        ({"crop": (0, 0, 31, 20)}, "does not lie in"),
        ({"crop": (-1, 0, 5, 5)}, "does not lie in"),
        ({"crop": (5, 5, 5, 9)}, "does not lie in"),
        ({"crop": (0, 0, 9, 9)}, "9×9 px, the manifest says 30×20"),
        ({"source": "b.png"}, "does not exist"),
    ],
)
def test_refused_with_a_reason(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    with pytest.raises(SampleError, match=message):
        load_pixels(sample(**changes), tmp_path)


def test_a_changed_file_is_noticed_though_its_pixels_were_kept(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    load_pixels(FULL, tmp_path)
    (tmp_path / "a.png").write_bytes(encode_png(PIXELS[::-1]) + b"longer")
    with pytest.raises(ChecksumError, match="restore the original"):
        load_pixels(FULL, tmp_path)


def test_kept_pixels_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = pixels_module._Cache(3 * PIXELS.nbytes)
    monkeypatch.setattr(pixels_module, "_cache", cache)
    for index in range(6):
        (tmp_path / f"{index}.png").write_bytes(PNG)
        load_pixels(replace(FULL, source=f"{index}.png"), tmp_path)
    assert len(cache._items) == 3
    assert cache._bytes == 3 * PIXELS.nbytes
    cache.put(("large", "", 0, 0), np.zeros((99, 99, 3), np.uint8))
    assert len(cache._items) == 3


def test_threads_get_equal_pixels(tmp_path: Path) -> None:
    for index in range(4):
        (tmp_path / f"{index}.png").write_bytes(PNG)
    items = [replace(FULL, source=f"{index % 4}.png") for index in range(64)]
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda item: load_pixels(item, tmp_path), items):
            np.testing.assert_array_equal(got, PIXELS[2:12, 1:11])
