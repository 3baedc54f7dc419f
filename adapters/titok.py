"""TiTok: 32 to 256 tokens an image from a transformer, VQ or continuous, with the official weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench_adapters._networks.titok_config import BASE, LARGE, MASKGIT, SMALL, TiTokConfig, TransformerSize
from tokbench_adapters._reading.hub_weights import UNPINNED, read_hub_weights
from tokbench_adapters._titok import NOTES, build, size_of, titok_card

if TYPE_CHECKING:
    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer


def _two_steps(size: TransformerSize, n_tokens: int) -> TiTokConfig:
    """The first releases: 4096 codes of length 1, and MaskGIT's decoder behind the transformer."""
    return TiTokConfig(
        encoder=size,
        decoder=size,
        n_tokens=n_tokens,
        token_width=12,
        codebook_size=4096,
        is_normalised=True,
        pixels=MASKGIT,
    )


def _one_step(encoder: TransformerSize, n_tokens: int, *, codebook_size: int | None) -> TiTokConfig:
    """The later releases, whose large decoder paints patches itself."""
    return TiTokConfig(
        encoder=encoder,
        decoder=LARGE,
        n_tokens=n_tokens,
        token_width=16 if codebook_size is None else 64,
        codebook_size=codebook_size,
    )


# The first is the model the paper is named after.
VARIANTS: dict[str, TiTokConfig] = {
    "l32": _two_steps(LARGE, 32),
    "b64": _two_steps(BASE, 64),
    "s128": _two_steps(SMALL, 128),
    "bl64_vq8k": _one_step(BASE, 64, codebook_size=8192),
    "bl128_vq8k": _one_step(BASE, 128, codebook_size=8192),
    "sl256_vq8k": _one_step(SMALL, 256, codebook_size=8192),
    "ll32_vae_c16": _one_step(LARGE, 32, codebook_size=None),
    "bl64_vae_c16": _one_step(BASE, 64, codebook_size=None),
    "bl128_vae_c16": _one_step(BASE, 128, codebook_size=None),
}

VARIANT_NOTES = {
    **NOTES,
    "cosine": "Codes are searched by squared distance after scaling to length 1.",
    "euclid": "Codes are searched by squared distance.",
    "float32": "The code search is in float32 whatever the type of the network.",
}


def card_of(variant: str, config: TiTokConfig) -> TokenizerCard:
    """The facts of a variant."""
    is_vq = config.codebook_size is not None
    parts = ["steps" if config.pixels is not None else "patches"]
    parts += ["cosine" if config.is_normalised else "euclid", "float32"] if is_vq else ["sample"]
    return titok_card(
        f"titok/{variant}",
        f"TiTok-{size_of(variant)}-{config.n_tokens}",
        config,
        hub=f"yucornetto/tokenizer_titok_{variant}_imagenet",
        paper="arXiv:2406.07550",
        notes=(*(VARIANT_NOTES[part] for part in parts), UNPINNED),
    )


CARDS = tuple(card_of(variant, config) for variant, config in VARIANTS.items())


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the official checkpoint.

    Raises:
        WeightsError: it cannot be had, or is not the one this network is read from.
    """
    pinned, tensors = read_hub_weights(card)
    return build(pinned, VARIANTS[card.variant], tensors, device=device, dtype=dtype)
