"""Tiny key-seeded networks of diffusers and transformers, and the tokenizers around them."""

from __future__ import annotations

import importlib
import json
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.adapters.seeding import seeded_state
from tokbench.cards import TokenizerCard
from tokbench.contracts import Tokenizer
from tokbench_adapters import emu3, vq_models
from tokbench_adapters._libraries import transformers_codes
from tokbench_adapters._libraries.diffusers_codes import classes, codes_of, with_facts
from tokbench_adapters._libraries.diffusers_folder import Opened

_BLOCKS = {
    "down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"],
    "up_block_types": ["AttnUpDecoderBlock2D", "UpDecoderBlock2D"],
    "block_out_channels": [32, 64],
    "norm_num_groups": 32,
    "num_vq_embeddings": 64,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "amused": {
        "_class_name": "VQModel",
        **_BLOCKS,
        "down_block_types": ["DownEncoderBlock2D"] * 2,
        "up_block_types": ["UpDecoderBlock2D"] * 2,
        "latent_channels": 8,
        "vq_embed_dim": None,
        "lookup_from_codebook": True,
        "mid_block_add_attention": False,
        "force_upcast": True,
    },
    "movq": {"_class_name": "VQModel", **_BLOCKS, "latent_channels": 4, "vq_embed_dim": 4, "norm_type": "spatial"},
    "ldm_vq": {"_class_name": "VQModel", **_BLOCKS, "latent_channels": 3},
    "vq_diffusion": {"_class_name": "VQModel", **_BLOCKS, "latent_channels": 16, "vq_embed_dim": 8},
    "paella": {
        "_class_name": "PaellaVQModel",
        "bottleneck_blocks": 1,
        "embed_dim": 32,
        "num_vq_embeddings": 64,
    },
}
"""Small configurations of each kind, with the options by which the published ones differ."""

EMU3 = {
    "codebook_size": 64,
    "base_channels": 32,
    "channel_multiplier": [1, 2],
    "num_res_blocks": 1,
    "attn_resolutions": [1],
    "hidden_size": 64,
}
JANUS = {"num_embeddings": 64, "base_channels": 32, "channel_multiplier": [1, 2], "num_res_blocks": 1, "num_patches": 8}


@lru_cache(maxsize=8)
def diffusers_network(family: str) -> Any:
    """The library's class, filled."""
    pytest.importorskip("diffusers", reason="needs the library")
    config = CONFIGS[family]
    kind = config["_class_name"]
    network = getattr(importlib.import_module(classes()[kind]), kind).from_config(config)
    network.load_state_dict(seeded_state(network.state_dict()))
    return network.eval().requires_grad_(False)


def transformers_network(name: str, config: dict[str, Any]) -> Any:
    """The library's class, filled."""
    transformers = pytest.importorskip("transformers", reason="needs the library")
    network = getattr(transformers, name)(getattr(transformers, f"{name}Config")(**config))
    network.load_state_dict(seeded_state(network.state_dict()))
    return network.eval().requires_grad_(False)


def small_card(card: TokenizerCard) -> TokenizerCard:
    """The card without what it says of the network's shape."""
    return replace(card, tokens=None, downsampling=None)


def card_of(family: str) -> TokenizerCard:
    return next(card for card in vq_models.CARDS if card.family == family)


def diffusers_codes(family: str, *, dtype: str = "float32") -> Tokenizer:
    """A tiny tokenizer of one of the families of ``vq_models``."""
    network = deepcopy(diffusers_network(family))
    config = CONFIGS[family]
    card = card_of(family)
    opened = Opened(card=card, class_name=config["_class_name"], config=config, network=network)
    return codes_of(opened, small_card(with_facts(opened, card.pixel_range)), device="cpu", dtype=dtype)


def emu3_codes(*, dtype: str = "float32") -> Tokenizer:
    state = transformers_network("Emu3VQVAE", EMU3).state_dict()
    return emu3.build(small_card(emu3.CARDS[0]), EMU3, state, device="cpu", dtype=dtype)


def janus_codes(*, dtype: str = "float32") -> Tokenizer:
    """JanusVQVAE as transformers has it."""
    state = transformers_network("JanusVQVAE", JANUS).state_dict()
    card = TokenizerCard(name="transformers/janus", pixel_range=(-1.0, 1.0))
    return transformers_codes.build(card, transformers_codes.JANUS, JANUS, state, device="cpu", dtype=dtype)


def as_shards(tensors: dict[str, Tensor], n: int, folder: Path, *, suffix: str = "safetensors") -> dict[str, str]:
    """Write tensors in turn to n files with an index beside them, as the library of the hub does; its weight map."""
    whole = {"safetensors": "model", "bin": "pytorch_model"}[suffix]
    names = sorted(tensors)
    size = -(-len(names) // n)
    weight_map = {}
    for number in range(n):
        file = f"{whole}-{number + 1:05d}-of-{n:05d}.{suffix}"
        part = {name: tensors[name].contiguous() for name in names[number * size : (number + 1) * size]}
        if suffix == "bin":
            torch.save(part, folder / file)
        else:
            save_file(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / f"{whole}.{suffix}.index.json").write_text(json.dumps(index))
    return weight_map
