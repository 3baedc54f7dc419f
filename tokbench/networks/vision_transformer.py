"""The encoder that vision transformers share: blocks of attention and a two-layer perceptron, normalised beforehand.

Dosovitskiy et al., "An image is worth 16x16 words" (arXiv:2010.11929). What the published networks differ in (names of
tensors, layer scale, activation, position embeddings) is in their own files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokbench.networks.checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Affine:
    """Weight ``(out, in)`` and bias ``(out,)`` of a linear layer, or both ``(d,)`` of a layer norm."""

    weight: torch.Tensor
    bias: torch.Tensor

    def to(self, device: str) -> Affine:
        return Affine(self.weight.to(device), self.bias.to(device))

    def scaled(self, gamma: torch.Tensor) -> Affine:
        """A linear layer with the factor ``(out,)`` behind it multiplied in, in float64."""
        weight = self.weight.double() * gamma.double()[:, None]
        return Affine(weight.float(), (self.bias.double() * gamma.double()).float())

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows ``(…, in)`` → ``(…, out)``."""
        import torch.nn.functional as f

        return f.linear(rows, self.weight, self.bias)


@dataclass(frozen=True, eq=False)
class Block:
    """One layer: ``qkv`` ``(3 d, d)`` holds queries, keys and values in this order, each split evenly over heads."""

    norm_1: Affine
    qkv: Affine
    projection: Affine
    norm_2: Affine
    widen: Affine
    narrow: Affine

    def to(self, device: str) -> Block:
        parts = (self.norm_1, self.qkv, self.projection, self.norm_2, self.widen, self.narrow)
        return Block(*(part.to(device) for part in parts))


@dataclass(frozen=True, eq=False)
class Encoder:
    """The blocks, applied to tokens. ``epsilon`` is that of all layer norms. Holds no state between calls."""

    blocks: Sequence[Block]
    n_heads: int
    epsilon: float
    activation: Callable[[torch.Tensor], torch.Tensor]

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Float32 ``(n, tokens, d)`` → the same shape; no norm at the end."""
        for block in self.blocks:
            tokens = tokens + block.projection(self._attention(block.qkv(self.normalised(tokens, block.norm_1))))
            inner = self.activation(block.widen(self.normalised(tokens, block.norm_2)))
            tokens = tokens + block.narrow(inner)
        return tokens

    def normalised(self, tokens: torch.Tensor, norm: Affine) -> torch.Tensor:
        """Layer norm over the last axis."""
        import torch.nn.functional as f

        return f.layer_norm(tokens, norm.weight.shape, norm.weight, norm.bias, self.epsilon)

    def _attention(self, qkv: torch.Tensor) -> torch.Tensor:
        """Scaled dot products of every token with every other, ``(n, tokens, 3 d)`` → ``(n, tokens, d)``."""
        import torch.nn.functional as f

        n, n_tokens, width = qkv.shape
        heads = qkv.view(n, n_tokens, 3, self.n_heads, width // 3 // self.n_heads).permute(2, 0, 3, 1, 4)
        mixed = f.scaled_dot_product_attention(heads[0], heads[1], heads[2])
        return mixed.transpose(1, 2).reshape(n, n_tokens, width // 3)


def affine(checkpoint: Checkpoint, name: str, *shape: int) -> Affine:
    """The layer of that name: its ``weight`` of this shape and its ``bias``."""
    return Affine(checkpoint.take(f"{name}.weight", *shape), checkpoint.take(f"{name}.bias", shape[0]))


def gelu(values: torch.Tensor) -> torch.Tensor:
    """The exact GELU, with the error function."""
    import torch.nn.functional as f

    return f.gelu(values)


def quick_gelu(values: torch.Tensor) -> torch.Tensor:
    """The GELU CLIP was trained with, x sigmoid(1.702 x)."""
    import torch

    return values * torch.sigmoid(1.702 * values)


def patches(images: torch.Tensor, embedding: Affine, side_px: int) -> torch.Tensor:
    """Embeddings of square patches in reading order, float32 ``(n, c, h, w)`` → ``(n, patches, d)``.

    A convolution of that stride, as a matrix product: CUDA convolutions round to TF32 unless told otherwise.
    ``embedding`` is over a patch's ``c side side`` values in this order.
    """
    n, channels, height, width = images.shape
    rows, columns = height // side_px, width // side_px
    cut = images.view(n, channels, rows, side_px, columns, side_px).permute(0, 2, 4, 1, 3, 5)
    return embedding(cut.reshape(n, rows * columns, -1))
