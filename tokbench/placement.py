"""Placement: how an image of any size becomes what the tokenizer sees, and the way back.

Three grids occur. The *source* grid is the sample's own. The *model* grid is what the tokenizer is given, padding
included. The *compared* grid is where metrics look: the model grid without its padding, or the source grid, as the
task says. Resampling is on 8-bit pixels, by Pillow and antialiased unless the task says otherwise; nothing here
touches floats.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from tokbench.cards import TokenizerCard
from tokbench.errors import MissingExtraError, SampleError, UnsupportedInputError
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
        halved_sizes: what that part goes through before it is scaled, each step with a box filter.
        resized_size: that part after scaling.
        cut: x0, y0, x1, y1 of what is kept of the scaled part: the content.
        model_size: after padding.
        offset: x, y of the content inside the model grid.
        filter: the resampling filter, used in both directions.
    """

    source_size: tuple[int, int]
    crop: tuple[int, int, int, int]
    halved_sizes: tuple[tuple[int, int], ...] = ()
    resized_size: tuple[int, int]
    cut: tuple[int, int, int, int]
    model_size: tuple[int, int]
    offset: tuple[int, int]
    filter: str

    @property
    def content_size(self) -> tuple[int, int]:
        """Width and height of what is left of the image on the model grid."""
        x0, y0, x1, y1 = self.cut
        return x1 - x0, y1 - y0

    def regions(self, regions: Sequence[Region], *, compare_on: Grid) -> tuple[Region, ...]:
        """The regions (in source pixels) in pixels of the compared grid; parts outside it are kept as they are."""
        if compare_on == "source":
            return tuple(regions)
        x0, y0, x1, y1 = self.crop
        scale_x, scale_y = self.resized_size[0] / (x1 - x0), self.resized_size[1] / (y1 - y0)
        cut_x, cut_y = self.cut[:2]

        def move(x: float, y: float) -> tuple[float, float]:
            return (x - x0) * scale_x - cut_x, (y - y0) * scale_y - cut_y

        moved = []
        for region in regions:
            left, top, right, bottom = region.box
            box: Box = (*move(left, top), *move(right, bottom))
            moved.append(replace(region, box=box, keypoints=tuple(move(*point) for point in region.keypoints)))
        return tuple(moved)


def plan(source_size: tuple[int, int], fit: Fit, *, size_multiple: int = 1) -> Placement:
    """Where an image of ``source_size`` (width, height) goes under ``fit``.

    ``size_multiple`` only matters for ``fit.mode == "none"``, the one mode whose grid follows the image.
    """
    width, height = source_size
    if width < 1 or height < 1:
        raise SampleError(f"image has no pixels: {width}×{height}")
    if fit.mode == "none" or fit.size_px is None:
        padded = tuple(math.ceil(side / size_multiple) * size_multiple for side in source_size)
        return _padded(source_size, resized=source_size, model=(padded[0], padded[1]), offset=(0, 0), fit=fit)
    size = fit.size_px
    if fit.mode == "crop":
        return _square(source_size, size, fit) if fit.method == "square" else _scaled_then_cut(source_size, size, fit)
    scale = min(size / width, size / height)
    resized = (min(size, math.ceil(width * scale)), min(size, math.ceil(height * scale)))
    offset = ((size - resized[0]) // 2, (size - resized[1]) // 2)
    return _padded(source_size, resized=resized, model=(size, size), offset=offset, fit=fit)


def _padded(
    source: tuple[int, int], *, resized: tuple[int, int], model: tuple[int, int], offset: tuple[int, int], fit: Fit
) -> Placement:
    return Placement(
        source_size=source,
        crop=(0, 0, *source),
        resized_size=resized,
        cut=(0, 0, *resized),
        model_size=model,
        offset=offset,
        filter=fit.filter,
    )


def _square(source: tuple[int, int], size: int, fit: Fit) -> Placement:
    width, height = source
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return Placement(
        source_size=source,
        crop=(left, top, left + side, top + side),
        resized_size=(size, size),
        cut=(0, 0, size, size),
        model_size=(size, size),
        offset=(0, 0),
        filter=fit.filter,
    )


def _scaled_then_cut(source: tuple[int, int], size: int, fit: Fit) -> Placement:
    """The crops of other projects; which rounds where is what tells them apart (see :class:`Fit`)."""
    halved = tuple(_halvings(source, size)) if fit.method == "adm" else ()
    width, height = halved[-1] if halved else source
    short = min(width, height)
    if fit.method == "short_side":
        resized = tuple(size if side == short else int(size * side / short) for side in (width, height))
        left, top = (round((side - size) / 2) for side in resized)  # halves to even, as CenterCrop rounds
    else:
        resized = tuple(round(side * (size / short)) for side in (width, height))
        left, top = ((side - size) // 2 for side in resized)
    return Placement(
        source_size=source,
        crop=(0, 0, *source),
        halved_sizes=halved,
        resized_size=(resized[0], resized[1]),
        cut=(left, top, left + size, top + size),
        model_size=(size, size),
        offset=(0, 0),
        filter=fit.filter,
    )


def _halvings(source: tuple[int, int], size: int) -> Iterator[tuple[int, int]]:
    width, height = source
    while min(width, height) >= 2 * size:
        width, height = width // 2, height // 2
        yield width, height


def place(pixels: np.ndarray, placement: Placement) -> np.ndarray:
    """uint8 ``(h, w, 3)`` on the source grid → uint8 on the model grid."""
    x0, y0, x1, y1 = placement.crop
    scaled = pixels[y0:y1, x0:x1]
    for size in placement.halved_sizes:
        scaled = _resize(scaled, size=size, name="box")
    scaled = _resize(scaled, size=placement.resized_size, name=placement.filter)
    x0, y0, x1, y1 = placement.cut
    content = np.ascontiguousarray(scaled[y0:y1, x0:x1])
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
    width, height = placement.content_size
    left, top = placement.offset
    content = model_pixels[top : top + height, left : left + width]
    if compare_on == "model":
        return np.ascontiguousarray(content)
    return _resize(content, size=placement.source_size, name=placement.filter)


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


def _resize(pixels: np.ndarray, *, size: tuple[int, int], name: str) -> np.ndarray:
    """uint8 ``(h, w, 3)`` → that (width, height); unchanged where it has it already."""
    pixels = np.ascontiguousarray(pixels)
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    if name == "cv2_linear":
        return _resize_cv2(pixels, size)
    return np.asarray(Image.fromarray(pixels).resize(size, _FILTERS[name]))


def _resize_cv2(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    try:
        import cv2
    except ImportError as err:
        raise MissingExtraError("the filter cv2_linear is OpenCV's own: run `pip install opencv-python`") from err
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR), np.uint8)
