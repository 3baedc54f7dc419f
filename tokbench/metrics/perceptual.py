"""Distances between the activations of a network: what LPIPS, DISTS and the SqueezeNet distance share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from tokbench.cards import MetricCard
from tokbench.contracts import Comparison, Feature
from tokbench.engines.base import spread
from tokbench.metrics.base import require_images
from tokbench.once import Once
from tokbench.weights.files import WeightsFile, missing_weights

if TYPE_CHECKING:
    import torch

_PIXELS = 16 * 256 * 256  # of a side, at once on a GPU; VGG16's activations take a kilobyte a pixel


class Distance(Protocol):
    """A loaded network and what is made of its activations."""

    def __call__(self, reference: torch.Tensor, reconstruction: torch.Tensor) -> torch.Tensor:
        """uint8 ``(n, 3, h, w)`` RGB each, on its device → float64 ``(n,)``, exactly 0 for equal images."""
        ...


@dataclass(frozen=True, kw_only=True)
class NetworkDistance:
    """A :class:`~tokbench.contracts.PairMetric` from a distance whose network needs weights.

    Both sides go through the network here and no activation is kept: those of an image in VGG16 take 160 times the
    memory of its pixels, and reading them back from a disk would cost what computing them does. On a CPU each pair
    goes through alone, on one core, so that no value depends on its batch to the last bit; on a GPU several pairs do,
    and values may differ in the last digits of float32.

    Attributes:
        weights: every file the distance needs.
        build: device → the distance; called at most once a device.
        min_side_px: below it the value is undefined.
    """

    card: MetricCard
    weights: tuple[WeightsFile, ...]
    build: Callable[[str], Distance]
    min_side_px: int
    device: str = "cpu"
    features: tuple[Feature, ...] = ()

    def unavailable(self) -> str:
        """Why it cannot run, every missing file with its command; "" if it can."""
        return joined_reasons(missing_weights(weights) for weights in self.weights)

    def on_device(self, device: str) -> NetworkDistance:
        return replace(self, device=device)

    def measure(self, comparison: Comparison) -> list[float | None]:
        """n distances; None for images with a side below ``min_side_px``."""
        reference, reconstruction = comparison.reference, comparison.reconstruction
        require_images(reference=reference, reconstruction=reconstruction)
        n = reference.shape[0]
        if min(reference.shape[-2:]) < self.min_side_px:
            return [None] * n
        distance = _loader(self.build, self.device)()
        if self.device == "cpu":
            pairs = [(reference[row : row + 1], reconstruction[row : row + 1]) for row in range(n)]
            return [value for values in spread(lambda pair: _run(distance, *pair), pairs) for value in values]
        values: list[float | None] = []
        step = max(1, _PIXELS // (reference.shape[2] * reference.shape[3]))
        for start in range(0, n, step):
            rows = slice(start, start + step)
            values += _run(distance, reference[rows].to(self.device), reconstruction[rows].to(self.device))
        return values


@functools.cache
def _loader(build: Callable[[str], Distance], device: str) -> Once[Distance]:
    return Once(lambda: build(device))


def _run(distance: Distance, reference: torch.Tensor, reconstruction: torch.Tensor) -> list[float]:
    import torch

    with torch.inference_mode():  # of this thread only
        return [float(value) for value in distance(reference, reconstruction).tolist()]


def joined_reasons(reasons: Iterable[str]) -> str:
    """One reason ``what: command`` from several, empty ones left out: ``what; what: command && command``."""
    split = [reason.partition(": ") for reason in reasons if reason]
    if not split:
        return ""
    what = "; ".join(dict.fromkeys(part[0] for part in split))
    commands = " && ".join(dict.fromkeys(part[2] for part in split if part[2]))
    return f"{what}: {commands}"


def unit_difference(
    first: torch.Tensor, second: torch.Tensor, *, weights: torch.Tensor | None = None, epsilon: float = 1e-10
) -> torch.Tensor:
    """Mean over positions of the weighted squared difference of unit-normalised activations.

    At each position the channels of either map are divided by their Euclidean norm plus ``epsilon``.

    Args:
        first, second: float32 ``(n, c, h, w)``.
        weights: float32 ``(c,)``; None counts every channel as it is.
        epsilon: what the lpips package 0.1.4 adds.

    Returns:
        float64 ``(n,)``; in [0, 2] without weights where activations are not negative.
    """
    difference = first / (first.square().sum(1, keepdim=True).sqrt() + epsilon)
    difference -= second / (second.square().sum(1, keepdim=True).sqrt() + epsilon)
    squares = difference.square_()
    if weights is not None:
        squares *= weights.view(1, -1, 1, 1)
    positions = squares.shape[2] * squares.shape[3]
    return squares.sum(1).double().sum((1, 2)) / positions


def summed(terms: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum of float64 ``(n,)`` terms, in their order."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
