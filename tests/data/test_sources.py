"""Bytes by address."""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tokbench.data import parquets, tars
from tokbench.data.sources import read_source, read_verified
from tokbench.errors import ChecksumError, SampleError
from tokbench.samples import Sample

FILES = {f"part/{index:03d}.png": bytes([index]) * (index + 1) for index in range(50)}


def sample(source: str, sha256: str = "") -> Sample:
    return Sample(id="a", source=source, sha256=sha256, width_px=1, height_px=1)


def write_tar(path: Path, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "../../secret"
        tar.addfile(link)
    return path


def test_relative_path_and_link_out_of_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere.png").write_bytes(b"linked")
    (root / "deep" / "a!b.png").write_bytes(b"data")
    (root / "link.png").symlink_to(tmp_path / "elsewhere.png")
    assert read_source("deep/a!b.png", root) == b"data"
    assert read_source("link.png", str(root)) == b"linked"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("../secret.png", "leaves its folder"),
        ("a/../../secret.png", "leaves its folder"),
        ("/absolute.png", "leaves its folder"),
        ("a\\..\\secret.png", "leaves its folder"),
        ("", "leaves its folder"),
        ("missing.png", "does not exist"),
        ("folder", "is not a file"),
        ("package:skimage/../numpy/version.py", "leaves its folder"),
        ("package:skimage", "no address"),
        ("package:skimage.data/astronaut.png", "no address"),
        ("package:no_such_package/x.png", "pip install no_such_package"),
        ("package:skimage/data/no_such.png", "does not exist"),
        ("archive:shard.tar", "no address"),
        ("archive:../shard.tar!a.png", "leaves its folder"),
        ("archive:shard.tar!no_such.png", "no regular member"),
        ("archive:shard.tar!link.png", "no regular member"),
        ("archive:notes.txt!a.png", "not a tar file"),
        ("archive:shard.tar.gz!part/001.png", "decompress"),
        ("parquet:rows.parquet!3", "has 3 rows"),
        ("parquet:rows.parquet!-1", "row number"),
        ("parquet:rows.parquet!one", "row number"),
        ("parquet:rows.parquet!1", "no image bytes"),
        ("parquet:notes.txt!0", "not a Parquet file"),
        ("parquet:other.parquet!0", "expected one called 'image'"),
    ],
)
def test_refused_with_a_reason(tmp_path: Path, source: str, message: str) -> None:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"secret")
    (root / "notes.txt").write_text("not a tar, not Parquet, and rather longer than a header")
    write_tar(root / "shard.tar")
    write_tar(root / "shard.tar.gz", "w:gz")
    pq.write_table(pa.table({"image": [b"0", None, b"2"]}), root / "rows.parquet")
    pq.write_table(pa.table({"picture": [b"0"]}), root / "other.parquet")
    with pytest.raises(SampleError, match=message):
        read_source(source, root)


def test_package_is_read_but_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "loud_package"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "data" / "a.png").write_bytes(b"quiet")
    monkeypatch.syspath_prepend(tmp_path)
    assert read_source("package:loud_package/data/a.png", "") == b"quiet"
    assert "loud_package" not in sys.modules


def test_checksum(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"data")
    right = hashlib.sha256(b"data").hexdigest()
    assert read_verified(sample("a.png", right), tmp_path) == b"data"
    assert read_verified(sample("a.png"), tmp_path) == b"data"
    with pytest.raises(ChecksumError, match=f"sha256 {right[:16]}.*expected 0000.*restore"):
        read_verified(sample("a.png", "0" * 64), tmp_path)
    with pytest.raises(ChecksumError, match="install the release of scikit-image"):
        read_verified(sample("package:skimage/data/coins.png", "0" * 64), tmp_path)


def test_tar_members_by_offset_from_threads(tmp_path: Path) -> None:
    write_tar(tmp_path / "shard.tar")
    sources = [f"archive:shard.tar!{name}" for name in FILES]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(lambda source: read_source(source, tmp_path), sources)) == list(FILES.values())


def test_tar_is_indexed_again_when_it_changes(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "shard.tar")
    assert len(tars.index_tar(path)) == len(FILES)
    assert tars.index_tar(path) is tars.index_tar(path)
    with tarfile.open(path, "a") as tar:
        info = tarfile.TarInfo("new.png")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"new"))
    assert read_source("archive:shard.tar!new.png", tmp_path) == b"new"


def test_truncated_tar(tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("a.png")
        info.size = 5000
        tar.addfile(info, io.BytesIO(bytes(5000)))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(SampleError, match=r"truncated|damaged"):
        read_source("archive:shard.tar!a.png", tmp_path)


@pytest.mark.parametrize("layout", ["struct", "binary", "large_binary", "renamed struct"])
def test_parquet_layouts(tmp_path: Path, layout: str) -> None:
    rows = list(FILES.values())
    if "struct" in layout:
        column = pa.array([{"bytes": row, "path": None} for row in rows])
    else:
        column = pa.array(rows, type=pa.large_binary() if layout == "large_binary" else pa.binary())
    name = "img" if layout.startswith("renamed") else "image"
    pq.write_table(pa.table({"label": list(range(50)), name: column}), tmp_path / "rows.parquet", row_group_size=7)
    sources = [f"parquet:rows.parquet!{row}" for row in range(50)]
    assert [read_source(source, tmp_path) for source in sources] == rows
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda source: read_source(source, tmp_path), reversed(sources))) == rows[::-1]
    assert len(parquets._groups) <= 2


def test_rows_in_order_read_each_row_group_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"image": list(FILES.values())}), tmp_path / "rows.parquet", row_group_size=10)
    opened: list[Path] = []
    real = parquets._open
    monkeypatch.setattr(parquets, "_open", lambda path: opened.append(path) or real(path))
    for row in range(50):
        read_source(f"parquet:rows.parquet!{row}", tmp_path)
    assert len(opened) == 5
