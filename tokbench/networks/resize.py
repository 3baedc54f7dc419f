"""From 8-bit images of any size to a network's input: crops, resizes and normalisation, each named for what it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def bicubic(images: torch.Tensor, side_px: int) -> torch.Tensor:
    """uint8 ``(n, 3, h, w)`` → float32 ``(n, 3, side, side)`` in [0, 255], antialiased and not rounded.

    Cubic convolution with a = -0.5, widened by the factor of reduction as Pillow does, but computed in float32 and
    cut to the range once, at the end. An image of that size already is only converted.
    """
    import torch.nn.functional as f

    values = images.float()
    if tuple(images.shape[-2:]) == (side_px, side_px):
        return values
    return f.interpolate(values, (side_px, side_px), mode="bicubic", antialias=True).clamp_(0, 255)


def bicubic_pillow(images: torch.Tensor, side_px: int) -> torch.Tensor:
    """uint8 ``(n, 3, h, w)`` → uint8 ``(n, 3, side, side)``, by Pillow itself, on the CPU.

    Pillow rounds to 8 bits after each of its two passes, which no float resize repeats; published pipelines that read
    files with Pillow get exactly these pixels.
    """
    import numpy as np
    import torch
    from PIL import Image

    pixels = images.permute(0, 2, 3, 1).cpu().contiguous().numpy()
    resized = [
        np.asarray(Image.fromarray(image).resize((side_px, side_px), Image.Resampling.BICUBIC)) for image in pixels
    ]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2)


def central_square(images: torch.Tensor) -> torch.Tensor:
    """The largest central square of images ``(…, h, w)``; of an odd remainder, the larger half is cut at the end."""
    height, width = images.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[..., top : top + side, left : left + side]


def normalised(images: torch.Tensor, mean: Sequence[float], deviation: Sequence[float]) -> torch.Tensor:
    """uint8 ``(n, 3, h, w)`` → float32, scaled to [0, 1] and standardised by channel."""
    import torch

    means, deviations = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (mean, deviation))
    return (images.float() / 255 - means) / deviations
