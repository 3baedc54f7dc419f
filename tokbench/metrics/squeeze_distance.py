"""A perceptual distance that runs everywhere: SqueezeNet's activations, every channel counting the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench.cards import MetricCard
from tokbench.metrics.perceptual import Distance, NetworkDistance, summed, unit_difference
from tokbench.networks import squeezenet
from tokbench.weights.catalogue import known
from tokbench.weights.loading import load_numpy_pickle

if TYPE_CHECKING:
    import torch


class SqueezeDistance:
    """Distance of SqueezeNet's activations; lower is better, 0 for equal images.

    LPIPS's formula without learned weights: the sum over seven taps of the mean over positions of squared differences
    of unit-normalised activations, every channel counting 1. The weights are Caffe's, so neither the network nor the
    number is that of the lpips package's ``squeeze``, whose channel weights were fitted to torchvision's network.

    Reference: the formula is Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric",
    2018, equation 1 with weights of 1. Checked against the package lpips 0.1.4 (``lpips=False``) with the same weights.
    """

    def __init__(self, network: squeezenet.SqueezeNet) -> None:
        self._network = network

    def __call__(self, reference: torch.Tensor, reconstruction: torch.Tensor) -> torch.Tensor:
        """uint8 ``(n, 3, h, w)`` RGB each → float64 ``(n,)``, in [0, 14]."""
        sides = (self._network.taps(squeezenet.normalised(images)) for images in (reference, reconstruction))
        return summed([unit_difference(first, second) for first, second in zip(*sides, strict=True)])


def _build(device: str) -> Distance:
    return SqueezeDistance(squeezenet.SqueezeNet(load_numpy_pickle(known("squeezenet")), device=device))


METRICS = (
    NetworkDistance(
        card=MetricCard(
            key="squeeze_distance",
            version=1,
            kind="pair",
            group="perception",
            title="Distance in SqueezeNet",
            better="lower",
            low=0.0,
            high=14.0,
            perfect=0.0,
            undefined=f"SqueezeNet needs sides of at least {squeezenet.MIN_SIDE_PX} px",
            paper="arXiv:1602.07360",
            notes=(
                "Not LPIPS: the same formula on SqueezeNet 1.1 with Caffe's weights, and no learned channel weights, "
                "so values are some ten times as large. Runs on a fresh machine. Input: the 8-bit images of the "
                "compared grid, at its size and not resized."
            ),
        ),
        weights=(known("squeezenet"),),
        build=_build,
        min_side_px=squeezenet.MIN_SIDE_PX,
    ),
)
