"""The TAESD family in tests: upstream's configurations as ours, and tokenizers with key-seeded weights.

A golden run has upstream's arguments, the size ``(n, h, w)`` of the images (`seeding.pattern`), the facts of its state
dict, and what the network with key-seeded weights gave: latents, and the images decoded from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from tests.adapters.seeding import Compared, facts_differ, golden, pattern, seeded_weights, values_facts
from tokbench.cards import TokenizerCard
from tokbench.contracts import Tokenizer
from tokbench.encodings import Latents
from tokbench_adapters import taesd
from tokbench_adapters._networks.taesd import TaesdNetwork
from tokbench_adapters._networks.taesd_config import TaesdConfig

RELEASED = {
    "taesd": "taesd", "taesdxl": "taesd", "taesd3": "taesd3", "taef1": "taesd3", "taef2": "taef2", "taesana": "taesana",
}  # fmt: skip
"""Which golden run has the configuration of each card."""

TINY_SHAPES: dict[str, TaesdConfig] = {
    name: replace(config, widths=tuple(width // 8 for width in config.widths), stem=tuple(w // 8 for w in config.stem))
    for name, config in taesd.NETWORKS.items()
}
"""Every network with an eighth of its channels."""


def facts_of(variant: str) -> dict[str, Any]:
    found: dict[str, Any] = golden("taesd")["variants"][variant]
    return found


def card_of(name: str) -> TokenizerCard:
    (card,) = (card for card in taesd.CARDS if card.name == name)
    return card


def config_of(said: Mapping[str, Any]) -> TaesdConfig:
    """Upstream's arguments in our terms; the widths are written down in its code."""
    if said["arch_variant"] == "f32":
        return TaesdConfig(latent_channels=said["latent_channels"], widths=(256, 128, 64, 64, 64, 64), stem=(32, 64))
    return TaesdConfig(latent_channels=said["latent_channels"], is_pooled=said["arch_variant"] == "flux_2")


@lru_cache(maxsize=8)
def seeded(config: TaesdConfig) -> dict[str, Tensor]:
    """Key-seeded weights under upstream's names."""
    with torch.device("meta"):
        network = TaesdNetwork(config)
    return seeded_weights(network)


def tokenizer_of(name: str, config: TaesdConfig | None = None, *, dtype: str = "float32") -> Tokenizer:
    """A key-seeded tokenizer with the card of a name, of its own shape or another."""
    config = config or taesd.NETWORKS[name]
    return taesd.build(card_of(name), seeded(config), device="cpu", dtype=dtype, config=config)


def compared(variant: str) -> Compared:
    """Latents of the golden run's images, and the images decoded from them."""
    facts = facts_of(variant)
    tokenizer = tokenizer_of(variant, config_of(facts["config"]))
    with torch.inference_mode():
        encoding = tokenizer.encode(pattern(*facts["images"]))
        assert isinstance(encoding, Latents)
        images = tokenizer.decode(encoding, seeds=range(encoding.n))
    return Compared(
        latents=facts_differ(values_facts(encoding.values), facts["latents"]),
        images=facts_differ(values_facts(images), facts["image"]),
    )


PARITY = {"taesd": compared}
"""What compares one of the family's golden variants."""
