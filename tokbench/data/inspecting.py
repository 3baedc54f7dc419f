"""Looking at many image files once: digest, size, and whether they decode to their end.

What was seen is kept in a ledger beside the manifest, so an interrupted preparation goes on where it stopped, and a
repeated one looks only at files that changed.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import ExifTags, Image

from tokbench.data.converters.annotated import without_orientation
from tokbench.data.sources import locate, read_source
from tokbench.errors import ManifestError, SampleError
from tokbench.images import decode_image

logger = logging.getLogger(__name__)

LEDGER_NAME = "checked.jsonl"

_N_THREADS = 8
_BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A file that decodes.

    Attributes:
        stamp: time of change and size of the file it is in; another stamp means that it must be looked at again.
        sha256, width_px, height_px: of the image as tokbench will read it.
        upright: address of the copy without its orientation mark, or "" where it has none.
    """

    address: str
    stamp: str
    sha256: str
    width_px: int
    height_px: int
    upright: str = ""


def ignore(n: int) -> None:
    """What is told of progress when nobody asked."""


def inspect(
    addresses: Mapping[str, str],
    *,
    root: Path,
    upright: str,
    advanced: Callable[[int], None] = ignore,
) -> tuple[dict[str, Seen], dict[str, str]]:
    """Read and decode each image, a few at a time.

    Published crops take pixels as stored, and their loaders ignore the orientation mark of a camera, which tokbench
    applies. So of an image with such a mark a copy without it is kept (its pixels are not touched).

    Args:
        addresses: by name, relative to ``root``.
        root: where addresses start, and where the ledger is kept.
        upright: the folder in ``root`` for such copies.
        advanced: told how many more are done.

    Returns:
        What was seen by name, and what is wrong by name.
    """
    ledger = _read_ledger(root / LEDGER_NAME)
    seen: dict[str, Seen] = {}
    problems: dict[str, str] = {}
    is_cut_off = not _ends_a_line(root / LEDGER_NAME)
    with (root / LEDGER_NAME).open("a", encoding="utf-8") as file, ThreadPoolExecutor(_N_THREADS) as pool:
        file.write("\n" * is_cut_off)
        for block in _blocks(list(addresses)):
            known = {name: ledger.get(addresses[name]) for name in block}
            work = [(name, addresses[name], known[name], root, upright) for name in block]
            for name, result in zip(block, pool.map(_look_or_say, work), strict=True):
                if isinstance(result, str):
                    problems[name] = result
                    continue
                seen[name] = result
                if result != known[name]:
                    file.write(json.dumps(asdict(result)) + "\n")
            file.flush()
            advanced(len(block))
    return seen, problems


def _blocks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _BLOCK):
        yield names[start : start + _BLOCK]


def _look_or_say(work: tuple[str, str, Seen | None, Path, str]) -> Seen | str:
    try:
        return _look(*work)
    except (OSError, SampleError, ManifestError) as err:
        return str(err)


def _look(name: str, address: str, known: Seen | None, root: Path, upright: str) -> Seen:
    stat = locate(address, root).path.stat()
    stamp = f"{stat.st_mtime_ns}/{stat.st_size}"
    if known is not None and known.stamp == stamp and (not known.upright or (root / known.upright).is_file()):
        return known
    data = read_source(address, root)
    copy = ""
    height, width = decode_image(data, name=name).shape[:2]
    if _has_orientation(data):
        data = without_orientation(data)
        copy = f"{upright}/{name}"
        height, width = decode_image(data, name=name).shape[:2]
        (root / upright).mkdir(parents=True, exist_ok=True)
        (root / copy).write_bytes(data)
    return Seen(
        address=address,
        stamp=stamp,
        sha256=hashlib.sha256(data).hexdigest(),
        width_px=width,
        height_px=height,
        upright=copy,
    )


def _has_orientation(data: bytes) -> bool:
    with Image.open(io.BytesIO(data)) as image:
        return image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)


def _ends_a_line(path: Path) -> bool:
    return not path.is_file() or path.read_bytes()[-1:] in (b"", b"\n")


def _read_ledger(path: Path) -> dict[str, Seen]:
    """By address; the last line of a run that was killed may be cut off, and is looked at again."""
    if not path.is_file():
        return {}
    rows: dict[str, Seen] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            seen = Seen(**json.loads(line))
        except (ValueError, TypeError):
            logger.warning("%s line %d is damaged; that image is looked at again", path, number)
            continue
        rows[seen.address] = seen
    return rows
