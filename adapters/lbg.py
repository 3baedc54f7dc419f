"""LBG: a residual vector quantiser of 8×8 RGB blocks with trained codebooks, one token a block and level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokbench.encodings import Encoding, Tokens
from tokbench_adapters._reading.shipped_weights import load_weights
from tokbench_adapters._residual import BLOCK_PX, ResidualQuantiser, residual_cards

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer
    from tokbench.quantisers import Quantiser

COORDINATES = 96

CARDS = residual_cards(
    "lbg",
    title="Residual LBG quantiser of 8×8 blocks",
    note="Blocks are projected on their 96 leading principal directions in weighted opponent colours; each level codes "
    "what the levels before it left over, with a codebook of its own; the search is greedy.",
)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Read and verify the codebooks."""
    return ResidualLbg(card, device=device, dtype=dtype)


class ResidualLbg:
    """Residual quantiser with the linear transform back. Any number of leading levels decodes."""

    def __init__(self, card: TokenizerCard, *, device: str, dtype: str) -> None:
        import torch

        self.card = card
        self._dtype: torch.dtype = getattr(torch, dtype)
        weights = load_weights(card, device=device)
        self._quantiser = ResidualQuantiser(card, weights, coordinates=COORDINATES)
        self._synthesis = weights["synthesis"]

    def encode(self, images: torch.Tensor) -> Tokens:
        """Float ``(n, 3, h, w)`` in [0, 1] → one stream of int64 ``(n, h/8, w/8)`` a level."""
        return self._quantiser.encode(images)

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """Any number of leading levels → float ``(n, 3, h, w)``, not clamped."""
        import torch
        import torch.nn.functional as F

        images = []
        for latent in self._quantiser.latents(encoding):
            blocks = self._synthesis @ latent.flatten(1) + self._quantiser.mean
            images.append(F.pixel_shuffle(blocks.unflatten(1, latent.shape[1:]), BLOCK_PX))
        return torch.stack(images).to(self._dtype)

    def quantiser(self) -> Quantiser:
        """The codebooks, for perturbations."""
        return self._quantiser.facts()
