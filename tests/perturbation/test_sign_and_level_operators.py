"""Codes without a codebook: sign patterns (LFQ, BSQ) and finite scalars (FSQ)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from perturbation_inputs import draws, normal

from tokbench.encodings import BitCodes, TokenStream
from tokbench.errors import BadOutputError, UsageError
from tokbench.perturbation.levels import perturb_levels
from tokbench.perturbation.lookup import perturb_stream
from tokbench.perturbation.signs import nearest_flips, perturb_bits, perturb_sign_stream


def every_pattern(width: int) -> torch.Tensor:
    """bool ``(2^width, width)``, the first dimension highest."""
    return torch.arange(1 << width)[:, None] >> torch.arange(width - 1, -1, -1) & 1 == 1


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), width=st.integers(1, 7), share=st.floats(0, 1))
def test_the_nearest_sign_patterns_are_those_of_the_whole_implicit_codebook(
    seed: int, width: int, share: float
) -> None:
    count = max(1, round(share * (1 << width)))
    vectors = normal(12, width, seed=seed).double()
    patterns = every_pattern(width)
    codebook = torch.where(patterns, 1.0, -1.0).double()
    nearest = torch.cdist(vectors, codebook).sort(dim=1).indices[:, :count]
    flips = nearest_flips(vectors.abs(), count)
    found = torch.logical_xor((vectors > 0)[:, None], flips)
    codes = (found * (1 << torch.arange(width - 1, -1, -1))).sum(-1)
    assert torch.equal(codes, nearest)


def test_equal_magnitudes_flip_single_bits_before_pairs() -> None:
    """Where taking every flip of the two lowest bits would not give the nearest four."""
    flips = nearest_flips(torch.ones(1, 3), 4)[0]
    assert flips.tolist() == [
        [False, False, False],
        [True, False, False],
        [False, True, False],
        [False, False, True],
    ]


def test_wide_codes_need_no_codebook() -> None:
    flips = nearest_flips(normal(2, 100).abs(), 5)
    sums = (flips * normal(2, 100).abs()[:, None]).sum(-1)
    assert flips.shape == (2, 5, 100)
    assert torch.equal(sums, sums.sort(dim=1).values)
    assert (flips.sum(-1)[:, 1] == 1).all()


def test_lookup_in_the_implicit_codebook_gives_the_same_codes() -> None:
    """The same draws, once through the operator of signs and once through that of lookup on all 64 patterns."""
    vectors = normal(3, 10, 6)
    indices = ((vectors > 0) * (1 << torch.arange(5, -1, -1))).sum(-1)
    stream = TokenStream(indices=indices, codebook_size=64, vectors=vectors)
    codebook = torch.where(every_pattern(6), 1.0, -1.0)
    looked_up = perturb_stream(stream, codebook, draws(3), alpha=0.8, delta=20)
    flipped = perturb_sign_stream(stream, (32, 16, 8, 4, 2, 1), draws(3), alpha=0.8, delta=20)
    assert torch.equal(looked_up.indices, flipped.indices)
    assert torch.equal(looked_up.replaced, flipped.replaced)  # type: ignore[arg-type]
    bits = perturb_bits(BitCodes(values=vectors > 0, vectors=vectors), draws(3), alpha=0.8, delta=20)
    assert torch.equal((bits.values * (1 << torch.arange(5, -1, -1))).sum(-1), flipped.indices)
    assert torch.equal(bits.replaced, flipped.replaced)  # type: ignore[arg-type]


@pytest.mark.parametrize("delta", [1, 4, 100])
def test_the_share_of_bit_codes_that_change(delta: int) -> None:
    vectors = normal(20, 100, 9)
    codes = perturb_bits(BitCodes(values=vectors > 0, vectors=vectors), draws(20), alpha=0.5, delta=delta)
    expected = 0.5 * (1 - 1 / delta)
    assert codes.replaced is not None
    assert float(codes.replaced.double().mean()) == pytest.approx(
        expected, abs=4 * (expected * (1 - expected) / 2000) ** 0.5
    )
    assert torch.equal(codes.replaced, (codes.values != (vectors > 0)).any(-1))


def test_what_does_not_fit_is_refused() -> None:
    vectors = normal(2, 8, 3)
    codes = BitCodes(values=vectors > 0, vectors=vectors)
    with pytest.raises(UsageError, match="the 8 patterns of 3 bits, got 9"):
        perturb_bits(codes, draws(2), alpha=1.0, delta=9)
    with pytest.raises(BadOutputError, match="attached no vectors"):
        perturb_bits(replace(codes, vectors=None), draws(2), alpha=1.0, delta=2)
    with pytest.raises(BadOutputError, match="not the signs"):
        perturb_bits(replace(codes, vectors=-vectors), draws(2), alpha=1.0, delta=2)
    stream = TokenStream(indices=torch.zeros(2, 8, dtype=torch.int64), codebook_size=8, vectors=vectors)
    with pytest.raises(BadOutputError, match="does not fit the vectors"):
        perturb_sign_stream(stream, (2, 1), draws(2), alpha=1.0, delta=2)


LEVELS, BASIS = (8, 5, 5), (1, 8, 40)


def test_a_selected_token_takes_one_step_in_one_dimension() -> None:
    indices = (torch.arange(3 * 400).reshape(3, 400) * 7919) % 200
    stream = TokenStream(indices=indices, codebook_size=200)
    changed = perturb_levels(stream, BASIS, LEVELS, draws(3), alpha=1.0)
    places, sizes = torch.tensor(BASIS), torch.tensor(LEVELS)
    before, after = (torch.div(i[..., None], places, rounding_mode="floor") % sizes for i in (indices, changed.indices))
    steps = (after - before).abs()
    assert (steps.sum(-1) <= 1).all()
    assert torch.equal(changed.replaced, steps.sum(-1) == 1)  # type: ignore[arg-type]
    # A step leads out of the range from 2 of L levels in one of two directions: 1 / L of the steps come to nothing.
    expected = 1 - float((1 / sizes).mean())
    assert float(changed.replaced.double().mean()) == pytest.approx(expected, abs=4 * (0.25 / 1200) ** 0.5)  # type: ignore[union-attr]
    axes = steps.sum((0, 1)).double() / steps.sum()
    assert torch.allclose(axes, torch.full((3,), 1 / 3).double(), atol=0.06)


def test_finite_scalar_codes_keep_to_their_batch_free_draws_and_lengths() -> None:
    lengths = torch.tensor([400, 9, 0])
    sent = torch.arange(400)[None] < lengths[:, None]
    indices = torch.where(sent, (torch.arange(1200).reshape(3, 400) * 31) % 200, 0)
    stream = TokenStream(indices=indices, codebook_size=200, lengths=lengths)
    together = perturb_levels(stream, BASIS, LEVELS, draws(3), alpha=0.6)
    assert (together.indices[~sent] == 0).all()
    alone = perturb_levels(stream.select([1]), BASIS, LEVELS, draws(1, first=1), alpha=0.6)
    assert torch.equal(alone.indices[0], together.indices[1])
    nothing = perturb_levels(stream, BASIS, LEVELS, draws(3), alpha=0.0)
    assert torch.equal(nothing.indices, indices)


def test_levels_that_do_not_span_the_codebook_are_refused() -> None:
    stream = TokenStream(indices=torch.zeros(1, 4, dtype=torch.int64), codebook_size=201)
    with pytest.raises(BadOutputError, match="do not give its 201 codes"):
        perturb_levels(stream, BASIS, LEVELS, draws(1), alpha=0.5)
