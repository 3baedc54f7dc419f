"""One-D-Piece: 1 to 256 tokens an image, the leading ones first, with the official weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench.cards import TokenizerCard
from tokbench_adapters._networks.titok_config import BASE, LARGE, MASKGIT, SMALL, TiTokConfig, TransformerSize
from tokbench_adapters._reading.hub_weights import UNPINNED, read_hub_weights
from tokbench_adapters._titok import NOTES, build

if TYPE_CHECKING:
    from tokbench.contracts import Tokenizer


def _config(size: TransformerSize) -> TiTokConfig:
    return TiTokConfig(
        encoder=size,
        decoder=size,
        n_tokens=256,
        token_width=12,
        codebook_size=4096,
        is_normalised=True,
        pixels=MASKGIT,
    )


# The first is the one the paper's main results are of.
VARIANTS: dict[str, TiTokConfig] = {"l256": _config(LARGE), "b256": _config(BASE), "s256": _config(SMALL)}


def card_of(variant: str, config: TiTokConfig) -> TokenizerCard:
    """The facts of a variant."""
    size = variant.rstrip("0123456789").upper()
    assert config.codebook_size is not None
    return TokenizerCard(
        name=f"one_d_piece/{variant}",
        title=f"One-D-Piece-{size}-{config.n_tokens} (VQ, {config.codebook_size} codes, variable length)",
        codebook_sizes=(config.codebook_size,),
        fixed_size_px=config.side_px,
        size_multiple=config.patch_px,
        tokens=config.n_tokens,
        prefix_axis="positions",
        max_length=config.n_tokens,
        hub=f"turing-motors/One-D-Piece-{size}-{config.n_tokens}",
        licence="Apache-2.0",
        weights_licence="Apache-2.0 (the project's; the class that publishes them is tagged MIT)",
        paper="arXiv:2501.10064",
        repository="https://github.com/turingmotors/One-D-Piece",
        notes=(
            "TiTok's network trained with the tail of the tokens dropped at random, so any number of leading tokens "
            "decodes; all 256 are encoded and the tail is cut off afterwards, as upstream does.",
            NOTES["steps"],
            "Codes are searched by squared distance after scaling to length 1, in float32 whatever the type of the "
            "network.",
            UNPINNED,
        ),
    )


CARDS = tuple(card_of(variant, config) for variant, config in VARIANTS.items())


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the official checkpoint.

    Raises:
        WeightsError: it cannot be had, or is not the one this network is read from.
    """
    pinned, tensors = read_hub_weights(card)
    return build(pinned, VARIANTS[card.variant], tensors, device=device, dtype=dtype)
