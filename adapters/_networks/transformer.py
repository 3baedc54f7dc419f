"""The pre-norm transformer block of open_clip, which many tokenizers copied with its parameter names.

``ln_1``, ``attn.in_proj_weight``, ``attn.in_proj_bias``, ``attn.out_proj``, ``ln_2``, ``mlp.c_fc``, ``mlp.c_proj``
(mlfoundations/open_clip, ``transformer.py``).
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EVERYTHING = slice(None)


class SelfAttention(nn.Module):
    """Multi-head self-attention with the parameters of :class:`torch.nn.MultiheadAttention`."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, *, keep: slice = EVERYTHING, is_causal: bool = False) -> Tensor:
        """``(n, l, width)`` → ``(n, k, width)``: what the kept tokens gather from all l."""
        width = tokens.shape[-1]
        queries = F.linear(tokens[:, keep], self.in_proj_weight[:width], self.in_proj_bias[:width])
        pairs = F.linear(tokens, self.in_proj_weight[width:], self.in_proj_bias[width:])
        keys, values = pairs.chunk(2, dim=-1)
        heads = (part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in (queries, keys, values))
        gathered = F.scaled_dot_product_attention(*heads, is_causal=is_causal)
        projected: Tensor = self.out_proj(gathered.transpose(1, 2).flatten(2))
        return projected


class QuickGELU(nn.Module):
    """``x · sigmoid(1.702 x)``, the activation of OpenAI's CLIP."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden * torch.sigmoid(1.702 * hidden)


class ResidualAttentionBlock(nn.Module):
    """Attention and a two-layer perceptron of four times the width, each after a layer norm and with a bypass."""

    def __init__(self, width: int, n_heads: int, *, activation: type[nn.Module] = nn.GELU) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = SelfAttention(width, n_heads)
        self.ln_2 = nn.LayerNorm(width)
        layers = {"c_fc": nn.Linear(width, 4 * width), "gelu": activation(), "c_proj": nn.Linear(4 * width, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, tokens: Tensor, *, keep: slice = EVERYTHING, is_causal: bool = False) -> Tensor:
        """``(n, l, width)`` → ``(n, k, width)``, the kept tokens only; the last block need not compute the others."""
        hidden = tokens[:, keep] + self.attn(self.ln_1(tokens), keep=keep, is_causal=is_causal)
        mixed: Tensor = hidden + self.mlp(self.ln_2(hidden))
        return mixed


def run_blocks(blocks: nn.ModuleList, tokens: Tensor, *, keep: slice) -> Tensor:
    """``(n, l, width)`` through all blocks → ``(n, k, width)`` of the kept tokens."""
    for block in blocks[:-1]:
        tokens = block(tokens)
    kept: Tensor = blocks[-1](tokens, keep=keep)
    return kept
