"""Visual information fidelity, in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokbench.cards import MetricCard
from tokbench.contracts import Comparison
from tokbench.metrics.base import PairFunction, require_images

if TYPE_CHECKING:
    import torch

MIN_SIDE_PX = 41
TAPS = (17, 9, 5, 3)  # of the window at each scale; its deviation is a fifth of that
NOISE_VARIANCE = 2.0  # of the eye, in levels of 255, squared

_FLAT = 1e-10


def vif(*, reference: torch.Tensor, reconstruction: torch.Tensor) -> list[float | None]:
    """Share of the reference's information that the reconstruction still has; higher is better, 1 for equal images.

    Both images are seen as Gaussian around each pixel, at four scales, through an eye with a little noise of its own.
    What is counted are the bits the eye gets of the reference, with and without the distortion between. A
    reconstruction of higher contrast than the reference can have more than 1. Mean over R, G and B.

    Args:
        reference: uint8 ``(n, 3, h, w)`` RGB, sides of at least 41 px.
        reconstruction: the same shape.

    Returns:
        n values, None where a channel of the reference is flat and so tells nothing.

    Raises:
        MetricError: another dtype, or shapes that differ.

    Reference: Sheikh and Bovik, "Image information and visual quality", 2006, in the authors' pixel domain version
    (vifp). Checked against torchmetrics 1.9 on images in [0, 255] to 1e-6. Differs from both: float64, no small numbers
    added against division by zero, so that equal images give exactly 1. The authors' version looks at luminance.
    """
    require_images(reference=reference, reconstruction=reconstruction)
    return [_of_image(first, second) for first, second in zip(reference, reconstruction, strict=True)]


def _of_image(reference: torch.Tensor, reconstruction: torch.Tensor) -> float | None:
    """Of one image, uint8 ``(3, h, w)``: the mean over its channels."""
    shares = [_of_channel(*planes) for planes in zip(reference.double(), reconstruction.double(), strict=True)]
    known = [share for share in shares if share is not None]
    return math.fsum(known) / 3 if len(known) == 3 else None


def _of_channel(first: torch.Tensor, second: torch.Tensor) -> float | None:
    """Of one channel, float64 ``(h, w)``."""
    kept = whole = 0.0
    for scale, taps in enumerate(TAPS):
        weights = _gaussian(taps)
        if scale:
            first, second = (_blurred(values, weights)[::2, ::2] for values in (first, second))
        of_both, of_reference = _information(first, second, weights)
        kept, whole = kept + of_both, whole + of_reference
    return kept / whole if whole > 0 else None


def _information(first: torch.Tensor, second: torch.Tensor, weights: Sequence[float]) -> tuple[float, float]:
    """At one scale: what passes the distortion, and what there is."""
    import torch

    mean, other_mean = _blurred(first, weights), _blurred(second, weights)
    variance = (_blurred(first.square(), weights) - mean.square()).clamp_(min=0)
    other_variance = (_blurred(second.square(), weights) - other_mean.square()).clamp_(min=0)
    covariance = _blurred(first * second, weights) - mean * other_mean
    variance[variance < _FLAT] = 0
    # Where a side is flat, or runs against the other, nothing of it passes: what is there is noise.
    passes = (variance > 0) & (other_variance > _FLAT) & (covariance > 0)
    gain = torch.where(passes, covariance / variance.clamp(min=_FLAT), 0.0)
    noise = torch.where(passes, other_variance - gain * covariance, other_variance).clamp_(min=0)
    of_both = (1 + gain.square() * variance / (noise + NOISE_VARIANCE)).log10()
    of_reference = (1 + variance / NOISE_VARIANCE).log10()
    return of_both.sum().item(), of_reference.sum().item()


def _gaussian(taps: int) -> list[float]:
    values = [math.exp(-((place - (taps - 1) / 2) ** 2) / (2 * (taps / 5) ** 2)) for place in range(taps)]
    return [value / math.fsum(values) for value in values]


def _blurred(values: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """Where the window fits, ``(h, w)`` → ``(h - taps + 1, w - taps + 1)``; torch has no fast float64 convolution."""
    for axis in (1, 0):
        length = values.shape[axis] - len(weights) + 1
        total = values.narrow(axis, 0, length) * weights[0]
        for place, weight in enumerate(weights[1:], start=1):
            total.add_(values.narrow(axis, place, length), alpha=weight)
        values = total
    return values


def _measure(comparison: Comparison) -> list[float | None]:
    if min(comparison.reference.shape[-2:]) < MIN_SIDE_PX:
        return [None] * comparison.reference.shape[0]
    return vif(reference=comparison.reference, reconstruction=comparison.reconstruction)


METRICS = (
    PairFunction(
        card=MetricCard(
            key="vif",
            version=1,
            kind="pair",
            group="perception",
            title="Visual information fidelity",
            better="higher",
            low=0.0,
            undefined=f"sides below {MIN_SIDE_PX} px, or a colour channel of the reference is flat",
            paper="10.1109/TIP.2005.859378",
            notes="Pixel domain, mean over R, G and B on 8 bits; 1 for equal images, more where contrast is raised.",
        ),
        function=_measure,
    ),
)
