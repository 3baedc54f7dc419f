"""FQGAN in tests: upstream's configurations as ours, and key-seeded tokenizers."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from tests.adapters.seeding import seeded_state
from tests.adapters.vqgan_cases import config_of
from tokbench.contracts import Tokenizer
from tokbench_adapters import fqgan
from tokbench_adapters._networks.fqgan import FactorNetwork
from tokbench_adapters._networks.vqgan_config import FactorConfig


def factor_config(said: dict[str, Any]) -> FactorConfig:
    """``ModelArgs`` of FQGAN's ``vq_model_*.py``, with what its adapters have built in."""
    return FactorConfig(
        vqgan=config_of(said), factors=tuple(said["heads"]), positions=said["positions"], depth=said["depth"]
    )


def shapes_of(config: FactorConfig) -> dict[str, Tensor]:
    """Names and shapes, with the entries upstream has besides, without values."""
    with torch.device("meta"):
        more = {f"quantize_{factor}.codebook_used": torch.empty(65536) for factor in config.factors}
        return {**FactorNetwork(config).state_dict(), **more}


@lru_cache(maxsize=1)
def seeded_checkpoint(config: FactorConfig) -> dict[str, Tensor]:
    return seeded_state(shapes_of(config))


def tokenizer_of(config: FactorConfig, size_px: int | None = None, *, dtype: str = "float32") -> Tokenizer:
    """A key-seeded tokenizer of any shape."""
    card = replace(
        fqgan.CARDS[0],
        codebook_sizes=(config.vqgan.codebook_size,) * len(config.factors),
        size_multiple=config.vqgan.cell_px,
        fixed_size_px=size_px,
        tokens=None,
    )
    return fqgan.build(card, seeded_checkpoint(config), device="cpu", dtype=dtype, config=config)
