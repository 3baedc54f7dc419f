"""Emu3.5's vision tokenizer: IBQ with 2^17 codes and twice the channels, with the official weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench_adapters._networks.vqgan_config import TAMING, VqganConfig
from tokbench_adapters._reading.hub_weights import UNPINNED, read_hub_weights
from tokbench_adapters._vqgan import builder, vqgan_card

if TYPE_CHECKING:
    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer

CONFIG = VqganConfig(
    layout=TAMING, codebook_size=131072, code_width=256, search="dot", channels=256, n_blocks=4, attention=(4,)
)

CARDS = (
    vqgan_card(
        "emu35",
        CONFIG,
        title="Emu3.5 VisionTokenizer f16, 131072 codes",
        hub="BAAI/Emu3.5-VisionTokenizer",
        licence="Apache-2.0",
        weights_licence="Apache-2.0",
        paper="arXiv:2510.26583",
        repository="https://github.com/baaivision/Emu3.5",
        notes=(
            "The code is the entry of the largest inner product, not the nearest; for perturbations, neighbours are "
            "ranked by it too.",
            "The network's shape is that of its port in transformers (Apertus 1.5), made from the published config.",
            "Use float32: in bfloat16 about one code in ten differs.",
            UNPINNED,
        ),
    ),
)


build = builder(dict.fromkeys((card.variant for card in CARDS), CONFIG))


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the official checkpoint.

    Raises:
        WeightsError: it cannot be had, or is not the one this network is read from.
    """
    card, tensors = read_hub_weights(card)
    return build(card, tensors, device=device, dtype=dtype)
