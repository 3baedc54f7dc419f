"""What adapters check about the encodings they are handed back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench.encodings import Encoding, Latents, Tokens
from tokbench.errors import BadOutputError

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard


def require_grid(card: TokenizerCard, encoding: Encoding, *, codebooks: int) -> list[torch.Tensor]:
    """The indices of each stream, int64 ``(n, h, w)``.

    Raises:
        BadOutputError: the encoding is not Tokens of so many streams of one shape.
    """
    if isinstance(encoding, Tokens):
        found = [stream.indices for stream in encoding.streams]
        if len(found) == codebooks and found[0].ndim == 3 and len({grid.shape for grid in found}) == 1:
            return found
        got = f"Tokens of shapes {[tuple(grid.shape) for grid in found]}"
    else:
        got = type(encoding).__name__
    raise BadOutputError(f"{card.name} decodes Tokens of {codebooks} stream(s) (n, h, w), got {got}")


def require_latent_grid(card: TokenizerCard, encoding: Encoding, *, channels: int) -> torch.Tensor:
    """The latents, float ``(n, channels, h, w)``.

    Raises:
        BadOutputError: the encoding is not Latents of that shape.
    """
    if isinstance(encoding, Latents) and encoding.values.ndim == 4 and encoding.values.shape[1] == channels:
        return encoding.values
    got = tuple(encoding.values.shape) if isinstance(encoding, Latents) else type(encoding).__name__
    raise BadOutputError(f"{card.name} decodes Latents (n, {channels}, h, w), got {got}")
