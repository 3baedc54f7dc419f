"""Finding the images of a published set in whatever layout someone keeps it: folders, archives, shards."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tokbench.data import parquets, tars, zips
from tokbench.data.sources import ARCHIVE, PARQUET
from tokbench.errors import ManifestError

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")
ARCHIVE_SUFFIXES = (".tar", ".zip", ".parquet")

_MAX_NOTE_BYTES = 64 << 20
_NOTE = re.compile(r"(?:val|synset|ground_truth|meta).*\.(?:txt|csv|json|mat)", re.IGNORECASE)
# A copy of a set often holds its other splits too, with a million images nobody asked for.
_OTHER_SPLIT = re.compile(r"(?:^|[_\-./])(?:train|test|unlabeled)|val2014", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Found:
    """An image that was found, unread.

    Attributes:
        name: its file name, without folders.
        folder: name of the folder it is in, or "".
        address: relative to the root, as :mod:`tokbench.data.sources` reads it.
    """

    name: str
    folder: str
    address: str


@dataclass(frozen=True, kw_only=True)
class Copy:
    """What a root holds: images, files before archives, and the lists beside them (classes, sizes)."""

    images: tuple[Found, ...]
    notes: tuple[Path, ...]


def find_copy(root: Path) -> tuple[Path, Copy]:
    """Everything under a folder, or in one archive, and the folder that addresses are relative to.

    Folders and archives whose name says that they hold training, test or other years' images are passed by.

    Raises:
        ManifestError: nothing there.
        SampleError: an archive that cannot be listed.
    """
    if root.is_file():
        if root.suffix.lower() not in ARCHIVE_SUFFIXES:
            raise ManifestError(f"{root} is neither a folder nor one of {', '.join(ARCHIVE_SUFFIXES)}")
        beside = [path for path in sorted(root.parent.iterdir()) if _is_note(path)]
        return root.parent, Copy(images=tuple(_list_archive(root, root.name)), notes=tuple(beside))
    if not root.is_dir():
        raise ManifestError(f"{root} does not exist; give the folder or archive with your copy")
    images: list[Found] = []
    packed: list[Found] = []
    notes: list[Path] = []
    for path in _walk(root):
        relative = path.relative_to(root).as_posix()
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            folder = path.parent.name if path.parent != root else root.resolve().name
            images.append(Found(name=path.name, folder=folder, address=relative))
        elif suffix in ARCHIVE_SUFFIXES and not _OTHER_SPLIT.search(path.name):
            packed += _list_archive(path, relative)
        elif _is_note(path):
            notes.append(path)
    return root, Copy(images=(*images, *packed), notes=tuple(notes))


def _walk(root: Path) -> Iterator[Path]:
    """Visible files, in order, through links, each real folder once."""
    seen: set[str] = set()
    for parent, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not _OTHER_SPLIT.search(name))
        yield from (Path(parent) / name for name in sorted(files) if not name.startswith("."))


def _is_note(path: Path) -> bool:
    return bool(_NOTE.search(path.name)) and path.is_file() and path.stat().st_size <= _MAX_NOTE_BYTES


def _list_archive(path: Path, relative: str) -> Iterator[Found]:
    if "!" in relative:
        raise ManifestError(f"{relative}: '!' separates file and member in addresses; rename the file")
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        layout = parquets.read_layout(path)
        for row, name in enumerate(parquets.read_names(path, layout)):
            yield Found(name=PurePosixPath(name).name, folder="", address=f"{PARQUET}{relative}!{row}")
        return
    for member in zips.index_zip(path) if suffix == ".zip" else tars.index_tar(path):
        inside = PurePosixPath(member)
        if inside.suffix.lower() in IMAGE_SUFFIXES and not _OTHER_SPLIT.search(member):
            yield Found(name=inside.name, folder=inside.parent.name, address=f"{ARCHIVE}{relative}!{member}")
