"""Autoencoders of further image generators: HunyuanImage, Qwen-Image, Kandinsky's KVAE, and asymmetric SD decoders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench_adapters._libraries.published import ONE_FRAME, UNKNOWN_LICENCE, Published, cards_of, load_published

if TYPE_CHECKING:
    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer


def _asymmetric(factor: str) -> Published:
    return Published(
        title=f"Asymmetric VQGAN's decoder for SD 1.5 latents, ×{factor.replace('-', '.')} as large",
        hub=f"cross-attention/asymmetric-autoencoder-kl-x-{factor}",
        class_name="AsymmetricAutoencoderKL",
        channels=4,
        factor=0.18215,
        facts={
            "paper": "arXiv:2306.04632",
            "repository": "https://github.com/buxiangzhiren/Asymmetric_VQGAN",
            "weights_licence": UNKNOWN_LICENCE,
            "notes": ("Decoded without the masked image it can be told of for inpainting.",),
        },
    )


FAMILIES = {
    "hunyuanimage_vae": {
        "2.1": Published(
            title="HunyuanImage 2.1 VAE",
            hub="hunyuanvideo-community/HunyuanImage-2.1-Diffusers",
            subfolder="vae",
            class_name="AutoencoderKLHunyuanImage",
            cell_px=32,
            channels=64,
            factor=0.75289,
            facts={
                "repository": "https://github.com/Tencent-Hunyuan/HunyuanImage-2.1",
                "weights_licence": UNKNOWN_LICENCE,
                "notes": ("Images go through whole, without the tiles its pipeline may use.",),
            },
        )
    },
    "qwenimage_vae": {
        "": Published(
            title="Qwen-Image VAE",
            hub="Qwen/Qwen-Image",
            subfolder="vae",
            class_name="AutoencoderKLQwenImage",
            channels=16,
            facts={
                "repository": "https://github.com/QwenLM/Qwen-Image",
                "weights_licence": "Apache-2.0",
                "notes": ONE_FRAME,
            },
        )
    },
    "kvae": {
        "2d_1.0": Published(
            title="KVAE-Image 1.0",
            hub="kandinskylab/KVAE-2D-1.0",
            subfolder="diffusers",
            class_name="AutoencoderKLKVAE",
            channels=16,
            facts={
                "repository": "https://github.com/kandinskylab/kvae",
                "licence": "MIT",
                "weights_licence": "MIT",
                "notes": ("Its authors decode the mean, too.",),
            },
        )
    },
    "asymmetric_vae": {"x1.5": _asymmetric("1-5"), "x2": _asymmetric("2")},
}

CARDS = tuple(card for family, variants in FAMILIES.items() for card in cards_of(family, variants))


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the published files.

    Raises:
        WeightsError: they cannot be had, or are not those of the card.
    """
    return load_published(card, FAMILIES[card.family][card.variant], device=device, dtype=dtype)
