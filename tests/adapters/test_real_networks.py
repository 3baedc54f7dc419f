"""The two networks of ``../shared/weights`` reach the quality their READMEs state."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from tests.adapters.real_networks import Taef2, VqvaeExplore
from tests.conftest import SHARED
from tokbench.encodings import Tokens
from tokbench.images import to_float, to_uint8

WEIGHTS = SHARED / "weights"
pytestmark = pytest.mark.skipif(not WEIGHTS.is_dir(), reason="../shared/weights is not beside the repository")


def astronaut() -> torch.Tensor:
    import skimage.data

    small = Image.fromarray(skimage.data.astronaut()).resize((256, 256), Image.Resampling.BICUBIC)
    return to_float(torch.from_numpy(np.array(small)).permute(2, 0, 1)[None])


def decibels(images: torch.Tensor, decoded: torch.Tensor) -> float:
    return -10 * math.log10(float((to_float(to_uint8(decoded)) - images).square().mean()))


def test_the_discrete_one() -> None:
    """26.4 dB as its README says, to the choice of filter; the textbook residual block would give 21.6."""
    tokenizer, images = VqvaeExplore(WEIGHTS / "vqvae_explore"), astronaut()
    with torch.inference_mode():
        encoding = tokenizer.encode(images)
        assert isinstance(encoding, Tokens)
        assert encoding.bits().tolist() == [4096 * 9]
        assert decibels(images, tokenizer.decode(encoding, seeds=[0])) == pytest.approx(26.4, abs=0.5)


def test_the_continuous_one() -> None:
    tokenizer, images = Taef2(WEIGHTS / "taef2"), astronaut()
    with torch.inference_mode():
        encoding = tokenizer.encode(images)
        assert encoding.values.shape == (1, 32, 32, 32)
        assert decibels(images, tokenizer.decode(encoding, seeds=[0])) == pytest.approx(29.7, abs=0.5)
