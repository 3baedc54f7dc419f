"""How images become the Inception's input: three published conventions that move the distance more than the network.

All take uint8 ``(n, 3, h, w)`` and give float32 ``(n, 3, 299, 299)`` about -1 to 1, on the same device, aspect ratio
not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from tokbench.networks.inception_layers import SIDE_PX

if TYPE_CHECKING:
    import torch


def compat(images: torch.Tensor) -> torch.Tensor:
    """TensorFlow 1's bilinear, as inside the graph: output pixel i reads position i * size / 299; no antialiasing.

    Written as two small matrix products; torch-fidelity gathers four neighbours, which gives the same to rounding.
    """
    return (_resized(images, _tensorflow_weights) - 128) / 128


def pytorch_fid(images: torch.Tensor) -> torch.Tensor:
    """pytorch-fid's: bilinear between pixel centres, no antialiasing, on [0, 1], then 2 x - 1."""
    import torch.nn.functional as f

    values = images.float() / 255
    return 2 * f.interpolate(values, (SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False) - 1


def clean(images: torch.Tensor) -> torch.Tensor:
    """clean-fid's: Pillow's bicubic on each channel as 32-bit floats, antialiased, cut to [0, 255], not rounded.

    Pillow's filter as two matrix products; equal to Pillow to float32 rounding.
    """
    return (_resized(images, _pillow_bicubic_weights).clamp_(0, 255) - 128) / 128


def _resized(images: torch.Tensor, weights: Callable[[int], np.ndarray]) -> torch.Tensor:
    import torch

    rows, columns = (torch.from_numpy(weights(size)).to(images.device) for size in images.shape[-2:])
    return rows @ (images.float() @ columns.T)


@lru_cache(maxsize=64)
def _tensorflow_weights(size: int) -> np.ndarray:
    """float32 ``(299, size)``: each output's weights on the input; positions in float32, as TensorFlow has them."""
    positions = np.arange(SIDE_PX, dtype=np.float32) * np.float32(size / SIDE_PX)
    low = positions.astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    share = positions - low.astype(np.float32)
    weights = np.zeros((SIDE_PX, size), np.float32)
    rows = np.arange(SIDE_PX)
    weights[rows, low] += 1 - share
    weights[rows, high] += share
    return weights


@lru_cache(maxsize=64)
def _pillow_bicubic_weights(size: int) -> np.ndarray:
    """float32 ``(299, size)``: cubic convolution with a = -0.5, widened when it reduces, normalised at the borders."""
    scale = size / SIDE_PX
    stretch = max(scale, 1.0)
    centres = (np.arange(SIDE_PX) + 0.5) * scale
    first = np.maximum(0, (centres - 2 * stretch + 0.5).astype(np.int64))[:, None]
    end = np.minimum(size, (centres + 2 * stretch + 0.5).astype(np.int64))[:, None]
    pixels = np.arange(size)[None]
    distance = np.abs((pixels - centres[:, None] + 0.5) / stretch)
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    weights = np.where((pixels >= first) & (pixels < end), weights, 0.0)
    normalised: np.ndarray = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return normalised
