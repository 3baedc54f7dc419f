"""The autoencoders of Stable Diffusion: 1.5 with its two finetuned decoders, XL with its float16 repair, and 3.5."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench.errors import UsageError
from tokbench_adapters._libraries.published import Published, cards_of, load_published

if TYPE_CHECKING:
    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer

_COMPVIS = {"paper": "arXiv:2112.10752", "repository": "https://github.com/CompVis/latent-diffusion"}
_SDXL = {"paper": "arXiv:2307.01952", "repository": "https://github.com/Stability-AI/generative-models"}
_SD35 = {
    "paper": "arXiv:2403.03206",
    "repository": "https://github.com/Stability-AI/sd3.5",
    "gated": "the Stability AI community licence must be accepted on its page",
    "weights_licence": "Stability AI community licence",
}
_OVERFLOW = "Overflows in float16, which is refused; bfloat16 and float32 are fine."

# The first are what the names without a variant mean.
SD15 = {
    "ft_mse": Published(
        title="Stable Diffusion 1.5 VAE, decoder finetuned on squared error",
        hub="stabilityai/sd-vae-ft-mse",
        channels=4,
        factor=0.18215,
        facts={
            **_COMPVIS,
            "weights_licence": "MIT",
            "notes": ("Shares its encoder with ft_ema and the original; only the decoder was finetuned.",),
        },
    ),
    "ft_ema": Published(
        title="Stable Diffusion 1.5 VAE, decoder finetuned with averaged weights",
        hub="stabilityai/sd-vae-ft-ema",
        channels=4,
        factor=0.18215,
        facts={
            **_COMPVIS,
            "weights_licence": "MIT",
            "notes": ("Shares its encoder with ft_mse and the original; only the decoder was finetuned.",),
        },
    ),
    "original": Published(
        title="Stable Diffusion 1.5 VAE as released",
        hub="stable-diffusion-v1-5/stable-diffusion-v1-5",
        subfolder="vae",
        channels=4,
        factor=0.18215,
        facts={**_COMPVIS, "weights_licence": "CreativeML Open RAIL-M"},
    ),
}
SDXL = {
    "original": Published(
        title="Stable Diffusion XL VAE",
        hub="stabilityai/sdxl-vae",
        channels=4,
        factor=0.13025,
        facts={**_SDXL, "weights_licence": "MIT", "notes": (_OVERFLOW,)},
    ),
    "fp16_fix": Published(
        title="Stable Diffusion XL VAE, finetuned to fit float16",
        hub="madebyollin/sdxl-vae-fp16-fix",
        channels=4,
        factor=0.13025,
        facts={
            **_SDXL,
            "weights_licence": "MIT",
            "notes": ("Finetuned to keep its activations small, so its images differ a little from the original's.",),
        },
    ),
}
SD35 = {
    size: Published(
        title=f"Stable Diffusion 3.5 {size} VAE",
        hub=f"stabilityai/stable-diffusion-3.5-{size}",
        subfolder="vae",
        channels=16,
        factor=1.5305,
        shift=0.0609,
        facts=_SD35,
    )
    for size in ("medium", "large")
}
FAMILIES = {"sd15_vae": SD15, "sdxl_vae": SDXL, "sd35_vae": SD35}

CARDS = tuple(card for family, variants in FAMILIES.items() for card in cards_of(family, variants))


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the published files.

    Raises:
        UsageError: SDXL's original weights in float16.
        WeightsError: the files cannot be had, or are not those of the card.
    """
    if card.name == "sdxl_vae/original" and dtype == "float16":
        raise UsageError(f"{card.name} overflows in float16; pass --dtype bfloat16 or measure sdxl_vae/fp16_fix")
    return load_published(card, FAMILIES[card.family][card.variant], device=device, dtype=dtype)
