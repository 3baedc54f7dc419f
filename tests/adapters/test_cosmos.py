"""Cosmos: programs in, codes and images out as NVIDIA's library gives them, and what is refused."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.adapters.cosmos_cases import (
    Network,
    opened,
    patched,
    programs,
    said_of,
    small_card,
    tokenizer_of,
    unpatched,
)
from tests.adapters.seeding import facts_differ, golden, keys_facts, pattern, values_facts
from tokbench.encodings import Latents, Tokens
from tokbench.errors import BadOutputError, UnsupportedInputError, UsageError, WeightsError
from tokbench_adapters import cosmos

TOLERANCE = 1e-4
VARIANTS = ("ci/8x8", "ci/16x16", "di/8x8", "di/16x16")


def facts_of(variant: str) -> dict[str, Any]:
    found: dict[str, Any] = golden("cosmos")["variants"][variant]
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_codes_and_images_are_those_of_nvidias_library(variant: str) -> None:
    facts = facts_of(variant)
    kind, _, cell = variant.partition("/")
    cell_px = int(cell.partition("x")[0])
    assert facts["config"] == said_of(cell_px)
    with torch.device("meta"):
        network = Network(facts["config"], is_discrete=kind == "di")
    assert keys_facts(network.state_dict()) == facts["keys"]
    tokenizer = tokenizer_of(f"cosmos_{kind}", cell_px=cell_px)
    images = pattern(*facts["images"])
    encoding = tokenizer.encode(images)
    if isinstance(encoding, Tokens):
        assert encoding.streams[0].indices.tolist() == facts["indices"]
    else:
        assert isinstance(encoding, Latents)
        assert facts_differ(values_facts(encoding.values), facts["latents"]) < TOLERANCE
    painted = tokenizer.decode(encoding, seeds=range(len(images)))
    assert facts_differ(values_facts(painted), facts["image"]) < TOLERANCE


def test_wavelets_of_the_tests_lose_nothing_and_average_first() -> None:
    images = pattern(2, 16, 24)
    patches = patched(images)
    assert patches.shape == (2, 48, 4, 6)
    torch.testing.assert_close(patches[:, :3], torch.nn.functional.avg_pool2d(images, 4))
    torch.testing.assert_close(unpatched(patches), images)


def test_an_index_is_its_levels_the_first_dimension_running_fastest() -> None:
    quantiser = tokenizer_of("cosmos_di").quantiser()  # type: ignore[attr-defined]
    assert quantiser.levels == (8, 8, 8, 5, 5, 5)
    assert quantiser.basis == (1, 8, 64, 512, 2560, 12800)
    every = itertools.product(*(range(count) for count in reversed(quantiser.levels)))
    indices = [
        sum(level * step for level, step in zip(reversed(levels), quantiser.basis, strict=True)) for levels in every
    ]
    assert indices == list(range(64000))


def test_bits_are_log2_of_64000_a_cell() -> None:
    encoding = tokenizer_of("cosmos_di").encode(pattern(2, 32, 64))
    assert encoding.bits().tolist() == pytest.approx([8 * math.log2(64000)] * 2)  # type: ignore[union-attr]


def test_cards_are_of_the_four_released_repositories() -> None:
    assert [(card.name, card.hub, card.tokens) for card in cosmos.CARDS] == [
        ("cosmos_ci/8x8", "nvidia/Cosmos-0.1-Tokenizer-CI8x8", 1024),
        ("cosmos_ci/16x16", "nvidia/Cosmos-0.1-Tokenizer-CI16x16", 256),
        ("cosmos_di/8x8", "nvidia/Cosmos-0.1-Tokenizer-DI8x8", 1024),
        ("cosmos_di/16x16", "nvidia/Cosmos-0.1-Tokenizer-DI16x16", 256),
    ]
    assert [card.codebook_sizes for card in cosmos.CARDS] == [(), (), (64000,), (64000,)]


@pytest.mark.parametrize("family", ["cosmos_ci", "cosmos_di"])
@pytest.mark.parametrize(("written", "asked"), [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_a_program_written_in_another_type_is_refused_with_the_switch(family: str, written: str, asked: str) -> None:
    halves = map(opened, programs(is_discrete=family == "cosmos_di", dtype=written))
    with pytest.raises(UsageError, match=f"written in {written} and do not run in {asked}: use --dtype {written}"):
        cosmos.build(small_card(family), *halves, device="cpu", dtype=asked)


def test_images_are_scaled_in_float32_and_rounded_after() -> None:
    """As NVIDIA's library does; the other order loses up to half a level of 8 bits, on both ends."""
    encoder, decoder = map(opened, programs(is_discrete=False, dtype="bfloat16"))
    tokenizer = tokenizer_of("cosmos_ci", dtype="bfloat16")
    images = pattern(1, 32, 48)
    own = encoder((images * 2 - 1).bfloat16())[0]
    encoding = tokenizer.encode(images)
    assert isinstance(encoding, Latents)
    assert torch.equal(encoding.values, own.float())
    assert torch.equal(tokenizer.decode(encoding, seeds=[0]), decoder(own).float() / 2 + 0.5)


def test_a_program_that_names_no_type_is_converted() -> None:
    content = programs(is_discrete=False, dtype="bfloat16", writes_type=False)
    wide = cosmos.build(small_card("cosmos_ci"), *map(opened, content), device="cpu", dtype="float32")
    images = pattern(1, 32, 48)
    latents = wide.encode(images)
    assert isinstance(latents, Latents)
    exact = tokenizer_of("cosmos_ci").encode(images)
    assert isinstance(exact, Latents)
    # The stored weights are rounded to 8 bits of mantissa, the arithmetic is not.
    assert 0 < float((latents.values - exact.values).abs().mean()) < 0.02
    assert wide.decode(latents, seeds=[0]).dtype == torch.float32


def test_other_programs_are_refused() -> None:
    continuous, discrete = programs(is_discrete=False), programs(is_discrete=True)
    with pytest.raises(WeightsError, match=r"encoder gives float32 \(1, 16, 4, 4\), expected indices of shape"):
        cosmos.build(small_card("cosmos_di"), *map(opened, continuous), device="cpu", dtype="float32")
    with pytest.raises(
        WeightsError, match=r"encoder gives int32 \(1, 4, 4\), expected latents of shape \(1, 16, 4, 4\)"
    ):
        cosmos.build(small_card("cosmos_ci"), *map(opened, discrete), device="cpu", dtype="float32")
    mixed = (opened(discrete[0]), opened(continuous[1]))
    with pytest.raises(WeightsError, match="its programs do not run: "):
        cosmos.build(small_card("cosmos_di"), *mixed, device="cpu", dtype="float32")
    coarse = replace(small_card("cosmos_ci"), size_multiple=32)
    with pytest.raises(WeightsError, match="expected latents of shape"):
        cosmos.build(coarse, *map(opened, continuous), device="cpu", dtype="float32")


def test_what_cannot_be_decoded_is_refused() -> None:
    continuous, discrete = tokenizer_of("cosmos_ci"), tokenizer_of("cosmos_di")
    with pytest.raises(BadOutputError, match=r"decodes Latents \(n, 16, h, w\), got \(1, 4, 2, 2\)"):
        continuous.decode(Latents(values=torch.zeros(1, 4, 2, 2)), seeds=[0])
    with pytest.raises(BadOutputError, match="decodes Tokens of 1 stream"):
        discrete.decode(Latents(values=torch.zeros(1, 16, 2, 2)), seeds=[0])
    with pytest.raises(UnsupportedInputError, match="multiples of 16 px, got 40×32"):
        discrete.encode(torch.rand(1, 3, 32, 40))
