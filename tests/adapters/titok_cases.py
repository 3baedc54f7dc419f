"""TiTok's family in tests: upstream's configurations as ours, tiny variants, and what a golden run is fed."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from functools import lru_cache, partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from tests.adapters.seeding import (
    Compared,
    facts_differ,
    golden,
    pattern,
    seeded_tensor,
    seeded_weights,
    values_facts,
)
from tokbench.cards import Posterior
from tokbench.contracts import Tokenizer
from tokbench.encodings import Latents, Tokens
from tokbench.wrapping import wrap
from tokbench_adapters import flowtok, one_d_piece, ta_titok, titok
from tokbench_adapters._networks.titok import TiTokNetwork
from tokbench_adapters._networks.titok_config import BASE, LARGE, MASKGIT, SMALL, TiTokConfig, TransformerSize
from tokbench_adapters._titok import build

MODULES: dict[str, ModuleType] = {
    "titok": titok,
    "one_d_piece": one_d_piece,
    "ta_titok": ta_titok,
    "flowtok": flowtok,
}
REDUCED_DEPTH = 2
REDUCED_SIDE_PX = 64
PREFIXES = (1, 5, 64)
POSTERIOR_SEEDS = (11, 2**62 + 1)
"""Of the pattern's first two images, where the posterior is drawn from."""
TEXT_LENGTH, TEXT_WIDTH = 77, 768
_SIZES = {"small": SMALL, "base": BASE, "large": LARGE}


def seeded_text() -> Tensor:
    """Standard normal values in place of a caption's embedding, ``(1, 77, 768)``."""
    return (seeded_tensor("text_guidance", (TEXT_LENGTH * TEXT_WIDTH,)) / 0.02).view(1, TEXT_LENGTH, TEXT_WIDTH)


def config_of(family: str, facts: Mapping[str, Any]) -> TiTokConfig:
    """The configuration upstream wrote down, in our terms."""
    said = facts["config"]
    is_rotary = family == "flowtok"
    is_continuous = is_rotary or said.get("quantize_mode", "vq") == "vae"

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
        pixels=MASKGIT if said.get("finetune_decoder") else None,
        text_width=TEXT_WIDTH if family in ("ta_titok", "flowtok") else 0,
        is_rotary=is_rotary,
        side_px=facts["side_px"],
        patch_px=said["vit_enc_patch_size"],
    )


def facts_of(family: str, variant: str) -> dict[str, Any]:
    found: dict[str, Any] = golden(family)["variants"][variant]
    return found


def compared(family: str, variant: str, tokenizer: Tokenizer | None = None) -> Compared:
    """Ours (key-seeded, unless another is given) against what upstream gave."""
    facts = facts_of(family, variant)
    tokenizer = tokenizer or tokenizer_of(family, variant)
    with torch.inference_mode():
        return (_compared_latents if "latents" in facts else _compared_codes)(facts, tokenizer)


def _compared_codes(facts: Mapping[str, Any], tokenizer: Tokenizer) -> Compared:
    """Whatever was encoded, upstream's codes are decoded, so that each half is judged by itself."""
    encoding = tokenizer.encode(_images(facts))
    assert isinstance(encoding, Tokens)
    (stream,), official = encoding.streams, torch.tensor(facts["indices"])
    assert stream.vectors is not None
    tokens = Tokens.grid(official, codebook_size=stream.codebook_size)
    lengths = {official.shape[1]: facts["image"], **{int(k): image for k, image in facts.get("prefixes", {}).items()}}
    return Compared(
        codes=official.numel(),
        codes_differ=int((stream.indices != official).sum()),
        latents=facts_differ(values_facts(stream.vectors), facts["vectors"]),
        images=max(
            facts_differ(values_facts(tokenizer.decode(tokens.keep_positions(length), seeds=[0, 0])), image)
            for length, image in lengths.items()
        ),
        gap=facts["smallest_gap"],
    )


def _compared_latents(facts: Mapping[str, Any], tokenizer: Tokenizer) -> Compared:
    """The posterior's means, samples of it from given seeds, and the images of the means."""
    means = with_posterior(tokenizer, "mode").encode(_images(facts))
    samples = wrap(with_posterior(tokenizer, "sample")).encode(_images(facts), seeds=POSTERIOR_SEEDS)
    assert isinstance(means, Latents)
    assert isinstance(samples, Latents)
    return Compared(
        latents=max(
            facts_differ(values_facts(means.values), facts["latents"]),
            facts_differ(values_facts(samples.values), facts["samples"]),
        ),
        images=facts_differ(values_facts(tokenizer.decode(means, seeds=[0, 0])), facts["image"]),
    )


def with_posterior(tokenizer: Tokenizer, posterior: Posterior) -> Tokenizer:
    """The same network, its posterior decoded in this way."""
    other = copy(tokenizer)
    other.card = replace(tokenizer.card, posterior=posterior)
    return other


def _images(facts: Mapping[str, Any]) -> Tensor:
    return pattern(len(POSTERIOR_SEEDS), facts["side_px"], facts["side_px"])


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


PARITY = {family: partial(compared, family) for family in MODULES}
"""By family, what compares one of its golden variants."""
