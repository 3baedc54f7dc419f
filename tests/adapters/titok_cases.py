"""TiTok's family in tests: upstream's configurations as ours, tiny variants, and what a golden run is fed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from tests.adapters.seeding import facts_differ, golden, pattern, seeded_tensor, seeded_weights, values_facts
from tokbench.contracts import Tokenizer
from tokbench.encodings import Latents, Tokens
from tokbench_adapters import one_d_piece, ta_titok, titok
from tokbench_adapters._networks.titok import TiTokNetwork
from tokbench_adapters._networks.titok_config import BASE, LARGE, MASKGIT, SMALL, TiTokConfig, TransformerSize
from tokbench_adapters._titok import build

MODULES: dict[str, ModuleType] = {"titok": titok, "one_d_piece": one_d_piece, "ta_titok": ta_titok}
TOLERANCE = 1e-4
REDUCED_DEPTH = 2
REDUCED_SIDE_PX = 64
PREFIXES = (1, 5, 64)
TEXT_LENGTH, TEXT_WIDTH = 77, 768
_SIZES = {"small": SMALL, "base": BASE, "large": LARGE}


def seeded_text() -> Tensor:
    """Standard normal values in place of a caption's embedding, ``(1, 77, 768)``."""
    return (seeded_tensor("text_guidance", (TEXT_LENGTH * TEXT_WIDTH,)) / 0.02).view(1, TEXT_LENGTH, TEXT_WIDTH)


def config_of(family: str, facts: Mapping[str, Any]) -> TiTokConfig:
    """The configuration upstream wrote down, in our terms."""
    said = facts["config"]
    is_continuous = said.get("quantize_mode", "vq") == "vae"

    def size(key: str) -> TransformerSize:
        full = _SIZES[said[key]]
        depth = facts["depth"] or full.depth
        return TransformerSize(width=full.width, depth=depth, n_heads=full.n_heads)

    return TiTokConfig(
        encoder=size("vit_enc_model_size"),
        decoder=size("vit_dec_model_size"),
        n_tokens=said["num_latent_tokens"],
        token_width=said["token_size"],
        codebook_size=None if is_continuous else said["codebook_size"],
        is_normalised=said.get("use_l2_norm", False),
        pixels=MASKGIT if said["finetune_decoder"] else None,
        text_width=TEXT_WIDTH if family == "ta_titok" else 0,
        side_px=facts["side_px"],
        patch_px=said["vit_enc_patch_size"],
    )


def facts_of(family: str, variant: str) -> dict[str, Any]:
    found: dict[str, Any] = golden(family)["variants"][variant]
    return found


def differences(family: str, variant: str, tokenizer: Tokenizer) -> dict[str, float]:
    """How far encodings and images are from upstream's; infinite for an index that differs."""
    facts = facts_of(family, variant)
    encoding = tokenizer.encode(pattern(2, facts["side_px"], facts["side_px"]))
    found = {}
    if isinstance(encoding, Tokens):
        found["indices"] = 0.0 if encoding.streams[0].indices.tolist() == facts["indices"] else float("inf")
        # Whatever was encoded, decode upstream's codes, so that each half is judged by itself.
        encoding = Tokens.grid(torch.tensor(facts["indices"]), codebook_size=encoding.streams[0].codebook_size)
        for length, expected in facts.get("prefixes", {}).items():
            images = tokenizer.decode(encoding.keep_positions(int(length)), seeds=[0, 0])
            found[f"first {length}"] = facts_differ(values_facts(images), expected)
    else:
        assert isinstance(encoding, Latents)
        found["latents"] = facts_differ(values_facts(encoding.values), facts["latents"])
    found["image"] = facts_differ(values_facts(tokenizer.decode(encoding, seeds=[0, 0])), facts["image"])
    return found


def tokenizer_of(
    family: str, shape: str | TiTokConfig, *, text: Tensor | None = None, dtype: str = "float32"
) -> Tokenizer:
    """A key-seeded tokenizer of a golden variant or of any shape, with the card its family gives that shape."""
    config = config_of(family, facts_of(family, shape)) if isinstance(shape, str) else shape
    module = MODULES[family]
    card = module.card_of(next(iter(module.VARIANTS)), config)
    if config.text_width and text is None:
        text = seeded_text()
    return build(card, config, _weights(config), device="cpu", dtype=dtype, text=text)


@lru_cache(maxsize=1)
def _weights(config: TiTokConfig) -> dict[str, Tensor]:
    """Drawing forty million numbers takes longer than running the network on them."""
    with torch.device("meta"):
        network = TiTokNetwork(config)
    return seeded_weights(network)
