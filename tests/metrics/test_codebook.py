from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_inputs import blank

from tokbench.contracts import StatefulMetric, Summary
from tokbench.encodings import BitCodes, Encoding, Latents, Payloads, Tokens, TokenStream
from tokbench.errors import BadOutputError, MetricError, NotApplicableError
from tokbench.metrics import codebook, usage
from tokbench.metrics.codes import count_codes, pack_bits

USAGE, PERPLEXITY, ENTROPY, DEAD, UNITOK = codebook.METRICS
WINDOW, VAR, PLACES = usage.METRICS
METRICS = (*codebook.METRICS, *usage.METRICS)


def summary(metric: StatefulMetric, *encodings: Encoding | None) -> Summary:
    state = metric.new_state()
    for encoding in encodings:
        metric.update(state, blank(1 if encoding is None else encoding.n, encoding=encoding))
    return metric.compute(state)


def stream(rows: list[list[int]], size: int, name: str = "0", lengths: list[int] | None = None) -> TokenStream:
    return TokenStream(
        indices=torch.tensor(rows),
        codebook_size=size,
        codebook=name,
        lengths=None if lengths is None else torch.tensor(lengths),
    )


@pytest.mark.parametrize("size", [1, 2, 7, 1024])
def test_uniform_codes_have_perplexity_k(size: int) -> None:
    tokens = Tokens.grid(torch.arange(4 * size).reshape(2, 2 * size) % size, codebook_size=size)
    assert summary(USAGE, tokens).value == 1
    assert summary(PERPLEXITY, tokens).value == pytest.approx(size, rel=1e-12)
    entropy = summary(ENTROPY, tokens)
    assert entropy.value == pytest.approx(math.log2(size), abs=1e-12)
    assert (entropy.n, entropy.n_unit) == (4 * size, "tokens")
    assert (entropy.details["tokens"], entropy.details["distinct"], entropy.details["entries"]) == (
        4 * size,
        size,
        size,
    )


def test_known_entropy_and_details() -> None:
    tokens = Tokens.grid(torch.tensor([[0, 0, 0, 0, 5, 5, 6, 7]]), codebook_size=16)
    entropy = summary(ENTROPY, tokens)
    assert entropy.value == 1.75
    assert summary(PERPLEXITY, tokens).value == pytest.approx(2**1.75)
    assert summary(USAGE, tokens).value == 4 / 16
    assert entropy.details["normalised_entropy"] == 1.75 / 4
    assert entropy.details["miller_madow_bias_bits"] == pytest.approx(3 / 16 / math.log(2))
    assert summary(USAGE, Tokens.grid(torch.zeros((3, 4), dtype=torch.int64), codebook_size=16)).value == 1 / 16


def test_the_bias_in_the_details_is_about_right() -> None:
    rng = np.random.default_rng(0)
    gaps, stated = [], []
    for _ in range(40):
        result = summary(ENTROPY, Tokens.grid(torch.from_numpy(rng.integers(0, 64, (1, 1000))), codebook_size=64))
        gaps.append(6 - result.value)
        stated.append(result.details["miller_madow_bias_bits"])
    assert np.mean(gaps) == pytest.approx(np.mean(stated), rel=0.1)


def test_streams_that_share_a_codebook_are_counted_together() -> None:
    shared = Tokens(streams=(stream([[0, 1]], 4), stream([[1, 2]], 4)))
    apart = Tokens(streams=(stream([[0, 1]], 4, "a"), stream([[1, 2]], 4, "b")))
    assert summary(USAGE, shared).value == 3 / 4
    assert summary(USAGE, apart).value == (2 + 2) / (4 + 4)
    assert summary(ENTROPY, shared).value == 1.5
    assert summary(ENTROPY, apart).value == 1
    assert summary(USAGE, shared).details["tokens"] == 4
    details = summary(USAGE, apart).details
    assert details["distinct[a]"] == details["distinct[b]"] == 2
    assert details["usage[a]"] == details["usage[b]"] == 0.5


def test_several_codebooks_are_weighted_by_tokens_and_perplexity_is_two_to_the_entropy() -> None:
    tokens = Tokens(streams=(stream([[0, 1, 2, 3, 0, 1, 2, 3]], 4, "a"), stream([[0, 1]], 1024, "b")))
    entropy = summary(ENTROPY, tokens)
    assert entropy.value == pytest.approx((8 * 2 + 2 * 1) / 10)
    assert summary(PERPLEXITY, tokens).value == pytest.approx(2**entropy.value)
    assert (entropy.details["perplexity[a]"], entropy.details["perplexity[b]"]) == (4, 2)
    assert summary(USAGE, tokens).value == 6 / 1028


def test_lengths_are_respected() -> None:
    tokens = Tokens(streams=(stream([[3, 0, 0, 0], [1, 2, 0, 0]], 4, lengths=[1, 2]),))
    result = summary(USAGE, tokens)
    assert result.value == 3 / 4
    assert result.n == 3
    silent = Tokens(streams=(stream([[1, 1]], 4, "a"), stream([[0, 0]], 12, "b", lengths=[0])))
    assert summary(USAGE, silent).value == 1 / 16
    assert summary(ENTROPY, silent).value == 0
    assert summary(USAGE, silent).details["usage[b]"] == 0
    nothing = summary(USAGE, Tokens(streams=(stream([[0]], 4, lengths=[0]),)))
    assert (nothing.value, nothing.reason) == (None, "no tokens were sent")


@pytest.mark.parametrize("index", [-1, 8])
def test_an_index_outside_the_codebook_is_an_error(index: int) -> None:
    with pytest.raises(MetricError, match="outside"):
        summary(USAGE, Tokens.grid(torch.tensor([[0, index]]), codebook_size=8))


def test_one_name_for_two_sizes_is_an_error_when_seen_and_when_merged() -> None:
    with pytest.raises(MetricError, match="different names"):
        USAGE.update(USAGE.new_state(), blank(encoding=Tokens(streams=(stream([[0]], 4), stream([[0]], 8)))))
    left, right = USAGE.new_state(), USAGE.new_state()
    USAGE.update(left, blank(encoding=Tokens(streams=(stream([[0]], 4),))))
    USAGE.update(right, blank(encoding=Tokens(streams=(stream([[0]], 8),))))
    left.merge(right)
    with pytest.raises(MetricError, match="different names"):
        USAGE.compute(left)


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        (None, "no encodings were given"),
        (Latents(values=torch.zeros(1, 4, 2, 2)), "continuous latents"),
        (Payloads(files=(b"x",)), "coded file"),
    ],
)
@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.card.key)
def test_encodings_without_a_codebook_do_not_apply(metric: StatefulMetric, encoding: Encoding, words: str) -> None:
    with pytest.raises(NotApplicableError, match=words):
        summary(metric, encoding)
    assert summary(metric).reason


@pytest.mark.parametrize("width", [1, 5, 8, 63, 64])
def test_bit_codes_pack_into_their_own_value(width: int) -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (3, 4, width)).astype(bool)
    expected = [int("".join("01"[int(bit)] for bit in code), 2) for code in bits.reshape(-1, width)]
    assert pack_bits(torch.from_numpy(bits)).tolist() == expected


def test_bit_codes_of_64_bits_and_wider() -> None:
    rng = np.random.default_rng(1)
    for width in (18, 64, 65, 200):
        different = rng.integers(0, 2, (500, width)).astype(bool)
        different = np.unique(different, axis=0)
        values = torch.from_numpy(np.concatenate([different, different[::-1]])[:, None].copy())
        result = summary(USAGE, BitCodes(values=values))
        assert result.details["distinct"] == len(different)
        assert result.value == len(different) / 2**width
        assert summary(PERPLEXITY, BitCodes(values=values)).value == pytest.approx(len(different))
        assert result.details["entries"] == (2**18 if width == 18 else f"2^{width}")
        assert result.n == 2 * len(different)


def test_bit_codes_and_indices_of_the_same_codes_agree() -> None:
    indices = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (4, 9)))
    values = (indices[..., None] >> torch.arange(7, -1, -1)) % 2 == 1
    for metric in METRICS:
        as_bits = summary(metric, BitCodes(values=values))
        assert as_bits == summary(metric, Tokens.grid(indices, codebook_size=256))


def test_too_many_codes_to_count_is_a_reason() -> None:
    result = summary(replace(USAGE, max_keys=4), Tokens.grid(torch.arange(5)[None], codebook_size=9))
    assert result.value is None
    assert "more than 4 distinct codes" in result.reason
    assert result.n == 5


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), min_size=1, max_size=8), st.randoms())
def test_order_and_batches_do_not_matter_to_the_bit(rows: list[list[int]], random: object) -> None:
    tokens = Tokens.grid(torch.tensor(rows), codebook_size=10)
    shuffled = list(range(len(rows)))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for metric in METRICS:
        one, many = metric.new_state(), metric.new_state()
        metric.update(one, blank(len(rows), encoding=tokens))
        for row in shuffled:
            part = metric.new_state()
            metric.update(part, blank(1, encoding=tokens.select([row])))
            many.merge(part)
        assert one == many
        assert metric.compute(one) == metric.compute(many)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 15), min_size=1, max_size=80))
def test_values_stay_in_their_ranges(indices: list[int]) -> None:
    tokens = Tokens.grid(torch.tensor([indices]), codebook_size=16)
    used, perplexity, entropy, dead, unitok = (summary(metric, tokens).value for metric in codebook.METRICS)
    distinct = len(set(indices))
    assert used == unitok == distinct / 16 <= 1
    assert dead == 16 - distinct
    assert 0 <= entropy <= math.log2(distinct) + 1e-12
    assert 1 <= perplexity <= distinct * (1 + 1e-12)
    _, counts = np.unique(indices, return_counts=True)
    p = counts / counts.sum()
    assert entropy == pytest.approx(float(-(p * np.log2(p)).sum()), abs=1e-12)


def test_counting_does_not_write_to_its_input() -> None:
    indices = torch.tensor([[3, 1], [2, 2]])
    count_codes(Tokens(streams=(TokenStream(indices=indices, codebook_size=4),)))
    assert indices.tolist() == [[3, 1], [2, 2]]


def test_dead_codes_stand_beside_what_equally_likely_codes_would_show() -> None:
    result = summary(DEAD, Tokens.grid(torch.tensor([[0, 0, 3]]), codebook_size=4))
    assert result.value == 2
    assert result.details["usage_if_uniform"] == pytest.approx(1 - 0.75**3)
    assert summary(DEAD, Tokens.grid(torch.tensor([[0]]), codebook_size=1)).details["usage_if_uniform"] == 1
    wide = summary(DEAD, BitCodes(values=torch.zeros((1, 4, 64), dtype=torch.bool)))
    assert wide.value == 2.0**64
    assert wide.details["usage_if_uniform"] == pytest.approx(4 / 2**64)


def repeated(counts: list[int], size: int, name: str = "0") -> TokenStream:
    return stream([np.repeat(np.arange(len(counts)), counts).tolist()], size, name)


def test_unitok_leaves_out_codes_at_or_below_one_percent_of_uniform() -> None:
    at_limit = Tokens(streams=(repeated([1, 2, 797], 8),))
    assert summary(UNITOK, at_limit).value == 2 / 8  # 1 of 800 is exactly 0.01 / 8
    assert summary(USAGE, at_limit).value == 3 / 8


def test_var_measures_every_stream_against_the_longest() -> None:
    coarse, fine = repeated([1, 3], 4), repeated([7, 8, 385], 4)  # 8 % of 400 / 4 is 8
    result = summary(VAR, Tokens(streams=(coarse, fine)))
    assert result.value == pytest.approx((0 / 4 + 2 / 4) / 2)
    assert json.loads(result.details["usage_entropy_curve"])[1][:2] == [2, 3 / 4]
    apart = Tokens(streams=(repeated([1, 3], 4, "a"), repeated([7, 8, 385], 4, "b")))
    assert summary(VAR, apart).value == pytest.approx((2 / 4 + 2 / 4) / 2)
    wide = BitCodes(values=torch.eye(64, dtype=torch.bool)[None])
    assert summary(VAR, wide).value == 64 / 2**64


def test_the_window_is_the_mean_over_orders_of_the_images() -> None:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.zipf(1.3, (24, 2**13)) % 5000)  # 8 of 24 images are a window
    result = summary(WINDOW, Tokens.grid(images, codebook_size=5000))
    assert result.details["images_in_window"] == 8
    drawn = [len(np.unique(images[rng.permutation(24)[:8]])) / 5000 for _ in range(60)]
    assert result.value == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / math.sqrt(60))
    assert result.value < summary(USAGE, Tokens.grid(images, codebook_size=5000)).value
    half = summary(WINDOW, Tokens.grid(images[:, : 2**13 - 100], codebook_size=5000))
    assert 8 < half.details["images_in_window"] < 9
    few = summary(WINDOW, Tokens.grid(images[:7], codebook_size=5000))
    assert few.value is None
    assert "65536" in few.reason


def test_entropy_by_position() -> None:
    constant_then_uniform = torch.stack([torch.zeros(8, dtype=torch.int64), torch.arange(8)], dim=1)
    result = summary(PLACES, Tokens.grid(constant_then_uniform, codebook_size=8))
    assert result.value == 1.5
    details = result.details
    assert (details["least_position"], details["least_entropy_bits"]) == (1, 0)
    assert (details["most_position"], details["most_entropy_bits"]) == (2, 3)
    assert json.loads(details["position_entropy_curve"]) == [[1, 0], [2, 3]]
    twice = Tokens(streams=(stream([[0], [1]], 4), stream([[2], [2]], 4)))
    assert summary(PLACES, twice).details["positions"] == 2
    long = summary(PLACES, Tokens.grid(torch.zeros((2, 1000), dtype=torch.int64), codebook_size=8))
    assert len(json.loads(long.details["position_entropy_curve"])) <= 64
    wide = summary(PLACES, BitCodes(values=torch.stack([torch.zeros(3, 64), torch.ones(3, 64)]).bool()))
    assert wide.value == 1
    many = replace(PLACES, max_keys=3)
    assert "pairs of position and code" in summary(many, Tokens.grid(torch.zeros(1, 4).long(), codebook_size=2)).reason


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.card.key)
def test_empty_encodings_have_no_value(metric: StatefulMetric) -> None:
    result = summary(metric, Tokens.grid(torch.zeros((2, 0), dtype=torch.int64), codebook_size=4))
    assert (result.value, result.reason) == (None, "no tokens were sent")


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.card.key)
@pytest.mark.parametrize("index", [-1, 4])
def test_bad_indices_are_refused_by_all(metric: StatefulMetric, index: int) -> None:
    with pytest.raises(MetricError, match=r"outside \[0, 4\)"):
        summary(metric, Tokens.grid(torch.full((1, 3), index), codebook_size=4))


def test_wrong_types_never_become_tokens() -> None:
    for indices in (torch.zeros(1, 4), torch.zeros((1, 4), dtype=torch.int32), torch.full((1, 4), math.nan)):
        with pytest.raises(BadOutputError, match="int64"):
            Tokens.grid(indices, codebook_size=4)
