"""TiTok: an image as a short sequence of tokens that a transformer gathers from all its patches.

Yu et al., "An Image is Worth 32 Tokens for Reconstruction and Generation", arXiv:2406.07550; parameter names and
conventions are those of bytedance/1d-tokenizer at 942a96f (``modeling/titok.py``, ``modeling/modules/blocks.py``).
TA-TiTok (arXiv:2501.07730) is the same with text embeddings behind the decoder's tokens, FlowTok (arXiv:2503.10772) is
TA-TiTok with other blocks (:mod:`~tokbench_adapters._networks.rotary`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tokbench_adapters._networks.codebook import Codebook
from tokbench_adapters._networks.maskgit_vqgan import PixelDecoder
from tokbench_adapters._networks.rotary import GridRotation, RotaryBlock
from tokbench_adapters._networks.titok_config import TiTokConfig, TransformerSize
from tokbench_adapters._networks.transformer import ResidualAttentionBlock, run_blocks


class Tower(nn.Module):
    """What the encoder's transformer and the decoder's have in common."""

    def __init__(self, config: TiTokConfig, size: TransformerSize) -> None:
        super().__init__()
        width, n_heads = size.width, size.n_heads
        blocks: list[nn.Module]
        if config.is_rotary:
            rotation = GridRotation(config.grid, width // n_heads)
            self.positional_embedding: nn.Module | nn.Parameter = rotation
            blocks = [RotaryBlock(width, n_heads, rotation) for _ in range(size.depth)]
        else:
            self.class_embedding = nn.Parameter(torch.empty(1, width))
            self.positional_embedding = nn.Parameter(torch.empty(config.grid**2 + 1, width))
            blocks = [ResidualAttentionBlock(width, n_heads) for _ in range(size.depth)]
        self.latent_token_positional_embedding = nn.Parameter(torch.empty(config.n_tokens, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.ModuleList(blocks)
        self.ln_post = nn.LayerNorm(width)
        first = 0 if config.is_rotary else 1  # after the class token
        self.grid_tokens = slice(first, first + config.grid**2)

    def run(self, tokens: Tensor, *, keep: slice) -> Tensor:
        """``(n, l, width)`` through norms and blocks → ``(n, k, width)`` of the kept tokens."""
        kept: Tensor = self.ln_post(run_blocks(self.transformer, self.ln_pre(tokens), keep=keep))
        return kept

    def with_positions(self, patches: Tensor) -> Tensor:
        """A grid's tokens ``(n, grid², width)`` → them after the class token, if there is one, and positions added."""
        if not isinstance(self.positional_embedding, nn.Parameter):
            return patches
        classes = self.class_embedding.expand(len(patches), -1, -1)
        return torch.cat([classes, patches], dim=1) + self.positional_embedding


class TiTokEncoder(Tower):
    """Patches, a class token and the latent tokens through one transformer; the latent tokens come out."""

    def __init__(self, config: TiTokConfig) -> None:
        super().__init__(config, config.encoder)
        width = config.encoder.width
        self.patch_embed = nn.Conv2d(3, width, config.patch_px, stride=config.patch_px)
        # Mean and logarithm of the variance where the latents are continuous.
        n_out = config.token_width * (2 if config.codebook_size is None else 1)
        self.conv_out = nn.Conv2d(width, n_out, 1)
        self._is_scrambled = config.pixels is not None

    def forward(self, images: Tensor, latent_tokens: Tensor) -> Tensor:
        """Float ``(n, 3, h, w)`` in [0, 1] and ``(l, width)`` → float ``(n, d, l)``."""
        n = len(images)
        patches = self.patch_embed(images).flatten(2).transpose(1, 2)  # (n, grid², width), row by row
        latents = (latent_tokens + self.latent_token_positional_embedding).expand(n, -1, -1)
        hidden = torch.cat([self.with_positions(patches), latents], dim=1)
        hidden = self.run(hidden, keep=slice(self.grid_tokens.stop, None))
        # The first releases read the (l, width) array as (width, l) without transposing it, and are trained so.
        hidden = hidden.reshape(n, hidden.shape[2], -1) if self._is_scrambled else hidden.transpose(1, 2)
        projected: Tensor = self.conv_out(hidden[..., None])
        return projected[..., 0]


class TiTokDecoder(Tower):
    """Latent tokens beside a grid of mask tokens through one transformer; the grid comes out.

    Its head gives logits over grid codes ``(n, K, grid, grid)`` where a second decoder follows, else an image.
    """

    def __init__(self, config: TiTokConfig) -> None:
        super().__init__(config, config.decoder)
        width = config.decoder.width
        self.decoder_embed = nn.Linear(config.token_width, width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, width))
        self.ffn: nn.Sequential
        if config.pixels is not None:
            n_codes = config.pixels.codebook_size
            self.ffn = nn.Sequential(nn.Conv2d(width, 2 * width, 1), nn.Tanh(), nn.Conv2d(2 * width, n_codes, 1))
            self.conv_out: nn.Module = nn.Identity()
        else:
            self.ffn = nn.Sequential(nn.Conv2d(width, 3 * config.patch_px**2, 1), PatchesToPixels(config.patch_px))
            self.conv_out = nn.Conv2d(3, 3, 3, padding=1)
        if config.text_width:
            self.text_guidance_proj = nn.Linear(config.text_width, width)
            self.text_guidance_positional_embedding = nn.Parameter(torch.empty(config.text_length, width))
        self._grid = config.grid

    def forward(self, latents: Tensor, text: Tensor | None = None) -> Tensor:
        """Float ``(n, l, d)``, l at most the full number of tokens, and text ``(n, 77, text_width)``."""
        n, length, _ = latents.shape
        tokens = self.decoder_embed(latents) + self.latent_token_positional_embedding[:length]
        masks = self.mask_token.expand(n, self._grid**2, -1)
        parts = [self.with_positions(masks), tokens]
        if text is not None:
            parts.append(self.text_guidance_proj(text) + self.text_guidance_positional_embedding)
        hidden = self.run(torch.cat(parts, dim=1), keep=self.grid_tokens)
        hidden = hidden.transpose(1, 2).unflatten(2, (self._grid, self._grid))
        decoded: Tensor = self.conv_out(self.ffn(hidden))
        return decoded


class PatchesToPixels(nn.Module):
    """``(n, patch·patch·3, h, w)``, channels fastest → ``(n, 3, patch·h, patch·w)``.

    :func:`torch.nn.functional.pixel_shuffle` expects the channels slowest.
    """

    def __init__(self, patch_px: int) -> None:
        super().__init__()
        self.patch_px = patch_px

    def forward(self, hidden: Tensor) -> Tensor:
        channels_first = hidden.unflatten(1, (self.patch_px**2, 3)).transpose(1, 2).flatten(1, 2)
        return F.pixel_shuffle(channels_first, self.patch_px)


class TiTokNetwork(nn.Module):
    """Encoder, codebook and decoders of one released tokenizer, under the official parameter names."""

    def __init__(self, config: TiTokConfig) -> None:
        super().__init__()
        self.encoder = TiTokEncoder(config)
        self.decoder = TiTokDecoder(config)
        self.latent_tokens = nn.Parameter(torch.empty(config.n_tokens, config.encoder.width))
        if config.codebook_size is not None:
            self.quantize = Codebook(config.codebook_size, config.token_width, is_normalised=config.is_normalised)
        self.pixel_quantize: Codebook | None = None
        if config.pixels is not None:
            self.pixel_quantize = Codebook(config.pixels.codebook_size, config.pixels.codebook_width)
            self.pixel_decoder = PixelDecoder(config.pixels)

    def encode(self, images: Tensor) -> Tensor:
        """Float ``(n, 3, h, w)`` in [0, 1] → float ``(n, d, l)``: vectors to quantise, or means and log-variances."""
        encoded: Tensor = self.encoder(images, self.latent_tokens)
        return encoded

    def decode(self, latents: Tensor, text: Tensor | None = None) -> Tensor:
        """Float ``(n, l, d)`` → float ``(n, 3, h, w)``, nominally in [0, 1], not clamped."""
        decoded: Tensor = self.decoder(latents, text)
        if self.pixel_quantize is None:
            return decoded
        # The mixture of all grid codes by their probabilities, not the likeliest code.
        mixture = torch.einsum("nkhw,kd->ndhw", decoded.softmax(1), self.pixel_quantize.embedding.weight)
        painted: Tensor = self.pixel_decoder(mixture)
        return painted
