"""Manifests made on the spot, from images as people keep them.

Understood are a folder (read recursively), one image, a WebDataset ``.tar``, a ``.parquet`` file in Hugging Face
layout, a pattern such as ``shards/*.tar``, and a folder with a tokbench manifest. A folder may mix images, tar and
Parquet files. Everything with an image's extension is a sample, also when it turns out to be broken: then its size
is recorded as 0×0 and the run reports it as failed, with the reason.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tokbench.data import parquets, tars
from tokbench.data.manifests import TOML_NAME, load_manifest
from tokbench.data.sources import ARCHIVE, PARQUET, read_source
from tokbench.errors import SampleError, UsageError
from tokbench.images import read_size
from tokbench.samples import Manifest, Sample

IMAGE_EXTENSIONS = (
    ".avif", ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
SHARD_EXTENSIONS = (".parquet", ".tar")

_N_THREADS = 8
_WILDCARDS = re.compile(r"[*?\[]")


class _Entry(NamedTuple):
    """A sample to be: where it is, what it could be called, and its class name."""

    source: str
    stem: str
    extension: str
    label: str = ""


def folder_manifest(path: str | Path, *, limit: int | None = None) -> Manifest:
    """A manifest of the images at ``path``, in natural order (``2.png`` before ``10.png``).

    Every file is read once, for its sha256 and the size in its headers; no image is decoded. The first sub-folder's
    name (ImageFolder), a ``.cls`` member or a ``label`` column become the label. Hidden files are left out.

    Args:
        path: folder, image, ``.tar``, ``.parquet``, or a pattern with ``*``, ``?`` or ``[…]`` of those.
        limit: take that many samples, spread evenly as by :meth:`Manifest.subset`, and read only those.

    Raises:
        UsageError: nothing there, no images in it, or limit below 1.
        SampleError: a tar or Parquet file that cannot be listed.
    """
    if (Path(path) / TOML_NAME).is_file():
        manifest = load_manifest(path)
        return manifest if limit is None else manifest.subset(limit)
    root, files = _find_files(path)
    entries = [entry for file in files for entry in _list_entries(file, root)]
    named = list(zip(_distinct_ids(entries), entries, strict=True))
    total = len(named)
    if not total:
        raise UsageError(
            f"no images in {path}: none of its {len(files)} visible files ends in "
            f"{', '.join((*IMAGE_EXTENSIONS, *SHARD_EXTENSIONS))} (upper case too) and holds one; give another folder"
        )
    picked = named if limit is None else _spread(named, limit)
    with ThreadPoolExecutor(_N_THREADS) as pool:
        samples = tuple(pool.map(lambda item: _read_sample(item[0], item[1], root), picked))
    name = (Path(path).stem if Path(path).is_file() else root.resolve().name) or "folder"
    return Manifest(
        name=name,
        version=1,
        title=f"Images of {name}",
        licence="not stated",
        citation="",
        samples=samples,
        root=str(root),
        notes=() if len(picked) == total else (f"{len(picked)} of {total} samples",),
    )


def _spread(named: list[tuple[str, _Entry]], limit: int) -> list[tuple[str, _Entry]]:
    """The same choice as :meth:`Manifest.subset` makes."""
    if limit < 1:
        raise UsageError(f"--limit must be at least 1, got {limit}")
    n_samples = min(limit, len(named))
    return [named[(index * len(named)) // n_samples] for index in range(n_samples)]


def _find_files(path: str | Path) -> tuple[Path, list[Path]]:
    """The root that addresses are relative to, and the visible files to list, in natural order."""
    path = Path(path)
    if path.is_dir():
        root, found = path, list(_walk(path))
    elif path.is_file():
        root, found = path.parent, [path]
    else:
        fixed = 0
        while fixed < len(path.parts) and not _WILDCARDS.search(path.parts[fixed]):
            fixed += 1
        if fixed == len(path.parts):
            raise UsageError(f"no such folder or file: {path}; give a folder, an image, a .tar or a .parquet")
        root = Path(*path.parts[:fixed])
        found = [file for file in root.glob(str(Path(*path.parts[fixed:]))) if file.is_file()]
    visible = [file for file in found if not _is_hidden(file.relative_to(root).as_posix())]
    return root, sorted(visible, key=lambda file: _natural_key(file.relative_to(root).as_posix()))


def _walk(folder: Path) -> Iterator[Path]:
    """Every file under a folder, through links too, each real folder once."""
    seen: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not _is_hidden(name)]
        yield from (Path(parent) / file for file in files)


def _list_entries(file: Path, root: Path) -> Iterator[_Entry]:
    relative = file.relative_to(root).as_posix()
    extension = file.suffix.lower()
    if extension in IMAGE_EXTENSIONS:
        folder, slash, _ = relative.partition("/")
        yield _Entry(relative, relative.removesuffix(file.suffix), file.suffix, folder if slash else "")
    elif extension in SHARD_EXTENSIONS:
        if "!" in relative:
            raise UsageError(f"{relative}: '!' separates file and member in addresses; rename the file")
        stem = relative.removesuffix(file.suffix)
        yield from (_list_tar if extension == ".tar" else _list_parquet)(file, relative, stem)


def _list_tar(file: Path, relative: str, stem: str) -> Iterator[_Entry]:
    index = tars.index_tar(file)
    for name in index:
        extension = PurePosixPath(name).suffix
        if extension.lower() not in IMAGE_EXTENSIONS or _is_hidden(name):
            continue
        folder, _, basename = name.rpartition("/")
        key = f"{folder}/" * bool(folder) + basename.partition(".")[0]  # WebDataset: up to the first dot
        label = ""
        if f"{key}.cls" in index:
            label = tars.read_member(file, f"{key}.cls").decode("utf-8", "replace").strip()
        yield _Entry(f"{ARCHIVE}{relative}!{name}", f"{stem}/{name.removesuffix(extension)}", extension, label)


def _list_parquet(file: Path, relative: str, stem: str) -> Iterator[_Entry]:
    layout = parquets.read_layout(file)
    width = len(str(layout.n_rows))
    for row, label in enumerate(parquets.read_labels(file, layout)):
        yield _Entry(f"{PARQUET}{relative}!{row}", f"{stem}/{row:0{width}d}", "", label)


def _distinct_ids(entries: Sequence[_Entry]) -> list[str]:
    """Ids without extension where that tells samples apart, else with it (``a.jpg`` beside ``a.png``)."""
    stems = [_clean_id(entry.stem) for entry in entries]
    counts = Counter(stems)
    ids: dict[str, None] = {}
    for stem, entry in zip(stems, entries, strict=True):
        name = stem if counts[stem] == 1 else stem + entry.extension
        while name in ids:
            name += "~"
        ids[name] = None
    return list(ids)


def _clean_id(name: str) -> str:
    """Tar members may be called ``./a`` or ``../a``; ids may not."""
    return "/".join(part for part in name.replace("\\", "_").split("/") if part not in ("", ".", ".."))


def _read_sample(name: str, entry: _Entry, root: Path) -> Sample:
    width_px = height_px = 0
    sha256 = ""
    try:
        data = read_source(entry.source, root)
        sha256 = hashlib.sha256(data).hexdigest()
        width_px, height_px = read_size(data, name=name)
    except SampleError:
        pass  # stays a sample of 0×0 px: the run fails on it again and records why
    return Sample(
        id=name, source=entry.source, sha256=sha256, width_px=width_px, height_px=height_px, label=entry.label
    )


def _is_hidden(relative: str) -> bool:
    return any(part.startswith(".") and part not in (".", "..") for part in relative.split("/"))


def _natural_key(relative: str) -> tuple[list[list[str | int]], str]:
    """Folder by folder, runs of digits as numbers; the text itself decides between ``1`` and ``01``."""
    parts = (re.split(r"([0-9]+)", part) for part in relative.split("/"))  # every second piece is digits
    return [[int(piece) if i % 2 else piece for i, piece in enumerate(pieces)] for pieces in parts], relative
