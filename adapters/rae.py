"""RAE: the features of a frozen DINOv2, SigLIP2 or MAE encoder as latents, and a transformer that paints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench_adapters._libraries.published import Published, cards_of, load_published

if TYPE_CHECKING:
    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer


def _released(encoder: str, repo: str, *, channels: int, side_px: int = 256, input_px: int = 224) -> Published:
    resized = (
        f"The network resizes its {side_px} px input to {input_px} px (bicubic, without antialiasing) and paints "
        f"{side_px} px, which are compared with the {side_px} px input."
    )
    return Published(
        title=f"RAE, {encoder} features",
        hub=f"nyu-visionx/{repo}",
        class_name="AutoencoderRAE",
        cell_px=16,
        channels=channels,
        side_px=side_px,
        facts={
            "licence": "MIT",
            "weights_licence": "MIT",
            "paper": "arXiv:2510.11690",
            "repository": "https://github.com/bytetriper/RAE",
            "requires": ("diffusers", "transformers"),
            "notes": (
                *((resized,) if input_px != side_px else ()),
                "The features of a frozen encoder, without a posterior.",
                "Latents are normalised inside by stored statistics, and decoding undoes it.",
            ),
        },
    )


# The first is the one the paper's main tables use.
VARIANTS = {
    "dinov2_base": _released("DINOv2-B", "RAE-dinov2-wReg-base-ViTXL-n08", channels=768),
    "dinov2_small": _released("DINOv2-S", "RAE-dinov2-wReg-small-ViTXL-n08", channels=384),
    "dinov2_large": _released("DINOv2-L", "RAE-dinov2-wReg-large-ViTXL-n08", channels=1024),
    "dinov2_base_512": _released(
        "DINOv2-B", "RAE-dinov2-wReg-base-ViTXL-n08-i512", channels=768, side_px=512, input_px=448
    ),
    "siglip2_base": _released("SigLIP2-B", "RAE-siglip2-base-p16-i256-ViTXL-n08", channels=768, input_px=256),
    "mae_base": _released("MAE-B", "RAE-mae-base-p16-ViTXL-n08", channels=768, input_px=256),
}

CARDS = cards_of("rae", VARIANTS)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the published files.

    Raises:
        WeightsError: they cannot be had, or are not those of the card.
    """
    return load_published(card, VARIANTS[card.variant], device=device, dtype=dtype)
