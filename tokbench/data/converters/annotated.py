"""From annotations to samples: what all converters share.

A converter turns parsed annotations into :class:`Annotated` images without touching a file; :func:`to_samples` then
looks at the files themselves. Everything wrong is collected first and reported at once.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from PIL import Image

from tokbench.errors import ManifestError, SampleError
from tokbench.images import read_size
from tokbench.samples import Box, Region, Sample

T = TypeVar("T")

_N_THREADS = 8
_N_NAMED = 20
_JPEG_ORIENTATION_OWNERS = (b"Exif\x00\x00", b"http://ns.adobe.com/xap/1.0/\x00")


@dataclass(frozen=True, kw_only=True)
class Annotated:
    """An image as its annotation file has it.

    Attributes:
        file: relative to the images' folder, POSIX; where nothing is there, its last part is looked for.
        where: annotation file and line or entry, for messages.
        size_px: width and height as annotated; None where not.
        tags: the sample's.
    """

    file: str
    where: str
    regions: tuple[Region, ...]
    size_px: tuple[int, int] | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A file that was looked at: its sample, or what is wrong with it."""

    sample: Sample | None = None
    problem: str = ""


def merged(images: Iterable[Annotated]) -> list[Annotated]:
    """One entry a file, in order of first mention, with the regions of all its entries.

    Raises:
        ManifestError: two entries annotate different sizes.
    """
    by_file: dict[str, Annotated] = {}
    for image in images:
        first = by_file.get(image.file)
        if first is None:
            by_file[image.file] = image
            continue
        if first.size_px != image.size_px:
            raise ManifestError(
                f"{image.where}: {image.file} is {image.size_px} px, but {first.size_px} px in {first.where}"
            )
        by_file[image.file] = replace(first, regions=first.regions + image.regions)
    return list(by_file.values())


def to_samples(
    images: Sequence[Annotated], *, folder: Path, prefix: str, upright: Path, upright_prefix: str, id_prefix: str = ""
) -> tuple[Sample, ...]:
    """Read every image file once and make its sample; regions without a ratio get :func:`relative_size`.

    Annotations sometimes ignore a camera's orientation mark, which tokbench applies. Where the annotated size is that
    of the pixels as stored, a copy of the JPEG without the mark (its pixels are not touched) goes into ``upright``.

    Args:
        images: one entry a file.
        folder: where the files are on this machine.
        prefix: address of ``folder`` relative to the manifest's root, POSIX.
        upright, upright_prefix: where such copies go, and its address.
        id_prefix: put before each id.

    Raises:
        ManifestError: files that are missing or no images, or that have other sizes than annotated; all of them.
    """
    ids = _distinct_ids([image.file for image in images], id_prefix)

    def look(item: tuple[Annotated, str]) -> _Found:
        image, name = item
        path = _path_of(image, folder)
        if path is None:
            return _Found(problem=f"{image.file}: missing ({image.where})")
        inside = path.relative_to(folder).as_posix()
        try:
            return _look(image, name, path, f"{prefix}/{inside}" if prefix else inside, (upright, upright_prefix))
        except (OSError, SampleError, ManifestError) as err:
            return _Found(problem=f"{err} ({image.where})")

    with ThreadPoolExecutor(_N_THREADS) as pool:
        found = list(pool.map(look, zip(images, ids, strict=True)))
    problems = [item.problem for item in found if item.problem]
    if problems:
        more = f"\n  … and {len(problems) - _N_NAMED} more" if len(problems) > _N_NAMED else ""
        raise ManifestError(
            f"{len(problems)} of {len(images)} annotated images cannot be used; looked in {folder}:\n  "
            + "\n  ".join(problems[:_N_NAMED])
            + more
        )
    return tuple(item.sample for item in found if item.sample is not None)


def relative_size(region: Region, *, width_px: int, height_px: int) -> float | None:
    """Size of a word's character, or of a face, relative to the image's longer side; None for a word without label.

    For words, box width over the number of characters: the rule that the published ratios of TokBench follow. For
    faces, the longer side of the box; the published definition is not known.
    """
    x0, y0, x1, y1 = region.box
    longer = max(width_px, height_px)
    if region.kind == "face":
        return max(x1 - x0, y1 - y0) / longer
    return (x1 - x0) / (len(region.label) * longer) if region.label else None


def bounding_box(points: Sequence[tuple[float, float]]) -> Box:
    """The upright box around the points."""
    return (
        min(x for x, _ in points),
        min(y for _, y in points),
        max(x for x, _ in points),
        max(y for _, y in points),
    )


def read_json(path: Path) -> object:
    """A parsed JSON file; ManifestError naming the file and line if it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as err:
        raise ManifestError(f"{path.name} line {err.lineno}: {err.msg}; expected JSON") from err
    except (OSError, UnicodeDecodeError) as err:
        raise ManifestError(f"{path} cannot be read: {err}") from err


def read_text(path: Path) -> str:
    """A UTF-8 text file, with or without a byte order mark; ManifestError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        raise ManifestError(f"{path} cannot be read as UTF-8 text: {err}") from err


def member(row: object, name: str, kind: type[T], *, where: str) -> T:
    """``row[name]``; ManifestError unless the row is an object whose member of that name is of that type."""
    if not isinstance(row, dict):
        raise ManifestError(f"{where} is {str(row)[:80]!r}, expected an object")
    if name not in row:
        raise ManifestError(f"{where} has no {name!r}; it has {', '.join(map(str, row)) or 'nothing'}")
    value = row[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ManifestError(f"{where}: {name} is {str(value)[:80]!r}, expected {kind.__name__}")
    return value


def finite(value: object, *, where: str, what: str) -> float:
    """The value as a float; ManifestError unless it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ManifestError(f"{where}: {what} is {value!r}, expected a finite number")
    return float(value)


def numbers(value: object, *, n: int, where: str, what: str) -> tuple[float, ...]:
    """The value as n floats; ManifestError unless it is a list of n finite numbers."""
    if not isinstance(value, list) or len(value) != n:
        raise ManifestError(f"{where}: {what} is {str(value)[:80]!r}, expected a list of {n} numbers")
    return tuple(finite(item, where=where, what=what) for item in value)


def without_orientation(data: bytes) -> bytes:
    """A JPEG file without the segments that can hold an orientation mark (EXIF and XMP); its pixels are not touched.

    Raises:
        ManifestError: not a JPEG, or its segments are damaged.
    """
    if not data.startswith(b"\xff\xd8"):
        raise ManifestError("only a JPEG's orientation mark can be taken off")
    kept, at = [data[:2]], 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] not in (b"", b"\xda"):
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end > len(data) or end < at + 4:
            raise ManifestError("the JPEG's segments are damaged")
        if data[at + 1] != 0xE1 or not data[at + 4 : end].startswith(_JPEG_ORIENTATION_OWNERS):
            kept.append(data[at:end])
        at = end
    return b"".join(kept) + data[at:]


def _look(image: Annotated, name: str, path: Path, source: str, upright: tuple[Path, str]) -> _Found:
    data = path.read_bytes()
    size = read_size(data, name=image.file)
    if image.size_px is not None and tuple(size) != image.size_px:
        with Image.open(io.BytesIO(data)) as stored:
            if stored.size != image.size_px or stored.format not in ("JPEG", "MPO"):
                got, expected = (f"{width}×{height} px" for width, height in (size, image.size_px))
                return _Found(problem=f"{image.file}: {got}, annotated as {expected} ({image.where})")
        data = without_orientation(data)
        size = read_size(data, name=image.file)
        folder, prefix = upright
        copy = folder / f"{name}{path.suffix}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(data)
        source = f"{prefix}/{name}{path.suffix}"
    regions = tuple(
        region
        if region.ratio is not None
        else replace(region, ratio=relative_size(region, width_px=size.width_px, height_px=size.height_px))
        for region in image.regions
    )
    sample = Sample(
        id=name,
        source=source,
        sha256=hashlib.sha256(data).hexdigest(),
        width_px=size.width_px,
        height_px=size.height_px,
        tags=image.tags,
        regions=regions,
    )
    return _Found(sample=sample)


def _path_of(image: Annotated, folder: Path) -> Path | None:
    parts = PurePosixPath(image.file).parts
    if not parts or ".." in parts or PurePosixPath(image.file).is_absolute() or "\\" in image.file:
        return None
    for path in (folder.joinpath(*parts), folder / parts[-1]):
        if path.is_file():
            return path
    return None


def _distinct_ids(files: Sequence[str], prefix: str) -> list[str]:
    """Files without their endings; with them where two would get one name."""
    stems = [prefix + PurePosixPath(file).with_suffix("").as_posix() for file in files]
    counts = Counter(stems)
    return [stem if counts[stem] == 1 else prefix + file for stem, file in zip(stems, files, strict=True)]
