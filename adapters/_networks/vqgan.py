"""The convolutional encoder and decoder of VQGAN, which a whole family of tokenizers shares.

After Esser, Rombach and Ommer, "Taming Transformers for High-Resolution Image Synthesis" (arXiv:2012.09841),
CompVis/taming-transformers at 3ba01b2, ``modules/diffusionmodules/model.py``, and FoundationVision/LlamaGen at ce98ec4,
``tokenizer/tokenizer_image/vq_model.py``, which is the same network under other parameter names
(:class:`~tokbench_adapters._networks.vqgan_config.Layout`). Group normalisation has 32 groups and an epsilon of 1e-6.
Activations and bypasses are computed in place: the same numbers with less memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from tokbench_adapters._networks.codebook import Codebook
from tokbench_adapters._networks.lookup import DotCodebook, LogitCodebook
from tokbench_adapters._networks.vqgan_config import Layout, VqganConfig

GROUPS = 32
EPSILON = 1e-6


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a bypass, which is a 1×1 convolution where the number of channels changes."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.norm1 = group_norm(n_in)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.norm2 = group_norm(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()

    def forward(self, hidden: Tensor) -> Tensor:
        inner: Tensor = self.conv1(F.silu(self.norm1(hidden), inplace=True))
        inner = self.conv2(F.silu(self.norm2(inner), inplace=True))
        return inner.add_(self.nin_shortcut(hidden))


class Attention(nn.Module):
    """Attention of every position to every other, with one head as wide as the channels."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.norm = group_norm(n_channels)
        self.q = nn.Conv2d(n_channels, n_channels, 1)
        self.k = nn.Conv2d(n_channels, n_channels, 1)
        self.v = nn.Conv2d(n_channels, n_channels, 1)
        self.proj_out = nn.Conv2d(n_channels, n_channels, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        normed = self.norm(hidden)
        # (n, 1 head, positions, channels)
        query, key, value = (part(normed).flatten(2).transpose(1, 2)[:, None] for part in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(query, key, value)[:, 0].transpose(1, 2).view_as(hidden)
        projected: Tensor = self.proj_out(mixed)
        return hidden + projected  # not in place: the sum keeps the memory layout of `hidden`


class Downsample(nn.Module):
    """Half the side, by a 3×3 convolution that is padded at the right and at the bottom only."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_channels, n_channels, 3, stride=2)

    def forward(self, hidden: Tensor) -> Tensor:
        halved: Tensor = self.conv(F.pad(hidden, (0, 1, 0, 1)))
        return halved


class Upsample(nn.Module):
    """Twice the side: every value four times, then a 3×3 convolution."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_channels, n_channels, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        doubled: Tensor = self.conv(F.interpolate(hidden, scale_factor=2.0, mode="nearest"))
        return doubled


class Level(nn.Module):
    """The blocks of one resolution, with attention after each or none, then the step to the next resolution."""

    def __init__(
        self,
        layout: Layout,
        n_in: int,
        n_out: int,
        *,
        n_blocks: int,
        attends: bool,
        downsample: bool = False,
        upsample: bool = False,
    ) -> None:
        super().__init__()
        blocks = [ResidualBlock(n_in if number == 0 else n_out, n_out) for number in range(n_blocks)]
        attentions = [Attention(n_out) for _ in range(n_blocks if attends else 0)]
        self.add_module(layout.blocks, nn.ModuleList(blocks))
        self.attn = nn.ModuleList(attentions)
        steps: list[nn.Module] = []
        for number, block in enumerate(blocks):
            steps += [block, *attentions[number : number + 1]]
        if downsample:
            self.downsample = Downsample(n_out)
            steps.append(self.downsample)
        if upsample:
            self.upsample = Upsample(n_out)
            steps.append(self.upsample)
        self._steps = tuple(steps)  # a tuple, so that nothing is registered a second time

    def forward(self, hidden: Tensor) -> Tensor:
        for step in self._steps:
            hidden = step(hidden)
        return hidden


class Trunk(nn.Module):
    """The encoder without its last two layers: images to features at the lowest resolution."""

    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        widths = _widths(config)
        last = len(widths) - 1
        self.conv_in = nn.Conv2d(3, config.channels, 3, padding=1)
        levels = [
            Level(
                config.layout,
                n_in,
                n_out,
                n_blocks=config.n_blocks,
                attends=number in config.attention,
                downsample=number < last,
            )
            for number, (n_in, n_out) in enumerate(zip([config.channels, *widths[:-1]], widths, strict=True))
        ]
        self.add_module(config.layout.encoder_levels, nn.ModuleList(levels))
        self.mid = _middle(config.layout, widths[-1])
        self._levels = tuple(levels)

    def features(self, images: Tensor) -> Tensor:
        """Float ``(n, 3, h, w)`` in [-1, 1] → float ``(n, width, h/cell, w/cell)``."""
        hidden: Tensor = self.conv_in(images)
        for level in self._levels:
            hidden = level(hidden)
        found: Tensor = self.mid(hidden)
        return found


class Encoder(Trunk):
    """Images ``(n, 3, h, w)`` in [-1, 1] → latents ``(n, latent_channels, h/cell, w/cell)``."""

    def __init__(self, config: VqganConfig) -> None:
        super().__init__(config)
        self.norm_out = group_norm(_widths(config)[-1])
        self.conv_out = nn.Conv2d(_widths(config)[-1], config.latent_channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        latents: Tensor = self.conv_out(F.silu(self.norm_out(self.features(images)), inplace=True))
        return latents


class Decoder(nn.Module):
    """Latents ``(n, latent_channels, h, w)`` → images ``(n, 3, cell·h, cell·w)``, nominally in [-1, 1]."""

    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        widths = _widths(config)
        self.conv_in = nn.Conv2d(config.latent_channels, widths[-1], 3, padding=1)
        self.mid = _middle(config.layout, widths[-1])
        levels = [
            Level(
                config.layout,
                n_in,
                n_out,
                n_blocks=config.n_blocks + 1,
                attends=number in config.attention,
                upsample=number > 0,
            )
            for number, (n_in, n_out) in enumerate(zip([*widths[1:], widths[-1]], widths, strict=True))
        ]
        running = tuple(reversed(levels))
        counted = levels if config.layout.decoder_counts_down else running
        self.add_module(config.layout.decoder_levels, nn.ModuleList(counted))
        self.norm_out = group_norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)
        self._levels = running

    def forward(self, latents: Tensor) -> Tensor:
        hidden = self.mid(self.conv_in(latents))
        for level in self._levels:
            hidden = level(hidden)
        images: Tensor = self.conv_out(F.silu(self.norm_out(hidden), inplace=True))
        return images


class VqganNetwork(nn.Module):
    """Encoder, quantiser and decoder of one released tokenizer, under the official parameter names."""

    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantize = codebook(config)
        self.quant_conv = nn.Conv2d(config.latent_channels, config.code_width, 1)
        self.post_quant_conv = nn.Conv2d(config.code_width, config.latent_channels, 1)

    def encode(self, images: Tensor) -> Tensor:
        """Float ``(n, 3, h, w)`` in [-1, 1] → the vectors to quantise, float ``(n, h/cell, w/cell, d)``."""
        vectors: Tensor = self.quant_conv(self.encoder(images))
        return vectors.permute(0, 2, 3, 1).contiguous()

    def compared(self, vectors: Tensor) -> Tensor:
        """The vectors as their distances to the codebook's ``entries()`` rank the codes."""
        return vectors if isinstance(self.quantize, Codebook) else self.quantize.compared(vectors)

    def decode(self, entries: Tensor) -> Tensor:
        """Entries of the codebook, float ``(n, h, w, d)`` → float ``(n, 3, cell·h, cell·w)``, not clamped.

        Permuted, not copied, they lie with channels last, and all that follows does; convolutions are faster so.
        """
        images: Tensor = self.decoder(self.post_quant_conv(entries.permute(0, 3, 1, 2)))
        return images


def codebook(config: VqganConfig) -> Codebook | DotCodebook | LogitCodebook:
    """The quantiser a configuration asks for."""
    if config.search == "dot":
        return DotCodebook(config.codebook_size, config.code_width)
    if config.search == "logits":
        return LogitCodebook(config.codebook_size, config.code_width)
    return Codebook(config.codebook_size, config.code_width, is_normalised=config.search == "cosine")


def _widths(config: VqganConfig) -> list[int]:
    return [config.channels * multiplier for multiplier in config.multipliers]


def _middle(layout: Layout, width: int) -> nn.Sequential:
    parts: Sequence[nn.Module] = (ResidualBlock(width, width), Attention(width), ResidualBlock(width, width))
    return nn.Sequential(OrderedDict(zip(layout.middle, parts, strict=True)))


def group_norm(n_channels: int) -> nn.GroupNorm:
    """As every layer of this family has it."""
    return nn.GroupNorm(GROUPS, n_channels, eps=EPSILON)
