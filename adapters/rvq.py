"""RVQ: the codes of ``lbg``, cut to 64 coordinates, with a small convolutional decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokbench.encodings import Encoding, Tokens
from tokbench_adapters._networks.conv_decoder import synthesise
from tokbench_adapters._reading.shipped_weights import load_weights
from tokbench_adapters._residual import ResidualQuantiser, residual_cards

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer
    from tokbench.quantisers import Quantiser

COORDINATES = 64

CARDS = residual_cards(
    "rvq",
    title="Residual quantiser with a convolutional decoder",
    note="Codes are those of lbg in their 64 leading coordinates, at the same rate; the decoder sees neighbouring "
    "blocks, which takes most of the seams between them away.",
    more_weights=(("rvq.safetensors", "0db155f1311fdcc61e29c9670f60afd143a091814df40696e03510a3bf1c42b9"),),
)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Read and verify codebooks and decoder."""
    return ConvRvq(card, device=device, dtype=dtype)


class ConvRvq:
    """Residual quantiser with a convolutional decoder. Any number of leading levels decodes."""

    def __init__(self, card: TokenizerCard, *, device: str, dtype: str) -> None:
        import torch

        self.card = card
        self._dtype: torch.dtype = getattr(torch, dtype)
        self._weights = load_weights(card, device=device)
        self._quantiser = ResidualQuantiser(card, self._weights, coordinates=COORDINATES)

    def encode(self, images: torch.Tensor) -> Tokens:
        """Float ``(n, 3, h, w)`` in [0, 1] → one stream of int64 ``(n, h/8, w/8)`` a level."""
        return self._quantiser.encode(images)

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """Any number of leading levels → float ``(n, 3, h, w)``, not clamped."""
        import torch

        # One image at a time: a convolution of another batch may sum in another order.
        images = [synthesise(self._weights, latent[None]) for latent in self._quantiser.latents(encoding)]
        return torch.cat(images).to(self._dtype)

    def quantiser(self) -> Quantiser:
        """The codebooks, for perturbations."""
        return self._quantiser.facts()
