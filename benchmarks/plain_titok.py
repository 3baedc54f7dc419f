"""TiTok in its straightforward formulation, for ``benchmarks/tokenizers.py`` to compare with.

Plain functions over a state dict: batches whole, every token through every block, the whole table of code distances at
once, "same" padding worked out for each convolution. Attention is torch's fused one, which the official code reaches
through ``nn.MultiheadAttention``, so that nothing is won by leaving it out.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from tokbench_adapters._networks.titok_config import TiTokConfig, TransformerSize

Weights = Mapping[str, Tensor]


class PlainTiTok:
    """Encodes a batch of images to indices ``(n, l)`` and back."""

    def __init__(self, config: TiTokConfig, weights: Weights) -> None:
        self.config = config
        self.weights = weights

    def encode(self, images: Tensor) -> Tensor:
        config, w = self.config, self.weights
        n = len(images)
        patches = F.conv2d(images, w["encoder.patch_embed.weight"], w["encoder.patch_embed.bias"], config.patch_px)
        patches = patches.reshape(n, patches.shape[1], -1).permute(0, 2, 1)
        hidden = torch.cat([w["encoder.class_embedding"].repeat(n, 1, 1), patches], 1)
        hidden = hidden + w["encoder.positional_embedding"]
        latents = w["latent_tokens"].repeat(n, 1, 1) + w["encoder.latent_token_positional_embedding"]
        hidden = _transformer(w, "encoder.", torch.cat([hidden, latents], 1), config.encoder)
        hidden = hidden[:, 1 + config.grid**2 :]
        hidden = _norm(w, "encoder.ln_post", hidden)
        if config.pixels is not None:
            hidden = hidden.reshape(n, config.encoder.width, config.n_tokens, 1)
        else:
            hidden = hidden.permute(0, 2, 1)[..., None]
        vectors = F.conv2d(hidden, w["encoder.conv_out.weight"], w["encoder.conv_out.bias"])[..., 0].permute(0, 2, 1)
        entries = w["quantize.embedding.weight"]
        if config.is_normalised:
            vectors, entries = F.normalize(vectors, dim=-1), F.normalize(entries, dim=-1)
        flat = vectors.reshape(-1, config.token_width)
        distances = (flat**2).sum(1, keepdim=True) + (entries**2).sum(1) - 2 * torch.einsum("bd,kd->bk", flat, entries)
        return distances.argmin(1).reshape(n, config.n_tokens)

    def decode(self, indices: Tensor) -> Tensor:
        config, w = self.config, self.weights
        n = len(indices)
        vectors = w["quantize.embedding.weight"][indices]
        if config.is_normalised:
            vectors = F.normalize(vectors, dim=-1)
        tokens = F.linear(vectors, w["decoder.decoder_embed.weight"], w["decoder.decoder_embed.bias"])
        tokens = tokens + w["decoder.latent_token_positional_embedding"]
        masks = w["decoder.mask_token"].repeat(n, config.grid**2, 1)
        grid = torch.cat([w["decoder.class_embedding"].repeat(n, 1, 1), masks], 1) + w["decoder.positional_embedding"]
        hidden = _transformer(w, "decoder.", torch.cat([grid, tokens], 1), config.decoder)
        hidden = _norm(w, "decoder.ln_post", hidden[:, 1 : 1 + config.grid**2])
        hidden = hidden.permute(0, 2, 1).reshape(n, config.decoder.width, config.grid, config.grid).contiguous()
        hidden = F.conv2d(hidden, w["decoder.ffn.0.weight"], w["decoder.ffn.0.bias"])
        if config.pixels is None:
            patch = config.patch_px
            parts = hidden.reshape(n, patch, patch, 3, config.grid, config.grid).permute(0, 3, 4, 1, 5, 2)
            return _conv(w, "decoder.conv_out", parts.reshape(n, 3, config.side_px, config.side_px))
        logits = F.conv2d(torch.tanh(hidden), w["decoder.ffn.2.weight"], w["decoder.ffn.2.bias"])
        mixture = torch.einsum("nchw,cd->ndhw", logits.softmax(1), w["pixel_quantize.embedding.weight"])
        return _paint(w, mixture, n_levels=len(config.pixels.multipliers), n_blocks=config.pixels.n_blocks)


def _transformer(w: Weights, prefix: str, hidden: Tensor, size: TransformerSize) -> Tensor:
    hidden = _norm(w, f"{prefix}ln_pre", hidden)
    for number in range(size.depth):
        block = f"{prefix}transformer.{number}."
        hidden = hidden + _attention(w, f"{block}attn.", _norm(w, f"{block}ln_1", hidden), size.n_heads)
        inner = F.gelu(_linear(w, f"{block}mlp.c_fc", _norm(w, f"{block}ln_2", hidden)))
        hidden = hidden + _linear(w, f"{block}mlp.c_proj", inner)
    return hidden


def _attention(w: Weights, prefix: str, hidden: Tensor, n_heads: int) -> Tensor:
    n, length, width = hidden.shape
    projected = F.linear(hidden, w[f"{prefix}in_proj_weight"], w[f"{prefix}in_proj_bias"])
    queries, keys, values = projected.reshape(n, length, 3, n_heads, -1).permute(2, 0, 3, 1, 4)
    gathered = F.scaled_dot_product_attention(queries, keys, values)
    return _linear(w, f"{prefix}out_proj", gathered.permute(0, 2, 1, 3).reshape(n, length, width))


def _paint(w: Weights, hidden: Tensor, *, n_levels: int, n_blocks: int) -> Tensor:
    prefix = "pixel_decoder."
    hidden = _conv(w, f"{prefix}conv_in", hidden)
    for number in range(n_blocks):
        hidden = _residual(w, f"{prefix}mid.{number}.", hidden)
    for level in reversed(range(n_levels)):
        for number in range(n_blocks):
            hidden = _residual(w, f"{prefix}up.{level}.block.{number}.", hidden)
        if level:
            hidden = F.interpolate(hidden, scale_factor=2.0, mode="nearest")
            hidden = _conv(w, f"{prefix}up.{level}.upsample_conv", hidden)
    return _conv(w, f"{prefix}conv_out", F.silu(_group_norm(w, f"{prefix}norm_out", hidden)))


def _residual(w: Weights, prefix: str, hidden: Tensor) -> Tensor:
    inner = _conv(w, f"{prefix}conv1", F.silu(_group_norm(w, f"{prefix}norm1", hidden)))
    inner = _conv(w, f"{prefix}conv2", F.silu(_group_norm(w, f"{prefix}norm2", inner)))
    return inner + (_conv(w, f"{prefix}nin_shortcut", inner) if f"{prefix}nin_shortcut.weight" in w else hidden)


def _conv(w: Weights, name: str, hidden: Tensor) -> Tensor:
    kernel = w[f"{name}.weight"]
    margin = kernel.shape[-1] // 2
    return F.conv2d(F.pad(hidden, [margin] * 4), kernel, w.get(f"{name}.bias"))


def _linear(w: Weights, name: str, hidden: Tensor) -> Tensor:
    return F.linear(hidden, w[f"{name}.weight"], w[f"{name}.bias"])


def _norm(w: Weights, name: str, hidden: Tensor) -> Tensor:
    return F.layer_norm(hidden, hidden.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])


def _group_norm(w: Weights, name: str, hidden: Tensor) -> Tensor:
    return F.group_norm(hidden, 32, w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-6)
