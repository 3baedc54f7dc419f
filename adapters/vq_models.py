"""VQ tokenizers that diffusers reads: aMUSEd's, MoVQ, those of latent diffusion, VQ-Diffusion and Paella."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokbench.cards import TokenizerCard
from tokbench_adapters._libraries.diffusers_codes import SYMMETRIC, UNIT, open_codes, require_paella
from tokbench_adapters._reading.hub_weights import UNPINNED

if TYPE_CHECKING:
    from tokbench.contracts import Tokenizer

SUBFOLDERS = {"amused": "vqvae", "movq": "movq", "ldm_vq": "vqvae", "vq_diffusion": "vqvae", "paella": "vqgan"}
"""Where in its repository a family's tokenizer lies."""


def _card(name: str, *, hub: str, codes: int, cell_px: int, notes: tuple[str, ...], **facts: Any) -> TokenizerCard:
    return TokenizerCard(
        name=name,
        hub=hub,
        codebook_sizes=(codes,),
        size_multiple=cell_px,
        downsampling=cell_px,
        tokens=(256 // cell_px) ** 2,
        requires=("diffusers",),
        extra="diffusers",
        notes=notes if "@" in hub else (*notes, UNPINNED),
        **facts,
    )


def _amused(side_px: int, revision: str) -> TokenizerCard:
    return _card(
        f"amused/{side_px}",
        title=f"aMUSEd-{side_px} VQGAN f16, 8192 codes",
        hub=f"amused/amused-{side_px}{revision}",
        codes=8192,
        cell_px=16,
        pixel_range=UNIT,
        licence="Apache-2.0",
        weights_licence="openrail++",
        paper="arXiv:2401.01808",
        repository="https://github.com/huggingface/open-muse",
        notes=(
            "Images are in [0, 1]: its pipelines set do_normalize to False, and its training code scales by 255 only.",
            "float16 computes in float32, as its pipelines do.",
        ),
    )


def _movq(version: str, hub: str) -> TokenizerCard:
    return _card(
        f"movq/kandinsky_{version.replace('.', '_')}",
        title=f"SBER-MoVQGAN 67M f8, 16,384 codes, as in Kandinsky {version}",
        hub=hub,
        codes=16384,
        cell_px=8,
        pixel_range=SYMMETRIC,
        licence="Apache-2.0",
        weights_licence="Apache-2.0",
        paper="arXiv:2310.03502",
        repository="https://github.com/ai-forever/MoVQGAN",
        notes=(
            "Codes are looked up before decoding, as MoVQGAN was trained and is evaluated by its authors; Kandinsky's "
            "pipelines decode features that were not quantised.",
            "The decoder's norms read the looked-up entries, too; it needs nothing else.",
        ),
    )


def _paella(variant: str, title: str, hub: str, **facts: Any) -> TokenizerCard:
    return _card(
        f"paella/{variant}",
        title=f"Paella VQGAN f4, 8192 codes, as in {title}",
        hub=hub,
        codes=8192,
        cell_px=4,
        pixel_range=UNIT,
        licence="MIT",
        paper="arXiv:2211.07292",
        repository="https://github.com/dome272/Paella",
        notes=(
            "Images are in [0, 1]: its training code scales by 255 only, and samples are clamped to that range.",
            "Codes are looked up before decoding, as Paella generates them; Würstchen and Stable Cascade decode "
            "features that were not quantised.",
            *facts.pop("notes", ()),
        ),
        **facts,
    )


CARDS = (
    _amused(256, ""),
    _amused(512, ""),
    _movq("2.2", "kandinsky-community/kandinsky-2-2-decoder@9ae140d347fed8ce6e8bb3005dcc1f48543bb8e3"),
    _movq("2.1", "kandinsky-community/kandinsky-2-1"),
    _card(
        "ldm_vq",
        title="Latent diffusion VQ-f4, 8192 codes",
        hub="CompVis/ldm-super-resolution-4x-openimages",
        codes=8192,
        cell_px=4,
        pixel_range=SYMMETRIC,
        licence="MIT",
        weights_licence="Apache-2.0",
        paper="arXiv:2112.10752",
        repository="https://github.com/CompVis/latent-diffusion",
        notes=("The first stage of the super-resolution model, whose pipeline quantises before it decodes.",),
    ),
    _card(
        "vq_diffusion",
        title="VQ-Diffusion's VQ-VAE for ITHQ, f8, 4096 codes",
        hub="microsoft/vq-diffusion-ithq",
        codes=4096,
        cell_px=8,
        pixel_range=SYMMETRIC,
        licence="MIT",
        weights_licence="not known",
        paper="arXiv:2111.14822",
        repository="https://github.com/microsoft/VQ-Diffusion",
        notes=("Used at 256 px by the model around it.",),
    ),
    _paella("wuerstchen", "Würstchen", "warp-ai/wuerstchen", weights_licence="MIT"),
    _paella(
        "stable_cascade",
        "Stable Cascade",
        "stabilityai/stable-cascade",
        weights_licence="stable-cascade-nc-community (non-commercial)",
        notes=("Its configuration says that it is a copy of Würstchen's; the scores of both would be equal.",),
    ),
)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the published files, the network being the library's.

    Raises:
        MissingExtraError: the installed diffusers does not have the class any more.
        WeightsError: they cannot be had, or are not those of the network on the card.
    """
    if card.family == "paella":
        require_paella()
    return open_codes(card, subfolder=SUBFOLDERS[card.family], device=device, dtype=dtype)
