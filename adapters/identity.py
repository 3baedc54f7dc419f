"""The identity: what comes out is what went in, on the untouched reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokbench.cards import TokenizerCard
from tokbench.encodings import Encoding, Latents
from tokbench.errors import BadOutputError
from tokbench_adapters._inputs import check_images

if TYPE_CHECKING:
    import torch

    from tokbench.contracts import Tokenizer

CARDS = (
    TokenizerCard(
        name="identity",
        title="Identity (the reference itself)",
        latent="none",
        takes_source=True,
        licence="MIT",
        notes=(
            "It is handed the untouched reference, so every score is the metric's value at a perfect reconstruction.",
        ),
    ),
)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:  # noqa: ARG001
    """Nothing to load; images stay on their device and in their type."""
    return Identity(card)


class Identity:
    """Keeps images bit for bit."""

    def __init__(self, card: TokenizerCard) -> None:
        self.card = card

    def encode(self, images: torch.Tensor) -> Latents:
        """Float ``(n, 3, h, w)`` in [0, 1] → the same values."""
        check_images(self.card, images)
        return Latents(values=images)

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """The values that :meth:`encode` was given."""
        if not isinstance(encoding, Latents):
            raise BadOutputError(f"{self.card.name} decodes Latents, got {type(encoding).__name__}")
        return encoding.values
