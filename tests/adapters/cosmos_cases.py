"""Cosmos in tests: programs like NVIDIA's, traced from a small network of our own that is filled by key.

The network is upstream's at a reduced configuration where every level but the last halves the side. Golden files have,
by variant: that configuration, the size ``(n, h, w)`` of the images (`seeding.pattern`), the facts of the state dict,
and what upstream's ``ImageTokenizer`` gave for its own export: all indices or the facts of the latents, and of images
in [0, 1].
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from tests.adapters.seeding import seeded_state
from tokbench.cards import TokenizerCard
from tokbench.contracts import Tokenizer
from tokbench_adapters import cosmos
from tokbench_adapters._networks.vqgan import Decoder, Encoder
from tokbench_adapters._networks.vqgan_config import TAMING, VqganConfig

PATCH_PX = 4
SMALL: dict[str, Any] = {
    "channels": 32, "channels_mult": [1, 2, 2], "num_res_blocks": 1, "attn_resolutions": [8], "resolution": 64,
    "z_channels": 32, "spatial_compression": 16,
}  # fmt: skip


def patched(images: Tensor) -> Tensor:
    """Two steps of Haar's wavelets: float ``(n, 3, h, w)`` → ``(n, 48, h/4, w/4)``, averages first."""
    for _ in range(int(math.log2(PATCH_PX))):
        (a, b), (c, d) = ((rows[..., 0::2], rows[..., 1::2]) for rows in (images[..., 0::2, :], images[..., 1::2, :]))
        images = torch.cat([a + b + c + d, a + b - c - d, a - b + c - d, a - b - c + d], dim=1) / 4
    return images


def unpatched(patches: Tensor) -> Tensor:
    """What :func:`patched` was made of."""
    for _ in range(int(math.log2(PATCH_PX))):
        mean, rows, columns, both = patches.chunk(4, dim=1)
        above = torch.stack([mean + rows + columns + both, mean + rows - columns - both], dim=-1).flatten(-2)
        below = torch.stack([mean - rows + columns - both, mean - rows - columns + both], dim=-1).flatten(-2)
        patches = torch.stack([above, below], dim=-2).flatten(-3, -2)
    return patches


class Network(nn.Module):
    """CI or DI under the official names, with what goes before and after the codes."""

    def __init__(self, said: Mapping[str, Any], *, is_discrete: bool) -> None:
        super().__init__()
        sides = [said["resolution"] // PATCH_PX // 2**level for level in range(len(said["channels_mult"]))]
        assert said["spatial_compression"] == PATCH_PX * 2 ** (len(sides) - 1)
        config = VqganConfig(
            layout=TAMING,
            codebook_size=1,
            code_width=1,
            latent_channels=said["z_channels"],
            channels=said["channels"],
            multipliers=tuple(said["channels_mult"]),
            n_blocks=said["num_res_blocks"],
            attention=tuple(level for level, side in enumerate(sides) if side in said["attn_resolutions"]),
        )
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.encoder.conv_in = nn.Conv2d(3 * PATCH_PX**2, config.channels, 3, padding=1)
        self.decoder.conv_out = nn.Conv2d(self.decoder.conv_out.in_channels, 3 * PATCH_PX**2, 3, padding=1)
        width = len(cosmos.LEVELS) if is_discrete else cosmos.CHANNELS
        self.quant_conv = nn.Conv2d(config.latent_channels, width, 1)
        self.post_quant_conv = nn.Conv2d(width, config.latent_channels, 1)


class EncoderProgram(nn.Module):
    """Images in [-1, 1] → what upstream's exported encoder gives, in the network's own type."""

    def __init__(self, network: Network, *, writes_type: bool) -> None:
        super().__init__()
        self.encoder, self.quant_conv = network.encoder, network.quant_conv
        self.writes_type = writes_type

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        patches = patched(images)
        if self.writes_type:  # tracing keeps this type, as it does in upstream's wavelets
            patches = patches.to(images.dtype)
        vectors = self.quant_conv(self.encoder(patches))
        if vectors.shape[1] == cosmos.CHANNELS:
            return vectors, torch.zeros(1)
        levels = torch.tensor(cosmos.LEVELS).view(-1, 1, 1)
        half = (levels - 1) * (1 + 1e-3) / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        steps = (torch.tanh(vectors.float() + torch.atanh(offset / half)) * half - offset).round()
        indices = ((steps + levels // 2) * torch.tensor(cosmos.BASIS).view(-1, 1, 1)).sum(1).int()
        return indices, (steps / (levels // 2)).to(images.dtype), torch.zeros(1)


class DecoderProgram(nn.Module):
    """What the encoder gives first → images in [-1, 1]."""

    def __init__(self, network: Network, dtype: torch.dtype) -> None:
        super().__init__()
        self.post_quant_conv, self.decoder = network.post_quant_conv, network.decoder
        self.dtype = dtype

    def forward(self, latents: Tensor) -> Tensor:
        if latents.ndim == 3:
            levels, basis = (torch.tensor(numbers).view(-1, 1, 1) for numbers in (cosmos.LEVELS, cosmos.BASIS))
            steps = latents[:, None] // basis % levels
            latents = ((steps - levels // 2) / (levels // 2)).to(self.dtype)
        return unpatched(self.decoder(self.post_quant_conv(latents)))


@cache
def programs(
    *, is_discrete: bool, dtype: str = "float32", cell_px: int = 16, writes_type: bool = True, contrast: float = 1.0
) -> tuple[bytes, bytes]:
    """``encoder.jit`` and ``decoder.jit``, traced in a type; ``contrast`` scales what is painted."""
    said = said_of(cell_px)
    with torch.device("meta"):
        network = Network(said, is_discrete=is_discrete)
    weights = seeded_state(network.state_dict())
    weights["decoder.conv_out.weight"] = weights["decoder.conv_out.weight"] * contrast
    network.load_state_dict(weights, strict=True, assign=True)
    network.to(getattr(torch, dtype)).eval().requires_grad_(False)
    images = torch.zeros(1, 3, 32, 48, dtype=getattr(torch, dtype))
    encoder = EncoderProgram(network, writes_type=writes_type)
    latents = encoder(images)[0]
    return traced(encoder, images), traced(DecoderProgram(network, getattr(torch, dtype)), latents)


def said_of(cell_px: int) -> dict[str, Any]:
    """The reduced configuration, in upstream's words."""
    n_levels = int(math.log2(cell_px // PATCH_PX)) + 1
    return {**SMALL, "channels_mult": SMALL["channels_mult"][:n_levels], "spatial_compression": cell_px}


def traced(module: nn.Module, example: Tensor) -> bytes:
    """A TorchScript file."""
    stored = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript has had its day; that constants are constants
        trace: Any = torch.jit.trace
        torch.jit.save(trace(module, example, check_trace=False), stored)
    return stored.getvalue()


def opened(content: bytes) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load: Any = torch.jit.load
        return load(io.BytesIO(content)).eval()


def small_card(family: str, cell_px: int = 16) -> TokenizerCard:
    (card,) = (card for card in cosmos.CARDS if card.name == f"{family}/{cell_px}x{cell_px}")
    return replace(card, tokens=None)


def tokenizer_of(family: str, *, dtype: str = "float32", cell_px: int = 16) -> Tokenizer:
    """A key-seeded tokenizer whose programs were traced in that type."""
    halves = programs(is_discrete=family == "cosmos_di", dtype=dtype, cell_px=cell_px)
    return cosmos.build(small_card(family, cell_px), *map(opened, halves), device="cpu", dtype=dtype)
