"""Tokenizers whose answers are known exactly, and ones that break the contract in every way we could think of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tokbench.cards import TokenizerCard
from tokbench.encodings import Encoding, Latents, Tokens, TokenStream
from tokbench.wrapping import Wrapped, wrap


class Quantiser:
    """One token a pixel and channel; the largest error is half a step. At 8 bits it is lossless."""

    def __init__(self, bits: int = 4) -> None:
        self._top = 2**bits - 1
        self.card = TokenizerCard(name=f"toy/quantise_{bits}bit", codebook_sizes=(2**bits,), licence="MIT")
        self.seen: list[int] = []

    def encode(self, images: torch.Tensor) -> Tokens:
        self.seen += [images.shape[0]]
        return Tokens.grid((images * self._top).round().long(), codebook_size=self._top + 1)

    def decode(self, encoding: Tokens, *, seeds: Sequence[int]) -> torch.Tensor:
        return encoding.streams[0].indices.float() / self._top


class Residual:
    """Three bits, then three more: a two-level residual quantiser, so a variable-length tokenizer."""

    card = TokenizerCard(
        name="toy/residual", codebook_sizes=(8, 8), prefix_axis="streams", max_length=2, size_multiple=1
    )

    def encode(self, images: torch.Tensor) -> Tokens:
        fine = (images * 63).round().long()
        return Tokens(
            streams=(
                TokenStream(indices=fine // 8, codebook_size=8, codebook="coarse"),
                TokenStream(indices=fine % 8, codebook_size=8, codebook="fine"),
            )
        )

    def decode(self, encoding: Tokens, *, seeds: Sequence[int]) -> torch.Tensor:
        total = encoding.streams[0].indices * 8
        total = total + (encoding.streams[1].indices if len(encoding.streams) > 1 else 4)
        return total.float() / 63


class Noisy:
    """A stochastic decoder that keeps the contract: all its randomness comes from the samples' seeds."""

    card = TokenizerCard(name="toy/noisy", latent="continuous", deterministic=False)

    def encode(self, images: torch.Tensor) -> Latents:
        return Latents(values=images)

    def decode(self, encoding: Latents, *, seeds: Sequence[int]) -> torch.Tensor:
        noise = [
            torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
            for image, seed in zip(encoding.values, seeds, strict=True)
        ]
        return encoding.values + 0.05 * torch.stack(noise)


def broken(
    *,
    encode: Callable[[torch.Tensor], Any] | None = None,
    decode: Callable[[torch.Tensor], Any] | None = None,
) -> Wrapped:
    """An identity tokenizer with one half replaced; ``decode`` is given the true images."""

    class Broken:
        card = TokenizerCard(name="toy/broken", latent="continuous")

        def encode(self, images: torch.Tensor) -> Encoding:
            return encode(images) if encode else Latents(values=images)  # type: ignore[no-any-return]

        def decode(self, encoding: Latents, *, seeds: Sequence[int]) -> Any:
            return decode(encoding.values) if decode else encoding.values

    return wrap(Broken())
