"""The convolutional VQGANs against what their official code gives with the same key-seeded weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.adapters.key_lists import key_problems, official_keys
from tests.adapters.seeding import golden
from tests.adapters.vqgan_cases import (
    MODULES,
    compared,
    config_of,
    facts_of,
    seeded_checkpoint,
    shapes_of,
    small_card,
    tokenizer_of,
)
from tokbench.cards import TokenizerCard
from tokbench.encodings import Latents, Tokens
from tokbench.errors import BadOutputError, WeightsError
from tokbench_adapters import chameleon, llamagen
from tokbench_adapters._networks import codebook, lookup, vqgan
from tokbench_adapters._networks.vqgan_config import VqganConfig

# Which golden run has the configuration of a card: by default the one of its variant's name.
RUNS = {
    "llamagen/ds16_c2i": "ds16",
    "llamagen/ds8_c2i": "ds8",
    "llamagen/ds16_t2i": "ds16",
    "janus/pro_1b": "vq16",
    "janus/pro_7b": "vq16",
    "taming/imagenet_f16_16384": "f16_16384",
    "taming/imagenet_f16_1024": "f16_1024",
    "taming/gumbel_f8": "gumbel_f8_8192",
    "chameleon": "vqgan",
    "anole": "vqgan",
    "ibq/262144_pretrain": "262144",
    "ibq/16384_pretrain": "16384",
    "emu35": "f16_131072",
}
CARDS = [(family, card) for family, module in MODULES.items() for card in module.CARDS]
REDUCED = [
    (family, variant)
    for family in MODULES
    for variant in golden(family)["variants"]
    if variant.startswith(("reduced", "faint"))
]
FULL = [
    (family, variant)
    for family in MODULES
    for variant in golden(family)["variants"]
    if (family, variant) not in REDUCED
]


def run_of(card: TokenizerCard) -> str:
    return RUNS.get(card.name, card.variant)


def released_config(family: str, card: TokenizerCard) -> VqganConfig:
    module = MODULES[family]
    found: VqganConfig = module.VARIANTS[card.variant] if hasattr(module, "VARIANTS") else module.CONFIG
    return found


@pytest.mark.parametrize(("family", "card"), CARDS, ids=lambda item: getattr(item, "name", ""))
def test_every_released_configuration_is_upstreams(family: str, card: TokenizerCard) -> None:
    facts = facts_of(family, run_of(card))
    config = released_config(family, card)
    assert config == config_of(facts["config"])
    ours = shapes_of(config, {key: tuple(shape) for key, shape in facts["unused"]})
    assert key_problems(ours, official_keys(family, run_of(card))) == []
    assert card.codebook_sizes == (config.codebook_size,)
    assert card.size_multiple == config.cell_px
    assert card.tokens == (256 // config.cell_px) ** 2
    assert card.pixel_range == (-1, 1)


def test_every_full_size_run_is_of_a_card() -> None:
    assert {(family, run_of(card)) for family, card in CARDS} == set(FULL)
    assert all(facts_of(*run)["images"] == [1, 256, 256] for run in FULL)


@pytest.mark.parametrize(("family", "variant"), REDUCED)
def test_codes_and_images_are_upstreams(family: str, variant: str) -> None:
    facts = facts_of(family, variant)
    more = {key: tuple(shape) for key, shape in facts["unused"]}
    assert key_problems(shapes_of(config_of(facts["config"]), more), official_keys(family, variant)) == []
    found = compared(family, variant)
    assert found.is_same, found


@pytest.mark.slow
@pytest.mark.parametrize(("family", "variant"), FULL)
def test_every_published_size_gives_upstreams_codes_and_images(family: str, variant: str) -> None:
    found = compared(family, variant)
    assert found.is_same, found


# What a port gets wrong without an error. Each must show in a reduced run.

pad, attend, interpolate, convolve = F.pad, F.scaled_dot_product_attention, F.interpolate, F.conv2d


def _transposed(images: Tensor, weight: Tensor, *rest: object) -> Tensor:
    return convolve(images, weight.transpose(2, 3), *rest)  # type: ignore[arg-type]


def _raw_look_up(book: codebook.Codebook, indices: Tensor) -> Tensor:
    found: Tensor = book.embedding(indices)
    return found


def _by_distance(book: codebook.Codebook | lookup.DotCodebook, vectors: Tensor) -> Tensor:
    return codebook.nearest_entries(vectors.flatten(0, -2), book.embedding.weight).view(vectors.shape[:-1])


# Both layouts run the same modules; what is LlamaGen's alone, and IBQ's, is told apart there.
MUTATIONS: dict[str, tuple[str, str, tuple[object, str, object]]] = {
    "activation": ("taming", "reduced", (F, "silu", lambda hidden, inplace: F.gelu(hidden))),
    "epsilon": ("taming", "faint", (vqgan, "EPSILON", 1e-5)),
    "groups": ("taming", "reduced", (vqgan, "GROUPS", 16)),
    "padding": ("taming", "reduced", (F, "pad", lambda hidden, _: pad(hidden, (1, 0, 1, 0)))),
    "attention's scale": (
        "taming",
        "reduced",
        (F, "scaled_dot_product_attention", lambda *qkv: attend(*qkv, scale=1.0)),
    ),
    "smooth enlarging": (
        "taming",
        "reduced",
        (F, "interpolate", lambda hidden, **_: interpolate(hidden, scale_factor=2.0, mode="bilinear")),
    ),
    "transposed kernels": ("taming", "reduced", (F, "conv2d", _transposed)),
    "entries decoded as they are": ("llamagen", "reduced", (codebook.Codebook, "look_up", _raw_look_up)),
    "codes searched as they are": ("llamagen", "reduced", (codebook.Codebook, "nearest", _by_distance)),
    "products taken for distances": ("ibq", "reduced", (lookup.DotCodebook, "nearest", _by_distance)),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_wrong_port_would_be_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family, variant, mutation = MUTATIONS[name]
    monkeypatch.setattr(*mutation)  # type: ignore[arg-type]
    assert not compared(family, variant).is_same


@pytest.mark.parametrize("level", [(), (1,), (1, 2)])
def test_attention_elsewhere_is_another_checkpoint(level: tuple[int, ...]) -> None:
    facts = facts_of("chameleon", "reduced")
    config = config_of(facts["config"])
    other = VqganConfig(**{**vars(config), "attention": level})
    assert (key_problems(shapes_of(other, {}), official_keys("chameleon", "reduced")) == []) == (level == ())


# Checkpoints and encodings that are not the right ones.

SMALL = VqganConfig(
    layout=chameleon.CONFIG.layout,
    codebook_size=64,
    code_width=8,
    latent_channels=16,
    channels=32,
    multipliers=(1, 2),
    n_blocks=1,
)


def test_wrong_entries_are_named() -> None:
    weights = dict(seeded_checkpoint(SMALL))
    del weights["encoder.mid.attn_1.q.weight"]
    weights["decoder.extra"] = torch.zeros(1)
    weights["quantize.embedding.weight"] = weights["quantize.embedding.weight"].T
    with pytest.raises(WeightsError) as caught:
        chameleon.build(small_card(chameleon.CARDS[1], SMALL), weights, device="cpu", dtype="float32", config=SMALL)
    message = str(caught.value)
    assert "GAIR/Anole-7b-v0.1 is not the checkpoint" in message
    assert "lacks encoder.mid.attn_1.q.weight" in message
    assert "more than the network: decoder.extra" in message
    assert "quantize.embedding.weight is (8, 64), expected (64, 8)" in message


def test_parts_of_the_training_are_left_out() -> None:
    weights = {**seeded_checkpoint(SMALL), "loss.discriminator.main.0.weight": torch.zeros(1)}
    chameleon.build(small_card(chameleon.CARDS[0], SMALL), weights, device="cpu", dtype="float32", config=SMALL)
    with pytest.raises(WeightsError, match=r"more than the network: loss\.discriminator"):
        llamagen.build(small_card(llamagen.CARDS[0], SMALL), weights, device="cpu", dtype="float32", config=SMALL)


def test_other_encodings_are_refused() -> None:
    tokenizer = tokenizer_of("chameleon", SMALL)
    sequence = Tokens.grid(torch.zeros(1, 5, dtype=torch.int64), codebook_size=64)
    with pytest.raises(BadOutputError, match=r"chameleon decodes Tokens of 1 stream\(s\) \(n, h, w\), got Tokens of"):
        tokenizer.decode(sequence, seeds=[0])
    with pytest.raises(BadOutputError, match="got Latents"):
        tokenizer.decode(Latents(values=torch.zeros(1, 8, 4, 4)), seeds=[0])
