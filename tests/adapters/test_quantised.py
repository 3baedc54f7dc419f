"""Quantised latents: levels by their formulas, scales by hand, and what comes of it with real networks."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import truncnorm
from torch import Tensor

from tests.adapters.tiny import TINY
from tests.conftest import SHARED
from tokbench.cards import TOKENIZER_NAME, TokenizerCard
from tokbench.encodings import Latents, Tokens
from tokbench.errors import BadOutputError, MissingExtraError, UsageError
from tokbench.images import to_float, to_uint8
from tokbench.names import OpenName
from tokbench.perturbation.facts import quantiser_of
from tokbench.perturbation.points import derivation, points_for
from tokbench.runner.checks import check_images
from tokbench.sweep import sweep
from tokbench.tasks.catalogue import folder_task
from tokbench.tokenizers import load_tokenizer
from tokbench.wrapping import Wrapped, wrap
from tokbench_adapters._quantised import photographs as shipped
from tokbench_adapters._quantised.photographs import PHOTOGRAPHS, read_photographs, side_of
from tokbench_adapters._quantised.scalar_levels import SPACINGS, Spacing, borders_of, levels_of
from tokbench_adapters.quantised import open_name

GOLDEN = json.loads((Path(__file__).resolve().parents[1] / "golden" / "tokenbridge_levels.json").read_text())


class Plain:
    """Latents that are the images, in a layout of the test's choosing."""

    def __init__(
        self,
        layout: Callable[[Tensor], Tensor] = lambda images: images,
        back: Callable[[Tensor], Tensor] = lambda latents: latents,
        **facts: Any,
    ) -> None:
        self._layout, self._back = layout, back
        self.card = TokenizerCard(**{"name": "plain", "latent": "continuous", "licence": "MIT", **facts})

    def encode(self, images: Tensor) -> Latents:
        return Latents(values=self._layout(images))

    def decode(self, encoding: Latents, *, seeds: Sequence[int]) -> Tensor:
        assert len(seeds) == encoding.n
        return self._back(encoding.values)


def quantised(model: Any, query: str, *, dtype: str = "float32") -> Wrapped:
    """``quantised:INNER?query`` around an object."""
    name = OpenName.parse(f"quantised:inner?{query}")
    return wrap(open_name(name, device="cpu", dtype=dtype, load=lambda _: wrap(model).passing(dtype)))


def indices_of(tokenizer: Wrapped, images: Tensor, *, seeds: Sequence[int] = ()) -> Tensor:
    encoding = tokenizer.encode(images, seeds=seeds or range(len(images)))
    assert isinstance(encoding, Tokens)
    (stream,) = encoding.streams
    return stream.indices


def roundtrip(tokenizer: Wrapped, images: Tensor) -> Tensor:
    seeds = range(len(images))
    return tokenizer.decode(tokenizer.encode(images, seeds=seeds), seeds=seeds)


def crops(side_px: int = 64, n: int = 3) -> Tensor:
    pixels, _ = shipped._read(PHOTOGRAPHS, 256)
    return to_float(pixels[:n, :, 64 : 64 + side_px, 96 : 96 + side_px])


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def mean_square(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).square().mean())


# ---- levels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("bits", [1, 2, 5, 9])
def test_levels_rise_are_symmetric_and_lie_in_the_range(spacing: Spacing, bits: int) -> None:
    levels = levels_of(spacing, bits=bits, reach=2.5)
    assert len(levels) == 2**bits
    assert all(low < high for low, high in itertools.pairwise(levels))
    assert levels == tuple(-level for level in reversed(levels))
    assert levels[-1] == pytest.approx(2.5) if spacing == "ends" else levels[-1] < 2.5
    assert levels == pytest.approx([2.5 * level for level in levels_of(spacing, bits=bits, reach=1)])


def test_equally_spaced_levels_by_hand() -> None:
    assert levels_of("uniform", bits=2, reach=4) == (-3, -1, 1, 3)
    assert levels_of("ends", bits=2, reach=3) == (-3, -1, 1, 3)
    assert levels_of("uniform", bits=1, reach=1) == (-0.5, 0.5)
    assert levels_of("ends", bits=1, reach=1) == (-1, 1)
    assert borders_of((-3, -1, 2)) == (-2, 0.5)


@pytest.mark.parametrize("bits", [1, 3, 6, 8, 9])
def test_gaussian_levels_are_means_of_equally_likely_cells(bits: int) -> None:
    """By scipy's truncated normal; ±5 are ±3 of it, which cuts the outer cells off."""
    edges = np.clip([NormalDist().inv_cdf(k / 2**bits) for k in range(1, 2**bits)], -3, 3)
    cells = itertools.pairwise([-3, *edges, 3])
    expected = [5 / 3 * truncnorm.mean(low, high) for low, high in cells]
    assert levels_of("gaussian", bits=bits, reach=5) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("bits", GOLDEN["bits"])
def test_levels_and_codes_are_those_of_the_published_code(bits: str) -> None:
    golden = GOLDEN["bits"][bits]
    levels = levels_of("gaussian", bits=int(bits), reach=5)
    assert levels[len(levels) // 2 :][:64] == pytest.approx(golden["levels"], abs=1e-4)  # it computes in float32
    values = torch.linspace(-6.5, 6.5, 60, dtype=torch.float64).float()
    codes = torch.bucketize(values, torch.tensor(borders_of(levels)))
    assert codes.tolist() == golden["indices"]
    assert len(set(golden["indices"])) >= min(25, 2 ** int(bits))


@pytest.mark.parametrize(
    ("spacing", "bits", "reach", "message"),
    [
        ("gaussian", 0, 5, "1 to 9 bits, got 0"),
        ("gaussian", 10, 5, "1 to 9 bits, got 10"),
        ("uniform", 17, 5, "1 to 16 bits"),
        ("ends", 4, 0, "above 0"),
        ("ends", 4, math.inf, "above 0"),
    ],
)
def test_levels_that_do_not_exist_are_refused(spacing: Spacing, bits: int, reach: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        levels_of(spacing, bits=bits, reach=reach)


# ---- values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_the_error_of_equal_cells_is_half_a_step_inside_the_range(bits: int) -> None:
    model = Plain()
    tokenizer = quantised(model, f"bits={bits}&levels=uniform&range=2&mean=0.5&std=0.5")
    inside = torch.linspace(-0.5, 1.5, 30_000).view(1, 3, 100, 100)
    step = 2 * 2 * 0.5 / 2**bits
    error = (roundtrip(tokenizer, inside) - inside).abs()
    assert float(error.max()) <= step / 2 * 1.0001
    assert float(error.max()) > step / 2 * 0.99
    assert mean_square(roundtrip(tokenizer, inside), inside) == pytest.approx(step**2 / 12, rel=0.01)
    beyond = torch.full((1, 3, 2, 2), 40.0)
    assert roundtrip(tokenizer, beyond).flatten().tolist() == pytest.approx([1.5 - step / 2] * 12)


@pytest.mark.parametrize("levels", [2, 8, 256])
def test_ends_are_the_rounding_of_the_tiny_autoencoders(levels: int) -> None:
    """round(clamp(z / 6 + 0.5) · (levels - 1)), as AutoencoderTiny.forward does."""
    tokenizer = quantised(Plain(), f"bits={levels.bit_length() - 1}&levels=ends&range=3&mean=0&std=1")
    latents = 2 * normal(2, 3, 64, 64)
    codes = ((latents / 6 + 0.5).clamp(0, 1) * (levels - 1)).round()
    assert torch.equal(indices_of(tokenizer, latents), codes.long())
    assert torch.allclose(roundtrip(tokenizer, latents), (codes / (levels - 1) - 0.5) * 6, atol=1e-5)


def test_one_bit_of_a_normal_costs_what_the_formula_says() -> None:
    """E|z| is √(2/π), so ±a cost 1 - 2a √(2/π) + a² of a variance."""
    level = levels_of("gaussian", bits=1, reach=3)[1]
    assert level == pytest.approx(2 * (NormalDist().pdf(0) - NormalDist().pdf(3)) / (2 * NormalDist().cdf(3) - 1))
    latents = normal(4, 3, 128, 128)
    tokenizer = quantised(Plain(), "bits=1&range=3&mean=0&std=1")
    expected = 1 - 2 * level * math.sqrt(2 / math.pi) + level**2
    assert mean_square(roundtrip(tokenizer, latents), latents) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("reach", [2, 5])
def test_more_bits_of_a_normal_cost_less(spacing: str, reach: float) -> None:
    latents = normal(2, 3, 64, 64)
    errors = [
        mean_square(
            roundtrip(quantised(Plain(), f"bits={bits}&levels={spacing}&range={reach}&mean=0&std=1"), latents), latents
        )
        for bits in range(1, 9)
    ]
    assert errors == sorted(errors, reverse=True)
    assert len(set(errors)) == 8


@pytest.mark.parametrize("query", ["bits=1", "bits=4", "bits=8&levels=uniform", "bits=5&levels=ends&range=2"])
def test_decoded_latents_encode_to_the_same_codes(query: str) -> None:
    tokenizer = quantised(Plain(), query)
    codes = indices_of(tokenizer, crops())
    again = indices_of(tokenizer, roundtrip(tokenizer, crops()))
    assert torch.equal(again, codes)
    assert codes.shape == (3, 3, 64, 64)
    assert len(codes.unique()) > 1


def test_latents_that_are_no_numbers_are_an_error() -> None:
    broken = Plain(lambda images: torch.where(images > 2, torch.nan, images))
    tokenizer = quantised(broken, "bits=4")
    with pytest.raises(BadOutputError, match="finite latents, and its tokenizer gave NaN"):
        tokenizer.encode(torch.full((1, 3, 8, 8), 3.0), seeds=[0])
    with pytest.raises(BadOutputError, match="NaN or infinite values"):
        quantised(Plain(lambda images: images / 0), "bits=4")


# ---- scale -------------------------------------------------------------------------------------------------------


def moved(images: Tensor) -> Tensor:
    """Channels of very different spread and place."""
    return images * torch.tensor([1.0, 100.0, 0.01]).view(3, 1, 1) + torch.tensor([0.0, -500.0, 3.0]).view(3, 1, 1)


def moved_back(latents: Tensor) -> Tensor:
    return (latents - torch.tensor([0.0, -500.0, 3.0]).view(3, 1, 1)) / torch.tensor([1.0, 100.0, 0.01]).view(3, 1, 1)


def test_a_measured_scale_is_the_photographs_by_channel() -> None:
    photographs, digest = read_photographs(256)
    tokenizer = quantised(Plain(moved, moved_back), "bits=4")
    scale = tokenizer.model._scale
    values = moved(photographs).double().transpose(0, 1).flatten(1)
    assert scale.axis == 1
    assert scale.std == pytest.approx(values.std(1).tolist(), rel=1e-3)
    assert [abs(a - b) / s for a, b, s in zip(scale.mean, values.mean(1).tolist(), scale.std, strict=True)] <= [
        1e-3
    ] * 3
    (note,) = [note for note in tokenizer.card.notes if note.startswith("Scale")]
    assert f"measured on 8 photographs at 256 px (files {digest})" in note
    assert f"mean {min(scale.mean):.4g} to {max(scale.mean):.4g} and deviation " in note
    assert torch.equal(indices_of(tokenizer, crops()), indices_of(quantised(Plain(), "bits=4"), crops()))


def test_other_statistics_make_another_card() -> None:
    """Though the name, title and shape are the same."""
    cards = [quantised(Plain(lambda images, factor=factor: images * factor), "bits=4").card for factor in (1.0, 1.001)]
    assert cards[0].name == cards[1].name
    assert cards[0] != cards[1]
    assert quantised(Plain(), "bits=4").card == cards[0]


def test_a_scale_ignores_the_last_bits_of_floats() -> None:
    cards = [
        quantised(Plain(lambda images, factor=factor: images * factor), "bits=4").card for factor in (1.0, 1 + 2e-7)
    ]
    assert cards[0] == cards[1]


def test_a_channel_that_never_moves_is_kept_where_it_is() -> None:
    def half_dead(images: Tensor) -> Tensor:
        return torch.cat([images[:, :2], torch.full_like(images[:, :1], 7.0)], dim=1)

    tokenizer = quantised(Plain(half_dead), "bits=2")
    assert roundtrip(tokenizer, crops())[:, 2].flatten().tolist() == pytest.approx([7.0] * 3 * 64 * 64, abs=1e-3)
    with pytest.raises(BadOutputError, match="the same for every photograph"):
        quantised(Plain(lambda images: torch.ones_like(images)), "bits=2")


class Telling(Plain):
    """A tokenizer that knows how its latents are spread."""

    def __init__(self, mean: Any, std: Any, **facts: Any) -> None:
        super().__init__(**facts)
        self._told = mean, std

    def latent_statistics(self) -> tuple[Any, Any]:
        return self._told


def test_what_a_tokenizer_tells_of_itself_is_taken() -> None:
    one = quantised(Telling(0.25, 2.0), "bits=4")
    assert (one.model._scale.mean, one.model._scale.std, one.model._scale.axis) == ((0.25,), (2.0,), None)
    assert "Scale of the latents: as its publisher states, mean 0.25 and deviation 2." in one.card.notes
    assert torch.equal(indices_of(one, crops()), indices_of(quantised(Plain(), "bits=4&mean=0.25&std=2"), crops()))
    each = quantised(Telling(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 2.0, 3.0])), "bits=4").model._scale
    assert (each.mean, each.std, each.axis) == ((0.0, 1.0, 2.0), (1.0, 2.0, 3.0), 1)
    mixed = quantised(Telling(0.0, torch.tensor([1.0, 2.0, 3.0])), "bits=4").model._scale
    assert mixed.mean == (0.0, 0.0, 0.0)
    asked = quantised(Telling(0.25, 2.0), "bits=4&mean=0&std=1").model._scale
    assert (asked.mean, asked.std) == ((0.0,), (1.0,))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (torch.zeros(4), torch.ones(4), "gave 4 means and 4 standard deviations"),
        (torch.zeros(2), torch.ones(3), "gave 2 means and 3"),
        (0.0, 0.0, "standard deviations"),
        (math.nan, 1.0, "means"),
    ],
)
def test_statistics_that_cannot_be_are_an_error(mean: Any, std: Any, message: str) -> None:
    with pytest.raises(BadOutputError, match=rf"latent_statistics\(\).* {message}"):
        quantised(Telling(mean, std), "bits=4")


# ---- which axis channels are -------------------------------------------------------------------------------------


def as_sequence(images: Tensor) -> Tensor:
    return images.flatten(2).transpose(1, 2)


def from_sequence(latents: Tensor) -> Tensor:
    return latents.transpose(1, 2).unflatten(2, (8, 8))


def test_sequences_need_to_say_where_their_channels_are() -> None:
    facts = {"size_multiple": 8, "fixed_size_px": 8}
    by_tokens = quantised(Plain(as_sequence, from_sequence, tokens=64, **facts), "bits=4")
    assert by_tokens.model._scale.axis == 2
    first = quantised(Plain(lambda images: images.flatten(2), tokens=64, **facts), "bits=4")
    assert first.model._scale.axis == 1
    unknown = Plain(as_sequence, from_sequence, **facts)
    with pytest.raises(UsageError, match=r"latents \(64, 3\) an image, .*\?channels=first or \?channels=last"):
        quantised(unknown, "bits=4")
    last = quantised(unknown, "bits=4&channels=last")
    assert last.card.name == "quantised/plain.b4.last"
    assert last.model._scale.axis == 2
    assert indices_of(last, crops(8)).shape == (3, 64, 3)
    assert torch.equal(roundtrip(last, crops(8)), roundtrip(by_tokens, crops(8)))
    assert quantised(unknown, "bits=4&mean=0&std=1").model._scale.axis is None


def test_statistics_by_channel_say_which_axis_fits() -> None:
    class Sequence3(Telling):
        def encode(self, images: Tensor) -> Latents:
            return Latents(values=as_sequence(images))

    made = quantised(Sequence3(torch.zeros(3), torch.ones(3), fixed_size_px=8), "bits=4")
    assert made.model._scale.axis == 2


# ---- the tokenizer -----------------------------------------------------------------------------------------------


def test_the_card_says_what_it_is() -> None:
    inner = load_tokenizer("pca", device="cpu").card
    tokenizer = load_tokenizer("quantised:pca?bits=4", device="cpu")
    card = tokenizer.card
    assert card.name == "quantised/pca.k16.b4"
    assert card.opened_as == "quantised:pca?bits=4"
    assert (card.latent, card.codebook_sizes, card.tokens) == ("discrete", (16,), 16 * 32 * 32)
    kept = ("size_multiple", "downsampling", "weights", "licence", "weights_licence", "paper", "deterministic")
    assert {name: getattr(card, name) for name in kept} == {name: getattr(inner, name) for name in kept}
    assert f"{inner.name}: {inner.notes[0]}" in card.notes
    assert all(note.endswith(".") for note in card.notes)
    assert "Outside the range, at the outermost level: 0.42 % of the latents of photographs." in card.notes
    encoding = tokenizer.encode(crops())
    assert encoding.bits().tolist() == [16 * 8 * 8 * 4] * 3  # type: ignore[union-attr]


def test_every_choice_has_a_name_of_its_own() -> None:
    queries = [
        "bits=4", "bits=5", "bits=4&levels=uniform", "bits=4&levels=ends", "bits=4&range=3", "bits=4&range=2.5",
        "bits=4&mean=0&std=1", "bits=4&mean=-0.1&std=1", "bits=4&mean=0&std=1e-7", "bits=4&mean=0&std=1e20",
        "bits=4&channels=first", "bits=4&levels=ends&range=3&mean=0&std=1",
    ]  # fmt: skip
    names = [quantised(Plain(), query).card.name for query in queries]
    assert len(set(names)) == len(names)
    assert all(TOKENIZER_NAME.match(name) for name in names)
    assert names[-1] == "quantised/plain.b4.ends.r3.m0.s1"
    assert quantised(Plain(), "bits=4&range=5.0&levels=gaussian").card.name == names[0]


def test_a_prefix_of_a_continuous_tokenizer_is_no_prefix_of_its_tokens() -> None:
    card = quantised(Plain(prefix_axis="positions", max_length=4), "bits=4").card
    assert card.prefix_axis is None
    assert card.max_length is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("quantised:lbg?bits=4", "lbg/d8 cannot be quantised: its latent is discrete"),
        ("quantised:jpeg?bits=4", "its latent is codec"),
        ("quantised:identity?bits=4", "its latent is none"),
        ("quantised:{quantised:pca?bits=4}?bits=2", "pca.k16.b4 cannot be quantised: its latent is discrete"),
        ("quantised:pca", r"add \?bits=4"),
        ("quantised:pca?bits=0", "1 to 9 bits, got 0"),
        ("quantised:pca?bits=x", "bits=x cannot be used"),
        ("quantised:pca?bits=4&mean=0", "mean and std go together"),
        ("quantised:pca?bits=4&mean=nan&std=1", "finite"),
        ("quantised:pca?bits=4&mean=0&std=0", "above 0"),
        ("quantised:pca?bits=4&range=-1", "above 0"),
        ("quantised:pca?bits=4&levels=log", "expected gaussian or uniform or ends"),
        ("quantised:pca?bits=4&step=2", "has no option step; it has bits, levels, range"),
        ("quantised:nowhere?bits=4", "no tokenizer named 'nowhere'"),
        ("quantised", "needs to know what to open: quantised:NAME"),
    ],
)
def test_what_cannot_be_quantised_is_refused(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_tokenizer(name, device="cpu")


def test_a_tokenizer_that_is_not_what_it_says_is_an_error() -> None:
    class Lying(Plain):
        def encode(self, images: Tensor) -> Any:
            return Tokens.grid((images * 3).long(), codebook_size=4)

    with pytest.raises(BadOutputError, match=r"must return latents of one shape .*, got Tokens"):
        quantised(Lying(), "bits=4")
    tokenizer = quantised(Plain(), "bits=4")
    with pytest.raises(BadOutputError, match="decodes one stream of tokens, got Latents"):
        tokenizer.decode(Latents(values=crops()), seeds=[0] * 3)


def test_coarse_latents_may_overshoot_and_another_range_is_still_found() -> None:
    coarse = load_tokenizer("quantised:pca?bits=1&range=9", device="cpu")
    images = roundtrip(coarse, crops())
    assert coarse.card.overshoots
    assert float(images.max()) > 1.5
    assert check_images(images, shape=(3, 3, 64, 64), card=coarse.card) is images
    elsewhere = quantised(Plain(back=lambda latents: latents * 2 - 1), "bits=6")
    assert not elsewhere.card.overshoots
    with pytest.raises(BadOutputError, match=r"decode returned pixels from -1\.\d+ to .*looks like \[-1, 1\]"):
        check_images(roundtrip(elsewhere, crops()), shape=(3, 3, 64, 64), card=elsewhere.card)


USERS = """
import torch

class MyVAE:
    size_multiple = 4

    def encode(self, images):
        return torch.nn.functional.pixel_unshuffle(images, 4) * 3 - 1

    def decode(self, latents):
        return torch.nn.functional.pixel_shuffle((latents + 1) / 3, 4)
"""


@pytest.mark.parametrize("form", ["quantised:{}:MyVAE?bits=8", "quantised:{{{}:MyVAE}}?bits=8"])
def test_an_object_of_the_users_own_can_be_quantised(form: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(USERS)
    tokenizer = load_tokenizer(form.format(file), device="cpu")
    assert tokenizer.card.name == "quantised/my_vae.b8"
    assert tokenizer.card.size_multiple == 4
    assert mean_square(roundtrip(tokenizer, crops()), crops()) < 1e-4
    assert indices_of(tokenizer, crops()).shape == (3, 48, 16, 16)


class Sampling:
    """Draws its latents and its pixels from the samples' seeds, and from nothing else."""

    card = TokenizerCard(name="sampling", latent="continuous", posterior="sample", deterministic=False)

    def encode(self, images: Tensor, *, seeds: Sequence[int]) -> Latents:
        return Latents(values=images + 0.2 * self._noise(images, seeds))

    def decode(self, encoding: Latents, *, seeds: Sequence[int]) -> Tensor:
        return encoding.values + 0.2 * self._noise(encoding.values, seeds)

    def _noise(self, images: Tensor, seeds: Sequence[int]) -> Tensor:
        rows = [torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(rows)


def test_seeds_reach_both_halves() -> None:
    tokenizer = quantised(Sampling(), "bits=8")
    assert (tokenizer.card.posterior, tokenizer.card.deterministic) == ("sample", False)
    images = crops()
    encoding = tokenizer.encode(images, seeds=[5, 6, 7])
    alone = tokenizer.encode(images[1:2], seeds=[6])
    assert isinstance(encoding, Tokens)
    assert isinstance(alone, Tokens)
    assert torch.equal(alone.streams[0].indices, encoding.streams[0].indices[1:2])
    other = tokenizer.encode(images[1:2], seeds=[8])
    assert isinstance(other, Tokens)
    assert not torch.equal(other.streams[0].indices, alone.streams[0].indices)
    together = tokenizer.decode(encoding, seeds=[1, 2, 3])
    assert torch.equal(tokenizer.decode(alone, seeds=[2]), together[1:2])
    assert not torch.equal(tokenizer.decode(alone, seeds=[4]), together[1:2])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_latents_come_back_in_the_type_they_came_in(dtype: str) -> None:
    seen: list[torch.dtype] = []

    def watch(latents: Tensor) -> Tensor:
        seen.append(latents.dtype)
        return latents

    model = Plain(layout=lambda images: images.to(getattr(torch, dtype)), back=watch)
    assert roundtrip(quantised(model, "bits=6", dtype=dtype), crops()).dtype == getattr(torch, dtype)
    assert set(seen) == {getattr(torch, dtype)}


@pytest.mark.parametrize("bits", [1, 4])
def test_perturbed_tokens_take_a_step(bits: int) -> None:
    tokenizer = quantised(Plain(), f"bits={bits}")
    encoding = tokenizer.encode(crops())
    assert isinstance(encoding, Tokens)
    quantiser = quantiser_of(tokenizer)
    (point,) = points_for(quantiser, alphas=(1.0,), deltas=(20, 200))
    moved_codes = derivation(point, quantiser, widest=200)(encoding, range(3))
    assert isinstance(moved_codes, Tokens)
    steps = (moved_codes.streams[0].indices - encoding.streams[0].indices).abs()
    assert int(steps.max()) == 1
    assert 0.4 < float(steps.float().mean()) <= 1
    assert tokenizer.decode(moved_codes, seeds=range(3)).shape == crops().shape


def test_parameters_are_those_of_the_tokenizer_inside() -> None:
    from tokbench.metrics.cost import find_weights

    def count(tokenizer: Wrapped) -> int:
        return sum({id(weight): weight.numel() for weight in find_weights(tokenizer)}.values())

    assert count(load_tokenizer("quantised:pca?bits=8", device="cpu")) == count(load_tokenizer("pca", device="cpu"))


@pytest.fixture
def _one_photograph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough where the scale is not measured, or does not matter."""
    monkeypatch.setattr(shipped, "PHOTOGRAPHS", PHOTOGRAPHS[:1])


@pytest.mark.usefixtures("_one_photograph")
@pytest.mark.parametrize(("name", "axis"), [("titok kl", 1), ("flux2_vae", 1), ("flux1_vae", None)])
def test_real_families_in_small(name: str, axis: int | None) -> None:
    """Codes have the shape of the latents, a batch is its samples, many levels give the tokenizer's own picture."""
    inner = wrap(TINY[name]("float32"))
    tokenizer = quantised(inner, "bits=16&levels=uniform&range=40")
    assert tokenizer.model._scale.axis == axis
    side = side_of(inner.card) if inner.card.fixed_size_px else 64
    images = torch.nn.functional.interpolate(crops(), size=(side, side))
    codes = indices_of(tokenizer, images)
    latents = inner.encode(images, seeds=range(3))
    assert isinstance(latents, Latents)
    assert codes.shape == latents.values.shape
    if tokenizer.card.fixed_size_px == side:
        assert tokenizer.card.tokens == codes[0].numel()
    assert torch.equal(indices_of(tokenizer, images[1:2], seeds=[1]), codes[1:2])
    own = inner.decode(latents, seeds=range(3))
    assert mean_square(roundtrip(tokenizer, images), own) < 1e-4 * float(own.var())


# ---- photographs -------------------------------------------------------------------------------------------------


def test_photographs_are_the_centre_squares() -> None:
    images, digest = read_photographs(40)
    assert images.shape == (len(PHOTOGRAPHS), 3, 40, 40)
    assert images.dtype == torch.float32
    assert 0 <= float(images.min()) < 0.05 < 0.95 < float(images.max()) <= 1
    assert len(digest) == 12
    assert digest == read_photographs(24)[1]
    import skimage.data
    from PIL import Image

    cat = Image.fromarray(skimage.data.chelsea()).crop((75, 0, 375, 300)).resize((40, 40), Image.Resampling.BICUBIC)
    assert torch.equal(to_uint8(images[1:2])[0].permute(1, 2, 0), torch.from_numpy(np.array(cat)))


@pytest.mark.parametrize(
    ("multiple", "fixed", "side"), [(1, None, 256), (14, None, 252), (512, None, 512), (8, 384, 384)]
)
def test_photographs_have_a_legal_size(multiple: int, fixed: int | None, side: int) -> None:
    card = TokenizerCard(name="x", size_multiple=multiple, fixed_size_px=fixed)
    assert side_of(card) == side


def test_a_missing_photograph_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "PHOTOGRAPHS", (("skimage", "data/unheard_of.png"),))
    with pytest.raises(MissingExtraError, match=r"scikit-image has no data/unheard_of\.png"):
        read_photographs(32)


# ---- whole runs --------------------------------------------------------------------------------------------------


def test_more_bits_of_pca_come_nearer_to_its_own_pictures() -> None:
    images = crops()
    own = roundtrip(load_tokenizer("pca", device="cpu"), images)
    errors = [
        mean_square(roundtrip(load_tokenizer(f"quantised:pca?bits={bits}", device="cpu"), images), own)
        for bits in range(1, 10)
    ]
    assert errors == sorted(errors, reverse=True)
    fine = load_tokenizer("quantised:pca?bits=16&levels=uniform&range=20", device="cpu")
    assert mean_square(roundtrip(fine, images), own) < 1e-8 < errors[-1]


def test_a_sweep_over_bits_is_a_curve(photos: Path, tmp_path: Path) -> None:
    made = sweep(
        "quantised:pca?bits=4", folder_task(size_px=64), "psnr", data=photos, against=("jpeg",), out=tmp_path,
        variants=[f"quantised:pca?bits={bits}" for bits in (1, 2, 3, 6)], rates="bpp",
    )  # fmt: skip
    assert made.result.counts["failed"] == 0, "coarse latents may be decoded far outside of [0, 1]"
    points = made.curves.points["psnr"]["bpp"]["quantised"]
    assert [point.label for point in points] == ["pca.k16.b1", "pca.k16.b2", "pca.k16.b3", "pca.k16.b4", "pca.k16.b6"]
    assert [point.rate for point in points] == [0.25, 0.5, 0.75, 1.0, 1.5]
    values = [point.value for point in points]
    assert values == sorted(values)
    assert not any(point.is_beaten for point in points)
    (compared,) = made.curves.comparisons
    assert compared.anchor == "jpeg"
    assert compared.bd_rate is not None
    assert made.result.path is not None
    assert made.result.path.endswith("sweeps/folder/quantised__pca.k16.b4")


@pytest.mark.skipif(
    not (SHARED / "weights" / "taef2").is_dir(), reason="../shared/weights is not beside the repository"
)
@pytest.mark.usefixtures("_one_photograph")
def test_taef2_at_the_figures_of_its_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 bits a latent cost 0.1 dB, 16 levels 1.3 dB, 8 levels 4 dB, by its rule: round(clamp(z / 6 + 0.5) · …)."""
    import skimage.data
    import skimage.transform

    monkeypatch.setenv("TOKBENCH_WEIGHTS", os.fspath(SHARED / "weights"))
    monkeypatch.setenv("TOKBENCH_OFFLINE", "1")
    pixels = skimage.transform.resize(skimage.data.astronaut(), (256, 256), anti_aliasing=True)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()

    def decibels(name: str) -> float:
        with torch.inference_mode():
            return -10 * math.log10(
                mean_square(roundtrip(load_tokenizer(name, device="cpu"), images).clamp(0, 1), images)
            )

    own = decibels("taef2")
    lost = [own - decibels(f"quantised:taef2?bits={bits}&levels=ends&range=3&mean=0&std=1") for bits in (8, 4, 3)]
    assert lost == pytest.approx([0.1, 1.3, 4.2], abs=0.06)
