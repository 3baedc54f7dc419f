"""Janus's image tokenizer, which is LlamaGen's network inside a multimodal checkpoint, with the official weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench_adapters._networks.vqgan_config import LLAMAGEN, VqganConfig
from tokbench_adapters._reading.hub_weights import UNPINNED
from tokbench_adapters._reading.places import Place
from tokbench_adapters._reading.shards import read_prefixed
from tokbench_adapters._vqgan import builder, is_usage_record, vqgan_card

if TYPE_CHECKING:
    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer

CONFIG = VqganConfig(layout=LLAMAGEN, codebook_size=16384, code_width=8, search="cosine", attention=(4,))

PREFIX = "gen_vision_model."


def _card(variant: str, size: str, downloaded: str) -> TokenizerCard:
    return vqgan_card(
        f"janus/{variant}",
        CONFIG,
        title=f"Janus-Pro-{size} VQ-16",
        hub=f"deepseek-ai/Janus-Pro-{size}",
        licence="MIT",
        weights_licence="DeepSeek Model License 1.0",
        paper="arXiv:2501.17811",
        repository="https://github.com/deepseek-ai/Janus",
        notes=(
            "Codes are searched after scaling vectors and entries to length 1, as in the authors' code; JanusVQVAE of "
            "transformers searches without that and can pick other codes.",
            "Used at 384 px (576 tokens) by the model around it.",
            f"{downloaded} downloaded, and the part {PREFIX}* is read, widened to float32.",
            UNPINNED,
        ),
    )


CARDS = (
    _card("pro_1b", "1B", "The whole checkpoint (4 GB) is"),
    _card("pro_7b", "7B", "Of the checkpoint's files only those that hold the tokenizer are"),
)


build = builder(dict.fromkeys((card.variant for card in CARDS), CONFIG), unused=is_usage_record)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the tokenizer's part of the official checkpoint.

    Raises:
        WeightsError: it cannot be had, or is not the one this network is read from.
    """
    card, tensors = read_prefixed(Place(card=card), (PREFIX,), format="state_dict")
    return build(card, tensors, device=device, dtype=dtype)
