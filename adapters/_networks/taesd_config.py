"""The shape of a TAESD network; light, so that a card can be made from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TaesdConfig:
    """One network of the family.

    Attributes:
        latent_channels: of its latents.
        widths: channels of the decoder's stages, the coarsest first; the encoder has the last one's throughout.
        stem: channels after each convolution of stride 2 that comes before the encoder's first block; one of stride 1
            if there are none.
        is_pooled: the blocks at the lowest resolution add a branch that is normalised over the whole image.
    """

    latent_channels: int
    widths: tuple[int, ...] = (64, 64, 64, 64)
    stem: tuple[int, ...] = ()
    is_pooled: bool = False

    def __post_init__(self) -> None:
        if len(self.widths) != 4 + len(self.stem):
            raise ValueError(f"a stem of {len(self.stem)} needs {4 + len(self.stem)} decoder stages, got {self.widths}")

    @property
    def cell_px(self) -> int:
        """Pixels per latent cell on a side."""
        return 2 ** (len(self.widths) - 1)
