"""Pixel errors: PSNR by image, PSNR of the whole set, mean absolute error.

All work on the 8-bit values that were compared, in integers, so the numbers do not depend on batch size, order,
threads or device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tokbench.cards import MetricCard
from tokbench.contracts import Comparison, Feature, Summary
from tokbench.metrics.base import PairFunction, of_images, require_images
from tokbench.metrics.state import Field, State

if TYPE_CHECKING:
    import torch

PEAK = 255
CAP_DB = 100.0


def squared_errors(*, reference: torch.Tensor, reconstruction: torch.Tensor) -> list[int]:
    """Sum of squared differences of each image over channels and pixels, in 8-bit levels squared; exact.

    Args:
        reference: uint8 ``(n, 3, h, w)`` RGB.
        reconstruction: the same shape.

    Raises:
        MetricError: another dtype, or shapes that differ.
    """
    import torch

    require_images(reference=reference, reconstruction=reconstruction)
    difference = (reference.to(torch.int16) - reconstruction.to(torch.int16)).to(torch.int32)
    totals: list[int] = (difference * difference).sum(dim=(1, 2, 3), dtype=torch.int64).tolist()
    return totals


def decibels(squared_error: int, n_values: int) -> float:
    """PSNR in dB of a sum of squared 8-bit errors over ``n_values`` numbers, in [0, 100]: 100 where there is no error.

    The cap is part of the metric's version. It also binds for errors below 255^2 * 1e-10 a value on average, that is a
    single wrong level in more than 153 787 values.
    """
    if squared_error == 0:
        return CAP_DB
    return min(CAP_DB, 10 * math.log10(PEAK**2 * n_values / squared_error))


def psnr(*, reference: torch.Tensor, reconstruction: torch.Tensor) -> list[float]:
    """Peak signal-to-noise ratio of each image in dB, in [0, 100]; higher is better.

    10 * log10(255^2 / mse), mse over channels and pixels on 8 bits, capped at 100 so that identical images have a
    finite score.

    Args:
        reference: uint8 ``(n, 3, h, w)`` RGB.
        reconstruction: the same shape.

    Returns:
        n values.

    Raises:
        MetricError: another dtype, or shapes that differ.

    Reference: the definition. Checked against torchmetrics (dim given, data_range 255) and scikit-image to 1e-5 dB.
    Differs from them: the cap; both give infinity for identical images. torchmetrics without ``dim`` pools the error
    over the batch first, which is ``psnr_pooled``.
    """
    n_values = reference[0].numel() if reference.shape[0] else 0
    return [decibels(error, n_values) for error in squared_errors(reference=reference, reconstruction=reconstruction)]


def mae(*, reference: torch.Tensor, reconstruction: torch.Tensor) -> list[float]:
    """Mean absolute error of each image in 8-bit levels, in [0, 255]; lower is better.

    Args:
        reference: uint8 ``(n, 3, h, w)`` RGB.
        reconstruction: the same shape.

    Returns:
        n values, over channels and pixels.

    Raises:
        MetricError: another dtype, or shapes that differ.
    """
    import torch

    require_images(reference=reference, reconstruction=reconstruction)
    difference = (reference.to(torch.int16) - reconstruction.to(torch.int16)).abs()
    totals: list[int] = difference.sum(dim=(1, 2, 3), dtype=torch.int64).tolist()
    return [total / reference[0].numel() for total in totals]


@dataclass(frozen=True, kw_only=True)
class PooledPsnr:
    """PSNR of the whole set: dB of the mean squared error over every value of every image.

    One bad image weighs more here than in the mean of dB, and a large image more than a small one. The state is two
    whole numbers an image, so any split of the set gives the same value exactly.
    """

    card: MetricCard
    features: tuple[Feature, ...] = ()

    def new_state(self) -> State:
        return State({"errors": Field(reduction="cat", dtype="int64", shape=(2,))})

    def update(self, state: State, comparison: Comparison) -> None:
        errors = squared_errors(reference=comparison.reference, reconstruction=comparison.reconstruction)
        values = comparison.reference[0].numel()
        state.add("errors", np.array([(error, values) for error in errors], np.int64))

    def compute(self, state: State) -> Summary:
        rows = state["errors"]
        n = len(rows)
        if n == 0:
            return Summary(value=None, n=0, reason="no images were compared")
        error, values = (int(total) for total in rows.sum(axis=0))
        value = decibels(error, values)
        influences = np.zeros(n)
        if error and value < CAP_DB:  # at the cap no single image moves it
            influences = 10 / math.log(10) * n * (rows[:, 1] / values - rows[:, 0] / error)
        return Summary(
            value=value,
            n=n,
            details={"mse": error / values, "identical_images": int((rows[:, 0] == 0).sum())},
            influences=influences,
        )


METRICS = (
    PairFunction(
        card=MetricCard(
            key="psnr",
            version=1,
            kind="pair",
            group="pixel",
            title="PSNR",
            unit="dB",
            better="higher",
            low=0.0,
            high=CAP_DB,
            perfect=CAP_DB,
            notes="Mean of per-image dB on 8-bit RGB, each image capped at 100 dB.",
        ),
        function=of_images(psnr),
    ),
    PooledPsnr(
        card=MetricCard(
            key="psnr_pooled",
            version=1,
            kind="set",
            group="pixel",
            title="PSNR of the pooled error",
            unit="dB",
            better="higher",
            low=0.0,
            high=CAP_DB,
            perfect=CAP_DB,
            aggregate="pooled",
            undefined="no images were compared",
            notes="dB of the mean squared error over all values of the set, as the torchmetrics class computes it; "
            "never above the mean of per-image dB when images are of one size and none is capped.",
        ),
    ),
    PairFunction(
        card=MetricCard(
            key="mae",
            version=1,
            kind="pair",
            group="pixel",
            title="Mean absolute error",
            unit="levels",
            better="lower",
            low=0.0,
            high=255.0,
            perfect=0.0,
            notes="In 8-bit levels, over channels and pixels.",
        ),
        function=of_images(mae),
    ),
)
