"""The VQ-VAE in tests: the names of its published file, and a small network with key-seeded weights."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from tests.adapters.seeding import seeded_weights
from tokbench.contracts import Tokenizer
from tokbench_adapters import vqvae_explore
from tokbench_adapters._networks.vqvae_explore import VqvaeExploreNetwork

SMALL = {"n_codes": 64, "code_width": 16, "width": 32}


def _residual(half: str) -> dict[str, tuple[int, ...]]:
    return {
        f"{half}._blocks.residual.residual_blocks.residual_{layer}._block.{name}.weight": shape
        for layer in (0, 1)
        for name, shape in (("conv_1", (64, 128, 3, 3)), ("conv_2", (128, 64, 1, 1)))
    }


PUBLISHED: dict[str, tuple[int, ...]] = {
    "encoder._blocks.conv_1.weight": (64, 3, 4, 4),
    "encoder._blocks.conv_1.bias": (64,),
    "encoder._blocks.conv_2.weight": (128, 64, 4, 4),
    "encoder._blocks.conv_2.bias": (128,),
    "encoder._blocks.conv_3.weight": (128, 128, 3, 3),
    "encoder._blocks.conv_3.bias": (128,),
    **_residual("encoder"),
    "pre_vq_conv.weight": (128, 128, 1, 1),
    "pre_vq_conv.bias": (128,),
    "vq_vae.codebook.weight": (512, 128),
    "decoder._blocks.conv_1.weight": (128, 128, 3, 3),
    "decoder._blocks.conv_1.bias": (128,),
    **_residual("decoder"),
    "decoder._blocks.conv_t_1.weight": (128, 64, 4, 4),
    "decoder._blocks.conv_t_1.bias": (64,),
    "decoder._blocks.conv_t_2.weight": (64, 3, 4, 4),
    "decoder._blocks.conv_t_2.bias": (3,),
}
"""Every entry of the file, by its name."""


@cache
def seeded() -> dict[str, Tensor]:
    """Key-seeded weights of the small network; its codes are spread as its vectors are."""
    with torch.device("meta"):
        network = VqvaeExploreNetwork(**SMALL)
    return seeded_weights(network)


def tokenizer_of(*, dtype: str = "float32") -> Tokenizer:
    """The small network under the card, with its codebook's size."""
    card = replace(vqvae_explore.CARDS[0], codebook_sizes=(SMALL["n_codes"],), tokens=None)
    return vqvae_explore.build(card, seeded(), device="cpu", dtype=dtype, shape=SMALL)
