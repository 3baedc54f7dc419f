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
from tokbench.errors import MetricError, NotApplicableError
from tokbench.estimates import t_quantile
from tokbench.metrics import language
from tokbench.metrics.histograms import (
    chance_joint_entropy,
    coverage,
    entropy_bits,
    jackknife,
    rarefaction,
    zipf_exponent,
)

ZIPF, BIGRAM, NEIGHBOURS, INNOVATION = language.METRICS


def summary(metric: StatefulMetric, *encodings: Encoding | None) -> Summary:
    state = metric.new_state()
    for encoding in encodings:
        metric.update(state, blank(1 if encoding is None else encoding.n, encoding=encoding))
    return metric.compute(state)


def grid(indices: np.ndarray, size: int) -> Tokens:
    return Tokens.grid(torch.from_numpy(indices), codebook_size=size)


def zipf_tokens(seed: int, *, exponent: float, size: int, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, size + 1) ** exponent
    return rng.permutation(size)[rng.choice(size, shape, p=weights / weights.sum())]


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.4])
def test_a_zipf_source_gives_its_exponent_back_within_its_interval(exponent: float) -> None:
    result = summary(ZIPF, grid(zipf_tokens(3, exponent=exponent, size=500, shape=(64, 2500)), 500))
    low, high = result.ci95
    assert low < exponent < high
    assert low < result.value < high
    assert high - low < 0.03
    assert result.details["ranks"] >= 300
    ranks, shares = zip(*json.loads(result.details["rank_frequency_curve"]), strict=True)
    assert len(ranks) <= 64
    assert ranks[0] == 1
    assert list(shares) == sorted(shares, reverse=True)


def test_the_jackknifed_exponent_is_unbiased_and_its_interval_covers() -> None:
    hits, errors, naive = 0, [], []
    for seed in range(80):
        groups = np.random.default_rng(seed).multinomial(
            5000, 1 / np.arange(1, 301) / np.sum(1 / np.arange(1, 301)), size=8
        )
        total = groups.sum(axis=0)
        whole = zipf_exponent(np.sort(total)[::-1])
        freed = jackknife(whole, [zipf_exponent(np.sort(total - group)[::-1]) for group in groups], [5000] * 8)
        hits += abs(freed.estimate - 1) <= t_quantile(0.975, 7) * freed.error
        errors.append(freed.estimate - 1)
        naive.append(whole - 1)
    assert hits >= 70  # of 80, at 95 %: 3 standard errors below 76
    assert abs(np.mean(errors)) < 3 * np.std(errors) / math.sqrt(80)
    assert np.mean(naive) > 3 * np.std(naive) / math.sqrt(80)


def test_zipf_of_uniform_codes_is_near_zero_and_of_few_codes_undefined() -> None:
    result = summary(ZIPF, grid(np.random.default_rng(0).integers(0, 64, (16, 4096)), 64))
    assert 0 <= result.value < 0.02
    assert zipf_exponent(np.full(9, 4)) == 0
    few = summary(ZIPF, grid(np.arange(100).reshape(1, 100), 128))
    assert few.value is None
    assert "seen 10 times" in few.reason
    one_image = summary(ZIPF, grid(zipf_tokens(0, exponent=1, size=50, shape=(1, 4096)), 50))
    assert one_image.ci95 is None
    assert one_image.value == pytest.approx(1, abs=0.1)


def test_a_bigram_process_has_the_entropy_of_its_transitions() -> None:
    rng = np.random.default_rng(1)
    stay = 0.9  # stays with 0.9, else goes to one of the 7 others alike
    moves = rng.random((200, 1000)) >= stay
    codes = (np.cumsum(moves * rng.integers(1, 8, moves.shape), axis=1) + rng.integers(0, 8, (200, 1))) % 8
    expected = -(stay * math.log2(stay) + (1 - stay) * math.log2((1 - stay) / 7))
    result = summary(BIGRAM, grid(codes, 8))
    assert result.value == pytest.approx(expected, abs=0.01)
    assert result.details["bigram_entropy_bits"] == pytest.approx(3 + expected, abs=0.01)
    assert result.details["pairs"] == 200 * 999
    assert result.details["coverage"] == 1
    independent = summary(BIGRAM, grid(rng.integers(0, 8, (200, 1000)), 8))
    assert independent.value == pytest.approx(3, abs=0.001)


def test_the_scan_runs_row_by_row_and_not_over_the_ends_of_samples_streams_or_lengths() -> None:
    image = grid(np.array([[[0, 1], [2, 3]]]), 4)
    state = BIGRAM.new_state()
    BIGRAM.update(state, blank(1, encoding=image))
    pairs = state["next/4/0"].keys
    assert [(int(key) >> 32, int(key) & 0xFFFFFFFF) for key in pairs] == [(0, 1), (1, 2), (2, 3)]
    indices = torch.tensor([[0, 1, 0, 0], [2, 3, 3, 0]])
    lengths = torch.tensor([2, 3])
    streams = tuple(TokenStream(indices=indices, codebook_size=4, lengths=lengths) for _ in range(2))
    assert summary(BIGRAM, Tokens(streams=streams)).details["pairs"] == 2 * (1 + 2)


@pytest.mark.parametrize(("size", "n"), [(4, 50), (256, 50), (4096, 4)])
def test_independent_grids_share_nothing_however_badly_sampled(size: int, n: int) -> None:
    values = []
    for seed in range(6):
        codes = zipf_tokens(seed, exponent=0.7, size=size, shape=(n, 16, 16))
        values.append(summary(NEIGHBOURS, grid(codes, size)).value)
    plug_in = summary(NEIGHBOURS, grid(codes, size)).details["plug_in_bits"]
    assert np.mean(values) == pytest.approx(0, abs=4 * np.std(values) / math.sqrt(6) + 0.01 * plug_in)
    assert np.std(values) < 0.02
    if size > 4:
        assert plug_in > 10 * abs(np.mean(values))


def test_rows_of_equal_codes_share_all_across_and_nothing_down() -> None:
    rng = np.random.default_rng(2)
    codes = np.repeat(rng.integers(0, 8, (300, 16, 1)), 16, axis=2)
    result = summary(NEIGHBOURS, grid(codes, 8))
    assert result.details["across_bits"] == pytest.approx(3, abs=0.01)
    assert result.details["down_bits"] == pytest.approx(0, abs=0.01)
    assert result.details["plug_in_bits"] == pytest.approx(1.5, abs=0.02)
    assert (result.details["across_pairs"], result.details["down_pairs"]) == (300 * 240, 300 * 240)
    flat = summary(NEIGHBOURS, grid(codes.reshape(300, 256), 8))
    assert "down_bits" not in flat.details
    clip = summary(NEIGHBOURS, grid(codes.reshape(100, 3, 16, 16), 8))
    assert clip.value == result.value


def test_the_chance_level_is_that_of_shuffling() -> None:
    rng = np.random.default_rng(5)
    for size, tokens in ((3, 40), (50, 60), (40, 2000), (500, 3000)):
        left, right = zipf_tokens(size, exponent=1, size=size, shape=(2, tokens))
        joint = []
        for _ in range(200):
            _, counts = np.unique(left * size + rng.permutation(right), return_counts=True)
            joint.append(entropy_bits(counts))
        sides = [np.unique(side, return_counts=True)[1] for side in (left, right)]
        chance = sum(map(entropy_bits, sides)) - np.mean(joint)
        stated = sum(map(entropy_bits, sides)) - chance_joint_entropy(*sides)
        assert stated == pytest.approx(chance, rel=0.03, abs=4 * np.std(joint) / math.sqrt(200))


def test_innovation_is_the_mean_over_all_orders() -> None:
    rng = np.random.default_rng(4)
    codes = rng.zipf(1.5, (12, 30)) % 40
    result = summary(INNOVATION, grid(codes, 40))
    curve = dict(json.loads(result.details["innovation_curve"]))
    seen = dict(json.loads(result.details["vocabulary_curve"]))
    new = np.zeros(12)
    for _ in range(2000):
        known: set[int] = set()
        for place, image in enumerate(rng.permutation(12)):
            new[place] += len(set(codes[image].tolist()) - known) / 2000
            known |= set(codes[image].tolist())
    each = np.mean([len(set(image)) for image in codes.tolist()])
    np.testing.assert_allclose([curve[m] for m in range(1, 13)], new / each, atol=0.01)
    np.testing.assert_allclose([seen[m] for m in range(1, 13)], np.cumsum(new), rtol=0.02)
    assert result.value == pytest.approx(curve[12], rel=1e-5)
    assert seen[12] == result.details["distinct"] == len(np.unique(codes))
    ninety = result.details["images_to_90_percent"]
    assert seen[ninety] >= 0.9 * seen[12] > seen[ninety - 1]


def test_innovation_of_images_all_alike_and_all_different() -> None:
    assert summary(INNOVATION, grid(np.tile(np.arange(9), (5, 1)), 9)).value == 0
    assert summary(INNOVATION, grid(np.arange(45).reshape(5, 9), 45)).value == 1
    assert summary(INNOVATION, grid(np.zeros((1, 9), np.int64), 9)).value == 1


def test_rarefaction_by_hand() -> None:
    expected = rarefaction(np.array([1, 2, 3]), draws=3, sizes=np.array([0, 1, 2, 3]))
    np.testing.assert_allclose(expected, [0, 2, 2 / 3 + 1 + 1, 3], atol=1e-12)


def test_coverage_is_what_was_seen_more_than_once() -> None:
    assert coverage(np.array([1, 1, 8])) == 0.8
    assert coverage(np.array([1])) == 0


@pytest.mark.parametrize("metric", language.METRICS, ids=lambda metric: metric.card.key)
class TestEvery:
    def test_constant_codes(self, metric: StatefulMetric) -> None:
        result = summary(metric, grid(np.zeros((4, 6, 6), np.int64), 16))
        if metric is ZIPF:
            assert "seen 10 times" in result.reason
        else:
            assert result.value == pytest.approx(0, abs=1e-12)

    @pytest.mark.parametrize(
        ("encoding", "words"),
        [
            (None, "no encodings were given"),
            (Latents(values=torch.zeros(1, 4, 2, 2)), "continuous latents"),
            (Payloads(files=(b"x",)), "coded file"),
        ],
    )
    def test_encodings_without_a_codebook_do_not_apply(
        self, metric: StatefulMetric, encoding: Encoding, words: str
    ) -> None:
        with pytest.raises(NotApplicableError, match=words):
            summary(metric, encoding)

    def test_empty_encodings_are_a_reason(self, metric: StatefulMetric) -> None:
        result = summary(metric, Tokens.grid(torch.zeros((2, 0), dtype=torch.int64), codebook_size=4))
        assert (result.value, result.reason) == (None, "no tokens were sent")

    @pytest.mark.parametrize("index", [-1, 4])
    def test_bad_indices_are_refused(self, metric: StatefulMetric, index: int) -> None:
        with pytest.raises(MetricError, match="outside"):
            summary(metric, Tokens.grid(torch.full((1, 3), index), codebook_size=4))

    def test_codes_of_64_bits_and_more(self, metric: StatefulMetric) -> None:
        rng = np.random.default_rng(0)
        for width in (36, 64, 90):
            few = rng.integers(0, 2, (20, width)).astype(bool)
            picks = torch.from_numpy(few[rng.integers(0, 20, (8, 12, 12))])
            result = summary(metric, BitCodes(values=picks))
            assert result.value is not None
            assert math.isfinite(result.value)

    def test_bits_and_indices_of_the_same_codes_agree(self, metric: StatefulMetric) -> None:
        indices = torch.from_numpy(np.random.default_rng(2).integers(0, 32, (12, 9, 9)))
        values = (indices[..., None] >> torch.arange(4, -1, -1)) % 2 == 1
        assert summary(metric, BitCodes(values=values)) == summary(metric, Tokens.grid(indices, codebook_size=32))

    def test_several_codebooks_are_a_mean(self, metric: StatefulMetric) -> None:
        codes = torch.from_numpy(zipf_tokens(0, exponent=1, size=40, shape=(32, 16, 16)))
        one = TokenStream(indices=codes, codebook_size=40, codebook="a")
        two = replace(one, codebook="b")
        alone, both = summary(metric, Tokens(streams=(one,))), summary(metric, Tokens(streams=(one, two)))
        if metric is not ZIPF:  # its groups of images follow from all the tokens
            assert both.value == pytest.approx(alone.value, abs=1e-9)
        assert both.value == pytest.approx(alone.value, abs=0.02)


def test_one_token_an_image_has_no_pairs() -> None:
    for metric in (BIGRAM, NEIGHBOURS):
        result = summary(metric, grid(np.arange(5).reshape(5, 1), 8))
        assert (result.value, result.reason) == (None, "there are no pairs of codes: each stream sends one token")


def test_too_many_pairs_is_a_reason_and_does_not_depend_on_the_way_there() -> None:
    tokens = grid(np.arange(40).reshape(4, 10), 64)
    for metric in (replace(BIGRAM, max_keys=8), replace(NEIGHBOURS, max_keys=8)):
        result = summary(metric, tokens)
        assert (result.value, result.reason) == (None, "more than 8 distinct pairs of codes: too many to count")
        assert summary(metric, *(tokens.select([row]) for row in (3, 1, 0, 2))) == result


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 7), st.randoms())
def test_order_and_batches_do_not_matter_to_the_bit(seed: int, n: int, random: object) -> None:
    codes = np.random.default_rng(seed).integers(0, 12, (n, 6, 7))
    tokens = grid(codes, 12)
    shuffled = list(range(n))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for metric in language.METRICS:
        one, many = metric.new_state(), metric.new_state()
        metric.update(one, blank(n, encoding=tokens))
        for row in shuffled:
            part = metric.new_state()
            metric.update(part, blank(1, encoding=tokens.select([row])))
            many.merge(part)
        assert one == many
        assert metric.compute(one) == metric.compute(many)
