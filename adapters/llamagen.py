"""LlamaGen's tokenizers: a VQGAN with 16,384 codes of 8 dimensions compared by angle, with the official weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench_adapters._networks.vqgan_config import LLAMAGEN, VqganConfig
from tokbench_adapters._reading.hub_weights import UNPINNED
from tokbench_adapters._reading.torch_checkpoints import read_hub_checkpoint
from tokbench_adapters._vqgan import builder, is_usage_record, vqgan_card

if TYPE_CHECKING:
    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer

DS16 = VqganConfig(layout=LLAMAGEN, codebook_size=16384, code_width=8, search="cosine", attention=(4,))
DS8 = VqganConfig(
    layout=LLAMAGEN, codebook_size=16384, code_width=8, search="cosine", multipliers=(1, 2, 2, 4), attention=(3,)
)

# Upstream takes the averaged weights of a checkpoint that has them.
INSIDE = ("ema", "model", "state_dict")

# The first is the one the paper's main tables use.
VARIANTS: dict[str, VqganConfig] = {"ds16_c2i": DS16, "ds8_c2i": DS8, "ds16_t2i": DS16}
_REPOSITORIES = {
    "ds16_c2i": "FoundationVision/LlamaGen",
    "ds8_c2i": "FoundationVision/LlamaGen",
    "ds16_t2i": "peizesun/llamagen_t2i",
}
_TRAINED_ON = {"c2i": "ImageNet", "t2i": "50M images of LAION-COCO and 10M of its authors"}

COSINE = "Codes are searched after scaling vectors and entries to length 1, and decoded at length 1."
SIZES = "Trained on square images; other sizes run, with attention over the whole grid at the lowest resolution."


def _card(variant: str, config: VqganConfig) -> TokenizerCard:
    task = variant.rpartition("_")[2]
    return vqgan_card(
        f"llamagen/{variant}",
        config,
        title=f"LlamaGen VQ-{config.cell_px} ({task})",
        hub=_REPOSITORIES[variant],
        licence="MIT",
        weights_licence="MIT",
        paper="arXiv:2406.06525",
        repository="https://github.com/FoundationVision/LlamaGen",
        notes=(
            COSINE,
            SIZES,
            f"Trained on {_TRAINED_ON[task]}.",
            UNPINNED,
        ),
    )


CARDS = tuple(_card(variant, config) for variant, config in VARIANTS.items())


build = builder(VARIANTS, unused=is_usage_record)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the official checkpoint.

    Raises:
        WeightsError: it cannot be had, or is not the one this network is read from.
    """
    card, tensors = read_hub_checkpoint(card, f"vq_{card.variant}.pt", inside=INSIDE)
    return build(card, tensors, device=device, dtype=dtype)
