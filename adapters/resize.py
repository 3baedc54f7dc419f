"""Resizing instead of a tokenizer: reference rows that bound from above what any tokenizer can reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokbench.cards import TokenizerCard
from tokbench.encodings import Encoding, Latents
from tokbench.errors import BadOutputError
from tokbench.images import to_float, to_uint8
from tokbench_adapters._inputs import check_images

if TYPE_CHECKING:
    import torch

    from tokbench.contracts import Tokenizer

FACTORS = (2, 4, 8)

CARDS = (
    TokenizerCard(
        name="resize/fit",
        title="Resize (no tokenizer)",
        latent="none",
        licence="MIT",
        notes=(
            "It changes nothing itself: all that is lost is what the task loses by fitting the image to the model's "
            "size and restoring it, which is the ceiling for every tokenizer under that task.",
        ),
    ),
    *(
        TokenizerCard(
            name=f"resize/f{factor}",
            title=f"Down to 1/{factor} and back",
            latent="none",
            size_multiple=factor,
            downsampling=factor,
            licence="MIT",
            notes=(
                f"The placed image is reduced to 1/{factor} of its sides and enlarged again, both with Pillow's "
                "antialiased Lanczos filter on 8-bit RGB.",
                f"It shows what keeping every pixel of an image {factor} times smaller is worth; no bits are counted.",
            ),
        )
        for factor in FACTORS
    ),
)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:  # noqa: ARG001
    """Nothing to load; ``fit`` leaves images on their device, the others return them there."""
    return Resize(card)


class Resize:
    """Down by the card's factor and up again; factor 1 keeps images bit for bit."""

    def __init__(self, card: TokenizerCard) -> None:
        self.card = card
        self._factor = card.downsampling or 1

    def encode(self, images: torch.Tensor) -> Latents:
        """Float ``(n, 3, h, w)`` in [0, 1] → float ``(n, 3, h/f, w/f)`` on the 8-bit grid (``fit``: untouched)."""
        check_images(self.card, images)
        if self._factor == 1:
            return Latents(values=images)
        height, width = images.shape[2:]
        return Latents(values=_resize(images, (width // self._factor, height // self._factor)))

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """Reduced images → float ``(n, 3, h, w)`` on the 8-bit grid."""
        if not isinstance(encoding, Latents):
            raise BadOutputError(f"{self.card.name} decodes Latents, got {type(encoding).__name__}")
        if self._factor == 1:
            return encoding.values
        height, width = encoding.values.shape[2:]
        return _resize(encoding.values, (width * self._factor, height * self._factor))


def _resize(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Pillow's Lanczos on each image; ``size`` is (width, height)."""
    import numpy as np
    import torch
    from PIL import Image

    pixels = to_uint8(images).permute(0, 2, 3, 1).cpu().numpy()
    resized = [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)) for image in pixels]
    stacked = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).to(images.device)
    return to_float(stacked, images.dtype).contiguous()
