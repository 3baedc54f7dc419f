"""Encodings: shapes, bits, prefixes."""

from __future__ import annotations

import math

import pytest
import torch

from tokbench.encodings import BitCodes, Latents, Payloads, Tokens, TokenStream
from tokbench.errors import BadOutputError, UsageError


def stream(*shape: int, size: int = 1000, **options: object) -> TokenStream:
    return TokenStream(indices=torch.zeros(shape, dtype=torch.int64), codebook_size=size, **options)  # type: ignore[arg-type]


def test_bits_are_log2_of_the_codebook_a_token() -> None:
    scales = Tokens(streams=(stream(2, 1, 1, size=4096), stream(2, 4, 4, size=4096), stream(2, 3, 8, 8, size=64000)))
    expected = 17 * 12 + 192 * math.log2(64000)
    assert scales.bits().tolist() == pytest.approx([expected, expected])
    assert scales.token_counts().tolist() == [209, 209]
    assert BitCodes(values=torch.zeros(3, 4, 4, 36, dtype=torch.bool)).bits().tolist() == [576.0] * 3
    assert Payloads(files=(b"abc", b"")).bits().tolist() == [24, 0]
    assert Latents(values=torch.zeros(2, 4, 8, 8)).bits() is None


def test_lengths_chosen_by_the_encoder_count() -> None:
    tokens = Tokens(streams=(stream(3, 10, size=2, lengths=torch.tensor([10, 4, 0])),))
    assert tokens.bits().tolist() == [10, 4, 0]
    assert tokens.keep_positions(5).bits().tolist() == [5, 4, 0]


def test_prefixes() -> None:
    levels = Tokens(streams=tuple(stream(2, 4, 4, size=8) for _ in range(3)))
    assert len(levels.keep_streams(2).streams) == 2
    with pytest.raises(UsageError, match="between 1 and the 3"):
        levels.keep_streams(4)
    with pytest.raises(UsageError, match="needs sequences"):
        levels.keep_positions(2)


def test_rows_are_selected_in_the_given_order() -> None:
    indices = torch.arange(12).reshape(4, 3)
    tokens = Tokens(streams=(TokenStream(indices=indices, codebook_size=12, lengths=torch.tensor([3, 2, 1, 0])),))
    picked = tokens.select([3, 1])
    assert picked.streams[0].indices.tolist() == [[9, 10, 11], [3, 4, 5]]
    assert picked.token_counts().tolist() == [0, 2]
    assert Payloads(files=(b"a", b"b", b"c")).select([2, 0]).files == (b"c", b"a")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TokenStream(indices=torch.zeros(2, 3), codebook_size=4), "must be int64"),
        (lambda: TokenStream(indices=torch.zeros(2, dtype=torch.int64), codebook_size=4), r"\(n, \*grid\)"),
        (lambda: stream(2, 3, size=0), "at least 1"),
        (lambda: stream(2, 3, lengths=torch.zeros(5, dtype=torch.int64)), "lengths must have shape"),
        (lambda: Tokens(streams=()), "at least one stream"),
        (lambda: Tokens(streams=(stream(2, 3), stream(3, 3))), "disagree"),
        (lambda: BitCodes(values=torch.zeros(2, 4, 4)), "needs bool"),
        (lambda: Latents(values=torch.zeros(2, 4, dtype=torch.int64)), "floating point"),
    ],
)
def test_malformed_encodings_are_refused(make: object, message: str) -> None:
    with pytest.raises(BadOutputError, match=message):
        make()  # type: ignore[operator]


def test_what_stands_beside_the_codes_goes_where_they_go() -> None:
    vectors, replaced = torch.arange(24.0).reshape(2, 4, 3), torch.tensor([[True, False, False, True], [False] * 4])
    tokens = Tokens(streams=(stream(2, 4, vectors=vectors, replaced=replaced), stream(2, 4)))
    picked = tokens.select([1, 0]).streams[0]
    assert picked.vectors is not None
    assert picked.vectors.tolist() == vectors[[1, 0]].tolist()
    assert picked.replaced.tolist() == replaced[[1, 0]].tolist()  # type: ignore[union-attr]
    short = tokens.keep_positions(2).streams[0]
    assert short.vectors.tolist() == vectors[:, :2].tolist()  # type: ignore[union-attr]
    assert short.replaced.tolist() == replaced[:, :2].tolist()  # type: ignore[union-attr]
    assert tokens.keep_streams(1).streams[0].vectors is vectors
    bits = BitCodes(values=vectors > 5, vectors=vectors, replaced=replaced).select([1])
    assert bits.vectors.tolist() == vectors[[1]].tolist()  # type: ignore[union-attr]
    assert bits.replaced.tolist() == [[False] * 4]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        ({"vectors": torch.zeros(2, 4)}, r"\(n, \*grid, d\) with \(n, \*grid\) \(2, 4\)"),
        ({"vectors": torch.zeros(2, 3, 5)}, "vectors must be floating point"),
        ({"vectors": torch.zeros(2, 4, 5, dtype=torch.int64)}, "got torch.int64"),
        ({"vectors": torch.zeros(2, 4, 0)}, "vectors must be floating point"),
        ({"replaced": torch.zeros(2, 4)}, "replaced must be bool"),
        ({"replaced": torch.zeros(2, 3, dtype=torch.bool)}, r"of shape \(2, 4\)"),
    ],
)
def test_what_stands_beside_the_codes_must_fit_them(beside: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(BadOutputError, match=message):
        stream(2, 4, **beside)
    with pytest.raises(BadOutputError, match=message):
        BitCodes(values=torch.zeros(2, 4, 5, dtype=torch.bool), **beside)


def test_the_size_of_the_images_stays_with_the_tokens_and_costs_no_bits() -> None:
    stream = TokenStream(indices=torch.arange(6).view(2, 3), codebook_size=8)
    tokens = Tokens(streams=(stream, stream), image_px=(256, 512))
    for other in (tokens.select([1]), tokens.keep_positions(2), tokens.keep_streams(1)):
        assert other.image_px == (256, 512)
    assert tokens.bits().tolist() == Tokens(streams=(stream, stream)).bits().tolist() == [18.0, 18.0]
    assert Tokens.grid(stream.indices, codebook_size=8).image_px is None
