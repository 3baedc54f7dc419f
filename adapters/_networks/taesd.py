"""TAESD: a tiny convolutional autoencoder, distilled into the latent space of a large one.

After madebyollin/taesd at 5cccb12, ``taesd.py`` (MIT), under its parameter names: ``encoder`` and ``decoder`` are plain
sequences, and an entry is named by its place in them. Images are in [0, 1] both ways.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from tokbench_adapters._networks.taesd_config import TaesdConfig

GROUPS = 4
LIMIT = 3.0
"""Latents are bent towards this magnitude before they are decoded."""


class SoftLimit(nn.Module):
    """``3·tanh(z / 3)``."""

    def forward(self, latents: Tensor) -> Tensor:
        return torch.tanh(latents / LIMIT) * LIMIT


class Block(nn.Module):
    """Three 3×3 convolutions beside a bypass, with a ReLU after the sum.

    In a pooled block a branch that is normalised over the whole image is added to the input first.
    """

    def __init__(self, width: int, *, is_pooled: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(width, width), nn.ReLU(), _conv(width, width), nn.ReLU(), _conv(width, width))
        self.pool = _pool(width) if is_pooled else None

    def forward(self, hidden: Tensor) -> Tensor:
        if self.pool is not None:
            hidden = hidden + self.pool(hidden)
        return torch.relu(self.conv(hidden) + hidden)


class TaesdNetwork(nn.Module):
    """Encoder and decoder, with no quantiser and no posterior between them."""

    def __init__(self, config: TaesdConfig) -> None:
        super().__init__()
        self.encoder = _encoder(config)
        self.decoder = _decoder(config)

    def encode(self, images: Tensor) -> Tensor:
        """Float ``(n, 3, h, w)`` in [0, 1] → ``(n, c, h/cell, w/cell)``."""
        latents: Tensor = self.encoder(images)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Float ``(n, c, h, w)`` → ``(n, 3, cell·h, cell·w)``, nominally in [0, 1], not clamped."""
        images: Tensor = self.decoder(latents)
        return images


def _encoder(config: TaesdConfig) -> nn.Sequential:
    width = config.widths[-1]
    layers: list[nn.Module] = [] if config.stem else [_conv(3, width)]
    for n_in, n_out in pairwise((3, *config.stem)):
        layers += [_conv(n_in, n_out, stride=2), nn.ReLU()]
    layers.append(Block(width))
    for stage in range(3):
        layers.append(_conv(width, width, stride=2, bias=False))
        layers += [Block(width, is_pooled=config.is_pooled and stage == 2) for _ in range(3)]
    return nn.Sequential(*layers, _conv(width, config.latent_channels))


def _decoder(config: TaesdConfig) -> nn.Sequential:
    layers: list[nn.Module] = [SoftLimit(), _conv(config.latent_channels, config.widths[0]), nn.ReLU()]
    for stage, (width, following) in enumerate(pairwise(config.widths)):
        layers += [Block(width, is_pooled=config.is_pooled and stage == 0) for _ in range(3)]
        layers += [nn.Upsample(scale_factor=2), _conv(width, following, bias=False)]
    return nn.Sequential(*layers, Block(config.widths[-1]), _conv(config.widths[-1], 3))


def _conv(n_in: int, n_out: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=bias)


def _pool(width: int) -> nn.Sequential:
    inner = 4 * width
    return nn.Sequential(
        nn.Conv2d(width, inner, 1, bias=False),
        nn.GroupNorm(GROUPS, inner),
        nn.ReLU(),
        nn.Conv2d(inner, width, 1, bias=False),
    )
