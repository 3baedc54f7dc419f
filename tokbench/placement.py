"""Placement: how an image of any size becomes what the tokenizer sees, and the way back.

Three grids occur. The *source* grid is the sample's own. The *model* grid is what the tokenizer is given, padding
included. The *compared* grid is where metrics look: the model grid without its padding, or the source grid, as the
task says. Resampling is Pillow's, antialiased, on 8-bit pixels; nothing here touches floats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from tokbench.cards import TokenizerCard
from tokbench.errors import SampleError, UnsupportedInputError
from tokbench.samples import Box, Region
from tokbench.tasks.task import Fit, Grid

_FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Enough to undo it. Sizes are (width, height) in pixels.

    Attributes:
        source_size: of the image as loaded.
        crop: x0, y0, x1, y1 of the part of the source that is used.
        resized_size: that part after scaling.
        model_size: after padding.
        offset: x, y of the scaled part inside the model grid.
        filter: the resampling filter, used in both directions.
    """

    source_size: tuple[int, int]
    crop: tuple[int, int, int, int]
    resized_size: tuple[int, int]
    model_size: tuple[int, int]
    offset: tuple[int, int]
    filter: str

    def regions(self, regions: Sequence[Region], *, compare_on: Grid) -> tuple[Region, ...]:
        """The regions (in source pixels) in pixels of the compared grid; parts outside it are kept as they are."""
        if compare_on == "source":
            return tuple(regions)
        x0, y0, x1, y1 = self.crop
        scale_x, scale_y = self.resized_size[0] / (x1 - x0), self.resized_size[1] / (y1 - y0)
        moved = []
        for region in regions:
            left, top, right, bottom = region.box
            box: Box = (
                (left - x0) * scale_x,
                (top - y0) * scale_y,
                (right - x0) * scale_x,
                (bottom - y0) * scale_y,
            )
            points = tuple(((x - x0) * scale_x, (y - y0) * scale_y) for x, y in region.keypoints)
            moved.append(replace(region, box=box, keypoints=points))
        return tuple(moved)


def plan(source_size: tuple[int, int], fit: Fit, *, size_multiple: int = 1) -> Placement:
    """Where an image of ``source_size`` (width, height) goes under ``fit``.

    ``size_multiple`` only matters for ``fit.mode == "none"``, the one mode whose grid follows the image.
    """
    width, height = source_size
    if width < 1 or height < 1:
        raise SampleError(f"image has no pixels: {width}×{height}")
    whole = (0, 0, width, height)
    if fit.mode == "none" or fit.size_px is None:
        padded = tuple(math.ceil(side / size_multiple) * size_multiple for side in source_size)
        return Placement(
            source_size=source_size,
            crop=whole,
            resized_size=source_size,
            model_size=(padded[0], padded[1]),
            offset=(0, 0),
            filter=fit.filter,
        )
    size = fit.size_px
    if fit.mode == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return Placement(
            source_size=source_size,
            crop=(left, top, left + side, top + side),
            resized_size=(size, size),
            model_size=(size, size),
            offset=(0, 0),
            filter=fit.filter,
        )
    scale = min(size / width, size / height)
    resized = (min(size, math.ceil(width * scale)), min(size, math.ceil(height * scale)))
    return Placement(
        source_size=source_size,
        crop=whole,
        resized_size=resized,
        model_size=(size, size),
        offset=((size - resized[0]) // 2, (size - resized[1]) // 2),
        filter=fit.filter,
    )


def place(pixels: np.ndarray, placement: Placement) -> np.ndarray:
    """uint8 ``(h, w, 3)`` on the source grid → uint8 on the model grid."""
    content = _resize(pixels, box=placement.crop, size=placement.resized_size, name=placement.filter)
    width, height = placement.model_size
    if content.shape[:2] == (height, width):
        return content
    left, top = placement.offset
    after = (height - top - content.shape[0], width - left - content.shape[1])
    if (left, top) == (0, 0) and placement.resized_size == placement.source_size:
        # Mirrored, not black: a hard edge inside the tokenizer's last block would cost it quality it did not lose.
        return np.pad(content, ((0, after[0]), (0, after[1]), (0, 0)), mode="symmetric")
    return np.pad(content, ((top, after[0]), (left, after[1]), (0, 0)))


def restore(model_pixels: np.ndarray, placement: Placement, *, compare_on: Grid) -> np.ndarray:
    """uint8 ``(h, w, 3)`` on the model grid → uint8 on the compared grid: padding off, then resized if needed."""
    width, height = placement.resized_size
    left, top = placement.offset
    content = model_pixels[top : top + height, left : left + width]
    if compare_on == "model":
        return np.ascontiguousarray(content)
    return _resize(content, box=(0, 0, width, height), size=placement.source_size, name=placement.filter)


def check_size(card: TokenizerCard, model_size: tuple[int, int]) -> None:
    """Raise UnsupportedInputError unless the tokenizer takes images of this (width, height)."""
    width, height = model_size
    if card.fixed_size_px is not None and (width, height) != (card.fixed_size_px, card.fixed_size_px):
        side = card.fixed_size_px
        raise UnsupportedInputError(
            f"{card.name} takes {side}×{side} images, got {width}×{height}; choose a task of that size, "
            f"or `--task folder --data DIR --size {side}`"
        )
    if width % card.size_multiple or height % card.size_multiple:
        raise UnsupportedInputError(
            f"{card.name} takes sides that are multiples of {card.size_multiple} px, got {width}×{height}"
        )


def _resize(pixels: np.ndarray, *, box: tuple[int, int, int, int], size: tuple[int, int], name: str) -> np.ndarray:
    x0, y0, x1, y1 = box
    part = pixels[y0:y1, x0:x1]
    if (x1 - x0, y1 - y0) == size:
        return np.ascontiguousarray(part)
    return np.asarray(Image.fromarray(np.ascontiguousarray(part)).resize(size, _FILTERS[name]))
