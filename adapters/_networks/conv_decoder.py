"""The decoder of the family ``rvq``: the linear block transform back, with convolutional corrections on top.

A plain function over a dictionary of weights, so that training and measuring run the same lines, and nothing heavy is
imported before a tensor is at hand. All channel counts are in the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    Weights = Mapping[str, torch.Tensor]

BLOCK_PX = 8


def synthesise(weights: Weights, latents: torch.Tensor) -> torch.Tensor:
    """Quantised latents ``(n, c, h/8, w/8)`` → float images ``(n, 3, h, w)``, not clamped."""
    import torch
    import torch.nn.functional as F

    blocky = F.pixel_shuffle(_conv(weights, "linear", latents), BLOCK_PX)
    hidden = F.relu(_conv(weights, "in", latents))
    inner = F.relu(_conv(weights, "block.0", hidden))
    hidden = F.relu(hidden + _conv(weights, "block.1", inner))
    context = F.pixel_shuffle(_conv(weights, "up", hidden), BLOCK_PX // 2)
    seam = torch.cat([context, F.pixel_unshuffle(blocky, 2)], dim=1)
    seam = F.relu(_conv(weights, "seam.in", seam))
    seam = F.relu(_conv(weights, "seam.mid", seam))
    return blocky + F.pixel_shuffle(_conv(weights, "seam.out", seam), 2)


def _conv(weights: Weights, name: str, hidden: torch.Tensor) -> torch.Tensor:
    """A convolution that keeps the size: padding is half of the kernel."""
    import torch.nn.functional as F

    kernel = weights[f"{name}.weight"]
    return F.conv2d(hidden, kernel, weights[f"{name}.bias"], padding=kernel.shape[-1] // 2)
