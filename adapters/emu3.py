"""Emu3's vision tokenizer on single images, by the class of transformers, with the official weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tokbench.cards import TokenizerCard
from tokbench.errors import WeightsError
from tokbench_adapters._libraries import transformers_codes as codes
from tokbench_adapters._reading.hub_weights import UNPINNED, with_digest
from tokbench_adapters._reading.places import Place
from tokbench_adapters._reading.shards import read_prefixed

if TYPE_CHECKING:
    import torch

    from tokbench.contracts import Tokenizer

OFFICIAL = "emu3/vision_tokenizer"
OPTIONS = {
    "ch": "base_channels",
    "ch_mult": "channel_multiplier",
    "z_channels": "latent_channels",
    "double_z": "double_latent",
}
"""The authors' options of the network under the library's names; others have one name."""
_OTHERS = ("model_type", "architectures", "auto_map", "dropout")
_RENAMED = (
    (r"^(encoder)\.down\.", r"\1.down_block.down."),
    (r"^(decoder)\.up\.", r"\1.up_block.up."),
    (r"^((?:en|de)coder)\.mid\.attn_1\.norm\.", r"\1.middle_block.attn_norm."),
    (r"^((?:en|de)coder)\.mid\.", r"\1.middle_block."),
    (r"\.attn\.(\d+)\.norm\.", r".attn_norms.\1."),
    (r"\.(attn\.\d+|attn_1)\.([qkv])\.", r".\1.\2_proj."),
    (r"\.(attn\.\d+|attn_1)\.proj_out\.", r".\1.out_proj."),
)


def _card(name: str, hub: str, *notes: str) -> TokenizerCard:
    return TokenizerCard(
        name=name,
        title="Emu3 vision tokenizer f8, 32,768 codes, on images",
        codebook_sizes=(32768,),
        size_multiple=8,
        downsampling=8,
        tokens=1024,
        pixel_range=(-1.0, 1.0),
        hub=hub,
        extra="transformers",
        requires=("transformers",),
        licence="Apache-2.0",
        weights_licence="Apache-2.0",
        paper="arXiv:2409.18869",
        repository="https://github.com/baaivision/Emu3",
        notes=(
            *codes.EMU3.notes,
            "Images are in [-1, 1], by the image processor published with the weights; the default of transformers' "
            "own processor is CLIP's mean and deviation.",
            "The authors' processor enlarges images to at least 512 × 512 px (4096 tokens); here they are as they are.",
            *notes,
        ),
    )


CARDS = (
    _card(OFFICIAL, "BAAI/Emu3-VisionTokenizer", UNPINNED),
    _card(
        "emu3/chat_hf",
        "Emu3-community/Emu3-Chat-hf",
        "The same tokenizer inside a language model; of its files only those that hold the tokenizer are downloaded.",
        UNPINNED,
    ),
)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the official checkpoint, or its part of the language model's.

    Raises:
        WeightsError: it cannot be had, or is not the one this network is read from.
    """
    place = Place(card=card)
    found = place.read_json(codes.CONFIG)
    is_official = card.name == OFFICIAL
    config = library_options(found) if is_official else found.get("vq_config")
    if not isinstance(config, dict):
        raise WeightsError(f"{codes.CONFIG} of {place} has no vq_config, expected the configuration of Emu3VQVAE")
    card, tensors = read_prefixed(place, ("",) if is_official else codes.PREFIXES)
    card = with_digest(card, codes.CONFIG, place.path(codes.CONFIG))
    return build(card, config, library_names(tensors) if is_official else tensors, device=device, dtype=dtype)


def build(
    card: TokenizerCard, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], *, device: str, dtype: str
) -> Tokenizer:
    """The tokenizer from a configuration and a state dict under the names of transformers."""
    return codes.build(card, codes.EMU3, config, tensors, device=device, dtype=dtype)


def library_options(official: Mapping[str, Any]) -> dict[str, Any]:
    """The authors' configuration as that of the library's class.

    Its attention has one head as wide as the deepest channels, which the library has to be told.
    """
    options = {OPTIONS.get(key, key): value for key, value in official.items() if key not in _OTHERS}
    options["hidden_size"] = official.get("ch", 256) * official.get("ch_mult", (1, 2, 2, 4))[-1]
    return options


def library_names(official: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The authors' entries under the library's names; 1×1 convolutions of attention become linear layers."""
    found = {}
    for name, tensor in official.items():
        for pattern, new in _RENAMED:
            name = re.sub(pattern, new, name)
        is_linear = name.endswith("_proj.weight") and tensor.ndim == 4
        found[name] = tensor.flatten(1) if is_linear else tensor
    return found
