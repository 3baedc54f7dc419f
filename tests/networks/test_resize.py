"""Resizing to a network's input, against Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from tokbench.networks.resize import bicubic, bicubic_pillow, central_square, normalised


def noise(height: int, width: int, n: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).integers(0, 256, (n, 3, height, width), dtype=np.uint8))


@pytest.mark.parametrize(("height", "width"), [(256, 256), (61, 300), (20, 20)])
def test_float_bicubic_is_pillows_before_rounding(height: int, width: int) -> None:
    images = noise(height, width)
    planes = [Image.fromarray(plane.astype(np.float32)) for plane in images[0].numpy()]
    expected = np.stack([np.asarray(plane.resize((64, 64), Image.Resampling.BICUBIC)) for plane in planes])
    assert bicubic(images, 64)[0].numpy() == pytest.approx(expected.clip(0, 255), abs=2e-3)


def test_float_bicubic_stays_in_range_and_leaves_equal_sizes() -> None:
    stripes = torch.tensor([0, 255], dtype=torch.uint8).repeat(20).expand(1, 3, 30, 40)
    resized = bicubic(stripes, 33)
    assert 0 <= float(resized.min()) <= float(resized.max()) <= 255
    assert torch.equal(bicubic(noise(33, 33), 33), noise(33, 33).float())


def test_pillows_bicubic_is_pillows() -> None:
    images = noise(50, 70, n=2)
    resized = bicubic_pillow(images, 32)
    assert resized.dtype == torch.uint8
    for row in range(2):
        picture = Image.fromarray(np.ascontiguousarray(images[row].permute(1, 2, 0).numpy()))
        expected = np.asarray(picture.resize((32, 32), Image.Resampling.BICUBIC))
        assert np.array_equal(resized[row].permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize(("height", "width", "top", "left"), [(10, 15, 0, 2), (15, 10, 2, 0), (9, 9, 0, 0)])
def test_the_central_square(height: int, width: int, top: int, left: int) -> None:
    images = noise(height, width)
    side = min(height, width)
    assert torch.equal(central_square(images), images[..., top : top + side, left : left + side])


def test_normalised() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    got = normalised(images, (0.5, 0.2, 0.0), (0.5, 0.1, 2.0)).flatten().tolist()
    assert got == pytest.approx([-1.0, 0.0, 0.5], abs=1e-6)
