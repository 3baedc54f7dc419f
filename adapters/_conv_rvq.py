"""The network of the family ``rvq``: a linear block transform each way, with convolutional corrections on top.

Plain functions over a dictionary of weights, so that training and measuring run the same lines, and nothing heavy is
imported before a tensor is at hand. All channel counts are in the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    Weights = Mapping[str, torch.Tensor]

BLOCK_PX = 8


def analyse(weights: Weights, images: torch.Tensor) -> torch.Tensor:
    """Float images ``(n, 3, h, w)`` in [0, 1] → latents ``(n, c, h/8, w/8)``."""
    import torch.nn.functional as F

    blocks = F.pixel_unshuffle(images, BLOCK_PX)
    hidden = _residual(weights, "analysis.block", F.relu(_conv(weights, "analysis.in", blocks)))
    return _conv(weights, "analysis.linear", blocks) + _conv(weights, "analysis.out", hidden)


def synthesise(weights: Weights, latents: torch.Tensor) -> torch.Tensor:
    """Quantised latents ``(n, c, h/8, w/8)`` → float images ``(n, 3, h, w)``, not clamped."""
    import torch
    import torch.nn.functional as F

    blocky = F.pixel_shuffle(_conv(weights, "synthesis.linear", latents), BLOCK_PX)
    hidden = _residual(weights, "synthesis.block", F.relu(_conv(weights, "synthesis.in", latents)))
    context = F.pixel_shuffle(_conv(weights, "synthesis.up", hidden), BLOCK_PX // 2)
    seam = torch.cat([context, F.pixel_unshuffle(blocky, 2)], dim=1)
    seam = F.relu(_conv(weights, "seam.in", seam))
    seam = F.relu(_conv(weights, "seam.mid", seam))
    return blocky + F.pixel_shuffle(_conv(weights, "seam.out", seam), 2)


def _residual(weights: Weights, name: str, hidden: torch.Tensor) -> torch.Tensor:
    import torch.nn.functional as F

    inner = F.relu(_conv(weights, f"{name}.0", hidden))
    return F.relu(hidden + _conv(weights, f"{name}.1", inner))


def _conv(weights: Weights, name: str, hidden: torch.Tensor) -> torch.Tensor:
    """A convolution that keeps the size: padding is half of the kernel."""
    import torch.nn.functional as F

    kernel = weights[f"{name}.weight"]
    return F.conv2d(hidden, kernel, weights[f"{name}.bias"], padding=kernel.shape[-1] // 2)
