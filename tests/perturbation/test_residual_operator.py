"""Perturbing one level of residual and multi-scale codes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from perturbation_inputs import draws, normal

from tokbench.encodings import Tokens, TokenStream
from tokbench.errors import BadOutputError, NotApplicableError, UsageError
from tokbench.perturbation.facts import checked, quantiser_of
from tokbench.perturbation.residual import greedy_codes, perturb_level
from tokbench.quantisers import Quantiser
from tokbench.tokenizers import load_tokenizer

BOOKS = {str(level): normal(30, 5, seed=10 + level) / (level + 1) for level in range(3)}
RESIDUAL = checked(Quantiser(kind="lookup", composition="residual", codebooks=BOOKS))


def encoded(n: int = 3, side: int = 8) -> Tokens:
    vectors = normal(n, side, side, 5)
    codes = greedy_codes(vectors.reshape(-1, 5), list(BOOKS.values())).reshape(3, n, side, side)
    return Tokens(
        streams=tuple(
            TokenStream(indices=level, codebook_size=30, codebook=str(number), vectors=None if number else vectors)
            for number, level in enumerate(codes)
        )
    )


def left_over(tokens: Tokens) -> torch.Tensor:
    vectors = encoded().streams[0].vectors
    assert vectors is not None
    return vectors - sum(BOOKS[stream.codebook][stream.indices] for stream in tokens.streams)


@pytest.mark.parametrize("later", ["frozen", "reencoded"])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_nothing_replaced_is_nothing_changed(level: int, later: str) -> None:
    given = encoded()
    for alpha, delta in ((1.0, 1), (0.0, 20)):
        changed = perturb_level(given, RESIDUAL, draws(3), level=level, later=later, alpha=alpha, delta=delta)  # type: ignore[arg-type]
        for ours, theirs in zip(changed.streams, given.streams, strict=True):
            assert torch.equal(ours.indices, theirs.indices)


def test_frozen_changes_one_level_only() -> None:
    given = encoded()
    changed = perturb_level(given, RESIDUAL, draws(3), level=1, later="frozen", alpha=0.5, delta=10)
    same = [torch.equal(a.indices, b.indices) for a, b in zip(given.streams, changed.streams, strict=True)]
    assert same == [True, False, True]
    assert [stream.replaced is None for stream in changed.streams] == [True, False, True]


def test_reencoding_makes_the_best_of_it() -> None:
    given = encoded()
    options = {"level": 0, "alpha": 1.0, "delta": 10}
    frozen = perturb_level(given, RESIDUAL, draws(3), later="frozen", **options)  # type: ignore[arg-type]
    again = perturb_level(given, RESIDUAL, draws(3), later="reencoded", **options)  # type: ignore[arg-type]
    assert torch.equal(frozen.streams[0].indices, again.streams[0].indices)
    errors = [float(left_over(tokens).square().mean()) for tokens in (given, again, frozen)]
    assert errors == sorted(errors)
    assert errors[1] < 0.7 * errors[2]
    # The later levels are those of a greedy search from what the drawn code leaves.
    assert given.streams[0].vectors is not None
    rest = given.streams[0].vectors - BOOKS["0"][again.streams[0].indices]
    where = again.streams[0].replaced
    codes = greedy_codes(rest[where], [BOOKS["1"], BOOKS["2"]])
    assert torch.equal(torch.stack([stream.indices[where] for stream in again.streams[1:]]), codes)


def test_codes_are_the_same_alone_and_in_a_batch() -> None:
    given = encoded()
    together = perturb_level(given, RESIDUAL, draws(3), level=0, later="reencoded", alpha=0.5, delta=10)
    alone = perturb_level(
        given.select([2]), RESIDUAL, draws(1, first=2), level=0, later="reencoded", alpha=0.5, delta=10
    )
    for ours, theirs in zip(alone.streams, together.streams, strict=True):
        assert torch.equal(ours.indices[0], theirs.indices[2])


def test_lengths_hold_at_every_level() -> None:
    given = encoded()
    lengths = torch.tensor([64, 10, 0])
    sent = (torch.arange(64)[None] < lengths[:, None]).reshape(3, 8, 8)
    cut = [replace(stream, indices=torch.where(sent, stream.indices, 0), lengths=lengths) for stream in given.streams]
    cut[0] = replace(cut[0], vectors=torch.where(sent[..., None], given.streams[0].vectors, torch.nan))  # type: ignore[arg-type]
    changed = perturb_level(
        Tokens(streams=tuple(cut)), RESIDUAL, draws(3), level=0, later="reencoded", alpha=1.0, delta=30
    )
    assert all((stream.indices[~sent] == 0).all() for stream in changed.streams)


@pytest.mark.parametrize("name", ["lbg/d8", "rvq/d3"])
def test_the_greedy_codes_of_a_built_in_tokenizer_come_back(name: str) -> None:
    """Its vectors and codebooks, as it shows them, give its own codes again to the last one."""
    tokenizer = load_tokenizer(name, device="cpu")
    tokens = tokenizer.encode(torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(1)))
    assert isinstance(tokens, Tokens)
    quantiser = quantiser_of(tokenizer)
    for row, vectors in enumerate(tokens.streams[0].vectors):  # type: ignore[arg-type]
        codes = greedy_codes(vectors.reshape(-1, vectors.shape[-1]), list(quantiser.codebooks.values()))
        assert torch.equal(codes, torch.stack([stream.indices[row].flatten() for stream in tokens.streams]))
    changed = perturb_level(tokens, quantiser, draws(2), level=0, later="reencoded", alpha=1.0, delta=1)
    for ours, theirs in zip(changed.streams, tokens.streams, strict=True):
        assert torch.equal(ours.indices, theirs.indices)


def test_later_scales_are_chosen_by_the_tokenizer_or_not_at_all() -> None:
    coarse, fine = normal(2, 2, 2, 5, seed=1), normal(2, 4, 4, 5, seed=2)
    book = BOOKS["0"]
    streams = tuple(
        TokenStream(indices=greedy_codes(v.reshape(-1, 5), [book]).reshape(v.shape[:-1]), codebook_size=30, vectors=v)
        for v in (coarse, fine)
    )
    given = Tokens(streams=streams)
    scales = Quantiser(kind="lookup", composition="multi_scale", codebooks={"0": book})
    options = {"level": 0, "alpha": 1.0, "delta": 9}
    frozen = perturb_level(given, scales, draws(2), later="frozen", **options)  # type: ignore[arg-type]
    assert frozen.streams[0].replaced.any()  # type: ignore[union-attr]
    assert frozen.streams[1] is given.streams[1]
    with pytest.raises(NotApplicableError, match="requantise"):
        perturb_level(given, scales, draws(2), later="reencoded", **options)  # type: ignore[arg-type]
    calls = []

    def requantise(tokens: Tokens, level: int) -> Tokens:
        calls.append(level)
        return Tokens(streams=(tokens.streams[0], replace(tokens.streams[1], indices=fine[..., 0].long() * 0)))

    able = replace(scales, requantise=requantise)
    again = perturb_level(given, able, draws(2), later="reencoded", **options)  # type: ignore[arg-type]
    assert calls == [0]
    assert torch.equal(again.streams[0].indices, frozen.streams[0].indices)
    assert not again.streams[1].indices.any()


def test_a_level_that_is_not_there_and_missing_vectors_are_refused() -> None:
    with pytest.raises(UsageError, match="level 3 is not between 0 and the 2"):
        perturb_level(encoded(), RESIDUAL, draws(3), level=3, later="frozen", alpha=0.5, delta=2)
    bare = Tokens(streams=tuple(replace(stream, vectors=None) for stream in encoded().streams))
    for level in (0, 1):
        with pytest.raises(BadOutputError, match="vectors"):
            perturb_level(bare, RESIDUAL, draws(3), level=level, later="frozen", alpha=0.5, delta=2)
    other = replace(RESIDUAL, codebooks={"0": BOOKS["0"]})
    with pytest.raises(BadOutputError, match="the quantiser has"):
        perturb_level(encoded(), other, draws(3), level=0, later="reencoded", alpha=1.0, delta=5)
