from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tokbench.encodings import BitCodes, Tokens, TokenStream
from tokbench.errors import MetricError
from tokbench.metrics.codes import code_rows
from tokbench.metrics.entropy_coding import (
    CodeSequence,
    compress,
    decompress,
    ideal_bits,
    probabilities,
    sequences_of,
)

OVERHEAD_BITS = 8 + 40  # the method's byte, and the range coder's last word


def sequences(encoding: Tokens | BitCodes, row: int = 0) -> list[CodeSequence]:
    return sequences_of(code_rows(encoding), encoding, row)


def of(codes: np.ndarray, size: int) -> list[CodeSequence]:
    return sequences(Tokens.grid(torch.from_numpy(np.asarray(codes))[None], codebook_size=size))


def closed_form_bits(codes: list[int], size: int) -> float:
    """Order 0 without any sequence: a Beta function a node, from the counts alone."""
    width, total = (size - 1).bit_length(), 0.0
    for level in range(width):
        half = 1 << (width - level - 1)
        for prefix in {code // (2 * half) for code in codes}:
            inside = [code for code in codes if code // (2 * half) == prefix]
            ones = sum(code // half % 2 for code in inside)
            leaves = [max(0, min(half, size - prefix * 2 * half - side)) for side in (0, half)]
            if 0 in leaves:
                continue
            prior = leaves[1] / sum(leaves)
            for number, start in ((ones, prior), (len(inside) - ones, 1 - prior)):
                total -= math.lgamma(number + start) - math.lgamma(start)
            total += math.lgamma(len(inside) + 1)
    return total / math.log(2)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 256, 1000, 2**18, 2**40, 2**62 - 3])
def test_files_decode_to_their_tokens(size: int, order: int) -> None:
    rng = np.random.default_rng(size % 1000)
    for codes in (rng.integers(0, size, 80), np.repeat(rng.integers(0, size, 8), 10), np.array([], np.int64)):
        given_ = of(codes, size)
        back = decompress(compress(given_, order=order), [part.layout for part in given_], order=order)
        assert all(np.array_equal(a, b.bits) for a, b in zip(back, given_, strict=True))


@pytest.mark.parametrize("order", [0, 1])
def test_streams_codebooks_and_lengths_decode(order: int) -> None:
    rng = np.random.default_rng(0)
    streams = (
        TokenStream(indices=torch.from_numpy(rng.integers(0, 9, (2, 4))), codebook_size=9, codebook="shared"),
        TokenStream(indices=torch.zeros((2, 3), dtype=torch.int64), codebook_size=5, lengths=torch.tensor([0, 2])),
        TokenStream(indices=torch.from_numpy(rng.integers(0, 9, (2, 4, 4))), codebook_size=9, codebook="shared"),
    )
    for row in (0, 1):
        given_ = sequences(Tokens(streams=streams), row)
        assert [part.layout.lengths for part in given_] == [(4, 16), (2 * row,)]
        back = decompress(compress(given_, order=order), [part.layout for part in given_], order=order)
        assert all(np.array_equal(a, b.bits) for a, b in zip(back, given_, strict=True))


@pytest.mark.parametrize("width", [1, 18, 64, 100])
def test_binary_codes_of_any_width_decode(width: int) -> None:
    values = torch.from_numpy(np.random.default_rng(1).integers(0, 2, (1, 5, 6, width)) == 1)
    given_ = sequences(BitCodes(values=values))
    back = decompress(compress(given_, order=1), [part.layout for part in given_], order=1)
    assert np.array_equal(back[0].reshape(5, 6, width), values[0].numpy())


@pytest.mark.parametrize("order", [0, 1])
def test_the_file_is_as_long_as_the_probabilities_say(order: int) -> None:
    rng = np.random.default_rng(2)
    for size, tokens in ((2, 4000), (1000, 512), (2**18, 1024)):
        weights = 1 / np.arange(1, size + 1)
        given_ = of(rng.choice(size, tokens, p=weights / weights.sum()), size)
        ideal = ideal_bits(given_, order=order)
        file_bits = 8 * len(compress(given_, order=order))
        assert ideal < file_bits <= ideal * 1.001 + OVERHEAD_BITS


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.sampled_from([1, 2, 5, 6, 16, 100]), st.lists(st.integers(0, 10**6), max_size=60))
def test_order_0_is_the_closed_form_and_blind_to_order(size: int, numbers: list[int]) -> None:
    codes = [number % size for number in numbers]
    bits = ideal_bits(of(np.array(codes, np.int64), size), order=0)
    assert bits == pytest.approx(closed_form_bits(codes, size), abs=1e-6)
    assert bits == pytest.approx(ideal_bits(of(np.array(codes[::-1], np.int64), size), order=0), abs=1e-6)


def test_the_first_token_costs_log2_of_any_codebook() -> None:
    for size in (1, 2, 3, 1000, 4096):
        for code in (0, size // 2, size - 1):
            assert ideal_bits(of(np.array([code]), size), order=1) == pytest.approx(math.log2(size))


def test_no_file_is_much_longer_than_without_learning() -> None:
    rng = np.random.default_rng(3)
    for size in (3, 1000, 16384):
        codes = rng.integers(0, size, 256)
        assert 8 * len(compress(of(codes, size), order=0)) <= 256 * math.log2(size) + OVERHEAD_BITS
    assert compress(of(codes, size), order=0)[0] == 0
    assert compress(of(codes // 1000, size), order=0)[0] == 1


def test_a_known_source_is_coded_near_its_entropy() -> None:
    rng = np.random.default_rng(4)
    codes = rng.choice(4, 20000, p=[0.7, 0.1, 0.1, 0.1])
    entropy = -(0.7 * math.log2(0.7) + 0.3 * math.log2(0.1))
    assert 8 * len(compress(of(codes, 4), order=0)) / 20000 == pytest.approx(entropy, abs=0.02)
    chain = np.cumsum(rng.random(20000) < 0.05) % 4
    rate = -(0.95 * math.log2(0.95) + 0.05 * math.log2(0.05))
    assert 8 * len(compress(of(chain, 4), order=1)) / 20000 == pytest.approx(rate, abs=0.02)
    assert 8 * len(compress(of(chain, 4), order=0)) / 20000 == pytest.approx(2, abs=0.03)


def test_probabilities_leave_room_for_both_bits() -> None:
    ones = probabilities(of(np.zeros(5000, np.int64), 8)[0], order=1)
    assert ((ones > 0) & (ones < 1)).all()


def test_a_codebook_too_large_and_uneven_is_refused() -> None:
    with pytest.raises(MetricError, match="power of two"):
        compress(of(np.array([5]), 2**62 + 1), order=0)
