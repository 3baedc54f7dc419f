"""The convolutional decoder of MaskGIT's VQGAN, the second step of TiTok and One-D-Piece.

After huggingface/open-muse, ``modeling_maskgit_vqgan.py``, as bytedance/1d-tokenizer carries it (942a96f), under the
same parameter names. A convolution that keeps the size by "same" padding is, for these odd kernels and steps of one,
a convolution padded by half its kernel. Activations and bypasses are computed in place: the same numbers with less
memory.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tokbench_adapters._networks.titok_config import PixelDecoderSize

GROUPS = 32
EPSILON = 1e-6


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions without bias and a bypass.

    Where the number of channels changes, the official bypass is a 1×1 convolution of the block's *output*, not of its
    input; checkpoints are trained so.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.norm1 = _norm(n_in)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        self.norm2 = _norm(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.nin_shortcut = nn.Conv2d(n_out, n_out, 1, bias=False) if n_in != n_out else None

    def forward(self, hidden: Tensor) -> Tensor:
        inner: Tensor = self.conv1(F.silu(self.norm1(hidden), inplace=True))
        inner = self.conv2(F.silu(self.norm2(inner), inplace=True))
        return inner.add_(hidden if self.nin_shortcut is None else self.nin_shortcut(inner))


class Level(nn.Module):
    """The residual blocks of one resolution, then twice the size unless it is the full one."""

    def __init__(self, n_in: int, n_out: int, *, n_blocks: int, doubles: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResidualBlock(n_in if number == 0 else n_out, n_out) for number in range(n_blocks))
        self.upsample_conv = nn.Conv2d(n_out, n_out, 3, padding=1) if doubles else None

    def forward(self, hidden: Tensor) -> Tensor:
        for block in self.block:
            hidden = block(hidden)
        if self.upsample_conv is None:
            return hidden
        doubled: Tensor = self.upsample_conv(F.interpolate(hidden, scale_factor=2.0, mode="nearest"))
        return doubled


class PixelDecoder(nn.Module):
    """Grid vectors ``(n, codebook_width, h, w)`` → images ``(n, 3, 16h, 16w)`` in [0, 1], not clamped."""

    def __init__(self, size: PixelDecoderSize) -> None:
        super().__init__()
        widths = [size.channels * multiplier for multiplier in size.multipliers]
        self.conv_in = nn.Conv2d(size.codebook_width, widths[-1], 3, padding=1)
        self.mid = nn.ModuleList(ResidualBlock(widths[-1], widths[-1]) for _ in range(size.n_blocks))
        # Index 0 is the full resolution and runs last.
        self.up = nn.ModuleList(
            Level(n_in, n_out, n_blocks=size.n_blocks, doubles=number > 0)
            for number, (n_in, n_out) in enumerate(zip([*widths[1:], widths[-1]], widths, strict=True))
        )
        self.norm_out = _norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, grid: Tensor) -> Tensor:
        hidden = self.conv_in(grid)
        for block in self.mid:
            hidden = block(hidden)
        for level in reversed(self.up):
            hidden = level(hidden)
        painted: Tensor = self.conv_out(F.silu(self.norm_out(hidden), inplace=True))
        return painted


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, channels, eps=EPSILON)
