"""What the metric tests feed in: photographs with known distortions, wrapped as comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from tokbench.contracts import Comparison
from tokbench.encodings import Encoding
from tokbench.samples import Region, Sample
from tokbench.tasks.catalogue import folder_task


@lru_cache
def photographs(n: int = 3, side_px: int = 192) -> torch.Tensor:
    """uint8 ``(n, 3, side, side)``: crops of a photograph."""
    import skimage.data

    image = skimage.data.astronaut()
    corners = [(40 * index, 30 * index) for index in range(n)]
    crops = [image[y : y + side_px, x : x + side_px] for y, x in corners]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()


def noisy(images: torch.Tensor, sigma: float, seed: int = 0) -> torch.Tensor:
    """Gaussian noise in levels, rounded and clamped; depends on each image's row only through its pixels' order."""
    noise = np.random.default_rng(seed).normal(0, sigma, tuple(images.shape))
    return torch.from_numpy(np.clip(np.rint(images.numpy() + noise), 0, 255).astype(np.uint8))


def compare(
    reference: torch.Tensor,
    reconstruction: torch.Tensor,
    *,
    encoding: Encoding | None = None,
    regions: Sequence[Sequence[Region]] = (),
    features: dict[str, list[dict[str, np.ndarray]]] | None = None,
) -> Comparison:
    n, _, height, width = reference.shape
    return Comparison(
        samples=tuple(Sample(id=f"s{row}", source="", sha256="", width_px=width, height_px=height) for row in range(n)),
        reference=reference,
        reconstruction=reconstruction,
        regions=tuple(tuple(regions[row]) if regions else () for row in range(n)),
        encoding=encoding,
        task=folder_task(),
        features=features or {},
        reconstruction_features={},
    )


def blank(n: int = 1, *, encoding: Encoding | None = None, side_px: int = 16) -> Comparison:
    """Black images compared with themselves, for metrics that look at encodings only."""
    images = torch.zeros((n, 3, side_px, side_px), dtype=torch.uint8)
    return compare(images, images, encoding=encoding)
