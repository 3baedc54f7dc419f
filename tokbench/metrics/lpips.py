"""LPIPS: distances of a network's activations, weighted by how much people mind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tokbench.cards import MetricCard
from tokbench.errors import WeightsError
from tokbench.metrics.perceptual import Distance, NetworkDistance, summed, unit_difference
from tokbench.networks import alexnet, vgg16
from tokbench.weights.catalogue import known
from tokbench.weights.loading import load_state_dict

if TYPE_CHECKING:
    import torch

# The package's rounded constants on [-1, 1], close to but not exactly ImageNet's mean and deviation on [0, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)

_NOTES = (
    "Input in [-1, 1]: the 8-bit images of the compared grid, at its size and not resized, so scores of different "
    "image sizes are not comparable. Heads of version 0.1. Both sides are clamped and rounded to 8 bits first; several "
    "papers feed unrounded or unclamped output (LightningDiT), or [0, 1] by mistake (MGVQ, VTBench)."
)


class Lpips:
    """Learned perceptual image patch similarity; lower is better, 0 for equal images.

    The sum over taps of the mean over positions of squared differences of unit-normalised activations, weighted by
    channel.

    Args:
        network: :class:`~tokbench.networks.alexnet.AlexNet` or :class:`~tokbench.networks.vgg16.Vgg16`.
        heads: the channel weights under the package's names, ``lin0.model.1.weight`` ``(1, c, 1, 1)`` and so on.
        channels: of each tap.
        device: where it computes.

    Raises:
        WeightsError: a head is missing or of another shape.

    Reference: Zhang, Isola, Efros, Shechtman and Wang, "The unreasonable effectiveness of deep features as a
    perceptual metric", 2018. Checked against the package lpips 0.1.4 with the same weights to 1e-5. Differs from it:
    sums in float64 where it averages in float32.
    """

    def __init__(
        self,
        network: alexnet.AlexNet | vgg16.Vgg16,
        heads: Mapping[str, torch.Tensor],
        *,
        channels: tuple[int, ...],
        device: str = "cpu",
    ) -> None:
        self._network = network
        self._heads = []
        for tap, n in enumerate(channels):
            key = f"lin{tap}.model.1.weight"
            if key not in heads or tuple(heads[key].shape) != (1, n, 1, 1):
                got = tuple(heads[key].shape) if key in heads else "nothing"
                raise WeightsError(f"LPIPS: expected {key} of shape {(1, n, 1, 1)}, got {got}")
            self._heads.append(heads[key].detach().float().flatten().to(device))

    def __call__(self, reference: torch.Tensor, reconstruction: torch.Tensor) -> torch.Tensor:
        """uint8 ``(n, 3, h, w)`` RGB each → float64 ``(n,)``."""
        sides = (self._network.taps(_normalised(images)) for images in (reference, reconstruction))
        taps = zip(*sides, self._heads, strict=True)
        return summed([unit_difference(first, second, weights=head) for first, second, head in taps])


def _normalised(images: torch.Tensor) -> torch.Tensor:
    """uint8 ``(n, 3, h, w)`` → [-1, 1] → as the networks take it."""
    import torch

    shift = torch.tensor(SHIFT, device=images.device).view(1, 3, 1, 1)
    scale = torch.tensor(SCALE, device=images.device).view(1, 3, 1, 1)
    return (images.float() / 127.5 - 1 - shift) / scale


def _build_alex(device: str) -> Distance:
    network = alexnet.AlexNet(load_state_dict(known("alexnet")), device=device)
    return Lpips(network, load_state_dict(known("lpips_alex")), channels=alexnet.CHANNELS, device=device)


def _build_vgg(device: str) -> Distance:
    network = vgg16.Vgg16(load_state_dict(known("vgg16")), device=device)
    return Lpips(network, load_state_dict(known("lpips_vgg")), channels=vgg16.CHANNELS, device=device)


# The bounds: unit vectors without negative entries differ by at most the two largest weights of a tap; summed over the
# published heads these are 7.734 and 5.444.
METRICS = (
    NetworkDistance(
        card=MetricCard(
            key="lpips_alex",
            version=1,
            kind="pair",
            group="perception",
            title="LPIPS, AlexNet",
            better="lower",
            low=0.0,
            high=7.74,
            perfect=0.0,
            undefined=f"AlexNet needs sides of at least {alexnet.MIN_SIDE_PX} px",
            paper="arXiv:1801.03924",
            notes=_NOTES,
        ),
        weights=(known("alexnet"), known("lpips_alex")),
        build=_build_alex,
        min_side_px=alexnet.MIN_SIDE_PX,
    ),
    NetworkDistance(
        card=MetricCard(
            key="lpips_vgg",
            version=1,
            kind="pair",
            group="perception",
            title="LPIPS, VGG16",
            better="lower",
            low=0.0,
            high=5.45,
            perfect=0.0,
            undefined=f"VGG16 needs sides of at least {vgg16.MIN_SIDE_PX} px",
            paper="arXiv:1801.03924",
            notes=_NOTES,
        ),
        weights=(known("vgg16"), known("lpips_vgg")),
        build=_build_vgg,
        min_side_px=vgg16.MIN_SIDE_PX,
    ),
)
