"""Thin shells that turn pure functions into metric objects, and the checks they share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar
from weakref import WeakKeyDictionary

from tokbench.cards import MetricCard
from tokbench.contracts import Comparison, Feature, RegionValue, Summary, Timing
from tokbench.errors import MetricError
from tokbench.samples import Box, RegionKind

if TYPE_CHECKING:
    import torch

    from tokbench.metrics.cost import Footprint

T = TypeVar("T")

OUTSIDE = "its box has no area inside the image"


class ImageFunction(Protocol):
    """Pure maths of two image batches: uint8 ``(n, 3, h, w)`` each → n numbers."""

    def __call__(self, *, reference: torch.Tensor, reconstruction: torch.Tensor) -> Sequence[float]: ...


class BoxFunction(Protocol):
    """Pure maths of two images and boxes in them: uint8 ``(3, h, w)`` each → one number a box, None if undefined."""

    def __call__(
        self, *, reference: torch.Tensor, reconstruction: torch.Tensor, boxes: Sequence[Box]
    ) -> Sequence[float | None]: ...


@dataclass(frozen=True, kw_only=True)
class PairFunction:
    """A :class:`~tokbench.contracts.PairMetric` from a function of a comparison (see :func:`of_images`)."""

    card: MetricCard
    function: Callable[[Comparison], list[float | None]]
    features: tuple[Feature, ...] = ()

    def measure(self, comparison: Comparison) -> list[float | None]:
        return self.function(comparison)


@dataclass(frozen=True, kw_only=True)
class RegionFunction:
    """A :class:`~tokbench.contracts.RegionMetric` from a function of two images and boxes."""

    card: MetricCard
    region_kind: RegionKind
    function: BoxFunction
    features: tuple[Feature, ...] = ()

    def measure_regions(self, comparison: Comparison) -> list[dict[int, RegionValue]]:
        measured = []
        for row, regions in enumerate(comparison.regions):
            indices = [index for index, region in enumerate(regions) if region.kind == self.region_kind]
            values: Sequence[float | None] = ()
            if indices:
                values = self.function(
                    reference=comparison.reference[row],
                    reconstruction=comparison.reconstruction[row],
                    boxes=[regions[index].box for index in indices],
                )
            measured.append(
                {
                    index: RegionValue(value=value, reason="" if value is not None else OUTSIDE)
                    for index, value in zip(indices, values, strict=True)
                }
            )
        return measured


@dataclass(frozen=True, kw_only=True)
class CostFunction:
    """A :class:`~tokbench.contracts.CostMetric` from a function of the timings."""

    card: MetricCard
    function: Callable[[Sequence[Timing]], Summary]
    features: tuple[Feature, ...] = ()

    def summarise(self, timings: Sequence[Timing], *, footprint: Footprint | None = None) -> Summary:  # noqa: ARG002
        return self.function(timings)


def of_images(function: ImageFunction, *, min_side_px: int = 1) -> Callable[[Comparison], list[float | None]]:
    """A function of a comparison from a function of its images; None for images with a side below ``min_side_px``."""

    def measure(comparison: Comparison) -> list[float | None]:
        if min(comparison.reference.shape[-2:]) < min_side_px:
            return [None] * comparison.reference.shape[0]
        return list(function(reference=comparison.reference, reconstruction=comparison.reconstruction))

    return measure


def per_comparison(function: Callable[[Comparison], T]) -> Callable[[Comparison], T]:
    """Compute once for each comparison, so that metrics can share work; forgotten with the comparison itself."""
    known: WeakKeyDictionary[Comparison, T] = WeakKeyDictionary()

    @functools.wraps(function)
    def shared(comparison: Comparison) -> T:
        if comparison not in known:
            known[comparison] = function(comparison)
        return known[comparison]

    return shared


def require_images(*, reference: torch.Tensor, reconstruction: torch.Tensor) -> None:
    """Raise MetricError unless both are uint8 ``(n, 3, h, w)`` of one shape, with at least one pixel."""
    for name, images in (("reference", reference), ("reconstruction", reconstruction)):
        shape = tuple(images.shape)
        if str(images.dtype) != "torch.uint8" or len(shape) != 4 or shape[1] != 3 or 0 in shape[2:]:
            raise MetricError(f"{name} must be uint8 (n, 3, h, w), got {images.dtype} {shape}; metrics compare 8 bits")
    if reference.shape != reconstruction.shape:
        raise MetricError(
            f"reference {tuple(reference.shape)} and reconstruction {tuple(reconstruction.shape)} differ in shape; "
            "restore the reconstruction to the compared grid first"
        )
