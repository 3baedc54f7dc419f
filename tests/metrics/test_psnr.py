from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_inputs import compare, noisy, photographs

from tokbench.errors import MetricError
from tokbench.metrics import pixel, regions
from tokbench.metrics.pixel import decibels, mae, psnr, squared_errors
from tokbench.metrics.regions import psnr_boxes, whole_pixels
from tokbench.samples import Region

POOLED = pixel.METRICS[1]


@pytest.mark.parametrize("shift", [1, 3, 16, 100, 255])
def test_a_constant_shift_has_a_known_psnr(shift: int) -> None:
    black = torch.zeros((2, 3, 5, 7), dtype=torch.uint8)
    expected = 20 * math.log10(255 / shift)
    assert psnr(reference=black, reconstruction=black + shift) == pytest.approx([expected] * 2, abs=1e-12)
    assert psnr(reference=black + shift, reconstruction=black) == pytest.approx([expected] * 2, abs=1e-12)
    assert mae(reference=black, reconstruction=black + shift) == [shift] * 2


def test_identical_images_get_the_cap() -> None:
    images = photographs()
    assert psnr(reference=images, reconstruction=images) == [100.0] * 3
    assert mae(reference=images, reconstruction=images) == [0.0] * 3


def test_the_cap_binds_where_the_docstring_says() -> None:
    assert decibels(1, 153_787) < 100
    assert decibels(1, 153_788) == 100


def test_agrees_with_torchmetrics_and_scikit_image() -> None:
    from skimage.metrics import peak_signal_noise_ratio as skimage_psnr
    from torchmetrics.functional.image import peak_signal_noise_ratio as torchmetrics_psnr

    reference = photographs()
    reconstruction = noisy(reference, 9)
    ours = psnr(reference=reference, reconstruction=reconstruction)
    theirs = torchmetrics_psnr(
        reconstruction.double(), reference.double(), data_range=255.0, dim=(1, 2, 3), reduction="none"
    )
    assert ours == pytest.approx(theirs.tolist(), abs=1e-5)
    for row in range(3):
        value = skimage_psnr(reference[row].numpy(), reconstruction[row].numpy(), data_range=255)
        assert ours[row] == pytest.approx(value, abs=1e-9)


def test_pooled_agrees_with_torchmetrics_class_and_is_at_most_the_mean() -> None:
    from torchmetrics.image import PeakSignalNoiseRatio

    reference = photographs()
    reconstruction = torch.cat([noisy(reference[:1], 30), noisy(reference[1:], 3)])
    theirs = PeakSignalNoiseRatio(data_range=255.0)
    state = POOLED.new_state()
    for rows in ([0, 1], [2]):
        theirs.update(reconstruction[rows].float(), reference[rows].float())
        POOLED.update(state, compare(reference[rows], reconstruction[rows]))
    summary = POOLED.compute(state)
    assert summary.value == pytest.approx(float(theirs.compute()), abs=1e-4)
    assert summary.value < np.mean(psnr(reference=reference, reconstruction=reconstruction))
    assert summary.n == 3
    assert summary.details == {"mse": pytest.approx(255**2 / 10 ** (summary.value / 10)), "identical_images": 0}


def test_pooled_state_merges_exactly_and_nothing_is_undefined() -> None:
    reference = photographs()
    reconstruction = noisy(reference, 5)
    whole, left, right = POOLED.new_state(), POOLED.new_state(), POOLED.new_state()
    POOLED.update(whole, compare(reference, reconstruction))
    POOLED.update(left, compare(reference[:2], reconstruction[:2]))
    POOLED.update(right, compare(reference[2:], reconstruction[2:]))
    backwards = POOLED.new_state()
    backwards.merge(right)
    backwards.merge(left)
    left.merge(right)
    assert left == whole
    assert POOLED.compute(left).value == POOLED.compute(backwards).value == POOLED.compute(whole).value
    nothing = POOLED.compute(POOLED.new_state())
    assert nothing.value is None
    assert nothing.reason
    same = POOLED.new_state()
    POOLED.update(same, compare(reference, reference))
    assert POOLED.compute(same).value == 100
    assert POOLED.compute(same).details["identical_images"] == 3


def test_pooled_influences_are_the_slope_of_the_value_in_an_images_weight() -> None:
    reference = photographs()
    reconstruction = torch.cat([noisy(reference[:1], 30), noisy(reference[1:], 3)])
    state = POOLED.new_state()
    POOLED.update(state, compare(reference, reconstruction))
    influences = POOLED.compute(state).influences
    assert influences.sum() == pytest.approx(0, abs=1e-9)
    errors = np.array(squared_errors(reference=reference, reconstruction=reconstruction), np.float64)
    step = 1e-6
    for row in range(3):
        weights = np.full(3, 1 / 3) + step * ((np.arange(3) == row) - 1 / 3)
        moved = 10 * np.log10(255**2 * reference[0].numel() / (weights @ errors))
        assert influences[row] == pytest.approx((moved - POOLED.compute(state).value) / step, rel=1e-4)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_psnr_is_in_range_symmetric_and_equals_its_definition(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 256, (2, 1, 3, height, width), dtype=np.uint8)
    a, b = torch.from_numpy(first), torch.from_numpy(second)
    (value,) = psnr(reference=a, reconstruction=b)
    assert psnr(reference=b, reconstruction=a) == [value]
    assert 0 <= value <= 100
    mse = np.mean((first.astype(float) - second) ** 2)
    assert value == pytest.approx(100 if mse == 0 else 10 * math.log10(255**2 / mse), abs=1e-9)


def test_box_psnr_is_the_psnr_of_the_crop() -> None:
    reference = photographs()[0]
    reconstruction = noisy(reference, 12)
    boxes = [(3.0, 5.0, 40.0, 21.0), (10.2, 20.7, 30.1, 22.1), (-8.0, -2.0, 4.5, 3.0), (180.0, 180.0, 999.0, 999.0)]
    pixels = [(3, 5, 40, 21), (10, 20, 31, 23), (0, 0, 5, 3), (180, 180, 192, 192)]
    values = psnr_boxes(reference=reference, reconstruction=reconstruction, boxes=boxes)
    for value, (x0, y0, x1, y1) in zip(values, pixels, strict=True):
        crop = {"reference": reference[None, :, y0:y1, x0:x1], "reconstruction": reconstruction[None, :, y0:y1, x0:x1]}
        assert psnr(**crop) == [value]


@pytest.mark.parametrize(
    "box",
    [(5.0, 5.0, 5.0, 9.0), (5.5, 5.0, 5.5, 9.0), (9.0, 5.0, 5.0, 9.0), (-9.0, 0.0, 0.0, 9.0), (16.0, 0.0, 20.0, 9.0),
     (math.nan, 0.0, 9.0, 9.0)],
)  # fmt: skip
def test_boxes_without_area_in_the_image_are_left_out(box: tuple[float, float, float, float]) -> None:
    assert whole_pixels(box, height_px=16, width_px=16) is None
    image = torch.zeros((3, 16, 16), dtype=torch.uint8)
    assert psnr_boxes(reference=image, reconstruction=image, boxes=[box]) == [None]


def test_region_metrics_keep_indices_and_kinds_apart() -> None:
    images = torch.zeros((2, 3, 16, 16), dtype=torch.uint8)
    changed = images.clone()
    changed[0, :, :8] = 16
    annotated = [
        [
            Region(kind="face", box=(0, 0, 8, 8)),
            Region(kind="word", box=(0, 8, 8, 16)),
            Region(kind="word", box=(3, 3, 3, 9)),
            Region(kind="word", box=(0, 4, 8, 12)),
        ],
        [],
    ]
    word, face = regions.METRICS
    half = 20 * math.log10(255 / 16) + 10 * math.log10(2)
    comparison = compare(images, changed, regions=annotated)
    measured = word.measure_regions(comparison)
    assert {index: answer.value for index, answer in measured[0].items()} == {1: 100.0, 2: None, 3: pytest.approx(half)}
    assert measured[0][2].reason == "its box has no area inside the image"
    assert measured[1] == {}
    (found,) = face.measure_regions(comparison)[0].values()
    assert found.value == pytest.approx(20 * math.log10(255 / 16))
    assert (word.card.group, face.card.group, word.region_kind, face.region_kind) == ("text", "face", "word", "face")


@pytest.mark.parametrize(
    ("reference", "reconstruction", "words"),
    [
        (torch.zeros((1, 3, 4, 4)), torch.zeros((1, 3, 4, 4)), "uint8"),
        (torch.zeros((1, 1, 4, 4), dtype=torch.uint8), torch.zeros((1, 1, 4, 4), dtype=torch.uint8), "uint8"),
        (torch.zeros((1, 3, 4, 4), dtype=torch.uint8), torch.zeros((1, 3, 4, 5), dtype=torch.uint8), "differ in shape"),
        (torch.zeros((1, 3, 0, 4), dtype=torch.uint8), torch.zeros((1, 3, 0, 4), dtype=torch.uint8), "uint8"),
    ],
)
def test_wrong_images_are_refused(reference: torch.Tensor, reconstruction: torch.Tensor, words: str) -> None:
    for function in (psnr, mae):
        with pytest.raises(MetricError, match=words):
            function(reference=reference, reconstruction=reconstruction)
