"""Autoencoders whose latents were shaped for generators: VA-VAE, EQ-VAE and those that REPA-E tuned end to end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tokbench_adapters._libraries.ldm_names import kl_config, open_ldm
from tokbench_adapters._libraries.published import (
    ONE_FRAME,
    UNKNOWN_LICENCE,
    Published,
    cards_of,
    load_published,
    tokenizer_of,
)
from tokbench_adapters._reading.torch_checkpoints import read_hub_checkpoint

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer

SAMPLED = (
    "The posterior is sampled, from each image's own seed, as in its authors' evaluation; "
    "`diffusers:{hub}?posterior=mode` decodes the mean."
)
_REPA_E = {
    "licence": "MIT",
    "weights_licence": UNKNOWN_LICENCE,
    "paper": "arXiv:2504.10483",
    "repository": "https://github.com/End2End-Diffusion/REPA-E",
}
_EQ = {
    "paper": "arXiv:2502.09509",
    "repository": "https://github.com/zelaki/eqvae",
    "licence": "none stated",
    "weights_licence": "none stated",
}

_VA = {
    "licence": "MIT",
    "weights_licence": "MIT",
    "paper": "arXiv:2501.01423",
    "repository": "https://github.com/hustvl/LightningDiT",
}
_TRAINED_AT = "Trained at 256 px; other multiples of 16 px run."
OFFICIAL = "official"
OFFICIAL_FILE = "vavae-imagenet256-f16d32-dinov2.pt"
OFFICIAL_CONFIG = kl_config(32, (1, 1, 2, 2, 4), encoder_attends=True, decoder_attends=True)
# What training had besides: its losses, the vision network latents were aligned with, and the way to its width.
_TRAINING = ("loss.", "foundation_model.", "linear_proj.")

VA_VAE = {
    "f16d32": Published(
        title="VA-VAE, aligned with DINOv2",
        hub="REPA-E/vavae-hf",
        cell_px=16,
        channels=32,
        posterior="sample",
        facts={
            **_VA,
            "notes": (
                SAMPLED.format(hub="REPA-E/vavae-hf"),
                "The weights of va_vae/official under the library's names, as REPA-E's authors converted them.",
                _TRAINED_AT,
            ),
        },
    ),
    OFFICIAL: Published(
        title="VA-VAE, aligned with DINOv2, its authors' own file",
        hub="hustvl/vavae-imagenet256-f16d32-dinov2",
        cell_px=16,
        channels=32,
        posterior="sample",
        facts={**_VA, "notes": (SAMPLED.format(hub="REPA-E/vavae-hf"), _TRAINED_AT)},
    ),
}
EQ_VAE = {
    "base": Published(
        title="EQ-VAE, from SD-VAE on OpenImages",
        hub="zelaki/eq-vae",
        channels=4,
        posterior="sample",
        facts={**_EQ, "notes": (SAMPLED.format(hub="zelaki/eq-vae"),)},
    ),
    "ema": Published(
        title="EQ-VAE, from SD-VAE on ImageNet, averaged weights",
        hub="zelaki/eq-vae-ema",
        channels=4,
        posterior="sample",
        facts={**_EQ, "notes": (SAMPLED.format(hub="zelaki/eq-vae-ema"),)},
    ),
}


def _tuned(
    title: str,
    repo: str,
    *,
    channels: int,
    cell_px: int = 8,
    class_name: str = "AutoencoderKL",
    notes: tuple[str, ...] = (),
) -> Published:
    return Published(
        title=f"REPA-E, end-to-end tuned {title}",
        hub=f"REPA-E/{repo}",
        class_name=class_name,
        cell_px=cell_px,
        channels=channels,
        facts={**_REPA_E, "notes": notes},
    )


REPA_E = {
    "vavae": _tuned("VA-VAE", "e2e-vavae-hf", channels=32, cell_px=16),
    "invae": _tuned("IN-VAE", "e2e-invae-hf", channels=32, cell_px=16),
    "sdvae": _tuned("SD-VAE", "e2e-sdvae-hf", channels=4),
    "flux": _tuned("FLUX.1 VAE", "e2e-flux-vae", channels=16),
    "sd35": _tuned("Stable Diffusion 3.5 VAE", "e2e-sd3.5-vae", channels=16),
    "qwenimage": _tuned(
        "Qwen-Image VAE", "e2e-qwenimage-vae", channels=16, class_name="AutoencoderKLQwenImage", notes=ONE_FRAME
    ),
}
FAMILIES = {"va_vae": VA_VAE, "eq_vae": EQ_VAE, "repa_e": REPA_E}

CARDS = tuple(card for family, variants in FAMILIES.items() for card in cards_of(family, variants))


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the published files.

    Raises:
        WeightsError: they cannot be had, or are not those of the card.
    """
    known = FAMILIES[card.family][card.variant]
    if card.variant != OFFICIAL:
        return load_published(card, known, device=device, dtype=dtype)
    card, tensors = read_hub_checkpoint(card, OFFICIAL_FILE, inside=("state_dict", ""))
    return build_official(card, tensors, device=device, dtype=dtype)


def build_official(card: TokenizerCard, tensors: Mapping[str, torch.Tensor], *, device: str, dtype: str) -> Tokenizer:
    """VA-VAE from a state dict under its authors' names."""
    opened = open_ldm(card, OFFICIAL_CONFIG, tensors, unused=lambda key: key.startswith(_TRAINING))
    return tokenizer_of(opened, VA_VAE[OFFICIAL], device=device, dtype=dtype)
