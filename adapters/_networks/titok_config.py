"""The shapes TiTok comes in, without torch: cards are made from them."""

from __future__ import annotations

from dataclasses import dataclass

from tokbench.errors import UsageError

SIDE_PX = 256
PATCH_PX = 16


@dataclass(frozen=True, kw_only=True)
class TransformerSize:
    """Width, number of blocks and number of attention heads of a vision transformer."""

    width: int
    depth: int
    n_heads: int


@dataclass(frozen=True, kw_only=True)
class PixelDecoderSize:
    """The convolutional decoder of MaskGIT's VQGAN.

    Attributes:
        codebook_size, codebook_width: of the image-grid codebook whose entries the decoder paints from.
        channels: at full resolution.
        multipliers: of ``channels`` at each resolution, the full one first; each halves the side of the one before.
        n_blocks: residual blocks at each resolution.
    """

    codebook_size: int = 1024
    codebook_width: int = 256
    channels: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    n_blocks: int = 2


SMALL = TransformerSize(width=512, depth=8, n_heads=8)
BASE = TransformerSize(width=768, depth=12, n_heads=12)
LARGE = TransformerSize(width=1024, depth=24, n_heads=16)
MASKGIT = PixelDecoderSize()


@dataclass(frozen=True, kw_only=True)
class TiTokConfig:
    """One released tokenizer.

    Attributes:
        encoder, decoder: sizes of the two transformers.
        n_tokens: latent tokens an image.
        token_width: dimensions of a latent token.
        codebook_size: entries; None for continuous latents with a Gaussian posterior.
        is_normalised: tokens and entries are compared, and entries decoded, at length 1.
        pixels: the second decoder of a model that decodes in two steps (grid codes, then pixels); None for one whose
            transformer paints patches itself.
        text_width: dimensions of the text embeddings the decoder reads; 0 for a decoder without text.
        text_length: how many of them.
        is_rotary: the grid's positions are rotations of queries and keys, not learned; there is no class token, and
            perceptrons are gated (FlowTok).
        side_px, patch_px: of the image and of a patch, in pixels.
    """

    encoder: TransformerSize
    decoder: TransformerSize
    n_tokens: int
    token_width: int
    codebook_size: int | None
    is_normalised: bool = False
    pixels: PixelDecoderSize | None = None
    text_width: int = 0
    text_length: int = 77
    is_rotary: bool = False
    side_px: int = SIDE_PX
    patch_px: int = PATCH_PX

    def __post_init__(self) -> None:
        if self.pixels is not None and 2 ** (len(self.pixels.multipliers) - 1) != self.patch_px:
            raise UsageError(
                f"{len(self.pixels.multipliers)} resolutions do not bring patches of {self.patch_px} px back to pixels"
            )
        if self.codebook_size is None and (self.pixels is not None or self.is_normalised):
            raise UsageError("continuous latents are neither normalised nor decoded through grid codes")

    @property
    def grid(self) -> int:
        """Patches on a side."""
        return self.side_px // self.patch_px
