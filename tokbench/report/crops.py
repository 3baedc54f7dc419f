"""Small pictures of words and faces, cut from the kept pictures, each embedded once, as many as fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from tokbench.errors import ResultsError
from tokbench.report.pictures import data_uri
from tokbench.report.recognisers import Kind

_MARGIN = 0.16  # of the shorter side, on each side
_LEAST_MARGIN = 2
_LONGEST: dict[Kind, int] = {"word": 320, "face": 128}  # px; longer crops are reduced
_ROOM: dict[Kind, tuple[int, int]] = {"word": (176, 66), "face": (150, 150)}  # CSS px a crop is enlarged to at most
_MOST_ENLARGED = 8
_KEPT_OPEN = 12

Box = tuple[int, int, int, int]


class Shape(NamedTuple):
    """How a crop is shown: CSS pixels, and how many of them one pixel of the picture takes."""

    width: int
    height: int
    scale: float


@dataclass
class CropStore:
    """Crops as data URIs, equal ones once. ``budget`` is how many characters they may take in the page."""

    budget: int
    uris: list[str] = field(default_factory=list)
    _known: dict[str, int] = field(default_factory=dict)
    _spent: int = 0
    _open: dict[Path, Image.Image] = field(default_factory=dict)  # the pictures used last

    def cut(self, file: Path, box: Sequence[float], *, kind: Kind) -> tuple[str, Shape] | None:
        """A crop as a data URI, without loss unless it is so large that it has to be reduced, and how to show it.

        None where the box has nothing of the picture.

        Raises:
            ResultsError: the file is not a readable picture.
        """
        picture = self._picture(file)
        place = crop_box(box, picture.size)
        if place is None:
            return None
        part = picture.crop(place)
        factor = math.ceil(max(part.size) / _LONGEST[kind])
        if factor > 1:
            part = part.reduce(factor)
        room = _ROOM[kind]
        enlarged = max(1, min(_MOST_ENLARGED, room[0] // part.width, room[1] // part.height))
        return data_uri(part), Shape(part.width * enlarged, part.height * enlarged, enlarged / factor)

    def add(self, uris: Sequence[str | None]) -> list[int | None] | None:
        """Numbers of these crops, None for None; or None for all if they do not fit any more."""
        new = {uri for uri in uris if uri is not None and uri not in self._known}
        cost = sum(map(len, new))
        if self._spent + cost > self.budget:
            return None
        self._spent += cost
        for uri in uris:
            if uri in new and uri not in self._known:
                self._known[uri] = len(self.uris)
                self.uris.append(uri)
        return [None if uri is None else self._known[uri] for uri in uris]

    def _picture(self, file: Path) -> Image.Image:
        if file not in self._open:
            if len(self._open) == _KEPT_OPEN:
                del self._open[next(iter(self._open))]
            self._open[file] = _read(file)
        return self._open[file]


def crop_box(box: Sequence[float], size: tuple[int, int]) -> Box | None:
    """The pixels a box touches and a small margin, within a picture of that size; None where it has none."""
    x0, y0, x1, y1 = box
    width, height = size
    if not (x1 > x0 and y1 > y0 and x1 > 0 and y1 > 0 and x0 < width and y0 < height):
        return None
    margin = max(_LEAST_MARGIN, _MARGIN * min(x1 - x0, y1 - y0))
    return (
        max(0, math.floor(x0 - margin)),
        max(0, math.floor(y0 - margin)),
        min(width, math.ceil(x1 + margin)),
        min(height, math.ceil(y1 + margin)),
    )


def _read(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError) as err:  # Pillow raises SyntaxError for broken PNG chunks
        raise ResultsError(f"{file} is not a readable picture ({err}); run again, or delete it") from err
