"""Bringing a face to the frame its recogniser was trained on, from five annotated points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tokbench.samples import Point

ARCFACE_112: tuple[Point, ...] = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
"""Where ArcFace recognisers expect the five points in their 112 px input (arXiv 1801.07698, released code)."""


def similarity(points: Sequence[Point], template: Sequence[Point]) -> np.ndarray | None:
    """The rotation, uniform scale and shift that bring ``points`` nearest to ``template`` in the least-squares sense.

    Umeyama's solution (1991) for the plane, in complex numbers; it never mirrors.

    Args:
        points: n points in pixels of the image.
        template: where they belong, n points in pixels of the chip.

    Returns:
        float64 ``(2, 3)``: chip = matrix · (x, y, 1); None if there are not n points or all are in one place.
    """
    if len(points) != len(template):
        return None
    source = np.array([complex(x, y) for x, y in points])
    target = np.array([complex(x, y) for x, y in template])
    centred = source - source.mean()
    spread = float((np.abs(centred) ** 2).sum())
    if not np.isfinite(spread) or spread < 1e-6:
        return None
    turn = (np.conj(centred) * (target - target.mean())).sum() / spread
    shift = target.mean() - turn * source.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def chip(image: np.ndarray, matrix: np.ndarray, *, side_px: int) -> np.ndarray:
    """uint8 ``(h, w, 3)`` → uint8 ``(side, side, 3)``: bilinear, black outside the image, without antialiasing."""
    import cv2

    warped: np.ndarray = cv2.warpAffine(image, matrix, (side_px, side_px), flags=cv2.INTER_LINEAR, borderValue=0.0)
    return warped


def smooth_chip(image: np.ndarray, matrix: np.ndarray, *, side_px: int) -> np.ndarray:
    """As :func:`chip`, but a face k times as large as the chip is sampled k times as densely and averaged.

    So a large face loses its detail by averaging and not by skipping pixels. k is a whole number, at most 16.
    """
    import cv2

    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    times = int(np.clip(np.floor(1 / scale), 1, 16))
    if times == 1:
        return chip(image, matrix, side_px=side_px)
    dense = matrix * times
    dense[:, 2] += (times - 1) / 2  # the centre of a chip pixel is the centre of its k by k samples
    warped = chip(image, dense, side_px=side_px * times)
    averaged: np.ndarray = cv2.resize(warped, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return averaged
