"""Visual information fidelity: by hand, and against torchmetrics."""

from __future__ import annotations

import math

import pytest
import torch
from metric_inputs import compare, noisy, photographs

from tokbench.errors import MetricError
from tokbench.metrics.vif import METRICS, MIN_SIDE_PX, TAPS, vif


def test_equal_images_have_all_information() -> None:
    images = photographs(2, 64)
    assert vif(reference=images, reconstruction=images) == [1.0, 1.0]


def test_distortions_lose_and_contrast_gains() -> None:
    reference = photographs(1, 96)
    blurred = torch.nn.functional.avg_pool2d(reference.float(), 3, 1, 1, count_include_pad=False).round().byte()
    flat = torch.full_like(reference, 128)
    values = [vif(reference=reference, reconstruction=other)[0] for other in (blurred, noisy(reference, 20), flat)]
    assert all(value is not None and 0 <= value < 0.75 for value in values)
    assert values[2] == 0
    half = (reference.float() / 2 + 64).round().byte()
    (raised,) = vif(reference=half, reconstruction=reference)
    assert raised is not None
    assert raised > 1.05


def test_a_gain_alone_by_hand() -> None:
    """Twice the contrast without any noise: at each place log(1 + 4 s / n) of log(1 + s / n)."""
    place = torch.arange(60)
    stripes = ((place[:, None] + place[None]) % 2 * 20 + 100).to(torch.uint8).expand(1, 3, 60, 60)
    double = ((place[:, None] + place[None]) % 2 * 40 + 90).to(torch.uint8).expand(1, 3, 60, 60)
    (value,) = vif(reference=stripes, reconstruction=double)
    # A checkerboard is gone after the first blur, so only the finest scale has a variance: that of a fair coin.
    assert len(TAPS) == 4
    assert value == pytest.approx(math.log(1 + 400 / 2) / math.log(1 + 100 / 2), rel=1e-3)


def test_against_torchmetrics() -> None:
    functional = pytest.importorskip("torchmetrics.functional.image", reason="needs `pip install 'tokbench[dev]'`")
    reference = photographs(2, 96)
    for reconstruction in (noisy(reference, 3), noisy(reference, 25), (reference // 32 * 32 + 16)):
        ours = vif(reference=reference, reconstruction=reconstruction)
        for row, value in enumerate(ours):
            pair = (reconstruction[row : row + 1].double(), reference[row : row + 1].double())
            assert value == pytest.approx(float(functional.visual_information_fidelity(*pair)), rel=1e-6)


def test_what_has_no_value() -> None:
    (metric,) = METRICS
    small = photographs(2, MIN_SIDE_PX)[..., 1:]
    assert metric.measure(compare(small, small)) == [None, None]
    fits = photographs(1, MIN_SIDE_PX)
    assert metric.measure(compare(fits, fits)) == [1.0]
    flat = fits.clone()
    flat[0, 1] = 7
    assert vif(reference=flat, reconstruction=fits) == [None]
    with pytest.raises(MetricError, match="differ in shape"):
        vif(reference=fits, reconstruction=fits[..., 1:])
