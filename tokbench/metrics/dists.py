"""DISTS: structure and texture of a network's activations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tokbench.cards import MetricCard
from tokbench.errors import WeightsError
from tokbench.metrics.perceptual import Distance, NetworkDistance, summed
from tokbench.networks import vgg16
from tokbench.weights.catalogue import known
from tokbench.weights.loading import load_state_dict

if TYPE_CHECKING:
    import torch

SHORT_SIDE_PX = 256
CHANNELS = (3, *vgg16.CHANNELS)
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

_C = 1e-6
_WINDOW = (0.5, 1.0, 0.5)  # Hanning of five taps without its zeros


class Dists:
    """Deep image structure and texture similarity, as a distance; lower is better, 0 for equal images.

    One minus the weighted sum, over the channels of the RGB image and of five stages of VGG16, of two terms: of means
    (texture) and of covariance (structure). VGG16 pools by the root of a Hanning-weighted mean of squares. Images whose
    short side is above 256 px are reduced to 256 first (bilinear, antialiased, 8 bits), as in the original.

    Args:
        network: VGG16.
        weights: ``alpha`` and ``beta``, ``(1, 1475, 1, 1)`` each; only their ratio to the sum of all counts.
        device: where it computes.

    Raises:
        WeightsError: alpha or beta are missing or of another shape.

    Reference: Ding, Ma, Wang and Simoncelli, "Image quality assessment: unifying structure and texture similarity",
    2020. Checked against dingkeyan93/DISTS at 1267d8c, run in float64 with the same weights, to 1e-4 (measured: 3e-5;
    the original's own float32 is up to 5e-4 from that where distances are small, because it subtracts from 1 last).
    Differs from it: moments in float64, and covariance as a mean of products of deviations where that has a difference
    of means, which cancels; so equal images give exactly 0.
    """

    def __init__(self, network: vgg16.Vgg16, weights: Mapping[str, torch.Tensor], *, device: str = "cpu") -> None:
        import torch

        self._network = network
        shape = (1, sum(CHANNELS), 1, 1)
        for key in ("alpha", "beta"):
            if key not in weights or tuple(weights[key].shape) != shape:
                got = tuple(weights[key].shape) if key in weights else "nothing"
                raise WeightsError(f"DISTS: expected {key} of shape {shape}, got {got}")
        alpha, beta = (weights[key].detach().double().flatten() for key in ("alpha", "beta"))
        total = alpha.sum() + beta.sum()
        self._alpha = torch.split((alpha / total).to(device), list(CHANNELS))
        self._beta = torch.split((beta / total).to(device), list(CHANNELS))

    def __call__(self, reference: torch.Tensor, reconstruction: torch.Tensor) -> torch.Tensor:
        """uint8 ``(n, 3, h, w)`` RGB each → float64 ``(n,)``."""
        first, second = (_reduced(images).float() / 255 for images in (reference, reconstruction))
        terms = [_distance(first, second, self._alpha[0], self._beta[0])]
        sides = (self._network.taps(_normalised(values), pool=l2_pool) for values in (first, second))
        for ours, theirs, alpha, beta in zip(*sides, self._alpha[1:], self._beta[1:], strict=True):
            terms.append(_distance(ours, theirs, alpha, beta))
        return summed(terms)


def l2_pool(values: torch.Tensor) -> torch.Tensor:
    """Root of the Hanning-weighted mean of squares over 3 x 3, stride 2, zeros around."""
    import torch
    import torch.nn.functional as f

    window = torch.tensor(_WINDOW, device=values.device)
    kernel = window[:, None] * window / window.sum().square()
    channels = values.shape[1]
    filters = kernel.expand(channels, 1, 3, 3)
    return (f.conv2d(values.square(), filters, stride=2, padding=1, groups=channels) + 1e-12).sqrt_()


def _distance(first: torch.Tensor, second: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """What one stage takes off 1: float ``(n, c, h, w)`` each, weights ``(c,)`` → float64 ``(n,)``."""
    ours, theirs = first.double().flatten(2), second.double().flatten(2)
    our_mean, their_mean = ours.mean(2, keepdim=True), theirs.mean(2, keepdim=True)
    ours, theirs = ours - our_mean, theirs - their_mean
    covariance = (ours * theirs).mean(2)
    variances = ours.square().mean(2) + theirs.square().mean(2)
    our_mean, their_mean = our_mean[..., 0], their_mean[..., 0]
    texture = (2 * our_mean * their_mean + _C) / (our_mean.square() + their_mean.square() + _C)
    structure = (2 * covariance + _C) / (variances + _C)
    return (alpha * (1 - texture) + beta * (1 - structure)).sum(1)


def _normalised(values: torch.Tensor) -> torch.Tensor:
    """Float in [0, 1] → with ImageNet's mean and deviation, as VGG16 takes it."""
    import torch

    mean = torch.tensor(MEAN, device=values.device).view(1, 3, 1, 1)
    std = torch.tensor(STD, device=values.device).view(1, 3, 1, 1)
    return (values - mean) / std


def _reduced(images: torch.Tensor) -> torch.Tensor:
    """uint8 ``(n, 3, h, w)`` with a short side of at most 256 px, by Pillow; the long side is cut to whole pixels."""
    import numpy as np
    import torch
    from PIL import Image

    height, width = images.shape[-2:]
    short = min(height, width)
    if short <= SHORT_SIDE_PX:
        return images
    size = (int(SHORT_SIDE_PX * width / short), int(SHORT_SIDE_PX * height / short))
    rows = images.permute(0, 2, 3, 1).cpu().numpy()
    small = [Image.fromarray(np.ascontiguousarray(row)).resize(size, Image.Resampling.BILINEAR) for row in rows]
    return torch.from_numpy(np.stack([np.asarray(image) for image in small])).permute(0, 3, 1, 2).to(images.device)


def _build(device: str) -> Distance:
    network = vgg16.Vgg16(load_state_dict(known("vgg16")), device=device)
    return Dists(network, load_state_dict(known("dists")), device=device)


# The bound: texture is in [0, 1] and structure in [-1, 1], and the published beta sum to 0.124 of all.
METRICS = (
    NetworkDistance(
        card=MetricCard(
            key="dists",
            version=1,
            kind="pair",
            group="perception",
            title="DISTS",
            better="lower",
            low=0.0,
            high=1.13,
            perfect=0.0,
            undefined=f"VGG16 needs sides of at least {vgg16.MIN_SIDE_PX} px",
            paper="arXiv:2004.07728",
            notes=(
                "Input in [0, 1]: the 8-bit images of the compared grid; short sides above 256 px are reduced to 256, "
                "bilinear and antialiased on 8 bits."
            ),
        ),
        weights=(known("vgg16"), known("dists")),
        build=_build,
        min_side_px=vgg16.MIN_SIDE_PX,
    ),
)
