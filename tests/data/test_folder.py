"""Manifests made on the spot."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tokbench.data.folder import folder_manifest
from tokbench.data.manifests import load_pixels, save_manifest
from tokbench.errors import SampleError, UsageError
from tokbench.images import encode_png


def png(seed: int, width: int = 9, height: int = 7) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def ids(path: Path | str, limit: int | None = None) -> list[str]:
    return [sample.id for sample in folder_manifest(path, limit=limit).samples]


def test_natural_order_sizes_digests_and_labels(tmp_path: Path) -> None:
    for name, seed in (("n10", 1), ("n2", 2), ("n02", 3)):
        fill(tmp_path / "set", {f"cat/{name}.png": png(seed, width=seed + 1)})
    fill(tmp_path / "set", {"dog/deep/a.PNG": png(4), "top.png": png(5)})
    fill(tmp_path / "set", {"notes.txt": b"no", "cat/Thumbs.db": b"no", ".hidden.png": png(6)})
    fill(tmp_path / "set", {".git/a.png": png(7), "cat/.dot/a.png": png(8)})
    manifest = folder_manifest(tmp_path / "set")
    assert [sample.id for sample in manifest.samples] == ["cat/n02", "cat/n2", "cat/n10", "dog/deep/a", "top"]
    assert [sample.label for sample in manifest.samples] == ["cat", "cat", "cat", "dog", ""]
    assert [sample.width_px for sample in manifest.samples] == [4, 3, 2, 9, 9]
    assert manifest.samples[4].sha256 == hashlib.sha256(png(5)).hexdigest()
    assert manifest.name == "set"
    for sample in manifest.samples:
        assert load_pixels(sample, manifest.root).shape == (sample.height_px, sample.width_px, 3)
    assert folder_manifest(str(tmp_path / "set")).digest == manifest.digest
    fill(tmp_path / "set", {"top.png": png(50)})
    assert folder_manifest(tmp_path / "set").digest != manifest.digest


def test_broken_images_stay_samples_that_fail_with_a_reason(tmp_path: Path) -> None:
    fill(tmp_path, {"a.png": b"", "b.jpg": b"<html>", "c.png": png(1)[:60], "d.png": png(2)})
    manifest = folder_manifest(tmp_path)
    assert [(sample.id, sample.width_px) for sample in manifest.samples] == [("a", 0), ("b", 0), ("c", 9), ("d", 9)]
    assert all(len(sample.sha256) == 64 for sample in manifest.samples)
    for sample, reason in zip(manifest.samples, ("empty", "HTML", "truncated"), strict=False):
        with pytest.raises(SampleError, match=reason):
            load_pixels(sample, manifest.root)


def test_sizes_are_those_after_the_exif_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "a.jpg", exif=exif)
    manifest = folder_manifest(tmp_path)
    assert (manifest.samples[0].width_px, manifest.samples[0].height_px) == (10, 20)
    load_pixels(manifest.samples[0], manifest.root)


def test_equal_stems_get_their_extensions(tmp_path: Path) -> None:
    fill(tmp_path, {"a.png": png(1), "a.jpg": png(2), "b.png": png(3), "a.jpg.png": png(4)})
    assert ids(tmp_path) == ["a.jpg", "a.jpg~", "a.png", "b"]


def test_limit_is_spread_evenly_and_reads_only_those(tmp_path: Path) -> None:
    fill(tmp_path, {f"{index}.png": png(index) for index in range(10)})
    whole, part = folder_manifest(tmp_path), folder_manifest(tmp_path, limit=4)
    assert part == whole.subset(4)
    assert part.notes == ("4 of 10 samples",)
    assert folder_manifest(tmp_path, limit=99) == whole
    with pytest.raises(UsageError, match="at least 1"):
        folder_manifest(tmp_path, limit=0)


def test_links_are_followed_once(tmp_path: Path) -> None:
    fill(tmp_path / "other", {"x.png": png(1)})
    fill(tmp_path / "set", {"a.png": png(2)})
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "other")
    (tmp_path / "set" / "loop").symlink_to(tmp_path / "set")
    assert ids(tmp_path / "set") == ["a", "linked/x"]


@pytest.mark.parametrize("given", ["file", "folder", "pattern"])
def test_webdataset(tmp_path: Path, given: str) -> None:
    members = {"./k1.jpg": png(1), "./k1.cls": b"7\n", "./k1.json": b"{}", "sub/k2.seg.png": png(2), "._k3.png": b""}
    write_tar(tmp_path / "w" / "s-10.tar", {"k9.png": png(3)})
    write_tar(tmp_path / "w" / "s-2.tar", members)
    path = {"file": tmp_path / "w" / "s-2.tar", "folder": tmp_path / "w", "pattern": f"{tmp_path}/w/s-*.tar"}[given]
    manifest = folder_manifest(path)
    expected = ["s-2/k1", "s-2/sub/k2.seg", "s-10/k9"]
    assert [sample.id for sample in manifest.samples] == expected[: 2 if given == "file" else 3]
    assert [sample.label for sample in manifest.samples][:2] == ["7", ""]
    for sample in manifest.samples:
        assert load_pixels(sample, manifest.root).shape == (7, 9, 3)


def test_parquet_with_class_names(tmp_path: Path) -> None:
    features = {"info": {"features": {"label": {"names": ["cat", "dog"]}}}}
    images = pa.array([{"bytes": png(index), "path": None} for index in range(12)])
    table = pa.table({"image": images, "label": [0, 1] * 6})
    table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, tmp_path / "train.parquet", row_group_size=5)
    manifest = folder_manifest(tmp_path / "train.parquet")
    assert [sample.id for sample in manifest.samples] == [f"train/{index:02d}" for index in range(12)]
    assert [sample.label for sample in manifest.samples[:2]] == ["cat", "dog"]
    for sample in manifest.samples:
        assert load_pixels(sample, manifest.root).shape == (7, 9, 3)


@pytest.mark.parametrize(("labels", "expected"), [(["x", None], ["x", ""]), ([3, 4], ["3", "4"])])
def test_parquet_with_other_labels(tmp_path: Path, labels: list[object], expected: list[str]) -> None:
    pq.write_table(pa.table({"image": [png(0), png(1)], "label": labels}), tmp_path / "a.parquet")
    assert [sample.label for sample in folder_manifest(tmp_path).samples] == expected


def test_a_folder_with_a_manifest_is_that_manifest(tmp_path: Path) -> None:
    fill(tmp_path, {f"{index}.png": png(index) for index in range(4)})
    found = folder_manifest(tmp_path, limit=3)
    save_manifest(found, tmp_path)
    assert folder_manifest(tmp_path).digest == found.digest
    assert folder_manifest(tmp_path, limit=1).digest == found.subset(1).digest


def test_one_image(tmp_path: Path) -> None:
    fill(tmp_path, {"a.png": png(1), "b.png": png(2)})
    assert ids(tmp_path / "b.png") == ["b"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "no such folder"),
        ("empty", r"no images in .*\.avif.*\.tar"),
        ("empty/*.tar", "no images in"),
        ("text", "no images in .* 1 visible files"),
        ("bang", "rename the file"),
    ],
)
def test_refused_with_a_reason(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    fill(tmp_path / "text", {"a.txt": b"no"})
    write_tar(tmp_path / "bang" / "a!b.tar", {"a.png": png(1)})
    with pytest.raises(UsageError, match=message):
        folder_manifest(tmp_path / path)


def test_compressed_tar_says_so(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w:gz"):
        pass
    with pytest.raises(SampleError, match="decompress"):
        folder_manifest(tmp_path / "a.tar")
