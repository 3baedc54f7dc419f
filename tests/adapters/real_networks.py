"""Two real networks whose weights are in ``../shared/weights``; its READMEs describe them.

Plain functions over the state dicts, so that every reshaping, range and padding stands in view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from tokbench.cards import TokenizerCard
from tokbench.encodings import Latents, Tokens

Weights = Mapping[str, Tensor]


class VqvaeExplore:
    """VQ-VAE of NimbleBoxAI/explore-weights: 512 codes of 128 dimensions, 4 px a token, images minus 0.5."""

    def __init__(self, folder: Path) -> None:
        self._weights: Weights = torch.load(folder / "vqvae.pt", weights_only=True, map_location="cpu")
        self._codebook = self._weights["vq_vae.codebook.weight"]
        self.card = TokenizerCard(
            name="vqvae_explore", codebook_sizes=(512,), size_multiple=4, downsampling=4, licence="MIT"
        )

    def encode(self, images: Tensor) -> Tokens:
        weights = {key.removeprefix("encoder._blocks."): value for key, value in self._weights.items()}
        hidden = F.relu(_conv(weights, "conv_1", images - 0.5, stride=2, padding=1))
        hidden = F.relu(_conv(weights, "conv_2", hidden, stride=2, padding=1))
        hidden = _residual_stack(weights, _conv(weights, "conv_3", hidden, padding=1))
        latent = _conv(self._weights, "pre_vq_conv", hidden)  # (n, 128, h/4, w/4)
        indices = [_nearest(sample.flatten(1).T, self._codebook).view(latent.shape[2:]) for sample in latent]
        return Tokens.grid(torch.stack(indices), codebook_size=len(self._codebook))

    def decode(self, encoding: Tokens, *, seeds: Sequence[int]) -> Tensor:
        weights = {key.removeprefix("decoder._blocks."): value for key, value in self._weights.items()}
        hidden = self._codebook[encoding.streams[0].indices].permute(0, 3, 1, 2)
        hidden = _residual_stack(weights, _conv(weights, "conv_1", hidden, padding=1))
        for name in ("conv_t_1", "conv_t_2"):
            hidden = F.conv_transpose2d(hidden, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=2, padding=1)
            hidden = F.relu(hidden) if name == "conv_t_1" else hidden
        return hidden + 0.5


class Taef2:
    """Tiny autoencoder for FLUX.2 latents (madebyollin/taesd): 32 channels at 8 px, images in [0, 1] both ways."""

    def __init__(self, folder: Path) -> None:
        self._encoder = _float(folder / "taef2_encoder.pth")
        self._decoder = _float(folder / "taef2_decoder.pth")
        self.card = TokenizerCard(name="taef2", latent="continuous", size_multiple=8, downsampling=8, licence="MIT")

    def encode(self, images: Tensor) -> Latents:
        weights, hidden = self._encoder, _conv(self._encoder, "0", images, padding=1)
        hidden = _block(weights, "1", hidden)
        for down in (2, 6, 10):
            hidden = _conv(weights, str(down), hidden, stride=2, padding=1)
            for index in range(down + 1, down + 4):
                hidden = _block(weights, str(index), hidden)
        return Latents(values=_conv(weights, "14", hidden, padding=1))

    def decode(self, encoding: Latents, *, seeds: Sequence[int]) -> Tensor:
        weights = self._decoder
        hidden = F.relu(_conv(weights, "1", 3 * torch.tanh(encoding.values / 3), padding=1))
        for index in (3, 4, 5):
            hidden = _block(weights, str(index), hidden)
        for up in (6, 11):
            hidden = _conv(weights, str(up + 1), F.interpolate(hidden, scale_factor=2.0), padding=1)
            for index in range(up + 2, up + 5):
                hidden = _block(weights, str(index), hidden)
        hidden = _conv(weights, "17", F.interpolate(hidden, scale_factor=2.0), padding=1)
        return _conv(weights, "19", _block(weights, "18", hidden), padding=1)


def _float(path: Path) -> Weights:
    return {key: value.float() for key, value in torch.load(path, weights_only=True, map_location="cpu").items()}


def _conv(weights: Weights, name: str, hidden: Tensor, *, stride: int = 1, padding: int = 0) -> Tensor:
    return F.conv2d(hidden, weights[f"{name}.weight"], weights.get(f"{name}.bias"), stride=stride, padding=padding)


def _residual_stack(weights: Weights, hidden: Tensor) -> Tensor:
    """Each layer replaces x by relu(x) and adds to that: the training code's ReLU was in place."""
    for layer in range(2):
        prefix = f"residual.residual_blocks.residual_{layer}._block"
        hidden = F.relu(hidden)
        inner = F.relu(_conv(weights, f"{prefix}.conv_1", hidden, padding=1))
        hidden = hidden + _conv(weights, f"{prefix}.conv_2", inner)
    return F.relu(hidden)


def _nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    return torch.addmm((codebook * codebook).sum(1), vectors, codebook.T, alpha=-2).argmin(1)


def _block(weights: Weights, name: str, hidden: Tensor) -> Tensor:
    if f"{name}.pool.0.weight" in weights:
        pooled = _conv(weights, f"{name}.pool.0", hidden)
        pooled = F.relu(F.group_norm(pooled, 4, weights[f"{name}.pool.1.weight"], weights[f"{name}.pool.1.bias"]))
        hidden = hidden + _conv(weights, f"{name}.pool.3", pooled)
    inner = F.relu(_conv(weights, f"{name}.conv.0", hidden, padding=1))
    inner = F.relu(_conv(weights, f"{name}.conv.2", inner, padding=1))
    return F.relu(_conv(weights, f"{name}.conv.4", inner, padding=1) + hidden)
