"""Pixel error inside annotated words and faces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokbench.cards import MetricCard, MetricGroup
from tokbench.metrics.base import RegionFunction, require_images
from tokbench.metrics.pixel import CAP_DB, decibels
from tokbench.samples import Box, RegionKind

if TYPE_CHECKING:
    import torch


def whole_pixels(box: Box, *, height_px: int, width_px: int) -> tuple[int, int, int, int] | None:
    """The pixels a box touches, as half-open x0, y0, x1, y1 inside the image; None if none.

    The box is clipped to the image, then the low edges are rounded down and the high edges up. A box without area, or
    none of it inside the image, touches nothing.
    """
    x0, y0 = max(box[0], 0.0), max(box[1], 0.0)
    x1, y1 = min(box[2], float(width_px)), min(box[3], float(height_px))
    if not (x1 > x0 and y1 > y0):
        return None
    return math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)


def psnr_boxes(*, reference: torch.Tensor, reconstruction: torch.Tensor, boxes: Sequence[Box]) -> list[float | None]:
    """PSNR inside each box in dB, in [0, 100]; higher is better; None for a box that touches no pixel.

    Integer-exact as :func:`tokbench.metrics.pixel.psnr`, with the same cap. Pixels in two boxes count in both.

    Args:
        reference: uint8 ``(3, h, w)`` RGB.
        reconstruction: the same shape.
        boxes: x0, y0, x1, y1 in pixels of these images, rounded outwards (:func:`whole_pixels`).

    Raises:
        MetricError: another dtype, or shapes that differ.
    """
    import torch

    require_images(reference=reference[None], reconstruction=reconstruction[None])
    height, width = reference.shape[-2:]
    difference = (reference.to(torch.int16) - reconstruction.to(torch.int16)).to(torch.int32)
    errors = (difference * difference).sum(dim=0, dtype=torch.int64)
    values: list[float | None] = []
    for box in boxes:
        inside = whole_pixels(box, height_px=height, width_px=width)
        if inside is None:
            values.append(None)
            continue
        x0, y0, x1, y1 = inside
        part = errors[y0:y1, x0:x1]
        values.append(decibels(int(part.sum()), 3 * part.numel()))
    return values


def _metric(key: str, title: str, *, group: MetricGroup, kind: RegionKind) -> RegionFunction:
    return RegionFunction(
        card=MetricCard(
            key=key,
            version=1,
            kind="region",
            group=group,
            title=title,
            unit="dB",
            better="higher",
            low=0.0,
            high=CAP_DB,
            perfect=CAP_DB,
            undefined=f"there is no annotated {kind} with area inside the image",
            notes=f"PSNR of the pixels each {kind}'s box touches (clipped to the image, rounded outwards), capped at "
            f"100 dB; the mean counts every {kind} once.",
        ),
        region_kind=kind,
        function=psnr_boxes,
    )


METRICS = (
    _metric("psnr_word", "PSNR in words", group="text", kind="word"),
    _metric("psnr_face", "PSNR in faces", group="face", kind="face"),
)
