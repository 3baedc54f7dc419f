"""The VQGAN families in tests: upstream's configurations as ours, and how far ours is from what upstream gave.

A golden file has, by variant: upstream's configuration, the size ``(n, h, w)`` of the images (`seeding.pattern`; with a
contrast below 1 they are nearly grey), the facts of its state dict and which of its entries have no part in coding, and
what the network with key-seeded weights gave: all indices, vectors before quantisation, and images in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from tests.adapters.seeding import Compared, facts_differ, golden, pattern, seeded_state, values_facts
from tokbench.cards import TokenizerCard
from tokbench.contracts import Tokenizer
from tokbench.encodings import Tokens
from tokbench_adapters import chameleon, emu35, fvq, ibq, janus, llamagen, taming
from tokbench_adapters._networks.vqgan import VqganNetwork
from tokbench_adapters._networks.vqgan_config import LLAMAGEN, TAMING, Search, VqganConfig

MODULES: dict[str, ModuleType] = {
    "llamagen": llamagen,
    "janus": janus,
    "fvq": fvq,
    "taming": taming,
    "chameleon": chameleon,
    "ibq": ibq,
    "emu35": emu35,
}
_SEARCHES: dict[str, Search] = {
    "VectorQuantizer2": "euclid",
    "GumbelQuantize": "logits",
    "IndexPropagationQuantize": "dot",
}


def facts_of(family: str, variant: str) -> dict[str, Any]:
    found: dict[str, Any] = golden(family)["variants"][variant]
    return found


def config_of(said: Mapping[str, Any]) -> VqganConfig:
    """A configuration that upstream wrote down, in our terms."""
    return _config_of_taming(said) if "ddconfig" in said else _config_of_llamagen(said)


SMALLEST = VqganConfig(
    layout=LLAMAGEN,
    codebook_size=64,
    code_width=8,
    search="cosine",
    latent_channels=16,
    channels=32,
    multipliers=(1, 2),
    n_blocks=1,
    attention=(1,),
)
"""A network of every kind of part, 2 px a code, compared by angle."""


def _config_of_llamagen(said: Mapping[str, Any]) -> VqganConfig:
    """``ModelArgs`` of LlamaGen's ``vq_model.py`` and its copies."""
    multipliers = tuple(said["encoder_ch_mult"])
    return VqganConfig(
        layout=LLAMAGEN,
        codebook_size=said["codebook_size"],
        code_width=said["codebook_embed_dim"],
        search="cosine" if said["codebook_l2_norm"] else "euclid",
        latent_channels=said["z_channels"],
        multipliers=multipliers,
        attention=(len(multipliers) - 1,),
    )


def _config_of_taming(said: Mapping[str, Any]) -> VqganConfig:
    """The ``params`` of a taming-transformers YAML file and its copies, with the class of the quantiser."""
    network = said["ddconfig"]
    sides = [network["resolution"] // 2**level for level in range(len(network["ch_mult"]))]
    return VqganConfig(
        layout=TAMING,
        codebook_size=said["n_embed"],
        code_width=said["embed_dim"],
        search=_SEARCHES[said["quantize"]],
        latent_channels=network["z_channels"],
        channels=network["ch"],
        multipliers=tuple(network["ch_mult"]),
        n_blocks=network["num_res_blocks"],
        attention=tuple(level for level, side in enumerate(sides) if side in network["attn_resolutions"]),
    )


def shapes_of(config: VqganConfig, more: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Names and shapes of a checkpoint, with the entries upstream has besides, without values."""
    with torch.device("meta"):
        return {**VqganNetwork(config).state_dict(), **{key: torch.empty(shape) for key, shape in more.items()}}


@lru_cache(maxsize=2)
def seeded_checkpoint(config: VqganConfig, more: tuple[tuple[str, tuple[int, ...]], ...] = ()) -> dict[str, Tensor]:
    return seeded_state(shapes_of(config, dict(more)))


def small_card(card: TokenizerCard, config: VqganConfig) -> TokenizerCard:
    """The card of a network of another shape."""
    return replace(card, codebook_sizes=(config.codebook_size,), size_multiple=config.cell_px, tokens=None)


def tokenizer_of(
    family: str, config: VqganConfig, *, more: tuple[tuple[str, tuple[int, ...]], ...] = (), dtype: str = "float32"
) -> Tokenizer:
    """A key-seeded tokenizer of any shape."""
    module = MODULES[family]
    tokenizer: Tokenizer = module.build(
        small_card(module.CARDS[0], config), seeded_checkpoint(config, more), device="cpu", dtype=dtype, config=config
    )
    return tokenizer


def compared(family: str, variant: str, config: VqganConfig | None = None) -> Compared:
    """Build the tokenizer from key-seeded weights and compare what it gives to what upstream gave.

    Whatever was encoded, upstream's codes are decoded, so that each half is judged by itself.
    """
    facts = facts_of(family, variant)
    config = config or config_of(facts["config"])
    more = tuple((key, tuple(shape)) for key, shape in facts["unused"])
    tokenizer = tokenizer_of(family, config, more=more)
    images = 0.5 + facts["contrast"] * (pattern(*facts["images"]) - 0.5)
    with torch.inference_mode():
        encoding = tokenizer.encode(images)
        assert isinstance(encoding, Tokens)
        (stream,), (official,) = encoding.streams, torch.tensor(facts["indices"])
        decoded = tokenizer.decode(Tokens.grid(official, codebook_size=config.codebook_size), seeds=range(len(images)))
    assert stream.vectors is not None
    return Compared(
        codes=official.numel(),
        codes_differ=int((stream.indices != official).sum()),
        latents=facts_differ(values_facts(stream.vectors[..., : config.code_width]), facts["vectors"][0]),
        images=facts_differ(values_facts(decoded), facts["image"]),
        gap=facts["smallest_gaps"][0],
    )


PARITY = {family: partial(compared, family) for family in MODULES}
"""By family, what compares one of its golden variants."""
