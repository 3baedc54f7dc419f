"""FQGAN in tests: upstream's configurations as ours, and key-seeded tokenizers."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from tests.adapters.seeding import Compared, facts_differ, golden, pattern, seeded_state, values_facts
from tests.adapters.vqgan_cases import config_of
from tokbench.contracts import Tokenizer
from tokbench.encodings import Tokens, TokenStream
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


def compared(variant: str) -> Compared:
    """Ours, key-seeded, against what upstream gave; upstream's codes are decoded."""
    facts = golden("fqgan")["variants"][variant]
    config = factor_config(facts["config"])
    tokenizer = tokenizer_of(config)
    with torch.inference_mode():
        encoding = tokenizer.encode(pattern(*facts["images"]))
        assert isinstance(encoding, Tokens)
        official = [torch.tensor(grid) for grid in facts["indices"]]
        size = config.vqgan.codebook_size
        tokens = Tokens(streams=tuple(TokenStream(indices=grid, codebook_size=size) for grid in official))
        decoded = tokenizer.decode(tokens, seeds=range(encoding.n))
    assert [stream.codebook for stream in encoding.streams] == facts["config"]["heads"]
    pairs = list(zip(encoding.streams, official, strict=True))
    vectors = [values_facts(stream.vectors) for stream in encoding.streams if stream.vectors is not None]
    return Compared(
        codes=sum(grid.numel() for grid in official),
        codes_differ=sum(int((stream.indices != grid).sum()) for stream, grid in pairs),
        latents=max(facts_differ(ours, theirs) for ours, theirs in zip(vectors, facts["vectors"], strict=True)),
        images=facts_differ(values_facts(decoded), facts["image"]),
        gap=min(facts["smallest_gaps"]),
    )


PARITY = {"fqgan": compared}
"""By family, what compares one of its golden variants."""
