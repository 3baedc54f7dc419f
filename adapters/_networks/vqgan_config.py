"""The shapes convolutional VQGANs come in, without torch: cards are made from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tokbench.errors import UsageError

Search = Literal["euclid", "cosine", "dot", "logits"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How an official implementation names the parts of one and the same network.

    Attributes:
        encoder_levels, decoder_levels: the lists of resolutions.
        blocks: the list of residual blocks inside a resolution.
        middle: the two residual blocks at the lowest resolution and the attention between them, in order.
        decoder_counts_down: whether the decoder's list begins at the full resolution, although that one runs last.
    """

    encoder_levels: str
    decoder_levels: str
    blocks: str
    middle: tuple[str, str, str]
    decoder_counts_down: bool


TAMING = Layout(
    encoder_levels="down",
    decoder_levels="up",
    blocks="block",
    middle=("block_1", "attn_1", "block_2"),
    decoder_counts_down=True,
)
LLAMAGEN = Layout(
    encoder_levels="conv_blocks",
    decoder_levels="conv_blocks",
    blocks="res",
    middle=("0", "1", "2"),
    decoder_counts_down=False,
)


@dataclass(frozen=True, kw_only=True)
class VqganConfig:
    """One released tokenizer.

    Attributes:
        layout: the names of its parameters.
        codebook_size: entries.
        code_width: dimensions of an entry.
        search: which entry a vector gets: the nearest (``euclid``), the nearest at length 1 (``cosine``), the one of
            the largest inner product (``dot``), or the largest of K learned logits (``logits``).
        latent_channels: between the networks and the 1×1 convolutions beside the quantiser.
        channels: at full resolution.
        multipliers: of ``channels`` at each resolution, the full one first; each halves the side of the one before.
        n_blocks: residual blocks a resolution in the encoder; the decoder has one more.
        attention: the resolutions, counted from the full one, with attention after every block. The middle always has
            one.
    """

    layout: Layout
    codebook_size: int
    code_width: int
    search: Search = "euclid"
    latent_channels: int = 256
    channels: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    n_blocks: int = 2
    attention: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if outside := [level for level in self.attention if not 0 <= level < len(self.multipliers)]:
            raise UsageError(f"attention at resolutions {outside}, and there are {len(self.multipliers)}")

    @property
    def cell_px(self) -> int:
        """Pixels a code on a side."""
        return int(2 ** (len(self.multipliers) - 1))

    def tokens(self, side_px: int) -> int:
        """Codes of a square image."""
        return (side_px // self.cell_px) ** 2


@dataclass(frozen=True, kw_only=True)
class FactorConfig:
    """A VQGAN with several codebooks, each behind a transformer of its own.

    Attributes:
        vqgan: the convolutional networks, and the shape that every codebook has.
        factors: the codebooks' official names, in the order in which the decoder takes their entries.
        positions: cells of the grid.
        depth, n_heads: blocks and attention heads of each transformer.
    """

    vqgan: VqganConfig
    factors: tuple[str, ...]
    positions: int
    depth: int = 6
    n_heads: int = 8
