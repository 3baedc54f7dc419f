"""LlamaGen in the straightforward formulation: functions over the state dict, a step a line, batches whole."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from tokbench_adapters._networks.vqgan_config import VqganConfig

Weights = Mapping[str, Tensor]


class PlainLlamaGen:
    """Images in [0, 1] → codes → images."""

    def __init__(self, config: VqganConfig, weights: Weights) -> None:
        self._config, self._weights = config, weights
        self._last = len(config.multipliers) - 1

    def encode(self, images: Tensor) -> Tensor:
        """Float ``(n, 3, h, w)`` → int64 ``(n, h/cell, w/cell)``."""
        weights, part = self._weights, "encoder"
        hidden = _conv(weights, f"{part}.conv_in", 2 * images - 1, padding=1)
        for level in range(self._last + 1):
            hidden = self._level(f"{part}.conv_blocks.{level}", hidden, self._config.n_blocks)
            if level < self._last:
                padded = F.pad(hidden, (0, 1, 0, 1))
                hidden = _conv(weights, f"{part}.conv_blocks.{level}.downsample.conv", padded, stride=2)
        hidden = self._end(part, self._middle(part, hidden))
        vectors = _conv(weights, "quant_conv", hidden).permute(0, 2, 3, 1)
        flat = F.normalize(vectors.reshape(-1, vectors.shape[-1]), dim=-1)
        book = F.normalize(weights["quantize.embedding.weight"], dim=-1)
        distances = (flat**2).sum(1, keepdim=True) + (book**2).sum(1) - 2 * flat @ book.T
        return distances.argmin(1).view(vectors.shape[:3])

    def decode(self, codes: Tensor) -> Tensor:
        """int64 ``(n, h, w)`` → float ``(n, 3, cell·h, cell·w)``."""
        weights, part = self._weights, "decoder"
        entries = F.normalize(weights["quantize.embedding.weight"], dim=-1)[codes].permute(0, 3, 1, 2)
        hidden = _conv(weights, f"{part}.conv_in", _conv(weights, "post_quant_conv", entries), padding=1)
        hidden = self._middle(part, hidden)
        for level in range(self._last + 1):
            hidden = self._level(f"{part}.conv_blocks.{level}", hidden, self._config.n_blocks + 1)
            if level < self._last:
                doubled = F.interpolate(hidden, scale_factor=2.0, mode="nearest")
                hidden = _conv(weights, f"{part}.conv_blocks.{level}.upsample.conv", doubled, padding=1)
        return self._end(part, hidden) / 2 + 0.5

    def _level(self, name: str, hidden: Tensor, n_blocks: int) -> Tensor:
        for block in range(n_blocks):
            hidden = _residual(self._weights, f"{name}.res.{block}", hidden)
            if f"{name}.attn.{block}.q.weight" in self._weights:
                hidden = _attend(self._weights, f"{name}.attn.{block}", hidden)
        return hidden

    def _middle(self, part: str, hidden: Tensor) -> Tensor:
        hidden = _residual(self._weights, f"{part}.mid.0", hidden)
        hidden = _attend(self._weights, f"{part}.mid.1", hidden)
        return _residual(self._weights, f"{part}.mid.2", hidden)

    def _end(self, part: str, hidden: Tensor) -> Tensor:
        return _conv(
            self._weights, f"{part}.conv_out", _swish(_norm(self._weights, f"{part}.norm_out", hidden)), padding=1
        )


def _swish(hidden: Tensor) -> Tensor:
    return hidden * torch.sigmoid(hidden)


def _norm(weights: Weights, name: str, hidden: Tensor) -> Tensor:
    return F.group_norm(hidden, 32, weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-6)


def _conv(weights: Weights, name: str, hidden: Tensor, *, stride: int = 1, padding: int = 0) -> Tensor:
    return F.conv2d(hidden, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=stride, padding=padding)


def _residual(weights: Weights, name: str, hidden: Tensor) -> Tensor:
    inner = _conv(weights, f"{name}.conv1", _swish(_norm(weights, f"{name}.norm1", hidden)), padding=1)
    inner = _conv(weights, f"{name}.conv2", _swish(_norm(weights, f"{name}.norm2", inner)), padding=1)
    bypass = f"{name}.nin_shortcut"
    return (_conv(weights, bypass, hidden) if f"{bypass}.weight" in weights else hidden) + inner


def _attend(weights: Weights, name: str, hidden: Tensor) -> Tensor:
    normed = _norm(weights, f"{name}.norm", hidden)
    query, key, value = (_conv(weights, f"{name}.{part}", normed).flatten(2) for part in ("q", "k", "v"))
    attention = torch.softmax(query.transpose(1, 2) @ key * hidden.shape[1] ** -0.5, dim=2)
    mixed = (value @ attention.transpose(1, 2)).view_as(hidden)
    return hidden + _conv(weights, f"{name}.proj_out", mixed)
