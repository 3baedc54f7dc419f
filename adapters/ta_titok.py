"""TA-TiTok: 32 to 128 tokens an image, VQ or continuous, and a caption beside them, with the official weights."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from tokbench.weights.catalogue import known
from tokbench.weights.fetching import fetch
from tokbench.weights.loading import load_state_dict
from tokbench_adapters._networks.titok_config import BASE, LARGE, SMALL, TiTokConfig, TransformerSize
from tokbench_adapters._reading.hub_weights import UNPINNED, read_hub_weights
from tokbench_adapters._titok import NOTES, build, size_of, titok_card

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer

CAPTION = "A photo."
# CLIP's tokens of it, lower-cased: start, "a", "photo", ".", end.
CAPTION_TOKENS = (49406, 320, 1125, 269, 49407)
CLIP = "clip_vitl14_336"


def _config(encoder: TransformerSize, n_tokens: int, *, codebook_size: int | None) -> TiTokConfig:
    return TiTokConfig(
        encoder=encoder,
        decoder=LARGE,
        n_tokens=n_tokens,
        token_width=16 if codebook_size is None else 64,
        codebook_size=codebook_size,
        text_width=768,
    )


# The first is the discrete one with the best published score.
VARIANTS: dict[str, TiTokConfig] = {
    "bl128_vq": _config(BASE, 128, codebook_size=8192),
    "bl64_vq": _config(BASE, 64, codebook_size=8192),
    "bl32_vq": _config(BASE, 32, codebook_size=8192),
    "bl32_vae": _config(BASE, 32, codebook_size=None),
    "bl64_vae": _config(BASE, 64, codebook_size=None),
    "sl128_vae": _config(SMALL, 128, codebook_size=None),
}


def card_of(variant: str, config: TiTokConfig) -> TokenizerCard:
    """The facts of a variant."""
    return titok_card(
        f"ta_titok/{variant}",
        f"TA-TiTok-{size_of(variant)}-{config.n_tokens}",
        config,
        side_information=f"a caption; here {CAPTION!r} for every image, which costs no bits",
        hub=f"turkeyju/tokenizer_tatitok_{variant}",
        weights_keys=(CLIP,),
        paper="arXiv:2501.07730",
        notes=(
            f"The decoder reads CLIP's embedding of a caption. Every image is decoded with {CAPTION!r}; the official "
            "evaluation on ImageNet names the image's class ('A photo of a …'), so its scores are not to be compared.",
            f"CLIP's text half comes from the file that the key {CLIP} of `tokbench weights` names, with its own "
            "activation (x·sigmoid(1.702x)); positions after the caption hold token 0, as open_clip pads.",
            NOTES["patches"],
            "Codes are searched by squared distance, in float32 whatever the type of the network."
            if config.codebook_size is not None
            else NOTES["sample"],
            UNPINNED,
        ),
    )


CARDS = tuple(card_of(variant, config) for variant, config in VARIANTS.items())


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the official checkpoint, and CLIP's for the caption.

    Raises:
        WeightsError: one of them cannot be had, or is not the one this network is read from.
    """
    pinned, tensors = read_hub_weights(card)
    return build(pinned, VARIANTS[card.variant], tensors, device=device, dtype=dtype, text=caption_states())


@cache
def caption_states() -> torch.Tensor:
    """CLIP's embedding of the caption, float32 ``(1, 77, 768)``."""
    from tokbench_adapters._networks.clip_text import text_states

    weights = known(CLIP)
    fetch(weights)
    return text_states(load_state_dict(weights), CAPTION_TOKENS)
