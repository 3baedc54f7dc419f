"""Structural similarity, at one scale and at five.

Both are computed in float32, in strips of rows that fit the cache, on sums and differences of the two images centred at
their means, with row sums in float64 added exactly: every image goes through the same operations whatever batch it came
in, so results are bit-for-bit independent of batch size, order and threads on a CPU. Against an all-float64 computation
the error is below 1e-6 (1e-8 to 2e-7 is typical). Without centring, as in torchmetrics on float32 input, it is 1e-6
typically and 8e-4 on flat white.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tokbench.cards import MetricCard
from tokbench.contracts import Comparison
from tokbench.errors import MetricError
from tokbench.metrics.base import PairFunction, per_comparison, require_images

if TYPE_CHECKING:
    import torch

WINDOW = 11
SIGMA = 1.5
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MIN_SIDE_PX = WINDOW * 2 ** (len(SCALE_WEIGHTS) - 1)  # 176: the window must fit the image at the coarsest scale

_STRIP_VALUES = 32_000  # fits a core's cache, and is below the size from which torch splits an operation over threads
_weights = [math.exp(-((tap - WINDOW // 2) ** 2) / (2 * SIGMA**2)) for tap in range(WINDOW)]
TAPS = tuple(weight / math.fsum(_weights) for weight in _weights)


class ScaleTerms(NamedTuple):
    """Means over channels and valid positions of one scale: of luminance × contrast-structure, and of the latter."""

    ssim: float
    contrast_structure: float


def scale_terms(
    *, reference: torch.Tensor, reconstruction: torch.Tensor, scales: Sequence[int] = (0,)
) -> list[list[ScaleTerms]]:
    """SSIM's terms of each image at each of the given scales.

    Args:
        reference: uint8 ``(n, 3, h, w)`` RGB.
        reconstruction: the same shape.
        scales: rising; scale s is the image averaged over 2 × 2 blocks s times, an odd last row or column dropped.

    Returns:
        n lists of one entry a scale.

    Raises:
        MetricError: another dtype, shapes that differ, or the 11 × 11 window does not fit at a scale.
    """
    require_images(reference=reference, reconstruction=reconstruction)
    side, needed = min(reference.shape[-2:]), WINDOW << max(scales)
    if side < needed:
        raise MetricError(f"SSIM at scale {max(scales)} needs sides of at least {needed} px, got {side} px")
    return [_image_terms(reference[row], reconstruction[row], scales) for row in range(reference.shape[0])]


def ssim(*, reference: torch.Tensor, reconstruction: torch.Tensor) -> list[float]:
    """Structural similarity of each image, in [-1, 1]; higher is better, 1 for identical images.

    Gaussian window of 11 × 11 taps with sigma 1.5, K1 0.01, K2 0.03, range 255, population (not sample) covariance,
    mean over positions where the window fits and over R, G and B. Symmetric in its arguments.

    Args:
        reference: uint8 ``(n, 3, h, w)`` RGB, sides of at least 11 px.
        reconstruction: the same shape.

    Returns:
        n values.

    Raises:
        MetricError: another dtype, shapes that differ, or a side below 11 px.

    Reference: Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", 2004, equation 13. Checked against scikit-image (``gaussian_weights``, ``data_range=255``) and the
    interior of torchmetrics' full image to 1e-6. Differs from the paper: RGB instead of grey, no reduction of large
    images beforehand. Differs from torchmetrics 1.9: that also counts the 5 px border, on reflected pixels.
    """
    return [terms[0].ssim for terms in scale_terms(reference=reference, reconstruction=reconstruction)]


def ms_ssim(
    *, reference: torch.Tensor, reconstruction: torch.Tensor, finest: Sequence[ScaleTerms] | None = None
) -> list[float]:
    """Multi-scale structural similarity of each image, in [0, 1]; higher is better, 1 for identical images.

    The product over five scales of contrast-structure terms, and of luminance at the coarsest, to the powers .0448,
    .2856, .3001, .2363 and .1333; between scales, 2 × 2 means. Terms are means over positions where the window of
    :func:`ssim` fits and over R, G and B; a negative term counts as 0.

    Args:
        reference: uint8 ``(n, 3, h, w)`` RGB, sides of at least 176 px, so that the window fits at every scale.
        reconstruction: the same shape.
        finest: the terms at scale 0, where they are already known.

    Returns:
        n values.

    Raises:
        MetricError: another dtype, shapes that differ, or a side below 176 px.

    Reference: Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment", 2003,
    equation 7. Checked against torchmetrics' terms at each scale to 1e-6. Differs from torchmetrics 1.9: that counts a
    reflected border in the coarsest scale's term (16 × 16 positions instead of 6 × 6 at 256 px), which moved results by
    up to .004 on JPEG-coded photographs; ``normalize="relu"`` there treats negative terms as here. The paper
    works on grey images.
    """
    if min(reference.shape[-2:]) < MIN_SIDE_PX:
        raise MetricError(f"MS-SSIM needs sides of at least {MIN_SIDE_PX} px, got {tuple(reference.shape[-2:])}")
    if finest is None:
        finest = [terms[0] for terms in scale_terms(reference=reference, reconstruction=reconstruction)]
    coarser = range(1, len(SCALE_WEIGHTS))
    rest = scale_terms(reference=reference, reconstruction=reconstruction, scales=coarser)
    return [_combine([first, *others]) for first, others in zip(finest, rest, strict=True)]


def _combine(terms: Sequence[ScaleTerms]) -> float:
    factors = [term.contrast_structure for term in terms[:-1]] + [terms[-1].ssim]
    return math.prod(math.pow(max(factor, 0.0), weight) for factor, weight in zip(factors, SCALE_WEIGHTS, strict=True))


def _image_terms(reference: torch.Tensor, reconstruction: torch.Tensor, scales: Sequence[int]) -> list[ScaleTerms]:
    """Terms of one image, uint8 ``(3, h, w)``, at each scale: means over its channels."""
    channels = [_channel_terms(reference[channel], reconstruction[channel], scales) for channel in range(3)]
    return [
        ScaleTerms(
            ssim=math.fsum(terms.ssim for terms in planes) / 3,
            contrast_structure=math.fsum(terms.contrast_structure for terms in planes) / 3,
        )
        for planes in zip(*channels, strict=True)
    ]


def _channel_terms(reference: torch.Tensor, reconstruction: torch.Tensor, scales: Sequence[int]) -> list[ScaleTerms]:
    """Terms of one channel, uint8 ``(h, w)``, at each scale."""
    first, second = reference.contiguous(), reconstruction.contiguous()
    terms = []
    for scale in range(max(scales) + 1):
        if scale > 0:
            first, second = _halve(first), _halve(second)
        if scale in scales:
            terms.append(_plane_terms(first, second))
    return terms


def _halve(plane: torch.Tensor) -> torch.Tensor:
    """``(h, w)`` → float32 ``(h // 2, w // 2)``: means of 2 × 2 blocks, exact down to the coarsest scale."""
    import torch

    even = plane[: plane.shape[0] // 2 * 2, : plane.shape[1] // 2 * 2]
    corners = [even[row::2, column::2].to(torch.float32) for row in (0, 1) for column in (0, 1)]
    return (corners[0] + corners[1] + corners[2] + corners[3]) / 4


def _plane_terms(first: torch.Tensor, second: torch.Tensor) -> ScaleTerms:
    """Terms of two planes ``(h, w)``, uint8 or float32, by strips of rows."""
    import torch

    height, width = first.shape[0] - WINDOW + 1, first.shape[1] - WINDOW + 1
    n_strips = math.ceil(height / max(_STRIP_VALUES // first.shape[1] - WINDOW + 1, 3 * WINDOW))
    step = math.ceil(height / n_strips)
    ssim_rows: list[float] = []
    contrast_rows: list[float] = []
    for start in range(0, height, step):
        rows = slice(start, start + step + WINDOW - 1)
        contrast, luminance = _strip_terms(first[rows].to(torch.float32), second[rows].to(torch.float32))
        ssim_rows += _row_sums(contrast * luminance)
        contrast_rows += _row_sums(contrast)
    n = height * width
    return ScaleTerms(ssim=math.fsum(ssim_rows) / n, contrast_structure=math.fsum(contrast_rows) / n)


def _strip_terms(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Contrast-structure and luminance in each window of two strips, float32 ``(h, w)``.

    With s and d the sum and difference of the strips, four blurs do: 4 cov = var s - var d, 2 (var + var) = var s +
    var d, and the same for products of means. Where the strips are equal, d is 0 and both terms are exactly 1.
    """
    mean_total_2, var_total = _moments(first + second)
    mean_difference_2, var_difference = _moments(first - second)
    contrast = ((var_total - var_difference) / 2 + C2) / ((var_total + var_difference) / 2 + C2)
    luminance = ((mean_total_2 - mean_difference_2) / 2 + C1) / ((mean_total_2 + mean_difference_2) / 2 + C1)
    return contrast, luminance


def _moments(strip: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared mean and variance in each window; centred first, so that variances do not drown in rounding."""
    centre = round(math.fsum(_row_sums(strip)) / strip.numel())
    centred = strip - centre
    mean = _blur(centred)
    variance = _blur(centred * centred) - mean * mean
    return (mean + centre) ** 2, variance


def _blur(strip: torch.Tensor) -> torch.Tensor:
    """Gaussian window over ``(h, w)`` → ``(h - 10, w - 10)``, one axis after the other."""
    height, width = strip.shape[0] - WINDOW + 1, strip.shape[1] - WINDOW + 1
    down = strip[:height] * TAPS[0]
    for tap in range(1, WINDOW):
        down.add_(strip[tap : tap + height], alpha=TAPS[tap])
    across = down[:, :width] * TAPS[0]
    for tap in range(1, WINDOW):
        across.add_(down[:, tap : tap + width], alpha=TAPS[tap])
    return across


def _row_sums(strip: torch.Tensor) -> list[float]:
    """Sums of each row in float64; adding these with ``fsum`` makes the number of threads irrelevant."""
    import torch

    sums: list[float] = strip.sum(dim=1, dtype=torch.float64).tolist()
    return sums


@per_comparison
def _finest(comparison: Comparison) -> list[ScaleTerms]:
    scales = scale_terms(reference=comparison.reference, reconstruction=comparison.reconstruction)
    return [terms[0] for terms in scales]


def _measure_ssim(comparison: Comparison) -> list[float | None]:
    if min(comparison.reference.shape[-2:]) < WINDOW:
        return [None] * comparison.reference.shape[0]
    return [terms.ssim for terms in _finest(comparison)]


def _measure_ms_ssim(comparison: Comparison) -> list[float | None]:
    reference, reconstruction = comparison.reference, comparison.reconstruction
    if min(reference.shape[-2:]) < MIN_SIDE_PX:
        return [None] * reference.shape[0]
    return list(ms_ssim(reference=reference, reconstruction=reconstruction, finest=_finest(comparison)))


METRICS = (
    PairFunction(
        card=MetricCard(
            key="ssim",
            version=1,
            kind="pair",
            group="pixel",
            title="SSIM",
            better="higher",
            low=-1.0,
            high=1.0,
            perfect=1.0,
            undefined=f"a side is shorter than the window of {WINDOW} px",
            paper="10.1109/TIP.2003.819861",
            notes="Gaussian 11 × 11, sigma 1.5, K1 0.01, K2 0.03, range 255, mean over RGB and over positions "
            "where the window fits.",
        ),
        function=_measure_ssim,
    ),
    PairFunction(
        card=MetricCard(
            key="ms_ssim",
            version=1,
            kind="pair",
            group="pixel",
            title="MS-SSIM",
            better="higher",
            low=0.0,
            high=1.0,
            perfect=1.0,
            undefined=f"a side is shorter than {MIN_SIDE_PX} px, so the window does not fit at the coarsest scale",
            paper="10.1109/ACSSC.2003.1292216",
            notes="Five scales with the standard weights, windows inside the image only, negative terms count as 0.",
        ),
        function=_measure_ms_ssim,
    ),
)
