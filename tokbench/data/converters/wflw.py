"""WFLW lists: a face a line, 98 points, then (in the longer form) its box and six attributes, then the image's name."""

from __future__ import annotations

import math
from pathlib import Path

from tokbench.data.converters.annotated import Annotated, bounding_box, merged, read_text
from tokbench.errors import ManifestError
from tokbench.samples import Point, Region

N_POINTS = 98
FIVE_POINTS = (96, 97, 54, 76, 82)
"""Centres of the image-left and image-right eye, tip of the nose, image-left and image-right corner of the mouth."""

_N_BOX, _N_ATTRIBUTES = 4, 6


def parse_wflw(text: str, *, where: str) -> list[Annotated]:
    """The images of a list, one a file, in order of first mention; the box is the extent of the points where none is.

    Raises:
        ManifestError: naming ``where`` and the line.
    """
    images = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            at = f"{where} line {number}"
            face, file = _face(line, where=at)
            images.append(Annotated(file=file, where=at, regions=(face,)))
    if not images:
        raise ManifestError(f"{where} is empty; expected a face a line")
    return merged(images)


def read_wflw(path: Path) -> tuple[list[Annotated], list[str]]:
    """:func:`parse_wflw` of a file; there is nothing to note."""
    return parse_wflw(read_text(path), where=path.name), []


def _face(line: str, *, where: str) -> tuple[Region, str]:
    n_short, n_long = 2 * N_POINTS, 2 * N_POINTS + _N_BOX + _N_ATTRIBUTES
    parts = line.split()
    n = n_long if len(parts) > n_long else n_short
    if len(parts) <= n_short:
        raise ManifestError(
            f"{where} has {len(parts)} fields, expected {n_short} coordinates, perhaps 4 of a box and 6 attributes, "
            f"and an image's name"
        )
    file = line.split(maxsplit=n)[n].strip()  # names may hold spaces
    try:
        values = [float(value) for value in parts[:n]]
    except ValueError as err:
        raise ManifestError(f"{where}: {err}; expected {n} numbers before the image's name") from err
    if not all(math.isfinite(value) for value in values):
        raise ManifestError(f"{where} holds a number that is not finite")
    points: list[Point] = list(zip(values[: 2 * N_POINTS : 2], values[1 : 2 * N_POINTS : 2], strict=True))
    box = bounding_box(points)
    if n == n_long:
        x0, y0, x1, y1 = values[2 * N_POINTS : 2 * N_POINTS + _N_BOX]
        box = (x0, y0, x1, y1)
    return Region(kind="face", box=box, keypoints=tuple(points[index] for index in FIVE_POINTS)), file
