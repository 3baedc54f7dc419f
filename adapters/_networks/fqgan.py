"""FQGAN: one convolutional trunk, a small transformer and a codebook for each factor, one decoder of all factors.

After Bai et al., "Factorized Visual Tokenization and Generation" (arXiv:2411.16681), showlab/FQGAN at dc34256,
``tokenizer/vq_model_dual.py`` and ``vq_model_triple.py``, under the same parameter names.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tokbench_adapters._networks.codebook import Codebook
from tokbench_adapters._networks.transformer import EVERYTHING, ResidualAttentionBlock, run_blocks
from tokbench_adapters._networks.vqgan import Decoder, Trunk, group_norm
from tokbench_adapters._networks.vqgan_config import FactorConfig

HEAD_NAMES = {
    "vis": "visual_head",
    "sem": "semantic_head",
    "sem_mid": "semantic_head_mid",
    "sem_high": "semantic_head_high",
}


class FactorHead(nn.Module):
    """A transformer over the trunk's grid, with a learned position for every cell, so of one image size."""

    def __init__(self, config: FactorConfig) -> None:
        super().__init__()
        width = config.vqgan.channels * config.vqgan.multipliers[-1]
        self.positional_embedding = nn.Parameter(torch.empty(config.positions, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.ModuleList(ResidualAttentionBlock(width, config.n_heads) for _ in range(config.depth))
        self.ln_post = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        """``(n, width, h, w)`` → the same."""
        tokens = self.ln_pre(features.flatten(2).transpose(1, 2) + self.positional_embedding)
        tokens = self.ln_post(run_blocks(self.transformer, tokens, keep=EVERYTHING))
        return tokens.transpose(1, 2).view_as(features)


class FactorEncoder(Trunk):
    """Images to one latent grid a factor."""

    def __init__(self, config: FactorConfig) -> None:
        super().__init__(config.vqgan)
        width = config.vqgan.channels * config.vqgan.multipliers[-1]
        for factor in config.factors:
            self.add_module(HEAD_NAMES[factor], nn.ModuleList([FactorHead(config)]))
            self.add_module(f"norm_out_{factor}", group_norm(width))
            self.add_module(f"conv_out_{factor}", nn.Conv2d(width, config.vqgan.latent_channels, 3, padding=1))
        self._factors = config.factors

    def forward(self, images: Tensor) -> list[Tensor]:
        """Float ``(n, 3, h, w)`` in [-1, 1] → a factor, float ``(n, latent_channels, h/cell, w/cell)``."""
        features = self.features(images)
        latents = []
        for factor in self._factors:
            hidden = self.get_submodule(f"{HEAD_NAMES[factor]}.0")(features)
            hidden = F.silu(self.get_submodule(f"norm_out_{factor}")(hidden))
            latents.append(self.get_submodule(f"conv_out_{factor}")(hidden))
        return latents


class FactorNetwork(nn.Module):
    """Encoder, codebooks and decoder of one released tokenizer, under the official parameter names."""

    def __init__(self, config: FactorConfig) -> None:
        super().__init__()
        vqgan = config.vqgan
        self.encoder = FactorEncoder(config)
        self.decoder = Decoder(vqgan)
        self.books = tuple(
            Codebook(vqgan.codebook_size, vqgan.code_width, is_normalised=vqgan.search == "cosine")
            for _ in config.factors
        )
        for factor, book in zip(config.factors, self.books, strict=True):
            self.add_module(f"quantize_{factor}", book)
            self.add_module(f"quant_conv_{factor}", nn.Conv2d(vqgan.latent_channels, vqgan.code_width, 1))
        self.post_quant_conv = nn.Conv2d(len(config.factors) * vqgan.code_width, vqgan.latent_channels, 1)
        self._factors = config.factors

    def encode(self, images: Tensor) -> list[Tensor]:
        """Float ``(n, 3, h, w)`` in [-1, 1] → a factor, the vectors to quantise, float ``(n, h/cell, w/cell, d)``."""
        latents = self.encoder(images)
        return [
            self.get_submodule(f"quant_conv_{factor}")(latent).permute(0, 2, 3, 1).contiguous()
            for factor, latent in zip(self._factors, latents, strict=True)
        ]

    def decode(self, entries: Sequence[Tensor]) -> Tensor:
        """A factor, float ``(n, h, w, d)`` → float ``(n, 3, cell·h, cell·w)``, not clamped."""
        images: Tensor = self.decoder(self.post_quant_conv(torch.cat(list(entries), dim=-1).permute(0, 3, 1, 2)))
        return images
