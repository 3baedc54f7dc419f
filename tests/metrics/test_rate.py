from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from metric_inputs import blank, compare, photographs
from PIL import Image

from tokbench.contracts import Comparison, Feature, Summary
from tokbench.encodings import BitCodes, Latents, Payloads, Tokens, TokenStream
from tokbench.errors import MetricError, NotApplicableError
from tokbench.metrics import rate
from tokbench.metrics.histograms import histogram_bits
from tokbench.metrics.rate import LosslessSize

BPP, TOKENS, RATIO, ORDER0, ADAPTIVE0, ADAPTIVE1 = rate.METRICS
PAIRS = (BPP, TOKENS, RATIO, ADAPTIVE0, ADAPTIVE1)


def with_sizes(comparison_encoding: object, sizes: list[int]):
    features = {"lossless_webp": [{"bytes": np.array(size)} for size in sizes]}
    images = torch.zeros((len(sizes), 3, 16, 16), dtype=torch.uint8)
    return compare(images, images, encoding=comparison_encoding, features=features)


def test_tokens_cost_log2_of_the_codebook() -> None:
    tokens = Tokens.grid(torch.zeros((2, 4, 4), dtype=torch.int64), codebook_size=1024)
    assert BPP.measure(blank(2, encoding=tokens)) == [16 * 10 / 256] * 2
    assert TOKENS.measure(blank(2, encoding=tokens)) == [16.0, 16.0]


def test_lengths_and_streams_are_counted() -> None:
    first = TokenStream(indices=torch.zeros((2, 8), dtype=torch.int64), codebook_size=4, lengths=torch.tensor([3, 8]))
    second = TokenStream(indices=torch.zeros((2, 2), dtype=torch.int64), codebook_size=16, codebook="1")
    comparison = blank(2, encoding=Tokens(streams=(first, second)))
    assert BPP.measure(comparison) == [(3 * 2 + 2 * 4) / 256, (8 * 2 + 2 * 4) / 256]
    assert TOKENS.measure(comparison) == [5.0, 10.0]


def test_bit_codes_and_files() -> None:
    bits = BitCodes(values=torch.zeros((1, 4, 36), dtype=torch.bool))
    assert BPP.measure(blank(1, encoding=bits)) == [4 * 36 / 256]
    assert TOKENS.measure(blank(1, encoding=bits)) == [4.0]
    files = Payloads(files=(b"abc", b"d"))
    assert BPP.measure(blank(2, encoding=files)) == [24 / 256, 8 / 256]
    assert TOKENS.measure(blank(2, encoding=files)) == [None, None]
    assert RATIO.measure(with_sizes(files, [300, 300])) == [100.0, 300.0]


@pytest.mark.parametrize("encoding", [None, Latents(values=torch.zeros(2, 4, 2, 2))])
def test_no_bits_is_undefined_with_a_reason_on_the_card(encoding: object) -> None:
    for metric in PAIRS:
        assert metric.measure(with_sizes(encoding, [5, 5])) == [None, None]
        assert metric.card.undefined


def test_an_empty_encoding_and_an_image_too_large_for_webp_have_no_ratio() -> None:
    assert RATIO.measure(with_sizes(Payloads(files=(b"", b"x")), [9, 0])) == [None, None]
    wide = torch.zeros((2, 3, 1, 16384), dtype=torch.uint8)
    assert [int(row["bytes"]) for row in LosslessSize().compute(wide, [(), ()])] == [0, 0]


def test_the_lossless_feature_is_a_real_lossless_file() -> None:
    feature = LosslessSize()
    assert isinstance(feature, Feature)
    images = photographs(2, 64)
    before = images.clone()
    rows = feature.compute(images, [(), ()])
    assert torch.equal(images, before)
    for image, row in zip(images, rows, strict=True):
        assert row["bytes"].shape == ()
        assert row["bytes"].dtype == np.int64
        pixels = image.permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "WEBP", lossless=True, quality=75, method=4, exact=True)
        assert len(file.getvalue()) == int(row["bytes"])
        np.testing.assert_array_equal(np.asarray(Image.open(file)), pixels)
    assert feature.compute(images[1:], [()]) == rows[1:]


def test_the_feature_says_what_it_depends_on() -> None:
    identity = LosslessSize().identity()
    assert {"pillow", "libwebp", "quality", "method", "version"} <= set(identity)
    assert all(identity.values())
    assert identity != LosslessSize(quality=100).identity()
    assert (LosslessSize().name, LosslessSize().uses_regions) == ("lossless_webp", False)
    assert RATIO.features == (LosslessSize(),)


def order0(*comparisons: Comparison) -> Summary:
    state = ORDER0.new_state()
    for comparison in comparisons:
        ORDER0.update(state, comparison)
    return ORDER0.compute(state)


def test_order0_is_tokens_times_entropy_over_pixels() -> None:
    tokens = Tokens.grid(torch.tensor([[0, 0, 0, 0, 5, 5, 6, 7]]), codebook_size=16)
    result = order0(blank(1, encoding=tokens), blank(1, encoding=tokens, side_px=32))
    assert result.value == pytest.approx(2 * 8 * 1.75 / (256 + 1024))
    assert result.details["bpp_nominal"] == 2 * 8 * 4 / 1280
    assert result.details["saved"] == pytest.approx(1 - 1.75 / 4)
    assert result.details["model_bits"] == pytest.approx(math.log2(math.comb(16 + 15, 16)))
    assert (result.n, result.n_unit) == (16, "tokens")
    assert order0(blank(1, encoding=Tokens.grid(torch.zeros((1, 4)).long(), codebook_size=1))).value == 0
    with pytest.raises(NotApplicableError, match="coded file"):
        order0(blank(1, encoding=Payloads(files=(b"x",))))
    with pytest.raises(NotApplicableError, match="no encodings"):
        order0(blank(1))


def test_a_histogram_costs_the_log_of_the_number_of_histograms() -> None:
    for tokens, entries in ((0, 5), (7, 1), (1, 4096), (30, 10**13), (25, 2**64)):
        assert histogram_bits(tokens, entries) == pytest.approx(
            math.log2(math.comb(tokens + entries - 1, tokens)), rel=1e-9, abs=1e-9
        )


def test_adaptive_rates_are_of_each_image_alone() -> None:
    rows = torch.stack([torch.zeros(256).long(), torch.arange(256), torch.arange(256) % 2])
    tokens = Tokens.grid(rows, codebook_size=256)
    for metric in (ADAPTIVE0, ADAPTIVE1):
        together = metric.measure(blank(3, encoding=tokens))
        assert together == [metric.measure(blank(1, encoding=tokens.select([row])))[0] for row in range(3)]
        assert together[0] < together[2] < together[1] <= (256 * 8 + 40) / 256
    assert ADAPTIVE1.measure(blank(3, encoding=tokens))[2] < 0.6 * ADAPTIVE0.measure(blank(3, encoding=tokens))[2]


def test_files_are_already_coded() -> None:
    files = Payloads(files=(b"abc", b"d"))
    assert ADAPTIVE0.measure(blank(2, encoding=files)) == [24 / 256, 8 / 256]


def test_a_codebook_error_reaches_every_rate_that_reads_codes() -> None:
    bad = Tokens.grid(torch.tensor([[9]]), codebook_size=8)
    for metric in (ADAPTIVE0, ADAPTIVE1):
        with pytest.raises(MetricError, match="outside"):
            metric.measure(blank(1, encoding=bad))
    with pytest.raises(MetricError, match="outside"):
        order0(blank(1, encoding=bad))
