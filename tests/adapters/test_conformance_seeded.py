"""The contract, over tiny seeded variants of the tokenizers whose weights are not here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from tests.adapters.seeding import pattern
from tests.adapters.tiny import BUILT_IN, TINY
from tokbench.cards import TokenizerCard
from tokbench.encodings import BitCodes, Encoding, Latents, Tokens, TokenStream
from tokbench.errors import NotApplicableError, UnsupportedInputError
from tokbench.perturbation.facts import codebook_of, quantiser_of
from tokbench.perturbation.points import derivation, points_for
from tokbench.quantisers import Quantiser
from tokbench.registry import openings, tokenizers
from tokbench.wrapping import Wrapped, wrap

CARDS = tuple(entry.card for entry in tokenizers().items.values())
N = 3


def made(name: str, dtype: str = "float32") -> Wrapped:
    return wrap(TINY[name](dtype))


def images_for(card: TokenizerCard, n: int = N) -> Tensor:
    """n different images of a size the card allows."""
    side = card.fixed_size_px or card.size_multiple * max(1, 64 // card.size_multiple)
    noise = torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))
    return 0.7 * pattern(n, side, side) + 0.3 * noise


def encoded(tokenizer: Wrapped, images: Tensor, rows: Sequence[int] | None = None) -> Encoding:
    """Encoded as a run does: each image with the seed of its row."""
    return tokenizer.encode(images, seeds=range(len(images)) if rows is None else rows)


def decoded(tokenizer: Wrapped, encoding: Encoding) -> Tensor:
    return tokenizer.decode(encoding, seeds=range(encoding.n))


def parts(encoding: Encoding) -> list[Tensor]:
    """What is sent to the decoder."""
    if isinstance(encoding, Tokens):
        return [stream.indices for stream in encoding.streams]
    assert isinstance(encoding, Latents | BitCodes)
    return [encoding.values]


def test_every_family_is_built_in_or_has_a_tiny_variant() -> None:
    runnable = {card.family for card in CARDS if not card.reserved}
    tiny = {name.partition(" ")[0] for name in TINY}
    assert not runnable - tiny - set(BUILT_IN), "add a tiny variant of these to tests/adapters/tiny.py"
    assert not (tiny | set(BUILT_IN)) - runnable - set(openings().items)
    assert not tiny & set(BUILT_IN)


@pytest.mark.parametrize("name", TINY)
def test_a_batch_is_its_samples_to_the_last_bit(name: str) -> None:
    tokenizer = made(name)
    images = images_for(tokenizer.card)
    untouched = images.clone()
    encoding = encoded(tokenizer, images)
    together = decoded(tokenizer, encoding)
    assert torch.equal(images, untouched)
    assert together.shape == images.shape
    assert together.dtype == torch.float32
    assert bool(together.isfinite().all())
    assert not together.requires_grad
    assert float(together.std()) > 0
    for order in ([0], [1], [2], [2, 0]):
        alone = encoded(tokenizer, images[order], order)
        assert all(torch.equal(a, b[order]) for a, b in zip(parts(alone), parts(encoding), strict=True)), name
        if tokenizer.card.deterministic:
            assert torch.equal(decoded(tokenizer, alone), together[order]), name
            assert torch.equal(decoded(tokenizer, encoding.select(order)), together[order]), name


@pytest.mark.parametrize("name", TINY)
def test_the_same_weights_give_the_same_numbers(name: str) -> None:
    first, second = made(name), made(name)
    images = images_for(first.card)
    encoding = encoded(first, images)
    again = encoded(second, images)
    assert all(torch.equal(a, b) for a, b in zip(parts(encoding), parts(again), strict=True))
    assert torch.equal(decoded(first, encoding), decoded(second, again))


@pytest.mark.parametrize("name", TINY)
def test_encodings_are_what_the_card_says(name: str) -> None:
    tokenizer = made(name)
    card = tokenizer.card
    encoding = encoded(tokenizer, images_for(card))
    assert encoding.n == N
    assert isinstance(encoding, Tokens | BitCodes) == (card.latent == "discrete")
    if isinstance(encoding, Latents):
        assert encoding.bits() is None
        assert float(encoding.values.std()) > 0
        return
    assert card.tokens in (None, *encoding.token_counts().tolist())
    if isinstance(encoding, Tokens):
        for stream in encoding.streams:
            assert 0 <= int(stream.indices.min()) <= int(stream.indices.max()) < stream.codebook_size
            assert len(stream.indices.unique()) > 1
        sizes = {stream.codebook: stream.codebook_size for stream in encoding.streams}
        assert tuple(sizes.values()) == card.codebook_sizes
        bits = sum(stream.positions * math.log2(stream.codebook_size) for stream in encoding.streams)
        assert encoding.bits().tolist() == pytest.approx([bits] * N)


def check_steps(quantiser: Quantiser, encoding: Tokens) -> None:
    """Codes of rounded dimensions have no vectors: perturbed, each takes at most one step in one dimension."""
    still, moving = (
        derivation(point, quantiser, widest=1)(encoding, range(N))
        for point in points_for(quantiser, alphas=(0.0, 1.0), deltas=(1,))
    )
    (own,), (kept,), (moved,) = parts(encoding), parts(still), parts(moving)
    assert torch.equal(kept, own)
    basis, levels = torch.tensor(quantiser.basis), torch.tensor(quantiser.levels)
    steps = (moved[..., None] // basis % levels - own[..., None] // basis % levels).abs().sum(-1)
    assert int(steps.max()) == 1
    assert float(steps.float().mean()) > 0.5


@pytest.mark.parametrize("name", TINY)
def test_codes_are_the_nearest_to_what_the_encoder_gave(name: str) -> None:
    """Index → vector → index, and the codes the perturbations find for the attached vectors are the tokenizer's own."""
    tokenizer = made(name)
    encoding = encoded(tokenizer, images_for(tokenizer.card))
    if not isinstance(encoding, Tokens):
        with pytest.raises(NotApplicableError):
            quantiser_of(tokenizer)
        return
    quantiser = quantiser_of(tokenizer)
    if quantiser.kind == "lookup":
        for stream in encoding.streams:
            entries = codebook_of(quantiser, stream)
            own = torch.cdist(entries.double(), entries.double()).argmin(1)
            assert torch.equal(own, torch.arange(len(entries)))
    if quantiser.kind == "levels":
        check_steps(quantiser, encoding)
        return
    point = points_for(quantiser, alphas=(1.0,), deltas=(1,))[0]
    same = derivation(point, quantiser, widest=1)(encoding, range(N))
    assert all(torch.equal(a, b) for a, b in zip(parts(same), parts(encoding), strict=True))
    point = points_for(quantiser, alphas=(1.0,), deltas=(4,))[0]
    other = derivation(point, quantiser, widest=4)(encoding, range(N))
    assert not all(torch.equal(a, b) for a, b in zip(parts(other), parts(encoding), strict=True))
    assert decoded(tokenizer, other).shape == images_for(tokenizer.card).shape


@pytest.mark.parametrize("name", TINY)
def test_every_prefix_decodes(name: str) -> None:
    tokenizer = made(name)
    card = tokenizer.card
    if card.prefix_axis is None:
        return
    images = images_for(card)
    encoding = encoded(tokenizer, images)
    assert isinstance(encoding, Tokens)
    assert card.max_length is not None
    keep = encoding.keep_positions if card.prefix_axis == "positions" else encoding.keep_streams
    seen = [decoded(tokenizer, keep(length)) for length in range(1, card.max_length + 1)]
    assert torch.equal(seen[-1], decoded(tokenizer, encoding))
    assert all(bool(image.isfinite().all()) for image in seen)
    assert not any(torch.equal(a, b) for a, b in pairwise(seen))


@pytest.mark.parametrize("name", TINY)
def test_illegal_images_are_refused(name: str) -> None:
    tokenizer = made(name)
    side = images_for(tokenizer.card).shape[-1]
    wrong = side + max(1, tokenizer.card.size_multiple // 2)
    if tokenizer.card.fixed_size_px or tokenizer.card.size_multiple > 1:
        with pytest.raises(UnsupportedInputError, match=f"got {wrong}×{side}"):
            tokenizer.encode(torch.rand(1, 3, side, wrong))
    with pytest.raises(UnsupportedInputError, match="float images"):
        tokenizer.encode(torch.zeros(1, 3, side, side, dtype=torch.uint8))


@pytest.mark.parametrize("name", TINY)
def test_the_asked_for_type_is_computed_in(name: str) -> None:
    tokenizer = made(name, "bfloat16")
    images = images_for(tokenizer.card)
    encoding = encoded(tokenizer, images.bfloat16())
    half = decoded(tokenizer, encoding)
    assert half.dtype in (torch.bfloat16, torch.float32)  # scaled to [0, 1] in the wider type, where that matters
    assert bool(half.isfinite().all())
    exact = made(name)
    full = decoded(exact, encoding)
    assert 0 < float((half.float() - full).abs().mean()) < 0.2 * float(full.std())


def test_streams_without_vectors_would_be_noticed() -> None:
    tokenizer = made("titok vq")
    encoding = encoded(tokenizer, images_for(tokenizer.card))
    assert isinstance(encoding, Tokens)
    stream = encoding.streams[0]
    assert stream.vectors is not None
    shifted = TokenStream(
        indices=(stream.indices + 1) % stream.codebook_size,
        codebook_size=stream.codebook_size,
        vectors=stream.vectors,
    )
    quantiser = quantiser_of(tokenizer)
    point = points_for(quantiser, alphas=(1.0,), deltas=(1,))[0]
    with pytest.raises(Exception, match="vectors"):
        derivation(point, quantiser, widest=1)(Tokens(streams=(shifted,)), range(N))
