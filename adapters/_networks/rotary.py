"""FlowTok's transformer block: positions as rotations of queries and keys, and a gated perceptron.

After He et al., "FlowTok: Flowing Seamlessly Across Text and Image Tokens" (arXiv:2503.10772), TACJU/FlowTok at
d4d43c5, ``libs/model/blocks.py``, ``pos_embed.py`` and ``swiglu.py``, under the same parameter names.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tokbench_adapters._networks.transformer import EVERYTHING


class GridRotation(nn.Module):
    """Turns each pair of neighbouring channels of a grid's tokens by an angle that its row or column sets.

    The angles' cosines and sines are entries of the checkpoint. Tokens after the grid are left as they are.
    """

    def __init__(self, grid: int, width: int) -> None:
        super().__init__()
        self.register_buffer("freqs_cos", torch.empty(grid**2, width))
        self.register_buffer("freqs_sin", torch.empty(grid**2, width))
        self.freqs_cos: Tensor
        self.freqs_sin: Tensor

    def forward(self, heads: Tensor, *, keep: slice = EVERYTHING) -> Tensor:
        """``(n, heads, k, width)`` of the kept tokens → the same, turned."""
        cosines, sines = self.freqs_cos[keep], self.freqs_sin[keep]
        grid, rest = heads[:, :, : len(cosines)], heads[:, :, len(cosines) :]
        first, second = grid.unflatten(-1, (-1, 2)).unbind(-1)
        across = torch.stack((-second, first), dim=-1).flatten(-2)
        return torch.cat([grid * cosines + across * sines, rest], dim=2)


class RotaryAttention(nn.Module):
    """Multi-head self-attention of turned queries and keys."""

    def __init__(self, width: int, n_heads: int, rotation: GridRotation) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self._rotation = (rotation,)  # a tuple, so that it is not registered a second time

    def forward(self, tokens: Tensor, *, keep: slice = EVERYTHING) -> Tensor:
        """``(n, l, width)`` → ``(n, k, width)``: what the kept tokens gather from all l."""
        width = tokens.shape[-1]
        (rotation,) = self._rotation
        queries = F.linear(tokens[:, keep], self.qkv.weight[:width], self.qkv.bias[:width])
        keys, values = F.linear(tokens, self.qkv.weight[width:], self.qkv.bias[width:]).chunk(2, dim=-1)
        query, key, value = (part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in (queries, keys, values))
        gathered = F.scaled_dot_product_attention(rotation(query, keep=keep), rotation(key), value)
        projected: Tensor = self.proj(gathered.transpose(1, 2).flatten(2))
        return projected


class GatedPerceptron(nn.Module):
    """One half of the hidden values, through a SiLU, scales the other; as wide as makes 8/3 of the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = int(2 / 3 * 4 * width)
        self.w12 = nn.Linear(width, 2 * hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        gate, values = self.w12(tokens).chunk(2, dim=-1)
        mixed: Tensor = self.w3(F.silu(gate) * values)
        return mixed


class RotaryBlock(nn.Module):
    """Attention and perceptron, each after a layer norm and with a bypass."""

    def __init__(self, width: int, n_heads: int, rotation: GridRotation) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = RotaryAttention(width, n_heads, rotation)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = GatedPerceptron(width)

    def forward(self, tokens: Tensor, *, keep: slice = EVERYTHING) -> Tensor:
        """``(n, l, width)`` → ``(n, k, width)``, the kept tokens only; the last block need not compute the others."""
        hidden = tokens[:, keep] + self.attn(self.ln_1(tokens), keep=keep)
        mixed: Tensor = hidden + self.mlp(self.ln_2(hidden))
        return mixed
