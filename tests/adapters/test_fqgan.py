"""FQGAN against what its official code gives with the same key-seeded weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.adapters.fqgan_cases import compared, factor_config, seeded_checkpoint, shapes_of, tokenizer_of
from tests.adapters.key_lists import key_problems, official_keys
from tests.adapters.seeding import TOLERANCE, facts_differ, golden, pattern, values_facts
from tokbench.encodings import Tokens, TokenStream
from tokbench.errors import BadOutputError, UnsupportedInputError
from tokbench_adapters import fqgan

RUNS = golden("fqgan")["variants"]
REDUCED = ("dual_reduced", "triple_reduced")


@pytest.mark.parametrize("variant", [name for name in RUNS if name not in REDUCED])
def test_every_released_configuration_is_upstreams(variant: str) -> None:
    facts = RUNS[variant]
    config = fqgan.VARIANTS[variant]
    assert config == factor_config(facts["config"])
    assert key_problems(shapes_of(config), official_keys("fqgan", variant)) == []
    (card,) = (card for card in fqgan.CARDS if card.variant == variant)
    assert card.tokens == len(config.factors) * (256 // config.vqgan.cell_px) ** 2


def test_every_card_is_compared() -> None:
    assert {card.variant for card in fqgan.CARDS} == set(RUNS) - set(REDUCED)


@pytest.mark.parametrize("variant", REDUCED)
def test_codes_and_images_are_upstreams(variant: str) -> None:
    ours = shapes_of(factor_config(RUNS[variant]["config"]))
    assert key_problems(ours, official_keys("fqgan", variant)) == []
    found = compared(variant)
    assert found.is_same, found


@pytest.mark.slow
@pytest.mark.parametrize("variant", [name for name in RUNS if name not in REDUCED])
def test_every_published_size_gives_upstreams_codes_and_images(variant: str) -> None:
    found = compared(variant)
    assert found.is_same, found


def test_the_order_of_the_factors_matters() -> None:
    facts = RUNS["dual_reduced"]
    tokenizer = tokenizer_of(factor_config(facts["config"]))
    grids = [torch.tensor(grid) for grid in facts["indices"]]
    swapped = Tokens(streams=tuple(TokenStream(indices=grid, codebook_size=512) for grid in reversed(grids)))
    assert facts_differ(values_facts(tokenizer.decode(swapped, seeds=[0, 0])), facts["image"]) > TOLERANCE
    with pytest.raises(BadOutputError, match=r"decodes Tokens of 2 stream\(s\)"):
        tokenizer.decode(Tokens.grid(grids[0], codebook_size=512), seeds=[0, 0])


def test_positions_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = RUNS["dual_reduced"]
    tokenizer: Any = tokenizer_of(factor_config(facts["config"]))
    head = tokenizer._network.encoder.get_submodule("visual_head.0")
    shifted = torch.nn.Parameter(head.positional_embedding.roll(1, 0), requires_grad=False)
    monkeypatch.setattr(head, "positional_embedding", shifted)
    encoding = tokenizer.encode(pattern(*facts["images"]))
    assert encoding.streams[0].indices.tolist() != facts["indices"][0]
    assert encoding.streams[1].indices.tolist() == facts["indices"][1]


def test_networks_of_the_training_are_left_out() -> None:
    config = factor_config(RUNS["dual_reduced"]["config"])
    more = {"feat_pred_head.class_embedding": torch.zeros(1, 1024)}
    fqgan.build(fqgan.CARDS[0], {**seeded_checkpoint(config), **more}, device="cpu", dtype="float32", config=config)


def test_other_sizes_are_refused() -> None:
    tokenizer = tokenizer_of(factor_config(RUNS["dual_reduced"]["config"]), 256)
    with pytest.raises(UnsupportedInputError, match="takes images of 256×256 px, got 128×256"):
        tokenizer.encode(torch.rand(1, 3, 256, 128))
