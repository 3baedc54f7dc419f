"""TiTok, One-D-Piece and TA-TiTok against what their official code gives with the same key-seeded weights."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.adapters.key_lists import key_problems, official_keys
from tests.adapters.seeding import (
    TOLERANCE,
    facts_differ,
    golden,
    keys_facts,
    pattern,
    seeded_state,
    seeded_weights,
    values_facts,
)
from tests.adapters.titok_cases import (
    MODULES,
    POSTERIOR_SEEDS,
    compared,
    config_of,
    facts_of,
    seeded_text,
    tokenizer_of,
    with_posterior,
)
from tokbench.contracts import Tokenizer
from tokbench.encodings import Latents, Tokens
from tokbench.errors import BadOutputError, UsageError, WeightsError
from tokbench.wrapping import wrap
from tokbench_adapters import _titok, flowtok, one_d_piece, ta_titok, titok
from tokbench_adapters._networks import maskgit_vqgan, rotary, transformer
from tokbench_adapters._networks import titok as networks
from tokbench_adapters._networks.clip_text import text_states
from tokbench_adapters._posterior import posterior_latents

RUNS = [(family, variant) for family in MODULES for variant in golden(family)["variants"]]
REDUCED = [run for run in RUNS if run[1].startswith("reduced")]
PUBLISHED = [run for run in RUNS if not run[1].startswith("reduced")]


def shape_of(family: str, variant: str) -> dict[str, Tensor]:
    """Names and shapes of a variant's network, without its values."""
    with torch.device("meta"):
        return networks.TiTokNetwork(config_of(family, facts_of(family, variant))).state_dict()


@pytest.mark.parametrize(("family", "variant"), PUBLISHED)
def test_every_released_configuration_is_upstreams(family: str, variant: str) -> None:
    assert MODULES[family].VARIANTS[variant] == config_of(family, facts_of(family, variant))
    assert key_problems(shape_of(family, variant), official_keys(family, variant)) == []


@pytest.mark.parametrize("family", MODULES)
def test_every_released_variant_was_run(family: str) -> None:
    assert set(MODULES[family].VARIANTS) == {variant for owner, variant in PUBLISHED if owner == family}


@pytest.mark.parametrize(("family", "variant"), REDUCED)
def test_encodings_and_images_are_upstreams(family: str, variant: str) -> None:
    assert key_problems(shape_of(family, variant), official_keys(family, variant)) == []
    found = compared(family, variant)
    assert found.is_same, found
    assert ("5" in facts_of(family, variant).get("prefixes", {})) == (family == "one_d_piece")


@pytest.mark.slow
@pytest.mark.parametrize(("family", "variant"), PUBLISHED)
def test_every_published_size_is_upstreams(family: str, variant: str) -> None:
    found = compared(family, variant)
    assert found.is_same, found


def test_the_example_of_the_parity_rule() -> None:
    facts = facts_of("titok", "s128")
    assert (facts["keys"]["n"], facts["keys"]["values"]) == (308, 83_674_639)
    assert facts["indices"][0][:8] == [2874, 3435, 3104, 3932, 1831, 1706, 1039, 854]
    assert facts["image"]["mean"] == pytest.approx(0.238886, abs=1e-6)
    assert facts["image"]["deviation"] == pytest.approx(0.533974, abs=1e-6)


def test_the_caption_is_embedded_as_by_transformers() -> None:
    """CLIPTextModel of transformers 4.46.3, filled by key, on the caption's tokens padded with zeros."""
    facts = golden("clip_text")["variants"]["depth_2"]
    state = {key: torch.empty(shape, device="meta") for key, shape in facts["shapes"].items()}
    assert keys_facts(state) == facts["keys"]
    states = text_states(seeded_state(state), ta_titok.CAPTION_TOKENS, depth=2)
    assert facts_differ(values_facts(states), facts["states"]) < 1e-5
    with pytest.raises(WeightsError, match=r"should have text_model\.encoder\.layers\.1\..* got nothing"):
        text_states(
            seeded_state({key: value for key, value in state.items() if "layers.1." not in key}), (1, 2), depth=2
        )


# What a port gets wrong without an error. Each must show in the reduced two-step or one-step run.


def _epsilon(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-6


def _group_epsilon(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.GroupNorm):
            module.eps = 1e-3


def _swap(network: nn.Module, old: type[nn.Module], new: Callable[[], nn.Module]) -> None:
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, old):
                setattr(module, name, new())


def _one_head_fewer(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, transformer.SelfAttention):
            module.n_heads //= 2


def _unscrambled(network: nn.Module) -> None:
    network.encoder._is_scrambled = not network.encoder._is_scrambled  # type: ignore[union-attr]


def _reflected(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.padding == (1, 1):
            module.padding_mode = "reflect"
            module._reversed_padding_repeated_twice = [1, 1, 1, 1]


def _not_normalised(network: nn.Module) -> None:
    network.quantize.is_normalised = not network.quantize.is_normalised  # type: ignore[union-attr]


def _transposed(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, transformer.SelfAttention):
            module.out_proj.weight = nn.Parameter(module.out_proj.weight.T.contiguous(), requires_grad=False)


def _other_pairs(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, rotary.GridRotation):
            module.freqs_sin = -module.freqs_sin


def _turned_further(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, rotary.GridRotation):
            module.freqs_cos = torch.cat([module.freqs_cos, module.freqs_cos[:1]])
            module.freqs_sin = torch.cat([module.freqs_sin, module.freqs_sin[:1]])


def _swapped_gate(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, rotary.GatedPerceptron):
            first, second = module.w12.weight.chunk(2)
            module.w12.weight = nn.Parameter(torch.cat([second, first]), requires_grad=False)


MUTATIONS: dict[str, tuple[str, Callable[[nn.Module], None]]] = {
    "GELU by tanh": ("two_steps", lambda network: _swap(network, nn.GELU, lambda: nn.GELU(approximate="tanh"))),
    "quick GELU": ("vq", lambda network: _swap(network, nn.GELU, transformer.QuickGELU)),
    "ReLU for tanh in the head": ("two_steps", lambda network: _swap(network, nn.Tanh, nn.ReLU)),
    "layer norm's epsilon": ("two_steps", _epsilon),
    "group norm's epsilon": ("two_steps", _group_epsilon),
    "number of heads": ("kl", _one_head_fewer),
    "latents not read as trained": ("two_steps", _unscrambled),
    "latents read as the first releases do": ("vq", _unscrambled),
    "padding": ("two_steps", _reflected),
    "normalised codes": ("vq", _not_normalised),
    "codes not normalised": ("two_steps", _not_normalised),
    "a transposed matrix": ("kl", _transposed),
    "channels of a pair swapped": ("rotary", _other_pairs),
    "latents turned like the grid": ("rotary", _turned_further),
    "gate and values swapped": ("rotary", _swapped_gate),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_wrong_port_would_be_noticed(mutation: str) -> None:
    kind, mutate = MUTATIONS[mutation]
    family, variant = ("flowtok", "reduced_kl") if kind == "rotary" else ("titok", f"reduced_{kind}")
    tokenizer: Any = tokenizer_of(family, variant)
    mutate(tokenizer._network)
    assert not compared(family, variant, tokenizer).is_same


def test_decoding_the_likeliest_grid_code_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    hard = lambda logits, dim: F.one_hot(logits.argmax(dim), logits.shape[dim]).movedim(-1, dim).float()  # noqa: E731
    monkeypatch.setattr(Tensor, "softmax", hard)
    tokenizer = tokenizer_of("titok", "reduced_two_steps")
    found = compared("titok", "reduced_two_steps", tokenizer)
    assert found.codes_differ == 0
    assert not found.is_same


def test_enlarging_smoothly_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    enlarge = F.interpolate
    smooth = lambda hidden, scale_factor, mode: enlarge(hidden, scale_factor=scale_factor, mode="bilinear")  # noqa: E731
    monkeypatch.setattr(maskgit_vqgan.F, "interpolate", smooth)
    tokenizer = tokenizer_of("titok", "reduced_two_steps")
    found = compared("titok", "reduced_two_steps", tokenizer)
    assert found.codes_differ == 0
    assert not found.is_same


def test_text_matters() -> None:
    other = tokenizer_of("ta_titok", "reduced_vq", text=seeded_text().roll(1, dims=1))
    found = compared("ta_titok", "reduced_vq", other)
    assert found.codes_differ == 0
    assert found.latents < TOLERANCE
    assert not found.is_same


def test_a_posterior_is_sampled_from_each_images_own_seed() -> None:
    tokenizer = tokenizer_of("titok", "reduced_kl")
    assert tokenizer.card.posterior == "sample"
    images = pattern(2, 64, 64)
    sampled = wrap(tokenizer).encode(images, seeds=POSTERIOR_SEEDS)
    means = with_posterior(tokenizer, "mode").encode(images)
    assert isinstance(sampled, Latents)
    assert isinstance(means, Latents)
    assert float((sampled.values - means.values).abs().min()) > 0
    alone = wrap(tokenizer).encode(images[1:], seeds=POSTERIOR_SEEDS[1:])
    assert torch.equal(alone.values, sampled.values[1:])  # type: ignore[union-attr]
    other = wrap(tokenizer).encode(images[1:], seeds=[5])
    assert not torch.equal(other.values, alone.values)  # type: ignore[union-attr]
    for seeds in (None, [1], [1, 2, 3]):
        with pytest.raises(UsageError, match=r"needs one seed an image \(2\), got"):
            wrap(tokenizer).encode(images, seeds=seeds)


def test_deviations_are_bounded_as_upstreams() -> None:
    """Logarithms of the variance beyond [-30, 20] are taken for these."""
    config = config_of("titok", facts_of("titok", "reduced_kl"))
    card = titok.card_of("bl64_vae_c16", config)
    far = torch.tensor([-400.0, -30.0, 0.0, 20.0, 400.0])
    deviations = (far.clamp(*_titok.LOG_VARIANCES) / 2).exp()
    assert deviations.tolist() == pytest.approx([math.exp(-15), math.exp(-15), 1, math.exp(10), math.exp(10)])
    drawn = posterior_latents(card, torch.full((1, 5), 3.0), deviations[None], [7])
    noise = torch.randn(5, generator=torch.Generator().manual_seed(7))
    assert torch.equal(drawn[0], 3 + deviations * noise)
    assert torch.equal(posterior_latents(replace(card, posterior="mode"), far[None], far[None], None), far[None])


def test_channels_lie_beside_each_other_in_a_patch() -> None:
    hidden = torch.arange(12.0).view(1, 12, 1, 1)  # a patch of 2 × 2 pixels, three channels each
    pixels = networks.PatchesToPixels(2)(hidden)
    assert pixels[0, 0].tolist() == [[0, 3], [6, 9]]
    assert pixels[0, 2].tolist() == [[2, 5], [8, 11]]


# Checkpoints that are not the right ones.


def reduced_weights() -> tuple[Any, dict[str, Tensor]]:
    config = config_of("titok", facts_of("titok", "reduced_vq"))
    with torch.device("meta"):
        network = networks.TiTokNetwork(config)
    return config, seeded_weights(network)


def built(config: Any, weights: dict[str, Tensor]) -> Tokenizer:
    card = titok.card_of("bl64_vq8k", config)
    return _titok.build(card, config, weights, device="cpu", dtype="float32")


def test_flowtok_is_read_from_its_official_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of("flowtok", facts_of("flowtok", "reduced_kl"))
    with torch.device("meta"):
        network = networks.TiTokNetwork(config)
    file = tmp_path / "turkeyju" / "FlowTok" / "FlowTiTok_512.bin"
    file.parent.mkdir(parents=True)
    torch.save(seeded_weights(network), file)
    monkeypatch.setenv("TOKBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setitem(flowtok.VARIANTS, "512", config)
    monkeypatch.setattr(flowtok, "caption_states", seeded_text)
    card = replace(flowtok.CARDS[0], fixed_size_px=config.side_px)
    tokenizer = flowtok.load(card, device="cpu", dtype="float32")
    assert tokenizer.card.weights == ((file.name, hashlib.sha256(file.read_bytes()).hexdigest()),)
    assert compared("flowtok", "reduced_kl", tokenizer).is_same


def test_wrong_entries_are_named() -> None:
    config, weights = reduced_weights()
    wrong = dict(weights)
    del wrong["decoder.mask_token"]
    wrong["decoder.extra"] = torch.zeros(1)
    wrong["quantize.embedding.weight"] = weights["quantize.embedding.weight"].T
    with pytest.raises(WeightsError) as caught:
        built(config, wrong)
    message = str(caught.value)
    assert "yucornetto/tokenizer_titok_bl64_vq8k_imagenet is not the checkpoint" in message
    assert "it lacks decoder.mask_token" in message
    assert "more than the network: decoder.extra" in message
    assert "quantize.embedding.weight is (64, 8192), expected (8192, 64)" in message


def test_training_counters_are_left_out_and_halves_are_widened() -> None:
    config, weights = reduced_weights()
    halves = {key: value.half() for key, value in weights.items()}
    tokenizer: Any = built(config, {**halves, "quantize.embed_prob": torch.zeros(8192)})
    assert {parameter.dtype for parameter in tokenizer._network.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in tokenizer._network.parameters())
    assert not tokenizer._network.training


def test_codes_stay_in_float32_where_the_network_does_not() -> None:
    config, weights = reduced_weights()
    card = titok.card_of("bl64_vq8k", config)
    tokenizer: Any = _titok.build(card, config, weights, device="cpu", dtype="bfloat16")
    assert tokenizer._network.encoder.patch_embed.weight.dtype == torch.bfloat16
    assert torch.equal(tokenizer.quantiser().codebooks["0"], weights["quantize.embedding.weight"])
    images = pattern(1, 64, 64)
    encoding = tokenizer.encode(images)
    vectors = encoding.streams[0].vectors[0]
    nearest = torch.cdist(vectors.double(), weights["quantize.embedding.weight"].double()).argmin(1)
    assert encoding.streams[0].indices[0].tolist() == nearest.tolist()
    assert tokenizer.decode(encoding, seeds=[0]).dtype == torch.bfloat16


def test_a_wrong_number_of_tokens_is_refused() -> None:
    config, weights = reduced_weights()
    tokenizer = built(config, weights)
    short = Tokens.grid(torch.zeros(1, 5, dtype=torch.int64), codebook_size=8192)
    with pytest.raises(BadOutputError, match="decodes 8 tokens an image, got 5"):
        tokenizer.decode(short, seeds=[0])
    with pytest.raises(BadOutputError, match=r"decodes one stream of Tokens \(n, l\), got Latents \(1, 64, 8\)"):
        tokenizer.decode(Latents(values=torch.zeros(1, 64, 8)), seeds=[0])
    variable = tokenizer_of("one_d_piece", "reduced_two_steps")
    long = Tokens.grid(torch.zeros(1, 17, dtype=torch.int64), codebook_size=4096)
    with pytest.raises(BadOutputError, match="decodes 1 to 16 tokens an image, got 17"):
        variable.decode(long, seeds=[0])


def test_the_first_cards_are_the_defaults() -> None:
    assert [module.CARDS[0].name for module in MODULES.values()] == [
        "titok/l32", "one_d_piece/l256", "ta_titok/bl128_vq", "flowtok/512"
    ]  # fmt: skip
    assert titok.CARDS[0].title == "TiTok-L-32 (VQ, 4096 codes)"
    assert titok.CARDS[0].hub == "yucornetto/tokenizer_titok_l32_imagenet"
    assert one_d_piece.CARDS[0].hub == "turing-motors/One-D-Piece-L-256"
    assert ta_titok.CARDS[0].side_information
